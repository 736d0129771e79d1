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
    insta::assert_snapshot!(bench.told(refused.code(4)), @"
    error: 198.18.71.11:22 refused user `root` (tried: /DIR/wrong_key; it accepts: publickey, password)
     = host h1
     = help: give a key by `--private-key` or `ansible_ssh_private_key_file`, or load it into ssh-agent
    error: 198.18.71.12:22 refused user `root` (tried: /DIR/wrong_key; it accepts: publickey, password)
     = host h2
     = help: give a key by `--private-key` or `ansible_ssh_private_key_file`, or load it into ssh-agent
    ");
    assert_eq!(refused.stats("h2")["unreachable"], 1);
    let missing = bench.run_with("/nowhere/key", &bench.known_hosts(), "who.yaml", &[]);
    insta::assert_snapshot!(bench.told(missing.code(4)), @"
    error: 198.18.71.11:22 refused user `root` (tried: /nowhere/key (no such file); it accepts: publickey, password)
     = host h1
     = help: give a key by `--private-key` or `ansible_ssh_private_key_file`, or load it into ssh-agent
    error: 198.18.71.12:22 refused user `root` (tried: /nowhere/key (no such file); it accepts: publickey, password)
     = host h2
     = help: give a key by `--private-key` or `ansible_ssh_private_key_file`, or load it into ssh-agent
    ");

    let (key, own) = (bench.private_key(), bench.path("own_known_hosts"));
    let known = own.display().to_string();
    let unknown = bench.run_with(&key, &known, "who.yaml", &[]);
    insta::assert_snapshot!(bench.told(unknown.code(4)), @"
    error: the host key of `198.18.71.11` is not known: ssh-ed25519 SHA256:...
     = host h1
     = help: compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's console, then run with `--accept-new-host-keys`
    error: the host key of `198.18.71.12` is not known: ssh-ed25519 SHA256:...
     = host h2
     = help: compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's console, then run with `--accept-new-host-keys`
    ");
    assert!(!own.exists(), "a refused key is not written down");
    bench.run_with(&key, &known, "who.yaml", &["--accept-new-host-keys"]).code(0);
    let text = fs::read_to_string(&own).expect("keys are remembered");
    assert_eq!(text.lines().count(), HOSTS.len(), "{text}");
    bench.run_with(&key, &known, "who.yaml", &[]).code(0);

    // The second host's key in the name of the first.
    let other = text.lines().find(|line| line.starts_with("198.18.71.12 ")).expect("the key of h2");
    let swapped = format!("# a comment\n{}\n{other}\n", other.replace("198.18.71.12", "198.18.71.11"));
    fs::write(&own, &swapped).expect("a file");
    let mut told = Vec::new();
    for arguments in [&[][..], &["--accept-new-host-keys"]] {
        let changed = bench.run_with(&key, &known, "who.yaml", arguments);
        told.push(bench.told(changed.code(4)));
        assert_eq!(changed.stats("h2")["ok"], 2, "the other host is not held up");
        assert_eq!(fs::read_to_string(&own).expect("a file"), swapped, "a changed key is never taken in");
    }
    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0], @"
    error: THE HOST KEY OF `198.18.71.11` HAS CHANGED: it shows ssh-ed25519 SHA256:... but /DIR/own_known_hosts:2 has SHA256:...
     = host h1
     = help: if the host was really reinstalled, remove line 2 of `/DIR/own_known_hosts` (`ssh-keygen -R '198.18.71.11'`); otherwise somebody is in between
    ");
}

pub fn becoming_root(bench: &Bench) {
    let user = |name: &str| format!("ansible_user={name}");
    bench.run("who.yaml", &["-e", &user("ops")]).code(0);
    bench.run("rise.yaml", &["-e", &user("ops")]).code(0);
    let may_not = bench.run("who.yaml", &["-e", &user("nosudo")]);
    insta::assert_snapshot!(bench.told(may_not.code(4)), @"
    error: cannot become `root` by `sudo`: a password is wanted, and none was given (sudo: a password is required)
     = host h1 (and h2)
     = help: set `ansible_become_password` (in a vault), give `-K`, or allow the user in sudoers without one
    ");
    let without = bench.run("who.yaml", &["-e", &user("pwops")]);
    insta::assert_snapshot!(bench.told(without.code(4)), @"
    error: cannot become `root` by `sudo`: a password is wanted, and none was given (sudo: a password is required)
     = host h1 (and h2)
     = help: set `ansible_become_password` (in a vault), give `-K`, or allow the user in sudoers without one
    ");
    bench.write("wrong.yaml", "ansible_become_password: not-the-password\n");
    let wrong = bench.run("who.yaml", &["-e", &user("pwops"), "-e", "@wrong.yaml", "-vv", "--limit", "h1"]);
    let told = bench.told(wrong.code(4).never_says(&["not-the-password"]));
    // How far sudo gets with its farewell depends on the host's mood.
    let told = told.replace("; sudo: no password was provided; sudo: 1 incorrect password attempt", "");
    insta::assert_snapshot!(told, @"
    error: cannot become `root` by `sudo`: the password was refused (Sorry, try again.)
     = host h1
     = help: look at `ansible_become_password`, or what `-K` was answered
    ");
    bench.write("right.yaml", format!("ansible_become_password: {TEST_SUDO_PASSWORD}\n"));
    let right = bench.run("who.yaml", &["-e", &user("pwops"), "-e", "@right.yaml", "-vv"]);
    right.code(0).says(&["\"stdout\":\"pwops\"", "\"stdout\":\"root:\""]).never_says(&[TEST_SUDO_PASSWORD]);
}
