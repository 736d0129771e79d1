//! What can be found wrong on every host before the first connection, and once more when its facts are there.
//!
//! The tasks are walked in the order of the run, with the engine that the run uses, over what is known by then. A value
//! that only the run brings stops whatever needs it ([`Ahead`]), so that conditions, branches and short circuits decide
//! here what they decide there. What is certain is an error; what a fact or a result decides is only possible.

use super::ahead::Ahead;
use super::bind::{Binder, framed, search_path};
use super::compile::{Compiler, Handler, PlayPlan};
use super::program::{Layer, Op, Program, Step, StepCall};
use super::reads::words_of;
use super::role_args::lint_inputs;
use super::scope::{HostScope, Values};
use super::select::Tags;
use crate::diag::{Diagnostic, did_you_mean};
use crate::playbook::{IncludeKind, LoopSource, Meta};
use crate::template::{LATER, Scope, Templates, is_template};
use crate::yaml::{Kind, Node};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of a host before it is connected to, or before anything is changed on it.
pub struct HostLint<'a> {
    /// Binds tasks.
    pub binder: Binder<'a>,
    /// Which tasks run.
    pub tags: &'a Tags,
    /// The host's variables, without results; with facts when `ahead` says so.
    pub scope: HostScope,
    /// What plays bring, those before included.
    pub ahead: Ahead,
    /// Steps that check a role's arguments and could not be made here: the run has to.
    pub open: BTreeSet<usize>,
    /// Folders of roles that are given something wrong: what follows in their tasks is an echo.
    pub misused: BTreeSet<String>,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Wrong for certain: the run would come to it.
    pub certain: Vec<Diagnostic>,
    /// Wrong if the run comes to it.
    pub possible: Vec<Diagnostic>,
}

/// The code of a name that nothing defines.
const UNDEFINED: &str = "undefined-variable";

/// Checks every step of a play for one host. `host.ahead` grows by what the play brings.
pub fn lint_host(plan: &PlayPlan, host: &mut HostLint<'_>) -> Findings {
    let mut found = Findings::default();
    let mut notified = Vec::new();
    let mut walk = Walk { host, found: &mut found, notified: &mut notified, handlers: &plan.handlers };
    walk.program(&plan.program, Reach::Sure, false);
    for handler in &plan.handlers {
        let answers = |name: &String| handler.is_named(name) || handler.listen.contains(name);
        let told = walk.notified.iter().any(answers);
        walk.program(&handler.program, if told { Reach::Sure } else { Reach::Mostly }, false);
    }
    found
}

/// What is wrong in the words of a play that no host is there to be checked with.
pub fn lint_words(plan: &PlayPlan) -> Findings {
    let mut found = Findings::default();
    let handlers = plan.handlers.iter().map(|handler| &handler.program);
    for program in std::iter::once(&plan.program).chain(handlers) {
        let mut doubtful = Vec::new();
        for (at, op) in program.ops.iter().enumerate() {
            match op {
                Op::Guard { to, .. } => doubtful.push(at + 1..*to),
                Op::Enter { rescue: Some(rescue), always } => doubtful.push(*rescue..*always),
                _ => {}
            }
            let Some(step) = step_of(op) else { continue };
            let sure = !step.is_conditional() && !doubtful.iter().any(|part| part.contains(&at));
            let list = if sure { &mut found.certain } else { &mut found.possible };
            list.extend(step.faults.iter().cloned());
        }
    }
    found
}

fn step_of(op: &Op) -> Option<&Arc<Step>> {
    match op {
        Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => Some(step),
        _ => None,
    }
}

/// Whether the run comes to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Never,
    /// Facts decide, so that on some systems it may never come to it.
    Perhaps,
    /// Results of tasks decide.
    Mostly,
    Sure,
}

/// A walk over the tasks of a play for one host.
struct Walk<'w, 'a> {
    host: &'w mut HostLint<'a>,
    found: &'w mut Findings,
    /// Handlers that steps notify which the run comes to.
    notified: &'w mut Vec<String>,
    handlers: &'w [Arc<Handler>],
}

/// One item of a step's loop, or the step itself.
struct Turn {
    item: Option<Value>,
    scope: HostScope,
    reach: Reach,
}

impl Walk<'_, '_> {
    /// `mild`: a failure in there does not end the host.
    fn program(&mut self, program: &Program, reach: Reach, mild: bool) {
        // Parts that hold less than what is around them: where they end, and what holds there.
        let mut parts: Vec<(std::ops::Range<usize>, Reach, bool)> = Vec::new();
        for (at, op) in program.ops.iter().enumerate() {
            let inside = || parts.iter().filter(|(part, ..)| part.contains(&at));
            let reach = inside().map(|(_, reach, _)| *reach).min().unwrap_or(reach).min(reach);
            let mild = mild || inside().any(|(.., mild)| *mild);
            match op {
                Op::Step(step) => self.step(step, reach, mild),
                Op::Include(step) => self.include(step, reach, mild),
                Op::Guard { step, to } => {
                    let turn = self.single(step, reach, mild);
                    self.report_faults(step, turn.reach);
                    parts.push((at + 1..*to, turn.reach, mild));
                }
                Op::Enter { rescue, always } => {
                    if let Some(rescue) = rescue {
                        parts.push((at + 1..*rescue, reach, true));
                        parts.push((*rescue..*always, Reach::Mostly, mild));
                    }
                }
                Op::Meta { step, meta } => {
                    let turn = self.single(step, reach, mild);
                    if matches!(meta, Meta::EndHost | Meta::EndPlay) && turn.reach != Reach::Never {
                        parts.push((at + 1..program.ops.len(), turn.reach.min(Reach::Mostly), mild));
                    }
                }
                Op::Flush => {
                    for handler in self.handlers {
                        handler
                            .program
                            .ops
                            .iter()
                            .filter_map(step_of)
                            .for_each(|step| self.host.ahead.add(step));
                    }
                }
                Op::Leave { .. } | Op::End => {}
            }
        }
    }

    /// The variables that a step sees.
    fn scope_of(&self, step: &Step) -> HostScope {
        let mut scope = self.host.scope.for_layers(&step.layers);
        scope.ahead = Some(Arc::new(self.host.ahead.clone()));
        if let Some(role) = &step.role {
            scope.set_magic("role_path", Value::from(role.path.clone()));
            scope.set_magic("role_name", Value::from(role.name.clone()));
        }
        scope
    }

    fn report(&mut self, diagnostic: Diagnostic, certain: bool) {
        let list = if certain { &mut self.found.certain } else { &mut self.found.possible };
        list.push(diagnostic);
    }

    fn report_faults(&mut self, step: &Step, reach: Reach) {
        for fault in &step.faults {
            self.report(fault.clone(), reach >= Reach::Mostly);
        }
    }

    fn step(&mut self, step: &Arc<Step>, reach: Reach, mild: bool) {
        let mild = mild || ignores(step);
        let turns = self.turns(step, reach, mild);
        let reach = turns.iter().map(|turn| turn.reach).max().unwrap_or(Reach::Never);
        self.report_faults(step, reach);
        // Names that a keyword would define which is not there yet are not missing.
        if !step.faults.iter().any(|fault| fault.code == "definition-not-supported") {
            for turn in turns.iter().filter(|turn| turn.reach != Reach::Never) {
                self.turn(step, turn, mild);
            }
        }
        if reach != Reach::Never {
            self.host.ahead.add(step);
            if reach == Reach::Sure {
                self.notified.extend(step.keywords.notify.iter().filter_map(Node::scalar_text));
            }
        } else {
            self.host.ahead.add_result(step);
        }
    }

    /// What is asked of a step when its conditions hold.
    fn turn(&mut self, step: &Arc<Step>, turn: &Turn, mild: bool) {
        if step.inputs.is_some() {
            if turn.reach == Reach::Sure {
                check_inputs(step, self.host, &turn.scope, &mut self.found.certain);
            } else {
                self.host.open.insert(step.id);
            }
            return;
        }
        let certain = turn.reach == Reach::Sure;
        let keywords = &step.keywords;
        let mut missing = 0;
        for node in step.args.iter().map(|argument| &argument.value).chain(&keywords.environment) {
            missing += self.names(step, node, false, &turn.scope, certain && !mild);
        }
        // These are asked when the task was carried out, and each only while those before it hold.
        let mut after = turn.scope.clone();
        if let Some(ahead) = &mut after.ahead {
            Arc::make_mut(ahead).add(step);
        }
        for list in [&keywords.until, &keywords.changed_when, &keywords.failed_when] {
            for (at, node) in list.iter().enumerate() {
                self.names(step, node, true, &after, certain && !mild && at == 0);
            }
        }
        if missing > 0 || turn.reach != Reach::Sure || !step.faults.is_empty() {
            return;
        }
        if step.role.as_ref().is_some_and(|role| self.host.misused.contains(&role.path)) {
            return;
        }
        let StepCall::Module(module) = step.call else { return };
        // What it says is its whole purpose.
        if module.spec().name == "fail" {
            return;
        }
        let mut context = Map::new();
        context.insert("check_mode".to_owned(), Value::Bool(false));
        if let Err(found) = self.host.binder.bind(step, &turn.scope.shared(), context) {
            let item = turn.item.as_ref().filter(|_| step.keywords.no_log.is_none());
            let label = item.map(|item| item_label(self.host.binder.templates, step, item, &turn.scope));
            for diagnostic in found.into_iter().filter(|diagnostic| diagnostic.code != LATER) {
                let certain = diagnostic.code != UNDEFINED || !mild;
                let diagnostic = match &label {
                    Some(label) => of_item(diagnostic, label),
                    None => diagnostic,
                };
                self.report(diagnostic, certain);
            }
        }
    }

    /// A step that has no items: what its conditions say.
    fn single(&mut self, step: &Arc<Step>, reach: Reach, mild: bool) -> Turn {
        let scope = self.scope_of(step);
        let reach = self.conditions(step, &scope, reach, mild);
        Turn { item: None, scope, reach }
    }

    /// The turns that a step takes: one without a loop, else one for each item. Of a loop whose items are not known yet
    /// there is one, which stands for them all.
    fn turns(&mut self, step: &Arc<Step>, reach: Reach, mild: bool) -> Vec<Turn> {
        let Some(repeat) = &step.keywords.r#loop else { return vec![self.single(step, reach, mild)] };
        let scope = self.scope_of(step);
        match item_scopes(self.host.binder.templates, step, &scope) {
            Ok(items) => {
                let each = items.into_iter().map(|(item, scope)| {
                    let reach = self.conditions(step, &scope, reach, mild);
                    Turn { item, scope, reach }
                });
                each.collect()
            }
            Err(diagnostic) if diagnostic.code == LATER => {
                // A name in the items that nothing defines is missing whatever the others are.
                let before = self.found.certain.len();
                let sure = reach == Reach::Sure && !mild && step.keywords.when.is_empty();
                self.names(step, &repeat.items, false, &scope, sure);
                if self.found.certain.len() > before {
                    return Vec::new();
                }
                let mut scope = scope;
                if let Some(ahead) = &mut scope.ahead {
                    let names = [Some(&repeat.var), repeat.index_var.as_ref()];
                    let ahead = Arc::make_mut(ahead);
                    ahead.names.extend(names.into_iter().flatten().cloned());
                    ahead.names.insert("ansible_loop".to_owned());
                }
                let reach = self.conditions(step, &scope, reach.min(self.doubt(&diagnostic)), mild);
                vec![Turn { item: None, scope, reach }]
            }
            // Conditions that hold without an item decide whether the items are needed.
            Err(diagnostic) => {
                let undefined = diagnostic.code == UNDEFINED;
                let reach = match self.holds(step, &scope) {
                    Ok(true) => reach,
                    Ok(false) => Reach::Never,
                    Err(fault) if fault.code == LATER => reach.min(self.doubt(&fault)),
                    Err(_) => reach,
                };
                if reach != Reach::Never {
                    self.report(framed(step, diagnostic), reach == Reach::Sure && !(mild && undefined));
                }
                Vec::new()
            }
        }
    }

    /// How sure a place is that a value decides which only the run brings.
    fn doubt(&self, later: &Diagnostic) -> Reach {
        let name = later.message.split('`').nth(1).unwrap_or_default();
        if self.host.ahead.results.contains(name) { Reach::Mostly } else { Reach::Perhaps }
    }

    /// Whether all conditions of a step hold, in their order.
    fn holds(&self, step: &Step, scope: &HostScope) -> Result<bool, Diagnostic> {
        let shared = scope.shared();
        for condition in &step.keywords.when {
            if !self.host.binder.templates.condition(condition, &shared)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How sure a place is behind a step's conditions. What is wrong in them is reported.
    fn conditions(&mut self, step: &Arc<Step>, scope: &HostScope, reach: Reach, mild: bool) -> Reach {
        let shared = scope.shared();
        let mut reach = reach;
        if reach == Reach::Never {
            return reach;
        }
        for condition in &step.keywords.when {
            let certain = reach == Reach::Sure && !mild;
            match self.host.binder.templates.condition(condition, &shared) {
                Ok(true) => {}
                Ok(false) => return Reach::Never,
                Err(diagnostic) if diagnostic.code == LATER => {
                    if self.names(step, condition, true, scope, certain) > 0 {
                        return Reach::Never;
                    }
                    reach = reach.min(self.doubt(&diagnostic));
                }
                Err(diagnostic) => {
                    let certain = reach == Reach::Sure && !(mild && diagnostic.code == UNDEFINED);
                    self.report(framed(step, diagnostic), certain);
                    return if mild { Reach::Mostly } else { Reach::Never };
                }
            }
        }
        reach
    }

    /// Tasks, a role or variables whose name is known only here.
    fn include(&mut self, step: &Arc<Step>, reach: Reach, mild: bool) {
        let turns = self.turns(step, reach, mild || ignores(step));
        let best = turns.iter().map(|turn| turn.reach).max().unwrap_or(Reach::Never);
        self.report_faults(step, best);
        for turn in turns.iter().filter(|turn| turn.reach != Reach::Never) {
            let Some(argument) = step.arg("name") else { continue };
            if !step.faults.is_empty()
                || self.names(step, &argument.value, false, &turn.scope, turn.reach == Reach::Sure && !mild)
                    > 0
            {
                continue;
            }
            let name = self.host.binder.templates.render_value(&argument.value, &turn.scope.shared());
            match (step.call, name) {
                (StepCall::Include { kind: IncludeKind::Vars }, Ok(Value::String(name))) => {
                    self.vars(step, &name, argument.value.span, turn.reach);
                }
                (StepCall::Include { kind: IncludeKind::Vars }, Err(fault)) if fault.code == LATER => {
                    self.vars_of_some(step, &argument.value);
                }
                (_, Ok(Value::String(name))) => self.tasks(step, &name, turn, mild),
                (_, Err(fault)) if fault.code == LATER => self.host.ahead.open = true,
                (_, Err(fault)) => {
                    let mild = mild && fault.code == UNDEFINED;
                    self.report(framed(step, fault), turn.reach == Reach::Sure && !mild);
                }
                (_, Ok(_)) => {}
            }
        }
        self.host.ahead.add_result(step);
    }

    /// Tasks that are taken in when their step is reached, as the run will take them in.
    fn tasks(&mut self, step: &Arc<Step>, name: &str, turn: &Turn, mild: bool) {
        let host = &self.host;
        let compiler = Compiler::new(host.binder.library, host.binder.site_dir, host.tags, FOREIGN_IDS);
        let program = compiler.include(step, name);
        let handlers = compiler.take_handlers();
        for diagnostic in compiler.into_diagnostics() {
            self.report(diagnostic, turn.reach == Reach::Sure && !mild);
        }
        let outer = std::mem::replace(&mut self.host.scope.loop_vars, Arc::clone(&turn.scope.loop_vars));
        self.program(&program, turn.reach, mild);
        for handler in handlers {
            self.program(&handler.program, turn.reach.min(Reach::Mostly), mild);
        }
        self.host.scope.loop_vars = outer;
    }

    /// The variables of a file whose name is known.
    fn vars(&mut self, step: &Arc<Step>, name: &str, at: crate::diag::Span, reach: Reach) {
        let library = self.host.binder.library;
        let paths = search_path(step, "vars", name, self.host.binder.site_dir);
        let Some(path) = library.first(&paths) else {
            let message = format!("there is no file of variables `{name}`");
            let mut diagnostic = Diagnostic::error("missing-file", message).at(at);
            diagnostic.label = paths.iter().find_map(|path| library.near(path));
            let diagnostic = diagnostic.hint(format!("looked for {}", paths.join(", ")));
            return self.report(framed(step, diagnostic), reach == Reach::Sure && !ignores(step));
        };
        match library.yaml(path) {
            Some(Ok(node)) if reach == Reach::Sure => {
                let layer = Layer::of(node.as_map().unwrap_or_default());
                let mut vars = (*self.host.scope.included).clone();
                vars.vars.extend(layer.vars.iter().map(|(name, node)| (name.clone(), Arc::clone(node))));
                self.host.scope.included = Arc::new(vars);
            }
            Some(Ok(node)) => self.host.ahead.names.extend(keys(&node)),
            Some(Err(found)) => {
                for diagnostic in found {
                    self.report(framed(step, diagnostic), reach == Reach::Sure);
                }
            }
            None => {}
        }
    }

    /// The variables of all files that a name with templates in it may mean.
    fn vars_of_some(&mut self, step: &Arc<Step>, name: &Node) {
        let library = self.host.binder.library;
        let repeated = step.keywords.r#loop.as_ref().map(|repeat| (&repeat.items, &repeat.var));
        let own = name.as_str().unwrap_or_default();
        // `{{ item }}` means what the items say.
        let texts: Vec<&str> = match repeated {
            Some((items, var)) if own.trim_matches(['{', '}', ' ']) == var => {
                items.as_seq().unwrap_or_default().iter().filter_map(Node::as_str).collect()
            }
            _ => vec![own],
        };
        let patterns: Vec<Vec<String>> = texts.iter().map(|text| fixed_parts(text)).collect();
        let bare = |parts: &Vec<String>| parts.iter().all(|part| part.is_empty());
        if patterns.is_empty() || patterns.iter().any(bare) {
            self.host.ahead.open = true;
            return;
        }
        for parts in &patterns {
            // The folder is known as far as its name is fixed.
            let head = parts.first().map(String::as_str).unwrap_or_default();
            let (folder, start) = head.rsplit_once('/').unwrap_or(("", head));
            let deeper = parts.iter().skip(1).any(|part| part.contains('/'));
            if deeper {
                self.host.ahead.open = true;
                return;
            }
            let probe = if folder.is_empty() { "x".to_owned() } else { format!("{folder}/x") };
            for path in search_path(step, "vars", &probe, self.host.binder.site_dir) {
                let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                let mut wanted = parts.clone();
                if let Some(first) = wanted.first_mut() {
                    *first = start.to_owned();
                }
                let there = library.sources().names(if dir.is_empty() { "." } else { dir });
                for file in there.into_iter().filter(|file| fits(file, &wanted)) {
                    let path = super::compile::join(dir, &file);
                    if let Some(Ok(node)) = library.yaml(&path) {
                        self.host.ahead.names.extend(keys(&node));
                    }
                }
            }
        }
    }

    /// Reports names that nothing defines, now or later, and that are needed whatever the rest is; how many there were.
    fn names(
        &mut self,
        step: &Step,
        node: &Node,
        expression: bool,
        scope: &HostScope,
        certain: bool,
    ) -> usize {
        let templates = self.host.binder.templates;
        let roots = if expression { templates.roots_of_expr(node) } else { templates.roots(node) };
        let roots = match roots {
            Ok(roots) => roots,
            // What cannot be read is wrong wherever it stands.
            Err(diagnostic) => {
                self.report(framed(step, diagnostic), true);
                return 1;
            }
        };
        let mut missing = 0;
        for root in roots.iter().filter(|root| !root.optional && !Ahead::defines(&root.name, scope)) {
            let known = scope.names();
            let later = scope.ahead.iter().flat_map(|ahead| ahead.names.iter().map(String::as_str));
            let message = format!("`{}` is undefined", root.name);
            let mut diagnostic = Diagnostic::error(UNDEFINED, message).at(root.span);
            diagnostic.label = did_you_mean(&root.name, known.iter().map(String::as_str).chain(later));
            self.report(framed(step, diagnostic), certain);
            missing += 1;
        }
        missing
    }
}

/// Where the ids of steps count from that are taken in only to be looked at.
const FOREIGN_IDS: usize = usize::MAX / 2;

/// Whether a failure of a step may be let pass.
fn ignores(step: &Step) -> bool {
    step.keywords.ignore_errors.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false)))
}

/// The names that a file of variables defines.
fn keys(node: &Node) -> Vec<String> {
    let entries = node.as_map().unwrap_or_default().iter();
    entries.filter_map(|entry| entry.key.as_str().map(str::to_owned)).collect()
}

/// The parts of a text between its templates.
fn fixed_parts(text: &str) -> Vec<String> {
    if !is_template(text) {
        return vec![text.to_owned()];
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("{{") {
        parts.push(head.to_owned());
        rest = tail.split_once("}}").map_or("", |(_, rest)| rest);
    }
    parts.push(rest.to_owned());
    parts
}

/// Whether a name has these parts in this order, the first at its start and the last at its end.
fn fits(name: &str, parts: &[String]) -> bool {
    let [first, between @ .., last] = parts else { return parts.first().is_none_or(|only| only == name) };
    let Some(mut rest) = name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for part in between {
        match rest.split_once(part.as_str()) {
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
    true
}

/// The items of a step's loop, each with the scope it is bound in; one without an item when there is no loop.
pub fn item_scopes(
    templates: &Templates,
    step: &Step,
    scope: &HostScope,
) -> Result<Vec<(Option<Value>, HostScope)>, Diagnostic> {
    let Some(repeat) = &step.keywords.r#loop else { return Ok(vec![(None, scope.clone())]) };
    let value = match repeat.source {
        LoopSource::Lookup(lookup) => {
            Value::Array(templates.query(lookup, &repeat.items, &scope.shared())?)
        }
        _ => templates.render_value(&repeat.items, &scope.shared())?,
    };
    let wrong = |found: &str, wanted: &str| {
        Err(Diagnostic::error("wrong-type", format!("a loop takes {wanted}, not {found}"))
            .at(repeat.items.span))
    };
    let items = match (repeat.source, value) {
        (LoopSource::List | LoopSource::Lookup(_), Value::Array(items)) => items,
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
    let all = repeat.extended.then(|| Arc::new(Value::Array(items.clone())));
    let scoped = items.into_iter().enumerate().map(|(index, item)| {
        let mut vars = Values::new();
        vars.insert(repeat.var.clone(), Arc::new(item.clone()));
        vars.insert("ansible_loop_var".to_owned(), Arc::new(Value::from(repeat.var.clone())));
        if let Some(name) = &repeat.index_var {
            vars.insert(name.clone(), Arc::new(Value::from(index)));
        }
        if let Some(all) = &all {
            vars.insert("ansible_loop".to_owned(), Arc::new(extended(all, index)));
        }
        let mut outer = (*scope.loop_vars).clone();
        outer.extend(vars);
        (Some(item), scope.with_loop(outer))
    });
    Ok(scoped.collect())
}

/// `ansible_loop`: how far a loop is.
fn extended(all: &Value, index: usize) -> Value {
    let items = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let length = items.len();
    let mut told = serde_json::json!({
        "allitems": all, "length": length, "index": index + 1, "index0": index, "first": index == 0,
        "last": index + 1 == length, "revindex": length - index, "revindex0": length - index - 1,
    });
    let near = [("previtem", index.checked_sub(1)), ("nextitem", index.checked_add(1))];
    for (name, at) in near {
        if let (Some(map), Some(item)) = (told.as_object_mut(), at.and_then(|at| items.get(at))) {
            map.insert(name.to_owned(), item.clone());
        }
    }
    told
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

/// A role's arguments, as far as they are known; the run checks what is not.
fn check_inputs(step: &Arc<Step>, host: &mut HostLint<'_>, scope: &HostScope, diags: &mut Vec<Diagnostic>) {
    let Some(inputs) = &step.inputs else { return };
    let later = |node: &Node| {
        let mut words = BTreeSet::new();
        words_of(node, false, &mut words);
        // A password that nobody needs yet is not made, and no file is read that a task may write.
        ["lookup", "query", "q"].iter().any(|word| words.contains(*word))
            || host
                .binder
                .templates
                .render_value(node, &scope.shared())
                .is_err_and(|fault| fault.code == LATER)
    };
    let later_name = |name: &str| scope.foreseen(name).is_some();
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
