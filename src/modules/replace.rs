//! Replaces every match of an expression in a text file.
//!
//! `^` and `$` match at every line. `after` and `before` limit the search to what stands between their first
//! matches. A task whose result matches `regexp` again, and so would change the file on every run, is refused.
//! A link at `path` is kept; what it points at is written.
//!
//! EXAMPLES
//! - name: The old name is gone
//!   replace: {path: /etc/hosts, regexp: '(\s)old\.example\.org(\s|$)', replace: '\1new.example.org\2'}
//! - name: In one section only
//!   replace: {path: /etc/app.ini, after: '\[cache\]', before: '\[', regexp: '^size = .*$', replace: size = 20}

use super::content::{self, Edit, Seen, Target};
use super::pattern::{Flags, Pattern};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `replace`.
pub struct Replace;

/// What to replace by what.
#[derive(Debug)]
pub struct Params {
    target: Target,
    regexp: Pattern,
    replacement: String,
    /// The group `subsection` of it is searched.
    section: Option<Pattern>,
}

impl Module for Replace {
    type Params = Params;
    type State = Seen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "replace",
        aliases: &[],
        summary: "Every match of an expression in a text file",
        source: include_str!("replace.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "The file").required().aliases(&["dest", "destfile", "name"]),
            Param::new("regexp", Kind::Str, "What to replace").required(),
            Param::new("replace", Kind::Str, "What to put there; groups as `\\1` or `\\g<name>`")
                .default("nothing"),
            Param::new("after", Kind::Str, "Search only behind the first match of this expression"),
            Param::new("before", Kind::Str, "Search only in front of a match of this expression"),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            content::VALIDATE,
            content::BACKUP,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let flags = Flags { dot_all: true, ..Flags::default() };
        let (after, before) = (args.str("after"), args.str("before"));
        let section = match (&after, &before) {
            (Some(after), Some(before)) => Some(("after", format!("{after}(?P<subsection>.*?){before}"))),
            (Some(after), None) => Some(("after", format!("{after}(?P<subsection>.*)"))),
            (None, Some(before)) => Some(("before", format!("(?P<subsection>.*){before}"))),
            (None, None) => None,
        };
        Ok(Params {
            target: Target::decode(attrs::path(args, "path")?.unwrap_or_default(), args)?,
            regexp: Pattern::compile(
                "regexp",
                &args.required("regexp"),
                Flags { multi_line: true, ..Flags::default() },
            )?,
            replacement: args.str("replace").unwrap_or_default(),
            section: section.map(|(param, text)| Pattern::compile(param, &text, flags)).transpose()?,
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.target.asks()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen, Fault> {
        params.target.seen(answers)
    }

    fn diff(params: &Params, seen: &Seen) -> Result<Verdict<Edit>, Fault> {
        let path = &params.target.path;
        let Some(before) = params.target.text(seen, "path")? else {
            return Err(Fault::param("path", format!("there is no file `{path}`")));
        };
        let after = params.edit(before);
        if params.edit(&after) != after {
            return Err(Fault::param(
                "replace",
                "the result matches `regexp` again: every run would change the file",
            )
            .hint("let `regexp` match only what is not replaced yet"));
        }
        Ok(params.target.compare(seen, after.as_bytes(), "nothing to replace is there"))
    }

    fn show(params: &Params, seen: &Seen, edit: &Edit) -> Vec<Change> {
        params.target.show(seen, edit)
    }

    fn actions(params: &Params, seen: &Seen, edit: &Edit) -> Vec<Action> {
        params.target.actions(seen, edit)
    }

    fn result(params: &Params, seen: &Seen, _ran: &[Output]) -> Map<String, Value> {
        params.target.result(seen, "path")
    }
}

impl Params {
    /// The text as it shall be.
    fn edit(&self, text: &str) -> String {
        let range = match &self.section {
            None => 0..text.len(),
            Some(section) => {
                match section.regex().captures(text).and_then(|found| found.name("subsection")) {
                    Some(found) => found.range(),
                    None => return text.to_owned(),
                }
            }
        };
        let (replaced, _) = self.regexp.replace_all(&text[range.clone()], &self.replacement);
        format!("{}{replaced}{}", &text[..range.start], &text[range.end..])
    }
}
