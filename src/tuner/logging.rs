//! What the server logs and counts.

use super::input::Input;
use super::setting::{Settings, Value};
use super::units::{Bytes, Millis};

pub(super) fn settings(input: &Input, out: &mut Settings) {
    const ASKED: &str = "requirement";
    let second = || Value::Time(Millis(1000));
    out.set("log_min_duration_statement", second(), ASKED, "statements slower than 1 s are logged");
    out.set(
        "log_checkpoints",
        Value::Bool(true),
        "PostgreSQL docs",
        "forced checkpoints show that max_wal_size is too small",
    );
    out.set(
        "log_lock_waits",
        Value::Bool(true),
        "PostgreSQL docs",
        "waits longer than deadlock_timeout are logged",
    );
    let why = "sorts and hashes that spill 10 MB or more show where work_mem is too small";
    out.set("log_temp_files", Value::Size(Bytes::mb(10)), "PostgreSQL docs", why);
    let why = "runs of autovacuum longer than 10 s are logged";
    out.set("log_autovacuum_min_duration", Value::Time(Millis(10_000)), "PostgreSQL docs", why);
    let why = "time, process, user, database, application and client of every line";
    out.set("log_line_prefix", Value::Text("%m [%p] %q%u@%d %a %h ".to_owned()), "pgBadger docs", why);
    out.set(
        "track_io_timing",
        Value::Bool(true),
        "PostgreSQL docs",
        "time spent in reads and writes shows in EXPLAIN and statistics",
    );
    if !input.preload.is_empty() {
        let why = "loaded at the start, since they need shared memory or hooks";
        out.set("shared_preload_libraries", Value::Text(input.preload.join(",")), ASKED, why);
    }
    if input.preload.iter().any(|library| library == "auto_explain") {
        out.set(
            "auto_explain.log_min_duration",
            second(),
            ASKED,
            "plans of statements slower than 1 s are logged",
        );
    }
}
