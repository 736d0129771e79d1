//! Makes this host a streaming standby of `primary_host`, as a Debian cluster (`/etc/postgresql/VERSION/CLUSTER`).
//!
//! - There is no data directory, or an empty one: the primary is cloned with `pg_basebackup` beside its place
//!   (`DATA.cloning`), what `ALTER SYSTEM` said on the primary is taken out of `postgresql.auto.conf` (a 16 GB host's
//!   memory settings do not fit an 8 GB standby), the clone takes its place and is registered with `pg_createcluster`.
//!   A clone that was broken off is recognised and made again.
//! - Tablespaces lie in the folders that they have on the primary (`tablespaces` names them): a missing folder is made,
//!   and the clone of each is made inside of it (`ishprov.cloning-VERSION`) and takes its place with the data. Files of another
//!   cluster in there are refused by path. The WAL lies in `wal_directory`, or where the replaced data had it.
//! - There is a standby of the right primary: `primary_conninfo` and `primary_slot_name` are brought up to date by a
//!   reload; other lines of `postgresql.auto.conf` stay.
//! - There is anything else (a primary, another system identifier, unknown files): refused, and nothing is touched.
//!
//! `rebuild: true` permits to replace the data directory of a standby that does not stream, or of a stopped former
//! primary, where its system identifier is the primary's and its timeline is not newer: the old directory is moved
//! aside (`DATA.old-N`, with its WAL and tablespaces), and this very one is removed when the new standby streams. A standby that streams is left alone.
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
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, postgresql_slot};
use super::{standby_conf as conf, standby_refuse as refuse, standby_scripts as scripts};
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
    /// Folders of the primary's tablespaces.
    pub(super) tablespaces: Vec<String>,
    pub(super) wal_directory: Option<String>,
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
    pub(super) tools: bool,
    /// Whether Debian knows the cluster (`postgresql.conf` is there).
    pub(super) config: bool,
    pub(super) data: String,
    pub(super) mounted: bool,
    /// The first names in the data directory.
    pub(super) entries: Vec<String>,
    pub(super) version: Option<String>,
    pub(super) identifier: Option<String>,
    pub(super) timeline: Option<i64>,
    pub(super) signal: bool,
    pub(super) running: bool,
    /// `none`, `ours` or `foreign`: what stands at `DATA.cloning`.
    pub(super) cloning: String,
    /// `postgresql.auto.conf`.
    pub(super) auto: String,
    pub(super) live: Option<Seen<Live>>,
    pub(super) old: Vec<String>,
    /// Where `pg_wal` leads, when it is a link.
    pub(super) wal_link: Option<String>,
    /// Folders of tablespaces that the data here uses.
    pub(super) linked: Vec<String>,
    /// What stands at folders that the clone needs: `absent`, `room`, `holds`, `mounted`, `foreign`.
    pub(super) places: Vec<(String, String)>,
    /// Folders that a broken-off clone of ours was just filling.
    pub(super) begun: Vec<String>,
}

/// What a running server says of its WAL receiver.
#[derive(Debug, Deserialize)]
pub(super) struct Live {
    status: Option<String>,
    sender: Option<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    /// Clone; `Some(true)` moves data aside first.
    clone: Option<bool>,
    /// The new `postgresql.auto.conf` of a standby that stays.
    pub(super) auto: Option<String>,
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
            Param::new(
                "tablespaces",
                Kind::List,
                "Folders of the primary's tablespaces, the same on every host",
            ),
            Param::new("wal_directory", Kind::Path, "Where the clone's WAL lies")
                .default("where the replaced data had it, else the data directory"),
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
            conninfo: conf::conninfo(args)?,
            primary: args.required("primary_host"),
            slot,
            files: ["sslcert", "sslkey", "sslrootcert", "passfile"]
                .iter()
                .filter_map(|name| args.str(name))
                .collect(),
            system_identifier: args.str("system_identifier"),
            tablespaces: folders(args.list("tablespaces"))?,
            wal_directory: super::attrs::path(args, "wal_directory")?,
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
            // Programs may come with a package; a place that no clone can take stays one.
            if found.version.is_none() {
                refuse::check_place(found)?;
            }
            return Err(Fault::param("version", format!("PostgreSQL {} is not on the host", params.version))
                .healed_by(&["apt"])
                .hint(format!("install it before: `apt: {{name: postgresql-{}}}`", params.version)));
        }
        if found.version.is_none() && found.entries.iter().all(|name| name == "lost+found") {
            diff.clone = Some(false);
        } else {
            refuse::check_data(params, found)?;
            let streams = found.live.as_ref().is_some_and(Seen::<Live>::streams);
            if params.rebuild && !streams {
                diff.clone = Some(true);
            } else if !found.signal {
                return Err(refuse::former_primary(params, found));
            }
        }
        if let Some(replaces) = diff.clone {
            refuse::check_place(found)?;
            refuse::check_folders(params, found, replaces)?;
        } else {
            diff.auto = conf::reconciled(params, &found.auto);
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
        if diff.clone.is_some() {
            let missing = found.places.iter().filter(|(_, state)| state == "absent");
            changes.extend(missing.map(|(path, _)| Change::field(path, "absent", "a folder of the clone")));
            let wal = params.wal_target(found, diff.clone == Some(true));
            changes.extend(wal.map(|path| Change::field("pg_wal", "", path)));
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
                run(scripts::prepare(params, found, replaces), "make room for the clone").timeout(600),
            ));
            actions.push(Action::Run(
                run(
                    scripts::clone(params, found, replaces),
                    &format!("pg_basebackup from {}", params.primary),
                )
                .user("postgres")
                .timeout(params.timeout),
            ));
            for (name, content) in [
                ("standby.signal", String::new()),
                ("postgresql.auto.conf", conf::reconciled(params, "").unwrap_or_default()),
            ] {
                let mut put = Put::new(format!("{cloning}/data/{name}"), content);
                (put.owner, put.group, put.mode) =
                    (Some("postgres".into()), Some("postgres".into()), Some(0o600));
                actions.push(Action::Put(put));
            }
            actions
                .push(Action::Run(run(scripts::swap(params, found, replaces), "put the clone in its place")));
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
            if diff.clone == Some(true) || diff.clone.is_some() && !found.begun.is_empty() {
                actions.push(Action::Run(run(
                    scripts::drop_old(params, found),
                    "remove the data that was moved aside",
                )));
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

/// Folders of tablespaces, without their last slash.
fn folders(given: Vec<String>) -> Result<Vec<String>, Fault> {
    let one = |path: String| match path.trim_end_matches('/') {
        "" => Err(Fault::param("tablespaces", format!("`{path}` is no folder of a tablespace"))),
        plain if !plain.starts_with('/') || plain.contains(['\n', '=']) => Err(Fault::param(
            "tablespaces",
            format!("`{path}` is no absolute path that a clone can be given"),
        )),
        plain => Ok(plain.to_owned()),
    };
    given.into_iter().map(one).collect()
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

    /// The folder of the clone's WAL, where that is not in the data directory.
    pub(super) fn wal_target(&self, found: &Found, replaces: bool) -> Option<String> {
        self.wal_directory.clone().or_else(|| found.wal_link.clone().filter(|_| replaces))
    }

    /// Folders of tablespaces that a clone fills: those that the task names, and those that the data here uses.
    pub(super) fn spaces(&self, found: &Found) -> Vec<String> {
        let mut spaces = self.tablespaces.clone();
        spaces.extend(found.linked.iter().filter(|path| !self.tablespaces.contains(path)).cloned());
        spaces
    }

    fn ask_live(&self) -> Ask {
        self.session.ask(
            "SELECT json_build_object('status', (SELECT status FROM pg_stat_wal_receiver LIMIT 1), \
             'sender', (SELECT sender_host FROM pg_stat_wal_receiver LIMIT 1))",
        )
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
                "wal" => found.wal_link = some(),
                "linked" => found.linked.extend(some()),
                "begun" => found.begun.extend(some()),
                "place" => found
                    .places
                    .extend(value.split_once(' ').map(|(state, path)| (path.to_owned(), state.to_owned()))),
                "auto" => found.auto.extend([value, "\n"]),
                _ => {}
            }
        }
        found
    }

    /// Where data that are replaced go: a name that nothing has, chosen once.
    pub(super) fn aside(&self) -> String {
        let number = |path: &String| path.rsplit_once("-")?.1.parse::<u64>().ok();
        let next = self.old.iter().filter_map(number).max().unwrap_or(0) + 1;
        format!("{}.old-{next}", self.data)
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
