//! Everything that can be found wrong without a host is found before the first connection, and told together.

use crate::folder::Folder;
use std::io::ErrorKind;
use std::net::TcpListener;

/// One slip of every kind that the layers find, each in another file.
const SITE: &str = "
== inventory/hosts.yaml
all:
  hosts:
    h1: {ansible_host: 127.0.0.1, ansible_port: PORT}
== inventory/group_vars/all.yaml
db_name: main
db_name: other
== site.yaml
- hosts: all
  roles: [db, cache]
  tasks:
    - fiel: {path: /srv/x}
    - file: {path: /srv/x, moed: \"0644\"}
    - copy: {src: motd, dest: /etc/motd}
    - debug: {msg: \"{{ nobody_knows }}\"}
      throttle: 1
    - debug: {msg: \"{{ db_nmae }}\"}
      notify: nobody
    - file: {state: directory}
- hosts: nobody
  tasks:
    - import_tasks: more.yaml
== more.yaml
- file: {path: /srv/x, mode: 644}
== roles/db/tasks/main.yml
- template: {src: db.j2, dest: /etc/db}
== roles/db/templates/db.j2
{{ db_prot }}
";

#[test]
fn slips_of_every_kind() {
    let (shown, contacted) = run("run site.yaml");
    assert!(!contacted);
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stderr
    error: the key `db_name` stands here twice
     --> inventory/group_vars/all.yaml:2:1
      |
    2 | db_name: other
      | ^^^^^^^
      |
      = `db_name` first set at inventory/group_vars/all.yaml:1:1
    error: `throttle` is not supported on a task yet
     --> site.yaml:8:7
      |
    8 |       throttle: 1
      |       ^^^^^^^^
    error: there is no role `cache`
     --> site.yaml:2:15
      |
    2 |   roles: [db, cache]
      |               ^^^^^
      |
      = help: roles are looked for in `roles`
    error: unknown module `fiel`
     --> site.yaml:4:7
      |
    4 |     - fiel: {path: /srv/x}
      |       ^^^^ did you mean `file`?
    error: unknown parameter `moed` of module `file`
     --> site.yaml:5:28
      |
    5 |     - file: {path: /srv/x, moed: "0644"}
      |                            ^^^^ did you mean `mode`?
    error: `mode: 644` is the decimal number 644, not the octal mode 0644
     --> more.yaml:1:30
      |
    1 | - file: {path: /srv/x, mode: 644}
      |                              ^^^ write "0644"
      |
      = tasks of `more.yaml`, included at site.yaml:14:21
    error: no host and no group is named `nobody`
      --> site.yaml:12:10
       |
    12 | - hosts: nobody
       |          ^^^^^^
       |
       = 1 host in the inventory; groups: `all`
    7 errors in 5 files. No host was contacted.
    "#);
}

#[test]
fn as_json() {
    let (shown, contacted) = run("run site.yaml --output json");
    assert!(!contacted);
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stdout
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"yaml-duplicate-key","message":"the key `db_name` stands here twice","place":{"path":"inventory/group_vars/all.yaml","line":2,"column":1,"end_line":2,"end_column":8},"label":null,"frames":[{"text":"`db_name` first set","place":{"path":"inventory/group_vars/all.yaml","line":1,"column":1,"end_line":1,"end_column":8}}],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"keyword-not-supported","message":"`throttle` is not supported on a task yet","place":{"path":"site.yaml","line":8,"column":7,"end_line":8,"end_column":15},"label":null,"frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-role","message":"there is no role `cache`","place":{"path":"site.yaml","line":2,"column":15,"end_line":2,"end_column":20},"label":null,"frames":[],"notes":[],"hints":["roles are looked for in `roles`"],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-module","message":"unknown module `fiel`","place":{"path":"site.yaml","line":4,"column":7,"end_line":4,"end_column":11},"label":"did you mean `file`?","frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-parameter","message":"unknown parameter `moed` of module `file`","place":{"path":"site.yaml","line":5,"column":28,"end_line":5,"end_column":32},"label":"did you mean `mode`?","frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"bare-mode","message":"`mode: 644` is the decimal number 644, not the octal mode 0644","place":{"path":"more.yaml","line":1,"column":30,"end_line":1,"end_column":33},"label":"write \"0644\"","frames":[{"text":"tasks of `more.yaml`, included","place":{"path":"site.yaml","line":14,"column":21,"end_line":14,"end_column":30}}],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-host-pattern","message":"no host and no group is named `nobody`","place":{"path":"site.yaml","line":12,"column":10,"end_line":12,"end_column":16},"label":null,"frames":[],"notes":["1 host in the inventory; groups: `all`"],"hints":[],"hosts":[]}}
    "#);
}

/// The same port is called when nothing is wrong: what the tests above look at does tell.
#[test]
fn a_site_without_slips_calls_the_host() {
    let (folder, listener) = folder();
    folder.write("inventory/group_vars/all.yaml", "db_name: main");
    folder.write("site.yaml", "- hosts: all\n  tasks:\n    - debug: {msg: hello}");
    folder.run("run site.yaml -T 1");
    assert!(listener.accept().is_ok());
}

fn run(words: &str) -> (String, bool) {
    let (folder, listener) = folder();
    let port = listener.local_addr().expect("an address").port().to_string();
    let shown = folder.run(words).replace(&port, "PORT");
    let contacted = match listener.accept() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    };
    (shown, contacted)
}

fn folder() -> (Folder, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("an address").port().to_string();
    (Folder::new(&SITE.replace("PORT", &port)), listener)
}
