//! Kernel parameters, in the running kernel and for the next boot.
//!
//! The value goes into `sysctl_file` (other lines, comments and their order are kept) and, with `sysctl_set: true`,
//! into the running kernel at once. `reload: true` (the default) loads the file with `sysctl -p` when it changed.
//! Without `sysctl_set` the running value is not looked at, as with Ansible.
//!
//! In containers many parameters belong to the machine around them: a parameter that is missing or cannot be
//! written is refused with the reason, unless `ignoreerrors: true`.
//!
//! EXAMPLES
//! - name: Keep PostgreSQL's memory in memory
//!   sysctl: {name: vm.swappiness, value: "10", sysctl_file: /etc/sysctl.d/60-postgresql.conf, sysctl_set: true}
//! - name: Not ours any more
//!   sysctl: {name: vm.nr_hugepages, state: absent, sysctl_file: /etc/sysctl.d/60-postgresql.conf}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, Put, Run, quote};

/// The module `sysctl`.
pub struct Sysctl;

/// A kernel parameter and its value.
#[derive(Debug)]
pub struct Params {
    name: String,
    /// `None`: the file shall not set it.
    value: Option<String>,
    file: String,
    set: bool,
    reload: bool,
    ignore: bool,
}

/// What the host has.
pub struct Found {
    /// Content of the file; `None` when it is not there.
    file: Option<String>,
    running: Running,
}

/// The value in the running kernel.
#[derive(Debug, PartialEq, Eq)]
enum Running {
    NotAsked,
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

impl Module for Sysctl {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "sysctl",
        aliases: &[],
        summary: "Kernel parameters",
        source: include_str!("sysctl.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The parameter: `vm.swappiness`").required().aliases(&["key"]),
            Param::new("value", Kind::Str, "Its value").aliases(&["val"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether the file sets it")
                .default("present"),
            Param::new("sysctl_file", Kind::Path, "File for the next boot").default("/etc/sysctl.conf"),
            Param::new("sysctl_set", Kind::Bool, "Set it in the running kernel too").default("false"),
            Param::new("reload", Kind::Bool, "Load the file when it changed").default("true"),
            Param::new("ignoreerrors", Kind::Bool, "Go on where the kernel does not know or take it")
                .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name").trim().replace('/', ".");
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-@*".contains(c);
        if name.is_empty() || !name.chars().all(plain) || name.contains("..") || name.starts_with('.') {
            return Err(Fault::param("name", format!("`{name}` is no name of a kernel parameter")));
        }
        let absent = args.str("state").as_deref() == Some("absent");
        let value = args.str("value").map(|value| normal(&value));
        let value = match (absent, value) {
            (true, _) => None,
            (false, Some(value)) if !value.is_empty() => Some(value),
            _ => return Err(Fault::task("module `sysctl` needs `value`").hint("or `state: absent`")),
        };
        let flag = |name: &str, default| args.bool(name).unwrap_or(default);
        Ok(Params {
            value,
            file: args.str("sysctl_file").unwrap_or_else(|| "/etc/sysctl.conf".to_owned()),
            set: flag("sysctl_set", false) && !absent,
            reload: flag("reload", true),
            ignore: flag("ignoreerrors", false),
            name,
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let file = Ask::content(&params.file);
        std::iter::once(file).chain(params.value.is_some().then(|| running(&params.name))).collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let ask = Ask::content(&params.file);
        let kind = answers.file(&ask)?.kind;
        if !matches!(kind, FileKind::File | FileKind::Absent) {
            return Err(Fault::param("sysctl_file", format!("`{}` is no regular file", params.file))
                .healed_by(&["file", "apt"]));
        }
        let running = match params.value {
            None => Running::NotAsked,
            Some(_) => {
                let text = answers.output(&running(&params.name))?.text();
                match text.split_once('\n') {
                    Some(("rw", value)) => Running::Value(normal(value)),
                    Some(("ro", value)) => Running::ReadOnly(normal(value)),
                    _ => Running::Missing,
                }
            }
        };
        Ok(Found { file: answers.text(&ask)?, running })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let before = found.file.clone().unwrap_or_default();
        let after = edited(&before, &params.name, params.value.as_deref());
        let mut diff = Diff { file: (after != before).then_some(after), set: false };
        if let Some(value) = &params.value {
            // Loading the file would fail just the same.
            let touches = params.set || (params.reload && diff.file.is_some());
            diff.set = match &found.running {
                Running::Value(now) => params.set && now != value,
                Running::ReadOnly(now) if now != value && touches && !params.ignore => {
                    return Err(refused(&params.name, &format!("can only be read here, and is `{now}`")));
                }
                Running::Missing if touches && !params.ignore => {
                    return Err(refused(&params.name, "is not known to the kernel of this host"));
                }
                _ => false,
            };
        }
        if diff == Diff::default() {
            Ok(Verdict::InState(reason(params, found)))
        } else {
            Ok(Verdict::Act(diff))
        }
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(after) = &diff.file {
            changes.push(Change::text(&*params.file, found.file.clone().unwrap_or_default(), after));
        }
        if let (true, Running::Value(now), Some(value)) = (diff.set, &found.running, &params.value) {
            changes.push(Change::field(&*params.name, now, value));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(content) = &diff.file {
            let mut put = Put::new(&params.file, content.clone());
            if found.file.is_none() {
                put.mode = Some(0o644);
            }
            actions.push(Action::Put(put));
        }
        let ignore = if params.ignore { "-e " } else { "" };
        let quiet = |script: String| {
            let mut run = Run::new(script);
            if params.ignore {
                // What the file holds besides may fail as well.
                run.accept = vec![0, 1, 255];
            }
            Action::Run(run)
        };
        if let (true, Some(value)) = (diff.set, &params.value) {
            actions.push(quiet(format!("sysctl {ignore}-w {}", quote(&format!("{}={value}", params.name)))));
        } else if params.reload && diff.file.is_some() && params.value.is_some() {
            actions.push(quiet(format!("sysctl {ignore}-p {}", quote(&params.file))));
        }
        actions
    }
}

/// The value in the running kernel; the first line tells whether it can be written.
fn running(name: &str) -> Ask {
    // Dots separate folders; a dot inside a name (of an interface) is written as a slash, and was turned into a dot.
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let path = quote(&path);
    Ask::sh(format!(
        "p={path}\n[ -e \"$p\" ] || exit 0\n\
         o=$(while read -r _ _ _ _ at options _; do case $p in \"$at\"|\"$at\"/*) printf '%s\\n' \"$options\";; esac; done </proc/self/mountinfo | tail -n 1)\n\
         case $(stat -c %A \"$p\"):,$o, in -?w*:*,ro,*|-?-*) echo ro;; *) echo rw;; esac\ncat \"$p\""
    ))
}

/// One blank between numbers, as the kernel itself is indifferent to them.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The file with the parameter set once (where it was first set, else at the end) or not at all.
fn edited(text: &str, name: &str, value: Option<&str>) -> String {
    let mut out = String::new();
    let mut done = false;
    for line in text.lines() {
        let setting =
            line.split_once('=').map(|(key, value)| (key.trim().trim_start_matches('-'), value.trim()));
        match setting {
            Some((key, now))
                if !line.trim_start().starts_with(['#', ';']) && key.replace('/', ".") == name =>
            {
                if let (Some(value), false) = (value, done) {
                    if normal(now) == value {
                        out.push_str(line);
                    } else {
                        out.push_str(&format!("{name}={value}"));
                    }
                    out.push('\n');
                }
                done = true;
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    if let (Some(value), false) = (value, done) {
        out.push_str(&format!("{name}={value}\n"));
    }
    // A missing end of the last line is no reason to write.
    if out.strip_suffix('\n') == Some(text) { text.to_owned() } else { out }
}

fn refused(name: &str, why: &str) -> Fault {
    Fault::param("name", format!("the kernel parameter `{name}` {why}"))
        .healed_by(&["modprobe", "apt"])
        .hint("in a container it is set on the machine around it; `ignoreerrors: true` goes on without it")
}

fn reason(params: &Params, found: &Found) -> String {
    match (&params.value, &found.running) {
        (None, _) => format!("`{}` does not set it", params.file),
        (Some(value), Running::Value(_)) if params.set => {
            format!("{value}, and in `{}`", params.file)
        }
        (Some(value), _) => format!("{value} in `{}`", params.file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_edited_in_place() {
        let text = "# vm.swappiness=1\nvm.swappiness = 60\nkernel.shmmax=1\n-vm/swappiness=3\n";
        assert_eq!(
            edited(text, "vm.swappiness", Some("10")),
            "# vm.swappiness=1\nvm.swappiness=10\nkernel.shmmax=1\n"
        );
        assert_eq!(edited("vm.swappiness = 60", "vm.swappiness", Some("60")), "vm.swappiness = 60");
        assert_eq!(edited(text, "vm.swappiness", None), "# vm.swappiness=1\nkernel.shmmax=1\n");
        assert_eq!(edited("", "a.b", Some("1 2")), "a.b=1 2\n");
    }
}
