//! Roles: people, programs and groups of a PostgreSQL server.
//!
//! A new role may log in unless `role_attr_flags` says NOLOGIN; of a role that is there, only what the task names is
//! compared. The password is compared with the verifier that the server stores and set only where it is another one;
//! it never leaves the control machine in clear: what travels is a SCRAM-SHA-256 verifier. A ready verifier
//! (`SCRAM-SHA-256$...`) is taken as `password` as well. An empty `password` removes it.
//!
//! A password that was made in this run (`lookup('password', ...)` whose file is missing) does not take the place of one
//! that is set: whoever knows that one would be locked out. It is refused before anything is done on any host, unless
//! `renew_password` says so.
//!
//! `configuration` holds settings of the role (`ALTER ROLE ... SET`); null removes one, others are left alone.
//! A role that owns something or has been granted something is not dropped; the failure says in which databases.
//!
//! EXAMPLES
//! - name: The role that standbys connect as, by certificate
//!   postgresql_user:
//!     name: replicator
//!     role_attr_flags: LOGIN,REPLICATION
//! - name: The program's role
//!   postgresql_user:
//!     name: app
//!     password: "{{ app_password }}"
//!     conn_limit: 200
//!     configuration: {statement_timeout: 30s, work_mem: 16MB}
//! - name: A group
//!   postgresql_user: {name: readers, role_attr_flags: NOLOGIN}

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, scram};
use crate::diag::{Fault, did_you_mean};
use crate::shell::{Action, Answers, Ask, LocalAsk, MASK, Output, Secret};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The module `postgresql_user`.
pub struct PostgresqlUser;

/// Which role, and how.
#[derive(Debug)]
pub struct Params {
    session: Session,
    name: String,
    /// The name as an identifier.
    quoted: String,
    present: bool,
    password: Option<Secret>,
    keep_password: bool,
    /// The password was made in this run, and may not take the place of another.
    fresh: bool,
    flags: Vec<(&'static str, bool)>,
    conn_limit: Option<i64>,
    expires: Option<String>,
    comment: Option<String>,
    /// `None` removes the setting.
    configuration: Vec<(String, Option<String>)>,
    fail: bool,
}

/// A role of the server.
#[derive(Deserialize)]
pub struct Role {
    flags: BTreeMap<String, bool>,
    conn_limit: i64,
    valid_until: Option<String>,
    /// Whether `expires` is what is stored.
    same_expiry: Option<bool>,
    password: Option<String>,
    comment: Option<String>,
    configuration: Option<Vec<String>>,
    /// Where the role owns or may do something.
    uses: Vec<String>,
}

/// The server, the role, and salt for a new verifier.
pub struct Found {
    seen: Seen<Option<Role>>,
    salt: Vec<u8>,
}

/// Attributes by their word in SQL and their column.
const FLAGS: [(&str, &str); 7] = [
    ("SUPERUSER", "rolsuper"),
    ("CREATEROLE", "rolcreaterole"),
    ("CREATEDB", "rolcreatedb"),
    ("INHERIT", "rolinherit"),
    ("LOGIN", "rolcanlogin"),
    ("REPLICATION", "rolreplication"),
    ("BYPASSRLS", "rolbypassrls"),
];

impl Module for PostgresqlUser {
    type Params = Params;
    type State = Found;
    type Diff = Vec<Step>;

    const SPEC: Spec = Spec {
        name: "postgresql_user",
        aliases: &[],
        summary: "Roles of a PostgreSQL server",
        source: include_str!("postgresql_user.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The role").required().aliases(&["user"]),
            Param::new("password", Kind::Str, "Clear text or a SCRAM-SHA-256 verifier; empty removes it"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether there is one")
                .default("present"),
            Param::new(
                "role_attr_flags",
                Kind::List,
                "LOGIN, SUPERUSER, CREATEROLE, CREATEDB, INHERIT, REPLICATION, BYPASSRLS, each also with NO before it",
            ),
            Param::new("conn_limit", Kind::Int, "Connections at a time; -1 is without limit"),
            Param::new("expires", Kind::Str, "When the password ends: a point in time, or `infinity`"),
            Param::new("comment", Kind::Str, "A comment on the role"),
            Param::new("configuration", Kind::Dict, "Settings of the role's sessions; null removes one")
                .aliases(&["settings"]),
            Param::new("no_password_changes", Kind::Bool, "Leave the password of a role that is there alone")
                .default("false"),
            Param::new(
                "renew_password",
                Kind::Bool,
                "A password that was made in this run may take the place of one that is set",
            )
            .default("false"),
            Param::new(
                "fail_on_user",
                Kind::Bool,
                "Fail when the role cannot be dropped; otherwise leave it",
            )
            .aliases(&["fail_on_role"])
            .default("true"),
            Param::new("encrypted", Kind::Bool, "Taken without effect: no password is ever stored in clear"),
            psql::LOGIN_DB,
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let password = args.str("password");
        if let Some(password) = password.as_deref() {
            check_password(password)?;
        }
        let params = Params {
            session: Session::decode(args, "login_db")?,
            quoted: psql::ident("name", &name)?,
            name,
            present: args.str("state").as_deref() != Some("absent"),
            password: password.map(Secret::new),
            keep_password: args.bool("no_password_changes").unwrap_or(false),
            fresh: !args.bool("renew_password").unwrap_or(false)
                && args
                    .context("fresh")
                    .and_then(Value::as_array)
                    .is_some_and(|names| names.iter().any(|name| name == "password")),
            flags: args.list("role_attr_flags").iter().map(|word| flag(word)).collect::<Result<_, _>>()?,
            conn_limit: args.int("conn_limit"),
            expires: args.str("expires"),
            comment: args.str("comment"),
            configuration: args
                .dict("configuration")
                .into_iter()
                .flatten()
                .map(|(name, value)| configured(name, value))
                .collect::<Result<_, _>>()?,
            fail: args.bool("fail_on_user").unwrap_or(true),
        };
        if params.conn_limit.is_some_and(|limit| limit < -1) {
            return Err(Fault::param(
                "conn_limit",
                "`conn_limit` is a number of connections, or -1 for no limit",
            ));
        }
        for (param, text) in [
            ("name", Some(&params.name)),
            ("expires", params.expires.as_ref()),
            ("comment", params.comment.as_ref()),
        ] {
            psql::literal(param, text.map_or("", String::as_str))?;
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks: Vec<Ask> = params.ask().into_iter().collect();
        asks.extend(params.password.is_some().then(salt));
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let seen = params.session.seen(answers, &params.ask()?).map_err(|fault| {
            let of_expires = params.expires.is_some() && fault.message.contains("timestamp with time zone");
            if of_expires { Fault { param: Some("expires".to_owned()), ..fault } } else { fault }
        })?;
        let salt = if params.password.is_some() { answers.random(&salt())?.clone() } else { Vec::new() };
        Ok(Found { seen, salt })
    }

    const LOOKS_AHEAD: bool = true;

    fn forbids(params: &Params, found: &Found) -> Result<(), Fault> {
        match &found.seen.found {
            Some(role) if params.present => locked_out(params, role),
            _ => Ok(()),
        }
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Vec<Step>>, Fault> {
        Self::forbids(params, found)?;
        let steps = match &found.seen.found {
            None if params.present => create(params, &found.salt)?,
            None => Vec::new(),
            Some(role) if params.present => alter(params, role, &found.salt)?,
            Some(role) if !role.uses.is_empty() => {
                if params.fail {
                    return Err(in_use(params, role));
                }
                return Ok(Verdict::InState("the role is still in use (`fail_on_user: false`)".to_owned()));
            }
            Some(_) => vec![Step::new(
                format!("DROP ROLE {}", params.quoted),
                Change::field(format!("role {}", params.name), "present", "absent"),
            )],
        };
        params.session.verdict(&found.seen.server, steps, || {
            if params.present {
                "the role is as wanted".to_owned()
            } else {
                "there is no such role".to_owned()
            }
        })
    }

    fn show(_params: &Params, _found: &Found, steps: &Vec<Step>) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _found: &Found, steps: &Vec<Step>) -> Vec<Action> {
        params.session.run(steps, true)
    }

    fn result(params: &Params, _found: &Found, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("user".to_owned(), json!(params.name))])
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let flags: String = FLAGS.iter().map(|(word, column)| format!("'{word}', r.{column}, ")).collect();
        let same = match self.expires.as_deref().filter(|_| self.present) {
            Some(expires) => format!(
                "coalesce(r.rolvaliduntil, 'infinity') = {}::timestamptz",
                psql::literal("expires", expires)?
            ),
            None => "NULL".to_owned(),
        };
        let uses = if self.present {
            "'[]'::json".to_owned()
        } else {
            // In shared dependencies an owner has the type `o`, a grant `a`, a policy `r`.
            "(SELECT coalesce(json_agg(u.line), '[]') FROM (SELECT format('%s: %s owned, %s granted', p.place, \
             count(*) FILTER (WHERE p.deptype = 'o'), count(*) FILTER (WHERE p.deptype <> 'o')) AS line FROM \
             (SELECT s.deptype, coalesce('in database ' || quote_ident(d.datname), \
             pg_describe_object(s.classid, s.objid, 0)) AS place \
             FROM pg_shdepend AS s LEFT JOIN pg_database AS d ON d.oid = s.dbid \
             WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid) AS p \
             GROUP BY p.place ORDER BY p.place) AS u)"
                .to_owned()
        };
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('flags', json_build_object({}), 'conn_limit', r.rolconnlimit, \
             'valid_until', r.rolvaliduntil::text, 'same_expiry', {same}, 'password', r.rolpassword, \
             'comment', shobj_description(r.oid, 'pg_authid'), 'configuration', (SELECT setconfig FROM pg_db_role_setting \
             WHERE setrole = r.oid AND setdatabase = 0), 'uses', {uses}) FROM pg_authid AS r WHERE r.rolname = {}",
            flags.trim_end_matches(", "),
            psql::literal("name", &self.name)?
        )))
    }

    /// The step that sets the password.
    fn set_password(&self, password: &Secret, salt: &[u8], before: &str) -> Result<Step, Fault> {
        let alter = format!("ALTER ROLE {} PASSWORD", self.quoted);
        if password.expose().is_empty() {
            return Ok(Step::new(format!("{alter} NULL"), Change::field("password", before, "none")));
        }
        let verifier = if scram::is_verifier(password.expose()) {
            password.expose().to_owned()
        } else {
            scram::verifier(password.expose(), salt)
        };
        Ok(Step::new(
            format!("{alter} {}", psql::literal("password", &verifier)?),
            Change::field("password", before, MASK),
        )
        .shown(format!("{alter} '{MASK}'")))
    }

    /// The steps of a new role and of one that is there alike: what an attribute is, and what it shall be.
    fn rest(&self, role: Option<&Role>) -> Result<Vec<Step>, Fault> {
        let alter = format!("ALTER ROLE {}", self.quoted);
        let mut steps = Vec::new();
        let limit = role.map_or(-1, |role| role.conn_limit);
        if let Some(wanted) = self.conn_limit.filter(|wanted| *wanted != limit) {
            let change = Change::field("conn_limit", limit.to_string(), wanted.to_string());
            steps.push(Step::new(format!("{alter} CONNECTION LIMIT {wanted}"), change));
        }
        let same = role.is_some_and(|role| role.same_expiry == Some(true));
        if let Some(expires) = self.expires.as_deref().filter(|_| !same) {
            let before = role.and_then(|role| role.valid_until.as_deref()).unwrap_or("infinity");
            let change = Change::field("expires", before, expires);
            steps.push(Step::new(
                format!("{alter} VALID UNTIL {}", psql::literal("expires", expires)?),
                change,
            ));
        }
        let comment = role.and_then(|role| role.comment.as_deref()).unwrap_or_default();
        if let Some(wanted) = self.comment.as_deref().filter(|wanted| *wanted != comment) {
            let sql = format!("COMMENT ON ROLE {} IS {}", self.quoted, psql::literal("comment", wanted)?);
            steps.push(Step::new(sql, Change::field("comment", comment, wanted)));
        }
        for (name, wanted) in &self.configuration {
            let set = role.and_then(|role| role.configuration.as_ref()).into_iter().flatten();
            let before = set
                .filter_map(|line| line.split_once('='))
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let before = before.map(|(_, value)| value);
            let same = match (before, wanted) {
                (None, None) => true,
                (Some(before), Some(wanted)) if is_list(name) => items(before) == items(wanted),
                (Some(before), Some(wanted)) => before == wanted,
                _ => false,
            };
            if same {
                continue;
            }
            let quoted = setting_name(name)?;
            let sql = match wanted {
                None => format!("{alter} RESET {quoted}"),
                Some(wanted) if is_list(name) => {
                    let items = items(wanted)
                        .iter()
                        .map(|item| psql::literal("configuration", item))
                        .collect::<Result<Vec<_>, _>>()?;
                    format!(
                        "{alter} SET {quoted} TO {}",
                        if items.is_empty() { "''".to_owned() } else { items.join(", ") }
                    )
                }
                Some(wanted) => {
                    format!("{alter} SET {quoted} TO {}", psql::literal("configuration", wanted)?)
                }
            };
            let change =
                Change::field(name, before.unwrap_or_default(), wanted.as_deref().unwrap_or("not set"));
            steps.push(Step::new(sql, change));
        }
        Ok(steps)
    }
}

fn salt() -> Ask {
    Ask::Local(LocalAsk::Random(scram::SALT))
}

fn create(params: &Params, salt: &[u8]) -> Result<Vec<Step>, Fault> {
    // As CREATE USER does.
    let mut words = String::new();
    if !params.flags.iter().any(|(word, _)| *word == "LOGIN") {
        words.push_str(" LOGIN");
    }
    for (word, on) in &params.flags {
        words.push_str(&format!(" {}{word}", if *on { "" } else { "NO" }));
    }
    let change = Change::field(format!("role {}", params.name), "", words.trim());
    let mut steps = vec![Step::new(format!("CREATE ROLE {}{words}", params.quoted), change)];
    if let Some(password) = params.password.as_ref().filter(|password| !password.expose().is_empty()) {
        steps.push(params.set_password(password, salt, "")?);
    }
    steps.extend(params.rest(None)?);
    Ok(steps)
}

fn alter(params: &Params, role: &Role, salt: &[u8]) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    for (word, wanted) in &params.flags {
        if role.flags.get(*word) != Some(wanted) {
            let name = |on: bool| format!("{}{word}", if on { "" } else { "NO" });
            steps.push(Step::new(
                format!("ALTER ROLE {} {}", params.quoted, name(*wanted)),
                Change::field("attribute", name(!wanted), name(*wanted)),
            ));
        }
    }
    if let Some(password) = params.password.as_ref().filter(|_| !params.keep_password) {
        let same = match &role.password {
            None => password.expose().is_empty(),
            Some(stored) => !password.expose().is_empty() && scram::fits(password.expose(), stored),
        };
        if !same {
            steps.push(params.set_password(
                password,
                salt,
                if role.password.is_some() { "another" } else { "none" },
            )?);
        }
    }
    steps.extend(params.rest(Some(role))?);
    Ok(steps)
}

/// Refuses a password that nobody can know yet where one is in use.
fn locked_out(params: &Params, role: &Role) -> Result<(), Fault> {
    let (Some(password), Some(stored)) = (&params.password, &role.password) else { return Ok(()) };
    if !params.fresh || params.keep_password || scram::fits(password.expose(), stored) {
        return Ok(());
    }
    let name = &params.name;
    Err(Fault::param(
        "password",
        format!("the role `{name}` has a password that is not known here: a new one would lock out whoever uses it"),
    )
    .note("its file on this machine is missing, so one was made for this run; it was not kept")
    .hint("fetch the folder of passwords (`secrets/` beside the inventory) from where the site was last run (README, \"Shared by a team\")")
    .hint(format!("`renew_password: true` replaces it (role replication: `-e postgresql_renew_passwords={name}`)"))
    .certain())
}

fn in_use(params: &Params, role: &Role) -> Fault {
    let mut fault = Fault::param(
        "name",
        format!("the role `{}` owns or may do something and is not dropped", params.name),
    );
    for line in &role.uses {
        fault = fault.note(line);
    }
    fault.hint(format!(
        "in each of these databases: REASSIGN OWNED BY {0} TO another role, then DROP OWNED BY {0} (it drops what is left!)",
        params.quoted
    ))
    .hint("`fail_on_user: false` leaves such a role alone")
}

fn check_password(password: &str) -> Result<(), Fault> {
    if password.starts_with("md5")
        && password.len() == 35
        && password[3..].bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(Fault::param(
            "password",
            "MD5 verifiers are not set: MD5 is broken, and PostgreSQL 18 warns of it",
        )
        .hint("give the password itself or its SCRAM-SHA-256 verifier"));
    }
    // Beyond ASCII the server normalises by SASLprep before it derives the keys, and so do its clients.
    if password.chars().any(|c| !c.is_ascii() || c.is_ascii_control()) {
        return Err(Fault::param("password", "the password holds characters other than printable ASCII")
            .hint("clients do not agree on such characters; take others, or give a ready SCRAM-SHA-256 verifier"));
    }
    Ok(())
}

/// An attribute, and whether it is on.
fn flag(word: &str) -> Result<(&'static str, bool), Fault> {
    let upper = word.trim().to_ascii_uppercase();
    let find = |word: &str| FLAGS.iter().map(|(known, _)| *known).find(|known| *known == word);
    if let Some(known) = find(&upper) {
        return Ok((known, true));
    }
    if let Some(known) = upper.strip_prefix("NO").and_then(find) {
        return Ok((known, false));
    }
    let fault = Fault::param("role_attr_flags", format!("`{word}` is no attribute of a role"));
    Err(match did_you_mean(&upper, FLAGS.iter().map(|(known, _)| *known)) {
        Some(near) => fault.hint(near),
        None => fault.hint(format!("attributes are {}", FLAGS.map(|(known, _)| known).join(", "))),
    })
}

fn configured(name: &str, value: &Value) -> Result<(String, Option<String>), Fault> {
    setting_name(name)?;
    match value {
        Value::Null => return Ok((name.to_owned(), None)),
        Value::Array(items) if is_list(name) => {
            let items: Option<Vec<String>> = items.iter().map(psql::setting).collect();
            if let Some(items) = items {
                return Ok((name.to_owned(), Some(items.join(", "))));
            }
        }
        _ => {}
    }
    match psql::setting(value) {
        Some(text) => Ok((name.to_owned(), Some(text))),
        None => Err(Fault::param(
            "configuration",
            format!("`{name}` takes a text, a number, a truth value or null"),
        )),
    }
}

/// A setting's name as SQL takes it: `work_mem`, `plpgsql.extra_warnings`.
fn setting_name(name: &str) -> Result<String, Fault> {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').all(plain) && name.len() <= 63 {
        return Ok(name.to_owned());
    }
    Err(Fault::param("configuration", format!("`{name}` is no name of a setting")))
}

/// Settings that hold a list of names, each quoted on its own.
fn is_list(name: &str) -> bool {
    ["search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"]
        .contains(&name)
}

/// Names of a list, unquoted.
fn items(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match item.strip_prefix('"').and_then(|item| item.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => item.to_owned(),
        })
        .collect()
}
