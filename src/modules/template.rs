//! Renders a template of the control machine and puts the text on the host.
//!
//! `src` is looked up in the role's `templates/`. Files called `*.tera` are Tera, all others Jinja2. An undefined
//! variable is an error before anything is done. Lines of the result end as `newline_sequence` says, whatever the
//! template's own end with. For all the rest it is like `copy`.
//!
//! EXAMPLES
//! - name: The configuration
//!   template:
//!     src: pgbouncer.ini.j2
//!     dest: /etc/pgbouncer/pgbouncer.ini
//!     owner: postgres
//!     group: postgres
//!     mode: "0640"

use super::content::{self, Dest, DestSeen, Edit};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs, copy};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `template`.
pub struct Template;

impl Module for Template {
    type Params = Dest;
    type State = DestSeen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "template",
        aliases: &[],
        summary: "A rendered template of the control machine on the host",
        source: include_str!("template.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("src", Kind::LocalTemplate, "The template on the control machine").required(),
            Param::new(
                "dest",
                Kind::Path,
                "Where it goes: a file, or a folder that takes it under its own name",
            )
            .required(),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            content::BACKUP,
            Param::new("force", Kind::Bool, "Replace a file that differs").default("true"),
            content::VALIDATE,
            Param::new("follow", Kind::Bool, "Write to what a link at `dest` points at, and keep the link")
                .default("false"),
            Param::new(
                "newline_sequence",
                Kind::Str,
                "What ends each line of the result: \\n, \\r or \\r\\n",
            )
            .default("\\n"),
            Param::new("trim_blocks", Kind::Bool, "The line end behind a block is left out").default("true"),
            Param::new("lstrip_blocks", Kind::Bool, "The blanks before a block on its line are left out")
                .default("false"),
            Param::new("variable_start_string", Kind::Str, "What starts an expression").default("{{"),
            Param::new("variable_end_string", Kind::Str, "What ends an expression").default("}}"),
            Param::new("block_start_string", Kind::Str, "What starts a statement").default("{%"),
            Param::new("block_end_string", Kind::Str, "What ends a statement").default("%}"),
            Param::new("comment_start_string", Kind::Str, "What starts a comment").default("{#"),
            Param::new("comment_end_string", Kind::Str, "What ends a comment").default("#}"),
        ],
    };

    fn decode(args: &Args) -> Result<Dest, Fault> {
        let (path, text) = copy::local(args.value("src").unwrap_or(&Value::Null), "src")?;
        Dest::decode(args, Some(path), text.as_bytes().to_vec())
    }

    fn probe(dest: &Dest) -> Vec<Ask> {
        dest.asks()
    }

    fn state(dest: &Dest, answers: &Answers) -> Result<DestSeen, Fault> {
        dest.seen(answers)
    }

    fn diff(dest: &Dest, seen: &DestSeen) -> Result<Verdict<Edit>, Fault> {
        dest.diff(seen)
    }

    fn show(dest: &Dest, seen: &DestSeen, edit: &Edit) -> Vec<Change> {
        dest.show(seen, edit)
    }

    fn actions(dest: &Dest, seen: &DestSeen, edit: &Edit) -> Vec<Action> {
        dest.actions(seen, edit)
    }

    fn result(dest: &Dest, seen: &DestSeen, _ran: &[Output]) -> Map<String, Value> {
        dest.result(seen)
    }
}
