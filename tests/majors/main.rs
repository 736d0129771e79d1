//! What the tuner decides, put to real servers of every major version it knows, as they are built by others: every setting
//! is accepted, is in force as printed after a start, and hosts of a cluster can be primary and standby of each other.

#![allow(clippy::print_stderr)]

mod builds;
mod hba;
mod instance;
mod sample;

use builds::Origin;
use instance::{Bench, Instance};
use ishprov::tuner::{Bytes, ClusterNeeds, Floor, Input, Part, Workload, tune};
use sample::Sample;

#[test]
fn postgresql_13_takes_every_setting() {
    settings_are_taken(Origin::Npm(13));
}

#[test]
fn postgresql_14_takes_every_setting() {
    settings_are_taken(Origin::Npm(14));
}

#[test]
fn postgresql_15_takes_every_setting() {
    settings_are_taken(Origin::Npm(15));
}

#[test]
fn postgresql_16_takes_every_setting() {
    settings_are_taken(Origin::Npm(16));
}

#[test]
fn postgresql_17_takes_every_setting() {
    settings_are_taken(Origin::Npm(17));
}

#[test]
fn postgresql_18_takes_every_setting() {
    settings_are_taken(Origin::Npm(18));
}

#[test]
fn debians_postgresql_15_takes_every_setting() {
    settings_are_taken(Origin::Debian);
}

#[test]
fn any_host_of_a_cluster_of_13_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Npm(13));
}

#[test]
fn any_host_of_a_cluster_of_14_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Npm(14));
}

#[test]
fn any_host_of_a_cluster_of_15_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Debian);
}

#[test]
fn any_host_of_a_cluster_of_16_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Npm(16));
}

#[test]
fn any_host_of_a_cluster_of_17_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Npm(17));
}

#[test]
fn any_host_of_a_cluster_of_18_can_be_its_primary() {
    hosts_stream_from_each_other(Origin::Npm(18));
}

#[test]
fn rules_of_15_let_in_whom_they_name() {
    hba::logins_follow_the_rules(Origin::Debian);
}

#[test]
fn rules_of_17_let_in_whom_they_name() {
    hba::logins_follow_the_rules(Origin::Npm(17));
}

/// Twelve hosts, one server: each configuration is read, started with, and looked at.
fn settings_are_taken(origin: Origin) {
    let bench = Bench::new(origin);
    assert_eq!(bench.build.lz4, matches!(origin, Origin::Debian), "{origin:?}");
    let instance = bench.init("pg");
    for (input, tuning) in Sample::new(&bench.build).alone(12) {
        eprintln!("{origin:?}: {input:?}");
        instance.tune(&tuning);
        // From 15 on the server tells how large its shared memory would be.
        let parameter = if bench.build.major >= 15 { "shared_memory_size" } else { "shared_buffers" };
        let answer = instance.ask_configuration(parameter).unwrap_or_else(|why| panic!("{origin:?}: {why}"));
        if bench.build.major >= 15 {
            let needed = Bytes::mb(answer.parse().expect("a number of MB"));
            let claimed = tuning.budget.size(Part::Shared);
            assert!(
                needed <= claimed && claimed <= needed.percent(109),
                "{origin:?}: shared memory {} of {}",
                needed.human(),
                claimed.human()
            );
        }
        instance.start();
        instance.has_in_force(&tuning);
        instance.is_content();
        instance.stop();
    }
    // Its own counters are found where this version keeps them; young ones prove nothing.
    instance.start();
    instance.sql("CREATE TABLE counted AS SELECT generate_series(1, 1000) AS n");
    let said = instance.by_its_statistics();
    assert!(
        said.contains("its own statistics (") && said.contains("less than 6 hours"),
        "{origin:?}: {said}"
    );
}

/// Clusters of two and three: each host is primary in turn, by switchover, and all others stream from it.
fn hosts_stream_from_each_other(origin: Origin) {
    let bench = Bench::new(origin);
    let mut sample = Sample::new(&bench.build);
    for count in [2, 3] {
        let (needs, hosts) = sample.cluster(count);
        let mut instances = vec![bench.init(&format!("pg{count}a"))];
        instances[0].tune(&hosts[0].1);
        instances[0].start();
        for (name, (_, tuning)) in ["b", "c"].into_iter().zip(&hosts[1..]) {
            let standby = instances[0].clone_to(&format!("pg{count}{name}"));
            standby.tune(tuning);
            standby.follow(&instances[0]);
            standby.start();
            instances.push(standby);
        }
        for turn in 0..count {
            if turn > 0 {
                instances[turn - 1].stop();
                instances[turn].promote();
                for (index, standby) in instances.iter().enumerate().filter(|(index, _)| *index != turn) {
                    if index != turn - 1 {
                        standby.stop();
                    }
                    standby.follow(&instances[turn]);
                    standby.start();
                }
            }
            let primary = &instances[turn];
            let standbys: Vec<&Instance> =
                instances.iter().filter(|instance| instance.name != primary.name).collect();
            streams(primary, &standbys);
            standbys.iter().for_each(|standby| standby.is_content());
            for (instance, (_, tuning)) in instances.iter().zip(&hosts) {
                instance.has_in_force(tuning);
            }
        }
        eprintln!("{origin:?}: {count} hosts with {:?}", needs.five());
    }
}

/// What is written on the primary is seen on every standby, and none has paused.
fn streams(primary: &Instance, standbys: &[&Instance]) {
    primary.until(
        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
        &standbys.len().to_string(),
    );
    assert_eq!(primary.sql("SELECT pg_is_in_recovery()"), "f");
    let table = format!("of_{}", primary.name);
    primary.sql(&format!("CREATE TABLE {table} AS SELECT generate_series(1, 1000) AS number"));
    for standby in standbys {
        standby.until(&format!("SELECT to_regclass('{table}') IS NOT NULL"), "t");
        assert_eq!(standby.sql(&format!("SELECT count(*) FROM {table}")), "1000");
        assert_eq!(standby.sql("SELECT pg_is_in_recovery(), pg_is_wal_replay_paused()"), "t|f");
    }
}

/// What the tests above would see if the tuner were wrong.
#[test]
fn a_wrong_setting_is_noticed() {
    let bench = Bench::new(Origin::Npm(18));
    let instance = bench.init("pg");
    let mut input = Input::new(Bytes::gb(2), 2, 50, Workload::Web, 18);
    let tuned = |input: &Input| tune(input, &ClusterNeeds::of([input], &[])).expect("fits");
    input.capabilities.lz4 = true;
    instance.tune(&tuned(&input));
    let why = instance.ask_configuration("shared_buffers").expect_err("this build has no lz4");
    assert!(why.contains(r#"invalid value for parameter "wal_compression": "lz4""#), "{why}");
}

/// Its control file says what it lacks.
#[test]
fn a_host_tuned_by_itself_becomes_no_standby_before_its_control_file_is_heeded() {
    let bench = Bench::new(Origin::Debian);
    let input = |connections| Input::new(Bytes::gb(4), 2, connections, Workload::Web, 15);
    let needs = |connections| ClusterNeeds::of([&input(connections)], &[]);
    let primary = bench.init("big");
    primary.tune(&tune(&input(100), &needs(100)).expect("fits"));
    primary.start();
    let standby = primary.clone_to("small");
    standby.tune(&tune(&input(50), &needs(50)).expect("fits"));
    standby.follow(&primary);
    let why = standby.try_start().expect_err("a standby with less than its primary");
    assert!(why.contains("recovery aborted because of insufficient parameter settings"), "{why}");

    let floor = Floor::parse(&standby.control_data()).expect("control data of a real server");
    let heeded = tune(&input(50), &needs(50).at_least(&floor)).expect("fits");
    standby.tune(&heeded);
    standby.start();
    streams(&primary, &[&standby]);
    standby.has_in_force(&heeded);
    assert_eq!(standby.sql("SHOW max_connections"), "100");
}
