//! Who may connect to a PostgreSQL server and how: `pg_hba.conf`, as one whole file that is ours.
//!
//! Rules stand in the order given, and the first that matches decides, as PostgreSQL has it. The file ends in an
//! explicit reject of everything else from outside (`final_reject`). A rule takes Ansible's names: `type` (`contype`),
//! `databases`, `users`, `source` (`address`, with `netmask` where it has no prefix length), `method`, `options`,
//! `comment`. `all` as a database does not match `replication`, which is a word of its own.
//!
//! `databases` and `users` take a text with commas, or a list with one name an item. `all`, and for databases `sameuser`,
//! `samerole`, `samegroup` and `replication`, are PostgreSQL's words; a name that is so is written in double quotes
//! (`'"all"'`). `+Sales Team` means the members of a group, `@admins` a file of names beside `pg_hba.conf`, `/^app_` a
//! regular expression (PostgreSQL 16 and later). What PostgreSQL would read as something else is refused.
//!
//! Refused, since it is never right: plain `host` that lets somebody in from outside (`hostssl` does), `trust` or
//! clear-text passwords from outside, a network whose host bits are set, the same rule twice, and a file that would
//! keep `postgres` from the local socket (and so every later task).
//!
//! Where the server runs it reads the new file itself (`pg_hba_file_rules`); when it finds a fault the old file is put
//! back and the task fails. `postgresql_rollout` reloads afterwards and proves that a new login works.
//!
//! EXAMPLES
//! - name: Who may connect
//!   postgresql_hba:
//!     version: 15
//!     rules:
//!       - {type: local, databases: all, users: postgres, method: peer}
//!       - {type: hostssl, databases: replication, users: replicator, source: 198.18.200.12/32, method: cert,
//!          options: {clientcert: verify-full}, comment: pg-replica1}
//!       - {type: hostssl, databases: all, users: +Sales Team, source: all, method: reject}
//!       - {type: hostssl, databases: app, users: app, source: 198.18.200.0/24, method: scram-sha-256}

use super::attrs::Attrs;
use super::content::{Edit, Seen, Target};
use super::hba_rule::{Rule, keep_postgres, remark};
use super::instance::{self, Instance, Lines, check_mode};
use super::{Args, Change, Kind, Mode, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, Output, Run, quote};
use serde_json::{Map, Value, json};

/// The module `postgresql_hba`.
pub struct PostgresqlHba;

/// What the file shall hold.
#[derive(Debug)]
pub struct Params {
    instance: Instance,
    rules: usize,
    content: Vec<u8>,
    target: Target,
    /// Files of names that the rules read (`@FILE`).
    files: Vec<String>,
    check_mode: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The file; `None` in check mode where it cannot be there yet.
    seen: Option<Seen>,
    folder: bool,
    /// Files of names that are not there.
    missing: Vec<String>,
    /// The server answers.
    runs: bool,
    /// Faults that the running server finds in the file.
    errors: Vec<String>,
}

impl Module for PostgresqlHba {
    type Params = Params;
    type State = Found;
    type Diff = Option<Edit>;

    const SPEC: Spec = Spec {
        name: "postgresql_hba",
        aliases: &[],
        summary: "Who may connect to a PostgreSQL server (pg_hba.conf)",
        source: include_str!("postgresql_hba.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            instance::VERSION,
            instance::CLUSTER,
            instance::DATA_DIRECTORY,
            Param::new("rules", Kind::Any, "The rules, in their order").required(),
            Param::new(
                "final_reject",
                Kind::Bool,
                "End in an explicit reject of everything else from outside",
            )
            .default("true"),
            Param::new("header", Kind::Str, "Comment at the top of the file"),
            Param::new("file", Kind::Path, "The file").default("/etc/postgresql/VERSION/CLUSTER/pg_hba.conf"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let instance = Instance::decode(args)?;
        let given = args.value("rules").and_then(Value::as_array).ok_or_else(|| {
            Fault::param("rules", "`rules` takes a list of rules")
                .hint("- {type: local, databases: all, users: postgres, method: peer}")
        })?;
        let mut rules = Vec::new();
        for (index, rule) in given.iter().enumerate() {
            let rule = Rule::decode(rule, index + 1, instance.version)?;
            if let Some(twin) = rules.iter().position(|other: &Rule| other.matches_like(&rule)) {
                return Err(Fault::param(
                    "rules",
                    format!(
                        "rule {} can never match: rule {} has the same first columns",
                        index + 1,
                        twin + 1
                    ),
                )
                .note(rule.line()));
            }
            rules.push(rule);
        }
        keep_postgres(&rules)?;
        if args.bool("final_reject").unwrap_or(true) {
            rules.extend(["all", "replication"].map(Rule::reject));
        }
        let usual = format!("{}/pg_hba.conf", instance.config_directory());
        let mut target = Target::decode(super::attrs::path(args, "file")?.unwrap_or(usual), args)?;
        let postgres = Some("postgres".to_owned());
        let files = rules.iter().flat_map(Rule::files).map(|path| beside(&target.path, path)).collect();
        target.attrs = Attrs { mode: Mode::parse("0640"), owner: postgres.clone(), group: postgres };
        Ok(Params {
            instance,
            content: render(args.str("header").as_deref(), &rules).into_bytes(),
            rules: rules.len(),
            target,
            files,
            check_mode: check_mode(args),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = params.target.asks();
        asks.push(Ask::stat_follow(folder(&params.target.path)));
        asks.extend(params.files.iter().map(Ask::stat_follow));
        asks.push(server_ask(params));
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let seen = match params.target.seen(answers) {
            Ok(seen) => Some(seen),
            Err(_) if params.check_mode => None,
            Err(fault) => return Err(fault.hint("`postgresql_cluster` before this task makes the cluster")),
        };
        let mut missing = Vec::new();
        for path in &params.files {
            if answers.file(&Ask::stat_follow(path))?.kind != FileKind::File {
                missing.push(path.clone());
            }
        }
        let text = answers.output(&server_ask(params))?.text();
        let lines = Lines::of(&text);
        Ok(Found {
            seen,
            folder: answers.file(&Ask::stat_follow(folder(&params.target.path)))?.kind == FileKind::Directory,
            missing,
            runs: lines.get("runs").is_some(),
            errors: lines.all("error").map(str::to_owned).collect(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Option<Edit>>, Fault> {
        let path = &params.target.path;
        if !found.folder && !params.check_mode {
            return Err(Fault::param("file", format!("the folder `{}` does not exist", folder(path)))
                .hint("`postgresql_cluster` before this task makes the cluster"));
        }
        if let Some(file) = found.missing.first().filter(|_| !params.check_mode) {
            return Err(Fault::param(
                "rules",
                format!("there is no file `{file}`, which a rule names by `@`"),
            )
            .hint("put it there before this task, with the names in it, readable by `postgres`"));
        }
        let Some(seen) = &found.seen else { return Ok(Verdict::Act(None)) };
        params.target.check(seen, "file")?;
        match params.target.compare(seen, &params.content, &format!("same {} rules", params.rules)) {
            Verdict::Act(edit) => Ok(Verdict::Act(Some(edit))),
            Verdict::InState(because) => match found.errors.first() {
                None => Ok(Verdict::InState(because)),
                Some(first) => Err(found.errors.iter().fold(
                    Fault::param("rules", format!("the server finds a fault in `{path}`: {first}")),
                    |fault, error| fault.note(error.clone()),
                )),
            },
        }
    }

    fn show(params: &Params, found: &Found, edit: &Option<Edit>) -> Vec<Change> {
        match (edit, &found.seen) {
            (Some(edit), Some(seen)) => params.target.show(seen, edit),
            _ => vec![Change::text(&params.target.path, "", String::from_utf8_lossy(&params.content))],
        }
    }

    fn actions(params: &Params, found: &Found, edit: &Option<Edit>) -> Vec<Action> {
        let (Some(edit), Some(seen)) = (edit, &found.seen) else { return Vec::new() };
        let mut actions = params.target.actions(seen, edit);
        let mut proof = None;
        if let (Some(Action::Put(put)), true) = (actions.first_mut(), found.runs) {
            put.backup = Some(KEPT.to_owned());
            proof = Some(Action::Run(
                Run::new(prove(params, &put.path)).timeout(120).shown("SELECT error FROM pg_hba_file_rules"),
            ));
        }
        actions.extend(proof);
        actions
    }

    fn result(params: &Params, _found: &Found, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([
            ("file".to_owned(), json!(params.target.path)),
            ("rules".to_owned(), json!(params.rules)),
        ])
    }
}

/// Ending of the old file until the server has read the new one.
const KEPT: &str = ".ishprov-before";

const ERRORS: &str = "SELECT 'line ' || line_number || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY line_number";

fn server_ask(params: &Params) -> Ask {
    Ask::sh(format!(
        "{}[ \"$(sql 2>/dev/null <<'X'\nSELECT 1\nX\n)\" = 1 ] || exit 0\nprintf 'runs\\t1\\n'\n\
         sql <<'X' | sed 's/^/error\\t/'\n{ERRORS}\nX\n",
        params.instance.sql_function()
    ))
}

/// The server reads the new file before anybody is judged by it; a fault brings the old one back.
fn prove(params: &Params, path: &str) -> String {
    let (new, old) = (quote(path), quote(&format!("{path}{KEPT}")));
    format!(
        "{}bad=$(sql <<'X'\n{ERRORS}\nX\n) || bad='the server could not read it'\n\
         if [ -n \"$bad\" ]; then\n if [ -e {old} ]; then mv -f {old} {new}; else rm -f {new}; fi\n \
         printf 'the server refuses the new file, the old one is back\\n%s\\n' \"$bad\" >&2\n exit 1\nfi\nrm -f {old}\n",
        params.instance.sql_function()
    )
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(folder, _)| folder)
}

/// A file that another one names, as PostgreSQL looks for it.
fn beside(path: &str, name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{}/{name}", folder(path)) }
}

const HEADER: &str = "Written by ishprov: changes by hand are overwritten.
The first rule that matches decides. `all` as a database does not match `replication`.";

fn render(header: Option<&str>, rules: &[Rule]) -> String {
    let mut text = String::new();
    for line in header.unwrap_or(HEADER).lines() {
        text.push_str(format!("# {}", remark(line)).trim_end());
        text.push('\n');
    }
    text.push_str(&format!(
        "#\n{:<9} {:<15} {:<15} {:<23} METHOD\n",
        "# TYPE", "DATABASE", "USER", "ADDRESS"
    ));
    for rule in rules {
        if !rule.comment.is_empty() {
            text.push_str(&format!("# {}\n", rule.comment));
        }
        text.push_str(&rule.line());
        text.push('\n');
    }
    text
}
