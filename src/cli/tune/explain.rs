//! `--explain SETTING`: how a value comes about, and what would change it, by asking the tuner again with one thing else.

use super::plan::{Plan, Step};
use crate::diag::{Diagnostic, nearest};
use crate::tuner::{
    Bytes, ClusterNeeds, Disk, DiskKind, HugePages, Input, POOL_SETTINGS, Standing, Takes, Workload,
    tune as decide,
};

/// The explanation of one setting for every machine.
///
/// # Errors
/// A name that the tuner does not set.
pub fn lines(plans: &[Plan], name: &str) -> Result<Vec<String>, Diagnostic> {
    let mut lines = Vec::new();
    for plan in plans {
        let name = name.to_ascii_lowercase();
        let rows = plan.rows();
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            return Err(unknown(&name, rows.iter().map(|row| row.name.as_str()), plan.input.pg_major));
        };
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let host = if plan.host.is_empty() { String::new() } else { format!("{}: ", plan.host) };
        lines.push(format!("{host}{name} = {}", row.proposed));
        let mut say = |label: &str, text: String| lines.push(format!("  {label:<8} {text}"));
        say("why", row.why.clone());
        let setting = plan.tuning.get(&name);
        if let Some(setting) = setting {
            say("source", setting.source.to_owned());
        }
        let takes = match (&row.takes, setting.map(|setting| setting.takes)) {
            (Step::Nothing, _) => "nothing: it is in force".to_owned(),
            (Step::Overridden(file), _) => format!("a change of `{file}`, which has the last word"),
            (_, Some(Takes::Restart)) | (Step::Restart, _) => "a restart of the server".to_owned(),
            _ => "a reload; sessions that set their own value keep it".to_owned(),
        };
        say("takes", takes);
        if plan.runs() {
            say("now", row.now.clone());
        }
        say("budget", plan.tuning.budget.bar().trim_start_matches("memory").trim().to_owned());
        if let Some(setting) = setting {
            let was = setting.value.to_string();
            let (other, same): (Vec<_>, Vec<_>) =
                with_other(plan, &name).into_iter().partition(|(_, value)| *value != was);
            if !other.is_empty() {
                lines.push("What would change it:".to_owned());
                let width = other.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
                lines.extend(other.iter().map(|(what, value)| format!("  {what:<width$}  {value}")));
            }
            if !same.is_empty() {
                let names: Vec<_> = same.iter().map(|(what, _)| what.as_str()).collect();
                let words = super::show::wrap(&format!("No change with {}", names.join("; ")), 96);
                lines.extend(words);
            }
        }
    }
    Ok(lines)
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone, major: u32) -> Diagnostic {
    if let Some(pool) = POOL_SETTINGS.iter().find(|pool| pool.eq_ignore_ascii_case(name)) {
        return Diagnostic::error("tune", format!("`{pool}` is PgBouncer's, and no pools are planned"))
            .hint("`--dry-run --connections NUMBER --pool-pairs NUMBER` plans them");
    }
    let message = format!("the tuner does not set `{name}` on PostgreSQL {major}");
    let diagnostic = Diagnostic::error("tune", message);
    match nearest(name, known.chain(POOL_SETTINGS)) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("`--all` lists what it sets; everything else stays as PostgreSQL has it"),
    }
}

/// The setting's value with one thing else at a time: what, and the value (or why there is none).
fn with_other(plan: &Plan, name: &str) -> Vec<(String, String)> {
    variations(plan)
        .into_iter()
        .map(|(what, input, needs)| {
            let value = match decide(&input, &needs) {
                Ok(tuning) => {
                    tuning.get(name).map_or_else(|| "not set".to_owned(), |setting| setting.value.to_string())
                }
                Err(refusal) => format!("refused: {}", refusal.message),
            };
            (what, value)
        })
        .collect()
}

fn variations(plan: &Plan) -> Vec<(String, Input, ClusterNeeds)> {
    let base = Input { standing: Standing::default(), ..plan.input.clone() };
    let host = &base.hardware;
    let active = plan.tuning.active;
    let mut list: Vec<(String, Input)> = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&mut Input)| {
        let mut other = base.clone();
        change(&mut other);
        if other != base {
            list.push((what, other));
        }
    };
    for ram in [Bytes(host.ram.0.saturating_mul(2)), Bytes(host.ram.0 / 2)] {
        with(format!("{} RAM instead of {}", ram.human(), host.ram.human()), &|input| {
            input.hardware.ram = ram;
        });
    }
    let pool = host.cpus.saturating_mul(10).max(40);
    if active > pool {
        with(format!("a pool: {pool} active instead of {active} (--active {pool})"), &|input| {
            input.active = Some(pool);
        });
    }
    let half = base.max_connections / 2;
    for connections in [half, base.max_connections.saturating_mul(2)] {
        let what = format!("{connections} connections instead of {} (--connections)", base.max_connections);
        with(what, &|input| {
            input.max_connections = connections;
            input.active = base.active.map(|active| active.min(connections));
        });
    }
    if host.huge_pages == HugePages::Unproven {
        with("huge pages that the server is known to get".to_owned(), &|input| {
            input.hardware.huge_pages = HugePages::Granted;
        });
    }
    for cpus in [host.cpus.saturating_mul(2), host.cpus.saturating_mul(4)] {
        with(format!("{cpus} CPUs instead of {}", host.cpus), &|input| {
            (input.hardware.cpus, input.hardware.cores) = (cpus, cpus);
        });
    }
    for kind in
        [DiskKind::Nvme, DiskKind::Ssd, DiskKind::Hdd].into_iter().filter(|kind| *kind != host.disk.kind)
    {
        with(format!("another disk: {kind} (--disk {kind})"), &|input| {
            input.hardware.disk = Disk { kind, evidence: String::new() };
        });
    }
    if let Some(size) = host.wal_fs_size {
        with(format!("a filesystem of {} for pg_wal, empty", size.times(2).human()), &|input| {
            (input.hardware.wal_fs_size, input.hardware.wal_fs_free) =
                (Some(size.times(2)), Some(size.times(2)));
        });
    }
    for workload in Workload::ALL {
        with(format!("another kind of work: {workload} (--workload {workload})"), &|input| {
            input.workload = workload;
        });
    }
    let newest = *crate::tuner::PG_MAJORS.end();
    with(format!("PostgreSQL {newest}"), &|input| input.pg_major = newest);
    let needs = |input: &Input| {
        // The cluster is the same otherwise: only what this host asks of it changes.
        let (was, is) = (ClusterNeeds::of([&base], &[]), ClusterNeeds::of([input], &[]));
        let raised = |now: u32, was: u32, is: u32| if was == is { now } else { is };
        let now = plan.needs;
        ClusterNeeds {
            max_connections: raised(now.max_connections, was.max_connections, is.max_connections),
            max_worker_processes: raised(
                now.max_worker_processes,
                was.max_worker_processes,
                is.max_worker_processes,
            ),
            max_locks_per_transaction: raised(
                now.max_locks_per_transaction,
                was.max_locks_per_transaction,
                is.max_locks_per_transaction,
            ),
            ..now
        }
    };
    list.into_iter()
        .map(|(what, input)| {
            let needs = needs(&input);
            (what, input, needs)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::bare(Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15), None)
    }

    #[test]
    fn what_would_change_a_value_is_what_the_tuner_answers() {
        let plan = plan();
        let lines = lines(&[plan], "work_mem").expect("known");
        let mut doubled = Input::new(Bytes::gb(16), 2, 300, Workload::Web, 15);
        let expected = |input: &Input| {
            let tuning = decide(input, &ClusterNeeds::of([input], &[])).expect("fits");
            tuning.get("work_mem").expect("set").value.to_string()
        };
        let value_of = |start: &str| {
            let line = lines.iter().find(|line| line.trim_start().starts_with(start)).expect(start);
            line.rsplit("  ").next().expect("a value").to_owned()
        };
        assert_eq!(value_of("16 GB RAM instead of 8 GB"), expected(&doubled));
        doubled.hardware.ram = Bytes::gb(8);
        doubled.active = Some(40);
        assert_eq!(value_of("a pool: 40 active instead of 300"), expected(&doubled));
        assert!(
            lines.iter().any(|line| line.starts_with("  why      what (300 active backends")),
            "{lines:#?}"
        );
        assert!(lines.iter().any(|line| line.contains("refused: 300 connections")), "{lines:#?}");
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused_with_the_near_one() {
        let refused = lines(&[plan()], "work_men").expect_err("misspelt");
        assert_eq!(refused.hints, ["did you mean `work_mem`?"]);
        assert!(lines(&[plan()], "zero_damaged_pages").is_err());
    }
}
