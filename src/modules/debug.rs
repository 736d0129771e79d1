//! Shows a text or a value; needs no host.
//!
//! EXAMPLES
//! - name: A text
//!   debug: {msg: "The primary is {{ groups.primary[0] }}"}
//! - name: A value
//!   debug: {var: ansible_facts.memtotal_mb}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `debug`.
pub struct Debug;

/// What to show.
#[derive(Debug)]
pub struct Params {
    /// The expression, when it is not a message.
    name: Option<String>,
    value: Value,
}

impl Module for Debug {
    type Params = Params;
    type State = ();
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "debug",
        aliases: &[],
        summary: "Shows a text or a value",
        source: include_str!("debug.rs"),
        nature: Nature::Controller,
        free_form: None,
        open: false,
        params: &[
            Param::new("msg", Kind::Any, "A text, or any value").default("Hello world!"),
            Param::new("var", Kind::Expression, "An expression whose value is shown, in the place of `msg`"),
            Param::new("verbosity", Kind::Int, "Shown from this number of `-v` on").default("0"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let Some(var) = args.value("var") else {
            let value = args.value("msg").cloned().unwrap_or_else(|| Value::from("Hello world!"));
            return Ok(Params { name: None, value });
        };
        if args.has("msg") {
            return Err(Fault::param("var", "`var` and `msg` exclude each other"));
        }
        let name =
            var.get("expression").and_then(Value::as_str).or(var.as_str()).unwrap_or_default().to_owned();
        let value = var.get("value").cloned().unwrap_or_else(|| Value::from("VARIABLE IS NOT DEFINED!"));
        Ok(Params { name: Some(name), value })
    }

    fn probe(_params: &Self::Params) -> Vec<Ask> {
        Vec::new()
    }

    fn state(_params: &Self::Params, _answers: &Answers) -> Result<(), Fault> {
        Ok(())
    }

    fn diff(params: &Params, (): &()) -> Result<Verdict<Self::Diff>, Fault> {
        let text = match &params.value {
            Value::String(text) => text.clone(),
            value => serde_json::to_string_pretty(value).unwrap_or_default(),
        };
        Ok(Verdict::InState(match &params.name {
            Some(name) => format!("{name}: {text}"),
            None => text,
        }))
    }

    fn show(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(params: &Params, (): &(), _ran: &[Output]) -> Map<String, Value> {
        let name = params.name.clone().unwrap_or_else(|| "msg".to_owned());
        Map::from_iter([(name, params.value.clone())])
    }
}
