//! What a failure on some hosts means for the others: `any_errors_fatal`, `max_fail_percentage`, a batch without hosts.

use super::event::Event;
use super::host::{Host, State};
use super::play::Crew;
use super::shared::Shared;
use super::unit::truth;
use crate::plan::{HostScope, Next, Op, PlayPlan, Program, Step};
use crate::yaml::{Kind, Node};

/// A failure on a host that the others have not heard of yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fell {
    /// Where it stood.
    pub at: Vec<usize>,
    /// Whether the step is one whose failure stops every host.
    pub fatal: bool,
}

/// Why the failure of one host stops all.
pub(super) const FATAL: &str = "`any_errors_fatal` holds";

/// Whether hosts must go step by step together: nobody may act on what follows a step before it is known that the step
/// did not fail on too many.
pub(super) fn in_step(plan: &PlayPlan) -> bool {
    let programs = plan.handlers.iter().map(|handler| &handler.program).chain([&plan.program]);
    plan.play.max_fail_percentage.is_some() || programs.into_iter().any(|program| has_fatal_steps(program))
}

/// Whether a failure of some step may stop every host.
pub(super) fn has_fatal_steps(program: &Program) -> bool {
    let says =
        |node: &Option<Node>| node.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false)));
    program.ops.iter().any(|op| match op {
        Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => {
            says(&step.keywords.any_errors_fatal)
        }
        _ => false,
    })
}

/// Whether so many of a batch failed that nobody goes on. As in Ansible: more than the share, of the hosts that the batch
/// began with; hosts that cannot be reached do not count.
fn too_many(failed: usize, of: usize, share: Option<u8>) -> bool {
    share.is_some_and(|share| failed * 100 > usize::from(share) * of)
}

impl Crew {
    /// After every step: what the failures since the last look mean for the other hosts of the batch. Whether one of
    /// them goes elsewhere because of that.
    pub(super) fn heed_failures(&mut self, plan: &PlayPlan, batch: &[String]) -> bool {
        let mut fatal: Option<(String, Fell)> = None;
        for name in batch {
            let Some(fell) = self.hosts.get_mut(name).and_then(|host| host.fell.take()) else { continue };
            if fatal.is_none() && (fell.fatal || self.lost_fatally(plan, name)) {
                fatal = Some((name.clone(), fell));
            }
        }
        let moved = fatal.is_some_and(|(culprit, fell)| self.fail_along(batch, &culprit, &fell.at, FATAL));
        let failed = batch.iter().filter(|name| self.is(name, State::Failed)).count();
        if !too_many(failed, batch.len(), plan.play.max_fail_percentage) {
            return moved;
        }
        let mut stopped = false;
        for name in batch {
            if let Some(host) = self.hosts.get_mut(name).filter(|host| host.is_active()) {
                host.state = State::Failed;
                stopped = true;
            }
        }
        if stopped {
            let (of, share) = (batch.len(), plan.play.max_fail_percentage.unwrap_or_default());
            self.shared.tell(Event::Halted(format!(
                "{failed} of {of} hosts failed, more than `max_fail_percentage: {share}` allows: no host goes on"
            )));
        }
        moved || stopped
    }

    /// Whether a host was lost where a failure stops every host.
    fn lost_fatally(&self, plan: &PlayPlan, name: &str) -> bool {
        let Some(host) = self.hosts.get(name).filter(|host| host.state == State::Unreachable) else {
            return false;
        };
        match host.cursor.clone().peek() {
            Next::Step(step) | Next::Guard { step, .. } | Next::Include(step) | Next::Meta(step, _) => {
                host.is_fatal(&self.shared, &step, &host.scope_of(&step, &host.cursor))
            }
            Next::Flush | Next::End | Next::Failed => plan.play.any_errors_fatal,
        }
    }

    /// The failure of one host is one of every host of the batch. Whether there are others.
    pub(super) fn fail_along(&mut self, batch: &[String], culprit: &str, at: &[usize], why: &str) -> bool {
        let (mut stopped, mut rescued) = (false, false);
        for name in batch.iter().filter(|name| *name != culprit) {
            if let Some(host) = self.hosts.get_mut(name).filter(|host| host.is_active()) {
                host.fail_with_others(at);
                rescued |= host.is_active();
                stopped = true;
            }
        }
        if stopped {
            let how = if self.is(culprit, State::Unreachable) { "cannot be reached" } else { "failed" };
            let what = match rescued {
                true => "the other hosts leave the block with it",
                false => "no host goes on",
            };
            self.shared.tell(Event::Halted(format!("{culprit} {how}, and {why}: {what}")));
        }
        stopped
    }

    /// Whether no host of a batch is left, and one of them was lost in it: the run ends there.
    pub(super) fn nobody_left(&self, batch: &[String]) -> bool {
        !batch.is_empty()
            && batch.iter().all(|name| self.is(name, State::Failed) || self.is(name, State::Unreachable))
    }

    pub(super) fn is(&self, name: &str, state: State) -> bool {
        self.hosts.get(name).is_some_and(|host| host.state == state)
    }
}

impl Host {
    /// Whether a failure of a step stops every host. What cannot be told stops them.
    pub(super) fn is_fatal(&self, shared: &Shared, step: &Step, scope: &HostScope) -> bool {
        let said = |node: &Option<Node>, unknown: bool| {
            node.as_ref().is_some_and(|node| {
                let value = shared.templates.render_value(node, &scope.shared()).ok();
                value.as_ref().and_then(truth).unwrap_or(unknown)
            })
        };
        said(&step.keywords.any_errors_fatal, true) && !said(&step.keywords.ignore_errors, false)
    }

    /// Another host failed at `at`: this one goes where its own failure there would lead, and counts as stopped.
    fn fail_with_others(&mut self, at: &[usize]) {
        if let Some(last) = self.last.take().filter(|last| last.position() == at) {
            self.cursor = last;
        }
        self.fall(false);
        self.fell = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_batch_and_must_be_exceeded() {
        for (failed, of, share, stops) in [
            (1, 2, Some(20), true),
            (3, 10, Some(10), true),
            (1, 10, Some(10), false),
            (0, 3, Some(0), false),
            (1, 100, Some(0), true),
            (3, 3, Some(100), false),
            (3, 3, None, false),
        ] {
            assert_eq!(too_many(failed, of, share), stops, "{failed} of {of}, {share:?}");
        }
    }
}
