//! A restart-class setting goes up and down again on a running cluster, with a client writing all the while.

use super::bench::Bench;
use super::{ALL, PRIMARY, REPLICAS};

/// Seconds since 1970 at which a host's server was started.
fn started(bench: &Bench, host: &str) -> f64 {
    let text = bench.sql(host, "SELECT extract(epoch FROM pg_postmaster_start_time())");
    text.parse().expect("a number")
}

/// Servers that do not follow their primary any more say so in their log.
fn halted(bench: &Bench, host: &str) -> String {
    bench.sh(host, "cat /var/log/postgresql/postgresql-15-main.log | grep -cE 'recovery has paused|insufficient parameter settings|recovery aborted'; true")
}

pub fn connections_are_raised_and_lowered_under_a_writer(bench: &Bench) {
    bench.sql(PRIMARY, "CREATE TABLE written (at timestamptz DEFAULT clock_timestamp())");
    // Five minutes at most, then it ends by itself.
    bench.sh(
        PRIMARY,
        "touch /run/writing; nohup sh -c 'n=0; while [ -e /run/writing ] && [ $n -lt 1500 ]; do n=$((n + 1)); \
         su postgres -c \"psql -XAtqc \\\"INSERT INTO written DEFAULT VALUES\\\"\" >>/run/refused 2>&1; sleep 0.2; done' >/dev/null 2>&1 &",
    );
    let settings = |connections: u32| format!("postgresql_max_connections={connections}");

    let raised = bench.run(&["-e", &settings(320)]);
    raised.code(0);
    for host in ALL {
        assert_eq!(bench.sql(host, "SHOW max_connections"), "320", "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0", "{host}");
    }
    for host in REPLICAS {
        assert!(started(bench, host) < started(bench, PRIMARY), "raising: {host} before its primary");
    }
    let quiet = bench.run(&["-e", &settings(320)]);
    quiet.code(0);
    assert!(ALL.iter().all(|host| quiet.stats(host)["changed"] == 0), "{}", quiet.stdout);

    let before = started(bench, PRIMARY);
    bench.run(&[]).code(0);
    // A standby keeps what its control file records until its primary's change has come to it.
    bench.run(&[]).code(0);
    for host in ALL {
        assert_eq!(bench.sql(host, "SHOW max_connections"), "300", "{host}");
        assert_eq!(bench.sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart"), "0", "{host}");
    }
    let primary = started(bench, PRIMARY);
    assert!(primary > before, "the primary was restarted");
    for host in REPLICAS {
        assert!(primary < started(bench, host), "lowering: the primary before {host}");
        assert_eq!(bench.sql(host, "SELECT pg_get_wal_replay_pause_state()"), "not paused", "{host}");
        assert_eq!(halted(bench, host), "0", "{host} never halted");
    }
    bench.sh(PRIMARY, "rm /run/writing");
    // The writer saw the primary's own two restarts, and nothing else.
    let refused = bench.sh(PRIMARY, "sort /run/refused | grep -vE 'change directory|^$' | sed 's/.*\\(FATAL\\|error\\): *//' | sort -u; true");
    for line in refused.lines() {
        let expected = [
            "shutting down",
            "starting up",
            "No such file",
            "terminating connection",
            "Is the server running",
            "server closed",
            "This probably means",
            "before or while",
            "connection to server",
        ];
        assert!(expected.iter().any(|words| line.contains(words)), "the writer was told: {line}");
    }
    let longest = bench.sql(
        PRIMARY,
        "SELECT count(*) FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM written) s WHERE gap > interval '3 s'",
    );
    assert!(longest.parse::<u32>().expect("a number") <= 2, "longer gaps than two restarts: {longest}");
}
