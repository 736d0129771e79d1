//! Files that are not there, and files that take themselves in.

use crate::folder::Folder;

#[test]
fn files_templates_roles_and_includes() {
    let folder = Folder::new(
        "
== inventory
h1
== site.yaml
- hosts: all
  vars_files:
    - secrets.yaml
  roles:
    - db
    - dbb
  tasks:
    - copy: {src: motd, dest: /etc/motd}
    - template: {src: motd.j2, dest: /etc/motd}
    - import_tasks: more.yaml
    - include_tasks: later.yaml
    - include_vars: vars.yaml
    - import_role: {name: web}
    - include_role: {name: db, tasks_from: restore}
- import_playbook: other.yaml
== roles/db/tasks/main.yml
- copy: {src: db.conf, dest: /etc/db.conf}
",
    );
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: there is no vars file `secrets.yaml`
     --> site.yaml:3:7
      |
    3 |     - secrets.yaml
      |       ^^^^^^^^^^^^
    error: there is no role `dbb`
     --> site.yaml:6:7
      |
    6 |     - dbb
      |       ^^^ did you mean `db`?
      |
      = help: roles are looked for in `roles`
    error: there is no file `motd`
     --> site.yaml:8:19
      |
    8 |     - copy: {src: motd, dest: /etc/motd}
      |                   ^^^^
      |
      = help: looked for files/motd, motd
    error: there is no template `motd.j2`
     --> site.yaml:9:23
      |
    9 |     - template: {src: motd.j2, dest: /etc/motd}
      |                       ^^^^^^^
      |
      = help: looked for templates/motd.j2, motd.j2
    error: there is no file of tasks `more.yaml`
      --> site.yaml:10:21
       |
    10 |     - import_tasks: more.yaml
       |                     ^^^^^^^^^
       |
       = help: looked for more.yaml, tasks/more.yaml
    error: there is no file of tasks `later.yaml`
      --> site.yaml:11:22
       |
    11 |     - include_tasks: later.yaml
       |                      ^^^^^^^^^^
       |
       = help: looked for later.yaml, tasks/later.yaml
    error: there is no file of variables `vars.yaml`
      --> site.yaml:12:21
       |
    12 |     - include_vars: vars.yaml
       |                     ^^^^^^^^^
       |
       = help: looked for vars/vars.yaml, vars.yaml
    error: there is no role `web`
      --> site.yaml:13:27
       |
    13 |     - import_role: {name: web}
       |                           ^^^
       |
       = help: roles are looked for in `roles`
    error: role `db` has no `tasks/restore.yml`
      --> site.yaml:14:44
       |
    14 |     - include_role: {name: db, tasks_from: restore}
       |                                            ^^^^^^^
    error: there is no playbook `other.yaml`
      --> site.yaml:15:20
       |
    15 | - import_playbook: other.yaml
       |                    ^^^^^^^^^^
    error: there is no file `db.conf`
     --> roles/db/tasks/main.yml:1:15
      |
    1 | - copy: {src: db.conf, dest: /etc/db.conf}
      |               ^^^^^^^
      |
      = role `db`, called at site.yaml:5:7
      = help: looked for roles/db/files/db.conf, roles/db/db.conf, roles/db/tasks/files/db.conf, roles/db/tasks/db.conf, files/db.conf, db.conf
    11 errors in 3 files. No host was contacted.
    ");
}

#[test]
fn no_site() {
    let folder = Folder::new("== inventory\nh1");
    insta::assert_snapshot!(folder.run("run stie.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: there is no playbook `stie.yaml`
    1 error in 1 file. No host was contacted.
    ");
    folder.write("sites/site.yaml", "");
    insta::assert_snapshot!(folder.run("run sites -i inventory"), @"
    exit 1
    -- stderr
    error: `sites` is a folder, not a playbook
    1 error in 1 file. No host was contacted.
    ");
}

#[test]
fn playbooks_in_a_circle() {
    let folder = Folder::new(
        "
== inventory
h1
== site.yaml
- import_playbook: db.yaml
== db.yaml
- import_playbook: site.yaml
",
    );
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: playbook `site.yaml` imports itself
     --> db.yaml:1:20
      |
    1 | - import_playbook: site.yaml
      |                    ^^^^^^^^^
      |
      = the circle is `site.yaml` -> `db.yaml` -> `site.yaml`
    1 error in 3 files. No host was contacted.
    ");
}

#[test]
fn tasks_in_a_circle() {
    let folder = Folder::new(
        "
== inventory
h1
== site.yaml
- hosts: all
  tasks:
    - import_tasks: one.yaml
== one.yaml
- import_tasks: two.yaml
== two.yaml
- import_tasks: one.yaml
",
    );
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `two.yaml` takes itself in, directly or by way of others
     --> one.yaml:1:17
      |
    1 | - import_tasks: two.yaml
      |                 ^^^^^^^^
      |
      = tasks of `two.yaml`, included at one.yaml:1:17
      = tasks of `one.yaml`, included at two.yaml:1:17
      = tasks of `two.yaml`, included at one.yaml:1:17
      = tasks of `one.yaml`, included at site.yaml:3:21
      = help: break the circle: the lines above show the way
    1 error in 4 files. No host was contacted.
    ");
}
#[test]
fn roles_in_a_circle() {
    let folder = Folder::new(
        "
== inventory
h1
== site.yaml
- hosts: all
  roles:
    - a
== roles/a/meta/main.yml
dependencies: [b]
== roles/a/tasks/main.yml
- debug: {msg: a}
== roles/b/meta/main.yml
dependencies:
  - role: a
== roles/b/tasks/main.yml
- debug: {msg: b}
",
    );
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: role `a` depends on itself
     --> roles/b/meta/main.yml:2:11
      |
    2 |   - role: a
      |           ^
      |
      = role `b`, called at roles/a/meta/main.yml:1:16
      = role `a`, called at site.yaml:3:7
      = the circle is `a` -> `b` -> `a`
      = help: take one of these out of its role's `dependencies`
    1 error in 6 files. No host was contacted.
    ");
}

/// Ten roles, each of which needs all others: found at once, not after all ways through them.
#[test]
fn roles_that_all_need_each_other() {
    let folder = Folder::new("== inventory\nh1\n== site.yaml\n- hosts: all\n  roles: [r0]");
    for role in 0..10 {
        let others = (0..10).filter(|other| *other != role).map(|other| format!("r{other}"));
        let others = others.collect::<Vec<_>>().join(", ");
        folder.write(&format!("roles/r{role}/meta/main.yml"), &format!("dependencies: [{others}]"));
        folder.write(&format!("roles/r{role}/tasks/main.yml"), "- debug: {msg: hello}");
    }
    let shown = folder.run("lint site.yaml -i inventory");
    assert!(shown.contains("role `r0` depends on itself"), "{shown}");
}
