//! Worker processes, from CPUs: parallel queries from physical cores, autovacuum from logical CPUs.

use super::input::{Hardware, Input, Workload};
use super::setting::{Settings, Value};

/// Parallel workers in all: one a core.
pub(super) fn workers(hardware: &Hardware) -> u32 {
    hardware.usable_cores().max(2)
}

/// Parallel workers that `active` backends can have at once.
pub(super) fn in_use(input: &Input, active: u32) -> u32 {
    workers(&input.hardware).min(active.saturating_mul(per_gather(input)))
}

/// Parallel workers of one query.
fn per_gather(input: &Input) -> u32 {
    let half = (input.hardware.usable_cores() / 2).max(1);
    match input.workload {
        Workload::Dw => half,
        Workload::Mixed => half.min(4),
        Workload::Web | Workload::Oltp | Workload::Desktop => half.min(2),
    }
}

/// Three workers, one more at 16, 32, 64, ... CPUs.
pub(super) fn autovacuum_workers(cpus: u32) -> u32 {
    3 + (cpus / 8).max(1).ilog2()
}

pub(super) fn settings(input: &Input, out: &mut Settings) {
    const SOURCE: &str = "physical cores; pgtune";
    let cores = input.hardware.usable_cores();
    let each = per_gather(input);
    let many = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    out.set(
        "max_parallel_workers",
        Value::Int(workers(&input.hardware).into()),
        SOURCE,
        format!("one a core, 2 at least: {many}"),
    );
    let why = match input.workload {
        Workload::Dw => format!("half of {many}, so that two reports can run side by side"),
        Workload::Mixed => format!("half of {many}, 4 at most, so that a report leaves room for short work"),
        _ => format!("half of {many}, 2 at most: short queries seldom gain, and many run at once"),
    };
    out.set("max_parallel_workers_per_gather", Value::Int(each.into()), SOURCE, why);
    let build = cores.div_ceil(2).min(4);
    let why = format!("half of {many}, 4 at most, for one index build");
    out.set("max_parallel_maintenance_workers", Value::Int(build.into()), SOURCE, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autovacuum_gets_a_worker_more_with_every_doubling_from_16() {
        let cases = [(1, 3), (8, 3), (15, 3), (16, 4), (32, 5), (64, 6), (512, 9)];
        for (cpus, workers) in cases {
            assert_eq!(autovacuum_workers(cpus), workers, "{cpus} CPUs");
        }
    }
}
