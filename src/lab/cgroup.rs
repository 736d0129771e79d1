//! Sizes that are true: one cgroup per host, in version 1, version 2, or both side by side.

use super::mounts::{self, Mount};
use super::record::io_failure;
use super::{LabHost, LabResult};
use crate::diag::Diagnostic;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Controllers of version 1, which have a mount each.
const V1: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "name=systemd",
];

/// The cgroup file systems of this machine.
#[derive(Debug)]
pub(super) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// Its version 1 controllers; empty for version 2.
    controllers: Vec<String>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

impl Cgroups {
    /// What is mounted here.
    pub fn of_this_machine() -> Self {
        Self::from_mounts(&mounts::all())
    }

    fn from_mounts(mounts: &[Mount]) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for mount in mounts.iter().filter(|mount| mount.root == "/") {
            let controllers: Vec<String> = match mount.kind.as_str() {
                "cgroup" => {
                    mount.options.iter().filter(|option| V1.contains(&option.as_str())).cloned().collect()
                }
                "cgroup2" => Vec::new(),
                _ => continue,
            };
            if mount.kind == "cgroup" && controllers.is_empty() {
                continue;
            }
            if !hierarchies.iter().any(|known| known.controllers == controllers) {
                hierarchies.push(Hierarchy { mount: mount.point.clone(), controllers });
            }
        }
        Self { hierarchies }
    }

    /// Makes the cgroup `group/host.name` everywhere, with the host's limits. Returns the files that a process
    /// writes itself into to join.
    pub fn make(&self, group: &str, host: &LabHost, cpus: Option<&str>) -> LabResult<Vec<PathBuf>> {
        let mut joins = Vec::new();
        for hierarchy in &self.hierarchies {
            let parent = hierarchy.mount.join(group);
            let dir = parent.join(&host.name);
            for dir in [&parent, &dir] {
                match fs::create_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(io_failure("make", dir, &error));
                    }
                    _ => {}
                }
                if hierarchy.has("cpuset") {
                    inherit_cpuset(dir)?;
                }
            }
            if hierarchy.is_v2() {
                for dir in [&hierarchy.mount, &parent] {
                    for controller in ["memory", "cpuset", "cpu", "pids"] {
                        // Not every kernel has each; what is missing shows when a limit is set.
                        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
                    }
                }
            }
            joins.push(dir.join("cgroup.procs"));
        }
        self.limit(group, host, cpus)?;
        Ok(joins)
    }

    /// Sets the limits of a cgroup that exists.
    pub fn limit(&self, group: &str, host: &LabHost, cpus: Option<&str>) -> LabResult<()> {
        if let Some(bytes) = host.memory {
            self.limit_memory(group, host, bytes)?;
        }
        if let Some(cpus) = cpus {
            let file = self.file(group, &host.name, "cpuset", "cpuset.cpus");
            let Some(file) = file else { return Err(no_controller("cpuset", &host.name)) };
            fs::write(&file, cpus).map_err(|error| io_failure("write", &file, &error))?;
        }
        Ok(())
    }

    fn limit_memory(&self, group: &str, host: &LabHost, bytes: u64) -> LabResult<()> {
        let value = bytes.to_string();
        if let Some(dir) = self.v1_dir(group, &host.name, "memory") {
            let (limit, with_swap) =
                (dir.join("memory.limit_in_bytes"), dir.join("memory.memsw.limit_in_bytes"));
            // RAM may never exceed RAM + swap: going up, the second must move first; going down, the first.
            let first = fs::write(&limit, &value);
            if with_swap.exists() {
                fs::write(&with_swap, &value).map_err(|error| io_failure("write", &with_swap, &error))?;
            }
            return first
                .or_else(|_| fs::write(&limit, &value))
                .map_err(|error| io_failure("write", &limit, &error));
        }
        let file =
            self.v2_dir(group, &host.name).map(|dir| dir.join("memory.max")).filter(|file| file.exists());
        let Some(file) = file else { return Err(no_controller("memory", &host.name)) };
        fs::write(&file, &value).map_err(|error| io_failure("write", &file, &error))
    }

    /// Stops or continues every process of a host at once.
    pub fn freeze(&self, group: &str, host: &str, frozen: bool) -> LabResult<()> {
        let v2 = self.v2_dir(group, host).map(|dir| dir.join("cgroup.freeze")).filter(|file| file.exists());
        let (file, value) = match v2 {
            Some(file) => (file, if frozen { "1" } else { "0" }),
            None => match self.v1_dir(group, host, "freezer") {
                Some(dir) => (dir.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" }),
                None => return Err(no_controller("freezer", host)),
            },
        };
        fs::write(&file, value).map_err(|error| io_failure("write", &file, &error))
    }

    /// Whether [`freeze`](Self::freeze) holds the host.
    pub fn is_frozen(&self, group: &str, host: &str) -> bool {
        let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default();
        self.v2_dir(group, host).is_some_and(|dir| read(dir.join("cgroup.freeze")).trim() == "1")
            || self
                .v1_dir(group, host, "freezer")
                .is_some_and(|dir| read(dir.join("freezer.state")).starts_with("F"))
    }

    /// Processes of a host as this machine numbers them.
    pub fn processes(&self, group: &str, host: &str) -> Vec<i32> {
        let dir = self.v1_dir(group, host, "memory").or_else(|| self.v2_dir(group, host));
        let mut pids = Vec::new();
        for dir in dir.iter().flat_map(|dir| with_children(dir)) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids
    }

    /// Removes a cgroup and all below it, everywhere. Its processes must be gone.
    pub fn remove(&self, group: &str) -> LabResult<()> {
        for hierarchy in &self.hierarchies {
            let dir = hierarchy.mount.join(group);
            if !dir.exists() {
                continue;
            }
            for child in with_children(&dir).into_iter().rev() {
                remove_one(&child).map_err(|error| io_failure("remove", &child, &error))?;
            }
        }
        Ok(())
    }

    /// Whether any hierarchy has a cgroup of this name at its top.
    pub fn exists(&self, group: &str) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.mount.join(group).exists())
    }

    /// Files that put a process back to the top, out of the cgroup of whoever started the lab.
    pub fn top(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.mount.join("cgroup.procs")).collect()
    }

    fn file(&self, group: &str, host: &str, controller: &str, file: &str) -> Option<PathBuf> {
        let v1 = self.v1_dir(group, host, controller);
        v1.or_else(|| self.v2_dir(group, host)).map(|dir| dir.join(file)).filter(|file| file.exists())
    }

    fn v1_dir(&self, group: &str, host: &str, controller: &str) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| hierarchy.has(controller))?;
        Some(hierarchy.mount.join(group).join(host))
    }

    fn v2_dir(&self, group: &str, host: &str) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| hierarchy.is_v2())?;
        Some(hierarchy.mount.join(group).join(host))
    }
}

/// CPUs for a host: as many as it asks for and the machine has, beginning where the host before it ended.
/// Returns the list for the kernel and how many there are.
pub(super) fn choose_cpus(asked: u32, machine: u32, first: u32) -> (String, u32) {
    let machine = machine.max(1);
    let count = asked.clamp(1, machine);
    let mut chosen: Vec<u32> = (0..count).map(|offset| (first + offset) % machine).collect();
    chosen.sort_unstable();
    (chosen.iter().map(u32::to_string).collect::<Vec<_>>().join(","), count)
}

/// A new version 1 cpuset is empty and takes no process until it has CPUs and memory nodes.
fn inherit_cpuset(dir: &Path) -> LabResult<()> {
    let parent = dir.parent().unwrap_or(dir);
    for file in ["cpuset.mems", "cpuset.cpus"] {
        let (from, to) = (parent.join(file), dir.join(file));
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| io_failure("read", path, &error));
        if read(&to)?.trim().is_empty() {
            fs::write(&to, read(&from)?).map_err(|error| io_failure("write", &to, &error))?;
        }
    }
    Ok(())
}

/// A folder and all folders below it, outermost first.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut at = 0;
    while let Some(dir) = found.get(at) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(dirs);
        at += 1;
    }
    found
}

/// The kernel counts a dead process a moment longer.
fn remove_one(dir: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < 100 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}

fn no_controller(controller: &str, host: &str) -> Vec<Diagnostic> {
    vec![
        Diagnostic::error("lab-no-cgroup", format!("this machine's kernel offers no `{controller}` cgroup"))
            .host(host)
            .hint("leave the host's size out of the inventory, or use the vagrant lab"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn host(memory: u64) -> LabHost {
        LabHost { memory: Some(memory), ..LabHost::new("a", Ipv4Addr::new(198, 18, 0, 2)) }
    }

    fn v2(mount: &Path) -> Cgroups {
        Cgroups { hierarchies: vec![Hierarchy { mount: mount.to_owned(), controllers: Vec::new() }] }
    }

    #[test]
    fn finds_every_hierarchy_once() {
        let text = "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            3 0 0:1 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n\
            4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            5 0 0:5 /docker/x /inner rw - cgroup2 cgroup2 rw\n";
        let groups = Cgroups::from_mounts(&mounts::parse(text));
        let mounts: Vec<_> =
            groups.hierarchies.iter().map(|hierarchy| hierarchy.mount.to_str().unwrap()).collect();
        assert_eq!(mounts, ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]);
        assert!(groups.hierarchies[2].is_v2());
    }

    #[test]
    fn version_2_writes_memory_max_and_freeze() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("ishlab9/a");
        fs::create_dir_all(&dir).unwrap();
        for file in ["memory.max", "cpuset.cpus", "cgroup.freeze"] {
            fs::write(dir.join(file), "").unwrap();
        }
        let groups = v2(top.path());
        let joins = groups.make("ishlab9", &host(1 << 30), Some("0")).unwrap();
        assert_eq!(joins, [dir.join("cgroup.procs")]);
        assert_eq!(fs::read_to_string(dir.join("memory.max")).unwrap(), "1073741824");
        assert_eq!(fs::read_to_string(dir.join("cpuset.cpus")).unwrap(), "0");
        groups.freeze("ishlab9", "a", true).unwrap();
        assert!(groups.is_frozen("ishlab9", "a"));
        groups.freeze("ishlab9", "a", false).unwrap();
        assert!(!groups.is_frozen("ishlab9", "a"));
    }

    #[test]
    fn a_kernel_without_the_controller_is_said() {
        let top = tempfile::tempdir().unwrap();
        let refusal = v2(top.path()).make("ishlab9", &host(1 << 30), None).unwrap_err();
        assert_eq!(refusal[0].code, "lab-no-cgroup");
        assert!(refusal[0].message.contains("`memory`"));
    }

    #[test]
    fn cpus_are_capped_and_spread() {
        assert_eq!(choose_cpus(4, 2, 0), ("0,1".into(), 2));
        assert_eq!(choose_cpus(1, 2, 0), ("0".into(), 1));
        assert_eq!(choose_cpus(1, 2, 3), ("1".into(), 1));
        assert_eq!(choose_cpus(2, 4, 3), ("0,3".into(), 2));
        assert_eq!(choose_cpus(0, 0, 0), ("0".into(), 1));
    }
}
