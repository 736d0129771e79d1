//! Fails the host, with a reason; needs no host.
//!
//! EXAMPLES
//! - name: Too old
//!   fail: {msg: "PostgreSQL {{ pg_version }} is not supported"}
//!   when: pg_version < 13

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask};

/// The module `fail`.
pub struct Fail;

impl Module for Fail {
    type Params = String;
    type State = ();
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "fail",
        aliases: &[],
        summary: "Fails with a reason",
        source: include_str!("fail.rs"),
        nature: Nature::Controller,
        free_form: None,
        open: false,
        params: &[Param::new("msg", Kind::Str, "The reason").default("Failed as requested from task")],
    };

    fn decode(args: &Args) -> Result<String, Fault> {
        Ok(args.str("msg").unwrap_or_else(|| "Failed as requested from task".to_owned()))
    }

    fn probe(_params: &Self::Params) -> Vec<Ask> {
        Vec::new()
    }

    fn state(_params: &Self::Params, _answers: &Answers) -> Result<(), Fault> {
        Ok(())
    }

    fn diff(reason: &String, (): &()) -> Result<Verdict<Self::Diff>, Fault> {
        Err(Fault::task(reason))
    }

    fn show(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Self::Params, (): &(), diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }
}
