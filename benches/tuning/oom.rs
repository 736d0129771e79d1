//! Does the memory budget hold when every connection takes what it may?

use super::arms::{Arm, input, seed, tuned};
use super::host::{Held, Host};
use super::{Fallible, asked};
use ishprov::tuner::Bytes;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Seconds after which an arm that neither holds nor dies is given up.
const PATIENCE: u64 = 900;
/// Connections that the benchmark itself takes.
const OURS: u32 = 5;

/// What became of one arm.
struct Outcome {
    held: u32,
    clients: u32,
    peak: Bytes,
    kills: u64,
    crashed: bool,
}

/// All sizes, one table.
pub fn bench() -> Fallible<()> {
    let sizes = std::env::var("ISHPROV_BENCH_SIZES").unwrap_or_else(|_| "2,4,8".to_owned());
    println!(
        "every connection holds a full hash aggregate over warm shared_buffers, three autovacuum workers run, no swap"
    );
    println!(
        "{:<6}{:<18}{:>15}{:>10}{:>10}{:>8}{:>14}{:>11}",
        "RAM", "settings", "shared_buffers", "work_mem", "clients", "hold", "peak memory", "OOM kills"
    );
    for size in sizes.split(',') {
        let gb: u64 = size.trim().parse().map_err(|_| format!("`{size}` is no number of GB"))?;
        one_size(Bytes::gb(gb), if gb < 4 { 100 } else { 300 })?;
    }
    Ok(())
}

fn one_size(ram: Bytes, connections: u32) -> Fallible<()> {
    let host = Host::new(ram)?;
    let [ours, pgtune, timescale] = tuned(&input(ram, connections))?;
    prepare(&host, ram)?;
    let patience = Duration::from_secs(asked("ISHPROV_BENCH_PATIENCE", PATIENCE as usize) as u64);
    for arm in [ours, seed(ram, connections), pgtune, timescale] {
        let outcome = load(&host, &arm, connections, patience)?;
        println!(
            "{:<6}{:<18}{:>15}{:>10}{:>10}{:>8}{:>14}{:>11}{}",
            ram.human(),
            arm.name,
            arm.get("shared_buffers"),
            arm.get("work_mem"),
            outcome.clients,
            outcome.held,
            format!("{} MB", outcome.peak.0 >> 20),
            outcome.kills,
            if outcome.crashed { "   the server crashed" } else { "" },
        );
    }
    Ok(())
}

/// Tables: one that fills shared_buffers, one with many keys, three with dead rows.
fn prepare(host: &Host, ram: Bytes) -> Fallible<()> {
    host.apply(&super::arms::defaults(), "max_wal_size = 4GB\n")?;
    // One row fills a page, so that a count touches every page and costs little else.
    let pages = ram.0 / 4 / 10 * 9 / 8192;
    host.sql("CREATE EXTENSION IF NOT EXISTS pg_prewarm")?;
    host.sql("CREATE TABLE warm (page text STORAGE PLAIN)").or_else(|_| {
        // STORAGE in CREATE TABLE came with PostgreSQL 16.
        host.sql("CREATE TABLE warm (page text)")?;
        host.sql("ALTER TABLE warm ALTER COLUMN page SET STORAGE PLAIN")
    })?;
    host.sql(&format!(
        "INSERT INTO warm SELECT repeat(md5(n::text), 240) FROM generate_series(1, {pages}) n"
    ))?;
    host.sql("CREATE TABLE keys AS SELECT n::bigint AS k FROM generate_series(1, 1500000) n")?;
    for table in ["dead1", "dead2", "dead3"] {
        host.sql(&format!("CREATE TABLE {table} (n int) WITH (autovacuum_enabled = off)"))?;
        host.sql(&format!("INSERT INTO {table} SELECT generate_series(1, 200000)"))?;
    }
    host.sql("VACUUM ANALYZE").map(drop)
}

fn load(host: &Host, arm: &Arm, connections: u32, patience: Duration) -> Fallible<Outcome> {
    host.apply(arm, &format!("max_connections = {connections}\n"))?;
    host.sql("SELECT pg_prewarm('warm')")?;
    for table in ["dead1", "dead2", "dead3"] {
        host.sql(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"))?;
        host.sql(&format!("UPDATE {table} SET n = n + 1"))?;
        // Slowly, so that it lasts as long as the load.
        host.sql(&format!(
            "ALTER TABLE {table} SET (autovacuum_enabled = on, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 10)"
        ))?;
    }
    let limit =
        "pg_size_bytes(current_setting('work_mem')) * current_setting('hash_mem_multiplier')::numeric";
    // An entry takes some 60 bytes: more keys than fit, so that the aggregate takes all that it may.
    let rows = host.sql(&format!("SELECT least(1500000, ({limit} / 48)::bigint)"))?;
    let script = tempfile::NamedTempFile::new()?;
    fs::write(
        script.path(),
        "SET enable_sort = off;\nSET max_parallel_workers_per_gather = 0;\nBEGIN;\n\
         DECLARE held CURSOR FOR SELECT k, count(*) FROM keys WHERE k <= :rows GROUP BY k;\nFETCH 1 FROM held;\n\
         SELECT count(*) FROM warm;\nSELECT pg_advisory_lock_shared(7);\nCOMMIT;\n",
    )?;
    let before = host.oom_kills()?;
    let postmaster = host.sql("SELECT pg_postmaster_start_time()")?;
    let gate = host.hold_lock()?;
    let clients = connections - OURS;
    let count = clients.to_string();
    let mut pgbench = host.client("pgbench");
    pgbench
        .args(["-n", "-t", "1", "-j", "1", "-c", &count, "-D", &format!("rows={rows}"), "-f"])
        .arg(script.path());
    let mut running = Held(pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let started = Instant::now();
    let (mut held, mut peak) = (0, Bytes(0));
    let mut ended_by = None;
    loop {
        sleep(Duration::from_millis(500));
        peak = peak.max(host.unreclaimable()?);
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        // A server in crash recovery does not answer.
        held = held.max(host.sql(waiting).ok().and_then(|text| text.parse().ok()).unwrap_or(0));
        let killed = host.oom_kills()? > before;
        let over =
            held >= clients || killed || running.0.try_wait()?.is_some() || started.elapsed() > patience;
        // What the kernel does next belongs to it too.
        let since = *ended_by.get_or_insert_with(Instant::now);
        if !over {
            ended_by = None;
        } else if since.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    let kills = host.oom_kills()? - before;
    drop(gate);
    drop(running);
    let until = Instant::now() + Duration::from_secs(60);
    let again = loop {
        match host.sql("SELECT pg_postmaster_start_time() || ' ' || (SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend')") {
            Ok(text) => break Some(text),
            Err(_) if Instant::now() < until => sleep(Duration::from_secs(1)),
            Err(_) => break None,
        }
    };
    // A crash of a backend keeps the postmaster: only the log tells of it.
    let logged = host.sh("grep -c 'was terminated by signal 9' /var/log/postgresql/postgresql-15-main.log; : > /var/log/postgresql/postgresql-15-main.log; true")?;
    let crashed = logged != "0" || again.is_none_or(|text| !text.starts_with(&postmaster));
    Ok(Outcome { held, clients, peak, kills, crashed })
}
