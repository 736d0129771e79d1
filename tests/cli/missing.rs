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
      |       ^^^
      |
      = help: roles are looked for in `roles`
    error: there is no file of tasks `more.yaml`
      --> site.yaml:10:21
       |
    10 |     - import_tasks: more.yaml
       |                     ^^^^^^^^^
       |
       = help: looked for more.yaml, more.yaml, /tasks/more.yaml
    error: there is no file of tasks `later.yaml`
      --> site.yaml:11:22
       |
    11 |     - include_tasks: later.yaml
       |                      ^^^^^^^^^^
       |
       = help: looked for later.yaml, later.yaml, /tasks/later.yaml
    error: there is no role `web`
      --> site.yaml:13:27
       |
    13 |     - import_role: {name: web}
       |                           ^^^
       |
       = help: roles are looked for in `roles`
    error: role `db` has no `tasks/restore.yml`
      --> site.yaml:14:28
       |
    14 |     - include_role: {name: db, tasks_from: restore}
       |                            ^^
    error: there is no playbook `other.yaml`
      --> site.yaml:15:20
       |
    15 | - import_playbook: other.yaml
       |                    ^^^^^^^^^^
    7 errors in 3 files. No host was contacted.
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
    error: there is no playbook `sites`
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
      = help: break the circle: the frames below show the way
    1 error in 4 files. No host was contacted.
    ");
}
