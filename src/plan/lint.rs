//! What can be found wrong on every host before the first connection.
//!
//! An expression that reads nothing but known variables is rendered and its task bound, just as the run will do
//! it; one that reads facts or results of earlier tasks is checked by the names it uses.

use super::barrier::{argument_mentions, close_over, condition_mentions};
use super::bind::{Binder, framed};
use super::compile::PlayPlan;
use super::program::{Op, Step, StepCall};
use super::reads::{Brought, add_words, words_of};
use super::role_args::lint_inputs;
use super::scope::{HostScope, Values};
use crate::diag::{Diagnostic, did_you_mean};
use crate::playbook::LoopSource;
use crate::template::{Scope, Templates, Variable};
use crate::yaml::Node;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of a host before it is connected to.
pub struct HostLint<'a> {
    /// Binds tasks.
    pub binder: Binder<'a>,
    /// The host's variables, without facts and results.
    pub scope: HostScope,
    /// Names that become known at run time: facts, registered results, `set_fact`.
    pub later: BTreeSet<String>,
    /// Steps that check a role's arguments and could not be made here: the run has to.
    pub open: BTreeSet<usize>,
    /// Folders of roles that are given something wrong: what follows in their tasks is an echo.
    pub misused: BTreeSet<String>,
}

/// Names that only the run can know, whatever the play.
const RUN_TIME: &[&str] =
    &["ansible_facts", "hostvars", "ansible_failed_task", "ansible_failed_result", "ansible_play_hosts"];

/// Checks every step of a play for one host. `later` grows by what the play registers.
pub fn lint_host(plan: &PlayPlan, host: &mut HostLint<'_>) -> Vec<Diagnostic> {
    let mut diags = Vec::new();
    let handler_ops = plan.handlers.iter().flat_map(|handler| handler.program.ops.iter());
    let all: Vec<&Op> = plan.program.ops.iter().chain(handler_ops).collect();
    for op in &all {
        if let Some(step) = step_of(op) {
            host.later.extend(registers(step));
        }
    }
    let dynamic = all.iter().any(|op| matches!(op, Op::Include(_)));
    let left_out = left_out(&plan.program.ops, host);
    for op in all {
        match op {
            Op::Step(step) if step.inputs.is_some() && left_out.contains(&step.id) => {}
            Op::Step(step) => lint_step(step, host, dynamic, &mut diags),
            Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => {
                let scope = host.scope.for_layers(&step.layers);
                names_of_conditions(step, host, &scope, dynamic, &mut diags);
            }
            _ => {}
        }
    }
    diags
}

/// Steps behind an include whose condition does not hold, or is not known yet. Those that check a role's arguments are
/// left to the run then.
fn left_out(ops: &[Op], host: &mut HostLint<'_>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (at, op) in ops.iter().enumerate() {
        let Op::Guard { step, to } = op else { continue };
        let scope = host.scope.for_layers(&step.layers);
        let later = depends_on_later(condition_mentions(step), step, host, &scope);
        let shared = scope.shared();
        let holds = |when: &Node| host.binder.templates.condition(when, &shared).is_ok_and(|holds| holds);
        if !later && step.keywords.when.iter().all(holds) {
            continue;
        }
        let behind = ops.iter().take(*to).skip(at).filter_map(step_of).map(|step| step.id);
        found.extend(behind);
    }
    host.open.extend(found.iter().copied());
    found
}

fn step_of(op: &Op) -> Option<&Arc<Step>> {
    match op {
        Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => Some(step),
        _ => None,
    }
}

/// Names a step defines when it runs.
fn registers(step: &Step) -> Vec<String> {
    Brought::by(step).names().map(str::to_owned).collect()
}

fn lint_step(step: &Arc<Step>, host: &mut HostLint<'_>, dynamic: bool, diags: &mut Vec<Diagnostic>) {
    let scope = host.scope.for_layers(&step.layers);
    let before = diags.len();
    names_of_conditions(step, host, &scope, dynamic, diags);
    let mut nodes: Vec<&Node> = step.args.iter().map(|argument| &argument.value).collect();
    nodes.extend(step.keywords.environment.iter());
    nodes.extend(step.keywords.r#loop.iter().map(|repeat| &repeat.items));
    for node in nodes {
        names(step, node, false, host, &scope, dynamic, diags);
    }
    if diags.len() > before {
        return;
    }
    if depends_on_later(condition_mentions(step), step, host, &scope) {
        host.open.insert(step.id);
        return;
    }
    let shared = scope.shared();
    for condition in &step.keywords.when {
        match host.binder.templates.condition(condition, &shared) {
            Ok(true) => {}
            Ok(false) => return,
            Err(diagnostic) => return diags.push(framed(step, diagnostic)),
        }
    }
    if step.inputs.is_some() {
        return check_inputs(step, host, &scope, diags);
    }
    if step.role.as_ref().is_some_and(|role| host.misused.contains(&role.path)) {
        return;
    }
    if depends_on_later(argument_mentions(step), step, host, &scope) {
        return;
    }
    bind_all(step, host, &scope, diags);
}

/// Binds the step as the run will do it, once per item.
fn bind_all(step: &Arc<Step>, host: &HostLint<'_>, scope: &HostScope, diags: &mut Vec<Diagnostic>) {
    let StepCall::Module(module) = step.call else { return };
    if module.spec().name == "fail" {
        return;
    }
    let scopes = match item_scopes(host.binder.templates, step, scope) {
        Ok(items) => items,
        Err(diagnostic) => return diags.push(framed(step, diagnostic)),
    };
    for (item, scope) in scopes {
        let shared = scope.shared();
        // An item's own condition may still leave it out.
        if step.keywords.r#loop.is_some() {
            let skipped = step
                .keywords
                .when
                .iter()
                .any(|when| host.binder.templates.condition(when, &shared) == Ok(false));
            if skipped {
                continue;
            }
        }
        let mut context = Map::new();
        context.insert("check_mode".to_owned(), Value::Bool(false));
        if let Err(found) = host.binder.bind(step, &shared, context) {
            let item = item.filter(|_| step.keywords.no_log.is_none());
            let label = item.map(|item| item_label(host.binder.templates, step, &item, &scope));
            let named = |diagnostic: Diagnostic| match &label {
                Some(label) => of_item(diagnostic, label),
                None => diagnostic,
            };
            diags.extend(found.into_iter().filter(|diagnostic| !waits(diagnostic, host)).map(named));
        }
    }
}

/// A template file may read what a task's own words did not show.
fn waits(diagnostic: &Diagnostic, host: &HostLint<'_>) -> bool {
    diagnostic.code == "undefined-variable" && {
        let mut words = BTreeSet::new();
        add_words(&diagnostic.message, &mut words);
        words.iter().any(|word| is_later(word, host))
    }
}

/// The items of a step's loop, each with the scope it is bound in; one without an item when there is no loop.
pub fn item_scopes(
    templates: &Templates,
    step: &Step,
    scope: &HostScope,
) -> Result<Vec<(Option<Value>, HostScope)>, Diagnostic> {
    let Some(repeat) = &step.keywords.r#loop else { return Ok(vec![(None, scope.clone())]) };
    let value = templates.render_value(&repeat.items, &scope.shared())?;
    let wrong = |found: &str, wanted: &str| {
        Err(Diagnostic::error("wrong-type", format!("a loop takes {wanted}, not {found}"))
            .at(repeat.items.span))
    };
    let items = match (repeat.source, value) {
        (LoopSource::List, Value::Array(items)) => items,
        (LoopSource::Items, Value::Array(items)) => items
            .into_iter()
            .flat_map(|item| match item {
                Value::Array(inner) => inner,
                other => vec![other],
            })
            .collect(),
        (LoopSource::Items, single @ (Value::String(_) | Value::Number(_))) => vec![single],
        (LoopSource::Dict, Value::Object(map)) => {
            map.into_iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value })).collect()
        }
        (LoopSource::Dict, other) => return wrong(type_name(&other), "a mapping"),
        (_, other) => return wrong(type_name(&other), "a list"),
    };
    let scoped = items.into_iter().enumerate().map(|(index, item)| {
        let mut vars = Values::new();
        vars.insert(repeat.var.clone(), Arc::new(item.clone()));
        vars.insert("ansible_loop_var".to_owned(), Arc::new(Value::from(repeat.var.clone())));
        if let Some(name) = &repeat.index_var {
            vars.insert(name.clone(), Arc::new(Value::from(index)));
        }
        let mut outer = (*scope.loop_vars).clone();
        outer.extend(vars);
        (Some(item), scope.with_loop(outer))
    });
    Ok(scoped.collect())
}

/// What an item of a loop is called: its `label`, else the item itself.
pub fn item_label(templates: &Templates, step: &Step, item: &Value, scope: &HostScope) -> String {
    let label = step.keywords.r#loop.as_ref().and_then(|repeat| repeat.label.as_ref());
    let rendered = label.and_then(|label| templates.render_value(label, &scope.shared()).ok());
    match rendered.as_ref().unwrap_or(item) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A fault of one item says of which.
pub fn of_item(mut diagnostic: Diagnostic, label: &str) -> Diagnostic {
    /// More of an item without a label tells nobody anything.
    const LONGEST: usize = 80;
    let short: String = label.chars().take(LONGEST).collect();
    let more = if short.len() < label.len() { "..." } else { "" };
    diagnostic.notes.insert(0, format!("the item is `{short}{more}`"));
    diagnostic
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn depends_on_later(
    mut words: BTreeSet<String>,
    step: &Step,
    host: &HostLint<'_>,
    scope: &HostScope,
) -> bool {
    close_over(&mut words, &step.layers);
    // Inventory variables may be templates too.
    let mut open: Vec<String> = words.iter().cloned().collect();
    while let Some(word) = open.pop() {
        let Some(Variable::Node(node)) = scope.get(&word) else { continue };
        let mut found = BTreeSet::new();
        words_of(&node, false, &mut found);
        open.extend(found.iter().filter(|word| !words.contains(*word)).cloned());
        words.append(&mut found);
    }
    words.iter().any(|word| is_later(word, host))
}

fn is_later(word: &str, host: &HostLint<'_>) -> bool {
    let brought = |name: &String| name.strip_suffix('*').is_some_and(|start| word.starts_with(start));
    host.later.contains(word)
        || host.later.iter().any(brought)
        || RUN_TIME.contains(&word)
        || (word.starts_with("ansible_") && host.scope.get(word).is_none())
}

fn names_of_conditions(
    step: &Step,
    host: &HostLint<'_>,
    scope: &HostScope,
    dynamic: bool,
    diags: &mut Vec<Diagnostic>,
) {
    let keywords = &step.keywords;
    for node in
        keywords.when.iter().chain(&keywords.until).chain(&keywords.changed_when).chain(&keywords.failed_when)
    {
        names(step, node, true, host, scope, dynamic, diags);
    }
}

/// Reports names that nothing defines, now or later.
fn names(
    step: &Step,
    node: &Node,
    expression: bool,
    host: &HostLint<'_>,
    scope: &HostScope,
    dynamic: bool,
    diags: &mut Vec<Diagnostic>,
) {
    let templates = host.binder.templates;
    let roots = if expression { templates.roots_of_expr(node) } else { templates.roots(node) };
    let roots = match roots {
        Ok(roots) => roots,
        Err(diagnostic) => return diags.push(framed(step, diagnostic)),
    };
    let item = step.keywords.r#loop.as_ref();
    let loop_name = |name: &str| {
        item.is_some_and(|repeat| repeat.var == name || repeat.index_var.as_deref() == Some(name))
    };
    for root in roots {
        let name = root.name.as_str();
        if root.optional || scope.get(name).is_some() || is_later(name, host) || loop_name(name) || dynamic {
            continue;
        }
        let known = scope.names();
        let candidates = known.iter().map(String::as_str).chain(host.later.iter().map(String::as_str));
        let mut diagnostic =
            Diagnostic::error("undefined-variable", format!("`{name}` is undefined")).at(root.span);
        diagnostic.label = did_you_mean(name, candidates);
        diags.push(framed(step, diagnostic));
    }
}

/// A role's arguments, as far as they are known; the run checks what is not.
fn check_inputs(step: &Arc<Step>, host: &mut HostLint<'_>, scope: &HostScope, diags: &mut Vec<Diagnostic>) {
    let Some(inputs) = &step.inputs else { return };
    let later = |node: &Node| {
        let mut words = BTreeSet::new();
        words_of(node, false, &mut words);
        // A password that nobody needs yet is not made, and no file is read that a task may write.
        ["lookup", "query", "q"].iter().any(|word| words.contains(*word))
            || depends_on_later(words, step, host, scope)
    };
    let later_name = |name: &str| is_later(name, host);
    let before = diags.len();
    let known = lint_inputs(inputs, step, host.binder.templates, scope, &later, &later_name, diags);
    if !known {
        host.open.insert(step.id);
    }
    if diags.len() > before {
        host.misused.extend(step.role.as_ref().map(|role| role.path.clone()));
    }
}

/// Notifications that no handler answers.
pub fn lint_handlers(plan: &PlayPlan) -> Vec<Diagnostic> {
    let mut names: Vec<&str> = Vec::new();
    for handler in &plan.handlers {
        names.push(&handler.name);
        names.extend(handler.listen.iter().map(String::as_str));
    }
    let templated = plan.handlers.iter().any(|handler| handler.name.contains("{{"));
    let dynamic = plan.program.ops.iter().any(|op| matches!(op, Op::Include(_)));
    let mut diags = Vec::new();
    for step in plan.program.ops.iter().filter_map(step_of) {
        for notify in &step.keywords.notify {
            let Some(name) = notify.as_str().filter(|name| !name.contains("{{")) else { continue };
            if names.iter().any(|known| handler_matches(known, name)) || templated || dynamic {
                continue;
            }
            let mut diagnostic = Diagnostic::error(
                "unknown-handler",
                format!("no handler is named `{name}` or listens to it"),
            )
            .at(notify.span);
            diagnostic.label = did_you_mean(name, names.iter().copied());
            diags.push(framed(step, diagnostic));
        }
    }
    diags
}

/// Whether a notification means this handler; `role : name` names it too.
pub fn handler_matches(handler: &str, notified: &str) -> bool {
    handler == notified || notified.split_once(" : ").is_some_and(|(_, name)| name == handler)
}

/// The same fault on many hosts or by many ways is one fault.
pub fn merge(found: Vec<(String, Vec<Diagnostic>)>) -> Vec<Diagnostic> {
    let mut merged: Vec<Diagnostic> = Vec::new();
    for (_, diagnostics) in found {
        for diagnostic in diagnostics {
            let same = |known: &&mut Diagnostic| {
                known.code == diagnostic.code
                    && known.span == diagnostic.span
                    && known.message == diagnostic.message
            };
            if merged.iter_mut().find(same).is_none() {
                merged.push(diagnostic);
            }
        }
    }
    merged.sort_by_key(|diagnostic| diagnostic.span);
    merged
}
