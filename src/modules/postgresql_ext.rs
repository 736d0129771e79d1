//! Extensions of a database.
//!
//! The extension's files must be on the host (`postgresql-contrib` or a package `postgresql-15-NAME`). `version` wants
//! one version, `latest` the newest that is on the host; without it any installed version will do. Extensions that
//! need `shared_preload_libraries` (pg_stat_statements, pg_cron) want that setting and a restart before.
//!
//! `cascade: true` also creates the extensions that this one needs, and with `state: absent` drops what depends on it.
//!
//! EXAMPLES
//! - name: Statistics of statements
//!   postgresql_ext: {name: pg_stat_statements, db: postgres}
//! - name: Up to date
//!   postgresql_ext: {name: postgis, db: maps, schema: gis, version: latest, cascade: true}

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::{Fault, did_you_mean};
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_ext`.
pub struct PostgresqlExt;

/// Which extension, and how.
#[derive(Debug)]
pub struct Params {
    session: Session,
    name: String,
    quoted: String,
    schema: Option<String>,
    version: Option<String>,
    cascade: bool,
    present: bool,
}

/// What the database and the host have.
#[derive(Debug, Deserialize)]
pub struct Found {
    version: Option<String>,
    schema: Option<String>,
    relocatable: Option<bool>,
    /// The newest on the host.
    default: Option<String>,
    /// Versions that can be installed, or updated to.
    versions: Vec<String>,
    schema_exists: bool,
    /// What the host has, when it has not this one.
    others: Vec<String>,
    dependents: Vec<String>,
}

impl Module for PostgresqlExt {
    type Params = Params;
    type State = Seen<Found>;
    type Diff = Vec<Step>;

    const SPEC: Spec = Spec {
        name: "postgresql_ext",
        aliases: &[],
        summary: "Extensions of a database",
        source: include_str!("postgresql_ext.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The extension").required().aliases(&["ext"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether it is there")
                .default("present"),
            Param::new("schema", Kind::Str, "The schema that holds its objects"),
            Param::new("version", Kind::Str, "A version, or `latest`"),
            Param::new("cascade", Kind::Bool, "Also what it needs, or, when dropping, what needs it")
                .default("false"),
            psql::LOGIN_DB,
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let (schema, version) = (args.str("schema"), args.str("version"));
        if let Some(schema) = &schema {
            psql::ident("schema", schema)?;
        }
        if let Some(version) = &version {
            psql::ident("version", version)?;
        }
        Ok(Params {
            session: Session::decode(args, "login_db")?,
            quoted: psql::ident("name", &name)?,
            name,
            schema,
            version: version.filter(|version| !version.is_empty()),
            cascade: args.bool("cascade").unwrap_or(false),
            present: args.str("state").as_deref() != Some("absent"),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.ask().into_iter().collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen<Found>, Fault> {
        params.session.seen(answers, &params.ask()?)
    }

    fn diff(params: &Params, seen: &Seen<Found>) -> Result<Verdict<Vec<Step>>, Fault> {
        let found = &seen.found;
        let title = format!("extension {}", params.name);
        let mut steps = Vec::new();
        if params.present {
            available(params, found)?;
            let wanted = match params.version.as_deref() {
                Some("latest") => found.default.as_deref(),
                other => other,
            };
            match &found.version {
                None => steps.push(create(params, found, wanted)?),
                Some(version) => {
                    if let Some(wanted) = wanted.filter(|wanted| wanted != version) {
                        let sql = format!(
                            "ALTER EXTENSION {} UPDATE TO {}",
                            params.quoted,
                            psql::ident("version", wanted)?
                        );
                        steps.push(Step::new(sql, Change::field("version", version.as_str(), wanted)));
                    }
                    steps.extend(relocate(params, found)?);
                }
            }
        } else if let Some(version) = &found.version {
            if !found.dependents.is_empty() && !params.cascade {
                return Err(Fault::param(
                    "name",
                    format!("other things need the extension `{}`; it is not dropped", params.name),
                )
                .note(format!("they are {}", found.dependents.join(", ")))
                .hint("`cascade: true` drops them too"));
            }
            let cascade = if params.cascade { " CASCADE" } else { "" };
            steps.push(Step::new(
                format!("DROP EXTENSION {}{cascade}", params.quoted),
                Change::field(title, version.as_str(), "absent"),
            ));
        }
        params.session.verdict(&seen.server, steps, || match &found.version {
            Some(version) => format!("version {version} is there"),
            None => "it is not there".to_owned(),
        })
    }

    fn show(_params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Action> {
        params.session.run(steps, true)
    }

    fn result(params: &Params, seen: &Seen<Found>, _ran: &[Output]) -> Map<String, Value> {
        let told = json!({"ext": params.name, "version": seen.found.version, "schema": seen.found.schema});
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let schema = match &self.schema {
            Some(schema) => psql::literal("schema", schema)?,
            None => "NULL".to_owned(),
        };
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('version', e.extversion, 'schema', (SELECT nspname FROM pg_namespace WHERE oid = \
             e.extnamespace), 'relocatable', e.extrelocatable, \
             'default', (SELECT default_version FROM pg_available_extensions WHERE name = x.name), \
             'versions', (SELECT coalesce(json_agg(v.version ORDER BY v.version), '[]') FROM \
             (SELECT version FROM pg_available_extension_versions WHERE name = x.name AND e.oid IS NULL \
             UNION SELECT u.target FROM pg_extension_update_paths(x.name) AS u \
             WHERE e.oid IS NOT NULL AND u.source = e.extversion AND u.path IS NOT NULL) AS v), \
             'schema_exists', {schema} IS NULL OR EXISTS (SELECT FROM pg_namespace WHERE nspname = {schema}), \
             'others', CASE WHEN EXISTS (SELECT FROM pg_available_extensions WHERE name = x.name) THEN '[]'::json \
             ELSE (SELECT coalesce(json_agg(name), '[]') FROM pg_available_extensions) END, \
             'dependents', (SELECT coalesce(json_agg(d.what), '[]') FROM (SELECT pg_describe_object(p.classid, p.objid, \
             p.objsubid) AS what FROM pg_depend AS p WHERE p.deptype = 'n' AND ((p.refclassid = 'pg_extension'::regclass \
             AND p.refobjid = e.oid) OR EXISTS (SELECT FROM pg_depend AS m WHERE m.deptype = 'e' AND m.refclassid = \
             'pg_extension'::regclass AND m.refobjid = e.oid AND m.classid = p.refclassid AND m.objid = p.refobjid)) \
             AND NOT EXISTS (SELECT FROM pg_depend AS o WHERE o.deptype = 'e' AND o.refclassid = 'pg_extension'::regclass \
             AND o.refobjid = e.oid AND o.classid = p.classid AND o.objid = p.objid) \
             AND NOT EXISTS (SELECT FROM pg_depend AS i WHERE i.deptype = 'i' AND i.classid = p.classid AND i.objid = p.objid \
             AND EXISTS (SELECT FROM pg_depend AS o WHERE o.deptype = 'e' AND o.refobjid = e.oid AND o.classid = i.refclassid \
             AND o.objid = i.refobjid)) LIMIT 5) AS d)) \
             FROM (SELECT {}::name AS name) AS x LEFT JOIN pg_extension AS e ON e.extname = x.name",
            psql::literal("name", &self.name)?
        )))
    }
}

/// Refuses what the host has not.
fn available(params: &Params, found: &Found) -> Result<(), Fault> {
    let name = &params.name;
    if found.default.is_none() && found.version.is_none() {
        let fault = Fault::param("name", format!("the host has no extension `{name}`")).healed_by(&["apt"]);
        return Err(match did_you_mean(name, found.others.iter().map(String::as_str)) {
            Some(near) => fault.hint(near),
            None => fault.hint(format!(
                "install its package before: `apt-cache search postgresql-` names those of the host ({name} may be in \
                 `postgresql-contrib`)"
            )),
        });
    }
    if let Some(version) = params.version.as_ref().filter(|version| *version != "latest")
        && found.version.as_ref() != Some(version)
        && !found.versions.contains(version)
    {
        let from =
            found.version.as_ref().map(|version| format!(" from version {version}")).unwrap_or_default();
        return Err(Fault::param(
            "version",
            format!("there is no way{from} to version `{version}` of `{name}`"),
        )
        .healed_by(&["apt"])
        .hint(format!("the host offers {}", found.versions.join(", "))));
    }
    if let Some(schema) = params.schema.as_ref().filter(|_| !found.schema_exists) {
        return Err(Fault::param("schema", format!("the database has no schema `{schema}`"))
            .healed_by(&["postgresql_schema", "postgresql_ext"])
            .hint("make it with `postgresql_schema` before"));
    }
    Ok(())
}

fn create(params: &Params, found: &Found, version: Option<&str>) -> Result<Step, Fault> {
    let mut sql = format!("CREATE EXTENSION {}", params.quoted);
    if let Some(schema) = &params.schema {
        sql.push_str(&format!(" SCHEMA {}", psql::ident("schema", schema)?));
    }
    if let Some(version) = version {
        sql.push_str(&format!(" VERSION {}", psql::ident("version", version)?));
    }
    if params.cascade {
        sql.push_str(" CASCADE");
    }
    let version = version.or(found.default.as_deref()).unwrap_or_default();
    Ok(Step::new(sql, Change::field(format!("extension {}", params.name), "", version)))
}

/// The step that moves the extension to another schema.
fn relocate(params: &Params, found: &Found) -> Result<Option<Step>, Fault> {
    let (Some(wanted), Some(has)) = (&params.schema, &found.schema) else { return Ok(None) };
    if wanted == has {
        return Ok(None);
    }
    if found.relocatable == Some(false) {
        return Err(Fault::param(
            "schema",
            format!("the extension `{}` is in the schema `{has}` and cannot be moved", params.name),
        )
        .certain()
        .hint(format!("drop it and create it anew, or say `schema: {has}`")));
    }
    let sql = format!("ALTER EXTENSION {} SET SCHEMA {}", params.quoted, psql::ident("schema", wanted)?);
    Ok(Some(Step::new(sql, Change::field("schema", has, wanted))))
}
