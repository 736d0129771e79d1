//! Puts a file of the control machine, or a text, on the host.
//!
//! `src` is looked up in the role's `files/`. A `dest` that is a folder, or ends in `/`, takes the file under its own
//! name. The content is compared before anything is sent: what is there already is not sent again. The new file is
//! written beside the old one, with owner and mode set before the content, and then takes its place in one step.
//!
//! In check mode the difference is shown and `validate` does not run.
//!
//! EXAMPLES
//! - name: A file of the role
//!   copy: {src: motd, dest: /etc/motd, mode: "0644"}
//! - name: A text, tested before it counts
//!   copy:
//!     content: "%admin ALL=(ALL) ALL\n"
//!     dest: /etc/sudoers.d/admin
//!     mode: "0440"
//!     validate: visudo -cf %s

use super::content::{self, Dest, DestSeen, Edit};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use base64::Engine;
use serde_json::{Map, Value};

/// The module `copy`.
pub struct Copy;

impl Module for Copy {
    type Params = Dest;
    type State = DestSeen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "copy",
        aliases: &[],
        summary: "A file of the control machine, or a text, on the host",
        source: include_str!("copy.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("src", Kind::LocalFile, "The file on the control machine"),
            Param::new("content", Kind::Str, "The content itself, in the place of `src`"),
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
            Param::new("remote_src", Kind::Bool, "Only `false`: `src` is on the control machine")
                .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Dest, Fault> {
        if args.bool("remote_src") == Some(true) {
            return Err(Fault::param(
                "remote_src",
                "copying a file of the host to another place is not supported",
            )
            .hint("`command: cp -p SRC DEST` with `creates: DEST` does it once"));
        }
        match (args.value("src"), args.str("content")) {
            (Some(_), Some(_)) => Err(Fault::param("content", "`content` and `src` exclude each other")),
            (None, None) => Err(Fault::task("module `copy` needs `src` or `content`")),
            (None, Some(text)) => Dest::decode(args, None, text.into_bytes()),
            (Some(src), None) => {
                let (path, content) = local(src, "src")?;
                let bytes = base64::engine::general_purpose::STANDARD.decode(content);
                let bytes = bytes
                    .map_err(|error| Fault::param("src", format!("`{path}` was not read well: {error}")))?;
                Dest::decode(args, Some(path), bytes)
            }
        }
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

/// Path and content of a decoded [`Kind::LocalFile`] or [`Kind::LocalTemplate`].
pub(super) fn local<'a>(value: &'a Value, param: &str) -> Result<(&'a str, &'a str), Fault> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    text("path").zip(text("content")).ok_or_else(|| {
        Fault::param(param, format!("`{param}` takes the name of a file of the control machine"))
    })
}
