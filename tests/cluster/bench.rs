//! A lab with a copy of the shipped site, and the ways a test looks at its hosts.

use ishprov::lab::{Connection, Lab, LabHost, LabOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";
const GIB: u64 = 1 << 30;

/// Three hosts of the shipped inventory, at addresses of the test's own.
pub struct Bench {
    lab: Lab,
    connections: BTreeMap<String, Connection>,
    dir: tempfile::TempDir,
    _turn: File,
}

/// What a run of the program came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// Brings the hosts up in 198.18.`net`.0/24.
    pub fn new(name: &str, net: u8) -> Self {
        let turn = File::create(format!("/run/lock/ishprov-lab-test-{name}")).expect("lab tests need root");
        turn.lock().expect("a lock");
        let lab =
            Lab::open_in(Path::new(STATE_DIR), name).expect("a lab").with_options(LabOptions::default());
        lab.down(&|_| ()).expect("leftovers go");
        let host = |name: &str, last: u8, memory: u64| {
            let address = Ipv4Addr::new(198, 18, net, last);
            LabHost { memory: Some(memory), cpus: Some(2), ..LabHost::new(name, address) }
        };
        let hosts = [
            host("pg-primary", 11, 16 * GIB),
            host("pg-replica1", 12, 8 * GIB),
            host("pg-replica2", 13, 8 * GIB),
        ];
        let connections = lab.up(&hosts, &|_| ()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let dir = tempfile::tempdir().expect("a folder");
        for part in ["site.yaml", "inventory", "roles", "templates"] {
            let copied = Command::new("cp").arg("-r").arg(part).arg(dir.path()).status().expect("cp runs");
            assert!(copied.success());
        }
        let moved = format!(
            "grep -rl 198.18.60 {0}/inventory | xargs sed -i 's/198\\.18\\.60/198.18.{net}/'",
            dir.path().display()
        );
        assert!(Command::new("sh").args(["-c", &moved]).status().expect("sh runs").success());
        let connections =
            connections.into_iter().map(|connection| (connection.host.clone(), connection)).collect();
        Self { lab, connections, dir, _turn: turn }
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn address(&self, host: &str) -> String {
        self.connections[host].address.to_string()
    }

    /// A file of the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `ishprov run site.yaml -i inventory` with these arguments more.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.of(&[&["run", "site.yaml"], arguments].concat())
    }

    /// What a command comes to.
    pub fn of(&self, arguments: &[&str]) -> Ran {
        let started = Instant::now();
        let output = self.program(arguments).output().expect("the program runs");
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        eprintln!("{arguments:?}: {:.1} s, exit {}", started.elapsed().as_secs_f64(), ran.code);
        assert!(!ran.stderr.contains("panicked at"), "{}", ran.stderr);
        ran
    }

    /// The command of [`Self::run`].
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.program(&[&["run", "site.yaml"], arguments].concat())
    }

    /// Any command that takes the inventory, in the folder of the site.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let any = self.connections.values().next().expect("a host");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ishprov"));
        command
            .args(arguments)
            .args(["-i", "inventory", "--private-key"])
            .arg(&any.private_key)
            .arg("--known-hosts")
            .arg(&any.known_hosts)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// A script's standard output; it must succeed.
    pub fn sh(&self, host: &str, script: &str) -> String {
        let (code, stdout, stderr) = self.ssh(host, script, "");
        assert_eq!(code, 0, "on {host}: {script}\n{stdout}\n{stderr}");
        stdout
    }

    /// Whether a login works now.
    pub fn reaches(&self, host: &str) -> bool {
        self.ssh(host, "true", "").0 == 0
    }

    /// A statement's result by the local socket.
    pub fn sql(&self, host: &str, statement: &str) -> String {
        self.try_sql(host, statement).unwrap_or_else(|stderr| panic!("on {host}: {statement}\n{stderr}"))
    }

    /// A statement's result by the local socket, or what the server says against it.
    pub fn try_sql(&self, host: &str, statement: &str) -> Result<String, String> {
        let (code, stdout, stderr) =
            self.ssh(host, "su postgres -c 'psql -XAtq -v ON_ERROR_STOP=1'", statement);
        if code == 0 { Ok(stdout) } else { Err(stderr) }
    }

    /// What a login from `host` comes to: the TLS version, or the error.
    pub fn psql_from(&self, host: &str, password: &str, conninfo: &str) -> String {
        let script = format!(
            "read -r PGPASSWORD; export PGPASSWORD; psql -XAtq -c 'SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()' \"{conninfo} connect_timeout=5\" 2>&1; true"
        );
        self.ssh(host, &script, &format!("{password}\n")).1
    }

    /// The same for an account whose name no command line could bear.
    pub fn login_as(&self, host: &str, user: &str, password: &str, conninfo: &str) -> String {
        let script = format!(
            "read -r PGPASSWORD; read -r PGUSER; export PGPASSWORD PGUSER; psql -XAtq -c 'SELECT current_user' \"{conninfo} connect_timeout=5\" 2>&1; true"
        );
        self.ssh(host, &script, &format!("{password}\n{user}\n")).1
    }

    fn ssh(&self, host: &str, script: &str, stdin: &str) -> (i32, String, String) {
        let to = &self.connections[host];
        let mut child = Command::new("timeout")
            .args([
                "120",
                "ssh",
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "ConnectTimeout=5",
            ])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"])
            .arg(format!("UserKnownHostsFile={}", to.known_hosts.display()))
            .arg("-i")
            .arg(&to.private_key)
            .arg(format!("root@{}", to.address))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh runs");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("ssh reads");
        let output = child.wait_with_output().expect("ssh ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Looks again and again, for a minute.
    pub fn until(&self, host: &str, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            assert!(started.elapsed() < Duration::from_secs(60), "on {host}: {what} never came about");
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// A password that was made.
    pub fn secret(&self, name: &str) -> String {
        let text =
            fs::read_to_string(self.path("inventory/secrets").join(name)).expect("the password was kept");
        text.trim().to_owned()
    }

    pub fn mode_of_secret(&self, name: &str) -> u32 {
        fs::metadata(self.path("inventory/secrets").join(name)).expect("a file").mode() & 0o777
    }

    /// Private keys on the control machine that others than their owner can read.
    pub fn key_files_with_wide_mode(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("pki")).expect("the authority's folder").flatten();
        let keys = entries
            .filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("PRIVATE KEY")));
        let wide = keys.filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0));
        wide.map(|entry| entry.path().display().to_string()).collect()
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

impl Ran {
    pub fn code(&self, expected: i32) {
        assert_eq!(self.code, expected, "{}\n{}", self.stdout, self.stderr);
    }

    /// A host's columns of the recap.
    pub fn stats(&self, host: &str) -> BTreeMap<String, u32> {
        let line = self.stdout.lines().find(|line| {
            line.split(" : ").next().is_some_and(|name| name.trim() == host) && line.contains("ok=")
        });
        let line = line.unwrap_or_else(|| panic!("no recap of {host}:\n{}\n{}", self.stdout, self.stderr));
        let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.map(|(name, count)| (name.to_owned(), count.parse().expect("a number"))).collect()
    }

    /// Tasks that changed something, or would: their names, in order.
    pub fn changed_tasks(&self) -> Vec<String> {
        let changed =
            self.stdout.lines().filter(|line| line.contains(" changed  ") || line.contains(" would  "));
        changed
            .map(|line| {
                line.trim()
                    .split("   ")
                    .next()
                    .unwrap_or_default()
                    .split(" changed")
                    .next()
                    .unwrap_or_default()
                    .split(" would")
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .collect()
    }

    /// The objects of `--output json`, one a line.
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}
