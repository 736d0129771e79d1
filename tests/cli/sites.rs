//! Random sites on this machine's own sh: reading ahead and one task at a time come to the same end.
//!
//! A site is a list of steps, each a shape with a few small numbers; shapes set, register and read a handful of
//! variables and files in every way there is. Each site runs twice (what a first run leaves, the second finds) with the
//! window and without: the same results of every task on every host, and the same files. `ISHPROV_SITES=5000` tries
//! more of them. Sites that once failed are kept in `sites.proptest-regressions` and tried first.

use crate::folder::Folder;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Sites that are tried by default: half a minute on a small machine.
const SITES: u32 = 8;

/// A step of a site.
#[derive(Debug, Clone, Copy)]
struct Step {
    shape: usize,
    /// The variable and file it writes.
    to: usize,
    /// The variable it reads.
    of: usize,
    /// In which way it reads.
    way: usize,
    /// Its condition.
    when: usize,
}

fn step() -> impl Strategy<Value = Step> {
    // The first ones, which set and use variables, more often than the others.
    (prop_oneof![0..7usize, 0..SHAPES.len()], 0..3usize, 0..3usize, 0..WAYS.len(), 0..CONDITIONS.len())
        .prop_map(|(shape, to, of, way, when)| Step { shape, to, of, way, when })
}

/// Ways to read variable `N`; the same text whatever is defined.
const WAYS: &[&str] = &[
    "vN | default('none')",
    "lookup('vars', 'vN', default='none')",
    "lookup('vars', 'v' ~ N, default='none')",
    "vars['vN'] | default('none')",
    "vars['v' ~ N] | default('none')",
    "lookup('template', 'plainN.j2') | trim",
    "lookup('template', 'including.j2') | trim",
    "chainedN",
    "playedN",
    "includedN | default('none')",
    "hostvars[other].vN | default('none')",
    "hostvars[other]['v' ~ N] | default('none')",
    "theirsN",
    "(rN | default({})).stdout | default('none')",
    "(getent_passwd | default({})).keys() | sort | join('+')",
    "(ansible_facts.getent_group | default({})).keys() | sort | join('+')",
    "lookup('file', 'note') | trim",
    "lookup('varnames', '^v[0-9]$')",
    "lookup('first_found', ['made/N', 'note']) | basename",
    "(ansible_failed_result | default({})).rc | default('none')",
    "ansible_play_hosts | join('+')",
];

/// Conditions on variable `N`.
const CONDITIONS: &[&str] = &[
    "true",
    "true",
    "vN is defined",
    "vN is not defined",
    "chainedN != 'none'",
    "(rN | default({})).changed | default(false)",
    "(rN | default({})).stdout | default('') | length > 4",
    "lookup('template', 'plainN.j2') | trim != 'none'",
    "getent_passwd is defined",
    "((rN | default({})).stat | default({})).exists | default(false)",
    "inventory_hostname == 'one'",
    "(hostvars[other].vN | default('none')) != 'none'",
];

/// Tasks: `TO` and `OF` are numbers, `READ` is an expression, `WHEN` a condition.
const SHAPES: &[&str] = &[
    "
- set_fact: {vTO: \"TO{{ READ }}\"}
  when: \"WHEN\"
",
    "
- shell: echo TO {{ (READ) | quote }}
  register: rTO
  changed_when: false
  when: \"WHEN\"
",
    "
- copy: {content: \"{{ READ }}\", dest: \"{{ here }}/fTO\"}
  register: rTO
  notify: handler OF
  when: \"WHEN\"
",
    "
- template: {src: plainOF.j2, dest: \"{{ here }}/fTO\"}
  register: rTO
",
    "
- template: {src: including.j2, dest: \"{{ here }}/fTO\"}
  when: \"WHEN\"
",
    "
- template: {src: written.tera, dest: \"{{ here }}/fTO\"}
",
    "
- template: {src: \"{{ 'plain' ~ OF }}.j2\", dest: \"{{ here }}/fTO\"}
",
    "
- stat: {path: \"{{ here }}/fTO\", get_checksum: false}
  register: rTO
",
    "
- set_fact: {vTO: \"{{ (vTO | default('')) ~ item }}\"}
  loop: [a, \"{{ READ }}\", c]
  when: (item | default('')) != 'none'
",
    "
- lineinfile: {path: \"{{ here }}/{{ item }}\", line: \"{{ READ }} {{ item }}\", create: true}
  loop: \"{{ ['fTO', 'g' ~ (READ | string | length)] }}\"
  register: rTO
  when: \"WHEN\"
",
    "
- block:
    - command: sh -c 'exit TO'
    - set_fact: {vTO: \"{{ READ }}\"}
  rescue:
    - copy: {content: \"{{ ansible_failed_result.rc }} {{ READ }}\", dest: \"{{ here }}/fTO\"}
    - set_fact: {vOF: rescued}
  always:
    - shell: echo {{ (READ) | quote }} >> {{ here }}/always
  when: \"WHEN\"
",
    "
- include_vars: moreTO.yaml
  when: \"WHEN\"
",
    "
- include_tasks: \"{{ 'taken' ~ TO }}.yaml\"
  when: \"WHEN\"
",
    "
- include_tasks: takenTO.yaml
  when: \"WHEN\"
",
    "
- include_tasks: \"taken{{ item }}.yaml\"
  loop: [TO, OF]
",
    "
- getent: {database: passwd, key: \"{{ ['root', 'daemon', 'bin'][TO] }}\"}
  when: \"WHEN\"
- getent: {database: group, key: \"{{ ['root', 'daemon', 'bin'][OF] }}\"}
",
    "
- shell: echo x >> {{ here }}/count; wc -l < {{ here }}/count
  register: rTO
  until: (rTO.stdout | int) > TO
  retries: 4
  delay: 0
  changed_when: (READ) == 'none'
",
    "
- meta: flush_handlers
",
    "
- set_fact: {vTO: \"once {{ inventory_hostname }} {{ READ }}\"}
  run_once: true
  when: \"WHEN\"
",
    "
- getent: {database: passwd, key: \"{{ ['root', 'daemon', 'bin'][TO] }}\"}
  run_once: true
",
    "
- copy: {content: \"{{ READ }}\", dest: \"{{ here }}/delegated\"}
  delegate_to: \"{{ other }}\"
  register: rTO
  when: \"WHEN\"
",
    "
- copy: {content: \"{{ READ }} TO\", dest: \"{{ playbook_dir }}/files/note\"}
  run_once: true
- copy: {content: \"OF\", dest: \"{{ playbook_dir }}/files/made/OF\"}
  run_once: true
  when: \"WHEN\"
",
    "
- copy: {content: \"{{ '{{' }} vOF | default('none') {{ '}}' }} TO{{ READ }}\", dest: \"{{ playbook_dir }}/templates/plainTO.j2\"}
  run_once: true
",
    "
- copy: {src: note, dest: \"{{ here }}/fTO\"}
",
    "
- shell: echo \"$WORD\" > {{ here }}/fTO
  environment: {WORD: \"{{ READ }}\"}
  args: {creates: \"{{ here }}/fOF\"}
",
    "
- file: {path: \"{{ here }}/fTO\", state: absent}
  register: rOF
  notify: \"handler {{ (READ | string | length) % 3 }}\"
  when: \"WHEN\"
",
    "
- copy: {content: \"{{ own }}\", dest: \"{{ here }}/fTO\"}
  vars: {own: \"{{ READ }}!\"}
  failed_when: (READ) == 'rescued'
  ignore_errors: \"{{ chainedOF is defined }}\"
",
    "
- copy: {content: \"{{ hostvars[item].vOF | default('none') }}\", dest: \"{{ here }}/f{{ item }}\"}
  loop: \"{{ ansible_play_hosts }}\"
  when: \"WHEN\"
",
    "
- debug: {msg: \"{{ READ }}\"}
  register: rTO
  when: \"WHEN\"
",
    "
- slurp: {src: \"{{ here }}/fTO\"}
  register: rTO
  ignore_errors: true
- copy: {content: \"{{ (rTO.content | default('')) | b64decode }}.\", dest: \"{{ here }}/fOF\"}
",
];

impl Step {
    fn text(self) -> String {
        let number = |text: &str, number: usize| text.replace('N', &number.to_string());
        SHAPES[self.shape]
            .replace("READ", &number(WAYS[self.way], self.of))
            .replace("WHEN", &number(CONDITIONS[self.when], self.of))
            .replace("TO", &self.to.to_string())
            .replace("OF", &self.of.to_string())
    }
}

/// The files of a site with these steps.
fn site(steps: &[Step]) -> Folder {
    let mut files = String::from(
        "
== hosts.yaml
all:
  hosts: {one: {other: two}, two: {other: one}}
  vars:
    ansible_connection: local
    here: \"{{ playbook_dir }}/out/{{ inventory_hostname }}\"
== templates/including.j2
{% include 'plain0.j2' %}{% from 'macros.j2' import shown with context %}{{ shown() }}
== templates/macros.j2
{% macro shown() %}{{ v1 | default('none') }}{% endmacro %}
== templates/written.tera
{{ v0 | default(value='none') }} {{ chained1 }} {% if v2 is defined %}{{ v2 }}{% endif %}
== files/note
note
== files/made/0
0
",
    );
    let mut chained = String::new();
    let mut played = String::new();
    let mut handlers = String::new();
    for n in 0..3 {
        let _ = write!(
            files,
            "== templates/plain{n}.j2\n{{{{ v{n} | default('none') }}}}\n\
             == vars/more{n}.yaml\nincluded{n}: \"{{{{ v{n} | default('none') }}}}\"\n\
             == taken{n}.yaml\n\
             - copy: {{content: \"{{{{ v{n} | default('none') }}}}\", dest: \"{{{{ here }}}}/taken{n}\"}}\n\
             - set_fact: {{v{n}: \"{{{{ (v{n} | default('')) ~ 't' }}}}\"}}\n"
        );
        let _ = writeln!(
            chained,
            "middle{n}: \"{{{{ v{n} | default('none') }}}}\"\nchained{n}: \"{{{{ middle{n} }}}}\""
        );
        let _ = writeln!(chained, "theirs{n}: \"{{{{ hostvars[other].v{n} | default('none') }}}}\"");
        let _ =
            writeln!(played, "    played{n}: \"{{{{ [v{n} | default('none'), chained{n}] | join('-') }}}}\"");
        let _ = write!(
            handlers,
            "    - name: handler {n}\n      copy: {{content: \"{{{{ v{n} | default('none') }}}} {{{{ lookup('template', 'plain{n}.j2') }}}}\", dest: \"{{{{ here }}}}/handled{n}\"}}\n\
             \x20     notify: \"handler {{{{ {n} + 1 }}}}\"\n"
        );
    }
    let tasks: String = steps.iter().map(|step| step.text()).collect();
    let last: String = (0..3)
        .map(|n| {
            format!("v{n}={{{{ v{n} | default('none') }}}} r{n}={{{{ r{n} | default('none') | to_json }}}} ")
        })
        .collect();
    let site = format!(
        "- hosts: all\n  vars:\n{played}  tasks:\n{}\n    - copy: {{content: \"{last}\", dest: \"{{{{ here }}}}/last\"}}\n  handlers:\n{handlers}",
        tasks.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    let folder = Folder::new(&format!("{files}== group_vars/all.yaml\n{chained}== site.yaml\n{site}"));
    for host in ["one", "two"] {
        folder.write(&format!("out/{host}/f0"), "none");
    }
    folder
}

/// What a run came to: every task's result on each host, in order, and every file it left.
fn outcome(folder: &Folder, options: &str) -> String {
    let output = folder.command(&format!("run site.yaml -i hosts.yaml --output json {options}")).output();
    let output = output.expect("the program runs");
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    let mut shown = String::new();
    let root = folder.path("").canonicalize().expect("a folder").display().to_string();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        match event["event"].as_str() {
            Some("task") => {
                let mut event = event.clone();
                let told = event.as_object_mut().expect("an object");
                ["seconds"].iter().for_each(|name| drop(told.shift_remove(*name)));
                let of = hosts.entry(event["host"].to_string()).or_default();
                let _ = writeln!(of, "{event}");
            }
            Some("recap") => {
                let mut recap = event["hosts"].clone();
                for host in recap.as_object_mut().expect("hosts").values_mut() {
                    let host = host.as_object_mut().expect("columns");
                    host.retain(|name, _| {
                        !["round_trips", "bytes_sent", "bytes_received"].contains(&name.as_str())
                    });
                }
                let _ = writeln!(shown, "{recap}");
            }
            _ => {}
        }
    }
    let mut text = format!("{:?}\n{}{shown}", output.status.code(), hosts.into_values().collect::<String>());
    // A site that is refused proves nothing.
    assert!(!shown.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    for part in ["out", "files", "templates"] {
        files(&folder.path(part), &mut text);
    }
    // When a file was written, and where the folder is, differ from run to run.
    let text = text.replace(&root, "DIR").replace(folder.path("").to_str().unwrap_or_default(), "DIR/");
    text.split(',').filter(|word| !word.contains("mtime")).collect::<Vec<_>>().join(",")
}

fn files(dir: &Path, text: &mut String) {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).expect("a folder").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, text);
        } else {
            let _ = writeln!(
                text,
                "{}: {}",
                path.display(),
                String::from_utf8_lossy(&std::fs::read(&path).expect("a file"))
            );
        }
    }
}

fn cases() -> u32 {
    std::env::var("ISHPROV_SITES").ok().and_then(|count| count.parse().ok()).unwrap_or(SITES)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 120,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/cli/sites.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn reading_ahead_is_never_seen(steps in proptest::collection::vec(step(), 4..16)) {
        let (ahead, alone) = (site(&steps), site(&steps));
        let turns = [("checking", "--check"), ("first", ""), ("second", "")];
        for (turn, check) in turns.into_iter().skip(steps.len() % 2) {
            let (wide, narrow) = (outcome(&ahead, check), outcome(&alone, &format!("{check} --window 1")));
            if wide != narrow {
                let differing = wide.lines().zip(narrow.lines()).find(|(a, b)| a != b);
                let tasks: String = steps.iter().map(|step| step.text()).collect();
                prop_assert!(false, "{turn} run of{tasks}\n{differing:#?}");
            }
        }
    }
}
