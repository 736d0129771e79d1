//! What would destroy something, or lock somebody out, is refused on the hosts, and nothing is touched.

use super::bench::Bench;
use super::{ALL, PRIMARY, REPLICAS, tree};

const DATA: &str = "/var/lib/postgresql/15/main";

/// A run that must fail, name `words`, and leave every file of every host as it was.
fn refused(bench: &Bench, arguments: &[&str], words: &[&str]) {
    let before = ALL.map(|host| tree(bench, host));
    let ran = bench.run(arguments);
    ran.code(2);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is not said:\n{}\n{}", ran.stdout, ran.stderr);
    }
    for (host, before) in ALL.iter().zip(&before) {
        assert_eq!(tree(bench, host), *before, "{host} was touched");
    }
}

pub fn another_cluster_on_the_port(bench: &Bench) {
    refused(bench, &["-e", "postgresql_cluster_name=second"], &["5432", "15/main", PRIMARY]);
    for host in ALL {
        assert_eq!(bench.sh(host, "pg_lsclusters -h | awk '{print $2}'"), "main");
    }
}

/// A checkout that lacks what another one made: nothing is made anew behind people's backs.
pub fn a_lost_authority_or_password(bench: &Bench) {
    let away = |name: &str| {
        let (path, kept) = (bench.path(name), bench.path("kept"));
        std::fs::rename(&path, &kept).expect("it is there");
        move || std::fs::rename(&kept, &path).expect("nothing was made in its place")
    };
    let stored = "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1";
    let before = bench.sql(PRIMARY, stored);
    for (lost, words) in [
        ("pki", ["there is no CA in `pki`", "certs rotate --ca"]),
        ("inventory/secrets", ["has a password that is not known here", "postgresql_renew_passwords"]),
    ] {
        let back = away(lost);
        refused(bench, &[], &words);
        refused(bench, &["--check"], &words);
        back();
    }
    assert_eq!(bench.sql(PRIMARY, stored), before);
    bench.run(&[]).code(0);
}

pub fn a_running_primary_is_never_cloned(bench: &Bench) {
    let identifier = "SELECT system_identifier, (SELECT count(*) FROM proof) FROM pg_control_system()";
    let before = bench.sql(PRIMARY, identifier);
    refused(bench, &["-e", "postgresql_rebuild=pg-primary"], &[PRIMARY]);
    assert_eq!(bench.sql(PRIMARY, identifier), before);
    assert_eq!(bench.sql(PRIMARY, "SELECT pg_is_in_recovery()"), "f");
}

pub fn a_standby_of_another_system(bench: &Bench) {
    let host = REPLICAS[1];
    let bin = "/usr/lib/postgresql/15/bin";
    bench.sh(
        host,
        &format!(
            "systemctl stop postgresql@15-main && mv {DATA} {DATA}.kept && install -d -o postgres -g postgres -m 700 {DATA} && \
             su postgres -c '{bin}/initdb -k -E UTF8 --locale C.UTF-8 -D {DATA} >/dev/null && touch {DATA}/standby.signal'"
        ),
    );
    let foreign = bench.sh(host, &format!("{bin}/pg_controldata {DATA} | grep 'system identifier'"));
    refused(bench, &[], &[host, "system identifier"]);
    assert_eq!(bench.sh(host, &format!("{bin}/pg_controldata {DATA} | grep 'system identifier'")), foreign);
    // Not even when somebody says that it may go.
    refused(bench, &["-e", "postgresql_rebuild=pg-replica2"], &[host, "system identifier"]);
    bench.sh(host, &format!("rm -r {DATA} && mv {DATA}.kept {DATA} && systemctl start postgresql@15-main"));
    bench.run(&[]).code(0);
}

pub fn a_firewall_that_locks_us_out_takes_itself_back(bench: &Bench) {
    let host = REPLICAS[1];
    // A rule of somebody else that stands before all of ours: nobody new gets in.
    bench.sh(
        host,
        "ufw disable && cp -p /etc/ufw/before.rules /root/before.rules && \
         sed -i '/^# End required lines/a -A ufw-before-input -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP' /etc/ufw/before.rules",
    );
    let ran = bench.run(&["-e", "firewall_lockout_timeout=15", "--limit", &format!("{PRIMARY},{host}")]);
    ran.code(2);
    assert!(ran.stderr.contains("firewall") || ran.stderr.contains("ufw"), "{}", ran.stderr);
    bench.until(host, "the host lets us in again by itself", || bench.reaches(host));
    assert_eq!(bench.sh(host, "ufw status"), "Status: inactive");
    bench.sh(host, "mv /root/before.rules /etc/ufw/before.rules");
    bench.run(&[]).code(0);
    assert!(bench.sh(host, "ufw status").contains("Status: active"));
}

pub fn rules_of_others_stay(bench: &Bench) {
    bench.sh(
        PRIMARY,
        "ufw allow from 198.18.99.0/24 to any port 9100 proto tcp comment 'somebody else' >/dev/null",
    );
    let quiet = bench.run(&[]);
    quiet.code(0);
    assert_eq!(quiet.stats(PRIMARY)["changed"], 0, "{}", quiet.stdout);
    let status = bench.sh(PRIMARY, "ufw status");
    assert!(status.contains("9100/tcp") && status.contains("somebody else"), "{status}");
}
