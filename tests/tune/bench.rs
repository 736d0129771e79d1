//! A lab with a primary and a standby made by the shipped site, and the ways a test looks at them.

use ishprov::lab::{Connection, Lab, LabHost, LabOptions};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";

pub struct Bench {
    lab: Lab,
    connections: BTreeMap<String, Connection>,
    dir: tempfile::TempDir,
    net: u8,
    _turn: File,
}

/// What a run of the program came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// Brings the hosts up in 198.18.`net`.0/24, each with so many bytes of RAM and of disk.
    pub fn new(name: &str, net: u8, hosts: &[(&str, u64, u64)]) -> Self {
        let turn =
            File::create(format!("/run/lock/ishprov-lab-test-net-{net}")).expect("lab tests need root");
        turn.lock().expect("a lock");
        let lab =
            Lab::open_in(Path::new(STATE_DIR), name).expect("a lab").with_options(LabOptions::default());
        lab.down(&|_| ()).expect("leftovers go");
        let hosts: Vec<LabHost> = hosts
            .iter()
            .zip(11..)
            .map(|((host, memory, disk), last)| {
                let address = Ipv4Addr::new(198, 18, net, last);
                LabHost {
                    memory: Some(*memory),
                    disk: Some(*disk),
                    cpus: Some(2),
                    ..LabHost::new(*host, address)
                }
            })
            .collect();
        let connections = lab.up(&hosts, &|_| ()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let connections =
            connections.into_iter().map(|connection| (connection.host.clone(), connection)).collect();
        let dir = tempfile::tempdir().expect("a folder");
        for part in ["site.yaml", "inventory", "roles", "templates"] {
            let copied = Command::new("cp").arg("-r").arg(part).arg(dir.path()).status().expect("cp runs");
            assert!(copied.success());
        }
        let bench = Self { lab, connections, dir, net, _turn: turn };
        let moved = format!("grep -rl 198.18.60 . | xargs sed -i 's/198\\.18\\.60/198.18.{net}/'");
        bench.edit("inventory", &moved);
        bench
    }

    /// A script in a folder of the copied site.
    pub fn edit(&self, folder: &str, script: &str) {
        let dir = self.dir.path().join(folder);
        assert!(
            Command::new("sh").args(["-ec", script]).current_dir(dir).status().expect("sh runs").success()
        );
    }

    /// A file beside the site.
    pub fn script(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("a file");
    }

    /// Variables of all hosts, instead of what was given so before.
    pub fn vars(&self, yaml: &str) {
        let given = |line: &&str| !yaml.lines().any(|own| own.split(':').next() == line.split(':').next());
        let shipped =
            fs::read_to_string("inventory/group_vars/postgres.yaml").expect("the shipped variables");
        let kept: String = shipped.lines().filter(given).map(|line| format!("{line}\n")).collect();
        let kept = kept.replace("198.18.60", &format!("198.18.{}", self.net));
        let path = self.dir.path().join("inventory/group_vars/postgres.yaml");
        fs::write(path, kept + yaml).expect("a file");
    }

    /// The program with the inventory and keys of the lab, in the copied site.
    pub fn ishprov(&self, arguments: &[&str]) -> Ran {
        let any = self.connections.values().next().expect("a host");
        let started = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_ishprov"))
            .args(arguments)
            .args(["-i", "inventory", "--private-key"])
            .arg(&any.private_key)
            .arg("--known-hosts")
            .arg(&any.known_hosts)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        eprintln!("{arguments:?}: {:.1} s, exit {}", started.elapsed().as_secs_f64(), ran.code);
        assert!(!ran.stderr.contains("panicked at"), "{}", ran.stderr);
        ran
    }

    /// The same, ended by SIGKILL when a line that begins so has come.
    pub fn killed_at(&self, line: &str, arguments: &[&str]) {
        let any = self.connections.values().next().expect("a host");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ishprov"))
            .args(arguments)
            .args(["-i", "inventory", "--private-key"])
            .arg(&any.private_key)
            .arg("--known-hosts")
            .arg(&any.known_hosts)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let came = said.any(|text| text.starts_with(line));
        child.kill().expect("it is ended");
        child.wait().expect("it ends");
        assert!(came, "`{line}` never came");
    }

    /// The same with a person at a terminal who types `answer`; what the terminal showed.
    pub fn at_a_terminal(&self, answer: &str, arguments: &[&str]) -> String {
        let any = self.connections.values().next().expect("a host");
        let command = format!(
            "{} {} -i inventory --private-key {} --known-hosts {}",
            env!("CARGO_BIN_EXE_ishprov"),
            arguments.join(" "),
            any.private_key.display(),
            any.known_hosts.display()
        );
        let mut child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        // `script` hangs up once its input ends: it stays open until the program is done.
        let mut keyboard = child.stdin.take().expect("a pipe");
        keyboard.write_all(format!("{answer}\n").as_bytes()).expect("script reads");
        let output = child.wait_with_output().expect("script ends");
        drop(keyboard);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A script's standard output; it must succeed.
    pub fn sh(&self, host: &str, script: &str) -> String {
        let (code, stdout, stderr) = self.ssh(host, script, "");
        assert_eq!(code, 0, "on {host}: {script}\n{stdout}\n{stderr}");
        stdout
    }

    /// A statement's result by the local socket.
    pub fn sql(&self, host: &str, statement: &str) -> String {
        let (code, stdout, stderr) =
            self.ssh(host, "su postgres -c 'psql -XAtq -v ON_ERROR_STOP=1'", statement);
        assert_eq!(code, 0, "on {host}: {statement}\n{stderr}");
        stdout
    }

    /// Writes a file that everybody may read.
    pub fn write(&self, host: &str, path: &str, text: &str) {
        let (code, _, stderr) = self.ssh(host, &format!("cat > {path} && chmod 644 {path}"), text);
        assert_eq!(code, 0, "on {host}: {stderr}");
    }

    pub fn ssh(&self, host: &str, script: &str, stdin: &str) -> (i32, String, String) {
        let to = &self.connections[host];
        let mut child = Command::new("timeout")
            .args(["300", "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "ConnectTimeout=5", "-o", "GlobalKnownHostsFile=/dev/null", "-o"])
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
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.code, expected, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(
            self.stdout.contains(words) || self.stderr.contains(words),
            "not said: {words}\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}
