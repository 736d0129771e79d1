//! Asks a running server for what it has in force and in use.

use crate::diag::Fault;
use crate::modules::{Args, Instance};
use crate::shell::{Answers, Ask};
use crate::tuner::InUse;

/// Needs a function `sql` that puts its input to the server. Publications and extensions are each database's own; of more than
/// 50 databases the rest is not looked at. The tables are named with their schema: what is first in somebody's path is not asked.
pub const SCRIPT: &str = r#"sql <<'X' 2>/dev/null || exit 0
SELECT 'in_force', name, setting, coalesce(sourcefile, '') FROM pg_catalog.pg_settings WHERE name IN ('wal_level', 'max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction', 'max_replication_slots', 'track_commit_timestamp', 'hash_mem_multiplier', 'superuser_reserved_connections') ORDER BY 2;
SELECT 'logical_slot', slot_name FROM pg_catalog.pg_replication_slots WHERE slot_type = 'logical' ORDER BY 2;
SELECT 'logical', 'subscription ' || subname FROM pg_catalog.pg_subscription ORDER BY 2;
SELECT 'own', CASE WHEN r.rolname IS NULL THEN 'DATABASE ' || d.datname WHEN d.datname IS NULL THEN 'ROLE ' || r.rolname ELSE 'ROLE ' || r.rolname || ' IN DATABASE ' || d.datname END, c
 FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
 WHERE c ~ '^(work_mem|maintenance_work_mem|hash_mem_multiplier|temp_buffers)=' AND (r.rolname IS NOT NULL OR d.datname IS NOT NULL) ORDER BY 2, 3;
SELECT 'counts', (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'ishprov'), (SELECT count(*) FROM pg_catalog.pg_prepared_xacts), (SELECT count(*) FROM pg_catalog.pg_replication_slots), (SELECT count(*) FROM pg_catalog.pg_stat_replication);
X
sql -c 'SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1 LIMIT 50' </dev/null 2>/dev/null | while IFS= read -r d; do
sql -d "$d" <<'X' 2>/dev/null
SELECT 'logical', 'publication ' || current_database() || '.' || pubname FROM pg_catalog.pg_publication ORDER BY 2;
SELECT 'library', extname FROM pg_catalog.pg_extension WHERE extname = ANY (string_to_array(translate(current_setting('shared_preload_libraries'), ' "', ''), ',')) ORDER BY 2;
X
done
"#;

/// The question to a host.
///
/// # Errors
/// Arguments that name no possible cluster.
pub fn ask(args: &Args) -> Result<Ask, Fault> {
    let instance = Instance::decode(args)?;
    Ok(Ask::sh(instance.sql_function() + SCRIPT))
}

/// The answer; `None` where no server runs.
///
/// # Errors
/// It was not given.
pub fn read(args: &Args, answers: &Answers) -> Result<Option<InUse>, Fault> {
    Ok(InUse::parse(&answers.output(&ask(args)?)?.text()))
}
