//! The tuner as a whole: known points, and what must hold over the whole input space.

use super::*;
use proptest::prelude::*;

const MB: u64 = 1 << 20;

fn host(ram_mb: u64, cpus: u32, connections: u32, pg: u32) -> Input {
    Input::new(Bytes::mb(ram_mb), cpus, connections, Workload::Oltp, pg)
}

fn alone(input: &Input) -> Result<Tuning, Refusal> {
    tune(input, &ClusterNeeds::of([input], &[]))
}

fn size(tuning: &Tuning, name: &str) -> u64 {
    match tuning.get(name).map(|setting| &setting.value) {
        Some(Value::Size(Bytes(bytes))) => *bytes,
        other => panic!("{name}: {other:?}"),
    }
}

fn number(tuning: &Tuning, name: &str) -> i64 {
    match tuning.get(name).map(|setting| &setting.value) {
        Some(Value::Int(number)) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

fn shown(tuning: &Tuning, name: &str) -> String {
    tuning.get(name).map_or_else(|| "absent".to_owned(), |setting| setting.value.to_string())
}

#[test]
fn the_three_hosts_of_the_project() {
    let primary = host(16 * 1024, 4, 300, 15);
    let replica = host(8 * 1024, 2, 300, 15);
    let needs = ClusterNeeds::of([&primary, &replica, &replica], &[]);
    let (big, small) = (tune(&primary, &needs).expect("fits"), tune(&replica, &needs).expect("fits"));
    let memory =
        ["shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "autovacuum_work_mem"];
    assert_eq!(memory.map(|name| shown(&big, name)), ["4GB", "12GB", "11MB", "1GB", "85MB"]);
    assert_eq!(memory.map(|name| shown(&small, name)), ["2GB", "6GB", "4MB", "512MB", "42MB"]);
    for (name, value) in needs.five() {
        assert_eq!([number(&big, name), number(&small, name)], [i64::from(value); 2], "{name}");
    }
    assert_eq!(needs.five().map(|(_, value)| value), [300, 8, 10, 0, 64]);
    assert_eq!(
        small.budget.bar(),
        "memory   8.0 GB |■■■■■■ shared 2.1|■■■ page tables 1.2|■■ backends 0.7|■■■■■■■ work 2.4|■■ vacuum 0.6|■ OS 0.5|· 0.5 free"
    );
    assert_eq!(
        small.way_out.as_deref(),
        Some("a pool with 40 server connections would allow work_mem 47MB (--active 40)")
    );
}

#[test]
fn work_mem_at_the_points_of_the_model() {
    // RAM in MB, CPUs, connections, active, huge pages, version, work_mem in MB.
    let points = [
        (16_384, 4, 300, 300, false, 15, 11),
        (16_384, 4, 300, 300, true, 15, 15),
        (8192, 2, 300, 300, false, 15, 4),
        (8192, 2, 300, 300, true, 15, 6),
        (8192, 2, 300, 250, true, 15, 8),
        // The founding document's 20 MB, where a pool keeps the active ones at 102.
        (8192, 2, 300, 102, true, 15, 20),
        (8192, 2, 300, 40, false, 15, 47),
        (8192, 2, 300, 40, true, 15, 49),
        (4096, 2, 300, 300, false, 15, 1),
        (4096, 2, 300, 40, false, 15, 19),
        (2048, 2, 100, 100, false, 15, 3),
        // Without a hash multiplier there is twice as much.
        (8192, 2, 300, 300, false, 14, 9),
    ];
    for point @ (ram, cpus, connections, active, huge, pg, work_mem) in points {
        let mut input = host(ram, cpus, connections, pg);
        input.active = Some(active);
        if huge {
            input.hardware.huge_pages = HugePages::Granted;
        }
        assert_eq!(size(&alone(&input).expect("fits"), "work_mem") / MB, work_mem, "{point:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_sum_and_ways_out_that_work() {
    let refusal = alone(&host(2048, 2, 300, 15)).expect_err("300 connections in 2 GB");
    assert_eq!(refusal.message, "300 connections, 300 of them active, do not fit into 2 GB RAM");
    assert!(
        refusal.arithmetic.iter().any(|line| line.starts_with("backends") && line.ends_with("750 MB")),
        "{refusal}"
    );
    assert!(
        refusal.arithmetic.iter().any(|line| line.starts_with("sum") && line.ends_with("of 2 GB RAM")),
        "{refusal}"
    );
    assert_eq!(
        refusal.ways_out,
        [
            "put a pool with 40 server connections in front (active = 40)",
            "lower max_connections to 205",
            "give the host 3 GB RAM"
        ],
    );
    alone(&host(2048, 2, 205, 15)).expect("the way out fits");
    alone(&host(2048, 2, 206, 15)).expect_err("and is the furthest");
    alone(&host(3072, 2, 300, 15)).expect("the way out fits");
    let fault: crate::diag::Fault = refusal.into();
    assert_eq!((fault.param.as_deref(), fault.hints.len()), (Some("max_connections"), 3));

    let thousands = alone(&host(64 * 1024, 16, 10_000, 17)).expect_err("10,000 connections in 64 GB");
    assert!(thousands.ways_out.iter().any(|way| way.contains("pool")), "{thousands}");
    assert!(
        alone(&host(72 * 1024, 16, 10_000, 17))
            .is_err_and(|r| r.ways_out.iter().any(|way| way.contains("huge pages")))
    );
}

#[test]
fn no_step_of_rounding_takes_memory_away() {
    let mut last: Option<Tuning> = None;
    for ram in (3072..40_960).step_by(16) {
        let tuning = alone(&host(ram, 2, 300, 15)).expect("fits");
        for name in MEMORY {
            let before = last.as_ref().map_or(0, |last| size(last, name));
            assert!(before <= size(&tuning, name), "{name} at {ram} MB");
        }
        last = Some(tuning);
    }
}

#[test]
fn a_host_that_connections_nearly_fill_is_refused_rather_than_tuned_at_a_cliff() {
    let at = |ram| {
        let mut input = host(ram, 2, 5000, 15);
        input.active = Some(10);
        alone(&input)
    };
    let mut served = 0;
    for ram in (14_336..40_960).step_by(64) {
        let (Ok(before), Ok(after)) = (at(ram), at(ram + ram / 100)) else { continue };
        served += 1;
        let (before, after) = (size(&before, "work_mem"), size(&after, "work_mem"));
        assert!(after <= before + before / 20 + MB, "{ram} MB: {} -> {}", Bytes(before), Bytes(after));
    }
    assert!(served > 100 && at(14_336).is_err(), "{served}");
}

#[test]
fn cores_that_a_quota_takes_away_or_nobody_counted_do_not_matter() {
    let workers = |cpus, cores| {
        let mut input = host(8192, cpus, 100, 15);
        input.hardware.cores = cores;
        number(&alone(&input).expect("fits"), "max_parallel_workers")
    };
    assert_eq!([workers(8, 4), workers(8, 0), workers(2, 16)], [4, 8, 2]);
}

#[test]
fn versions_and_builds_decide_what_is_set() {
    let at = |pg, lz4| {
        let mut input = host(8192, 2, 100, pg);
        input.capabilities.lz4 = lz4;
        alone(&input).expect("fits")
    };
    assert_eq!(
        [13, 14, 15, 18].map(|pg| shown(&at(pg, true), "wal_compression")),
        ["on", "on", "lz4", "lz4"]
    );
    assert_eq!([14, 15].map(|pg| shown(&at(pg, false), "wal_compression")), ["on", "pglz"]);
    assert_eq!(
        [13, 14].map(|pg| shown(&at(pg, false), "client_connection_check_interval")),
        ["absent", "10s"]
    );
    assert_eq!([17, 18].map(|pg| shown(&at(pg, false), "io_method")), ["absent", "worker"]);
    assert_eq!([17, 18].map(|pg| shown(&at(pg, false), "idle_replication_slot_timeout")), ["absent", "7d"]);
    let takes = |pg, name: &str| at(pg, false).get(name).map(|setting| setting.takes);
    assert_eq!(takes(17, "autovacuum_max_workers"), Some(Takes::Restart));
    assert_eq!(takes(18, "autovacuum_max_workers"), Some(Takes::Reload));
    assert_eq!(takes(15, "work_mem"), Some(Takes::Reload));
}

#[test]
fn a_wavering_memory_reading_restarts_nothing() {
    let mut input = host(16_384, 4, 300, 15);
    input.standing.shared_buffers = Some(Bytes::gb(4));
    for percent_of_percent in [9901_u64, 9950, 10_050, 10_099] {
        input.hardware.ram = Bytes(16_384 * MB / 10_000 * percent_of_percent);
        assert_eq!(shown(&alone(&input).expect("fits"), "shared_buffers"), "4GB", "{percent_of_percent}");
    }
    for ram in [15_000, 18_000, 32_768] {
        input.hardware.ram = Bytes::mb(ram);
        assert_ne!(shown(&alone(&input).expect("fits"), "shared_buffers"), "4GB", "{ram}");
    }
}

#[test]
fn the_conf_file_has_every_setting_once_with_its_reason_above() {
    let mut input = host(8192, 2, 300, 15);
    input.preload = vec!["pg_stat_statements".to_owned(), "auto_explain".to_owned()];
    input.hardware.disk = Disk { kind: DiskKind::Ssd, evidence: "two\nlines".to_owned() };
    let tuning = alone(&input).expect("fits");
    let conf = render_conf(&tuning, "Managed by ishprov\n\nby hand: elsewhere");
    assert!(conf.starts_with("# Managed by ishprov\n#\n# by hand: elsewhere\n# memory   8.0 GB |"), "{conf}");
    for setting in &tuning.settings {
        let line = format!("\n{} = {}\n", setting.name, setting.to_conf());
        assert_eq!(conf.matches(&line).count(), 1, "{line}");
    }
    assert!(conf.contains("\n# a quarter of 8 GB RAM\nshared_buffers = 2GB\n"), "{conf}");
    assert!(conf.contains("\nshared_preload_libraries = 'pg_stat_statements,auto_explain'\n"), "{conf}");
    assert!(conf.contains("\nauto_explain.log_min_duration = 1s\n"), "{conf}");
    assert!(
        conf.lines().all(|line| line.is_empty() || line.starts_with('#') || line.contains(" = ")),
        "{conf}"
    );
}

#[test]
fn the_output_serialises_with_postgresql_units() {
    let json = serde_json::to_value(alone(&host(8192, 2, 300, 15)).expect("fits")).expect("serialises");
    let first = &json["settings"][0];
    assert_eq!((first["name"].as_str(), first["value"].as_str()), (Some("shared_buffers"), Some("2GB")));
    assert_eq!(
        (first["takes"].as_str(), first["why"].as_str()),
        (Some("restart"), Some("a quarter of 8 GB RAM"))
    );
    assert_eq!(json["budget"]["ram"].as_u64(), Some(8 << 30));
}

#[test]
fn strict_overcommit_only_where_the_budget_and_what_runs_fit() {
    let overcommit = |active, swap, committed| {
        let mut input = host(8192, 2, 300, 15);
        (input.active, input.hardware.swap, input.hardware.committed) = (Some(active), swap, committed);
        let tuning = alone(&input).expect("fits");
        let value = |name: &str| {
            tuning.kernel.iter().find(|setting| setting.name == name).map(|setting| setting.value.clone())
        };
        (value("vm.overcommit_memory").unwrap_or_default(), value("vm.overcommit_kbytes"))
    };
    assert_eq!(overcommit(300, Bytes::gb(4), None), ("0".to_owned(), None));
    assert_eq!(overcommit(40, Bytes(0), Some(Bytes::mb(500))), ("0".to_owned(), None));
    let kbytes = (8192 * 1024 * 8 / 10 + 4 * 1024 * 1024).to_string();
    assert_eq!(overcommit(40, Bytes::gb(4), Some(Bytes::mb(500))), ("2".to_owned(), Some(kbytes)));
}

prop_compose! {
    /// 512 MB .. 4 TB, 1 .. 512 CPUs, 10 .. 10,000 connections, 13 .. 18, all workloads and disks, pg_wal on 2 GB .. 20 TB.
    fn inputs()(
        ram in (29.0_f64..42.0).prop_map(|log| log.exp2() as u64),
        cpus in (0.0_f64..9.0).prop_map(|log| log.exp2() as u32),
        smt in any::<bool>(),
        connections in (3.33_f64..13.28).prop_map(|log| log.exp2() as u32),
        active in proptest::option::of(1_u32..2000),
        pg_major in 13_u32..=18,
        workload in proptest::sample::select(Workload::ALL.to_vec()),
        disk in proptest::sample::select(DiskKind::ALL.to_vec()),
        wal_log in 31.0_f64..44.3,
        free in 10_u64..=100,
        huge in any::<bool>(),
        lz4 in any::<bool>(),
        wishes in (0_u32..300, proptest::option::of(10_u32..1024), 0_u32..16, 0_u32..8, any::<bool>()),
    ) -> Input {
        let mut input = Input::new(Bytes(ram / 1024 * 1024), cpus, connections.max(10), workload, pg_major);
        input.active = active;
        input.capabilities.lz4 = lz4;
        input.hardware.cores = if smt { (cpus / 2).max(1) } else { cpus };
        input.hardware.disk = Disk { kind: disk, evidence: String::new() };
        let wal_fs = Bytes(wal_log.exp2() as u64);
        input.hardware.wal_fs_size = Some(wal_fs);
        input.hardware.wal_fs_free = Some(wal_fs.percent(free.max(15)));
        input.hardware.huge_pages = if huge { HugePages::Granted } else { HugePages::Unproven };
        let (max_prepared_transactions, max_locks_per_transaction, extension_workers, logical_slots, track_commit_timestamp) = wishes;
        input.wishes = Wishes {
            max_prepared_transactions,
            max_locks_per_transaction,
            extension_workers,
            logical_slots,
            track_commit_timestamp,
            extra_wal_senders: 0,
        };
        input
    }
}

const MEMORY: [&str; 6] = [
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "wal_buffers",
];
const WAL: [&str; 4] = ["min_wal_size", "max_wal_size", "wal_keep_size", "max_slot_wal_keep_size"];
const WORKERS: [&str; 5] = [
    "max_worker_processes",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_parallel_maintenance_workers",
    "autovacuum_max_workers",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_budget_is_the_ram_and_every_claim_is_in_it(input in inputs()) {
        match alone(&input) {
            Ok(tuning) => {
                let claimed: Bytes = tuning.budget.lines.iter().map(|line| line.size).sum();
                prop_assert_eq!(claimed + tuning.budget.free, input.hardware.ram);
                // The sum again, from the printed values alone.
                let hash = if input.pg_major >= 15 { 2 } else { 1 };
                let work = size(&tuning, "work_mem") * u64::from(tuning.active) * hash;
                let vacuum = size(&tuning, "autovacuum_work_mem") * number(&tuning, "autovacuum_max_workers") as u64;
                let backends = number(&tuning, "max_connections") as u64 * 2560 * 1024;
                let sum = size(&tuning, "shared_buffers") + work + vacuum + backends + size(&tuning, "maintenance_work_mem");
                prop_assert!(sum <= input.hardware.ram.0, "{} > {}", sum, input.hardware.ram.0);
            }
            Err(refusal) => {
                prop_assert!(refusal.arithmetic.len() >= 7, "{}", refusal);
            }
        }
    }

    #[test]
    fn ways_out_lead_out(input in inputs()) {
        let needs = ClusterNeeds::of([&input], &[]);
        let Err(refusal) = tune(&input, &needs) else { return Ok(()) };
        for way in &refusal.ways_out {
            let last = way.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<u32>().ok()).next_back();
            let mut changed = input.clone();
            match last {
                Some(active) if way.contains("and lower max_connections") => {
                    changed.max_connections = 2 * active;
                    changed.active = Some(active);
                }
                Some(active) if way.contains("pool") => changed.active = Some(active),
                Some(connections) if way.starts_with("lower") => changed.max_connections = connections,
                Some(gb) if way.starts_with("give") => changed.hardware.ram = Bytes::gb(gb.into()),
                _ => changed.hardware.huge_pages = HugePages::Granted,
            }
            changed.active = changed.active.map(|active| active.min(changed.max_connections));
            prop_assert!(tune(&changed, &ClusterNeeds::of([&changed], &[])).is_ok(), "{}", way);
        }
    }

    #[test]
    fn a_refusal_is_no_excuse(input in inputs()) {
        // Whoever is refused had too many connections: with few and one active, every host of 512 MB and more is served.
        let mut few = input.clone();
        few.max_connections = 10;
        few.active = Some(1);
        few.wishes = Wishes::default();
        // Every CPU has a worker process, which takes its place in shared memory, whatever the RAM.
        few.hardware.cpus = few.hardware.cpus.min(32);
        if few.workload == Workload::Dw {
            // Reports use half of the cores each, whatever the RAM.
            few.hardware.cores = few.hardware.cores.min(8);
        }
        prop_assert!(alone(&few).is_ok(), "{:?}", alone(&few));
    }

    #[test]
    fn more_ram_never_means_less(input in inputs(), permille in 1_u64..2000) {
        let mut more = input.clone();
        more.hardware.ram = Bytes(input.hardware.ram.0 + input.hardware.ram.0 / 1000 * permille);
        if let Ok(before) = alone(&input) {
            let after = alone(&more).expect("what fits into less fits into more");
            for name in MEMORY {
                prop_assert!(size(&before, name) <= size(&after, name), "{}: {} -> {}", name, shown(&before, name), shown(&after, name));
            }
        }
    }

    #[test]
    fn more_connections_or_active_never_raise_work_mem(input in inputs(), more_connections in 0_u32..1000, more_active in 0_u32..500) {
        let mut more = input.clone();
        more.max_connections += more_connections;
        more.active = Some(input.active.unwrap_or(input.max_connections) + more_active);
        let mut pinned = input.clone();
        pinned.active = Some(input.active.unwrap_or(input.max_connections));
        if let Ok(after) = alone(&more) {
            let before = alone(&pinned).expect("fewer fit where more do");
            prop_assert!(size(&before, "work_mem") >= size(&after, "work_mem"));
        }
    }

    #[test]
    fn more_disk_and_cpus_never_mean_less(input in inputs(), disk in 1_u64..1000, cpus in 0_u32..64) {
        let mut more = input.clone();
        more.hardware.wal_fs_size = input.hardware.wal_fs_size.map(|size| size + Bytes(size.0 / 500 * disk));
        more.hardware.wal_fs_free = input.hardware.wal_fs_free.map(|size| size + Bytes(size.0 / 500 * disk));
        if let (Ok(before), Ok(after)) = (alone(&input), alone(&more)) {
            for name in WAL {
                prop_assert!(size(&before, name) <= size(&after, name), "{}", name);
            }
        }
        let mut more = input.clone();
        more.hardware.cpus += cpus;
        more.hardware.cores += cpus / 2;
        if let (Ok(before), Ok(after)) = (alone(&input), alone(&more)) {
            for name in WORKERS {
                prop_assert!(number(&before, name) <= number(&after, name), "{}", name);
            }
        }
    }

    #[test]
    fn a_percent_of_ram_is_never_a_cliff(input in inputs()) {
        let mut more = input.clone();
        more.hardware.ram = input.hardware.ram + Bytes(input.hardware.ram.0 / 100);
        if let (Ok(before), Ok(after)) = (alone(&input), alone(&more)) {
            for name in MEMORY {
                let (before, after) = (size(&before, name), size(&after, name));
                // shared_buffers below 1 GB moves by a huge page, everything else by a MB.
                let step = if after >= 1 << 30 { 64 * MB } else { 2 * MB };
                prop_assert!(after <= before + before / 20 + step, "{}: {} -> {}", name, Bytes(before), Bytes(after));
            }
        }
    }

    #[test]
    fn every_value_is_one_that_this_version_takes(input in inputs()) {
        if let Ok(tuning) = alone(&input) {
            for setting in &tuning.settings {
                let parameter = lookup(setting.name, input.pg_major).expect("known to this version");
                prop_assert_eq!(setting::admits(parameter.kind, &setting.value), Ok(()), "{}", setting.name);
                prop_assert!(!setting.why.is_empty() && !setting.why.ends_with('.'), "{}", setting.why);
                if let Value::Size(size) = setting.value {
                    prop_assert_eq!(setting.to_conf().parse::<Bytes>(), Ok(size));
                }
            }
            let mut names: Vec<&str> = tuning.settings.iter().map(|setting| setting.name).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), tuning.settings.len());
        }
    }

    #[test]
    fn what_postgresql_only_refuses_at_the_start_is_kept_too(input in inputs()) {
        if let Ok(tuning) = alone(&input) {
            let disk = input.hardware.wal_fs_size.expect("given");
            let [min, max, keep, slots] = WAL.map(|name| size(&tuning, name));
            prop_assert!(32 * MB <= min && min <= max && max <= slots && keep <= slots && slots <= disk.0 / 4);
            prop_assert!(slots <= input.hardware.wal_fs_free.expect("given").0 / 2);
            let [processes, workers, gather, ..] = WORKERS.map(|name| number(&tuning, name));
            prop_assert!(gather <= workers && workers <= processes);
            prop_assert!(["replica", "logical"].contains(&shown(&tuning, "wal_level").as_str()));
            let (buffers, cache) = (size(&tuning, "shared_buffers"), size(&tuning, "effective_cache_size"));
            let (os, backends) = (tuning.budget.size(Part::Os), tuning.budget.size(Part::Backends));
            prop_assert!(buffers * 10 <= input.hardware.ram.0 * 4 && buffers % (2 * MB) == 0);
            prop_assert!(buffers <= cache && Bytes(cache) + os + backends <= input.hardware.ram);
        }
    }

    #[test]
    fn any_host_of_a_cluster_can_be_primary_of_the_others(hosts in proptest::collection::vec(inputs(), 2..7), floor in 0_u32..600) {
        let floors = [Floor { max_connections: floor, max_locks_per_transaction: floor, ..Floor::default() }];
        let mut hosts = hosts;
        for host in &mut hosts {
            host.max_connections = host.max_connections.min(200);
            host.active = Some(20);
            host.hardware.cores = host.hardware.cores.min(64);
            host.hardware.ram = host.hardware.ram.max(Bytes::gb(16));
        }
        let needs = ClusterNeeds::of(&hosts, &floors);
        for host in &hosts {
            let tuning = tune(host, &needs);
            prop_assert!(tuning.is_ok(), "{:?}", tuning);
            let Ok(tuning) = tuning else { continue };
            for (name, value) in needs.five() {
                prop_assert_eq!(number(&tuning, name), i64::from(value));
            }
            prop_assert!(number(&tuning, "max_connections") >= i64::from(host.max_connections.max(floor)));
            prop_assert!(number(&tuning, "max_locks_per_transaction") >= i64::from(floor));
            prop_assert!(number(&tuning, "max_worker_processes") >= i64::from(host.hardware.cpus));
        }
    }

    #[test]
    fn tuning_again_changes_nothing(input in inputs(), permyriad in 9901_u64..10_100) {
        if let Ok(first) = alone(&input) {
            let mut again = input.clone();
            again.standing.shared_buffers = Some(Bytes(size(&first, "shared_buffers")));
            again.standing.max_slot_wal_keep_size = Some(Bytes(size(&first, "max_slot_wal_keep_size")));
            prop_assert_eq!(alone(&again), Ok(first.clone()));
            // Not even a comment of the file may follow the free space of the disk.
            for percent in [96, 104] {
                let free = input.hardware.wal_fs_free.map(|free| free.percent(percent));
                again.hardware.wal_fs_free = free.min(input.hardware.wal_fs_size);
                prop_assert_eq!(alone(&again), Ok(first.clone()));
            }
            // And a reading that moved by less than 1 % restarts nothing.
            again.hardware.ram = Bytes((u128::from(input.hardware.ram.0) * u128::from(permyriad) / 10_000) as u64);
            if let Ok(moved) = alone(&again) {
                for setting in moved.settings.iter().filter(|setting| setting.takes == Takes::Restart) {
                    prop_assert_eq!(Some(&setting.value), first.get(setting.name).map(|before| &before.value), "{}", setting.name);
                }
            }
        }
    }
}
