//! What a host says of itself: one probe script and the parser of its answer.
//!
//! The names are Ansible's, without the `ansible_` prefix. What Ansible has no word for stands under `ishprov`:
//! the memory and processors that a server process may really use (cgroup limits counted), the disk below the
//! PostgreSQL data directory, the clusters found, and the connection this session came by.
//! Environment variables are no facts here: they may hold secrets.

mod answer;
mod hardware;
mod network;
mod postgresql;
mod storage;
mod system;

use crate::diag::Fault;
use crate::shell::limits::{FACTS, bytes};
use answer::Answer;
pub use network::{Connection, connection};
use serde_json::{Map, Value, json};

/// The probe: POSIX sh text that only reads, needs no argument and no particular exit status.
pub fn script() -> &'static str {
    concat!(include_str!("probe.sh"), "s ssh\n", include_str!("connection.sh"), "s end\n")
}

/// POSIX sh text that prints the TCP sockets held by the ancestors of the shell it runs in; [`connection`] reads it.
pub const CONNECTION: &str = include_str!("connection.sh");

/// The facts in the probe's standard output.
///
/// # Errors
/// When the answer is cut short or lacks what every Linux host has (`uname`, `/proc/meminfo`).
pub fn parse(text: &str) -> Result<Map<String, Value>, Fault> {
    if text.len() > FACTS {
        let (found, most) = (bytes(text.len() as u64), bytes(FACTS as u64));
        return Err(Fault::task(format!("the host says {found} of itself; at most {most} are read")));
    }
    let answer = Answer::parse(text)?;
    let mut facts = Map::new();
    let mut ours = Map::new();
    system::gather(&answer, &mut facts, &mut ours)?;
    hardware::gather(&answer, &mut facts, &mut ours)?;
    network::gather(&answer, &mut facts, &mut ours);
    let directory = postgresql::gather(&answer, &mut ours);
    storage::gather(&answer, &directory, &mut facts, &mut ours);
    plain_names(&facts)?;
    facts.insert("ishprov".to_owned(), Value::Object(ours));
    facts.insert("gather_subset".to_owned(), json!(["all"]));
    facts.insert("module_setup".to_owned(), json!(true));
    Ok(facts)
}

/// Facts that sites make names of files of: `include_vars: "{{ ansible_distribution }}.yaml"`.
const NAMES: &[&str] = &[
    "nodename",
    "hostname",
    "fqdn",
    "domain",
    "system",
    "kernel",
    "machine",
    "architecture",
    "distribution",
    "distribution_release",
    "distribution_version",
    "distribution_major_version",
    "os_family",
    "pkg_mgr",
    "service_mgr",
];

/// A host that calls itself `../../x` is not to choose what is read or written on the control machine.
fn plain_names(facts: &Map<String, Value>) -> Result<(), Fault> {
    for name in NAMES {
        let Some(value) = facts.get(*name).and_then(Value::as_str) else { continue };
        let host = matches!(*name, "nodename" | "hostname" | "fqdn" | "domain");
        let leads = value.starts_with('/') || value.split('/').any(|part| part == "..");
        if leads || value.chars().any(char::is_control) || host && value.contains('/') {
            let shown: String = value.chars().take(80).collect();
            return Err(Fault::task(format!(
                "the host says that its {name} is `{}`: that is a path, and no name",
                shown.escape_debug()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Value {
        Value::Object(parse(text).expect("parses"))
    }

    fn at<'a>(facts: &'a Value, path: &str) -> &'a Value {
        path.split('.').fold(facts, |value, key| match value {
            Value::Array(items) => &items[key.parse::<usize>().expect("an index")],
            other => &other[key],
        })
    }

    fn holds(facts: &Value, rows: &[(&str, Value)]) {
        for (path, wanted) in rows {
            assert_eq!(at(facts, path), wanted, "{path}");
        }
    }

    #[test]
    fn a_host_that_calls_itself_a_path_is_refused() {
        let text = include_str!("testdata/debian12-vm.txt");
        let node = parse(text).expect("parses")["nodename"].as_str().expect("a name").to_owned();
        let release = parse(text).expect("parses")["kernel"].as_str().expect("a name").to_owned();
        for (from, to) in [
            (node.as_str(), "../../esc"),
            (node.as_str(), "a/b"),
            (node.as_str(), "a\u{1b}]0;x\u{7}"),
            (release.as_str(), "/etc/passwd"),
        ] {
            let said = parse(&text.replace(&format!(" {from} "), &format!(" {to} "))).expect_err(to);
            assert!(said.message.contains("that is a path, and no name"), "{}", said.message);
        }
        let long = format!("{text}{}", "x".repeat(FACTS));
        assert!(parse(&long).expect_err("too long").message.contains("at most 2 MB are read"));
    }

    #[test]
    fn a_virtual_machine_with_a_stopped_cluster() {
        holds(
            &facts(include_str!("testdata/debian12-vm.txt")),
            &[
                ("distribution", json!("Debian")),
                ("distribution_version", json!("12.11")),
                ("distribution_major_version", json!("12")),
                ("distribution_release", json!("bookworm")),
                ("os_family", json!("Debian")),
                ("pkg_mgr", json!("apt")),
                ("kernel", json!("6.18.44-fc-v657")),
                ("architecture", json!("x86_64")),
                ("hostname", json!("vm")),
                ("fqdn", json!("vm")),
                ("memtotal_mb", json!(24105)),
                ("swaptotal_mb", json!(0)),
                ("memory_mb.real.total", json!(24105)),
                ("processor.2", json!("AMD EPYC")),
                ("processor_count", json!(1)),
                ("processor_cores", json!(2)),
                ("processor_threads_per_core", json!(1)),
                ("processor_vcpus", json!(2)),
                ("processor_nproc", json!(2)),
                ("default_ipv4.address", json!("192.0.2.2")),
                ("default_ipv4.gateway", json!("192.0.2.1")),
                ("default_ipv4.interface", json!("eth0")),
                ("default_ipv4.network", json!("192.0.2.0")),
                ("default_ipv4.netmask", json!("255.255.255.0")),
                ("default_ipv4.macaddress", json!("02:fc:00:00:00:01")),
                ("default_ipv4.mtu", json!(1400)),
                ("default_ipv6.address", json!("fd00::2")),
                ("all_ipv4_addresses", json!(["192.0.2.2"])),
                ("eth0.ipv4.prefix", json!("24")),
                ("service_mgr", json!("process_api")),
                ("virtualization_type", json!("docker")),
                ("virtualization_role", json!("guest")),
                ("user_id", json!("root")),
                ("date_time.iso8601", json!("2026-11-23T07:37:03Z")),
                ("date_time.epoch", json!("1795419423")),
                ("uptime_seconds", json!(1862)),
                ("mounts.0.mount", json!("/")),
                ("mounts.0.fstype", json!("ext4")),
                ("mounts.0.size_total", json!(66_053_021_u64 * 4096)),
                ("ishprov.memory_bytes", json!(24_684_092_u64 * 1024)),
                ("ishprov.cpus", json!(2)),
                ("ishprov.cgroup_limited", json!(false)),
                ("ishprov.page_size", json!(4096)),
                ("ishprov.postgresql.versions", json!([15])),
                ("ishprov.postgresql.clusters.0.port", json!(5432)),
                ("ishprov.postgresql.clusters.0.status", json!("down")),
                ("ishprov.data_directory.path", json!("/var/lib/postgresql/15/main")),
                ("ishprov.data_directory.mount", json!("/")),
                ("ishprov.data_directory.available_bytes", json!(19_249_818_u64 * 4096)),
                ("ishprov.data_directory.device", json!("vda")),
                ("ishprov.boot_id", json!("e752cd65-a8a8-4f99-8dd4-c47912c809d4")),
                ("ishprov.ssh_connection", Value::Null),
            ],
        );
    }

    #[test]
    fn a_container_with_limits_reached_by_ssh() {
        holds(
            &facts(include_str!("testdata/debian12-nspawn.txt")),
            &[
                ("service_mgr", json!("systemd")),
                ("virtualization_type", json!("systemd-nspawn")),
                ("hostname", json!("ms1")),
                ("memtotal_mb", json!(2048)),
                ("processor_vcpus", json!(2)),
                ("default_ipv4.interface", json!("host0")),
                ("default_ipv6", json!({})),
                ("ishprov.memory_bytes", json!(2_147_483_648_u64)),
                ("ishprov.cpus", json!(1)),
                ("ishprov.container", json!("systemd-nspawn")),
                ("ishprov.postgresql", json!({"versions": [], "clusters": []})),
                ("ishprov.data_directory.path", json!("/var/lib")),
                ("ishprov.data_directory.mount", json!("/")),
                ("ishprov.data_directory.fstype", json!("overlay")),
                ("ishprov.data_directory.size_bytes", json!(5_149_332_u64 * 4096)),
                ("ishprov.data_directory.rotational", Value::Null),
                ("ishprov.ssh_connection.client", json!("198.18.230.1")),
                ("ishprov.ssh_connection.server", json!("198.18.230.11")),
                ("ishprov.ssh_connection.server_port", json!(22)),
            ],
        );
    }

    #[test]
    fn an_answer_cut_short_is_a_fault() {
        let text = include_str!("testdata/debian12-vm.txt");
        let cut = &text[..text.len() / 2];
        assert!(parse(cut).expect_err("refused").message.contains("cut short"));
        assert!(parse("").is_err());
    }
}
