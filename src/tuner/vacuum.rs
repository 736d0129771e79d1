//! Autovacuum: often and in small steps.

use super::input::{DiskKind, Input, Workload};
use super::setting::{Settings, Value};
use super::units::Millis;

pub(super) fn settings(input: &Input, workers: u32, out: &mut Settings) {
    let cpus = input.hardware.cpus;
    let why = format!("3, and one more with every doubling from 16 CPUs; here {cpus}");
    out.set("autovacuum_max_workers", Value::Int(workers.into()), "pgtune", why);
    let naptime = if input.workload == Workload::Desktop { 60 } else { 20 };
    let why = format!("every database is looked at every {naptime} s");
    out.set("autovacuum_naptime", Value::Time(Millis(naptime * 1000)), "timescaledb-tune, autobase", why);
    let (vacuum, analyze, why) = match input.workload {
        Workload::Web | Workload::Oltp | Workload::Mixed => {
            (0.05, 0.02, "many small writes: a table is cleaned before it bloats")
        }
        Workload::Dw => (0.1, 0.05, "bulk loads: cleaned and counted soon after"),
        Workload::Desktop => (0.2, 0.1, "PostgreSQL's default is enough here"),
    };
    out.set("autovacuum_vacuum_scale_factor", Value::Real(vacuum), "autobase, pigsty", why);
    out.set("autovacuum_analyze_scale_factor", Value::Real(analyze), "autobase, pigsty", why);
    let (limit, why) = match input.hardware.disk.kind {
        DiskKind::Hdd => (400, "twice the default: a rotating disk has little to spare"),
        _ => (2000, "ten times the default of 200, which dates from slower disks"),
    };
    out.set("autovacuum_vacuum_cost_limit", Value::Int(limit), "ubicloud", why);
}
