//! The keywords that plays, roles, blocks and tasks share.

use super::{VarEntries, variables, wrong_type};
use crate::diag::{Diagnostic, Spanned};
use crate::yaml::{Entry, Kind, Node};

/// Keywords of one play, role call, block or task. `None` or empty: not given, the outer one holds.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    /// Conditions, all of which must hold.
    pub when: Vec<Node>,
    /// Tags.
    pub tags: Vec<Spanned<String>>,
    /// Variables.
    pub vars: VarEntries,
    /// `become`.
    pub r#become: Option<Node>,
    /// `become_user`.
    pub become_user: Option<Node>,
    /// Environment mappings.
    pub environment: Vec<Node>,
    /// Hide the results.
    pub no_log: Option<Node>,
    /// A failure is shown but does not stop the host.
    pub ignore_errors: Option<Node>,
    /// Run in check mode too (`false`), or always as in check mode (`true`).
    pub check_mode: Option<Node>,
    /// Once for all hosts.
    pub run_once: Option<Node>,
    /// On another host.
    pub delegate_to: Option<Node>,
    /// What a delegated task brings is known of the host it is delegated to.
    pub delegate_facts: Option<Node>,
    /// A failure ends the play on every host.
    pub any_errors_fatal: Option<Node>,
    /// Name of the result.
    pub register: Option<Spanned<String>>,
    /// Handlers to run when something changed.
    pub notify: Vec<Node>,
    /// Topics a handler listens to.
    pub listen: Vec<Spanned<String>>,
    /// Items to repeat for.
    pub r#loop: Option<Loop>,
    /// Repeat until these hold.
    pub until: Vec<Node>,
    /// How often to repeat.
    pub retries: Option<Node>,
    /// Seconds between.
    pub delay: Option<Node>,
    /// What counts as a change.
    pub changed_when: Vec<Node>,
    /// What counts as a failure.
    pub failed_when: Vec<Node>,
    /// Seconds until the step is ended.
    pub timeout: Option<Node>,
}

/// What to repeat for.
#[derive(Debug, Clone)]
pub struct Loop {
    /// The items.
    pub items: Node,
    /// How the items are read.
    pub source: LoopSource,
    /// Name of the item variable.
    pub var: String,
    /// Name of the index variable.
    pub index_var: Option<String>,
    /// What to show of an item.
    pub label: Option<Node>,
    /// Whether `ansible_loop` tells how far the loop is.
    pub extended: bool,
}

/// How the items of a loop are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopSource {
    /// `loop:` takes a list as it is.
    List,
    /// `with_items:` flattens one level.
    Items,
    /// `with_dict:` turns a mapping into `{key, value}`.
    Dict,
    /// `with_NAME:` asks a lookup of that name.
    Lookup(&'static str),
}

/// Which keywords a place takes besides the shared ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Play,
    Role,
    Block,
    Task,
}

/// Shared keywords; tasks take all of these.
const SHARED: &[&str] = &[
    "when",
    "tags",
    "vars",
    "become",
    "become_user",
    "become_method",
    "environment",
    "no_log",
    "ignore_errors",
    "check_mode",
    "run_once",
    "delegate_to",
    "delegate_facts",
    "any_errors_fatal",
    "collections",
];

/// Keywords of tasks alone.
const TASK_ONLY: &[&str] = &[
    "register",
    "notify",
    "listen",
    "loop",
    "loop_control",
    "with_items",
    "with_list",
    "with_dict",
    "with_fileglob",
    "with_first_found",
    "with_flattened",
    "with_indexed_items",
    "with_sequence",
    "until",
    "retries",
    "delay",
    "changed_when",
    "failed_when",
    "timeout",
];

/// Keywords of Ansible that are not there yet, and what to do instead: a clear error, never ignored.
const NOT_YET: &[(&str, &str)] = &[
    ("async", "leave it out: a task may take as long as it needs, or as `timeout` says"),
    ("poll", "leave it out: a task may take as long as it needs, or as `timeout` says"),
    ("debugger", "leave it out, and run with `-vv`"),
    ("throttle", "let `serial` on the play or `--forks` limit how many hosts go at once"),
    ("ignore_unreachable", "leave it out: the other hosts go on without one that cannot be reached"),
    ("module_defaults", "give the parameters on each task"),
    ("diff", "run with `--diff`"),
    ("connection", "set `ansible_connection` in the inventory"),
    ("remote_user", "set `ansible_user` in the inventory, or run with `--user`"),
    ("port", "set `ansible_port` in the inventory"),
    ("become_exe", "leave it out: `sudo` is found by its name"),
    ("become_flags", "leave it out: `sudo` is called without flags of yours"),
    ("order", "leave it out: hosts go side by side"),
    ("force_handlers", "leave it out, and put what must run after a failure into `always`"),
    ("strategy", "leave it out: hosts go side by side, and wait where a task looks at other hosts"),
    ("vars_prompt", "give the values with `-e`, or keep them in a vault"),
    ("gather_subset", "leave it out: facts come with the connection, in one round trip"),
    ("gather_timeout", "leave it out: facts come with the connection, in one round trip"),
    ("fact_path", "leave it out: facts come with the connection, in one round trip"),
    ("with_together", "use `loop` with the filter `zip`"),
    ("with_nested", "use `loop` with the filter `product`"),
    ("with_subelements", "use `loop` with the filter `subelements`"),
    ("with_random_choice", "use `loop` with the items that are meant"),
    ("local_action", "use `delegate_to: localhost` beside the module"),
];

/// The lookup that gives the items of a `with_NAME` loop.
fn lookup_of(key: &str) -> Option<&'static str> {
    const LOOKUPS: &[&str] = &["fileglob", "first_found", "flattened", "indexed_items", "sequence"];
    let name = key.strip_prefix("with_")?;
    LOOKUPS.iter().find(|known| **known == name).copied()
}

/// What to do instead of a keyword that is not there yet.
pub(super) fn not_yet(key: &str) -> Option<&'static str> {
    NOT_YET.iter().find(|(name, _)| *name == key).map(|(_, instead)| *instead)
}

/// Every keyword a place takes.
pub(super) fn known(place: Place) -> Vec<&'static str> {
    let own: &[&str] = match place {
        Place::Play => &[
            "name",
            "hosts",
            "gather_facts",
            "serial",
            "max_fail_percentage",
            "vars_files",
            "pre_tasks",
            "roles",
            "tasks",
            "post_tasks",
            "handlers",
        ],
        Place::Role => &["role", "name"],
        Place::Block => &["name", "block", "rescue", "always", "notify"],
        Place::Task => &["name", "action", "args"],
    };
    let task: &[&str] = if place == Place::Task { TASK_ONLY } else { &[] };
    own.iter().chain(SHARED).chain(task).copied().collect()
}

impl Keywords {
    /// Reads the shared keywords (and, on a task, its own) out of a mapping's entries.
    pub(super) fn decode(entries: &[Entry], place: Place, diags: &mut Vec<Diagnostic>) -> Self {
        let mut keywords = Self::default();
        let mut loop_control = None;
        for entry in entries {
            let value = &entry.value;
            match entry.key.as_str().unwrap_or_default() {
                "when" => keywords.when = conditions(value),
                "tags" => keywords.tags = texts(value, "`tags`", diags, true),
                "vars" => keywords.vars = variables(value, "`vars`", diags),
                "become" => keywords.r#become = Some(value.clone()),
                "become_user" => keywords.become_user = Some(value.clone()),
                "become_method" => become_method(value, diags),
                "environment" => keywords.environment = environment(value, diags),
                "no_log" => keywords.no_log = Some(value.clone()),
                "ignore_errors" => keywords.ignore_errors = Some(value.clone()),
                "check_mode" => keywords.check_mode = Some(value.clone()),
                "run_once" => keywords.run_once = Some(value.clone()),
                "delegate_to" => keywords.delegate_to = Some(value.clone()),
                "delegate_facts" => keywords.delegate_facts = Some(value.clone()),
                "any_errors_fatal" => keywords.any_errors_fatal = Some(value.clone()),
                "register" if place == Place::Task => keywords.register = register(value, diags),
                "notify" => keywords.notify = items(value),
                "listen" if place == Place::Task => keywords.listen = texts(value, "`listen`", diags, false),
                "loop" if place == Place::Task => keywords.repeat(value, LoopSource::List, entry, diags),
                "with_items" | "with_list" if place == Place::Task => {
                    keywords.repeat(value, LoopSource::Items, entry, diags)
                }
                "with_dict" if place == Place::Task => keywords.repeat(value, LoopSource::Dict, entry, diags),
                key if place == Place::Task && lookup_of(key).is_some() => keywords.repeat(
                    value,
                    LoopSource::Lookup(lookup_of(key).unwrap_or_default()),
                    entry,
                    diags,
                ),
                "loop_control" if place == Place::Task => loop_control = Some(entry),
                "until" if place == Place::Task => keywords.until = conditions(value),
                "retries" if place == Place::Task => keywords.retries = Some(value.clone()),
                "delay" if place == Place::Task => keywords.delay = Some(value.clone()),
                "changed_when" if place == Place::Task => keywords.changed_when = conditions(value),
                "failed_when" if place == Place::Task => keywords.failed_when = conditions(value),
                "timeout" if place == Place::Task => keywords.timeout = Some(value.clone()),
                _ => {}
            }
        }
        if let Some(control) = loop_control {
            keywords.loop_control(control, diags);
        }
        keywords
    }

    fn repeat(&mut self, items: &Node, source: LoopSource, entry: &Entry, diags: &mut Vec<Diagnostic>) {
        if self.r#loop.is_some() {
            diags.push(Diagnostic::error("two-loops", "a task takes one loop").at(entry.key.span));
            return;
        }
        if items.is_null() {
            diags.push(wrong_type(items, "a loop", "a list").at(entry.key.span));
            return;
        }
        self.r#loop = Some(Loop {
            items: items.clone(),
            source,
            var: "item".to_owned(),
            index_var: None,
            label: None,
            extended: false,
        });
    }

    fn loop_control(&mut self, control: &Entry, diags: &mut Vec<Diagnostic>) {
        let Some(entries) = control.value.as_map() else {
            diags.push(wrong_type(&control.value, "`loop_control`", "a mapping"));
            return;
        };
        let Some(repeat) = &mut self.r#loop else {
            let message = "`loop_control` on a task without a loop";
            diags.push(Diagnostic::error("no-loop", message).at(control.key.span));
            return;
        };
        for entry in entries {
            let text = || entry.value.as_str().filter(|name| super::is_identifier(name)).map(str::to_owned);
            match entry.key.as_str().unwrap_or_default() {
                "loop_var" => match text() {
                    Some(name) => repeat.var = name,
                    None => diags.push(wrong_type(&entry.value, "`loop_var`", "a variable's name")),
                },
                "index_var" => match text() {
                    Some(name) => repeat.index_var = Some(name),
                    None => diags.push(wrong_type(&entry.value, "`index_var`", "a variable's name")),
                },
                "label" => repeat.label = Some(entry.value.clone()),
                "extended" => match entry.value.kind {
                    Kind::Bool(truth) => repeat.extended = truth,
                    _ => diags.push(wrong_type(&entry.value, "`extended`", "true or false")),
                },
                other => diags.push(super::decode::unknown_key(
                    &entry.key,
                    other,
                    "loop_control",
                    &["loop_var", "index_var", "label", "extended"],
                )),
            }
        }
    }
}

/// A condition or a list of them.
pub(super) fn conditions(node: &Node) -> Vec<Node> {
    items(node).into_iter().filter(|node| !node.is_null()).collect()
}

/// A single node or the items of a list.
pub(super) fn items(node: &Node) -> Vec<Node> {
    node.as_seq().map_or_else(|| vec![node.clone()], <[Node]>::to_vec)
}

/// A text or a list of texts; where `split`, commas separate.
pub(super) fn texts(
    node: &Node,
    what: &str,
    diags: &mut Vec<Diagnostic>,
    split: bool,
) -> Vec<Spanned<String>> {
    let mut found = Vec::new();
    for item in items(node).iter().filter(|item| !item.is_null()) {
        match item.scalar_text() {
            Some(text) if split => found.extend(
                text.split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(|word| Spanned::new(word.to_owned(), item.span)),
            ),
            Some(text) => found.push(Spanned::new(text, item.span)),
            None => diags.push(wrong_type(item, what, "a text or a list of texts")),
        }
    }
    found
}

fn environment(node: &Node, diags: &mut Vec<Diagnostic>) -> Vec<Node> {
    let maps = items(node);
    for map in &maps {
        let template = matches!(&map.kind, Kind::Str(text) if text.contains("{{"));
        if map.as_map().is_none() && !template {
            diags.push(wrong_type(map, "`environment`", "a mapping"));
        }
    }
    maps
}

fn become_method(node: &Node, diags: &mut Vec<Diagnostic>) {
    if node.as_str() != Some("sudo") {
        diags.push(
            Diagnostic::error(
                "unsupported-become-method",
                "only `sudo` is known as a `become_method` of a play or task",
            )
            .at(node.span)
            .hint("set `ansible_become_method` in the inventory for another way to become root"),
        );
    }
}

fn register(node: &Node, diags: &mut Vec<Diagnostic>) -> Option<Spanned<String>> {
    match node.as_str().filter(|name| super::is_identifier(name)) {
        Some(name) => Some(Spanned::new(name.to_owned(), node.span)),
        None => {
            diags.push(wrong_type(node, "`register`", "a variable's name"));
            None
        }
    }
}
