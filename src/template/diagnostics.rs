//! Faults and where they point, in scalars of every style and in files.

use super::*;
use crate::diag::{Diagnostic, FileId, SourceMap};
use crate::shell::{Masker, Secret};
use crate::yaml::{self, Node};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A site: variables in YAML, files by name, one source map.
struct Site {
    sources: Arc<Mutex<SourceMap>>,
    files: BTreeMap<String, (FileId, Arc<str>)>,
    scope: Arc<dyn Scope>,
    masker: Masker,
}

struct Vars(BTreeMap<String, Arc<Node>>);

impl Scope for Vars {
    fn get(&self, name: &str) -> Option<Variable> {
        self.0.get(name).map(|node| Variable::Node(Arc::clone(node)))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

struct Edge(Arc<Mutex<SourceMap>>, BTreeMap<String, (FileId, Arc<str>)>);

impl Lookups for Edge {
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn file(&self, _from: FileId, path: &str) -> Result<String, String> {
        self.1
            .get(path)
            .map(|(_, text)| text.to_string())
            .ok_or_else(|| format!("file `{path}` does not exist"))
    }

    fn template(&self, _from: FileId, path: &str) -> Result<FileText, String> {
        let (file, text) = self.1.get(path).ok_or_else(|| format!("template `{path}` does not exist"))?;
        Ok(FileText { file: *file, text: Arc::clone(text) })
    }

    fn first_found(&self, _from: FileId, paths: &[String]) -> Option<String> {
        paths.iter().find(|path| self.1.contains_key(*path)).cloned()
    }

    fn fileglob(&self, _from: FileId, _pattern: &str) -> Vec<String> {
        self.1.keys().cloned().collect()
    }

    fn decrypt(&self, ciphertext: &str) -> Result<Secret, String> {
        match ciphertext.trim() {
            "good" => Ok(Secret::new("hunter2-secret")),
            _ => Err("the password is wrong".to_owned()),
        }
    }

    fn password(&self, _from: FileId, request: &PasswordRequest) -> Result<Secret, String> {
        Ok(Secret::new("p".repeat(request.length)))
    }

    fn source(&self, file: FileId) -> Option<Arc<str>> {
        self.0.lock().ok().map(|sources| sources.text(file))
    }
}

impl Site {
    fn new(vars: &str, files: &[(&str, &str)]) -> Self {
        let mut sources = SourceMap::new();
        let file = sources.add("vars.yml", vars);
        let node = yaml::parse(file, vars).expect("the variables are YAML");
        let entries = node.as_map().unwrap_or_default().iter();
        let vars =
            entries.filter_map(|entry| Some((entry.key.as_str()?.to_owned(), Arc::new(entry.value.clone()))));
        let scope = Arc::new(Vars(vars.collect()));
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (sources.add(*name, *text), Arc::from(*text))))
            .collect();
        Self { sources: Arc::new(Mutex::new(sources)), files, scope, masker: Masker::new() }
    }

    fn templates(&self) -> Templates {
        Templates::new(self.masker.clone(), Arc::new(Edge(Arc::clone(&self.sources), self.files.clone())))
    }

    /// The value of the variable `task` and of the others as they are used.
    fn task(&self) -> Result<Value, String> {
        let Some(Variable::Node(node)) = self.scope.get("task") else { panic!("no task") };
        self.templates().render_value(&node, &self.scope).map_err(|fault| self.shown(&fault))
    }

    fn file(&self, name: &str) -> Result<String, String> {
        let (file, text) = &self.files[name];
        self.templates()
            .render_file(*file, text, Dialect::of(name), &self.scope, &Map::new(), &FileOptions::default())
            .map_err(|fault| self.shown(&fault))
    }

    fn shown(&self, fault: &Diagnostic) -> String {
        let sources = self.sources.lock().expect("one thread");
        let place = |span| format!("{} `{}`", sources.locate(span), sources.snippet(span));
        let mut out = format!("{} [{}]", fault.message, fault.code);
        if let Some(span) = fault.span {
            out.push_str(&format!("\n  at {}", place(span)));
        }
        if let Some(label) = &fault.label {
            out.push_str(&format!("\n  {label}"));
        }
        for frame in &fault.frames {
            out.push_str(&format!("\n  {} {}", frame.text, place(frame.span)));
        }
        for hint in &fault.hints {
            out.push_str(&format!("\n  hint: {hint}"));
        }
        out
    }
}

fn fault(vars: &str) -> String {
    Site::new(vars, &[]).task().expect_err("it fails")
}

#[test]
fn faults_point_into_plain_quoted_and_block_scalars() {
    let faults = [
        fault("pg_version: 15\ntask: a {{ pg_versoin }} b\n"),
        fault("pg: {port: 5432}\ntask: \"{{ pg.prot }}\"\n"),
        fault("pg: {port: 5432}\ntask: 'x {{ pg[\"prot\"] + 1 }}'\n"),
        fault("task: |\n  line one {{ 1 }}\n  line two {{ nope }}\n"),
        fault("task: |\n  same {{ 1 }}\n  same {{ nope }}\n  same {{ nope }}\n"),
        fault("task: {deep: [1, \"{{ (a.b | default({})).c | upper }}\"]}\n"),
        fault("task: \"tab\\t{{ nope }}\"\n"),
        fault("l: [1]\ntask: \"{{ l | map(attribute='x') | join(nope) }}\"\n"),
    ];
    insta::assert_snapshot!(faults.join("\n"), @r#"
    `pg_versoin` is undefined [undefined-variable]
      at vars.yml:2:12 `pg_versoin`
      did you mean `pg_version`?
    `pg.prot` is undefined [undefined-variable]
      at vars.yml:2:11 `pg.prot`
      did you mean `port`?
    `pg["prot"]` is undefined [undefined-variable]
      at vars.yml:2:13 `pg["prot"]`
      did you mean `port`?
    `nope` is undefined [undefined-variable]
      at vars.yml:3:15 `nope`
    `nope` is undefined [undefined-variable]
      at vars.yml:3:11 `nope`
    `.c` of this value is undefined [undefined-variable]
      at vars.yml:1:41 `.c`
    `nope` is undefined [undefined-variable]
      at vars.yml:1:7 `"tab\t{{ nope }}"`
    filter `map`: an item has no `x` [template]
      at vars.yml:2:15 `map(attribute='x')`
      hint: give `default=` or take such items out with `selectattr`
    "#);
}

#[test]
fn faults_of_a_definition_point_at_it_and_at_its_use() {
    let faults = [
        fault("a: \"{{ b }}\"\nb: \"{{ missing.x }}\"\ntask: \"{{ a }}\"\n"),
        fault("a: \"{{ b }}\"\nb: \"{{ c }}\"\nc: \"{{ a }}\"\ntask: \"x {{ a }}\"\n"),
        fault("d: {x: \"{{ d.y }}\", y: \"{{ d.x }}\"}\ntask: \"{{ d }}\"\n"),
        fault("a: \"{{ 1 | nofilter }}\"\ntask: \"{{ a }}\"\n"),
        fault("a: \"{{ 1 +\"\ntask: \"{{ a }}\"\n"),
        fault("s: !vault bad\ntask: \"{{ s }}\"\n"),
    ];
    insta::assert_snapshot!(faults.join("\n"), @r#"
    `missing` is undefined [undefined-variable]
      at vars.yml:2:8 `missing`
      `b` used vars.yml:1:8 `b`
      `a` used vars.yml:3:11 `a`
    `a` is defined by itself: `a` -> `b` -> `c` -> `a` [variable-cycle]
      at vars.yml:1:4 `"{{ b }}"`
      used vars.yml:4:13 `a`
      hint: give one of them a value that does not use the others
    `d.x` is defined by itself: `d.x` -> `d.y` -> `d.x` [variable-cycle]
      at vars.yml:1:8 `"{{ d.y }}"`
      used vars.yml:2:11 `d`
      hint: give one of them a value that does not use the others
    unknown filter `nofilter` [unknown-filter]
      at vars.yml:1:12 `nofilter`
      used vars.yml:2:11 `a`
    template syntax: unexpected end of input, expected expression [template-syntax]
      at vars.yml:1:10 `+`
      used vars.yml:2:11 `a`
    vault value cannot be decrypted: the password is wrong [vault]
      at vars.yml:1:11 `bad`
      used vars.yml:2:11 `s`
      hint: give the password with --vault-password-file or --ask-vault-pass
    "#);
}

#[test]
fn lazy_values_fail_only_where_they_are_used() {
    let site =
        Site::new("d: {good: \"{{ one }}\", bad: \"{{ nope }}\"}\none: 1\ntask: \"{{ d.good }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!(1)));
    let site = Site::new("d: {bad: \"{{ nope }}\"}\ntask: \"{{ d.bad | default('x') }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!("x")));
    let site = Site::new("d: {x: \"{{ d.y }}\", y: 2}\ntask: \"{{ d }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!({"x": 2, "y": 2})));
    let site = Site::new("u: !unsafe \"{{ nope }}\"\ntask: [\"{{ u }}\", !unsafe \"{{ u }}\"]\n", &[]);
    assert_eq!(site.task(), Ok(json!(["{{ nope }}", "{{ u }}"])));
}

#[test]
fn secrets_are_learned_and_masked() {
    let site = Site::new("s: !vault good\ntask: \"{{ s }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!("hunter2-secret")));
    assert_eq!(site.masker.mask("pw hunter2-secret"), "pw ********");
    let site = Site::new("task: \"{{ lookup('password', 'x length=8') }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!("pppppppp")));
    assert!(site.masker.finds("pppppppp"));
    let fault = fault("s: !vault good\ntask: \"{{ s + 1 }}\"\n");
    assert!(!fault.contains("hunter2"), "{fault}");
}

#[test]
fn nothing_is_rendered_twice() {
    let site = Site::new("a: \"{{ '{{' }} x }}\"\ntask: \"{{ a }}\"\n", &[]);
    assert_eq!(site.task(), Ok(json!("{{ x }}")));
    let Some(Variable::Node(node)) = site.scope.get("task") else { panic!("no task") };
    let once = site.templates().render_node(&node, &site.scope).expect("renders");
    assert_eq!(site.templates().render_node(&once, &site.scope), Ok(once));
}

#[test]
fn jinja_files_with_includes_macros_and_options() {
    let files = [
        (
            "main.j2",
            "{% import 'macros.j2' as m %}\n{% for x in l %}\n{{ m.line(x) }}\n{% endfor %}\n{% include 'part.j2' %}\n",
        ),
        ("macros.j2", "{% macro line(x) %}- {{ x }}{% endmacro %}\n"),
        ("part.j2", "part {{ one }}\n"),
        ("options.j2", "#jinja2: trim_blocks:False, lstrip_blocks:True\n  {% if true %}\nx\n  {% endif %}\n"),
        ("broken.j2", "{% include 'bad.j2' %}\n"),
        ("bad.j2", "fine\nbad {{ oen }}\n"),
        ("gone.j2", "{% include 'nowhere.j2' %}\n"),
        ("syntax.j2", "a\n{% if %}\n"),
        ("option.j2", "#jinja2: trim_block:False\nx\n"),
        ("local.j2", "{% for u in l %}\n{{ u.name }}\n{% endfor %}\n"),
    ];
    let site = Site::new("one: 1\nl: [a, b]\n", &files);
    assert_eq!(site.file("main.j2").as_deref(), Ok("- a\n- b\npart 1\n"));
    assert_eq!(site.file("options.j2").as_deref(), Ok("\nx\n"));
    let faults: Vec<String> = ["broken.j2", "gone.j2", "syntax.j2", "option.j2", "local.j2"]
        .map(|name| site.file(name).expect_err(name))
        .into();
    insta::assert_snapshot!(faults.join("\n"), @r#"
    `oen` is undefined [undefined-variable]
      at bad.j2:2:8 `oen`
      did you mean `one`?
      included broken.j2:1:4 `include 'bad.j2'`
    template `nowhere.j2` does not exist [template-not-found]
      at gone.j2:1:4 `include 'nowhere.j2'`
    template syntax: unexpected end of block [template-syntax]
      at syntax.j2:2:7 `%}`
    `trim_block` is not an option of `#jinja2:` [template-syntax]
      at option.j2:1:1 `#jinja2: trim_block:False`
      hint: it takes trim_blocks, lstrip_blocks, keep_trailing_newline and the start and end strings
    `u.name` is undefined [undefined-variable]
      at local.j2:2:4 `u.name`
    "#);
}

#[test]
fn tera_files() {
    let files = [
        (
            "main.tera",
            "{% for x in l %}- {{ x }}\n{% endfor %}{{ pg.port }} {{ d | to_json }} {{ nope | default(value=3) }} {{ 'no' | bool }}\n{% include \"part.tera\" %}",
        ),
        (
            "part.tera",
            "part {{ one }}{% if 'abc' is search(pattern='b') %} found{% endif %} {{ lookup(name='env', with='HOME') }}\n",
        ),
        ("bad.tera", "fine\n{{ pg_prot }}\n"),
        ("field.tera", "{{ pg.prot }}\n"),
        ("syntax.tera", "{{ 1 + }}\n"),
        ("filter.tera", "{{ pg.port | human_to_bytes(x=1) }}\n"),
        ("broken.tera", "x {{ b }}\n"),
        ("include.tera", "{% include \"nowhere.tera\" %}\n"),
    ];
    let site = Site::new(
        "one: 1\nl: [a, b]\npg: {port: 5432}\npg_port: 1\nd: {b: 1, a: [x]}\nb: \"{{ missing }}\"\n",
        &files,
    );
    assert_eq!(
        site.file("main.tera").as_deref(),
        Ok("- a\n- b\n5432 {\"b\": 1, \"a\": [\"x\"]} 3 false\npart 1 found /root\n")
    );
    let faults: Vec<String> =
        ["bad.tera", "field.tera", "syntax.tera", "filter.tera", "broken.tera", "include.tera"]
            .map(|name| site.file(name).expect_err(name))
            .into();
    insta::assert_snapshot!(faults.join("\n"), @r#"
    `pg_prot` is undefined [undefined-variable]
      at bad.tera:2:4 `pg_prot`
      did you mean `pg_port`?
    `pg.prot` is undefined [undefined-variable]
      at field.tera:1:4 `pg.prot`
      did you mean `port`?
    template syntax: Found `}}` but expected one of: integer, float, string, bool, ident, `-`, `not`, `<`, `{`, `[` or `(` [template-syntax]
      at syntax.tera:1:8 `}}`
    `human_to_bytes`: it knows no argument `x` [template]
      at filter.tera:1:14 `human_to_bytes(x=1)`
    `missing` is undefined [undefined-variable]
      at vars.yml:6:8 `missing`
      `b` used broken.tera:1:6 `b`
    template `nowhere.tera` does not exist [template-not-found]
      at include.tera:1:13 `nowhere.tera`
    "#);
}

#[test]
fn roots_are_the_names_a_text_needs() {
    let site = Site::new(
        "task:\n  x: \"{{ a.b | default(c) }} {% for i in l %}{{ i }}{{ loop.index }}{% endfor %}\"\n  when: \"{{ d if e is defined else f }}\"\n",
        &[
            ("t.j2", "{% set s = q %}{{ s }}{% macro m(z) %}{{ z }}{{ w }}{% endmacro %}{{ m(1) }}"),
            ("t.tera", "{% for i in l %}{{ i }}{% endfor %}{{ a.l }}{% if b is defined %}{{ b }}{% endif %}"),
        ],
    );
    let templates = site.templates();
    let names = |roots: Vec<Root>| {
        roots
            .iter()
            .map(|root| format!("{}{}", root.name, if root.optional { "?" } else { "" }))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let Some(Variable::Node(node)) = site.scope.get("task") else { panic!("no task") };
    assert_eq!(names(templates.roots(&node).expect("reads")), "a? c? l e? d? f?");
    for (name, expected) in [("t.j2", "q? w?"), ("t.tera", "l a b?")] {
        let (file, text) = &site.files[name];
        assert_eq!(
            names(templates.roots_of_file(*file, text, Dialect::of(name)).expect(name)),
            expected,
            "{name}"
        );
    }
    let roots = templates.roots(&node).expect("reads");
    let sources = site.sources.lock().expect("one thread");
    let places: Vec<&str> = roots.iter().map(|root| sources.snippet(root.span)).collect();
    assert_eq!(places, ["a", "c", "l", "e", "d", "f"]);
}
