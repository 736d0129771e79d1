//! Variables that nobody set, and those given in a way that cannot be read.

use crate::folder::Folder;

const SITE: &str = "
== inventory
[web]
h1 ansible_host=198.18.103.1 pg_version=15
h2 ansible_host=198.18.103.2 pg_version=15
== site.yaml
- hosts: web
  roles:
    - db
  tasks:
    - name: say it
      debug:
        msg: \"PostgreSQL {{ pg_versoin }}\"
    - name: only sometimes
      debug: {msg: hello}
      when: wanted_at_all
== roles/db/defaults/main.yml
db_dir: \"/srv/{{ db_nmae }}\"
db_name: main
== roles/db/tasks/main.yml
- file:
    path: \"{{ db_dir }}\"
    state: directory
- template:
    src: db.conf.j2
    dest: /etc/db.conf
== roles/db/templates/db.conf.j2
# {{ ansible_managed }}
version = {{ pg_version }}
name = {{ db_name }}
port = {{ db_prot }}
";

#[test]
fn undefined_in_a_task_a_condition_a_default_and_a_template() {
    insta::assert_snapshot!(Folder::new(SITE).run("run site.yaml -i inventory"), @r#"
    exit 1
    -- stderr
    error: `pg_versoin` is undefined
     --> site.yaml:7:29
      |
    7 |         msg: "PostgreSQL {{ pg_versoin }}"
      |                             ^^^^^^^^^^ did you mean `pg_version`?
    error: `wanted_at_all` is undefined
      --> site.yaml:10:13
       |
    10 |       when: wanted_at_all
       |             ^^^^^^^^^^^^^
    error: `db_nmae` is undefined
     --> roles/db/defaults/main.yml:1:18
      |
    1 | db_dir: "/srv/{{ db_nmae }}"
      |                  ^^^^^^^ did you mean `db_name`?
      |
      = `db_dir` used at roles/db/tasks/main.yml:2:15
    error: `db_prot` is undefined
     --> roles/db/templates/db.conf.j2:4:11
      |
    4 | port = {{ db_prot }}
      |           ^^^^^^^
      |
      = role `db`, called at site.yaml:3:7
    4 errors in 5 files. No host was contacted.
    "#);
}

#[test]
fn extra_variables_that_cannot_be_read() {
    let folder = Folder::new(
        "
== inventory
h1
== site.yaml
- hosts: all
  tasks: []
== broken.yaml
a: [1, 2
",
    );
    insta::assert_snapshot!(
        folder.run("run site.yaml -i inventory -e word -e '{\"a\": ' -e @nowhere.yaml -e @broken.yaml -e 'a=1 b'"),
        @r#"
    exit 1
    -- stderr
    error: there is no file `nowhere.yaml` (of `-e @nowhere.yaml`)
    error: `word` is no variable
     --> command line (-e):1:1
      |
    1 | word
      | ^^^^
      |
      = help: write `name=value`, JSON, or `@file`
    error: a bracket is opened and never closed
     --> command line (-e):1:1
      |
    1 | {"a":
      | ^
    error: a bracket is opened and never closed
     --> broken.yaml:1:4
      |
    1 | a: [1, 2
      |    ^
    error: `b` is no variable
     --> command line (-e):1:5
      |
    1 | a=1 b
      |     ^
      |
      = help: write `name=value`, JSON, or `@file`
    5 errors in 6 files. No host was contacted.
    "#
    );
}

#[test]
fn what_a_role_declared() {
    let folder = Folder::new(
        "
== inventory
h1 db_port=many db_kind=primry
== site.yaml
- hosts: all
  roles:
    - role: db
== roles/db/meta/argument_specs.yml
argument_specs:
  main:
    options:
      db_name: {type: str, required: true, description: name of the database}
      db_port: {type: int}
      db_kind: {type: str, choices: [primary, standby]}
== roles/db/tasks/main.yml
- debug: {msg: hello}
",
    );
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `db_port` of role `db` is a text, not an int
     --> inventory:1:12
      |
    1 | h1 db_port=many db_kind=primry
      |            ^^^^
      |
      = role `db`, called at site.yaml:3:13
    error: `db_kind` of role `db` is one of primary, standby
     --> inventory:1:25
      |
    1 | h1 db_port=many db_kind=primry
      |                         ^^^^^^ did you mean `primary`?
      |
      = role `db`, called at site.yaml:3:13
    error: role `db` needs the variable `db_name`, which nothing defines
     --> site.yaml:3:13
      |
    3 |     - role: db
      |             ^^
      |
      = help: it is: name of the database
    3 errors in 4 files. No host was contacted.
    ");
}

#[test]
fn a_name_that_no_variable_can_have() {
    let folder = Folder::new(
        "
== inventory/hosts.yaml
all:
  hosts: {h1: }
== inventory/group_vars/all.yaml
my-name: 1
== site.yaml
- hosts: all
  vars: {2nd: 1}
  tasks: []
",
    );
    insta::assert_snapshot!(folder.run("lint site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `2nd` cannot be a variable's name
     --> site.yaml:2:10
      |
    2 |   vars: {2nd: 1}
      |          ^^^
      |
      = help: names are letters, digits and underscores, and do not start with a digit
    1 error in 3 files. No host was contacted.
    ");
}
