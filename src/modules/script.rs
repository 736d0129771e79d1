//! Sends a script of the control machine to the host and runs it there.
//!
//! The file is looked up in the role's `files/`, then beside the site. Its `#!` line names what runs it (`sh` without
//! one), or `executable` does. It travels by standard input into a temporary file that only root can read, and that
//! file is removed in the end. `creates` and `removes` tell when it need not run, as with `command`.
//!
//! EXAMPLES
//! - name: The old migration, once
//!   script:
//!     cmd: migrate.sh
//!     args: --from 3 --to 4
//!     creates: /var/lib/app/.migrated

use super::command::{CHDIR, CREATES, Found, Params, REMOVES};
use super::words::split;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, join};
use serde_json::{Map, Value, json};

/// The module `script`.
pub struct Script;

impl Module for Script {
    type Params = Params;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "script",
        aliases: &[],
        summary: "Runs a script of the control machine on the host",
        source: include_str!("script.rs"),
        nature: Nature::Command,
        free_form: Some("cmd"),
        open: false,
        params: &[
            Param::new("cmd", Kind::LocalFile, "The script").required(),
            Param::new("args", Kind::Str, "Its arguments, as a shell would split them"),
            CHDIR,
            CREATES,
            REMOVES,
            Param::new("executable", Kind::Str, "What runs it").default("its `#!` line, or sh"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let file = args.dict("cmd");
        let text = |key: &str| file.and_then(|file| file.get(key)).and_then(Value::as_str);
        let (Some(path), Some(content)) = (text("path"), text("content")) else {
            return Err(Fault::param("cmd", "`cmd` takes the name of a file of the control machine"));
        };
        use base64::Engine;
        let content = base64::engine::general_purpose::STANDARD
            .decode(content)
            .map_err(|_| Fault::param("cmd", format!("`{path}` did not arrive whole")))?;
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).into_owned();
        let given = args.str("executable");
        let words = |param: &str, text: &str| {
            split(text)
                .map_err(|why| Fault::param(param, format!("`{text}` cannot be split into words: {why}")))
        };
        let runner = match (&given, first.strip_prefix("#!")) {
            (Some(program), _) => words("executable", program)?,
            (None, Some(program)) => program.split_whitespace().map(str::to_owned).collect(),
            (None, None) => vec!["sh".to_owned()],
        };
        let arguments = words("args", &args.str("args").unwrap_or_default())?;
        let script = format!(
            "f=$(mktemp) || exit 1\ntrap 'rm -f \"$f\"' EXIT\ntrap 'exit 143' TERM INT HUP\ncat >\"$f\" || exit 1\n{} \"$f\" {} </dev/null",
            join(runner),
            join(&arguments),
        );
        let shown = std::iter::once(path.to_owned()).chain(arguments);
        let mut params = Params::new(args, Vec::new(), script.trim_end().to_owned(), json!(join(shown)))?;
        params.stdin = Some(content);
        Ok(params)
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
        vec![Change::field("script", "", params.shown())]
    }

    fn actions(params: &Params, _found: &Found, _diff: &()) -> Vec<Action> {
        vec![params.action()]
    }

    fn result(params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        params.result(found, ran)
    }
}
