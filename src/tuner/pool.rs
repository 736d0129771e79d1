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

mod settings;

pub use settings::{POOL_SETTINGS, PoolSetting};

use super::input::CONNECTIONS;
use super::refusal::Refusal;
use serde::Serialize;

/// `superuser_reserved_connections` as every server has it that nobody changed.
const SUPERUSER_RESERVED: u32 = 3;

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
    /// `superuser_reserved_connections` of the server.
    pub superuser_reserved: u32,
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolPlan {
    /// What the pools serve.
    pub wish: PoolWish,
    /// Server connections that pools may use.
    pub capacity: u32,
    /// Server connections that all pools together can open.
    pub demand: u32,
    /// How much room is left, in per cent of the demand, to a tenth.
    pub headroom_percent: f64,
    /// `default_pool_size`.
    pub size: u32,
    /// Connections that can be at work at once, those past the pools too: what the memory budget must carry.
    pub active: u32,
    /// Lines of `pgbouncer.ini` and of its unit.
    pub settings: Vec<PoolSetting>,
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
            superuser_reserved: SUPERUSER_RESERVED,
            reserved: 0,
            direct: 0,
            monitoring: 0,
            clients: None,
        }
    }

    /// Plans the pools.
    ///
    /// # Errors
    /// Not one connection for each pair, or a wish beyond what the server or the kernel has: with the sum, and the ways out.
    pub fn plan(&self) -> Result<PoolPlan, Refusal> {
        let counts = [
            ("pairs", Some(self.pairs), "pairs of database and user"),
            ("instances", Some(self.instances), "PgBouncers"),
            ("size", self.size, "server connections of each pool (`default_pool_size`)"),
            ("clients", self.clients, "clients (`max_client_conn`)"),
        ];
        if let Some((input, _, what)) = counts.into_iter().find(|(_, number, _)| *number == Some(0)) {
            return Err(Refusal::input(input, format!("0 {what} let nobody in")).way_out("1 at least"));
        }
        let capacity =
            u32::try_from(u64::from(self.max_connections).saturating_sub(self.kept())).unwrap_or(0);
        let part = self.part(capacity);
        let size = self.size.unwrap_or(part.saturating_sub(self.reserve));
        let demand = self.sum(size, self.reserve);
        if size == 0 || demand > u128::from(capacity) {
            return Err(self.too_many(capacity, size.max(1), part));
        }
        if self.min > size {
            let message = format!("`min_pool_size` {} is more than the pool has ({size})", self.min);
            let mut refusal = Refusal::input("min", message);
            refusal.arithmetic.extend(self.idle(capacity));
            return Err(refusal.way_out(format!("{size} at most (--pool-min {size})")));
        }
        let demand = u32::try_from(demand).unwrap_or(u32::MAX);
        let past = self.direct.saturating_add(self.monitoring);
        let free = f64::from(capacity - demand) * 100.0 / f64::from(demand);
        Ok(PoolPlan {
            wish: *self,
            capacity,
            demand,
            headroom_percent: (free * 10.0).round() / 10.0,
            size,
            active: demand.saturating_add(past).min(self.max_connections),
            settings: settings::settings(self, capacity, size, part)?,
        })
    }

    /// Server connections that are not the pools'.
    fn kept(&self) -> u64 {
        self.kept_parts().iter().map(|(number, _)| u64::from(*number)).sum()
    }

    fn kept_parts(&self) -> [(u32, &'static str); 4] {
        [
            (self.superuser_reserved, "superuser_reserved_connections"),
            (self.reserved, "reserved_connections"),
            (self.direct, "direct"),
            (self.monitoring, "monitoring"),
        ]
    }

    /// What each pool may open, its reserve included.
    fn part(&self, capacity: u32) -> u32 {
        let pools = u64::from(self.pairs) * u64::from(self.instances);
        u32::try_from(u64::from(capacity) / pools.max(1)).unwrap_or(u32::MAX)
    }

    /// So many connections and a reserve of each pool, over all pools: three numbers of 32 bits do not fit into 64.
    fn sum(&self, size: u32, reserve: u32) -> u128 {
        (u128::from(size) + u128::from(reserve)) * u128::from(self.pairs) * u128::from(self.instances)
    }

    /// What stands open when nobody works.
    fn idle(&self, capacity: u32) -> Option<String> {
        let idle = self.sum(self.min, 0);
        let verdict =
            if idle > u128::from(capacity) { format!(", more than {capacity}") } else { String::new() };
        (self.min > 0).then(|| {
            format!("{} idle of each pool (min_pool_size), × {} = {idle}{verdict}", self.min, self.pools())
        })
    }

    fn pools(&self) -> String {
        format!("{} of database and user × {}", count(self.pairs, "pair"), count(self.instances, "PgBouncer"))
    }

    fn too_many(&self, capacity: u32, size: u32, part: u32) -> Refusal {
        let asked = self.sum(size, self.reserve);
        let reserve = if self.reserve > 0 { format!(" + {} reserve", self.reserve) } else { String::new() };
        let mut refusal = Refusal::input(
            "pairs",
            format!("the pools could ask for {asked} server connections, and {capacity} are theirs"),
        );
        let kept: Vec<String> = self
            .kept_parts()
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| format!(" - {number} ({name})"))
            .collect();
        let left = i128::from(self.max_connections) - i128::from(self.kept());
        refusal.arithmetic = vec![
            format!("{size} of each pool{reserve}, × {} = {asked}", self.pools()),
            format!("{}{} = {left}", self.max_connections, kept.concat()),
        ];
        refusal.arithmetic.extend(self.idle(capacity));
        let fair = part.saturating_sub(self.reserve);
        let idle = |size: u32| if self.min > size { format!(" --pool-min {size}") } else { String::new() };
        if fair > 0 {
            refusal = refusal.way_out(format!("{fair} of each pool fit (--pool-size {fair}{})", idle(fair)));
        } else if part > 0 {
            refusal = refusal.way_out(format!(
                "{part} of each pool without a reserve fit (--pool-size {part} --pool-reserve 0{})",
                idle(part)
            ));
        }
        if part > 0 {
            refusal = refusal.way_out(
                "pool_mode = transaction, as planned here: a pool needs no more than its transactions at the same time",
            );
        }
        let of_pair = PoolWish { pairs: 1, ..*self }.sum(size, self.reserve);
        let most = match u128::from(capacity) / of_pair {
            0 => String::new(),
            pairs => format!("; {pairs} fit (--pool-pairs {pairs}{})", idle(size)),
        };
        refusal = refusal.way_out(format!("fewer pairs: one user for services that share a database{most}"));
        let needed = asked + u128::from(self.kept());
        if needed <= u128::from(*CONNECTIONS.end()) {
            return refusal.way_out(format!(
                "{needed} connections of the server (--connections {needed}{}), if its RAM carries them",
                idle(size)
            ));
        }
        refusal
    }
}

impl PoolPlan {
    /// The sum, for people.
    pub fn sum(&self) -> String {
        let wish = &self.wish;
        let each = match wish.reserve {
            0 => self.size.to_string(),
            reserve => format!("({} + {reserve})", self.size),
        };
        format!(
            "{each} × {} × {} = {} of {} server connections: {:.1} % headroom",
            count(wish.pairs, "pair"),
            count(wish.instances, "PgBouncer"),
            self.demand,
            self.capacity,
            self.headroom_percent
        )
    }

    /// The plan with pools so small that no more than `active` connections work at once; `None` where that takes none, or
    /// leaves no pool.
    pub fn narrowed(&self, active: u32) -> Option<PoolPlan> {
        let wish = &self.wish;
        let left = active.checked_sub(wish.direct)?.checked_sub(wish.monitoring)?;
        let size = wish.part(left).checked_sub(wish.reserve).filter(|size| (1..self.size).contains(size))?;
        PoolWish { size: Some(size), min: wish.min.min(size), ..*wish }.plan().ok()
    }
}

/// `1 pair`, `39 pairs`.
fn count(number: u32, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(max_connections: u32, pairs: u32) -> PoolWish {
        PoolWish::new(max_connections, pairs)
    }

    /// The founding document's server: 250 of its 300 connections are the pools'.
    fn seed(pairs: u32) -> PoolWish {
        PoolWish { direct: 35, monitoring: 12, ..wish(300, pairs) }
    }

    #[test]
    fn the_sums_that_others_get_wrong() {
        // 39 services on one server: 6 each, 6.8 % and not 15 % of headroom.
        let plan = seed(39).plan().unwrap();
        assert_eq!((plan.capacity, plan.size, plan.demand, plan.active), (250, 6, 234, 281));
        assert_eq!(plan.sum(), "6 × 39 pairs × 1 PgBouncer = 234 of 250 server connections: 6.8 % headroom");
        // max_connections, pairs, instances, reserve, reserved: what each pair gets, of how many.
        let table = [
            (300, 1, 1, 0, 0, (297, 297)),
            (300, 39, 2, 0, 0, (3, 297)),
            (300, 39, 1, 2, 0, (5, 297)),
            (300, 39, 1, 0, 24, (7, 273)),
            (300, 39, 1, 0, 25, (6, 272)),
            (100, 97, 1, 0, 0, (1, 97)),
        ];
        for (max_connections, pairs, instances, reserve, reserved, wanted) in table {
            let plan =
                PoolWish { instances, reserve, reserved, ..wish(max_connections, pairs) }.plan().unwrap();
            assert_eq!((plan.size, plan.capacity), wanted, "{:?}", plan.wish);
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_with_its_sum_and_ways_out() {
        let refused = |wish: PoolWish| wish.plan().unwrap_err().to_string();
        insta::assert_snapshot!(refused(PoolWish { size: Some(30), reserve: 10, min: 10, ..seed(39) }), @"
        the pools could ask for 1560 server connections, and 250 are theirs
          30 of each pool + 10 reserve, × 39 pairs of database and user × 1 PgBouncer = 1560
          300 - 3 (superuser_reserved_connections) - 35 (direct) - 12 (monitoring) = 250
          10 idle of each pool (min_pool_size), × 39 pairs of database and user × 1 PgBouncer = 390, more than 250
        way out: 6 of each pool without a reserve fit (--pool-size 6 --pool-reserve 0 --pool-min 6)
        way out: pool_mode = transaction, as planned here: a pool needs no more than its transactions at the same time
        way out: fewer pairs: one user for services that share a database; 6 fit (--pool-pairs 6)
        way out: 1610 connections of the server (--connections 1610), if its RAM carries them
        ");
        insta::assert_snapshot!(refused(PoolWish { instances: 2, size: Some(10), min: 10, ..wish(100, 5) }), @"
        the pools could ask for 100 server connections, and 97 are theirs
          10 of each pool, × 5 pairs of database and user × 2 PgBouncers = 100
          100 - 3 (superuser_reserved_connections) = 97
          10 idle of each pool (min_pool_size), × 5 pairs of database and user × 2 PgBouncers = 100, more than 97
        way out: 9 of each pool fit (--pool-size 9 --pool-min 9)
        way out: pool_mode = transaction, as planned here: a pool needs no more than its transactions at the same time
        way out: fewer pairs: one user for services that share a database; 4 fit (--pool-pairs 4)
        way out: 103 connections of the server (--connections 103), if its RAM carries them
        ");
        insta::assert_snapshot!(refused(wish(100, 98)), @"
        the pools could ask for 98 server connections, and 97 are theirs
          1 of each pool, × 98 pairs of database and user × 1 PgBouncer = 98
          100 - 3 (superuser_reserved_connections) = 97
        way out: fewer pairs: one user for services that share a database; 97 fit (--pool-pairs 97)
        way out: 101 connections of the server (--connections 101), if its RAM carries them
        ");
        // More is kept back than there is.
        insta::assert_snapshot!(refused(PoolWish { direct: 35, monitoring: 12, ..wish(10, 2) }), @"
        the pools could ask for 2 server connections, and 0 are theirs
          1 of each pool, × 2 pairs of database and user × 1 PgBouncer = 2
          10 - 3 (superuser_reserved_connections) - 35 (direct) - 12 (monitoring) = -40
        way out: fewer pairs: one user for services that share a database
        way out: 52 connections of the server (--connections 52), if its RAM carries them
        ");
        // No server has so many: that is no way out.
        insta::assert_snapshot!(refused(PoolWish { instances: 100, ..wish(300, 4000) }), @"
        the pools could ask for 400000 server connections, and 297 are theirs
          1 of each pool, × 4000 pairs of database and user × 100 PgBouncers = 400000
          300 - 3 (superuser_reserved_connections) = 297
        way out: fewer pairs: one user for services that share a database; 2 fit (--pool-pairs 2)
        ");
        let all = u32::MAX;
        let most = PoolWish { instances: all, size: Some(all), reserve: all, ..wish(all, all) };
        assert!(refused(most).contains("158456324917848210770600394750"), "{}", refused(most));
        insta::assert_snapshot!(refused(PoolWish { min: 10, ..wish(103, 20) }), @"
        `min_pool_size` 10 is more than the pool has (5)
          10 idle of each pool (min_pool_size), × 20 pairs of database and user × 1 PgBouncer = 200, more than 100
        way out: 5 at most (--pool-min 5)
        ");
        insta::assert_snapshot!(refused(PoolWish { clients: Some(2_000_000), ..wish(103, 20) }), @"
        one PgBouncer would need 2000200 file descriptors, and the kernel gives 1048576
          2000000 clients + 100 server connections + 100 of its own = 2000200
        way out: 1048376 clients of each PgBouncer at most (--max-clients 1048376)
        way out: more PgBouncers, each with its part of the clients (--pool-instances)
        ");
    }

    #[test]
    fn nothing_of_something_is_refused_by_its_own_name() {
        let none = [
            ("pairs", wish(100, 0)),
            ("instances", PoolWish { instances: 0, ..wish(100, 1) }),
            ("size", PoolWish { size: Some(0), ..wish(100, 1) }),
            ("clients", PoolWish { clients: Some(0), ..wish(100, 1) }),
        ];
        for (input, wish) in none {
            assert_eq!(wish.plan().unwrap_err().input, Some(input));
        }
    }

    #[test]
    fn settings_of_a_plan() {
        let wish = PoolWish {
            size: Some(30),
            reserve: 2,
            min: 1,
            clients: Some(800),
            instances: 2,
            ..wish(3000, 39)
        };
        let plan = wish.plan().unwrap();
        let lines: Vec<(&str, &str)> =
            plan.settings.iter().map(|line| (line.name, line.value.as_str())).collect();
        let wanted = [
            ("pool_mode", "transaction"),
            ("default_pool_size", "30"),
            ("reserve_pool_size", "2"),
            ("min_pool_size", "1"),
            // Half of 2997.
            ("max_db_connections", "1498"),
            ("max_client_conn", "800"),
            ("server_idle_timeout", "600"),
            // 800 + 32 × 39 + 100: of one PgBouncer.
            ("LimitNOFILE", "2148"),
        ];
        assert_eq!(lines, wanted);
        assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), POOL_SETTINGS);
        assert!(plan.settings.iter().all(|line| !line.why.is_empty() && !line.source.is_empty()));
    }

    #[test]
    fn narrower_pools_keep_to_what_may_be_active() {
        let narrow = seed(4).plan().unwrap().narrowed(100).unwrap();
        assert_eq!((narrow.size, narrow.active), (13, 99));
        // The 47 past the pools are more already; none is left for each; it is that narrow already.
        assert_eq!(seed(4).plan().unwrap().narrowed(40), None);
        assert_eq!(seed(39).plan().unwrap().narrowed(85), None);
        assert_eq!(narrow.narrowed(100), None);
    }

    /// The wish with the options that a way out names; `None` when it names none.
    fn taken(wish: PoolWish, way: &str) -> Option<PoolWish> {
        let options = way.split_once("(--")?.1.split(')').next()?;
        let mut wish = wish;
        for option in options.split(" --") {
            let (name, number) = option.split_once(' ')?;
            let number = number.parse().ok()?;
            match name {
                "pool-size" => wish.size = Some(number),
                "pool-reserve" => wish.reserve = number,
                "pool-min" => wish.min = number,
                "pool-pairs" => wish.pairs = number,
                "connections" => wish.max_connections = number,
                _ => return None,
            }
        }
        Some(wish)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Invariant 11 of the tuner: the sum of all pools stays within what the server has, or is refused because it cannot.
        #[test]
        fn pools_never_ask_for_more_than_the_server_has(
            max_connections in 1u32..3_000, more in 1u32..3_000, pairs in 1u32..80, instances in 1u32..5,
            size in prop::option::of(1u32..40), reserve in 0u32..12, min in 0u32..12, superuser_reserved in 0u32..10,
            reserved in 0u32..20, direct in 0u32..60, monitoring in 0u32..20,
        ) {
            let wish = PoolWish {
                instances, size, reserve, min, superuser_reserved, reserved, direct, monitoring,
                ..wish(max_connections, pairs)
            };
            let kept = superuser_reserved + reserved + direct + monitoring;
            let capacity = max_connections.saturating_sub(kept);
            let pools = pairs * instances;
            let plan = match wish.plan() {
                Ok(plan) => plan,
                Err(refusal) => {
                    // Not one connection for each, or more than there is, or more idle ones than a pool has.
                    let least = size.unwrap_or(1) + reserve;
                    let most = size.unwrap_or((capacity / pools).saturating_sub(reserve));
                    prop_assert!(least * pools > capacity || min > most, "{}", refusal);
                    for other in refusal.ways_out.iter().filter_map(|way| taken(wish, way)) {
                        prop_assert!(other.plan().is_ok(), "{:?}\n{}", other, refusal);
                    }
                    return Ok(());
                }
            };
            let open = (plan.size + reserve) * pools;
            prop_assert_eq!((open, capacity), (plan.demand, plan.capacity));
            prop_assert!(plan.size >= 1 && plan.size >= min);
            prop_assert!(open + kept <= max_connections);
            prop_assert_eq!(plan.active, open + direct + monitoring);
            // Another connection for every pair would not fit: nothing is left lying about.
            prop_assert!(size.is_some() || open + pools > capacity);
            // A greater server never gives smaller pools.
            let greater = PoolWish { max_connections: max_connections + more, ..wish }.plan();
            prop_assert!(greater.is_ok_and(|greater| greater.size >= plan.size));
        }
    }
}
