//! Kinds of objects that carry rights: where PostgreSQL keeps them, which rights there are, and how SQL names them.

use super::postgresql_privs::Params;
use super::psql;
use crate::diag::Fault;

/// A kind of object.
#[derive(Debug)]
pub struct Class {
    /// The module's name of it.
    kind: &'static str,
    /// SQL's.
    word: &'static str,
    rights: &'static [&'static str],
}

const TABLE: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"];
const SEQUENCE: &[&str] = &["USAGE", "SELECT", "UPDATE"];

const CLASSES: &[Class] = &[
    Class { kind: "table", word: "TABLE", rights: TABLE },
    Class { kind: "sequence", word: "SEQUENCE", rights: SEQUENCE },
    Class { kind: "function", word: "FUNCTION", rights: &["EXECUTE"] },
    Class { kind: "procedure", word: "PROCEDURE", rights: &["EXECUTE"] },
    Class { kind: "database", word: "DATABASE", rights: &["CREATE", "CONNECT", "TEMPORARY"] },
    Class { kind: "schema", word: "SCHEMA", rights: &["USAGE", "CREATE"] },
    Class { kind: "tablespace", word: "TABLESPACE", rights: &["CREATE"] },
    Class { kind: "type", word: "TYPE", rights: &["USAGE"] },
    Class { kind: "language", word: "LANGUAGE", rights: &["USAGE"] },
    Class {
        kind: "default_privs",
        word: "DEFAULT",
        rights: &[
            "SELECT",
            "INSERT",
            "UPDATE",
            "DELETE",
            "TRUNCATE",
            "REFERENCES",
            "TRIGGER",
            "MAINTAIN",
            "USAGE",
            "EXECUTE",
            "CREATE",
        ],
    },
    Class { kind: "group", word: "GROUP", rights: &["MEMBER"] },
];

/// The class of this name.
pub(super) fn class(kind: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.kind == kind)
}

impl Class {
    pub(super) fn word(&self) -> &'static str {
        self.word
    }

    pub(super) fn is_group(&self) -> bool {
        self.kind == "group"
    }

    pub(super) fn is_default(&self) -> bool {
        self.kind == "default_privs"
    }

    pub(super) fn is_routine(&self) -> bool {
        matches!(self.kind, "function" | "procedure")
    }

    /// Whether its objects stand in a schema.
    pub(super) fn in_schema(&self) -> bool {
        matches!(self.kind, "table" | "sequence" | "function" | "procedure" | "type")
    }

    pub(super) fn all_in_schema(&self) -> bool {
        matches!(self.kind, "table" | "sequence" | "function" | "procedure")
    }

    /// Every right that a task may name.
    pub(super) fn known(&self) -> &'static [&'static str] {
        self.rights
    }

    /// All rights of an object, on a server of this version.
    pub(super) fn rights(&self, object: &str, version: i64) -> Vec<&'static str> {
        let rights = match (self.is_default(), object.split(' ').next()) {
            (true, Some("TABLES")) => TABLE,
            (true, Some("SEQUENCES")) => SEQUENCE,
            (true, Some("FUNCTIONS")) => &["EXECUTE"],
            (true, Some("TYPES")) => &["USAGE"],
            (true, Some("SCHEMAS")) => &["USAGE", "CREATE"],
            _ => self.rights,
        };
        rights.iter().copied().filter(|right| *right != "MAINTAIN" || version >= 170_000).collect()
    }

    /// GRANT; `object` is as SQL names it.
    pub(super) fn grant(&self, rights: &str, object: &str, role: &str, passes: bool) -> String {
        let option = |words: &str| if passes { format!(" WITH {words} OPTION") } else { String::new() };
        if self.is_group() {
            return format!("GRANT {object} TO {role}{}", option("ADMIN"));
        }
        let (head, on) = self.on(object);
        format!("{head}GRANT {rights} ON {on} TO {role}{}", option("GRANT"))
    }

    /// REVOKE; of the right to pass on only where `option`.
    pub(super) fn revoke(&self, rights: &str, object: &str, role: &str, option: bool) -> String {
        let words = |words: &str| if option { format!("{words} OPTION FOR ") } else { String::new() };
        if self.is_group() {
            return format!("REVOKE {}{object} FROM {role}", words("ADMIN"));
        }
        let (head, on) = self.on(object);
        format!("{head}REVOKE {}{rights} ON {on} FROM {role}", words("GRANT"))
    }

    /// What stands before GRANT, and what it is about. Default rights come as `FOR ROLE ... |TABLES`.
    fn on(&self, object: &str) -> (String, String) {
        match object.rsplit_once('|').filter(|_| self.is_default()) {
            Some((of, kind)) => (format!("ALTER DEFAULT PRIVILEGES {of} "), kind.to_owned()),
            None => (String::new(), format!("{} {object}", self.word)),
        }
    }
}

/// SQL that gives `name`, `sql` and `acl` of the objects of a task; what does not exist has no `sql`.
pub(super) fn objects(class: &Class, params: &Params, schema: &str) -> Result<String, Fault> {
    let names = psql::array("objs", &params.objs)?;
    // Name, catalogue, owner, rights, their letter for `acldefault`, and what else must hold.
    let plain = |catalogue: &str, name: &str, owner: &str, acl: &str, letter: &str| {
        format!(
            "SELECT n.name, quote_ident(c.{name}) AS sql, {} AS acl FROM unnest({names}) AS n(name) \
             LEFT JOIN {catalogue} AS c ON c.{name} = n.name",
            exploded(&format!("coalesce(c.{acl}, acldefault('{letter}', c.{owner}))"), "c.oid")
        )
    };
    let placed = |catalogue: &str, prefix: &str, letter: &str, more: &str| {
        let acl =
            exploded(&format!("coalesce(c.{prefix}acl, acldefault('{letter}', c.{prefix}owner))"), "c.oid");
        let from = format!(
            "(SELECT c.*, c.{prefix}name AS plain FROM {catalogue} AS c JOIN pg_namespace AS s ON s.oid = c.{prefix}namespace \
             WHERE s.nspname = {schema} AND {more}) AS c"
        );
        let sql = format!("format('%I.%I', {schema}, c.plain)");
        if params.all_in_schema {
            format!("SELECT c.plain AS name, {sql} AS sql, {acl} AS acl FROM {from}")
        } else {
            format!(
                "SELECT n.name, CASE WHEN c.oid IS NOT NULL THEN {sql} END AS sql, {acl} AS acl \
                 FROM unnest({names}) AS n(name) LEFT JOIN {from} ON c.plain = n.name"
            )
        }
    };
    Ok(match class.kind {
        "table" => placed("pg_class", "rel", "r", "c.relkind IN ('r', 'v', 'm', 'f', 'p')"),
        "sequence" => placed("pg_class", "rel", "s", "c.relkind = 'S'"),
        "type" => placed("pg_type", "typ", "T", "c.typelem = 0"),
        "database" => plain("pg_database", "datname", "datdba", "datacl", "d"),
        "schema" => plain("pg_namespace", "nspname", "nspowner", "nspacl", "n"),
        "tablespace" => plain("pg_tablespace", "spcname", "spcowner", "spcacl", "t"),
        "language" => plain("pg_language", "lanname", "lanowner", "lanacl", "l"),
        "default_privs" => defaults(params, schema)?,
        "group" => format!(
            "SELECT n.name, quote_ident(g.rolname) AS sql, (SELECT coalesce(json_agg(json_build_array(m.rolname, 'MEMBER', \
             a.admin_option)), '[]') FROM pg_auth_members AS a JOIN pg_roles AS m ON m.oid = a.member \
             WHERE a.roleid = g.oid) AS acl FROM unnest({names}) AS n(name) LEFT JOIN pg_roles AS g ON g.rolname = n.name"
        ),
        _ => routines(class, params, schema, &names),
    })
}

/// An access list as JSON; `[]` where the object does not exist.
fn exploded(acl: &str, exists: &str) -> String {
    format!(
        "CASE WHEN {exists} IS NULL THEN '[]'::json ELSE (SELECT coalesce(json_agg(json_build_array(CASE WHEN a.grantee <> 0 \
         THEN pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable)), '[]') FROM aclexplode({acl}) AS a) END"
    )
}

fn routines(class: &Class, params: &Params, schema: &str, names: &str) -> String {
    let acl = exploded("coalesce(c.proacl, acldefault('f', c.proowner))", "c.oid");
    let kinds = if class.kind == "procedure" { "'p'" } else { "'f', 'a', 'w'" };
    let sql = "format('%I.%I(%s)', s.nspname, c.proname, pg_get_function_identity_arguments(c.oid))";
    let from = format!(
        "pg_proc AS c JOIN pg_namespace AS s ON s.oid = c.pronamespace WHERE s.nspname = {schema} AND c.prokind IN ({kinds})"
    );
    if params.all_in_schema {
        return format!(
            "SELECT c.proname || '(' || pg_get_function_identity_arguments(c.oid) || ')' AS name, {sql} AS sql, {acl} AS acl \
             FROM {from}"
        );
    }
    // `name(types)`; the server itself reads the types. A name without types must be the only one.
    format!(
        "SELECT n.name, f.sql, coalesce(f.acl, '[]') AS acl FROM unnest({names}) AS n(name) LEFT JOIN LATERAL \
         (SELECT {sql} AS sql, {acl} AS acl FROM {from} AND CASE WHEN n.name LIKE '%(%' THEN c.oid = \
         to_regprocedure(quote_ident({schema}) || '.' || quote_ident(split_part(n.name, '(', 1)) || '(' || \
         replace(split_part(n.name, '(', 2), ':', ','))::oid ELSE c.oid = to_regproc(quote_ident({schema}) || '.' || \
         quote_ident(n.name))::oid END) AS f ON true"
    )
}

/// Default rights of every kind of object and every role that makes them.
fn defaults(params: &Params, schema: &str) -> Result<String, Fault> {
    let kinds = psql::array("objs", &params.objs)?;
    let makers = psql::array("target_roles", &params.target_roles)?;
    let place = if params.schema.is_some() {
        format!("|| ' IN SCHEMA ' || quote_ident({schema})")
    } else {
        String::new()
    };
    // Rights for a schema come on top of those for the database, which begin with the owner's and PUBLIC's.
    let base = if params.schema.is_some() { "NULL::aclitem[]" } else { "acldefault(k.letter, r.oid)" };
    Ok(format!(
        "SELECT n.name || ' of ' || m.maker AS name, 'FOR ROLE ' || quote_ident(r.rolname) {place} || '|' || n.name AS sql, \
         {} AS acl FROM unnest({kinds}) AS n(name) CROSS JOIN unnest({makers}) AS m(maker) \
         JOIN (VALUES ('TABLES', 'r'::\"char\", 'r'::\"char\"), ('SEQUENCES', 's', 'S'), ('FUNCTIONS', 'f', 'f'), \
         ('TYPES', 'T', 'T'), ('SCHEMAS', 'n', 'n')) AS k(name, letter, kind) ON k.name = n.name \
         LEFT JOIN pg_roles AS r ON r.rolname = m.maker \
         LEFT JOIN pg_default_acl AS d ON d.defaclrole = r.oid AND d.defaclobjtype = k.kind AND d.defaclnamespace = \
         coalesce((SELECT oid FROM pg_namespace WHERE nspname = {schema}), 0)",
        exploded(&format!("coalesce(d.defaclacl, {base})"), "r.oid")
    ))
}
