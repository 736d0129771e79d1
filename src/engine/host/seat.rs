//! Where a host's steps are carried out, as whom, and what they bring: what changes places when a task is delegated.

use super::Host;
use crate::plan::{HostScope, Values};
use crate::transport::{Endpoint, Session};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A connection, and the accounts that hold on it. A delegated task takes the seat of the host it is delegated to: its
/// connection, its login account and its `ansible_become...`, as in Ansible.
pub struct Seat {
    session: Option<Session>,
    endpoint: Option<Endpoint>,
    login_user: String,
    wants_root: bool,
    become_user: Option<String>,
    privileged: bool,
}

/// Values and facts that steps brought.
#[derive(Default)]
pub struct Learned {
    /// By `set_fact` and `register`.
    pub values: Values,
    /// By modules that bring facts.
    pub facts: Map<String, Value>,
}

impl Learned {
    /// They hold on another host, too.
    pub fn hold_on(&self, scope: &mut HostScope) {
        if !self.values.is_empty() {
            let values = self.values.iter().map(|(name, value)| (name.clone(), Arc::clone(value)));
            Arc::make_mut(&mut scope.runtime).extend(values);
        }
        if !self.facts.is_empty() {
            scope.learn(&self.facts);
        }
    }
}

impl Host {
    /// Gives its seat to another host for a while; `None` without a connection.
    pub(in crate::engine) fn lend(&mut self) -> Option<Seat> {
        let session = self.session.take()?;
        Some(Seat {
            session: Some(session),
            endpoint: self.endpoint.clone(),
            login_user: self.login_user.clone(),
            wants_root: self.wants_root,
            become_user: self.become_user.clone(),
            privileged: self.privileged,
        })
    }

    /// Takes a seat; the one it had.
    pub(in crate::engine) fn sit(&mut self, seat: Seat) -> Seat {
        Seat {
            session: std::mem::replace(&mut self.session, seat.session),
            endpoint: std::mem::replace(&mut self.endpoint, seat.endpoint),
            login_user: std::mem::replace(&mut self.login_user, seat.login_user),
            wants_root: std::mem::replace(&mut self.wants_root, seat.wants_root),
            become_user: std::mem::replace(&mut self.become_user, seat.become_user),
            privileged: std::mem::replace(&mut self.privileged, seat.privileged),
        }
    }
}
