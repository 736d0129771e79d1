//! Inputs of the tuner that a server on this machine can be started with, the same in every run.

use crate::builds::Build;
use ishprov::tuner::{
    Bytes, Capabilities, ClusterNeeds, Disk, DiskKind, HugePages, Input, Tuning, Wishes, Workload, tune,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Draws the same inputs in every run.
pub struct Sample {
    runner: TestRunner,
    capabilities: Capabilities,
    major: u32,
}

prop_compose! {
    /// A host between 1 and 16 GB; `level` is the power of two of its GB.
    fn hosts(level: std::ops::Range<f64>)(
        ram in level.prop_map(|level| Bytes((level + 30.0).exp2() as u64 / 1024 * 1024)),
        cpus in (0.0_f64..6.0).prop_map(|log| log.exp2() as u32),
        smt in any::<bool>(),
        connections in (20_f64.log2()..500_f64.log2()).prop_map(|log| log.exp2() as u32),
        active in proptest::option::of(1_u32..100),
        workload in proptest::sample::select(Workload::ALL.to_vec()),
        disk in proptest::sample::select(DiskKind::ALL.to_vec()),
        evidence in proptest::sample::select(vec!["", "8 kB random read 41 µs", "it's\nsaid"]),
        wal_fs in proptest::option::of((31.0_f64..41.0).prop_map(|log| Bytes(log.exp2() as u64))),
        free in 20_u64..=100,
        huge in any::<bool>(),
        preload in proptest::sample::select(vec![vec![], vec!["pg_stat_statements"], vec!["pg_stat_statements", "auto_explain"]]),
        wishes in (prop_oneof![Just(0_u32), 1_u32..200], proptest::option::of(10_u32..512), 0_u32..8, 0_u32..4, any::<bool>()),
        extra_wal_senders in 0_u32..10,
    ) -> Input {
        let mut input = Input::new(ram, cpus, connections, workload, 13);
        input.active = active;
        input.preload = preload.into_iter().map(str::to_owned).collect();
        input.hardware.cores = if smt { cpus.div_ceil(2) } else { cpus };
        input.hardware.disk = Disk { kind: disk, evidence: evidence.to_owned() };
        input.hardware.wal_fs_size = wal_fs;
        input.hardware.wal_fs_free = wal_fs.map(|size| size.percent(free));
        input.hardware.huge_pages = if huge { HugePages::Granted } else { HugePages::Unproven };
        let (max_prepared_transactions, max_locks_per_transaction, extension_workers, logical_slots, track_commit_timestamp) = wishes;
        input.wishes = Wishes {
            max_prepared_transactions,
            max_locks_per_transaction,
            extension_workers,
            logical_slots,
            track_commit_timestamp,
            extra_wal_senders,
        };
        input
    }
}

impl Sample {
    pub fn new(build: &Build) -> Self {
        let seed = build.major as u8 + if build.lz4 { 100 } else { 0 };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        Self {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            capabilities: Capabilities { lz4: build.lz4, zstd: build.zstd, io_uring: false },
            major: build.major,
        }
    }

    /// So many hosts from 1 to 16 GB of every workload and disk, and what the tuner decides for each.
    pub fn alone(&mut self, count: usize) -> Vec<(Input, Tuning)> {
        let each = 4.0 / count as f64;
        (0..count)
            .map(|index| {
                let from = index as f64 * each;
                self.first("a host", |sample| {
                    let mut input = sample.draw(from..from + each);
                    input.workload = Workload::ALL[index % 5];
                    input.hardware.disk.kind = DiskKind::ALL[(index / 5 + index) % 5];
                    let tuning = tune(&input, &ClusterNeeds::of([&input], &[])).ok()?;
                    Some((input, tuning))
                })
            })
            .collect()
    }

    /// So many hosts that would not have the same settings each by itself, and what the tuner decides for them together.
    pub fn cluster(&mut self, count: usize) -> (ClusterNeeds, Vec<(Input, Tuning)>) {
        self.first("a cluster", |sample| {
            let hosts: Vec<Input> = (0..count).map(|_| sample.draw(0.0..4.0)).collect();
            let needs = ClusterNeeds::of(&hosts, &[]);
            let unequal = hosts.iter().all(|host| ClusterNeeds::of([host], &[]).five() != needs.five());
            let tuned: Option<Vec<_>> =
                hosts.into_iter().map(|host| tune(&host, &needs).ok().map(|tuning| (host, tuning))).collect();
            tuned.filter(|_| unequal).map(|tuned| (needs, tuned))
        })
    }

    fn draw(&mut self, level: std::ops::Range<f64>) -> Input {
        let tree = hosts(level).new_tree(&mut self.runner).expect("nothing is filtered");
        Input { pg_major: self.major, capabilities: self.capabilities, ..tree.current() }
    }

    /// The first that the tuner does not refuse.
    fn first<T>(&mut self, what: &str, mut draw: impl FnMut(&mut Self) -> Option<T>) -> T {
        (0..10_000).find_map(|_| draw(self)).unwrap_or_else(|| panic!("{what} that fits was not found"))
    }
}
