//! What each major version knows of the parameters we set: type, unit, range and context.
//!
//! Taken from `pg_settings` of real servers 13.23, 14.23, 15.18, 16.14, 17.10 and 18.4. Words that depend on how the server
//! was built (`lz4`, `zstd`, `io_uring`) are listed here; whether the target has them is a capability of the input.

/// When a new value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// At the start of the server only.
    Postmaster,
    /// On reload, for the whole server.
    Sighup,
    /// On reload, for every session that has no value of its own.
    Session,
}

/// The unit that the server counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A bare number.
    None,
    /// Blocks of 8 kB.
    Blocks,
    /// kB.
    Kilobytes,
    /// MB.
    Megabytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// Type and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `on` or `off`.
    Bool,
    /// Free text.
    Text,
    /// One of these.
    Word(&'static [&'static str]),
    /// A whole number of `unit`.
    Int {
        /// What it counts.
        unit: Unit,
        /// Lowest, in `unit`.
        min: i64,
        /// Highest, in `unit`.
        max: i64,
    },
    /// A number with a fraction.
    Real {
        /// Lowest.
        min: f64,
        /// Highest.
        max: f64,
    },
}

/// One parameter from one major version on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// PostgreSQL's name.
    pub name: &'static str,
    /// First major version that the row holds for.
    pub since: u32,
    /// When it takes effect.
    pub context: Context,
    /// Type and range.
    pub kind: Kind,
}

impl Unit {
    /// Bytes or milliseconds in one.
    pub fn size(self) -> u64 {
        match self {
            Unit::None | Unit::Milliseconds => 1,
            Unit::Blocks => 8192,
            Unit::Kilobytes => 1 << 10,
            Unit::Megabytes => 1 << 20,
            Unit::Seconds => 1000,
        }
    }

    /// As `pg_settings.unit` has it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Blocks => "8kB",
            Unit::Kilobytes => "kB",
            Unit::Megabytes => "MB",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
        }
    }

    /// Whether it counts time.
    pub fn is_time(self) -> bool {
        matches!(self, Unit::Milliseconds | Unit::Seconds)
    }
}

/// The parameter as major version `pg` has it; `None` where that version does not know it.
pub fn lookup(name: &str, pg: u32) -> Option<&'static Parameter> {
    PARAMETERS.iter().rev().find(|parameter| parameter.name == name && parameter.since <= pg)
}

/// Whether `SHOW` answers 0 on a Unix socket whatever the configuration says, so that only `pg_file_settings` or a TCP
/// session can verify the value.
pub fn hidden_on_unix_socket(name: &str) -> bool {
    name.starts_with("tcp_keepalives_")
}

const fn row(name: &'static str, since: u32, context: Context, kind: Kind) -> Parameter {
    Parameter { name, since, context, kind }
}

/// By name, then version.
#[rustfmt::skip]
pub(super) const PARAMETERS: &[Parameter] = &[
    row("auto_explain.log_min_duration", 13, Context::Session, Kind::Int { unit: Unit::Milliseconds, min: -1, max: 2_147_483_647 }),
    row("autovacuum_analyze_scale_factor", 13, Context::Sighup, Kind::Real { min: 0.0, max: 100.0 }),
    row("autovacuum_max_workers", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 1, max: 262_143 }),
    row("autovacuum_max_workers", 18, Context::Sighup, Kind::Int { unit: Unit::None, min: 1, max: 262_143 }),
    row("autovacuum_naptime", 13, Context::Sighup, Kind::Int { unit: Unit::Seconds, min: 1, max: 2_147_483 }),
    row("autovacuum_vacuum_cost_limit", 13, Context::Sighup, Kind::Int { unit: Unit::None, min: -1, max: 10_000 }),
    row("autovacuum_vacuum_scale_factor", 13, Context::Sighup, Kind::Real { min: 0.0, max: 100.0 }),
    row("autovacuum_work_mem", 13, Context::Sighup, Kind::Int { unit: Unit::Kilobytes, min: -1, max: 2_147_483_647 }),
    row("checkpoint_completion_target", 13, Context::Sighup, Kind::Real { min: 0.0, max: 1.0 }),
    row("checkpoint_timeout", 13, Context::Sighup, Kind::Int { unit: Unit::Seconds, min: 30, max: 86_400 }),
    row("client_connection_check_interval", 14, Context::Session, Kind::Int { unit: Unit::Milliseconds, min: 0, max: 2_147_483_647 }),
    row("default_statistics_target", 13, Context::Session, Kind::Int { unit: Unit::None, min: 1, max: 10_000 }),
    row("effective_cache_size", 13, Context::Session, Kind::Int { unit: Unit::Blocks, min: 1, max: 2_147_483_647 }),
    row("effective_io_concurrency", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 1000 }),
    row("hot_standby", 13, Context::Postmaster, Kind::Bool),
    row("hot_standby_feedback", 13, Context::Sighup, Kind::Bool),
    row("huge_pages", 13, Context::Postmaster, Kind::Word(&["off", "on", "try"])),
    row("idle_in_transaction_session_timeout", 13, Context::Session, Kind::Int { unit: Unit::Milliseconds, min: 0, max: 2_147_483_647 }),
    row("idle_replication_slot_timeout", 18, Context::Sighup, Kind::Int { unit: Unit::Seconds, min: 0, max: 2_147_483_647 }),
    row("io_method", 18, Context::Postmaster, Kind::Word(&["sync", "worker", "io_uring"])),
    row("io_workers", 18, Context::Sighup, Kind::Int { unit: Unit::None, min: 1, max: 32 }),
    row("jit", 13, Context::Session, Kind::Bool),
    row("log_autovacuum_min_duration", 13, Context::Sighup, Kind::Int { unit: Unit::Milliseconds, min: -1, max: 2_147_483_647 }),
    row("log_checkpoints", 13, Context::Sighup, Kind::Bool),
    row("log_line_prefix", 13, Context::Sighup, Kind::Text),
    row("log_lock_waits", 13, Context::Session, Kind::Bool),
    row("log_min_duration_statement", 13, Context::Session, Kind::Int { unit: Unit::Milliseconds, min: -1, max: 2_147_483_647 }),
    row("log_temp_files", 13, Context::Session, Kind::Int { unit: Unit::Kilobytes, min: -1, max: 2_147_483_647 }),
    row("maintenance_io_concurrency", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 1000 }),
    row("maintenance_work_mem", 13, Context::Session, Kind::Int { unit: Unit::Kilobytes, min: 1024, max: 2_147_483_647 }),
    row("maintenance_work_mem", 17, Context::Session, Kind::Int { unit: Unit::Kilobytes, min: 64, max: 2_147_483_647 }),
    row("max_connections", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 1, max: 262_143 }),
    row("max_locks_per_transaction", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 10, max: 2_147_483_647 }),
    row("max_parallel_maintenance_workers", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 1024 }),
    row("max_parallel_workers", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 1024 }),
    row("max_parallel_workers_per_gather", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 1024 }),
    row("max_prepared_transactions", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 0, max: 262_143 }),
    row("max_replication_slots", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 0, max: 262_143 }),
    row("max_slot_wal_keep_size", 13, Context::Sighup, Kind::Int { unit: Unit::Megabytes, min: -1, max: 2_147_483_647 }),
    row("max_standby_streaming_delay", 13, Context::Sighup, Kind::Int { unit: Unit::Milliseconds, min: -1, max: 2_147_483_647 }),
    row("max_wal_senders", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 0, max: 262_143 }),
    row("max_wal_size", 13, Context::Sighup, Kind::Int { unit: Unit::Megabytes, min: 2, max: 2_147_483_647 }),
    row("max_worker_processes", 13, Context::Postmaster, Kind::Int { unit: Unit::None, min: 0, max: 262_143 }),
    row("min_wal_size", 13, Context::Sighup, Kind::Int { unit: Unit::Megabytes, min: 2, max: 2_147_483_647 }),
    row("password_encryption", 13, Context::Session, Kind::Word(&["md5", "scram-sha-256"])),
    row("random_page_cost", 13, Context::Session, Kind::Real { min: 0.0, max: f64::MAX }),
    row("row_security", 13, Context::Session, Kind::Bool),
    row("shared_buffers", 13, Context::Postmaster, Kind::Int { unit: Unit::Blocks, min: 16, max: 1_073_741_823 }),
    row("shared_preload_libraries", 13, Context::Postmaster, Kind::Text),
    row("tcp_keepalives_count", 13, Context::Session, Kind::Int { unit: Unit::None, min: 0, max: 2_147_483_647 }),
    row("tcp_keepalives_idle", 13, Context::Session, Kind::Int { unit: Unit::Seconds, min: 0, max: 2_147_483_647 }),
    row("tcp_keepalives_interval", 13, Context::Session, Kind::Int { unit: Unit::Seconds, min: 0, max: 2_147_483_647 }),
    row("track_commit_timestamp", 13, Context::Postmaster, Kind::Bool),
    row("track_io_timing", 13, Context::Session, Kind::Bool),
    row("wal_buffers", 13, Context::Postmaster, Kind::Int { unit: Unit::Blocks, min: -1, max: 262_143 }),
    row("wal_compression", 13, Context::Session, Kind::Bool),
    row("wal_compression", 15, Context::Session, Kind::Word(&["pglz", "on", "off", "lz4", "zstd"])),
    row("wal_keep_size", 13, Context::Sighup, Kind::Int { unit: Unit::Megabytes, min: 0, max: 2_147_483_647 }),
    row("wal_level", 13, Context::Postmaster, Kind::Word(&["minimal", "replica", "logical"])),
    row("wal_log_hints", 13, Context::Postmaster, Kind::Bool),
    row("wal_receiver_timeout", 13, Context::Sighup, Kind::Int { unit: Unit::Milliseconds, min: 0, max: 2_147_483_647 }),
    row("work_mem", 13, Context::Session, Kind::Int { unit: Unit::Kilobytes, min: 64, max: 2_147_483_647 }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_row_differs_from_the_one_before() {
        for pair in PARAMETERS.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            assert!((a.name, a.since) < (b.name, b.since), "{} {}", b.name, b.since);
            assert!(a.name != b.name || (a.context, a.kind) != (b.context, b.kind), "{}", b.name);
        }
    }

    #[test]
    fn versions_gate_names_contexts_and_words() {
        assert!(lookup("io_method", 17).is_none() && lookup("io_method", 18).is_some());
        assert!(lookup("client_connection_check_interval", 13).is_none());
        assert_eq!(lookup("wal_compression", 14).map(|p| p.kind), Some(Kind::Bool));
        assert_eq!(lookup("autovacuum_max_workers", 17).map(|p| p.context), Some(Context::Postmaster));
        assert_eq!(lookup("autovacuum_max_workers", 18).map(|p| p.context), Some(Context::Sighup));
    }
}
