//! Whole expressions against the results that ansible-core 2.19 gives.

use super::{NoLookups, Scope, Templates};
use crate::diag::{SourceMap, Span};
use crate::shell::Masker;
use crate::yaml::{Kind, Node};
use serde_json::{Value, json};
use std::sync::Arc;

fn vars() -> Arc<dyn Scope> {
    Arc::new(
        json!({
            "a": {"b": {"c": 1}}, "n": null, "t": true, "l": [3, 1, 2], "s": "Hello", "f": 1.0, "big": 1e20,
            "users": [
                {"name": "ann", "age": 41, "admin": true, "groups": ["x", "y"]},
                {"name": "bob", "age": 30, "admin": false, "shell": "/bin/sh", "groups": ["z"]},
                {"name": "cy", "age": 35, "admin": false},
            ],
        })
        .as_object()
        .cloned()
        .unwrap_or_default(),
    )
}

fn render(text: &str) -> Result<Value, String> {
    let templates = Templates::new(Masker::new(), Arc::new(NoLookups));
    let file = SourceMap::new().add("t.yml", text);
    let node = Node::new(Kind::Str(text.to_owned()), Span::new(file, 0, text.len()));
    if text.contains("{{") || text.contains("{%") {
        templates.render_value(&node, &vars()).map_err(|d| d.message)
    } else {
        templates.eval(&node, &vars()).map_err(|d| d.message)
    }
}

#[test]
fn expressions_give_what_ansible_gives() {
    let table: Vec<(String, Value)> =
        serde_json::from_str(include_str!("cases.json")).expect("the table is JSON");
    for (text, expected) in table {
        let got = match text.strip_prefix("WHEN ") {
            Some(condition) => when(condition),
            None => render(&text),
        };
        match expected.get("error") {
            Some(_) => assert!(got.is_err(), "{text}: {got:?}"),
            None => assert_eq!(got, Ok(expected["ok"].clone()), "{text}"),
        }
    }
}

fn when(text: &str) -> Result<Value, String> {
    let templates = Templates::new(Masker::new(), Arc::new(NoLookups));
    let file = SourceMap::new().add("t.yml", text);
    let node = Node::new(Kind::Str(text.to_owned()), Span::new(file, 0, text.len()));
    templates.condition(&node, &vars()).map(Value::Bool).map_err(|d| d.message)
}

#[test]
fn what_must_not_happen_while_planning_is_refused_with_the_way_out() {
    let cases = [
        ("{{ l.append(4) }}", "changes a value in place"),
        ("{{ 3 | random }}", "without a seed it would change every run"),
        ("{{ 'x' | password_hash }}", "unknown filter `password_hash`"),
        ("{{ lookup('pipe', 'date') }}", "would run a command"),
        ("{{ now() }}", "the time would change every run"),
        ("{{ undef(hint='set `x`') }}", "set `x`"),
        ("{{ lookup('nope', 1) }}", "unknown lookup `nope`"),
        ("{{ 'x' | upcase }}", "unknown filter `upcase`"),
        ("{{ 'x' is strin }}", "unknown test `strin`"),
        ("{{ 'x' | regex_search('(?=x)') }}", "look-around"),
    ];
    for (text, part) in cases {
        let message = render(text).expect_err(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}
