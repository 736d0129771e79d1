//! Tasks and blocks.

use super::decode::unknown_key;
use super::keywords::{Keywords, Place, known, not_yet};
use super::wrong_type;
use crate::diag::{Diagnostic, Span, Spanned, did_you_mean};
use crate::yaml::{Entry, Kind, Node};

/// A task or a block of tasks.
#[derive(Debug, Clone)]
pub enum Item {
    /// One task.
    Task(Box<Task>),
    /// Several tasks under shared keywords.
    Block(Box<Block>),
}

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where it stands.
    pub span: Span,
    /// Its name; may hold templates.
    pub name: Option<Node>,
    /// Its keywords.
    pub keywords: Keywords,
    /// What it does.
    pub action: Action,
    /// Keywords that it has and that are not there yet.
    pub faults: Vec<Diagnostic>,
}

/// A block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Where it stands.
    pub span: Span,
    /// Its name.
    pub name: Option<Node>,
    /// Keywords for all of its tasks.
    pub keywords: Keywords,
    /// The tasks.
    pub block: Vec<Item>,
    /// What to do when one of them failed.
    pub rescue: Vec<Item>,
    /// What to do in any case.
    pub always: Vec<Item>,
}

/// What a task does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Calls a module.
    Module {
        /// Its name.
        name: Spanned<String>,
        /// Its arguments: a mapping, a text in free form, or null.
        args: Node,
    },
    /// Takes in other tasks.
    Include(Include),
    /// Steers the run.
    Meta(Spanned<Meta>),
}

/// Tasks from elsewhere.
#[derive(Debug, Clone)]
pub struct Include {
    /// What is taken in.
    pub kind: IncludeKind,
    /// File or role name; may hold templates.
    pub name: Node,
    /// `tasks_from` of a role.
    pub tasks_from: Option<Spanned<String>>,
    /// `apply`: keywords for the tasks that are taken in.
    pub apply: Option<Box<Keywords>>,
    /// `allow_duplicates` of a role that is included: it runs again although it did already.
    pub repeats: bool,
    /// Read when the plan is made (`import_*`) rather than when the task is reached (`include_*`).
    pub is_static: bool,
}

/// What an include takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeKind {
    /// A file of tasks.
    Tasks,
    /// A role.
    Role,
    /// A file of variables.
    Vars,
}

/// What `meta` can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// Run the notified handlers now.
    FlushHandlers,
    /// Nothing.
    Noop,
    /// This host is done with the play.
    EndHost,
    /// Every host is done with the play.
    EndPlay,
    /// Forget that hosts failed.
    ClearHostErrors,
    /// Read the facts again.
    RefreshFacts,
}

/// A list of tasks and blocks.
pub fn decode_items(node: &Node, what: &str, diags: &mut Vec<Diagnostic>) -> Vec<Item> {
    let Some(items) = node.as_seq() else {
        if !node.is_null() {
            diags.push(wrong_type(node, what, "a list of tasks"));
        }
        return Vec::new();
    };
    items.iter().filter_map(|item| decode_item(item, diags)).collect()
}

fn decode_item(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<Item> {
    let Some(entries) = node.as_map() else {
        diags.push(wrong_type(node, "a task", "a mapping"));
        return None;
    };
    if node.get("block").is_some() {
        return Some(Item::Block(Box::new(decode_block(node, entries, diags))));
    }
    if let Some(entry) = ["rescue", "always"].iter().find_map(|key| node.entry(key)) {
        let key = entry.key.as_str().unwrap_or_default();
        diags.push(Diagnostic::error("no-block", format!("`{key}` without a `block`")).at(entry.key.span));
        return None;
    }
    decode_task(node, entries, diags).map(|task| Item::Task(Box::new(task)))
}

fn decode_block(node: &Node, entries: &[Entry], diags: &mut Vec<Diagnostic>) -> Block {
    let names = known(Place::Block);
    for entry in entries {
        let key = entry.key.as_str().unwrap_or_default();
        if !names.contains(&key) {
            diags.push(unknown_key(&entry.key, key, "block", &names));
        }
    }
    let mut part = |key: &str| {
        node.get(key).map(|items| decode_items(items, &format!("`{key}`"), diags)).unwrap_or_default()
    };
    let (block, rescue, always) = (part("block"), part("rescue"), part("always"));
    Block {
        span: node.span,
        name: node.get("name").cloned(),
        keywords: Keywords::decode(entries, Place::Block, diags),
        block,
        rescue,
        always,
    }
}

fn decode_task(node: &Node, entries: &[Entry], diags: &mut Vec<Diagnostic>) -> Option<Task> {
    let names = known(Place::Task);
    let mut calls = Vec::new();
    let mut faults = Vec::new();
    for entry in entries {
        let key = entry.key.as_str().unwrap_or_default();
        if names.contains(&key) {
            continue;
        }
        if not_yet(key).is_some() {
            faults.push(unknown_key(&entry.key, key, "task", &names));
        } else {
            calls.push(entry);
        }
    }
    let call = match (calls.as_slice(), node.entry("action")) {
        ([call], None) => Some((*call).clone()),
        ([], Some(action)) => action_keyword(action, diags),
        ([], None) => {
            if faults.is_empty() {
                diags.push(
                    Diagnostic::error("no-module", "this task calls no module")
                        .at(node.span)
                        .hint("say what it does; `ishprov doc` lists the modules there are"),
                );
            }
            None
        }
        (many, _) => {
            diags.extend(several_calls(many, &names));
            None
        }
    };
    let keywords = Keywords::decode(entries, Place::Task, diags);
    let Some(call) = call else {
        diags.append(&mut faults);
        return None;
    };
    let args = with_args(&call.value, node.entry("args"), diags);
    let name = call.key.as_str().unwrap_or_default();
    let Some(action) = decode_action(Spanned::new(name.to_owned(), call.key.span), args, diags) else {
        diags.append(&mut faults);
        return None;
    };
    Some(Task { span: node.span, name: node.get("name").cloned(), keywords, action, faults })
}

/// Two keys that are no keywords: one of them is a slip, or there are two modules.
fn several_calls(calls: &[&Entry], names: &[&str]) -> Vec<Diagnostic> {
    let text = |entry: &Entry| entry.key.as_str().unwrap_or_default().to_owned();
    let modules = calls.iter().filter(|entry| super::decode::is_module_like(&text(entry))).count();
    let suspects: Vec<&&Entry> = calls
        .iter()
        .filter(|entry| {
            modules == 0
                || !super::decode::is_module_like(&text(entry))
                || did_you_mean(&text(entry), names.iter().copied()).is_some()
        })
        .collect();
    if modules <= 1 && !suspects.is_empty() {
        return suspects.iter().map(|entry| unknown_key(&entry.key, &text(entry), "task", names)).collect();
    }
    let listed = calls.iter().map(|entry| format!("`{}`", text(entry))).collect::<Vec<_>>().join(" and ");
    let message = format!("a task calls one module, this one calls {listed}");
    vec![
        Diagnostic::error("two-modules", message)
            .at(calls[1].key.span)
            .hint("make two tasks of it, or check the spelling and the indentation"),
    ]
}

/// `action: module args` or `action: {module: name, ...}`.
fn action_keyword(action: &Entry, diags: &mut Vec<Diagnostic>) -> Option<Entry> {
    if let Some(text) = action.value.as_str() {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let key = Node::new(Kind::Str(name.to_owned()), action.value.span);
        let value = if rest.is_empty() { Kind::Null } else { Kind::Str(rest.trim().to_owned()) };
        return Some(Entry { key, value: Node::new(value, action.value.span) });
    }
    let name = action.value.get("module").cloned();
    let Some(key) = name.filter(|name| name.as_str().is_some()) else {
        diags.push(wrong_type(&action.value, "`action`", "a module's name with its arguments"));
        return None;
    };
    let rest = action
        .value
        .as_map()
        .unwrap_or_default()
        .iter()
        .filter(|entry| entry.key.as_str() != Some("module"))
        .cloned();
    Some(Entry { key, value: Node::new(Kind::Map(rest.collect()), action.value.span) })
}

/// The `args` keyword joins the module's own arguments; `k=v` text becomes a mapping.
fn with_args(value: &Node, args: Option<&Entry>, diags: &mut Vec<Diagnostic>) -> Node {
    let Some(args) = args else { return value.clone() };
    let Some(more) = args.value.as_map() else {
        diags.push(wrong_type(&args.value, "`args`", "a mapping"));
        return value.clone();
    };
    let mut entries = match &value.kind {
        Kind::Map(entries) => entries.clone(),
        Kind::Null => Vec::new(),
        // The text stays under an empty key, which no module has; binding reads it as the free form.
        _ => vec![Entry { key: Node::new(Kind::Str(String::new()), value.span), value: value.clone() }],
    };
    entries.extend(more.iter().cloned());
    Node::new(Kind::Map(entries), value.span)
}

fn decode_action(name: Spanned<String>, args: Node, diags: &mut Vec<Diagnostic>) -> Option<Action> {
    let short = name.node.strip_prefix("ansible.builtin.").unwrap_or(&name.node);
    let include = |kind, is_static| (kind, is_static);
    let (kind, is_static) = match short {
        "import_tasks" => include(IncludeKind::Tasks, true),
        "include_tasks" => include(IncludeKind::Tasks, false),
        "import_role" => include(IncludeKind::Role, true),
        "include_role" => include(IncludeKind::Role, false),
        "include_vars" => include(IncludeKind::Vars, false),
        "meta" => return decode_meta(&args, diags).map(Action::Meta),
        _ => return Some(Action::Module { name, args }),
    };
    decode_include(kind, is_static, &name, &args, diags).map(Action::Include)
}

fn decode_include(
    kind: IncludeKind,
    is_static: bool,
    name: &Spanned<String>,
    args: &Node,
    diags: &mut Vec<Diagnostic>,
) -> Option<Include> {
    let module = &name.node;
    let (keys, main): (&[&str], &str) = match kind {
        IncludeKind::Tasks if is_static => (&["file"], "file"),
        IncludeKind::Tasks => (&["file", "apply"], "file"),
        IncludeKind::Role if is_static => (&["name", "tasks_from", "public", "allow_duplicates"], "name"),
        IncludeKind::Role => (&["name", "tasks_from", "public", "allow_duplicates", "apply"], "name"),
        IncludeKind::Vars => (&["file"], "file"),
    };
    if args.as_str().is_some() && kind != IncludeKind::Role {
        return Some(Include {
            kind,
            name: args.clone(),
            tasks_from: None,
            apply: None,
            repeats: true,
            is_static,
        });
    }
    let Some(entries) = args.as_map() else {
        diags.push(wrong_type(
            args,
            &format!("`{module}`"),
            if kind == IncludeKind::Role { "a mapping with `name`" } else { "a file's name" },
        ));
        return None;
    };
    for entry in entries {
        let key = entry.key.as_str().unwrap_or_default();
        // A name beside `args:` stands under an empty key.
        let beside = key.is_empty() && kind != IncludeKind::Role;
        if !keys.contains(&key) && !beside {
            diags.push(unknown_key(&entry.key, key, module, keys));
        }
    }
    let Some(target) = args.get(main).or_else(|| args.get("")) else {
        let message = format!("`{module}` needs `{main}`");
        diags.push(Diagnostic::error("missing-key", message).at(name.span));
        return None;
    };
    let tasks_from = args
        .get("tasks_from")
        .and_then(|node| node.as_str().map(|text| Spanned::new(text.to_owned(), node.span)));
    let apply = args.get("apply").map(|node| {
        let entries = node.as_map().unwrap_or_default();
        if node.as_map().is_none() {
            diags.push(wrong_type(node, "`apply`", "a mapping of keywords"));
        }
        let names = known(Place::Block);
        for entry in entries {
            let key = entry.key.as_str().unwrap_or_default();
            if !names.contains(&key) || ["block", "rescue", "always"].contains(&key) {
                diags.push(unknown_key(&entry.key, key, "block", &names));
            }
        }
        Box::new(Keywords::decode(entries, Place::Block, diags))
    });
    let repeats = !matches!(args.get("allow_duplicates").map(|node| &node.kind), Some(Kind::Bool(false)));
    Some(Include { kind, name: target.clone(), tasks_from, apply, repeats, is_static })
}

fn decode_meta(args: &Node, diags: &mut Vec<Diagnostic>) -> Option<Spanned<Meta>> {
    const WORDS: &[(&str, Meta)] = &[
        ("flush_handlers", Meta::FlushHandlers),
        ("noop", Meta::Noop),
        ("end_host", Meta::EndHost),
        ("end_play", Meta::EndPlay),
        ("clear_host_errors", Meta::ClearHostErrors),
        ("refresh_facts", Meta::RefreshFacts),
    ];
    let word = args.as_str().unwrap_or_default();
    let found = WORDS.iter().find(|(name, _)| *name == word).map(|(_, meta)| Spanned::new(*meta, args.span));
    if found.is_none() {
        let near = did_you_mean(word, WORDS.iter().map(|(name, _)| *name));
        let known = WORDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let diagnostic =
            Diagnostic::error("unknown-meta", format!("`meta` does not know `{word}`")).at(args.span);
        diags.push(diagnostic.maybe_hint(near).hint(format!("it knows {known}")));
    }
    found
}
