//! What a failure on one host stops on the others, which hosts the recap names, and with which exit code a run ends.

use crate::folder::Folder;

const HOSTS: &str = "
== inventory
[web]
w1
w2
w3
[dead]
d1 ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1
[all:vars]
ansible_connection=local
";

/// The exit code and the lines of a run, without columns of zeros and without times.
fn run(site: &str) -> String {
    let folder = Folder::new(&format!("{HOSTS}== site.yaml\n{}\n", site.trim()));
    told(&folder.run("run site.yaml"))
}

fn told(shown: &str) -> String {
    let shown = shown.split("-- stderr").next().unwrap_or_default();
    let line = |line: &str| {
        let head = line.split(" ·").next().unwrap_or_default();
        let took = |word: &str| word.strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok());
        let words = head.split_whitespace().filter(|word| !word.ends_with("=0") && !took(word));
        words.collect::<Vec<_>>().join(" ")
    };
    let kept = |text: &String| !text.is_empty() && text != "-- stdout" && !text.contains("round trips");
    let timed = |text: &String| !text.ends_with(" s") || !text.contains("hosts,");
    let mut lines: Vec<String> = Vec::new();
    for line in shown.lines().map(line).filter(kept).filter(timed) {
        match lines.last_mut() {
            Some(last) if !names(last).is_empty() && bare(last) == bare(&line) => *last = joined(last, &line),
            _ => lines.push(line),
        }
    }
    lines.join("\n")
}

/// Hosts behind the title and status of a line; none in other lines.
fn names(line: &str) -> Vec<&str> {
    let is_host = |word: &&str| ["w1", "w2", "w3", "d1"].contains(word);
    let status = |word: &str| ["ok", "changed", "skipped", "FAILED"].contains(&word);
    let words: Vec<&str> = line.split(' ').collect();
    let first = words.iter().position(is_host).unwrap_or(0);
    if first == 0 || !status(words[first - 1]) {
        return Vec::new();
    }
    words.into_iter().filter(is_host).collect()
}

fn bare(line: &str) -> String {
    let hosts = names(line);
    line.split(' ').filter(|word| !hosts.contains(word)).collect::<Vec<_>>().join(" ")
}

/// Hosts that came to the same at different moments have a line each: as one, whatever the machine's load.
fn joined(one: &str, other: &str) -> String {
    let mut hosts = [names(one), names(other)].concat();
    hosts.sort_unstable();
    let first = names(one)[0];
    let (head, _) = one.split_once(&format!(" {first}")).unwrap_or((one, ""));
    let tail = bare(one);
    let tail = tail.strip_prefix(head).unwrap_or_default();
    format!("{head} {}{tail}", hosts.join(" "))
}

const TWO_PLAYS: &str = "
- hosts: web
  KEYWORD
  tasks:
    - name: breaks
      command: 'false'
      when: inventory_hostname == 'w2'
    - name: slow
      command: sleep 0.1
    - name: after
      debug: {msg: ran}
- hosts: web
  tasks:
    - name: play two
      debug: {msg: ran}
";

#[test]
fn a_fatal_failure_ends_the_run_before_the_next_task() {
    insta::assert_snapshot!(run(&TWO_PLAYS.replace("KEYWORD", "any_errors_fatal: true")), @r"
    exit 2
    PLAY [web]
    breaks FAILED w2 (the command exited with 1)
    w2 failed, and `any_errors_fatal` holds: no host goes on
    NO MORE HOSTS LEFT: the plays that follow are not started
    PLAY RECAP
    w1 : skipped=1
    w2 : failed=1
    w3 : skipped=1
    ");
    insta::assert_snapshot!(run(&TWO_PLAYS.replace("KEYWORD", "max_fail_percentage: 20")), @r"
    exit 2
    PLAY [web]
    breaks FAILED w2 (the command exited with 1)
    1 of 3 hosts failed, more than `max_fail_percentage: 20` allows: no host goes on
    NO MORE HOSTS LEFT: the plays that follow are not started
    PLAY RECAP
    w1 : skipped=1
    w2 : failed=1
    w3 : skipped=1
    ");
    // A third is no more than 34 in a hundred.
    insta::assert_snapshot!(run(&TWO_PLAYS.replace("KEYWORD", "max_fail_percentage: 34")), @r"
    exit 2
    PLAY [web]
    breaks FAILED w2 (the command exited with 1)
    slow changed w1 w3
    after ok w1 w3 (ran)
    PLAY [web]
    play two ok w1 w3 (ran)
    PLAY RECAP
    w1 : ok=3 changed=1 skipped=1
    w2 : failed=1
    w3 : ok=3 changed=1 skipped=1
    ");
    insta::assert_snapshot!(run(&TWO_PLAYS.replace("KEYWORD", "serial: [2, 1]\n  max_fail_percentage: 49")), @r"
    exit 2
    PLAY [web]
    batch of w1 w2
    breaks FAILED w2 (the command exited with 1)
    1 of 2 hosts failed, more than `max_fail_percentage: 49` allows: no host goes on
    NO MORE HOSTS LEFT: the batches and plays that follow are not started
    PLAY RECAP
    w1 : skipped=1
    w2 : failed=1
    ");
}

#[test]
fn a_batch_without_a_host_ends_the_run() {
    insta::assert_snapshot!(run("
- hosts: web
  serial: 1
  tasks:
    - {name: breaks, command: 'false', when: inventory_hostname == 'w2'}
- hosts: web
  tasks:
    - {name: play two, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [web]
    batch of w1
    batch of w2
    breaks FAILED w2 (the command exited with 1)
    NO MORE HOSTS LEFT: the batches and plays that follow are not started
    PLAY RECAP
    w1 : skipped=1
    w2 : failed=1
    ");
}

/// Only that task is fatal; what fails before it is one host's own.
#[test]
fn a_task_may_be_fatal_by_itself() {
    insta::assert_snapshot!(run("
- hosts: web
  tasks:
    - {name: breaks on w1, command: 'false', when: inventory_hostname == 'w1'}
    - {name: ignored, command: 'false', any_errors_fatal: true, ignore_errors: true}
    - {name: breaks on w2, command: 'false', when: inventory_hostname == 'w2', any_errors_fatal: true}
    - {name: after, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [web]
    breaks on w1 FAILED w1 (the command exited with 1)
    ignored ignored w2 w3 (the command exited with 1)
    breaks on w2 FAILED w2 (the command exited with 1)
    w2 failed, and `any_errors_fatal` holds: no host goes on
    PLAY RECAP
    w1 : failed=1
    w2 : ok=1 changed=1 failed=1 skipped=1 ignored=1
    w3 : ok=1 changed=1 skipped=2 ignored=1
    ");
}

#[test]
fn a_rescue_part_takes_over_a_fatal_failure_on_all_hosts() {
    insta::assert_snapshot!(run("
- hosts: web
  any_errors_fatal: true
  tasks:
    - block:
        - {name: breaks, command: 'false', when: inventory_hostname == 'w2'}
        - {name: not reached, debug: {msg: ran}}
      rescue:
        - {name: rescue, debug: {msg: ran}}
    - {name: after, debug: {msg: ran}}
    - block:
        - {name: breaks for good, command: 'false', when: inventory_hostname == 'w2'}
      always:
        - {name: always, debug: {msg: ran}}
    - {name: never, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [web]
    breaks rescued w2 (the command exited with 1)
    w2 failed, and `any_errors_fatal` holds: the other hosts leave the block with it
    rescue ok w1 w2 w3 (ran)
    after ok w1 w2 w3 (ran)
    breaks for good FAILED w2 (the command exited with 1)
    w2 failed, and `any_errors_fatal` holds: the other hosts leave the block with it
    always ok w1 w2 w3 (ran)
    PLAY RECAP
    w1 : ok=3 skipped=2
    w2 : ok=3 failed=1 rescued=1
    w3 : ok=3 skipped=2
    ");
}

#[test]
fn what_one_host_does_for_all_fails_for_all() {
    insta::assert_snapshot!(run("
- hosts: web
  tasks:
    - block:
        - {name: once, command: 'false', run_once: true}
        - {name: not reached, debug: {msg: ran}}
      rescue:
        - {name: rescue, debug: {msg: ran}}
    - {name: ignored, command: 'false', run_once: true, ignore_errors: true, register: tried}
    - {name: read, debug: {var: tried.failed}}
    - {name: brings, getent: {database: passwd, key: root}, run_once: true}
    - {name: brought, debug: {msg: \"{{ lookup('vars', 'getent_passwd').root[1] }}\"}}
    - {name: for all, command: 'false', run_once: true}
    - {name: never, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [web]
    once rescued w1 (the command exited with 1)
    w1 failed, and it does this task for all hosts: the other hosts leave the block with it
    rescue ok w1 w2 w3 (ran)
    ignored ignored w1 (the command exited with 1)
    read ok w1 w2 w3 (tried.failed: true)
    brings ok w1
    brought ok w1 w2 w3 (0)
    for all FAILED w1 (the command exited with 1)
    w1 failed, and it does this task for all hosts: no host goes on
    PLAY RECAP
    w1 : ok=5 changed=1 failed=1 rescued=1 ignored=1
    w2 : ok=3
    w3 : ok=3
    ");
}

#[test]
fn an_unreachable_host_counts_where_no_host_may_fail() {
    let site = "
- hosts: web:dead
  KEYWORD
  tasks:
    - {name: first, debug: {msg: ran}}
- hosts: web
  tasks:
    - {name: play two, debug: {msg: ran}}";
    insta::assert_snapshot!(run(&site.replace("KEYWORD", "any_errors_fatal: true")), @r"
    exit 4
    PLAY [web:dead]
    d1 UNREACHABLE cannot reach 127.0.0.1:1: Connection refused (os error 111)
    d1 cannot be reached, and `any_errors_fatal` holds: no host goes on
    NO MORE HOSTS LEFT: the plays that follow are not started
    PLAY RECAP
    w1 :
    w2 :
    w3 :
    d1 : unreachable=1
    ");
    insta::assert_snapshot!(run(&site.replace("KEYWORD", "max_fail_percentage: 20")), @r"
    exit 4
    PLAY [web:dead]
    d1 UNREACHABLE cannot reach 127.0.0.1:1: Connection refused (os error 111)
    first ok w1 w2 w3 (ran)
    PLAY [web]
    play two ok w1 w2 w3 (ran)
    PLAY RECAP
    w1 : ok=2
    w2 : ok=2
    w3 : ok=2
    d1 : unreachable=1
    ");
}

/// A host that an earlier batch delegated to is in the recap, and so is its failure.
#[test]
fn a_host_that_others_delegated_to_is_in_the_recap() {
    insta::assert_snapshot!(run("
- hosts: web
  serial: 2
  tasks:
    - {name: tell the balancer, debug: {msg: told}, delegate_to: w3}
    - {name: breaks, command: 'false', when: inventory_hostname == 'w3'}"), @r"
    exit 2
    PLAY [web]
    batch of w1 w2
    tell the balancer ok w1 w2 (told)
    batch of w3
    tell the balancer ok w3 (told)
    breaks FAILED w3 (the command exited with 1)
    PLAY RECAP
    w1 : ok=1 skipped=1
    w2 : ok=1 skipped=1
    w3 : ok=1 failed=1
    ");
    insta::assert_snapshot!(run("
- hosts: web
  tasks:
    - {name: elsewhere, command: 'true', delegate_to: d1, when: inventory_hostname == 'w1', ignore_errors: true}
    - {name: after, debug: {msg: ran}}"), @r"
    exit 4
    PLAY [web]
    d1 UNREACHABLE cannot reach 127.0.0.1:1: Connection refused (os error 111)
    w1 UNREACHABLE `d1`, which this task is delegated to, cannot be reached
    after ok w2 w3 (ran)
    PLAY RECAP
    w1 : unreachable=1
    w2 : ok=1 skipped=1
    w3 : ok=1 skipped=1
    ");
}

#[test]
fn a_play_ends_for_all_hosts_at_the_same_place() {
    insta::assert_snapshot!(run("
- hosts: web
  tasks:
    - {name: first, command: \"sleep {{ {'w1': 0, 'w2': 0.2, 'w3': 0.4}[inventory_hostname] }}\"}
    - {name: second, command: 'true'}
    - {name: asked of the first host, meta: end_play, when: inventory_hostname == 'w2'}
    - {name: third, debug: {msg: ran}}
    - meta: end_play
    - {name: never, debug: {msg: ran}}
- hosts: web
  tasks:
    - {name: breaks, command: 'false', when: inventory_hostname == 'w2'}
    - meta: clear_host_errors
    - {name: without w2, debug: {msg: ran}}
- hosts: web
  tasks:
    - {name: with w2, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [web]
    first changed w1 w2 w3
    second changed w1 w2 w3
    third ok w1 w2 w3 (ran)
    PLAY [web]
    breaks FAILED w2 (the command exited with 1)
    without w2 ok w1 w3 (ran)
    PLAY [web]
    with w2 ok w1 w2 w3 (ran)
    PLAY RECAP
    w1 : ok=5 changed=2 skipped=1
    w2 : ok=4 changed=2 failed=1
    w3 : ok=5 changed=2 skipped=1
    ");
}

/// A handler notified by a handler runs in the same flush, each once; what fails later takes none away.
#[test]
fn handlers_that_handlers_notify() {
    insta::assert_snapshot!(run("
- hosts: w1
  tasks:
    - {name: change, command: 'true', notify: first}
    - meta: flush_handlers
    - {name: breaks, fail: {msg: later}}
  handlers:
    - {name: second, debug: {msg: ran}}
    - {name: first, command: 'true', notify: [second, third]}
    - {name: third, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [w1]
    change changed w1
    first changed w1
    third ok w1 (ran)
    second ok w1 (ran)
    breaks FAILED w1 (later)
    PLAY RECAP
    w1 : ok=4 changed=2 failed=1
    ");
    insta::assert_snapshot!(run("
- hosts: w1
  tasks:
    - {name: change, command: 'true', notify: first}
    - {name: flush, meta: flush_handlers}
    - {name: between, debug: {msg: ran}}
    - {name: change again, command: 'true', notify: \"{{ ['second', 'topic', 'first'] }}\"}
  handlers:
    - {name: first, command: 'true', notify: second}
    - {name: second, debug: {msg: ran}, changed_when: true, notify: first}
    - {name: third, listen: topic, debug: {msg: ran}}"), @r"
    exit 0
    PLAY [w1]
    change changed w1
    first changed w1
    second changed w1 (ran)
    between ok w1 (ran)
    change again changed w1
    first changed w1
    second changed w1 (ran)
    third ok w1 (ran)
    first changed w1
    second changed w1 (ran)
    PLAY RECAP
    w1 : ok=10 changed=8
    ");
    insta::assert_snapshot!(run("
- hosts: w1
  tasks:
    - {name: change, command: 'true', notify: \"{{ 'no' ~ 'body' }}\"}
    - {name: never, debug: {msg: ran}}"), @r"
    exit 2
    PLAY [w1]
    change FAILED w1 (no handler is named `nobody` or listens to it)
    PLAY RECAP
    w1 : failed=1
    ");
}

/// A role's own handler by its full name, another role's of the same name by the bare one, as in Ansible.
#[test]
fn handlers_of_one_name_in_two_roles() {
    let folder = Folder::new(&format!(
        "{HOSTS}== site.yaml
- hosts: w1
  roles: [a, b]
== roles/a/tasks/main.yml
- {{name: whose, command: 'true', notify: restart}}
- {{name: own, command: 'true', notify: 'a : restart'}}
== roles/a/handlers/main.yml
- {{name: restart, debug: {{msg: of a}}}}
== roles/b/tasks/main.yml
- {{name: nothing, debug: {{msg: ran}}}}
== roles/b/handlers/main.yml
- {{name: restart, debug: {{msg: of b}}}}
"
    ));
    insta::assert_snapshot!(told(&folder.run("run site.yaml")), @r"
    exit 0
    PLAY [w1]
    a : whose changed w1
    a : own changed w1
    b : nothing ok w1 (ran)
    a : restart ok w1 (of a)
    b : restart ok w1 (of b)
    PLAY RECAP
    w1 : ok=5 changed=2
    ");
}

/// A failure that does not count is no change; a command is one, whatever it exits with, as in Ansible.
#[test]
fn failures_that_do_not_count() {
    insta::assert_snapshot!(run("
- hosts: w1
  tasks:
    - {name: command, command: 'false', failed_when: false, register: a}
    - {name: said, debug: {msg: \"{{ a.changed }} {{ a.failed }} {{ a.rc }} {{ a.failed_when_result }}\"}}
    - {name: module, file: {path: /proc/nowhere, state: directory}, failed_when: false, register: b}
    - {name: said, debug: {msg: \"{{ b.changed }} {{ b.failed }}\"}}
    - {name: ignored, command: 'false', ignore_errors: true, register: c}
    - {name: said, debug: {msg: \"{{ c.changed }} {{ c.failed }}\"}}
    - {name: unchanged, command: 'false', ignore_errors: true, changed_when: false, register: d}
    - {name: said, debug: {msg: \"{{ d.changed }} {{ d.failed }}\"}}
    - {name: fail, fail: {msg: x}, changed_when: true, ignore_errors: true, register: f}
    - {name: said, debug: {msg: \"{{ f.changed }} {{ f.failed }}\"}}
    - {name: by its word, command: 'true', failed_when: true, ignore_errors: true, register: g}
    - {name: said, debug: {msg: \"{{ g.changed }} {{ g.failed }}\"}}
    - {name: loop, command: '{{ item }}', loop: ['false', 'true'], ignore_errors: true, register: h}
    - {name: said, debug: {msg: \"{{ h.changed }} {{ h.failed }}\"}}
    - block:
        - block:
            - {name: inner, command: 'false'}
          always:
            - {name: always, debug: {msg: ran}}
      rescue:
        - {name: rescued, debug: {msg: \"{{ ansible_failed_task.name }}\"}}"), @r"
    exit 0
    PLAY [w1]
    command changed w1 (the command exited with 1)
    said ok w1 (True False 1 False)
    module ok w1
    said ok w1 (False False)
    ignored ignored w1 (the command exited with 1)
    said ok w1 (True True)
    unchanged ignored w1 (the command exited with 1)
    said ok w1 (False True)
    fail ignored w1 (x)
    said ok w1 (True True)
    by its word ignored w1 (the task counts as failed: what `failed_when` says is true)
    said ok w1 (True True)
    loop ignored w1 (the command exited with 1)
    said ok w1 (True True)
    inner rescued w1 (the command exited with 1)
    always ok w1 (ran)
    rescued ok w1 (inner)
    PLAY RECAP
    w1 : ok=16 changed=5 rescued=1 ignored=5
    ");
}

/// A delegated task runs with the account of the host it is delegated to, and brings what it brings to whom it is told.
#[test]
fn delegated_tasks_run_as_the_other_hosts_account() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::new(
        "
== inventory
h1 ansible_user=nobody
h2
[all:vars]
ansible_connection=local
== site.yaml
- hosts: h1
  tasks:
    - {name: there, command: id -un, delegate_to: h2, register: there}
    - {name: here, command: id -un, register: here}
    - {name: said, debug: {msg: \"{{ there.stdout }} {{ here.stdout }}\"}}
    - {name: for the other, set_fact: {place: there}, delegate_to: h2, delegate_facts: true}
    - {name: for itself, set_fact: {place: here}, delegate_to: h2}
    - {name: facts, debug: {msg: \"{{ place }} {{ hostvars['h2'].place }}\"}}
    - {name: this machine, command: id -un, delegate_to: localhost, register: local}
    - {name: once, command: id -un, delegate_to: h2, run_once: true, register: once}
    - {name: said, debug: {msg: \"{{ local.stdout }} {{ once.stdout }}\"}}
- hosts: h2
  tasks:
    - {name: back, command: id -un, register: own}
    - {name: said, debug: {msg: \"{{ own.stdout }} {{ place }}\"}}
",
    );
    insta::assert_snapshot!(told(&folder.run("run site.yaml")), @r"
    exit 0
    PLAY [h1]
    there changed h1
    here changed h1
    said ok h1 (root nobody)
    for the other ok h1
    for itself ok h1
    facts ok h1 (here there)
    this machine changed h1
    once changed h1
    said ok h1 (root root)
    PLAY [h2]
    back changed h2
    said ok h2 (root there)
    PLAY RECAP
    h1 : ok=9 changed=4
    h2 : ok=2 changed=1
    ");
}

/// Whatever hosts say is shown and not obeyed; a word that is no number of hosts does not mean all of them.
#[test]
fn what_hosts_say_does_not_reach_the_terminal() {
    let site = r#"
- hosts: w1
  tasks:
    - name: says
      command: "printf '\\033]0;owned\\007\\033[2Jred\\rover'"
      register: said
    - name: shows
      debug: {msg: "{{ said.stdout }}"}
    - name: "of {{ said.stdout }}"
      fail: {msg: "{{ said.stdout }}"}"#;
    for more in ["", " --diff -vv", " --output json"] {
        let folder = Folder::new(&format!("{HOSTS}== site.yaml\n{}\n", site.trim()));
        let shown = folder.run(&format!("run site.yaml{more}"));
        assert!(shown.contains("owned"), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    insta::assert_snapshot!(run("
- hosts: web
  serial: \"{{ some }}\"
  tasks:
    - {name: never, debug: {msg: ran}}"), @r"
    exit 1
    ");
}
