//! From a list of hosts to hosts that answer.

use super::cgroup::{Cgroups, choose_cpus};
use super::machine::{self, Start};
use super::record::{NetworkRecord, Record, make_dir, write_atomic};
use super::root::{Setup, new_ssh_key};
use super::{
    Lab, LabEvent, LabHost, LabResult, OnEvent, all_at_once, base, check_names, debs, lxcfs, mounts, network,
};
use crate::diag::Diagnostic;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A host that boots on a busy machine still answers well within this.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// Everything that is the same for all hosts of one call.
struct Context<'a> {
    lab: &'a Lab,
    record: &'a Record,
    network: &'a NetworkRecord,
    base: PathBuf,
    cgroups: Cgroups,
    key: String,
    on_event: OnEvent<'a>,
}

/// Makes the hosts answer. The lab's lock is held.
pub(super) fn bring_up(lab: &Lab, hosts: &[LabHost], on_event: OnEvent<'_>) -> LabResult<()> {
    let mut record = Record::load(&lab.dir())?.unwrap_or_else(|| Record::new(&lab.name));
    let before = record.hosts.clone();
    merge(&mut record, hosts)?;
    record.test_users |= lab.options.test_users;
    let cgroups = Cgroups::of_this_machine();
    let base = match record.base.clone().filter(|base| base.is_dir()) {
        Some(base) => base,
        None => base::ensure(on_event)?,
    };
    record.base = Some(base.clone());
    let network = set_up_machine(lab, &mut record, &cgroups, on_event)?;
    let key = new_ssh_key(&lab.private_key(), &format!("ishprov-lab-{}", lab.name))?;
    write_known_hosts(lab, &record)?;
    tell_limits(&record, hosts, on_event);
    gather_packages(lab)?;
    let context = Context { lab, record: &record, network: &network, base, cgroups, key, on_event };
    all_at_once(hosts, |host| {
        let earlier = before.iter().find(|earlier| earlier.name == host.name);
        context
            .one_host(host, earlier)
            .map_err(|faults| faults.into_iter().map(|fault| name_host(fault, host)).collect())
    })?;
    // Hosts that were there before learn the new ones' names.
    for host in record.hosts.iter().filter(|host| !hosts.iter().any(|named| named.name == host.name)) {
        let dir = lab.host_dir(&host.name);
        if mounts::is_mounted(&dir.root()) {
            dir.write_hosts(host, &record.hosts)?;
        }
    }
    Ok(())
}

impl Context<'_> {
    fn one_host(&self, host: &LabHost, earlier: Option<&LabHost>) -> LabResult<()> {
        let dir = self.lab.host_dir(&host.name);
        if let Some(container) = machine::find(&dir.root()) {
            match self.restart_reason(host, earlier, container.pid) {
                None => return self.keep_running(host, earlier),
                Some(why) => {
                    (self.on_event)(LabEvent::Restarting { host: host.name.clone(), why });
                    self.lab.shut_down(&self.network.id, &host.name, &self.cgroups)?;
                }
            }
        }
        self.start(host)
    }

    /// Why a running host cannot stay as it is.
    fn restart_reason(&self, host: &LabHost, earlier: Option<&LabHost>, container: i32) -> Option<String> {
        if earlier.is_some_and(|earlier| earlier.address != host.address) {
            return Some(format!("its address is now {}", host.address));
        }
        let leader = machine::leader(container)?;
        let inside = PathBuf::from(format!("/proc/{leader}/root{}", lxcfs::MOUNT));
        (!lxcfs::answers(&inside)).then(|| "lxcfs had died, so it no longer saw its own limits".to_owned())
    }

    fn keep_running(&self, host: &LabHost, earlier: Option<&LabHost>) -> LabResult<()> {
        let id = &self.network.id;
        if self.cgroups.is_frozen(id, &host.name) {
            self.cgroups.freeze(id, &host.name, false)?;
            (self.on_event)(LabEvent::Note(format!("{} was frozen: it goes on", host.name)));
        }
        if network::join(self.network, host.address)? {
            (self.on_event)(LabEvent::Note(format!("{} was cut off: it is back on the network", host.name)));
        }
        if earlier.is_some_and(|earlier| (earlier.memory, earlier.cpus) != (host.memory, host.cpus)) {
            self.cgroups.limit(id, host, self.cpus(host).as_deref())?;
            (self.on_event)(LabEvent::LimitsChanged(host.name.clone()));
        }
        if earlier.is_some_and(|earlier| earlier.disk != host.disk) {
            let note =
                format!("{} keeps the disk it was made with: `lab down` first for another size", host.name);
            (self.on_event)(LabEvent::Note(note));
        }
        self.lab.host_dir(&host.name).write_hosts(host, &self.record.hosts)?;
        let deadline = Instant::now() + BOOT_LIMIT;
        while !machine::greets(host.address, Duration::from_secs(1)) {
            if Instant::now() > deadline {
                return Err(vec![
                    Diagnostic::error("lab-boot", format!("`{}` runs, but SSH does not answer on {}:22", host.name, host.address))
                        .hint("something on the host closed it (firewall, sshd): `lab down` and `lab up` make it anew"),
                ]);
            }
            thread::sleep(Duration::from_millis(100));
        }
        (self.on_event)(LabEvent::AlreadyRunning(host.name.clone()));
        Ok(())
    }

    fn start(&self, host: &LabHost) -> LabResult<()> {
        let (dir, id) = (self.lab.host_dir(&host.name), &self.network.id);
        // An earlier run may have died between the container and its processes.
        self.lab.end(id, &host.name, &self.cgroups)?;
        self.cgroups.remove(&format!("{id}/{}", host.name))?;
        network::join(self.network, host.address)?;
        let setup = Setup {
            gateway: self.network.gateway,
            authorized_key: &self.key,
            test_users: self.record.test_users,
        };
        dir.prepare(host, &self.base, &setup)?;
        dir.write_hosts(host, &self.record.hosts)?;
        debs::seed(&base::package_cache(), &dir.archives())?;
        let joins = self.cgroups.make(id, host, self.cpus(host).as_deref())?;
        (self.on_event)(LabEvent::Booting(host.name.clone()));
        let console = dir.console();
        let (root, archives) = (dir.root(), dir.archives());
        let top = self.cgroups.top();
        let started = machine::start(&Start {
            host,
            root: &root,
            id,
            archives: &archives,
            console: &console,
            joins: &joins,
            top: &top,
        })?;
        let after = started.wait_ready(host, &console, BOOT_LIMIT)?;
        (self.on_event)(LabEvent::Ready { host: host.name.clone(), after });
        Ok(())
    }

    /// The CPUs of a host: hosts take turns, so that small ones do not all sit on the first.
    fn cpus(&self, host: &LabHost) -> Option<String> {
        let machine = machine_cpus();
        let first = self
            .record
            .hosts
            .iter()
            .take_while(|other| other.name != host.name)
            .filter_map(|other| other.cpus);
        let first = first.fold(0u32, |sum, count| (sum + count.min(machine)) % machine.max(1));
        host.cpus.map(|asked| choose_cpus(asked, machine, first).0)
    }
}

/// Takes the wanted hosts into the record; what they cannot change is refused.
fn merge(record: &mut Record, hosts: &[LabHost]) -> LabResult<()> {
    for host in hosts {
        match record.hosts.iter_mut().find(|known| known.name == host.name) {
            Some(known) => *known = host.clone(),
            None => record.hosts.push(host.clone()),
        }
    }
    check_names(&record.hosts)?;
    let (subnet, _) = network::subnet_of(&record.hosts)?;
    let Some(network) = &record.network else { return Ok(()) };
    if network.subnet != subnet {
        return Err(vec![
            Diagnostic::error(
                "lab-address",
                format!("lab `{}` stands on {}/24, not {subnet}/24", record.lab, network.subnet),
            )
            .hint("`lab down` first, then `lab up` with the new addresses"),
        ]);
    }
    match record.hosts.iter().find(|host| host.address == network.gateway) {
        None => Ok(()),
        Some(host) => Err(vec![
            Diagnostic::error(
                "lab-address",
                format!("{} is the gateway of lab `{}`", host.address, record.lab),
            )
            .host(&host.name)
            .hint("choose another address, or `lab down` first: then the gateway steps aside"),
        ]),
    }
}

/// Bridge, forwarding, lxcfs. The record is written before the first of them.
fn set_up_machine(
    lab: &Lab,
    record: &mut Record,
    cgroups: &Cgroups,
    on_event: OnEvent<'_>,
) -> LabResult<NetworkRecord> {
    let _machine = lxcfs::machine_lock(on_event)?;
    let network = match record.network.clone() {
        Some(network) => network,
        None => {
            let (subnet, gateway) = network::subnet_of(&record.hosts)?;
            let network =
                NetworkRecord { id: network::free_id(cgroups, &ids_of_others(lab))?, subnet, gateway };
            // Before anything is written: a subnet that somebody uses must leave no trace of the attempt.
            network::refuse_taken(&network, |bridge| holder(lab, bridge))?;
            network
        }
    };
    record.network = Some(network.clone());
    record.save(&lab.dir())?;
    network::ensure(&network, &network::mark(&lab.dir()))?;
    lxcfs::ensure_shared(cgroups)?;
    Ok(network)
}

fn ids_of_others(lab: &Lab) -> Vec<String> {
    let names = Lab::names_in(&lab.state_dir);
    let records = names.iter().filter_map(|name| Record::load(&lab.state_dir.join(name)).ok().flatten());
    records.filter_map(|record| record.network).map(|network| network.id).collect()
}

/// Takes in what the hosts of any lab have fetched by now, so that a lab that still runs serves the next one too.
fn gather_packages(lab: &Lab) -> LabResult<()> {
    for name in Lab::names_in(&lab.state_dir) {
        let hosts = fs::read_dir(lab.state_dir.join(name).join("hosts")).into_iter().flatten().flatten();
        for host in hosts {
            debs::gather(&host.path().join("archives"), &base::package_cache())?;
        }
    }
    Ok(())
}

fn write_known_hosts(lab: &Lab, record: &Record) -> LabResult<()> {
    make_dir(&lab.dir().join("hosts"), 0o700)?;
    let mut text = String::new();
    for host in &record.hosts {
        text.push_str(&lab.host_dir(&host.name).known_hosts_line(host)?);
    }
    write_atomic(Path::new(&lab.known_hosts()), 0o600, text.as_bytes())
}

fn tell_limits(record: &Record, hosts: &[LabHost], on_event: OnEvent<'_>) {
    let has = machine_cpus();
    for host in hosts {
        if let Some(asked) = host.cpus.filter(|asked| *asked > has) {
            on_event(LabEvent::CpusCapped { host: host.name.clone(), asked, has });
        }
    }
    let asked: u64 = record.hosts.iter().filter_map(|host| host.memory).fold(0, u64::saturating_add);
    if let Some(has) = lxcfs::machine_memory().filter(|has| asked > *has) {
        on_event(LabEvent::MemoryExceeds { asked, has });
    }
}

fn machine_cpus() -> u32 {
    thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

fn name_host(mut fault: Diagnostic, host: &LabHost) -> Diagnostic {
    if fault.hosts.is_empty() {
        fault.hosts.push(host.name.clone());
    }
    fault
}

/// The lab whose bridge this is.
fn holder(lab: &Lab, bridge: &str) -> Option<String> {
    Lab::names_in(&lab.state_dir).into_iter().find(|name| {
        let record = Record::load(&lab.state_dir.join(name)).ok().flatten();
        record.and_then(|record| record.network).is_some_and(|network| network.id == bridge)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn host(name: &str, last: u8) -> LabHost {
        LabHost::new(name, Ipv4Addr::new(198, 18, 7, last))
    }

    fn record() -> Record {
        let mut record = Record::new("dev");
        record.hosts = vec![host("a", 2), host("b", 3)];
        let (subnet, gateway) = network::subnet_of(&record.hosts).unwrap();
        record.network = Some(NetworkRecord { id: "ishlab0".into(), subnet, gateway });
        record
    }

    #[test]
    fn naming_one_host_keeps_the_others() {
        let mut record = record();
        merge(&mut record, &[LabHost { memory: Some(1 << 30), ..host("b", 3) }, host("c", 4)]).unwrap();
        let names: Vec<_> = record.hosts.iter().map(|host| (host.name.as_str(), host.memory)).collect();
        assert_eq!(names, [("a", None), ("b", Some(1 << 30)), ("c", None)]);
    }

    #[test]
    fn what_a_standing_lab_cannot_take_in_is_refused() {
        let taken = merge(&mut record(), &[host("c", 2)]).unwrap_err();
        assert_eq!(taken[0].message, "`a` and `c` have the same address 198.18.7.2");
        let gateway = merge(&mut record(), &[host("c", 1)]).unwrap_err();
        assert_eq!(gateway[0].message, "198.18.7.1 is the gateway of lab `dev`");
        let mut alone = record();
        alone.hosts.truncate(1);
        let moved = merge(&mut alone, &[LabHost::new("a", Ipv4Addr::new(198, 18, 8, 2))]).unwrap_err();
        assert_eq!(moved[0].message, "lab `dev` stands on 198.18.7.0/24, not 198.18.8.0/24");
    }
}
