//! Inventories that are programs.

use crate::folder::Folder;
use std::os::unix::fs::PermissionsExt as _;

const SITE: &str = "
== meta.sh
#!/bin/sh
[ \"$1\" = --list ] || exit 9
echo noise >&2
echo '{\"web\": {\"hosts\": [\"d1\", \"d2\"], \"vars\": {\"a\": 1}, \"children\": [\"sub\"]}, \"sub\": [\"d3\"], \"_meta\": {\"hostvars\": {\"d1\": {\"x\": \"{{ a }}#b\", \"who\": \"yes\"}}}}'
== bare.sh
#!/bin/sh
case $1 in
--list) echo '{\"web\": [\"d1\"], \"other\": {\"hosts\": [\"d1\", \"d2\"]}}' ;;
--host) [ $2 = d2 ] || echo \"{\\\"asked\\\": \\\"$2\\\"}\" ;;
esac
== broken.sh
#!/bin/sh
echo 'Traceback: expired credentials' >&2; exit 3
== noise.sh
#!/bin/sh
echo 'hello {'
== both/dyn.sh
#!/bin/sh
echo '{\"web\": [\"d9\"], \"_meta\": {}}'
== both/hosts.ini
[web]
d8 b=2
== plain.ini
[web]
d7
";

fn folder() -> Folder {
    let folder = Folder::new(SITE);
    for name in ["meta.sh", "bare.sh", "broken.sh", "noise.sh", "both/dyn.sh", "plain.ini"] {
        mode(&folder, name, 0o755);
    }
    folder
}

fn mode(folder: &Folder, name: &str, mode: u32) {
    std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn are_run_as_ansible_runs_them() {
    let folder = folder();
    let list = |inventory: &str| folder.run(&format!("inventory list -i {inventory}"));
    let meta = list("meta.sh");
    assert!(
        meta.starts_with("exit 0") && ["d1", "d2", "d3"].iter().all(|host| meta.contains(host)),
        "{meta}"
    );
    let host = folder.run("inventory host d1 -i meta.sh");
    assert!(host.contains("1#b") && host.contains("yes"), "{host}");
    let asked = folder.run("inventory host d1 -i bare.sh");
    assert!(asked.starts_with("exit 0") && asked.contains("asked"), "{asked}");
    assert!(!folder.run("inventory host d2 -i bare.sh").contains("asked"));
    let both = list("both");
    assert!(both.contains("d8") && both.contains("d9"), "{both}");
    assert!(list("plain.ini").contains("d7"), "text stays text, whatever its mode");
}

#[test]
fn that_fail_are_one_error_with_what_they_said() {
    let folder = folder();
    let broken = folder.run("inventory list -i broken.sh");
    assert!(broken.starts_with("exit 1") && broken.matches("error").count() <= 2, "{broken}");
    assert!(broken.contains("`broken.sh --list` failed with exit code 3"), "{broken}");
    assert!(broken.contains("Traceback: expired credentials"), "{broken}");
    let noise = folder.run("inventory list -i noise.sh");
    assert!(noise.starts_with("exit 1") && noise.contains("did not print JSON"), "{noise}");
    mode(&folder, "meta.sh", 0o644);
    let text = folder.run("inventory list -i meta.sh");
    assert!(text.starts_with("exit 1") && text.contains("chmod +x meta.sh"), "{text}");
}
