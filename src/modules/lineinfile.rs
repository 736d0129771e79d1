//! Keeps one line in a text file, or keeps it out.
//!
//! With `state: present` the last line that `regexp` (or `search_string`) finds is replaced by `line`. Where nothing
//! is found, and the line is not there already, it is added: after the last line that `insertafter` finds, before
//! the last that `insertbefore` finds, else at the end. `firstmatch` takes the first found in the place of the last.
//! With `state: absent` every line found is removed.
//!
//! `regexp` has to find the finished line too: a task that would change the file again on its next run is refused.
//! A link at `path` is kept; what it points at is written.
//!
//! EXAMPLES
//! - name: No passwords over SSH
//!   lineinfile:
//!     path: /etc/ssh/sshd_config
//!     regexp: "^#?PasswordAuthentication "
//!     line: PasswordAuthentication no
//!     validate: sshd -t -f %s
//! - name: Raise a number, keep the rest
//!   lineinfile: {path: /etc/app.conf, regexp: "^(max = )\\d+(.*)$", line: "\\g<1>20\\2", backrefs: true}
//! - name: Not that host
//!   lineinfile: {path: /etc/hosts, regexp: " old-host$", state: absent}

use super::content::{self, Edit, Seen, Target};
use super::pattern::{Flags, Pattern, expand};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `lineinfile`.
pub struct LineInFile;

/// A line and where it goes.
#[derive(Debug)]
pub struct Params {
    target: Target,
    line: Option<String>,
    find: Find,
    place: Place,
    present: bool,
    backrefs: bool,
    create: bool,
    firstmatch: bool,
}

#[derive(Debug)]
enum Find {
    /// The line itself.
    Line,
    Regexp(Pattern),
    Text(String),
}

/// Where new text goes.
#[derive(Debug)]
pub(super) enum Place {
    /// At the beginning.
    Begin,
    /// At the end.
    End,
    /// After a line that is found.
    After(Pattern),
    /// Before a line that is found.
    Before(Pattern),
}

impl Place {
    /// Reads `insertafter` and `insertbefore`.
    pub(super) fn decode(args: &Args, flags: Flags) -> Result<Self, Fault> {
        match (args.str("insertafter"), args.str("insertbefore")) {
            (Some(_), Some(_)) => {
                Err(Fault::param("insertbefore", "`insertbefore` and `insertafter` exclude each other"))
            }
            (None, None) => Ok(Self::End),
            (Some(after), None) => match after.as_str() {
                "BOF" => Ok(Self::Begin),
                "EOF" => Ok(Self::End),
                text => Ok(Self::After(Pattern::compile("insertafter", text, flags)?)),
            },
            (None, Some(before)) => match before.as_str() {
                "BOF" => Ok(Self::Begin),
                "EOF" => Ok(Self::End),
                text => Ok(Self::Before(Pattern::compile("insertbefore", text, flags)?)),
            },
        }
    }
}

/// The parameter `insertafter`.
pub(super) const INSERT_AFTER: Param = Param::new(
    "insertafter",
    Kind::Str,
    "Where new text goes: after the last line that this expression finds, or at the end (EOF, BOF)",
);
/// The parameter `insertbefore`.
pub(super) const INSERT_BEFORE: Param = Param::new(
    "insertbefore",
    Kind::Str,
    "Where new text goes: before the last line that this expression finds, or at the beginning (BOF)",
);

impl Module for LineInFile {
    type Params = Params;
    type State = Seen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "lineinfile",
        aliases: &[],
        summary: "One line in a text file",
        source: include_str!("lineinfile.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "The file").required().aliases(&["dest", "destfile", "name"]),
            Param::new("line", Kind::Str, "The line, without its end").aliases(&["value"]),
            Param::new("regexp", Kind::Str, "An expression that finds the line to replace or remove")
                .aliases(&["regex"]),
            Param::new("search_string", Kind::Str, "A text that finds the line to replace or remove"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether the line shall be there")
                .default("present"),
            INSERT_AFTER,
            INSERT_BEFORE,
            Param::new(
                "backrefs",
                Kind::Bool,
                "Fill groups of `regexp` into `line`; adds nothing when it finds nothing",
            )
            .default("false"),
            Param::new("create", Kind::Bool, "Make the file where it is missing").default("false"),
            Param::new("firstmatch", Kind::Bool, "Take the first line found in the place of the last")
                .default("false"),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            content::VALIDATE,
            content::BACKUP,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let flags = Flags::default();
        let find = match (args.str("regexp"), args.str("search_string")) {
            (Some(_), Some(_)) => {
                return Err(Fault::param("search_string", "`search_string` and `regexp` exclude each other"));
            }
            (Some(regexp), None) => Find::Regexp(Pattern::compile("regexp", &regexp, flags)?),
            (None, Some(text)) => Find::Text(text),
            (None, None) => Find::Line,
        };
        let present = args.str("state").as_deref() != Some("absent");
        let line = args.str("line");
        let backrefs = args.bool("backrefs").unwrap_or(false);
        match (&line, &find) {
            (None, _) if present => return Err(Fault::task("`state: present` needs `line`")),
            (None, Find::Line) => {
                return Err(Fault::task("`state: absent` needs `line`, `regexp` or `search_string`"));
            }
            _ => {}
        }
        if backrefs && !matches!(find, Find::Regexp(_)) {
            return Err(Fault::param("backrefs", "`backrefs` needs `regexp`"));
        }
        let create = args.bool("create").unwrap_or(false);
        let mut target = Target::decode(attrs::path(args, "path")?.unwrap_or_default(), args)?;
        target.make_folder = create;
        Ok(Params {
            target,
            line,
            find,
            place: Place::decode(args, flags)?,
            present,
            backrefs,
            create,
            firstmatch: args.bool("firstmatch").unwrap_or(false),
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
            if !params.present {
                return Ok(Verdict::InState("there is no such file".to_owned()));
            }
            if !params.create {
                return Err(missing(&params.target.path));
            }
            let after = params.edit("");
            return Ok(params.target.compare(seen, after.as_bytes(), ""));
        };
        let after = params.edit(before);
        if params.edit(&after) != after {
            return Err(Fault::param("regexp", "the task would change the file again on every run").hint(
                "`regexp` has to find the finished line as well, and no other line that it would then replace",
            ));
        }
        let found = before.lines().any(|line| params.finds(line));
        let because = match (params.present, params.backrefs && !found) {
            (true, true) => "`regexp` finds no line, and `backrefs` adds none",
            (true, false) => "the line is there",
            (false, _) => "no such line is there",
        };
        Ok(params.target.compare(seen, after.as_bytes(), because))
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
        if !self.present {
            lines.retain(|line| !self.finds(bare(line)));
            return lines.concat();
        }
        let wanted = self.line.as_deref().unwrap_or_default();
        let searched = !matches!(self.find, Find::Line);
        let hit = if searched { self.pick(&lines, |line| self.finds(line)) } else { None };
        if let Some(at) = hit {
            let new = match &self.find {
                Find::Regexp(pattern) if self.backrefs => pattern
                    .regex()
                    .captures(bare(&lines[at]))
                    .map_or_else(|| wanted.to_owned(), |captures| expand(wanted, &captures)),
                _ => wanted.to_owned(),
            };
            if bare(&lines[at]) != new {
                lines[at] = format!("{new}\n");
            }
            return lines.concat();
        }
        if self.backrefs || lines.iter().any(|line| bare(line) == wanted) {
            return text.to_owned();
        }
        let at = match &self.place {
            Place::Begin => 0,
            Place::End => lines.len(),
            Place::After(pattern) => {
                self.pick(&lines, |line| pattern.finds(line)).map_or(lines.len(), |at| at + 1)
            }
            Place::Before(pattern) => self.pick(&lines, |line| pattern.finds(line)).unwrap_or(lines.len()),
        };
        insert(&mut lines, at, &[format!("{wanted}\n")]);
        lines.concat()
    }

    fn finds(&self, line: &str) -> bool {
        match &self.find {
            Find::Line => self.line.as_deref() == Some(line),
            Find::Regexp(pattern) => pattern.finds(line),
            Find::Text(text) => line.contains(text.as_str()),
        }
    }

    fn pick(&self, lines: &[String], finds: impl Fn(&str) -> bool) -> Option<usize> {
        let mut hits = lines.iter().enumerate().filter(|(_, line)| finds(bare(line))).map(|(at, _)| at);
        if self.firstmatch { hits.next() } else { hits.next_back() }
    }
}

/// Puts lines in at a place; the line before them gets its end when it has none.
pub(super) fn insert(lines: &mut Vec<String>, at: usize, new: &[String]) {
    if let Some(last) = at.checked_sub(1).and_then(|at| lines.get_mut(at))
        && !last.ends_with('\n')
    {
        last.push('\n');
    }
    lines.splice(at..at, new.iter().cloned());
}

/// A line without its end.
pub(super) fn bare(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

/// There is no file to edit.
pub(super) fn missing(path: &str) -> Fault {
    Fault::param("path", format!("there is no file `{path}`")).hint("`create: true` makes it")
}
