//! `--compare pgtune`: where another tuner differs on the same machine, why, and whether its set would fit.

use super::plan::Plan;
use super::show::wrap;
use crate::tuner::rivals::{Settings, pgtune};
use crate::tuner::{Bytes, Part, same_value};

/// One comparison a machine.
pub fn lines(plans: &[Plan], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for plan in plans {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(machine(plan, width));
    }
    lines
}

fn machine(plan: &Plan, width: usize) -> Vec<String> {
    let theirs = pgtune(&plan.input);
    let rows = plan.rows();
    let ours = |name: &str| rows.iter().find(|row| row.name == name);
    let mut lines = vec![format!("{}, and pgtune for the same machine", super::show::heading(plan))];
    let mut table = vec![["setting", "ours", "pgtune", "why"].map(str::to_owned)];
    let mut same = Vec::new();
    for (name, value) in &theirs {
        match ours(name) {
            Some(row) if same_value(name, &row.proposed, value, plan.input.pg_major) => {
                same.push(name.as_str())
            }
            found => {
                let proposed = found.map_or("-", |row| row.proposed.as_str()).to_owned();
                let own = found.map_or("PostgreSQL's own is left", |row| row.why.as_str());
                let rule = pgtune_rule(name).map(|rule| format!(" (pgtune: {rule})")).unwrap_or_default();
                table.push([name.clone(), proposed, value.clone(), format!("{own}{rule}")]);
            }
        }
    }
    let wide = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [wide(0), wide(1), wide(2)];
    let indent = 2 + widths.iter().map(|width| width + 2).sum::<usize>();
    for row in &table {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:<width$}  ");
        }
        for part in wrap(&row[3], width.saturating_sub(indent).max(30)) {
            lines.push(format!("{line}{part}").trim_end().to_owned());
            line = " ".repeat(indent);
        }
    }
    if !same.is_empty() {
        lines.extend(wrap(&format!("The same: {}", same.join(", ")), width));
    }
    let more = rows.iter().filter(|row| theirs.iter().all(|(name, _)| *name != row.name)).count();
    lines.push(format!("{more} more settings are ours alone: pgtune leaves them as they are"));
    let (used, ram) = (their_memory(plan, &theirs), plan.tuning.budget.ram);
    lines.push(if used > ram {
        format!(
            "pgtune's set in the budget of above: {} of {} RAM, {} more than there is",
            used.human(),
            ram.human(),
            used.less(ram).human()
        )
    } else {
        format!("pgtune's set in the budget of above: {} of {} RAM, it fits", used.human(), ram.human())
    });
    lines
}

/// What another set claims by the same arithmetic: its work_mem for as many sorts and hashes, its memory for
/// maintenance and autovacuum, and the rest of our own budget.
fn their_memory(plan: &Plan, theirs: &Settings) -> Bytes {
    let budget = &plan.tuning.budget;
    let of = |name: &str| {
        theirs.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse::<Bytes>().ok())
    };
    let own = |name: &str| {
        plan.tuning.get(name).and_then(|setting| setting.value.to_string().parse::<Bytes>().ok())
    };
    let shares = budget.size(Part::WorkMem).0 / own("work_mem").map_or(1, |size| size.0.max(1));
    let workers =
        budget.size(Part::Autovacuum).0 / own("autovacuum_work_mem").map_or(1, |size| size.0.max(1));
    let maintenance = of("maintenance_work_mem").unwrap_or_default();
    let each = of("autovacuum_work_mem").unwrap_or(maintenance);
    // A worker of 16 and earlier holds 1 GB of dead rows at most.
    let each = if plan.input.pg_major <= 16 { each.min(Bytes::gb(1)) } else { each };
    let others = budget
        .lines
        .iter()
        .filter(|line| !matches!(line.part, Part::WorkMem | Part::Autovacuum | Part::Maintenance));
    let rest: Bytes = others.map(|line| line.size).sum();
    rest + of("work_mem").unwrap_or_default().times(shares) + each.times(workers) + maintenance
}

/// pgtune's rule for a setting, and what is wrong with it; measured where numbers are named.
fn pgtune_rule(name: &str) -> Option<&'static str> {
    Some(match name {
        "work_mem" => {
            "(RAM - shared_buffers) / ((connections + workers) × 3), 4 MB at least: hash_mem_multiplier, page tables, \
             backends and autovacuum are not in it, and the least is given whether it fits or not"
        }
        "maintenance_work_mem" => "a share of RAM up to 8 GB: beyond the cache, index builds become slower",
        "autovacuum_work_mem" => {
            "2 GB for each worker once maintenance_work_mem has them; nothing sums them up"
        }
        "min_wal_size" | "max_wal_size" => "fixed by workload: the disk of pg_wal is never asked",
        "effective_io_concurrency" => "fixed by the kind of disk that a person names",
        "random_page_cost" => "fixed by the kind of disk that a person names",
        "max_worker_processes" => {
            "the CPUs, only from 4 on: a host with 4 gets fewer than one with 2, and a standby with fewer than its primary \
             does not start"
        }
        "max_parallel_workers" | "max_parallel_workers_per_gather" | "max_parallel_maintenance_workers" => {
            "the CPUs: thread siblings count as cores"
        }
        "huge_pages" => "off below 2 GB of shared_buffers, which undoes a reservation that would fit",
        "wal_compression" => "lz4, whether the server was built with it or not",
        "io_method" => "io_uring, whether server and kernel can or not: then the server does not start",
        "wal_level" | "max_wal_senders" => "minimal: no standby, no base backup",
        "wal_buffers" => "3 % of shared_buffers",
        "shared_buffers" | "effective_cache_size" => {
            "the same share, not rounded to huge pages, nor kept from a wavering reading"
        }
        "autovacuum_max_workers" => "steps by CPUs",
        "default_statistics_target" | "jit" => "by workload",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::{Input, Workload};

    #[test]
    fn what_differs_is_told_with_both_rules_and_the_sum() {
        let plan = Plan::bare(Input::new(Bytes::gb(8), 2, 300, Workload::Oltp, 15), None);
        let text = lines(&[plan], 120).join("\n");
        let work_mem = text.lines().find(|line| line.trim_start().starts_with("work_mem")).expect("a row");
        assert!(work_mem.contains("4MB") && work_mem.contains("6808kB"), "{text}");
        assert!(text.contains("The same: max_connections, shared_buffers"), "{text}");
        assert!(text.ends_with("2.4 GB more than there is"), "{text}");
    }
}
