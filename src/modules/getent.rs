//! An entry of a database of the host: accounts, groups, names of hosts, services, as the fact `getent_DATABASE`.
//!
//! `ansible_facts.getent_passwd.postgres` is then the list of the fields behind the name. Without `key` the whole
//! database is read. A key that is not there fails the task unless `fail_key: false`; its value is then null.
//!
//! EXAMPLES
//! - name: Is there such an account
//!   getent: {database: passwd, key: postgres, fail_key: false}
//! - name: What does the host make of a name
//!   getent: {database: ahostsv4, key: pg-primary}

use super::{Args, Brings, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, join};
use serde_json::{Map, Value, json};

/// The module `getent`.
pub struct Getent;

/// Which entry of which database.
#[derive(Debug)]
pub struct Params {
    database: String,
    key: Option<String>,
    split: Option<char>,
    fail_key: bool,
}

impl Module for Getent {
    type Params = Params;
    type State = Map<String, Value>;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "getent",
        aliases: &[],
        summary: "Entries of the host's databases",
        source: include_str!("getent.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("database", Kind::Str, "`passwd`, `group`, `hosts`, `services`, ...").required(),
            Param::new("key", Kind::Str, "The entry; without it, all of them"),
            Param::new("split", Kind::Str, "What stands between fields")
                .default("`:` where the database has it, else blanks"),
            Param::new("fail_key", Kind::Bool, "Fail when the entry is not there").default("true"),
            Param::new("service", Kind::Str, "Only this source of the database"),
        ],
    };

    const BRINGS: Brings = Brings::Facts(&["getent_*"]);

    fn decode(args: &Args) -> Result<Params, Fault> {
        let database = args.required("database");
        if database.is_empty() || !database.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Fault::param("database", format!("`{database}` is no database")));
        }
        if args.has("service") {
            return Err(Fault::param("service", "`service` is not supported; all sources are asked"));
        }
        if database == "shadow" || database == "gshadow" {
            return Err(Fault::param("database", "password hashes do not become facts")
                .hint("`user` compares and sets passwords"));
        }
        let usual = matches!(database.as_str(), "passwd" | "group").then_some(':');
        let split = match args.str("split") {
            None => usual,
            Some(text) => match text.chars().collect::<Vec<_>>()[..] {
                [one] => Some(one),
                _ => return Err(Fault::param("split", "`split` takes one character")),
            },
        };
        Ok(Params { key: args.str("key"), fail_key: args.bool("fail_key").unwrap_or(true), split, database })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![params.ask()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Map<String, Value>, Fault> {
        let output = answers.output(&params.ask())?;
        let database = &params.database;
        let mut found = Map::new();
        match (output.status, &params.key) {
            (0, _) => {}
            (1, _) => return Err(Fault::param("database", format!("the host has no database `{database}`"))),
            (2, Some(key)) if params.fail_key => {
                return Err(Fault::param("key", format!("`{key}` is not in the database `{database}`")));
            }
            (2, Some(key)) => {
                found.insert(key.clone(), Value::Null);
            }
            (status, _) => {
                let error = output.error_text();
                return Err(Fault::task(format!(
                    "`getent {database}` failed with status {status}: {}",
                    error.trim()
                )));
            }
        }
        for line in output.text().lines() {
            let fields: Vec<&str> = match params.split {
                Some(split) => line.split(split).collect(),
                None => line.split_whitespace().collect(),
            };
            if let [name, rest @ ..] = &fields[..] {
                found.entry(*name).or_insert_with(|| json!(rest));
            }
        }
        Ok(found)
    }

    fn diff(_params: &Params, found: &Map<String, Value>) -> Result<Verdict<()>, Fault> {
        let entries = if found.len() == 1 { "entry" } else { "entries" };
        Ok(Verdict::InState(format!("{} {entries}", found.len())))
    }

    fn show(_params: &Params, _found: &Map<String, Value>, _diff: &()) -> Vec<Change> {
        Vec::new()
    }

    fn actions(_params: &Params, _found: &Map<String, Value>, _diff: &()) -> Vec<Action> {
        Vec::new()
    }

    fn result(params: &Params, found: &Map<String, Value>, _ran: &[Output]) -> Map<String, Value> {
        let name = format!("getent_{}", params.database);
        Map::from_iter([("ansible_facts".to_owned(), json!({name: found}))])
    }
}

impl Params {
    fn ask(&self) -> Ask {
        let words = ["getent", "--", &self.database].into_iter().chain(self.key.as_deref());
        Ask::sh(join(words))
    }
}
