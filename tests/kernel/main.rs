//! Huge pages and settings under /sys: in a host whose kernel can be told, and in one that forbids it. Needs root.
//!
//! The pool of huge pages and /sys belong to the whole machine: what was there before is put back, whatever happens.

#![allow(clippy::print_stderr)]

use ishprov::lab::{Connection, Lab, LabHost};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";
const POOL: &str = "/proc/sys/vm/nr_hugepages";
const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

#[test]
fn lab_huge_pages_are_reserved_where_the_host_permits_and_left_alone_where_not() {
    let turn = fs::File::create("/run/lock/ishprov-lab-test-kernel").expect("lab tests need root");
    turn.lock().expect("a lock");
    let machine = Machine::read();
    let bench = Bench::new();

    // As it comes, a container may only read what belongs to the machine around it.
    let forbidden = bench.run(&["-vv"]);
    assert!(forbidden.contains("granted False"), "{forbidden}");
    assert!(forbidden.contains("can only be read here and belongs to the machine around"), "{forbidden}");
    assert_eq!(Machine::read(), machine, "nothing of the machine was changed");
    assert_eq!(bench.changed(), 0, "the second run where it is forbidden");
    let small = bench.sql("SHOW work_mem");

    // Now its kernel can be told, as on a machine of its own.
    bench.sh(
        "mount -o remount,rw,bind /proc/sys && mkdir -p /run/sysfs && mount -t sysfs sysfs /run/sysfs && mount -o remount,rw /run/sysfs && \
         mount --bind /run/sysfs/kernel/mm /sys/kernel/mm",
    );
    let check = bench.run(&["--check"]);
    assert!(check.contains("huge pages for the server"), "{check}");
    assert_eq!(Machine::read(), machine, "--check changed the machine");
    let running = bench.run(&["-vv"]);
    assert!(running.contains("granted False"), "{running}");
    let again = bench.run(&["-vv"]);
    assert!(again.contains("it runs without them"), "{again}");
    assert_eq!(Machine::read().pool, machine.pool, "nothing lies idle beside a server that runs");
    bench.sh("systemctl stop postgresql@15-main");
    let permitted = bench.run(&[]);
    assert!(permitted.contains("granted True"), "{permitted}");
    let pool: u64 = fs::read_to_string(POOL).expect("readable").trim().parse().expect("a number");
    let needed: u64 = bench.sql("SHOW shared_memory_size_in_huge_pages").parse().expect("a number");
    assert!(pool >= needed && pool <= needed + needed / 20 + 8, "{pool} pages for {needed}");
    assert_eq!(
        bench.sh("cat /etc/sysctl.d/61-ishprov-huge-pages.conf | tail -n 1"),
        format!("vm.nr_hugepages = {pool}")
    );
    assert!(fs::read_to_string(THP).expect("readable").contains("[never]"));
    assert!(
        bench
            .sh("cat /etc/tmpfiles.d/60-ishprov-postgresql.conf")
            .contains("transparent_hugepage/enabled - - - - never")
    );

    let used =
        bench.sh("grep -c anon_hugepage /proc/$(head -n 1 /var/lib/postgresql/15/main/postmaster.pid)/maps");
    assert_ne!(used, "0", "the server's shared memory is in huge pages");
    let grown =
        bench.sql(&format!("SELECT pg_size_bytes(current_setting('work_mem')) >= pg_size_bytes('{small}')"));
    assert_eq!(grown, "t", "no page tables, more work_mem");
    assert_eq!(bench.changed(), 0, "the second run where it is permitted");
}

/// What the machine had, put back at the end.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    pool: String,
    thp: String,
}

impl Machine {
    fn read() -> Self {
        let text = fs::read_to_string(THP).expect("readable");
        let thp =
            text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("a choice").0.to_owned();
        Self { pool: fs::read_to_string(POOL).expect("readable").trim().to_owned(), thp }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (file, value) in [(POOL, &self.pool), (THP, &self.thp)] {
            if let Err(error) = fs::write(file, value) {
                eprintln!("{file} was not put back: {error}");
            }
        }
    }
}

struct Bench {
    lab: Lab,
    to: Connection,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::open_in(Path::new(STATE_DIR), "kernel").expect("a lab");
        lab.down(&|_| ()).expect("leftovers go");
        let address = Ipv4Addr::new(198, 18, 101, 11);
        let host = LabHost { memory: Some(1 << 30), cpus: Some(2), ..LabHost::new("k1", address) };
        let to = lab.up(&[host], &|_| ()).unwrap_or_else(|faults| panic!("{faults:#?}")).remove(0);
        let dir = tempfile::tempdir().expect("a folder");
        for part in ["roles", "templates", "tests/kernel/site.yaml"] {
            let copied = Command::new("cp").arg("-r").arg(part).arg(dir.path()).status().expect("cp runs");
            assert!(copied.success());
        }
        let inventory = format!(
            "all:\n  vars: {{ansible_user: root, postgresql_max_connections: 50}}\n  children:\n    postgres:\n      \
             children:\n        postgres_primary:\n          hosts:\n            k1: {{ansible_host: {address}}}\n"
        );
        fs::write(dir.path().join("hosts.yaml"), inventory).expect("a file");
        Self { lab, to, dir }
    }

    /// What the run says; it must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_ishprov"))
            .args(["run", "site.yaml", "-i", "hosts.yaml", "--private-key"])
            .arg(&self.to.private_key)
            .arg("--known-hosts")
            .arg(&self.to.known_hosts)
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        said
    }

    /// What a further run changes.
    fn changed(&self) -> u32 {
        let said = self.run(&[]);
        let count = said.split("changed=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let count = count.and_then(|text| text.parse().ok()).expect("a recap");
        assert_eq!(count, 0, "{said}");
        count
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.to.known_hosts.display()))
            .arg("-i")
            .arg(&self.to.private_key)
            .arg(format!("root@{}", self.to.address))
            .arg(script)
            .stdin(Stdio::null())
            .output()
            .expect("ssh runs");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    fn sql(&self, statement: &str) -> String {
        self.sh(&format!("cd / && runuser -u postgres -- psql -XAtqc \"{statement}\""))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(faults) = self.lab.down(&|_| ()) {
            eprintln!("the lab did not go: {faults:#?}");
        }
    }
}
