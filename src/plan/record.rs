//! What was read while something was made ready: whoever renders with a scope that keeps a record knows afterwards
//! which variables the result depends on, through template files, lookups and variables made of variables, since all
//! of them ask the scope.

use super::reads::{Brought, CROSS};
use crate::template::{Scope, Variable};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The variables that a scope was asked for, and what it answered.
#[derive(Debug, Default)]
pub struct Record {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The first answer for each name; nothing where it was undefined.
    vars: BTreeMap<String, Option<Variable>>,
    /// All names there were, when somebody asked for them.
    names: Option<Vec<String>>,
}

impl Record {
    /// Notes the answer for a name.
    pub fn note(&self, name: &str, found: Option<&Variable>) {
        let mut seen = self.seen();
        if !seen.vars.contains_key(name) {
            seen.vars.insert(name.to_owned(), found.cloned());
        }
    }

    /// Notes that all names were asked for.
    pub fn note_names(&self, names: &[String]) {
        self.seen().names.get_or_insert_with(|| names.to_vec());
    }

    /// Whether a name like this was asked for.
    pub fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.seen().vars.keys().any(|name| fits(name))
    }

    /// Whether it was asked for something that shows other hosts as they are at the moment.
    pub fn looks_across(&self) -> bool {
        self.any(|name| CROSS.contains(&name))
    }

    /// Whether it was asked for something that is still to be brought.
    pub fn meets(&self, brought: &Brought) -> bool {
        if brought.is_empty() {
            return false;
        }
        let seen = self.seen();
        seen.names.is_some() || seen.vars.keys().any(|name| brought.has(name))
    }

    /// Whether the same questions have the same answers in another scope.
    pub fn holds(&self, now: &dyn Scope) -> bool {
        let seen = self.seen();
        seen.vars.iter().all(|(name, before)| same(before.as_ref(), now.get(name).as_ref()))
            && seen.names.as_ref().is_none_or(|names| *names == now.names())
    }

    /// A poisoned lock only means that another thread failed while it held plain data.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(before: Option<&Variable>, now: Option<&Variable>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(Variable::Node(a)), Some(Variable::Node(b))) => Arc::ptr_eq(a, b) || a == b,
        (Some(Variable::Value(a)), Some(Variable::Value(b))) => Arc::ptr_eq(a, b) || a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HostScope;
    use serde_json::{Value, json};

    #[test]
    fn what_was_asked_for_holds_until_it_changes() {
        let mut host = HostScope::default();
        host.set("a", Value::from(1));
        let (scope, record) = host.recorded();
        scope.get("a");
        scope.get("missing");
        assert!(record.any(|name| name == "missing") && !record.any(|name| name == "b"));
        assert!(record.holds(&host));
        host.set("b", Value::from(1));
        assert!(record.holds(&host), "nobody asked for `b`");
        host.set("a", json!(1));
        assert!(record.holds(&host), "the same value again");
        host.set("missing", Value::from(1));
        assert!(!record.holds(&host), "what was undefined is defined");
    }

    #[test]
    fn asking_for_all_names_depends_on_all() {
        let mut host = HostScope::default();
        let (scope, record) = host.with_loop(Default::default()).recorded();
        scope.names();
        assert!(record.holds(&host));
        host.set("new", Value::from(1));
        assert!(!record.holds(&host));
    }
}
