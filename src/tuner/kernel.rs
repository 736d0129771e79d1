//! Settings of the operating system that belong with those of the server.
//!
//! The number of huge pages is not here: the server itself is asked for it (`shared_memory_size_in_huge_pages`).

use super::budget::{Budget, Part};
use super::input::{DiskKind, HugePages, Input};
use super::units::Bytes;
use serde::Serialize;

/// One setting of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelSetting {
    /// Where it is set.
    pub place: Place,
    /// Its name there: `vm.swappiness`, a path under /sys, a key of the unit.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// A short sentence with the numbers, no trailing period.
    pub why: String,
}

/// Where an operating system setting lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// sysctl.
    Sysctl,
    /// A file under /sys.
    Sysfs,
    /// The `[Service]` section of the server's unit.
    Service,
    /// logind.conf.
    Logind,
}

pub(super) fn settings(input: &Input, budget: &Budget) -> Vec<KernelSetting> {
    let mut list = Vec::new();
    let mut set =
        |place, name, value: String, why: String| list.push(KernelSetting { place, name, value, why });
    let host = &input.hardware;

    let swappiness = if host.ram < Bytes::gb(2) { 10 } else { 1 };
    let why = "memory of the server is swapped only when nothing else helps".to_owned();
    set(Place::Sysctl, "vm.swappiness", swappiness.to_string(), why);

    match strict_overcommit(input, budget) {
        Ok(limit) => {
            let why = format!(
                "{limit} kB: 80 % of the RAM outside of huge pages, and swap; the budget and all that runs now fit"
            );
            set(
                Place::Sysctl,
                "vm.overcommit_memory",
                "2".to_owned(),
                "requests that cannot be met fail instead of a process".to_owned(),
            );
            set(Place::Sysctl, "vm.overcommit_kbytes", limit.to_string(), why);
        }
        Err(why) => set(Place::Sysctl, "vm.overcommit_memory", "0".to_owned(), why),
    }

    let (background, hard) = match host.disk.kind {
        DiskKind::Hdd => (64, 256),
        DiskKind::Ssd | DiskKind::San | DiskKind::Unknown => (128, 512),
        DiskKind::Nvme => (256, 1024),
    };
    let small = |mb: u64, part: u64| Bytes::mb(mb).min(Bytes(host.ram.0 / part)).round_down(Bytes::mb(1));
    let (background, hard) = (small(background, 16), small(hard, 8));
    let why = |what: &str, size: Bytes| {
        format!(
            "{what} from {} on, which a {} disk writes in a moment; a share of RAM would pile up",
            size.human(),
            host.disk.kind
        )
    };
    set(
        Place::Sysctl,
        "vm.dirty_background_bytes",
        background.0.to_string(),
        why("the kernel starts to write", background),
    );
    set(Place::Sysctl, "vm.dirty_bytes", hard.0.to_string(), why("writers wait", hard));
    if host.numa_nodes > 1 {
        let nodes = host.numa_nodes;
        set(
            Place::Sysctl,
            "vm.zone_reclaim_mode",
            "0".to_owned(),
            format!("{nodes} NUMA nodes: the page cache may use all of them"),
        );
        set(
            Place::Sysctl,
            "kernel.numa_balancing",
            "0".to_owned(),
            format!("{nodes} NUMA nodes: shared_buffers are used from all of them"),
        );
    }
    let why = "huge pages made behind the server's back cause stalls and bloat".to_owned();
    set(Place::Sysfs, "/sys/kernel/mm/transparent_hugepage/enabled", "never".to_owned(), why);
    // Every process opens up to max_files_per_process (1000) files beside its sockets and libraries; the postmaster and, from
    // 18 on, asynchronous I/O hold one or two for each other process. systemd's soft limit is 1024.
    let files = (1024 + 1000 + 2 * (input.max_connections + 64)).next_power_of_two().max(8192);
    let why =
        format!("1000 files of each process, and two for each of {} connections", input.max_connections);
    set(Place::Service, "LimitNOFILE", files.to_string(), why);
    let why = "the kernel kills a backend rather than the postmaster".to_owned();
    set(Place::Service, "OOMScoreAdjust", "-900".to_owned(), why);
    let why = "backends give the protection back and stay killable".to_owned();
    set(
        Place::Service,
        "Environment",
        "PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0".to_owned(),
        why,
    );
    let why = "a logout of the server's user does not remove its shared memory".to_owned();
    set(Place::Logind, "RemoveIPC", "no".to_owned(), why);
    list
}

/// The limit in kB when strict overcommit is safe; otherwise why it is not.
fn strict_overcommit(input: &Input, budget: &Budget) -> Result<u64, String> {
    let host = &input.hardware;
    let shared = budget.size(Part::Shared);
    let huge = if host.huge_pages == HugePages::Granted { shared } else { Bytes(0) };
    let limit = host.ram.less(huge).percent(80) + host.swap;
    // Page tables and huge pages are not committed memory. What runs beside the server is taken at the reserve of the system
    // rather than measured: a decision that follows the load would change from run to run.
    let claims: Bytes =
        budget.lines.iter().filter(|line| line.part != Part::PageTables).map(|line| line.size).sum();
    let needed = claims.less(huge);
    let numbers = format!("mode 2 would grant {}, and the budget claims {}", limit.human(), needed.human());
    match host.committed {
        _ if needed > limit => Err(numbers),
        None => {
            Err("what is committed now is not known, and the limit of mode 2 could stop what runs".to_owned())
        }
        Some(committed) if committed > limit => {
            Err(format!("mode 2 would grant {}, and more is committed now", limit.human()))
        }
        Some(_) => Ok(limit.0 / 1024),
    }
}
