//! One lab host with PostgreSQL 15, and the ways the benchmark looks at it.

use super::Fallible;
use super::arms::Arm;
use ishprov::diag::Diagnostic;
use ishprov::lab::{Connection, Lab, LabHost};
use ishprov::tuner::Bytes;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";
const NAME: &str = "tuning-bench";
const NET: u8 = 73;
const BIN: &str = "/usr/lib/postgresql/15/bin";
const CONF: &str = "/etc/postgresql/15/main/conf.d";

/// The host.
pub struct Host {
    lab: Lab,
    to: Connection,
    /// Its memory cgroup on this machine.
    cgroup: PathBuf,
}

impl Host {
    /// Boots it and installs PostgreSQL, which lets this machine in without a password: the host is reached from nowhere else.
    pub fn new(ram: Bytes) -> Fallible<Self> {
        let lab = Lab::open_in(Path::new(STATE_DIR), NAME).map_err(told)?;
        lab.down(&|_| ()).map_err(told)?;
        let address = Ipv4Addr::new(198, 18, NET, 11);
        let host = LabHost { memory: Some(ram.0), cpus: Some(2), ..LabHost::new(NAME, address) };
        let to = lab.up(&[host], &|event| eprintln!("{event}")).map_err(told)?.remove(0);
        let host = Self { lab, to, cgroup: cgroup()? };
        host.sh(
            "export DEBIAN_FRONTEND=noninteractive; apt-get update -q && apt-get install -y -q --no-install-recommends postgresql-15 && \
             sed -i '1i host all all samenet trust' /etc/postgresql/15/main/pg_hba.conf",
        )?;
        host.put(
            &format!("{CONF}/95-bench.conf"),
            "listen_addresses = '*'\nautovacuum_naptime = 1s\nssl = off\nlogging_collector = off\n",
        )?;
        Ok(host)
    }

    /// Restarts the server with the settings of an arm and these more.
    pub fn apply(&self, arm: &Arm, more: &str) -> Fallible<()> {
        self.put(&format!("{CONF}/50-arm.conf"), &format!("{}{more}", arm.conf()))?;
        self.sh("systemctl restart postgresql@15-main && until su postgres -c 'psql -XAtqc \"SELECT 1\"' >/dev/null 2>&1; do sleep 0.3; done")
            .map(drop)
    }

    /// A script's standard output; it must succeed.
    pub fn sh(&self, script: &str) -> Fallible<String> {
        self.ssh(script, "")
    }

    fn put(&self, path: &str, content: &str) -> Fallible<()> {
        self.ssh(&format!("cat > {path}"), content).map(drop)
    }

    /// Rows of a statement, unaligned; as superuser, from this machine.
    pub fn sql(&self, statement: &str) -> Fallible<String> {
        let output =
            self.client("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(format!("{statement}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
    }

    /// A client program, with the host as its server.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(format!("{BIN}/{program}"));
        command.args(["-h", &self.to.address.to_string(), "-U", "postgres"]);
        command.env("PGDATABASE", "postgres").env("PGCONNECT_TIMEOUT", "20").stdin(Stdio::null());
        command
    }

    /// A session that keeps an advisory lock until it is dropped.
    pub fn hold_lock(&self) -> Fallible<Held> {
        let mut command = self.client("psql");
        let mut child = command.args(["-XAtq"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        child.stdin.as_mut().ok_or("no pipe")?.write_all(b"SELECT pg_advisory_lock(7);\n")?;
        Ok(Held(child))
    }

    /// Processes that the kernel killed since the host exists, for want of memory.
    pub fn oom_kills(&self) -> Fallible<u64> {
        self.counter(&["memory.events", "memory.oom_control"], "oom_kill")
    }

    /// Memory that cannot be dropped: all that is used but the page cache of files.
    pub fn unreclaimable(&self) -> Fallible<Bytes> {
        let used = ["memory.current", "memory.usage_in_bytes"]
            .iter()
            .find_map(|file| fs::read_to_string(self.cgroup.join(file)).ok())
            .ok_or("the host's memory cgroup cannot be read")?;
        let stat = |first: &str, second: &str| {
            self.counter(&["memory.stat"], first).or_else(|_| self.counter(&["memory.stat"], second))
        };
        let files = stat("total_cache", "file")?.saturating_sub(stat("total_shmem", "shmem")?);
        Ok(Bytes(used.trim().parse::<u64>()?.saturating_sub(files)))
    }

    fn counter(&self, files: &[&str], name: &str) -> Fallible<u64> {
        let text = files.iter().find_map(|file| fs::read_to_string(self.cgroup.join(file)).ok());
        let text = text.ok_or("the host's memory cgroup cannot be read")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.ok_or_else(|| format!("no `{name}` in the memory cgroup"))?.trim().parse()?)
    }

    fn ssh(&self, script: &str, stdin: &str) -> Fallible<String> {
        let to = &self.to;
        let mut child = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"])
            .arg(format!("UserKnownHostsFile={}", to.known_hosts.display()))
            .arg("-i")
            .arg(&to.private_key)
            .arg(format!("{}@{}", to.user, to.address))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("no pipe")?.write_all(stdin.as_bytes())?;
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::env::var_os("ISHPROV_KEEP_LAB").is_none()
            && let Err(faults) = self.lab.down(&|_| ())
        {
            eprintln!("the lab did not go: {faults:#?}");
        }
    }
}

/// A child that ends with its handle.
pub struct Held(pub Child);

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The cgroup that bears the host's name, in version 1 or 2.
fn cgroup() -> Fallible<PathBuf> {
    for top in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"] {
        let groups = fs::read_dir(top).into_iter().flatten().flatten();
        let found =
            groups.map(|group| group.path().join(NAME)).find(|path| path.join("memory.stat").exists());
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err("the host's memory cgroup is not found".into())
}

fn told(faults: Vec<Diagnostic>) -> Box<dyn std::error::Error> {
    let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
    messages.join("; ").into()
}
