//! The main job on real hosts: three bare machines become a tuned, TLS-only, replicated cluster. Needs root.
//!
//! One lab serves all steps, in order: what holds before the first run, the first run, the second, a client's view, an
//! edit, a lost standby, a failover by hand. Each assertion is made on the hosts themselves.

#![allow(clippy::print_stderr)]

mod accounts;
mod bench;
mod changes;
mod killed;
mod ordering;
mod refused;

use bench::Bench;

const PRIMARY: &str = "pg-primary";
const REPLICAS: [&str; 2] = ["pg-replica1", "pg-replica2"];
const ALL: [&str; 3] = [PRIMARY, "pg-replica1", "pg-replica2"];

#[test]
fn lab_three_bare_hosts_become_a_cluster_and_stay_one() {
    let bench = Bench::new("cluster", 70);
    check_mode_before_the_first_run_changes_nothing(&bench);
    first_run(&bench);
    servers_are_what_they_should_be(&bench);
    memory_follows_each_hosts_own_ram(&bench);
    replication_streams_by_slots_over_tls(&bench);
    logins_are_by_tls_alone(&bench);
    firewall_lets_in_who_was_declared(&bench);
    accounts::accounts_can_do_what_was_declared_and_no_more(&bench);
    accounts::values_arrive_as_they_are(&bench);
    second_run_is_quiet(&bench);
    secrets_stay_secret(&bench);
    check_mode_announces_what_the_run_then_does(&bench);
    ordering::connections_are_raised_and_lowered_under_a_writer(&bench);
    a_lost_host_is_reported_and_the_next_run_completes_it(&bench);
    a_foreign_data_directory_is_refused(&bench);
    refused::a_lost_authority_or_password(&bench);
    refused::another_cluster_on_the_port(&bench);
    refused::a_running_primary_is_never_cloned(&bench);
    refused::a_standby_of_another_system(&bench);
    refused::rules_of_others_stay(&bench);
    refused::a_firewall_that_locks_us_out_takes_itself_back(&bench);
    changes::a_port_changes_in_one_run_and_its_rules_go(&bench);
    changes::a_rebuild_brings_tablespaces_and_removes_only_what_it_moved(&bench);
    changes::a_cluster_of_somebody_else_is_named_and_refusals_come_first(&bench);
    changes::a_paused_standby_stays_paused(&bench);
    after_a_failover_by_hand_the_new_primary_is_followed(&bench);
}

/// Every file of a host with its size, owner, mode and time of change, without what a living system writes by itself.
fn tree(bench: &Bench, host: &str) -> String {
    let script = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log \
                  -o -path /var/lib/systemd -o -path /var/cache/apt/archives/partial -o -path /root/.ssh -o -path /var/lib/private \
                  -o -path '/var/lib/postgresql/*/main/*' \\) -prune -o -type f -printf '%p %s %u %g %m %T@\\n' | sort";
    bench.sh(host, script)
}

fn check_mode_before_the_first_run_changes_nothing(bench: &Bench) {
    let before: Vec<String> = ALL.iter().map(|host| tree(bench, host)).collect();
    let ran = bench.run(&["--check"]);
    ran.code(0);
    assert!(ran.stdout.contains("Nothing was changed"), "{}", ran.stdout);
    let after: Vec<String> = ALL.iter().map(|host| tree(bench, host)).collect();
    for (index, host) in ALL.iter().enumerate() {
        assert_eq!(after[index], before[index], "--check wrote to {host}");
    }
}

fn first_run(bench: &Bench) {
    let ran = bench.run(&[]);
    ran.code(0);
    for host in ALL {
        let stats = ran.stats(host);
        assert!(
            stats["changed"] > 10 && stats["failed"] == 0 && stats["unreachable"] == 0,
            "{host}: {stats:?}"
        );
    }
}

fn servers_are_what_they_should_be(bench: &Bench) {
    for host in ALL {
        assert_eq!(bench.sql(host, "SHOW data_checksums"), "on");
        assert_eq!(
            bench.sql(host, "SELECT encoding FROM pg_database WHERE datname = 'postgres'"),
            "6",
            "UTF8"
        );
        assert_eq!(
            bench.sql(host, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'"),
            "C.UTF-8"
        );
        assert_eq!(bench.sh(host, "pg_lsclusters -h | wc -l"), "1", "the package made no cluster of its own");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL"), "0");
        let ours = bench.sql(
            host,
            "SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%/conf.d/%' AND applied",
        );
        assert!(ours.parse::<u32>().expect("a number") > 20, "{ours}");
        let pending = bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart");
        assert_eq!(pending, "0", "{host} waits for a restart");
    }
}

fn memory_follows_each_hosts_own_ram(bench: &Bench) {
    for (host, shared_buffers, cache) in
        [(PRIMARY, "4GB", "12GB"), (REPLICAS[0], "2GB", "6GB"), (REPLICAS[1], "2GB", "6GB")]
    {
        assert_eq!(bench.sql(host, "SHOW shared_buffers"), shared_buffers, "{host}");
        assert_eq!(bench.sql(host, "SHOW effective_cache_size"), cache, "{host}");
        assert_eq!(bench.sql(host, "SHOW max_connections"), "300", "{host}");
    }
    // 300 backends that each fill one work_mem, times hash_mem_multiplier, beside shared_buffers: it fits.
    for (host, ram) in [(PRIMARY, 16u64 << 30), (REPLICAS[0], 8 << 30)] {
        let sum = bench.sql(
            host,
            "SELECT (pg_size_bytes(current_setting('shared_buffers')) + 300 * pg_size_bytes(current_setting('work_mem')) \
             * current_setting('hash_mem_multiplier')::numeric)::bigint",
        );
        assert!(sum.parse::<u64>().expect("a number") < ram, "{host}: {sum} of {ram}");
    }
    let five = "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('max_connections', \
                'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')";
    let expected = bench.sql(PRIMARY, five);
    for host in REPLICAS {
        assert_eq!(bench.sql(host, five), expected, "the five standby parameters are equal");
    }
}

fn replication_streams_by_slots_over_tls(bench: &Bench) {
    let rows = bench.sql(
        PRIMARY,
        "SELECT r.application_name || ' ' || r.state || ' ' || s.ssl || ' ' || s.version || ' ' || (s.client_dn IS NOT NULL) \
         FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) ORDER BY 1",
    );
    assert_eq!(rows, "pg-replica1 streaming true TLSv1.3 true\npg-replica2 streaming true TLSv1.3 true");
    let slots = bench.sql(
        PRIMARY,
        "SELECT slot_name || ' ' || slot_type || ' ' || active FROM pg_replication_slots ORDER BY 1",
    );
    assert_eq!(slots, "pg_replica1 physical true\npg_replica2 physical true");
    assert_ne!(bench.sql(PRIMARY, "SHOW max_slot_wal_keep_size"), "-1", "slots are capped");
    for host in REPLICAS {
        assert_eq!(
            bench.sh(host, "ls /var/lib/postgresql/15/main/standby.signal"),
            "/var/lib/postgresql/15/main/standby.signal"
        );
        let conninfo = bench.sql(host, "SHOW primary_conninfo");
        assert!(conninfo.contains("verify-full") && !conninfo.contains("password"), "{conninfo}");
        let auto = bench.sh(host, "grep -vE '^#|^$' /var/lib/postgresql/15/main/postgresql.auto.conf | cut -d= -f1 | tr -d ' ' | sort | tr '\\n' ' '");
        assert_eq!(
            auto, "primary_conninfo primary_slot_name",
            "nothing of the primary's ALTER SYSTEM came along"
        );
    }
    bench.sql(PRIMARY, "CREATE TABLE proof (text text)");
    bench.sql(PRIMARY, "INSERT INTO proof VALUES ('written on the primary')");
    for host in REPLICAS {
        bench.until(host, "the row arrives", || {
            bench.sql(host, "SELECT text FROM proof") == "written on the primary"
        });
    }
}

fn logins_are_by_tls_alone(bench: &Bench) {
    let primary = bench.address(PRIMARY);
    let password = bench.secret("app");
    let login = |options: &str| {
        bench.psql_from(REPLICAS[0], &password, &format!("host={primary} user=app dbname=app {options}"))
    };
    let tls = login("sslmode=verify-full sslrootcert=/etc/postgresql-tls/ca.crt");
    assert!(tls.contains("TLSv1.3"), "{tls}");
    let plain = login("sslmode=disable");
    assert!(plain.contains("no encryption"), "{plain}");
    let old = login("sslmode=require ssl_max_protocol_version=TLSv1.2");
    assert!(old.contains("protocol version") || old.contains("SSL error"), "{old}");
    let replication = bench.psql_from(
        REPLICAS[0],
        "",
        &format!("host={primary} user=replicator dbname=postgres replication=true sslmode=require"),
    );
    assert!(replication.contains("certificate"), "replication without a certificate: {replication}");
    let wrong =
        bench.psql_from(REPLICAS[0], "wrong", &format!("host={primary} user=app dbname=app sslmode=require"));
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(
        bench
            .sql(PRIMARY, "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
            .starts_with("SCRAM-SHA-256$")
    );
}

fn firewall_lets_in_who_was_declared(bench: &Bench) {
    for host in ALL {
        let status = bench.sh(host, "ufw status verbose");
        assert!(status.contains("Status: active") && status.contains("deny (incoming)"), "{status}");
        for line in status.lines().filter(|line| line.contains("5432")) {
            assert!(!line.contains("Anywhere  "), "5432 is open to everyone on {host}: {line}");
        }
        assert!(
            status.lines().any(|line| line.contains("5432") && line.contains(&bench.address(REPLICAS[0]))),
            "{status}"
        );
    }
}

fn second_run_is_quiet(bench: &Bench) {
    let started = |host: &str| bench.sql(host, "SELECT pg_postmaster_start_time()");
    let before: Vec<(String, String)> = ALL.iter().map(|host| (started(host), tree(bench, host))).collect();
    let ran = bench.run(&[]);
    ran.code(0);
    for (index, host) in ALL.iter().enumerate() {
        let stats = ran.stats(host);
        assert_eq!(stats["changed"], 0, "{host} changed something:\n{}", ran.stdout);
        assert_eq!(started(host), before[index].0, "{host} was restarted");
        assert_eq!(tree(bench, host), before[index].1, "{host}: a file was touched");
    }
    let strict = bench.run(&["--window", "1"]);
    strict.code(0);
    for host in ALL {
        assert_eq!(strict.stats(host), ran.stats(host), "reading ahead is seen on {host}");
    }
}

fn secrets_stay_secret(bench: &Bench) {
    let password = bench.secret("app");
    for arguments in
        [&["-vv", "--diff"][..], &["-vv", "--diff", "--output", "json"], &["--check", "--diff", "-vv"]]
    {
        let ran = bench.run(arguments);
        assert!(
            !ran.stdout.contains(&password) && !ran.stderr.contains(&password),
            "{arguments:?} shows the password"
        );
        if arguments.contains(&"json") {
            assert!(ran.json().iter().any(|event| event["event"] == "recap"), "{}", ran.stdout);
        }
    }
    for host in ALL {
        let found = bench.sh(
            host,
            &format!(
                "grep -rlF {password} /etc /root /tmp /var/tmp /run /var/log 2>/dev/null | head -5; true"
            ),
        );
        assert_eq!(found, "", "{host} keeps the password in clear");
    }
    assert_eq!(bench.mode_of_secret("app"), 0o600);
    assert_eq!(bench.key_files_with_wide_mode(), Vec::<String>::new());
}

fn check_mode_announces_what_the_run_then_does(bench: &Bench) {
    let edit = ["-e", r#"{"postgresql_settings": {"log_min_duration_statement": "250ms"}}"#];
    let before = tree(bench, PRIMARY);
    let announced = bench.run(&[&edit[..], &["--check"]].concat());
    announced.code(0);
    assert_eq!(tree(bench, PRIMARY), before, "--check wrote");
    let ran = bench.run(&edit);
    ran.code(0);
    assert_eq!(announced.changed_tasks(), ran.changed_tasks(), "announced and done differ");
    for host in ALL {
        assert_eq!(bench.sql(host, "SHOW log_min_duration_statement"), "250ms", "{host}: a reload is enough");
    }
    bench.run(&[]).code(0);
}

fn a_lost_host_is_reported_and_the_next_run_completes_it(bench: &Bench) {
    bench.lab().cut(REPLICAS[1]).unwrap_or_else(|faults| panic!("{faults:?}"));
    let ran = bench.run(&["-T", "5"]);
    ran.code(4);
    assert_eq!(ran.stats(REPLICAS[1])["unreachable"], 1, "{}", ran.stdout);
    for host in [PRIMARY, REPLICAS[0]] {
        let stats = ran.stats(host);
        assert_eq!((stats["failed"], stats["changed"]), (0, 0), "{host}, without the third:\n{}", ran.stdout);
    }
    bench.lab().join(REPLICAS[1]).unwrap_or_else(|faults| panic!("{faults:?}"));
    let again = bench.run(&[]);
    again.code(0);
}

fn a_foreign_data_directory_is_refused(bench: &Bench) {
    let host = REPLICAS[1];
    bench.sh(host, "systemctl stop postgresql@15-main && mv /var/lib/postgresql/15/main /var/lib/postgresql/15/kept && \
                    install -d -o postgres -g postgres -m 700 /var/lib/postgresql/15/main && echo precious > /var/lib/postgresql/15/main/notes");
    let ran = bench.run(&[]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert!(
        ran.stderr.contains(host) && ran.stderr.contains("/var/lib/postgresql/15/main"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        bench.sh(host, "cat /var/lib/postgresql/15/main/notes; ls /var/lib/postgresql/15/main | wc -l"),
        "precious\n1"
    );
    bench.sh(host, "rm -r /var/lib/postgresql/15/main && mv /var/lib/postgresql/15/kept /var/lib/postgresql/15/main && systemctl start postgresql@15-main");
    bench.run(&[]).code(0);
}

fn after_a_failover_by_hand_the_new_primary_is_followed(bench: &Bench) {
    bench.sh(PRIMARY, "systemctl stop postgresql@15-main");
    bench.sh(REPLICAS[0], "su postgres -c 'psql -XAtqc \"SELECT pg_promote()\"'");
    let ran = bench.run(&[]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("pg-replica1"), "{said}");
    assert!(said.contains("postgresql_rebuild=pg-primary"), "the way back is named: {said}");
    assert_eq!(bench.sql(REPLICAS[0], "SELECT pg_is_in_recovery()"), "f", "the new primary stays primary");
    assert_eq!(
        bench.sh(PRIMARY, "test -e /var/lib/postgresql/15/main/standby.signal && echo yes || echo no"),
        "no",
        "the old one is left alone"
    );
    let rebuilt = bench.run(&["-e", "postgresql_rebuild=pg-primary"]);
    rebuilt.code(0);
    assert_eq!(bench.sql(PRIMARY, "SELECT pg_is_in_recovery()"), "t");
    bench.until(REPLICAS[0], "both stream from the new primary", || {
        bench.sql(REPLICAS[0], "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "2"
    });
    let quiet = bench.run(&[]);
    quiet.code(0);
    for host in ALL {
        assert_eq!(quiet.stats(host)["changed"], 0, "{}", quiet.stdout);
    }
}
