//! Who may connect to a PostgreSQL server and how: `pg_hba.conf`, as one whole file that is ours.
//!
//! Rules stand in the order given, and the first that matches decides, as PostgreSQL has it. The file ends in an
//! explicit reject of everything else from outside (`final_reject`). A rule takes Ansible's names: `type` (`contype`),
//! `databases`, `users`, `source` (`address`), `method`, `options`, `comment`. `all` as a database does not match
//! `replication`, which is a word of its own.
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
//!       - {type: hostssl, databases: app, users: app, source: 198.18.200.0/24, method: scram-sha-256}

use super::attrs::Attrs;
use super::content::{Edit, Seen, Target};
use super::instance::{self, Instance, Lines, check_mode};
use super::{Args, Change, Kind, Mode, Module, Nature, Param, Spec, Verdict};
use crate::diag::{Fault, did_you_mean};
use crate::shell::{Action, Answers, Ask, FileKind, Output, Run, quote};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// The module `postgresql_hba`.
pub struct PostgresqlHba;

/// What the file shall hold.
#[derive(Debug)]
pub struct Params {
    instance: Instance,
    rules: usize,
    content: Vec<u8>,
    target: Target,
    check_mode: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The file; `None` in check mode where it cannot be there yet.
    seen: Option<Seen>,
    folder: bool,
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
            let rule = Rule::decode(rule, index + 1)?;
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
        target.attrs = Attrs { mode: Mode::parse("0640"), owner: postgres.clone(), group: postgres };
        Ok(Params {
            instance,
            content: render(args.str("header").as_deref(), &rules).into_bytes(),
            rules: rules.len(),
            target,
            check_mode: check_mode(args),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = params.target.asks();
        asks.push(Ask::stat_follow(folder(&params.target.path)));
        asks.push(server_ask(params));
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let seen = match params.target.seen(answers) {
            Ok(seen) => Some(seen),
            Err(_) if params.check_mode => None,
            Err(fault) => return Err(fault.hint("`postgresql_cluster` before this task makes the cluster")),
        };
        let text = answers.output(&server_ask(params))?.text();
        let lines = Lines::of(&text);
        Ok(Found {
            seen,
            folder: answers.file(&Ask::stat_follow(folder(&params.target.path)))?.kind == FileKind::Directory,
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

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    kind: &'static str,
    databases: Vec<String>,
    users: Vec<String>,
    /// Empty for `local`.
    source: String,
    method: &'static str,
    options: Vec<(String, String)>,
    comment: String,
}

const KINDS: &[&str] = &["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"];
const METHODS: &[&str] = &[
    "trust",
    "reject",
    "scram-sha-256",
    "md5",
    "password",
    "gss",
    "sspi",
    "ident",
    "peer",
    "ldap",
    "radius",
    "cert",
    "pam",
    "bsd",
    "oauth",
];
const KEYS: &[&str] = &[
    "type",
    "contype",
    "databases",
    "database",
    "users",
    "user",
    "source",
    "address",
    "method",
    "options",
    "comment",
];

impl Rule {
    fn reject(database: &str) -> Self {
        Self {
            kind: "host",
            databases: vec![database.to_owned()],
            users: vec!["all".to_owned()],
            source: "all".to_owned(),
            method: "reject",
            options: Vec::new(),
            comment: if database == "all" { "Everything else".to_owned() } else { String::new() },
        }
    }

    fn decode(value: &Value, number: usize) -> Result<Self, Fault> {
        let fault = |what: String| Fault::param("rules", format!("rule {number}: {what}"));
        let map = value.as_object().ok_or_else(|| fault("a rule is a mapping".to_owned()))?;
        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let unknown = fault(format!("unknown key `{key}`"));
            return Err(match did_you_mean(key, KEYS.iter().copied()) {
                Some(near) => unknown.hint(near),
                None => unknown.hint("type, databases, users, source, method, options, comment"),
            });
        }
        let get =
            |names: [&str; 2]| names.iter().find_map(|name| map.get(*name)).filter(|value| !value.is_null());
        let word = |names: [&str; 2], known: &'static [&'static str]| {
            let text = get(names)
                .and_then(Value::as_str)
                .ok_or_else(|| fault(format!("`{}` is missing", names[0])))?;
            known.iter().copied().find(|word| *word == text).ok_or_else(|| {
                let unknown = fault(format!("`{}` is no {}", text, names[0]));
                match did_you_mean(text, known.iter().copied()) {
                    Some(near) => unknown.hint(near),
                    None => unknown.hint(known.join(", ")),
                }
            })
        };
        let names = |keys: [&str; 2]| match get(keys) {
            None => Ok(vec!["all".to_owned()]),
            Some(value) => names_of(value).ok_or_else(|| fault(format!("`{}` takes names", keys[0]))),
        };
        let kind = word(["type", "contype"], KINDS)?;
        let method = word(["method", "method"], METHODS)?;
        let (databases, users) = (names(["databases", "database"])?, names(["users", "user"])?);
        let source = match (get(["source", "address"]).map(|source| source.as_str()), kind) {
            (None, "local") => String::new(),
            (None, _) => {
                return Err(fault("`source` is missing: a network, an address, or `all`".to_owned()));
            }
            (Some(_), "local") => return Err(fault("`local` has no `source`".to_owned())),
            (Some(None), _) => return Err(fault("`source` takes one text".to_owned())),
            (Some(Some(text)), _) => {
                source_of(text).map_err(|why| fault(format!("`source: {text}`: {why}")))?
            }
        };
        let options = options_of(get(["options", "options"])).ok_or_else(|| {
            fault("`options` takes a mapping".to_owned())
                .hint("options: {clientcert: verify-full, map: people}")
        })?;
        let comment = get(["comment", "comment"]).and_then(Value::as_str).unwrap_or_default();
        let comment = comment.replace(['\n', '\r'], " ");
        let rule = Self { kind, databases, users, source, method, options, comment };
        rule.check().map_err(|(what, hint)| fault(what).note(rule.line()).hint(hint))?;
        Ok(rule)
    }

    /// What is never right.
    fn check(&self) -> Result<(), (String, String)> {
        let refuse = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
        let remote = self.kind != "local" && !is_loopback(&self.source);
        let encrypted = matches!(self.kind, "hostssl" | "hostgssenc");
        let accepts = self.method != "reject";
        if remote && accepts && !encrypted {
            return refuse(
                &format!("`{}` lets connections in from outside without TLS", self.kind),
                "`type: hostssl`, or `method: reject`",
            );
        }
        if self.kind != "local" && self.method == "trust" {
            return refuse(
                "`trust` lets everybody in who reaches the port",
                "`method: scram-sha-256` or `cert`",
            );
        }
        if self.kind != "local" && self.method == "peer" {
            return refuse("`peer` works on the local socket only", "`type: local`");
        }
        if remote && matches!(self.method, "password" | "ident" | "md5") {
            return refuse(
                &format!("`{}` can be forged or read on the way", self.method),
                "`method: scram-sha-256`",
            );
        }
        if self.method == "cert" && self.kind != "hostssl" {
            return refuse("`cert` needs TLS", "`type: hostssl`");
        }
        if let Some((_, value)) = self.options.iter().find(|(name, _)| name == "clientcert") {
            if self.kind != "hostssl" {
                return refuse("`clientcert` needs TLS", "`type: hostssl`");
            }
            if !matches!(value.as_str(), "verify-ca" | "verify-full") {
                return refuse(&format!("`clientcert={value}` is no choice"), "`verify-full` or `verify-ca`");
            }
        }
        Ok(())
    }

    /// Whether what it matches is written the same.
    fn matches_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.databases == other.databases
            && self.users == other.users
            && self.source == other.source
    }

    /// The line, in columns.
    fn line(&self) -> String {
        let column = |names: &[String]| names.iter().map(|name| token(name)).collect::<Vec<_>>().join(",");
        let options: String = self
            .options
            .iter()
            .map(|(name, value)| format!(" {}", token(&format!("{name}={value}"))))
            .collect();
        let line = format!(
            "{:<9} {:<15} {:<15} {:<23} {}{options}",
            self.kind,
            column(&self.databases),
            column(&self.users),
            self.source,
            self.method
        );
        line.trim_end().to_owned()
    }
}

/// `postgres` must get in by the local socket: every later task asks the server that way.
fn keep_postgres(rules: &[Rule]) -> Result<(), Fault> {
    let covers = |names: &[String], name: &str| names.iter().any(|known| known == "all" || known == name);
    let first = rules.iter().find(|rule| {
        rule.kind == "local" && covers(&rule.users, "postgres") && covers(&rule.databases, "postgres")
    });
    match first {
        Some(rule) if matches!(rule.method, "peer" | "trust") => Ok(()),
        found => {
            let fault = Fault::param("rules", "`postgres` could not connect by the local socket any more");
            let fault = match found {
                Some(rule) => fault.note(format!("the first rule that matches: {}", rule.line())),
                None => fault.note("no `local` rule matches user `postgres` and database `postgres`"),
            };
            Err(fault.hint("put `{type: local, databases: all, users: postgres, method: peer}` first"))
        }
    }
}

fn names_of(value: &Value) -> Option<Vec<String>> {
    let names: Vec<String> = match value {
        Value::String(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let fits = |name: &String| !name.is_empty() && !name.contains(char::is_control);
    (!names.is_empty() && names.iter().all(fits)).then_some(names)
}

fn options_of(value: Option<&Value>) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.contains(char::is_control) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(if *truth { "1" } else { "0" }.to_owned()),
        _ => None,
    };
    match value {
        None => Some(Vec::new()),
        Some(Value::Object(map)) => {
            map.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        Some(Value::String(words)) => words
            .split_whitespace()
            .map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect(),
        Some(_) => None,
    }
}

/// A source in its shortest exact form: networks with their prefix, host names as they are.
fn source_of(text: &str) -> Result<String, String> {
    if matches!(text, "all" | "samehost" | "samenet") {
        return Ok(text.to_owned());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }));
    }
    if text.contains('/') {
        let network: ipnet::IpNet = text.parse().map_err(|_| "no address with a prefix length".to_owned())?;
        if network.trunc() != network {
            return Err(format!("host bits are set; the network is {}", network.trunc()));
        }
        return Ok(network.to_string());
    }
    let name = text.strip_prefix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric || !name.split('.').all(label) {
        return Err("neither a network nor an address nor a host name".to_owned());
    }
    Ok(text.to_owned())
}

fn is_loopback(source: &str) -> bool {
    match source.parse::<ipnet::IpNet>() {
        Ok(ipnet::IpNet::V4(network)) => network.network().is_loopback() && network.prefix_len() >= 8,
        Ok(ipnet::IpNet::V6(network)) => network.network().is_loopback() && network.prefix_len() == 128,
        Err(_) => source == "samehost",
    }
}

/// A word of the file, quoted where it holds what would end it.
fn token(name: &str) -> String {
    let quoted = name.len() > 1 && name.starts_with('"') && name.ends_with('"');
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | ',' | '#');
    if quoted || name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

const HEADER: &str = "Written by ishprov: changes by hand are overwritten.
The first rule that matches decides. `all` as a database does not match `replication`.";

fn render(header: Option<&str>, rules: &[Rule]) -> String {
    let mut text = String::new();
    for line in header.unwrap_or(HEADER).lines() {
        text.push_str(format!("# {}", line.replace('\r', " ")).trim_end());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_their_exact_form() {
        assert_eq!(source_of("198.18.0.1").as_deref(), Ok("198.18.0.1/32"));
        assert_eq!(source_of("fd00::1").as_deref(), Ok("fd00::1/128"));
        assert_eq!(source_of("198.18.0.0/24").as_deref(), Ok("198.18.0.0/24"));
        assert_eq!(source_of(".example.org").as_deref(), Ok(".example.org"));
        assert!(source_of("198.18.0.7/24").expect_err("refused").contains("198.18.0.0/24"));
        for bad in ["198.18.0", "198.18.0.0/33", "a b", "", "1.2.3.4.5"] {
            assert!(source_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_no_outside() {
        assert!(is_loopback("127.0.0.1/32") && is_loopback("::1/128") && is_loopback("127.0.0.0/8"));
        assert!(!is_loopback("0.0.0.0/0") && !is_loopback("all") && !is_loopback("::/0"));
    }

    #[test]
    fn names_that_would_end_a_word_are_quoted() {
        assert_eq!(token("my db"), "\"my db\"");
        assert_eq!(token("+group"), "+group");
        assert_eq!(token("a\"b"), "\"a\"\"b\"");
        assert_eq!(token("\"all\""), "\"all\"");
    }
}
