//! One step, or one item of its loop, made ready to be asked about.

use super::host::Host;
use super::shared::Shared;
use crate::diag::Diagnostic;
use crate::modules::Call;
use crate::plan::{
    Barrier, Binder, Brought, Crossing, Cursor, HostScope, Next, Record, Step, Values, framed, item_label,
    item_scopes,
};
use crate::playbook::Meta;
use crate::shell::{Action, Ask};
use crate::yaml::Kind;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    /// Made ready only to know its questions: its conditions read results of units before it in the queue.
    pub guessed: bool,
    /// What it was made of.
    pub made_of: Vec<Basis>,
    /// How often something had acted when it was made ready: files of this machine may have changed since.
    pub acted: usize,
    /// Who it runs as, when not root.
    pub user: Option<String>,
    /// Extra environment.
    pub environment: Vec<(String, String)>,
    /// Show nothing of its result.
    pub no_log: bool,
    /// Only look, do not act.
    pub check: bool,
}

/// What was read when something was decided for a host, and from where.
#[derive(Clone)]
pub(super) struct Basis {
    step: Arc<Step>,
    at: Cursor,
    loop_vars: Arc<Values>,
    record: Arc<Record>,
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
        call.probe()
            .into_iter()
            .filter(|ask| !matches!(ask, Ask::Local(_)))
            .map(|ask| (ask.clone(), ask.by(self.user.as_deref())))
            .collect()
    }

    /// A module's actions as they are sent: account and environment filled in.
    pub fn dress(&self, actions: Vec<Action>) -> Vec<Action> {
        let dressed = actions.into_iter().map(|action| match action.by(self.user.as_deref()) {
            Action::Run(mut run) => {
                let mut environment = self.environment.clone();
                environment.append(&mut run.environment);
                run.environment = environment;
                Action::Run(run)
            }
            action @ (Action::Put(_) | Action::Local(_) | Action::Reconnect { .. }) => action,
        });
        dressed.collect()
    }
}

/// Why no more units can be made ready.
pub(super) enum Ahead {
    /// The window is full, or what follows depends on units in the queue.
    Wait,
    /// Something other than a step comes next; only meaningful when the queue is empty.
    Control(Next),
    /// What comes next looks at other hosts, which must come here first; likewise.
    Meet(Arc<Step>),
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
        let mut pending = Brought::default();
        let mut notifies = !self.notified.is_empty() || !self.called.is_empty();
        // Decisions on the way to the next unit.
        let mut way: Vec<Basis> = Vec::new();
        loop {
            if units.len() >= limit {
                return (units, Ahead::Wait);
            }
            match cursor.peek() {
                Next::Step(step) => {
                    let alone = !step.keywords.until.is_empty() || step.keywords.retries.is_some();
                    if self.must_stop(&step, cursor) || (alone && !units.is_empty()) {
                        return (units, Ahead::Control(Next::Step(step)));
                    }
                    let before = cursor.clone();
                    let Some(mut ready) = self.units_of(shared, &step, cursor, &pending) else {
                        return (units, Ahead::Wait);
                    };
                    if ready.iter().flat_map(|unit| &unit.made_of).any(|basis| self.crosses(basis)) {
                        *cursor = before;
                        return (units, Ahead::Meet(step));
                    }
                    notifies |= !step.keywords.notify.is_empty();
                    pending.add(&step);
                    let broken = ready.iter().any(|unit| matches!(unit.work, Work::Broken(_)));
                    if let Some(first) = ready.first_mut() {
                        first.made_of.append(&mut way);
                    }
                    units.extend(ready);
                    if broken || alone {
                        return (units, Ahead::Wait);
                    }
                }
                Next::Guard { step, to } => {
                    if self.must_stop(&step, cursor) {
                        return (units, Ahead::Meet(step));
                    }
                    let (scope, record) = self.scope_of(&step, cursor).recorded();
                    let holds = self.conditions(shared, &step, &scope);
                    if record.meets(&pending) {
                        return (units, Ahead::Wait);
                    }
                    let basis = Basis::new(&step, cursor, &scope, record);
                    if self.crosses(&basis) {
                        return (units, Ahead::Meet(step));
                    }
                    way.push(basis);
                    match holds {
                        Ok(true) if !step.faults.is_empty() => {
                            return (units, Ahead::Control(Next::Guard { step, to }));
                        }
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

    /// Whether something was decided on what other hosts are at the moment, although nothing in the step's text told
    /// so and the hosts did not wait for each other.
    fn crosses(&self, basis: &Basis) -> bool {
        let Basis { step, at, record, .. } = basis;
        step.barrier == Barrier::None
            && step.crossing == Crossing::Nothing
            && self.passed.as_ref() != Some(&at.position())
            && record.looks_across()
    }

    /// Whether what a unit was made of is still so. Its variables are then as they are now.
    pub(super) fn holds(&self, shared: &Shared, unit: &Unit) -> bool {
        let holds = |basis: &Basis| {
            let scope = self.scope_of(&basis.step, &basis.at);
            let scope = HostScope { loop_vars: Arc::clone(&basis.loop_vars), ..scope };
            basis.record.holds(&scope)
        };
        !unit.guessed && unit.acted == shared.acted.load(Ordering::SeqCst) && unit.made_of.iter().all(holds)
    }

    /// An item of a loop under way, made ready again: the items stay what they were when the loop began.
    pub(super) fn again(&self, shared: &Shared, unit: &Unit) -> Unit {
        let scope = self.scope_of(&unit.step, &unit.at);
        let scope = HostScope { loop_vars: Arc::clone(&unit.scope.loop_vars), ..scope };
        let places = (unit.at.clone(), unit.after.clone());
        self.unit(shared, &unit.step, places, scope, unit.item.clone(), &Brought::default())
            .unwrap_or_else(|| unit.broken_off())
    }

    /// The units of one step: one, or one per item. `None` when it cannot be made ready before what is `pending` is
    /// known.
    pub(super) fn units_of(
        &mut self,
        shared: &Shared,
        step: &Arc<Step>,
        cursor: &mut Cursor,
        pending: &Brought,
    ) -> Option<Vec<Unit>> {
        let mut after = cursor.clone();
        after.advance();
        let at = cursor.clone();
        let places = || (at.clone(), after.clone());
        let acted = shared.acted.load(Ordering::SeqCst);
        let plain = self.scope_of(step, cursor);
        let mut made_of = Vec::new();
        let mut guessed = false;
        let single = |work: Work, made_of: Vec<Basis>| {
            let unit = Unit { made_of, acted, ..Unit::plain(step, places(), plain.clone(), work) };
            Some(vec![unit])
        };
        // A loop's items may read what the condition guards.
        if let Some(repeat) = &step.keywords.r#loop {
            let (scope, record) = plain.recorded();
            let decided = self.conditions(shared, step, &scope);
            let of_item = |name: &str| {
                repeat.var == name
                    || repeat.index_var.as_deref() == Some(name)
                    || ["ansible_loop", "ansible_loop_var"].contains(&name)
            };
            if record.meets(pending) {
                guessed = true;
            } else if !record.any(of_item) {
                made_of.push(Basis::new(step, &at, &scope, record));
                match decided {
                    Ok(true) => {}
                    Ok(false) => {
                        *cursor = after.clone();
                        return single(Work::Skip("its condition does not hold".to_owned()), made_of);
                    }
                    Err(diagnostic) => return single(Work::Broken(vec![diagnostic]), made_of),
                }
            }
        }
        let (scope, record) = plain.recorded();
        let items = item_scopes(&shared.templates, step, &scope);
        if record.meets(pending) {
            return None;
        }
        made_of.push(Basis::new(step, &at, &scope, record));
        let items = match items {
            Ok(items) => items,
            Err(_) if guessed => return None,
            Err(diagnostic) => {
                // Items that cannot be had are not needed where a condition says so without them.
                let (scope, record) = plain.recorded();
                let decided = self.conditions(shared, step, &scope);
                if record.meets(pending) {
                    return None;
                }
                made_of.push(Basis::new(step, &at, &scope, record));
                if decided == Ok(false) {
                    *cursor = after.clone();
                    return single(Work::Skip("its condition does not hold".to_owned()), made_of);
                }
                return single(Work::Broken(vec![framed(step, diagnostic)]), made_of);
            }
        };
        if items.is_empty() {
            *cursor = after.clone();
            return single(Work::Skip("the loop has no items".to_owned()), made_of);
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
            let mut unit = self.unit(shared, step, places(), scope, item, pending)?;
            unit.guessed |= guessed;
            if unit.guessed && matches!(unit.work, Work::Broken(_)) {
                return None;
            }
            unit.made_of.append(&mut made_of);
            units.push(unit);
        }
        *cursor = after;
        Some(units)
    }

    /// One unit with its own variables. What its conditions decide is left open where they read what is `pending`;
    /// `None` where its arguments do.
    pub(super) fn unit(
        &self,
        shared: &Shared,
        step: &Arc<Step>,
        places: (Cursor, Cursor),
        scope: HostScope,
        item: Option<Item>,
        pending: &Brought,
    ) -> Option<Unit> {
        let acted = shared.acted.load(Ordering::SeqCst);
        let (scope, record) = scope.recorded();
        let mut unit =
            Unit { item, acted, ..Unit::plain(step, places, scope.clone(), Work::Skip(String::new())) };
        let decided = self.conditions(shared, step, &unit.scope);
        unit.guessed = record.meets(pending);
        unit.made_of.push(Basis::new(step, &unit.at, &scope, record));
        unit.work = match decided {
            Ok(false) if !unit.guessed => Work::Skip("its condition does not hold".to_owned()),
            Err(diagnostic) if !unit.guessed => Work::Broken(vec![diagnostic]),
            _ => {
                let (scope, record) = scope.recorded();
                unit.scope = scope.clone();
                let call = self.dressed(shared, &mut unit);
                if record.meets(pending) {
                    return None;
                }
                unit.made_of.push(Basis::new(step, &unit.at, &scope, record));
                match call {
                    Ok(call) => Work::Call(call),
                    Err(diagnostics) => Work::Broken(diagnostics),
                }
            }
        };
        unit.scope.record = None;
        Some(unit)
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

    /// What modules may know of the host besides their arguments. Facts are not among it: they change on the way, and
    /// what a unit was made of is known by what its texts asked for.
    pub(super) fn context(&self, check: bool) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert("check_mode".to_owned(), Value::Bool(check));
        context.insert("inventory_hostname".to_owned(), Value::from(self.name.clone()));
        context
    }

    /// The same for procedures, which are met at a barrier.
    pub(super) fn context_with_facts(&self, check: bool) -> Map<String, Value> {
        let mut context = self.context(check);
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

    pub(super) fn label(&self, shared: &Shared, step: &Step, value: &Value, scope: &HostScope) -> String {
        item_label(&shared.templates, step, value, scope)
    }
}

impl Basis {
    fn new(step: &Arc<Step>, at: &Cursor, scope: &HostScope, record: Arc<Record>) -> Self {
        Self { step: Arc::clone(step), at: at.clone(), loop_vars: Arc::clone(&scope.loop_vars), record }
    }
}

impl Unit {
    /// Stands for a unit that could not be made ready although nothing is pending.
    fn broken_off(&self) -> Self {
        let diagnostic =
            Diagnostic::error("internal", "a task waits for what nothing brings").at(self.step.span);
        let places = (self.at.clone(), self.after.clone());
        let work = Work::Broken(vec![framed(&self.step, diagnostic)]);
        Self { item: self.item.clone(), ..Self::plain(&self.step, places, self.scope.clone(), work) }
    }

    fn plain(step: &Arc<Step>, (at, after): (Cursor, Cursor), scope: HostScope, work: Work) -> Self {
        Self {
            step: Arc::clone(step),
            at,
            after,
            scope,
            item: None,
            work,
            guessed: false,
            made_of: Vec::new(),
            acted: 0,
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
