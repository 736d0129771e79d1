//! Everything that can be found wrong without a host is found before the first connection, and told together.

use crate::folder::Folder;
use std::io::ErrorKind;
use std::net::TcpListener;

/// One slip of every kind that the layers find, each in another file.
const SITE: &str = "
== inventory/hosts.yaml
all:
  hosts:
    h1: {ansible_host: 127.0.0.1, ansible_port: PORT, db_name: main}
== site.yaml
- hosts: all
  roles: [db]
  tasks:
    - fiel: {path: /srv/x}
      register: made
    - file: {path: /srv/x, moed: \"0644\"}
      when: made is changed
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
    error: unknown module `fiel`
     --> site.yaml:4:7
      |
    4 |     - fiel: {path: /srv/x}
      |       ^^^^ did you mean `file`?
    error: unknown parameter `moed` of module `file`
     --> site.yaml:6:28
      |
    6 |     - file: {path: /srv/x, moed: "0644"}
      |                            ^^^^ did you mean `mode`?
    error: there is no file `motd`
     --> site.yaml:8:19
      |
    8 |     - copy: {src: motd, dest: /etc/motd}
      |                   ^^^^
      |
      = help: looked for files/motd, motd
    error: `nobody_knows` is undefined
     --> site.yaml:9:24
      |
    9 |     - debug: {msg: "{{ nobody_knows }}"}
      |                        ^^^^^^^^^^^^
    error: `throttle` is not supported on a task yet
      --> site.yaml:10:7
       |
    10 |       throttle: 1
       |       ^^^^^^^^
       |
       = help: let `serial` on the play or `--forks` limit how many hosts go at once
    error: `db_nmae` is undefined
      --> site.yaml:11:24
       |
    11 |     - debug: {msg: "{{ db_nmae }}"}
       |                        ^^^^^^^ did you mean `db_name`?
    error: no handler is named `nobody` or listens to it
      --> site.yaml:12:15
       |
    12 |       notify: nobody
       |               ^^^^^^
    error: module `file` needs the parameter `path`
      --> site.yaml:13:7
       |
    13 |     - file: {state: directory}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: `path`, an absolute path: the file, folder or link
    error: no host and no group is named `nobody`
      --> site.yaml:14:10
       |
    14 | - hosts: nobody
       |          ^^^^^^
       |
       = 1 host in the inventory; groups: `all`
    error: `mode: 644` is the decimal number 644, not the octal mode 0644
     --> more.yaml:1:30
      |
    1 | - file: {path: /srv/x, mode: 644}
      |                              ^^^ write "0644"
      |
      = tasks of `more.yaml`, included at site.yaml:16:21
    error: `db_prot` is undefined
     --> roles/db/templates/db.j2:1:4
      |
    1 | {{ db_prot }}
      |    ^^^^^^^
      |
      = role `db`, called at site.yaml:2:11
    11 errors in 5 files. No host was contacted.
    "#);
}

#[test]
fn as_json() {
    let (shown, contacted) = run("run site.yaml --output json");
    assert!(!contacted);
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stdout
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-module","message":"unknown module `fiel`","place":{"path":"site.yaml","line":4,"column":7,"end_line":4,"end_column":11},"label":"did you mean `file`?","frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-parameter","message":"unknown parameter `moed` of module `file`","place":{"path":"site.yaml","line":6,"column":28,"end_line":6,"end_column":32},"label":"did you mean `mode`?","frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"missing-file","message":"there is no file `motd`","place":{"path":"site.yaml","line":8,"column":19,"end_line":8,"end_column":23},"label":null,"frames":[],"notes":[],"hints":["looked for files/motd, motd"],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"undefined-variable","message":"`nobody_knows` is undefined","place":{"path":"site.yaml","line":9,"column":24,"end_line":9,"end_column":36},"label":null,"frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"keyword-not-supported","message":"`throttle` is not supported on a task yet","place":{"path":"site.yaml","line":10,"column":7,"end_line":10,"end_column":15},"label":null,"frames":[],"notes":[],"hints":["let `serial` on the play or `--forks` limit how many hosts go at once"],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"undefined-variable","message":"`db_nmae` is undefined","place":{"path":"site.yaml","line":11,"column":24,"end_line":11,"end_column":31},"label":"did you mean `db_name`?","frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-handler","message":"no handler is named `nobody` or listens to it","place":{"path":"site.yaml","line":12,"column":15,"end_line":12,"end_column":21},"label":null,"frames":[],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"bad-argument","message":"module `file` needs the parameter `path`","place":{"path":"site.yaml","line":13,"column":7,"end_line":13,"end_column":31},"label":null,"frames":[],"notes":[],"hints":["`path`, an absolute path: the file, folder or link"],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"unknown-host-pattern","message":"no host and no group is named `nobody`","place":{"path":"site.yaml","line":14,"column":10,"end_line":14,"end_column":16},"label":null,"frames":[],"notes":["1 host in the inventory; groups: `all`"],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"bare-mode","message":"`mode: 644` is the decimal number 644, not the octal mode 0644","place":{"path":"more.yaml","line":1,"column":30,"end_line":1,"end_column":33},"label":"write \"0644\"","frames":[{"text":"tasks of `more.yaml`, included","place":{"path":"site.yaml","line":16,"column":21,"end_line":16,"end_column":30}}],"notes":[],"hints":[],"hosts":[]}}
    {"event":"diagnostic","diagnostic":{"severity":"error","code":"undefined-variable","message":"`db_prot` is undefined","place":{"path":"roles/db/templates/db.j2","line":1,"column":4,"end_line":1,"end_column":11},"label":null,"frames":[{"text":"role `db`, called","place":{"path":"site.yaml","line":2,"column":11,"end_line":2,"end_column":13}}],"notes":[],"hints":[],"hosts":[]}}
    "#);
}

/// A name is not called undefined while the file that may define it cannot be read.
#[test]
fn echoes_are_left_out() {
    let (folder, _) = folder();
    folder.write("inventory/group_vars/all.yaml", "db_nmae: 1\ndb_nmae: 2");
    insta::assert_snapshot!(folder.run("lint site.yaml"), @r#"
    exit 1
    -- stderr
    error: the key `db_nmae` stands here twice
     --> inventory/group_vars/all.yaml:2:1
      |
    2 | db_nmae: 2
      | ^^^^^^^
      |
      = `db_nmae` first set at inventory/group_vars/all.yaml:1:1
    error: unknown module `fiel`
     --> site.yaml:4:7
      |
    4 |     - fiel: {path: /srv/x}
      |       ^^^^ did you mean `file`?
    error: unknown parameter `moed` of module `file`
     --> site.yaml:6:28
      |
    6 |     - file: {path: /srv/x, moed: "0644"}
      |                            ^^^^ did you mean `mode`?
    error: there is no file `motd`
     --> site.yaml:8:19
      |
    8 |     - copy: {src: motd, dest: /etc/motd}
      |                   ^^^^
      |
      = help: looked for files/motd, motd
    error: `throttle` is not supported on a task yet
      --> site.yaml:10:7
       |
    10 |       throttle: 1
       |       ^^^^^^^^
       |
       = help: let `serial` on the play or `--forks` limit how many hosts go at once
    error: module `file` needs the parameter `path`
      --> site.yaml:13:7
       |
    13 |     - file: {state: directory}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: `path`, an absolute path: the file, folder or link
    error: no host and no group is named `nobody`
      --> site.yaml:14:10
       |
    14 | - hosts: nobody
       |          ^^^^^^
       |
       = 1 host in the inventory; groups: `all`
    error: `mode: 644` is the decimal number 644, not the octal mode 0644
     --> more.yaml:1:30
      |
    1 | - file: {path: /srv/x, mode: 644}
      |                              ^^^ write "0644"
      |
      = tasks of `more.yaml`, included at site.yaml:16:21
    8 errors in 6 files. No host was contacted.
    "#);
}

/// The same port is called when nothing is wrong: what the tests above look at does tell.
#[test]
fn a_site_without_slips_calls_the_host() {
    let (folder, listener) = folder();
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
