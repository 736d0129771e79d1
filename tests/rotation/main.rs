//! `ishprov certs rotate` on a running cluster, with clients that check certificates all the while: nobody notices.
//! Needs root and what ./test installs.

#![allow(clippy::print_stderr)]

#[allow(dead_code)] // the cluster's tests use all of it
#[path = "../cluster/bench.rs"]
mod bench;
mod clients;

use bench::{Bench, Ran};
use clients::Clients;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PRIMARY: &str = "pg-primary";
const ALL: [&str; 3] = ["pg-primary", "pg-replica1", "pg-replica2"];

/// What must not change: when a host's server started, and the process that receives from the primary.
fn undisturbed(bench: &Bench) -> BTreeMap<&'static str, String> {
    let ask = "SELECT pg_postmaster_start_time(), (SELECT pid FROM pg_stat_wal_receiver)";
    ALL.into_iter().map(|host| (host, bench.sql(host, ask))).collect()
}

/// The certificate that a host's server shows, as openssl prints its serial number and its issuer.
fn shown(bench: &Bench, host: &str) -> String {
    bench.sh(
        host,
        "openssl s_client -starttls postgres -connect 127.0.0.1:5432 </dev/null 2>/dev/null | openssl x509 -noout -serial -issuer",
    )
}

/// Names, modes and contents of a host's certificates and keys.
fn files(bench: &Bench, host: &str) -> String {
    bench.sh(
        host,
        "cd /etc/postgresql-tls && for f in $(ls -A); do stat -c '%n %a %U %G' $f; sha256sum < $f; done",
    )
}

fn quiet_run(bench: &Bench, when: &str) {
    let run = bench.run(&[]);
    run.code(0);
    for host in ALL {
        assert_eq!(run.stats(host)["changed"], 0, "{when}: {:?}", run.changed_tasks());
    }
}

fn sound(bench: &Bench) {
    bench.of(&["certs", "status"]).code(0);
    bench.of(&["certs", "verify"]).code(0);
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    bench.until(PRIMARY, "both standbys stream", || bench.sql(PRIMARY, streaming) == "2");
}

/// Begins a command, and ends it by SIGKILL when lines that begin so have come, one after the other, and so much time
/// more has passed; whether they came.
fn killed_at(bench: &Bench, arguments: &[&str], lines: &[&str], later: u64) -> bool {
    let mut child =
        bench.program(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let came = lines.iter().all(|line| said.any(|text| text.starts_with(line)));
    std::thread::sleep(Duration::from_millis(later));
    let _ = child.kill();
    let _ = child.wait();
    eprintln!("killed {later} ms after {lines:?}: {came}");
    came
}

/// Says it again until it is done, as a person would after each kill.
fn until_done(bench: &Bench, arguments: &[&str]) -> Ran {
    let ran = bench.of(arguments);
    ran.code(0);
    ran
}

#[test]
fn nobody_notices() {
    let bench = Bench::new("rotation", 107);
    // One host's keys are made on it and never leave it.
    let vars = bench.path("inventory/host_vars/pg-replica1.yaml");
    let text = fs::read_to_string(&vars).expect("its variables") + "tls_key_origin: host\n";
    fs::write(vars, text).expect("a file");
    another_service(&bench);
    bench.run(&[]).code(0);
    sound(&bench);
    refused(&bench);
    let before = undisturbed(&bench);
    let mut clients = Clients::start(&bench);

    // Certificates: all of them, one host after the other.
    let old: Vec<String> = ALL.iter().map(|host| shown(&bench, host)).collect();
    let canary = bench.sh("pg-replica2", "cat /run/canary");
    let keys: Vec<String> = ALL.iter().map(|host| files(&bench, host)).collect();
    // Meanwhile somebody looks at every command line, environment and file that others can read.
    bench.sh(
        PRIMARY,
        "touch /run/looking; nohup sh -c 'while [ -e /run/looking ]; do { ps -eo args; cat /proc/[0-9]*/environ; } 2>/dev/null | tr \"\\000\" \"\\n\" \
         | grep \"PRIVATE [K]EY\"; find /etc/postgresql-tls /tmp /var/tmp /run -xdev -type f -perm /077 -newer /run/looking 2>/dev/null \
         | xargs -r grep -l \"PRIVATE [K]EY\" 2>/dev/null; echo looked; sleep 0.05; done' > /root/seen 2>&1 < /dev/null &",
    );
    let started = Instant::now();
    let ran = bench.of(&["certs", "rotate", "--yes"]);
    ran.code(0);
    bench.sh(PRIMARY, "rm /run/looking");
    let seen = bench.sh(PRIMARY, "sort /root/seen | uniq -c");
    assert!(seen.ends_with(" looked") && seen.lines().count() == 1, "a key was seen: {seen}");
    eprintln!("{}looked {seen}; leaves: {:.1} s", ran.stdout, started.elapsed().as_secs_f64());
    for (at, host) in ALL.iter().enumerate() {
        assert_ne!(shown(&bench, host), old[at], "{host} shows a new one");
        let now = files(&bench, host);
        let same = keys[at].lines().filter(|line| now.contains(*line) && line.ends_with(" -")).count();
        assert_eq!(same, 1, "{host}: only the CA's file is the same: {now}");
        assert!(!now.contains(".new"), "{host}: {now}");
    }
    assert!(
        ran.stdout.find("pg-replica2  ") < ran.stdout.find("pg-primary  "),
        "standbys first: {}",
        ran.stdout
    );
    assert_eq!(undisturbed(&bench), before);
    assert_ne!(bench.sh("pg-replica2", "cat /run/canary"), canary, "the other service took its new one");
    clients.unharmed("certificates rotated");
    sound(&bench);
    quiet_run(&bench, "after a rotation");

    // Killed after each host, and in the middle of one; the same command goes on and does nothing twice.
    let rotate = ["certs", "rotate", "--yes"];
    for (line, later) in [("New keys", 900), ("  pg-replica1", 0), ("  pg-replica2", 700)] {
        assert!(killed_at(&bench, &rotate, &[line], later), "{line}");
        assert!(bench.path("pki/rotation.json").exists());
        clients.unharmed(line);
    }
    let done = until_done(&bench, &rotate);
    assert!(done.stdout.contains("Going on with the rotation of"), "{}", done.stdout);
    assert!(done.stdout.contains("as it shall be"), "{}", done.stdout);
    assert!(!bench.path("pki/rotation.json").exists());
    assert_eq!(undisturbed(&bench), before);
    clients.unharmed("certificates rotated through kills");
    sound(&bench);

    // The CA. Clients are given both before the second phase, and only the new one at the end.
    let ca = ["certs", "rotate", "--ca", "--yes"];
    let step = ["certs", "rotate", "--ca", "--step", "--yes"];
    for (lines, later) in
        [(&["On pg-"][..], 20), (&["phase 1 of 3"], 0), (&["phase 1 of 3", "  pg-replica1"], 300)]
    {
        assert!(killed_at(&bench, &step, lines, later), "{lines:?}");
        clients.unharmed(&format!("{lines:?}"));
    }
    let first = until_done(&bench, &step);
    assert!(first.stdout.contains("phase 2 of 3"), "{}", first.stdout);
    clients.unharmed("both CAs are trusted");
    quiet_run(&bench, "between the first phase and the second");
    Clients::trust(&bench, &bench.path("pki/ca-bundle.crt"));

    // Alice's certificate hangs on the old CA: the last phase waits for her.
    let alice = |out: &str| ["certs", "issue", "alice", "--out", out].map(str::to_owned);
    let issue = |out: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ishprov"))
            .args(alice(out))
            .current_dir(bench.path("."))
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    issue("before");
    for (lines, later) in [
        (&["phase 1 of 3", "  pg-primary"][..], 150),
        (&["phase 2 of 3", "  pg-replica1"], 0),
        (&["phase 2 of 3", "  pg-replica2"], 900),
        (&["phase 2 of 3", "  pg-primary"], 20),
    ] {
        assert!(killed_at(&bench, &ca, lines, later), "{lines:?}");
        clients.unharmed(&format!("{lines:?}"));
    }
    let waits = bench.of(&ca);
    waits.code(1);
    assert!(
        waits.stderr.contains("alice (alice), until") && waits.stderr.contains("certs issue"),
        "{}",
        waits.stderr
    );
    clients.unharmed("new certificates, both CAs trusted");
    issue("after");
    let trusted = fs::read_to_string(bench.path("after/ca.crt")).expect("what she trusts");
    assert_eq!(trusted, fs::read_to_string(bench.path("pki/ca-bundle.crt")).expect("a bundle"));
    for (lines, later) in [
        (&["phase 2 of 3", "  pg-primary"][..], 100),
        (&["phase 3 of 3"], 500),
        (&["phase 3 of 3", "  pg-replica1"], 900),
    ] {
        assert!(killed_at(&bench, &ca, lines, later), "{lines:?}");
        clients.unharmed(&format!("{lines:?}"));
    }
    let last = until_done(&bench, &ca);
    assert!(last.stdout.contains("is the only CA now"), "{}", last.stdout);
    Clients::trust(&bench, &bench.path("pki/ca.crt"));
    assert_eq!(undisturbed(&bench), before);
    clients.unharmed("the CA rotated through kills");
    for host in ALL {
        assert!(shown(&bench, host).contains(" CA 20"), "{host}: {}", shown(&bench, host));
        assert_eq!(bench.sh(host, "grep -c BEGIN /etc/postgresql-tls/ca.crt"), "1");
    }
    sound(&bench);
    quiet_run(&bench, "after the change of CA");
    for left in ["next", "previous", "ca-bundle.crt", "rotation.json"] {
        assert!(!bench.path("pki").join(left).exists(), "{left} is gone");
    }
    assert!(bench.key_files_with_wide_mode().is_empty());

    // Undisturbed, from one end to the other, with servers that obey a list of what was revoked: Alice's, at last.
    let revoked = std::process::Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(["certs", "revoke", "alice"])
        .current_dir(bench.path("."))
        .output()
        .expect("the program runs");
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let vars = bench.path("inventory/group_vars/postgres.yaml");
    let more = "tls_crl_path: /etc/postgresql-tls/crl.pem\npostgresql_settings: {ssl_crl_file: /etc/postgresql-tls/crl.pem}\n";
    let text = fs::read_to_string(&vars).expect("variables") + more;
    fs::write(vars, text).expect("a file");
    bench.run(&[]).code(0);
    assert_eq!(bench.sql(PRIMARY, "SHOW ssl_crl_file"), "/etc/postgresql-tls/crl.pem");
    let lists = |host: &str| bench.sh(host, "grep -c 'BEGIN X509 CRL' /etc/postgresql-tls/crl.pem");
    let started = Instant::now();
    let whole = bench.of(&["certs", "rotate", "--ca", "--step", "--yes"]);
    whole.code(0);
    assert_eq!(lists(PRIMARY), "2", "one of each CA");
    Clients::trust(&bench, &bench.path("pki/ca-bundle.crt"));
    let whole = bench.of(&ca);
    whole.code(0);
    eprintln!("{}CA: {:.1} s", whole.stdout, started.elapsed().as_secs_f64());
    assert_eq!(undisturbed(&bench), before);
    clients.unharmed("the CA rotated once more");
    assert_eq!(lists(PRIMARY), "1");
    sound(&bench);
    keys_are_nowhere_else(&bench, &(whole.stdout + &whole.stderr));
    full_disk(&bench, &mut clients);
    assert_eq!(undisturbed(&bench), before);
}

/// Another service with a certificate: all there is of it is data of the role, and a unit that can reload. What it says of
/// the certificate that it took lies in /run/canary.
fn another_service(bench: &Bench) {
    let vars = bench.path("inventory/host_vars/pg-replica2.yaml");
    let more = "tls_more_certificates:\n  - {name: canary, sans: [canary.example], cert_path: /etc/canary.crt, key_path: /etc/canary.key, \
                ca_path: /etc/canary-ca.crt, owner: root, reload: canary}\n";
    let text = fs::read_to_string(&vars).expect("its variables") + more;
    fs::write(vars, text).expect("a file");
    bench.sh(
        "pg-replica2",
        "printf '[Service]\\nExecStart=/bin/sleep infinity\\nExecReload=/bin/sh -c \"sha256sum < /etc/canary.crt > /run/canary\"\\n' \
         > /etc/systemd/system/canary.service && systemctl daemon-reload && systemctl start canary",
    );
}

/// Keys are in the files that they are for, and nowhere else: no log, no temporary file, no other place on this machine.
fn keys_are_nowhere_else(bench: &Bench, said: &str) {
    for host in ALL {
        let bodies = bench.sh(host, "cat /etc/postgresql-tls/*.key | grep -v -e '^-'");
        for line in bodies.lines() {
            assert!(!said.contains(line), "{host}: a key was shown");
            let found = bench.sh(
                host,
                &format!(
                    "grep -rlF -- '{line}' /etc /tmp /var/tmp /var/log /run /root /home /srv 2>/dev/null | grep -v '^/etc/postgresql-tls/[a-z]*[.]key$'; \
                     journalctl -b --no-pager | grep -F -- '{line}'; true"
                ),
            );
            assert_eq!(found, "", "{host}");
            let here =
                std::process::Command::new("grep").args(["-rlF", "--", line]).arg(bench.path(".")).output();
            let here = here.expect("grep runs").stdout;
            assert_eq!(String::from_utf8_lossy(&here), "", "{host}: a key stayed on this machine");
        }
    }
}

/// What stands in the way is said before anything is touched.
fn refused(bench: &Bench) {
    let before: Vec<String> = ALL.iter().map(|host| files(bench, host)).collect();
    let refuse = |words: &[&str], code: i32| {
        let before: Vec<String> = ALL.iter().map(|host| files(bench, host)).collect();
        for arguments in [&["certs", "rotate", "--yes"][..], &["certs", "rotate", "--ca", "--yes"]] {
            let ran = bench.of(arguments);
            ran.code(code);
            for word in words {
                assert!(ran.stderr.contains(word), "wants `{word}`: {}", ran.stderr);
            }
            let now: Vec<String> = ALL.iter().map(|host| files(bench, host)).collect();
            assert_eq!(now, before, "{words:?}");
            assert!(!bench.path("pki/rotation.json").exists() && !bench.path("pki/next").exists());
        }
    };
    let ran = bench.of(&["certs", "rotate"]);
    ran.code(1);
    assert!(ran.stderr.contains("nobody can be asked here"), "{}", ran.stderr);

    // A clock that is wrong, as the host itself would tell it.
    bench.sh(
        "pg-replica2",
        "printf '#!/bin/sh\\n[ \"$*\" = +%%s ] && exec /bin/date -d \"3 hours ago\" +%%s\\nexec /bin/date \"$@\"\\n' > /usr/local/bin/date && chmod +x /usr/local/bin/date",
    );
    refuse(&["host pg-replica2", "its clock is 108", "behind", "Nothing was touched"], 2);
    bench.sh("pg-replica2", "rm /usr/local/bin/date");

    // A standby that cannot log in to its primary.
    bench.sh("pg-replica1", "mv /etc/postgresql-tls/replication.key /root/");
    refuse(&["host pg-replica1", "a new login to its primary fails"], 2);
    bench.sh("pg-replica1", "mv /root/replication.key /etc/postgresql-tls/");

    // The CA's key: garbage, and sealed by a password that nobody gives.
    let key = bench.path("pki/ca.key");
    let good = fs::read_to_string(&key).expect("the key");
    fs::write(&key, "no key\n").expect("a file");
    refuse(&["CA key"], 1);
    fs::write(&key, &good).expect("a file");
    for (name, text) in [("right", "a long password\n"), ("wrong", "another one\n")] {
        fs::write(bench.path(name), text).expect("a file");
    }
    let sealed = std::process::Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(["vault", "encrypt", "--vault-password-file", "right", "pki/ca.key"])
        .current_dir(bench.path("."))
        .output()
        .expect("the program runs");
    assert!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    refuse(&["the CA key cannot be opened", "--vault-password-file"], 1);
    let wrong = bench.of(&["certs", "rotate", "--yes", "--vault-password-file", "wrong"]);
    wrong.code(1);
    assert!(wrong.stderr.contains("the CA key cannot be opened"), "{}", wrong.stderr);
    fs::write(&key, &good).expect("a file");

    // A host that cannot be reached.
    bench.sh("pg-replica2", "systemd-run --on-active=15 --timer-property=AccuracySec=1s systemctl start ssh.socket ssh.service; systemctl stop ssh.socket ssh.service");
    let ran = bench.of(&["certs", "rotate", "--yes", "-T", "3"]);
    ran.code(4);
    assert!(ran.stderr.contains("Nothing was touched"), "{}", ran.stderr);
    bench.until("pg-replica2", "its logins", || bench.reaches("pg-replica2"));
    let now: Vec<String> = ALL.iter().map(|host| files(bench, host)).collect();
    assert_eq!(now, before);
}

/// The disk is full on one host in the middle.
fn full_disk(bench: &Bench, clients: &mut Clients<'_>) {
    let host = "pg-replica2";
    bench.sh(
        host,
        "cd / && cp -a /etc/postgresql-tls /root/tls && mount -t tmpfs -o size=32k,mode=0750 tmpfs /etc/postgresql-tls && \
         cp -a /root/tls/. /etc/postgresql-tls/ && chgrp postgres /etc/postgresql-tls && \
         { dd if=/dev/zero of=/etc/postgresql-tls/full bs=4k 2>/dev/null; true; }",
    );
    let (before, served) = (files(bench, host), shown(bench, host));
    let ran = bench.of(&["certs", "rotate", "--yes"]);
    ran.code(2);
    assert!(ran.stderr.contains("No space left") && ran.stderr.contains(host), "{}", ran.stderr);
    assert!(ran.stderr.contains("The same command goes on"), "{}", ran.stderr);
    assert_eq!(files(bench, host), before, "nothing half done");
    assert_eq!(shown(bench, host), served);
    clients.unharmed("a full disk in the middle");
    bench.sh(host, "rm /etc/postgresql-tls/full");
    let ran = bench.of(&["certs", "rotate", "--yes"]);
    ran.code(0);
    assert!(ran.stdout.contains("Going on") && ran.stdout.contains("as it shall be"), "{}", ran.stdout);
    assert_ne!(shown(bench, host), served);
    clients.unharmed("after the full disk");
    bench.sh(host, "cp -a /etc/postgresql-tls /root/tls.new && umount /etc/postgresql-tls && cp -a /root/tls.new/. /etc/postgresql-tls/ && rm -r /root/tls /root/tls.new");
    sound(bench);
}
