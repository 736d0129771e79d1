//! The cluster as its servers describe it: what to ask each host, and the lines that say how it stands.
//!
//! Nothing here is taken from the inventory: who is primary, who streams and over what is what the servers say.

use crate::pki::CertInfo;
use crate::shell::{Ask, quote};
use crate::tuner::Bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What one host said.
#[derive(Debug, Clone)]
pub struct HostAnswer {
    /// Its name in the inventory.
    pub host: String,
    /// The address it is reached at: recognises a standby that uses no slot.
    pub address: Option<String>,
    /// The output of [`ask`], or why it could not be asked.
    pub text: Result<String, String>,
}

/// How the clusters stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterReport {
    /// For people, without line ends; empty when no host runs PostgreSQL.
    pub lines: Vec<String>,
    /// What is not as it must be: exactly one primary, every standby streaming, every connection over TLS.
    pub problems: Vec<String>,
}

/// The question: read-only, as `postgres`, a line per server of the host.
pub fn ask() -> Ask {
    let query = format!(
        "PGCONNECT_TIMEOUT=5 PGOPTIONS='-c statement_timeout=10s' psql -XAtq ${{port:+-p \"$port\"}} -d postgres -c {} \
         </dev/null 2>&1",
        quote(&SQL.split_whitespace().collect::<Vec<_>>().join(" "))
    );
    Ask::sh_as(
        "postgres",
        format!(
            "command -v psql >/dev/null 2>&1 || exit 0
one() {{
  if said=$({query}); then printf '%s\\n' \"$said\"; else printf 'silent %s %s\\n' \"$1\" \"$(printf '%s' \"$said\" | tr '\\n' ' ')\"; fi
}}
if command -v pg_lsclusters >/dev/null 2>&1; then
  pg_lsclusters -h | while read -r version name port status rest; do
    case $status in
      online*) one \"$version/$name\" ;;
      *) printf 'down %s %s\\n' \"$version/$name\" \"$status\" ;;
    esac
  done
else
  port=; one server
fi"
        ),
    )
}

/// Reads the answers and says how the clusters stand. `now` is the time that certificates are measured against.
pub fn report(answers: &[HostAnswer], now: OffsetDateTime) -> ClusterReport {
    let mut report = ClusterReport::default();
    let mut clusters: BTreeMap<(usize, String), Vec<Server>> = BTreeMap::new();
    let mut silent = Vec::new();
    for answer in answers {
        let text = match &answer.text {
            Ok(text) => text.as_str(),
            Err(why) => {
                silent.push((answer.host.clone(), why.clone()));
                continue;
            }
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Said>(line) {
                Ok(said) => {
                    let known = clusters.keys().find(|(_, system)| *system == said.system).map(|(at, _)| *at);
                    let key = (known.unwrap_or(clusters.len()), said.system.clone());
                    let server = Server { host: answer.host.clone(), address: answer.address.clone(), said };
                    clusters.entry(key).or_default().push(server);
                }
                Err(_) => silent.push((answer.host.clone(), unreadable(line))),
            }
        }
    }
    for servers in clusters.values() {
        if !report.lines.is_empty() {
            report.lines.push(String::new());
        }
        cluster(servers, now, &mut report);
    }
    report.problems.extend(silent.into_iter().map(|(host, why)| format!("{host}: {why}")));
    report.lines.extend(report.problems.iter().map(|problem| format!("  ! {problem}")));
    report
}

/// One server of a host.
struct Server {
    host: String,
    address: Option<String>,
    said: Said,
}

/// What a server says, as [`SQL`] puts it.
#[derive(Debug, Deserialize)]
struct Said {
    cluster: String,
    version: String,
    standby: bool,
    system: String,
    meminfo: Option<String>,
    settings: BTreeMap<String, String>,
    ssl: bool,
    certs: Vec<Option<String>>,
    senders: Vec<Sender>,
    slots: Vec<Slot>,
    receiver: Option<String>,
    slot: Option<String>,
    sslmode: Option<String>,
    rules: Vec<Rule>,
}

/// A row of `pg_stat_replication`.
#[derive(Debug, Deserialize)]
struct Sender {
    client: Option<String>,
    slot: Option<String>,
    state: Option<String>,
    lag: Option<i64>,
    ssl: Option<bool>,
    tls: Option<String>,
    dn: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Slot {
    name: String,
    active: bool,
}

/// A line of `pg_hba.conf` that lets in over TCP.
#[derive(Debug, Deserialize)]
struct Rule {
    r#type: String,
    replication: bool,
    certificate: bool,
    loopback: bool,
}

/// One JSON object per server. Passwords of `primary_conninfo` never leave it: only two of its words are read.
const SQL: &str = r"
select json_build_object(
  'cluster', regexp_replace(current_setting('cluster_name'), '^.*/', ''),
  'version', split_part(current_setting('server_version'), ' ', 1),
  'standby', pg_is_in_recovery(),
  'system', (select system_identifier::text from pg_control_system()),
  'meminfo', pg_read_file('/proc/meminfo', 0, 256, true),
  'settings', (select json_object_agg(name, current_setting(name)) from unnest(array['max_connections',
    'shared_buffers', 'effective_cache_size', 'work_mem', 'ssl_min_protocol_version']) name),
  'ssl', current_setting('ssl') = 'on',
  'certs', json_build_array(
    case when current_setting('ssl') = 'on' then pg_read_file(current_setting('ssl_cert_file'), 0, 65536, true) end,
    case when pg_is_in_recovery() and current_setting('primary_conninfo') ~ 'sslcert=' then pg_read_file(
      substring(current_setting('primary_conninfo') from 'sslcert=''?([^'' ]+)'), 0, 65536, true) end),
  'senders', coalesce((select json_agg(json_build_object('client', host(r.client_addr), 'slot', s.slot_name,
      'state', r.state, 'lag', pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
      else pg_current_wal_lsn() end, r.replay_lsn)::bigint, 'ssl', t.ssl, 'tls', t.version, 'dn', t.client_dn))
    from pg_stat_replication r left join pg_stat_ssl t using (pid)
    left join pg_replication_slots s on s.active_pid = r.pid), '[]'::json),
  'slots', coalesce((select json_agg(json_build_object('name', slot_name, 'active', active) order by slot_name)
    from pg_replication_slots where slot_type = 'physical' and not temporary), '[]'::json),
  'receiver', (select status from pg_stat_wal_receiver),
  'slot', (select slot_name from pg_stat_wal_receiver),
  'sslmode', case when pg_is_in_recovery() then
    substring(current_setting('primary_conninfo') from 'sslmode=''?([^'' ]+)') end,
  'rules', coalesce((select json_agg(json_build_object('type', type, 'replication', 'replication' = any(database),
      'certificate', auth_method = 'cert' or coalesce('clientcert=verify-full' = any(options), false),
      'loopback', coalesce(address in ('127.0.0.1', '::1', 'localhost'), false)))
    from pg_hba_file_rules where type like 'host%' and auth_method <> 'reject' and error is null), '[]'::json))
";

fn cluster(servers: &[Server], now: OffsetDateTime, report: &mut ClusterReport) {
    let primaries: Vec<&Server> = servers.iter().filter(|server| !server.said.standby).collect();
    let Some(first) = primaries.first().copied().or(servers.first()) else { return };
    let setting = |server: &Server, name: &str| server.said.settings.get(name).cloned().unwrap_or_default();
    let name = if first.said.cluster.is_empty() { "(no cluster_name)" } else { first.said.cluster.as_str() };
    report.lines.push(format!(
        "CLUSTER {name} · PostgreSQL {} · max_connections {}",
        first.said.version,
        setting(first, "max_connections")
    ));
    if primaries.len() != 1 {
        let hosts: Vec<&str> = primaries.iter().map(|server| server.host.as_str()).collect();
        report.problems.push(match hosts.as_slice() {
            [] => format!("cluster {name} has no primary among the hosts that were asked"),
            hosts => format!("cluster {name} has {} primaries: {}", hosts.len(), hosts.join(", ")),
        });
    }
    let mut rows = Vec::new();
    // The primary first, then standbys as the inventory names them.
    for server in primaries.iter().copied().chain(servers.iter().filter(|server| server.said.standby)) {
        let ram = server.said.meminfo.as_deref().and_then(ram).map(Bytes::human).unwrap_or_default();
        let sender = upstream(server, servers);
        let (role, lag) = if !server.said.standby {
            ("primary".to_owned(), String::new())
        } else {
            standby(server, sender, report)
        };
        let slot = server.said.slot.as_deref().map(|slot| {
            let slots = servers.iter().flat_map(|server| &server.said.slots);
            let active = slots.clone().any(|known| known.name == slot && known.active);
            format!("slot {slot} ({})", if active { "active" } else { "inactive" })
        });
        rows.push(Row {
            host: server.host.clone(),
            role: format!("{role:<11}{lag}").trim_end().to_owned(),
            ram,
            settings: ["shared_buffers", "effective_cache_size", "work_mem"]
                .map(|name| format!("{name} {}", setting(server, name))),
            slot: slot.unwrap_or_default(),
        });
        for slot in server.said.slots.iter().filter(|slot| !slot.active && !server.said.standby) {
            report
                .problems
                .push(format!("{}: slot {} is not active: it keeps WAL for nobody", server.host, slot.name));
        }
    }
    report.lines.extend(table(&rows));
    report.lines.push(format!("  {}", encryption(servers, now, &mut report.problems)));
}

struct Row {
    host: String,
    role: String,
    ram: String,
    settings: [String; 3],
    slot: String,
}

fn table(rows: &[Row]) -> Vec<String> {
    let width =
        |pick: &dyn Fn(&Row) -> &str| rows.iter().map(|row| pick(row).chars().count()).max().unwrap_or(0);
    let (host, role, ram) = (width(&|row| &row.host), width(&|row| &row.role), width(&|row| &row.ram));
    let settings: [usize; 3] = std::array::from_fn(|at| width(&|row| &row.settings[at]));
    let lines = rows.iter().map(|row| {
        let settings: Vec<String> =
            row.settings.iter().zip(settings).map(|(text, width)| format!("{text:<width$}")).collect();
        let line = format!(
            "  {:<host$}  {:<role$}  {:>ram$}  {}  {}",
            row.host,
            row.role,
            row.ram,
            settings.join("  "),
            row.slot
        );
        line.trim_end().to_owned()
    });
    lines.collect()
}

/// The sender that feeds a standby: by its slot, else by its address.
fn upstream<'a>(server: &Server, servers: &'a [Server]) -> Option<&'a Sender> {
    let mut senders = servers.iter().flat_map(|server| &server.said.senders);
    match &server.said.slot {
        Some(slot) => senders.find(|sender| sender.slot.as_ref() == Some(slot)),
        None => senders.find(|sender| sender.client.is_some() && sender.client == server.address),
    }
}

/// State and lag of a standby.
fn standby(server: &Server, sender: Option<&Sender>, report: &mut ClusterReport) -> (String, String) {
    let host = &server.host;
    if server.said.receiver.as_deref() != Some("streaming") {
        let state = server.said.receiver.as_deref().unwrap_or("not connected");
        report.problems.push(format!("{host}: the standby does not stream (its receiver is {state})"));
        return (state.to_owned(), String::new());
    }
    let Some(sender) = sender else {
        report.problems.push(format!("{host}: it streams, but from none of the hosts that were asked"));
        return ("streaming".to_owned(), String::new());
    };
    let state = sender.state.as_deref().unwrap_or("unknown");
    if state != "streaming" {
        report.problems.push(format!("{host}: the primary is in state {state} towards it, not streaming"));
    }
    if sender.ssl != Some(true) {
        report.problems.push(format!("{host}: it streams without TLS"));
    }
    let lag = sender.lag.map(|lag| format!("lag {}", Bytes(lag.max(0).unsigned_abs()).human()));
    (state.to_owned(), lag.unwrap_or_default())
}

/// How connections are encrypted, and how long the certificates hold.
fn encryption(servers: &[Server], now: OffsetDateTime, problems: &mut Vec<String>) -> String {
    let mut parts = Vec::new();
    let plain: Vec<&str> =
        servers.iter().filter(|server| !server.said.ssl).map(|server| server.host.as_str()).collect();
    if !plain.is_empty() {
        problems.push(format!("no TLS on {}: `ssl` is off", plain.join(", ")));
    }
    for server in servers.iter().filter(|server| server.said.ssl) {
        let open = server.said.rules.iter().any(|rule| rule.r#type != "hostssl" && !rule.loopback);
        if open {
            problems.push(format!("{}: pg_hba.conf lets in connections without TLS", server.host));
        }
    }
    let senders: Vec<&Sender> = servers.iter().flat_map(|server| &server.said.senders).collect();
    let mut versions: BTreeSet<&str> = senders.iter().filter_map(|sender| sender.tls.as_deref()).collect();
    if versions.is_empty() {
        let least = servers.iter().filter(|server| server.said.ssl);
        versions = least
            .filter_map(|server| server.said.settings.get("ssl_min_protocol_version"))
            .map(String::as_str)
            .collect();
    }
    parts.push(if versions.is_empty() {
        "no TLS".to_owned()
    } else if senders.iter().all(|sender| sender.tls.is_none()) {
        // Nobody is connected: what the servers accept.
        format!("{} or later", versions.into_iter().collect::<Vec<_>>().join(" and "))
    } else {
        versions.into_iter().collect::<Vec<_>>().join(" and ")
    });
    let clients: BTreeSet<&str> =
        senders.iter().filter_map(|sender| sender.dn.as_deref()).map(common_name).collect();
    if !clients.is_empty() {
        parts.push(format!("client certificate {}", clients.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let mut standbys = servers.iter().filter(|server| server.said.standby).peekable();
    if standbys.peek().is_some() {
        let there = standbys.all(|server| server.said.sslmode.as_deref() == Some("verify-full"));
        let mut rules =
            servers.iter().flat_map(|server| &server.said.rules).filter(|rule| rule.replication).peekable();
        let back = rules.peek().is_some() && rules.all(|rule| rule.r#type == "hostssl" && rule.certificate);
        parts.push(
            match (there, back) {
                (true, true) => "verify-full both ways",
                (true, false) => "servers verified, clients not",
                (false, true) => "clients verified, servers not",
                (false, false) => "nobody verified",
            }
            .to_owned(),
        );
    }
    let days = days_left(servers, now, problems);
    let days = match days {
        Some(days) if days < 0 => " · a certificate has expired".to_owned(),
        Some(1) => " · certificates good for 1 day".to_owned(),
        Some(days) => format!(" · certificates good for {days} days"),
        None => String::new(),
    };
    format!("{}{days}", parts.join(", "))
}

/// Days until the first certificate ends.
fn days_left(servers: &[Server], now: OffsetDateTime, problems: &mut Vec<String>) -> Option<i64> {
    let mut least: Option<i64> = None;
    for server in servers {
        for pem in server.said.certs.iter().flatten() {
            match CertInfo::first(pem) {
                Ok(info) => {
                    let days = info.days_left(now);
                    if days < 0 {
                        problems.push(format!(
                            "{}: the certificate of {} has expired",
                            server.host, info.subject
                        ));
                    }
                    least = Some(least.map_or(days, |least| least.min(days)));
                }
                Err(fault) => {
                    problems.push(format!("{}: a certificate cannot be read: {}", server.host, fault.message))
                }
            }
        }
    }
    least
}

/// `replicator` of `/CN=replicator`, or the whole when it has no common name.
fn common_name(dn: &str) -> &str {
    dn.split(['/', ',']).find_map(|part| part.trim().strip_prefix("CN=")).unwrap_or(dn)
}

fn ram(meminfo: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().map(Bytes::kb)
}

fn unreadable(line: &str) -> String {
    match line.split_once(' ') {
        Some(("down", rest)) => {
            let (cluster, status) = rest.split_once(' ').unwrap_or((rest, "down"));
            format!("PostgreSQL {cluster} does not run (it is {status})")
        }
        Some(("silent", rest)) => match rest.split_once(' ') {
            Some((cluster, why)) => format!("PostgreSQL {cluster} does not answer: {}", why.trim()),
            None => format!("PostgreSQL {rest} does not answer"),
        },
        _ => format!("its answer cannot be read: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 0:00 UTC);

    fn server(standby: bool, gb: u64) -> Value {
        json!({
            "cluster": "main", "version": "15.18", "standby": standby, "system": "7",
            "meminfo": format!("MemTotal:       {} kB\nMemFree: 1 kB\n", gb << 20),
            "settings": {"max_connections": "300", "shared_buffers": format!("{}GB", gb / 4),
                "effective_cache_size": format!("{}GB", gb / 4 * 3), "work_mem": "4MB",
                "ssl_min_protocol_version": "TLSv1.3"},
            "ssl": true, "certs": [null, null], "senders": [], "slots": [],
            "receiver": if standby { json!("streaming") } else { Value::Null },
            "slot": null, "sslmode": if standby { json!("verify-full") } else { Value::Null },
            "rules": [{"type": "hostssl", "replication": true, "certificate": true, "loopback": false}],
        })
    }

    fn three() -> Vec<(&'static str, Value)> {
        let mut primary = server(false, 16);
        let sender = |number: u32, lag: u64| {
            json!({"client": format!("198.18.0.{number}"), "slot": format!("pg_replica{number}"), "state": "streaming",
                "lag": lag, "ssl": true, "tls": "TLSv1.3", "dn": "/CN=replicator"})
        };
        primary["senders"] = json!([sender(1, 0), sender(2, 2048)]);
        primary["slots"] =
            json!([{"name": "pg_replica1", "active": true}, {"name": "pg_replica2", "active": true}]);
        let replica = |slot: &str| {
            let mut server = server(true, 8);
            server["slot"] = json!(slot);
            server
        };
        vec![
            ("pg-primary", primary),
            ("pg-replica1", replica("pg_replica1")),
            ("pg-replica2", replica("pg_replica2")),
        ]
    }

    fn shown(hosts: &[(&str, Value)]) -> ClusterReport {
        let answers: Vec<HostAnswer> = hosts
            .iter()
            .map(|(host, said)| HostAnswer {
                host: (*host).to_owned(),
                address: None,
                text: Ok(said.as_str().map_or_else(|| said.to_string(), str::to_owned)),
            })
            .collect();
        report(&answers, NOW)
    }

    #[test]
    fn a_healthy_cluster_is_four_lines_and_no_problem() {
        let report = shown(&three());
        assert_eq!(report.problems, Vec::<String>::new());
        insta::assert_snapshot!(report.lines.join("\n"), @"
        CLUSTER main · PostgreSQL 15.18 · max_connections 300
          pg-primary   primary              16 GB  shared_buffers 4GB  effective_cache_size 12GB  work_mem 4MB
          pg-replica1  streaming  lag 0 B    8 GB  shared_buffers 2GB  effective_cache_size 6GB   work_mem 4MB  slot pg_replica1 (active)
          pg-replica2  streaming  lag 2 kB   8 GB  shared_buffers 2GB  effective_cache_size 6GB   work_mem 4MB  slot pg_replica2 (active)
          TLSv1.3, client certificate replicator, verify-full both ways
        ");
    }

    #[test]
    fn each_thing_that_is_wrong_is_said() {
        let broken = |change: &dyn Fn(&mut Vec<(&'static str, Value)>)| {
            let mut hosts = three();
            change(&mut hosts);
            shown(&hosts).problems.join("\n")
        };
        assert_eq!(
            broken(&|hosts| hosts[1].1["standby"] = json!(false)),
            "cluster main has 2 primaries: pg-primary, pg-replica1"
        );
        assert_eq!(
            broken(&|hosts| drop(hosts.remove(0))),
            "cluster main has no primary among the hosts that were asked\n\
             pg-replica1: it streams, but from none of the hosts that were asked\n\
             pg-replica2: it streams, but from none of the hosts that were asked"
        );
        assert_eq!(
            broken(&|hosts| {
                hosts[2].1["receiver"] = Value::Null;
                hosts[2].1["slot"] = Value::Null;
                hosts[0].1["slots"][1]["active"] = json!(false);
            }),
            "pg-primary: slot pg_replica2 is not active: it keeps WAL for nobody\n\
             pg-replica2: the standby does not stream (its receiver is not connected)"
        );
        assert_eq!(
            broken(&|hosts| hosts[0].1["senders"][0]["ssl"] = json!(false)),
            "pg-replica1: it streams without TLS"
        );
        assert_eq!(broken(&|hosts| hosts[1].1["ssl"] = json!(false)), "no TLS on pg-replica1: `ssl` is off");
        assert_eq!(
            broken(&|hosts| hosts[0].1["rules"][0]["type"] = json!("host")),
            "pg-primary: pg_hba.conf lets in connections without TLS"
        );
        assert_eq!(
            broken(&|hosts| hosts[1].1 = json!("down 15/main down")),
            "pg-replica1: PostgreSQL 15/main does not run (it is down)"
        );
        assert_eq!(
            broken(&|hosts| hosts[1].1 = json!("silent 15/main psql: error: no such socket ")),
            "pg-replica1: PostgreSQL 15/main does not answer: psql: error: no such socket"
        );
    }

    #[test]
    fn hosts_without_postgresql_make_no_report() {
        let answers = [HostAnswer { host: "web".to_owned(), address: None, text: Ok(String::new()) }];
        assert_eq!(report(&answers, NOW), ClusterReport::default());
    }
}
