//! Plays and tasks with slips in them.

use crate::folder::Folder;

/// What `run` says of a site whose one play has these tasks.
fn tasks(tasks: &str) -> String {
    play(&format!("- hosts: web\n  tasks:\n{tasks}"))
}

fn play(site: &str) -> String {
    let folder =
        Folder::new("== inventory\n[web]\nh1 ansible_host=198.18.103.1\nh2 ansible_host=198.18.103.2");
    folder.write("site.yaml", site);
    folder.run("run site.yaml -i inventory")
}

#[test]
fn an_unknown_key_of_a_play() {
    insta::assert_snapshot!(play("- hosts: web\n  task:\n    - debug: {msg: hello}"), @"
    exit 1
    -- stderr
    error: unknown key `task` of a play
     --> site.yaml:2:3
      |
    2 |   task:
      |   ^^^^ did you mean `tasks`?
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn an_unknown_key_of_a_task() {
    insta::assert_snapshot!(tasks("    - name: say it\n      debug: {msg: hello}\n      whne: true"), @"
    exit 1
    -- stderr
    error: unknown key `whne` of a task
     --> site.yaml:5:7
      |
    5 |       whne: true
      |       ^^^^ did you mean `when`?
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn keywords_that_are_not_there_yet() {
    insta::assert_snapshot!(
        play("- hosts: web\n  strategy: free\n  vars_prompt: []\n  tasks:\n    - debug: {msg: hello}\n      async: 10\n      throttle: 2"),
        @"
    exit 1
    -- stderr
    error: `strategy` is not supported on a play yet
     --> site.yaml:2:3
      |
    2 |   strategy: free
      |   ^^^^^^^^
      |
      = help: leave it out: hosts go side by side, and wait where a task looks at other hosts
    error: `vars_prompt` is not supported on a play yet
     --> site.yaml:3:3
      |
    3 |   vars_prompt: []
      |   ^^^^^^^^^^^
      |
      = help: give the values with `-e`, or keep them in a vault
    error: `async` is not supported on a task yet
     --> site.yaml:6:7
      |
    6 |       async: 10
      |       ^^^^^
      |
      = help: leave it out: a task may take as long as it needs, or as `timeout` says
    error: `throttle` is not supported on a task yet
     --> site.yaml:7:7
      |
    7 |       throttle: 2
      |       ^^^^^^^^
      |
      = help: let `serial` on the play or `--forks` limit how many hosts go at once
    4 errors in 2 files. No host was contacted.
    "
    );
}

#[test]
fn an_unknown_module() {
    insta::assert_snapshot!(tasks("    - ansible.builtin.fiel: {path: /srv/x}\n    - docker_container: {name: x}"), @"
    exit 1
    -- stderr
    error: unknown module `ansible.builtin.fiel`
     --> site.yaml:3:7
      |
    3 |     - ansible.builtin.fiel: {path: /srv/x}
      |       ^^^^^^^^^^^^^^^^^^^^ did you mean `file`?
    error: unknown module `docker_container`
     --> site.yaml:4:7
      |
    4 |     - docker_container: {name: x}
      |       ^^^^^^^^^^^^^^^^
      |
      = help: `ishprov doc` lists the modules there are
    2 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn a_misspelt_parameter() {
    insta::assert_snapshot!(tasks("    - file:\n        path: /srv/x\n        moed: \"0755\""), @r#"
    exit 1
    -- stderr
    error: unknown parameter `moed` of module `file`
     --> site.yaml:5:9
      |
    5 |         moed: "0755"
      |         ^^^^ did you mean `mode`?
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn a_parameter_that_is_missing() {
    insta::assert_snapshot!(tasks("    - name: make it\n      file:\n        state: directory"), @"
    exit 1
    -- stderr
    error: module `file` needs the parameter `path`
     --> site.yaml:3:13
      |
    3 |     - name: make it
      |             ^^^^^^^
      |
      = help: `path`, an absolute path: the file, folder or link
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_value_of_the_wrong_type() {
    insta::assert_snapshot!(tasks("    - file:\n        path: /srv/x\n        recurse: perhaps\n    - wait_for:\n        port: many"), @"
    exit 1
    -- stderr
    error: `recurse` takes true or false, not `perhaps`
     --> site.yaml:5:18
      |
    5 |         recurse: perhaps
      |                  ^^^^^^^
    error: `port` takes a whole number, not `many`
     --> site.yaml:7:15
      |
    7 |         port: many
      |               ^^^^
    2 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn a_value_that_is_no_choice() {
    insta::assert_snapshot!(tasks("    - file:\n        path: /srv/x\n        state: directroy"), @"
    exit 1
    -- stderr
    error: `state` takes one of file, directory, link, touch, absent, not `directroy`
     --> site.yaml:5:16
      |
    5 |         state: directroy
      |                ^^^^^^^^^ did you mean `directory`?
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_mode_that_yaml_reads_otherwise() {
    insta::assert_snapshot!(tasks("    - file:\n        path: /srv/x\n        mode: 644"), @r#"
    exit 1
    -- stderr
    error: `mode: 644` is the decimal number 644, not the octal mode 0644
     --> site.yaml:5:15
      |
    5 |         mode: 644
      |               ^^^ write "0644"
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn a_task_without_a_module_and_one_with_two() {
    insta::assert_snapshot!(tasks("    - name: nothing\n    - name: both\n      debug: {msg: hello}\n      file: {path: /srv/x}"), @"
    exit 1
    -- stderr
    error: this task calls no module
     --> site.yaml:3:7
      |
    3 |     - name: nothing
      |       ^^^^^^^^^^^^^
      |
      = help: say what it does; `ishprov doc` lists the modules there are
    error: a task calls one module, this one calls `debug` and `file`
     --> site.yaml:6:7
      |
    6 |       file: {path: /srv/x}
      |       ^^^^
      |
      = help: make two tasks of it, or check the spelling and the indentation
    2 errors in 2 files. No host was contacted.
    ");
}

#[test]
fn a_condition_that_is_no_expression() {
    insta::assert_snapshot!(tasks("    - debug: {msg: hello}\n      when: inventory_hostname == = 'h1'"), @"
    exit 1
    -- stderr
    error: template syntax: unexpected `=`
     --> site.yaml:4:35
      |
    4 |       when: inventory_hostname == = 'h1'
      |                                   ^
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_loop_over_a_text() {
    insta::assert_snapshot!(tasks("    - debug: {msg: \"{{ item }}\"}\n      loop: one"), @"
    exit 1
    -- stderr
    error: a loop takes a list, not a text
     --> site.yaml:4:13
      |
    4 |       loop: one
      |             ^^^
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_handler_that_nobody_is() {
    let site = "- hosts: web\n  tasks:\n    - file: {path: /srv/x}\n      notify: restart ngnix\n  handlers:\n    - name: restart nginx\n      service: {name: nginx, state: restarted}";
    insta::assert_snapshot!(play(site), @"
    exit 1
    -- stderr
    error: no handler is named `restart ngnix` or listens to it
     --> site.yaml:4:15
      |
    4 |       notify: restart ngnix
      |               ^^^^^^^^^^^^^ did you mean `restart nginx`?
    1 error in 2 files. No host was contacted.
    ");
}

#[test]
fn a_play_without_hosts() {
    insta::assert_snapshot!(play("- name: nobody\n  tasks: []"), @"
    exit 1
    -- stderr
    error: this play has no `hosts`
     --> site.yaml:1:3
      |
    1 | - name: nobody
      |   ^^^^
      |
      = help: name a host, a group or a pattern: `hosts: all`
    1 error in 2 files. No host was contacted.
    ");
}
