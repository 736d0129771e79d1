//! What a running server counted about itself, and what that changes in its settings: within the budget, each change with
//! its evidence.
//!
//! The rules, and where they come from:
//! - `work_mem`: a sort takes about twice in memory what its temporary file takes on disk (PostgreSQL docs, "Memory":
//!   the on-disk form is the smaller one). It is raised for the mean temporary file, as far as the free rest of the budget
//!   carries it; never beyond.
//! - `max_wal_size`: a checkpoint is forced once the WAL since the last one reaches
//!   `max_wal_size / (1 + checkpoint_completion_target)` (PostgreSQL source, `CalculateCheckpointSegments`). Where more than
//!   a tenth of the checkpoints were forced it becomes what the WAL of one interval takes, and a fifth more; never more
//!   than the WAL budget, which `max_slot_wal_keep_size` is.
//! - `random_page_cost`: 1.1 is right while reads hit the cache; where data do not fit the RAM and a tenth of the
//!   reads miss, it is 2.
//! - `autovacuum_vacuum_cost_limit`: doubled where large tables stay a fifth dead.

use super::Tuning;
use super::budget::Part;
use super::input::{DiskKind, Input};
use super::setting::Value;
use super::units::Bytes;
use serde::Serialize;

/// Hours that statistics must cover before they prove anything: shorter, they may have seen one import or one night.
pub const LEAST_HOURS: f64 = 6.0;
/// Transactions that they must cover.
pub const LEAST_TRANSACTIONS: u64 = 1000;

/// Counters of a server since they were reset.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Observed {
    /// Seconds that the counters cover: since the youngest of their resets.
    pub seconds: f64,
    /// It is a standby.
    pub recovery: bool,
    /// Clients connected now; a peak is not kept by PostgreSQL.
    pub clients: u64,
    /// Of these, at work now.
    pub working: u64,
    /// Transactions.
    pub transactions: u64,
    /// Temporary files written.
    pub temp_files: u64,
    /// Their size.
    pub temp_bytes: u64,
    /// Blocks found in shared_buffers.
    pub hits: u64,
    /// Blocks asked of the kernel.
    pub reads: u64,
    /// Size of all databases.
    pub data: u64,
    /// Checkpoints that came by time.
    pub timed: u64,
    /// Checkpoints that WAL or somebody asked for.
    pub requested: u64,
    /// WAL written, where it is counted (14 and later).
    pub wal_bytes: Option<u64>,
    /// Seconds that `wal_bytes` covers.
    pub wal_seconds: f64,
    /// Large tables of which a fifth or more is dead: `database.table`, live and dead rows.
    pub dead: Vec<(String, u64, u64)>,
    /// `max_wal_size` in force.
    pub max_wal_size: Option<Bytes>,
    /// `checkpoint_timeout` in force, in seconds.
    pub checkpoint_timeout: f64,
}

/// What statistics say of a set of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Settings that were changed, by name, with the evidence.
    pub changed: Vec<(&'static str, String)>,
    /// Evidence that changes nothing, and why nothing can be concluded.
    pub noted: Vec<String>,
}

impl Observed {
    /// Reads `name TAB value...` lines; `None` when no server answered.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seen = Self { checkpoint_timeout: 300.0, ..Self::default() };
        let mut ended = false;
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let number =
                |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            let real =
                |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            match fields.first().copied() {
                Some("recovery") => seen.recovery = fields.get(1) == Some(&"t"),
                Some("clients") => (seen.clients, seen.working) = (number(1), number(2)),
                Some("work") => {
                    (seen.transactions, seen.temp_files, seen.temp_bytes) = (number(1), number(2), number(3));
                    (seen.hits, seen.reads, seen.data) = (number(4), number(5), number(6));
                }
                Some("checkpoints") => (seen.timed, seen.requested) = (number(1), number(2)),
                Some("seconds") => seen.seconds = real(1),
                Some("wal") => (seen.wal_bytes, seen.wal_seconds) = (Some(number(1)), real(2)),
                Some("max_wal_size") => seen.max_wal_size = Some(Bytes::mb(number(1))),
                Some("checkpoint_timeout") => seen.checkpoint_timeout = real(1),
                Some("dead") => {
                    let table = fields.get(1).map(|text| (*text).to_owned()).unwrap_or_default();
                    seen.dead.push((table, number(2), number(3)));
                }
                Some("end") => ended = true,
                _ => {}
            }
        }
        ended.then_some(seen)
    }

    /// How much was seen: `31 hours, 120000 transactions`.
    pub fn covers(&self) -> String {
        let hours = self.seconds / 3600.0;
        let time = if hours < 10.0 { format!("{hours:.1} hours") } else { format!("{hours:.0} hours") };
        format!("{time}, {} transactions", self.transactions)
    }

    /// Why these counters prove nothing.
    fn too_little(&self) -> Option<String> {
        if self.seconds < LEAST_HOURS * 3600.0 {
            return Some(format!(
                "the statistics cover {}: nothing is concluded from less than {LEAST_HOURS} hours",
                self.covers()
            ));
        }
        (self.transactions < LEAST_TRANSACTIONS).then(|| {
            format!(
                "the statistics cover {}: nothing is concluded from less than {LEAST_TRANSACTIONS} transactions",
                self.covers()
            )
        })
    }
}

/// Adjusts `tuning` by what was seen; the budget still holds.
pub fn adjust(input: &Input, tuning: &mut Tuning, seen: &Observed) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(why) = seen.too_little() {
        verdict.noted.push(why);
        return verdict;
    }
    let hours = seen.seconds / 3600.0;
    spills(tuning, seen, hours, &mut verdict);
    cache(input, tuning, seen, &mut verdict);
    if seen.recovery {
        verdict
            .noted
            .push("a standby: its own statistics say nothing of checkpoints, WAL and dead rows".to_owned());
    } else {
        checkpoints(tuning, seen, &mut verdict);
        dead_rows(tuning, seen, &mut verdict);
    }
    if seen.clients.saturating_mul(10) >= u64::from(input.max_connections).saturating_mul(9) {
        verdict.noted.push(format!(
            "{} of {} connections are taken at this moment: a pool, or more of them (--connections)",
            seen.clients, input.max_connections
        ));
    }
    verdict
}

/// Sorts and hashes that went to disk.
fn spills(tuning: &mut Tuning, seen: &Observed, hours: f64, verdict: &mut Verdict) {
    let per_hour = seen.temp_files as f64 / hours;
    let Some(mean) = seen.temp_bytes.checked_div(seen.temp_files) else {
        verdict.noted.push(format!("no temporary file in {}: work_mem is enough", seen.covers()));
        return;
    };
    let evidence = format!("{per_hour:.1} temporary files an hour, {} each on average", Bytes(mean).human());
    if per_hour < 1.0 {
        verdict.noted.push(format!("{evidence}: too few to give every backend more work_mem for"));
        return;
    }
    let Some(now) = size_of(tuning, "work_mem") else { return };
    let wanted = Bytes(mean.saturating_mul(2)).round_down(Bytes::mb(1)) + Bytes::mb(1);
    if wanted <= now {
        verdict.noted.push(format!("{evidence}: work_mem {now} holds the average one"));
        return;
    }
    let claimed = tuning.budget.size(Part::WorkMem);
    let shares = (claimed.0 / now.0.max(1)).max(1);
    let most = Bytes((claimed + tuning.budget.free).0 / shares).round_down(Bytes::mb(1));
    let given = wanted.min(most);
    if given <= now {
        verdict.noted.push(format!(
            "{evidence}: they would take work_mem {wanted}, and the budget has no more than {now} for all at once; \
             `ALTER ROLE reports SET work_mem = '{wanted}'` gives it to the few that need it, fewer active \
             backends (--active) to all"
        ));
        return;
    }
    let rest = if given < wanted {
        format!("; {wanted} would hold the average one, {given} is what the budget carries")
    } else {
        String::new()
    };
    set(tuning, verdict, "work_mem", Value::Size(given), format!("{evidence}{rest}"));
    for line in &mut tuning.budget.lines {
        if line.part == Part::WorkMem {
            line.size = given.times(shares);
        }
    }
    let sum: Bytes = tuning.budget.lines.iter().map(|line| line.size).sum();
    tuning.budget.free = tuning.budget.ram.less(sum);
}

/// Reads that missed shared_buffers.
fn cache(input: &Input, tuning: &mut Tuning, seen: &Observed, verdict: &mut Verdict) {
    let all = seen.hits.saturating_add(seen.reads);
    if all < 1_000_000 {
        return;
    }
    let percent = seen.hits as f64 * 100.0 / all as f64;
    let data = Bytes(seen.data).human();
    let evidence = format!(
        "{percent:.1} % of reads hit shared_buffers, {data} of data on {} RAM",
        input.hardware.ram.human()
    );
    let small_cost = matches!(tuning.get("random_page_cost").map(|setting| &setting.value), Some(Value::Real(cost)) if *cost < 2.0);
    let flash = input.hardware.disk.kind != DiskKind::Hdd;
    if percent < 90.0 && seen.data > input.hardware.ram.0 && small_cost && flash {
        let why =
            format!("{evidence}: reads do miss the cache, where a random one costs more than one in order");
        set(tuning, verdict, "random_page_cost", Value::Real(2.0), why);
    } else {
        verdict.noted.push(evidence);
    }
}

/// Checkpoints that came before their time.
fn checkpoints(tuning: &mut Tuning, seen: &Observed, verdict: &mut Verdict) {
    let all = seen.timed + seen.requested;
    let evidence = format!("{} of {all} checkpoints were forced", seen.requested);
    if all < 10 || seen.requested * 10 <= all {
        if all > 0 {
            verdict.noted.push(format!("{evidence}: max_wal_size is enough"));
        }
        return;
    }
    let target = 1.0
        + match tuning.get("checkpoint_completion_target").map(|setting| &setting.value) {
            Some(Value::Real(target)) => *target,
            _ => 0.9,
        };
    // Where WAL is not counted, every forced checkpoint stands for what forced it.
    let rate = match seen.wal_bytes {
        Some(bytes) if seen.wal_seconds > 0.0 => bytes as f64 / seen.wal_seconds,
        _ => {
            let each = seen.max_wal_size.unwrap_or(Bytes::gb(1)).0 as f64 / target;
            each * seen.requested as f64 / seen.seconds
        }
    };
    let timeout = match tuning.get("checkpoint_timeout").map(|setting| &setting.value) {
        Some(Value::Time(time)) => time.0 as f64 / 1000.0,
        _ => seen.checkpoint_timeout,
    };
    let needed = Bytes((rate * timeout * target * 1.2) as u64).round_down(Bytes::mb(64)) + Bytes::mb(64);
    let (Some(planned), Some(most)) =
        (size_of(tuning, "max_wal_size"), size_of(tuning, "max_slot_wal_keep_size"))
    else {
        return;
    };
    let evidence =
        format!("{evidence}, and WAL is written at {} an hour", Bytes((rate * 3600.0) as u64).human());
    if needed <= planned {
        verdict.noted.push(format!("{evidence}: max_wal_size {planned} ends that"));
        return;
    }
    let given = needed.min(most);
    if given <= planned {
        verdict.noted.push(format!(
            "{evidence}: {needed} would end that, but the filesystem of pg_wal carries no more than {planned}"
        ));
        return;
    }
    set(tuning, verdict, "max_wal_size", Value::Size(given), format!("{evidence}: so much for one interval"));
}

/// Tables that autovacuum does not keep up with.
fn dead_rows(tuning: &mut Tuning, seen: &Observed, verdict: &mut Verdict) {
    let Some((table, live, dead)) = seen.dead.first() else { return };
    let percent = *dead as f64 * 100.0 / (*live + *dead).max(1) as f64;
    let evidence = format!("`{table}` is {percent:.0} % dead rows ({dead}), autovacuum does not keep up");
    match tuning.get("autovacuum_vacuum_cost_limit").map(|setting| &setting.value) {
        Some(Value::Int(limit)) if *limit < 10_000 => {
            let raised = (*limit * 2).min(10_000);
            set(
                tuning,
                verdict,
                "autovacuum_vacuum_cost_limit",
                Value::Int(raised),
                format!("{evidence}: twice the pace"),
            );
        }
        _ => verdict.noted.push(evidence),
    }
}

fn size_of(tuning: &Tuning, name: &str) -> Option<Bytes> {
    match tuning.get(name)?.value {
        Value::Size(size) => Some(size),
        _ => None,
    }
}

fn set(tuning: &mut Tuning, verdict: &mut Verdict, name: &'static str, value: Value, evidence: String) {
    if let Some(setting) = tuning.settings.iter_mut().find(|setting| setting.name == name) {
        setting.value = value;
        setting.why = evidence.clone();
        setting.source = "the server's own statistics";
        verdict.changed.push((name, evidence));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClusterNeeds, HugePages, Workload, tune};
    use super::*;

    fn busy() -> Observed {
        Observed {
            seconds: 48.0 * 3600.0,
            transactions: 1_000_000,
            timed: 190,
            wal_bytes: Some(0),
            wal_seconds: 48.0 * 3600.0,
            checkpoint_timeout: 300.0,
            ..Observed::default()
        }
    }

    fn adjusted(seen: &Observed, change: impl Fn(&mut Input)) -> (Tuning, Tuning, Verdict) {
        let mut input = Input::new(Bytes::gb(16), 4, 100, Workload::Oltp, 15);
        input.hardware.wal_fs_size = Some(Bytes::gb(400));
        change(&mut input);
        let before = tune(&input, &ClusterNeeds::of([&input], &[])).expect("fits");
        let mut after = before.clone();
        let verdict = adjust(&input, &mut after, seen);
        let sum: Bytes = after.budget.lines.iter().map(|line| line.size).sum();
        assert_eq!(sum + after.budget.free, after.budget.ram, "the budget is whole");
        (before, after, verdict)
    }

    /// A size that must have been decided: nothing is less than anything.
    #[track_caller]
    fn size(tuning: &Tuning, name: &str) -> Bytes {
        size_of(tuning, name).unwrap_or_else(|| panic!("`{name}` is not decided"))
    }

    #[test]
    fn young_or_idle_statistics_prove_nothing() {
        for seen in [
            Observed { seconds: 3600.0, temp_files: 90_000, temp_bytes: 1 << 40, requested: 900, ..busy() },
            Observed { transactions: 10, requested: 900, ..busy() },
        ] {
            let (before, after, verdict) = adjusted(&seen, |_| ());
            assert_eq!(before, after);
            assert!(
                verdict.changed.is_empty() && verdict.noted[0].contains("nothing is concluded"),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn spilled_sorts_raise_work_mem_as_far_as_the_budget_carries_it() {
        let seen = Observed { temp_files: 480, temp_bytes: 480 * (200 << 20), ..busy() };
        let (before, after, verdict) = adjusted(&seen, |input| input.active = Some(5));
        let (was, is) = (size(&before, "work_mem"), size(&after, "work_mem"));
        assert!(is > was && is == Bytes::mb(401), "{was:?} {is:?}");
        assert_eq!(
            verdict.changed,
            [("work_mem", "10.0 temporary files an hour, 200 MB each on average".to_owned())]
        );
        // Here everything is given away already.
        let (before, after, verdict) = adjusted(&seen, |input| {
            (input.max_connections, input.hardware.ram) = (300, Bytes::gb(8));
        });
        let (was, is) = (size(&before, "work_mem"), size(&after, "work_mem"));
        assert!(is >= was && is < Bytes::mb(10), "{was:?} {is:?}");
        assert!(format!("{verdict:?}").contains("budget"), "{verdict:?}");
        let few = Observed { temp_files: 3, temp_bytes: 3 << 30, ..busy() };
        assert!(adjusted(&few, |_| ()).2.changed.is_empty());
    }

    #[test]
    fn forced_checkpoints_raise_max_wal_size_within_the_wal_budget() {
        // 30 GB an hour: 15 minutes are 7.5 GB.
        let rate = |gb: u64| Observed { requested: 400, wal_bytes: Some((48 * gb) << 30), ..busy() };
        let (before, after, verdict) = adjusted(&rate(60), |_| ());
        let (was, is) = (size(&before, "max_wal_size"), size(&after, "max_wal_size"));
        assert!(is > was && is <= size(&after, "max_slot_wal_keep_size"), "{was:?} {is:?}");
        assert!(verdict.changed[0].1.starts_with("400 of 590 checkpoints were forced"), "{verdict:?}");
        let (before, after, _) = adjusted(&rate(1), |_| ());
        assert_eq!(size(&before, "max_wal_size"), size(&after, "max_wal_size"), "enough as planned");
        let (_, after, _) = adjusted(&rate(900), |input| input.hardware.wal_fs_size = Some(Bytes::gb(40)));
        assert!(size(&after, "max_wal_size") <= size(&after, "max_slot_wal_keep_size"));
        let uncounted = Observed { wal_bytes: None, max_wal_size: Some(Bytes::gb(1)), ..rate(1) };
        let (.., verdict) = adjusted(&uncounted, |_| ());
        assert!(verdict.noted.iter().any(|note| note.contains("ends that")), "{verdict:?}");
    }

    #[test]
    fn misses_dead_rows_and_standbys() {
        let seen = Observed {
            hits: 50_000_000,
            reads: 20_000_000,
            data: 200 << 30,
            dead: vec![("app.orders".to_owned(), 100_000, 50_000)],
            ..busy()
        };
        let (_, after, verdict) = adjusted(&seen, |input| input.hardware.huge_pages = HugePages::Granted);
        assert_eq!(after.get("random_page_cost").map(|setting| &setting.value), Some(&Value::Real(2.0)));
        assert_eq!(
            after.get("autovacuum_vacuum_cost_limit").map(|setting| &setting.value),
            Some(&Value::Int(4000))
        );
        assert!(verdict.changed[1].1.starts_with("`app.orders` is 33 % dead rows"), "{verdict:?}");
        let (_, after, _) = adjusted(&Observed { recovery: true, ..seen }, |_| ());
        assert_eq!(
            after.get("autovacuum_vacuum_cost_limit").map(|setting| &setting.value),
            Some(&Value::Int(2000))
        );
    }

    #[test]
    fn lines_are_read_and_a_cut_answer_is_none() {
        let text = "recovery\tf\nclients\t12\t3\nwork\t5000\t7\t700\t90\t10\t1000\nseconds\t86400.5\ncheckpoints\t10\t2\n\
                    wal\t123\t86000\ndead\tapp.t\t5\t6\nmax_wal_size\t1024\n";
        assert_eq!(Observed::parse(text), None);
        let seen = Observed::parse(&format!("{text}end\t1\n")).expect("whole");
        assert_eq!((seen.clients, seen.temp_bytes, seen.wal_bytes), (12, 700, Some(123)));
        assert_eq!(seen.covers(), "24 hours, 5000 transactions");
        assert_eq!(seen.dead, [("app.t".to_owned(), 5, 6)]);
    }
}
