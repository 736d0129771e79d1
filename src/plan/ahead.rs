//! What is known before it is known: which names only the run brings, while a plan is checked.

use super::program::Step;
use super::reads::Brought;
use super::scope::HostScope;
use crate::template::{Foreseen, Scope};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that the run brings up to the place that is looked at. A star stands for any ending.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    /// Registered results, `set_fact`, facts of modules, variables of files that may be read.
    pub names: BTreeSet<String>,
    /// Those among them that are results of tasks.
    pub results: BTreeSet<String>,
    /// Something was taken in of which nothing is known: any name may be defined.
    pub open: bool,
    /// The host's facts are there.
    pub facts: bool,
}

/// Names that only the run can know, whatever the play.
const RUN_TIME: &[&str] = &[
    "hostvars",
    "ansible_failed_task",
    "ansible_failed_result",
    "ansible_play_hosts",
    "ansible_play_batch",
    "play_hosts",
];

impl Ahead {
    /// Whether a step may bring this name.
    pub fn brings(&self, name: &str) -> bool {
        let fits = |known: &String| known.strip_suffix('*').is_some_and(|start| name.starts_with(start));
        self.names.contains(name) || self.names.iter().any(fits)
    }

    /// Takes in what a step defines when it is carried out.
    pub fn add(&mut self, step: &Step) {
        self.names.extend(Brought::by(step).names().map(str::to_owned));
        self.add_result(step);
    }

    /// Takes in what a step defines even when it is left out.
    pub fn add_result(&mut self, step: &Step) {
        let name = step.keywords.register.iter().map(|name| name.node.clone());
        self.names.extend(name.clone());
        self.results.extend(name);
    }

    /// What is known of a variable of `scope`, in the order of precedence.
    pub(super) fn foreseen(&self, name: &str, scope: &HostScope) -> Option<Foreseen> {
        if RUN_TIME.contains(&name) {
            return Some(Foreseen::Later);
        }
        let nearer = scope.loop_vars.contains_key(name)
            || scope.magic.contains_key(name)
            || scope.extra.vars.contains_key(name)
            || scope.layers.params.iter().any(|layer| layer.vars.contains_key(name));
        if nearer {
            return None;
        }
        if name == "ansible_facts" {
            return self.facts_of(scope);
        }
        if self.brings(name) {
            return Some(Foreseen::Later);
        }
        // Every fact is there by its long name as well.
        let fact = name.starts_with("ansible_") && !self.facts;
        (scope.defined(name).is_none() && (fact || self.open)).then_some(Foreseen::Later)
    }

    /// The facts without those that a step of the play still brings.
    fn facts_of(&self, scope: &HostScope) -> Option<Foreseen> {
        let known = scope.facts.get("ansible_facts").filter(|_| self.facts);
        let Some(Value::Object(known)) = known.map(|facts| (**facts).clone()) else {
            return Some(Foreseen::Later);
        };
        if !self.names.contains("ansible_facts") {
            return None;
        }
        let kept = known.into_iter().filter(|(key, _)| !self.brings(&format!("ansible_{key}")));
        Some(Foreseen::Partly(Arc::new(Value::Object(kept.collect()))))
    }

    /// Whether a name has a value before the run or may get one.
    pub(super) fn defines(name: &str, scope: &HostScope) -> bool {
        scope.foreseen(name).is_some() || scope.get(name).is_some()
    }
}
