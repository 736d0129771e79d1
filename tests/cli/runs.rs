//! Runs on this machine: what a run shows, and its exit code.

use crate::folder::Folder;

const SITE: &str = "
== inventory
here ansible_connection=local dir=DIR
== site.yaml
- name: a small site
  hosts: all
  tasks:
    - name: a folder
      file: {path: \"{{ dir }}/made\", state: directory, mode: \"0750\"}
    - name: a file
      copy: {content: \"one\\ntwo\\n\", dest: \"{{ dir }}/made/file\", mode: \"0640\"}
      notify: told
    - name: each
      lineinfile: {path: \"{{ dir }}/made/file\", line: \"{{ item }}\"}
      loop: [two, three, four]
    - name: not here
      debug: {msg: hello}
      when: inventory_hostname == 'there'
    - debug: {msg: \"made {{ dir | basename | length > 0 }}\"}
  handlers:
    - name: told
      debug: {msg: the file is new}
";

fn folder() -> Folder {
    let folder = Folder::new(SITE);
    let dir = folder.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    folder.write("inventory", &folder.read("inventory").trim_end().replace("DIR", dir));
    folder
}

/// Without what differs from run to run: `1.2s` behind a task, where it took that long, and the time of all.
pub fn untimed(shown: &str) -> String {
    let tenths = |word: &str| word.contains('.') && word.trim_end_matches('s').parse::<f64>().is_ok();
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.last().is_some_and(|word| tenths(word)) {
            words.pop();
        }
        let words: Vec<&str> = words.into_iter().map(|word| if tenths(word) { "N" } else { word }).collect();
        words.join(" ").trim_end().to_owned() + "\n"
    };
    shown.lines().map(line).collect()
}

#[test]
fn looking_doing_and_doing_again() {
    let folder = folder();
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml --check --diff")), @"
    exit 0
    -- stdout
    PLAY [a small site] ········································································· 1 host
      a folder                                         would     here
          here  state: absent -> directory
          here  mode: 0750
      a file                                           would     here  (known after the changes before it: the folder `/DIR/made` does not exist)
      each                                             would     here  (known after the changes before it: there is no file `/DIR/made/file`)
      debug                                            ok        here  (made True)
      told                                             ok        here  (the file is new)
    PLAY RECAP
    here : ok=5   changed=3   unreachable=0   failed=0   skipped=1   rescued=0   ignored=0
    1 host, N s, at most 2 round trips a host
    Nothing was changed: this was --check.
    ");
    assert!(!folder.path("made").exists(), "--check makes nothing");
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml --diff")), @"
    exit 0
    -- stdout
    PLAY [a small site] ········································································· 1 host
      a folder                                         changed   here
          here  state: absent -> directory
          here  mode: 0750
      a file                                           changed   here
          --- /DIR/made/file on here
          +++ /DIR/made/file (wanted)
          @@ -0,0 +1,2 @@
          +one
          +two
          here  mode: 0640
      each                                             changed   here
          --- /DIR/made/file on here
          +++ /DIR/made/file (wanted)
          @@ -1,2 +1,3 @@
           one
           two
          +three
          --- /DIR/made/file on here
          +++ /DIR/made/file (wanted)
          @@ -1,3 +1,4 @@
           one
           two
           three
          +four
      debug                                            ok        here  (made True)
      told                                             ok        here  (the file is new)
    PLAY RECAP
    here : ok=5   changed=3   unreachable=0   failed=0   skipped=1   rescued=0   ignored=0
    1 host, N s, at most 6 round trips a host
    ");
    assert_eq!(folder.read("made/file"), "one\ntwo\nthree\nfour\n");
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml")), @"
    exit 0
    -- stdout
    PLAY [a small site] ········································································· 1 host
      a folder                                         ok        here
      a file                                           changed   here
      each                                             changed   here
      debug                                            ok        here  (made True)
      told                                             ok        here  (the file is new)
    PLAY RECAP
    here : ok=5   changed=2   unreachable=0   failed=0   skipped=1   rescued=0   ignored=0
    1 host, N s, at most 5 round trips a host
    ");
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -vv")), @r#"
    exit 0
    -- stdout
    PLAY [a small site] ········································································· 1 host
      a folder                                         ok        here  (a folder is there, mode 0750)
          here => {"path":"/DIR/made","state":"directory","mode":"0750","uid":0,"gid":0,"changed":false,"failed":false,"msg":"a folder is there, mode 0750"}
      a file                                           changed   here
          here  /DIR/made/file: content
          here => {"dest":"/DIR/made/file","mode":"0640","uid":0,"gid":0,"size":8,"changed":true,"failed":false}
      each                                             changed   here
          here => {"path":"/DIR/made/file","mode":"0640","uid":0,"gid":0,"size":8,"changed":false,"failed":false,"msg":"the line is there","item":"two","ansible_loop_var":"item"}
          here  /DIR/made/file: content
          here => {"path":"/DIR/made/file","mode":"0640","uid":0,"gid":0,"size":14,"changed":true,"failed":false,"item":"three","ansible_loop_var":"item"}
          here  /DIR/made/file: content
          here => {"path":"/DIR/made/file","mode":"0640","uid":0,"gid":0,"size":19,"changed":true,"failed":false,"item":"four","ansible_loop_var":"item"}
      not here                                         skipped   here  (its condition does not hold)
      debug                                            ok        here  (made True)
          here => {"msg":"made True","changed":false,"failed":false}
      told                                             ok        here  (the file is new)
          here => {"msg":"the file is new","changed":false,"failed":false}
    PLAY RECAP
    here : ok=5   changed=2   unreachable=0   failed=0   skipped=1   rescued=0   ignored=0
    1 host, N s, at most 5 round trips a host
    "#);
}

#[test]
fn a_task_that_fails() {
    let folder = folder();
    folder.write(
        "site.yaml",
        "
- hosts: all
  vars: {to: nowhere}
  tasks:
    - name: before
      debug: {msg: hello}
    - name: list it
      command: ls /{{ to }}/at-all
      changed_when: false
    - name: after
      debug: {msg: never}"
            .trim_start(),
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml")), @"
    exit 2
    -- stdout
    PLAY [all] ·················································································· 1 host
      before                                           ok        here  (hello)
      list it                                          FAILED    here  (the command exited with 2)

    PLAY RECAP
    here : ok=1   changed=0   unreachable=0   failed=1   skipped=0   rescued=0   ignored=0
    1 host, N s, at most 2 round trips a host
    -- stderr
    error: the command exited with 2
     --> site.yaml:6:13
      |
    6 |     - name: list it
      |             ^^^^^^^
      |
      = host here
      = ran: ls /nowhere/at-all, exit 2
      = stderr: ls: cannot access '/nowhere/at-all': No such file or directory
    ");
}

#[test]
fn a_failure_that_is_ignored_and_one_that_is_rescued() {
    let folder = folder();
    folder.write(
        "site.yaml",
        "
- hosts: all
  tasks:
    - name: ignored
      command: 'false'
      ignore_errors: true
    - block:
        - name: tried
          fail: {msg: not today}
      rescue:
        - debug: {msg: \"{{ ansible_failed_result.msg }}\"}
    - assert: {that: [1 + 1 == 3], fail_msg: that is not how it adds up}"
            .trim_start(),
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml")), @"
    exit 2
    -- stdout
    PLAY [all] ·················································································· 1 host
      ignored                                          ignored   here  (the command exited with 1)
      tried                                            rescued   here  (not today)
      debug                                            ok        here  (not today)
      assert                                           FAILED    here  (that is not how it adds up)

    PLAY RECAP
    here : ok=2   changed=1   unreachable=0   failed=1   skipped=0   rescued=1   ignored=1
    1 host, N s, at most 2 round trips a host
    -- stderr
    error: that is not how it adds up
      --> site.yaml:11:22
       |
    11 |     - assert: {that: [1 + 1 == 3], fail_msg: that is not how it adds up}
       |                      ^^^^^^^^^^^^
       |
       = host here
       = `1 + 1 == 3` does not hold
    ");
}

#[test]
fn a_host_that_cannot_be_reached_and_one_that_can() {
    let folder = folder();
    folder.write("inventory", "here ansible_connection=local\nthere ansible_host=127.0.0.1 ansible_port=1");
    folder.write("site.yaml", "- hosts: all\n  tasks:\n    - debug: {msg: hello}");
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml")), @"
    exit 4
    -- stdout
    PLAY [all] ················································································· 2 hosts
      there                                            UNREACHABLE  cannot reach 127.0.0.1:1: Connection refused (os error 111)
      debug                                            ok        here  (hello)

    PLAY RECAP
    here  : ok=1   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    there : ok=0   changed=0   unreachable=1   failed=0   skipped=0   rescued=0   ignored=0
    2 hosts, N s, at most 1 round trips a host
    -- stderr
    error: cannot reach 127.0.0.1:1: Connection refused (os error 111)
     = host there
     = help: check `ansible_host` and `ansible_port`, and that sshd runs there
    ");
}

/// Hosts that are far apart: every task has one line, in the order of the site.
#[test]
fn hosts_at_their_own_pace() {
    let folder = Folder::new(
        "
== inventory
[all]
quick pause=0 part=one
slow pause=0.7 part=one
other pause=0.3 part=two
[all:vars]
ansible_connection=local
== site.yaml
- hosts: all
  pre_tasks:
    - name: first
      command: sleep {{ pause }}
      notify: told
  tasks:
    - name: each
      command: sleep {{ pause }}
      loop: [1, 2]
    - include_tasks: \"{{ part }}.yaml\"
    - name: last
      debug: {msg: done}
  handlers:
    - name: nobody asks
      debug: {msg: never}
    - name: told
      command: sleep {{ pause }}
- hosts: all
  serial: 2
  tasks:
    - name: in batches
      command: sleep {{ pause }}
== one.yaml
- name: taken in
  command: sleep {{ pause }}
- name: again
  debug: {msg: one}
== two.yaml
- name: taken in
  command: sleep {{ pause }}
- name: otherwise
  debug: {msg: two}
",
    );
    insta::assert_snapshot!(untimed(&folder.run("run site.yaml -i inventory")), @"
    exit 0
    -- stdout
    PLAY [all] ················································································· 3 hosts
      first                                            changed   quick slow other
      told                                             changed   quick slow other
      each                                             changed   quick slow other
      taken in                                         changed   quick slow other
      again                                            ok        quick slow  (one)
      otherwise                                        ok        other  (two)
      last                                             ok        quick slow other  (done)
    PLAY [all] ················································································· 3 hosts
      batch of quick slow
      in batches                                       changed   quick slow
      batch of other
      in batches                                       changed   other
    PLAY RECAP
    quick : ok=7   changed=5   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    slow  : ok=7   changed=5   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    other : ok=7   changed=5   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    3 hosts, N s, at most 7 round trips a host
    ");
}
