//! Getting in: keys of users, keys of hosts, becoming root.

use crate::bench::{Bench, HOSTS};
use ishprov::lab::TEST_SUDO_PASSWORD;
use std::fs;
use std::process::Command;

pub fn keys_of_users_and_hosts(bench: &Bench) {
    let wrong = bench.path("wrong_key").display().to_string();
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &wrong]).status();
    assert!(made.expect("ssh-keygen runs").success());
    let refused = bench.run_with(&wrong, &bench.known_hosts(), "who.yaml", &[]);
    refused.code(4).says(&["198.18.71.11:22 refused user `root`", "wrong_key", "h1", "--private-key"]);
    assert_eq!(refused.stats("h2")["unreachable"], 1);
    let missing = bench.run_with("/nowhere/key", &bench.known_hosts(), "who.yaml", &[]);
    missing.code(4).says(&["/nowhere/key (no such file)"]);

    let (key, own) = (bench.private_key(), bench.path("own_known_hosts"));
    let known = own.display().to_string();
    let unknown = bench.run_with(&key, &known, "who.yaml", &[]);
    unknown.code(4).says(&["host key of `198.18.71.11` is not known", "SHA256:", "--accept-new-host-keys"]);
    assert!(!own.exists(), "a refused key is not written down");
    bench.run_with(&key, &known, "who.yaml", &["--accept-new-host-keys"]).code(0);
    let text = fs::read_to_string(&own).expect("keys are remembered");
    assert_eq!(text.lines().count(), HOSTS.len(), "{text}");
    bench.run_with(&key, &known, "who.yaml", &[]).code(0);

    // The second host's key in the name of the first.
    let other = text.lines().find(|line| line.starts_with("198.18.71.12 ")).expect("the key of h2");
    let swapped = format!("# a comment\n{}\n{other}\n", other.replace("198.18.71.12", "198.18.71.11"));
    fs::write(&own, &swapped).expect("a file");
    for arguments in [&[][..], &["--accept-new-host-keys"]] {
        let changed = bench.run_with(&key, &known, "who.yaml", arguments);
        changed.code(4).says(&[
            "THE HOST KEY OF `198.18.71.11` HAS CHANGED",
            &format!("{known}:2"),
            "ssh-keygen -R",
            "somebody is in between",
        ]);
        assert_eq!(changed.stats("h2")["ok"], 2, "the other host is not held up");
        assert_eq!(fs::read_to_string(&own).expect("a file"), swapped, "a changed key is never taken in");
    }
}

pub fn becoming_root(bench: &Bench) {
    let user = |name: &str| format!("ansible_user={name}");
    bench.run("who.yaml", &["-e", &user("ops")]).code(0);
    let may_not = bench.run("who.yaml", &["-e", &user("nosudo")]);
    may_not.code(4).says(&["cannot become `root` by `sudo`", "h1", "sudoers"]);
    let without = bench.run("who.yaml", &["-e", &user("pwops")]);
    without.code(4).says(&["a password is required", "ansible_become_password"]);
    bench.write("wrong.yaml", "ansible_become_password: not-the-password\n");
    let wrong = bench.run("who.yaml", &["-e", &user("pwops"), "-e", "@wrong.yaml", "-vv"]);
    wrong.code(4).says(&["incorrect password"]).never_says(&["not-the-password"]);
    bench.write("right.yaml", format!("ansible_become_password: {TEST_SUDO_PASSWORD}\n"));
    let right = bench.run("who.yaml", &["-e", &user("pwops"), "-e", "@right.yaml", "-vv"]);
    right.code(0).says(&["\"stdout\":\"pwops\"", "\"stdout\":\"root:\""]).never_says(&[TEST_SUDO_PASSWORD]);
}
