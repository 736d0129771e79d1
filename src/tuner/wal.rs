//! WAL and checkpoints, from the measured filesystem of pg_wal.
//!
//! The budget is a quarter of the filesystem and at most half of what is free. Slots may keep all of it, ordinary WAL half:
//! a dead standby can then never fill the disk.

use super::cluster::ClusterNeeds;
use super::input::{Input, Workload};
use super::refusal::Refusal;
use super::setting::{Settings, Value};
use super::units::{Bytes, Millis};

/// The default of `initdb --wal-segsize`.
const SEGMENT: Bytes = Bytes::mb(16);
/// What is assumed where the filesystem was not measured.
const ASSUMED: Bytes = Bytes::gb(64);

/// Sizes of WAL, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wal {
    pub min: Bytes,
    pub max: Bytes,
    pub keep: Bytes,
    pub slots: Bytes,
    budget: Bytes,
}

pub(super) fn plan(input: &Input, needs: &ClusterNeeds) -> Result<Wal, Refusal> {
    let raw = raw_budget(input);
    let least = SEGMENT.times(8);
    if raw < least {
        let size = input.hardware.wal_fs_size.unwrap_or(ASSUMED);
        let free = input.hardware.wal_fs_free.unwrap_or(size);
        let message = format!(
            "the filesystem of pg_wal ({}, {} free) leaves {} for WAL; {} are the least",
            size.human(),
            free.human(),
            raw.human(),
            least.human()
        );
        return Err(Refusal::input("wal_fs_size", message)
            .way_out("free space on it, or give pg_wal a larger filesystem"));
    }
    // Free space wavers from run to run: coarse steps, and what is in force stays while it is near.
    let budget = input
        .standing
        .max_slot_wal_keep_size
        .filter(|now| {
            *now >= least
                && now.0 <= raw.0 / 10 * 11
                && now.0 >= raw.0 / 5 * 3
                && now.round_down(Bytes::mb(1)) == *now
        })
        .unwrap_or_else(|| coarse(raw));
    let most = match input.workload {
        Workload::Web => Bytes::gb(8),
        Workload::Oltp | Workload::Mixed => Bytes::gb(16),
        Workload::Dw => Bytes::gb(64),
        Workload::Desktop => Bytes::gb(2),
    };
    let megabytes = |size: Bytes| size.round_down(Bytes::mb(1));
    let max = megabytes(Bytes(budget.0 / 2).min(most).max(SEGMENT.times(4)));
    let min = megabytes(Bytes(max.0 / 4).max(SEGMENT.times(2)));
    let keep = if needs.standbys > 0 { megabytes(Bytes(budget.0 / 4).min(Bytes::gb(1))) } else { Bytes(0) };
    Ok(Wal { min, max, keep, slots: budget, budget })
}

pub(super) fn settings(input: &Input, shared_buffers: Bytes, wal: &Wal, out: &mut Settings) {
    const SOURCE: &str = "WAL budget: a quarter of the filesystem, half of what is free";
    // No number that wavers (free space) may stand in a reason: reasons are comments of a file that must not change.
    let amount = wal.budget.human();
    let budget = match input.hardware.wal_fs_size {
        None => format!("{amount} (the filesystem of pg_wal was not measured; {} assumed)", ASSUMED.human()),
        Some(size) => format!("{amount} (at most a quarter of {} and half of what is free)", size.human()),
    };
    out.set(
        "max_wal_size",
        Value::Size(wal.max),
        SOURCE,
        format!("half of the WAL budget of {budget}, capped for this workload"),
    );
    out.set("min_wal_size", Value::Size(wal.min), SOURCE, "a quarter of max_wal_size, kept for reuse");
    let why = format!("slots of standbys that are gone may hold the WAL budget of {budget} and no more");
    out.set("max_slot_wal_keep_size", Value::Size(wal.slots), SOURCE, why);
    let why = if wal.keep == Bytes(0) {
        "no standby to keep WAL for".to_owned()
    } else {
        "for a standby without a slot, within a quarter of the WAL budget".to_owned()
    };
    out.set("wal_keep_size", Value::Size(wal.keep), SOURCE, why);
    let week = Value::Time(Millis(7 * 86_400_000));
    out.set(
        "idle_replication_slot_timeout",
        week,
        "pigsty",
        "a slot that nobody used for a week is given up",
    );

    // The server's own rule for -1, written out so that SHOW returns what the file says.
    let buffers = Bytes(shared_buffers.0 / 32).min(SEGMENT).round_down(Bytes::kb(64)).max(Bytes::kb(64));
    let why = format!("a 32nd of shared_buffers, {SEGMENT} (one segment) at most");
    out.set("wal_buffers", Value::Size(buffers), "PostgreSQL docs", why);

    let timeout = if input.workload == Workload::Desktop { 5 } else { 15 };
    let why = format!("a checkpoint every {timeout} minutes at most often writes fewer full pages");
    out.set("checkpoint_timeout", Value::Time(Millis(timeout * 60_000)), "autobase, pigsty", why);
    let why = "spreads a checkpoint's writes over nearly the whole interval";
    out.set("checkpoint_completion_target", Value::Real(0.9), "PostgreSQL docs", why);
    let (value, why) = match (input.pg_major, input.capabilities.lz4) {
        (..=14, _) => (Value::Bool(true), "full pages compress well; this version knows pglz only"),
        (_, true) => (Value::Word("lz4"), "full pages compress well, and lz4 costs little CPU"),
        (_, false) => {
            (Value::Word("pglz"), "full pages compress well; this server is not known to be built with lz4")
        }
    };
    out.set("wal_compression", value, "pgtune, where the server can", why);
}

fn raw_budget(input: &Input) -> Bytes {
    let size = input.hardware.wal_fs_size.unwrap_or(ASSUMED);
    let half_of_free = input.hardware.wal_fs_free.map_or(Bytes(u64::MAX), |free| Bytes(free.0 / 2));
    Bytes(size.0 / 4).min(half_of_free).min(Bytes::gb(1024))
}

/// Down to 1, 1.25, 1.5 or 1.75 times a power of two.
fn coarse(size: Bytes) -> Bytes {
    let quarter = (1_u64 << (63 - size.0.max(4).leading_zeros())) / 4;
    size.round_down(Bytes(quarter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wal(size: Bytes, free: Bytes, workload: Workload) -> Result<Wal, Refusal> {
        let mut input = Input::new(Bytes::gb(8), 2, 300, workload, 15);
        (input.hardware.wal_fs_size, input.hardware.wal_fs_free) = (Some(size), Some(free));
        let needs = ClusterNeeds::of([&input, &input], &[]);
        plan(&input, &needs)
    }

    #[test]
    fn sizes_follow_the_filesystem() {
        let seed = wal(Bytes::gb(500), Bytes::gb(450), Workload::Oltp).expect("plenty");
        assert_eq!(
            (seed.slots, seed.max, seed.min, seed.keep),
            (Bytes::gb(112), Bytes::gb(16), Bytes::gb(4), Bytes::gb(1))
        );
        let tiny = wal(Bytes::gb(2), Bytes::gb(2), Workload::Dw).expect("just enough");
        assert_eq!(
            (tiny.slots, tiny.max, tiny.min, tiny.keep),
            (Bytes::mb(512), Bytes::mb(256), Bytes::mb(64), Bytes::mb(128))
        );
        let full = wal(Bytes::gb(500), Bytes::mb(100), Workload::Web).expect_err("full disk");
        assert!(full.message.contains("50 MB for WAL; 128 MB are the least"), "{}", full.message);
    }

    #[test]
    fn wavering_free_space_changes_nothing() {
        let mut input = Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15);
        input.hardware.wal_fs_size = Some(Bytes::gb(100));
        input.hardware.wal_fs_free = Some(Bytes::gb(32));
        let needs = ClusterNeeds::of([&input], &[]);
        let first = plan(&input, &needs).expect("fits");
        assert_eq!(first.slots, Bytes::gb(16));
        input.standing.max_slot_wal_keep_size = Some(first.slots);
        input.hardware.wal_fs_free = Some(Bytes::gb(48));
        assert_eq!(plan(&input, &needs).expect("fits"), first, "more room is no reason for a change");
        input.hardware.wal_fs_free = Some(Bytes::gb(31));
        assert_eq!(plan(&input, &needs).expect("fits"), first, "nor is a little less");
        input.hardware.wal_fs_free = Some(Bytes::gb(24));
        assert_eq!(plan(&input, &needs).expect("fits").slots, Bytes::gb(12), "less room is");
    }
}
