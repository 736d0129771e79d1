//! Puts a file of the control machine, or a text, on the host.
//!
//! `src` is looked up in the role's `files/`. A `dest` that is a folder, or ends in `/`, takes the file under its own
//! name. A `src` that is a folder is put into `dest` with all that is in it; with a `/` at its end, only what is in it
//! is. What else lies there stays. The content is compared before anything is sent: what is there already is not sent again. The new file is
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
use super::tree::{Tree, TreeEdit, TreeSeen};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use base64::Engine;
use serde_json::{Map, Value};

/// The module `copy`.
pub struct Copy;

/// What to copy.
#[derive(Debug)]
pub enum Params {
    /// A file.
    One(Box<Dest>),
    /// A folder.
    Tree(Tree),
}

/// What was found at `dest`.
#[derive(Debug)]
pub enum Found {
    /// Of a file.
    One(Box<DestSeen>),
    /// Of a folder.
    Tree(TreeSeen),
}

/// What differs.
#[derive(Debug)]
pub enum Diff {
    /// Of a file.
    One(Edit),
    /// Of a folder.
    Tree(TreeEdit),
}

impl Module for Copy {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "copy",
        aliases: &[],
        summary: "A file of the control machine, or a text, on the host",
        source: include_str!("copy.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("src", Kind::LocalFile, "The file or folder on the control machine"),
            Param::new("content", Kind::Str, "The content itself, in the place of `src`"),
            Param::new(
                "dest",
                Kind::Path,
                "Where it goes: a file, or a folder that takes it under its own name",
            )
            .required(),
            attrs::MODE,
            Param::new(
                "directory_mode",
                Kind::Mode,
                "Permission bits of folders that are made for a `src` that is a folder; 0755 when not given",
            ),
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

    fn decode(args: &Args) -> Result<Params, Fault> {
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
            (None, Some(text)) => Ok(Params::One(Box::new(Dest::decode(args, None, text.into_bytes())?))),
            (Some(src), None) => {
                if let Some(entries) = src.get("folder").and_then(Value::as_array) {
                    return Ok(Params::Tree(Tree::decode(args, src, entries)?));
                }
                let (path, content) = local(src, "src")?;
                let bytes = base64::engine::general_purpose::STANDARD.decode(content);
                let bytes = bytes
                    .map_err(|error| Fault::param("src", format!("`{path}` was not read well: {error}")))?;
                Ok(Params::One(Box::new(Dest::decode(args, Some(path), bytes)?)))
            }
        }
    }

    fn probe(params: &Params) -> Vec<Ask> {
        match params {
            Params::One(dest) => dest.asks(),
            Params::Tree(tree) => tree.asks(),
        }
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        Ok(match params {
            Params::One(dest) => Found::One(Box::new(dest.seen(answers)?)),
            Params::Tree(tree) => Found::Tree(tree.seen(answers)?),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        Ok(match (params, found) {
            (Params::One(dest), Found::One(seen)) => match dest.diff(seen)? {
                Verdict::InState(because) => Verdict::InState(because),
                Verdict::Act(edit) => Verdict::Act(Diff::One(edit)),
            },
            (Params::Tree(tree), Found::Tree(seen)) => match tree.diff(seen)? {
                Verdict::InState(because) => Verdict::InState(because),
                Verdict::Act(edit) => Verdict::Act(Diff::Tree(edit)),
            },
            _ => return Err(Fault::task("what was found is of another kind than what is wanted")),
        })
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        match (params, found, diff) {
            (Params::One(dest), Found::One(seen), Diff::One(edit)) => dest.show(seen, edit),
            (Params::Tree(tree), Found::Tree(seen), Diff::Tree(edit)) => tree.show(seen, edit),
            _ => Vec::new(),
        }
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        match (params, found, diff) {
            (Params::One(dest), Found::One(seen), Diff::One(edit)) => dest.actions(seen, edit),
            (Params::Tree(tree), Found::Tree(seen), Diff::Tree(edit)) => tree.actions(seen, edit),
            _ => Vec::new(),
        }
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        match (params, found) {
            (Params::One(dest), Found::One(seen)) => dest.result(seen),
            (Params::Tree(tree), _) => tree.result(),
            _ => Map::new(),
        }
    }
}

/// Path and content of a decoded [`Kind::LocalFile`] or [`Kind::LocalTemplate`].
pub(super) fn local<'a>(value: &'a Value, param: &str) -> Result<(&'a str, &'a str), Fault> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    text("path").zip(text("content")).ok_or_else(|| match value.get("folder") {
        Some(_) => {
            Fault::param(param, format!("`{param}` is a folder: {}", text("path").unwrap_or_default()))
        }
        None => Fault::param(param, format!("`{param}` takes the name of a file of the control machine")),
    })
}
