//! Who may do what: GRANT and REVOKE.
//!
//! - `type: database`, `schema`, `table`, `sequence`, `function`, `procedure`, `tablespace`, `type`, `language`: `objs`
//!   are their names; for tables, sequences and functions `ALL_IN_SCHEMA` means all that are there now. Those that have
//!   a schema are looked for in `schema`. A function is named with its types: `area(float8, float8)` (in a text without
//!   a list, `:` stands for the comma between types).
//! - `type: default_privs`: what roles get on objects that `target_roles` make later; `objs` are TABLES, SEQUENCES,
//!   FUNCTIONS, TYPES, SCHEMAS. Without `schema` it holds for the whole database.
//! - `type: group`: membership, as `postgresql_membership` has it.
//!
//! `privs: ALL` means all rights that such an object has. `roles: PUBLIC` means everybody. Rights are read back one by
//! one, so that a second run finds nothing to do. Rights on single columns are not supported.
//!
//! EXAMPLES
//! - name: Readers
//!   postgresql_privs:
//!     database: app
//!     schema: public
//!     objs: ALL_IN_SCHEMA
//!     privs: SELECT
//!     roles: readers
//! - name: And of tables to come
//!   postgresql_privs:
//!     database: app
//!     type: default_privs
//!     schema: public
//!     target_roles: app
//!     objs: TABLES
//!     privs: SELECT
//!     roles: readers
//! - name: Nobody but those named
//!   postgresql_privs:
//!     database: app
//!     type: database
//!     privs: ALL
//!     roles: PUBLIC
//!     state: absent

use super::privs_catalog::{self as catalog, Class};
use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::{Fault, did_you_mean};
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_privs`.
pub struct PostgresqlPrivs;

/// Which rights, on what, for whom.
#[derive(Debug)]
pub struct Params {
    session: Session,
    class: &'static Class,
    pub(super) objs: Vec<String>,
    pub(super) all_in_schema: bool,
    /// For objects in a schema and for default rights.
    pub(super) schema: Option<String>,
    pub(super) roles: Vec<String>,
    pub(super) target_roles: Vec<String>,
    /// In upper case; `None` is ALL.
    privs: Option<Vec<String>>,
    grant_option: Option<bool>,
    present: bool,
    fail: bool,
}

/// What the database has.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// Of those named, the roles that exist.
    roles: Vec<String>,
    objects: Vec<Object>,
    schema: bool,
}

/// An object, and who may do what with it.
#[derive(Debug, Deserialize)]
struct Object {
    /// As the task names it.
    name: String,
    /// As SQL names it; `None` when it does not exist.
    sql: Option<String>,
    /// Role (null is everybody), right, and whether it may be passed on.
    acl: Vec<(Option<String>, String, bool)>,
}

impl Module for PostgresqlPrivs {
    type Params = Params;
    type State = Seen<Found>;
    type Diff = Vec<Step>;

    const SPEC: Spec = Spec {
        name: "postgresql_privs",
        aliases: &["postgresql_privileges"],
        summary: "Rights in a database",
        source: include_str!("postgresql_privs.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("login_db", Kind::Str, "The database").required().aliases(&["database", "db"]),
            Param::new(
                "type",
                Kind::Choice(&[
                    "table",
                    "sequence",
                    "function",
                    "procedure",
                    "database",
                    "schema",
                    "tablespace",
                    "type",
                    "language",
                    "default_privs",
                    "group",
                ]),
                "Kind of object",
            )
            .default("table"),
            Param::new("objs", Kind::List, "The objects; a database may be left out where it is `login_db`")
                .aliases(&["obj"]),
            Param::new("schema", Kind::Str, "The schema that holds the objects").default("public"),
            Param::new("roles", Kind::List, "Who; PUBLIC is everybody").required().aliases(&["role"]),
            Param::new("privs", Kind::List, "The rights, or ALL").aliases(&["priv"]),
            Param::new("target_roles", Kind::List, "Whose future objects (of `default_privs`)")
                .default("postgres"),
            Param::new("grant_option", Kind::Bool, "Whether the rights may be passed on")
                .aliases(&["admin_option"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Granted or revoked")
                .default("present"),
            Param::new(
                "fail_on_role",
                Kind::Bool,
                "Fail where a role does not exist; otherwise leave it out",
            )
            .default("true"),
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let session = Session::decode(args, "login_db")?;
        let kind = args.str("type").unwrap_or_else(|| "table".to_owned());
        let class = catalog::class(&kind)
            .ok_or_else(|| Fault::param("type", format!("`{kind}` is not supported")))?;
        let mut objs = args.list("objs");
        if objs.is_empty() && kind == "database" {
            objs.push(session.db.clone());
        }
        if objs.is_empty() {
            return Err(Fault::param("objs", format!("`type: {kind}` needs `objs`")));
        }
        let all_in_schema = objs.iter().any(|name| name.eq_ignore_ascii_case("ALL_IN_SCHEMA"));
        if all_in_schema && !class.all_in_schema() {
            return Err(Fault::param("objs", format!("ALL_IN_SCHEMA means nothing with `type: {kind}`")));
        }
        if kind == "default_privs" {
            objs = default_objects(&objs)?;
        } else if !class.is_routine() && !all_in_schema {
            objs = psql::names("objs", objs)?;
        }
        let schema = match (args.str("schema"), class.in_schema()) {
            (Some(schema), _) => Some(schema).filter(|schema| schema != "not-specified"),
            (None, true) => Some("public".to_owned()),
            (None, false) => None,
        };
        if let Some(schema) = &schema {
            psql::ident("schema", schema)?;
        }
        let params = Params {
            class,
            objs,
            all_in_schema,
            schema,
            roles: psql::names("roles", args.list("roles"))?,
            target_roles: match psql::names("target_roles", args.list("target_roles"))? {
                roles if roles.is_empty() => vec!["postgres".to_owned()],
                roles => roles,
            },
            privs: rights(args, class)?,
            grant_option: args.bool("grant_option"),
            present: args.str("state").as_deref() != Some("absent"),
            fail: args.bool("fail_on_role").unwrap_or(true),
            session,
        };
        for obj in &params.objs {
            psql::literal("objs", obj)?;
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.ask().into_iter().collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen<Found>, Fault> {
        params.session.seen(answers, &params.ask()?)
    }

    fn diff(params: &Params, seen: &Seen<Found>) -> Result<Verdict<Vec<Step>>, Fault> {
        let found = &seen.found;
        params.check(found)?;
        let mut steps = Vec::new();
        for object in &found.objects {
            let Some(sql) = &object.sql else { continue };
            for role in params.roles.iter().filter(|role| is_public(role) || found.roles.contains(role)) {
                let grantee = if is_public(role) { "PUBLIC".to_owned() } else { psql::ident("roles", role)? };
                steps.extend(params.steps(object, sql, role, &grantee, seen.server.version));
            }
        }
        let objects = found.objects.len();
        params.session.verdict(&seen.server, steps, || match (objects, params.present) {
            (0, _) => "there are no such objects".to_owned(),
            (_, true) => "the rights are granted".to_owned(),
            (_, false) => "the rights are not granted".to_owned(),
        })
    }

    fn show(_params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Action> {
        params.session.run(steps, true)
    }

    fn result(params: &Params, _seen: &Seen<Found>, _ran: &[Output]) -> Map<String, Value> {
        let told = json!({"objs": params.objs, "roles": params.roles});
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let mut roles = self.roles.clone();
        roles.extend(self.target_roles.iter().cloned());
        if self.class.is_group() {
            roles.extend(self.objs.iter().cloned());
        }
        let schema = match &self.schema {
            Some(schema) => psql::literal("schema", schema)?,
            None => "NULL".to_owned(),
        };
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('roles', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles WHERE rolname = \
             ANY ({})), 'schema', {schema} IS NULL OR EXISTS (SELECT FROM pg_namespace WHERE nspname = {schema}), \
             'objects', (SELECT coalesce(json_agg(o ORDER BY o.name), '[]') FROM ({}) AS o))",
            psql::array("roles", &roles)?,
            catalog::objects(self.class, self, &schema)?
        )))
    }

    /// Refuses what does not exist.
    fn check(&self, found: &Found) -> Result<(), Fault> {
        if let Some(schema) = self.schema.as_ref().filter(|_| !found.schema) {
            return Err(Fault::param("schema", format!("the database has no schema `{schema}`"))
                .healed_by(&["postgresql_schema", "postgresql_ext"])
                .hint("make it with `postgresql_schema` before"));
        }
        let exists = |role: &String| is_public(role) || found.roles.contains(role);
        if let Some(role) = self.roles.iter().find(|role| self.fail && !exists(role)) {
            return Err(Fault::param("roles", format!("there is no role `{role}`"))
                .hint("make it with `postgresql_user` before, or say `fail_on_role: false`"));
        }
        if let Some(role) = self.target_roles.iter().find(|role| self.class.is_default() && !exists(role)) {
            return Err(Fault::param("target_roles", format!("there is no role `{role}`"))
                .hint("make it with `postgresql_user` before"));
        }
        let missing: Vec<String> = found
            .objects
            .iter()
            .filter(|object| object.sql.is_none())
            .map(|object| format!("`{}`", object.name))
            .collect();
        if !missing.is_empty() {
            let place =
                self.schema.as_ref().map(|schema| format!(" in the schema `{schema}`")).unwrap_or_default();
            let what = self.class.word().to_lowercase();
            return Err(Fault::param("objs", format!("there is no {what} {}{place}", missing.join(", "))));
        }
        Ok(())
    }

    /// The statements that give one role its rights on one object, or take them.
    fn steps(&self, object: &Object, sql: &str, role: &str, grantee: &str, version: i64) -> Vec<Step> {
        let wanted: Vec<&str> = match &self.privs {
            Some(privs) => privs.iter().map(String::as_str).collect(),
            None => self.class.rights(&object.name, version),
        };
        let mine = |right: &str| {
            let of_role = |known: &Option<String>| match known {
                None => is_public(role),
                Some(known) => known == role,
            };
            object
                .acl
                .iter()
                .filter(|(known, has, _)| of_role(known) && has == right)
                .map(|(_, _, passes)| *passes)
                .collect::<Vec<bool>>()
        };
        let pick = |wanted: &[&str], keep: &dyn Fn(&str) -> bool| {
            wanted.iter().copied().filter(|right| keep(right)).collect::<Vec<_>>().join(", ")
        };
        let title = |rights: &str| match self.class.is_group() {
            true => format!("{role} in {}", object.name),
            false => format!("{rights} on {} {} for {role}", self.class.word().to_lowercase(), object.name),
        };
        let mut steps = Vec::new();
        let mut step = |rights: String, sql: String, before: &str, after: &str| {
            if !rights.is_empty() {
                steps.push(Step::new(sql, Change::field(title(&rights), before, after)));
            }
        };
        if !self.present {
            let rights = pick(&wanted, &|right| !mine(right).is_empty());
            let sql = self.class.revoke(&rights, sql, grantee, false);
            step(rights, sql, "granted", "revoked");
            return steps;
        }
        let passes = self.grant_option == Some(true);
        let rights = pick(&wanted, &|right| {
            if passes { !mine(right).contains(&true) } else { mine(right).is_empty() }
        });
        let grant = self.class.grant(&rights, sql, grantee, passes);
        step(rights, grant, "", if passes { "granted, may be passed on" } else { "granted" });
        if self.grant_option == Some(false) {
            let rights = pick(&wanted, &|right| mine(right).contains(&true));
            let revoke = self.class.revoke(&rights, sql, grantee, true);
            step(rights, revoke, "may be passed on", "granted");
        }
        steps
    }
}

fn is_public(role: &str) -> bool {
    role.eq_ignore_ascii_case("public")
}

/// The rights of a task; `None` is ALL.
fn rights(args: &Args, class: &Class) -> Result<Option<Vec<String>>, Fault> {
    let given = args.list("privs");
    if class.is_group() {
        return match given.is_empty() {
            true => Ok(Some(vec!["MEMBER".to_owned()])),
            false => Err(Fault::param("privs", "`type: group` has no `privs`")),
        };
    }
    if given.is_empty() {
        return Err(Fault::param("privs", "`privs` is needed: the rights, or ALL"));
    }
    let mut rights = Vec::new();
    for right in given {
        let upper = right.trim().to_ascii_uppercase();
        let upper = if upper == "TEMP" { "TEMPORARY".to_owned() } else { upper };
        if upper == "ALL" || upper == "ALL PRIVILEGES" {
            return Ok(None);
        }
        if upper.contains('(') {
            return Err(Fault::param(
                "privs",
                format!("rights on single columns (`{right}`) are not supported"),
            )
            .hint("run the GRANT with `postgresql_query`"));
        }
        let known = class.known();
        if !known.contains(&upper.as_str()) {
            let fault =
                Fault::param("privs", format!("a {} has no right `{right}`", class.word().to_lowercase()));
            return Err(match did_you_mean(&upper, known.iter().copied()) {
                Some(near) => fault.hint(near),
                None => fault.hint(format!("it has {}", known.join(", "))),
            });
        }
        rights.push(upper);
    }
    Ok(Some(rights))
}

/// Kinds of objects that default rights are about.
fn default_objects(given: &[String]) -> Result<Vec<String>, Fault> {
    let mut kinds = Vec::new();
    for word in given {
        let upper = word.to_ascii_uppercase();
        match upper.as_str() {
            "ALL_DEFAULT" => kinds.extend(["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES"].map(str::to_owned)),
            "TABLES" | "SEQUENCES" | "FUNCTIONS" | "TYPES" | "SCHEMAS" => kinds.push(upper),
            _ => {
                return Err(Fault::param(
                    "objs",
                    format!("`{word}` is no kind of objects with default rights"),
                )
                .hint("TABLES, SEQUENCES, FUNCTIONS, TYPES, SCHEMAS or ALL_DEFAULT"));
            }
        }
    }
    Ok(kinds)
}
