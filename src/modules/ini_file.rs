//! One option in a section of an INI file.
//!
//! The option's line is replaced where it stands; a commented-out one (`#option = ...`, `;option = ...`) is taken
//! over; otherwise the option is added at the end of its section, and a missing section at the end of the file.
//! Without `section` it is about the lines before the first section. With `state: absent`, the option goes, or
//! without `option` the whole section. A link at `path` is kept; what it points at is written.
//!
//! EXAMPLES
//! - name: The port
//!   ini_file: {path: /etc/grafana/grafana.ini, section: server, option: http_port, value: 3001}

use super::content::{self, Edit, Seen, Target};
use super::lineinfile::{bare, insert, missing};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `ini_file`.
pub struct IniFile;

/// An option and where it stands.
#[derive(Debug)]
pub struct Params {
    target: Target,
    section: Option<String>,
    option: Option<String>,
    value: Option<String>,
    present: bool,
    create: bool,
    tight: bool,
}

impl Module for IniFile {
    type Params = Params;
    type State = Seen;
    type Diff = Edit;

    const SPEC: Spec = Spec {
        name: "ini_file",
        aliases: &[],
        summary: "One option in a section of an INI file",
        source: include_str!("ini_file.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "The file").required().aliases(&["dest"]),
            Param::new(
                "section",
                Kind::Str,
                "The section, without its brackets; none is the part before the first",
            ),
            Param::new("option", Kind::Str, "The option; none means the section as a whole"),
            Param::new("value", Kind::Str, "Its value"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether it shall be there")
                .default("present"),
            Param::new("allow_no_value", Kind::Bool, "An option may stand alone, without `=`")
                .default("false"),
            Param::new("no_extra_spaces", Kind::Bool, "No blanks around `=`").default("false"),
            Param::new("create", Kind::Bool, "Make the file where it is missing").default("true"),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            content::BACKUP,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let present = args.str("state").as_deref() != Some("absent");
        for text in ["section", "option", "value"] {
            if args.str(text).is_some_and(|value| value.contains('\n')) {
                return Err(Fault::param(text, format!("`{text}` is one line")));
            }
        }
        let (section, option, value) = (args.str("section"), args.str("option"), args.str("value"));
        if section.is_none() && option.is_none() {
            return Err(Fault::task("module `ini_file` needs `section` or `option`"));
        }
        if present && option.is_some() && value.is_none() && args.bool("allow_no_value") != Some(true) {
            return Err(Fault::param("option", "an option needs a `value`")
                .hint("`allow_no_value: true` lets it stand alone"));
        }
        let create = args.bool("create").unwrap_or(true);
        let mut target = Target::decode(attrs::path(args, "path")?.unwrap_or_default(), args)?;
        target.make_folder = create;
        let tight = args.bool("no_extra_spaces").unwrap_or(false);
        Ok(Params { target, section, option, value, present, create, tight })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.target.asks()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen, Fault> {
        params.target.seen(answers)
    }

    fn diff(params: &Params, seen: &Seen) -> Result<Verdict<Edit>, Fault> {
        let before = match params.target.text(seen, "path")? {
            Some(text) => text,
            None if !params.present => return Ok(Verdict::InState("there is no such file".to_owned())),
            None if !params.create => return Err(missing(&params.target.path)),
            None => "",
        };
        let because = match (params.present, &params.option) {
            (true, Some(_)) => "the option is set",
            (true, None) => "the section is there",
            (false, Some(_)) => "no such option is set",
            (false, None) => "no such section is there",
        };
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
        let heads = |line: &String| heading(line).is_some();
        let (head, start) = match &self.section {
            None => (None, 0),
            Some(name) => match lines.iter().position(|line| heading(line) == Some(name)) {
                Some(at) => (Some(at), at + 1),
                None if !self.present => return text.to_owned(),
                None => {
                    if lines.last().is_some_and(|last| !bare(last).is_empty()) {
                        let end = lines.len();
                        insert(&mut lines, end, &["\n".to_owned()]);
                    }
                    lines.push(format!("[{name}]\n"));
                    (None, lines.len())
                }
            },
        };
        let end = lines[start..].iter().position(heads).map_or(lines.len(), |length| start + length);
        let Some(option) = &self.option else {
            if let (false, Some(head)) = (self.present, head) {
                lines.drain(head..end);
            }
            return lines.concat();
        };
        let is_set = |line: &String| name_of(line) == Some(option);
        let set = (start..end).filter(|at| is_set(&lines[*at])).collect::<Vec<_>>();
        if !self.present {
            set.iter().rev().for_each(|at| drop(lines.remove(*at)));
            return lines.concat();
        }
        let wanted = self.line(option);
        if let Some((first, others)) = set.split_first() {
            if !self.says_the_same(&lines[*first], option) {
                lines[*first] = wanted;
            }
            // A second setting of the same option would win or lose by order: one is enough.
            others.iter().rev().for_each(|at| drop(lines.remove(*at)));
            return lines.concat();
        }
        let commented = |line: &String| {
            let rest = line.trim_start().strip_prefix(['#', ';']);
            rest.is_some_and(|rest| rest.contains('=') && name_of(rest) == Some(option))
        };
        if let Some(at) = (start..end).find(|at| commented(&lines[*at])) {
            lines[at] = wanted;
            return lines.concat();
        }
        let last = (start..end).rfind(|at| !bare(&lines[*at]).trim().is_empty());
        insert(&mut lines, last.map_or(start, |at| at + 1), &[wanted]);
        lines.concat()
    }

    fn line(&self, option: &str) -> String {
        match &self.value {
            None => format!("{option}\n"),
            Some(value) if self.tight => format!("{option}={value}\n"),
            Some(value) => format!("{option} = {value}").trim_end().to_owned() + "\n",
        }
    }

    /// Blanks around `=` alone are no difference.
    fn says_the_same(&self, line: &str, option: &str) -> bool {
        let (name, value) = match bare(line).split_once('=') {
            Some((name, value)) => (name, Some(value.trim())),
            None => (bare(line), None),
        };
        name.trim() == option && value == self.value.as_deref().map(str::trim)
    }
}

/// The section that a line opens.
fn heading(line: &str) -> Option<&str> {
    bare(line).trim().strip_prefix('[')?.strip_suffix(']')
}

/// The option that a line sets; `None` for comments and headings.
fn name_of(line: &str) -> Option<&str> {
    let line = bare(line).trim();
    if line.is_empty() || line.starts_with(['#', ';', '[']) {
        return None;
    }
    Some(line.split_once('=').map_or(line, |(name, _)| name).trim())
}
