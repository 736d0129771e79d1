//! Who acts on a host, and what stands in the way: accounts, their links, others who write the same file. On this
//! machine; what takes another account wants root.

use crate::folder::Folder;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};

/// `nobody` of every distribution.
const NOBODY: u32 = 65534;
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIXn4K9gBB5EXDIqcJe+r0DNhfuxDtA+c4xZlMCblAkP guest";

/// A site whose `DIR` is the folder itself, open to every account.
fn site(files: &str) -> (Folder, String) {
    let folder = Folder::new("");
    let dir = folder.path("").display().to_string().trim_end_matches('/').to_owned();
    for part in format!("\n{files}").split("\n== ").skip(1) {
        let (name, content) = part.split_once('\n').expect("a name and a content");
        folder.write(name, &content.trim_end().replace("DIR", &dir).replace("KEY", KEY));
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("mode");
    (folder, dir)
}

/// The account's home with links to root's file, which nobody else may read.
fn planted(dir: &str, links: &[&str]) -> String {
    let (home, target) = (format!("{dir}/home"), format!("{dir}/target"));
    fs::create_dir(&home).expect("made");
    lchown(&home, Some(NOBODY), Some(NOBODY)).expect("given");
    fs::write(&target, "secret\n").expect("written");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("mode");
    for link in links {
        symlink(&target, format!("{home}/{link}")).expect("linked");
        lchown(format!("{home}/{link}"), Some(NOBODY), Some(NOBODY)).expect("given");
    }
    target
}

fn untouched(target: &str) {
    let meta = fs::symlink_metadata(target).expect("there");
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.is_file()), (0o600, 0, true));
    assert_eq!(fs::read_to_string(target).expect("there"), "secret\n");
}

#[test]
fn an_account_does_what_it_may_do_with_every_file_module() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, dir) = site(
        "
== inventory
here ansible_connection=local
== t.j2
x=1
== site.yaml
- hosts: all
  gather_facts: false
  become: true
  become_user: nobody
  tasks:
    - template: {src: t.j2, dest: DIR/home/template}
    - {name: t1, copy: {content: x, dest: /etc/ishprov-denied}, ignore_errors: true}
    - {name: t2, slurp: {path: DIR/target}, ignore_errors: true}
    - {name: t3, lineinfile: {path: DIR/home/line, line: x}, ignore_errors: true}
    - {name: t4, blockinfile: {path: DIR/home/line, block: x}, ignore_errors: true}
    - {name: t5, replace: {path: DIR/home/line, regexp: s, replace: x}, ignore_errors: true}
    - {name: t6, ini_file: {path: DIR/home/line, section: s, option: o, value: v}, ignore_errors: true}
    - {name: t7, stat: {path: /root/.profile}, ignore_errors: true}
    - {name: t8, file: {path: DIR/home/line, mode: '0666'}, ignore_errors: true}
    - copy: {content: x, dest: DIR/home/new}
    - file: {path: DIR/home/a/b, state: directory}
",
    );
    let target = planted(&dir, &["template", "line"]);
    let root = fs::metadata("/root").map(|meta| meta.mode() & 0o077 == 0).unwrap_or(false);
    let shown = folder.run("run site.yaml -i inventory");
    untouched(&target);
    assert!(!std::path::Path::new("/etc/ishprov-denied").exists());
    // Whether root's home may be looked into is the distribution's choice.
    assert!(shown.contains(if root { "ignored=8\n" } else { "ignored=7\n" }), "{shown}");
    assert!(shown.contains("the folder `/etc` may not be written to: Permission denied"), "{shown}");
    for name in ["template", "new", "a", "a/b"] {
        let meta = fs::symlink_metadata(format!("{dir}/home/{name}")).expect("there");
        assert_eq!((meta.uid(), meta.gid(), meta.is_symlink()), (NOBODY, NOBODY, false), "{name}");
    }
}

#[test]
fn root_does_not_follow_what_an_account_planted() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, dir) = site(
        "
== inventory
here ansible_connection=local
== site.yaml
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - authorized_key: {user: nobody, manage_dir: false, path: DIR/home/keys, key: KEY}
    - copy: {content: \"x\\n\", dest: DIR/home/copy, owner: nobody}
    - {name: t1, lineinfile: {path: DIR/home/line, line: x}, ignore_errors: true}
    - {name: t2, file: {path: DIR/home/line, owner: nobody, mode: '0666'}, ignore_errors: true}
    - {name: t3, copy: {content: x, dest: DIR/home/way/x}, ignore_errors: true}
    - {name: t4, file: {path: DIR/home/way/kept, state: absent}, ignore_errors: true}
    - {name: t5, file: {path: DIR/home/way/new, state: directory}, ignore_errors: true}
    - {name: t6, authorized_key: {user: nobody, path: DIR/home/way/keys, key: KEY}, ignore_errors: true}
    - copy: {content: \"x\\n\", dest: DIR/rootlink, follow: true}
",
    );
    let target = planted(&dir, &["keys", "copy", "line"]);
    fs::create_dir(format!("{dir}/roots")).expect("made");
    fs::write(format!("{dir}/roots/kept"), "").expect("written");
    symlink(format!("{dir}/roots"), format!("{dir}/home/way")).expect("linked");
    lchown(format!("{dir}/home/way"), Some(NOBODY), Some(NOBODY)).expect("given");
    symlink(format!("{dir}/real"), format!("{dir}/rootlink")).expect("linked");
    fs::write(format!("{dir}/real"), "").expect("written");
    let shown = folder.run("run site.yaml -i inventory");
    untouched(&target);
    assert!(shown.contains("ignored=6\n") && shown.contains("failed=0 "), "{shown}");
    assert!(shown.contains("is a symbolic link made by the account with the number 65534"), "{shown}");
    assert_eq!(fs::read_dir(format!("{dir}/roots")).expect("listed").count(), 1);
    assert_eq!(fs::metadata(format!("{dir}/roots")).expect("there").uid(), 0);
    assert_eq!(fs::read_to_string(format!("{dir}/home/keys")).expect("there"), format!("{KEY}\n"));
    for name in ["keys", "copy"] {
        let meta = fs::symlink_metadata(format!("{dir}/home/{name}")).expect("there");
        assert_eq!((meta.uid(), meta.is_file()), (NOBODY, true), "{name}");
    }
    assert_eq!(folder.read("real"), "x\n");
}

#[test]
fn all_who_write_one_file_at_once_have_their_line_in_it() {
    let names: String = (0..12).map(|number| format!("al{number:02} ansible_connection=local\n")).collect();
    let (folder, dir) = site(&format!(
        "
== inventory
{names}
== site.yaml
- hosts: all
  gather_facts: false
  tasks:
    - lineinfile: {{path: DIR/al.txt, line: \"{{{{ inventory_hostname }}}}\", create: true}}
    - blockinfile: {{path: DIR/al.txt, block: \"b {{{{ inventory_hostname }}}}\", marker: \"# {{{{ inventory_hostname }}}} {{mark}}\"}}
"
    ));
    let shown = folder.run("run site.yaml -i inventory");
    assert!(shown.starts_with("exit 0\n"), "{shown}");
    let mut lines: Vec<String> = folder.read("al.txt").lines().map(str::to_owned).collect();
    lines.retain(|line| line.starts_with("al") || line.starts_with("b al"));
    lines.sort_unstable();
    let wanted = |head: &str| (0..12).map(|number| format!("{head}al{number:02}")).collect::<Vec<_>>();
    assert_eq!(lines, [wanted(""), wanted("b ")].concat());
    let left: Vec<String> = fs::read_dir(&dir)
        .expect("listed")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".ishprov."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_folder_is_copied_with_all_that_is_in_it() {
    let (folder, dir) = site(
        "
== inventory
here ansible_connection=local
== files/conf.d/a
one
== files/conf.d/sub/b
two
== site.yaml
- hosts: all
  gather_facts: false
  tasks:
    - copy: {src: conf.d/, dest: DIR/in/conf.d/, mode: '0640', directory_mode: '0750'}
    - copy: {src: conf.d, dest: DIR/whole}
",
    );
    fs::create_dir(format!("{dir}/files/conf.d/empty")).expect("made");
    let shown = folder.run("run site.yaml -i inventory");
    assert!(shown.contains("changed=2 "), "{shown}");
    assert_eq!(
        (folder.read("in/conf.d/a"), folder.read("in/conf.d/sub/b")),
        ("one\n".into(), "two\n".into())
    );
    assert_eq!(folder.read("whole/conf.d/sub/b"), "two\n");
    let mode = |name: &str| fs::metadata(format!("{dir}/{name}")).expect("there").mode() & 0o7777;
    assert_eq!((mode("in"), mode("in/conf.d"), mode("in/conf.d/empty")), (0o755, 0o750, 0o750));
    assert_eq!(
        (mode("in/conf.d/sub/b"), mode("whole/conf.d/sub"), mode("whole/conf.d/a")),
        (0o640, 0o755, 0o644)
    );
    let again = folder.run("run site.yaml -i inventory");
    assert!(again.contains("changed=0 "), "{again}");
    folder.write("scripts.yaml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - script: conf.d");
    let script = folder.run("run scripts.yaml -i inventory");
    assert!(!script.starts_with("exit 0\n") && script.contains("conf.d"), "{script}");
}

#[test]
fn a_huge_file_of_an_account_is_refused_and_not_read() {
    let (folder, dir) = site("
== inventory
here ansible_connection=local
== site.yaml
- hosts: all
  gather_facts: false
  tasks:
    - copy: {content: \"x\\n\", dest: DIR/copy}
      check_mode: true
    - {name: t1, slurp: {path: DIR/huge}, ignore_errors: true}
    - {name: t2, lineinfile: {path: DIR/huge, line: x}, ignore_errors: true}
    - {name: t3, authorized_key: {user: root, manage_dir: false, path: DIR/huge, key: KEY}, ignore_errors: true}
");
    for name in ["copy", "huge"] {
        fs::File::create(format!("{dir}/{name}")).and_then(|file| file.set_len(150 << 20)).expect("made");
    }
    let shown = folder.run("run site.yaml -i inventory");
    assert!(shown.contains("ignored=3\n") && shown.contains("changed=1 "), "{shown}");
    assert!(
        shown.contains("it has 157286400 bytes") && shown.contains("huge has 157286400 bytes"),
        "{shown}"
    );
}
