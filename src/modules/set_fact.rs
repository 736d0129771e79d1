//! Sets variables of the host for the rest of the run; needs no host.
//!
//! EXAMPLES
//! - name: Half of the memory
//!   set_fact:
//!     cache_mb: "{{ ansible_facts.memtotal_mb // 2 }}"

use super::{Args, Brings, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `set_fact`.
pub struct SetFact;

impl Module for SetFact {
    type Params = Map<String, Value>;
    type State = ();
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "set_fact",
        aliases: &[],
        summary: "Sets variables of the host",
        source: include_str!("set_fact.rs"),
        nature: Nature::Controller,
        free_form: None,
        open: true,
        params: &[Param::new("cacheable", Kind::Bool, "Taken; facts last for one run").default("false")],
    };

    const BRINGS: Brings = Brings::Variables;

    fn decode(args: &Args) -> Result<Self::Params, Fault> {
        let mut facts = args.values().clone();
        facts.shift_remove("cacheable");
        for name in facts.keys() {
            let mut letters = name.chars();
            let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(Fault::param(name, format!("`{name}` is no name of a variable"))
                    .hint("letters, digits and `_`, and no digit in front"));
            }
        }
        if facts.is_empty() {
            return Err(
                Fault::task("module `set_fact` needs a variable to set").hint("`set_fact: {name: value}`")
            );
        }
        Ok(facts)
    }

    fn probe(_params: &Self::Params) -> Vec<Ask> {
        Vec::new()
    }

    fn state(_params: &Self::Params, _answers: &Answers) -> Result<(), Fault> {
        Ok(())
    }

    fn diff(facts: &Self::Params, (): &()) -> Result<Verdict<Self::Diff>, Fault> {
        let names: Vec<_> = facts.keys().map(|name| format!("`{name}`")).collect();
        Ok(Verdict::InState(format!("set {}", names.join(", "))))
    }

    fn show(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(facts: &Self::Params, (): &(), _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("ansible_facts".to_owned(), Value::Object(facts.clone()))])
    }
}
