//! Hosts that wait for each other, and the tasks that are chosen.

use crate::bench::{Bench, HOSTS};
use std::fs;

pub fn hosts_wait_for_each_other(bench: &Bench) {
    let out = bench.path("out");
    fs::create_dir(&out).expect("a folder");
    let ran = bench.run("order.yaml", &["-e", &format!("out={}", out.display()), "-e", "early=2"]);
    ran.code(0);
    assert_eq!(bench.sh("h1", "cat /srv/turns"), "h1\nend h1\nh2\nend h2", "one at a time, each once");
    for (host, other) in [("h1", "h2"), ("h2", "h1")] {
        let script =
            "cd /srv; cat once in-one in-two tool tool.log part own-h1 own-h2; wc -l < tries; ls asked 2>&1";
        let (_, said, _) = bench.ssh(host, script);
        let wanted = format!(
            "h1\none {host}\ntwo {host}\ntool = included\nchanged\ndefault\nown-h1\nown-h2\n3\n\
             ls: cannot access 'asked': No such file or directory"
        );
        assert_eq!(said, wanted, "on {host}\n{}", ran.stdout);
        assert_eq!(bench.sh(host, &format!("cat /srv/from-{other}")), format!("from {other}"));
        let local = fs::read_to_string(out.join(format!("from-{host}"))).expect("written on this machine");
        assert_eq!(local, format!("from {host}\n"));
        assert_eq!(ran.stats(host)["ignored"], 1, "{}", ran.stdout);
    }
    ran.says(&["did not come true in 3 attempts"]);
    bench.run("looks.yaml", &[]).code(0);
}

pub fn tags_and_limits_choose(bench: &Bench) {
    let out = format!("out={}", bench.path("out").display());
    for host in HOSTS {
        bench.sh(host, "rm -f /srv/own-* /srv/tries");
    }
    let asked = bench.run("order.yaml", &["-e", &out, "--tags", "asked", "--limit", "h2"]);
    asked.code(0);
    assert_eq!((asked.stats("h2")["ok"], asked.stats("h2")["changed"]), (1, 1), "{}", asked.stdout);
    assert_eq!(bench.sh("h2", "cat /srv/asked; ls /srv/own-* 2>/dev/null; true"), "asked for");
    assert_eq!(bench.sh("h1", "ls /srv/asked 2>/dev/null; true"), "");
    let skipped = bench.run("order.yaml", &["-e", &out, "--skip-tags", "own", "--limit", "web:!h1"]);
    skipped.code(0).never_says(&["the other's variable", "h1 :"]);
    let own = bench.run("order.yaml", &["-e", &out, "--tags", "own"]);
    own.code(0).never_says(&["turn ", "tool"]);
    assert_eq!(bench.sh("h1", "cat /srv/own-h1 /srv/own-h2"), "own-h1\nown-h2");
    let nobody = bench.run("order.yaml", &["-e", &out, "--limit", "nobody"]);
    nobody.code(1).says(&["no host and no group is named `nobody`", "No host was contacted"]);
}
