//! What settings do for the work, next to PostgreSQL's defaults.

use super::arms::{Arm, defaults, input, tuned};
use super::host::Host;
use super::{Fallible, asked};
use ishprov::tuner::Bytes;
use std::fs;
use std::process::Stdio;
use std::time::Instant;

/// RAM of the host.
const RAM: Bytes = Bytes::gb(4);
/// 100 is 1.5 GB: more than shared_buffers, less than RAM.
const SCALE: &str = "100";
const CONNECTIONS: u32 = 100;
const ROUNDS: usize = 7;

/// One kind of work: its name and what pgbench is told.
struct Work {
    name: &'static str,
    script: Option<&'static str>,
    arguments: &'static [&'static str],
}

const WORKS: [Work; 4] = [
    Work { name: "TPC-B-like", script: None, arguments: &["-c", "8", "-j", "2", "-t", "1500"] },
    Work { name: "select-only", script: None, arguments: &["-S", "-c", "8", "-j", "2", "-t", "6000"] },
    Work {
        name: "analytic",
        script: Some(
            "SELECT bid, aid % 100000 AS part, count(*), sum(abalance) FROM pgbench_accounts WHERE aid % 4 = :client_id \
             GROUP BY 1, 2 ORDER BY 4 DESC, 2 LIMIT 10;\n\
             SELECT count(*) FROM (SELECT aid FROM pgbench_accounts WHERE aid < 2500000 ORDER BY filler, aid DESC OFFSET 10) s;\n",
        ),
        arguments: &["-c", "2", "-j", "2", "-t", "1"],
    },
    Work {
        name: "bulk load",
        script: Some(
            "DROP TABLE IF EXISTS loaded;\nCREATE TABLE loaded (id bigint, part int, text text);\n\
             INSERT INTO loaded SELECT n, n % 997, md5(n::text) FROM generate_series(1, 1000000) n;\n\
             CREATE INDEX ON loaded (id);\nCREATE INDEX ON loaded (part, text);\n",
        ),
        arguments: &["-c", "1", "-t", "1"],
    },
];

/// What one run cost: seconds, and what the server counted.
#[derive(Clone, Copy, Default)]
struct Cost {
    seconds: f64,
    wal: f64,
    temp: f64,
    read: f64,
    forced: f64,
    backend: f64,
}

/// All kinds of work, one table each.
pub fn bench() -> Fallible<()> {
    let rounds = asked("ISHPROV_BENCH_ROUNDS", ROUNDS).max(2);
    let host = Host::new(RAM)?;
    let [ours, pgtune, timescale] = tuned(&input(RAM, CONNECTIONS))?;
    let arms = [defaults(), pgtune, timescale, ours];
    host.apply(&arms[0], "max_wal_size = 8GB\n")?;
    let mut fill = host.client("pgbench");
    if !fill.args(["-i", "-q", "-s", SCALE]).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
        return Err("pgbench could not fill its tables".into());
    }
    host.sql("CREATE EXTENSION IF NOT EXISTS pg_prewarm")?;
    for work in &WORKS {
        let mut costs: Vec<Vec<Cost>> = arms.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            // There and back, so that no arm is always first on a warm or a tired machine.
            let forth: Vec<usize> = (0..arms.len()).collect();
            let order: Vec<usize> = if round % 2 == 0 { forth } else { forth.into_iter().rev().collect() };
            for index in order {
                costs[index].push(measure(&host, &arms[index], work)?);
            }
            let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
            eprintln!("{}: round {} of {rounds}, load {}", work.name, round + 1, load.trim());
        }
        show(work, &arms, &costs, rounds);
    }
    Ok(())
}

fn measure(host: &Host, arm: &Arm, work: &Work) -> Fallible<Cost> {
    host.apply(arm, "max_connections = 100\n")?;
    host.sql("VACUUM pgbench_tellers, pgbench_branches")?;
    host.sql("SELECT pg_prewarm('pgbench_accounts'), pg_prewarm('pgbench_accounts_pkey')")?;
    host.sql("CHECKPOINT")?;
    host.sql("SELECT pg_stat_reset(), pg_stat_reset_shared('bgwriter'), pg_stat_reset_shared('wal')")?;
    let file = tempfile::NamedTempFile::new()?;
    let mut pgbench = host.client("pgbench");
    pgbench.arg("-n").args(work.arguments);
    if let Some(script) = work.script {
        fs::write(file.path(), script)?;
        pgbench.arg("-f").arg(file.path());
    }
    let started = Instant::now();
    let output = pgbench.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(
            format!("{} with {}: {}", work.name, arm.name, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    // Backends send their counts when they end.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let counted = host.sql(
        "SELECT wal_bytes, temp_bytes, blks_read, checkpoints_req, buffers_backend \
         FROM pg_stat_wal, pg_stat_bgwriter, pg_stat_database WHERE datname = 'postgres'",
    )?;
    let mut numbers = counted.split('|').map(|text| text.parse::<f64>().unwrap_or(f64::NAN));
    let mut next = || numbers.next().unwrap_or(f64::NAN);
    Ok(Cost { seconds, wal: next(), temp: next(), read: next(), forced: next(), backend: next() })
}

fn show(work: &Work, arms: &[Arm], costs: &[Vec<Cost>], rounds: usize) {
    println!("\n{}, {rounds} rounds taken in turns; medians", work.name);
    println!(
        "{:<18}{:>22}{:>10}{:>10}{:>13}{:>9}{:>16}",
        "settings", "time / default", "WAL MB", "temp MB", "blocks read", "forced", "backend writes"
    );
    for (arm, runs) in arms.iter().zip(costs) {
        let of = |pick: fn(&Cost) -> f64| median(runs.iter().map(pick).collect()).1;
        let ratios = runs.iter().zip(&costs[0]).map(|(run, base)| run.seconds / base.seconds).collect();
        let (low, middle, high) = median(ratios);
        println!(
            "{:<18}{:>22}{:>10.0}{:>10.0}{:>13.0}{:>9.0}{:>16.0}",
            arm.name,
            format!("{middle:.2} ({low:.2}-{high:.2})"),
            of(|cost| cost.wal) / 1e6,
            of(|cost| cost.temp) / 1e6,
            of(|cost| cost.read),
            of(|cost| cost.forced),
            of(|cost| cost.backend),
        );
    }
}

/// Least, middle and most.
fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    let median =
        if values.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 };
    (at(0), median, at(values.len().saturating_sub(1)))
}
