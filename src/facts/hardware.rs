//! Memory and processors: what the kernel reports, and what a server process may really use.

use super::answer::Answer;
use crate::diag::Fault;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Adds memory, processors and their limits.
pub fn gather(
    answer: &Answer,
    facts: &mut Map<String, Value>,
    ours: &mut Map<String, Value>,
) -> Result<(), Fault> {
    let total = memory(answer, facts)?;
    let processors = processors(answer, facts);
    let limits = Limits::of(answer);
    let allowed = answer
        .section("init")
        .iter()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list: "))
        .map(count_list)
        .filter(|count| *count > 0);
    let usable = [Some(processors), allowed, limits.cpus].into_iter().flatten().min().unwrap_or(1).max(1);
    let bytes = limits.memory.map_or(total, |limit| limit.min(total));
    let limited = bytes < total || usable < processors;
    facts.insert("processor_nproc".to_owned(), json!(allowed.map_or(processors, |n| n.min(processors))));
    let kilobytes = |name: &str| meminfo(answer, name);
    let page = answer.line("pagesize").and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or(4096);
    let huge = json!({
        "total": kilobytes("HugePages_Total").unwrap_or(0),
        "free": kilobytes("HugePages_Free").unwrap_or(0),
        "size_kb": kilobytes("Hugepagesize").unwrap_or(0),
        "transparent": answer
            .first("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|line| line.split_once('[')?.1.split_once(']'))
            .map(|(word, _)| word),
    });
    for (name, value) in [
        ("memory_bytes", json!(bytes)),
        ("cpus", json!(usable)),
        ("cgroup_limited", json!(limited)),
        ("page_size", json!(page)),
        ("huge_pages", huge),
    ] {
        ours.insert(name.to_owned(), value);
    }
    Ok(())
}

/// A value of /proc/meminfo: kB, or a plain count.
fn meminfo(answer: &Answer, name: &str) -> Option<u64> {
    let mut values = answer.file("/proc/meminfo").iter().filter_map(|line| line.split_once(':'));
    let (_, value) = values.find(|(key, _)| *key == name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// Adds the memory facts; bytes of RAM.
fn memory(answer: &Answer, facts: &mut Map<String, Value>) -> Result<u64, Fault> {
    let Some(total) = meminfo(answer, "MemTotal") else {
        return Err(Fault::task("the host has no readable `/proc/meminfo`")
            .hint("`/proc` must be mounted; ishprov manages Linux hosts only"));
    };
    let kb = |name: &str| meminfo(answer, name).unwrap_or(0);
    let mb = |kb: u64| kb / 1024;
    let (free, swap, swap_free) = (kb("MemFree"), kb("SwapTotal"), kb("SwapFree"));
    let idle = free + kb("Cached") + kb("Buffers");
    for (name, value) in [
        ("memtotal_mb", json!(mb(total))),
        ("memfree_mb", json!(mb(free))),
        ("swaptotal_mb", json!(mb(swap))),
        ("swapfree_mb", json!(mb(swap_free))),
        (
            "memory_mb",
            json!({
                "real": {"total": mb(total), "free": mb(free), "used": mb(total.saturating_sub(free))},
                "nocache": {"free": mb(idle), "used": mb(total.saturating_sub(idle))},
                "swap": {
                    "total": mb(swap), "free": mb(swap_free), "used": mb(swap.saturating_sub(swap_free)),
                    "cached": mb(kb("SwapCached")),
                },
            }),
        ),
    ] {
        facts.insert(name.to_owned(), value);
    }
    Ok(total * 1024)
}

/// Adds the processor facts; how many there are.
fn processors(answer: &Answer, facts: &mut Map<String, Value>) -> u64 {
    let mut list = Vec::new();
    let mut vendor = "";
    let mut sockets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut socket, mut siblings, mut count) = ("", 0_u64, 0_u64);
    let (mut number, mut cores) = (None, None);
    for line in answer.section("cpu") {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim() {
            "processor" => {
                count += 1;
                number = Some(value);
            }
            "vendor_id" => vendor = value,
            "model name" | "Processor" => {
                list.extend(number.into_iter().chain([vendor, value]).filter(|word| !word.is_empty()));
            }
            "physical id" => socket = value,
            "siblings" => siblings = value.parse().unwrap_or(0),
            "core id" => {
                sockets.entry(socket).or_default().insert(value);
            }
            "cpu cores" => cores = value.parse::<u64>().ok(),
            _ => {}
        }
    }
    // Machines without topology in cpuinfo (ARM): one socket a processor, as Ansible has it.
    if count == 0 {
        count = answer.first("/sys/devices/system/cpu/online").map_or(1, count_list).max(1);
    }
    let count_sockets = if sockets.is_empty() { count } else { sockets.len() as u64 };
    let cores = if sockets.is_empty() { 1 } else { cores.unwrap_or(1).max(1) };
    let threads = if sockets.is_empty() || siblings == 0 { 1 } else { (siblings / cores).max(1) };
    for (name, value) in [
        ("processor", json!(list)),
        ("processor_count", json!(count_sockets)),
        ("processor_cores", json!(cores)),
        ("processor_threads_per_core", json!(threads)),
        ("processor_vcpus", json!(threads * count_sockets * cores)),
    ] {
        facts.insert(name.to_owned(), value);
    }
    count
}

/// How many numbers a kernel list such as `0-3,8` names.
fn count_list(list: &str) -> u64 {
    let ranges = list.trim().split(',').filter_map(|range| match range.split_once('-') {
        Some((first, last)) => Some(last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1),
        None => range.parse::<u64>().ok().map(|_| 1),
    });
    ranges.sum()
}

/// The tightest limits of the control groups above a server process (v1 and v2).
#[derive(Debug, Default)]
struct Limits {
    /// Bytes.
    memory: Option<u64>,
    /// Processors that the tightest quota is worth, rounded up.
    cpus: Option<u64>,
}

impl Limits {
    fn of(answer: &Answer) -> Self {
        let mut limits = Self::default();
        let mut quota: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, entry) in answer.below("/sys/fs/cgroup") {
            let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
            let words: Vec<&str> = std::iter::once(file).chain(entry.split_whitespace()).collect();
            match words[..] {
                // v1 writes "no limit" as the largest multiple of a page.
                ["memory.max" | "memory.limit_in_bytes", bytes] => {
                    let bytes = bytes.parse().ok().filter(|bytes| *bytes < 1 << 60);
                    limits.memory = limits.memory.into_iter().chain(bytes).min();
                }
                ["cpu.max", micros, period] => limits.quota(micros.parse().ok(), period.parse().ok()),
                ["cpu.cfs_quota_us", micros] => {
                    if let Ok(micros) = micros.parse() {
                        quota.insert(folder, micros);
                    }
                }
                ["cpu.cfs_period_us", period] => {
                    limits.quota(quota.get(folder).copied(), period.parse().ok())
                }
                _ => {}
            }
        }
        limits
    }

    fn quota(&mut self, micros: Option<u64>, period: Option<u64>) {
        if let (Some(micros), Some(period @ 1..)) = (micros, period) {
            self.cpus = self.cpus.into_iter().chain([micros.div_ceil(period)]).min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(lines: &str) -> (Option<u64>, Option<u64>) {
        let lines = lines.replace("G/", "/sys/fs/cgroup/");
        let text = format!("@@files\n{lines}\n@@end\n");
        let limits = Limits::of(&Answer::parse(&text).expect("parses"));
        (limits.memory, limits.cpus)
    }

    #[test]
    fn the_tightest_limit_along_the_path_counts() {
        let v2 = "G/memory.max:max\nG/a/b:1/memory.max:8589934592\nG/a/b:1/c/memory.max:4294967296\n\
                  G/a/cpu.max:max 100000\nG/a/b:1/cpu.max:150000 100000";
        assert_eq!(limits(v2), (Some(4 << 30), Some(2)));
        let v1 = "G/memory/memory.limit_in_bytes:9223372036854771712\nG/memory/x/memory.limit_in_bytes:1073741824\n\
                  G/cpu/cpu.cfs_quota_us:-1\nG/cpu/cpu.cfs_period_us:100000\n\
                  G/cpu/x/cpu.cfs_quota_us:50000\nG/cpu/x/cpu.cfs_period_us:100000";
        assert_eq!(limits(v1), (Some(1 << 30), Some(1)));
        assert_eq!(limits("G/memory.max:max"), (None, None));
    }

    proptest::proptest! {
        /// Invariant 12 of the tuner: a container's limit below what the host has always wins, wherever on the path it is.
        #[test]
        fn a_limit_below_the_hosts_ram_always_wins(
            total in 1_u64..1 << 32, bounds in proptest::collection::vec(proptest::option::of(1_u64..1 << 44), 0..6), v1: bool,
        ) {
            let file = if v1 { "memory.limit_in_bytes" } else { "memory.max" };
            let line = |(depth, bound): (usize, &Option<u64>)| {
                let bound = bound.map_or(if v1 { "9223372036854771712".to_owned() } else { "max".to_owned() }, |it| it.to_string());
                format!("/sys/fs/cgroup{}/{file}:{bound}\n", "/x".repeat(depth))
            };
            let lines: String = bounds.iter().enumerate().map(line).collect();
            let text = format!(
                "@@section init\n@@files\n/proc/meminfo:MemTotal: {total} kB\n{lines}@@end\n"
            );
            let (mut facts, mut ours) = (Map::new(), Map::new());
            gather(&Answer::parse(&text).expect("parses"), &mut facts, &mut ours).expect("has a MemTotal");
            let expected = bounds.iter().flatten().copied().chain([total * 1024]).min();
            proptest::prop_assert_eq!(ours["memory_bytes"].as_u64(), expected);
        }
    }

    #[test]
    fn kernel_lists_are_counted() {
        for (list, count) in [("0-3,8", 5), ("0", 1), ("", 0), ("0-127", 128), ("3-1", 0)] {
            assert_eq!(count_list(list), count, "{list}");
        }
    }
}
