//! Carries out procedures: observe all hosts, take the next round, observe again.

use super::event::{Done, Event, Status};
use super::host::{Host, one_line, title_of};
use super::play::Crew;
use super::shared::Shared;
use super::unit::truth;
use crate::cluster::{Act, AnyProcedure, Member, Round};
use crate::diag::{Diagnostic, Fault};
use crate::modules::{Args, Change};
use crate::plan::{Binder, PlayPlan, Step, StepCall, framed, place};
use crate::shell::{Answers, Ask, Frame, Item, ItemReply, Output};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// Rounds after which a procedure is taken to go in circles.
const MOST_ROUNDS: usize = 2000;

impl Crew {
    /// Carries out a procedure over the hosts that came to it together.
    pub(super) async fn procedure(&mut self, _plan: &Arc<PlayPlan>, step: &Arc<Step>, together: &[String]) {
        let StepCall::Procedure(procedure) = step.call else { return };
        let started = Instant::now();
        let mut args = Vec::new();
        for name in together {
            match self.member_args(step, name) {
                Ok(Some(found)) => args.push((name.clone(), found)),
                Ok(None) => {}
                Err(diagnostics) => {
                    let shared = Arc::clone(&self.shared);
                    let Some(host) = self.hosts.get_mut(name) else { continue };
                    let mut diagnostics = diagnostics.into_iter();
                    if let Some(first) = diagnostics.next() {
                        host.fail_step(&shared, step, first);
                        host.diagnostics.extend(diagnostics);
                    }
                }
            }
        }
        let check = self.shared.options.check;
        let ended = self.rounds(procedure, step, &args, check).await;
        let names: Vec<String> = args.into_iter().map(|(name, _)| name).collect();
        self.conclude(step, &names, ended, started.elapsed());
        for name in together.iter().filter(|name| !names.contains(name)) {
            // Left out by its condition.
            if let Some(host) = self.hosts.get_mut(name).filter(|host| host.is_active()) {
                host.cursor.advance();
                host.stats.count(Status::Skipped);
            }
        }
    }

    pub(super) fn member_args(&self, step: &Arc<Step>, name: &str) -> Result<Option<Args>, Vec<Diagnostic>> {
        let (StepCall::Procedure(procedure), Some(host)) = (step.call, self.hosts.get(name)) else {
            return Ok(None);
        };
        let scope = host.scope_of(step, &host.cursor);
        if !host.conditions(&self.shared, step, &scope).map_err(|diagnostic| vec![diagnostic])? {
            return Ok(None);
        }
        let binder = Binder {
            library: &self.shared.library,
            templates: &self.shared.templates,
            site_dir: &self.shared.site_dir,
        };
        let args = binder.args(step, procedure.spec(), &scope.shared())?;
        Ok(Some(args.with_context(host.context_with_facts(self.shared.options.check))))
    }

    /// Rounds until the procedure is done, refuses, or an action fails.
    async fn rounds(
        &mut self,
        procedure: &'static dyn AnyProcedure,
        step: &Arc<Step>,
        args: &[(String, Args)],
        check: bool,
    ) -> Ended {
        let started = Instant::now();
        let mut ended = Ended::default();
        let mut said = String::new();
        for round in 0..MOST_ROUNDS {
            let members = match self.observe(procedure, args).await {
                Ok(members) => members,
                Err((host, fault)) => return ended.fault(host, fault),
            };
            if members.len() < args.len() {
                let lost = args
                    .iter()
                    .map(|(name, _)| name)
                    .find(|name| !members.iter().any(|member| member.host == **name));
                let fault = Fault::task("a host was lost on the way")
                    .hint("bring it back and run again: the procedure goes on from what it finds");
                return ended.fault(lost.cloned(), fault);
            }
            let next = match procedure.next(&members, round, started.elapsed().as_secs()) {
                Ok(next) => next,
                Err(fault) => return ended.fault(None, fault),
            };
            let Round { acts, waiting_for, notes, results } = next;
            for note in notes {
                if note != said {
                    self.shared.tell(Event::Note(note.clone()));
                    said = note;
                }
            }
            let acts = if check { self.with_followers(procedure, args, acts) } else { acts };
            if acts.is_empty() && waiting_for.is_none() {
                ended.results = results;
                return ended;
            }
            if check {
                // What is found now decides the first round only: the rest is known after it.
                ended.results = results;
                ended.acted.extend(acts);
                ended.announced = true;
                return ended;
            }
            if let Some(waiting) = waiting_for {
                if waiting != said {
                    self.shared.tell(Event::Note(format!("waiting for {waiting}")));
                    said = waiting;
                }
                if acts.is_empty() {
                    if self.shared.stop.interrupted() {
                        return ended.fault(None, Fault::task("stopped while waiting"));
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            for act in &acts {
                self.shared.tell(Event::Started { host: act.host.clone(), title: step.title() });
            }
            if let Some((host, fault)) = self.perform(&acts).await {
                ended.acted.extend(acts);
                return ended.fault(Some(host), fault);
            }
            ended.acted.extend(acts);
        }
        ended.fault(
            None,
            Fault::task("the procedure goes in circles").hint("please report it with the output of `-vv`"),
        )
    }

    /// In check mode: hosts where changes were announced that this procedure would carry out.
    fn with_followers(
        &self,
        procedure: &dyn AnyProcedure,
        args: &[(String, Args)],
        mut acts: Vec<Act>,
    ) -> Vec<Act> {
        for (name, _) in args {
            let follows = self
                .hosts
                .get(name)
                .is_some_and(|host| procedure.follows().iter().any(|module| host.pending.contains(module)));
            if follows && !acts.iter().any(|act| act.host == *name) {
                let why = "follow what is announced above".to_owned();
                acts.push(Act { host: name.clone(), why, changes: Vec::new(), actions: Vec::new() });
            }
        }
        acts
    }

    /// Asks every member its questions, side by side.
    pub(super) async fn observe(
        &mut self,
        procedure: &'static dyn AnyProcedure,
        args: &[(String, Args)],
    ) -> Result<Vec<Member>, (Option<String>, Fault)> {
        let mut wanted = BTreeMap::new();
        for (name, args) in args {
            let asks = procedure.probe(args).map_err(|fault| (Some(name.clone()), fault))?;
            wanted.insert(name.clone(), asks);
        }
        let (shared, wanted) = (Arc::clone(&self.shared), Arc::new(wanted));
        let asking = |mut host: Host| {
            let (shared, wanted) = (Arc::clone(&shared), Arc::clone(&wanted));
            async move {
                let answers = match wanted.get(&host.name) {
                    Some(asks) => host.answers(&shared, asks).await,
                    None => None,
                };
                (host, answers)
            }
        };
        let names: Vec<String> = args.iter().map(|(name, _)| name.clone()).collect();
        let mut found: BTreeMap<String, Answers> = self
            .side_by_side(&names, names.len(), asking)
            .await
            .into_iter()
            .filter_map(|(name, answers)| Some((name, answers?)))
            .collect();
        let member = |(name, args): &(String, Args)| {
            let answers = found.remove(name)?;
            Some(Member { host: name.clone(), args: args.clone(), answers })
        };
        Ok(args.iter().filter_map(member).collect())
    }

    /// Performs the acts of a round side by side; the first failure.
    async fn perform(&mut self, acts: &[Act]) -> Option<(String, Fault)> {
        let acts: Arc<BTreeMap<String, Act>> =
            Arc::new(acts.iter().map(|act| (act.host.clone(), act.clone())).collect());
        let shared = Arc::clone(&self.shared);
        let acting = |mut host: Host| {
            let (shared, acts) = (Arc::clone(&shared), Arc::clone(&acts));
            async move {
                let failed = match acts.get(&host.name) {
                    Some(act) => host.perform(&shared, act).await,
                    None => None,
                };
                (host, failed)
            }
        };
        let names: Vec<String> = acts.keys().cloned().collect();
        let done = self.side_by_side(&names, names.len(), acting).await;
        let broke = names.iter().find(|name| !done.iter().any(|(done, _)| done == *name)).cloned();
        let fault = || Fault::task("a fault of ishprov itself ended the work on this host");
        let failed = done.into_iter().find_map(|(name, failed)| Some((name, failed?)));
        failed.or_else(|| broke.map(|name| (name, fault())))
    }

    fn conclude(&mut self, step: &Arc<Step>, names: &[String], ended: Ended, took: Duration) {
        let shared = Arc::clone(&self.shared);
        let ignored = |host: &Host| {
            let node = step.keywords.ignore_errors.as_ref();
            node.and_then(|node| shared.templates.render_value(node, &host.scope.shared()).ok())
                .as_ref()
                .and_then(truth)
                .unwrap_or(false)
        };
        for name in names {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            let acts: Vec<&Act> = ended.acted.iter().filter(|act| act.host == *name).collect();
            let changes: Vec<Change> = acts.iter().flat_map(|act| act.changes.clone()).collect();
            let because = acts.iter().map(|act| act.why.clone()).collect::<Vec<_>>().join("; ");
            let mine = ended
                .results
                .iter()
                .find(|(host, _)| host == name)
                .map(|(_, result)| result.clone())
                .unwrap_or_default();
            if let Some(Value::Object(facts)) = mine.get("ansible_facts") {
                for (name, value) in facts {
                    host.scope.set(name, value.clone());
                }
            }
            let mut result: Map<String, Value> = mine;
            result.remove("ansible_facts");
            result.insert("changed".to_owned(), Value::Bool(!acts.is_empty()));
            result.insert("failed".to_owned(), Value::Bool(ended.failed.is_some()));
            if let Some(register) = &step.keywords.register {
                host.scope.set(&register.node, Value::Object(result.clone()));
            }
            if ended.announced && !acts.is_empty() {
                host.announced = true;
                host.pending.insert(step.call.name());
            }
            let blamed =
                |(blamed, _): &&(Option<String>, Fault)| blamed.as_ref().is_none_or(|blamed| blamed == name);
            let failure = ended
                .failed
                .as_ref()
                .filter(blamed)
                .map(|(_, fault)| place(step, fault.clone(), "procedure-failed"));
            let other = ended.failed.is_some() && failure.is_none();
            let mut status = match (&ended.failed, acts.is_empty()) {
                (Some(_), _) => Status::Failed,
                (None, false) => Status::Changed,
                (None, true) => Status::Ok,
            };
            let mut diagnostic = failure.map(|diagnostic| diagnostic.host(name.clone()));
            if other {
                let (blamed, _) = ended.failed.clone().unwrap_or((None, Fault::task("")));
                let message =
                    format!("`{}` could not go on: {} failed", step.title(), blamed.unwrap_or_default());
                diagnostic = Some(
                    framed(step, Diagnostic::error("procedure-stopped", message).at(step.span))
                        .host(name.clone()),
                );
            }
            if status == Status::Failed && ignored(host) {
                status = Status::Ignored;
            }
            let scope = host.scope_of(step, &host.cursor);
            let title = title_of(&shared, step, &scope);
            let at = host.cursor.position();
            host.last = Some(host.cursor.clone());
            // Whoever was lost on the way is told of already.
            if !host.is_active() {
                continue;
            }
            if status == Status::Failed {
                let fatal = host.is_fatal(&shared, step, &scope);
                status = host.fails(step, Value::Object(result.clone()), fatal);
                if status == Status::Failed {
                    host.diagnostics.extend(diagnostic.clone());
                }
            } else {
                host.cursor.advance();
            }
            host.stats.count(status);
            shared.tell(Event::Done(Box::new(Done {
                host: name.clone(),
                at,
                title,
                place: shared.library.map().locate(step.span).to_string(),
                module: step.call.name(),
                item: None,
                more: false,
                status,
                because: if because.is_empty() { result_text(&result) } else { because },
                changes,
                result: Value::Object(result),
                no_log: false,
                diagnostic,
                took,
            })));
        }
    }
}

fn result_text(result: &Map<String, Value>) -> String {
    result.get("msg").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// How a procedure ended.
#[derive(Debug, Default)]
struct Ended {
    acted: Vec<Act>,
    results: Vec<(String, Map<String, Value>)>,
    failed: Option<(Option<String>, Fault)>,
    announced: bool,
}

impl Ended {
    fn fault(mut self, host: Option<String>, fault: Fault) -> Self {
        self.failed = Some((host, fault));
        self
    }
}

impl Host {
    /// The answers to some questions; `None` when the host was lost.
    pub(super) async fn answers(&mut self, shared: &Shared, asks: &[Ask]) -> Option<Answers> {
        let remote: Vec<Ask> = asks.iter().filter(|ask| !matches!(ask, Ask::Local(_))).cloned().collect();
        let mut answers = Answers::new();
        if !remote.is_empty() {
            let replies = self.send(shared, Frame::probe(remote)).await?;
            if let Some(ItemReply::Answers(found)) = replies.into_iter().next() {
                answers = found;
            }
        }
        shared.local.answer(asks, &mut answers);
        Some(answers)
    }

    async fn perform(&mut self, shared: &Shared, act: &Act) -> Option<Fault> {
        let what = || format!("{} on {}", act.why, self.name);
        let what = what();
        if let Err(output) = shared.local.perform(&act.actions) {
            return Some(Fault::task(format!("{what} failed: {}", output.error_text())));
        }
        let seconds = shared.options.step_seconds;
        let item = Item::Act { actions: act.actions.clone(), seconds, go_on: false };
        let replies = self.send(shared, Frame { items: vec![item] }).await;
        let Some(replies) = replies else { return Some(Fault::task(format!("{what}: the host was lost"))) };
        match replies.into_iter().next() {
            Some(ItemReply::Acted { outputs, failed: true }) => {
                let output = outputs.last().cloned().unwrap_or_else(|| Output::failed(255, ""));
                let mut fault = Fault::task(format!("{what} failed with status {}", output.status));
                for (name, text) in [("stderr", output.error_text()), ("stdout", output.text())] {
                    if !text.trim().is_empty() {
                        fault = fault.note(format!("{name}: {}", text.trim_end()));
                    }
                }
                for change in &act.changes {
                    fault = fault.note(format!("it was to change {}", one_line(change)));
                }
                Some(fault)
            }
            _ => None,
        }
    }
}
