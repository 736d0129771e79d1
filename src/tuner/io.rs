//! Planner and I/O, from the kind of disk.

use super::input::{DiskKind, Input, Workload};
use super::memory;
use super::setting::{Settings, Value};

pub(super) fn settings(input: &Input, out: &mut Settings) {
    let disk = &input.hardware.disk;
    let evidence = match (disk.kind, disk.evidence.as_str()) {
        (DiskKind::Unknown, _) => "the kind of disk is not known, flash is assumed".to_owned(),
        (kind, "") => format!("the disk is {kind}"),
        (kind, evidence) => format!("the disk is {kind} ({evidence})"),
    };
    let (cost, why) = match (disk.kind, input.workload) {
        (DiskKind::Hdd, _) => (4.0, format!("{evidence}: a random read costs a seek")),
        (_, Workload::Dw) => (4.0, format!("{evidence}, but reports read more than the cache holds")),
        _ => (
            1.1,
            format!("{evidence}, and most reads are taken to hit the cache; raise it where they do not"),
        ),
    };
    out.set("random_page_cost", Value::Real(cost), "pgtune; requirement", why);
    let (read_ahead, maintenance) = match disk.kind {
        DiskKind::Hdd => (2, 10),
        DiskKind::Ssd | DiskKind::Unknown => (200, 100),
        DiskKind::Nvme => (256, 100),
        DiskKind::San => (300, 100),
    };
    let why = format!("{evidence}: so many reads at once keep it busy");
    out.set("effective_io_concurrency", Value::Int(read_ahead), "pgtune, timescaledb-tune", why.clone());
    out.set("maintenance_io_concurrency", Value::Int(maintenance), "pigsty", why);

    let (method, why) = if input.capabilities.io_uring {
        ("io_uring", "asked for, and both the server and the kernel can")
    } else {
        ("worker", "works everywhere; io_uring only where it is asked for and proven")
    };
    out.set("io_method", Value::Word(method), "PostgreSQL's default", why);
    let cpus = input.hardware.cpus;
    let why = format!("a quarter of {cpus} CPUs, 3 at least and 32 at most");
    out.set("io_workers", Value::Int((cpus / 4).clamp(3, 32).into()), "pgtune", why);

    let (target, why) = match input.workload {
        Workload::Dw => (500, "finer statistics pay for long queries over skewed data"),
        _ => (100, "enough for short queries; raise it per column where estimates are wrong"),
    };
    out.set("default_statistics_target", Value::Int(target), "pgtune", why);
    let (jit, why) = if memory::uses_jit(input.workload) {
        (
            true,
            "long queries gain from compiled expressions; 10 MB for every active backend are in the budget",
        )
    } else {
        (
            false,
            "short queries lose more time to compiling than they gain, and each backend that compiled keeps 10 MB",
        )
    };
    out.set("jit", Value::Bool(jit), "memory budget; pgtune", why);
}
