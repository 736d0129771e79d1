//! Schemas of a database.
//!
//! A schema that holds something is dropped only with `cascade_drop: true`, together with all that is in it.
//!
//! EXAMPLES
//! - name: The program's schema
//!   postgresql_schema: {name: app, db: app, owner: app}

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_schema`.
pub struct PostgresqlSchema;

/// Which schema, and how.
#[derive(Debug)]
pub struct Params {
    session: Session,
    name: String,
    quoted: String,
    owner: Option<String>,
    comment: Option<String>,
    present: bool,
    cascade: bool,
}

/// What the database has.
#[derive(Debug, Deserialize)]
pub struct Found {
    schema: Option<Schema>,
    owner_exists: bool,
}

#[derive(Debug, Deserialize)]
struct Schema {
    owner: String,
    comment: Option<String>,
    /// Some of what is in it.
    content: Vec<String>,
}

impl Module for PostgresqlSchema {
    type Params = Params;
    type State = Seen<Found>;
    type Diff = Vec<Step>;

    const SPEC: Spec = Spec {
        name: "postgresql_schema",
        aliases: &[],
        summary: "Schemas of a database",
        source: include_str!("postgresql_schema.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The schema").required().aliases(&["schema"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether there is one")
                .default("present"),
            Param::new("owner", Kind::Str, "The role that owns it"),
            Param::new("comment", Kind::Str, "A comment on it"),
            Param::new("cascade_drop", Kind::Bool, "Drop all that is in it as well").default("false"),
            Param::new("login_db", Kind::Str, "The database")
                .aliases(&["db", "database"])
                .default("postgres"),
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let owner = args.str("owner");
        if let Some(owner) = &owner {
            psql::ident("owner", owner)?;
        }
        let comment = args.str("comment");
        psql::literal("comment", comment.as_deref().unwrap_or_default())?;
        Ok(Params {
            session: Session::decode(args, "login_db")?,
            quoted: psql::ident("name", &name)?,
            name,
            owner,
            comment,
            present: args.str("state").as_deref() != Some("absent"),
            cascade: args.bool("cascade_drop").unwrap_or(false),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.ask().into_iter().collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen<Found>, Fault> {
        params.session.seen(answers, &params.ask()?)
    }

    fn diff(params: &Params, seen: &Seen<Found>) -> Result<Verdict<Vec<Step>>, Fault> {
        let (name, quoted) = (&params.name, &params.quoted);
        if let Some(owner) = params.owner.as_ref().filter(|_| params.present && !seen.found.owner_exists) {
            return Err(Fault::param("owner", format!("there is no role `{owner}`"))
                .healed_by(&["postgresql_user"])
                .hint("make it with `postgresql_user` before"));
        }
        let mut steps = Vec::new();
        let title = format!("schema {name}");
        match &seen.found.schema {
            Some(schema) if !params.present => {
                if !schema.content.is_empty() && !params.cascade {
                    return Err(Fault::param(
                        "name",
                        format!("the schema `{name}` is not empty and is not dropped"),
                    )
                    .note(format!("it holds {}", schema.content.join(", ")))
                    .hint("`cascade_drop: true` drops all of it"));
                }
                let cascade = if params.cascade { " CASCADE" } else { "" };
                steps.push(Step::new(
                    format!("DROP SCHEMA {quoted}{cascade}"),
                    Change::field(title, "present", "absent"),
                ));
            }
            None if !params.present => {}
            schema => {
                let owner = params.owner.as_deref().map(|owner| psql::ident("owner", owner)).transpose()?;
                if schema.is_none() {
                    let owner =
                        owner.as_ref().map(|owner| format!(" AUTHORIZATION {owner}")).unwrap_or_default();
                    steps.push(Step::new(
                        format!("CREATE SCHEMA {quoted}{owner}"),
                        Change::field(title, "", "present"),
                    ));
                }
                if let (Some(schema), Some(quoted_owner), Some(owner)) = (schema, owner, &params.owner)
                    && schema.owner != *owner
                {
                    let change = Change::field("owner", schema.owner.as_str(), owner);
                    steps.push(Step::new(format!("ALTER SCHEMA {quoted} OWNER TO {quoted_owner}"), change));
                }
                let before = schema.as_ref().and_then(|schema| schema.comment.as_deref()).unwrap_or_default();
                if let Some(comment) = params.comment.as_deref().filter(|comment| *comment != before) {
                    let sql = format!("COMMENT ON SCHEMA {quoted} IS {}", psql::literal("comment", comment)?);
                    steps.push(Step::new(sql, Change::field("comment", before, comment)));
                }
            }
        }
        params.session.verdict(&seen.server, steps, || {
            if params.present {
                "the schema is as wanted".to_owned()
            } else {
                "there is no such schema".to_owned()
            }
        })
    }

    fn show(_params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Action> {
        params.session.run(steps, true)
    }

    fn result(params: &Params, _seen: &Seen<Found>, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("schema".to_owned(), json!(params.name))])
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let owner = match &self.owner {
            Some(owner) => psql::literal("owner", owner)?,
            None => "NULL".to_owned(),
        };
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('schema', (SELECT json_build_object('owner', pg_get_userbyid(n.nspowner), \
             'comment', obj_description(n.oid, 'pg_namespace'), 'content', (SELECT coalesce(json_agg(c.what), '[]') FROM \
             (SELECT pg_describe_object(d.classid, d.objid, 0) AS what FROM pg_depend AS d \
             WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.deptype = 'n' LIMIT 5) AS c)) \
             FROM pg_namespace AS n WHERE n.nspname = {}), \
             'owner_exists', {owner} IS NULL OR EXISTS (SELECT FROM pg_roles WHERE rolname = {owner}))",
            psql::literal("name", &self.name)?
        )))
    }
}
