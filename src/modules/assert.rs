//! Fails the host unless conditions hold; needs no host.
//!
//! EXAMPLES
//! - name: The version is one we know
//!   assert:
//!     that:
//!       - pg_version | int >= 13
//!       - pg_version | int <= 18
//!     fail_msg: PostgreSQL 13 to 18 only

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `assert`.
pub struct Assert;

/// Conditions and what to say of them.
#[derive(Debug)]
pub struct Params {
    conditions: Vec<(String, bool)>,
    fail_msg: Option<String>,
    success_msg: String,
}

impl Module for Assert {
    type Params = Params;
    type State = ();
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "assert",
        aliases: &[],
        summary: "Fails unless conditions hold",
        source: include_str!("assert.rs"),
        nature: Nature::Controller,
        free_form: None,
        open: false,
        params: &[
            Param::new("that", Kind::Conditions, "A condition, or a list of them").required(),
            Param::new("fail_msg", Kind::Str, "What to say when one does not hold").aliases(&["msg"]),
            Param::new("success_msg", Kind::Str, "What to say when all hold")
                .default("All assertions passed"),
            Param::new("quiet", Kind::Bool, "Taken; only what does not hold is ever shown").default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let unread = || Fault::param("that", "`that` takes a condition or a list of conditions");
        let list = args.value("that").and_then(Value::as_array).ok_or_else(unread)?;
        let read = |value: &Value| {
            let condition = value.get("condition")?.as_str()?.to_owned();
            Some((condition, value.get("holds")?.as_bool()?))
        };
        Ok(Params {
            conditions: list.iter().map(read).collect::<Option<_>>().ok_or_else(unread)?,
            fail_msg: args.str("fail_msg"),
            success_msg: args.str("success_msg").unwrap_or_else(|| "All assertions passed".to_owned()),
        })
    }

    fn probe(_params: &Self::Params) -> Vec<Ask> {
        Vec::new()
    }

    fn state(_params: &Self::Params, _answers: &Answers) -> Result<(), Fault> {
        Ok(())
    }

    fn diff(params: &Params, (): &()) -> Result<Verdict<Self::Diff>, Fault> {
        let mut broken = params.conditions.iter().filter(|(_, holds)| !holds).peekable();
        let Some((first, _)) = broken.peek() else {
            return Ok(Verdict::InState(params.success_msg.clone()));
        };
        let message = params.fail_msg.clone().unwrap_or_else(|| format!("`{first}` does not hold"));
        let fault = Fault::param("that", message);
        Err(match (&params.fail_msg, params.conditions.len()) {
            (None, 1) => fault,
            _ => {
                broken.fold(fault, |fault, (condition, _)| fault.note(format!("`{condition}` does not hold")))
            }
        })
    }

    fn show(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(params: &Params, (): &(), _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("msg".to_owned(), json!(params.success_msg))])
    }
}
