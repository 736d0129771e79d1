//! `argument_specs` of a role: which variables it takes, of which type, and what they must hold.
//!
//! The form is Ansible's: `options` by entry point, each with `type`, `elements`, `choices`, `required`, `default`,
//! `aliases`, and for mappings and lists of mappings `options` of their own with the rules between them.

use super::decode::unknown_key;
use crate::diag::{Diagnostic, Severity, SourceMap, Span, Spanned, did_you_mean};
use crate::yaml::{Entry, Kind, Node};
use serde_json::Value;

/// What one entry point of a role (`main`, or a file of `tasks_from`) takes.
#[derive(Debug, Clone)]
pub struct EntryPoint {
    /// Its name.
    pub name: String,
    /// Its variables.
    pub options: Options,
    /// The same as written, without descriptions: what `validate_argument_spec` takes.
    pub written: Node,
}

/// Arguments that stand together, and the rules between them.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The arguments.
    pub arguments: Vec<ArgumentSpec>,
    /// At most one of each group.
    pub mutually_exclusive: Vec<Vec<String>>,
    /// All of a group or none.
    pub required_together: Vec<Vec<String>>,
    /// At least one of each group.
    pub required_one_of: Vec<Vec<String>>,
    /// Where an argument has a value, others are needed: all, or any.
    pub required_if: Vec<RequiredIf>,
    /// Where an argument is given, others are needed.
    pub required_by: Vec<(String, Vec<String>)>,
}

/// `[argument, value, [needed, ...], any]`.
#[derive(Debug, Clone)]
pub struct RequiredIf {
    /// The argument.
    pub argument: String,
    /// Its value, as text.
    pub value: String,
    /// What is needed then.
    pub needed: Vec<String>,
    /// One of them is enough.
    pub any: bool,
}

/// One declared argument.
#[derive(Debug, Clone)]
pub struct ArgumentSpec {
    /// The variable, or the key.
    pub name: Spanned<String>,
    /// Its type; `None` is Ansible's `str` that nobody asked for, which takes everything.
    pub kind: Option<ArgumentKind>,
    /// The type of a list's items.
    pub elements: Option<ArgumentKind>,
    /// Must be given.
    pub required: bool,
    /// What it is when it is not given.
    pub default: Option<Node>,
    /// Allowed values, as text.
    pub choices: Vec<String>,
    /// Other names.
    pub aliases: Vec<String>,
    /// What a mapping, or each mapping of a list, holds.
    pub options: Option<Options>,
    /// What it is for.
    pub description: String,
}

/// Types of arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A text; numbers and truth values become one.
    Str,
    /// A whole number.
    Int,
    /// A truth value.
    Bool,
    /// A number.
    Float,
    /// A list; a text is split at commas.
    List,
    /// A mapping; a text of `key=value` words or JSON becomes one.
    Dict,
    /// A path.
    Path,
    /// Anything.
    Raw,
    /// JSON as text, or what becomes it.
    Json,
    /// A size in bytes, `10M`.
    Bytes,
    /// A size in bits, `10Mb`.
    Bits,
}

const KINDS: &[(&str, ArgumentKind)] = &[
    ("str", ArgumentKind::Str),
    ("int", ArgumentKind::Int),
    ("bool", ArgumentKind::Bool),
    ("float", ArgumentKind::Float),
    ("list", ArgumentKind::List),
    ("dict", ArgumentKind::Dict),
    ("path", ArgumentKind::Path),
    ("raw", ArgumentKind::Raw),
    ("any", ArgumentKind::Raw),
    ("json", ArgumentKind::Json),
    ("jsonarg", ArgumentKind::Json),
    ("bytes", ArgumentKind::Bytes),
    ("bits", ArgumentKind::Bits),
];

const RULES: &[&str] =
    &["mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by"];

const KEYS: &[&str] = &[
    "type",
    "required",
    "choices",
    "description",
    "default",
    "elements",
    "options",
    "version_added",
    "aliases",
    "no_log",
    "apply_defaults",
    "removed_in_version",
    "removed_at_date",
    "removed_from_collection",
    "deprecated_aliases",
];

impl ArgumentKind {
    /// Its name.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("raw", |(word, _)| word)
    }
}

/// The entry points below `argument_specs`.
pub(super) fn decode_entry_points(node: &Node, diags: &mut Vec<Diagnostic>) -> Vec<EntryPoint> {
    let mut points = Vec::new();
    for entry in node.as_map().unwrap_or_default() {
        let Some(name) = entry.key.as_str() else { continue };
        // Texts for people may have any key; a slip in one that matters would leave everything unchecked.
        for key in entry.value.as_map().unwrap_or_default() {
            let text = key.key.as_str().unwrap_or_default();
            let known = ["options", "short_description", "description"];
            if let Some(near) = did_you_mean(text, known).filter(|_| !known.contains(&text)) {
                let message = format!("unknown key `{text}` of an entry point");
                diags.push(Diagnostic::error("unknown-key", message).at(key.key.span).label(near));
            }
        }
        let Some(options) = entry.value.get("options") else { continue };
        points.push(EntryPoint {
            name: name.to_owned(),
            options: decode_options(options, Some(&entry.value), diags),
            written: bare(options),
        });
    }
    points
}

/// Arguments by name as a finished value; `Err` is the first fault.
pub fn options_of(value: &Value) -> Result<Options, String> {
    let file = SourceMap::new().add("argument_spec", "");
    let mut diags = Vec::new();
    let options = decode_options(&Node::from_value(value, Span::new(file, 0, 0)), None, &mut diags);
    match diags.into_iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        Some(first) => Err(first.message),
        None => Ok(options),
    }
}

/// Arguments by name; `rules` is the node that holds the rules between them.
pub(super) fn decode_options(node: &Node, rules: Option<&Node>, diags: &mut Vec<Diagnostic>) -> Options {
    let groups = |key: &str| -> Vec<Vec<String>> {
        let found = rules.and_then(|rules| rules.get(key)).and_then(Node::as_seq).unwrap_or_default();
        // A single group may stand without a list around it.
        if found.iter().all(|item| item.as_seq().is_none()) && !found.is_empty() {
            return vec![texts(found)];
        }
        found.iter().map(|group| texts(group.as_seq().unwrap_or_default())).collect()
    };
    let required_if = rules.and_then(|rules| rules.get("required_if")).and_then(Node::as_seq);
    let required_by = rules.and_then(|rules| rules.get("required_by")).and_then(Node::as_map);
    let entries = node.as_map().unwrap_or_default();
    Options {
        arguments: entries.iter().filter_map(|option| decode_argument(option, diags)).collect(),
        mutually_exclusive: groups("mutually_exclusive"),
        required_together: groups("required_together"),
        required_one_of: groups("required_one_of"),
        required_if: required_if.unwrap_or_default().iter().filter_map(decode_required_if).collect(),
        required_by: required_by
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| Some((entry.key.as_str()?.to_owned(), one_or_more(&entry.value))))
            .collect(),
    }
}

fn decode_required_if(node: &Node) -> Option<RequiredIf> {
    let parts = node.as_seq()?;
    Some(RequiredIf {
        argument: parts.first()?.as_str()?.to_owned(),
        value: parts.get(1)?.scalar_text()?,
        needed: one_or_more(parts.get(2)?),
        any: parts.get(3).is_some_and(|any| matches!(any.kind, Kind::Bool(true))),
    })
}

fn decode_argument(entry: &Entry, diags: &mut Vec<Diagnostic>) -> Option<ArgumentSpec> {
    let (key, node) = (&entry.key, &entry.value);
    let name = Spanned::new(key.as_str()?.to_owned(), key.span);
    for entry in node.as_map().unwrap_or_default() {
        let text = entry.key.as_str().unwrap_or_default();
        if !KEYS.contains(&text) && !RULES.contains(&text) {
            let mut found = unknown_key(&entry.key, text, "role argument", KEYS);
            // Ansible takes it for a remark; only a slip of a key that matters is a fault.
            if found.label.is_none() {
                found.severity = Severity::Warning;
            }
            diags.push(found);
        }
    }
    let kind = kind_of(node, "type", &name.node, diags);
    let elements = kind_of(node, "elements", &name.node, diags);
    let options = node.get("options");
    let holds = kind == Some(ArgumentKind::Dict)
        || kind == Some(ArgumentKind::List) && elements == Some(ArgumentKind::Dict);
    if let Some(options) = options.filter(|_| !holds) {
        let message = format!("the `options` of `{}` are not checked", name.node);
        diags.push(
            Diagnostic::warning("unchecked-options", message)
                .at(options.span)
                .hint("they hold for `type: dict`, and for `type: list` with `elements: dict`"),
        );
    }
    if let Some(of) = node.get("elements").filter(|_| kind != Some(ArgumentKind::List)) {
        let message = format!("`elements` of `{}` means nothing without `type: list`", name.node);
        diags.push(Diagnostic::error("wrong-type", message).at(of.span));
    }
    let options = options.filter(|_| holds).map(|options| decode_options(options, Some(node), diags));
    let list = |key: &str| node.get(key).and_then(Node::as_seq).unwrap_or_default();
    Some(ArgumentSpec {
        kind,
        elements,
        required: matches!(node.get("required").map(|node| &node.kind), Some(Kind::Bool(true))),
        default: node.get("default").filter(|default| !default.is_null()).cloned(),
        choices: list("choices").iter().filter_map(Node::scalar_text).collect(),
        aliases: texts(list("aliases")),
        options,
        description: match node.get("description") {
            Some(Node { kind: Kind::Seq(lines), .. }) => texts(lines).join(" "),
            Some(text) => text.as_str().unwrap_or_default().to_owned(),
            None => String::new(),
        },
        name,
    })
}

fn kind_of(node: &Node, key: &str, name: &str, diags: &mut Vec<Diagnostic>) -> Option<ArgumentKind> {
    let given = node.get(key)?;
    let word = given.as_str().unwrap_or_default();
    let found = KINDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    if found.is_none() {
        let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
        let message = format!("unknown type `{word}` of the argument `{name}`");
        let mut diagnostic = Diagnostic::error("unknown-type", message).at(given.span);
        match did_you_mean(word, known.iter().copied()) {
            Some(near) => diagnostic.label = Some(near),
            None => diagnostic = diagnostic.hint(format!("types are {}", known.join(", "))),
        }
        diags.push(diagnostic);
    }
    found
}

fn texts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(Node::as_str).map(str::to_owned).collect()
}

fn one_or_more(node: &Node) -> Vec<String> {
    match node.as_seq() {
        Some(items) => texts(items),
        None => texts(std::slice::from_ref(node)),
    }
}

/// Without descriptions, and with no text a template.
fn bare(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::Str(text) => Kind::Unsafe(text.clone()),
        Kind::Seq(items) => Kind::Seq(items.iter().map(bare).collect()),
        Kind::Map(entries) => {
            // An argument may itself be called `description`: only a text is one.
            let text =
                |entry: &&Entry| entry.key.as_str() == Some("description") && entry.value.as_map().is_none();
            let kept = entries.iter().filter(|entry| !text(entry));
            Kind::Map(kept.map(|entry| Entry { key: entry.key.clone(), value: bare(&entry.value) }).collect())
        }
        other => other.clone(),
    };
    Node::new(kind, node.span)
}
