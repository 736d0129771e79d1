//! What the tuner is told: the host, the work, the server and what the cluster asks of it.

use super::refusal::Refusal;
use super::same::size_of;
use super::units::{Bytes, Invalid};
use crate::diag::nearest;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// The least RAM that is tuned for.
pub const MIN_RAM: Bytes = Bytes::mb(256);
/// The most RAM that is tuned for: a quarter of it is still within the range of `shared_buffers`.
pub const MAX_RAM: Bytes = Bytes::gb(16 * 1024);
/// The range of CPUs: the most that `max_parallel_workers` can use.
pub const CPUS: std::ops::RangeInclusive<u32> = 1..=1024;
/// The range of `max_connections` that is tuned for; more than that is the work of a pool.
pub const CONNECTIONS: std::ops::RangeInclusive<u32> = 10..=100_000;
/// The major versions that are known.
pub const PG_MAJORS: std::ops::RangeInclusive<u32> = 13..=18;

/// Everything that decides the settings of one host.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// The host.
    pub hardware: Hardware,
    /// The kind of work.
    pub workload: Workload,
    /// `max_connections` that this host shall serve.
    pub max_connections: u32,
    /// How many server connections can be active at once: what the pools in front can open. `None`: all of them.
    pub active: Option<u32>,
    /// Major version of the server.
    pub pg_major: u32,
    /// What the server was built with and the host allows.
    pub capabilities: Capabilities,
    /// What the host asks of the cluster beyond its size.
    pub wishes: Wishes,
    /// `shared_preload_libraries`, in order; empty leaves the parameter alone.
    pub preload: Vec<String>,
    /// What is in force now, so that a reading that wavers changes nothing.
    pub standing: Standing,
    /// What others decided; the budget is made with it.
    pub given: Given,
}

/// The host as measured, already reduced to the cgroup limits and by what other services on it are planned to use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hardware {
    /// RAM: the least of MemTotal and every memory limit on the way to the root.
    pub ram: Bytes,
    /// Logical CPUs that may be used: the least of online, cpuset and quota.
    pub cpus: u32,
    /// Physical cores among them (thread siblings count once); 0 (unknown) and more than `cpus` count as `cpus`.
    pub cores: u32,
    /// Swap, without zram.
    pub swap: Bytes,
    /// The disk of the data directory.
    pub disk: Disk,
    /// Size of the filesystem that holds pg_wal.
    pub wal_fs_size: Option<Bytes>,
    /// Free on it; what pg_wal itself holds counts as free.
    pub wal_fs_free: Option<Bytes>,
    /// Whether the server is known to get its shared memory in huge pages.
    pub huge_pages: HugePages,
    /// NUMA nodes.
    pub numa_nodes: u32,
    /// Committed_AS now: strict overcommit is only for hosts that are below its limit.
    pub committed: Option<Bytes>,
}

/// Kind of disk, and what says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The kind.
    pub kind: DiskKind,
    /// The evidence that decided, for people: "8 kB random read 41 µs". It stands in the reasons of settings: measure once and
    /// keep it, or the configuration file changes with every run.
    pub evidence: String,
}

/// Kinds of disk that differ in tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// Flash on PCIe.
    Nvme,
    /// Flash, or a virtual disk as fast.
    Ssd,
    /// Rotating.
    Hdd,
    /// Many disks behind a network.
    San,
    /// Nothing is known.
    Unknown,
}

/// Huge pages for the shared memory of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Not proven: page tables are in the budget.
    Unproven,
    /// Reserved for the server and read back.
    Granted,
}

/// Kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Many short reads.
    Web,
    /// Many short writes.
    Oltp,
    /// Few long queries.
    Dw,
    /// Short work and reports on the same server.
    Mixed,
    /// A developer's machine, shared with other programs.
    Desktop,
}

/// What the target binary and its host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Capabilities {
    /// Built with lz4.
    pub lz4: bool,
    /// Built with zstd.
    pub zstd: bool,
    /// Built with liburing, allowed by the kernel and its limits, and asked for.
    pub io_uring: bool,
}

/// What a host asks of the whole cluster beyond its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Wishes {
    /// Two-phase commits at once.
    pub max_prepared_transactions: u32,
    /// Locks per transaction; `None`: by workload.
    pub max_locks_per_transaction: Option<u32>,
    /// Background workers of extensions.
    pub extension_workers: u32,
    /// Logical replication slots that are decoded at once; more than 0 makes `wal_level` logical.
    pub logical_slots: u32,
    /// Commit times are kept.
    pub track_commit_timestamp: bool,
    /// WAL senders beyond the standbys and their base backups.
    pub extra_wal_senders: u32,
}

/// Values in force that are kept while the measurement behind them only wavers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Standing {
    /// `shared_buffers`.
    pub shared_buffers: Option<Bytes>,
    /// `max_slot_wal_keep_size`.
    pub max_slot_wal_keep_size: Option<Bytes>,
}

/// Values that the site or another file decides: they are in the budget as they are, and what is left is the tuner's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Given {
    /// `shared_buffers`.
    pub shared_buffers: Option<Bytes>,
    /// `work_mem`.
    pub work_mem: Option<Bytes>,
    /// `maintenance_work_mem`.
    pub maintenance_work_mem: Option<Bytes>,
    /// `autovacuum_work_mem`.
    pub autovacuum_work_mem: Option<Bytes>,
    /// `autovacuum_max_workers`.
    pub autovacuum_max_workers: Option<u32>,
    /// `hash_mem_multiplier`: the server's default where nobody set it.
    pub hash_mem_multiplier: Option<f64>,
}

impl Given {
    /// Of settings that a site decides, by name and text.
    pub fn of(settings: &[(String, String)], pg_major: u32) -> Self {
        let text =
            |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let size = |name: &str| size_of(name, text(name)?, pg_major).filter(|size| size.0 > 0);
        Self {
            shared_buffers: size("shared_buffers"),
            work_mem: size("work_mem"),
            maintenance_work_mem: size("maintenance_work_mem"),
            autovacuum_work_mem: size("autovacuum_work_mem"),
            autovacuum_max_workers: text("autovacuum_max_workers").and_then(|text| text.parse().ok()),
            hash_mem_multiplier: text("hash_mem_multiplier").and_then(|text| text.parse().ok()),
        }
    }
}

impl Input {
    /// A host about which only the essentials are known: SSD-like disk, no swap, every connection may be active.
    pub fn new(ram: Bytes, cpus: u32, max_connections: u32, workload: Workload, pg_major: u32) -> Self {
        Self {
            hardware: Hardware {
                ram,
                cpus,
                cores: cpus,
                swap: Bytes(0),
                disk: Disk { kind: DiskKind::Unknown, evidence: String::new() },
                wal_fs_size: None,
                wal_fs_free: None,
                huge_pages: HugePages::Unproven,
                numa_nodes: 1,
                committed: None,
            },
            workload,
            max_connections,
            active: None,
            pg_major,
            capabilities: Capabilities::default(),
            wishes: Wishes::default(),
            preload: Vec::new(),
            standing: Standing::default(),
            given: Given::default(),
        }
    }

    /// Refuses what is out of range, naming the range.
    pub(super) fn validate(&self) -> Result<(), Refusal> {
        let host = &self.hardware;
        let ranged = |name: &'static str, value: u32, range: &std::ops::RangeInclusive<u32>| {
            if range.contains(&value) {
                return Ok(());
            }
            Err(Refusal::input(
                name,
                format!("`{name}` is {value}; the range is {} to {}", range.start(), range.end()),
            ))
        };
        if host.ram < MIN_RAM || host.ram > MAX_RAM {
            let (min, max) = (MIN_RAM.human(), MAX_RAM.human());
            let message = format!("`ram` is {}; the range is {min} to {max}", host.ram.human());
            return Err(
                Refusal::input("ram", message).way_out("check the memory limit of the container or cgroup")
            );
        }
        ranged("cpus", host.cpus, &CPUS)?;
        ranged("max_connections", self.max_connections, &CONNECTIONS).map_err(|refusal| {
            if self.max_connections > *CONNECTIONS.end() {
                refusal.way_out("serve that many clients through a pool")
            } else {
                refusal
            }
        })?;
        if let Some(active) = self.active {
            ranged("active", active, &(1..=*CONNECTIONS.end()))?;
        }
        ranged("pg_major", self.pg_major, &PG_MAJORS)?;
        ranged("extension_workers", self.wishes.extension_workers, &(0..=1000))?;
        ranged("logical_slots", self.wishes.logical_slots, &(0..=1000))?;
        ranged("extra_wal_senders", self.wishes.extra_wal_senders, &(0..=1000))?;
        ranged(
            "max_prepared_transactions",
            self.wishes.max_prepared_transactions,
            &(0..=*CONNECTIONS.end()),
        )?;
        if let Some(locks) = self.wishes.max_locks_per_transaction {
            ranged("max_locks_per_transaction", locks, &(10..=10_000))?;
        }
        match (host.wal_fs_size, host.wal_fs_free) {
            (Some(size), Some(free)) if free > size => {
                let message =
                    format!("`wal_fs_free` ({}) is more than `wal_fs_size` ({})", free.human(), size.human());
                Err(Refusal::input("wal_fs_free", message))
            }
            _ => Ok(()),
        }
    }
}

impl Hardware {
    /// Physical cores that may be used.
    pub(super) fn usable_cores(&self) -> u32 {
        if self.cores == 0 { self.cpus } else { self.cores.min(self.cpus) }
    }
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 5] = [Self::Web, Self::Oltp, Self::Dw, Self::Mixed, Self::Desktop];

    /// The word that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Oltp => "oltp",
            Self::Dw => "dw",
            Self::Mixed => "mixed",
            Self::Desktop => "desktop",
        }
    }

    /// `max_connections` when nobody asks for a number (pgtune's).
    pub fn connections(self) -> u32 {
        match self {
            Self::Web => 200,
            Self::Oltp => 300,
            Self::Dw => 40,
            Self::Mixed => 100,
            Self::Desktop => 20,
        }
    }
}

impl DiskKind {
    /// All of them.
    pub const ALL: [DiskKind; 5] = [Self::Nvme, Self::Ssd, Self::Hdd, Self::San, Self::Unknown];

    /// The word that users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Ssd => "ssd",
            Self::Hdd => "hdd",
            Self::San => "san",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for Workload {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        word(text, "workload", &Self::ALL, Self::name)
    }
}

impl FromStr for DiskKind {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        word(text, "disk", &Self::ALL, Self::name)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for DiskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn word<T: Copy>(text: &str, what: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, Invalid> {
    if let Some(found) = all.iter().find(|item| name(**item) == text) {
        return Ok(*found);
    }
    let names: Vec<&str> = all.iter().map(|item| name(*item)).collect();
    let near = nearest(text, names.iter().copied())
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    Err(Invalid(format!("unknown {what} `{text}`; known are {}{near}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_near_ones_suggested() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse(), Ok(workload));
        }
        let refused = "oltpp".parse::<Workload>().expect_err("misspelt").0;
        assert!(
            refused.contains("web, oltp, dw, mixed, desktop") && refused.contains("did you mean `oltp`?"),
            "{refused}"
        );
        assert!("floppy".parse::<DiskKind>().is_err());
    }

    #[test]
    fn inputs_out_of_range_are_refused_with_the_range() {
        let base = || Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15);
        type Case = (fn(&mut Input), &'static str, &'static str);
        let cases: [Case; 7] = [
            (|i| i.hardware.ram = Bytes(0), "ram", "256 MB to 16 TB"),
            (|i| i.hardware.ram = Bytes::mb(64), "ram", "`ram` is 64 MB"),
            (|i| i.hardware.cpus = 0, "cpus", "1 to 1024"),
            (|i| i.max_connections = 1_000_000_000, "max_connections", "10 to 100000"),
            (|i| i.active = Some(0), "active", "1 to 100000"),
            (|i| i.pg_major = 12, "pg_major", "13 to 18"),
            (|i| i.pg_major = 19, "pg_major", "13 to 18"),
        ];
        for (change, input, text) in cases {
            let mut wrong = base();
            change(&mut wrong);
            let refusal = wrong.validate().expect_err(input);
            assert_eq!(refusal.input, Some(input));
            assert!(refusal.message.contains(text), "{}", refusal.message);
        }
        assert!(base().validate().is_ok());
    }
}
