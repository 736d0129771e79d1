//! Faults for rehearsals: what happens to real hosts, made to happen to the lab's.

use super::cgroup::Cgroups;
use super::record::{NetworkRecord, Record};
use super::{Lab, LabHost, LabResult, OnEvent, bring_up, machine, needs, network};
use crate::diag::Diagnostic;
use std::time::Duration;

/// A shutdown that PostgreSQL takes part in; after it the power is cut.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(90);

impl Lab {
    /// Cuts a host's power: every process is gone at once, nothing is asked. What it had written stays.
    pub fn kill(&self, host: &str) -> LabResult<()> {
        self.on_host(host, |fault| self.end(&fault.network.id, host, &fault.cgroups))
    }

    /// Shuts a host down in order, and cuts its power if it takes longer than 90 seconds. Its disk is kept.
    pub fn stop(&self, host: &str) -> LabResult<()> {
        self.on_host(host, |fault| self.shut_down(&fault.network.id, host, &fault.cgroups))
    }

    /// Starts a host that was stopped or killed, with the disk it had, and returns when SSH answers.
    pub fn boot(&self, host: &str, on_event: OnEvent<'_>) -> LabResult<()> {
        self.on_host(host, |fault| bring_up::bring_up(self, std::slice::from_ref(&fault.host), on_event))
    }

    /// Holds every process of a host, as a hung hypervisor does: connections stay open and nothing answers.
    pub fn freeze(&self, host: &str) -> LabResult<()> {
        self.on_running_host(host, |fault| fault.cgroups.freeze(&fault.network.id, host, true))
    }

    /// Lets a frozen host go on.
    pub fn thaw(&self, host: &str) -> LabResult<()> {
        self.on_running_host(host, |fault| fault.cgroups.freeze(&fault.network.id, host, false))
    }

    /// Cuts a host off: no packet from it or to it arrives anywhere, this machine included. The host runs on.
    pub fn cut(&self, host: &str) -> LabResult<()> {
        self.on_host(host, |fault| network::cut(&fault.network, fault.host.address))
    }

    /// Cuts two hosts off from each other; both still reach everything else.
    pub fn cut_between(&self, host: &str, other: &str) -> LabResult<()> {
        self.on_host(host, |fault| {
            let other = self.find_host(&fault.record, other)?;
            network::cut_pair(&fault.network, fault.host.address, other.address)
        })
    }

    /// Undoes every cut that touches a host.
    pub fn join(&self, host: &str) -> LabResult<()> {
        self.on_host(host, |fault| network::join(&fault.network, fault.host.address).map(drop))
    }

    /// Takes the host's free disk space until `leave` bytes are left, in a way that the host cannot undo. Returns how
    /// many bytes are taken.
    pub fn fill_disk(&self, host: &str, leave: u64) -> LabResult<u64> {
        self.on_running_host(host, |_| self.host_dir(host).fill(leave))
    }

    /// Gives the space back that [`fill_disk`](Self::fill_disk) took.
    pub fn free_disk(&self, host: &str) -> LabResult<()> {
        self.on_host(host, |_| self.host_dir(host).unfill())
    }

    pub(super) fn shut_down(&self, id: &str, host: &str, cgroups: &Cgroups) -> LabResult<()> {
        if cgroups.is_frozen(id, host) {
            cgroups.freeze(id, host, false)?;
        }
        machine::ask_to_stop(&self.host_dir(host).root(), SHUTDOWN_LIMIT);
        self.end(id, host, cgroups)
    }

    fn on_running_host<T>(&self, host: &str, act: impl FnOnce(&OnHost) -> LabResult<T>) -> LabResult<T> {
        self.on_host(host, |fault| {
            if machine::find(&self.host_dir(host).root()).is_none() {
                return Err(vec![
                    Diagnostic::error("lab-host-stopped", format!("`{host}` does not run"))
                        .host(host)
                        .hint("boot it first: `lab up` does"),
                ]);
            }
            act(fault)
        })
    }

    fn on_host<T>(&self, host: &str, act: impl FnOnce(&OnHost) -> LabResult<T>) -> LabResult<T> {
        needs::require_root()?;
        // Asked before locking, so that a question about no lab makes no lock file.
        self.record()?;
        let _lock = self.lock(&|_| ())?;
        let record = self.record()?;
        let host = self.find_host(&record, host)?.clone();
        let Some(network) = record.network.clone() else {
            return Err(vec![
                Diagnostic::error("lab-host-stopped", format!("lab `{}` was never brought up", self.name))
                    .hint("`lab up` does"),
            ]);
        };
        act(&OnHost { record, host, network, cgroups: Cgroups::of_this_machine() })
    }
}

struct OnHost {
    record: Record,
    host: LabHost,
    network: NetworkRecord,
    cgroups: Cgroups,
}
