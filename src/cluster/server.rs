//! What a host's PostgreSQL is like: one probe, asked by every procedure, and its answer.

use crate::diag::Fault;
use crate::modules::{Args, Instance, Lines};
use crate::shell::{Answers, Ask, quote};
use std::collections::HashMap;

/// One host's PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    /// The server program of the version is installed.
    pub installed: bool,
    /// Debian's tools know the cluster.
    pub configured: bool,
    /// What the data directory holds.
    pub data: Data,
    /// `pg_controldata`, by label.
    pub control: HashMap<String, String>,
    /// `standby.signal` is there: it starts as a standby.
    pub standby_signal: bool,
    /// A server process holds the data directory.
    pub process: bool,
    /// It answers.
    pub live: Option<Live>,
    /// Why it does not answer although its process is there.
    pub silence: String,
    /// What the server program says of the configuration files.
    pub config_errors: Vec<String>,
    /// Its host's clock, seconds since 1970.
    pub now: f64,
    /// The newest change of a file that a reload reads: seconds since 1970, and the file.
    pub newest: Option<(f64, String)>,
    /// Folders of its tablespaces.
    pub tablespaces: Vec<String>,
    /// Where `pg_wal` leads, when it is a link.
    pub wal_link: Option<String>,
}

/// What a data directory holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Data {
    /// Nothing, or it is not there.
    #[default]
    Empty,
    /// Something that is no cluster.
    Foreign(String),
    /// A cluster of this major version.
    Cluster(String),
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// It is a standby.
    pub recovery: bool,
    /// When its first process started, seconds since 1970.
    pub started: f64,
    /// When it read its configuration, seconds since 1970.
    pub loaded: f64,
    /// Its timeline.
    pub timeline: u32,
    /// A primary's insert position or a standby's replay position, in bytes.
    pub position: Option<u64>,
    /// The host that a standby is told to follow.
    pub follows: Option<String>,
    /// And its port, where one is named.
    pub follows_port: Option<u64>,
    /// Replay is paused, or asked to be.
    pub paused: bool,
    /// State of the WAL receiver.
    pub receiver: Option<String>,
    /// Settings whose new value takes a restart: name, value in force, value in the files (empty when it left them).
    pub pending: Vec<(String, String, String)>,
    /// The five that a standby may not have lower than its primary, as in force.
    pub five: HashMap<String, u64>,
    /// Standbys that follow it: application name, address, state.
    pub senders: Vec<[String; 3]>,
    /// Slots: name, active, state of their WAL.
    pub slots: Vec<[String; 3]>,
    /// How many of them are logical.
    pub logical_slots: u32,
    /// The port it listens on.
    pub port: u64,
}

/// The five settings that a standby may not have lower than its primary, with their label in the control file.
pub const FIVE: [(&str, &str); 5] = [
    ("max_connections", "max_connections setting"),
    ("max_worker_processes", "max_worker_processes setting"),
    ("max_wal_senders", "max_wal_senders setting"),
    ("max_prepared_transactions", "max_prepared_xacts setting"),
    ("max_locks_per_transaction", "max_locks_per_xact setting"),
];

impl Server {
    /// The question.
    ///
    /// # Errors
    /// Arguments that name no possible cluster.
    pub fn ask(args: &Args) -> Result<Ask, Fault> {
        let instance = Instance::decode(args)?;
        Ok(Ask::sh(script(&instance)))
    }

    /// The answer.
    ///
    /// # Errors
    /// It was not given, or is cut short.
    pub fn read(args: &Args, answers: &Answers) -> Result<Self, Fault> {
        let output = answers.output(&Self::ask(args)?)?;
        let text = output.text();
        if Lines::of(&text).get("end").is_none() {
            let why = if output.timed_out { "it took too long".to_owned() } else { output.error_text() };
            return Err(Fault::task("the state of PostgreSQL could not be read").note(why.trim().to_owned()));
        }
        Ok(Self::parse(&text))
    }

    /// Reads the probe's output.
    pub fn parse(text: &str) -> Self {
        let lines = Lines::of(text);
        let control = lines.all("control").filter_map(|line| line.split_once(':'));
        let control = control.map(|(label, value)| (label.to_owned(), value.trim().to_owned())).collect();
        let newest = lines.get("newest").and_then(|line| {
            let (time, path) = line.split_once(' ')?;
            Some((time.parse().ok()?, path.to_owned()))
        });
        Self {
            installed: lines.get("installed").is_some(),
            configured: lines.get("configured").is_some(),
            data: match (lines.get("version"), lines.get("holds")) {
                (Some(version), _) => Data::Cluster(version.to_owned()),
                (None, Some(holds)) => Data::Foreign(holds.trim().to_owned()),
                (None, None) => Data::Empty,
            },
            control,
            standby_signal: lines.get("standby_signal").is_some(),
            process: lines.get("process").is_some(),
            live: lines.get("recovery").map(|recovery| Live::read(recovery, &lines)),
            silence: lines.get("silence").unwrap_or_default().to_owned(),
            config_errors: lines.all("config_error").map(|line| line.trim().to_owned()).collect(),
            now: number(lines.get("now")),
            newest,
            tablespaces: lines.all("tablespace").map(str::to_owned).collect(),
            wal_link: lines.get("wal_link").map(str::to_owned),
        }
    }

    /// The identifier that all members of a cluster share.
    pub fn system_identifier(&self) -> Option<&str> {
        self.control.get("Database system identifier").map(String::as_str)
    }

    /// The timeline, of the running server or of its last checkpoint.
    pub fn timeline(&self) -> u32 {
        let checkpoint = || {
            let of = |label: &str| self.control.get(label).and_then(|text| text.parse().ok()).unwrap_or(0);
            // A standby's checkpoint may be older than what it has replayed.
            u32::max(of("Latest checkpoint's TimeLineID"), of("Min recovery ending loc's timeline"))
        };
        self.live.as_ref().map_or_else(checkpoint, |live| live.timeline.max(checkpoint()))
    }

    /// What the control file records of one of the five: the floor below which a standby does not start.
    pub fn floor(&self, label: &str) -> u64 {
        self.control.get(label).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// One of the five as it will be after a restart.
    pub fn after_restart(&self, name: &str) -> Option<u64> {
        let live = self.live.as_ref()?;
        let pending = live.pending.iter().find(|(known, _, after)| known == name && !after.is_empty());
        pending.and_then(|(_, _, after)| after.parse().ok()).or_else(|| live.five.get(name).copied())
    }

    /// Whether it holds a cluster.
    pub fn holds_cluster(&self) -> bool {
        matches!(self.data, Data::Cluster(_))
    }
}

impl Live {
    fn read(recovery: &str, lines: &Lines<'_>) -> Self {
        let three = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            Some([fields.next()?, fields.next()?, fields.next()?])
        };
        let text = |key: &str| lines.get(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            recovery: recovery == "t",
            started: number(lines.get("started")),
            loaded: number(lines.get("loaded")),
            timeline: lines.get("timeline").and_then(|text| text.parse().ok()).unwrap_or(0),
            position: lines.get("position").and_then(|text| text.parse().ok()),
            follows: text("follows"),
            follows_port: lines.get("follows_port").and_then(|text| text.parse().ok()),
            paused: !matches!(lines.get("paused"), None | Some("" | "not paused" | "f")),
            receiver: text("receiver"),
            pending: lines
                .all("pending")
                .filter_map(three)
                .map(|[name, before, after]| (name, before, after))
                .collect(),
            five: lines
                .all("five")
                .filter_map(|line| line.split_once('\t'))
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
            senders: lines.all("sender").filter_map(three).collect(),
            slots: lines.all("slot").filter_map(three).collect(),
            logical_slots: lines.get("logical_slots").and_then(|text| text.parse().ok()).unwrap_or(0),
            port: lines.get("port").and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }

    /// Whether a standby follows its primary: it streams, nothing is paused. A standby that is told to follow nobody
    /// lives on its archive.
    pub fn follows_well(&self) -> bool {
        !self.paused && (self.follows.is_none() || self.receiver.as_deref() == Some("streaming"))
    }
}

fn number(text: Option<&str>) -> f64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0.0)
}

fn script(instance: &Instance) -> String {
    // The words of the newer function stand in its place before version 14.
    let paused = if instance.version >= 14 {
        "pg_get_wal_replay_pause_state()"
    } else {
        "pg_is_wal_replay_paused()::text"
    };
    let mut script = instance.sql_function();
    script.push_str(&format!(
        "D={} C={} B=/usr/lib/postgresql/{}/bin\n",
        quote(&instance.data_directory),
        quote(&instance.config_directory()),
        instance.version
    ));
    script.push_str(&instance.settled());
    script.push_str(&PROBE.replace("@PAUSED@", paused));
    script
}

const PROBE: &str = r#"say() { printf '%s\t%s\n' "$1" "$2"; }
say now "$(date +%s.%N)"
[ -x "$B/postgres" ] && say installed 1
[ -f "$C/postgresql.conf" ] && say configured 1
[ -e "$D/standby.signal" ] && say standby_signal 1
if [ -e "$D/PG_VERSION" ]; then
 say version "$(head -n 1 "$D/PG_VERSION")"
 LC_ALL=C "$B/pg_controldata" -D "$D" 2>/dev/null | sed 's/^/control\t/'
 [ -s "$D/postmaster.pid" ] && p=$(head -n 1 "$D/postmaster.pid") && kill -0 "$p" 2>/dev/null && say process "$p"
 for l in "$D"/pg_tblspc/*; do [ ! -L "$l" ] || say tablespace "$(readlink "$l")"; done
 [ ! -L "$D/pg_wal" ] || say wal_link "$(readlink "$D/pg_wal")"
elif [ -e "$D" ] && { [ ! -d "$D" ] || [ -n "$(ls -A "$D")" ]; }; then
 say holds "$(ls -A "$D" | head -n 5 | tr '\n' ' ')in $D"
fi
if [ -x "$B/postgres" ] && [ -f "$C/postgresql.conf" ] && [ -d "$D" ]; then
 e=$(cd / && runuser -u postgres -- env LC_ALL=C "$B/postgres" -C data_directory -D "$D" -c config_file="$C/postgresql.conf" 2>&1 >/dev/null) ||
  printf '%s\n' "$e" | sed -n -e '/contains errors/d' -e 's/^.*\(LOG\|FATAL\|ERROR\): */config_error\t/p'
fi
if [ -s "$D/postmaster.pid" ]; then
 e=$( { sql 2>&3 <<'X' | sed 's/^/=/'
SELECT 'recovery', pg_is_in_recovery();
SELECT 'started', extract(epoch FROM pg_postmaster_start_time());
SELECT 'loaded', extract(epoch FROM pg_conf_load_time());
SELECT 'timeline', CASE WHEN pg_is_in_recovery() THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver), (pg_control_checkpoint()).timeline_id) ELSE (pg_control_checkpoint()).timeline_id END;
SELECT 'position', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn;
SELECT 'follows', substring(setting FROM 'host=''?([^ '']+)') FROM pg_settings WHERE name = 'primary_conninfo' AND pg_is_in_recovery();
SELECT 'follows_port', substring(setting FROM 'port=''?([0-9]+)') FROM pg_settings WHERE name = 'primary_conninfo' AND pg_is_in_recovery();
SELECT 'port', setting FROM pg_settings WHERE name = 'port';
SELECT 'logical_slots', count(*) FROM pg_replication_slots WHERE slot_type = 'logical';
SELECT 'paused', CASE WHEN pg_is_in_recovery() THEN @PAUSED@ END;
SELECT 'receiver', status FROM pg_stat_wal_receiver;
SELECT 'pending', s.name, s.setting, coalesce((SELECT f.setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY f.seqno DESC LIMIT 1), '')
 FROM pg_settings s WHERE s.pending_restart OR s.context = 'postmaster' AND EXISTS
 (SELECT FROM pg_file_settings f WHERE f.name = s.name AND NOT f.applied AND f.error IS NOT NULL) ORDER BY 2;
SELECT 'five', name, setting FROM pg_settings WHERE name IN ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction');
SELECT 'sender', application_name, coalesce(client_addr::text, 'local'), state FROM pg_stat_replication ORDER BY 2;
SELECT 'slot', slot_name, active, coalesce(wal_status, '') FROM pg_replication_slots ORDER BY 2;
SELECT 'reads', setting FROM pg_settings WHERE name IN ('hba_file', 'ident_file') OR name IN ('ssl_cert_file', 'ssl_key_file', 'ssl_ca_file', 'ssl_crl_file') AND setting <> '';
X
 } 3>&1 )
 a=$(printf '%s\n' "$e" | sed -n 's/^=//p')
 case $a in
 *recovery*reads*)
  printf '%s\n' "$a" | grep -v '^reads'
  printf '%s\n' "$a" | sed -n 's/^reads\t//p' | {
   set --
   while IFS= read -r f; do case $f in /*) ;; *) f=$D/$f ;; esac; set -- "$@" "$f"; done
   find -L "$C" "$D/postgresql.auto.conf" "$@" -printf '%C@ %p\n' 2>/dev/null
  } | sort -rn | head -n 1 | sed 's/^/newest\t/'
  ;;
 *) say silence "$(printf '%s\n' "$e" | sed -n 's/^[^=]/&/p' | tr '\n\t' '  ')" ;;
 esac
fi
say end 1
"#;

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A server told in a few words.
    pub fn server(words: &str) -> Server {
        let mut server = Server { installed: true, configured: true, now: 10_000.0, ..Server::default() };
        let mut live = Live { started: 1_000.0, loaded: 1_000.0, timeline: 1, ..Live::default() };
        let mut lives = false;
        for (name, _) in FIVE {
            live.five.insert(name.to_owned(), 100);
        }
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "empty" => server.data = Data::Empty,
                "foreign" => server.data = Data::Foreign("lost+found".to_owned()),
                "bare" => server.configured = false,
                "data" => server.data = Data::Cluster("15".to_owned()),
                "id" => {
                    drop(server.control.insert("Database system identifier".to_owned(), value.to_owned()))
                }
                "tli" => {
                    server.control.insert("Latest checkpoint's TimeLineID".to_owned(), value.to_owned());
                    live.timeline = value.parse().expect("a timeline");
                }
                "signal" => server.standby_signal = true,
                "process" => server.process = true,
                "primary" => lives = true,
                "standby" => {
                    lives = true;
                    live.recovery = true;
                    live.follows = Some("pg1".to_owned());
                    live.receiver = Some("streaming".to_owned());
                    server.standby_signal = true;
                }
                "silent" => live.receiver = None,
                "follows" => live.follows = Some(value.to_owned()),
                "follows_port" => live.follows_port = value.parse().ok(),
                "port" => live.port = value.parse().expect("a port"),
                "paused" => live.paused = true,
                "at" => live.position = value.parse().ok(),
                "floor" => {
                    drop(server.control.insert("max_connections setting".to_owned(), value.to_owned()))
                }
                "runs" => {
                    live.five.insert("max_connections".to_owned(), value.parse().expect("a number"));
                }
                "pending" => {
                    let mut fields = value.split(',').map(str::to_owned);
                    let mut next = || fields.next().unwrap_or_default();
                    live.pending.push((next(), next(), next()));
                }
                "newer" => server.newest = Some((2_000.0, "/etc/postgresql/15/main/pg_hba.conf".to_owned())),
                "started" => live.started = value.parse().expect("a time"),
                "error" => server.config_errors.push(value.replace('_', " ")),
                "silence" => server.silence = value.replace('_', " "),
                other => panic!("no word `{other}`"),
            }
        }
        if lives {
            live.position.get_or_insert(1_000_000);
            server.process = true;
            server.live = Some(live);
        }
        if server.data == Data::Empty && !words.contains("empty") && !words.contains("foreign") {
            server.data = Data::Cluster("15".to_owned());
        }
        if server.data == Data::Cluster("15".to_owned()) {
            server.control.entry("Database system identifier".to_owned()).or_insert_with(|| "77".to_owned());
            server
                .control
                .entry("Latest checkpoint's TimeLineID".to_owned())
                .or_insert_with(|| "1".to_owned());
        }
        server
    }
}
