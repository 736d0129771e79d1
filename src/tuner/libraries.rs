//! What preloaded libraries need of the server besides memory, as data.

/// The needs of one library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Library {
    /// Its name in `shared_preload_libraries`.
    pub name: &'static str,
    /// Background workers that it starts with its own defaults.
    pub workers: u32,
    /// Locks per transaction that it asks for; 0: nothing special.
    pub locks: u32,
    /// It decodes WAL.
    pub logical: bool,
    /// Where that is said.
    pub source: &'static str,
}

/// Libraries that need more than the server's defaults.
pub const LIBRARIES: &[Library] = &[
    // One scheduler for each database beside the 16 of `timescaledb.max_background_workers`; hypertables lock every chunk
    // that a query touches.
    Library {
        name: "timescaledb",
        workers: 17,
        locks: 128,
        logical: false,
        source: "TimescaleDB docs, timescaledb.max_background_workers; timescaledb-tune",
    },
    Library { name: "pg_cron", workers: 1, locks: 0, logical: false, source: "pg_cron: its launcher" },
    // A supervisor, and a worker for each database and each subscription.
    Library {
        name: "pglogical",
        workers: 4,
        locks: 0,
        logical: true,
        source: "pglogical docs, Quick setup: wal_level and max_worker_processes",
    },
    // The maintenance daemon of a database; shards are tables that one query locks together.
    Library {
        name: "citus",
        workers: 2,
        locks: 256,
        logical: true,
        source: "Citus docs, Cluster management: wal_level logical for shard moves, many shards a transaction",
    },
    Library { name: "pg_squeeze", workers: 3, locks: 0, logical: true, source: "pg_squeeze README" },
    Library { name: "pg_partman_bgw", workers: 1, locks: 0, logical: false, source: "pg_partman docs" },
    Library {
        name: "pg_prewarm",
        workers: 2,
        locks: 0,
        logical: false,
        source: "PostgreSQL docs, pg_prewarm: its leader and a worker for a database",
    },
    Library {
        name: "pg_wait_sampling",
        workers: 1,
        locks: 0,
        logical: false,
        source: "pg_wait_sampling: its collector",
    },
    Library {
        name: "powa",
        workers: 1,
        locks: 0,
        logical: false,
        source: "PoWA docs, its background worker",
    },
    Library { name: "pgautofailover", workers: 2, locks: 0, logical: false, source: "pg_auto_failover docs" },
];

/// What these preloaded libraries need together: workers, locks per transaction, and which of them decode WAL.
pub fn needs(preload: &[String]) -> (u32, u32, Vec<&'static str>) {
    let known = LIBRARIES.iter().filter(|library| preload.iter().any(|name| name == library.name));
    known.fold((0, 0, Vec::new()), |(workers, locks, mut logical), library| {
        logical.extend(library.logical.then_some(library.name));
        (workers + library.workers, locks.max(library.locks), logical)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_locks_are_the_most_of_any() {
        let of = |names: &[&str]| needs(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["pg_stat_statements", "auto_explain"]), (0, 0, Vec::new()));
        assert_eq!(of(&["timescaledb", "pg_cron"]), (18, 128, Vec::new()));
        assert_eq!(of(&["citus", "timescaledb"]).2, ["citus"]);
        let mut names: Vec<&str> = LIBRARIES.iter().map(|library| library.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LIBRARIES.len());
    }
}
