//! What the cluster as a whole needs, computed once: a standby must not have less than its primary, and any standby may
//! become the primary.

use super::input::{Input, Workload};
use super::libraries;
use super::setting::{Settings, Value};
use crate::diag::Fault;
use serde::Serialize;

/// Values that are equal on every host of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct ClusterNeeds {
    /// Standbys of whichever host is primary.
    pub standbys: u32,
    /// First of the five that a standby may not have lower than its primary.
    pub max_connections: u32,
    /// Second of the five.
    pub max_worker_processes: u32,
    /// Third of the five.
    pub max_wal_senders: u32,
    /// Fourth of the five.
    pub max_prepared_transactions: u32,
    /// Fifth of the five.
    pub max_locks_per_transaction: u32,
    /// Slots, on every host since each may be promoted.
    pub max_replication_slots: u32,
    /// Slots that are decoded at once; more than 0 makes `wal_level` logical.
    pub logical_slots: u32,
    /// WAL senders beyond the standbys and their base backups.
    pub extra_wal_senders: u32,
    /// Whether `wal_level` is logical.
    pub logical: bool,
    /// Needed by pg_rewind where data checksums are off.
    pub wal_log_hints: bool,
    /// Whether commit times are kept.
    pub track_commit_timestamp: bool,
}

/// The values that a server's control file records: below them a standby refuses to start or pauses recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Floor {
    /// `max_connections setting`.
    pub max_connections: u32,
    /// `max_worker_processes setting`.
    pub max_worker_processes: u32,
    /// `max_wal_senders setting`.
    pub max_wal_senders: u32,
    /// `max_prepared_xacts setting`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_xact setting`.
    pub max_locks_per_transaction: u32,
    /// `wal_level setting` is logical.
    pub logical: bool,
    /// `track_commit_timestamp setting`.
    pub track_commit_timestamp: bool,
}

impl ClusterNeeds {
    /// The most that any host needs, and never less than any control file records. An empty cluster has the needs of
    /// PostgreSQL's defaults.
    ///
    /// To lower a value, leave the floors out for the goal, restart the primary with it, and apply [`Self::at_least`] with the
    /// floor of each standby until its control file has followed.
    pub fn of<'a>(hosts: impl IntoIterator<Item = &'a Input>, floors: &[Floor]) -> Self {
        let mut needs = Self {
            standbys: 0,
            max_connections: *super::input::CONNECTIONS.start(),
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
            max_replication_slots: 10,
            logical_slots: 0,
            extra_wal_senders: 0,
            logical: false,
            wal_log_hints: true,
            track_commit_timestamp: false,
        };
        let mut count = 0_u32;
        for host in hosts {
            count += 1;
            needs.extra_wal_senders = needs.extra_wal_senders.max(host.wishes.extra_wal_senders);
            needs.max_connections = needs.max_connections.max(host.max_connections);
            let (known, of_libraries, decoding) = libraries::needs(&host.preload);
            let extensions = host.wishes.extension_workers.max(known);
            let workers = host.hardware.cpus.saturating_add(4).saturating_add(extensions);
            needs.max_worker_processes = needs.max_worker_processes.max(workers);
            needs.max_prepared_transactions =
                needs.max_prepared_transactions.max(host.wishes.max_prepared_transactions);
            let usual = locks(host.workload).max(of_libraries);
            let locks = host.wishes.max_locks_per_transaction.unwrap_or(usual);
            needs.max_locks_per_transaction = needs.max_locks_per_transaction.max(locks);
            needs.logical_slots = needs.logical_slots.max(host.wishes.logical_slots);
            needs.track_commit_timestamp |= host.wishes.track_commit_timestamp;
            needs.logical |= !decoding.is_empty();
        }
        needs.logical |= needs.logical_slots > 0;
        floors.iter().fold(needs.with_hosts(count), |needs, floor| needs.at_least(floor))
    }

    /// The same needs in a cluster of so many hosts, those counted that are not here just now: senders and slots for each.
    pub fn with_hosts(mut self, count: u32) -> Self {
        self.standbys = self.standbys.max(count.saturating_sub(1));
        // A base backup streams on two connections; two can run beside all standbys.
        let senders = self
            .standbys
            .saturating_add(4)
            .saturating_add(self.logical_slots)
            .saturating_add(self.extra_wal_senders);
        self.max_wal_senders = self.max_wal_senders.max(senders);
        let slots = self.standbys.saturating_add(5).saturating_add(self.logical_slots);
        self.max_replication_slots = self.max_replication_slots.max(slots);
        self
    }

    /// The same needs, raised to what one control file records.
    pub fn at_least(mut self, floor: &Floor) -> Self {
        self.max_connections = self.max_connections.max(floor.max_connections);
        self.max_worker_processes = self.max_worker_processes.max(floor.max_worker_processes);
        self.max_wal_senders = self.max_wal_senders.max(floor.max_wal_senders);
        self.max_prepared_transactions = self.max_prepared_transactions.max(floor.max_prepared_transactions);
        self.max_locks_per_transaction = self.max_locks_per_transaction.max(floor.max_locks_per_transaction);
        self.logical |= floor.logical;
        self.track_commit_timestamp |= floor.track_commit_timestamp;
        self
    }

    /// The five as `(name, value)`, in the order in which PostgreSQL checks them.
    pub fn five(&self) -> [(&'static str, u32); 5] {
        [
            ("max_connections", self.max_connections),
            ("max_worker_processes", self.max_worker_processes),
            ("max_wal_senders", self.max_wal_senders),
            ("max_prepared_transactions", self.max_prepared_transactions),
            ("max_locks_per_transaction", self.max_locks_per_transaction),
        ]
    }
}

impl Floor {
    /// Reads the output of `pg_controldata` (run with `LC_ALL=C`).
    ///
    /// # Errors
    /// When one of the five is missing or is no number.
    pub fn parse(control_data: &str) -> Result<Self, Fault> {
        let field = |label: &str| {
            control_data
                .lines()
                .find_map(|line| line.strip_prefix(label)?.strip_prefix(" setting:"))
                .map(str::trim)
        };
        let number = |label: &str| {
            field(label).and_then(|text| text.parse().ok()).ok_or_else(|| {
                Fault::task(format!("`{label} setting` is missing in the output of `pg_controldata`"))
                    .hint("run it with LC_ALL=C on the data directory of the standby")
            })
        };
        Ok(Self {
            max_connections: number("max_connections")?,
            max_worker_processes: number("max_worker_processes")?,
            max_wal_senders: number("max_wal_senders")?,
            max_prepared_transactions: number("max_prepared_xacts")?,
            max_locks_per_transaction: number("max_locks_per_xact")?,
            logical: field("wal_level") == Some("logical"),
            track_commit_timestamp: field("track_commit_timestamp") == Some("on"),
        })
    }
}

fn locks(workload: Workload) -> u32 {
    // Reports over many partitions lock every one of them.
    if workload == Workload::Dw { 256 } else { 64 }
}

pub(super) fn settings(needs: &ClusterNeeds, out: &mut Settings) {
    const SOURCE: &str = "PostgreSQL docs, Hot Standby: not lower than on the primary";
    let equal = "equal on every host, since each may become the primary";
    let standbys =
        if needs.standbys == 1 { "1 standby".to_owned() } else { format!("{} standbys", needs.standbys) };
    for (name, value) in needs.five() {
        let why = match name {
            "max_connections" => format!("the most that any host of the cluster is asked for; {equal}"),
            "max_worker_processes" => {
                format!("at least the CPUs of the biggest host, 4 more, and those of extensions; {equal}")
            }
            "max_wal_senders" => format!("{standbys}, two base backups at once, and spare; {equal}"),
            "max_prepared_transactions" if value == 0 => {
                format!("two-phase commit is not asked for; {equal}")
            }
            "max_prepared_transactions" => {
                format!("the two-phase commits at once that are asked for; {equal}")
            }
            _ => format!("the most that any workload of the cluster needs; {equal}"),
        };
        out.set(name, Value::Int(value.into()), SOURCE, why);
    }
    let slots = format!(
        "a slot for every host and spare, on each host because the primary may change; {standbys} now"
    );
    out.set("max_replication_slots", Value::Int(needs.max_replication_slots.into()), SOURCE, slots);
    let (level, why) = if needs.logical {
        ("logical", "logical decoding is in use")
    } else {
        ("replica", "enough for standbys and WAL archiving")
    };
    out.set("wal_level", Value::Word(level), SOURCE, why);
    out.set(
        "wal_log_hints",
        Value::Bool(needs.wal_log_hints),
        "pg_rewind",
        "pg_rewind can then bring a failed primary back",
    );
    let why = if needs.track_commit_timestamp {
        "commit times are asked for"
    } else {
        "nobody asks for commit times"
    };
    out.set("track_commit_timestamp", Value::Bool(needs.track_commit_timestamp), SOURCE, why);
}

#[cfg(test)]
mod tests {
    use super::super::units::Bytes;
    use super::*;

    #[test]
    fn the_biggest_host_and_the_highest_floor_decide() {
        let hosts = [
            Input::new(Bytes::gb(16), 4, 300, Workload::Oltp, 15),
            Input::new(Bytes::gb(8), 2, 100, Workload::Oltp, 15),
            Input::new(Bytes::gb(64), 16, 100, Workload::Dw, 15),
        ];
        let needs = ClusterNeeds::of(&hosts, &[]);
        assert_eq!(needs.five().map(|(_, value)| value), [300, 20, 10, 0, 256]);
        assert_eq!((needs.standbys, needs.max_replication_slots, needs.logical), (2, 10, false));
        let floor = Floor { max_connections: 500, max_wal_senders: 3, ..Floor::default() };
        let raised = ClusterNeeds::of(&hosts, &[floor]);
        assert_eq!(raised.five().map(|(_, value)| value), [500, 20, 10, 0, 256]);
    }

    #[test]
    fn control_data_is_read_and_gaps_are_named() {
        let text = "wal_level setting:                    logical\n\
                    max_connections setting:              100\n\
                    max_worker_processes setting:         8\n\
                    max_wal_senders setting:              10\n\
                    max_prepared_xacts setting:           5\n\
                    max_locks_per_xact setting:           64\n\
                    track_commit_timestamp setting:       off\n";
        let floor = Floor::parse(text).expect("complete");
        assert_eq!((floor.max_connections, floor.max_prepared_transactions, floor.logical), (100, 5, true));
        let fault = Floor::parse(&text.replace("max_wal_senders", "x")).expect_err("a gap");
        assert!(fault.message.contains("max_wal_senders"));
    }
}
