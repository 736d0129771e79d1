//! Settings of a PostgreSQL server, as one whole file in `conf.d` that is ours.
//!
//! The file holds nothing but `settings`: what leaves the list leaves the file, and the server falls back to what other
//! files or PostgreSQL itself say. Files of a later name (`99-local.conf`) override it. Every name and value is put to
//! the installed server program before anything is written, so a misspelt name or a unit that does not exist is
//! refused with the server's own words, in check mode too.
//!
//! `ALTER SYSTEM` writes to `postgresql.auto.conf`, which overrides every other file. Where it holds one of our names
//! with another value the task is refused; `auto_conf: reset` removes our names from it (others are left alone), as is
//! needed after a clone; `auto_conf: warn` goes on and registers `overridden`.
//!
//! Nothing is reloaded or restarted here: `postgresql_rollout` does that, in the order that standbys need.
//! (`community.postgresql.postgresql_set` writes single settings by `ALTER SYSTEM`: its `name` and `value` are refused.)
//!
//! EXAMPLES
//! - name: The tuned settings
//!   postgresql_set:
//!     version: 15
//!     settings: "{{ postgresql_tuned.settings }}"
//!     reasons: "{{ postgresql_tuned.reasons }}"
//!     auto_conf: reset
//! - name: Settings of our own
//!   postgresql_set:
//!     version: 15
//!     file: /etc/postgresql/15/main/conf.d/60-app.conf
//!     settings: {log_min_duration_statement: 250ms, shared_preload_libraries: [pg_stat_statements], jit: false}

use super::attrs::Attrs;
use super::content::{Edit, Seen, Target};
use super::instance::{self, Instance, Lines, check_mode};
use super::{Args, Change, Kind, Mode, Module, Nature, Param, Spec, Verdict};
use crate::diag::{Fault, did_you_mean};
use crate::shell::{Action, Answers, Ask, FileKind, Output, Put, Run, quote};
use serde_json::{Map, Value, json};

/// The module `postgresql_set`.
pub struct PostgresqlSet;

/// What the file shall hold.
#[derive(Debug)]
pub struct Params {
    instance: Instance,
    /// Name and value as text.
    settings: Vec<(String, String)>,
    content: Vec<u8>,
    target: Target,
    auto_conf: AutoConf,
    check_mode: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoConf {
    Refuse,
    Warn,
    Reset,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The file; `None` in check mode where it cannot be there yet.
    seen: Option<Seen>,
    /// The folder is there.
    folder: bool,
    /// The text of `postgresql.auto.conf`.
    auto: Option<String>,
    /// The server answers.
    runs: bool,
    /// Settings that the server program refuses, with its words.
    errors: Vec<(String, String)>,
    /// Names that the server program knows; only where it refused something.
    known: Vec<String>,
}

/// What is to be done.
#[derive(Debug)]
pub struct Diff {
    /// The file differs; `None` inside where it is only announced.
    edit: Option<Option<Edit>>,
    /// Names to remove from `postgresql.auto.conf`, with the value found.
    reset: Vec<(String, String)>,
}

impl Module for PostgresqlSet {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_set",
        aliases: &["postgresql_conf"],
        summary: "Settings of a PostgreSQL server, in a file of conf.d that is ours",
        source: include_str!("postgresql_set.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            instance::VERSION,
            instance::CLUSTER,
            instance::DATA_DIRECTORY,
            Param::new(
                "settings",
                Kind::Dict,
                "Names and values; a list is joined by commas, null leaves a name out",
            ),
            Param::new("reasons", Kind::Dict, "Comments above the settings, by name"),
            Param::new("file", Kind::Path, "The file")
                .default("/etc/postgresql/VERSION/CLUSTER/conf.d/50-ishprov.conf"),
            Param::new("header", Kind::Str, "Comment at the top of the file"),
            Param::new(
                "auto_conf",
                Kind::Choice(&["refuse", "warn", "reset"]),
                "What to do where postgresql.auto.conf overrides one of the settings",
            )
            .default("refuse"),
            Param::new("name", Kind::Str, "Refused: `settings` names them all"),
            Param::new("value", Kind::Any, "Refused: `settings` names them all"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        if let Some(name) = args.str("name") {
            let value = args.value("value").cloned().unwrap_or_default();
            return Err(Fault::param(
                "name",
                "one file holds all settings here, not one `ALTER SYSTEM` each",
            )
            .hint(format!("settings: {{{name}: {value}}}, with `version` and a `file` of their own")));
        }
        let instance = Instance::decode(args)?;
        let given = args
            .dict("settings")
            .ok_or_else(|| Fault::task("module `postgresql_set` needs the parameter `settings`"))?;
        let mut settings: Vec<(String, String)> = Vec::new();
        for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            let name = checked_name(name)?;
            let value = text_of(&name, value)?;
            if settings.iter().any(|(other, _)| *other == name) {
                return Err(Fault::param("settings", format!("`{name}` is set twice")));
            }
            settings.push((name, value));
        }
        let usual = format!("{}/conf.d/50-ishprov.conf", instance.config_directory());
        let file = super::attrs::path(args, "file")?.unwrap_or(usual);
        if !file.ends_with(".conf") {
            return Err(Fault::param("file", format!("`{file}` would not be read"))
                .hint("the server reads files of `conf.d` whose names end in `.conf`"));
        }
        let mut target = Target::decode(file, args)?;
        let postgres = Some("postgres".to_owned());
        target.attrs = Attrs { mode: Mode::parse("0644"), owner: postgres.clone(), group: postgres };
        let reasons = args.dict("reasons").cloned().unwrap_or_default();
        let content = render(args.str("header").as_deref(), &settings, &reasons).into_bytes();
        Ok(Params {
            instance,
            settings,
            content,
            target,
            auto_conf: match args.str("auto_conf").as_deref() {
                Some("warn") => AutoConf::Warn,
                Some("reset") => AutoConf::Reset,
                _ => AutoConf::Refuse,
            },
            check_mode: check_mode(args),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = params.target.asks();
        asks.push(Ask::stat_follow(folder(&params.target.path)));
        asks.push(auto_ask(params));
        asks.push(check_ask(params));
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let seen = match params.target.seen(answers) {
            Ok(seen) => Some(seen),
            // The account may come with a package that was only announced.
            Err(_) if params.check_mode => None,
            Err(fault) => return Err(fault.hint("`postgresql_cluster` before this task makes the cluster")),
        };
        let output = answers.output(&check_ask(params))?;
        let text = output.text();
        let lines = Lines::of(&text);
        if lines.get("end").is_none() {
            return Err(Fault::task("the settings could not be put to the server program")
                .note(output.error_text().trim().to_owned()));
        }
        let error = |line: &str| {
            let (name, words) = line.split_once('\t')?;
            Some((name.to_owned(), server_words(words)))
        };
        Ok(Found {
            seen,
            folder: answers.file(&Ask::stat_follow(folder(&params.target.path)))?.kind == FileKind::Directory,
            auto: answers.text(&auto_ask(params))?,
            runs: lines.get("runs").is_some(),
            errors: lines.all("error").filter_map(error).collect(),
            known: lines.all("known").map(str::to_owned).collect(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        refuse_errors(params, found)?;
        let path = &params.target.path;
        if !found.folder && !params.check_mode {
            return Err(Fault::param("file", format!("the folder `{}` does not exist", folder(path)))
                .healed_by(&["postgresql_cluster", "file"])
                .hint("`postgresql_cluster` before this task makes the cluster and its conf.d"));
        }
        let overrides = overrides(params, found);
        let differing: Vec<_> =
            overrides.iter().filter(|(name, value)| params.value(name) != Some(value)).collect();
        if params.auto_conf == AutoConf::Refuse
            && let Some((name, value)) = differing.first()
        {
            let mut fault =
                Fault::param("settings", format!("postgresql.auto.conf overrides `{name}`")).certain();
            for (name, value) in &differing {
                let ours = params.value(name).map_or("", String::as_str);
                fault = fault.note(format!("`{name}` is {value} there, and {ours} here"));
            }
            return Err(fault
                .hint(format!("`ALTER SYSTEM RESET {name}` by hand, or `auto_conf: reset`"))
                .hint(format!("or take the value over: `{name}: {value}`")));
        }
        let edit = match &found.seen {
            None => Some(None),
            Some(seen) => {
                params.target.check(seen, "file")?;
                match params.target.compare(seen, &params.content, "same settings") {
                    Verdict::InState(_) => None,
                    Verdict::Act(edit) => Some(Some(edit)),
                }
            }
        };
        let reset = if params.auto_conf == AutoConf::Reset { overrides } else { Vec::new() };
        if edit.is_none() && reset.is_empty() {
            return Ok(Verdict::InState(match params.settings.len() {
                1 => format!("`{path}` holds the one setting"),
                count => format!("`{path}` holds the {count} settings"),
            }));
        }
        Ok(Verdict::Act(Diff { edit, reset }))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = match (&diff.edit, &found.seen) {
            (Some(Some(edit)), Some(seen)) => params.target.show(seen, edit),
            (Some(_), _) => {
                vec![Change::text(&params.target.path, "", String::from_utf8_lossy(&params.content))]
            }
            (None, _) => Vec::new(),
        };
        changes.extend(
            diff.reset.iter().map(|(name, value)| {
                Change::field(format!("postgresql.auto.conf {name}"), value, "(removed)")
            }),
        );
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = match (&diff.edit, &found.seen) {
            (Some(Some(edit)), Some(seen)) => params.target.actions(seen, edit),
            _ => Vec::new(),
        };
        if !diff.reset.is_empty() {
            actions.push(reset(params, found, &diff.reset));
        }
        actions
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let overridden: Vec<_> = overrides(params, found)
            .into_iter()
            .filter(|(name, value)| params.value(name) != Some(value))
            .map(|(name, _)| name)
            .collect();
        Map::from_iter([
            ("file".to_owned(), json!(params.target.path)),
            ("overridden".to_owned(), json!(overridden)),
        ])
    }
}

impl Params {
    fn value(&self, name: &str) -> Option<&String> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// Names that other tasks own, and the reason.
const OWNED: &[(&str, &str)] = &[
    ("data_directory", "`postgresql_cluster` says where the data lies"),
    ("config_file", "Debian's tools say where the configuration lies"),
    ("hba_file", "`postgresql_hba` writes it in its usual place"),
    ("ident_file", "Debian's tools say where it lies"),
    ("external_pid_file", "systemd's unit reads it in its usual place"),
];

fn checked_name(name: &str) -> Result<String, Fault> {
    let lower = name.to_ascii_lowercase();
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
    };
    if !lower.split('.').all(part)
        || matches!(lower.as_str(), "include" | "include_dir" | "include_if_exists")
    {
        return Err(Fault::param("settings", format!("`{name}` is no name of a setting")));
    }
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == lower) {
        return Err(Fault::param("settings", format!("`{name}` cannot be set here")).hint(*why));
    }
    Ok(lower)
}

/// A setting's value as the server takes it, without the quotes of the file.
///
/// # Errors
/// A value that no setting can have, or a password where everybody could read it.
pub fn setting_text(name: &str, value: &Value) -> Result<String, Fault> {
    text_of(name, value)
}

fn text_of(name: &str, value: &Value) -> Result<String, Fault> {
    let text = match value {
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items = items.iter().map(|item| text_of(name, item).map(|item| list_item(&item)));
            items.collect::<Result<Vec<_>, _>>()?.join(", ")
        }
        Value::Null | Value::Object(_) => {
            return Err(Fault::param(
                "settings",
                format!("`{name}` takes a text, number, truth value or list"),
            ));
        }
    };
    if text.contains('\0') {
        return Err(Fault::param("settings", format!("`{name}` holds a character that no setting can hold")));
    }
    // The file is readable for everybody on the host.
    if name == "primary_conninfo" && text.split_whitespace().any(|word| word.starts_with("password")) {
        return Err(Fault::param("settings", "`primary_conninfo` holds a password").hint(
            "`passfile=/var/lib/postgresql/.pgpass`, or a client certificate by `sslcert` and `sslkey`",
        ));
    }
    Ok(text)
}

/// An item of a list of identifiers.
fn list_item(item: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./$*:".contains(c);
    if !item.is_empty() && item.chars().all(plain) {
        return item.to_owned();
    }
    format!("\"{}\"", item.replace('"', "\"\""))
}

/// The value as postgresql.conf takes it.
fn conf_literal(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if number || word {
        return text.to_owned();
    }
    let body = text.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n").replace('\r', "\\r");
    format!("'{body}'")
}

const HEADER: &str = "Written by ishprov: changes by hand are overwritten.
A file of a later name in this folder overrides it; so does ALTER SYSTEM.";

fn render(header: Option<&str>, settings: &[(String, String)], reasons: &Map<String, Value>) -> String {
    let mut text = String::new();
    let comment = |text: &mut String, lines: &str| {
        for line in lines.lines() {
            text.push_str(format!("# {}", line.replace('\r', " ")).trim_end());
            text.push('\n');
        }
    };
    comment(&mut text, header.unwrap_or(HEADER));
    for (name, value) in settings {
        if let Some(reason) = reasons.get(name).and_then(Value::as_str) {
            text.push('\n');
            comment(&mut text, reason);
        }
        text.push_str(&format!("{name} = {}\n", conf_literal(value)));
    }
    text
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(folder, _)| folder)
}

fn auto_path(params: &Params) -> String {
    format!("{}/postgresql.auto.conf", params.instance.data_directory)
}

fn auto_ask(params: &Params) -> Ask {
    Ask::content(auto_path(params))
}

/// Puts all settings to the server program at once, and one by one where it refuses them.
fn check_ask(params: &Params) -> Ask {
    let mut script = params.instance.sql_function();
    let words =
        params.settings.iter().map(|(name, value)| format!("-c {}", quote(&format!("{name}={value}"))));
    script.push_str(&format!(
        "say() {{ printf '%s\\t%s\\n' \"$1\" \"$2\"; }}\n\
         B={bin}\n\
         [ \"$(sql 2>/dev/null <<'X'\nSELECT 1\nX\n)\" = 1 ] && say runs 1\n\
         # A folder without configuration stands in for the data directory; nothing is started or written.\n\
         check() {{ (cd / && runuser -u postgres -- env LC_ALL=C \"$B/postgres\" -C data_directory -D \"$B\" \
         -c config_file=/dev/null \"$@\" 2>&1 >/dev/null); }}\n\
         one() {{ e=$(check -c \"$1\") || say error \"${{1%%=*}}\t$(printf %s \"$e\" | tr '\\n' ' ')\"; }}\n\
         if [ -x \"$B/postgres\" ]; then\n \
         if ! check {all} >/dev/null; then\n{each}  \
         \"$B/postgres\" --describe-config | cut -f 1 | sed 's/^/known\\t/'\n fi\nfi\nsay end 1\n",
        bin = quote(&format!("/usr/lib/postgresql/{}/bin", params.instance.version)),
        all = words.collect::<Vec<_>>().join(" "),
        each = params
            .settings
            .iter()
            .map(|(name, value)| format!("  one {}\n", quote(&format!("{name}={value}"))))
            .collect::<String>(),
    ));
    Ask::sh(script)
}

/// What the server says, without time and process.
fn server_words(text: &str) -> String {
    let start = text.find("FATAL:").or_else(|| text.find("ERROR:")).map_or(0, |at| at + 6);
    let words = text.get(start..).unwrap_or(text).trim();
    match words.split_once("HINT:") {
        None => words.to_owned(),
        Some((fatal, hint)) => {
            // Between both stands the time of the second line.
            let fatal = fatal
                .rsplit_once(" 20")
                .filter(|(_, rest)| rest.contains('['))
                .map_or(fatal, |(words, _)| words);
            format!("{}; {}", fatal.trim(), hint.trim())
        }
    }
}

fn refuse_errors(params: &Params, found: &Found) -> Result<(), Fault> {
    let Some((first, words)) = found.errors.first() else { return Ok(()) };
    let version = params.instance.version;
    let mut fault =
        Fault::param("settings", format!("PostgreSQL {version} refuses `{first}`: {words}")).certain();
    for (name, words) in &found.errors {
        if name != first {
            fault = fault.note(format!("it refuses `{name}` as well: {words}"));
        }
        if words.starts_with("unrecognized")
            && let Some(near) = did_you_mean(name, found.known.iter().map(String::as_str))
        {
            fault = fault.hint(format!("`{name}`: {near}"));
        }
    }
    Err(fault)
}

/// Our names in `postgresql.auto.conf`, with the last value there.
fn overrides(params: &Params, found: &Found) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::new();
    for (name, value) in found.auto.as_deref().unwrap_or_default().lines().filter_map(auto_line) {
        if params.value(&name).is_some() {
            list.retain(|(known, _)| *known != name);
            list.push((name, value));
        }
    }
    list
}

/// `name = 'value'`, as ALTER SYSTEM writes it.
fn auto_line(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let name = line.get(..end)?.to_ascii_lowercase();
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let rest = line.get(end..)?.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    let value = match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(quoted) => quoted.replace("''", "'").replace("\\\\", "\\"),
        None => value.to_owned(),
    };
    Some((name, value))
}

/// By the server itself while it runs: it holds the file's lock. By hand while it does not.
fn reset(params: &Params, found: &Found, names: &[(String, String)]) -> Action {
    if found.runs {
        let sql: String = names.iter().map(|(name, _)| format!("ALTER SYSTEM RESET {name};\n")).collect();
        let script = format!("{}sql", params.instance.sql_function());
        return Action::Run(Run::new(script).stdin(sql).timeout(120).shown(format!(
            "ALTER SYSTEM RESET {}",
            names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        )));
    }
    let text = found.auto.as_deref().unwrap_or_default();
    let kept = text
        .lines()
        .filter(|line| auto_line(line).is_none_or(|(name, _)| !names.iter().any(|(gone, _)| *gone == name)));
    let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
    Action::Put(Put::new(auto_path(params), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_postgresql_asks_for_it() {
        for (value, text) in [
            (json!(true), "on"),
            (json!(-1), "-1"),
            (json!(0.9), "0.9"),
            (json!("64MB"), "64MB"),
            (json!("off"), "off"),
            (json!("scram-sha-256"), "'scram-sha-256'"),
            (json!("%m [%p] "), "'%m [%p] '"),
            (json!("it's a \\ and\na line"), "'it''s a \\\\ and\\na line'"),
            (json!(["pg_stat_statements", "auto_explain"]), "'pg_stat_statements, auto_explain'"),
            (json!(["$user", "my schema"]), "'$user, \"my schema\"'"),
            (json!(""), "''"),
        ] {
            let plain = text_of("x", &value).expect("a value");
            assert_eq!(conf_literal(&plain), text, "{value}");
        }
    }

    #[test]
    fn auto_conf_is_read_as_alter_system_writes_it() {
        assert_eq!(auto_line("work_mem = '64MB'"), Some(("work_mem".to_owned(), "64MB".to_owned())));
        assert_eq!(auto_line("a.B = 'it''s'"), Some(("a.b".to_owned(), "it's".to_owned())));
        assert_eq!(auto_line("# Do not edit = this"), None);
    }

    #[test]
    fn the_servers_words_lose_their_time() {
        let said = "2026-11-23 08:12:25.438 GMT [3356] FATAL:  invalid value for parameter \"work_mem\": \"64Mb\" \
                    2026-11-23 08:12:25.438 GMT [3356] HINT:  Valid units are \"B\".";
        assert_eq!(
            server_words(said),
            "invalid value for parameter \"work_mem\": \"64Mb\"; Valid units are \"B\"."
        );
    }
}
