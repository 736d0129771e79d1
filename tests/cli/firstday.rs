//! What any Ansible user writes on the first day: it runs as ansible-core runs it, and is not refused for names that
//! the run never needs.

use crate::folder::Folder;

/// What tasks of a play on this machine say, one `item: text` or `text` a line, behind the exit code; all that is shown
/// when nothing was run.
fn said(files: &str, args: &str) -> String {
    let folder = Folder::new(&format!("== inventory\nhere ansible_connection=local\n{files}"));
    let shown = folder.run(&format!("run site.yaml {args}"));
    if !shown.contains("PLAY RECAP") {
        return shown;
    }
    let code = shown.lines().next().unwrap_or_default().to_owned();
    let lines = shown.lines().filter_map(|line| {
        let (head, said) = line.split_once("  (").or_else(|| line.split_once("): "))?;
        let said = said.strip_suffix(')').unwrap_or(said);
        (head.starts_with("  ")).then(|| said.to_owned())
    });
    std::iter::once(code).chain(lines).collect::<Vec<_>>().join("\n")
}

fn tasks(tasks: &str) -> String {
    said(&format!("== site.yaml\n- hosts: all\n  tasks:\n{tasks}"), "")
}

#[test]
fn conditions_of_a_loop_are_asked_for_each_item() {
    let shown = tasks(
        "    - debug: {msg: \"item {{ item }}\"}\n      loop: [1, 2]\n      when: item == 2\n    - debug: {msg: \"long {{ item }}\"}\n      loop: [a, \"{{ extra | default('') }}\"]\n      when: item | length > 0\n    - debug: {msg: \"{{ name }} is {{ at }} of {{ ansible_loop.length }}\"}\n      loop: [x, y]\n      loop_control: {loop_var: name, index_var: at, extended: true}\n      when: ansible_loop.last",
    );
    insta::assert_snapshot!(shown, @"
    exit 0
    item 2
    its condition does not hold
    long a
    y is 1 of 2
    ");
}

#[test]
fn names_that_a_condition_guards_are_not_missing() {
    let shown = tasks(
        "    - debug: {msg: \"{{ item }}\"}\n      loop: \"{{ extra_users }}\"\n      when: extra_users is defined\n    - debug: {msg: \"{{ extra_text }}\"}\n      when: extra_text is defined\n    - debug: {msg: \"{{ extra.text }}\"}\n      when: [extra is defined, extra.text is defined]\n    - debug: {msg: \"{{ extra_text }}\"}\n      when: extra_text | default(false)\n    - debug: {msg: \"none {{ 'x' if true else nope }} {{ nope | default('d') }}\"}\n      when: nope is not defined or nope == 'x'\n    - block:\n        - debug: {msg: \"{{ gone }}\"}\n        - copy: {src: \"{{ gone }}\", dest: /x}\n      when: gone is defined\n    - debug: {var: gone}",
    );
    insta::assert_snapshot!(shown, @"
    exit 0
    none x d
    gone: VARIABLE IS NOT DEFINED!
    ");
}

#[test]
fn what_nothing_defines_stays_an_error() {
    let shown = tasks(
        "    - debug: {msg: \"{{ pg_port }} {{ item }}\"}\n      loop: [1]\n      vars: {pg_prot: 1}\n    - debug: {msg: x}\n      when: [true, nobody == 1]\n    - debug: {msg: \"{{ later.rc }}\"}\n    - command: \"true\"\n      register: later\n    - debug: {msg: x}\n      loop: \"{{ things }}\"",
    );
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stderr
    error: `pg_port` is undefined
     --> site.yaml:3:24
      |
    3 |     - debug: {msg: "{{ pg_port }} {{ item }}"}
      |                        ^^^^^^^ did you mean `pg_prot`?
    error: `nobody` is undefined
     --> site.yaml:7:20
      |
    7 |       when: [true, nobody == 1]
      |                    ^^^^^^
    error: `later` is undefined
     --> site.yaml:8:24
      |
    8 |     - debug: {msg: "{{ later.rc }}"}
      |                        ^^^^^
    error: `things` is undefined
      --> site.yaml:12:17
       |
    12 |       loop: "{{ things }}"
       |                 ^^^^^^
    4 errors in 2 files. No host was contacted.
    "#);
}

#[test]
fn variables_of_a_file_that_a_fact_names() {
    let site = |name: &str| {
        format!(
            "== site.yaml\n- hosts: all\n  tasks:\n    - include_vars: {name}\n    - debug: {{msg: \"{{{{ conf_dir }}}}\"}}\n== vars/Debian.yml\nconf_dir: /srv/debian\n== vars/RedHat.yml\nconf_dir: /srv/redhat"
        )
    };
    for name in [
        "\"{{ ansible_facts.os_family }}.yml\"",
        "\"{{ item }}\"\n      loop: [\"{{ ansible_facts.os_family }}.yml\"]",
        "\"{{ item }}\"\n      with_first_found: [nothing.yml, \"{{ ansible_facts.os_family }}.yml\"]",
        "\"{{ lookup('first_found', ['nothing.yml', ansible_facts.os_family ~ '.yml']) }}\"",
    ] {
        assert_eq!(said(&site(name), ""), "exit 0\n/srv/debian", "{name}");
    }
}

#[test]
fn names_that_modules_bring() {
    let shown = tasks(
        "    - getent: {database: passwd}\n    - debug: {msg: \"root is there\"}\n      when: \"'root' in getent_passwd\"\n    - debug: {msg: \"{{ ansible_facts.getent_passwd | length > 0 }}\"}",
    );
    assert_eq!(shown, "exit 0\nroot is there\ntrue");
}

#[test]
fn tasks_of_another_system_are_one_warning() {
    let files = "== site.yaml\n- hosts: all\n  tasks:\n    - include_tasks: redhat.yml\n      when: ansible_facts.os_family == 'RedHat'\n    - yum: {name: vim}\n      when: ansible_facts.os_family == 'RedHat'\n    - file: {path: /x, moed: \"0644\"}\n      when: ansible_facts.os_family == 'RedHat'\n    - debug: {msg: done}\n== redhat.yml\n- yum: {name: \"{{ rpm_name }}\", state: present}\n- dnf: {name: vim}\n  async: 5\n- include_tasks: gone.yml";
    let folder = Folder::new(&format!("== inventory\nhere ansible_connection=local\n{files}"));
    insta::assert_snapshot!(folder.run("lint site.yaml"), @"
    exit 0
    -- stdout
    site.yaml: no errors in 3 files, 6 tasks
    -- stderr
    warning: 6 faults in tasks that only facts or results of the run may lead to
     --> site.yaml:5:7
      |
    5 |     - yum: {name: vim}
      |       ^^^
      |
      = unknown module `yum` (site.yaml:5:7)
      = unknown parameter `moed` of module `file` (site.yaml:7:24)
      = unknown module `yum` (redhat.yml:1:3)
      = unknown module `dnf` (redhat.yml:2:3)
      = `async` is not supported on a task yet (redhat.yml:3:3)
      = and 1 more
      = help: a host that comes to one of them is refused or fails there; `--strict` makes them errors
    ");
    insta::assert_snapshot!(folder.run("lint site.yaml --strict"), @r#"
    exit 1
    -- stderr
    error: unknown module `yum`
     --> site.yaml:5:7
      |
    5 |     - yum: {name: vim}
      |       ^^^
      |
      = help: `ishprov doc` lists the modules there are
    error: unknown parameter `moed` of module `file`
     --> site.yaml:7:24
      |
    7 |     - file: {path: /x, moed: "0644"}
      |                        ^^^^ did you mean `mode`?
    error: unknown module `yum`
     --> redhat.yml:1:3
      |
    1 | - yum: {name: "{{ rpm_name }}", state: present}
      |   ^^^
      |
      = tasks of `redhat.yml`, included at site.yaml:3:22
      = help: `ishprov doc` lists the modules there are
    error: unknown module `dnf`
     --> redhat.yml:2:3
      |
    2 | - dnf: {name: vim}
      |   ^^^
      |
      = tasks of `redhat.yml`, included at site.yaml:3:22
      = help: `ishprov doc` lists the modules there are
    error: `async` is not supported on a task yet
     --> redhat.yml:3:3
      |
    3 |   async: 5
      |   ^^^^^
      |
      = tasks of `redhat.yml`, included at site.yaml:3:22
      = help: leave it out: a task may take as long as it needs, or as `timeout` says
    error: there is no file of tasks `gone.yml`
     --> redhat.yml:4:18
      |
    4 | - include_tasks: gone.yml
      |                  ^^^^^^^^
      |
      = tasks of `redhat.yml`, included at site.yaml:3:22
      = help: looked for gone.yml, tasks/gone.yml
    6 errors in 3 files. No host was contacted.
    "#);
    insta::assert_snapshot!(folder.run("run site.yaml --list-tasks"), @"
    exit 0
    -- stdout
    play #1 (all): all
        yum
        dnf
        yum
        file
        debug
    -- stderr
    warning: 6 faults in tasks that only facts or results of the run may lead to
     --> site.yaml:5:7
      |
    5 |     - yum: {name: vim}
      |       ^^^
      |
      = unknown module `yum` (site.yaml:5:7)
      = unknown parameter `moed` of module `file` (site.yaml:7:24)
      = unknown module `yum` (redhat.yml:1:3)
      = unknown module `dnf` (redhat.yml:2:3)
      = `async` is not supported on a task yet (redhat.yml:3:3)
      = and 1 more
      = help: a host that comes to one of them is refused or fails there; `--strict` makes them errors
    ");
    assert_eq!(said(files, ""), "exit 0\ndone");
}

#[test]
fn a_module_that_there_is_not_fails_where_it_is_reached() {
    let files = "== site.yaml\n- hosts: all\n  tasks:\n    - command: \"true\"\n      register: made\n    - include_tasks: other.yml\n      when: made.rc == 0\n== other.yml\n- debug: {msg: reached}\n- yum: {name: vim}";
    let folder = Folder::new(&format!("== inventory\nhere ansible_connection=local\n{files}"));
    insta::assert_snapshot!(folder.run("lint site.yaml"), @"
    exit 1
    -- stderr
    error: unknown module `yum`
     --> other.yml:2:3
      |
    2 | - yum: {name: vim}
      |   ^^^
      |
      = tasks of `other.yml`, included at site.yaml:5:22
      = help: `ishprov doc` lists the modules there are
    1 error in 3 files. No host was contacted.
    ");
    let facts = files.replace("made.rc == 0", "ansible_facts.os_family == 'Debian'");
    let folder = Folder::new(&format!("== inventory\nhere ansible_connection=local\n{facts}"));
    let shown = folder.run("run site.yaml");
    assert!(shown.starts_with("exit 2"), "{shown}");
    assert!(shown.contains("unknown module `yum`") && shown.contains("other.yml:2:3"), "{shown}");
}

#[test]
fn roles_run_as_often_as_they_are_called() {
    let role = "== roles/inner/tasks/main.yml\n- debug: {msg: \"inner {{ which | default('plain') }}\"}\n== roles/outer/tasks/main.yml\n- include_role: {name: inner}\n- include_role: {name: inner}\n- import_role: {name: inner}\n- include_role: {name: inner, allow_duplicates: false}\n== roles/after/meta/main.yml\ndependencies: [inner]\n== roles/after/tasks/main.yml\n- debug: {msg: after}";
    let play = |roles: &str| {
        said(&format!("== site.yaml\n- hosts: all\n  roles: {roles}\n{role}"), "").replace('\n', ", ")
    };
    assert_eq!(play("[outer]"), "exit 0, inner plain, inner plain, inner plain");
    assert_eq!(play("[inner, inner]"), "exit 0, inner plain");
    assert_eq!(play("[inner, {role: inner, which: x}]"), "exit 0, inner plain, inner x");
    assert_eq!(play("[after, inner]"), "exit 0, inner plain, after");
}

#[test]
fn a_role_of_a_collection_is_no_namesake() {
    let files = "== site.yaml\n- hosts: all\n  roles: [swap]\n== roles/swap/tasks/main.yml\n- include_role: {name: other.coll.swap}\n- debug: {msg: end}";
    insta::assert_snapshot!(said(files, ""), @"
    exit 1
    -- stderr
    error: there is no role `other.coll.swap`
     --> roles/swap/tasks/main.yml:1:24
      |
    1 | - include_role: {name: other.coll.swap}
      |                        ^^^^^^^^^^^^^^^
      |
      = role `swap`, called at site.yaml:2:11
      = there is no collection `other.coll` in `collections/ansible_collections`
      = help: put the role into `roles` and call it by its own name, or the collection into `collections/ansible_collections`
    1 error in 3 files. No host was contacted.
    ");
    let with = format!(
        "{files}\n== collections/ansible_collections/other/coll/roles/swap/tasks/main.yml\n- debug: {{msg: theirs}}"
    );
    assert_eq!(said(&with, ""), "exit 0\ntheirs\nend");
}

#[test]
fn an_empty_list_has_no_first_item() {
    let shown = tasks(
        "    - debug: {msg: \"{{ [] | first | default('none') }} {{ [] | last | default('none') }} {{ [] | max | default(7) }} {{ ([] | first) is defined }}\"}\n    - debug: {msg: \"{{ [] | first }}\"}",
    );
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stderr
    error: the expression has no value
     --> site.yaml:4:24
      |
    4 |     - debug: {msg: "{{ [] | first }}"}
      |                        ^^^^^^^^^^
      |
      = help: an empty list has no such item: `| default(...)` says what stands for it
    1 error in 2 files. No host was contacted.
    "#);
}

#[test]
fn tags_of_an_include_are_its_own() {
    let files = "== inc.yml\n- debug: {msg: \"inner plain\"}\n- debug: {msg: \"inner x\"}\n  tags: [x]\n== site.yaml\n- hosts: all\n  tasks:\n    - include_tasks: inc.yml\n      tags: [a]\n    - include_tasks:\n        file: inc.yml\n        apply: {tags: [b]}\n      tags: [b]\n    - import_tasks: inc.yml\n      tags: [c]\n    - block:\n        - include_tasks: inc.yml\n      tags: [d]\n    - debug: {msg: always}\n      tags: [always]";
    let run = |tags: &str| said(files, &format!("--tags {tags}")).replace('\n', ", ");
    assert_eq!(run("a"), "exit 0, always");
    assert_eq!(run("a,x"), "exit 0, inner x, inner x, always");
    assert_eq!(run("b"), "exit 0, inner plain, inner x, always");
    assert_eq!(run("c"), "exit 0, inner plain, inner x, always");
    assert_eq!(run("d"), "exit 0, inner plain, inner x, always");
    assert_eq!(run("x"), "exit 0, inner x, always");
}

#[test]
fn a_template_gives_lines_of_one_kind() {
    let folder = Folder::new(
        "== inventory\nhere ansible_connection=local\n== site.yaml\n- hosts: all\n  tasks:\n    - template: {src: t.j2, dest: \"{{ playbook_dir }}/plain\"}\n    - template: {src: t.j2, dest: \"{{ playbook_dir }}/dos\", newline_sequence: '\\r\\n'}\n    - template: {src: t.j2, dest: \"{{ playbook_dir }}/loose\", trim_blocks: false, lstrip_blocks: true}",
    );
    let text = "a {{ 1 }}\r\n  {% if true %}\r\nx\r\n  {% endif %}\r\n\r\nend\r\n";
    std::fs::write(folder.path("t.j2"), text).expect("a file");
    let shown = folder.run("run site.yaml");
    assert!(shown.starts_with("exit 0"), "{shown}");
    assert_eq!(folder.read("plain"), "a 1\n  x\n  \nend\n");
    assert_eq!(folder.read("dos"), "a 1\r\n  x\r\n  \r\nend\r\n");
    assert_eq!(folder.read("loose"), "a 1\n\nx\n\n\nend\n");
}

#[test]
fn files_are_looked_for_where_ansible_looks() {
    let files = "== site.yaml\n- hosts: all\n  roles: [r]\n  tasks:\n    - include_tasks: tasks/sub/site.yml\n== roles/r/tasks/main.yml\n- include_tasks: tasks/more.yml\n- include_tasks: sub/deep.yml\n- import_tasks: sub/deep.yml\n== roles/r/tasks/more.yml\n- debug: {msg: more}\n== roles/r/tasks/sub/deep.yml\n- debug: {msg: \"deep {{ lookup('template', 't.j2') | trim }} {{ lookup('file', 'f') }}\"}\n- include_tasks: next.yml\n- include_vars: v.yml\n- debug: {msg: \"{{ v }}\"}\n== roles/r/tasks/sub/next.yml\n- debug: {msg: next}\n== roles/r/templates/t.j2\ntemplate\n== roles/r/files/f\nfile\n== roles/r/vars/v.yml\nv: var\n== tasks/sub/site.yml\n- include_tasks: beside.yml\n== tasks/sub/beside.yml\n- debug: {msg: beside}";
    assert_eq!(
        said(files, "").replace('\n', ", "),
        "exit 0, more, deep template file, next, var, deep template file, next, var, beside"
    );
}

#[test]
fn hints_name_no_module_that_is_not_there() {
    let shown = tasks("    - debug: {msg: \"{{ lookup('url', 'x') }}\"}");
    insta::assert_snapshot!(shown, @r#"
    exit 1
    -- stderr
    error: lookup `url`: it would fetch from the network while planning
     --> site.yaml:3:24
      |
    3 |     - debug: {msg: "{{ lookup('url', 'x') }}"}
      |                        ^^^^^^^^^^^^^^^^^^
      |
      = help: fetch it in a task of its own (`command: curl ...`) and register the result
    1 error in 2 files. No host was contacted.
    "#);
}
