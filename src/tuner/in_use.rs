//! What a running server has in force and in use, and what is therefore not lowered.
//!
//! The rule is one: what is in force stays at least as it is, unless somebody asks for less of it by its name. A value that
//! nobody needs costs memory that the budget shows; one that somebody needed and lost is an outage: a server with a logical
//! slot does not start with `wal_level = replica`, one with prepared transactions not with fewer of them
//! (PostgreSQL docs, "Replication", "Two-phase commit").

use super::cluster::ClusterNeeds;
use super::input::Given;
use std::collections::{BTreeMap, BTreeSet};

/// What a server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Values in force, as `pg_settings.setting` has them.
    pub in_force: BTreeMap<String, String>,
    /// The file that such a value comes from.
    pub files: BTreeMap<String, String>,
    /// Clients connected now; a peak is not kept by PostgreSQL.
    pub clients: u32,
    /// Transactions that are prepared and not ended.
    pub prepared: u32,
    /// Slots of any kind.
    pub slots: u32,
    /// Logical slots, by name.
    pub logical_slots: Vec<String>,
    /// WAL senders at work.
    pub senders: u32,
    /// Publications and subscriptions: `publication app.orders`.
    pub logical: Vec<String>,
    /// Libraries preloaded now whose extension exists in some database.
    pub libraries: Vec<String>,
    /// Settings of single roles and databases: `ALTER ROLE report SET work_mem = 512MB`, split in place, name and value.
    pub of_roles: Vec<(String, String, String)>,
}

/// A value that is not lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The setting.
    pub name: &'static str,
    /// What stays in force.
    pub value: String,
    /// What would have been enough.
    pub wanted: String,
    /// Who uses it, or where it was set.
    pub because: String,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, wanted, because } = self;
        write!(
            f,
            "`{name}` stays {value}, not {wanted}: {because}; to lower it, name it in `postgresql_settings`"
        )
    }
}

impl InUse {
    /// Reads `key TAB value...` lines; `None` when no server answered.
    pub fn parse(text: &str) -> Option<Self> {
        let mut seen = Self::default();
        let mut answered = false;
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (key, mut next) = (fields.next(), || fields.next().unwrap_or_default().to_owned());
            match key {
                Some("in_force") => {
                    let (name, value, file) = (next(), next(), next());
                    if !file.is_empty() {
                        seen.files.insert(name.clone(), file);
                    }
                    seen.in_force.insert(name, value);
                }
                Some("counts") => {
                    answered = true;
                    seen.clients = next().parse().unwrap_or(0);
                    seen.prepared = next().parse().unwrap_or(0);
                    seen.slots = next().parse().unwrap_or(0);
                    seen.senders = next().parse().unwrap_or(0);
                }
                Some("logical_slot") => seen.logical_slots.push(next()),
                Some("logical") => seen.logical.push(next()),
                Some("library") => seen.libraries.push(next()),
                Some("own") => {
                    let (place, setting) = (next(), next());
                    if let Some((name, value)) = setting.split_once('=') {
                        seen.of_roles.push((place, name.to_ascii_lowercase(), value.to_owned()));
                    }
                }
                _ => {}
            }
        }
        seen.libraries.sort();
        seen.libraries.dedup();
        answered.then_some(seen)
    }

    /// A value in force that is a number.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.in_force.get(name)?.parse().ok()
    }

    /// Who uses a setting now, for people; `None` where that cannot be seen.
    pub fn users(&self, name: &str) -> Option<String> {
        let many = |number: u32, one: &str, more: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {more}")),
        };
        match name {
            "max_connections" => many(self.clients, "client is connected", "clients are connected"),
            "max_prepared_transactions" => {
                many(self.prepared, "transaction is prepared", "transactions are prepared")
            }
            "max_wal_senders" => many(self.senders, "sender is at work", "senders are at work"),
            "max_replication_slots" => many(self.slots, "slot exists", "slots exist"),
            "wal_level" => {
                let slots = self.logical_slots.iter().map(|slot| format!("logical slot {slot}"));
                let all: Vec<String> = slots.chain(self.logical.iter().cloned()).collect();
                (!all.is_empty()).then(|| all.join(", "))
            }
            _ => None,
        }
    }

    /// The least value of a setting with which the server would start, or keep who is there; `None`: any.
    pub fn least(&self, name: &str) -> Option<u32> {
        let least = match name {
            "max_prepared_transactions" => self.prepared,
            "max_replication_slots" => self.slots,
            "max_wal_senders" => self.senders,
            _ => 0,
        };
        (least > 0).then_some(least)
    }

    /// What an inventory asks for that this server could not start with, one sentence each: name of the setting, why.
    pub fn forbids(&self, asked: &[(String, String)]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, value) in asked {
            if name == "wal_level" && value != "logical" && !self.logical_slots.is_empty() {
                let slots = self.logical_slots.join(", ");
                found.push((
                    name.clone(),
                    format!("`wal_level: {value}`: the server does not start with less than `logical` while a logical slot exists ({slots})"),
                ));
            }
            if let (Some(least), Ok(number)) = (self.least(name), value.parse::<u32>())
                && number < least
            {
                let users = self.users(name).unwrap_or_default();
                found.push((name.clone(), format!("`{name}: {value}` is less than what is in use: {users}")));
            }
        }
        found
    }

    /// The least `max_connections` that keeps everybody who is connected, and those whom PostgreSQL keeps places for.
    pub fn least_connections(&self) -> u32 {
        self.clients + self.number("superuser_reserved_connections").unwrap_or(3)
    }

    /// What so few connections mean for those who are connected now; `None` where all of them have a place.
    pub fn crowded(&self, max_connections: u32) -> Option<String> {
        (self.clients > 0 && self.least_connections() > max_connections).then(|| {
            let places = max_connections.saturating_sub(self.least_connections() - self.clients);
            format!(
                "`max_connections` {max_connections} has {places} places for clients, and {} are connected now",
                self.clients
            )
        })
    }

    /// Values in force that nobody of ours decides and that the budget hangs on.
    pub fn given(&self, given: Given) -> Given {
        let multiplier = self.in_force.get("hash_mem_multiplier").and_then(|text| text.parse().ok());
        Given { hash_mem_multiplier: given.hash_mem_multiplier.or(multiplier), ..given }
    }
}

impl ClusterNeeds {
    /// The same needs, nowhere below what a server has in force; `asked` says which settings somebody lowers by name.
    pub fn keeping(mut self, seen: &InUse, asked: &BTreeSet<String>) -> (Self, Vec<Kept>) {
        let mut kept = Vec::new();
        let because = |name: &str| {
            let file = seen.files.get(name).map(|file| format!("it is set in {file}"));
            let all: Vec<String> = seen.users(name).into_iter().chain(file).collect();
            if all.is_empty() { "it is in force".to_owned() } else { all.join(", and ") }
        };
        let mut raise = |name: &'static str, wanted: &mut u32| {
            let Some(now) = seen.number(name).filter(|now| *now > *wanted && !asked.contains(name)) else {
                return;
            };
            kept.push(Kept {
                name,
                value: now.to_string(),
                wanted: wanted.to_string(),
                because: because(name),
            });
            *wanted = now;
        };
        raise("max_worker_processes", &mut self.max_worker_processes);
        raise("max_wal_senders", &mut self.max_wal_senders);
        raise("max_prepared_transactions", &mut self.max_prepared_transactions);
        raise("max_locks_per_transaction", &mut self.max_locks_per_transaction);
        raise("max_replication_slots", &mut self.max_replication_slots);
        let is = |name: &str, word: &str| seen.in_force.get(name).is_some_and(|now| now == word);
        if is("wal_level", "logical") && !self.logical && !asked.contains("wal_level") {
            self.logical = true;
            kept.push(Kept {
                name: "wal_level",
                value: "logical".to_owned(),
                wanted: "replica".to_owned(),
                because: because("wal_level"),
            });
        }
        if is("track_commit_timestamp", "on")
            && !self.track_commit_timestamp
            && !asked.contains("track_commit_timestamp")
        {
            self.track_commit_timestamp = true;
            kept.push(Kept {
                name: "track_commit_timestamp",
                value: "on".to_owned(),
                wanted: "off".to_owned(),
                because: because("track_commit_timestamp"),
            });
        }
        (self, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "in_force\tmax_locks_per_transaction\t512\t/etc/postgresql/15/main/conf.d/10-app.conf\n\
                        in_force\twal_level\tlogical\t/etc/postgresql/15/main/conf.d/10-app.conf\n\
                        in_force\tmax_prepared_transactions\t50\t\nin_force\thash_mem_multiplier\t8\t\n\
                        counts\t61\t2\t1\t0\nlogical_slot\tcdc\nlogical\tpublication app.orders\nlibrary\tpg_cron\n\
                        own\tROLE report\twork_mem=512MB\n";

    fn needs() -> ClusterNeeds {
        ClusterNeeds::of([], &[])
    }

    #[test]
    fn what_is_in_force_is_kept_and_its_users_are_named() {
        let seen = InUse::parse(SAID).expect("a server");
        let (kept, notes) = needs().keeping(&seen, &BTreeSet::new());
        assert_eq!(
            (kept.max_locks_per_transaction, kept.max_prepared_transactions, kept.logical),
            (512, 50, true)
        );
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        let way = "; to lower it, name it in `postgresql_settings`";
        assert_eq!(
            notes,
            [
                format!("`max_prepared_transactions` stays 50, not 0: 2 transactions are prepared{way}"),
                format!(
                    "`max_locks_per_transaction` stays 512, not 64: it is set in /etc/postgresql/15/main/conf.d/10-app.conf{way}"
                ),
                format!(
                    "`wal_level` stays logical, not replica: logical slot cdc, publication app.orders, and it is set in /etc/postgresql/15/main/conf.d/10-app.conf{way}"
                ),
            ]
        );
        let (again, _) = kept.keeping(&seen, &BTreeSet::new());
        assert_eq!(again, kept, "a second look changes nothing");
        assert_eq!(seen.given(Given::default()).hash_mem_multiplier, Some(8.0));
        assert_eq!(seen.of_roles, [("ROLE report".to_owned(), "work_mem".to_owned(), "512MB".to_owned())]);
    }

    #[test]
    fn what_is_asked_for_by_name_is_lowered_unless_the_server_would_not_start() {
        let seen = InUse::parse(SAID).expect("a server");
        let asked = ["max_locks_per_transaction", "wal_level"].map(str::to_owned).into();
        let (lowered, kept) = needs().keeping(&seen, &asked);
        assert_eq!((lowered.max_locks_per_transaction, lowered.logical, kept.len()), (64, false, 1));
        let asks = |name: &str, value: &str| seen.forbids(&[(name.to_owned(), value.to_owned())]);
        assert!(asks("max_locks_per_transaction", "64").is_empty());
        assert!(asks("wal_level", "replica")[0].1.contains("(cdc)"));
        assert_eq!(
            asks("max_prepared_transactions", "1")[0].1,
            "`max_prepared_transactions: 1` is less than what is in use: 2 transactions are prepared"
        );
        assert!(asks("max_prepared_transactions", "2").is_empty());
    }

    #[test]
    fn no_server_is_told_from_one_that_uses_nothing() {
        assert_eq!(InUse::parse("psql: error\n"), None);
        assert_eq!(InUse::parse("counts\t0\t0\t0\t0\n"), Some(InUse::default()));
    }
}
