//! Forty tasks of all kinds: what they leave behind, and that a second run finds it so.

use crate::bench::{Bench, HOSTS};

/// Takes back everything that `mixed.yaml` does, but for its package.
const RESET: &str = "systemctl disable --now mix.service >/dev/null 2>&1; \
    rm -rf /srv/mix /srv/mixer /etc/systemd/system/mix.service /etc/cron.d/mix /var/mail/mixer; \
    systemctl daemon-reload; systemctl reset-failed; userdel mixer 2>/dev/null; groupdel mixers 2>/dev/null; true";

pub fn reset(bench: &Bench, host: &str) {
    bench.sh(host, RESET);
}

/// Everything that `mixed.yaml` is about. What only handlers write is left out: a killed run forgets them.
pub fn tree(bench: &Bench, host: &str) -> String {
    let script = "{ find /srv /etc/cron.d /etc/systemd/system -name count -o -printf '%p %y %m %u %g %l\\n'; \
        find /srv /etc/cron.d /etc/systemd/system/mix.service -type f ! -name count -exec sha256sum {} +; \
        getent passwd mixer; id mixer; systemctl is-enabled mix; systemctl is-active mix; \
        dpkg-query -W -f '${Status}\\n' tree; } 2>&1 | sort";
    bench.sh(host, script)
}

pub fn a_site_of_all_kinds_of_tasks(bench: &Bench) {
    let bare = HOSTS.map(|host| tree(bench, host));
    let check = bench.run("mixed.yaml", &["--check"]);
    check.code(0).says(&["Nothing was changed"]);
    assert_eq!(HOSTS.map(|host| tree(bench, host)), bare, "--check changed something");

    let first = bench.run("mixed.yaml", &[]);
    first.code(0);
    for host in HOSTS {
        let stats = first.stats(host);
        assert!(stats["changed"] >= 30 && stats["rescued"] == 1 && stats["ignored"] == 1, "{stats:?}");
        assert_eq!(bench.sh(host, "cat /srv/mix/count /srv/mixer/me /srv/mix/three"), "1\nmixer\n3");
    }
    let trees = HOSTS.map(|host| tree(bench, host));
    let second = bench.run("mixed.yaml", &[]);
    second.code(0);
    for host in HOSTS {
        assert_eq!(second.stats(host)["changed"], 0, "{}", second.said());
    }
    assert_eq!(HOSTS.map(|host| tree(bench, host)), trees);

    // Reading ahead cannot be seen: neither in what is done nor in what is told.
    let told = ["500", "1"].map(|window| {
        HOSTS.iter().for_each(|host| reset(bench, host));
        let ran = bench.run("mixed.yaml", &["--window", window, "--output", "json"]);
        ran.code(0);
        assert_eq!(HOSTS.map(|host| tree(bench, host)), trees, "--window {window}");
        ran.statuses()
    });
    assert!(told[0].len() > 90, "{:#?}", told[0]);
    assert_eq!(told[0], told[1]);
}
