//! Settings of the kernel under /sys, now and at every boot.
//!
//! The value goes into `tmpfiles` (a file of systemd-tmpfiles, whose other lines are kept) and into the running kernel.
//! Where a setting offers a choice, as `always [madvise] never`, the word in brackets is the one in force.
//!
//! In containers /sys belongs to the machine around them: a setting that is missing or cannot be written is refused
//! with the reason, unless `ignoreerrors: true`, which then writes nothing and says so.
//!
//! EXAMPLES
//! - name: No huge pages behind the server's back
//!   sysfs: {name: /sys/kernel/mm/transparent_hugepage/enabled, value: never}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, Put, Run, quote};

/// The module `sysfs`.
pub struct Sysfs;

/// A setting and its value.
#[derive(Debug)]
pub struct Params {
    name: String,
    value: String,
    tmpfiles: String,
    ignore: bool,
}

/// What the host has.
pub struct Found {
    /// Content of the file for the next boot; `None` when it is not there.
    file: Option<String>,
    running: Running,
}

#[derive(Debug, PartialEq, Eq)]
enum Running {
    Missing,
    ReadOnly(String),
    Value(String),
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// New content of the file.
    file: Option<String>,
    set: bool,
}

impl Module for Sysfs {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "sysfs",
        aliases: &[],
        summary: "Settings of the kernel under /sys",
        source: include_str!("sysfs.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Path, "The file under /sys").required().aliases(&["path"]),
            Param::new("value", Kind::Str, "What is written into it").required(),
            Param::new("tmpfiles", Kind::Path, "File that sets it at every boot")
                .default("/etc/tmpfiles.d/60-ishprov.conf"),
            Param::new("ignoreerrors", Kind::Bool, "Go on where the kernel does not know or take it")
                .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
        if !name.starts_with("/sys/") || !name.chars().all(plain) || name.contains("..") {
            return Err(Fault::param("name", format!("`{name}` is no setting under /sys"))
                .hint("for example /sys/kernel/mm/transparent_hugepage/enabled"));
        }
        let value = args.required("value").trim().to_owned();
        // A line of tmpfiles.d ends at the line's end and knows escapes.
        if value.is_empty() || value.contains(['\n', '\\', '%']) {
            return Err(Fault::param(
                "value",
                "`value` takes one line without backslashes and per cent signs",
            ));
        }
        let tmpfiles = args.str("tmpfiles").unwrap_or_else(|| "/etc/tmpfiles.d/60-ishprov.conf".to_owned());
        if !tmpfiles.ends_with(".conf") {
            return Err(Fault::param("tmpfiles", format!("`{tmpfiles}` would not be read"))
                .hint("systemd-tmpfiles reads files whose names end in `.conf`"));
        }
        Ok(Params { name, value, tmpfiles, ignore: args.bool("ignoreerrors").unwrap_or(false) })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::content(&params.tmpfiles), running(&params.name)]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let ask = Ask::content(&params.tmpfiles);
        if !matches!(answers.file(&ask)?.kind, FileKind::File | FileKind::Absent) {
            return Err(Fault::param("tmpfiles", format!("`{}` is no regular file", params.tmpfiles))
                .healed_by(&["file", "apt"]));
        }
        let text = answers.output(&running(&params.name))?.text();
        let running = match text.split_once('\n') {
            Some(("rw", value)) => Running::Value(in_force(value)),
            Some(("ro", value)) => Running::ReadOnly(in_force(value)),
            _ => Running::Missing,
        };
        Ok(Found { file: answers.text(&ask)?, running })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let now = match &found.running {
            Running::Value(now) => now,
            Running::ReadOnly(now) if *now == params.value => {
                return Ok(Verdict::InState(format!("{now}, set by the machine around")));
            }
            Running::ReadOnly(now) => {
                return forbidden(params, &format!("can only be read here, and is `{now}`"));
            }
            Running::Missing => return forbidden(params, "is not known to the kernel of this host"),
        };
        let before = found.file.clone().unwrap_or_default();
        let after = edited(&before, &params.name, &params.value);
        let diff = Diff { file: (after != before).then_some(after), set: *now != params.value };
        if diff == Diff::default() {
            return Ok(Verdict::InState(format!("{now}, and in `{}`", params.tmpfiles)));
        }
        Ok(Verdict::Act(diff))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(after) = &diff.file {
            changes.push(Change::text(&*params.tmpfiles, found.file.clone().unwrap_or_default(), after));
        }
        if let (true, Running::Value(now)) = (diff.set, &found.running) {
            changes.push(Change::field(&*params.name, now, &params.value));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(content) = &diff.file {
            let mut put = Put::new(&params.tmpfiles, content.clone());
            if found.file.is_none() {
                put.mode = Some(0o644);
            }
            actions.push(Action::Put(put));
        }
        if diff.set {
            let script = format!("printf %s {} > {}", quote(&params.value), quote(&params.name));
            actions.push(Action::Run(Run::new(script)));
        }
        actions
    }
}

/// Where a setting cannot be made, that is a refusal, or a reason to do nothing.
fn forbidden(params: &Params, why: &str) -> Result<Verdict<Diff>, Fault> {
    let name = &params.name;
    if params.ignore {
        return Ok(Verdict::InState(format!("left alone: `{name}` {why}")));
    }
    Err(Fault::param("name", format!("`{name}` {why}"))
        .healed_by(&["modprobe", "apt"])
        .hint("in a container it is set on the machine around it; `ignoreerrors: true` goes on without it"))
}

/// The setting in the running kernel; the first line tells whether it can be written.
fn running(name: &str) -> Ask {
    let path = quote(name);
    Ask::sh(format!(
        "p={path}\n[ -e \"$p\" ] || exit 0\nif [ -w \"$p\" ]; then echo rw; else echo ro; fi\ncat \"$p\""
    ))
}

/// `never` of `always madvise [never]`; else the text itself.
fn in_force(text: &str) -> String {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
    chosen.unwrap_or(text).trim().to_owned()
}

/// The file with one line that writes the value (`w PATH - - - - VALUE`), where the first such line stood.
fn edited(text: &str, name: &str, value: &str) -> String {
    let line = format!("w {name} - - - - {value}");
    let (mut out, mut done) = (String::new(), false);
    for old in text.lines() {
        let mut words = old.split_whitespace();
        let ours = words.next().is_some_and(|kind| kind.starts_with('w')) && words.next() == Some(name);
        if !ours {
            out.push_str(old);
        } else if done {
            continue;
        } else {
            out.push_str(&line);
            done = true;
        }
        out.push('\n');
    }
    if !done {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_in_force_is_the_one_in_brackets() {
        assert_eq!(in_force("always [madvise] never\n"), "madvise");
        assert_eq!(in_force("64\n"), "64");
    }

    #[test]
    fn other_lines_of_the_file_stay() {
        let text = "# ours\nw /sys/a - - - - 1\nd /run/x 0755\nw! /sys/a - - - - 2\n";
        assert_eq!(edited(text, "/sys/a", "3"), "# ours\nw /sys/a - - - - 3\nd /run/x 0755\n");
        assert_eq!(edited("", "/sys/b", "never"), "w /sys/b - - - - never\n");
    }
}
