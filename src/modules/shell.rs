//! Runs a command by a shell: pipes, redirection, variables and wildcards work.
//!
//! The shell is the host's `sh` (`/bin/sh`), or what `executable` names. Where no shell is needed, `command` is
//! the safer choice; where a module does the job, the module is better: it knows when there is nothing to do.
//! A value put into the text should go through the filter `quote`.
//!
//! As with `command`, `creates` and `removes` tell when it need not run, it counts as a change unless
//! `changed_when` says otherwise, and it is skipped in check mode. `raw` is the same module here.
//!
//! EXAMPLES
//! - name: How many backends
//!   shell: ps -eo args | grep -c '^postgres:'
//!   changed_when: false
//! - name: Needs bash
//!   shell:
//!     cmd: set -o pipefail; zcat dump.gz | psql -X app
//!     chdir: /srv/dumps
//!     executable: /bin/bash
//!     creates: /srv/dumps/.loaded

use super::command::{CHDIR, CREATES, Found, NEWLINE, Params, REMOVES, STDIN, STRIP};
use super::words::take_options;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, join};
use serde_json::{Map, Value, json};

/// The module `shell`.
pub struct Shell;

impl Module for Shell {
    type Params = Params;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "shell",
        aliases: &["raw"],
        summary: "Runs a command by a shell",
        source: include_str!("shell.rs"),
        nature: Nature::Command,
        free_form: Some("cmd"),
        open: false,
        params: &[
            Param::new("cmd", Kind::Str, "The text of the script").required().aliases(&["_raw_params"]),
            CHDIR,
            CREATES,
            REMOVES,
            Param::new("executable", Kind::Path, "The shell that runs it, with `-c`").default("/bin/sh"),
            STDIN,
            NEWLINE,
            STRIP,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let names = ["creates", "removes", "chdir", "executable", "stdin", "stdin_add_newline"];
        let text = args.required("cmd");
        // Only on the first line: further down a script may well set a variable of that name.
        let (first, more) =
            text.split_once('\n').map_or((text.as_str(), None), |(first, more)| (first, Some(more)));
        let (first, options) = take_options(first, &names);
        let text = match more {
            _ if options.is_empty() => text.clone(),
            Some(more) => format!("{first}\n{more}"),
            None => first,
        };
        if text.trim().is_empty() {
            return Err(Fault::param("cmd", "there is no command to run"));
        }
        let named = options.iter().find(|(name, _)| name == "executable").map(|(_, value)| value.clone());
        let script = match named.or_else(|| args.str("executable")) {
            Some(shell) => join(["exec", &shell, "-c", &text]),
            None => text.clone(),
        };
        Params::new(args, options, script, json!(text))
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.asks()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        params.found(answers)
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<()>, Fault> {
        Ok(params.decide(found))
    }

    fn show(params: &Params, _found: &Found, _diff: &()) -> Vec<Change> {
        vec![Change::field("command", "", params.shown())]
    }

    fn actions(params: &Params, _found: &Found, _diff: &()) -> Vec<Action> {
        vec![params.action()]
    }

    fn result(params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        params.result(found, ran)
    }
}
