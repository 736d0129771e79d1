//! What the plan of the pools is in `pgbouncer.ini` and in PgBouncer's unit.

use super::super::refusal::Refusal;
use super::{PoolWish, count};
use serde::Serialize;

/// File descriptors of PgBouncer itself: log, sockets it listens on, resolver, and some air.
const OWN_DESCRIPTORS: u32 = 100;
/// The default of `max_client_conn`, PgBouncer's own.
const CLIENTS: u32 = 100;
/// `fs.nr_open` as the kernel has it: no process gets more descriptors, whatever its unit says.
const NR_OPEN: u64 = 1 << 20;
/// Seconds; PgBouncer's own default, kept for the reason that stands beside it.
const SERVER_IDLE: u32 = 600;

/// Every name that a plan sets.
pub const POOL_SETTINGS: [&str; 8] = [
    "pool_mode",
    "default_pool_size",
    "reserve_pool_size",
    "min_pool_size",
    "max_db_connections",
    "max_client_conn",
    "server_idle_timeout",
    "LimitNOFILE",
];

/// One line of `pgbouncer.ini`, or of its systemd unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolSetting {
    /// Its name there.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Why so.
    pub why: String,
    /// Where the rule comes from.
    pub source: &'static str,
}

/// The lines of pools that fit. `part` is what each pool may open, its reserve included.
///
/// # Errors
/// More descriptors than a process can have.
pub(super) fn settings(
    wish: &PoolWish,
    capacity: u32,
    size: u32,
    part: u32,
) -> Result<Vec<PoolSetting>, Refusal> {
    let reserve = wish.reserve;
    // Of one PgBouncer: the pools of the others are opened by others.
    let servers = size.saturating_add(reserve).saturating_mul(wish.pairs);
    let clients = wish.clients.unwrap_or(servers.max(CLIENTS));
    let files = u64::from(clients) + u64::from(servers) + u64::from(OWN_DESCRIPTORS);
    let sum = format!("{clients} clients + {servers} server connections + {OWN_DESCRIPTORS} of its own");
    if files > NR_OPEN {
        let message =
            format!("one PgBouncer would need {files} file descriptors, and the kernel gives {NR_OPEN}");
        let mut refusal = Refusal::input("clients", message);
        refusal.arithmetic = vec![format!("{sum} = {files}")];
        let most = NR_OPEN.saturating_sub(u64::from(servers) + u64::from(OWN_DESCRIPTORS));
        if most > 0 {
            refusal =
                refusal.way_out(format!("{most} clients of each PgBouncer at most (--max-clients {most})"));
        }
        return Err(refusal.way_out("more PgBouncers, each with its part of the clients (--pool-instances)"));
    }
    let (pairs, bouncers) = (count(wish.pairs, "pair"), count(wish.instances, "PgBouncer"));
    let fair = part.saturating_sub(reserve);
    let size_why = match (wish.size, reserve) {
        (Some(_), _) => format!("as you say; each pair's part would be {fair}"),
        (None, 0) => format!("{capacity} for {pairs} × {bouncers}"),
        (None, _) => format!("{capacity} for {pairs} × {bouncers}, less {reserve} reserve"),
    };
    let reserve_why = match reserve {
        0 => "what could be opened beyond the pool would have to fit too: the pool has it already",
        _ => "opened for a pool whose clients wait; counted in the sum",
    };
    let clients_why = match wish.clients {
        Some(_) => "as you say",
        None => "as many as there are server connections, and no fewer than PgBouncer's own default",
    };
    let line =
        |name, value: String, source, why: &str| PoolSetting { name, value, why: why.to_owned(), source };
    Ok(vec![
        line(
            "pool_mode",
            "transaction".to_owned(),
            "PgBouncer docs, pool_mode",
            "a server connection is a client's for one transaction: what few connections need to serve many clients",
        ),
        line(
            "default_pool_size",
            size.to_string(),
            "connection budget; PgBouncer docs, default_pool_size: it counts per pair of user and database",
            &size_why,
        ),
        line(
            "reserve_pool_size",
            reserve.to_string(),
            "connection budget; PgBouncer docs, reserve_pool_size: in addition to the pool",
            reserve_why,
        ),
        line(
            "min_pool_size",
            wish.min.to_string(),
            "connection budget; PgBouncer docs, min_pool_size: for every pool that has a client",
            "what lies idle in one pool is missing in none: the sum counts every pool full",
        ),
        line(
            "max_db_connections",
            (capacity / wish.instances.max(1)).to_string(),
            "PgBouncer docs, max_db_connections: per database, whoever comes first",
            "no plan but a backstop: one database never takes more than this PgBouncer's part of the server",
        ),
        line("max_client_conn", clients.to_string(), "PgBouncer docs, max_client_conn", clients_why),
        line(
            "server_idle_timeout",
            SERVER_IDLE.to_string(),
            "PgBouncer docs, server_idle_timeout: its default",
            "seconds; the sum counts every pool full, so closing sooner frees nothing and costs logins",
        ),
        line(
            "LimitNOFILE",
            files.to_string(),
            "PgBouncer docs, max_client_conn: clients and the pools of all pairs",
            &format!("of the unit: {sum}"),
        ),
    ])
}
