//! `--check` refuses what the run will refuse, and says "known after" only where an announced change could help.

use crate::folder::Folder;

const SITE: &str = "
== inventory
here ansible_connection=local dir=DIR
== plain
a file where a folder is wanted
== site.yaml
- hosts: all
  gather_facts: false
  tasks:
    - name: announced
      copy: {content: one, dest: \"{{ dir }}/new\", mode: \"0644\"}
    - name: refused
      TASK
";

fn checked(task: &str) -> String {
    let folder = Folder::new(SITE);
    let dir = folder.path("").display().to_string();
    folder.write("inventory", &folder.read("inventory").trim_end().replace("DIR", dir.trim_end_matches('/')));
    folder.write("site.yaml", &folder.read("site.yaml").replace("TASK", task));
    folder.run("run site.yaml --check")
}

#[test]
fn what_no_announced_change_could_heal_is_refused() {
    for (task, why) in [
        ("file: {path: \"{{ dir }}/plain\", state: directory}", "is a file, not a folder"),
        ("copy: {content: x, dest: \"{{ dir }}/plain/x\"}", "is not a folder"),
        (
            "copy: {content: x, dest: \"{{ dir }}/other\", owner: nobody_here}",
            "no such account `nobody_here`",
        ),
    ] {
        let shown = checked(task);
        assert!(shown.starts_with("exit 2") && shown.contains(why), "{task}\n{shown}");
    }
}

#[test]
fn what_an_announced_change_could_heal_is_known_after_it() {
    let shown = checked("lineinfile: {path: \"{{ dir }}/new\", line: two}");
    assert!(
        shown.starts_with("exit 0") && shown.contains("known after the changes before it: there is no file"),
        "{shown}"
    );
    // A command that check mode leaves out may do anything.
    let shown =
        checked("command: \"rm {{ dir }}/plain\"\n    - file: {path: \"{{ dir }}/plain\", state: directory}");
    assert!(shown.starts_with("exit 0") && shown.contains("known after the changes before it"), "{shown}");
}
