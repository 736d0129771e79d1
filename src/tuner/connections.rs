//! Connections, timeouts and standbys: values that do not depend on the size of the host.

use super::setting::{Settings, Value};
use super::units::Millis;

pub(super) fn settings(out: &mut Settings) {
    const ASKED: &str = "requirement";
    let seconds = |n: u64| Value::Time(Millis(n * 1000));
    let dead = "a client that vanished is noticed after 60 s + 6 × 10 s instead of two hours";
    // Bare seconds, because SHOW answers these two without a unit.
    out.set("tcp_keepalives_idle", Value::Int(60), ASKED, dead);
    out.set("tcp_keepalives_interval", Value::Int(10), ASKED, dead);
    out.set("tcp_keepalives_count", Value::Int(6), ASKED, dead);
    let why = "a query whose client is gone is ended within 10 s";
    out.set("client_connection_check_interval", seconds(10), ASKED, why);
    let why = "a transaction that is left open holds back VACUUM and locks; 10 minutes are enough";
    out.set("idle_in_transaction_session_timeout", seconds(600), ASKED, why);
    out.set("password_encryption", Value::Word("scram-sha-256"), ASKED, "md5 hashes can be replayed");
    out.set(
        "row_security",
        Value::Bool(true),
        ASKED,
        "row policies are applied to everyone they are written for",
    );

    out.set("hot_standby", Value::Bool(true), ASKED, "standbys answer queries");
    let why = "queries on a standby are not cancelled by VACUUM on the primary; long ones delay its cleaning";
    out.set("hot_standby_feedback", Value::Bool(true), ASKED, why);
    let why = "replay waits at most 30 s for queries on a standby";
    out.set("max_standby_streaming_delay", seconds(30), ASKED, why);
    out.set(
        "wal_receiver_timeout",
        seconds(60),
        ASKED,
        "a dead connection to the primary is noticed after a minute",
    );
}
