//! Typed readers over a mapping. They collect every fault and go on, so that one run shows them all.
//!
//! ```
//! # use ishprov::{diag::SourceMap, yaml};
//! let text = "name: web\nbecome: yes\nhosst: all\n";
//! let node = yaml::parse(SourceMap::new().add("site.yml", text), text).unwrap();
//! let mut faults = Vec::new();
//! let mut play = yaml::Reader::new(&node, "play", &mut faults);
//! assert_eq!(play.opt_str("name").unwrap().node, "web");
//! assert!(play.opt_bool("become").unwrap().node);
//! play.required_str("hosts");
//! play.unknown_keys(&["name", "hosts", "become"]);
//! assert_eq!(faults.len(), 2);
//! ```

use super::{Entry, Kind, Node};
use crate::diag::{Diagnostic, Span, Spanned, did_you_mean};

/// Reads the keys of one mapping.
#[derive(Debug)]
pub struct Reader<'n, 'd> {
    entries: &'n [Entry],
    span: Span,
    what: String,
    /// False when the node is no mapping; that is reported already, so missing keys are not.
    sound: bool,
    faults: &'d mut Vec<Diagnostic>,
}

impl<'n, 'd> Reader<'n, 'd> {
    /// A reader of `node`, which messages call `what`: "play", "group `web`". A node that is no mapping is a fault.
    pub fn new(node: &'n Node, what: impl Into<String>, faults: &'d mut Vec<Diagnostic>) -> Self {
        let what = what.into();
        let entries = node.as_map();
        if entries.is_none() {
            faults.push(
                Diagnostic::error(
                    "wrong-type",
                    format!("{} is a mapping, found {}", one(&what), node.describe()),
                )
                .at(node.span),
            );
        }
        Self { entries: entries.unwrap_or(&[]), span: node.span, what, sound: entries.is_some(), faults }
    }

    /// Where the mapping stands.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Its entries, in the order written.
    pub fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// The entry of a key, whatever its value.
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key.as_str() == Some(key))
    }

    /// The value of a key; a null counts as absent.
    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// Adds a fault of the caller's.
    pub fn fault(&mut self, fault: Diagnostic) {
        self.faults.push(fault);
    }

    /// The value of a key that must be there.
    pub fn required(&mut self, key: &str) -> Option<&'n Node> {
        let node = self.node(key);
        if node.is_none() && self.sound {
            let place = self.entry(key).map_or(self.first_line(), |entry| entry.key.span);
            let message = format!("{} needs `{key}`", one(&self.what));
            self.faults.push(Diagnostic::error("missing-key", message).at(place));
        }
        node
    }

    /// A text that must be there.
    pub fn required_str(&mut self, key: &str) -> Option<Spanned<String>> {
        let node = self.required(key)?;
        self.text(key, node)
    }

    /// A text; a number is taken as it was written.
    pub fn opt_str(&mut self, key: &str) -> Option<Spanned<String>> {
        let node = self.node(key)?;
        self.text(key, node)
    }

    /// A truth value, in any form that Ansible takes.
    pub fn opt_bool(&mut self, key: &str) -> Option<Spanned<bool>> {
        let node = self.node(key)?;
        match truth(node) {
            Some(truth) => Some(Spanned::new(truth, node.span)),
            None => self.wrong(key, "a truth value", node),
        }
    }

    /// A whole number, or a text that is one.
    pub fn opt_int(&mut self, key: &str) -> Option<Spanned<i64>> {
        let node = self.node(key)?;
        let number = match &node.kind {
            Kind::Int { value, .. } => Some(*value),
            Kind::Str(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Some(Spanned::new(number, node.span)),
            None => self.wrong(key, "a whole number", node),
        }
    }

    /// A list.
    pub fn opt_seq(&mut self, key: &str) -> Option<&'n [Node]> {
        let node = self.node(key)?;
        match node.as_seq() {
            Some(items) => Some(items),
            None => self.wrong(key, "a list", node),
        }
    }

    /// A mapping.
    pub fn opt_map(&mut self, key: &str) -> Option<&'n [Entry]> {
        let node = self.node(key)?;
        match node.as_map() {
            Some(entries) => Some(entries),
            None => self.wrong(key, "a mapping", node),
        }
    }

    /// A list of texts, or a single text for a list of one. Absent and null are the empty list.
    pub fn opt_str_list(&mut self, key: &str) -> Vec<Spanned<String>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        match &node.kind {
            Kind::Seq(items) => {
                let item = format!("an item of `{key}`");
                items.iter().filter_map(|node| self.text_as(&item, node)).collect()
            }
            Kind::Map(_) => {
                self.wrong::<()>(key, "a list", node);
                Vec::new()
            }
            _ => self.text(key, node).into_iter().collect(),
        }
    }

    /// A reader of the mapping under a key.
    pub fn child(&mut self, key: &str, what: impl Into<String>) -> Option<Reader<'n, '_>> {
        let node = self.node(key)?;
        Some(Reader::new(node, what, self.faults))
    }

    /// Reports every key that is not among `allowed`.
    pub fn unknown_keys(&mut self, allowed: &[&str]) {
        for entry in self.entries {
            let name = entry.key.scalar_text().unwrap_or_default();
            if entry.key.as_str().is_some_and(|key| allowed.contains(&key)) {
                continue;
            }
            let mut fault =
                Diagnostic::error("unknown-key", format!("unknown key `{name}` of {}", one(&self.what)))
                    .at(entry.key.span);
            fault.label = did_you_mean(&name, allowed.iter().copied());
            self.faults.push(fault);
        }
    }

    fn text(&mut self, key: &str, node: &Node) -> Option<Spanned<String>> {
        self.text_as(&format!("`{key}`"), node)
    }

    fn text_as(&mut self, name: &str, node: &Node) -> Option<Spanned<String>> {
        match &node.kind {
            Kind::Str(_) | Kind::Unsafe(_) | Kind::Int { .. } | Kind::Float(_) => {
                node.scalar_text().map(|text| Spanned::new(text, node.span))
            }
            Kind::Bool(_) => {
                self.faults
                    .push(type_fault(name, "a text", node).hint("quote it if the word itself is meant"));
                None
            }
            _ => {
                self.faults.push(type_fault(name, "a text", node));
                None
            }
        }
    }

    fn wrong<T>(&mut self, key: &str, wanted: &str, node: &Node) -> Option<T> {
        self.faults.push(type_fault(&format!("`{key}`"), wanted, node));
        None
    }

    /// Where a mapping that misses something is pointed at: its first key.
    fn first_line(&self) -> Span {
        self.entries.first().map_or(self.span, |entry| entry.key.span)
    }
}

/// "a play", but "group `web`".
fn one(what: &str) -> String {
    if what.contains('`') { what.to_owned() } else { format!("a {what}") }
}

/// "`hosts` expects a list, found a text".
pub fn type_fault(name: &str, wanted: &str, node: &Node) -> Diagnostic {
    let found = if node.is_null() { "nothing" } else { node.describe() };
    Diagnostic::error("wrong-type", format!("{name} expects {wanted}, found {found}")).at(node.span)
}

/// A node as a truth value, in any form that Ansible takes: yes, on, 1, "true" and their opposites.
pub fn truth(node: &Node) -> Option<bool> {
    match &node.kind {
        Kind::Bool(truth) => Some(*truth),
        Kind::Int { value: 0, .. } => Some(false),
        Kind::Int { value: 1, .. } => Some(true),
        Kind::Str(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
            "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    fn with<T>(text: &str, read: impl FnOnce(&mut Reader<'_, '_>) -> T) -> (T, Vec<String>) {
        let mut sources = SourceMap::new();
        let node =
            super::super::parse(sources.add("t", text), text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let mut faults = Vec::new();
        let value = read(&mut Reader::new(&node, "play", &mut faults));
        let shown = faults.iter().map(|fault: &Diagnostic| {
            let place = fault.span.map(|span| sources.locate(span).to_string()).unwrap_or_default();
            format!("{place} {} {}", fault.message, fault.label.clone().unwrap_or_default())
                .trim_end()
                .to_owned()
        });
        (value, shown.collect())
    }

    #[test]
    fn reads_what_is_there() {
        let text = "name: 12\nbecome: 'yes'\nport: '22'\ntags: one\nhosts: [a, 1]\nvars: {x: 1}\nnothing:\n";
        let (_, faults) = with(text, |play| {
            assert_eq!(play.required_str("name").map(|name| name.node).as_deref(), Some("12"));
            assert_eq!(play.opt_bool("become").map(|truth| truth.node), Some(true));
            assert_eq!(play.opt_int("port").map(|number| number.node), Some(22));
            let list = |list: Vec<Spanned<String>>| {
                list.into_iter().map(|item| item.node).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(list(play.opt_str_list("tags")), "one");
            assert_eq!(list(play.opt_str_list("hosts")), "a 1");
            assert_eq!(list(play.opt_str_list("nothing")), "");
            assert_eq!(play.opt_map("vars").map(<[Entry]>::len), Some(1));
            assert_eq!(play.opt_seq("hosts").map(<[Node]>::len), Some(2));
            assert_eq!(play.opt_str("nothing"), None);
            let mut vars = play.child("vars", "vars mapping").map(|reader| reader.entries().len());
            assert_eq!(vars.take(), Some(1));
        });
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn collects_every_fault() {
        let (_, faults) = with(
            "nmae: x\nhosts: {a: b}\nbecome: maybe\nport: x\ntags: [a, [b]]\ntasks: text\nuser: yes\n",
            |play| {
                play.required_str("name");
                play.opt_str_list("hosts");
                play.opt_bool("become");
                play.opt_int("port");
                play.opt_str_list("tags");
                play.opt_seq("tasks");
                play.opt_str("user");
                play.unknown_keys(&["name", "hosts", "become", "port", "tags", "tasks", "user"]);
            },
        );
        insta::assert_snapshot!(faults.join("\n"), @r#"
        t:1:1 a play needs `name`
        t:2:8 `hosts` expects a list, found a mapping
        t:3:9 `become` expects a truth value, found a text
        t:4:7 `port` expects a whole number, found a text
        t:5:11 an item of `tags` expects a text, found a list
        t:6:8 `tasks` expects a list, found a text
        t:7:7 `user` expects a text, found a truth value
        t:1:1 unknown key `nmae` of a play did you mean `name`?
        "#);
        let (_, faults) = with("[1]", |play| play.required_str("name"));
        assert_eq!(faults, ["t:1:1 a play is a mapping, found a list"]);
    }
}
