//! Who looks and who acts: the account of the task, so that the kernel decides; and root, who is led nowhere by
//! another's links and takes nobody's temporary file.

use super::{act, answers, converse, is_root, shells, text};
use ishprov::shell::{
    Action, Answer, Answers, Ask, CHANGED_MEANWHILE, Content, FileAsk, FileKind, Follow, Frame, Over, Put,
};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// `nobody` of every distribution.
const NOBODY: u32 = 65534;

/// A folder that everybody may enter, and one of `nobody`'s own in it.
fn folders() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let home = text(&dir.path().join("home"));
    std::fs::create_dir(&home).expect("made");
    lchown(&home, Some(NOBODY), Some(NOBODY)).expect("given");
    (dir, home)
}

/// A file of root's that nobody else may read.
fn secret(dir: &Path) -> String {
    let path = dir.join("secret");
    std::fs::write(&path, "root's").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    text(&path)
}

/// A link of `nobody`'s.
fn plant(target: &str, at: &str) {
    symlink(target, at).expect("linked");
    lchown(at, Some(NOBODY), Some(NOBODY)).expect("given");
}

fn untouched(secret: &str) {
    let meta = std::fs::symlink_metadata(secret).expect("there");
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.is_file()), (0o600, 0, true), "{secret}");
    assert_eq!(std::fs::read(secret).expect("there"), b"root's");
}

fn ask(shell: &[&str], asks: Vec<Ask>) -> Answers {
    answers(&converse(shell, &[Frame::probe(asks)])[0][0]).clone()
}

#[test]
fn an_account_sees_what_it_may_see() {
    if !is_root() {
        return;
    }
    for shell in shells() {
        let (dir, home) = folders();
        let hidden = secret(dir.path());
        let shut = text(&dir.path().join("shut"));
        std::fs::create_dir(&shut).expect("made");
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o700)).expect("mode");
        let own = format!("{home}/own");
        std::fs::write(&own, "mine\n- 1 text\n").expect("written");
        let (inside, missing) = (format!("{shut}/x"), format!("{home}/missing"));
        let nobody = |ask: Ask| ask.by(Some("nobody"));
        let asks = [
            Ask::content(&hidden),
            Ask::stat(&hidden),
            Ask::stat(&inside),
            Ask::content(&own),
            Ask::digest(&own),
            Ask::stat(&missing),
        ]
        .map(nobody);
        let script = Ask::sh("id -un; cat /dev/null").by(Some("nobody"));
        let all = asks.iter().cloned().chain([script.clone(), Ask::content(&hidden), Ask::Accounts]);
        let known = ask(&shell, all.collect());
        let failed = |ask: &Ask| match known.peek(ask) {
            Some(Answer::Failed(why)) => why.clone(),
            other => panic!("{shell:?}: refused wanted, not {other:?}"),
        };
        assert!(failed(&asks[0]).contains("Permission denied"), "{}", failed(&asks[0]));
        assert_eq!(known.file(&asks[1]).expect("seen").kind, FileKind::File);
        assert_eq!(failed(&asks[2]), format!("cannot read `{inside}` on the host: Permission denied"));
        assert_eq!(known.text(&asks[3]).expect("read").as_deref(), Some("mine\n- 1 text\n"));
        assert_eq!(known.file(&asks[4]).expect("seen").sha256.as_ref().map(String::len), Some(64));
        assert!(!known.file(&asks[5]).expect("seen").exists());
        assert_eq!(known.output(&script).expect("ran").text(), "nobody\n");
        assert_eq!(known.text(&Ask::content(&hidden)).expect("read").as_deref(), Some("root's"));
        assert!(known.accounts(&Ask::Accounts).expect("read").iter().any(|account| account.name == "root"));
    }
}

#[test]
fn an_account_writes_where_it_may_write() {
    if !is_root() {
        return;
    }
    for shell in shells() {
        let (dir, home) = folders();
        let hidden = secret(dir.path());
        let put = |path: &str| Put { user: Some("nobody".into()), ..Put::new(path, vec![b'x'; 70_000]) };
        let (outputs, failed) = act(&shell, vec![Action::Put(put(&text(&dir.path().join("denied"))))]);
        assert!(failed && outputs[0].error_text().contains("ermission denied"), "{shell:?}: {outputs:?}");
        plant(&hidden, &format!("{home}/link"));
        let (outputs, failed) = act(&shell, vec![Action::Put(put(&format!("{home}/link")))]);
        assert!(failed, "{shell:?}: {outputs:?}");
        untouched(&hidden);
        let shared = text(&dir.path().join("shared"));
        std::fs::create_dir(&shared).expect("made");
        lchown(&shared, Some(NOBODY), Some(12345)).expect("given");
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o2770)).expect("mode");
        let new = format!("{home}/it's new");
        let mut valid = put(&new);
        valid.validate = Some("sh -c 'test $(id -un) = nobody && grep -q xxx \"$0\"' %s".into());
        valid.mode = Some(0o640);
        let puts = [valid, put(&format!("{shared}/new"))];
        let (outputs, failed) = act(&shell, puts.into_iter().map(Action::Put).collect());
        assert!(!failed, "{shell:?}: {outputs:?}");
        let meta = std::fs::metadata(&new).expect("there");
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.len()),
            (NOBODY, NOBODY, 0o640, 70_000)
        );
        // The folder's group, as of everything that is made in it.
        let meta = std::fs::metadata(format!("{shared}/new")).expect("there");
        assert_eq!((meta.uid(), meta.gid()), (NOBODY, 12345));
        assert_eq!(std::fs::read_dir(&home).expect("listed").count(), 2, "nothing is left over");
    }
}

#[test]
fn root_is_led_nowhere_by_the_links_of_others() {
    if !is_root() {
        return;
    }
    for shell in shells() {
        let (dir, home) = folders();
        let hidden = secret(dir.path());
        let roots = text(&dir.path().join("roots"));
        std::fs::create_dir(&roots).expect("made");
        let at = |name: &str| format!("{home}/{name}");
        let put = |path: &str, follow: Follow| {
            let mut put = Put::new(path, *b"new");
            put.follow = follow;
            put.owner = Some("nobody".into());
            Action::Put(put)
        };
        let refused = |action: Action| {
            let (outputs, failed) = act(&shell, vec![action]);
            let said = outputs[0].error_text();
            assert!(
                failed && said.contains("made by the account with the number 65534"),
                "{shell:?}: {said}"
            );
        };
        let done = |actions: Vec<Action>| {
            let (outputs, failed) = act(&shell, actions);
            assert!(!failed, "{shell:?}: {outputs:?}");
        };
        // At the end of the path: followed by nobody, replaced where the link itself is meant.
        plant(&hidden, &at("link"));
        refused(put(&at("link"), Follow::Own));
        refused(Action::files(format!("i_chown own nobody {}", at("link")), ""));
        refused(Action::files(format!("i_chmod own 0666 {}", at("link")), ""));
        done(vec![Action::files(format!("i_chown '' nobody {}", at("link")), "")]);
        done(vec![put(&at("link"), Follow::No)]);
        untouched(&hidden);
        assert_eq!(std::fs::read(at("link")).expect("there"), b"new");
        // On the way.
        plant(&roots, &at("way"));
        refused(put(&at("way/x"), Follow::No));
        refused(Action::files(format!("i_mkdir 0755 {}", at("way/x")), ""));
        refused(Action::files(format!("i_symlink /etc {}", at("way/x")), ""));
        refused(Action::files(format!("i_modes f 0644 0600 {}", at("way")), ""));
        std::fs::write(format!("{roots}/kept"), "").expect("written");
        refused(Action::files(format!("i_remove {}", at("way/kept")), ""));
        assert_eq!(std::fs::read_dir(&roots).expect("listed").count(), 1);
        // To what is the account's own, its links may lead; and root's anywhere.
        std::fs::create_dir(at("real")).expect("made");
        lchown(at("real"), Some(NOBODY), Some(NOBODY)).expect("given");
        plant("real", &at("own"));
        done(vec![put(&at("own/x"), Follow::No)]);
        plant("real/x", &at("ownlink"));
        done(vec![put(&at("ownlink"), Follow::Own)]);
        assert!(std::fs::symlink_metadata(at("ownlink")).expect("there").is_symlink());
        symlink(&roots, at("roots")).expect("linked");
        done(vec![put(&at("roots/y"), Follow::No)]);
        symlink(&hidden, at("any")).expect("linked");
        lchown(at("any"), Some(NOBODY), None).expect("given");
        done(vec![put(&at("any"), Follow::Any)]);
        assert_eq!(std::fs::read(&hidden).expect("there"), b"new");
    }
}

#[test]
fn owner_and_mode_go_to_what_was_opened() {
    if !is_root() {
        return;
    }
    for shell in shells() {
        let (_dir, home) = folders();
        let at = |name: &str| format!("{home}/{name}");
        let files = |script: String| Action::files(script, "");
        std::fs::write(at("file"), "").expect("written");
        let (outputs, failed) = act(
            &shell,
            vec![
                files(format!("i_mkdirs 0755 {}", at("a/b"))),
                files(format!("i_chown own nobody:12345 {}", at("a/b"))),
                files(format!("i_chmod own 2750 {}", at("a/b"))),
                files(format!("i_chmod '' 0600 {}", at("file"))),
                files(format!("i_touch 0640 {}", at("a/b/new"))),
                files(format!("i_touch 0604 {}", at("a/b/other"))),
                files(format!("i_symlink file {}", at("link"))),
                files(format!("i_symlink a/b {}", at("link"))),
            ],
        );
        assert!(!failed, "{shell:?}: {outputs:?}");
        let state = |name: &str| {
            let meta = std::fs::symlink_metadata(at(name)).expect("there");
            (meta.mode() & 0o7777, meta.uid(), meta.gid())
        };
        assert_eq!(state("a"), (0o755, 0, 0));
        assert_eq!(state("a/b"), (0o2750, NOBODY, 12345));
        assert_eq!(state("file"), (0o600, 0, 0));
        assert_eq!(state("a/b/new"), (0o640, 0, 12345));
        assert_eq!(std::fs::read_link(at("link")).expect("a link"), Path::new("a/b"));
        let (outputs, failed) = act(
            &shell,
            vec![
                files(format!("i_modes f 0604 0644 {home}")),
                files(format!("i_modes d 0755 0711 {home}")),
                files(format!("i_remove {}", at("link"))),
            ],
        );
        assert!(!failed, "{shell:?}: {outputs:?}");
        assert_eq!((state("a").0, state("a/b/other").0, state("a/b/new").0), (0o711, 0o644, 0o640));
        assert!(Path::new(&at("a/b/new")).exists() && std::fs::symlink_metadata(at("link")).is_err());
    }
}

#[test]
fn temporary_files_of_the_living_stay() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| text(&dir.path().join(name));
        let node = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let live =
            tempfile::Builder::new().prefix(".ishprov.abcdef0123456789").tempdir_in("/tmp").expect("made");
        std::fs::write(live.path().join("pid"), std::process::id().to_string()).expect("written");
        let held = format!(".x.ishprov.{}.abcdef0123456789", node.trim());
        let dead = format!(".x.ishprov.{}.0123456789abcdef", node.trim());
        for name in [&held, &dead, ".x.ishprov.elsewhere.0123456789abcdef", ".x.ishprov.deadbeef"] {
            std::fs::write(at(name), "half").expect("written");
        }
        let (outputs, failed) = act(&shell, vec![Action::Put(Put::new(at("x"), *b"x"))]);
        assert!(!failed, "{shell:?}: {outputs:?}");
        let mut left: Vec<String> = std::fs::read_dir(dir.path())
            .expect("listed")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        left.sort_unstable();
        let mut wanted = vec![held, ".x.ishprov.elsewhere.0123456789abcdef".to_owned(), "x".to_owned()];
        wanted.sort_unstable();
        assert_eq!(left, wanted, "{shell:?}");
    }
}

#[test]
fn what_was_changed_meanwhile_is_not_overwritten() {
    const OLD: &str = "36a7f1e7ef3fcf9dd79b1b8a0ac1ccc9a3a1b9d3e6a2b1ab0b6f5c6b7f1e0000";
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = text(&dir.path().join("x"));
        std::fs::write(&path, "theirs").expect("written");
        let put = |over: Over| Action::Put(Put { over, ..Put::new(&path, *b"ours") });
        for over in [Over::Nothing, Over::Digest(OLD.to_owned())] {
            let (outputs, failed) = act(&shell, vec![put(over)]);
            assert!(failed && outputs[0].status == CHANGED_MEANWHILE, "{shell:?}: {outputs:?}");
            assert_eq!(std::fs::read(&path).expect("there"), b"theirs");
        }
        let digest = "f5ffee4b8b3f7ffb2ac0ca5e1c2e2d1ac97bb2f4c03cbb2d7a9f8d8f5e5e0000";
        let seen = ask(&shell, vec![Ask::digest(&path)]);
        let seen = seen.file(&Ask::digest(&path)).expect("seen").sha256.clone().unwrap_or(digest.to_owned());
        let (outputs, failed) = act(&shell, vec![put(Over::Digest(seen))]);
        assert!(!failed, "{shell:?}: {outputs:?}");
        assert_eq!(std::fs::read(&path).expect("there"), b"ours");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left over");
    }
}

#[test]
fn large_contents_and_answers_are_refused_with_their_size() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = text(&dir.path().join("sparse"));
        std::fs::File::create(&path).and_then(|file| file.set_len(150 << 20)).expect("made");
        let small = Ask::File(FileAsk {
            path: path.clone(),
            follow: true,
            digest: true,
            content: Content::Small,
            user: None,
        });
        let script = Ask::sh(format!("head -c 20000000 {path}"));
        let quiet = Ask::sh("echo fine");
        let whole = Ask::content(&path);
        let known = ask(&shell, vec![small.clone(), script.clone(), quiet.clone()]);
        let seen = known.file(&small).expect("seen");
        assert!(seen.content.is_none() && seen.sha256.is_some() && seen.size == 150 << 20, "{seen:?}");
        assert_eq!(
            known.peek(&script),
            Some(&Answer::Failed(
                "its answer has 20000000 bytes, and more than 8388608 are not read".to_owned()
            )),
        );
        assert_eq!(known.output(&quiet).expect("ran").text(), "fine\n");
        let known = ask(&shell, vec![whole.clone()]);
        let why = "it has 157286400 bytes, and contents of more than 4194304 bytes are not read";
        let why = format!("cannot read `{path}` on the host: {why}");
        assert_eq!(known.peek(&whole), Some(&Answer::Failed(why)));
    }
}

/// An account that exchanges names in its home as fast as it can; ended with the test.
struct Swapper(std::process::Child);

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn names_that_are_exchanged_meanwhile_lead_root_nowhere() {
    if !is_root() {
        return;
    }
    // As nobody: a file and a folder that are links to root's every other moment.
    const SWAP: &str = "cd \"$1\" || exit 1; while :; do \
        : >f; mkdir d; rm -f f; ln -s \"$2\" f; rmdir d; ln -s \"$3\" d; rm -f f d; \
        ln -s \"$2\" new; rm -f new; done 2>/dev/null";
    for shell in shells() {
        let (dir, home) = folders();
        let hidden = secret(dir.path());
        let roots = text(&dir.path().join("roots"));
        std::fs::create_dir(&roots).expect("made");
        std::fs::set_permissions(&roots, std::fs::Permissions::from_mode(0o700)).expect("mode");
        let swapper = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", SWAP, "sh"])
            .args([&home, &hidden, &roots])
            .spawn();
        let swapper = Swapper(swapper.expect("setpriv runs"));
        let at = |name: &str| format!("{home}/{name}");
        let put = |path: String, follow: Follow| {
            let mut put = Put::new(path, *b"new");
            (put.follow, put.owner, put.mode) = (follow, Some("nobody".into()), Some(0o666));
            Action::Put(put)
        };
        let one = |action: Action| Frame {
            items: vec![ishprov::shell::Item::Act { actions: vec![action], seconds: 60, go_on: true }],
        };
        let mut frames = Vec::new();
        for _ in 0..3 {
            frames.push(one(put(at("f"), Follow::Own)));
            frames.push(one(put(at("new"), Follow::No)));
            frames.push(one(put(at("d/x"), Follow::No)));
            for script in [
                format!("i_chown own nobody {}", at("f")),
                format!("i_chmod own 0666 {}", at("f")),
                format!("i_chown own nobody {}", at("d")),
                format!("i_chmod own 0777 {}", at("d")),
                format!("i_mkdirs 0755 {}", at("d/sub")),
                format!("i_touch 0666 {}", at("d/touched")),
                format!("i_symlink /etc {}", at("d/link")),
                format!("i_modes f 0600 0666 {home}"),
                format!("i_modes d 0700 0777 {home}"),
            ] {
                frames.push(one(Action::files(script, "")));
            }
        }
        let (_, _) = super::converse_raw(&shell, &frames);
        drop(swapper);
        untouched(&hidden);
        let meta = std::fs::metadata(&roots).expect("there");
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o700), "{shell:?}");
        assert_eq!(std::fs::read_dir(&roots).expect("listed").count(), 0, "{shell:?}");
    }
}
