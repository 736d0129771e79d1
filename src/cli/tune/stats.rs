//! `--from-stats`: one script asks a server for its counters, on every version that is known.

use super::plan::Plan;
use crate::cluster::tune::in_use;
use crate::console::Screen;
use crate::shell::Ask;
use crate::tuner::{InUse, Observed, Verdict, adjust};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;

/// As the server's own account. Views and columns moved in 14 and 17.
const SCRIPT: &str = r#"command -v psql >/dev/null 2>&1 || exit 0
PGCONNECT_TIMEOUT=3; export PGCONNECT_TIMEOUT
t=$(printf '\t')
ask() { psql -XAtq -v ON_ERROR_STOP=1 -F "$t" -d "$1" 2>/dev/null; }
ask postgres <<'X' || exit 0
SET statement_timeout = '30s';
SELECT current_setting('server_version_num')::int >= 170000 AS v17, current_setting('server_version_num')::int >= 140000 AS v14 \gset
SELECT 'recovery', pg_is_in_recovery();
SELECT 'clients', count(*), count(*) FILTER (WHERE state = 'active') FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
SELECT 'work', sum(xact_commit + xact_rollback), sum(temp_files), sum(temp_bytes), sum(blks_hit), sum(blks_read), (SELECT sum(pg_database_size(oid))::bigint FROM pg_database) FROM pg_stat_database;
SELECT 'max_wal_size', setting FROM pg_settings WHERE name = 'max_wal_size';
SELECT 'checkpoint_timeout', setting FROM pg_settings WHERE name = 'checkpoint_timeout';
\if :v17
SELECT 'checkpoints', num_timed, num_requested FROM pg_stat_checkpointer;
SELECT 'seconds', extract(epoch FROM now() - greatest((SELECT max(stats_reset) FROM pg_stat_database), stats_reset)) FROM pg_stat_checkpointer;
\else
SELECT 'checkpoints', checkpoints_timed, checkpoints_req FROM pg_stat_bgwriter;
SELECT 'seconds', extract(epoch FROM now() - greatest((SELECT max(stats_reset) FROM pg_stat_database), stats_reset)) FROM pg_stat_bgwriter;
\endif
\if :v14
SELECT 'wal', wal_bytes, extract(epoch FROM now() - stats_reset) FROM pg_stat_wal;
\endif
X
psql -XAtq -d postgres -c 'SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate' 2>/dev/null | while IFS= read -r d; do
PGDATABASE=$d psql -XAtq -F "$t" 2>/dev/null <<'X'
SET statement_timeout = '30s';
SELECT 'dead', current_database() || '.' || relname, n_live_tup, n_dead_tup FROM pg_stat_user_tables
 WHERE n_dead_tup > 10000 AND n_dead_tup * 4 > n_live_tup ORDER BY n_dead_tup DESC LIMIT 3;
X
done | sort -t "$t" -k 4,4nr
printf 'end\t1\n'
"#;

/// The question to a host.
pub fn ask() -> Ask {
    Ask::sh_as("postgres", SCRIPT)
}

/// The counters of the server of this machine.
///
/// # Errors
/// Nothing answers, or not to us.
pub fn here() -> Result<Observed, String> {
    let mut command = as_postgres(SCRIPT);
    let output = command.output().map_err(|error| format!("cannot ask the server: {error}"))?;
    Observed::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| NO_SERVER.to_owned())
}

/// What the server of this machine has in use; `None` where none answers, or not to us.
pub fn in_use_here() -> Option<InUse> {
    let sql = "sql() { PGCONNECT_TIMEOUT=2 psql -XAtq -v ON_ERROR_STOP=1 -F \"$(printf '\\t')\" -d postgres \"$@\"; }\n";
    let mut command = as_postgres(&(sql.to_owned() + in_use::SCRIPT));
    let output = command.output().ok()?;
    InUse::parse(&String::from_utf8_lossy(&output.stdout))
}

/// A script as the server's own account, where we may be that.
fn as_postgres(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir("/").stdin(std::process::Stdio::null());
    if let (true, Ok(owner)) =
        (rustix::process::geteuid().is_root(), std::fs::metadata("/var/lib/postgresql"))
    {
        command.uid(owner.uid()).gid(owner.gid()).env("HOME", "/");
    }
    command
}

/// Why there are no counters.
pub const NO_SERVER: &str =
    "no server answers here that could tell its statistics, or it does not let us ask";

/// Adjusts a plan; what came of it.
pub fn adjust_plan(plan: &mut Plan, seen: &Observed) -> Verdict {
    let mut verdict = adjust(&plan.input, &mut plan.tuning, seen);
    let site = |name: &str| plan.overrides.iter().any(|(known, _)| known == name);
    // What the inventory decides stays so.
    verdict.changed.retain(|(name, _)| !site(name));
    verdict
}

/// What the statistics say, below the tables; and how to keep what they changed.
pub fn show(found: &[(&Plan, &Observed, &Verdict)], screen: &Screen) {
    for (plan, seen, verdict) in found {
        let host = if plan.host.is_empty() { String::new() } else { format!("{}: ", plan.host) };
        screen.line(&format!("\n{host}its own statistics ({}) say", seen.covers()));
        for (name, evidence) in &verdict.changed {
            let value = plan.tuning.get(name).map(|setting| setting.value.to_string()).unwrap_or_default();
            screen.line(&format!("  {name} = {value}: {evidence}"));
        }
        verdict.noted.iter().for_each(|note| screen.line(&format!("  nothing to change: {note}")));
        if !verdict.changed.is_empty() && !plan.host.is_empty() {
            let settings: Vec<String> = verdict
                .changed
                .iter()
                .filter_map(|(name, _)| Some(format!("{name}: {}", plan.tuning.get(name)?.value)))
                .collect();
            screen.line(&format!(
                "To have it so: `postgresql_settings: {{{}}}` in the variables of {}, then `ishprov tune`.",
                settings.join(", "),
                plan.host
            ));
        }
    }
}
