//! The tree that every YAML text becomes: a span on every node, Ansible's scalar rules already applied.

use crate::diag::Span;
use serde_json::{Map, Number, Value};

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands. For a scalar this is the text including its quotes; for a block text (`|`, `>`) its lines,
    /// from the first character on.
    pub span: Span,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// A whole number; `raw` is its text (`0644` is octal and `raw` tells that it was written so).
    Int {
        /// The number.
        value: i64,
        /// As written.
        raw: String,
    },
    /// A decimal number.
    Float(f64),
    /// A text; templates (`{{ }}`) are still in it.
    Str(String),
    /// A text tagged `!unsafe`: never a template.
    Unsafe(String),
    /// A text tagged `!vault`: the ciphertext.
    Vault(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key (nearly always a text).
    pub key: Node,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A node of this kind at this place.
    pub fn new(kind: Kind, span: Span) -> Self {
        Self { kind, span }
    }

    /// The text of a string node.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Str(text) | Kind::Unsafe(text) => Some(text),
            _ => None,
        }
    }

    /// The text of any scalar, as Ansible would take it for a string.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            Kind::Bool(truth) => Some(if *truth { "True" } else { "False" }.to_owned()),
            Kind::Int { raw, .. } => Some(raw.clone()),
            // `1.0` keeps its point, as in Python.
            Kind::Float(number) => Some(format!("{number:?}")),
            Kind::Str(text) | Kind::Unsafe(text) => Some(text.clone()),
            Kind::Null | Kind::Vault(_) | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    /// The items of a list.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key.as_str() == Some(key))
    }

    /// What it is, for messages: "a list", "a mapping", "text".
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Int { .. } => "a number",
            Kind::Float(_) => "a decimal number",
            Kind::Str(_) | Kind::Unsafe(_) => "a text",
            Kind::Vault(_) => "a vault value",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The same as a plain value. Templates stay as written; vault texts stay encrypted.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(truth) => Value::Bool(*truth),
            Kind::Int { value, .. } => Value::from(*value),
            Kind::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Kind::Str(text) | Kind::Unsafe(text) | Kind::Vault(text) => Value::String(text.clone()),
            Kind::Seq(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|entry| {
                    let key = entry.key.scalar_text().unwrap_or_else(|| entry.key.to_value().to_string());
                    (key, entry.value.to_value())
                });
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// A plain value as a node that stands at `span`.
    pub fn from_value(value: &Value, span: Span) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(truth) => Kind::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(value) => Kind::Int { value, raw: number.to_string() },
                None => Kind::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Kind::Unsafe(text.clone()),
            Value::Array(items) => Kind::Seq(items.iter().map(|item| Self::from_value(item, span)).collect()),
            Value::Object(map) => Kind::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: Self::new(Kind::Str(key.clone()), span),
                        value: Self::from_value(value, span),
                    })
                    .collect(),
            ),
        };
        Self::new(kind, span)
    }
}
