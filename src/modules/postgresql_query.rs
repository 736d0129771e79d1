//! Runs SQL.
//!
//! With `read_only: true` the query runs in a session that cannot write, counts as a look and not as a change, and
//! runs in check mode as well. Without it, it runs on every run and counts as a change (`changed_when` can tell better).
//!
//! Arguments are quoted for SQL: `%s` stands for the next of `positional_args`, `%(name)s` for one of `named_args`, and
//! `%%` for a percent sign where there are arguments. Several statements, separated by `;`, run in one transaction
//! unless `autocommit: true`, which VACUUM and CREATE DATABASE need.
//!
//! `register` keeps `query_result` (a list of rows as mappings, of the last statement), `query_all_results` (of every
//! statement), `rowcount` (of all statements) and `statusmessage`. Rows of SELECT, VALUES, TABLE and `... RETURNING` keep
//! their types; other results (SHOW, EXPLAIN) are texts.
//!
//! EXAMPLES
//! - name: How large is it
//!   postgresql_query:
//!     query: SELECT pg_database_size(%s) AS bytes
//!     positional_args: [app]
//!     read_only: true
//!   register: size
//! - name: A row
//!   postgresql_query:
//!     db: app
//!     query: INSERT INTO settings (name, value) VALUES (%(name)s, %(value)s) ON CONFLICT DO NOTHING
//!     named_args: {name: mode, value: "on"}

use super::psql::{self, Session};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, sql};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run};
use serde_json::{Map, Value, json};

/// The module `postgresql_query`.
pub struct PostgresqlQuery;

/// What to run.
#[derive(Debug)]
pub struct Params {
    session: Session,
    /// With its arguments.
    query: String,
    /// As the task has it, for people.
    shown: String,
    statements: Vec<Statement>,
    read_only: bool,
    autocommit: bool,
}

#[derive(Debug)]
struct Statement {
    text: String,
    words: Vec<String>,
}

/// What a read-only query answered.
type Found = Option<Vec<Answer>>;

/// What one statement answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    rows: Vec<Value>,
    /// Rows read or written.
    count: i64,
    /// The server's word for it: `UPDATE 3`.
    status: String,
}

/// The line that ends a statement's answer.
const END: &str = "=ishprov=";

impl Module for PostgresqlQuery {
    type Params = Params;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "postgresql_query",
        aliases: &[],
        summary: "Runs SQL",
        source: include_str!("postgresql_query.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("query", Kind::Str, "SQL; several statements are separated by `;`").required(),
            Param::new("positional_args", Kind::Any, "A list: what stands for `%s` in the query"),
            Param::new("named_args", Kind::Dict, "What stands for `%(name)s` in the query"),
            Param::new(
                "read_only",
                Kind::Bool,
                "The query only reads: run it as a look, where writing is impossible",
            )
            .default("false"),
            Param::new("autocommit", Kind::Bool, "Each statement on its own, without a transaction around")
                .default("false"),
            psql::LOGIN_DB,
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let shown = args.required("query");
        let positional = match args.value("positional_args") {
            None => None,
            Some(Value::Array(items)) => Some(items.as_slice()),
            Some(_) => return Err(Fault::param("positional_args", "`positional_args` takes a list")),
        };
        let named = args.dict("named_args");
        let query = match (positional, named) {
            (Some(_), Some(_)) => {
                return Err(Fault::param(
                    "named_args",
                    "`named_args` and `positional_args` exclude each other",
                ));
            }
            (None, None) => shown.clone(),
            _ => sql::bind(&shown, positional, named).map_err(|why| Fault::param("query", why))?,
        };
        psql::literal("query", &query)?;
        let statements: Vec<Statement> =
            sql::statements(&query).into_iter().map(|(text, words)| Statement { text, words }).collect();
        if statements.is_empty() {
            return Err(Fault::param("query", "the query holds no statement"));
        }
        Ok(Params {
            session: Session::decode(args, "login_db")?,
            query,
            shown,
            statements,
            read_only: args.bool("read_only").unwrap_or(false),
            autocommit: args.bool("autocommit").unwrap_or(false),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![params.ask()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let blame = |fault: Fault| Fault { param: fault.param.or(Some("query".to_owned())), ..fault };
        if params.read_only {
            let out = params.session.output(answers, &params.ask()).map_err(blame)?;
            return params.read(out).map(Some);
        }
        // A server that does not answer is found before anything is done.
        let seen: psql::Seen<Value> = params.session.seen(answers, &params.ask())?;
        if seen.server.recovery && params.session.writable(&seen.server)?.is_some() {
            return Ok(Some(Vec::new()));
        }
        Ok(None)
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<()>, Fault> {
        Ok(match found {
            None => Verdict::Act(()),
            Some(_) if !params.read_only => {
                Verdict::InState("a standby takes no writes (`on_standby: skip`)".to_owned())
            }
            Some(answers) => {
                let rows = answers.last().map_or(0, |answer| answer.rows.len());
                Verdict::InState(if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") })
            }
        })
    }

    fn show(params: &Params, _found: &Found, (): &()) -> Vec<Change> {
        vec![Change::field("query", "", params.shown.trim())]
    }

    fn actions(params: &Params, _found: &Found, (): &()) -> Vec<Action> {
        let run = Run::new(params.session.psql("", "-XAtq")).user("postgres").stdin(params.script());
        vec![Action::Run(run.shown(format!("psql {}: {}", params.session.db, params.shown.trim())))]
    }

    fn verifies(params: &Params) -> bool {
        params.read_only
    }

    fn result(params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        let answers = match (found, ran.first()) {
            (Some(answers), _) => answers.clone(),
            (None, Some(out)) => params.read(out).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        let status = answers.last().map(|answer| answer.status.as_str()).unwrap_or_default();
        let told = json!({
            "query": params.shown,
            "query_result": answers.last().map(|answer| &answer.rows),
            "query_all_results": answers.iter().map(|answer| &answer.rows).collect::<Vec<_>>(),
            "rowcount": answers.iter().map(|answer| answer.count).sum::<i64>(),
            "statusmessage": status,
        });
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Params {
    fn ask(&self) -> Ask {
        if self.read_only { self.session.ask_sql(&self.script()) } else { self.session.ask("'null'::json") }
    }

    /// The text for `psql`: each statement is a literal that the server gets as it stands (`\gexec`), so that `psql`
    /// finds none of its own commands or variables in it.
    fn script(&self) -> String {
        let whole = !self.autocommit && self.statements.len() > 1;
        let mut text = String::from(if whole { "BEGIN;\n" } else { "" });
        for statement in &self.statements {
            let (format, tuples, sql) = match statement.in_json() {
                Some(sql) => ("unaligned", "on", sql),
                None => ("csv", "off", statement.text.clone()),
            };
            // The text was checked when the task was read.
            let literal = sql::literal(&sql).unwrap_or_default();
            text.push_str(&format!(
                "\\pset format {format}\n\\pset tuples_only {tuples}\n\\set QUIET {tuples}\n\
                 SELECT {literal} \\gexec\n\\set QUIET on\n\\echo {END}\n"
            ));
        }
        text.push_str(if whole { "COMMIT;\n" } else { "" });
        text
    }

    /// The answers of all statements.
    fn read(&self, out: &Output) -> Result<Vec<Answer>, Fault> {
        let unreadable = |why: String| {
            Fault::param("query", format!("the answer to the query cannot be read: {why}"))
                .note(self.query.clone())
        };
        let mut answers = Vec::new();
        let mut body = String::new();
        for line in out.text().split_inclusive('\n') {
            if line.trim_end() != END {
                body.push_str(line);
                continue;
            }
            let Some(statement) = self.statements.get(answers.len()) else { break };
            let body = std::mem::take(&mut body);
            answers.push(if statement.in_json().is_some() {
                let rows: Vec<Value> =
                    serde_json::from_str(&body).map_err(|error| unreadable(error.to_string()))?;
                Answer::new(rows, None, statement)
            } else {
                let (body, tag) = statement.tagged(&body);
                Answer::new(rows(body), tag, statement)
            });
        }
        match answers.len() == self.statements.len() {
            true => Ok(answers),
            false => Err(unreadable(format!("{} of {} answers came", answers.len(), self.statements.len()))),
        }
    }
}

impl Statement {
    fn starts(&self, words: &[&str]) -> bool {
        self.words.first().is_some_and(|word| words.contains(&word.as_str()))
    }

    fn has(&self, words: &[&str]) -> bool {
        self.words.iter().any(|word| words.contains(&word.as_str()))
    }

    /// The statement with its rows as one JSON array, where SQL allows to wrap it.
    fn in_json(&self) -> Option<String> {
        let writes = self.starts(&["INSERT", "UPDATE", "DELETE"]);
        let reads = self.starts(&["SELECT", "VALUES", "TABLE"]) && !self.has(&["INTO"]);
        let common = self.starts(&["WITH"]) && !self.has(&["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"]);
        let rows = "coalesce(json_agg(ishprov_rows), '[]')";
        if reads || common {
            return Some(format!("SELECT {rows} FROM (\n{}\n) AS ishprov_rows", self.text));
        }
        (writes && self.has(&["RETURNING"]))
            .then(|| format!("WITH ishprov_rows AS (\n{}\n) SELECT {rows} FROM ishprov_rows", self.text))
    }

    /// What comes before the server's word for what it did, and that word.
    fn tagged<'a>(&self, body: &'a str) -> (&'a str, Option<&'a str>) {
        let text = body.trim_end_matches('\n');
        let at = text.rfind('\n').map_or(0, |at| at + 1);
        let first = self.words.first().map(String::as_str).unwrap_or_default();
        let rest = text[at..].strip_prefix(first);
        match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
            true => (&body[..at], Some(&text[at..])),
            false => (body, None),
        }
    }
}

impl Answer {
    fn new(rows: Vec<Value>, tag: Option<&str>, statement: &Statement) -> Self {
        let number = tag.and_then(|tag| tag.rsplit(' ').next()?.parse().ok());
        let written = if tag.is_some() {
            number.unwrap_or_default()
        } else {
            i64::try_from(rows.len()).unwrap_or(i64::MAX)
        };
        let word = statement.words.first().map(String::as_str).unwrap_or_default();
        let status = match (tag, word) {
            (Some(tag), _) => tag.to_owned(),
            (None, "INSERT") => format!("INSERT 0 {written}"),
            (None, "UPDATE" | "DELETE") => format!("{word} {written}"),
            (None, "SELECT" | "VALUES" | "TABLE" | "WITH") => format!("SELECT {written}"),
            (None, word) => word.to_owned(),
        };
        Self { rows, count: written, status }
    }
}

/// CSV with a line of names as mappings of texts.
fn rows(text: &str) -> Vec<Value> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut line = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                line.push(std::mem::take(&mut cell));
                lines.push(std::mem::take(&mut line));
            }
            c => cell.push(c),
        }
    }
    let mut lines = lines.into_iter();
    let Some(names) = lines.next() else { return Vec::new() };
    let row = |cells: Vec<String>| {
        Value::Object(names.iter().cloned().zip(cells.into_iter().map(Value::String)).collect())
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_cells_hold_anything() {
        assert_eq!(
            rows("a,b\n1,\"x,\"\"y\nz\"\n,2\n"),
            [json!({"a": "1", "b": "x,\"y\nz"}), json!({"a": "", "b": "2"})]
        );
        assert!(rows("").is_empty());
    }
}
