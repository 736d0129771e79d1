//! Runs that end before their time: killed without warning, or stopped by their user.

use crate::bench::Bench;
use crate::mixed::{reset, tree};
use std::time::Duration;

/// Files and processes that a run leaves on a host; empty a few seconds after its end, however it ended.
const LEFTOVERS: &str = "find / -xdev -name '.*ishprov*' 2>/dev/null; \
    find /run /dev/shm /tmp -maxdepth 2 -name '*ishprov*' 2>/dev/null; \
    ps -eo args= | grep -E '^(sh|/bin/sh|env|dash|sleep [0-9]+|apt-get|dpkg)( |$)'; true";

pub fn nothing_is_left(bench: &Bench, host: &str) {
    let mut left = String::new();
    bench.until("a clean host", 90, || {
        left = bench.sh(host, LEFTOVERS);
        if !left.is_empty() {
            eprintln!("still there: {left}");
        }
        left.is_empty()
    });
}

pub fn killed_at_ten_moments(bench: &Bench) {
    reset(bench, "h1");
    let undisturbed = bench.run("mixed.yaml", &["--limit", "h1"]);
    undisturbed.code(0);
    let wanted = tree(bench, "h1");
    for moment in 0..10 {
        reset(bench, "h1");
        let mut running;
        if moment == 5 {
            // In the middle of a package's installation.
            bench.sh("h1", "apt-get -y purge tree >/dev/null 2>&1");
            running = bench.start("mixed.yaml", &["--limit", "h1"]);
            running.says("cron ");
            std::thread::sleep(Duration::from_millis(700));
        } else {
            running = bench.start("mixed.yaml", &["--limit", "h1"]);
            std::thread::sleep(undisturbed.took.mul_f64((f64::from(moment) + 0.7) / 10.5));
        }
        running.signal("KILL");
        let killed = running.end();
        let again = bench.run("mixed.yaml", &["--limit", "h1"]);
        again.code(0);
        assert_eq!(tree(bench, "h1"), wanted, "killed after:\n{}\nthen:\n{}", killed.stdout, again.stdout);
        nothing_is_left(bench, "h1");
    }
}

pub fn stopped_by_its_user(bench: &Bench) {
    for host in ["h1", "h2"] {
        bench.sh(host, "rm -f /srv/before /srv/after");
    }
    let mut running = bench.start("slow.yaml", &["-e", "seconds=3"]);
    running.says("before ");
    std::thread::sleep(Duration::from_millis(500));
    running.signal("INT");
    let stopped = running.end();
    stopped.code(130).says(&["before ", "sleeps ", "Stopped by you", "Run it again"]).never_says(&["after "]);
    for host in ["h1", "h2"] {
        assert_eq!(stopped.stats(host)["ok"], 2, "what was under way is finished");
        assert_eq!(bench.sh(host, "cat /srv/before; ls /srv/after 2>/dev/null; true"), "before");
        nothing_is_left(bench, host);
    }
    // The second time, what runs on the hosts is ended too.
    let mut running = bench.start("slow.yaml", &["-e", "seconds=47"]);
    running.says("before ");
    std::thread::sleep(Duration::from_millis(500));
    running.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("INT");
    let stopped = running.end();
    stopped.code(130).says(&["Stopped by you"]);
    assert!(stopped.took < Duration::from_secs(20), "{:?}", stopped.took);
    nothing_is_left(bench, "h1");
    bench.run("slow.yaml", &["-e", "seconds=0"]).code(0);
    assert_eq!(bench.sh("h1", "cat /srv/before /srv/after"), "before\nafter");
}
