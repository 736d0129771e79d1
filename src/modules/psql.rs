//! A host's own PostgreSQL server, spoken to by `psql` over the local socket as the account `postgres`: what the
//! modules `postgresql_*` share.
//!
//! SQL travels by standard input, never on a command line. A question is one SELECT that answers in JSON, asked in a
//! read-only session; it carries along whether the server is a standby.

use super::{Args, Change, Kind, Param, sql};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run, quote};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) const PORT: Param =
    Param::new("login_port", Kind::Int, "The server's port").aliases(&["port"]).default("5432");
pub(super) const SOCKET: Param = Param::new(
    "login_unix_socket",
    Kind::Path,
    "Folder of the server's socket, where it is not the usual one",
)
.aliases(&["unix_socket"]);
pub(super) const USER: Param = Param::new(
    "login_user",
    Kind::Str,
    "The role to act as; `psql` itself runs as the account `postgres` in any case",
)
.default("postgres");
pub(super) const LOGIN_DB: Param =
    Param::new("login_db", Kind::Str, "The database to connect to").aliases(&["db"]).default("postgres");
pub(super) const ON_STANDBY: Param = Param::new(
    "on_standby",
    Kind::Choice(&["fail", "skip"]),
    "What to do when something is to be written and the server is a standby",
)
.default("fail");

/// The server of a task.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) port: i64,
    socket: Option<String>,
    user: Option<String>,
    pub(super) db: String,
    /// The parameter that names `db`.
    db_param: &'static str,
    skip_standby: bool,
}

/// What every answer says of the server.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Server {
    /// A standby, or any server in recovery.
    pub recovery: bool,
    /// `host:port` that a standby streams from.
    pub primary: Option<String>,
    /// `server_version_num`: 150018.
    pub version: i64,
}

/// An answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen<T> {
    #[serde(flatten)]
    pub(super) server: Server,
    pub(super) found: T,
}

/// One statement, and what it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    sql: String,
    shown: Option<String>,
    change: Change,
}

impl Step {
    pub fn new(sql: impl Into<String>, change: Change) -> Self {
        Self { sql: sql.into(), shown: None, change }
    }

    /// What to show in the place of SQL that holds a secret.
    pub fn shown(mut self, text: impl Into<String>) -> Self {
        self.shown = Some(text.into());
        self
    }

    pub fn changes(steps: &[Step]) -> Vec<Change> {
        steps.iter().map(|step| step.change.clone()).collect()
    }
}

/// Settings of our sessions: the text of statements and answers means the same on every server.
const OPTIONS: &str =
    "-c standard_conforming_strings=on -c client_min_messages=warning -c DateStyle=ISO -c bytea_output=hex";

impl Session {
    /// The session that a task's parameters name; `db_param` is the parameter of the database.
    pub fn decode(args: &Args, db_param: &'static str) -> Result<Self, Fault> {
        let port = args.int("login_port").unwrap_or(5432);
        if !(1..=65535).contains(&port) {
            return Err(Fault::param("login_port", format!("`{port}` is no port")));
        }
        let db = args.str(db_param).unwrap_or_else(|| "postgres".to_owned());
        ident(db_param, &db)?;
        Ok(Self {
            port,
            socket: args.str("login_unix_socket"),
            user: args.str("login_user").filter(|user| user != "postgres"),
            db,
            db_param,
            skip_standby: args.str("on_standby").as_deref() == Some("skip"),
        })
    }

    /// Asks for one JSON value, an SQL expression.
    pub fn ask(&self, expression: &str) -> Ask {
        self.ask_sql(&format!(
            "SELECT json_build_object('recovery', pg_is_in_recovery(), 'primary', \
             (SELECT sender_host || ':' || sender_port FROM pg_stat_wal_receiver LIMIT 1), \
             'version', current_setting('server_version_num')::int, 'found', ({expression}));\n"
        ))
    }

    /// Asks in a session that cannot write.
    pub fn ask_sql(&self, text: &str) -> Ask {
        let psql = self.psql("-c default_transaction_read_only=on -c statement_timeout=60s", "-XAtq");
        Ask::sh_as("postgres", format!("printf %s {} | {psql}", quote(text)))
    }

    /// The answer to [`Session::ask`].
    pub fn seen<T: DeserializeOwned>(&self, answers: &Answers, ask: &Ask) -> Result<Seen<T>, Fault> {
        let out = self.output(answers, ask)?;
        serde_json::from_slice(&out.stdout).map_err(|error| {
            Fault::task(format!(
                "PostgreSQL on port {} gave an answer that cannot be read: {error}",
                self.port
            ))
            .note(out.text().chars().take(500).collect::<String>())
        })
    }

    /// The answer of a session that ended well.
    pub fn output<'a>(&self, answers: &'a Answers, ask: &Ask) -> Result<&'a Output, Fault> {
        let out = answers.output(ask)?;
        if out.success() { Ok(out) } else { Err(self.fault(out)) }
    }

    /// Runs statements, together or not at all where `atomic`.
    pub fn run(&self, steps: &[Step], atomic: bool) -> Vec<Action> {
        let mut text = String::new();
        let statements: String = steps.iter().map(|step| format!("{};\n", step.sql)).collect();
        match atomic && steps.len() > 1 {
            true => text.push_str(&format!("BEGIN;\n{statements}COMMIT;\n")),
            false => text.push_str(&statements),
        }
        let shown: Vec<&str> = steps.iter().map(|step| step.shown.as_deref().unwrap_or(&step.sql)).collect();
        let run = Run::new(self.psql("", "-XAtq"));
        vec![Action::Run(run.user("postgres").stdin(text).shown(format!(
            "psql {}: {}",
            self.db,
            shown.join("; ")
        )))]
    }

    /// The command that reads SQL from its input.
    pub fn psql(&self, options: &str, flags: &str) -> String {
        let mut words = format!(
            "PGOPTIONS={} PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=ishprov PGDATABASE={} psql {flags} \
             -v ON_ERROR_STOP=1 -p {}",
            quote(&words(&[OPTIONS, self.messages(), options])),
            quote(&self.db),
            self.port
        );
        for (option, value) in [("-h", &self.socket), ("-U", &self.user)] {
            if let Some(value) = value {
                words.push_str(&format!(" {option} {}", quote(value)));
            }
        }
        words
    }

    /// Messages that we can read; only a superuser may ask for them.
    fn messages(&self) -> &'static str {
        if self.user.is_none() { "-c lc_messages=C" } else { "" }
    }

    /// What a failed session comes to.
    pub fn fault(&self, out: &Output) -> Fault {
        let error = out.error_text();
        let told = || error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
        let plain = told().trim_start_matches("psql: ").trim_start_matches("error: ").to_owned();
        let start = format!(
            "`pg_lsclusters` on the host shows its servers, ports and states; start one with \
             `systemctl start postgresql@VERSION-NAME`, or name its port with `{}`",
            PORT.name
        );
        if out.timed_out {
            return Fault::task(format!(
                "PostgreSQL on port {} does not answer within the time limit",
                self.port
            ))
            .hint(start);
        }
        if out.status == 127 || error.contains("psql: not found") {
            return Fault::task("`psql` is not on the host")
                .healed_by(&["apt"])
                .hint("install the server with `apt: {name: postgresql-15}` before this task");
        }
        if error.contains("user postgres does not exist") || error.contains("unknown user postgres") {
            return Fault::task("the host has no account `postgres`")
                .healed_by(&["apt", "user"])
                .hint("install the server with `apt: {name: postgresql-15}` before this task");
        }
        if error.contains(&format!("database \"{}\" does not exist", self.db)) {
            return Fault::param(self.db_param, format!("the database `{}` does not exist", self.db))
                .hint("create it with `postgresql_db` before this task");
        }
        if out.status == 2 {
            return Fault::task(format!("PostgreSQL on port {} does not answer: {plain}", self.port))
                .hint(start);
        }
        let mut fault =
            Fault::task(format!("PostgreSQL on port {} refuses the question: {plain}", self.port));
        for line in error.lines().map(str::trim).filter(|line| !line.is_empty()).skip(1).take(5) {
            fault = fault.note(line);
        }
        fault
    }

    /// Whether what is to be written can be: `Some` is why it is left out, `Err` why it cannot be.
    pub fn writable(&self, server: &Server) -> Result<Option<String>, Fault> {
        if !server.recovery {
            return Ok(None);
        }
        let of = server.primary.as_deref().map(|at| format!(" of `{at}`")).unwrap_or_default();
        let what = format!("this server is a standby{of}");
        if self.skip_standby {
            return Ok(Some(format!("{what} (`on_standby: skip`)")));
        }
        let fault = Fault::task(format!("{what} and takes no writes")).certain();
        Err(match &server.primary {
            Some(at) => {
                fault.hint(format!("run the task on its primary, {at}; the standby follows by itself"))
            }
            None => fault.hint("run the task on the primary; the standby follows by itself"),
        }
        .hint("`on_standby: skip` leaves it out here"))
    }

    /// The verdict on statements: nothing to do, to be left out, to do, or impossible.
    pub fn verdict(
        &self,
        server: &Server,
        steps: Vec<Step>,
        because: impl FnOnce() -> String,
    ) -> Result<super::Verdict<Vec<Step>>, Fault> {
        if steps.is_empty() {
            return Ok(super::Verdict::InState(because()));
        }
        Ok(match self.writable(server)? {
            Some(skipped) => super::Verdict::InState(skipped),
            None => super::Verdict::Act(steps),
        })
    }
}

/// A name as an identifier; `param` is to blame.
pub(super) fn ident(param: &str, name: &str) -> Result<String, Fault> {
    sql::ident(name).map_err(|why| Fault::param(param, why))
}

/// A text as a literal; `param` is to blame.
pub(super) fn literal(param: &str, text: &str) -> Result<String, Fault> {
    sql::literal(text).map_err(|why| Fault::param(param, why))
}

/// Several texts as an array of texts.
pub(super) fn array<S: AsRef<str>>(param: &str, texts: &[S]) -> Result<String, Fault> {
    let texts = texts.iter().map(|text| literal(param, text.as_ref())).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("ARRAY[{}]::text[]", texts.join(", ")))
}

/// A setting's value as PostgreSQL writes it: a truth value is `on` or `off`.
pub(super) fn setting(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some("on".to_owned()),
        Value::Bool(false) => Some("off".to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn words(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Names that PostgreSQL can hold; `param` is to blame.
pub(super) fn names(param: &str, given: Vec<String>) -> Result<Vec<String>, Fault> {
    for name in &given {
        ident(param, name)?;
    }
    Ok(given)
}
