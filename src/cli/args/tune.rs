//! The arguments of `ishprov tune`.

use super::{ConnectArgs, InventoryArgs};
use crate::tuner::{Bytes, DiskKind, Workload};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `ishprov tune`.
#[derive(Debug, Clone, Args)]
pub struct TuneArgs {
    /// Hosts (a pattern) of the inventory; together they count as one cluster.
    #[arg(requires = "inventory")]
    pub pattern: Option<String>,
    /// Only show what would be set, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
    /// Only these hosts (a pattern).
    #[arg(short, long, value_name = "PATTERN", requires = "inventory")]
    pub limit: Option<String>,
    /// RAM of a machine that is not there ("16GB").
    #[arg(long, value_name = "SIZE", requires = "cpus", conflicts_with = "inventory")]
    pub ram: Option<Bytes>,
    /// CPUs of a machine that is not there.
    #[arg(long, value_name = "NUMBER", requires = "ram", conflicts_with = "inventory")]
    pub cpus: Option<u64>,
    /// Kind of the data disk: nvme, ssd, hdd, san or unknown (default: what the kernel says, where that can be believed).
    #[arg(long, value_name = "KIND")]
    pub disk: Option<DiskKind>,
    /// `max_connections` (default: as the running server has it, else what the workload usually takes).
    #[arg(long, value_name = "NUMBER")]
    pub connections: Option<u64>,
    /// Connections that work at the same time: what the pools in front can open (default: all).
    #[arg(long, value_name = "NUMBER")]
    pub active: Option<u64>,
    /// Plan PgBouncer's pools for so many pairs of database and user; what they can open is what can be active.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "connections",
        requires = "dry_run",
        conflicts_with = "active"
    )]
    pub pool_pairs: Option<u64>,
    /// PgBouncers in front of the same server.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "pool_pairs")]
    pub pool_instances: u64,
    /// `default_pool_size` (default: the part that is each pair's).
    #[arg(long, value_name = "NUMBER", requires = "pool_pairs")]
    pub pool_size: Option<u64>,
    /// `reserve_pool_size`.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "pool_pairs")]
    pub pool_reserve: u64,
    /// `min_pool_size`.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "pool_pairs")]
    pub pool_min: u64,
    /// `superuser_reserved_connections` of the server.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, requires = "pool_pairs")]
    pub superuser_reserved: u64,
    /// `reserved_connections` of the server (PostgreSQL 16 and later).
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "pool_pairs")]
    pub reserved: u64,
    /// Connections that go past the pools: backups, migrations, people.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, requires = "pool_pairs")]
    pub direct: u64,
    /// Connections of monitoring.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, requires = "pool_pairs")]
    pub monitoring: u64,
    /// `max_client_conn`: clients of one PgBouncer.
    #[arg(long, value_name = "NUMBER", requires = "pool_pairs")]
    pub max_clients: Option<u64>,
    /// Kind of work: web, oltp, dw, mixed or desktop (default: what the inventory or the file in force says, else mixed).
    #[arg(long, value_name = "KIND")]
    pub workload: Option<Workload>,
    /// Major version of PostgreSQL (default: the one that runs or is installed, else 15).
    #[arg(long, value_name = "MAJOR")]
    pub pg: Option<u64>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub format: TuneFormat,
    /// Also show settings that are right as they are.
    #[arg(long)]
    pub all: bool,
    /// Measure the data disk for a second by reading it; otherwise an earlier measurement or the kernel is believed.
    #[arg(long, conflicts_with_all = ["ram", "disk"])]
    pub probe_disk: bool,
    /// Tell how one setting comes about, and what would change it.
    #[arg(long, value_name = "SETTING")]
    pub explain: Option<String>,
    /// Let the server's own statistics adjust what is proposed, each change with its evidence.
    #[arg(long, requires = "dry_run", conflicts_with = "ram")]
    pub from_stats: bool,
    /// Try whole candidates with a script of pgbench's on the primary, in turns, and say what they are worth. Servers
    /// restart for each; at the end, and whatever happens, they run with the settings they had.
    #[arg(long, value_name = "SCRIPT", requires = "inventory", conflicts_with_all = ["dry_run", "undo", "explain", "compare"])]
    pub measure: Option<PathBuf>,
    /// The database that the script works in.
    #[arg(long, value_name = "NAME", default_value = "postgres", requires = "measure")]
    pub database: String,
    /// Clients of the script (default: as many as can be active, at most four a CPU).
    #[arg(long, value_name = "NUMBER", requires = "measure")]
    pub clients: Option<u64>,
    /// Minutes that measuring may take.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, requires = "measure")]
    pub minutes: u64,
    /// Seconds that the script runs each time.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, requires = "measure")]
    pub seconds: u64,
    /// Show where another tuner differs, and why.
    #[arg(long, value_name = "TUNER", conflicts_with_all = ["explain", "yes", "undo"])]
    pub compare: Option<Rival>,
    /// Apply without asking.
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Bring back the settings from before the last change.
    #[arg(long, requires = "inventory", conflicts_with_all = ["dry_run", "ram", "explain"])]
    pub undo: bool,
}

/// Tuners to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// le0pard's pgtune, as of 2026-07.
    Pgtune,
}

/// How to print settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TuneFormat {
    /// For people.
    #[default]
    Table,
    /// A file for `conf.d`, reasons as comments.
    Conf,
    /// `ALTER SYSTEM` statements, reasons as comments.
    Sql,
    /// Everything, for programs.
    Json,
    /// The same as YAML.
    Yaml,
}
