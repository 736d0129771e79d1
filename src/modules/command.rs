//! Runs a command without a shell: no pipes, no redirection, no wildcards.
//!
//! The command is split into words as a shell would split it; `argv` gives the words themselves. In each word
//! `$NAME` and a leading `~` are expanded unless `expand_argument_vars: false`. `shell` runs what needs a shell.
//!
//! What a command changes cannot be known beforehand: it runs on every run and counts as a change, unless
//! `creates` (a path or wildcard that exists afterwards) or `removes` (one that must exist before) tells that it
//! need not run, or the task says `changed_when`. It is skipped in check mode. A module for the purpose is better
//! wherever there is one.
//!
//! `register` keeps `rc`, `stdout`, `stderr`, `stdout_lines`, `stderr_lines` and `cmd`.
//!
//! EXAMPLES
//! - name: Make a cluster, once
//!   command: pg_createcluster 15 main creates=/etc/postgresql/15/main
//! - name: The same in words
//!   command:
//!     argv: [pg_createcluster, "15", main]
//!     creates: /etc/postgresql/15/main
//! - name: Only looks
//!   command: uptime
//!   changed_when: false

use super::words::{quote_expanding, split, take_options};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run, join, quote};
use serde_json::{Map, Value, json};

/// The module `command`.
pub struct Command;

/// A command and when to run it; shared by `command`, `shell` and `script`.
#[derive(Debug)]
pub struct Params {
    /// POSIX sh text.
    pub(super) script: String,
    /// What the user wrote, for people and `register`.
    pub(super) cmd: Value,
    pub(super) chdir: Option<String>,
    pub(super) creates: Option<String>,
    pub(super) removes: Option<String>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) strip: bool,
}

/// What exists of `creates` and `removes`.
pub struct Found {
    created: Option<String>,
    removable: Option<String>,
}

/// Parameters that `command` and `shell` share.
pub(super) const CHDIR: Param = Param::new("chdir", Kind::Path, "Working directory");
pub(super) const CREATES: Param =
    Param::new("creates", Kind::Str, "Path or wildcard; when it exists, nothing is run");
pub(super) const REMOVES: Param =
    Param::new("removes", Kind::Str, "Path or wildcard; when it does not exist, nothing is run");
pub(super) const STDIN: Param = Param::new("stdin", Kind::Str, "Standard input; never shown");
pub(super) const NEWLINE: Param =
    Param::new("stdin_add_newline", Kind::Bool, "End standard input with a line's end").default("true");
pub(super) const STRIP: Param =
    Param::new("strip_empty_ends", Kind::Bool, "Drop line ends at the end of what is registered")
        .default("true");

impl Module for Command {
    type Params = Params;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "command",
        aliases: &[],
        summary: "Runs a command without a shell",
        source: include_str!("command.rs"),
        nature: Nature::Command,
        free_form: Some("cmd"),
        open: false,
        params: &[
            Param::new("cmd", Kind::Str, "The command, as one text").aliases(&["_raw_params"]),
            Param::new("argv", Kind::Any, "The command, as a list of words"),
            CHDIR,
            CREATES,
            REMOVES,
            STDIN,
            NEWLINE,
            STRIP,
            Param::new("expand_argument_vars", Kind::Bool, "Expand `$NAME` and a leading `~` in words")
                .default("true"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let (words, options) = match (args.str("cmd"), args.value("argv")) {
            (Some(_), Some(_)) => return Err(Fault::param("argv", "`cmd` and `argv` exclude each other")),
            (None, None) => return Err(Fault::task("module `command` needs `cmd` or `argv`")),
            (None, Some(argv)) => (texts(argv)?, Vec::new()),
            (Some(cmd), None) => {
                let names = ["creates", "removes", "chdir", "stdin", "stdin_add_newline", "strip_empty_ends"];
                let (rest, options) = take_options(&cmd, &names);
                let words = split(&rest).map_err(|why| {
                    Fault::param("cmd", format!("the command cannot be split into words: {why}"))
                        .hint("`argv` takes the words as a list")
                })?;
                (words, options)
            }
        };
        if words.is_empty() || words.first().is_some_and(String::is_empty) {
            return Err(Fault::param(
                if args.has("argv") { "argv" } else { "cmd" },
                "there is no command to run",
            ));
        }
        let expand = args.bool("expand_argument_vars").unwrap_or(true);
        let quoted = words.iter().map(|word| if expand { quote_expanding(word) } else { quote(word) });
        let script = quoted.collect::<Vec<_>>().join(" ");
        Params::new(args, options, script, json!(words))
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
        vec![Change::field("command", "", params.shown())]
    }

    fn actions(params: &Params, _found: &Found, _diff: &()) -> Vec<Action> {
        vec![params.action()]
    }

    fn result(params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        params.result(found, ran)
    }
}

impl Params {
    /// The command with the parameters around it; `options` were given inside a free-form text.
    pub(super) fn new(
        args: &Args,
        options: Vec<(String, String)>,
        script: String,
        cmd: Value,
    ) -> Result<Self, Fault> {
        let option =
            |name: &str| options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let either = |name: &str| option(name).or_else(|| args.str(name));
        let flag = |name: &str| match option(name).as_deref() {
            Some("no" | "false" | "False") => false,
            Some(_) => true,
            None => args.bool(name).unwrap_or(true),
        };
        let chdir = either("chdir");
        if chdir.as_deref().is_some_and(|path| !path.starts_with(['/', '~'])) {
            return Err(Fault::param("chdir", "`chdir` takes an absolute path"));
        }
        let newline = flag("stdin_add_newline");
        Ok(Self {
            stdin: either("stdin").map(|mut text| {
                if newline {
                    text.push('\n');
                }
                text.into_bytes()
            }),
            creates: either("creates"),
            removes: either("removes"),
            strip: flag("strip_empty_ends"),
            chdir,
            script,
            cmd,
        })
    }

    /// What must be known beforehand.
    pub(super) fn asks(&self) -> Vec<Ask> {
        let guards = self.creates.iter().chain(&self.removes);
        guards.map(|path| exists(path, self.chdir.as_deref())).collect()
    }

    /// The answers to [`Params::asks`].
    pub(super) fn found(&self, answers: &Answers) -> Result<Found, Fault> {
        let look = |path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => there(path, self.chdir.as_deref(), answers),
        };
        Ok(Found { created: look(&self.creates)?, removable: look(&self.removes)? })
    }

    /// Whether it is to run.
    pub(super) fn decide(&self, found: &Found) -> Verdict<()> {
        match self.skipped(found) {
            Some(reason) => Verdict::InState(reason),
            None => Verdict::Act(()),
        }
    }

    fn skipped(&self, found: &Found) -> Option<String> {
        if let Some(path) = &found.created {
            return Some(format!("skipped, since {path} exists"));
        }
        let path = self.removes.as_ref()?;
        found.removable.is_none().then(|| format!("skipped, since {path} does not exist"))
    }

    /// The command as one text.
    pub(super) fn shown(&self) -> String {
        match &self.cmd {
            Value::String(text) => text.clone(),
            Value::Array(words) => join(words.iter().filter_map(Value::as_str)),
            _ => self.script.clone(),
        }
    }

    pub(super) fn action(&self) -> Action {
        let mut run = Run::new(&self.script).shown(self.shown());
        run.chdir = self.chdir.clone();
        run.stdin = self.stdin.clone().map(Into::into);
        Action::Run(run)
    }

    /// Ansible's keys of a command's result.
    pub(super) fn result(&self, found: &Found, ran: &[Output]) -> Map<String, Value> {
        let mut map = Map::from_iter([("cmd".to_owned(), self.cmd.clone())]);
        let (rc, stdout, stderr) = match (ran.last(), self.skipped(found)) {
            (Some(output), _) => (output.status, output.text(), output.error_text()),
            (None, Some(reason)) => (0, reason, String::new()),
            // Check mode: nothing ran.
            (None, None) => return map,
        };
        map.insert("rc".to_owned(), json!(rc));
        for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
            let text = if self.strip { text.trim_end_matches(['\r', '\n']) } else { &text };
            map.insert(format!("{name}_lines"), json!(text.lines().collect::<Vec<_>>()));
            map.insert(name.to_owned(), json!(text));
        }
        map
    }
}

fn texts(argv: &Value) -> Result<Vec<String>, Fault> {
    let wrong = || Fault::param("argv", "`argv` takes a list of words");
    let items = argv.as_array().ok_or_else(wrong)?;
    let text = |item: &Value| match item {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => Err(wrong()),
    };
    items.iter().map(text).collect()
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

fn exists(path: &str, chdir: Option<&str>) -> Ask {
    if !is_pattern(path) && path.starts_with('/') {
        return Ask::stat_follow(path);
    }
    // Everything is quoted but the wildcards.
    let mut pattern = String::new();
    let mut plain = String::new();
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '-' | '!') {
            if !plain.is_empty() {
                pattern.push_str(&quote(&std::mem::take(&mut plain)));
            }
            pattern.push(c);
        } else {
            plain.push(c);
        }
    }
    if !plain.is_empty() {
        pattern.push_str(&quote(&plain));
    }
    let enter =
        chdir.map(|path| format!("cd -- {} 2>/dev/null || exit 0\n", quote(path))).unwrap_or_default();
    Ask::sh(format!(
        "{enter}for f in {pattern}; do [ -e \"$f\" ] && {{ printf '%s\\n' \"$f\"; exit 0; }}; done\nexit 0"
    ))
}

/// What exists of a path or pattern.
fn there(path: &str, chdir: Option<&str>, answers: &Answers) -> Result<Option<String>, Fault> {
    match exists(path, chdir) {
        ask @ Ask::File(_) => Ok(answers.file(&ask)?.exists().then(|| path.to_owned())),
        ask => Ok(answers.output(&ask)?.text().lines().next().map(str::to_owned)),
    }
}
