//! Two runs at a time: the second one is told whose the host is, and a run that is gone holds nothing.

use crate::bench::Bench;
use crate::interrupted::nothing_is_left;

pub fn one_run_at_a_time(bench: &Bench) {
    for host in ["h1", "h2"] {
        bench.sh(host, "rm -f /srv/before /srv/after");
    }
    let mut first = bench.start("slow.yaml", &["--limit", "h1", "-e", "seconds=20"]);
    first.says("before ");
    let lock = bench.sh("h1", "cat /run/ishprov.lock.0");
    assert!(lock.contains("`ishprov run slow.yaml`, since 20"), "{lock}");
    // Both are meant, one is held: nothing is done on any of them.
    let second = bench.run("slow.yaml", &["-e", "seconds=0"]);
    second.code(2).says(&["another run works on `h1`: ", "`ishprov run slow.yaml`, since 20", "on no host"]);
    assert_eq!(bench.sh("h2", "ls /srv"), "");
    // Who only looks is let in.
    bench.run("slow.yaml", &["--limit", "h1", "--check", "-e", "seconds=0"]).code(0);
    assert_eq!(bench.sh("h1", "cat /run/ishprov.lock.0"), lock);
    first.signal("KILL");
    first.end();
    bench.run("slow.yaml", &["-e", "seconds=0"]).code(0);
    bench.run("slow.yaml", &["-e", "seconds=0"]).code(0);
    // A shell that was killed leaves its lock; the next run takes it over without a word.
    bench.sh("h1", "sleep 60 & p=$!; echo \"dead $p 1 there 1 1 nobody\" >/run/ishprov.lock.0; kill $p");
    bench.run("slow.yaml", &["-e", "seconds=0"]).code(0).never_says(&["another run"]);
    for host in ["h1", "h2"] {
        nothing_is_left(bench, host);
    }
}
