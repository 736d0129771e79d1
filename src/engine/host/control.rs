//! What stands between the steps: conditions of blocks, includes, handlers, `meta`, and the places where hosts wait for each
//! other.

use super::super::event::Status;
use super::super::include;
use super::super::shared::Shared;
use super::super::unit::Ahead;
use super::{Halt, Host, State};
use crate::diag::Diagnostic;
use crate::plan::{
    Barrier, Cursor, HostScope, Layer, Next, Step, addressed, framed, item_scopes, next_in_flush,
};
use crate::playbook::{IncludeKind, Meta};
use std::sync::Arc;

impl Host {
    /// The engine's own operations between steps.
    pub(super) async fn control(&mut self, shared: &Shared, why: Ahead) -> Option<Halt> {
        let next = match why {
            Ahead::Control(next) => next,
            Ahead::Meet(step) => return Some(Halt::Barrier(step, self.cursor.position())),
            Ahead::Wait => self.cursor.peek(),
        };
        match next {
            Next::Step(step) | Next::Guard { step, .. } | Next::Include(step) | Next::Meta(step, _)
                if self.must_stop(&step, &self.cursor) =>
            {
                return Some(Halt::Barrier(step, self.cursor.position()));
            }
            Next::Step(_) => self.cursor.peek(),
            Next::Guard { step, to } => {
                let scope = self.scope_of(&step, &self.cursor);
                match self.conditions(shared, &step, &scope) {
                    Ok(true) => match step.faults.first() {
                        Some(fault) => self.fail_step(shared, &step, fault.clone()),
                        None => self.cursor.advance(),
                    },
                    Ok(false) => self.cursor.jump(to),
                    Err(diagnostic) => self.fail_step(shared, &step, diagnostic),
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
                self.flush(shared);
                return None;
            }
            Next::Meta(step, meta @ (Meta::EndPlay | Meta::ClearHostErrors)) => {
                return Some(Halt::Meta(step, meta, self.cursor.position()));
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
    pub(in crate::engine) fn must_stop(&self, step: &Step, at: &Cursor) -> bool {
        match step.barrier {
            Barrier::None => false,
            Barrier::Sync => self.passed.as_ref() != Some(&at.position()),
            Barrier::Once | Barrier::Delegate | Barrier::Procedure => true,
        }
    }

    fn meta(&mut self, shared: &Shared, step: &Arc<Step>, meta: Meta) {
        let scope = self.scope_of(step, &self.cursor);
        match self.conditions(shared, step, &scope) {
            Err(diagnostic) => return self.fail_step(shared, step, diagnostic),
            Ok(false) => return self.cursor.advance(),
            Ok(true) => {}
        }
        self.cursor.advance();
        if meta == Meta::EndHost {
            self.state = State::Ended;
        }
    }

    /// Runs the notified handlers: one at a time in the order of their definition, with those that a handler notifies.
    fn flush(&mut self, shared: &Shared) {
        let handlers = shared.handlers();
        for name in std::mem::take(&mut self.notified) {
            self.called.extend(addressed(&handlers, &name));
        }
        match next_in_flush(&self.called, self.cursor.flushed()) {
            Some(number) => {
                self.called.remove(&number);
                if let Some(handler) = handlers.get(number) {
                    self.cursor.call_handler(Arc::clone(&handler.program), number);
                }
            }
            None => self.cursor.advance(),
        }
    }

    fn include_vars(&mut self, shared: &Shared, step: &Arc<Step>) {
        match self.vars_of(shared, step) {
            Ok(layers) => {
                let status = if layers.is_empty() { Status::Skipped } else { Status::Ok };
                let mut vars = (*self.scope.included).clone();
                for layer in layers {
                    vars.vars.extend(layer.vars.iter().map(|(name, node)| (name.clone(), Arc::clone(node))));
                }
                self.scope.included = Arc::new(vars);
                self.cursor.advance();
                self.stats.count(status);
            }
            Err(diagnostic) => self.fail_step(shared, step, framed(step, diagnostic)),
        }
    }

    /// The variables that an `include_vars` brings, of each item whose condition holds.
    fn vars_of(&self, shared: &Shared, step: &Arc<Step>) -> Result<Vec<Arc<Layer>>, Diagnostic> {
        let mut layers = Vec::new();
        for scope in self.turns_of(shared, step)? {
            if self.conditions(shared, step, &scope)? {
                layers.push(include::vars(shared, step, &scope)?);
            }
        }
        Ok(layers)
    }

    /// The variables of each turn of an include. Items that cannot be had are not needed where a condition says so
    /// without them.
    pub(in crate::engine) fn turns_of(
        &self,
        shared: &Shared,
        step: &Arc<Step>,
    ) -> Result<Vec<HostScope>, Diagnostic> {
        let scope = self.scope_of(step, &self.cursor);
        match item_scopes(&shared.templates, step, &scope) {
            Ok(items) => Ok(items.into_iter().map(|(_, scope)| scope).collect()),
            Err(_) if self.conditions(shared, step, &scope) == Ok(false) => Ok(Vec::new()),
            Err(diagnostic) => Err(diagnostic),
        }
    }
}
