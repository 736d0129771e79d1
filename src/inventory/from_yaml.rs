//! YAML inventories, and the JSON that inventory scripts print for `--list`.

use super::build::{ALL, Builder};
use crate::diag::{Diagnostic, FileId};
use crate::yaml::{self, Entry, Kind, Node, Reader, type_fault};

/// Takes in the hosts, groups and variables of a text.
pub(super) fn read(builder: &mut Builder, file: FileId, text: &str) {
    let root = match yaml::parse(file, text) {
        Ok(root) => root,
        Err(faults) => return builder.faults(faults),
    };
    let entries = match &root.kind {
        Kind::Map(entries) => entries,
        Kind::Null => return,
        _ => return builder.fault(type_fault("an inventory", "a mapping of groups", &root)),
    };
    let script = entries.iter().any(|entry| entry.key.as_str() == Some("_meta"));
    if script {
        script_output(builder, entries)
    } else {
        entries.iter().for_each(|entry| group(builder, entry, None))
    }
}

fn group(builder: &mut Builder, entry: &Entry, parent: Option<&str>) {
    let Some(name) = entry.key.scalar_text() else {
        return builder.fault(type_fault("the name of a group", "a text", &entry.key));
    };
    builder.group(&name, entry.key.span);
    if let Some(parent) = parent {
        builder.child(parent, &name, entry.key.span);
    }
    if entry.value.is_null() {
        return;
    }
    let mut faults = Vec::new();
    let mut reader = Reader::new(&entry.value, format!("group `{name}`"), &mut faults);
    let hosts = reader.node("hosts");
    let vars = reader.opt_map("vars");
    let children = reader.node("children");
    reader.unknown_keys(&["hosts", "vars", "children"]);
    builder.faults(faults);
    for entry in vars.unwrap_or(&[]) {
        if let Some(key) = variable_name(builder, &entry.key) {
            builder.group_var(&name, &key, entry.value.clone());
        }
    }
    if let Some(node) = hosts {
        members(builder, &name, node);
    }
    match children.map(|node| (&node.kind, node)) {
        None => {}
        Some((Kind::Map(children), _)) => {
            children.iter().for_each(|child| group(builder, child, Some(&name)))
        }
        Some((Kind::Str(child), node)) => {
            builder.group(child, node.span);
            builder.child(&name, child, node.span);
        }
        Some((_, node)) => builder.fault(
            type_fault("`children`", "a mapping of groups", node).hint("write each name as a key: `db:`"),
        ),
    }
}

fn members(builder: &mut Builder, group: &str, node: &Node) {
    match &node.kind {
        Kind::Map(hosts) => {
            for entry in hosts {
                let Some(text) = entry.key.scalar_text() else {
                    builder.fault(type_fault("the name of a host", "a text", &entry.key));
                    continue;
                };
                let names = builder.hosts(group, &text, entry.key.span);
                match &entry.value.kind {
                    Kind::Null => {}
                    Kind::Map(vars) => host_vars(builder, &names, vars),
                    _ => builder.fault(type_fault(
                        &format!("host `{text}`"),
                        "a mapping of variables",
                        &entry.value,
                    )),
                }
            }
        }
        Kind::Str(text) => {
            builder.hosts(group, text, node.span);
        }
        _ => builder.fault(
            type_fault("`hosts`", "a mapping of hosts", node).hint("write each name as a key: `db1:`"),
        ),
    }
}

fn host_vars(builder: &mut Builder, hosts: &[String], vars: &[Entry]) {
    for entry in vars {
        let Some(key) = variable_name(builder, &entry.key) else { continue };
        for host in hosts {
            builder.host_var(host, &key, entry.value.clone());
        }
    }
}

fn variable_name(builder: &mut Builder, key: &Node) -> Option<String> {
    let name = key.as_str().map(str::to_owned);
    if name.is_none() {
        builder.fault(
            Diagnostic::error(
                "wrong-type",
                format!("the name of a variable must be a text, found {}", key.describe()),
            )
            .at(key.span)
            .hint("quote it if the word itself is meant"),
        );
    }
    name
}

/// `{"group": {"hosts": [...], "vars": {...}, "children": [...]}, "_meta": {"hostvars": {...}}}`.
fn script_output(builder: &mut Builder, entries: &[Entry]) {
    let groups = || {
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.as_str()?, entry)))
            .filter(|(name, _)| *name != "_meta")
    };
    for (name, entry) in groups() {
        builder.group(name, entry.key.span);
        // A group may be a bare list of its hosts.
        let hosts = entry.value.as_seq().or_else(|| entry.value.get("hosts").and_then(Node::as_seq));
        for host in hosts.unwrap_or(&[]) {
            if let Some(text) = host.scalar_text() {
                builder.hosts(name, &text, host.span);
            }
        }
        for var in entry.value.get("vars").and_then(Node::as_map).unwrap_or(&[]) {
            if let Some(key) = variable_name(builder, &var.key) {
                builder.group_var(name, &key, var.value.clone());
            }
        }
    }
    for (name, entry) in groups() {
        for child in entry.value.get("children").and_then(Node::as_seq).unwrap_or(&[]) {
            if let Some(text) = child.as_str() {
                builder.group(text, child.span);
                builder.child(name, text, child.span);
            }
        }
    }
    let meta = entries.iter().find(|entry| entry.key.as_str() == Some("_meta"));
    let hostvars = meta.and_then(|meta| meta.value.get("hostvars")).and_then(Node::as_map).unwrap_or(&[]);
    for entry in hostvars {
        if let (Some(host), Some(vars)) = (entry.key.scalar_text(), entry.value.as_map()) {
            let names = builder.hosts(ALL, &host, entry.key.span);
            host_vars(builder, &names, vars);
        }
    }
}
