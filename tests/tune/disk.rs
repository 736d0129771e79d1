//! A slot whose standby is gone may not fill the disk of its primary.

use super::bench::Bench;
use super::{GIB, PRIMARY};

/// 3 GB of WAL and nothing else, in pieces, so that each is a commit.
const WRITE: &str = "SELECT 'SELECT pg_logical_emit_message(true, ''fill'', repeat(''x'', 10000000));' \
                     FROM generate_series(1, 300) \\gexec\n";

#[test]
fn lab_a_dead_slot_does_not_stop_the_primary() {
    let bench = Bench::new("tune-disk", 106, &[(PRIMARY, 2 * GIB, 2 * GIB)]);
    bench.edit(
        "inventory",
        "printf 'all:\\n  children:\\n    postgres:\\n      children:\\n        postgres_primary:\\n          hosts:\\n            pg-primary:\\n' \
         > hosts.yaml; rm -rf host_vars/pg-replica*",
    );
    bench.vars("postgresql_max_connections: 100\npostgresql_workload: web\n");
    bench.ishprov(&["run", "site.yaml"]).code(0);
    let cap = "SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'";
    let cap: u64 = bench.sql(PRIMARY, cap).parse().expect("a number");
    assert!((128..=512).contains(&cap), "{cap} MB for slots on a disk of 2 GB");
    bench.sql(PRIMARY, "SELECT pg_create_physical_replication_slot('gone', true)");

    let before = bench.sql(PRIMARY, "SELECT pg_postmaster_start_time()");
    let (code, _, stderr) = fill(&bench);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(bench.sql(PRIMARY, "SELECT pg_postmaster_start_time()"), before, "the primary stayed up");
    bench.sql(PRIMARY, "CHECKPOINT");
    assert_eq!(bench.sql(PRIMARY, "SELECT wal_status FROM pg_replication_slots"), "lost");
    let wal: u64 = bench
        .sql(PRIMARY, "SELECT (sum(size) / 1048576)::bigint FROM pg_ls_waldir()")
        .parse()
        .expect("a number");
    assert!(wal <= cap * 2, "{wal} MB of WAL, {cap} MB for slots");

    // The same without the cap: the test can see what it guards against.
    bench.sql(PRIMARY, "SELECT pg_drop_replication_slot('gone')");
    bench.sql(PRIMARY, "ALTER SYSTEM SET max_slot_wal_keep_size = -1");
    bench.sql(PRIMARY, "SELECT pg_reload_conf()");
    bench.sql(PRIMARY, "SELECT pg_create_physical_replication_slot('gone', true)");
    let (code, ..) = fill(&bench);
    assert_ne!(code, 0, "an uncapped slot fills the disk");
    let log =
        bench.sh(PRIMARY, "grep -c 'No space left on device' /var/log/postgresql/postgresql-15-main.log");
    assert_ne!(log, "0");
}

fn fill(bench: &Bench) -> (i32, String, String) {
    bench.ssh(PRIMARY, "su postgres -c 'psql -XAtq -v ON_ERROR_STOP=1' >/dev/null", WRITE)
}
