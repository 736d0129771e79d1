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
    insta::assert_snapshot!(untimed(&stopped.code(130).stdout), @"
    PLAY [Slow] ················································································ 2 hosts
      before                                           changed   h1 h2
    Stopping: nothing new is begun. What runs on the hosts has five seconds; Ctrl-C once more ends it now.
      sleeps                                           ok        h1 h2
    PLAY RECAP
    h1 : ok=2   changed=1   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    h2 : ok=2   changed=1   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    2 hosts, N s, at most 4 round trips a host
    Stopped by you: what is listed above was done, the rest was not begun. Run it again to go on.
    ");
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
    insta::assert_snapshot!(untimed(&stopped.code(130).stdout), @"
    PLAY [Slow] ················································································ 2 hosts
      before                                           ok        h1 h2
    Stopping: nothing new is begun. What runs on the hosts has five seconds; Ctrl-C once more ends it now.
    Stopping: what runs on the hosts is ended.
    PLAY RECAP
    h1 : ok=1   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    h2 : ok=1   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    2 hosts, N s
    Stopped by you: what is listed above was done. Ended in the middle, which the next run looks at again:
      sleeps  h1 h2
    The rest was not begun. Run it again to go on.
    ");
    assert!(stopped.took < Duration::from_secs(20), "{:?}", stopped.took);
    nothing_is_left(bench, "h1");
    bench.run("slow.yaml", &["-e", "seconds=0"]).code(0);
    assert_eq!(bench.sh("h1", "cat /srv/before /srv/after"), "before\nafter");
}

/// In the middle of a file's content: what stood there stands there still, whole.
pub fn stopped_while_a_file_is_written(bench: &Bench) {
    bench.write("files/large.bin", "old");
    bench.run("large.yaml", &[]).code(0);
    let content: Vec<u8> = (0..150_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bench.write("files/large.bin", &content);
    let mut running = bench.start("large.yaml", &[]);
    bench.until("a file half written", 60, || {
        !bench.sh("h1", "find /srv -name '.*ishprov*' -size +100k").is_empty()
    });
    running.signal("INT");
    running.says("Stopping: nothing new");
    running.signal("INT");
    let stopped = running.end();
    insta::assert_snapshot!(untimed(&stopped.code(130).stdout), @"
    PLAY [Large] ················································································ 1 host
    Stopping: nothing new is begun. What runs on the hosts has five seconds; Ctrl-C once more ends it now.
    Stopping: what runs on the hosts is ended.
    PLAY RECAP
    h1 : ok=0   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
    1 host, N s
    Stopped by you: what is listed above was done. Ended in the middle, which the next run looks at again:
      a large file  h1
    The rest was not begun. Run it again to go on.
    ");
    assert_eq!(bench.read("h1", "/srv/large"), b"old");
    nothing_is_left(bench, "h1");
    bench.run("large.yaml", &[]).code(0);
    assert!(bench.read("h1", "/srv/large") == content);
    bench.sh("h1", "rm /srv/large");
}

/// Without the seconds that tasks and the run took: those behind a task depend on the machine.
fn untimed(shown: &str) -> String {
    let tenths = |word: &str| word.contains('.') && word.trim_end_matches('s').parse::<f64>().is_ok();
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.last().is_some_and(|word| tenths(word)) {
            words.pop();
        }
        let words: Vec<&str> = words.into_iter().map(|word| if tenths(word) { "N" } else { word }).collect();
        words.join(" ").trim_end().to_owned()
    };
    shown.lines().map(line).collect::<Vec<_>>().join("\n")
}
