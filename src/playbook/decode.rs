//! Nodes to plays: every key known, every type right, all faults collected.

use super::keywords::{Keywords, Place, known, not_yet, texts};
use super::role::decode_role_call;
use super::{Play, Playbook, PlaybookEntry, decode_items, wrong_type};
use crate::diag::{Diagnostic, Spanned, did_you_mean};
use crate::yaml::{Kind, Node};

/// A playbook file's plays.
pub fn decode_playbook(node: &Node, diags: &mut Vec<Diagnostic>) -> Playbook {
    let Some(items) = node.as_seq() else {
        let message = match node.is_null() {
            true => "the site is empty".to_owned(),
            false => format!("a site is a list of plays, this is {}", node.describe()),
        };
        diags.push(
            Diagnostic::error("not-a-playbook", message).at(node.span).hint("start it with `- hosts: ...`"),
        );
        return Playbook::default();
    };
    let entries = items.iter().filter_map(|item| decode_entry(item, diags)).collect();
    Playbook { entries }
}

fn decode_entry(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<PlaybookEntry> {
    let import = ["import_playbook", "ansible.builtin.import_playbook"].iter().find_map(|key| node.get(key));
    if let Some(file) = import {
        return match file.as_str() {
            Some(name) => Some(PlaybookEntry::Import(Spanned::new(name.to_owned(), file.span))),
            None => {
                diags.push(wrong_type(file, "`import_playbook`", "a file's name"));
                None
            }
        };
    }
    decode_play(node, diags).map(|play| PlaybookEntry::Play(Box::new(play)))
}

fn decode_play(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<Play> {
    let Some(entries) = node.as_map() else {
        diags.push(wrong_type(node, "a play", "a mapping"));
        return None;
    };
    let names = known(Place::Play);
    for entry in entries {
        let key = entry.key.as_str().unwrap_or_default();
        if !names.contains(&key) {
            diags.push(unknown_key(&entry.key, key, "play", &names));
        }
    }
    let Some(hosts) = node.get("hosts").and_then(host_pattern) else {
        let hint = "name a host, a group or a pattern: `hosts: all`";
        let at = entries.first().map_or(node.span, |entry| entry.key.span);
        diags.push(Diagnostic::error("no-hosts", "this play has no `hosts`").at(at).hint(hint));
        return None;
    };
    let name =
        node.get("name").and_then(|name| name.as_str().map(|text| Spanned::new(text.to_owned(), name.span)));
    let mut part = |key: &str| {
        node.get(key).map(|items| decode_items(items, &format!("`{key}`"), diags)).unwrap_or_default()
    };
    let (pre_tasks, tasks, post_tasks, handlers) =
        (part("pre_tasks"), part("tasks"), part("post_tasks"), part("handlers"));
    let roles = match node.get("roles") {
        Some(Node { kind: Kind::Seq(calls), .. }) => {
            calls.iter().filter_map(|call| decode_role_call(call, diags)).collect()
        }
        Some(other) if !other.is_null() => {
            diags.push(wrong_type(other, "`roles`", "a list of roles"));
            Vec::new()
        }
        _ => Vec::new(),
    };
    Some(Play {
        span: node.span,
        name: name.unwrap_or_else(|| hosts.clone()),
        hosts,
        gather_facts: switch(node, "gather_facts", true, diags),
        serial: node.get("serial").map(|serial| batches(serial, diags)).unwrap_or_default(),
        any_errors_fatal: switch(node, "any_errors_fatal", false, diags),
        max_fail_percentage: percentage(node, diags),
        vars_files: node
            .get("vars_files")
            .map(|files| texts(files, "`vars_files`", diags, false))
            .unwrap_or_default(),
        keywords: Keywords::decode(entries, Place::Play, diags),
        pre_tasks,
        roles,
        tasks,
        post_tasks,
        handlers,
    })
}

fn host_pattern(node: &Node) -> Option<Spanned<String>> {
    let text = match node.as_seq() {
        Some(items) => items.iter().filter_map(Node::scalar_text).collect::<Vec<_>>().join(":"),
        None => node.scalar_text()?,
    };
    (!text.is_empty()).then(|| Spanned::new(text, node.span))
}

fn switch(node: &Node, key: &str, default: bool, diags: &mut Vec<Diagnostic>) -> bool {
    match node.get(key).map(|value| (&value.kind, value)) {
        None | Some((Kind::Null, _)) => default,
        Some((Kind::Bool(truth), _)) => *truth,
        Some((_, value)) => {
            diags.push(wrong_type(value, &format!("`{key}`"), "true or false"));
            default
        }
    }
}

/// `serial`: numbers of hosts, and shares of them.
fn batches(node: &Node, diags: &mut Vec<Diagnostic>) -> Vec<Spanned<String>> {
    let sizes = texts(node, "`serial`", diags, false);
    for size in &sizes {
        let number = size.node.strip_suffix('%').unwrap_or(&size.node).trim();
        if number.parse::<i64>().is_err() {
            let message =
                format!("`serial` takes a number of hosts or a share like \"30%\", not `{}`", size.node);
            diags.push(Diagnostic::error("wrong-type", message).at(size.span));
        }
    }
    sizes
}

fn percentage(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<u8> {
    let value = node.get("max_fail_percentage")?;
    let share = value
        .scalar_text()
        .and_then(|text| text.trim_end_matches('%').parse().ok())
        .filter(|share| *share <= 100);
    if share.is_none() {
        diags.push(wrong_type(value, "`max_fail_percentage`", "a number from 0 to 100"));
    }
    share
}

/// An unknown key, or one of Ansible's that is not there yet.
pub(super) fn unknown_key(at: &Node, key: &str, of: &str, known: &[&str]) -> Diagnostic {
    if let Some(instead) = not_yet(key) {
        // Some define names that other places then miss.
        let defines = key == "vars_prompt" || key.starts_with("with_");
        let code = if defines { "definition-not-supported" } else { "keyword-not-supported" };
        return Diagnostic::error(code, format!("`{key}` is not supported on a {of} yet"))
            .at(at.span)
            .hint(instead);
    }
    let diagnostic = Diagnostic::error("unknown-key", format!("unknown key `{key}` of a {of}")).at(at.span);
    match did_you_mean(key, known.iter().copied()) {
        Some(near) => diagnostic.label(near),
        None => diagnostic.hint(format!("a {of} knows {}", known.join(", "))),
    }
}

/// Whether a key could name a module at all: dotted collection names, or one of the table's names.
/// (The table itself is known to `plan`; here a name with a dot or without a near keyword is enough.)
pub(super) fn is_module_like(key: &str) -> bool {
    key.contains('.') || did_you_mean(key, known(Place::Task)).is_none()
}
