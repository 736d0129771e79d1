//! Hosts in trouble: what hangs, a full disk, missing tools, a lost connection.

use crate::bench::{Bench, HOSTS};
use crate::interrupted::nothing_is_left;
use std::time::Duration;

pub fn hung_command(bench: &Bench) {
    let ran = bench.run("hung.yaml", &[]);
    ran.code(2).says(&[
        "took longer than its time limit",
        "hung.yaml:5",
        "host h1",
        "`timeout:` on the task",
    ]);
    assert!(ran.took < Duration::from_secs(20), "{:?}", ran.took);
    nothing_is_left(bench, "h1");
}

pub fn full_disk(bench: &Bench) {
    let content = |seed: u32| -> Vec<u8> {
        (0..3_000_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed << 24) >> 24) as u8)
            .collect()
    };
    bench.write("files/large.bin", content(1));
    bench.run("large.yaml", &[]).code(0);
    bench.write("files/large.bin", content(2));
    bench.lab.fill_disk("h1", 0).expect("it is filled");
    // What the host itself gave back in the meantime.
    bench.sh("h1", "sync; cat /dev/zero > /srv/filler 2>/dev/null; true");
    let full = bench.run("large.yaml", &[]);
    full.code(2).says(&[
        "No space left on device",
        "host h1",
        "write /srv/large",
        "the disk is full: free some room",
    ]);
    assert!(bench.read("h1", "/srv/large") == content(1), "the old file is intact");
    nothing_is_left(bench, "h1");
    bench.lab.free_disk("h1").expect("it is freed");
    bench.sh("h1", "rm /srv/filler");
    let freed = bench.run("large.yaml", &[]);
    assert_eq!(freed.code(0).stats("h1")["changed"], 1);
    assert!(bench.read("h1", "/srv/large") == content(2));
}

pub fn missing_tools(bench: &Bench) {
    let without = |tools: &str, word: &str| {
        bench.sh(
            "h1",
            &format!("for tool in {tools}; do mv /usr/bin/$tool /usr/bin/$tool.aside || exit 1; done"),
        );
        let ran = bench.run("word.yaml", &["-e", &format!("word={word}")]);
        bench.sh(
            "h1",
            &format!("for tool in {tools}; do mv /usr/bin/$tool.aside /usr/bin/$tool || exit 1; done"),
        );
        ran
    };
    bench.run("word.yaml", &["-e", "word=one"]).code(0);
    without("sha256sum openssl", "two").code(0);
    assert_eq!(bench.sh("h1", "cat /srv/word"), "two", "without digests files are compared in whole");
    without("stat", "three").code(2).says(&[
        "`stat` is missing on the host",
        "word.yaml:5",
        "host h1",
        "coreutils",
    ]);
    without("chown", "three").code(2).says(&["chown", "word.yaml:5", "host h1"]);
    assert_eq!(bench.sh("h1", "cat /srv/word"), "two");
    without("dd", "three").code(4).says(&["`dd` on the host", "h1"]).never_says(&["run again"]);
    bench.run("word.yaml", &["-e", "word=three"]).code(0);
    nothing_is_left(bench, "h1");
}

pub fn lost_connection(bench: &Bench) {
    for host in HOSTS {
        bench.sh(host, "rm -f /srv/before /srv/after");
    }
    let mut running = bench.start("slow.yaml", &["-e", "seconds=20"]);
    running.says("before ");
    std::thread::sleep(Duration::from_secs(1));
    bench.lab.cut("h1").expect("it is cut off");
    let lost = running.end();
    lost.code(4).says(&["h1", "UNREACHABLE", "the connection was lost", "run again"]);
    assert_eq!((lost.stats("h1")["unreachable"], lost.stats("h2")["unreachable"]), (1, 0));
    assert_eq!(bench.sh("h2", "cat /srv/after"), "after", "the other host finishes");
    bench.lab.join("h1").expect("it is back");
    bench.until("an answer of h1", 30, || bench.ssh("h1", "true").0 == 0);
    assert_eq!(bench.sh("h1", "ls /srv/before /srv/after 2>/dev/null; true"), "/srv/before");
    nothing_is_left(bench, "h1");
    let again = bench.run("slow.yaml", &["-e", "seconds=0"]);
    again.code(0);
    assert_eq!((again.stats("h1")["changed"], again.stats("h2")["changed"]), (1, 0));
}
