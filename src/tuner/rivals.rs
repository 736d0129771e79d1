//! What two other tuners would set for the same input, as a user would paste it: to show where we differ, and to measure
//! against. Their formulas, checked to the letter against what their own programs printed (`tests/tuner/rivals.json`):
//! pgtune (le0pard, 2026-07, `configurationSlice.js`) and timescaledb-tune (0.19, `pkg/pgtune`).
//!
//! Neither asks for the size of the WAL's disk, a memory limit, or how many connections are active.

use super::input::{DiskKind, Input, Workload};
use super::units::Bytes;

/// Name and value of each setting, in the order in which the tool prints them.
pub type Settings = Vec<(String, String)>;

/// pgtune's settings. A disk that nothing is known of counts as an SSD, its first choice.
pub fn pgtune(input: &Input) -> Settings {
    let (ram, workload) = (input.hardware.ram.0 / 1024, input.workload);
    let (desktop, warehouse) = (workload == Workload::Desktop, workload == Workload::Dw);
    let cpus = u64::from(input.hardware.cpus);
    let mut out = List::default();
    let shared = if desktop { ram / 16 } else { ram / 4 };
    let maintenance = (ram / if warehouse { 8 } else { 16 }).min(8 << 20);
    // 3 % of shared_buffers; what is close to one WAL segment becomes one.
    let wal_buffers = match shared * 3 / 100 {
        near if near > 14 << 10 => 16 << 10,
        small => small.max(32),
    };
    let workers = if cpus >= 4 { cpus } else { 8 };
    let share = (ram - shared) as f64 / ((u64::from(input.max_connections) + workers) * 3) as f64;
    let work = match workload {
        Workload::Web | Workload::Oltp => share,
        Workload::Dw | Workload::Mixed => share / 2.0,
        Workload::Desktop => share / 6.0,
    };
    out.set("max_connections", input.max_connections);
    out.set("shared_buffers", up_to_gb(shared));
    out.set("effective_cache_size", up_to_gb(if desktop { ram / 4 } else { ram * 3 / 4 }));
    out.set("maintenance_work_mem", up_to_gb(maintenance));
    out.set("checkpoint_completion_target", "0.9");
    out.set("wal_buffers", up_to_gb(wal_buffers));
    out.set("default_statistics_target", if warehouse { 500 } else { 100 });
    let slow = warehouse || input.hardware.disk.kind == DiskKind::Hdd;
    out.set("random_page_cost", if slow { "4" } else { "1.1" });
    let concurrency = match input.hardware.disk.kind {
        DiskKind::Hdd => 2,
        DiskKind::Ssd | DiskKind::Unknown => 200,
        DiskKind::San => 300,
        DiskKind::Nvme => 1000,
    };
    out.set("effective_io_concurrency", concurrency);
    out.set("work_mem", up_to_gb((work as u64).max(4096)));
    out.set("huge_pages", if shared >= 2 << 20 { "try" } else { "off" });
    if !desktop && !warehouse {
        out.set("jit", "off");
    }
    out.set("wal_compression", if input.pg_major >= 15 { "lz4" } else { "on" });
    if cpus >= 16 {
        out.set("autovacuum_max_workers", if cpus >= 32 { 5 } else { 4 });
    }
    if maintenance >= 2 << 20 {
        out.set("autovacuum_work_mem", "2GB");
    }
    if input.pg_major >= 18 {
        out.set("io_method", "io_uring");
    }
    let (least, most) = match workload {
        Workload::Web | Workload::Mixed => ("1GB", "4GB"),
        Workload::Oltp => ("2GB", "8GB"),
        Workload::Dw => ("4GB", "16GB"),
        Workload::Desktop => ("100MB", "2GB"),
    };
    out.set("min_wal_size", least);
    out.set("max_wal_size", most);
    if cpus >= 4 {
        let half = cpus.div_ceil(2);
        out.set("max_worker_processes", cpus);
        out.set("max_parallel_workers_per_gather", if warehouse { half } else { half.min(4) });
        out.set("max_parallel_workers", cpus);
        out.set("max_parallel_maintenance_workers", half.min(4));
    }
    if desktop {
        out.set("wal_level", "minimal");
        out.set("max_wal_senders", 0);
    }
    out.0
}

/// timescaledb-tune's settings, without those of its extension. It does not know workloads and disks.
pub fn timescaledb_tune(input: &Input) -> Settings {
    let ram = input.hardware.ram;
    let cpus = u64::from(input.hardware.cpus);
    let half = cpus.div_ceil(2).max(1);
    let connections = u64::from(input.max_connections);
    let work = u128::from(ram.0 >> 10) * 400 / 1024 / u128::from(connections.max(1)) / u128::from(half);
    let mut out = List::default();
    out.set("shared_buffers", Bytes(ram.0 / 4));
    out.set("effective_cache_size", Bytes(ram.0 / 4 * 3));
    out.set("maintenance_work_mem", Bytes(ram.0 / 8).min(Bytes::mb(2047)));
    out.set("work_mem", Bytes::kb(u64::try_from(work).unwrap_or(u64::MAX).max(64)));
    if cpus > 1 {
        out.set("max_worker_processes", 19 + cpus);
        out.set("max_parallel_workers_per_gather", half);
        out.set("max_parallel_workers", cpus);
    }
    // 3 % of shared_buffers below 2 GB of RAM.
    let buffers = if ram >= Bytes::gb(2) { Bytes::mb(16) } else { Bytes::kb(ram.0 / 4096 * 3 / 100) };
    out.set("wal_buffers", buffers);
    out.set("min_wal_size", "512MB");
    out.set("max_wal_size", "1GB");
    out.set("default_statistics_target", 100);
    out.set("random_page_cost", "1.1");
    out.set("checkpoint_completion_target", "0.9");
    out.set("max_connections", connections);
    let locks = match ram.0 >> 30 {
        0..8 => 128,
        8..16 => 256,
        16..32 => 512,
        _ => 1024,
    };
    out.set("max_locks_per_transaction", locks);
    out.set("autovacuum_max_workers", 10);
    out.set("autovacuum_naptime", 10);
    if input.pg_major >= 14 {
        out.set("default_toast_compression", "lz4");
    }
    out.set("jit", "off");
    out.set("effective_io_concurrency", 256);
    out.0
}

#[derive(Default)]
struct List(Settings);

impl List {
    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }
}

/// kB in the largest unit up to GB that divides them.
fn up_to_gb(kb: u64) -> String {
    match kb {
        _ if kb.is_multiple_of(1 << 20) => format!("{}GB", kb >> 20),
        _ if kb.is_multiple_of(1 << 10) => format!("{}MB", kb >> 10),
        _ => format!("{kb}kB"),
    }
}
