//! What the compiled frames do under real shells: dash, bash in POSIX mode and busybox sh where it is installed.

#[path = "wire/accounts.rs"]
mod accounts;

use ishprov::shell::{
    Action, Answer, Answers, Ask, Content, Decoder, FileAsk, FileKind, Frame, Item, ItemReply, Output, Put,
    Record, Run, bootstrap, compile, hello, parse,
};
use proptest::prelude::*;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A mark of its own for every connection.
fn fresh_nonce() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{:08x}{count:08x}00112233aabbccdd", std::process::id())
}

/// The shells of this machine that a host may have as its `sh`.
fn shells() -> Vec<Vec<&'static str>> {
    let all = [vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "sh"]];
    let there = |shell: &Vec<&str>| {
        Command::new(shell[0])
            .arg(if shell[0] == "busybox" { "true" } else { "-c" })
            .arg(":")
            .output()
            .is_ok()
    };
    let found: Vec<_> = all.into_iter().filter(there).collect();
    assert!(found.len() >= 2, "at least dash and bash are needed for this test");
    found
}

/// Everything a connection's frames gave, all frames sent at once; and the shell's own standard error.
fn converse_raw(shell: &[&str], frames: &[Frame]) -> (Vec<Vec<ItemReply>>, String) {
    let nonce = fresh_nonce();
    let nonce = nonce.as_str();
    let mut child = Command::new("env")
        .args(["-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"])
        .args(shell)
        .args(["-c", &bootstrap(nonce)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell starts");
    let mut input = b"a password that nobody asked for\n".to_vec();
    for (number, frame) in frames.iter().enumerate() {
        let wire = match number {
            0 => hello(frame, nonce, 0, None),
            _ => compile(frame, number as u64),
        };
        input.extend(wire.head(nonce));
        for payload in &wire.payloads {
            input.extend_from_slice(payload);
        }
    }
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let mut stderr = child.stderr.take().expect("piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut bytes = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut bytes).expect("readable");
    writer.join().expect("written");
    let errors = errors.join().expect("read");
    child.wait().expect("it ends");
    let mut decoder = Decoder::new(nonce);
    let mut replies = Vec::new();
    let (mut records, mut all) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(1 << 20) {
        decoder.push(piece).expect("within the limits");
        while let Some(record) = decoder.next_record().expect("within the limits") {
            all.push(Record { body: Vec::new(), ..record.clone() });
            if record.name == "end" {
                decoder.next_frame();
                let frame = replies.len();
                replies.push(parse(&frames[frame], std::mem::take(&mut records)));
            } else {
                records.push(record);
            }
        }
    }
    assert_eq!(replies.len(), frames.len(), "{shell:?} answered every frame; it said {errors:?} and {all:?}");
    let left = format!("/run/.ishprov.{nonce}");
    assert!(!Path::new(&left).exists(), "{left} is gone when the connection ended");
    (replies, errors)
}

/// A connection whose shell has nothing to complain about.
fn converse(shell: &[&str], frames: &[Frame]) -> Vec<Vec<ItemReply>> {
    let (replies, errors) = converse_raw(shell, frames);
    assert_eq!(errors, "", "{shell:?} has nothing to complain about");
    replies
}

fn answers(reply: &ItemReply) -> &Answers {
    match reply {
        ItemReply::Answers(answers) => answers,
        other => panic!("answers wanted, not {other:?}"),
    }
}

fn acted(reply: &ItemReply) -> (&[Output], bool) {
    match reply {
        ItemReply::Acted { outputs, failed } => (outputs, *failed),
        other => panic!("outputs wanted, not {other:?}"),
    }
}

/// Runs actions in a frame of their own.
fn act(shell: &[&str], actions: Vec<Action>) -> (Vec<Output>, bool) {
    let replies = converse(shell, &[Frame::act(actions)]);
    let (outputs, failed) = acted(&replies[0][0]);
    (outputs.to_vec(), failed)
}

fn text(path: &Path) -> String {
    path.to_str().expect("test paths are UTF-8").to_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn files_are_seen_as_they_are() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| text(&dir.path().join(name));
        std::fs::write(at("plain"), "hello\n").expect("written");
        std::fs::set_permissions(at("plain"), std::fs::Permissions::from_mode(0o4751)).expect("mode");
        std::fs::write(at("nul"), b"a\0b\n\n").expect("written");
        std::fs::write(at("empty"), "").expect("written");
        std::fs::write(at("big"), vec![b'x'; 1_500_000]).expect("written");
        std::fs::write(at("new\nline $x `y` 'z' \\"), "odd").expect("written");
        std::fs::create_dir(at("dir")).expect("made");
        std::os::unix::fs::symlink("plain", at("link")).expect("linked");
        std::os::unix::fs::symlink("nowhere\n", at("dangling")).expect("linked");
        let odd = at("new\nline $x `y` 'z' \\");
        let both = |path: String| {
            Ask::File(FileAsk { path, follow: true, digest: true, content: Content::Whole, user: None })
        };
        let asks = vec![
            both(at("plain")),
            both(at("nul")),
            both(at("empty")),
            both(at("big")),
            both(odd.clone()),
            both(at("link")),
            both(at("absent")),
            Ask::stat(at("link")),
            Ask::stat(at("dangling")),
            Ask::stat_follow(at("dangling")),
            Ask::stat(at("dir")),
            Ask::digest(at("plain")),
            Ask::stat("/dev/null"),
            Ask::stat(at("plain")),
            Ask::content("/proc/self/comm"),
        ];
        let replies = converse(&shell, &[Frame::probe(asks)]);
        let found = answers(&replies[0][0]);
        let plain = found.file(&both(at("plain"))).expect("answered");
        let meta = std::fs::metadata(at("plain")).expect("there");
        assert_eq!(
            (plain.kind, plain.mode, plain.uid, plain.gid),
            (FileKind::File, 0o4751, meta.uid(), meta.gid())
        );
        assert_eq!(
            (plain.size, plain.mtime, plain.content.as_deref()),
            (6, meta.mtime(), Some(&b"hello\n"[..]))
        );
        let sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(plain.sha256.as_deref(), Some(sum));
        assert_eq!(
            found.file(&both(at("nul"))).expect("answered").content.as_deref(),
            Some(&b"a\0b\n\n"[..])
        );
        assert_eq!(found.file(&both(at("empty"))).expect("answered").content.as_deref(), Some(&b""[..]));
        assert_eq!(
            found.file(&both(at("big"))).expect("answered").content.as_ref().map(Vec::len),
            Some(1_500_000)
        );
        let odd = found.file(&both(odd)).expect("answered");
        assert_eq!(odd.content.as_deref(), Some(&b"odd"[..]));
        assert_eq!(
            odd.sha256.as_deref(),
            Some("990cb8ebd0afb7150da453a213036a92f2c05e091df0d803e62d257ea7796c27")
        );
        assert_eq!(found.file(&both(at("link"))).expect("answered").sha256.as_deref(), Some(sum));
        assert!(!found.file(&both(at("absent"))).expect("answered").exists());
        let link = found.file(&Ask::stat(at("link"))).expect("answered");
        assert_eq!((link.kind, link.target.as_deref()), (FileKind::Link, Some("plain")));
        let dangling = found.file(&Ask::stat(at("dangling"))).expect("answered");
        assert_eq!((dangling.kind, dangling.target.as_deref()), (FileKind::Link, Some("nowhere\n")));
        assert!(!found.file(&Ask::stat_follow(at("dangling"))).expect("answered").exists());
        assert_eq!(found.file(&Ask::stat(at("dir"))).expect("answered").kind, FileKind::Directory);
        let digest = found.file(&Ask::digest(at("plain"))).expect("answered");
        assert_eq!((digest.sha256.as_deref(), digest.content.as_deref()), (Some(sum), None));
        assert_eq!(found.file(&Ask::stat("/dev/null")).expect("answered").kind, FileKind::Other);
        assert!(found.file(&Ask::stat(at("plain"))).expect("answered").sha256.is_none());
        let comm = found.file(&Ask::content("/proc/self/comm")).expect("answered");
        assert!(
            comm.content.as_ref().is_some_and(|content| !content.is_empty()),
            "/proc says size 0 but has content"
        );
    }
}

#[test]
fn tables_packages_and_units_are_read() {
    for shell in shells() {
        let asks = vec![
            Ask::Accounts,
            Ask::Groups,
            Ask::Package("coreutils".into()),
            Ask::Package("no-such-package".into()),
            Ask::Package("a*".into()),
            Ask::Unit("no-such-unit.service".into()),
            Ask::Unit("bad*".into()),
        ];
        let replies = converse(&shell, &[Frame::probe(asks)]);
        let found = answers(&replies[0][0]);
        let root = found
            .accounts(&Ask::Accounts)
            .expect("answered")
            .iter()
            .find(|account| account.name == "root")
            .cloned();
        assert_eq!(root.map(|root| (root.uid, root.home)), Some((0, "/root".to_owned())));
        assert!(
            found
                .groups(&Ask::Groups)
                .expect("answered")
                .iter()
                .any(|group| group.name == "root" && group.gid == 0)
        );
        if Path::new("/usr/bin/dpkg-query").exists() {
            assert!(found.package(&Ask::Package("coreutils".into())).expect("answered").version.is_some());
            assert_eq!(
                found.package(&Ask::Package("no-such-package".into())).expect("answered").version,
                None
            );
        }
        assert!(found.package(&Ask::Package("a*".into())).is_err());
        assert!(found.unit(&Ask::Unit("bad*".into())).is_err());
    }
}

#[test]
fn a_missing_tool_is_named() {
    // A host without dpkg and systemd: PATH holds the rest only.
    let bin = tempfile::tempdir().expect("a directory");
    for tool in ["stat", "cat", "dd", "mkdir", "rm", "head", "id", "uname", "sh", "sleep", "wc"] {
        let real =
            String::from_utf8(Command::new("which").arg(tool).output().expect("which").stdout).expect("text");
        std::os::unix::fs::symlink(real.trim(), bin.path().join(tool)).expect("linked");
    }
    let asks = vec![
        Ask::Package("x".into()),
        Ask::Unit("x.service".into()),
        Ask::digest("/etc/passwd"),
        Ask::sh("echo hi"),
    ];
    let frame = Frame::probe(asks.clone());
    let nonce = "ffeeddccbbaa99887766554433221100";
    let mut input = hello(&frame, nonce, 0, None).head(nonce);
    let mut child = Command::new("/usr/bin/env")
        .args(["-i", &format!("PATH={}", text(bin.path())), "LC_ALL=C", "dash"])
        .env("PATH", "/bin:/usr/bin")
        .args(["-c", &bootstrap(nonce)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    // env looks dash up in the new PATH.
    if child.is_err() || !bin.path().join("dash").exists() {
        std::os::unix::fs::symlink("/usr/bin/dash", bin.path().join("dash")).expect("linked");
        if let Ok(mut child) = child {
            let _ = child.wait();
        }
        child = Command::new("/usr/bin/env")
            .args(["-i", &format!("PATH={}", text(bin.path())), "LC_ALL=C", "dash", "-c", &bootstrap(nonce)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
    }
    let mut child = child.expect("starts");
    child.stdin.take().expect("piped").write_all(&std::mem::take(&mut input)).expect("written");
    let out = child.wait_with_output().expect("ends").stdout;
    let mut decoder = Decoder::new(nonce);
    decoder.push(&out).expect("within the limits");
    let records: Vec<Record> =
        std::iter::from_fn(|| decoder.next_record().expect("within the limits")).collect();
    let replies = parse(&frame, records);
    let found = answers(&replies[0]);
    let why = |ask: &Ask| found.get(ask).err().map(|fault| fault.message).unwrap_or_default();
    assert!(why(&asks[0]).contains("`dpkg-query` is missing"), "{}", why(&asks[0]));
    assert!(why(&asks[1]).contains("`systemctl` is missing"), "{}", why(&asks[1]));
    assert!(why(&asks[2]).contains("neither `sha256sum` nor `openssl`"), "{}", why(&asks[2]));
    assert_eq!(found.output(&asks[3]).expect("without setsid too").text(), "hi\n");
}

#[test]
fn nothing_a_script_does_reaches_the_next() {
    for shell in shells() {
        let nasty = [
            "exit 7",
            "cd /tmp; umask 000; export LEAK=1; set -e; false; echo no",
            "exec true",
            "set -u; echo $nothing",
            "cat; read x; echo \"[$x]\"",
            "if then",
            "exec 1>&- 2>&-",
            "trap 'echo bye' 0; IFS=x",
            "i_r=5; i_N=; i_D=/nowhere",
            "printf 'out'; printf 'err' >&2; exit 3",
            "echo to-stderr >/dev/stderr",
            "printf '%s' \"${LEAK-none} $(pwd)\"",
        ];
        let asks: Vec<Ask> = nasty.iter().map(|script| Ask::sh(*script)).collect();
        let actions =
            nasty.iter().map(|script| Action::Run(Run { accept: (0..256).collect(), ..Run::new(*script) }));
        let replies =
            converse(&shell, &[Frame { items: vec![Item::Probe(asks.clone()), Item::act(actions)] }]);
        let found = answers(&replies[0][0]);
        let (outputs, failed) = acted(&replies[0][1]);
        assert!(!failed);
        let asked: Vec<Output> =
            asks.iter().map(|ask| found.output(ask).expect("answered").clone()).collect();
        for got in [asked.as_slice(), outputs] {
            assert_eq!(got[0].status, 7);
            assert_ne!(got[1].status, 0);
            assert!(!got[1].text().contains("no"));
            assert_ne!(got[3].status, 0);
            assert_eq!(got[4].text(), "[]\n", "there is no input");
            assert_ne!(got[5].status, 0, "a syntax error is the script's own");
            assert!(got[5].error_text().to_lowercase().contains("syntax"), "{:?}", got[5].error_text());
            assert_eq!(
                (got[9].text().as_str(), got[9].error_text().as_str(), got[9].status),
                ("out", "err", 3)
            );
            assert_eq!(got[10].error_text(), "to-stderr\n");
            assert_eq!(got[11].text(), "none /");
        }
    }
}

#[test]
fn a_failure_stops_what_comes_after_and_keeps_the_stream_whole() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = text(&dir.path().join("file"));
        let put = || Action::Put(Put::new(&target, vec![0u8; 70_000]));
        let with_input = || Action::Run(Run::new("cat").stdin(vec![10u8; 3000]));
        let frame = Frame {
            items: vec![
                Item::Act { actions: vec![Action::sh("exit 1"), put()], seconds: 9, go_on: true },
                Item::act([
                    Action::Run(Run { accept: vec![0, 4], ..Run::new("exit 4") }),
                    Action::sh("echo no >&2; exit 5"),
                    with_input(),
                ]),
                Item::act([put(), with_input()]),
                Item::Probe(vec![Ask::sh("echo never")]),
            ],
        };
        let replies = converse(&shell, &[frame, Frame::probe([Ask::sh("echo still here")])]);
        assert_eq!(acted(&replies[0][0]).0.len(), 1);
        let (outputs, failed) = acted(&replies[0][1]);
        assert!(failed && outputs.len() == 2 && outputs[1].status == 5 && outputs[1].error_text() == "no\n");
        assert!(matches!(replies[0][2], ItemReply::NotRun) && matches!(replies[0][3], ItemReply::NotRun));
        assert!(!Path::new(&target).exists());
        assert_eq!(
            answers(&replies[1][0]).output(&Ask::sh("echo still here")).expect("answered").text(),
            "still here\n"
        );
    }
}

#[test]
fn input_environment_directory_and_account_are_given() {
    for shell in shells() {
        let input: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
        let mut run =
            Run::new("pwd; printf '%s\\n' \"$WEIRD\"; sha256sum; umask; printf '%s\\n' \"$LC_ALL\"")
                .stdin(input.clone());
        run.chdir = Some("/usr/bin".into());
        run.environment = vec![("WEIRD".into(), "a'b \"$c\" `d`\n\\e ü".into())];
        let mut actions = vec![Action::Run(run)];
        if is_root() {
            let whoami = "id -un; cat /dev/stdin; echo e >/dev/stderr; echo \"$HOME $USER\"; pwd";
            actions.push(Action::Run(Run::new(whoami).user("nobody").stdin(*b"in\n")));
            actions.push(Action::Run(Run::new("true").user("no-such-user")));
        }
        let (outputs, failed) = act(&shell, actions);
        let lines: Vec<String> = outputs[0].text().lines().map(str::to_owned).collect();
        assert_eq!(lines[..3].join("\n"), "/usr/bin\na'b \"$c\" `d`\n\\e ü", "{:?}", outputs[0]);
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
        let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(lines[3].starts_with(&hex) && lines[4] == "0022" && lines[5].starts_with('C'), "{lines:?}");
        if is_root() {
            assert!(outputs[1].text().starts_with("nobody\nin\n/ nobody\n"), "{:?}", outputs[1]);
            assert_eq!(outputs[1].error_text(), "e\n");
            assert!(
                failed && outputs[2].status != 0 && outputs[2].error_text().contains("no-such-user"),
                "{:?}",
                outputs[2]
            );
            let ask = [
                Ask::sh_as("nobody", "id -un; echo \"$HOME\""),
                Ask::sh("id -un"),
                Ask::sh_as("nobody", "exit 4"),
            ];
            let replies = converse(&shell, &[Frame::probe(ask.clone())]);
            let found = answers(&replies[0][0]);
            assert!(found.output(&ask[0]).expect("answered").text().starts_with("nobody\n/"));
            assert_eq!(found.output(&ask[1]).expect("answered").text(), "root\n");
            assert_eq!(found.output(&ask[2]).expect("answered").status, 4);
        }
    }
}

#[test]
fn a_hung_command_ends_with_all_it_started() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = text(&dir.path().join("pids"));
        let script = format!(
            "echo started; sh -c 'trap \"\" TERM; echo $$ >>{pids}; while :; do sleep 1; done' & echo $$ >>{pids}; sleep 600 & echo $! >>{pids}; wait"
        );
        let begun = Instant::now();
        let (outputs, failed) = act(&shell, vec![Action::Run(Run::new(script).timeout(2))]);
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        assert!(failed && outputs[0].timed_out && outputs[0].text() == "started\n", "{outputs:?}");
        let alive = |pid: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        };
        let text = std::fs::read_to_string(&pids).expect("they started");
        assert_eq!(text.lines().count(), 3);
        for pid in text.lines() {
            assert!(!alive(pid), "{shell:?}: {pid} of {text:?} still runs");
        }
    }
}

#[test]
fn a_daemon_that_keeps_the_streams_open_delays_nothing() {
    for shell in shells() {
        let begun = Instant::now();
        let replies = converse(
            &shell,
            &[
                Frame::act([Action::sh("(sleep 2; echo LATE; echo LATE >&2) & echo now")]),
                Frame::act([Action::sh("sleep 3; echo next")]),
            ],
        );
        assert_eq!(acted(&replies[0][0]).0[0].text(), "now\n");
        assert_eq!(acted(&replies[1][0]).0[0].text(), "next\n");
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}

#[test]
fn a_killed_shell_costs_its_own_step_only() {
    for shell in shells() {
        let asks = [Ask::sh("echo before"), Ask::sh("kill -9 $$"), Ask::sh("echo after")];
        let replies = converse(
            &shell,
            &[
                Frame::probe(asks.clone()),
                Frame::act([Action::sh("kill -9 $$"), Action::sh("echo no")]),
                Frame::probe([Ask::sh("echo on")]),
            ],
        );
        let found = answers(&replies[0][0]);
        assert_eq!(found.output(&asks[0]).expect("answered").text(), "before\n");
        assert_eq!(found.output(&asks[1]).expect("answered").status, 137);
        assert!(found.get(&asks[2]).is_err(), "never a made-up answer");
        let (outputs, failed) = acted(&replies[1][0]);
        assert!(failed && outputs.len() == 1 && outputs[0].status == 137);
        assert_eq!(answers(&replies[2][0]).output(&Ask::sh("echo on")).expect("answered").text(), "on\n");
    }
}

#[test]
fn long_output_is_cut_and_says_so() {
    for shell in shells() {
        let (outputs, failed) = act(&shell, vec![Action::sh("head -c 6000000 /dev/zero")]);
        assert!(!failed && outputs[0].stdout.len() == 2 << 20, "{}", outputs[0].stdout.len());
        assert!(outputs[0].error_text().contains("cut"));
    }
}

#[test]
fn files_are_put_whole_with_owner_mode_backup_and_validation() {
    for shell in shells() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| text(&dir.path().join(name));
        std::fs::write(at("kept"), "old").expect("written");
        std::fs::set_permissions(at("kept"), std::fs::Permissions::from_mode(0o640)).expect("mode");
        std::fs::write(at("guarded"), "good").expect("written");
        std::fs::create_dir(at("real")).expect("made");
        std::fs::write(at("real/target"), "old").expect("written");
        std::os::unix::fs::symlink("real/target", at("link")).expect("linked");
        std::fs::write(at(".new.ishprov.deadbeef"), "left by a killed run").expect("written");
        let put = |name: &str, content: &[u8]| Put::new(at(name), content.to_vec());
        let mut new = put("new", b"\0new\n");
        new.mode = Some(0o4750);
        if is_root() {
            new.owner = Some("nobody".into());
            new.group = Some("12345".into());
        }
        let mut kept = put("kept", b"new");
        kept.backup = Some(".~1~".into());
        let mut valid = put("it's $odd", b"fine");
        valid.validate = Some("grep -q fine %s".into());
        let mut guarded = put("guarded", b"bad");
        guarded.validate = Some("sh -c 'echo \"no good\" >&2; exit 3' %s".into());
        let puts = [
            new,
            kept,
            valid,
            put("link", b"through"),
            put("empty", b""),
            put("big", &vec![7u8; 3_000_001]),
            guarded,
        ];
        let (outputs, failed) = act(&shell, puts.into_iter().map(Action::Put).collect());
        assert!(failed && outputs.len() == 7, "{outputs:?}");
        let meta = std::fs::metadata(at("new")).expect("there");
        assert_eq!(meta.mode() & 0o7777, 0o4750);
        if is_root() {
            assert_eq!((meta.uid(), meta.gid()), (65534, 12345));
        }
        assert_eq!(std::fs::read(at("new")).expect("there"), b"\0new\n");
        assert_eq!(std::fs::metadata(at("kept")).expect("there").mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read(at("kept.~1~")).expect("there"), b"old");
        assert_eq!(std::fs::read(at("it's $odd")).expect("there"), b"fine");
        assert_eq!(std::fs::read(at("real/target")).expect("there"), b"through");
        assert!(std::fs::symlink_metadata(at("link")).expect("there").is_symlink());
        assert_eq!(std::fs::metadata(at("empty")).expect("there").len(), 0);
        assert_eq!(std::fs::read(at("big")).expect("there"), vec![7u8; 3_000_001]);
        assert_eq!(
            std::fs::read(at("guarded")).expect("there"),
            b"good",
            "a failed validation leaves the old file"
        );
        assert!(
            outputs[6].status == 3 && outputs[6].error_text().starts_with("no good\n"),
            "{:?}",
            outputs[6]
        );
        for (path, why) in [
            (at("dir/x"), "does not exist"),
            (at("real"), "is a directory"),
            ("/dev/null".to_owned(), "not a regular file"),
        ] {
            let (outputs, failed) = act(&shell, vec![Action::Put(Put::new(path, *b"x"))]);
            assert!(failed && outputs[0].error_text().contains(why), "{outputs:?}");
        }
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).expect("listed").flatten().map(|entry| entry.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("ishprov")), "{left:?}");
    }
}

#[test]
fn a_full_disk_keeps_the_old_file_and_the_stream() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mount = text(dir.path());
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none", &mount])
        .status()
        .expect("mount runs");
    assert!(mounted.success(), "this test mounts a tmpfs of 2 MB");
    let path = format!("{mount}/file");
    std::fs::write(&path, "old").expect("written");
    for shell in shells() {
        for size in [900_000usize, 5_000_000] {
            let fill = if size < 1_000_000 { "head -c 1500000 /dev/zero >fill" } else { "rm -f fill" };
            let fill = Run { chdir: Some(mount.clone()), ..Run::new(fill) };
            let replies = converse(
                &shell,
                &[
                    Frame::act([Action::Run(fill), Action::Put(Put::new(&path, vec![1u8; size]))]),
                    Frame::probe([Ask::content(&path)]),
                ],
            );
            let (outputs, failed) = acted(&replies[0][0]);
            assert!(failed && outputs[1].error_text().contains("No space left"), "{outputs:?}");
            let cause = ishprov::shell::cause_of(&outputs[1].error_text()).map(|cause| cause.what);
            assert_eq!(cause, Some(format!("no space left on {mount}")), "{outputs:?}");
            let file = answers(&replies[1][0]).file(&Ask::content(&path)).expect("answered").clone();
            assert_eq!(file.content.as_deref(), Some(&b"old"[..]));
        }
    }
    assert!(Command::new("umount").arg(&mount).status().expect("umount runs").success());
}

#[test]
fn what_is_too_long_is_not_sent_and_says_so() {
    use ishprov::shell::limits::{CONTENT, SCRIPT};
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| text(&dir.path().join(name));
    let sparse = std::fs::File::create(at("sparse")).expect("made");
    sparse.set_len(300 << 20).expect("sparse");
    std::fs::write(at("large"), vec![7u8; CONTENT]).expect("written");
    for number in 0..5 {
        std::fs::write(at(&format!("part{number}")), vec![b'p'; CONTENT]).expect("written");
    }
    for shell in shells() {
        let spared = Ask::File(FileAsk {
            path: at("sparse"),
            follow: true,
            digest: true,
            content: Content::Small,
            user: None,
        });
        let long = Ask::sh(format!("head -c {} /dev/zero", SCRIPT + 1));
        let endless = Ask::sh("cat /dev/zero");
        let begun = Instant::now();
        let asks = [Ask::content(at("sparse")), Ask::content(at("large")), long.clone(), Ask::sh("echo on")];
        let replies = converse(
            &shell,
            &[
                Frame::probe(asks.clone()),
                Frame::probe([spared.clone()]),
                Frame::probe([endless.clone(), Ask::content("/proc/version")]),
                Frame::probe((0..5).map(|number| Ask::content(at(&format!("part{number}"))))),
                Frame::act([Action::sh("head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2")]),
            ],
        );
        let found = answers(&replies[0][0]);
        let why = |found: &Answers, ask: &Ask| found.get(ask).err().map(|f| f.message).unwrap_or_default();
        let said = "it has 314572800 bytes, and contents of more than 4194304 bytes are not read";
        assert!(why(found, &asks[0]).ends_with(said), "{}", why(found, &asks[0]));
        assert_eq!(found.file(&asks[1]).expect("read").content.as_ref().map(Vec::len), Some(CONTENT));
        assert_eq!(
            why(found, &long),
            format!("its answer has {} bytes, and more than {SCRIPT} are not read", SCRIPT + 1)
        );
        assert_eq!(found.output(&asks[3]).expect("the others are there").text(), "on\n");
        let file = answers(&replies[1][0]).file(&spared).expect("compared by its digest").clone();
        assert_eq!((file.content, file.size), (None, 300 << 20));
        assert!(file.sha256.is_some_and(|digest| digest.len() == 64));
        assert!(why(answers(&replies[2][0]), &endless).contains("are not read"));
        let version = answers(&replies[2][0]).file(&Ask::content("/proc/version")).expect("read").clone();
        assert!(version.content.is_some_and(|text| text.starts_with(b"Linux")));
        let crowd = answers(&replies[3][0]);
        assert!(crowd.crowded());
        let read = (0..5).filter(|number| crowd.file(&Ask::content(at(&format!("part{number}")))).is_ok());
        assert_eq!(read.count(), 4, "as many as there is room for");
        let (outputs, failed) = acted(&replies[4][0]);
        assert!(!failed);
        assert!(outputs[0].stdout.len() <= 2 << 20 && outputs[0].error_text().contains("is cut here"));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}

#[test]
fn proxies_of_the_host_reach_what_is_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = text(&dir.path().join("environment"));
    let content = "# http_proxy=http://no:1\n  export http_proxy=\"http://proxy:3128\"\nhttps_proxy='http://p:2' # why\n\
                   NO_PROXY=localhost,10.0.0.0/8\nPATH=/evil\nLD_PRELOAD=/evil.so\nftp_proxy=$(touch /tmp/evil)\nno_proxy=last";
    std::fs::write(&file, content).expect("written");
    let nonce = fresh_nonce();
    let run = |environment: Vec<(String, String)>| {
        let script = "echo \"$http_proxy|$https_proxy|$NO_PROXY|$ftp_proxy|$no_proxy|$LD_PRELOAD\"";
        Frame::act([Action::Run(Run { environment, ..Run::new(script) })])
    };
    for shell in shells() {
        let own = run(vec![("http_proxy".to_owned(), "http://own:9".to_owned())]);
        let mut first = hello(&run(Vec::new()), &nonce, 0, None);
        first.script = first.script.replace("/etc/environment", &file);
        let input = [first.head(&nonce), compile(&own, 1).head(&nonce)].concat();
        let mut child = Command::new("env")
            .args(["-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"])
            .args(&shell)
            .args(["-c", &bootstrap(&nonce)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the shell starts");
        child.stdin.take().expect("piped").write_all(&input).expect("written");
        let out = String::from_utf8_lossy(&child.wait_with_output().expect("ends").stdout).into_owned();
        let rest = "http://p:2|localhost,10.0.0.0/8|$(touch /tmp/evil)|last|";
        assert!(out.contains(&format!("\nhttp://proxy:3128|{rest}\n")), "{shell:?}: {out}");
        assert!(out.contains(&format!("\nhttp://own:9|{rest}\n")), "the task's own wins: {shell:?}: {out}");
    }
}

#[test]
fn a_megabyte_of_script_and_of_output_passes() {
    for shell in shells() {
        let long: String = "x'\"$`\\\n".repeat(150_000);
        let ask = Ask::sh(format!("printf '%s' {}", ishprov::shell::quote(&long)));
        let replies = converse(&shell, &[Frame::probe([ask.clone()])]);
        assert!(answers(&replies[0][0]).output(&ask).expect("answered").text() == long);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn whatever_goes_in_arrives(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        word in "[^\0]{0,60}",
        name in "[^/\0]{1,40}".prop_filter("a name", |name| name != "." && name != ".."),
    ) {
        for shell in shells() {
            let dir = tempfile::tempdir().expect("a directory");
            let path = format!("{}/{name}", text(dir.path()));
            let content = Ask::File(FileAsk { path: path.clone(), follow: true, digest: true, content: Content::Whole, user: None });
            let said = Ask::sh(format!("printf '%s' {}", ishprov::shell::quote(&word)));
            let frame = Frame { items: vec![
                Item::act([
                    Action::Put(Put::new(&path, bytes.clone())),
                    Action::Run(Run { environment: vec![("W".into(), word.clone())], ..Run::new("cat; printf '%s' \"$W\" >&2").stdin(bytes.clone()) }),
                ]),
                Item::Probe(vec![content.clone(), said.clone()]),
            ] };
            let replies = converse(&shell, &[frame]);
            let (outputs, failed) = acted(&replies[0][0]);
            prop_assert!(!failed, "{:?}", outputs);
            prop_assert_eq!(&outputs[1].stdout, &bytes);
            prop_assert_eq!(outputs[1].error_text(), word.clone());
            let found = answers(&replies[0][1]);
            let state = found.file(&content).expect("answered");
            prop_assert_eq!(state.content.as_ref(), Some(&bytes));
            let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            let hex: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(state.sha256.as_ref(), Some(&hex));
            prop_assert_eq!(found.output(&said).expect("answered").text(), word.clone());
            let Answer::File(_) = found.get(&content).expect("answered") else { unreachable!() };
        }
    }
}
