//! `ishprov tune` on real hosts: a primary and its standby, made by the shipped site. Needs root.
//!
//! One lab serves all steps, in order; each assertion is made on the hosts themselves.

#![allow(clippy::print_stderr)]

mod bench;
mod disk;

use bench::Bench;

const PRIMARY: &str = "pg-primary";
const STANDBY: &str = "pg-replica1";
const BOTH: [&str; 2] = [PRIMARY, STANDBY];
const GIB: u64 = 1 << 30;
const CONF: &str = "/etc/postgresql/15/main/conf.d/50-ishprov.conf";

/// What every step's variables begin with: it fits hosts of 2 GB.
const BASE: &str = "postgresql_max_connections: 100\npostgresql_workload: web\n";

#[test]
fn lab_settings_are_shown_applied_and_taken_back() {
    let bench = Bench::new("tune", 106, &[(PRIMARY, 2 * GIB, 20 * GIB), (STANDBY, 2 * GIB, 20 * GIB)]);
    bench.edit("inventory", "sed -i 's/pg-replica\\[1:2\\]/pg-replica1/' hosts.yaml");
    bench.vars(BASE);
    bench.ishprov(&["run", "site.yaml"]).code(0);

    after_a_run_nothing_is_proposed(&bench);
    showing_touches_nothing(&bench);
    nobody_to_ask_is_no_yes(&bench);
    a_no_at_the_terminal_touches_nothing(&bench);
    what_takes_a_reload_restarts_nothing(&bench);
    what_takes_a_restart_restarts_each_server_once(&bench);
    undo_brings_back_what_was(&bench);
    what_was_before_a_killed_attempt_comes_back(&bench);
    only_what_an_attempt_came_to_is_taken_back(&bench);
    lowering_reaches_standbys_in_a_second_pass(&bench);
    young_statistics_prove_nothing(&bench);
    what_keeps_a_server_from_starting_is_taken_back(&bench);
    a_server_takes_what_is_printed(&bench);
    candidates_are_measured_and_what_was_comes_back(&bench);
    what_alter_system_holds_is_refused(&bench);
    what_is_in_use_is_not_lowered(&bench);
}

/// Every file of a host but what a living system writes by itself.
fn tree(bench: &Bench, host: &str) -> String {
    let script = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log \
                  -o -path /var/lib/systemd -o -path /root/.ssh -o -path /var/lib/private \
                  -o -path '/var/lib/postgresql/*/main/*' \\) -prune -o -type f -printf '%p %s %u %g %m %T@\\n' | sort";
    bench.sh(host, script)
}

fn started(bench: &Bench, host: &str) -> String {
    bench.sql(host, "SELECT pg_postmaster_start_time()")
}

/// How often a server of the host has come up.
fn starts(bench: &Bench, host: &str) -> usize {
    let log = "grep -c 'starting PostgreSQL' /var/log/postgresql/postgresql-15-main.log";
    bench.sh(host, log).parse().expect("a number")
}

fn conf(bench: &Bench, host: &str) -> String {
    bench.sh(host, &format!("cat {CONF}; stat -c '%U %G %a' {CONF}"))
}

fn quiet(bench: &Bench) {
    let ran = bench.ishprov(&["run", "site.yaml"]);
    ran.code(0);
    for host in BOTH {
        let recap =
            ran.stdout.lines().find(|line| line.starts_with(host) && line.contains("ok=")).expect("a recap");
        assert!(recap.contains("changed=0"), "{recap}\n{}", ran.stdout);
    }
}

fn after_a_run_nothing_is_proposed(bench: &Bench) {
    let ran = bench.ishprov(&["tune", "--dry-run"]);
    ran.code(0);
    assert_eq!(ran.stdout.matches("every setting is right as it is").count(), 2, "{}", ran.stdout);
    bench.ishprov(&["tune", "--yes"]).code(0).says("Nothing to do");
}

fn showing_touches_nothing(bench: &Bench) {
    let before = BOTH.map(|host| tree(bench, host));
    bench
        .ishprov(&["tune", "--dry-run", "--probe-disk", "--workload", "oltp"])
        .code(0)
        .says("8 kB random read");
    bench.ishprov(&["tune", "--explain", "work_mem"]).code(0).says("What would change it:");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(tree(bench, host), before, "{host} was touched");
    }
}

fn nobody_to_ask_is_no_yes(bench: &Bench) {
    let before = BOTH.map(|host| tree(bench, host));
    bench.ishprov(&["tune", "--connections", "90"]).code(1).says("nobody can be asked here");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(tree(bench, host), before, "{host} was touched");
    }
}

fn a_no_at_the_terminal_touches_nothing(bench: &Bench) {
    let before = BOTH.map(|host| tree(bench, host));
    let shown = bench.at_a_terminal("n", &["tune", "--connections", "90"]);
    assert!(shown.contains("Apply this? [y/N]") && shown.contains("Nothing was touched."), "{shown}");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(tree(bench, host), before, "{host} was touched");
    }
}

fn what_takes_a_reload_restarts_nothing(bench: &Bench) {
    let before = BOTH.map(|host| started(bench, host));
    bench.vars(&format!("{BASE}postgresql_settings: {{log_min_duration_statement: 777ms, work_mem: 2MB}}\n"));
    bench.ishprov(&["tune", "--yes"]).code(0).says("A reload is enough on every host");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(started(bench, host), before, "{host} was restarted");
        assert_eq!(bench.sql(host, "SHOW log_min_duration_statement"), "777ms");
        assert_eq!(bench.sql(host, "SHOW work_mem"), "2MB");
        let kept = bench.sh(host, "stat -c '%U %a' /var/lib/ishprov/tune/15-main.previous");
        assert_eq!(kept, "postgres 644");
    }
    bench.ishprov(&["tune", "--yes"]).code(0).says("Nothing to do");
    quiet(bench);
}

fn what_takes_a_restart_restarts_each_server_once(bench: &Bench) {
    let before = BOTH.map(|host| starts(bench, host));
    bench.vars(&BASE.replace("100", "120"));
    let ran = bench.ishprov(&["tune", "--yes"]);
    ran.code(0).says("Restarts, one by one: pg-replica1, then pg-primary");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(starts(bench, host), before + 1, "{host}");
        assert_eq!(bench.sql(host, "SHOW max_connections"), "120");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0");
    }
    let shown = bench.ishprov(&["tune", "--dry-run", "--all", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.code(0).stdout).expect("JSON");
    let settings = shown[PRIMARY]["tuning"]["settings"].as_array().expect("a list");
    assert!(settings.len() > 40, "{}", settings.len());
    for setting in settings {
        let name = setting["name"].as_str().expect("a name");
        let printed = match &setting["value"] {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
            other => other.to_string(),
        };
        if !name.starts_with("tcp_") {
            assert_eq!(bench.sql(PRIMARY, &format!("SHOW {name}")), printed.trim(), "{name}");
        }
    }
    quiet(bench);
}

fn undo_brings_back_what_was(bench: &Bench) {
    bench.ishprov(&["tune", "--undo", "--yes"]).code(0);
    for host in BOTH {
        assert_eq!(bench.sql(host, "SHOW max_connections"), "100", "{host}");
        assert_eq!(bench.sql(host, "SHOW log_min_duration_statement"), "777ms", "{host}");
    }
    assert_eq!(bench.sql(PRIMARY, "SELECT state FROM pg_stat_replication"), "streaming");
    bench.ishprov(&["tune", "--undo", "--yes"]).code(2).says("it was undone already");
}

fn what_was_before_a_killed_attempt_comes_back(bench: &Bench) {
    bench.vars(BASE);
    bench.ishprov(&["tune", "--yes"]).code(0);
    let before = BOTH.map(|host| conf(bench, host));
    bench.vars(&BASE.replace("100", "110"));
    bench.killed_at("PLAY [servers]", &["tune", "--yes"]);
    for (host, before) in BOTH.iter().zip(&before) {
        assert_ne!(conf(bench, host), *before, "{host}: the file was written, and nothing restarted");
    }
    // As if it had been killed while it noted its end, and had come to one of the hosts.
    bench.sh(PRIMARY, "cd /var/lib/ishprov/tune && mv 15-main.applying 15-main.applied");
    // The next attempt does not take what the killed one has left for what was before.
    bench.vars(&BASE.replace("100", "105"));
    bench.ishprov(&["tune", "--yes"]).code(0).says("An attempt that did not end goes on");
    assert_eq!(bench.sql(STANDBY, "SHOW max_connections"), "105");
    // An undo that fails on the way can be given again; a host with nothing to take back does not stand in its way.
    let broken = "/etc/postgresql/15/main/conf.d/99-broken.conf";
    bench.write(STANDBY, broken, "work_mem = much\n");
    bench
        .ishprov(&["tune", "--undo", "--yes"])
        .code(2)
        .says("the configuration of pg-replica1 is not in order");
    for host in BOTH {
        assert_eq!(bench.sql(host, "SHOW max_connections"), "105", "{host}: no server was touched");
    }
    bench.sh(STANDBY, &format!("rm {broken}"));
    bench.ishprov(&["tune", "--undo", "--yes"]).code(0);
    for (host, before) in BOTH.iter().zip(&before) {
        assert_eq!(conf(bench, host), *before, "{host}");
        assert_eq!(bench.sql(host, "SHOW max_connections"), "100", "{host}");
        assert_eq!(bench.sh(host, "ls /var/lib/ishprov/tune"), "", "{host}: nothing is left");
    }
    bench.vars(BASE);
    quiet(bench);
}

fn only_what_an_attempt_came_to_is_taken_back(bench: &Bench) {
    let work_mem = |size: &str| bench.vars(&format!("{BASE}postgresql_settings: {{work_mem: {size}}}\n"));
    let in_force = |sizes: [&str; 2]| {
        for (host, size) in BOTH.iter().zip(sizes) {
            assert_eq!(bench.sql(host, "SHOW work_mem"), size, "{host}");
        }
    };
    work_mem("1MB");
    bench.ishprov(&["tune", "--yes"]).code(0);
    // An attempt that cannot keep what was before on one host: what an older one kept there stays where it is.
    let standing = BOTH.map(|host| conf(bench, host));
    let read_only = "cd /var/lib/ishprov && mount --bind tune tune && mount -o remount,ro,bind tune";
    bench.sh(STANDBY, read_only);
    work_mem("2MB");
    let failed = bench.ishprov(&["tune", "--yes"]);
    failed.code(2).says("Undone: the servers run with the settings they had before");
    bench.sh(STANDBY, "umount /var/lib/ishprov/tune");
    for (host, standing) in BOTH.iter().zip(standing) {
        assert_eq!(conf(bench, host), standing, "{host}");
    }
    in_force(["1MB", "1MB"]);
    // One that was killed when it had come to the primary alone is taken back there alone.
    bench.ishprov(&["tune", "--yes"]).code(0);
    in_force(["2MB", "2MB"]);
    let standing = BOTH.map(|host| conf(bench, host));
    work_mem("3MB");
    bench.killed_at("PLAY [servers]", &["tune", "--yes", "--limit", PRIMARY]);
    assert_ne!(conf(bench, PRIMARY), standing[0], "the file was written");
    bench.ishprov(&["tune", "--undo", "--yes"]).code(0).says("stays as it is");
    in_force(["2MB", "2MB"]);
    assert_eq!(BOTH.map(|host| conf(bench, host)), standing);
    // The standby still keeps what was before the change that ended; that the primary keeps nothing is no hindrance.
    assert_eq!(bench.sh(PRIMARY, "ls /var/lib/ishprov/tune"), "");
    bench.ishprov(&["tune", "--undo", "--yes"]).code(0).says("stays as it is");
    in_force(["2MB", "1MB"]);
    bench.ishprov(&["tune", "--undo", "--yes"]).code(2).says("it was undone already");
    bench.vars(BASE);
    bench.ishprov(&["tune", "--yes"]).code(0);
    quiet(bench);
}

fn lowering_reaches_standbys_in_a_second_pass(bench: &Bench) {
    bench.vars(&BASE.replace("100", "80"));
    let ran = bench.ishprov(&["tune", "--yes"]);
    ran.code(0).says("then pg-primary for `max_connections`");
    for host in BOTH {
        assert_eq!(bench.sql(host, "SHOW max_connections"), "80", "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0");
    }
    bench.ishprov(&["tune", "--yes"]).code(0).says("Nothing to do");
    quiet(bench);
    bench.vars(BASE);
    bench.ishprov(&["tune", "--yes"]).code(0);
}

fn what_is_in_use_is_not_lowered(bench: &Bench) {
    const APP: &str = "/etc/postgresql/15/main/conf.d/99-app.conf";
    let wants = "wal_level = logical\nmax_locks_per_transaction = 512\nmax_prepared_transactions = 50\n";
    for host in [STANDBY, PRIMARY] {
        let script =
            format!("printf '{wants}' >{APP}; chown postgres: {APP}; systemctl restart postgresql@15-main");
        bench.sh(host, &script.replace('\n', "\\n"));
    }
    bench.sql(PRIMARY, "SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')");
    bench
        .ishprov(&["tune", "--dry-run"])
        .code(0)
        .says("`wal_level` stays logical, not replica: logical slot cdc")
        .says("`max_locks_per_transaction` stays 512, not 64")
        .says("`max_prepared_transactions` stays 50, not 0");
    bench.ishprov(&["run", "site.yaml"]).code(0);
    let in_force = |host: &str| {
        bench.sql(
            host,
            "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('wal_level', \
             'max_locks_per_transaction', 'max_prepared_transactions')",
        )
    };
    // What the site has taken over holds without the file that it came from.
    BOTH.iter().for_each(|host| drop(bench.sh(host, &format!("rm {APP}"))));
    bench.ishprov(&["run", "site.yaml"]).code(0);
    for host in BOTH {
        assert_eq!(in_force(host), "512 50 logical", "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0");
    }
    let lower = "{wal_level: replica, max_locks_per_transaction: 64, max_prepared_transactions: 0}";
    bench.vars(&format!("{BASE}postgresql_settings: {lower}\n"));
    bench.ishprov(&["tune", "--yes"]).says("while a logical slot exists (cdc)");
    assert_eq!(in_force(PRIMARY), "512 50 logical");
}

fn young_statistics_prove_nothing(bench: &Bench) {
    let ran = bench.ishprov(&["tune", "--dry-run", "--from-stats"]);
    ran.code(0).says("nothing is concluded from less than 6 hours");
    assert!(!ran.stdout.contains("To have it so"), "{}", ran.stdout);
}

fn what_keeps_a_server_from_starting_is_taken_back(bench: &Bench) {
    let before = BOTH.map(|host| conf(bench, host));
    // `postgres -C` takes it; a start with WAL senders does not.
    bench.vars(&format!("{BASE}postgresql_settings: {{wal_level: minimal}}\n"));
    let ran = bench.ishprov(&["tune", "--yes"]);
    ran.code(2).says("Undone: the servers run with the settings they had before");
    for (host, before) in BOTH.iter().zip(before) {
        assert_eq!(conf(bench, host), before, "{host}");
        assert_eq!(bench.sql(host, "SHOW wal_level"), "replica", "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0");
    }
    assert_eq!(bench.sql(PRIMARY, "SELECT count(*) FROM pg_stat_replication"), "1");
    bench.vars(BASE);
    quiet(bench);
}

fn a_server_takes_what_is_printed(bench: &Bench) {
    let shown = ["tune", "--dry-run", "--limit", PRIMARY, "--workload", "oltp", "--format"];
    let file = bench.ishprov(&[&shown[..], &["conf"]].concat());
    let path = "/etc/postgresql/15/main/conf.d/90-shown.conf";
    bench.write(PRIMARY, path, &file.code(0).stdout);
    let faults = format!(
        "SELECT count(*) FILTER (WHERE error IS NOT NULL), count(*) > 40 FROM pg_file_settings WHERE sourcefile = '{path}'"
    );
    assert_eq!(bench.sql(PRIMARY, &faults), "0|t");
    bench.sh(PRIMARY, &format!("rm {path}"));
    let statements = bench.ishprov(&[&shown[..], &["sql"]].concat());
    assert_eq!(bench.sql(PRIMARY, &statements.code(0).stdout), "t", "pg_reload_conf() is true");
    let set = "SELECT count(*) > 40 FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf' AND error IS NULL";
    assert_eq!(bench.sql(PRIMARY, set), "t");
    bench.sql(PRIMARY, "ALTER SYSTEM RESET ALL; SELECT pg_reload_conf();");
    bench.ishprov(&["tune", "--dry-run"]).code(0).says("every setting is right as it is");
}

fn candidates_are_measured_and_what_was_comes_back(bench: &Bench) {
    bench.script("work.sql", "INSERT INTO worked DEFAULT VALUES;\n");
    bench.sql(PRIMARY, "CREATE TABLE worked (at timestamptz DEFAULT clock_timestamp())");
    let before = BOTH.map(|host| conf(bench, host));
    let measure = ["tune", "--measure", "work.sql", "--clients", "4", "--seconds", "3"];
    bench.ishprov(&[&measure[..], &["--minutes", "1", "--yes"]].concat()).code(1).says("too few");
    bench.ishprov(&["tune", "--measure", "none.sql", "--yes"]).code(1).says("cannot read `none.sql`");
    // Killed in the middle of it: an undo brings back what was.
    bench.killed_at("  as it is", &[&measure[..], &["--minutes", "3", "--yes"]].concat());
    // A script that cannot run: said, and back.
    bench.script("broken.sql", "SELECT nothing FROM nowhere;\n");
    let broken =
        bench.ishprov(&["tune", "--measure", "broken.sql", "--seconds", "3", "--minutes", "3", "--yes"]);
    broken.code(2).says("did not run to its end").says("with the settings they had before");
    for (host, before) in BOTH.iter().zip(&before) {
        assert_eq!(conf(bench, host), *before, "{host}");
    }
    let ran = bench.ishprov(&[&measure[..], &["--minutes", "3", "--yes"]].concat());
    ran.code(0).says("against what is (spread)").says("The servers run with the settings they had before");
    assert!(ran.stdout.matches("transactions a second").count() >= 4, "{}", ran.stdout);
    for (host, before) in BOTH.iter().zip(&before) {
        assert_eq!(conf(bench, host), *before, "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0");
        assert_eq!(bench.sh(host, "ls /var/lib/ishprov/tune"), "", "{host}: nothing is left");
    }
    quiet(bench);
}

fn what_alter_system_holds_is_refused(bench: &Bench) {
    bench.sql(PRIMARY, "ALTER SYSTEM SET work_mem = '7MB'");
    bench.sql(PRIMARY, "SELECT pg_reload_conf()");
    bench.ishprov(&["tune", "--yes"]).code(1).says("ALTER SYSTEM RESET work_mem;");
    assert_eq!(bench.sql(PRIMARY, "SHOW work_mem"), "7MB");
}
