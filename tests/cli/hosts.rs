//! Inventories and patterns with slips in them.

use crate::folder::Folder;

const SITE: &str = "
== inventory
[web]
h1
h2
[db]
h3
== site.yaml
- hosts: web
  tasks:
    - debug: {msg: hello}
      tags: [greet]
";

#[test]
fn a_play_for_hosts_that_do_not_exist() {
    let folder = Folder::new(SITE);
    folder.write(
        "site.yaml",
        "- hosts: wbe:!db\n  tasks: []\n- hosts: all:&dv\n  tasks: []\n- hosts: '~h(1'\n  tasks: []",
    );
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: no host and no group is named `wbe`
     --> site.yaml:1:10
      |
    1 | - hosts: wbe:!db
      |          ^^^^^^^ did you mean `web`?
    error: no host and no group is named `dv`
     --> site.yaml:3:10
      |
    3 | - hosts: all:&dv
      |          ^^^^^^^ did you mean `db`?
    error: `h(1` is no regular expression: unclosed group
     --> site.yaml:5:10
      |
    5 | - hosts: '~h(1'
      |          ^^^^^^
    3 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn a_limit_that_means_nobody() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory --limit h4"), @"
    exit 1
    -- stderr
    error: no host and no group is named `h4`
     --> command line (--limit):1:1
      |
    1 | h4
      | ^^ did you mean `h1`?
    1 error in 3 files. No host was contacted.
    ");
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory --limit db"), @"
    exit 1
    -- stderr
    error: no host is left to run on: no play is for a host of `--limit db`
     = help: `ishprov run site.yaml --list-hosts` shows the hosts of each play
    ");
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory --limit @failed.retry"), @"
    exit 1
    -- stderr
    error: the host list `failed.retry` was not read
     --> command line (--limit):1:1
      |
    1 | @failed.retry
      | ^^^^^^^^^^^^^
    1 error in 3 files. No host was contacted.
    ");
}

#[test]
fn no_such_inventory() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml -i invntory"), @"
    exit 1
    -- stderr
    error: there is no inventory `invntory`
     = looked in /DIR
     = help: did you mean `inventory`?
     = help: give a file, a folder or a list of hosts (`h1,h2,`) with `-i`
    1 error in 1 file. No host was contacted.
    ");
    std::fs::remove_file(folder.path("inventory")).expect("a file");
    insta::assert_snapshot!(folder.run("run site.yaml"), @"
    exit 1
    -- stderr
    error: there is no inventory `inventory`
     = looked in /DIR
     = help: give a file, a folder or a list of hosts (`h1,h2,`) with `-i`
    1 error in 1 file. No host was contacted.
    ");
    std::fs::create_dir(folder.path("inventory")).expect("a folder");
    insta::assert_snapshot!(folder.run("run site.yaml"), @"
    exit 1
    -- stderr
    error: the inventory folder `inventory` holds no inventory file
     = help: put `hosts.yaml` or `hosts.ini` into it
    1 error in 1 file. No host was contacted.
    ");
}

#[test]
fn bad_ini() {
    let folder = Folder::new(SITE);
    folder.write("inventory", "[web\nh1\n[db]\nh2 ansible_host\nh3 a='b\n[db:varz]\nx=1\n[db:vars]\nx\n[nobody:children]\nghosts\n[more]\nh[1:x]");
    insta::assert_snapshot!(folder.run("inventory list -i inventory"), @"
    exit 1
    -- stderr
    error: the section header `[web` is never closed
     --> inventory:1:1
      |
    1 | [web
      | ^^^^
      |
      = help: write `[group]`
    error: `ansible_host` is not of the form `key=value`
     --> inventory:4:4
      |
    4 | h2 ansible_host
      |    ^^^^^^^^^^^^
      |
      = help: one host a line; quote a value that holds blanks: key='two words'
    error: a quote is opened and never closed
     --> inventory:5:6
      |
    5 | h3 a='b
      |      ^
    error: a section of kind `varz` is not known
     --> inventory:6:5
      |
    6 | [db:varz]
      |     ^^^^ did you mean `vars`?
      |
      = help: the kinds are `[group]`, `[group:children]` and `[group:vars]`
    error: `x` is not of the form `key=value`
     --> inventory:9:1
      |
    9 | x
      | ^
    error: the range `[1:x]` must have two numbers or two letters
      --> inventory:13:1
       |
    13 | h[1:x]
       | ^^^^^^
    error: there is no group `ghosts`
      --> inventory:11:1
       |
    11 | ghosts
       | ^^^^^^
       |
       = help: define it with a section `[ghosts]`
    7 errors in 1 file. No host was contacted.
    ");
}

#[test]
fn bad_yaml_inventory() {
    let folder = Folder::new(
        "
== inventory/hosts.yaml
all:
  chidlren:
    web: {hosts: {h1: }}
  children:
    db:
      hosts: [h2]
      var: {x: 1}
    app:
      hosts:
        h1: 3
",
    );
    insta::assert_snapshot!(folder.run("inventory graph"), @"
    exit 1
    -- stderr
    error: unknown key `chidlren` of group `all`
     --> inventory/hosts.yaml:2:3
      |
    2 |   chidlren:
      |   ^^^^^^^^ did you mean `children`?
    error: unknown key `var` of group `db`
     --> inventory/hosts.yaml:7:7
      |
    7 |       var: {x: 1}
      |       ^^^ did you mean `vars`?
    error: `hosts` expects a mapping of hosts, found a list
     --> inventory/hosts.yaml:6:14
      |
    6 |       hosts: [h2]
      |              ^^^^
      |
      = help: write each name as a key: `db1:`
    error: host `h1` expects a mapping of variables, found a number
      --> inventory/hosts.yaml:10:13
       |
    10 |         h1: 3
       |             ^
    4 errors in 1 file. No host was contacted.
    ");
}

#[test]
fn groups_in_a_circle() {
    let folder = Folder::new("== inventory\n[a:children]\nb\n[b:children]\na\n[b]\nh1");
    insta::assert_snapshot!(folder.run("inventory graph"), @"
    exit 1
    -- stderr
    error: group `a` cannot be below `b`: it is above it already
     --> inventory:4:1
      |
    4 | a
      | ^
      |
      = `b` put below `a` at inventory:2:1
    1 error in 1 file. No host was contacted.
    ");
}

#[test]
fn variables_of_a_group_that_does_not_exist() {
    let folder = Folder::new(SITE);
    std::fs::remove_file(folder.path("inventory")).expect("a file");
    folder.write("inventory/hosts.ini", "[web]\nh1");
    folder.write("inventory/group_vars/wbe.yaml", "x: 1");
    folder.write("inventory/host_vars/h2.yaml", "x: 1");
    insta::assert_snapshot!(folder.run("lint site.yaml"), @"
    exit 0
    -- stdout
    site.yaml: no errors in 4 files, 1 task
    -- stderr
    warning: `inventory/group_vars/wbe.yaml` belongs to no group: there is no `wbe`
     = help: did you mean `web`?
    ");
}

#[test]
fn how_to_connect_said_wrongly() {
    let folder = Folder::new(SITE);
    folder.write(
        "inventory",
        "[web]\nh1 ansible_port=many\nh2 ansible_connection=winrm ansible_become=perhaps",
    );
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory"), @"
    exit 1
    -- stderr
    error: `ansible_port` expects a port from 1 to 65535, found `many`
     --> inventory:2:17
      |
    2 | h1 ansible_port=many
      |                 ^^^^
      |
      = host h1
    error: `ansible_connection` expects `ssh`, `native`, `openssh` or `local`, found `winrm`
     --> inventory:3:23
      |
    3 | h2 ansible_connection=winrm ansible_become=perhaps
      |                       ^^^^^
      |
      = host h2
    error: `ansible_become` expects a truth value, found `perhaps`
     --> inventory:3:44
      |
    3 | h2 ansible_connection=winrm ansible_become=perhaps
      |                                            ^^^^^^^
      |
      = host h2
    3 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn a_host_that_is_not_in_the_inventory() {
    insta::assert_snapshot!(Folder::new(SITE).run("inventory host h4"), @"
    exit 1
    -- stderr
    error: no host and no group is named `h4`
     --> command line:1:1
      |
    1 | h4
      | ^^ did you mean `h1`?
    ");
}
#[test]
fn tags_that_no_task_has() {
    let folder = Folder::new(SITE);
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory --tags gret"), @"
    exit 1
    -- stderr
    error: no task has the tag `gret`
     --> command line (--tags):1:1
      |
    1 | gret
      | ^^^^ did you mean `greet`?
    1 error in 3 files. No host was contacted.
    ");
    insta::assert_snapshot!(folder.run("run site.yaml -i inventory --list-tasks --skip-tags greet"), @"
    exit 0
    -- stdout
    play #1 (web): web
    ");
}
