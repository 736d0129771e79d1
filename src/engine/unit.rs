//! One step, or one item of its loop, made ready to be asked about.

use super::host::Host;
use super::shared::Shared;
use crate::diag::Diagnostic;
use crate::modules::Call;
use crate::plan::{
    Binder, Cursor, HostScope, Next, Step, argument_mentions, condition_mentions, framed, item_scopes,
    words_of,
};
use crate::playbook::Meta;
use crate::shell::{Action, Ask};
use crate::template::{Scope, Variable};
use crate::yaml::Kind;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A step made ready on a host.
pub(super) struct Unit {
    /// The step.
    pub step: Arc<Step>,
    /// Where the host stands with it: where a failure starts from.
    pub at: Cursor,
    /// Where the host goes on afterwards; the same place while items of the loop are left.
    pub after: Cursor,
    /// Its variables.
    pub scope: HostScope,
    /// The item of the loop.
    pub item: Option<Item>,
    /// Whether it is to run.
    pub work: Work,
    /// Conditions that read results of units before it in the queue.
    pub undecided: bool,
    /// Who it runs as, when not root.
    pub user: Option<String>,
    /// Extra environment.
    pub environment: Vec<(String, String)>,
    /// Show nothing of its result.
    pub no_log: bool,
    /// Only look, do not act.
    pub check: bool,
}

/// What there is to do.
pub(super) enum Work {
    /// Call a module.
    Call(Box<dyn Call>),
    /// Left out, because ...
    Skip(String),
    /// Its arguments or conditions are wrong.
    Broken(Vec<Diagnostic>),
}

/// An item of a loop.
#[derive(Clone)]
pub(super) struct Item {
    pub value: Value,
    pub label: String,
    pub more: bool,
    pub first: bool,
}

impl Unit {
    /// Questions to the host as the module put them, and as they are sent (with the account to run as).
    pub fn host_asks(&self) -> Vec<(Ask, Ask)> {
        match &self.work {
            Work::Call(call) => self.asks_of(call.as_ref()),
            Work::Skip(_) | Work::Broken(_) => Vec::new(),
        }
    }

    /// The same for a call that was taken out of the unit.
    pub fn asks_of(&self, call: &dyn Call) -> Vec<(Ask, Ask)> {
        let sent = |ask: &Ask| match ask {
            Ask::Sh { script, user: None } if self.user.is_some() => {
                Ask::Sh { script: script.clone(), user: self.user.clone() }
            }
            other => other.clone(),
        };
        call.probe()
            .into_iter()
            .filter(|ask| !matches!(ask, Ask::Local(_)))
            .map(|ask| (sent(&ask), ask))
            .map(|(sent, ask)| (ask, sent))
            .collect()
    }

    /// A module's actions as they are sent: account and environment filled in.
    pub fn dress(&self, actions: Vec<Action>) -> Vec<Action> {
        let dressed = actions.into_iter().map(|action| match action {
            Action::Run(mut run) => {
                run.user = run.user.or_else(|| self.user.clone());
                let mut environment = self.environment.clone();
                environment.append(&mut run.environment);
                run.environment = environment;
                Action::Run(run)
            }
            Action::Put(mut put) => {
                put.owner = put.owner.or_else(|| self.user.clone());
                Action::Put(put)
            }
            other => other,
        });
        dressed.collect()
    }

    /// Names that later units may read once this one is done.
    fn defines(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.step.keywords.register.iter().map(|name| name.node.clone()).collect();
        if self.step.call.name() == "set_fact" {
            names.extend(self.step.args.iter().map(|argument| argument.name.node.clone()));
            names.push("ansible_facts".to_owned());
        }
        names.extend(facts_of(self.step.call.name()).iter().map(|name| (*name).to_owned()));
        names
    }
}

/// The facts that a module brings; a star stands for any ending.
fn facts_of(module: &str) -> &'static [&'static str] {
    match module {
        "setup" | "gather_facts" => &["ansible_*"],
        "hostname" => &["ansible_facts", "ansible_hostname", "ansible_nodename"],
        "package_facts" => &["ansible_facts", "ansible_packages", "packages"],
        "service_facts" => &["ansible_facts", "ansible_services", "services"],
        "getent" => &["ansible_facts", "ansible_getent_*", "getent_*"],
        _ => &[],
    }
}

/// Whether a unit that is not done yet defines this name.
fn is_pending(word: &str, pending: &BTreeSet<String>) -> bool {
    let fits = |name: &String| name.strip_suffix('*').is_some_and(|start| word.starts_with(start));
    pending.contains(word) || pending.iter().any(fits)
}

/// Why no more units can be made ready.
pub(super) enum Ahead {
    /// The window is full, or what follows depends on units in the queue.
    Wait,
    /// Something other than a step comes next; only meaningful when the queue is empty.
    Control(Next),
}

impl Host {
    /// Makes units ready from `cursor` on, at most `limit`, without looking past anything undecided.
    pub(super) fn prepare(
        &mut self,
        shared: &Shared,
        cursor: &mut Cursor,
        limit: usize,
    ) -> (Vec<Unit>, Ahead) {
        let mut units: Vec<Unit> = Vec::new();
        let mut pending = BTreeSet::new();
        let mut notifies = !self.notified.is_empty();
        loop {
            if units.len() >= limit {
                return (units, Ahead::Wait);
            }
            match cursor.peek() {
                Next::Step(step) => {
                    if self.must_stop(&step, cursor) || (!step.keywords.until.is_empty() && !units.is_empty())
                    {
                        return (units, Ahead::Control(Next::Step(step)));
                    }
                    let Some(ready) = self.units_of(shared, &step, cursor, &pending) else {
                        return (units, Ahead::Wait);
                    };
                    notifies |= !step.keywords.notify.is_empty();
                    pending.extend(ready.iter().flat_map(Unit::defines));
                    let broken = ready.iter().any(|unit| matches!(unit.work, Work::Broken(_)));
                    let alone = !step.keywords.until.is_empty();
                    units.extend(ready);
                    if broken || alone {
                        return (units, Ahead::Wait);
                    }
                }
                Next::Guard { step, to } => {
                    if self.reads(&step, condition_mentions(&step), &pending) {
                        return (units, Ahead::Wait);
                    }
                    let scope = self.scope_of(&step, cursor);
                    match self.conditions(shared, &step, &scope) {
                        Ok(true) => cursor.advance(),
                        Ok(false) => cursor.jump(to),
                        Err(_) => return (units, Ahead::Control(Next::Guard { step, to })),
                    }
                }
                Next::Flush if !notifies => cursor.advance(),
                Next::Meta(_, Meta::Noop) => cursor.advance(),
                other => return (units, Ahead::Control(other)),
            }
        }
    }

    /// The units of one step: one, or one per item. `None` when it cannot be made ready before `pending` is known.
    pub(super) fn units_of(
        &mut self,
        shared: &Shared,
        step: &Arc<Step>,
        cursor: &mut Cursor,
        pending: &BTreeSet<String>,
    ) -> Option<Vec<Unit>> {
        if self.reads(step, argument_mentions(step), pending) {
            return None;
        }
        let undecided = self.reads(step, condition_mentions(step), pending);
        let mut after = cursor.clone();
        after.advance();
        let scope = self.scope_of(step, cursor);
        let at = cursor.clone();
        let broken = |diags: Vec<Diagnostic>, scope: &HostScope, after: &Cursor| {
            Some(vec![Unit::plain(step, (at.clone(), after.clone()), scope.clone(), Work::Broken(diags))])
        };
        // A loop's items may read what the condition guards.
        if step.keywords.r#loop.is_some() && !undecided && !self.loop_condition_reads_item(step) {
            match self.conditions(shared, step, &scope) {
                Ok(true) => {}
                Ok(false) => {
                    *cursor = after.clone();
                    return Some(vec![Unit::plain(
                        step,
                        (at.clone(), after),
                        scope,
                        Work::Skip("its condition does not hold".to_owned()),
                    )]);
                }
                Err(diagnostic) => return broken(vec![diagnostic], &scope, &after),
            }
        }
        let items = match item_scopes(&shared.templates, step, &scope) {
            Ok(items) => items,
            Err(_) if undecided => return None,
            Err(diagnostic) => return broken(vec![framed(step, diagnostic)], &scope, &after),
        };
        if items.is_empty() {
            *cursor = after.clone();
            return Some(vec![Unit::plain(
                step,
                (at.clone(), after),
                scope,
                Work::Skip("the loop has no items".to_owned()),
            )]);
        }
        let count = items.len();
        let mut units = Vec::new();
        for (index, (value, scope)) in items.into_iter().enumerate() {
            let item = value.map(|value| Item {
                label: self.label(shared, step, &value, &scope),
                value,
                more: index + 1 < count,
                first: index == 0,
            });
            let unit = self.unit(shared, step, (at.clone(), after.clone()), scope, item, undecided);
            if undecided && matches!(unit.work, Work::Broken(_)) {
                return None;
            }
            units.push(unit);
        }
        *cursor = after;
        Some(units)
    }

    /// One unit with its own variables; conditions are asked unless they read something undecided.
    pub(super) fn unit(
        &self,
        shared: &Shared,
        step: &Arc<Step>,
        places: (Cursor, Cursor),
        scope: HostScope,
        item: Option<Item>,
        undecided: bool,
    ) -> Unit {
        let mut unit =
            Unit { item, undecided, ..Unit::plain(step, places, scope, Work::Skip(String::new())) };
        if !undecided {
            match self.conditions(shared, step, &unit.scope) {
                Ok(true) => {}
                Ok(false) => {
                    unit.work = Work::Skip("its condition does not hold".to_owned());
                    return unit;
                }
                Err(diagnostic) => {
                    unit.work = Work::Broken(vec![diagnostic]);
                    return unit;
                }
            }
        }
        unit.work = match self.dressed(shared, &mut unit) {
            Ok(call) => Work::Call(call),
            Err(diagnostics) => Work::Broken(diagnostics),
        };
        unit
    }

    /// Renders the keywords that say how to run, and binds the module.
    fn dressed(&self, shared: &Shared, unit: &mut Unit) -> Result<Box<dyn Call>, Vec<Diagnostic>> {
        let step = Arc::clone(&unit.step);
        let scope = unit.scope.shared();
        let one = |diagnostic: Diagnostic| vec![framed(&step, diagnostic)];
        let render = |node: &crate::yaml::Node| shared.templates.render_value(node, &scope).map_err(one);
        let switch = |node: &Option<crate::yaml::Node>| -> Result<Option<bool>, Vec<Diagnostic>> {
            let Some(node) = node else { return Ok(None) };
            truth(&render(node)?).map(Some).ok_or_else(|| {
                one(Diagnostic::error("wrong-type", "this keyword takes true or false").at(node.span))
            })
        };
        unit.no_log = switch(&step.keywords.no_log)?.unwrap_or(false);
        unit.check = switch(&step.keywords.check_mode)?.unwrap_or(shared.options.check);
        let privileged = switch(&step.keywords.r#become)?.unwrap_or(self.wants_root);
        if privileged {
            let user = match &step.keywords.become_user {
                Some(node) => render(node)?.as_str().map(str::to_owned),
                None => self.become_user.clone(),
            };
            unit.user = user.filter(|user| user != "root");
        } else {
            unit.user = Some(self.login_user.clone()).filter(|user| user != "root" && !user.is_empty());
        }
        for node in &step.keywords.environment {
            let Value::Object(map) = render(node)? else {
                return Err(one(
                    Diagnostic::error("wrong-type", "`environment` takes a mapping").at(node.span)
                ));
            };
            unit.environment.extend(map.into_iter().map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (name, text)
            }));
        }
        let binder =
            Binder { library: &shared.library, templates: &shared.templates, site_dir: &shared.site_dir };
        binder.bind(&step, &scope, self.context(unit.check))
    }

    /// What modules may know of the host besides their arguments.
    pub(super) fn context(&self, check: bool) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert("check_mode".to_owned(), Value::Bool(check));
        context.insert("inventory_hostname".to_owned(), Value::from(self.name.clone()));
        if let Some(facts) = self.scope.facts.get("ansible_facts") {
            context.insert("ansible_facts".to_owned(), (**facts).clone());
        }
        context
    }

    /// Whether all conditions of a step hold.
    pub(super) fn conditions(
        &self,
        shared: &Shared,
        step: &Step,
        scope: &HostScope,
    ) -> Result<bool, Diagnostic> {
        let scope = scope.shared();
        for condition in &step.keywords.when {
            if !shared
                .templates
                .condition(condition, &scope)
                .map_err(|diagnostic| framed(step, diagnostic))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The variables a step sees.
    pub(super) fn scope_of(&self, step: &Step, cursor: &Cursor) -> HostScope {
        let mut scope = self.scope.for_layers(&step.layers);
        let mut vars = crate::plan::Values::new();
        cursor.loop_vars().for_each(|outer| {
            vars.extend(outer.iter().map(|(name, value)| (name.clone(), Arc::clone(value))))
        });
        if !vars.is_empty() {
            scope = scope.with_loop(vars);
        }
        if let Some(role) = &step.role {
            scope.set_magic("role_path", Value::from(role.path.clone()));
            scope.set_magic("role_name", Value::from(role.name.clone()));
        }
        scope
    }

    fn label(&self, shared: &Shared, step: &Step, value: &Value, scope: &HostScope) -> String {
        let label = step.keywords.r#loop.as_ref().and_then(|repeat| repeat.label.as_ref());
        let rendered = label.and_then(|label| shared.templates.render_value(label, &scope.shared()).ok());
        match rendered.as_ref().unwrap_or(value) {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// Whether a step's words lead to a pending name, over play, role and inventory variables.
    fn reads(&self, step: &Step, words: BTreeSet<String>, pending: &BTreeSet<String>) -> bool {
        if pending.is_empty() {
            return false;
        }
        let scope = self.scope.for_layers(&step.layers);
        let mut seen = words.clone();
        let mut open: Vec<String> = words.into_iter().collect();
        while let Some(word) = open.pop() {
            if is_pending(&word, pending) {
                return true;
            }
            let Some(Variable::Node(node)) = scope.get(&word) else { continue };
            let mut found = BTreeSet::new();
            words_of(&node, false, &mut found);
            open.extend(found.into_iter().filter(|word| seen.insert(word.clone())));
        }
        false
    }

    fn loop_condition_reads_item(&self, step: &Step) -> bool {
        let Some(repeat) = &step.keywords.r#loop else { return false };
        let words = condition_mentions(step);
        words.contains(&repeat.var) || repeat.index_var.as_ref().is_some_and(|name| words.contains(name))
    }
}

impl Unit {
    fn plain(step: &Arc<Step>, (at, after): (Cursor, Cursor), scope: HostScope, work: Work) -> Self {
        Self {
            step: Arc::clone(step),
            at,
            after,
            scope,
            item: None,
            work,
            undecided: false,
            user: None,
            environment: Vec::new(),
            no_log: matches!(step.keywords.no_log.as_ref().map(|node| &node.kind), Some(Kind::Bool(true))),
            check: false,
        }
    }
}

/// A value as a switch.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Some(true),
            "no" | "false" | "off" | "0" | "" => Some(false),
            _ => None,
        },
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        _ => None,
    }
}
