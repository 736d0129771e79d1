//! What is read ahead must never be seen: a step gets the values that the steps before it brought, wherever it reads them.

use crate::folder::Folder;

/// Runs the tasks on this machine, reading ahead and one at a time; what `{{ out }}/NAME` holds afterwards.
fn outcome(files: &str, tasks: &str) -> String {
    let run = |options: &str| {
        let folder = Folder::new(&format!(
            "== hosts.yaml\nall: {{hosts: {{here: {{ansible_connection: local}}}}}}\n{files}"
        ));
        let out = folder.path("out");
        std::fs::create_dir(&out).expect("a folder");
        let site = format!("- hosts: all\n  vars: {{out: {}}}\n  tasks:\n{tasks}", out.display());
        folder.write("site.yaml", &site);
        let shown = folder.run(&format!("run site.yaml -i hosts.yaml {options}"));
        let recap = shown.lines().find(|line| line.starts_with("here : ")).unwrap_or(&shown).to_owned();
        let mut names: Vec<_> = std::fs::read_dir(&out).expect("a folder").flatten().collect();
        names.sort_by_key(|entry| entry.file_name());
        let texts = names.iter().map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("a text");
            format!("{}: {}\n", entry.file_name().to_string_lossy(), text.trim_end())
        });
        format!("{}{recap}\n", texts.collect::<String>())
    };
    let ahead = run("");
    assert_eq!(ahead, run("--window 1"), "reading ahead is seen");
    ahead
}

const PROBE: &str = "
    - command: echo 15.3
      register: probe
      changed_when: false
    - set_fact: {ver: \"{{ probe.stdout }}\"}
";

#[test]
fn template_files_and_what_they_take_in() {
    let files = "
== templates/plain.j2
{{ ver | default('unknown') }}
== templates/including.j2
{% include 'part.j2' %}
== templates/part.j2
{{ ver | default('unknown') }}
== templates/importing.j2
{% from 'macros.j2' import shown with context %}{{ shown() }}
== templates/macros.j2
{% macro shown() %}{{ ver | default('unknown') }}{% endmacro %}
== templates/extending.j2
{% extends 'base.j2' %}{% block x %}{{ ver | default('unknown') }}{% endblock %}
== templates/base.j2
{% block x %}{% endblock %}
== templates/tera.tera
{{ ver | default(value='unknown') }}
== templates/indirect.j2
{{ lookup('vars', 've' ~ 'r', default='unknown') }}
== templates/keys.j2
{{ vars['ver'] | default('unknown') }}
";
    let mut tasks = PROBE.to_owned();
    for name in
        ["plain.j2", "including.j2", "importing.j2", "extending.j2", "tera.tera", "indirect.j2", "keys.j2"]
    {
        tasks.push_str(&format!("    - template: {{src: {name}, dest: \"{{{{ out }}}}/{name}\"}}\n"));
    }
    insta::assert_snapshot!(outcome(files, &tasks), @"
    extending.j2: 15.3
    importing.j2: 15.3
    including.j2: 15.3
    indirect.j2: 15.3
    keys.j2: 15.3
    plain.j2: 15.3
    tera.tera: 15.3
    here : ok=9   changed=7   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    ");
}

#[test]
fn lookups_and_variables_made_of_variables() {
    let files = "
== group_vars/all.yaml
chained: \"{{ middle }}\"
middle: \"{{ ver | default('unknown') }}\"
== templates/asked.j2
{{ ver | default('unknown') }}
== more.yaml
included: \"{{ ver | default('unknown') }}\"
";
    let tasks = format!(
        "{PROBE}
    - copy: {{content: \"{{{{ lookup('template', 'asked.j2') }}}}\", dest: \"{{{{ out }}}}/template\"}}
    - copy: {{content: \"{{{{ lookup('vars', 've' ~ 'r', default='unknown') }}}}\", dest: \"{{{{ out }}}}/vars\"}}
    - copy: {{content: \"{{{{ vars[['v', 'er'] | join] | default('unknown') }}}}\", dest: \"{{{{ out }}}}/key\"}}
    - copy: {{content: \"{{{{ chained }}}}\", dest: \"{{{{ out }}}}/chained\"}}
    - copy: {{content: \"{{{{ own }}}}\", dest: \"{{{{ out }}}}/own\"}}
      vars: {{own: \"{{{{ chained }}}}\"}}
    - include_vars: more.yaml
    - copy: {{content: \"{{{{ included | default('missing') }}}}\", dest: \"{{{{ out }}}}/included\"}}
    - copy: {{content: \"{{{{ lookup('varnames', '^ver$') }}}}\", dest: \"{{{{ out }}}}/names\"}}
"
    );
    insta::assert_snapshot!(outcome(files, &tasks), @"
    chained: 15.3
    included: 15.3
    key: 15.3
    names: ver
    own: 15.3
    template: 15.3
    vars: 15.3
    here : ok=10  changed=7   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    ");
}

#[test]
fn facts_that_tasks_bring() {
    let tasks = "
    - getent: {database: passwd, key: root}
    - copy: {content: \"{{ ansible_facts.getent_passwd.root[1] }}\", dest: \"{{ out }}/entry\"}
      when: \"'root' in (ansible_facts.getent_passwd | default({}))\"
    - copy: {content: \"{{ getent_passwd.root[1] }}\", dest: \"{{ out }}/bare\"}
      when: getent_passwd is defined
    - package_facts:
    - copy: {content: there, dest: \"{{ out }}/package\"}
      when: \"'dpkg' in (ansible_facts.packages | default({}))\"
    - block:
        - copy: {content: there, dest: \"{{ out }}/block\"}
      when: packages is defined
";
    insta::assert_snapshot!(outcome("", tasks), @"
    bare: 0
    block: there
    entry: 0
    package: there
    here : ok=6   changed=4   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    ");
}

#[test]
fn conditions_loops_and_names() {
    let files = "
== inner.yaml
- copy: {content: \"{{ ver }}\", dest: \"{{ out }}/inner\"}
";
    let tasks = format!(
        "{PROBE}
    - set_fact: {{list: \"{{{{ list | default([]) + [item] }}}}\"}}
      loop: [a, b, c]
    - copy: {{content: \"{{{{ list | join }}}}\", dest: \"{{{{ out }}}}/list\"}}
    - copy: {{content: \"{{{{ item }}}}\", dest: \"{{{{ out }}}}/each-{{{{ item }}}}\"}}
      loop: \"{{{{ (list | default([])) + [ver] }}}}\"
      register: made
    - copy: {{content: x, dest: \"{{{{ out }}}}/sum-{{{{ made.results | length }}}}\"}}
      when: made is changed
      notify: \"told {{{{ ver }}}}\"
    - include_tasks: inner.yaml
      when: ver is defined and ver == '15.3'
    - block:
        - command: test {{{{ ver }}}} = other
          changed_when: false
      rescue:
        - copy: {{content: \"{{{{ ansible_failed_result.rc }}}}\", dest: \"{{{{ out }}}}/rescued\"}}
  handlers:
    - name: told 15.3
      copy: {{content: \"{{{{ list | join }}}}\", dest: \"{{{{ out }}}}/handled\"}}
"
    );
    insta::assert_snapshot!(outcome(files, &tasks), @"
    each-15.3: 15.3
    each-a: a
    each-b: b
    each-c: c
    handled: abc
    inner: 15.3
    list: abc
    rescued: 1
    sum-4: x
    here : ok=9   changed=6   unreachable=0   failed=0   skipped=0   rescued=1   ignored=0
    ");
}

#[test]
fn files_of_this_machine_that_tasks_write() {
    let files = "
== templates/made.j2
old
== files/made
old
== vars/held.yaml
made: old
== made.yaml
- copy: {content: old, dest: \"{{ out }}/tasks\"}
";
    let tasks = "
    - template: {src: made.j2, dest: \"{{ out }}/before\"}
    - copy: {content: \"new {{ out | length > 0 }}\", dest: \"{{ playbook_dir }}/templates/made.j2\"}
    - copy: {content: new, dest: \"{{ playbook_dir }}/files/made\"}
    - copy: {content: \"made: new\", dest: \"{{ playbook_dir }}/vars/held.yaml\"}
    - copy: {content: \"- copy: {content: new, dest: '{{ out }}/tasks'}\", dest: \"{{ playbook_dir }}/made.yaml\"}
    - template: {src: made.j2, dest: \"{{ out }}/template\"}
    - copy: {src: made, dest: \"{{ out }}/file\"}
    - copy: {content: \"{{ lookup('file', 'made') }}\", dest: \"{{ out }}/lookup\"}
    - include_vars: held.yaml
    - copy: {content: \"{{ made | default('none') }}\", dest: \"{{ out }}/vars\"}
    - include_tasks: \"{{ 'made' }}.yaml\"
";
    insta::assert_snapshot!(outcome(files, tasks), @"
    before: old
    file: new
    lookup: new
    tasks: new
    template: new True
    vars: new
    here : ok=11  changed=10  unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    ");
}

#[test]
fn what_other_hosts_are_at_the_moment() {
    let site = "
== hosts.yaml
all:
  hosts: {one: {number: 1}, two: {number: 2}}
  vars: {ansible_connection: local, theirs: \"{{ hostvars['one'].found | default('none') }}\"}
== templates/shown.j2
{{ hostvars['one'].found | default('none') }}
== templates/numbers.j2
{{ groups['all'] | map('extract', hostvars, 'number') | join('+') }}
== inner.yaml
- debug: {msg: taken in}
== site.yaml
- hosts: all
  tasks:
    - command: sleep 0.3
      when: inventory_hostname == 'one'
    - shell: echo found
      register: looked
      changed_when: false
    - set_fact: {found: \"{{ looked.stdout }}\"}
    - debug: {msg: \"{{ lookup('template', 'shown.j2') | trim }} {{ lookup('template', 'numbers.j2') | trim }}\"}
    - debug: {msg: \"{{ theirs }}\"}
    - include_tasks: inner.yaml
      when: theirs == 'found'
    - include_tasks: \"{{ 'inner' }}.yaml\"
      when: hostvars['one'].found == 'found'
    - set_fact: {found: changed}
    - debug: {msg: \"{{ theirs }}\"}
    - getent: {database: passwd, key: root}
      run_once: true
    - debug: {msg: \"{{ getent_passwd.root[1] }}\"}
      when: getent_passwd is defined
";
    for options in ["", "--window 1"] {
        let folder = Folder::new(site);
        let shown = folder.run(&format!("run site.yaml -i hosts.yaml {options}"));
        let told: Vec<&str> =
            shown.lines().filter(|line| line.contains("debug") || line.contains(" : ok")).collect();
        let told: String =
            told.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(told, @"
            debug ok one two (found 1+2)
            debug ok one two (found)
            debug ok one two (taken in)
            debug ok one two (taken in)
            debug ok one two (changed)
            debug ok one two (0)
            one : ok=11 changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0
            two : ok=9 changed=0 unreachable=0 failed=0 skipped=1 rescued=0 ignored=0
            ");
        }
    }
}
