//! Databases.
//!
//! Encoding and locale of a database are fixed when it is made: where they differ from the task's, the task fails. A
//! new database is made from `template0` where the task names encoding or locale, as PostgreSQL demands. Owner, limit,
//! tablespace and comment are brought up to date.
//!
//! `state: absent` drops a database and all that is in it, except while somebody is connected; `force: true` ends their
//! sessions. `dump`, `restore` and `rename` are not supported.
//!
//! EXAMPLES
//! - name: The program's database
//!   postgresql_db:
//!     name: app
//!     owner: app
//!     encoding: UTF8
//!     lc_collate: C.UTF-8
//!     lc_ctype: C.UTF-8

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_db`.
pub struct PostgresqlDb;

/// Which database, and how.
#[derive(Debug)]
pub struct Params {
    session: Session,
    name: String,
    quoted: String,
    present: bool,
    force: bool,
    owner: Option<String>,
    encoding: Option<String>,
    lc_collate: Option<String>,
    lc_ctype: Option<String>,
    template: Option<String>,
    conn_limit: Option<i64>,
    tablespace: Option<String>,
    comment: Option<String>,
}

/// What the server has.
#[derive(Debug, Deserialize)]
pub struct Found {
    db: Option<Database>,
    /// Whether owner and tablespace of the task exist.
    owner: bool,
    tablespace: bool,
    /// PostgreSQL's own name of the task's encoding.
    encoding: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Database {
    owner: String,
    encoding: String,
    collate: Option<String>,
    ctype: Option<String>,
    conn_limit: i64,
    tablespace: String,
    comment: Option<String>,
    sessions: i64,
}

/// Statements, and whether they may share a transaction.
pub struct Diff(Vec<Step>, bool);

impl Module for PostgresqlDb {
    type Params = Params;
    type State = Seen<Found>;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_db",
        aliases: &[],
        summary: "Databases of a PostgreSQL server",
        source: include_str!("postgresql_db.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The database").required().aliases(&["db"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether there is one")
                .default("present"),
            Param::new("owner", Kind::Str, "The role that owns it"),
            Param::new("encoding", Kind::Str, "As `UTF8`"),
            Param::new("lc_collate", Kind::Str, "The locale that texts are sorted by"),
            Param::new("lc_ctype", Kind::Str, "The locale of letters and case"),
            Param::new("template", Kind::Str, "The database it is copied from when it is new"),
            Param::new("conn_limit", Kind::Int, "Connections at a time; -1 is without limit"),
            Param::new("tablespace", Kind::Str, "Where its files are; moving them needs it unused"),
            Param::new("comment", Kind::Str, "A comment on it"),
            Param::new("force", Kind::Bool, "End the sessions of a database that is dropped")
                .default("false"),
            Param::new("maintenance_db", Kind::Str, "The database to connect to meanwhile")
                .default("postgres"),
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let params = Params {
            session: Session::decode(args, "maintenance_db")?,
            quoted: psql::ident("name", &name)?,
            name,
            present: args.str("state").as_deref() != Some("absent"),
            force: args.bool("force").unwrap_or(false),
            owner: args.str("owner"),
            encoding: args.str("encoding"),
            lc_collate: args.str("lc_collate"),
            lc_ctype: args.str("lc_ctype"),
            template: args.str("template"),
            conn_limit: args.int("conn_limit"),
            tablespace: args.str("tablespace"),
            comment: args.str("comment"),
        };
        for (param, value) in
            [("owner", &params.owner), ("template", &params.template), ("tablespace", &params.tablespace)]
        {
            if let Some(value) = value {
                psql::ident(param, value)?;
            }
        }
        for param in ["encoding", "lc_collate", "lc_ctype", "comment"] {
            psql::literal(param, &args.str(param).unwrap_or_default())?;
        }
        if params.conn_limit.is_some_and(|limit| limit < -1) {
            return Err(Fault::param(
                "conn_limit",
                "`conn_limit` is a number of connections, or -1 for no limit",
            ));
        }
        if !params.present && params.name == params.session.db {
            return Err(Fault::param(
                "name",
                format!("`{}` cannot be dropped while we are connected to it", params.name),
            )
            .hint("name another `maintenance_db`"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.ask().into_iter().collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen<Found>, Fault> {
        params.session.seen(answers, &params.ask()?)
    }

    fn diff(params: &Params, seen: &Seen<Found>) -> Result<Verdict<Diff>, Fault> {
        let found = &seen.found;
        let mut atomic = true;
        let steps = match &found.db {
            None if params.present => {
                atomic = false;
                params.check(found)?;
                create(params)?
            }
            None => Vec::new(),
            Some(db) if params.present => {
                params.check(found)?;
                unchangeable(params, found, db)?;
                atomic = params.tablespace.as_ref().is_none_or(|wanted| *wanted == db.tablespace);
                alter(params, db)?
            }
            Some(db) if db.sessions > 0 && !params.force => {
                return Err(Fault::param(
                    "name",
                    format!("`{}` has {} sessions and is not dropped", params.name, db.sessions),
                )
                .hint("`force: true` ends them"));
            }
            Some(_) => {
                atomic = false;
                let force = if params.force { " WITH (FORCE)" } else { "" };
                vec![Step::new(
                    format!("DROP DATABASE {}{force}", params.quoted),
                    Change::field(format!("database {}", params.name), "present", "absent"),
                )]
            }
        };
        let because =
            || if params.present { "the database is as wanted" } else { "there is no such database" };
        Ok(match params.session.verdict(&seen.server, steps, || because().to_owned())? {
            Verdict::InState(because) => Verdict::InState(because),
            Verdict::Act(steps) => Verdict::Act(Diff(steps, atomic)),
        })
    }

    fn show(_params: &Params, _seen: &Seen<Found>, Diff(steps, _): &Diff) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _seen: &Seen<Found>, Diff(steps, atomic): &Diff) -> Vec<Action> {
        params.session.run(steps, *atomic)
    }

    fn result(params: &Params, _seen: &Seen<Found>, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("db".to_owned(), json!(params.name))])
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let text = |param: &str, value: &Option<String>| match value {
            Some(value) => psql::literal(param, value),
            None => Ok("NULL".to_owned()),
        };
        let (owner, space) = (text("owner", &self.owner)?, text("tablespace", &self.tablespace)?);
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('db', (SELECT json_build_object('owner', pg_get_userbyid(d.datdba), \
             'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, 'ctype', d.datctype, \
             'conn_limit', d.datconnlimit, 'tablespace', t.spcname, 'comment', shobj_description(d.oid, 'pg_database'), \
             'sessions', (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datid = d.oid)) \
             FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace WHERE d.datname = {name}), \
             'owner', {owner} IS NULL OR EXISTS (SELECT FROM pg_roles WHERE rolname = {owner}), \
             'tablespace', {space} IS NULL OR EXISTS (SELECT FROM pg_tablespace WHERE spcname = {space}), \
             'encoding', nullif(pg_encoding_to_char(pg_char_to_encoding({encoding})), ''))",
            name = psql::literal("name", &self.name)?,
            encoding = text("encoding", &self.encoding)?,
        )))
    }

    fn check(&self, found: &Found) -> Result<(), Fault> {
        if let Some(owner) = self.owner.as_ref().filter(|_| !found.owner) {
            return Err(Fault::param("owner", format!("there is no role `{owner}`"))
                .healed_by(&["postgresql_user"])
                .hint("make it with `postgresql_user` before"));
        }
        if let Some(space) = self.tablespace.as_ref().filter(|_| !found.tablespace) {
            return Err(Fault::param("tablespace", format!("there is no tablespace `{space}`")).certain());
        }
        if let Some(encoding) = self.encoding.as_ref().filter(|_| found.encoding.is_none()) {
            return Err(Fault::param("encoding", format!("PostgreSQL knows no encoding `{encoding}`"))
                .certain()
                .hint("`UTF8` is the usual one"));
        }
        Ok(())
    }
}

fn create(params: &Params) -> Result<Vec<Step>, Fault> {
    let mut sql = format!("CREATE DATABASE {}", params.quoted);
    let fixed = [
        ("ENCODING", "encoding", &params.encoding),
        ("LC_COLLATE", "lc_collate", &params.lc_collate),
        ("LC_CTYPE", "lc_ctype", &params.lc_ctype),
    ];
    let template = match &params.template {
        Some(template) => Some(template.as_str()),
        None if fixed.iter().any(|(_, _, value)| value.is_some()) => Some("template0"),
        None => None,
    };
    for (word, param, value) in [
        ("OWNER", "owner", params.owner.as_deref()),
        ("TEMPLATE", "template", template),
        ("TABLESPACE", "tablespace", params.tablespace.as_deref()),
    ] {
        if let Some(value) = value {
            sql.push_str(&format!(" {word} {}", psql::ident(param, value)?));
        }
    }
    for (word, param, value) in fixed {
        if let Some(value) = value {
            sql.push_str(&format!(" {word} {}", psql::literal(param, value)?));
        }
    }
    if let Some(limit) = params.conn_limit {
        sql.push_str(&format!(" CONNECTION LIMIT {limit}"));
    }
    let mut steps = vec![Step::new(sql, Change::field(format!("database {}", params.name), "", "present"))];
    if let Some(comment) = params.comment.as_deref().filter(|comment| !comment.is_empty()) {
        steps.push(comment_step(params, "", comment)?);
    }
    Ok(steps)
}

fn comment_step(params: &Params, before: &str, comment: &str) -> Result<Step, Fault> {
    let sql = format!("COMMENT ON DATABASE {} IS {}", params.quoted, psql::literal("comment", comment)?);
    Ok(Step::new(sql, Change::field("comment", before, comment)))
}

fn alter(params: &Params, db: &Database) -> Result<Vec<Step>, Fault> {
    let alter = format!("ALTER DATABASE {}", params.quoted);
    let mut steps = Vec::new();
    if let Some(owner) = params.owner.as_ref().filter(|owner| **owner != db.owner) {
        let sql = format!("{alter} OWNER TO {}", psql::ident("owner", owner)?);
        steps.push(Step::new(sql, Change::field("owner", db.owner.as_str(), owner)));
    }
    if let Some(limit) = params.conn_limit.filter(|limit| *limit != db.conn_limit) {
        let change = Change::field("conn_limit", db.conn_limit.to_string(), limit.to_string());
        steps.push(Step::new(format!("{alter} CONNECTION LIMIT {limit}"), change));
    }
    let before = db.comment.as_deref().unwrap_or_default();
    if let Some(comment) = params.comment.as_deref().filter(|comment| *comment != before) {
        steps.push(comment_step(params, before, comment)?);
    }
    if let Some(space) = params.tablespace.as_ref().filter(|space| **space != db.tablespace) {
        let sql = format!("{alter} SET TABLESPACE {}", psql::ident("tablespace", space)?);
        steps.push(Step::new(sql, Change::field("tablespace", db.tablespace.as_str(), space)));
    }
    Ok(steps)
}

/// Refuses what would need the database to be made anew.
fn unchangeable(params: &Params, found: &Found, db: &Database) -> Result<(), Fault> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "");
    let pairs = [
        ("encoding", found.encoding.as_deref(), Some(db.encoding.as_str())),
        ("lc_collate", params.lc_collate.as_deref(), db.collate.as_deref()),
        ("lc_ctype", params.lc_ctype.as_deref(), db.ctype.as_deref()),
    ];
    for (param, wanted, has) in pairs {
        let (Some(wanted), Some(has)) = (wanted, has) else { continue };
        if plain(wanted) != plain(has) {
            return Err(Fault::param(
                param,
                format!("the database `{}` is there with {param} `{has}`, not `{wanted}`", params.name),
            )
            .certain()
            .note("PostgreSQL fixes it when a database is made")
            .hint("dump it, drop it, make it anew and restore it; or leave it as it is"));
        }
    }
    Ok(())
}
