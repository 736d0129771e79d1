//! The embedded lab on this machine: real containers, bridges, mounts. Needs root, and a Debian to take the base from.

#![allow(clippy::print_stderr)]

use ishprov::lab::{
    Connection, HostState, Lab, LabEvent, LabHost, LabOptions, LabResult, TEST_SUDO_PASSWORD,
};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Not the user's own labs' folder, and the same at every run, so that a run clears what a killed one left.
const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";
const MIB: u64 = 1 << 20;

/// A lab that is gone when the test ends, however it ends. Two runs of the tests take turns.
struct TestLab {
    lab: Lab,
    _turn: File,
}

impl TestLab {
    fn new(name: &str) -> Self {
        let turn = File::create(format!("/run/lock/ishprov-lab-test-{name}")).expect("lab tests need root");
        turn.lock().unwrap();
        let lab = open(name);
        done(lab.down(&|_| ()));
        Self { lab, _turn: turn }
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if let Err(faults) = self.lab.down(&|_| ()) {
            eprintln!("the lab did not go: {faults:#?}");
        }
    }
}

fn open(name: &str) -> Lab {
    Lab::open_in(Path::new(STATE_DIR), name).unwrap().with_options(LabOptions { test_users: true })
}

fn done<T>(result: LabResult<T>) -> T {
    result.unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn host(name: &str, address: [u8; 4], memory: u64) -> LabHost {
    LabHost { memory: Some(memory), cpus: Some(1), ..LabHost::new(name, Ipv4Addr::from(address)) }
}

/// Runs a command on a host with the user's own `ssh`, host keys strictly checked. `None`: no connection.
fn ssh(to: &Connection, user: &str, command: &str) -> Option<(i32, String)> {
    let output = Command::new("timeout")
        .args(["120", "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
        .args([
            "-o",
            "ConnectTimeout=3",
            "-o",
            "ServerAliveInterval=2",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
        ])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", to.known_hosts.display()))
        .arg("-i")
        .arg(&to.private_key)
        .args(["-p", &to.port.to_string(), &format!("{user}@{}", to.address), command])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let code = output.status.code().filter(|code| *code != 255)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Some((code, if code == 0 { text } else { String::from_utf8_lossy(&output.stderr).into_owned() }))
}

/// As root; must work.
fn on(to: &Connection, command: &str) -> String {
    match ssh(to, "root", command) {
        Some((0, text)) => text,
        other => panic!("{}: {command}: {other:?}", to.host),
    }
}

fn reaches(from: &Connection, to: &Connection) -> bool {
    let command =
        format!("timeout 3 bash -c 'read -t 2 line < /dev/tcp/{}/22 && [ -n \"$line\" ]'", to.address);
    ssh(from, "root", &command).is_some_and(|(code, _)| code == 0)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn boot_id(to: &Connection) -> String {
    on(to, "cat /proc/sys/kernel/random/boot_id")
}

fn memory_kib(to: &Connection) -> u64 {
    on(to, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").parse().unwrap()
}

fn state(lab: &Lab, host: &str) -> HostState {
    done(lab.list()).into_iter().find(|status| status.host.name == host).unwrap().state
}

/// The bridge that carries the lab's folder as its alias.
fn bridge_of(lab: &Lab) -> String {
    let names: Vec<String> = links_of(lab);
    assert_eq!(names.len(), 1, "one bridge carries the folder of {}", lab.name());
    names[0].clone()
}

fn links_of(lab: &Lab) -> Vec<String> {
    let mark = format!("{STATE_DIR}/{}", lab.name());
    let links = fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap());
    let alias = |link: &fs::DirEntry| fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
    let ours = links.filter(|link| alias(link).trim().ends_with(&mark));
    ours.map(|link| link.file_name().into_string().unwrap()).collect()
}

/// Everything of a lab that is left anywhere on this machine. Hosts' names begin with the lab's in these tests.
fn traces(lab: &Lab) -> Vec<String> {
    let folder = format!("{STATE_DIR}/{}", lab.name());
    let host = format!("{}-", lab.name());
    let run = |program: &str, args: &[&str]| {
        String::from_utf8_lossy(&Command::new(program).args(args).output().unwrap().stdout).into_owned()
    };
    let mut found: Vec<String> = links_of(lab).into_iter().map(|link| format!("link: {link}")).collect();
    let mut look = |what: &str, text: String, needle: &str| {
        let lines = text.lines().filter(|line| line.contains(needle));
        found.extend(lines.map(|line| format!("{what}: {line}")));
    };
    look("process", run("ps", &["-eww", "-o", "pid,args"]), &folder);
    look("mount", fs::read_to_string("/proc/self/mountinfo").unwrap(), &folder);
    look("loop device", run("losetup", &["-a"]), &folder);
    look("port", run("ip", &["-o", "link"]), &host);
    look("nft", run("nft", &["list", "ruleset"]), &format!("{folder}\""));
    look("cgroup", run("find", &["/sys/fs/cgroup", "-name", &format!("{host}*")]), &host);
    look("file", run("find", &[STATE_DIR, "-path", &format!("{folder}*")]), &folder);
    look("file", run("find", &[STATE_DIR, "-name", &format!(".{}*", lab.name())]), "/");
    look("file", run("find", &["/run/systemd/nspawn", "-name", &format!("*-{host}*")]), &host);
    found
}

#[test]
fn a_lab_from_birth_to_death() {
    let test = TestLab::new("story");
    let lab = &test.lab;
    let hosts = [
        host("story-one", [198, 18, 210, 1], 512 * MIB),
        LabHost { disk: Some(1024 * MIB), ..host("story-two", [198, 18, 210, 2], 256 * MIB) },
    ];
    let connections = done(lab.up(&hosts, &|_| ()));
    let [one, two] = &connections[..] else { panic!("{connections:?}") };

    // Two hosts of their own, of the size that was asked for.
    assert_eq!((on(one, "hostname").as_str(), on(two, "hostname").as_str()), ("story-one", "story-two"));
    assert_eq!((memory_kib(one), memory_kib(two)), (512 * 1024, 256 * 1024));
    assert_eq!(on(one, "nproc; grep -c ^processor /proc/cpuinfo"), "1\n1");
    assert_ne!(on(one, "cat /etc/machine-id"), on(two, "cat /etc/machine-id"));
    assert_eq!(on(one, "systemctl is-system-running --wait"), "running");
    assert_eq!(on(one, "getent hosts story-two"), "198.18.210.2    story-two");
    let size: u64 = on(two, "df --output=size -B1M / | tail -1").trim().parse().unwrap();
    assert!((900..=1024).contains(&size), "a disk of 1 GiB has {size} MiB");
    let killed = ssh(one, "root", "dd if=/dev/zero of=/dev/null bs=800M count=1; echo $?");
    assert!(killed.as_ref().is_some_and(|(_, text)| text.contains("137")), "more than its RAM: {killed:?}");

    // Users with and without sudo.
    assert_eq!(ssh(one, "ops", "sudo -n id -u"), Some((0, "0".into())));
    assert_eq!(
        ssh(one, "pwops", &format!("echo {TEST_SUDO_PASSWORD} | sudo -S -p '' id -u")),
        Some((0, "0".into()))
    );
    assert!(ssh(one, "pwops", "sudo -n id -u").is_some_and(|(code, _)| code != 0));
    assert!(ssh(one, "nosudo", "sudo -n id -u").is_some_and(|(code, _)| code != 0));

    // apt works on both at once, and what was fetched stays for the next lab.
    thread::scope(|scope| {
        for to in [one, two] {
            scope.spawn(move || {
                on(to, "apt-get -q update && apt-get install -yq --no-install-recommends jq && jq --version")
            });
        }
    });

    // Up again leaves running hosts alone; a new size needs no restart.
    let before = (boot_id(one), boot_id(two));
    let events = Mutex::new(Vec::new());
    let bigger = [host("story-one", [198, 18, 210, 1], 768 * MIB), hosts[1].clone()];
    done(lab.up(&bigger, &|event| events.lock().unwrap().push(event)));
    let events = events.into_inner().unwrap();
    assert!(events.contains(&LabEvent::AlreadyRunning("story-two".into())), "{events:?}");
    assert!(events.contains(&LabEvent::LimitsChanged("story-one".into())), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, LabEvent::Booting(_))), "{events:?}");
    assert_eq!((boot_id(one), boot_id(two)), before);
    assert_eq!(memory_kib(one), 768 * 1024);

    // Frozen: nothing answers, and it goes on where it was.
    done(lab.freeze("story-one"));
    assert_eq!(state(lab, "story-one"), HostState::Frozen);
    assert_eq!(ssh(one, "root", "true"), None);
    done(lab.thaw("story-one"));
    assert_eq!(boot_id(one), before.0);

    // Cut off: from everyone, or from one other only.
    done(lab.cut("story-one"));
    assert!(ssh(one, "root", "true").is_none() && !reaches(two, one));
    done(lab.join("story-one"));
    eventually("joined again", || reaches(two, one));
    done(lab.cut_between("story-one", "story-two"));
    assert!(!reaches(two, one) && !reaches(one, two));
    assert_eq!(boot_id(one), before.0, "this machine still reaches it");
    assert!(done(lab.list()).iter().all(|status| status.cut));
    done(lab.join("story-two"));
    eventually("joined again", || reaches(two, one) && reaches(one, two));

    // A full disk, on that host alone.
    done(lab.fill_disk("story-two", 2 * MIB));
    let full = ssh(two, "root", "dd if=/dev/zero of=/root/big bs=1M count=20");
    assert!(
        full.as_ref().is_some_and(|(code, text)| *code != 0 && text.contains("No space left")),
        "{full:?}"
    );
    on(one, "dd if=/dev/zero of=/root/big bs=1M count=20");
    done(lab.free_disk("story-two"));
    on(two, "dd if=/dev/zero of=/root/big bs=1M count=20");

    // Power cut, shutdown, reboot from inside: the disk stays, the machine is a new one.
    on(one, "echo kept > /root/kept && sync");
    done(lab.kill("story-one"));
    assert_eq!(state(lab, "story-one"), HostState::Stopped);
    done(lab.boot("story-one", &|_| ()));
    assert_eq!(on(one, "cat /root/kept"), "kept");
    let second = boot_id(one);
    assert_ne!(second, before.0);
    done(lab.stop("story-one"));
    assert!(ssh(one, "root", "true").is_none());
    done(lab.boot("story-one", &|_| ()));
    let third = boot_id(one);
    assert_ne!(third, second);
    assert_eq!(on(one, "systemctl is-system-running --wait"), "running");
    ssh(one, "root", "reboot");
    eventually("rebooted", || {
        ssh(one, "root", "cat /proc/sys/kernel/random/boot_id").is_some_and(|(_, id)| id != third)
    });
    assert_eq!(memory_kib(one), 768 * 1024, "its limits hold after a reboot inside");
    assert_eq!(boot_id(two), before.1, "the other never noticed");

    // A frozen host goes with the rest, and nothing stays but what others can use.
    done(lab.freeze("story-two"));
    assert!(traces(lab).len() > 10, "the search finds a lab that is there");
    done(lab.down(&|_| ()));
    assert_eq!(traces(lab), [""; 0]);
    let cached = fs::read_dir("/var/cache/ishprov-lab/apt-archives").unwrap();
    assert!(
        cached
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .any(|name| name.starts_with("jq_"))
    );
}

#[test]
fn a_killed_run_is_cleared_up_by_the_next() {
    let test = TestLab::new("crash");
    let lab = &test.lab;
    let host = [crash_host()];
    // Once undisturbed, so that the base is there and the kills hit the hosts' own steps.
    done(lab.up(&host, &|_| ()));
    done(lab.down(&|_| ()));
    for after in [5, 20, 40, 60, 80, 100, 150, 300, 700, 1500] {
        kill_an_up_after(after);
        let connections = done(lab.up(&host, &|_| ()));
        assert_eq!(on(&connections[0], "hostname"), "crash-one", "killed after {after} ms");
        done(lab.down(&|_| ()));
        assert_eq!(traces(lab), [""; 0], "killed after {after} ms, then up and down");
        kill_an_up_after(after);
        done(lab.down(&|_| ()));
        assert_eq!(traces(lab), [""; 0], "killed after {after} ms, then down");
    }
}

fn crash_host() -> LabHost {
    host("crash-one", [198, 18, 211, 1], 256 * MIB)
}

fn kill_an_up_after(milliseconds: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_run_that_is_killed", "--ignored"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_run_that_is_killed() {
    done(open("crash").up(&[crash_host()], &|_| ()));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let test = TestLab::new("foreign");
    let lab = &test.lab;
    let run =
        |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
    let hosts = [host("foreign-one", [198, 18, 212, 1], 256 * MIB)];

    // A subnet that leads elsewhere: refused before anything is made.
    let _ = Command::new("ip").args(["link", "delete", "ishforeign"]).stderr(Stdio::null()).status();
    run(&["link", "add", "ishforeign", "type", "bridge"]);
    run(&["address", "add", "198.18.212.77/25", "dev", "ishforeign"]);
    run(&["link", "set", "ishforeign", "up"]);
    let refusal = lab.up(&hosts, &|_| ()).unwrap_err();
    run(&["link", "delete", "ishforeign"]);
    assert_eq!(refusal[0].code, "lab-address-taken", "{refusal:?}");
    assert!(refusal[0].message.contains("ishforeign") && !refusal[0].hints.is_empty());
    assert!(!Path::new(STATE_DIR).join("foreign").exists());

    // A bridge that has our name but not our mark.
    done(lab.up(&hosts, &|_| ()));
    let id = bridge_of(lab);
    done(lab.kill("foreign-one"));
    run(&["link", "delete", &id]);
    run(&["link", "add", &id, "alias", "somebody else", "type", "bridge"]);
    let refusal = lab.boot("foreign-one", &|_| ()).unwrap_err();
    assert_eq!(refusal[0].code, "lab-not-ours", "{refusal:?}");
    assert_eq!(lab.down(&|_| ()).unwrap_err()[0].code, "lab-not-ours");
    run(&["link", "show", &id]);
    run(&["link", "delete", &id]);
    done(lab.down(&|_| ()));
    assert_eq!(traces(lab), [""; 0]);

    // A folder that holds somebody's files.
    let folder = Path::new(STATE_DIR).join("foreign");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("thesis.txt"), "years of work").unwrap();
    assert_eq!(lab.up(&hosts, &|_| ()).unwrap_err()[0].code, "lab-not-ours");
    assert_eq!(lab.down(&|_| ()).unwrap_err()[0].code, "lab-not-ours");
    assert_eq!(fs::read_to_string(folder.join("thesis.txt")).unwrap(), "years of work");
    fs::remove_dir_all(&folder).unwrap();
}
