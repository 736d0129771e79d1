//! A first run that is killed at ten points, each time a little further on, ends where an undisturbed one does.

use super::bench::Bench;
use super::{ALL, PRIMARY, REPLICAS};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

/// A task that the first host has behind it, and milliseconds into what comes after: between tasks, and in the middle of
/// packages, of initdb, of the server's start and of the base backup.
const MOMENTS: [(&str, u64); 10] = [
    ("common : packages", 0),
    ("firewall : package", 0),
    ("tls : folder", 0),
    ("tls : certificates", 0),
    ("postgresql : no cluster of the package's own making", 3000),
    ("postgresql : the settings this host can carry", 500),
    ("postgresql : settings", 0),
    ("postgresql : who may connect", 1000),
    ("replication : a slot for every standby", 1200),
    ("replication : databases", 0),
];

/// What a run leaves on a host, as far as it is the same after each: no keys, passwords or times.
fn left_behind(bench: &Bench, host: &str) -> String {
    let files = bench.sh(
        host,
        "cd /; for f in $(find etc/postgresql etc/postgresql-common etc/apt/apt.conf.d/60ishprov-postgresql etc/needrestart \
         etc/sysctl.d etc/systemd/system/postgresql* etc/systemd/logind.conf.d etc/ufw/user.rules etc/hosts \
         var/lib/postgresql/15/main/standby.signal -type f 2>/dev/null | sort); do \
         stat -c '%n %a %U %G' $f; sha256sum < $f; done; \
         stat -c '%n %a %U %G' etc/postgresql-tls etc/postgresql-tls/*; \
         for c in etc/postgresql-tls/*.crt; do openssl x509 -in $c -noout -subject -ext subjectAltName; done; \
         grep -vE '^#|^$' var/lib/postgresql/15/main/postgresql.auto.conf; \
         ufw status | grep -v '^Status' | sort; systemctl is-enabled postgresql; dpkg --audit; ls var/lib/postgresql/15",
    );
    let server = bench.sql(
        host,
        "SELECT rolname, rolsuper, rolreplication, rolcanlogin FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1;\n\
         SELECT datname, pg_get_userbyid(datdba) FROM pg_database ORDER BY 1;\n\
         SELECT slot_name, slot_type, active FROM pg_replication_slots ORDER BY 1;\n\
         SELECT pg_is_in_recovery(), count(*) FROM pg_settings WHERE pending_restart;\n\\connect app\n\
         SELECT extname FROM pg_extension ORDER BY 1;\nSELECT defaclacl::text FROM pg_default_acl ORDER BY 1;",
    );
    format!("{files}\n{server}")
}

#[test]
fn lab_a_first_run_killed_at_ten_points_ends_as_an_undisturbed_one() {
    let wanted = {
        let bench = Bench::new("killed", 77);
        bench.run(&[]).code(0);
        streaming(&bench);
        ALL.map(|host| left_behind(&bench, host))
    };
    let bench = Bench::new("killed", 77);
    for (task, millis) in MOMENTS {
        kill_after(&bench, task, Duration::from_millis(millis));
    }
    let last = bench.run(&[]);
    last.code(0);
    streaming(&bench);
    for (host, wanted) in ALL.iter().zip(&wanted) {
        assert_eq!(left_behind(&bench, host), *wanted, "{host} differs");
    }
    let quiet = bench.run(&[]);
    quiet.code(0);
    for host in ALL {
        assert_eq!(quiet.stats(host)["changed"], 0, "{}", quiet.stdout);
    }
}

fn streaming(bench: &Bench) {
    bench.until(PRIMARY, "both standbys stream", || {
        bench.sql(PRIMARY, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            == REPLICAS.len().to_string()
    });
}

/// Kills a run a moment after a host has this task behind it.
fn kill_after(bench: &Bench, task: &str, moment: Duration) {
    let mut child = bench
        .command(&["--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut faults = Vec::new();
    let reached = out.lines().any(|line| {
        let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        if ["failed", "unreachable"].contains(&event["status"].as_str().unwrap_or_default())
            || event["event"] == "diagnostic"
        {
            faults.push(event.to_string());
        }
        event["task"] == task
    });
    assert!(reached, "the run never came to `{task}`: {faults:#?}");
    std::thread::sleep(moment);
    assert!(
        child.try_wait().expect("a child").is_none(),
        "the run was over before it could be killed after `{task}`"
    );
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
    eprintln!("killed after `{task}`");
}
