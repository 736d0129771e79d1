//! One host on its way through a play.
//!
//! Questions of all steps up to the next barrier travel together; when a step acts, what was read ahead behind it
//! is thrown away, and its actions, the check on them and the next few questions share one trip. What comes out is
//! always what one step at a time would give.

use super::event::{Done, Event, Stats, Status};
use super::shared::Shared;
use super::unit::{Ahead, Item, Unit, Work};
use crate::diag::{Diagnostic, Fault};
use crate::modules::{Call, Change, Decision, Nature};
use crate::plan::{Barrier, Cursor, HostScope, Landing, Next, Program, Step, framed, place};
use crate::playbook::{IncludeKind, Meta};
use crate::shell::{Action, Answers, Ask, Frame, Item as FrameItem, ItemReply, Output};
use crate::transport::{Endpoint, Session, Transport as _};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A host and everything known of it.
pub struct Host {
    /// Its name in the inventory.
    pub name: String,
    /// The connection.
    pub session: Option<Session>,
    /// How it was made.
    pub endpoint: Option<Endpoint>,
    /// Its variables.
    pub scope: HostScope,
    /// Where it stands.
    pub cursor: Cursor,
    /// How it is doing.
    pub state: State,
    /// The recap columns.
    pub stats: Stats,
    /// Failures, in full.
    pub diagnostics: Vec<Diagnostic>,
    /// Handlers to run, in the order notified.
    pub notified: Vec<String>,
    /// Tasks run as root unless they say otherwise.
    pub wants_root: bool,
    /// Account of `become`, when not root.
    pub become_user: Option<String>,
    /// Account logged in with.
    pub login_user: String,
    /// In check mode: something would have been changed, so that what follows may look different afterwards.
    pub announced: bool,
    /// Modules that announced a change in check mode.
    pub pending: BTreeSet<&'static str>,
    /// Barrier that this host has leave to pass.
    pub passed: Option<Vec<usize>>,
    /// Results of the loop under way.
    results: Vec<Value>,
}

/// How a host is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On its way.
    Active,
    /// Done with this play.
    Ended,
    /// Failed.
    Failed,
    /// Lost, or never reached.
    Unreachable,
}

/// What stops a host.
pub enum Halt {
    /// A step that hosts must come to together.
    Barrier(Arc<Step>),
    /// Tasks to take in, for the coordinator to compile.
    Include(Arc<Step>),
    /// Nothing more to do, or no way to go on.
    Over,
}

/// The next questions after an act: few at first, more while nothing acts.
const FIRST_WINDOW: usize = 1;

impl Host {
    /// A host that nothing is known of yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            session: None,
            endpoint: None,
            scope: HostScope::default(),
            cursor: Cursor::new(Arc::new(Program::default())),
            state: State::Active,
            stats: Stats::default(),
            diagnostics: Vec::new(),
            notified: Vec::new(),
            wants_root: false,
            become_user: None,
            login_user: String::new(),
            announced: false,
            pending: BTreeSet::new(),
            passed: None,
            results: Vec::new(),
        }
    }

    /// Whether it goes on.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Goes on until something stops it.
    pub async fn advance(&mut self, shared: &Shared) -> Halt {
        let mut queue: VecDeque<Unit> = VecDeque::new();
        let mut known: VecDeque<Answers> = VecDeque::new();
        let mut ahead = self.cursor.clone();
        let mut width = shared.options.window;
        loop {
            if !self.is_active() {
                return Halt::Over;
            }
            if shared.stop.is_set() {
                self.state = State::Ended;
                return Halt::Over;
            }
            if queue.is_empty() {
                known.clear();
                ahead = self.cursor.clone();
            }
            // The queue is filled as far as it can be: what cannot be made ready yet is tried again later.
            if queue.len() < width.max(1) {
                let room = shared.options.window.max(1).saturating_sub(queue.len()).max(1);
                if queue.is_empty() {
                    let (units, why) = self.prepare(shared, &mut ahead, room);
                    queue.extend(units);
                    if queue.is_empty() {
                        // What was read past (flushes without a notification, decided guards) lies behind the host:
                        // a barrier or an include is met where it stands.
                        self.cursor = ahead.clone();
                        match self.control(shared, why).await {
                            Some(halt) => return halt,
                            None => continue,
                        }
                    }
                }
            }
            if known.is_empty() {
                let count = width.clamp(1, queue.len());
                let Some(answers) = self.ask(shared, queue.iter().take(count)).await else { continue };
                known.extend(answers);
                width = width.saturating_mul(2).min(shared.options.window);
            }
            let (Some(unit), Some(answers)) = (queue.pop_front(), known.pop_front()) else { continue };
            let acted = self.take(shared, unit, answers, &mut queue, &mut known, &mut width).await;
            if acted == Flow::Elsewhere {
                queue.clear();
                known.clear();
            }
        }
    }

    /// Asks the questions of some units in one frame; one set of answers per unit. `None` when the host was lost.
    async fn ask<'a>(
        &mut self,
        shared: &Shared,
        units: impl Iterator<Item = &'a Unit>,
    ) -> Option<Vec<Answers>> {
        let asks: Vec<Vec<(Ask, Ask)>> = units.map(Unit::host_asks).collect();
        let sent: Vec<Ask> = asks.iter().flatten().map(|(_, sent)| sent.clone()).collect();
        if sent.is_empty() {
            return Some(asks.iter().map(|_| Answers::new()).collect());
        }
        let replies = self.send(shared, Frame::probe(sent)).await?;
        let all = answers_of(replies.into_iter().next());
        Some(asks.iter().map(|asks| pick(asks, &all)).collect())
    }

    /// Sends a frame; `None`, and the host is unreachable, when the connection broke.
    pub(super) async fn send(&mut self, shared: &Shared, frame: Frame) -> Option<Vec<ItemReply>> {
        let Some(session) = &mut self.session else {
            self.lose(shared, Diagnostic::error("unreachable", "there is no connection to this host"));
            return None;
        };
        let replies = tokio::select! {
            replies = session.frame(&frame) => replies,
            () = shared.stop.cut() => {
                // Without its stream the host's shell ends what it runs.
                self.session = None;
                self.state = State::Ended;
                return None;
            }
        };
        match replies {
            Ok(replies) => Some(replies),
            Err(error) => {
                self.session = None;
                self.lose(shared, super::connect::explain(&self.name, &error));
                None
            }
        }
    }

    /// Runs one step by itself, whatever barrier it is.
    pub(super) async fn single(&mut self, shared: &Shared, step: &Arc<Step>) {
        let mut cursor = self.cursor.clone();
        let units = self.units_of(shared, step, &mut cursor, &BTreeSet::new()).unwrap_or_default();
        for unit in units {
            let Some(answers) = self.ask(shared, std::iter::once(&unit)).await else { return };
            let answers = answers.into_iter().next().unwrap_or_default();
            let mut width = 1;
            let flow = self
                .take(shared, unit, answers, &mut VecDeque::new(), &mut VecDeque::new(), &mut width)
                .await;
            if flow == Flow::Elsewhere {
                return;
            }
        }
    }

    /// A failure was told already: goes where it leads.
    pub(super) fn landed(&mut self) {
        if self.cursor.fail() == Landing::Nowhere {
            self.state = State::Failed;
        }
    }

    fn lose(&mut self, shared: &Shared, diagnostic: Diagnostic) {
        self.state = State::Unreachable;
        self.stats.unreachable = 1;
        self.diagnostics.push(diagnostic.clone());
        shared.tell(Event::Unreachable { host: self.name.clone(), diagnostic });
    }

    /// Decides a unit on its answers and sees it through.
    async fn take(
        &mut self,
        shared: &Shared,
        mut unit: Unit,
        mut answers: Answers,
        queue: &mut VecDeque<Unit>,
        known: &mut VecDeque<Answers>,
        width: &mut usize,
    ) -> Flow {
        let started = Instant::now();
        if unit.undecided {
            match self.conditions(shared, &unit.step, &self.refreshed(&unit)) {
                Ok(true) => {}
                Ok(false) => unit.work = Work::Skip("its condition does not hold".to_owned()),
                Err(diagnostic) => unit.work = Work::Broken(vec![diagnostic]),
            }
        }
        match std::mem::replace(&mut unit.work, Work::Skip(String::new())) {
            Work::Skip(because) => self.finish(shared, &unit, Outcome::skipped(because), started.elapsed()),
            // What it reads may come from a task that check mode does not run.
            Work::Broken(diagnostics)
                if shared.options.check && self.announced && is_undefined(&diagnostics) =>
            {
                let because = "it reads the result of a task that --check does not run".to_owned();
                self.finish(shared, &unit, Outcome::skipped(because), started.elapsed())
            }
            Work::Broken(diagnostics) => {
                self.finish(shared, &unit, Outcome::broken(diagnostics), started.elapsed())
            }
            Work::Call(call) => {
                shared.local.answer(&call.probe(), &mut answers);
                self.call(shared, unit, call, answers, queue, known, width, started).await
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // the window's three parts travel together through one function
    async fn call(
        &mut self,
        shared: &Shared,
        unit: Unit,
        call: Box<dyn Call>,
        answers: Answers,
        queue: &mut VecDeque<Unit>,
        known: &mut VecDeque<Answers>,
        width: &mut usize,
        started: Instant,
    ) -> Flow {
        let mut answers = answers;
        let tries = Tries::of(shared, &unit);
        let mut attempt = 0;
        let (changes, actions) = loop {
            let decision = match call.decide(&answers) {
                Ok(decision) => decision,
                Err(fault) => {
                    let outcome = self.refused(&unit, call.as_ref(), fault);
                    return self.finish(shared, &unit, outcome, started.elapsed());
                }
            };
            let because = match decision {
                Decision::InState(because) => because,
                Decision::Act { changes, actions } => break (changes, actions),
            };
            let mut outcome = match call.result(&answers, &[]) {
                Ok(result) => Outcome::ok(because, result),
                Err(fault) => Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new()),
            };
            if tries.count == 1 || unit.check {
                return self.finish(shared, &unit, outcome, started.elapsed());
            }
            // A task that only looks, and `until` it sees what it waits for.
            attempt += 1;
            self.judge(shared, &unit, &mut outcome);
            let holds = self.until_holds(shared, &unit, &outcome);
            if holds || attempt >= tries.count {
                if !holds {
                    outcome.give_up(&unit.step, attempt);
                }
                outcome.result.insert("attempts".to_owned(), Value::from(attempt));
                return self.conclude(shared, &unit, outcome, started.elapsed());
            }
            tokio::time::sleep(tries.delay).await;
            let own = unit.asks_of(call.as_ref());
            let sent: Vec<Ask> = own.iter().map(|(_, sent)| sent.clone()).collect();
            answers = Answers::new();
            if !sent.is_empty() {
                let Some(replies) = self.send(shared, Frame::probe(sent)).await else {
                    return Flow::Elsewhere;
                };
                answers = pick(&own, &answers_of(replies.into_iter().next()));
            }
            shared.local.answer(&call.probe(), &mut answers);
        };
        if unit.check {
            let outcome = self.announce(call.as_ref(), &answers, changes);
            return self.finish(shared, &unit, outcome, started.elapsed());
        }
        if let Some(outcome) = self.leaks(shared, &unit, &actions) {
            return self.finish(shared, &unit, outcome, started.elapsed());
        }
        shared.tell(Event::Started { host: self.name.clone(), title: title(shared, &unit) });
        *width = FIRST_WINDOW.min(shared.options.window);
        known.clear();
        loop {
            attempt += 1;
            let outcome =
                self.act(shared, &unit, call.as_ref(), &actions, changes.clone(), queue, known, *width).await;
            let Some(mut outcome) = outcome else { return Flow::Elsewhere };
            self.judge(shared, &unit, &mut outcome);
            if attempt >= tries.count || self.until_holds(shared, &unit, &outcome) {
                if attempt >= tries.count && tries.count > 1 && !self.until_holds(shared, &unit, &outcome) {
                    outcome.give_up(&unit.step, attempt);
                }
                if tries.count > 1 {
                    outcome.result.insert("attempts".to_owned(), Value::from(attempt));
                }
                *width = width.saturating_mul(2).max(1).min(shared.options.window);
                return self.conclude(shared, &unit, outcome, started.elapsed());
            }
            known.clear();
            tokio::time::sleep(tries.delay).await;
        }
    }

    /// Performs a step's actions, checks on them, and asks for the next units in the same frame.
    #[allow(clippy::too_many_arguments)] // see `call`
    async fn act(
        &mut self,
        shared: &Shared,
        unit: &Unit,
        call: &dyn Call,
        actions: &[Action],
        changes: Vec<Change>,
        queue: &VecDeque<Unit>,
        known: &mut VecDeque<Answers>,
        width: usize,
    ) -> Option<Outcome> {
        let seconds = self.seconds(shared, unit);
        if let Err(output) = shared.local.perform(actions) {
            return Some(Outcome::of_output(&unit.step, call, actions, &[output], changes));
        }
        let mut dressed = unit.dress(actions.to_vec());
        let mut before = Vec::new();
        while let Some(at) = dressed.iter().position(|action| matches!(action, Action::Reconnect { .. })) {
            let rest = dressed.split_off(at);
            let outputs = match self
                .act_and_reconnect(shared, unit, call, &dressed, &rest[0], seconds, &changes)
                .await?
            {
                Ok(outputs) => outputs,
                Err(outcome) => return Some(*outcome),
            };
            before.extend(outputs);
            dressed = rest.into_iter().skip(1).collect();
        }
        let own = unit.asks_of(call);
        let ahead: Vec<Vec<(Ask, Ask)>> = match shared.options.window {
            1 => Vec::new(),
            _ => queue.iter().take(width).map(Unit::host_asks).collect(),
        };
        let verifies = call.verifies();
        let mut items = Vec::new();
        let last = dressed.clone();
        let remote = dressed.iter().any(|action| !matches!(action, Action::Local(_)));
        if remote {
            items.push(FrameItem::Act { actions: dressed, seconds, go_on: false });
        }
        if verifies && !own.is_empty() {
            items.push(FrameItem::Probe(own.iter().map(|(_, sent)| sent.clone()).collect()));
        }
        let questions: Vec<Ask> = ahead.iter().flatten().map(|(_, sent)| sent.clone()).collect();
        if !questions.is_empty() && unit.step.keywords.until.is_empty() {
            items.push(FrameItem::Probe(questions.clone()));
        }
        let mut replies = match items.is_empty() {
            true => Vec::new().into_iter(),
            false => self.send(shared, Frame { items }).await?.into_iter(),
        };
        let outputs = match remote.then(|| replies.next()).flatten() {
            Some(ItemReply::Acted { outputs, failed: true }) => {
                return Some(Outcome::of_output(&unit.step, call, &last, &outputs, changes));
            }
            Some(ItemReply::Acted { outputs, .. }) => outputs,
            _ => Vec::new(),
        };
        let outputs: Vec<Output> = before.into_iter().chain(outputs).collect();
        let mut answers = if verifies && !own.is_empty() {
            pick(&own, &answers_of(replies.next()))
        } else {
            Answers::new()
        };
        if !questions.is_empty() && unit.step.keywords.until.is_empty() {
            let all = answers_of(replies.next());
            known.extend(ahead.iter().map(|asks| pick(asks, &all)));
        }
        shared.local.answer(&call.probe(), &mut answers);
        Some(self.verified(unit, call, &answers, &outputs, changes, verifies))
    }

    /// Performs actions, then proves that a new connection still comes about.
    #[allow(clippy::too_many_arguments)] // see `call`
    async fn act_and_reconnect(
        &mut self,
        shared: &Shared,
        unit: &Unit,
        call: &dyn Call,
        actions: &[Action],
        reconnect: &Action,
        seconds: u64,
        changes: &[Change],
    ) -> Option<Result<Vec<Output>, Box<Outcome>>> {
        let item = FrameItem::Act { actions: actions.to_vec(), seconds, go_on: false };
        let outputs = match self.send(shared, Frame { items: vec![item] }).await?.into_iter().next() {
            Some(ItemReply::Acted { outputs, failed: false }) => outputs,
            Some(ItemReply::Acted { outputs, .. }) => {
                return Some(Err(Box::new(Outcome::of_output(
                    &unit.step,
                    call,
                    actions,
                    &outputs,
                    changes.to_vec(),
                ))));
            }
            _ => Vec::new(),
        };
        let Action::Reconnect { timeout } = reconnect else { return Some(Ok(outputs)) };
        match Self::prove_connection(self.endpoint.clone(), Duration::from_secs(*timeout)).await {
            Ok(()) => Some(Ok(outputs)),
            Err(diagnostic) => {
                let diagnostic = framed(&unit.step, diagnostic.at(unit.step.span));
                Some(Err(Box::new(Outcome {
                    changes: changes.to_vec(),
                    ..Outcome::failed(diagnostic, Map::new())
                })))
            }
        }
    }

    /// After acting, the wanted state must be found.
    fn verified(
        &self,
        unit: &Unit,
        call: &dyn Call,
        answers: &Answers,
        ran: &[Output],
        changes: Vec<Change>,
        verifies: bool,
    ) -> Outcome {
        if verifies {
            match call.decide(answers) {
                Ok(Decision::InState(_)) => {}
                Ok(Decision::Act { changes: left, .. }) => {
                    let message = format!(
                        "`{}` acted, and the host is still not in the state wanted",
                        unit.step.call.name()
                    );
                    let mut diagnostic =
                        framed(&unit.step, Diagnostic::error("not-converged", message).at(unit.step.span));
                    diagnostic
                        .notes
                        .extend(left.iter().map(|change| format!("still to change: {}", one_line(change))));
                    diagnostic.hints.push(
                        "something on the host undoes the change, or another task wants the opposite"
                            .to_owned(),
                    );
                    return Outcome { changes, ..Outcome::failed(diagnostic, Map::new()) };
                }
                Err(fault) => {
                    return Outcome {
                        changes,
                        ..Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new())
                    };
                }
            }
        }
        match call.result(answers, ran) {
            Ok(result) => Outcome { changes, ..Outcome::changed(result) },
            // A command asks nothing again: its result is made of what it printed.
            Err(_) if !verifies => Outcome { changes, ..Outcome::changed(Outcome::streams(ran)) },
            Err(fault) => {
                Outcome { changes, ..Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new()) }
            }
        }
    }

    fn seconds(&self, shared: &Shared, unit: &Unit) -> u64 {
        let own = unit
            .step
            .keywords
            .timeout
            .as_ref()
            .and_then(|node| shared.templates.render_value(node, &unit.scope.shared()).ok());
        own.and_then(|value| value.as_u64()).unwrap_or(shared.options.step_seconds)
    }

    /// Variables of a unit that was made ready before results it reads were known.
    fn refreshed(&self, unit: &Unit) -> HostScope {
        HostScope { runtime: Arc::clone(&self.scope.runtime), ..unit.scope.clone() }
    }

    /// A command whose words hold a secret would show it in the host's process list.
    fn leaks(&self, shared: &Shared, unit: &Unit, actions: &[Action]) -> Option<Outcome> {
        let masker = shared.library.masker();
        let leaks = actions.iter().any(|action| match action {
            Action::Run(run) => masker.finds(&run.script),
            _ => false,
        });
        leaks.then(|| {
            let message =
                "a secret would stand in the command line, where every account of the host can read it";
            let diagnostic = Diagnostic::error("secret-in-command", message).at(unit.step.span);
            Outcome::failed(
                framed(
                    &unit.step,
                    diagnostic
                        .hint("hand it over by `stdin`, or write it to a file with `copy` and mode 0600"),
                ),
                Map::new(),
            )
        })
    }

    /// In check mode a module may stumble over what an announced change would have brought.
    fn refused(&mut self, unit: &Unit, call: &dyn Call, fault: Fault) -> Outcome {
        if unit.check && self.announced && call.spec().nature != Nature::Controller {
            self.pending.insert(call.spec().name);
            let because = format!("known after the changes before it: {}", fault.message);
            return Outcome { because, ..Outcome::changed(Map::new()) };
        }
        Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new())
    }

    fn announce(&mut self, call: &dyn Call, answers: &Answers, changes: Vec<Change>) -> Outcome {
        self.announced = true;
        if call.spec().nature == Nature::Command {
            return Outcome::skipped("a command is not run in check mode".to_owned());
        }
        self.pending.insert(call.spec().name);
        let result = call.result(answers, &[]).unwrap_or_default();
        Outcome { changes, ..Outcome::changed(result) }
    }

    /// The engine's own operations between steps.
    async fn control(&mut self, shared: &Shared, why: Ahead) -> Option<Halt> {
        let next = match why {
            Ahead::Control(next) => next,
            Ahead::Wait => self.cursor.peek(),
        };
        match next {
            Next::Step(step) if step.barrier != Barrier::None && self.must_stop(&step, &self.cursor) => {
                return Some(Halt::Barrier(step));
            }
            Next::Step(_) => self.cursor.peek(),
            Next::Guard { step, to } => {
                let scope = self.scope_of(&step, &self.cursor);
                match self.conditions(shared, &step, &scope) {
                    Ok(true) => self.cursor.advance(),
                    Ok(false) => self.cursor.jump(to),
                    Err(diagnostic) => self.fail(shared, diagnostic, Status::Failed),
                }
                return None;
            }
            Next::Include(step)
                if matches!(step.call, crate::plan::StepCall::Include { kind: IncludeKind::Vars }) =>
            {
                self.include_vars(shared, &step);
                return None;
            }
            Next::Include(step) => return Some(Halt::Include(step)),
            Next::Flush => {
                self.cursor.advance();
                self.flush(shared);
                return None;
            }
            Next::Meta(step, meta) => {
                self.meta(shared, &step, meta);
                return None;
            }
            Next::End => {
                self.state = State::Ended;
                return Some(Halt::Over);
            }
            Next::Failed => {
                self.state = State::Failed;
                return Some(Halt::Over);
            }
        };
        None
    }

    /// Whether a step, met at a place that may lie ahead, holds this host back until the coordinator lets it pass.
    pub(super) fn must_stop(&self, step: &Step, at: &Cursor) -> bool {
        match step.barrier {
            Barrier::None => false,
            Barrier::Sync => self.passed.as_ref() != Some(&at.position()),
            Barrier::Once | Barrier::Delegate | Barrier::Procedure => true,
        }
    }

    fn meta(&mut self, shared: &Shared, step: &Arc<Step>, meta: Meta) {
        let scope = self.scope_of(step, &self.cursor);
        match self.conditions(shared, step, &scope) {
            Err(diagnostic) => return self.fail(shared, diagnostic, Status::Failed),
            Ok(false) => return self.cursor.advance(),
            Ok(true) => {}
        }
        self.cursor.advance();
        match meta {
            Meta::EndHost => self.state = State::Ended,
            Meta::EndPlay => shared.stop.end_play(),
            Meta::ClearHostErrors => self.stats.failed = 0,
            Meta::FlushHandlers | Meta::Noop | Meta::RefreshFacts => {}
        }
    }

    fn flush(&mut self, shared: &Shared) {
        let notified = std::mem::take(&mut self.notified);
        let handlers = shared.handlers.read().map(|handlers| handlers.clone()).unwrap_or_default();
        for (turn, handler) in handlers.iter().enumerate().rev() {
            if notified.iter().any(|name| handler.answers(name)) {
                self.cursor.call(Arc::clone(&handler.program), turn, None);
            }
        }
    }

    fn include_vars(&mut self, shared: &Shared, step: &Arc<Step>) {
        let scope = self.scope_of(step, &self.cursor);
        match self.conditions(shared, step, &scope).and_then(|holds| match holds {
            true => super::include::vars(shared, step, &scope).map(Some),
            false => Ok(None),
        }) {
            Ok(Some(layer)) => {
                let mut vars = (*self.scope.included).clone();
                vars.vars.extend(layer.vars.iter().map(|(name, node)| (name.clone(), Arc::clone(node))));
                self.scope.included = Arc::new(vars);
                self.cursor.advance();
                self.stats.count(Status::Ok);
            }
            Ok(None) => {
                self.cursor.advance();
                self.stats.count(Status::Skipped);
            }
            Err(diagnostic) => self.fail(shared, framed(step, diagnostic), Status::Failed),
        }
    }

    /// A failure outside a module call.
    pub(super) fn fail(&mut self, shared: &Shared, diagnostic: Diagnostic, status: Status) {
        self.stats.count(status);
        let diagnostic = diagnostic.host(self.name.clone());
        self.diagnostics.push(diagnostic.clone());
        shared.tell(Event::Note(format!("{}: {}", self.name, diagnostic.message)));
        self.landed();
    }
}

/// Whether a fault is nothing but a name without a value.
fn is_undefined(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|diagnostic| diagnostic.code == "undefined-variable")
}

/// Whether the queue may go on after a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// As planned.
    On,
    /// The host stands elsewhere now: what was made ready no longer follows.
    Elsewhere,
}

/// How often and how long to try.
struct Tries {
    count: usize,
    delay: Duration,
}

impl Tries {
    fn of(shared: &Shared, unit: &Unit) -> Self {
        let keywords = &unit.step.keywords;
        if keywords.until.is_empty() && keywords.retries.is_none() {
            return Self { count: 1, delay: Duration::ZERO };
        }
        let number = |node: &Option<crate::yaml::Node>, default: u64| {
            let value =
                node.as_ref().and_then(|node| shared.templates.render_value(node, &unit.scope.shared()).ok());
            value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(default)
        };
        // Ansible's defaults: 3 retries after the first try, 5 seconds apart.
        Self {
            count: number(&keywords.retries, 3) as usize + 1,
            delay: Duration::from_secs(number(&keywords.delay, 5)),
        }
    }
}

/// The answers of a probe item; nothing when it was not run.
fn answers_of(reply: Option<ItemReply>) -> Answers {
    match reply {
        Some(ItemReply::Answers(answers)) => answers,
        _ => Answers::new(),
    }
}

/// A unit's own answers, under the questions its module put.
fn pick(asks: &[(Ask, Ask)], all: &Answers) -> Answers {
    let mut own = Answers::new();
    for (ask, sent) in asks {
        if let Some(answer) = all.peek(sent) {
            own.insert(ask.clone(), answer.clone());
        }
    }
    own
}

/// A change in one line.
pub(super) fn one_line(change: &Change) -> String {
    match change {
        Change::Field { name, before, after } if before.is_empty() => format!("{name}: {after}"),
        Change::Field { name, before, after } => format!("{name}: {before} -> {after}"),
        Change::Text { name, .. } => format!("{name}: content"),
    }
}

/// A step's name with its templates filled in.
pub(super) fn title(shared: &Shared, unit: &Unit) -> String {
    title_of(shared, &unit.step, &unit.scope)
}

/// The same for a step that was not made ready.
pub(super) fn title_of(shared: &Shared, step: &Step, scope: &HostScope) -> String {
    let rendered =
        step.name.as_ref().and_then(|name| shared.templates.render_value(name, &scope.shared()).ok());
    let Some(Value::String(name)) = rendered else { return step.title() };
    match &step.role {
        Some(role) => format!("{} : {name}", role.name),
        None => name,
    }
}

pub(super) use super::outcome::Outcome;

/// Keeps the item of a loop beside a result.
pub(super) fn with_item(step: &Step, item: &Item, mut result: Map<String, Value>) -> Value {
    let var = step.keywords.r#loop.as_ref().map_or("item", |repeat| repeat.var.as_str());
    result.insert(var.to_owned(), item.value.clone());
    result.insert("ansible_loop_var".to_owned(), Value::from(var));
    Value::Object(result)
}

impl Host {
    /// Results of the loop under way.
    pub(super) fn loop_results(&mut self) -> &mut Vec<Value> {
        &mut self.results
    }

    /// Tells how a unit went.
    pub(super) fn tell_done(
        &self,
        shared: &Shared,
        unit: &Unit,
        outcome: &Outcome,
        status: Status,
        result: Value,
        took: Duration,
    ) {
        let done = Done {
            host: self.name.clone(),
            at: unit.at.position(),
            title: title(shared, unit),
            place: shared.library.map().locate(unit.step.span).to_string(),
            module: unit.step.call.name(),
            item: unit.item.as_ref().map(|item| item.label.clone()),
            more: unit.item.as_ref().is_some_and(|item| item.more),
            status,
            because: outcome.because.clone(),
            changes: outcome.changes.clone(),
            result,
            no_log: unit.no_log,
            diagnostic: outcome.diagnostic.clone(),
            took,
        };
        shared.tell(Event::Done(Box::new(done)));
    }
}
