//! Makes this host a streaming standby of `primary_host`, as a Debian cluster (`/etc/postgresql/VERSION/CLUSTER`).
//!
//! - There is no data directory, or an empty one: the primary is cloned with `pg_basebackup` beside its place
//!   (`DATA.cloning`), what `ALTER SYSTEM` said on the primary is taken out of `postgresql.auto.conf` (a 16 GB host's
//!   memory settings do not fit an 8 GB standby), the clone takes its place and is registered with `pg_createcluster`.
//!   A clone that was broken off is recognised and made again.
//! - There is a standby of the right primary: `primary_conninfo` and `primary_slot_name` are brought up to date by a
//!   reload; other lines of `postgresql.auto.conf` stay.
//! - There is anything else (a primary, another system identifier, unknown files): refused, and nothing is touched.
//!
//! `rebuild: true` permits to replace the data directory of a standby that does not stream, or of a stopped former
//! primary, where its system identifier is the primary's and its timeline is not newer: the old directory is moved
//! aside (`DATA.old-N`) and removed when the new standby streams. A standby that streams is left alone.
//!
//! No password is written: the standby authenticates by the client certificate `sslcert` and `sslkey` (files on the
//! host, readable by `postgres`), or by a `passfile`. The slot must exist on the primary (`postgresql_slot`).
//!
//! Settings that a standby may not have lower than its primary (`max_connections` and others) have to be in place
//! before the first start: clone with `start: false`, write `conf.d` and `pg_hba.conf`, then call the module again with
//! `start: true`, or let `postgresql_rollout` start it. Files in `conf.d` and a `pg_hba.conf` that are there before the
//! clone stay.
//!
//! `register` keeps `data_directory`, `system_identifier`, `timeline`, `running`, `streaming`, `wal_receiver`,
//! `removed_settings` (lines taken out of `postgresql.auto.conf`) and `old_data`.
//!
//! EXAMPLES
//! - name: Clone the primary
//!   postgresql_standby:
//!     version: 15
//!     primary_host: pg-primary.example.org
//!     replication_user: replicator
//!     slot: "{{ inventory_hostname | replace('-', '_') }}"
//!     application_name: "{{ inventory_hostname }}"
//!     sslcert: /etc/postgresql/tls/replicator.crt
//!     sslkey: /etc/postgresql/tls/replicator.key
//!     sslrootcert: /etc/postgresql/tls/ca.crt
//!     start: false

use super::psql::{self, Seen, Session};
use super::standby_scripts as scripts;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, postgresql_slot, sql};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Put, Run, quote};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_standby`.
pub struct PostgresqlStandby;

/// Whose standby, and how it connects.
#[derive(Debug)]
pub struct Params {
    pub(super) session: Session,
    pub(super) version: i64,
    pub(super) cluster: String,
    pub(super) data: Option<String>,
    /// `primary_conninfo`: without a password.
    pub(super) conninfo: String,
    pub(super) primary: String,
    pub(super) slot: Option<String>,
    /// Files that `postgres` must be able to read.
    pub(super) files: Vec<String>,
    pub(super) system_identifier: Option<String>,
    rebuild: bool,
    start: bool,
    pub(super) max_rate: Option<String>,
    /// Seconds that the clone may take.
    timeout: u64,
}

/// What is on the host.
#[derive(Debug, Default)]
pub struct Found {
    /// Whether the server's programs of this version are installed.
    tools: bool,
    /// Whether Debian knows the cluster (`postgresql.conf` is there).
    config: bool,
    pub(super) data: String,
    mounted: bool,
    /// The first names in the data directory.
    entries: Vec<String>,
    version: Option<String>,
    identifier: Option<String>,
    timeline: Option<i64>,
    signal: bool,
    running: bool,
    /// `none`, `ours` or `foreign`: what stands at `DATA.cloning`.
    cloning: String,
    /// `postgresql.auto.conf`.
    auto: String,
    live: Option<Seen<Live>>,
    old: Vec<String>,
}

/// What a running server says of its WAL receiver.
#[derive(Debug, Deserialize)]
struct Live {
    status: Option<String>,
    sender: Option<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    /// Clone; `Some(true)` moves data aside first.
    clone: Option<bool>,
    /// The new `postgresql.auto.conf` of a standby that stays.
    auto: Option<String>,
    register: bool,
    start: bool,
    reload: bool,
}

impl Module for PostgresqlStandby {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_standby",
        aliases: &[],
        summary: "A streaming standby of a primary",
        source: include_str!("postgresql_standby.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("version", Kind::Int, "PostgreSQL's major version, the primary's too").required(),
            Param::new("cluster", Kind::Str, "Debian's name of the cluster").default("main"),
            Param::new(
                "primary_host",
                Kind::Str,
                "The primary's name or address; its certificate must name it",
            )
            .required(),
            Param::new("primary_port", Kind::Int, "The primary's port").default("5432"),
            Param::new("replication_user", Kind::Str, "The role that streams").default("replicator"),
            Param::new("slot", Kind::Str, "The replication slot on the primary that keeps the standby's WAL"),
            Param::new(
                "application_name",
                Kind::Str,
                "The standby's name in the primary's `pg_stat_replication`",
            )
            .default("inventory_hostname"),
            Param::new(
                "sslmode",
                Kind::Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
                "How far the primary's certificate is verified",
            )
            .default("verify-full"),
            Param::new("sslcert", Kind::Path, "Client certificate on the host"),
            Param::new("sslkey", Kind::Path, "Its private key on the host"),
            Param::new(
                "sslrootcert",
                Kind::Path,
                "The CA that signed the primary's certificate, on the host",
            ),
            Param::new(
                "passfile",
                Kind::Path,
                "libpq's password file on the host, where no certificate is used",
            ),
            Param::new("system_identifier", Kind::Str, "The primary's; another one here is refused"),
            Param::new("data_directory", Kind::Path, "Where the data goes when the cluster is new")
                .default("/var/lib/postgresql/VERSION/CLUSTER"),
            Param::new("rebuild", Kind::Bool, "Permit to replace a data directory that does not stream")
                .default("false"),
            Param::new("start", Kind::Bool, "Start the standby and wait until it streams").default("true"),
            Param::new("max_rate", Kind::Str, "Limit of the clone's transfer a second: `32k` to `1024M`"),
            Param::new("timeout", Kind::Int, "Seconds that the clone may take").default("86400"),
            psql::PORT,
            psql::SOCKET,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let version = args.int("version").unwrap_or_default();
        if version < 13 {
            return Err(Fault::param(
                "version",
                format!(
                    "PostgreSQL {version} is too old: 13 is the oldest whose standbys take a new primary by reload"
                ),
            ));
        }
        let cluster = args.str("cluster").unwrap_or_else(|| "main".to_owned());
        // Debian splits names of clusters at `-` in systemd's unit names.
        if cluster.is_empty() || !cluster.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            return Err(Fault::param("cluster", format!("`{cluster}` is no name of a cluster"))
                .hint("letters, digits, `_` and `.`"));
        }
        let slot = args.str("slot");
        if let Some(slot) = &slot {
            postgresql_slot::check_name("slot", slot)?;
        }
        let max_rate = args.str("max_rate");
        if let Some(rate) = max_rate.as_deref() {
            let digits = rate.trim_end_matches(['k', 'M']);
            if rate.len() - digits.len() > 1
                || digits.is_empty()
                || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(
                    Fault::param("max_rate", format!("`{rate}` is no rate")).hint("as `800k` or `50M`")
                );
            }
        }
        let timeout = args.int("timeout").unwrap_or(86400);
        let params = Params {
            session: Session::decode(args, "login_db")?,
            version,
            cluster,
            data: args.str("data_directory").map(|path| path.trim_end_matches('/').to_owned()),
            conninfo: conninfo(args)?,
            primary: args.required("primary_host"),
            slot,
            files: ["sslcert", "sslkey", "sslrootcert", "passfile"]
                .iter()
                .filter_map(|name| args.str(name))
                .collect(),
            system_identifier: args.str("system_identifier"),
            rebuild: args.bool("rebuild").unwrap_or(false),
            start: args.bool("start").unwrap_or(true),
            max_rate,
            timeout: u64::try_from(timeout)
                .ok()
                .filter(|seconds| *seconds > 0)
                .ok_or_else(|| Fault::param("timeout", "`timeout` counts seconds and must be more than 0"))?,
        };
        if params
            .system_identifier
            .as_deref()
            .is_some_and(|id| id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(Fault::param("system_identifier", "a system identifier is a number")
                .hint("`SELECT system_identifier FROM pg_control_system()` on the primary"));
        }
        if params.rebuild && !params.start {
            return Err(Fault::param("rebuild", "`rebuild: true` needs `start: true`")
                .hint("only the standby's streaming shows that the rebuild is done"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::sh(scripts::probe(params)), params.ask_live()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let out = answers.output(&Ask::sh(scripts::probe(params)))?;
        if !out.success() {
            return Err(
                Fault::task("what stands in the data directory cannot be read").note(out.error_text())
            );
        }
        let mut found = Found::read(&out.text());
        if found.running {
            found.live = Some(params.session.seen(answers, &params.ask_live())?);
        }
        Ok(found)
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let mut diff = Diff { clone: None, auto: None, register: false, start: false, reload: false };
        if !found.tools {
            return Err(Fault::param("version", format!("PostgreSQL {} is not on the host", params.version))
                .hint(format!("install it before: `apt: {{name: postgresql-{}}}`", params.version)));
        }
        if found.version.is_none() && found.entries.iter().all(|name| name == "lost+found") {
            diff.clone = Some(false);
        } else {
            check_data(params, found)?;
            let streams = found.live.as_ref().is_some_and(Seen::<Live>::streams);
            if params.rebuild && !streams {
                diff.clone = Some(true);
            } else if !found.signal {
                return Err(former_primary(params, found));
            }
        }
        if diff.clone.is_some() {
            check_place(found)?;
        } else {
            diff.auto = params.reconciled(&found.auto);
            diff.reload = diff.auto.is_some() && found.running;
        }
        diff.register = !found.config;
        diff.start = params.start && (diff.clone.is_some() || !found.running);
        if diff.clone.is_none() && diff.auto.is_none() && !diff.register && !diff.start {
            return Ok(Verdict::InState(found.describe()));
        }
        Ok(Verdict::Act(diff))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        let clone = format!("clone of {}", params.primary);
        match diff.clone {
            Some(false) => changes.push(Change::field(&found.data, "", clone)),
            Some(true) => {
                let what = if found.signal { "standby that does not stream" } else { "former primary" };
                changes.push(Change::field(
                    &found.data,
                    what,
                    format!("{clone}; the old one is moved aside"),
                ));
            }
            None => {}
        }
        if let Some(auto) = &diff.auto {
            changes.push(Change::text(format!("{}/postgresql.auto.conf", found.data), &found.auto, auto));
        }
        if diff.register {
            changes.push(Change::field(
                format!("cluster {}/{}", params.version, params.cluster),
                "",
                "registered",
            ));
        }
        if diff.start {
            changes.push(Change::field(params.unit(), "stopped", "streaming"));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let run = |script: String, shown: &str| Run::new(script).shown(shown);
        let mut actions = Vec::new();
        if let Some(replaces) = diff.clone {
            let cloning = format!("{}.cloning", found.data);
            actions.push(Action::Run(
                run(scripts::check_primary(params, found, replaces), "ask the primary who it is")
                    .user("postgres")
                    .timeout(60),
            ));
            if replaces && found.running {
                let stop = format!("systemctl stop -- {}", quote(&params.unit()));
                actions.push(Action::Run(Run::new(stop).timeout(600)));
            }
            actions.push(Action::Run(
                run(scripts::prepare(params, found), "make room for the clone").timeout(600),
            ));
            actions.push(Action::Run(
                run(scripts::clone(params, found), &format!("pg_basebackup from {}", params.primary))
                    .user("postgres")
                    .timeout(params.timeout),
            ));
            for (name, content) in [
                ("standby.signal", String::new()),
                ("postgresql.auto.conf", params.reconciled("").unwrap_or_default()),
            ] {
                let mut put = Put::new(format!("{cloning}/data/{name}"), content);
                (put.owner, put.group, put.mode) =
                    (Some("postgres".into()), Some("postgres".into()), Some(0o600));
                actions.push(Action::Put(put));
            }
            actions.push(Action::Run(run(scripts::swap(params, found), "put the clone in its place")));
        }
        if let Some(auto) = &diff.auto {
            actions
                .push(Action::Put(Put::new(format!("{}/postgresql.auto.conf", found.data), auto.as_str())));
        }
        if diff.register {
            actions.push(Action::Run(run(
                scripts::register(params, found),
                &format!("pg_createcluster {} {}", params.version, params.cluster),
            )));
        }
        if diff.reload {
            actions.push(Action::Run(
                run(scripts::settle(params, "reload"), "reload, and wait until it streams").timeout(180),
            ));
        }
        if diff.start {
            actions.push(Action::Run(
                run(scripts::settle(params, "start"), "start, and wait until it streams").timeout(900),
            ));
            if diff.clone == Some(true) {
                actions
                    .push(Action::Run(run(scripts::drop_old(found), "remove the data that was moved aside")));
            }
        }
        actions
    }

    fn result(_params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        let said = |word: &str| -> Vec<String> {
            let lines = ran.iter().flat_map(|out| out.text().lines().map(str::to_owned).collect::<Vec<_>>());
            lines.filter_map(|line| line.strip_prefix(word).map(str::to_owned)).collect()
        };
        let told = json!({
            "data_directory": found.data,
            "system_identifier": found.identifier,
            "timeline": found.timeline,
            "running": found.running,
            "streaming": found.live.as_ref().is_some_and(Seen::<Live>::streams),
            "wal_receiver": found.live.as_ref().and_then(|live| live.found.status.clone()),
            "removed_settings": said("removed: "),
            "old_data": found.old,
        });
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Seen<Live> {
    fn streams(&self) -> bool {
        self.server.recovery && self.found.status.as_deref() == Some("streaming")
    }
}

impl Params {
    /// systemd's unit of the cluster.
    pub(super) fn unit(&self) -> String {
        format!("postgresql@{}-{}.service", self.version, self.cluster)
    }

    fn ask_live(&self) -> Ask {
        self.session.ask(
            "SELECT json_build_object('status', (SELECT status FROM pg_stat_wal_receiver LIMIT 1), \
             'sender', (SELECT sender_host FROM pg_stat_wal_receiver LIMIT 1))",
        )
    }

    /// `postgresql.auto.conf` with our two lines as wanted; `None` where it says so already.
    fn reconciled(&self, text: &str) -> Option<String> {
        let wanted =
            [("primary_conninfo", Some(self.conninfo.as_str())), ("primary_slot_name", self.slot.as_deref())];
        let mut found: [Option<String>; 2] = [None, None];
        let mut kept = String::new();
        for line in text.lines() {
            match conf_line(line)
                .and_then(|(name, value)| Some((wanted.iter().position(|(known, _)| *known == name)?, value)))
            {
                // The last line of a name holds.
                Some((at, value)) => found[at] = Some(value),
                None => kept.extend([line, "\n"]),
            }
        }
        if found.iter().zip(&wanted).all(|(found, (_, wanted))| found.as_deref() == *wanted) {
            return None;
        }
        if kept.is_empty() {
            kept.push_str(
                "# Do not edit this file manually!\n# It will be overwritten by the ALTER SYSTEM command.\n",
            );
        }
        for (name, value) in wanted {
            if let Some(value) = value {
                kept.push_str(&format!("{name} = {}\n", sql::conf_value(value)));
            }
        }
        Some(kept)
    }
}

impl Found {
    /// Reads what the probe printed.
    fn read(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            let some = || Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match word {
                "tools" => found.tools = value == "yes",
                "config" => found.config = value == "yes",
                "data" => found.data = value.to_owned(),
                "mounted" => found.mounted = value == "yes",
                "entry" => found.entries.push(value.to_owned()),
                "version" => found.version = some(),
                "identifier" => found.identifier = some(),
                "timeline" => found.timeline = value.trim().parse().ok(),
                "signal" => found.signal = value == "yes",
                "running" => found.running = value == "yes",
                "cloning" => found.cloning = value.to_owned(),
                "old" => found.old.push(value.to_owned()),
                "auto" => found.auto.extend([value, "\n"]),
                _ => {}
            }
        }
        found
    }

    fn describe(&self) -> String {
        match &self.live {
            None => "the standby is in its place, stopped".to_owned(),
            Some(live) if live.streams() => {
                let from = live.found.sender.as_deref().map(|sender| format!(" from `{sender}`"));
                format!("the standby streams{}", from.unwrap_or_default())
            }
            Some(live) => {
                let status = live.found.status.as_deref().unwrap_or("not running");
                format!("the standby runs, but does not stream: its WAL receiver is {status}")
            }
        }
    }
}

/// `primary_conninfo` of the task's parameters.
fn conninfo(args: &Args) -> Result<String, Fault> {
    let port = args.int("primary_port").unwrap_or(5432);
    if !(1..=65535).contains(&port) {
        return Err(Fault::param("primary_port", format!("`{port}` is no port")));
    }
    let mode = args.str("sslmode").unwrap_or_else(|| "verify-full".to_owned());
    if mode.starts_with("verify") && !args.has("sslrootcert") {
        return Err(Fault::param("sslmode", format!("`sslmode: {mode}` needs `sslrootcert`"))
            .hint("the CA that signed the primary's certificate, on the host"));
    }
    for (one, other) in [("sslcert", "sslkey"), ("sslkey", "sslcert")] {
        if args.has(one) && !args.has(other) {
            return Err(Fault::param(one, format!("`{one}` needs `{other}`")));
        }
    }
    let host = args.context("inventory_hostname").and_then(Value::as_str).map(str::to_owned);
    let name = args.str("application_name").or(host);
    let text = |name: &str| args.str(name);
    let user = text("replication_user").unwrap_or_else(|| "replicator".to_owned());
    let parts = [
        ("host", Some(args.required("primary_host"))),
        ("port", Some(port.to_string())),
        ("user", Some(user)),
        ("application_name", name),
        ("sslmode", Some(mode)),
        ("sslcert", text("sslcert")),
        ("sslkey", text("sslkey")),
        ("sslrootcert", text("sslrootcert")),
        ("passfile", text("passfile")),
        ("connect_timeout", Some("10".to_owned())),
    ];
    let mut words = Vec::new();
    for (name, value) in parts {
        let Some(value) = value else { continue };
        if value.is_empty() || value.contains(['\0', '\n', '\r']) {
            return Err(Fault::param(
                if name == "host" { "primary_host" } else { name },
                format!("`{name}` of the connection must be one line and not empty"),
            ));
        }
        words.push(format!("{name}={}", sql::conninfo_value(&value)));
    }
    Ok(words.join(" "))
}

/// Refuses data that is not ours to touch.
fn check_data(params: &Params, found: &Found) -> Result<(), Fault> {
    let data = &found.data;
    let (Some(version), Some(identifier)) = (&found.version, &found.identifier) else {
        let names = found.entries.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(Fault::task(format!(
            "`{data}` holds what is no whole PostgreSQL cluster, and is left alone"
        ))
        .note(format!("there are {names}"))
        .hint("look at it, and move it away if nothing in it is needed"));
    };
    if *version != params.version.to_string() {
        return Err(Fault::param("version", format!("`{data}` is a cluster of PostgreSQL {version}, not {}", params.version))
            .hint("a standby has its primary's version; drop the old cluster with `pg_dropcluster` when it is not needed"));
    }
    if let Some(wanted) = params.system_identifier.as_ref().filter(|wanted| *wanted != identifier) {
        let fault = Fault::param(
            "system_identifier",
            format!("`{data}` is another cluster than the primary `{}`, and is left alone", params.primary),
        )
        .note(format!("system identifier here {identifier}, of the primary {wanted}"));
        return Err(fault.hint(format!(
            "when nothing in it is needed: `pg_dropcluster --stop {} {}` on the host, then run again",
            params.version, params.cluster
        )));
    }
    if let Some(live) = found.live.as_ref().filter(|live| !live.server.recovery) {
        let server = live.server.version / 10000;
        return Err(Fault::task(format!("PostgreSQL {server} on port {} of this host is a primary, and is left alone", params.session.port))
            .note(format!("`{data}`, system identifier {identifier}, timeline {}", found.timeline.unwrap_or_default()))
            .hint(format!(
                "when `{}` is the one to follow: stop this one (`systemctl stop {}`), then run with `rebuild: true`",
                params.primary,
                params.unit()
            )));
    }
    Ok(())
}

fn former_primary(params: &Params, found: &Found) -> Fault {
    Fault::param("rebuild", format!("`{}` is a stopped primary, and is left alone", found.data))
        .note(format!(
            "system identifier {}, timeline {}, no `standby.signal`",
            found.identifier.as_deref().unwrap_or("unknown"),
            found.timeline.unwrap_or_default()
        ))
        .hint(format!(
            "when `{}` has taken over: `rebuild: true` clones it anew where the system identifier is the same, and keeps \
             the old data until the new standby streams",
            params.primary
        ))
}

/// Refuses a place that a clone cannot take.
fn check_place(found: &Found) -> Result<(), Fault> {
    if found.mounted {
        return Err(Fault::param(
            "data_directory",
            format!("`{}` is a mount point, which a clone cannot replace at once", found.data),
        )
        .hint("mount the file system one level up"));
    }
    if found.cloning == "foreign" {
        return Err(Fault::task(format!("`{}.cloning` is in the way and is not ours", found.data))
            .hint("look at it, and move it away"));
    }
    Ok(())
}

/// Name and value of a line of `postgresql.auto.conf`.
fn conf_line(line: &str) -> Option<(&str, String)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if name.starts_with('#') {
        return None;
    }
    let value = value.trim();
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            '\'' => {
                text.push('\'');
                chars.next();
            }
            c => text.push(c),
        }
    }
    Some((name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(given: Value) -> Params {
        let given = given.as_object().cloned().expect("a mapping");
        PostgresqlStandby::decode(&Args::bind(&PostgresqlStandby::SPEC, &given).expect("binds"))
            .expect("decodes")
    }

    #[test]
    fn recovery_lines_are_replaced_and_foreign_lines_kept() {
        let params = params(
            json!({"version": 15, "primary_host": "it's", "sslmode": "prefer", "slot": "a", "application_name": "x y"}),
        );
        let first = params.reconciled("").expect("to write");
        assert!(
            first.contains(
                "primary_conninfo = 'host=''it\\\\''s'' port=5432 user=replicator application_name=''x y''"
            ),
            "{first}"
        );
        assert_eq!(params.reconciled(&first), None);
        let old = "# note\nwork_mem = '4MB'\nprimary_conninfo = 'host=a'\nprimary_slot_name = 'b'\nprimary_conninfo = 'host=c'\n";
        let new = params.reconciled(old).expect("to write");
        assert!(new.starts_with("# note\nwork_mem = '4MB'\nprimary_conninfo = 'host=''it"), "{new}");
        assert!(new.ends_with("primary_slot_name = 'a'\n") && !new.contains("host=c"), "{new}");
        assert_eq!(params.reconciled(&new), None);
    }
}
