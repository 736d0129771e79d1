//! Before anything is done on any host: steps that may refuse are asked whether they will.
//!
//! Their arguments are rendered as far as that is possible, all hosts of the play answer their questions in one frame,
//! and one refusal stops the run while every host is as it was. What cannot be known yet is left to the step itself.

use super::event::Event;
use super::host::Host;
use super::play::Crew;
use super::shared::Shared;
use super::unit::{Unit, Work};
use crate::cluster::AnyProcedure;
use crate::diag::Diagnostic;
use crate::modules::Call;
use crate::plan::{
    Barrier, Binder, Brought, Cursor, Op, PlayPlan, Program, Step, StepCall, framed, item_scopes, place,
};
use crate::shell::{Answers, Ask};
use std::sync::Arc;

/// A call of a step that may refuse, on one host.
struct Look {
    unit: Unit,
    call: Box<dyn Call>,
}

/// What a host came to.
#[derive(Default)]
struct Told {
    refused: Vec<Diagnostic>,
    /// Values of this run whose step cannot be asked yet.
    held: Vec<String>,
}

impl Crew {
    /// Whether something refuses what is found on a host of the play; it is told then, and nothing was touched.
    pub(super) async fn forbids(&mut self, plan: &Arc<PlayPlan>, hosts: &[String]) -> bool {
        let mut held = Vec::new();
        if plan.program.ops.iter().any(looks_ahead) {
            self.enlist(hosts);
            self.connect(plan, hosts).await;
            if self.is_held(hosts) {
                return true;
            }
            self.refresh_hostvars();
            let told = self.look(plan, hosts).await;
            let refused = told.iter().any(|(_, told)| !told.refused.is_empty());
            for (name, mut told) in told {
                held.append(&mut told.held);
                let Some(host) = self.hosts.get_mut(&name) else { continue };
                for diagnostic in told.refused {
                    host.give_up(&self.shared, diagnostic);
                }
            }
            if refused {
                let message = "refused before anything was done: every host is as it was";
                self.shared.tell(Event::Note(message.to_owned()));
                return true;
            }
        }
        match self.shared.templates.settle(&held) {
            Ok(()) => false,
            Err(why) => {
                let diagnostic = Diagnostic::error("password", why);
                for name in hosts {
                    let Some(host) = self.hosts.get_mut(name) else { continue };
                    host.give_up(&self.shared, diagnostic.clone());
                }
                self.shared.tell(Event::Note(diagnostic.message));
                true
            }
        }
    }

    /// Whether another run works on one of these hosts: then nothing is done on any of them.
    pub(super) fn is_held(&self, hosts: &[String]) -> bool {
        let held = hosts.iter().any(|name| self.hosts.get(name).is_some_and(|host| host.held));
        if held {
            let message = "another run is at work: nothing is done here, on no host";
            self.shared.tell(Event::Note(message.to_owned()));
        }
        held
    }

    async fn look(&mut self, plan: &Arc<PlayPlan>, hosts: &[String]) -> Vec<(String, Told)> {
        let active = |crew: &Self, name: &String| crew.hosts.get(name).is_some_and(Host::is_active);
        let hosts: Vec<String> = hosts.iter().filter(|name| active(self, name)).cloned().collect();
        let shared = Arc::clone(&self.shared);
        let looking = |mut host: Host| {
            let (shared, plan) = (Arc::clone(&shared), Arc::clone(plan));
            let first = hosts.first() == Some(&host.name);
            async move {
                let told = host.look(&shared, &plan.program, first).await;
                (host, told)
            }
        };
        let mut all = self.side_by_side(&hosts, hosts.len(), looking).await;
        all.sort_by_key(|(name, _)| hosts.iter().position(|host| host == name));
        for op in &plan.program.ops {
            let Op::Step(step) = op else { continue };
            if let StepCall::Procedure(procedure) = step.call
                && procedure.looks_ahead()
            {
                let refused = self.look_across(procedure, step, &hosts).await;
                for (name, told) in &mut all {
                    told.refused
                        .extend(refused.iter().map(|diagnostic| diagnostic.clone().host(name.clone())));
                }
            }
        }
        all
    }

    /// What a procedure says of what is found on all hosts together.
    async fn look_across(
        &mut self,
        procedure: &'static dyn AnyProcedure,
        step: &Arc<Step>,
        hosts: &[String],
    ) -> Option<Diagnostic> {
        let args = hosts.iter().filter_map(|name| {
            let host = self.hosts.get_mut(name)?;
            host.cursor = Cursor::new(Arc::new(Program::default()));
            Some((name.clone(), self.member_args(step, name).ok()??))
        });
        let args: Vec<_> = args.collect();
        let members = self.observe(procedure, &args).await.ok()?;
        if members.is_empty() || members.len() < args.len() {
            return None;
        }
        let fault = procedure.forbids(&members).err()?;
        Some(place(step, fault, "refused"))
    }
}

impl Host {
    /// Asks the steps of a program; `first` asks those that one host does for all, too.
    async fn look(&mut self, shared: &Shared, program: &Arc<Program>, first: bool) -> Told {
        let looks = self.looks(shared, program, first);
        let asks: Vec<(Ask, Ask)> =
            looks.iter().flat_map(|look| look.unit.asks_of(look.call.as_ref())).collect();
        let sent: Vec<Ask> = asks.iter().map(|(_, sent)| sent.clone()).collect();
        let mut told = Told::default();
        let Some(all) = self.answers(shared, &sent).await else { return told };
        for look in looks {
            let mut answers: Answers = super::host::pick(&look.unit.asks_of(look.call.as_ref()), &all);
            shared.local.answer(&look.call.probe(), &mut answers);
            match look.call.forbids(&answers) {
                Some(Ok(())) => {}
                Some(Err(fault)) => {
                    let mut diagnostic = place(&look.unit.step, fault, "refused");
                    // Items of a loop that are refused for the same reason are one refusal.
                    let same =
                        |one: &Diagnostic| one.span == diagnostic.span && one.message == diagnostic.message;
                    if told.refused.iter().any(same) {
                        continue;
                    }
                    if let Some(item) = &look.unit.item {
                        diagnostic = diagnostic.note(format!("item: {}", item.label));
                    }
                    told.refused.push(diagnostic);
                }
                None => told.held.extend(self.fresh_in(shared, &look.unit)),
            }
        }
        told
    }

    /// Calls that may refuse, as far as they can be made ready now: what reads what earlier steps bring is left out.
    fn looks(&self, shared: &Shared, program: &Arc<Program>, first: bool) -> Vec<Look> {
        let cursor = Cursor::new(Arc::clone(program));
        let (mut looks, mut pending) = (Vec::new(), Brought::default());
        let mut at = 0;
        while let Some(op) = program.ops.get(at) {
            at += 1;
            match op {
                Op::Guard { step, to } => {
                    let (scope, record) = self.scope_of(step, &cursor).recorded();
                    if matches!(self.conditions(shared, step, &scope), Ok(false)) && !record.meets(&pending) {
                        at = *to;
                    }
                }
                Op::Step(step) => {
                    let elsewhere = step.barrier == Barrier::Delegate
                        || (step.barrier == Barrier::Once && (!first || step.keywords.delegate_to.is_some()));
                    if matches!(step.call, StepCall::Module(module) if module.looks_ahead()) && !elsewhere {
                        looks.extend(self.looks_of(shared, step, &cursor, &pending));
                    }
                    pending.add(step);
                    pending = pending.without_facts();
                }
                _ => {}
            }
        }
        looks
    }

    fn looks_of(&self, shared: &Shared, step: &Arc<Step>, cursor: &Cursor, pending: &Brought) -> Vec<Look> {
        let (scope, record) = self.scope_of(step, cursor).recorded();
        let Ok(items) = item_scopes(&shared.templates, step, &scope) else { return Vec::new() };
        if record.meets(pending) {
            return Vec::new();
        }
        let looks = items.into_iter().filter_map(|(value, scope)| {
            let item = value.map(|value| super::unit::Item {
                label: self.label(shared, step, &value, &scope),
                value,
                more: false,
                first: true,
            });
            let places = (cursor.clone(), cursor.clone());
            let unit = self.unit(shared, step, places, scope, item, pending)?;
            let Work::Call(_) = &unit.work else { return None };
            // As in check mode: accounts and folders that tasks before it bring may be missing still.
            let scope = unit.scope.shared();
            let call = binder(shared).bind(step, &scope, self.context(true)).ok()?;
            Some(Look { unit, call })
        });
        looks.collect()
    }

    /// Arguments of a unit that hold a password which was made in this run.
    fn fresh_in(&self, shared: &Shared, unit: &Unit) -> Vec<String> {
        let StepCall::Module(module) = unit.step.call else { return Vec::new() };
        if !module.looks_ahead() {
            return Vec::new();
        }
        let binder = binder(shared);
        let Ok(args) = binder.args(&unit.step, module.spec(), &unit.scope.shared()) else {
            return Vec::new();
        };
        binder.fresh(&args).map(|(_, text)| text.to_owned()).collect()
    }

    /// A host is about to get what was made in this run: from now on it is kept.
    pub(super) fn keep_fresh(&self, shared: &Shared, unit: &Unit) -> Result<(), Diagnostic> {
        let fresh = self.fresh_in(shared, unit);
        fresh
            .iter()
            .try_for_each(|text| shared.templates.keep(text))
            .map_err(|why| framed(&unit.step, Diagnostic::error("password", why).at(unit.step.span)))
    }

    /// What was made in this run was refused: it is forgotten, so that the next run refuses it as well.
    pub(super) fn disown_fresh(&self, shared: &Shared, unit: &Unit) {
        self.fresh_in(shared, unit).iter().for_each(|text| shared.templates.disown(text));
    }
}

fn looks_ahead(op: &Op) -> bool {
    let Op::Step(step) = op else { return false };
    match step.call {
        StepCall::Module(module) => module.looks_ahead(),
        StepCall::Procedure(procedure) => procedure.looks_ahead(),
        StepCall::Include { .. } | StepCall::Meta | StepCall::Unknown => false,
    }
}

fn binder(shared: &Shared) -> Binder<'_> {
    Binder { library: &shared.library, templates: &shared.templates, site_dir: &shared.site_dir }
}
