//! What people change later: a port, a network, a disk. One run each, told, and the next one is quiet.

use super::bench::{Bench, Ran};
use super::{ALL, PRIMARY, REPLICAS, tree};

fn quiet(bench: &Bench, arguments: &[&str]) -> Ran {
    let ran = bench.run(arguments);
    ran.code(0);
    for host in ALL {
        assert_eq!(ran.stats(host)["changed"], 0, "{host}:\n{}", ran.stdout);
    }
    ran
}

pub fn a_port_changes_in_one_run_and_its_rules_go(bench: &Bench) {
    let other = ["-e", "postgresql_port=5433", "-e", r#"{"postgresql_client_networks": []}"#];
    let network = bench.address(PRIMARY).replace(".11", ".0/24");
    bench.run(&["-e", &format!("{{\"postgresql_client_networks\": [\"{network}\"]}}")]).code(0);
    assert!(bench.sh(PRIMARY, "ufw status").contains(&network), "the network is let in");
    let ran = bench.run(&other);
    ran.code(0);
    assert!(ran.stdout.contains("lines leave pg_hba.conf"), "what goes is said:\n{}", ran.stdout);
    for host in ALL {
        let port = bench.sh(host, "su postgres -c 'psql -XAtqp 5433 -c \"SHOW port\"'");
        assert_eq!(port, "5433", "{host}");
        let rules = bench.sh(host, "ufw status");
        assert!(rules.contains("5433") && !rules.contains("5432"), "{rules}");
        assert!(!rules.contains(&network), "a network that is no longer named: {rules}");
    }
    bench.until(PRIMARY, "both stream over the new port", || {
        bench.sh(
            PRIMARY,
            "su postgres -c \"psql -XAtqp 5433 -c \\\"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'\\\"\"",
        ) == "2"
    });
    quiet(bench, &other);
    bench.run(&[]).code(0);
    quiet(bench, &[]);
}

pub fn a_rebuild_brings_tablespaces_and_removes_only_what_it_moved(bench: &Bench) {
    let host = REPLICAS[0];
    for each in ALL {
        bench.sh(each, "install -d -o postgres -g postgres -m 700 /srv/space");
    }
    bench.sql(PRIMARY, "CREATE TABLESPACE space LOCATION '/srv/space'");
    bench.sql(PRIMARY, "CREATE TABLE roomy TABLESPACE space AS SELECT generate_series(1, 1000) AS n");
    let kept = "/var/lib/postgresql/15/main.old-2";
    bench.sh(host, &format!("mkdir {kept} && echo mine > {kept}/notes && systemctl stop postgresql@15-main"));
    let ran = bench.run(&["-e", &format!("postgresql_rebuild={host}")]);
    ran.code(0);
    assert_eq!(bench.sql(host, "SELECT count(*) FROM roomy"), "1000");
    assert_eq!(bench.sh(host, "ls /srv/space | wc -l"), "1", "nothing is left in the tablespace's folder");
    assert_eq!(
        bench.sh(host, &format!("cat {kept}/notes; ls -d /var/lib/postgresql/15/main.old-*")),
        format!("mine\n{kept}")
    );
    // A folder that holds what nobody here uses is refused with its path, in check mode too.
    let lost =
        "systemctl stop postgresql@15-main && mv /var/lib/postgresql/15/main /var/lib/postgresql/15/aside";
    bench.sh(host, lost);
    for arguments in [&["--check"][..], &[]] {
        let ran = bench.run(arguments);
        ran.code(2);
        assert!(ran.stderr.contains("rm -r /srv/space/PG_15_*"), "{}", ran.stderr);
    }
    bench.sh(
        host,
        "mv /var/lib/postgresql/15/aside /var/lib/postgresql/15/main && systemctl start postgresql@15-main",
    );
    bench.sh(host, &format!("rm -r {kept}"));
    bench.sql(PRIMARY, "DROP TABLE roomy");
    bench.sql(PRIMARY, "DROP TABLESPACE space");
    quiet(bench, &[]);
}

pub fn a_cluster_of_somebody_else_is_named_and_refusals_come_first(bench: &Bench) {
    let config = "/etc/postgresql/15/main";
    bench.sh(
        PRIMARY,
        &format!(
            "cp -a {config} /root/config && cd {config} && sed -i 1d pg_hba.conf conf.d/50-ishprov.conf && \
             echo 'host legacy legacy 0.0.0.0/0 md5' >> pg_hba.conf && echo 'work_mem = 3MB' > conf.d/99-local.conf"
        ),
    );
    let before = ALL.map(|host| tree(bench, host));
    let ran = bench.run(&["--check"]);
    ran.code(0);
    for words in [
        "pg-primary: a cluster that is in use is taken over",
        "host legacy legacy 0.0.0.0/0 md5",
        "conf.d/99-local.conf has the last word on work_mem: 3MB",
        "NAME.before-ishprov",
    ] {
        assert!(ran.stdout.contains(words), "`{words}` is not said:\n{}", ran.stdout);
    }
    for arguments in [&["--check"][..], &[]] {
        let ran = bench.run(&[arguments, &["-e", "postgresql_data_directory=/srv/elsewhere"]].concat());
        ran.code(2);
        assert!(ran.stderr.contains("postgresql_data_directory"), "{}", ran.stderr);
    }
    assert_eq!(ALL.map(|host| tree(bench, host)), before, "something was touched");
    bench.run(&[]).code(0);
    assert!(bench.sh(PRIMARY, &format!("cat {config}/pg_hba.conf.before-ishprov")).contains("host legacy"));
    bench.sh(PRIMARY, &format!("rm -r /root/config {config}/conf.d/99-local.conf {config}/*.before-ishprov"));
    bench.run(&[]).code(0);
    quiet(bench, &[]);
}

pub fn a_paused_standby_stays_paused(bench: &Bench) {
    let host = REPLICAS[1];
    bench.sql(host, "SELECT pg_wal_replay_pause()");
    let ran = bench.run(&["-e", r#"{"postgresql_settings": {"wal_buffers": "8MB"}}"#]);
    ran.code(0);
    assert!(ran.stdout.contains("is paused by hand and stays so"), "{}", ran.stdout);
    assert_eq!(bench.sql(host, "SELECT pg_get_wal_replay_pause_state()"), "paused");
    bench.sql(host, "SELECT pg_wal_replay_resume()");
    bench.run(&[]).code(0);
    quiet(bench, &[]);
}
