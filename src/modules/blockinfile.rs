//! Keeps a block of lines between two marker lines in a text file.
//!
//! The block is found again by its markers: `marker` with `{mark}` replaced by `marker_begin` and `marker_end`. Two
//! blocks in one file need markers of their own. An empty `block`, like `state: absent`, removes block and markers.
//! A link at `path` is kept; what it points at is written.
//!
//! EXAMPLES
//! - name: The cluster's hosts
//!   blockinfile:
//!     path: /etc/hosts
//!     marker: "# {mark} cluster"
//!     block: |
//!       198.18.200.11 pg-primary
//!       198.18.200.12 pg-replica1

use super::content::{self, Edit, Seen, Target};
use super::lineinfile::{INSERT_AFTER, INSERT_BEFORE, Place, bare, insert, missing};
use super::pattern::Flags;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `blockinfile`.
pub struct BlockInFile;

/// A block and where it goes.
#[derive(Debug)]
pub struct Params {
    target: Target,
    /// The lines between the markers; empty removes.
    block: String,
    begin: String,
    end: String,
    place: Place,
    create: bool,
    blank_before: bool,
    blank_after: bool,
}

impl Module for BlockInFile {
    type Params = Params;
    type State = Seen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "blockinfile",
        aliases: &[],
        summary: "A block of lines between markers in a text file",
        source: include_str!("blockinfile.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "The file").required().aliases(&["dest", "destfile", "name"]),
            Param::new("block", Kind::Str, "The lines; none removes the block").aliases(&["content"]),
            Param::new(
                "marker",
                Kind::Str,
                "The marker lines; `{mark}` becomes `marker_begin` and `marker_end`",
            )
            .default("# {mark} ANSIBLE MANAGED BLOCK"),
            Param::new("marker_begin", Kind::Str, "What `{mark}` becomes above the block").default("BEGIN"),
            Param::new("marker_end", Kind::Str, "What `{mark}` becomes below the block").default("END"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether the block shall be there")
                .default("present"),
            INSERT_AFTER,
            INSERT_BEFORE,
            Param::new("create", Kind::Bool, "Make the file where it is missing").default("false"),
            Param::new(
                "prepend_newline",
                Kind::Bool,
                "A blank line above the block, save at the file's beginning",
            )
            .default("false"),
            Param::new("append_newline", Kind::Bool, "A blank line below the block, save at the file's end")
                .default("false"),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            content::VALIDATE,
            content::BACKUP,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let marker = args.str("marker").unwrap_or_else(|| "# {mark} ANSIBLE MANAGED BLOCK".to_owned());
        if !marker.contains("{mark}") || marker.contains('\n') {
            return Err(Fault::param("marker", "`marker` is one line that holds `{mark}`")
                .hint("without it the end of the block could not be told from its beginning"));
        }
        let mark = |name: &str, usual: &str| {
            let mark = args.str(name).unwrap_or_else(|| usual.to_owned());
            marker.replace("{mark}", &mark)
        };
        let (begin, end) = (mark("marker_begin", "BEGIN"), mark("marker_end", "END"));
        if begin == end || begin.contains('\n') || end.contains('\n') {
            return Err(Fault::param(
                "marker_end",
                "`marker_begin` and `marker_end` are two different texts on one line",
            ));
        }
        let mut block = match args.str("state").as_deref() {
            Some("absent") => String::new(),
            _ => args.str("block").unwrap_or_default(),
        };
        if !block.is_empty() && !block.ends_with('\n') {
            block.push('\n');
        }
        if block.lines().any(|line| line == begin || line == end) {
            return Err(Fault::param("block", "the block holds one of its own markers"));
        }
        let create = args.bool("create").unwrap_or(false);
        let mut target = Target::decode(attrs::path(args, "path")?.unwrap_or_default(), args)?;
        target.make_folder = create;
        Ok(Params {
            target,
            block,
            begin,
            end,
            place: Place::decode(args, Flags::default())?,
            create,
            blank_before: args.bool("prepend_newline").unwrap_or(false),
            blank_after: args.bool("append_newline").unwrap_or(false),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.target.asks()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen, Fault> {
        params.target.seen(answers)
    }

    fn diff(params: &Params, seen: &Seen) -> Result<Verdict<Edit>, Fault> {
        let Some(before) = params.target.text(seen, "path")? else {
            if params.block.is_empty() {
                return Ok(Verdict::InState("there is no such file".to_owned()));
            }
            if !params.create {
                return Err(missing(&params.target.path));
            }
            return Ok(params.target.compare(seen, params.edit("").as_bytes(), ""));
        };
        let because = if params.block.is_empty() { "no such block is there" } else { "the block is there" };
        Ok(params.target.compare(seen, params.edit(before).as_bytes(), because))
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
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let last = |mark: &str| lines.iter().rposition(|line| bare(line) == mark);
        let mut at = match (last(&self.begin), last(&self.end)) {
            (Some(begin), Some(end)) => {
                let (first, last) = (begin.min(end), begin.max(end));
                lines.drain(first..=last);
                first
            }
            _ if self.block.is_empty() => return text.to_owned(),
            _ => match &self.place {
                Place::Begin => 0,
                Place::End => lines.len(),
                Place::After(pattern) => {
                    lines.iter().rposition(|line| pattern.finds(bare(line))).map_or(lines.len(), |at| at + 1)
                }
                Place::Before(pattern) => {
                    lines.iter().rposition(|line| pattern.finds(bare(line))).unwrap_or(lines.len())
                }
            },
        };
        if self.block.is_empty() {
            return lines.concat();
        }
        let blank = |line: Option<&String>| line.is_none_or(|line| bare(line).is_empty());
        if self.blank_before && at > 0 && !blank(lines.get(at - 1)) {
            insert(&mut lines, at, &["\n".to_owned()]);
            at += 1;
        }
        let mut block = vec![format!("{}\n", self.begin)];
        block.extend(self.block.split_inclusive('\n').map(str::to_owned));
        block.push(format!("{}\n", self.end));
        if self.blank_after && !blank(lines.get(at)) {
            block.push("\n".to_owned());
        }
        insert(&mut lines, at, &block);
        lines.concat()
    }
}
