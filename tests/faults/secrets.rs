//! Secrets: in the files they are meant for, and nowhere else.

use crate::bench::{Bench, HOSTS};
use ishprov::vault;
use std::process::Stdio;

const FROM_FILE: &str = "hunter-file-s3cr3t";
const INLINE: &str = "hunter-inline $\"x\" s3cr3t";
const HIDDEN: &str = "hunter-hidden-value";

pub fn are_never_shown(bench: &Bench) {
    bench.write("vault_password", "the vault's pass phrase\n");
    let sealed = |text: &str, salt: u8| {
        vault::encrypt(text.as_bytes(), b"the vault's pass phrase", [salt; 32], None).expect("a vault text")
    };
    bench.write(
        "group_vars/web/vault.yaml",
        sealed(&format!("from_file: {FROM_FILE}\nhidden: {HIDDEN}\n"), 1),
    );
    let inline = vault::to_yaml_block(&sealed(INLINE, 2), 2);
    bench.write("group_vars/web/inline.yaml", format!("inline: {inline}"));

    // The brackets keep the watcher from seeing itself.
    let watch = "while [ -e /srv/watch ]; do \
                 { ps -eo args; cat /proc/[0-9]*/environ; } 2>/dev/null | tr '\\0' '\\n' | grep '[h]unter-'; \
                 grep -rl '[h]unter-' /tmp /var/tmp /var/log 2>/dev/null; echo looked; done";
    bench.sh("h1", "touch /srv/watch");
    let watcher = bench.ssh_command("h1").arg(watch).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let watcher = watcher.expect("ssh runs");
    let with_vault = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["--vault-password-file", "vault_password"].iter().chain(more).copied().collect();
        let ran = bench.run("secret.yaml", &arguments);
        ran.never_says(&["hunter", "s3cr3t", "pass phrase"]);
        ran
    };
    with_vault(&["--check", "--diff", "-vv"]).code(0);
    with_vault(&["-vv", "--diff"]).code(0).says(&["+password = ********", "it is ******** and ********"]);
    with_vault(&["-vv", "--diff", "--output", "json"]).code(0).says(&["hidden by no_log"]);
    with_vault(&["-e", "leak=true"]).code(2).says(&["would stand in the command line", "`stdin`"]);
    bench.sh("h1", "rm /srv/watch");
    let seen = watcher.wait_with_output().expect("ssh ends").stdout;
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.lines().filter(|line| *line == "looked").count() > 3, "{seen}");
    assert!(!seen.lines().any(|line| line != "looked"), "seen on the host: {seen}");

    for host in HOSTS {
        assert_eq!(bench.sh(host, "cat /srv/secret"), format!("password = {FROM_FILE}\nother = {INLINE}"));
        assert_eq!(bench.sh(host, "stat -c %a /srv/secret /srv/secret.conf"), "600\n600");
    }
    bench.write("vault_password", "another\n");
    with_vault(&[]).code(1).says(&["group_vars/web/vault.yaml", "No host was contacted"]);
    bench.run("secret.yaml", &[]).code(1).says(&["no vault password was given", "--vault-password-file"]);
    std::fs::remove_dir_all(bench.path("group_vars")).expect("a folder");
}
