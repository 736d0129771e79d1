//! One step on one host: decided on its answers, carried out, and checked.

use super::super::event::Event;
use super::super::shared::Shared;
use super::super::unit::{Unit, Work};
use super::{Flow, Host, Outcome, Window, one_line, title};
use crate::diag::{Diagnostic, Fault};
use crate::modules::{Call, Change, Decision, Nature, find};
use crate::plan::{HostScope, framed, place};
use crate::shell::{Action, Answers, Ask, Frame, Item as FrameItem, ItemReply, Output};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Host {
    /// Decides a unit on its answers and sees it through.
    pub(super) async fn take(
        &mut self,
        shared: &Shared,
        mut unit: Unit,
        mut answers: Answers,
        window: &mut Window,
    ) -> Flow {
        let started = Instant::now();
        unit.scope = self.scope_now(&unit);
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
                self.tell_skew(shared, &unit.step);
                shared.local.answer(&call.probe(), &mut answers);
                self.call(shared, unit, call, answers, window, started).await
            }
        }
    }

    async fn call(
        &mut self,
        shared: &Shared,
        unit: Unit,
        call: Box<dyn Call>,
        answers: Answers,
        window: &mut Window,
        started: Instant,
    ) -> Flow {
        let mut answers = answers;
        let tries = Tries::of(shared, &unit);
        let mut attempt = 0;
        let (mut changes, mut actions) = loop {
            let decision = match call.decide(&answers) {
                Ok(decision) => decision,
                Err(fault) => {
                    self.disown_fresh(shared, &unit);
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
            let Some(again) = self.ask_again(shared, &unit, call.as_ref()).await else {
                return Flow::Elsewhere;
            };
            answers = again;
        };
        if unit.check {
            let outcome = self.announce(call.as_ref(), &answers, changes);
            return self.finish(shared, &unit, outcome, started.elapsed());
        }
        if let Some(outcome) = self.leaks(shared, &unit, &actions) {
            return self.finish(shared, &unit, outcome, started.elapsed());
        }
        if let Err(diagnostic) = self.keep_fresh(shared, &unit) {
            return self.finish(shared, &unit, Outcome::failed(diagnostic, Map::new()), started.elapsed());
        }
        shared.tell(Event::Started { host: self.name.clone(), title: title(shared, &unit) });
        window.forget();
        let mut overtaken = 0;
        loop {
            let outcome = self.act(shared, &unit, call.as_ref(), &actions, changes.clone(), window).await;
            let Some(mut outcome) = outcome else { return Flow::Elsewhere };
            if outcome.overtaken && overtaken < MOST_OVERTAKEN {
                overtaken += 1;
                window.forget();
                tokio::time::sleep(self.patience(overtaken)).await;
                let Some(again) = self.ask_again(shared, &unit, call.as_ref()).await else {
                    return Flow::Elsewhere;
                };
                match call.decide(&again) {
                    Ok(Decision::Act { changes: left, actions: anew }) => {
                        if let Some(outcome) = self.leaks(shared, &unit, &anew) {
                            return self.finish(shared, &unit, outcome, started.elapsed());
                        }
                        (changes, actions) = (left, anew);
                        continue;
                    }
                    Ok(Decision::InState(because)) => {
                        outcome = Outcome::ok(because, call.result(&again, &[]).unwrap_or_default());
                    }
                    Err(fault) => outcome = self.refused(&unit, call.as_ref(), fault),
                }
            }
            attempt += 1;
            self.judge(shared, &unit, &mut outcome);
            if attempt >= tries.count || self.until_holds(shared, &unit, &outcome) {
                if attempt >= tries.count && tries.count > 1 && !self.until_holds(shared, &unit, &outcome) {
                    outcome.give_up(&unit.step, attempt);
                }
                if tries.count > 1 {
                    outcome.result.insert("attempts".to_owned(), Value::from(attempt));
                }
                window.widen(window.width);
                return self.conclude(shared, &unit, outcome, started.elapsed());
            }
            window.forget();
            tokio::time::sleep(tries.delay).await;
        }
    }

    /// A unit's answers as they are now.
    async fn ask_again(&mut self, shared: &Shared, unit: &Unit, call: &dyn Call) -> Option<Answers> {
        let own = unit.asks_of(call);
        let sent: Vec<Ask> = own.iter().map(|(_, sent)| sent.clone()).collect();
        let mut answers = Answers::new();
        if !sent.is_empty() {
            let replies = self.send(shared, Frame::probe(sent)).await?;
            answers = pick(&own, &answers_of(replies.into_iter().next()));
        }
        shared.local.answer(&call.probe(), &mut answers);
        Some(answers)
    }

    /// How long to wait for others who change the same file: each a time of its own, or they would meet again.
    fn patience(&self, times: u32) -> Duration {
        let own =
            self.name.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Duration::from_millis(own.wrapping_mul(u64::from(times)) % (20 * u64::from(times.min(25))))
    }

    /// Performs a step's actions, checks on them, and asks for the next units in the same frame.
    async fn act(
        &mut self,
        shared: &Shared,
        unit: &Unit,
        call: &dyn Call,
        actions: &[Action],
        changes: Vec<Change>,
        window: &mut Window,
    ) -> Option<Outcome> {
        let seconds = self.seconds(shared, unit);
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
        let repeats = !unit.step.keywords.until.is_empty() || unit.step.keywords.retries.is_some();
        let questions = if window.most == 1 || repeats { Vec::new() } else { window.asks() };
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
        let asked = !questions.is_empty();
        if asked {
            items.push(FrameItem::Probe(questions));
        }
        let mut replies = match items.is_empty() {
            true => Vec::new().into_iter(),
            false => self.send(shared, Frame { items }).await?.into_iter(),
        };
        let outputs = match remote.then(|| replies.next()).flatten() {
            Some(ItemReply::Acted { outputs, failed: true }) => {
                let overtaken = Outcome::was_overtaken(&last, &outputs);
                return Some(Outcome {
                    overtaken,
                    ..Outcome::of_output(&unit.step, call, &last, &outputs, changes)
                });
            }
            Some(ItemReply::Acted { outputs, .. }) => outputs,
            _ => Vec::new(),
        };
        // What this machine writes down is what the host has, not what it should have had.
        let kept = shared.local.perform(actions);
        if actions.iter().any(|action| matches!(action, Action::Local(_))) {
            shared.note_act();
        }
        if let Err(output) = kept {
            return Some(Outcome::of_output(&unit.step, call, &[], &[output], changes));
        }
        let outputs: Vec<Output> = before.into_iter().chain(outputs).collect();
        let mut answers = if verifies && !own.is_empty() {
            pick(&own, &answers_of(replies.next()))
        } else {
            Answers::new()
        };
        if asked {
            window.known = answers_of(replies.next());
        }
        shared.local.answer(&call.probe(), &mut answers);
        Some(self.verified(unit, call, &answers, &outputs, changes, verifies))
    }

    /// Performs actions, then proves that a new connection still comes about.
    #[allow(clippy::too_many_arguments)] // what one act is made of
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
                    changed: true,
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
                    return Outcome { changes, changed: true, ..Outcome::failed(diagnostic, Map::new()) };
                }
                Err(fault) => {
                    return Outcome {
                        changes,
                        changed: true,
                        ..Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new())
                    };
                }
            }
        }
        match call.result(answers, ran) {
            Ok(result) => Outcome { changes, ..Outcome::changed(result) },
            // A command asks nothing again: its result is made of what it printed.
            Err(_) if !verifies => Outcome { changes, ..Outcome::changed(Outcome::streams(ran)) },
            Err(fault) => Outcome {
                changes,
                changed: true,
                ..Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new())
            },
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

    /// The variables of a unit as they are now that its turn has come.
    fn scope_now(&self, unit: &Unit) -> HostScope {
        let scope = self.scope_of(&unit.step, &unit.at);
        HostScope { loop_vars: Arc::clone(&unit.scope.loop_vars), ..scope }
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

    /// In check mode a module may stumble over what an announced change would have brought; what none of them could
    /// bring is refused as it will be in the run.
    fn refused(&mut self, unit: &Unit, call: &dyn Call, fault: Fault) -> Outcome {
        if unit.check && self.may_heal(&fault) && call.spec().nature != Nature::Controller {
            self.pending.insert(call.spec().name);
            let because = format!("known after the changes before it: {}", fault.message);
            return Outcome { because, ..Outcome::changed(Map::new()) };
        }
        Outcome::failed(place(&unit.step, fault, "task-failed"), Map::new())
    }

    /// Whether a change that was announced, or a command that check mode left out, could heal a fault.
    fn may_heal(&self, fault: &Fault) -> bool {
        let Some(healers) = fault.healers else { return self.announced };
        let command = |name: &str| find(name).is_some_and(|module| module.spec().nature == Nature::Command);
        self.pending.iter().any(|name| healers.contains(name) || command(name))
    }

    fn announce(&mut self, call: &dyn Call, answers: &Answers, changes: Vec<Change>) -> Outcome {
        self.announced = true;
        self.pending.insert(call.spec().name);
        if call.spec().nature == Nature::Command {
            return Outcome::skipped("a command is not run in check mode".to_owned());
        }
        let result = call.result(answers, &[]).unwrap_or_default();
        Outcome { changes, ..Outcome::changed(result) }
    }
}

/// How often somebody else may change a file between our look at it and our act. Each time one of all who do so got
/// through: enough for hundreds of names of one host.
const MOST_OVERTAKEN: u32 = 300;

/// Whether a fault is nothing but a name without a value.
fn is_undefined(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().all(|diagnostic| diagnostic.code == "undefined-variable")
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
pub(super) fn answers_of(reply: Option<ItemReply>) -> Answers {
    match reply {
        Some(ItemReply::Answers(answers)) => answers,
        _ => Answers::new(),
    }
}

/// A unit's own answers, under the questions its module put.
pub(in crate::engine) fn pick(asks: &[(Ask, Ask)], all: &Answers) -> Answers {
    let mut own = Answers::new();
    for (ask, sent) in asks {
        if let Some(answer) = all.peek(sent) {
            own.insert(ask.clone(), answer.clone());
        }
    }
    own
}
