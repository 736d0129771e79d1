//! Hosts in trouble: what hangs, a full disk, missing tools, a lost connection.

use crate::bench::{Bench, HOSTS};
use crate::interrupted::nothing_is_left;
use std::time::Duration;

pub fn hung_command(bench: &Bench) {
    let ran = bench.run("hung.yaml", &[]);
    insta::assert_snapshot!(bench.told(ran.code(2)), @"
    error: `shell` was ended: it took longer than its time limit
     --> hung.yaml:5:13
      |
    5 |     - name: hangs
      |             ^^^^^
      |
      = host h1
      = ran: sleep 4711 & sleep 4712, exit 143
      = help: `timeout:` on the task gives it longer
    ");
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
    insta::assert_snapshot!(bench.told(full.code(2)), @"
    error: `copy` failed: no space left on /
     --> large.yaml:5:13
      |
    5 |     - name: a large file
      |             ^^^^^^^^^^^^
      |
      = host h1
      = ran: write /srv/large, exit 1
      = stderr: cat: write error: No space left on device
        no space left on /
      = help: free some room on the host and run again: `df -h` and `du -xhd1 DIR` show what is full of what
    ");
    assert!(bench.read("h1", "/srv/large") == content(1), "the old file is intact");
    nothing_is_left(bench, "h1");
    bench.lab.free_disk("h1").expect("it is freed");
    bench.sh("h1", "rm /srv/filler");
    let freed = bench.run("large.yaml", &[]);
    assert_eq!(freed.code(0).stats("h1")["changed"], 1);
    assert!(bench.read("h1", "/srv/large") == content(2));
}

/// What a shell says without the number of its line.
fn unnumbered(text: &str) -> String {
    let mut parts = text.split("sh: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "sh: N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
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
    let no_stat = without("stat", "three");
    insta::assert_snapshot!(bench.told(no_stat.code(2)), @"
    error: `stat` is missing on the host
     --> word.yaml:5:13
      |
    5 |     - name: a file
      |             ^^^^^^
      |
      = host h1
      = help: install the package `coreutils` on the host
    ");
    let no_chown = without("chown", "three");
    insta::assert_snapshot!(unnumbered(&bench.told(no_chown.code(2))), @"
    error: `copy` failed: sh: N: eval: chown: not found
     --> word.yaml:5:13
      |
    5 |     - name: a file
      |             ^^^^^^
      |
      = host h1
      = ran: write /srv/word, exit 1
      = stderr: sh: N: eval: chown: not found
      = help: a program is missing on the host: install the package that holds it
    ");
    assert_eq!(bench.sh("h1", "cat /srv/word"), "two");
    let no_dd = without("dd", "three");
    insta::assert_snapshot!(bench.told(no_dd.code(4).never_says(&["run again"])), @"
    error: no usable shell: `dd` on the host is missing, or cannot do `iflag=fullblock`
     = host h1
     = help: install `coreutils` (or `busybox`) on the host
    ");
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
    lost.code(4).says(&["UNREACHABLE"]);
    insta::assert_snapshot!(bench.told(&lost), @"
    error: the connection was lost: the host closed it, or nothing came through any more
     = host h1
     = help: run again: what was done is recognised and not done twice
    ");
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
