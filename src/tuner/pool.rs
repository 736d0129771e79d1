//! The plan of PgBouncer's pools: how many server connections each pair of database and user may open, so that all of them
//! together never ask the server for more than it has.
//!
//! ```text
//! capacity = max_connections - superuser_reserved_connections - reserved_connections - direct - monitoring
//! demand   = (default_pool_size + reserve_pool_size) × pairs × instances      <= capacity, always
//! ```
//!
//! `default_pool_size` counts for each pair of database and user by itself (PgBouncer's documentation, `default_pool_size`):
//! a size that looks modest is opened as often as there are pairs.

use super::refusal::Refusal;
use serde::Serialize;

/// `superuser_reserved_connections` as every server has it that nobody changed.
const SUPERUSER_RESERVED: u32 = 3;
/// File descriptors of PgBouncer itself: log, sockets it listens on, resolver, and some air.
const OWN_DESCRIPTORS: u32 = 100;
/// The default of `max_client_conn`, PgBouncer's own.
const CLIENTS: u32 = 100;

/// What the pools are to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PoolWish {
    /// `max_connections` of the server.
    pub max_connections: u32,
    /// Pairs of database and user that connect through the pools.
    pub pairs: u32,
    /// PgBouncers in front of the same server.
    pub instances: u32,
    /// Wanted server connections of each pair; `None` gives each its fair part.
    pub size: Option<u32>,
    /// `reserve_pool_size`: more for a pair whose clients wait.
    pub reserve: u32,
    /// `min_pool_size`: kept open although nobody needs them.
    pub min: u32,
    /// `reserved_connections` of the server (PostgreSQL 16 and later).
    pub reserved: u32,
    /// Connections that go past the pools: backups, migrations, people.
    pub direct: u32,
    /// Connections of monitoring.
    pub monitoring: u32,
    /// Clients of one PgBouncer; `None` takes as many as there are server connections, at least its own default.
    pub clients: Option<u32>,
}

/// Pools that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolPlan {
    /// What the pools serve.
    pub wish: PoolWish,
    /// Server connections that pools may use.
    pub capacity: u32,
    /// Server connections that all pools together can open.
    pub demand: u32,
    /// `default_pool_size`.
    pub size: u32,
    /// Connections that can be at work at once, those past the pools too: what the memory budget must carry.
    pub active: u32,
    /// Lines of `pgbouncer.ini` and of its unit: name, value, why.
    pub settings: Vec<PoolSetting>,
}

/// One line of `pgbouncer.ini`, or of its systemd unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolSetting {
    /// Its name there.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Why so.
    pub why: String,
}

impl PoolWish {
    /// One PgBouncer for `pairs` pairs, everything else as it is when nobody says more.
    pub fn new(max_connections: u32, pairs: u32) -> Self {
        Self {
            max_connections,
            pairs,
            instances: 1,
            size: None,
            reserve: 0,
            min: 0,
            reserved: 0,
            direct: 0,
            monitoring: 0,
            clients: None,
        }
    }

    /// Plans the pools.
    ///
    /// # Errors
    /// Not one connection for each pair, or a wish beyond what the server has: with the sum, and the ways out.
    pub fn plan(&self) -> Result<PoolPlan, Refusal> {
        for (name, number) in [("pairs", self.pairs), ("instances", self.instances)] {
            if number == 0 {
                return Err(Refusal::input("pairs", format!("the pools need at least one of `{name}`")));
            }
        }
        let kept = [SUPERUSER_RESERVED, self.reserved, self.direct, self.monitoring];
        let kept = kept.into_iter().fold(0u32, u32::saturating_add);
        let capacity = self.max_connections.saturating_sub(kept);
        let pools = u64::from(self.pairs) * u64::from(self.instances);
        let fair = u64::from(capacity) / pools;
        let fair = u32::try_from(fair).unwrap_or(u32::MAX).saturating_sub(self.reserve);
        let size = self.size.unwrap_or(fair);
        let each = u64::from(size) + u64::from(self.reserve);
        let demand = each * pools;
        if size == 0 || demand > u64::from(capacity) {
            return Err(self.too_many(capacity, pools, size, fair));
        }
        if self.min > size {
            return Err(Refusal::input(
                "min",
                format!("`min_pool_size` {} is more than the pool has ({size})", self.min),
            ));
        }
        let demand = u32::try_from(demand).unwrap_or(u32::MAX);
        let past = self.direct.saturating_add(self.monitoring);
        let active = demand.saturating_add(past).min(self.max_connections);
        let settings = self.settings(capacity, size);
        Ok(PoolPlan { wish: *self, capacity, demand, size, active, settings })
    }

    fn too_many(&self, capacity: u32, pools: u64, size: u32, fair: u32) -> Refusal {
        let asked = (u64::from(size.max(1)) + u64::from(self.reserve)) * pools;
        let reserve = if self.reserve > 0 { format!(" + {} reserve", self.reserve) } else { String::new() };
        let mut refusal = Refusal::input(
            "pairs",
            format!("the pools could ask for {asked} server connections, and {capacity} are theirs"),
        );
        refusal.arithmetic = vec![
            format!(
                "{} of each pool{reserve}, × {} pairs of database and user × {} PgBouncers = {asked}",
                size.max(1),
                self.pairs,
                self.instances
            ),
            format!("{} - {} = {capacity}", self.max_connections, self.kept_words()),
        ];
        if self.size.is_some() && fair > 0 {
            refusal = refusal.way_out(format!("{fair} of each pool fit (--pool-size {fair})"));
        }
        let needed = asked + u64::from(self.max_connections - capacity.min(self.max_connections));
        refusal
            .way_out(format!(
                "{needed} connections of the server (--connections {needed}), if its RAM carries them"
            ))
            .way_out("fewer pairs: one user for services that share a database")
    }

    fn kept_words(&self) -> String {
        let parts = [
            (SUPERUSER_RESERVED, "superuser_reserved_connections"),
            (self.reserved, "reserved_connections"),
            (self.direct, "direct"),
            (self.monitoring, "monitoring"),
        ];
        let said: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} ({name})")).collect();
        said.join(" - ")
    }

    fn settings(&self, capacity: u32, size: u32) -> Vec<PoolSetting> {
        let servers = (size.saturating_add(self.reserve)).saturating_mul(self.pairs);
        let clients = self.clients.unwrap_or(servers.max(CLIENTS));
        let files = clients.saturating_add(servers).saturating_add(OWN_DESCRIPTORS);
        let line = |name, value: String, why: &str| PoolSetting { name, value, why: why.to_owned() };
        vec![
            line(
                "pool_mode",
                "transaction".to_owned(),
                "a server connection is a client's for one transaction: what few connections need to serve many clients",
            ),
            line(
                "default_pool_size",
                size.to_string(),
                &format!("{capacity} for {} pairs × {} PgBouncers", self.pairs, self.instances),
            ),
            line(
                "reserve_pool_size",
                self.reserve.to_string(),
                match self.reserve {
                    0 => {
                        "what could be opened beyond the pool would have to fit too: the pool has it already"
                    }
                    _ => "opened for a pool whose clients wait; counted in the sum",
                },
            ),
            line(
                "min_pool_size",
                self.min.to_string(),
                "what lies idle in one pool is missing in none: the sum counts every pool full",
            ),
            line(
                "max_db_connections",
                (capacity / self.instances).to_string(),
                "no plan but a backstop: one database never takes more than this PgBouncer's part of the server",
            ),
            line(
                "max_client_conn",
                clients.to_string(),
                match self.clients {
                    Some(_) => "as you say",
                    None => {
                        "as many as there are server connections, and no fewer than PgBouncer's own default"
                    }
                },
            ),
            line(
                "LimitNOFILE",
                files.to_string(),
                &format!(
                    "of the unit: {clients} clients + {servers} server connections + {OWN_DESCRIPTORS} of its own"
                ),
            ),
        ]
    }
}

impl PoolPlan {
    /// How much room is left, in per cent of the demand.
    pub fn headroom(&self) -> f64 {
        f64::from(self.capacity - self.demand) * 100.0 / f64::from(self.demand)
    }

    /// The sum, for people.
    pub fn sum(&self) -> String {
        let wish = &self.wish;
        let each = match wish.reserve {
            0 => self.size.to_string(),
            reserve => format!("({} + {reserve})", self.size),
        };
        format!(
            "{each} × {} pairs × {} PgBouncers = {} of {} server connections: {:.1} % headroom",
            wish.pairs,
            wish.instances,
            self.demand,
            self.capacity,
            self.headroom()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(max_connections: u32, pairs: u32) -> PoolWish {
        PoolWish::new(max_connections, pairs)
    }

    #[test]
    fn the_sums_that_others_get_wrong() {
        // 39 services on one server: 6 each, 6.8 % and not 15 % of headroom.
        let plan = PoolWish { direct: 35, monitoring: 12, ..wish(300, 39) }.plan().unwrap();
        assert_eq!((plan.capacity, plan.size, plan.demand), (250, 6, 234));
        assert_eq!(format!("{:.1}", plan.headroom()), "6.8");
        assert_eq!(plan.active, 281);
        // 30 + 10 of each pool are 1560 for 39 pairs.
        let over = PoolWish { size: Some(30), reserve: 10, ..wish(300, 39) }.plan().unwrap_err();
        assert!(over.message.contains("1560 server connections, and 297"), "{}", over.message);
        insta::assert_snapshot!(over.to_string(), @r"
        the pools could ask for 1560 server connections, and 297 are theirs
          30 of each pool + 10 reserve, × 39 pairs of database and user × 1 PgBouncers = 1560
          300 - 3 (superuser_reserved_connections) = 297
        way out: 1563 connections of the server (--connections 1563), if its RAM carries them
        way out: fewer pairs: one user for services that share a database
        ");
        let two = PoolWish { instances: 2, size: Some(10), ..wish(100, 5) }.plan().unwrap_err();
        assert!(two.ways_out[0].contains("--pool-size 9"), "{two}");
        // More pairs than connections: not one each.
        assert!(wish(100, 98).plan().is_err());
        assert_eq!(wish(100, 97).plan().unwrap().size, 1);
        for none in [PoolWish { instances: 0, ..wish(100, 1) }, wish(100, 0)] {
            assert!(none.plan().unwrap_err().message.contains("at least one"));
        }
        let idle = PoolWish { min: 10, ..wish(103, 20) }.plan().unwrap_err();
        assert!(idle.message.contains("`min_pool_size` 10 is more than the pool has (5)"), "{idle}");
    }

    #[test]
    fn descriptors_are_counted_for_clients_and_servers() {
        let plan = PoolWish { size: Some(30), clients: Some(800), ..wish(2000, 39) }.plan().unwrap();
        let value = |name: &str| plan.settings.iter().find(|line| line.name == name).unwrap().value.clone();
        assert_eq!(value("LimitNOFILE"), (800 + 30 * 39 + 100).to_string());
        assert_eq!(value("max_client_conn"), "800");
    }

    proptest! {
        /// Invariant 11 of the tuner: the sum of all pools stays below what the server has.
        #[test]
        fn pools_never_ask_for_more_than_the_server_has(
            max_connections in 1u32..20_000, pairs in 0u32..5_000, instances in 0u32..20, size in prop::option::of(0u32..2_000),
            reserve in 0u32..50, reserved in 0u32..50, direct in 0u32..500, monitoring in 0u32..50,
        ) {
            let wish = PoolWish { instances, size, reserve, reserved, direct, monitoring, ..wish(max_connections, pairs) };
            let Ok(plan) = wish.plan() else { return Ok(()) };
            let open = u64::from(plan.size + reserve) * u64::from(pairs) * u64::from(instances);
            prop_assert_eq!(open, u64::from(plan.demand));
            prop_assert!(plan.size >= 1);
            prop_assert!(open + u64::from(3 + reserved + direct + monitoring) <= u64::from(max_connections));
            prop_assert!(plan.active <= max_connections && plan.active >= plan.demand);
            // Another connection for every pair would not fit: nothing is left lying about.
            if size.is_none() {
                prop_assert!(open + u64::from(pairs) * u64::from(instances) > u64::from(plan.capacity));
            }
            // A greater server never gives smaller pools.
            let greater = PoolWish { max_connections: max_connections + 1, ..wish }.plan();
            prop_assert!(greater.is_ok_and(|greater| greater.size >= plan.size));
        }
    }
}
