//! What the tuner is told of a machine: its hardware, and the settings of the server that runs there.

use crate::cluster::tune::disk::{self, Told};
use crate::cluster::tune::told;
use crate::shell::{Ask, quote};
use crate::tuner::{Bytes, Hardware, Input, Workload};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

/// One machine as measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// RAM, CPUs and disk, reduced to cgroup limits.
    pub hardware: Hardware,
    /// Major version of the server that runs, else of the newest one installed.
    pub major: Option<u32>,
    /// Settings in force as `SHOW` prints them; empty where no server could be asked.
    pub settings: BTreeMap<String, String>,
    /// The file that a setting's value in force comes from, by name.
    pub sources: BTreeMap<String, String>,
    /// Settings that only a restart changes.
    pub restarting: BTreeSet<String>,
    /// A cgroup allows less than the machine has.
    pub limited: bool,
}

/// What a running server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    major: Option<u32>,
    settings: BTreeMap<String, String>,
    sources: BTreeMap<String, String>,
    restarting: BTreeSet<String>,
}

impl Measured {
    /// A machine that runs no server.
    pub fn bare(hardware: Hardware, major: Option<u32>, limited: bool) -> Self {
        let (settings, sources) = (BTreeMap::new(), BTreeMap::new());
        Self { hardware, major, settings, sources, restarting: BTreeSet::new(), limited }
    }

    /// With what the running server says, if one does.
    pub fn with_server(mut self, server: Server) -> Self {
        self.major = server.major.or(self.major);
        self.settings = server.settings;
        self.sources = server.sources;
        self.restarting = server.restarting;
        self
    }
}

/// Stands among the settings for the methods of `wal_compression` that the server was built with.
pub const COMPRESSIONS: &str = "ishprov.wal_compression";

/// Every setting but those that may hold secrets; `name TAB value` lines.
const SQL: &str = "select name, translate(current_setting(name, true), E'\\n\\t', '  ') from pg_settings \
                   where (name = 'password_encryption' or name !~ 'conninfo|passphrase|password|command') union all \
                   select 'ishprov.wal_compression', array_to_string(enumvals, ',') from pg_settings \
                   where name = 'wal_compression' and enumvals is not null union all \
                   select 'ishprov.source.' || name, sourcefile from pg_settings where sourcefile is not null union all \
                   select 'ishprov.restarts', string_agg(name, ',') from pg_settings where context = 'postmaster'";

/// Asks the server of a host for its settings.
pub fn server_ask() -> Ask {
    Ask::sh_as(
        "postgres",
        format!(
            "command -v psql >/dev/null 2>&1 || exit 0\n\
             PGCONNECT_TIMEOUT=3 psql -XAtq -F \"$(printf '\\t')\" -d postgres -c {} </dev/null 2>/dev/null",
            quote(SQL)
        ),
    )
}

/// Reads the answer to [`server_ask`]; no server is an empty answer.
pub fn read_server(text: &str) -> Server {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let mut settings = BTreeMap::new();
    let mut sources = BTreeMap::new();
    for (name, value) in lines {
        match name.strip_prefix("ishprov.source.") {
            Some(name) => sources.insert(name.to_owned(), value.to_owned()),
            None => settings.insert(name.to_owned(), value.to_owned()),
        };
    }
    let restarting = settings
        .remove("ishprov.restarts")
        .map(|names| names.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let major = settings
        .get("server_version_num")
        .and_then(|number| number.parse::<u32>().ok())
        .map(|number| number / 10_000);
    Server { major, settings, sources, restarting }
}

/// A host as its facts have it.
pub fn of_facts(facts: &Map<String, Value>) -> Result<Measured, String> {
    let facts = Value::Object(facts.clone());
    let number = |path: &str| facts.pointer(path).and_then(Value::as_u64);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let data = |name: &str| facts.pointer("/ishprov/data_directory").and_then(|data| data.get(name));
    let ram = number("/ishprov/memory_bytes").ok_or("its facts do not tell its RAM")?;
    let cpus = number("/ishprov/cpus").ok_or("its facts do not tell its CPUs")?;
    let mut hardware = blank(Bytes(ram), small(cpus));
    hardware.cores = small(number("/processor_cores").unwrap_or(0) * number("/processor_count").unwrap_or(1));
    hardware.swap = Bytes(number("/swaptotal_mb").unwrap_or(0) << 20);
    hardware.wal_fs_size = data("size_bytes").and_then(Value::as_u64).map(Bytes);
    hardware.wal_fs_free = data("available_bytes").and_then(Value::as_u64).map(Bytes);
    hardware.disk = disk::by_flag(told(&facts));
    let versions = facts.pointer("/ishprov/postgresql/versions").and_then(Value::as_array);
    let major = versions.into_iter().flatten().filter_map(Value::as_u64).max().map(small);
    let limited = facts.pointer("/ishprov/cgroup_limited").and_then(Value::as_bool).unwrap_or(false);
    Ok(Measured::bare(hardware, major, limited))
}

/// This machine. `probe` measures its disk.
///
/// # Errors
/// When its memory cannot be read, or its disk not be measured.
pub fn here(probe: bool) -> Result<Measured, String> {
    let mut system =
        sysinfo::System::new().map_err(|error| format!("cannot measure this machine: {error}"))?;
    system.refresh_memory();
    let limit = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
    let ram = limit.map_or(system.total_memory(), |limit| limit.min(system.total_memory()));
    // Counts the affinity and the quota of the cgroup, which sysinfo does not.
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let online = rustix::thread::sched_getaffinity(None).map_or(cpus, |set| set.count() as usize);
    let mut hardware = blank(Bytes(ram), u32::try_from(cpus).unwrap_or(u32::MAX));
    hardware.cores =
        sysinfo::System::physical_core_count().map_or(0, |cores| u32::try_from(cores).unwrap_or(0));
    hardware.swap = Bytes(system.total_swap());
    let data = ["/var/lib/postgresql", "/var/lib", "/"].map(Path::new).into_iter().find(|path| path.is_dir());
    let disks = sysinfo::Disks::new_with_refreshed_list().ok();
    let below = disks
        .iter()
        .flat_map(|disks| disks.iter())
        .filter(|disk| data.is_some_and(|data| data.starts_with(disk.mount_point())));
    if let Some(on) = below.max_by_key(|disk| disk.mount_point().as_os_str().len()) {
        hardware.wal_fs_size = Some(Bytes(on.total_space()));
        hardware.wal_fs_free = Some(Bytes(on.available_space().min(on.total_space())));
        let name = on.name().to_string_lossy();
        let name = name.rsplit('/').next().unwrap_or_default();
        let rotational = match on.kind() {
            sysinfo::DiskKind::SSD => Some(false),
            sysinfo::DiskKind::HDD => Some(true),
            sysinfo::DiskKind::Unknown(_) => None,
        };
        let nvme = Some(name.starts_with("nvme"));
        let told = Told { device: Some(name), nvme, rotational, guest: is_guest() };
        hardware.disk = disk::by_flag(told);
        if probe {
            let reads = super::tune::probe::here(on.name(), data.unwrap_or(Path::new("/")))?;
            hardware.disk = disk::by_reads(reads, told).ok_or(super::tune::probe::TOO_FEW)?;
        }
    }
    let major = installed().last().map(|(major, _)| *major);
    let measured = Measured::bare(hardware, major, ram < system.total_memory() || cpus < online);
    Ok(measured.with_server(own_server()))
}

fn blank(ram: Bytes, cpus: u32) -> Hardware {
    Input::new(ram, cpus, 0, Workload::Mixed, 0).hardware
}

/// Whether this machine is a virtual one: x86 says so in its CPU flags.
fn is_guest() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
    })
}

/// Installed servers of Debian's layout, oldest first, with their programs' folder.
fn installed() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort();
    found
}

/// Settings of the server that runs here, asked as its own account where we may.
fn own_server() -> Server {
    let sockets = std::fs::read_dir("/var/run/postgresql").into_iter().flatten().flatten();
    let port = sockets
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(".s.PGSQL.")?.parse::<u16>().ok())
        .min();
    let Some(port) = port else { return Server::default() };
    let socket = format!("/var/run/postgresql/.s.PGSQL.{port}");
    // The program itself: Debian's wrapper around it takes longer than all the rest.
    let program = installed().last().map_or_else(|| PathBuf::from("psql"), |(_, dir)| dir.join("psql"));
    let mut command = std::process::Command::new(program);
    command.args([
        "-XAtq",
        "-F",
        "\t",
        "-h",
        "/var/run/postgresql",
        "-d",
        "postgres",
        "-p",
        &port.to_string(),
        "-c",
        SQL,
    ]);
    command.env("PGCONNECT_TIMEOUT", "2").current_dir("/").stdin(std::process::Stdio::null());
    if let (true, Ok(owner)) = (rustix::process::geteuid().is_root(), std::fs::metadata(&socket)) {
        command.uid(owner.uid()).gid(owner.gid()).args(["-U", "postgres"]);
    }
    match command.output() {
        Ok(output) if output.status.success() => read_server(&String::from_utf8_lossy(&output.stdout)),
        _ => Server::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::DiskKind;
    use serde_json::json;

    #[test]
    fn facts_become_hardware() {
        let facts = json!({
            "processor_cores": 2, "processor_count": 1, "swaptotal_mb": 512, "virtualization_role": "NA",
            "ishprov": {"memory_bytes": 8_589_934_592_u64, "cpus": 2, "cgroup_limited": true,
                "postgresql": {"versions": [13, 15]},
                "data_directory": {"size_bytes": 100, "available_bytes": 60, "device": "sda", "rotational": true, "nvme": false}},
        });
        let measured = of_facts(facts.as_object().expect("an object")).expect("is whole");
        assert_eq!(
            (measured.hardware.ram, measured.hardware.cpus, measured.hardware.cores),
            (Bytes::gb(8), 2, 2)
        );
        assert_eq!(
            (measured.hardware.wal_fs_free, measured.hardware.swap),
            (Some(Bytes(60)), Bytes::mb(512))
        );
        assert_eq!((measured.major, measured.limited), (Some(15), true));
        assert_eq!(measured.hardware.disk.kind, DiskKind::Hdd);
        assert!(of_facts(&Map::new()).is_err());
    }

    #[test]
    fn a_server_is_read_and_none_is_none() {
        let said = "server_version_num\t150018\nwork_mem\t4MB\nsearch_path\t\"$user\", public\n\
                    ishprov.source.work_mem\t/etc/a.conf\nishprov.restarts\tport,ssl_library\n";
        let server = read_server(said);
        assert_eq!((server.major, server.settings["work_mem"].as_str()), (Some(15), "4MB"));
        assert_eq!(server.sources["work_mem"], "/etc/a.conf");
        assert!(server.restarting.contains("port") && !server.settings.contains_key("ishprov.restarts"));
        assert_eq!(read_server("psql: error\n"), Server::default());
    }
}
