//! The embedded lab: an inventory's hosts, made on this machine out of systemd-nspawn containers, with real systemd,
//! sshd, apt and true limits of RAM, CPU and disk.
//!
//! One base file system per Debian release is made once and kept (`/var/cache/ishprov-lab`, or where
//! `ISHPROV_LAB_CACHE` says). A host is a disk image of its own
//! laid over it, a cgroup with its limits, which lxcfs shows in its `/proc`, and a port on the lab's bridge. The base
//! and fetched packages are kept when a lab goes; everything else goes with it.
//!
//! Nothing is trusted to have ended well: what runs is found in `/proc`, what is mounted in mountinfo. What a lab makes
//! is written down before it is made (`lab.json` in its folder) or carries its mark (bridge and nft tables), and what
//! does not is never touched. One lock per lab lets one process work on it at a time.
//!
//! Everything here blocks; from async code, call it in `spawn_blocking`.

mod base;
mod bring_up;
mod cgroup;
mod command;
mod debs;
mod event;
mod fault;
mod lxcfs;
mod machine;
mod mounts;
mod needs;
mod network;
mod record;
mod root;
mod sources;

pub use event::LabEvent;

use crate::diag::{Diagnostic, did_you_mean};
use cgroup::Cgroups;
use record::{Lock, Record};
use root::HostDir;
use serde::{Deserialize, Serialize};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;

/// Where labs keep their state, unless `ISHPROV_LAB_DIR` names another folder.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/ishprov-lab";
/// Password of the test user `pwops` (see [`LabOptions::test_users`]). Good for nothing else: the host has no other door.
pub const TEST_SUDO_PASSWORD: &str = "lab-sudo-password";

/// All faults of an operation, never only the first.
pub type LabResult<T> = Result<T, Vec<Diagnostic>>;
/// Takes what the lab tells; called from several threads.
pub type OnEvent<'a> = &'a (dyn Fn(LabEvent) + Sync);

/// A host as the inventory wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabHost {
    /// Its host name.
    pub name: String,
    /// Its address, inside 198.18.0.0/15 and in one /24 with the lab's other hosts.
    pub address: Ipv4Addr,
    /// RAM in bytes: a true limit, and what the host sees. `None`: this machine's.
    pub memory: Option<u64>,
    /// CPUs; capped by what this machine has. `None`: all.
    pub cpus: Option<u32>,
    /// Disk in bytes, of which only what is written is taken. `None`: 20 GiB. Fixed when the host is made.
    pub disk: Option<u64>,
}

impl LabHost {
    /// A host with this machine's RAM and CPUs.
    pub fn new(name: impl Into<String>, address: Ipv4Addr) -> Self {
        Self { name: name.into(), address, memory: None, cpus: None, disk: None }
    }
}

/// What a lab's hosts have besides root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabOptions {
    /// Users `ops` (sudo without password), `pwops` (sudo with [`TEST_SUDO_PASSWORD`]) and `nosudo`, all with the
    /// lab's key. A lab that had them once keeps them.
    pub test_users: bool,
}

/// How to reach a host over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub host: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The SSH port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The lab's private key, which only root may read.
    pub private_key: PathBuf,
    /// The host keys of all hosts of the lab: strict checking works with it.
    pub known_hosts: PathBuf,
}

/// Whether a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Its processes run.
    Running,
    /// Its processes are held by [`Lab::freeze`].
    Frozen,
    /// It was stopped or killed; its disk is kept.
    Stopped,
}

/// A host of a lab as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// What was asked for.
    pub host: LabHost,
    /// Whether it runs.
    pub state: HostState,
    /// Some traffic of the host is cut.
    pub cut: bool,
    /// Its disk is kept full.
    pub disk_filled: bool,
}

/// One lab, by name. Labs stand side by side as long as their subnets differ.
#[derive(Debug, Clone)]
pub struct Lab {
    name: String,
    state_dir: PathBuf,
    options: LabOptions,
}

impl Lab {
    /// The lab of this name, which need not exist yet. Fails on a name that is none.
    pub fn open(name: &str) -> LabResult<Self> {
        Self::open_in(&state_dir(), name)
    }

    /// As [`open`](Self::open), in another state folder.
    pub fn open_in(state_dir: &Path, name: &str) -> LabResult<Self> {
        let good = name.len() <= 32
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.is_empty();
        if !good {
            return Err(vec![
                Diagnostic::error("lab-name", format!("`{name}` cannot name a lab"))
                    .hint("use at most 32 lower-case letters, digits and dashes"),
            ]);
        }
        Ok(Self { name: name.to_owned(), state_dir: state_dir.to_owned(), options: LabOptions::default() })
    }

    /// Sets what its hosts shall have.
    pub fn with_options(mut self, options: LabOptions) -> Self {
        self.options = options;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the labs in a state folder, sorted.
    pub fn names_in(state_dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
        let labs = entries.filter(|entry| entry.path().join(record::MARKER).is_file());
        let mut names: Vec<String> = labs.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Makes the hosts exist and returns when SSH answers on all of them. Hosts that run are left alone but for a new
    /// size, which is set while they run; faults that still hold (frozen, cut off) are lifted. Hosts of the lab that
    /// are not named stay as they are. What the machine lacks is installed first.
    pub fn up(&self, hosts: &[LabHost], on_event: OnEvent<'_>) -> LabResult<Vec<Connection>> {
        check_names(hosts)?;
        network::subnet_of(hosts)?;
        needs::require_root()?;
        needs::install_missing(on_event)?;
        let _lock = self.lock(on_event)?;
        bring_up::bring_up(self, hosts, on_event)?;
        hosts.iter().map(|host| self.connection(&host.name)).collect()
    }

    /// Removes the hosts and all that was made for them. The base image and fetched packages stay. A lab that does
    /// not exist is no error.
    pub fn down(&self, on_event: OnEvent<'_>) -> LabResult<()> {
        needs::require_root()?;
        let lock = self.lock(on_event)?;
        match Record::load(&self.dir())? {
            Some(record) => self.take_down(&record, on_event)?,
            None => {
                record::remove_dir(&self.dir())?;
                let labs = Self::names_in(&self.state_dir);
                let others = if labs.is_empty() {
                    String::new()
                } else {
                    format!(" (there are: {})", labs.join(", "))
                };
                on_event(LabEvent::Note(format!("there is no lab `{}`{others}", self.name)));
            }
        }
        lock.remove();
        // Only when it is empty: another lab may live here.
        let _ = fs::remove_dir(&self.state_dir);
        Ok(())
    }

    /// The lab's hosts as they are now; empty when there is no such lab.
    pub fn list(&self) -> LabResult<Vec<HostStatus>> {
        let Some(record) = Record::load(&self.dir())? else { return Ok(Vec::new()) };
        let cgroups = Cgroups::of_this_machine();
        let cuts = record.network.as_ref().map_or_else(|| Ok(network::Cuts::default()), network::cuts)?;
        let status = |host: &LabHost| {
            let dir = self.host_dir(&host.name);
            let frozen =
                record.network.as_ref().is_some_and(|network| cgroups.is_frozen(&network.id, &host.name));
            let state = match machine::find(&dir.root()) {
                None => HostState::Stopped,
                Some(_) if frozen => HostState::Frozen,
                Some(_) => HostState::Running,
            };
            let address = host.address.to_string();
            let in_pair = cuts.pairs.iter().any(|(one, other)| *one == address || *other == address);
            let cut = in_pair || cuts.alone.contains(&address);
            HostStatus { host: host.clone(), state, cut, disk_filled: dir.is_filled() }
        };
        Ok(record.hosts.iter().map(status).collect())
    }

    /// How to reach a host. Fails for a host that is not in the lab.
    pub fn connection(&self, host: &str) -> LabResult<Connection> {
        let record = self.record()?;
        let host = self.find_host(&record, host)?;
        Ok(Connection {
            host: host.name.clone(),
            address: host.address,
            port: 22,
            user: "root".to_owned(),
            private_key: self.private_key(),
            known_hosts: self.known_hosts(),
        })
    }

    fn take_down(&self, record: &Record, on_event: OnEvent<'_>) -> LabResult<()> {
        let cgroups = Cgroups::of_this_machine();
        let mut names: Vec<String> = record.hosts.iter().map(|host| host.name.clone()).collect();
        // Folders of hosts that a crash left without a record.
        let folders = fs::read_dir(self.dir().join("hosts")).into_iter().flatten().flatten();
        names.extend(folders.filter_map(|entry| entry.file_name().into_string().ok()));
        names.sort();
        names.dedup();
        let id = record.network.as_ref().map_or("", |network| network.id.as_str());
        all_at_once(&names, |name| {
            let dir = self.host_dir(name);
            self.end(id, name, &cgroups)?;
            debs::gather(&dir.archives(), &base::package_cache())?;
            dir.remove()?;
            machine::forget(id, name);
            on_event(LabEvent::Removed(name.clone()));
            Ok(())
        })?;
        let _machine = lxcfs::machine_lock(on_event)?;
        if let Some(network) = &record.network {
            cgroups.remove(&network.id)?;
            network::remove(network, &network::mark(&self.dir()))?;
        }
        mounts::unmount_below(&self.dir())?;
        record::remove_dir(&self.dir())?;
        lxcfs::release_shared()
    }

    /// Ends every process of a host at once, frozen ones too.
    fn end(&self, id: &str, host: &str, cgroups: &Cgroups) -> LabResult<()> {
        if !id.is_empty() && cgroups.is_frozen(id, host) {
            // A frozen process takes no signal under version 1. Killing first leaves it no time to act.
            if let Some(container) = machine::find(&self.host_dir(host).root()) {
                machine::kill_leader(container.pid);
            }
            cgroups.freeze(id, host, false)?;
        }
        let processes = || if id.is_empty() { Vec::new() } else { cgroups.processes(id, host) };
        if machine::kill(&self.host_dir(host).root(), processes) {
            return Ok(());
        }
        Err(vec![
            Diagnostic::error("lab-busy", format!("processes of `{host}` do not end"))
                .host(host)
                .note(format!("process ids: {:?}", processes()))
                .hint("a process in uninterruptible sleep waits for a disk; try again in a moment"),
        ])
    }

    fn lock(&self, on_event: OnEvent<'_>) -> LabResult<Lock> {
        let path = self.state_dir.join(format!(".{}.lock", self.name));
        Lock::acquire(&path, &format!("lab `{}`", self.name), on_event)
    }

    fn record(&self) -> LabResult<Record> {
        let found = Record::load(&self.dir())?;
        found.ok_or_else(|| {
            let labs = Self::names_in(&self.state_dir);
            vec![
                Diagnostic::error("lab-unknown", format!("there is no lab `{}`", self.name))
                    .maybe_hint(did_you_mean(&self.name, labs.iter().map(String::as_str)))
                    .hint("`ishprov lab up -i INVENTORY` makes it, `ishprov lab list` shows those there are"),
            ]
        })
    }

    fn find_host<'a>(&self, record: &'a Record, name: &str) -> LabResult<&'a LabHost> {
        record.host(name).ok_or_else(|| {
            let names: Vec<&str> = record.hosts.iter().map(|host| host.name.as_str()).collect();
            vec![
                Diagnostic::error("lab-unknown-host", format!("lab `{}` has no host `{name}`", self.name))
                    .maybe_hint(did_you_mean(name, names.iter().copied()))
                    .hint(format!("its hosts: {}", names.join(", "))),
            ]
        })
    }

    fn dir(&self) -> PathBuf {
        self.state_dir.join(&self.name)
    }

    fn host_dir(&self, host: &str) -> HostDir {
        HostDir::new(&self.dir(), host)
    }

    fn private_key(&self) -> PathBuf {
        self.dir().join("id_ed25519")
    }

    fn known_hosts(&self) -> PathBuf {
        self.dir().join("known_hosts")
    }
}

/// The state folder: `ISHPROV_LAB_DIR`, or [`DEFAULT_STATE_DIR`].
pub fn state_dir() -> PathBuf {
    std::env::var_os("ISHPROV_LAB_DIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from(DEFAULT_STATE_DIR), PathBuf::from)
}

/// Does the same for all, side by side; all faults come back together.
fn all_at_once<T: Sync>(items: &[T], work: impl Fn(&T) -> LabResult<()> + Sync) -> LabResult<()> {
    let work = &work;
    let faults: Vec<Diagnostic> = thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(move || work(item))).collect();
        let results = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(vec![Diagnostic::error("lab-bug", "a lab thread panicked")]))
        });
        results.filter_map(Result::err).flatten().collect()
    });
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Names become folders, host names and parts of container names.
fn check_names(hosts: &[LabHost]) -> LabResult<()> {
    let mut faults = Vec::new();
    for (at, host) in hosts.iter().enumerate() {
        let label_ok = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if host.name.len() > 50 || !host.name.split('.').all(label_ok) {
            faults.push(
                Diagnostic::error("lab-host-name", format!("`{}` cannot be a host's name", host.name)).hint(
                    "use at most 50 letters, digits, dashes and dots; `_` is not allowed in host names",
                ),
            );
        }
        for earlier in &hosts[..at] {
            if earlier.name == host.name {
                faults
                    .push(Diagnostic::error("lab-host-name", format!("two hosts are named `{}`", host.name)));
            } else if earlier.address == host.address {
                let message =
                    format!("`{}` and `{}` have the same address {}", earlier.name, host.name, host.address);
                faults.push(Diagnostic::error("lab-address", message).hint("give each its own"));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, last: u8) -> LabHost {
        LabHost::new(name, Ipv4Addr::new(198, 18, 7, last))
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for bad in ["", "../x", "a/b", "-a", "a_b", "a..b", "x\n"] {
            assert!(check_names(&[host(bad, 2)]).is_err(), "{bad:?}");
        }
        for bad in ["", "Dev", "../x", "a/b", ".x"] {
            assert!(Lab::open_in(Path::new("/nowhere"), bad).is_err(), "{bad:?}");
        }
        check_names(&[host("pg1", 2), host("db.example.org", 3)]).unwrap();
    }

    #[test]
    fn two_hosts_cannot_be_one() {
        let faults = check_names(&[host("a", 2), host("a", 3), host("b", 2)]).unwrap_err();
        let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, ["two hosts are named `a`", "`a` and `b` have the same address 198.18.7.2"]);
    }

    #[test]
    fn an_unknown_host_or_lab_is_answered_with_near_names() {
        let state = tempfile::tempdir().unwrap();
        let mut record = Record::new("dev");
        record.hosts.push(host("pg-primary", 11));
        record.save(&state.path().join("dev")).unwrap();
        let lab = Lab::open_in(state.path(), "dev").unwrap();
        let fault = lab.connection("pg-primry").unwrap_err();
        assert_eq!(fault[0].hints, ["did you mean `pg-primary`?", "its hosts: pg-primary"]);
        let fault = Lab::open_in(state.path(), "dve").unwrap().connection("x").unwrap_err();
        assert_eq!(fault[0].hints[0], "did you mean `dev`?");
        assert_eq!(lab.list().unwrap()[0].state, HostState::Stopped);
        assert_eq!(Lab::names_in(state.path()), ["dev"]);
    }

    #[test]
    fn all_faults_come_back_together() {
        let faults = all_at_once(&[1, 2, 3], |n| {
            if *n == 2 { Ok(()) } else { Err(vec![Diagnostic::error("x", n.to_string())]) }
        });
        assert_eq!(faults.unwrap_err().len(), 2);
    }
}
