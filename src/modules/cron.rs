//! Jobs in an account's crontab, or in a file of `/etc/cron.d`.
//!
//! A job is known by its `name`, which stands in a comment above it: `#Ansible: NAME`, as Ansible writes it.
//! `disabled` keeps the job, commented out. The `cron` package must be installed.
//!
//! EXAMPLES
//! - name: A base backup every night
//!   cron: {name: base backup, user: postgres, hour: 2, minute: 30, job: /usr/local/bin/backup}
//! - name: The same, in a file of its own
//!   cron: {name: base backup, cron_file: pg-backup, user: postgres, special_time: daily, job: /usr/local/bin/backup}

use super::lineinfile::bare;
use super::user::account_name;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Over, Put, Run, quote, sha256};

/// The module `cron`.
pub struct Cron;

/// A job and where it stands.
#[derive(Debug)]
pub struct Params {
    name: String,
    /// The account whose table it is; who runs the task when not given.
    user: Option<String>,
    /// A file of `/etc/cron.d`; the account's crontab otherwise.
    file: Option<String>,
    /// The job's line; `None` removes it.
    line: Option<String>,
}

/// The table that is there.
pub struct Table {
    text: Option<String>,
    known_user: bool,
}

impl Module for Cron {
    type Params = Params;
    type State = Table;
    /// The table as it shall be.
    type Diff = String;

    const SPEC: Spec = Spec {
        name: "cron",
        aliases: &[],
        summary: "Jobs in a crontab",
        source: include_str!("cron.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "What the job is known by").required(),
            Param::new("job", Kind::Str, "The command").aliases(&["value"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether the job shall be there")
                .default("present"),
            Param::new("user", Kind::Str, "Whose job it is").default("who runs the task; root in a file"),
            Param::new("minute", Kind::Str, "0-59, *, */5, 1,2").default("*"),
            Param::new("hour", Kind::Str, "0-23, *, */2").default("*"),
            Param::new("day", Kind::Str, "Of the month: 1-31, *").aliases(&["dom"]).default("*"),
            Param::new("month", Kind::Str, "1-12, *").default("*"),
            Param::new("weekday", Kind::Str, "0-6 from Sunday on, *").aliases(&["dow"]).default("*"),
            Param::new(
                "special_time",
                Kind::Choice(&["annually", "daily", "hourly", "monthly", "reboot", "weekly", "yearly"]),
                "In the place of minute to weekday",
            ),
            Param::new("disabled", Kind::Bool, "Keep the job, commented out").default("false"),
            Param::new(
                "cron_file",
                Kind::Str,
                "A file's name in `/etc/cron.d`, or a path; the crontab otherwise",
            ),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let user = args.has("user").then(|| account_name(args, "user")).transpose()?;
        for text in ["name", "job", "minute", "hour", "day", "month", "weekday"] {
            if args.str(text).is_some_and(|value| value.contains('\n')) {
                return Err(Fault::param(text, format!("`{text}` is one line")));
            }
        }
        let fields = ["minute", "hour", "day", "month", "weekday"];
        for field in fields {
            let given = args.str(field);
            if given.is_some() && args.has("special_time") {
                return Err(Fault::param(field, format!("`{field}` and `special_time` exclude each other")));
            }
            let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "*/,-".contains(c));
            if given.is_some_and(|text| text.is_empty() || !fits(&text)) {
                return Err(Fault::param(field, format!("`{field}` is no field of a crontab")));
            }
        }
        let file = args.str("cron_file").map(|file| match file.starts_with('/') {
            true => file,
            false => format!("/etc/cron.d/{file}"),
        });
        let line = match (args.str("state").as_deref(), args.str("job")) {
            (Some("absent"), _) => None,
            (_, None) => return Err(Fault::task("`state: present` needs `job`")),
            (_, Some(job)) => {
                let time = match args.str("special_time") {
                    Some(word) => format!("@{word}"),
                    None => fields.map(|field| args.str(field).unwrap_or_else(|| "*".to_owned())).join(" "),
                };
                let off = if args.bool("disabled") == Some(true) { "#" } else { "" };
                let whose = match (&file, &user) {
                    (Some(_), user) => format!("{} ", user.as_deref().unwrap_or("root")),
                    (None, _) => String::new(),
                };
                Some(format!("{off}{time} {whose}{job}"))
            }
        };
        Ok(Params { name, user, file, line })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::Accounts, params.ask()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Table, Fault> {
        let mut accounts = answers.accounts(&Ask::Accounts)?.iter();
        let known_user =
            params.user.as_ref().is_none_or(|user| accounts.any(|account| account.name == *user));
        let text = match &params.file {
            Some(path) => match answers.file(&params.ask())?.content.clone().map(String::from_utf8) {
                Some(Err(_)) => {
                    return Err(Fault::param("cron_file", format!("`{path}` is not UTF-8 text")));
                }
                text => text.and_then(Result::ok),
            },
            None => {
                let output = answers.output(&params.ask())?;
                match output.status {
                    0 => Some(output.text()),
                    1 if no_table(&output.error_text()) => None,
                    1 => {
                        let why = output.error_text();
                        return Err(Fault::task(format!("the crontab cannot be read: {}", why.trim())));
                    }
                    _ => {
                        return Err(Fault::task("there is no `crontab` on the host")
                            .healed_by(&["apt"])
                            .hint("install it first: `apt: {name: cron}`"));
                    }
                }
            }
        };
        Ok(Table { text, known_user })
    }

    fn diff(params: &Params, table: &Table) -> Result<Verdict<String>, Fault> {
        if !table.known_user && params.line.is_some() {
            let user = params.user.as_deref().unwrap_or_default();
            return Err(Fault::param("user", format!("no such account `{user}` on the host"))
                .healed_by(&["user", "apt"])
                .hint(format!("a `user` task before this one can create it: `user: {{name: {user}}}`")));
        }
        let before = table.text.as_deref().unwrap_or_default();
        let after = params.edit(before);
        if after == before {
            let state = if params.line.is_some() { "the job is there" } else { "no such job is there" };
            return Ok(Verdict::InState(state.to_owned()));
        }
        Ok(Verdict::Act(after))
    }

    fn show(params: &Params, table: &Table, after: &String) -> Vec<Change> {
        let name = params.file.clone().unwrap_or_else(|| match &params.user {
            Some(user) => format!("crontab of {user}"),
            None => "crontab".to_owned(),
        });
        vec![Change::text(name, table.text.clone().unwrap_or_default(), after)]
    }

    fn actions(params: &Params, table: &Table, after: &String) -> Vec<Action> {
        match &params.file {
            Some(path) => {
                let mut put = Put::new(path, after.as_bytes());
                put.over = match &table.text {
                    Some(text) => Over::Digest(sha256(text.as_bytes())),
                    None => Over::Nothing,
                };
                if table.text.is_none() {
                    put.mode = Some(0o644);
                }
                vec![Action::Put(put)]
            }
            None => {
                let run = Run::new(format!("{}crontab \"$@\" -", params.whose()));
                let user = params.user.as_deref().map(|user| format!("-u {} ", quote(user)));
                let shown = format!("crontab {}-", user.unwrap_or_default());
                vec![Action::Run(run.shown(shown).stdin(after.as_bytes()))]
            }
        }
    }
}

impl Params {
    /// Status 0: the table. 1: there is none. 127: no `crontab`.
    fn ask(&self) -> Ask {
        match &self.file {
            Some(path) => Ask::content(path),
            None => Ask::sh(format!(
                "command -v crontab >/dev/null || exit 127; {}LC_ALL=C crontab \"$@\" -l",
                self.whose()
            )),
        }
    }

    /// The words for another account's table: only root may say whose it is, even of its own.
    fn whose(&self) -> String {
        match self.user.as_deref().map(quote) {
            Some(user) => format!("set -- -u {user}; [ \"$(id -un)\" != {user} ] || set --; "),
            None => "set --; ".to_owned(),
        }
    }

    /// The table as it shall be.
    fn edit(&self, text: &str) -> String {
        let marker = format!("#Ansible: {}", self.name);
        let mut lines: Vec<&str> = text.split_inclusive('\n').map(bare).collect();
        let at = lines.iter().position(|line| *line == marker);
        match (at, &self.line) {
            (Some(at), Some(line)) => {
                if lines.get(at + 1) == Some(&line.as_str()) {
                    return text.to_owned();
                }
                match lines.get_mut(at + 1) {
                    Some(old) => *old = line,
                    None => lines.push(line),
                }
            }
            (Some(at), None) => {
                lines.drain(at..(at + 2).min(lines.len()));
            }
            (None, Some(line)) => lines.extend([marker.as_str(), line]),
            (None, None) => return text.to_owned(),
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// `crontab` answers 1 for an account without a table, and for everything that goes wrong.
fn no_table(said: &str) -> bool {
    said.trim().is_empty() || said.contains("no crontab for") || said.contains("No such file")
}
