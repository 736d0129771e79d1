//! Two small hosts with a copy of this test's sites, and the ways the test looks at them.

use ishprov::lab::{Connection, Lab, LabHost, LabOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";

pub const HOSTS: [&str; 2] = ["h1", "h2"];

/// The hosts, and a folder of sites.
pub struct Bench {
    pub lab: Lab,
    connections: BTreeMap<String, Connection>,
    dir: tempfile::TempDir,
    _turn: File,
}

/// What a run of the program came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// A run under way, its output in files.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    started: Instant,
}

impl Bench {
    pub fn new(name: &str, net: u8) -> Self {
        let turn = File::create(format!("/run/lock/ishprov-lab-test-{name}")).expect("lab tests need root");
        turn.lock().expect("a lock");
        let lab = Lab::open_in(Path::new(STATE_DIR), name).expect("a lab");
        let lab = lab.with_options(LabOptions { test_users: true });
        lab.down(&|_| ()).expect("leftovers go");
        let host = |(last, name): (u8, &&str)| LabHost {
            memory: Some(1 << 30),
            cpus: Some(1),
            ..LabHost::new(*name, Ipv4Addr::new(198, 18, net, last))
        };
        let hosts: Vec<LabHost> = (11..).zip(&HOSTS).map(host).collect();
        let connections = lab.up(&hosts, &|_| ()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let dir = tempfile::tempdir().expect("a folder");
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/site/.");
        assert!(Command::new("cp").arg("-r").arg(site).arg(dir.path()).status().expect("cp runs").success());
        let mut inventory = "[web]\n".to_owned();
        for host in &hosts {
            inventory += &format!("{} ansible_host={} own=own-{}\n", host.name, host.address, host.name);
        }
        inventory += "[web:vars]\nansible_user=root\n";
        fs::write(dir.path().join("inventory"), inventory).expect("a file");
        let connections =
            connections.into_iter().map(|connection| (connection.host.clone(), connection)).collect();
        Self { lab, connections, dir, _turn: turn }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner may read, beside the sites.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        path
    }

    /// What a run told on standard error, without what differs from lab to lab.
    pub fn told(&self, ran: &Ran) -> String {
        let known = [
            (self.dir.path().display().to_string(), "/DIR"),
            (self.private_key(), "/KEY"),
            (self.known_hosts(), "/KNOWN_HOSTS"),
        ];
        let text = known.iter().fold(ran.stderr.clone(), |text, (path, name)| text.replace(path, name));
        let plain = |word: &str| match word.split_once("SHA256:") {
            Some((before, _)) => format!("{before}SHA256:..."),
            None => word.to_owned(),
        };
        let line = |line: &str| line.split(' ').map(plain).collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    pub fn private_key(&self) -> String {
        self.connections["h1"].private_key.display().to_string()
    }

    pub fn known_hosts(&self) -> String {
        self.connections["h1"].known_hosts.display().to_string()
    }

    /// `ishprov run SITE` with the lab's keys.
    pub fn run(&self, site: &str, arguments: &[&str]) -> Ran {
        self.start(site, arguments).end()
    }

    /// As [`run`](Self::run), with a key and a file of known hosts of the test's choice.
    pub fn run_with(&self, key: &str, known_hosts: &str, site: &str, arguments: &[&str]) -> Ran {
        self.start_with(key, known_hosts, site, arguments).end()
    }

    pub fn start(&self, site: &str, arguments: &[&str]) -> Running {
        self.start_with(&self.private_key(), &self.known_hosts(), site, arguments)
    }

    fn start_with(&self, key: &str, known_hosts: &str, site: &str, arguments: &[&str]) -> Running {
        let (stdout, stderr) = (self.path("out.stdout"), self.path("out.stderr"));
        let child = Command::new(env!("CARGO_BIN_EXE_ishprov"))
            .args(["run", site, "-i", "inventory", "--private-key", key, "--known-hosts", known_hosts])
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(File::create(&stderr).expect("a file"))
            .spawn()
            .expect("the program runs");
        eprintln!("run {site} {arguments:?}");
        Running { child, stdout, stderr, started: Instant::now() }
    }

    /// A script's standard output; it must succeed.
    pub fn sh(&self, host: &str, script: &str) -> String {
        let (code, stdout, stderr) = self.ssh(host, script);
        assert_eq!(code, 0, "on {host}: {script}\n{stdout}\n{stderr}");
        stdout
    }

    /// Bytes of a file.
    pub fn read(&self, host: &str, path: &str) -> Vec<u8> {
        let output = self.ssh_command(host).arg(format!("cat -- {path}")).output().expect("ssh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub fn ssh(&self, host: &str, script: &str) -> (i32, String, String) {
        let output = self.ssh_command(host).arg(script).stdin(Stdio::null()).output().expect("ssh runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    pub fn ssh_command(&self, host: &str) -> Command {
        let to = &self.connections[host];
        let mut command = Command::new("timeout");
        command.args(["120", "ssh", "-F", "none"]);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "ConnectTimeout=5",
            "GlobalKnownHostsFile=/dev/null",
        ] {
            command.args(["-o", option]);
        }
        command.arg("-o").arg(format!("UserKnownHostsFile={}", to.known_hosts.display()));
        command.arg("-i").arg(&to.private_key).arg(format!("root@{}", to.address));
        command
    }

    /// Looks again and again.
    pub fn until(&self, what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < Duration::from_secs(seconds), "{what} never came about");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("ISHPROV_KEEP_LAB").is_some() {
            return;
        }
        if let Err(faults) = self.lab.down(&|_| ()) {
            eprintln!("the lab did not go: {faults:#?}");
        }
    }
}

impl Running {
    /// Waits until the program has printed a word.
    pub fn says(&mut self, word: &str) {
        let started = Instant::now();
        while !fs::read_to_string(&self.stdout).unwrap_or_default().contains(word) {
            assert!(started.elapsed() < Duration::from_secs(60), "`{word}` was never said");
            assert!(self.child.try_wait().expect("a child").is_none(), "it ended before it said `{word}`");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        // One that has ended already takes no signal; the caller looks at how it ended.
        let _ =
            Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status().expect("kill runs");
    }

    pub fn end(mut self) -> Ran {
        let limit = Duration::from_secs(120);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if self.started.elapsed() > limit {
                self.child.kill().expect("it ends");
                panic!("it hangs:\n{}", fs::read_to_string(&self.stdout).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let ran = Ran {
            code: status.code().unwrap_or(-1),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            took: self.started.elapsed(),
        };
        eprintln!("    {:.1} s, exit {}", ran.took.as_secs_f64(), ran.code);
        for odd in ["panicked", "backtrace", "internal"] {
            assert!(!ran.said().contains(odd), "`{odd}`:\n{}", ran.said());
        }
        ran
    }
}

impl Ran {
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.code, expected, "{}", self.said());
        self
    }

    /// Everything shown.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.said().contains(word), "nothing about `{word}`:\n{}", self.said());
        }
        self
    }

    #[track_caller]
    pub fn never_says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(!self.said().contains(word), "`{word}` was said:\n{}", self.said());
        }
        self
    }

    /// A host's columns of the recap.
    #[track_caller]
    pub fn stats(&self, host: &str) -> BTreeMap<String, u32> {
        let line = self.stdout.lines().find(|line| {
            line.split(" : ").next().is_some_and(|name| name.trim() == host) && line.contains("ok=")
        });
        let line = line.unwrap_or_else(|| panic!("no recap of {host}:\n{}", self.said()));
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.map(|(name, count)| (name.to_owned(), count.parse().expect("a number"))).collect()
    }

    /// Of `--output json`: each task's host, name, item and status, host by host.
    pub fn statuses(&self) -> Vec<String> {
        let events = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut tasks: Vec<String> = events
            .filter(|event| event["event"] == "task")
            .map(|event| format!("{} {} {} {}", event["host"], event["task"], event["item"], event["status"]))
            .collect();
        // Hosts go side by side: only the order within one means something.
        tasks.sort_by_key(|task| task.split(' ').next().map(str::to_owned));
        tasks
    }
}
