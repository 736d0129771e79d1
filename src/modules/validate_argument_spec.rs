//! Holds arguments against a specification, as roles declare it in `meta/argument_specs.yml`; needs no host.
//!
//! Before a role's first task its own declaration is checked in the same way, where something in it was not known before
//! the run. Types convert as Ansible converts them: `"5"` is an `int`, `yes` a `bool`, `a,b` a `list`.
//!
//! EXAMPLES
//! - name: What was asked for
//!   validate_argument_spec:
//!     argument_spec:
//!       people: {type: list, elements: dict, options: {name: {type: str, required: true}, age: {type: int}}}
//!     provided_arguments:
//!       people: "{{ people }}"

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::playbook::{Given, Placed, check_arguments, options_of};
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `validate_argument_spec`.
pub struct ValidateArgumentSpec;

/// What was found wrong.
#[derive(Debug)]
pub struct Params {
    faults: Vec<String>,
}

impl Module for ValidateArgumentSpec {
    type Params = Params;
    type State = ();
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "validate_argument_spec",
        aliases: &[],
        summary: "Arguments are as declared",
        source: include_str!("validate_argument_spec.rs"),
        nature: Nature::Controller,
        free_form: None,
        open: false,
        params: &[
            Param::new("argument_spec", Kind::Dict, "Arguments by name, as `options` of an entry point")
                .required(),
            Param::new("provided_arguments", Kind::Dict, "The arguments"),
            Param::new("validate_args_context", Kind::Dict, "Whose they are: `name` is shown"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let value = |name: &str| args.value(name).cloned().unwrap_or_else(|| json!({}));
        let options =
            options_of(&value("argument_spec")).map_err(|why| Fault::param("argument_spec", why))?;
        let Given::Map(given) = Placed::of(&value("provided_arguments"), None).value else {
            return Err(Fault::param("provided_arguments", "`provided_arguments` takes a mapping"));
        };
        let name = value("validate_args_context").get("name").and_then(Value::as_str).map(str::to_owned);
        let of = name.map_or_else(|| "the arguments".to_owned(), |name| format!("role `{name}`"));
        let shown = |wrong: crate::playbook::Wrong| match wrong.label.or(wrong.hint) {
            Some(more) => format!("{} ({more})", wrong.message),
            None => wrong.message,
        };
        Ok(Params { faults: check_arguments(&options, &given, &of).into_iter().map(shown).collect() })
    }

    fn probe(_params: &Self::Params) -> Vec<Ask> {
        Vec::new()
    }

    fn state(_params: &Self::Params, _answers: &Answers) -> Result<(), Fault> {
        Ok(())
    }

    fn diff(params: &Params, (): &()) -> Result<Verdict<Self::Diff>, Fault> {
        let Some((first, others)) = params.faults.split_first() else {
            return Ok(Verdict::InState("the arguments are as declared".to_owned()));
        };
        let fault = Fault::param("provided_arguments", first.clone());
        Err(others.iter().fold(fault, |fault, other| fault.note(other.clone())))
    }

    fn show(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(_params: &Params, (): &(), _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("msg".to_owned(), json!("The arg spec validation passed"))])
    }
}
