//! Memory settings of one host, out of a budget that its RAM can pay.
//!
//! Constants are measured ones: a backend that has worked holds about 2.5 MB of its own and 10 MB more once it has compiled a
//! query; one that has touched all of shared_buffers holds 8 bytes of page table per 4 kB of it (a 512th). What the shared
//! segment holds beside shared_buffers is in [`shared_memory`].

use super::budget::{Budget, Line, Part};
use super::cluster::ClusterNeeds;
use super::input::{Given, HugePages, Input, Workload};
use super::parallel;
use super::refusal::Refusal;
use super::setting::{Settings, Value};
use super::units::Bytes;

const MB: Bytes = Bytes::mb(1);
const HUGE_PAGE: Bytes = Bytes::mb(2);
const BACKEND: Bytes = Bytes::kb(2560);
const JIT: Bytes = Bytes::mb(10);
const LOGICAL_DECODING: Bytes = Bytes::mb(64);
/// Below this, sorts and hashes go to disk so early that the server is of no use.
const LEAST_WORK_MEM: Bytes = Bytes::mb(1);

/// The memory of one host, decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memory {
    pub shared_buffers: Bytes,
    pub effective_cache_size: Bytes,
    pub work_mem: Bytes,
    pub maintenance_work_mem: Bytes,
    pub autovacuum_work_mem: Bytes,
    pub autovacuum_workers: u32,
    pub active: u32,
    /// What the rest of the budget leaves for work_mem, all of it.
    pool: Bytes,
    /// How many allocations of work_mem the pool must hold.
    shares: u64,
    pub budget: Budget,
}

/// Decides the memory settings so that everything that may be in use at once fits into the RAM.
pub(super) fn plan(input: &Input, needs: &ClusterNeeds) -> Result<Memory, Refusal> {
    decide(input, needs).map_err(|short| refuse(input, needs, &short))
}

/// The claims that did not fit.
struct Short {
    active: u32,
    lines: Vec<Line>,
    least: Bytes,
}

fn decide(input: &Input, needs: &ClusterNeeds) -> Result<Memory, Short> {
    let ram = input.hardware.ram;
    let connections = u64::from(needs.max_connections);
    let active = input.active.unwrap_or(needs.max_connections).min(needs.max_connections);
    let given = &input.given;
    let autovacuum_workers =
        given.autovacuum_max_workers.unwrap_or(parallel::autovacuum_workers(input.hardware.cpus)).max(1);

    // Everything is first taken at its unrounded size, which grows smoothly with the RAM: rounding down can then only add to
    // what is free, and more RAM never means less work_mem.
    let (wanted, cache) = match input.workload {
        Workload::Desktop => (Bytes(ram.0 / 16), Bytes(ram.0 / 4)),
        _ => (Bytes(ram.0 / 4), Bytes(ram.0 / 4 * 3)),
    };
    let decided = || standing(input, wanted).unwrap_or(whole_pages(wanted));
    let shared_buffers = given.shared_buffers.unwrap_or_else(decided);
    let charged = if given.shared_buffers.is_some() { shared_buffers } else { wanted.max(shared_buffers) };
    let maintenance = given.maintenance_work_mem.unwrap_or_else(|| maintenance(input));
    let autovacuum = Bytes(ram.0 / 64 / u64::from(autovacuum_workers)).min(Bytes::gb(1));
    let autovacuum = given.autovacuum_work_mem.unwrap_or(autovacuum);

    let mut lines = vec![
        Line::new(Part::Os, reserve(input)),
        Line::new(Part::Shared, shared_memory(charged, needs, input.pg_major)),
        Line::new(Part::Backends, BACKEND.times(connections)),
        Line::new(Part::PageTables, page_tables(input, charged, active)),
        Line::new(Part::Autovacuum, autovacuum.times(autovacuum_workers.into())),
        Line::new(Part::Maintenance, maintenance),
    ];
    if uses_jit(input.workload) {
        lines.push(Line::new(Part::Jit, JIT.times(active.into())));
    }
    if needs.logical_slots > 0 {
        lines.push(Line::new(Part::Decoding, LOGICAL_DECODING.times(needs.logical_slots.into())));
    }

    let fixed: Bytes = lines.iter().map(|line| line.size).sum();
    let pool = ram.less(fixed);
    let shares = shares(input, active);
    let size_of = |part| lines.iter().filter(|line| line.part == part).map(|line| line.size).sum::<Bytes>();
    let overhead = size_of(Part::Os) + size_of(Part::Backends) + size_of(Part::Jit);
    let least = match given.work_mem {
        Some(work_mem) => work_mem.times(shares),
        None => LEAST_WORK_MEM.times(shares).max(Bytes(overhead.0 / 4)),
    };
    if fixed + least > ram {
        return Err(Short { active, lines, least });
    }

    let fits = || round(Bytes(pool.0 / shares).min(most_work_mem(input))).max(LEAST_WORK_MEM);
    let work_mem = given.work_mem.unwrap_or_else(fits);
    let shared = shared_memory(shared_buffers, needs, input.pg_major);
    let around = ram.less(overhead);
    let rounded = |size: Bytes, given: Option<Bytes>| given.unwrap_or_else(|| round(size));
    let maintenance = rounded(maintenance, given.maintenance_work_mem);
    let autovacuum = rounded(autovacuum, given.autovacuum_work_mem);
    for line in &mut lines {
        line.size = match line.part {
            Part::Shared => shared,
            Part::PageTables => page_tables(input, shared_buffers, active),
            Part::Autovacuum => autovacuum.times(autovacuum_workers.into()),
            Part::Maintenance => maintenance,
            _ => line.size,
        };
    }
    lines.push(Line::new(Part::WorkMem, work_mem.times(shares)));
    let budget = Budget::new(ram, lines).map_err(|lines| Short { active, lines, least })?;
    Ok(Memory {
        shared_buffers,
        effective_cache_size: round(cache.min(around)).max(shared_buffers),
        work_mem,
        maintenance_work_mem: maintenance,
        autovacuum_work_mem: autovacuum,
        autovacuum_workers,
        active,
        pool,
        shares,
        budget,
    })
}

/// Size of the server's shared segment, estimated; `postgres -C shared_memory_size` tells it exactly from 15 on. Nothing
/// under real servers 15 to 18 at 300 points each (64 MB to 6 GB of shared_buffers, 10 to 6000 connections, up to 550
/// workers and 1000 locks a transaction), and 9 % over at most, where little of it is shared_buffers.
pub fn shared_memory(shared_buffers: Bytes, needs: &ClusterNeeds, pg_major: u32) -> Bytes {
    // Every process may hold locks, whatever it serves; autovacuum has up to ten with their launcher, from 18 on places
    // for more of them at once.
    let autovacuum = if pg_major >= 18 { 18 } else { 11 };
    let processes = [needs.max_connections, needs.max_worker_processes, needs.max_wal_senders, autovacuum];
    let processes: u64 = processes.map(u64::from).iter().sum();
    let prepared = u64::from(needs.max_prepared_transactions);
    let blocks = Bytes(shared_buffers.0 / 10_000 * 10_220);
    let base = Bytes::mb(if pg_major >= 17 { 11 } else { 9 });
    let wal_buffers = Bytes(shared_buffers.0 / 32).min(Bytes::mb(16));
    // From 17 on the transaction caches grow with shared_buffers.
    let caches =
        if pg_major >= 17 { Bytes(shared_buffers.0 / 1024).min(Bytes::mb(5)).times(7) } else { Bytes(0) };
    let locks = Bytes(420).times(u64::from(needs.max_locks_per_transaction)).times(processes + prepared);
    // From 18 on every process, some 38 of the server's own with them, can have 64 reads and writes under way, as long as
    // there is a buffer for each.
    let handles = if pg_major >= 18 { (64 * (processes + 38)).min(shared_buffers.0 / 8192) } else { 0 };
    let (per_process, per_prepared) = (Bytes::kb(25).times(processes), Bytes::kb(24).times(prepared));
    blocks + base + wal_buffers + caches + locks + Bytes(650).times(handles) + per_process + per_prepared
}

/// Whether queries are compiled: it pays for long ones only, and costs every backend that has done it 10 MB.
pub(super) fn uses_jit(workload: Workload) -> bool {
    workload == Workload::Dw
}

pub(super) fn settings(input: &Input, memory: &Memory, out: &mut Settings) {
    const BUDGET: &str = "memory budget";
    let ram = input.hardware.ram.human();
    let desktop = input.workload == Workload::Desktop;
    let kept =
        memory.shared_buffers != whole_pages(Bytes(input.hardware.ram.0 / if desktop { 16 } else { 4 }));
    let why = match (desktop, kept) {
        _ if input.given.shared_buffers.is_some() => "given; the budget is made with it".to_owned(),
        (_, true) => format!(
            "in force now and within 1 % of what {ram} RAM ask for, so it is kept and nothing restarts"
        ),
        (true, _) => format!("a sixteenth of {ram} RAM, since other programs share this machine"),
        (false, _) => format!("a quarter of {ram} RAM"),
    };
    out.set("shared_buffers", Value::Size(memory.shared_buffers), "PostgreSQL docs; pgtune", why);
    let why = if desktop {
        format!(
            "a quarter of {ram} RAM: what shared_buffers and the page cache can hold beside other programs"
        )
    } else {
        format!(
            "what shared_buffers and the page cache can hold together: three quarters of {ram} RAM at most"
        )
    };
    out.set("effective_cache_size", Value::Size(memory.effective_cache_size), "PostgreSQL docs; pgtune", why);
    out.set("work_mem", Value::Size(memory.work_mem), BUDGET, work_mem_reason(input, memory));
    let why = match input.workload {
        Workload::Dw => format!("an eighth of {ram} RAM for index builds and VACUUM by hand, one at a time"),
        Workload::Desktop => format!("a 32nd of {ram} RAM, one at a time"),
        _ => format!(
            "a sixteenth of {ram} RAM, 1 GB at most, for index builds and VACUUM by hand, one at a time"
        ),
    };
    out.set("maintenance_work_mem", Value::Size(memory.maintenance_work_mem), BUDGET, why);
    let workers = memory.autovacuum_workers;
    let why = format!(
        "a 64th of {ram} RAM shared by {workers} workers, so that they never take maintenance_work_mem each"
    );
    out.set("autovacuum_work_mem", Value::Size(memory.autovacuum_work_mem), BUDGET, why);
    let saved = page_tables_if_small(memory.shared_buffers, memory.active);
    let why = match input.hardware.huge_pages {
        HugePages::Granted => format!("reserved for the server: saves {} of page tables", saved.human()),
        HugePages::Unproven => format!(
            "used where the kernel has them reserved; would save {} of page tables with {} active backends",
            saved.human(),
            memory.active
        ),
    };
    out.set("huge_pages", Value::Word("try"), "memory budget; PostgreSQL docs", why);
}

/// What would help most when work_mem is scarce; `None` when it is not.
pub(super) fn way_out(input: &Input, needs: &ClusterNeeds, memory: &Memory) -> Option<String> {
    let pool = pool_size(input);
    if memory.work_mem >= Bytes::mb(16) || memory.active <= pool {
        return None;
    }
    let pooled = decide(&Input { active: Some(pool), ..input.clone() }, needs).ok()?;
    (pooled.work_mem > memory.work_mem).then(|| {
        format!(
            "a pool with {pool} server connections would allow work_mem {} (--active {pool})",
            pooled.work_mem
        )
    })
}

fn work_mem_reason(input: &Input, memory: &Memory) -> String {
    if input.given.work_mem.is_some() {
        return "given; the budget is made with it".to_owned();
    }
    if Bytes(memory.pool.0 / memory.shares) > most_work_mem(input) {
        let part = if input.workload == Workload::Dw { "a sixteenth" } else { "a 64th" };
        return format!(
            "{part} of {} RAM, though the budget would allow more: memory beyond that caches better",
            input.hardware.ram.human()
        );
    }
    let (hash, nodes) = (hash_mem_multiplier(input), nodes(input.workload));
    let workers = parallel::in_use(input, memory.active);
    let mut each = format!("({} active backends + {workers} parallel workers)", memory.active);
    if hash > 1.0 {
        each.push_str(&format!(" × hash_mem_multiplier {hash}"));
    }
    if nodes > 1 {
        each.push_str(&format!(" × {nodes} sorts or hashes at once"));
    }
    format!("what {each} leave of the budget: {} / {}", memory.pool.human(), memory.shares)
}

fn refuse(input: &Input, needs: &ClusterNeeds, short: &Short) -> Refusal {
    let Short { active, lines, least } = short;
    let (active, least) = (*active, *least);
    let ram = input.hardware.ram;
    let connections = needs.max_connections;
    let mut arithmetic: Vec<String> =
        lines.iter().map(|line| format!("{:<28} {:>9}", line.part.name(), line.size.human())).collect();
    arithmetic.push(format!("{:<28} {:>9}", "least for work_mem", least.human()));
    let sum = lines.iter().map(|line| line.size).sum::<Bytes>() + least;
    arithmetic.push(format!("{:<28} {:>9}  of {} RAM", "sum", sum.human(), ram.human()));
    let given = given_words(input);
    let mut refusal = Refusal {
        input: Some(if given.is_empty() { "max_connections" } else { "settings" }),
        message: format!(
            "{connections} connections, {active} of them active,{} do not fit into {} RAM",
            if given.is_empty() { String::new() } else { format!(" with {},", given.join(" and ")) },
            ram.human()
        ),
        arithmetic,
        ways_out: Vec::new(),
    };
    // Each way out is tried before it is offered.
    let fits = |input: &Input, needs: &ClusterNeeds| decide(input, needs).is_ok();
    if !given.is_empty()
        && let Ok(free) = decide(&Input { given: Given::default(), ..input.clone() }, needs)
    {
        refusal.ways_out.push(format!(
            "leave these to the tuner: shared_buffers {} and work_mem {} fit",
            free.shared_buffers, free.work_mem
        ));
    }
    let pool = pool_size(input);
    let pooled = Input { active: Some(pool), ..input.clone() };
    let fewer = |connections: u32, active: Option<u32>| {
        let needs = ClusterNeeds { max_connections: connections, ..*needs };
        fits(&Input { active, max_connections: connections, ..input.clone() }, &needs)
    };
    if active > pool && fits(&pooled, needs) {
        refusal
            .ways_out
            .push(format!("put a pool with {pool} server connections in front (active = {pool})"));
    } else if active > pool && connections > 2 * pool && fewer(2 * pool, Some(pool)) {
        let most = 2 * pool;
        refusal.ways_out.push(format!(
            "put a pool with {pool} server connections in front and lower max_connections to {most} (active = {pool})"
        ));
    }
    let mut huge = input.clone();
    huge.hardware.huge_pages = HugePages::Granted;
    if input.hardware.huge_pages == HugePages::Unproven && fits(&huge, needs) {
        let saved =
            lines.iter().filter(|line| line.part == Part::PageTables).map(|line| line.size).sum::<Bytes>();
        refusal.ways_out.push(format!(
            "reserve huge pages for shared_buffers, which saves {} of page tables",
            saved.human()
        ));
    }
    let most = greatest(*super::input::CONNECTIONS.start(), connections, |c| {
        fewer(c, input.active.map(|a| a.min(c)))
    });
    if let Some(most) = most {
        refusal.ways_out.push(format!("lower max_connections to {most}"));
    }
    let with = |gb: u32| {
        let mut more = input.clone();
        more.hardware.ram = Bytes::gb(gb.into());
        more
    };
    let least_gb = (1..=14)
        .map(|power| 1_u32 << power)
        .find(|gb| Bytes::gb((*gb).into()) > ram && fits(&with(*gb), needs));
    if let Some(gb) = least_gb {
        // The doubling found an upper bound; the last GB that does not fit is just below the answer.
        let short = greatest(1, gb, |gb| !fits(&with(gb), needs)).unwrap_or(0);
        refusal.ways_out.push(format!("give the host {} GB RAM", short + 1));
    }
    refusal
}

/// The settings that others decided, for people.
fn given_words(input: &Input) -> Vec<String> {
    let given = &input.given;
    let sizes = [
        ("shared_buffers", given.shared_buffers),
        ("work_mem", given.work_mem),
        ("maintenance_work_mem", given.maintenance_work_mem),
        ("autovacuum_work_mem", given.autovacuum_work_mem),
    ];
    let mut words: Vec<String> =
        sizes.iter().filter_map(|(name, size)| size.map(|size| format!("{name} {size}"))).collect();
    words.extend(given.autovacuum_max_workers.map(|workers| format!("autovacuum_max_workers {workers}")));
    let more = given.hash_mem_multiplier.filter(|more| *more > 2.0);
    words.extend(more.map(|more| format!("hash_mem_multiplier {more}")));
    words
}

/// The greatest number in `low..high` for which `holds`, given that it holds for all below one that holds.
pub(super) fn greatest(low: u32, high: u32, holds: impl Fn(u32) -> bool) -> Option<u32> {
    if low >= high || !holds(low) {
        return None;
    }
    let (mut yes, mut no) = (low, high);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) { yes = middle } else { no = middle }
    }
    Some(yes)
}

/// A pool that keeps the CPUs busy: ten server connections a CPU, 40 at least.
fn pool_size(input: &Input) -> u32 {
    input.hardware.cpus.saturating_mul(10).max(40)
}

/// The operating system and its page cache; on a desktop half of the RAM belongs to other programs.
fn reserve(input: &Input) -> Bytes {
    let ram = input.hardware.ram;
    let os = ram.percent(6).max(Bytes::mb(192)).min(Bytes::gb(4));
    if input.workload == Workload::Desktop { os.max(ram.percent(50)) } else { os }
}

fn page_tables(input: &Input, shared_buffers: Bytes, active: u32) -> Bytes {
    match input.hardware.huge_pages {
        HugePages::Granted => Bytes(0),
        HugePages::Unproven => page_tables_if_small(shared_buffers, active),
    }
}

fn page_tables_if_small(shared_buffers: Bytes, active: u32) -> Bytes {
    Bytes(shared_buffers.0 / 512).times(active.into())
}

fn maintenance(input: &Input) -> Bytes {
    let ram = input.hardware.ram.0;
    match input.workload {
        // Up to 16, VACUUM cannot use more than 1 GB and index builds seldom gain from more than 2.
        Workload::Dw => Bytes(ram / 8).min(if input.pg_major >= 17 { Bytes::gb(8) } else { Bytes::gb(2) }),
        Workload::Desktop => Bytes(ram / 32).min(Bytes::gb(1)),
        _ => Bytes(ram / 16).min(Bytes::gb(1)),
    }
}

fn most_work_mem(input: &Input) -> Bytes {
    Bytes(input.hardware.ram.0 / if input.workload == Workload::Dw { 16 } else { 64 })
}

fn shares(input: &Input, active: u32) -> u64 {
    let processes = u64::from(active) + u64::from(parallel::in_use(input, active));
    // Rounded up: half an allocation is one that has to fit.
    ((processes * nodes(input.workload)) as f64 * hash_mem_multiplier(input)).ceil() as u64
}

/// The one in force, else the server's default, which is left alone.
fn hash_mem_multiplier(input: &Input) -> f64 {
    let default = if input.pg_major >= 15 { 2.0 } else { 1.0 };
    input.given.hash_mem_multiplier.unwrap_or(default).max(1.0)
}

/// Sorts and hashes that a query holds at once.
fn nodes(workload: Workload) -> u64 {
    match workload {
        Workload::Web | Workload::Oltp | Workload::Desktop => 1,
        Workload::Mixed => 2,
        Workload::Dw => 3,
    }
}

/// The shared_buffers in force, when the wish differs from it by no more than a wavering reading of the RAM (1 %) and one step
/// of rounding explain.
fn standing(input: &Input, wanted: Bytes) -> Option<Bytes> {
    let standing = input.standing.shared_buffers?;
    let step = step(wanted.max(standing));
    let tolerance = Bytes(standing.0 / 90) + step;
    let near = standing.0.abs_diff(wanted.0) < tolerance.0;
    (near && standing.round_down(HUGE_PAGE) == standing).then_some(standing)
}

fn step(size: Bytes) -> Bytes {
    if size >= Bytes::gb(1) { Bytes::mb(64) } else { HUGE_PAGE }
}

/// For shared_buffers: down to a whole huge page below 1 GB and to 64 MB above.
fn whole_pages(size: Bytes) -> Bytes {
    size.round_down(step(size))
}

/// Down to a whole MB below 1 GB and to 64 MB above.
fn round(size: Bytes) -> Bytes {
    size.round_down(if size >= Bytes::gb(1) { Bytes::mb(64) } else { MB })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_segment_is_never_larger_than_its_estimate() {
        // Version; shared_buffers in MB; connections, workers, senders, prepared transactions, locks; what
        // `postgres -C shared_memory_size` of 15.18, 17.10 and 18.4 answered, in MB.
        let points = [
            (15, 380, [2348, 541, 12, 149, 829], 1455),
            (15, 102, [22, 369, 20, 731, 969], 574),
            (15, 374, [20, 147, 20, 0, 256], 423),
            (15, 786, [487, 374, 60, 19, 152], 904),
            (17, 380, [2348, 541, 12, 149, 829], 1456),
            (17, 138, [57, 10, 12, 247, 996], 284),
            (17, 116, [10, 40, 20, 968, 83], 183),
            (18, 528, [19, 306, 20, 37, 998], 739),
            (18, 86, [5564, 57, 12, 180, 64], 375),
            (18, 4642, [697, 9, 60, 530, 64], 4889),
            (18, 5882, [1008, 38, 60, 272, 256], 6273),
        ];
        for point @ (pg_major, shared_buffers, [connections, workers, senders, prepared, locks], measured) in
            points
        {
            let needs = ClusterNeeds {
                max_connections: connections,
                max_worker_processes: workers,
                max_wal_senders: senders,
                max_prepared_transactions: prepared,
                max_locks_per_transaction: locks,
                ..ClusterNeeds::of([], &[])
            };
            let estimate = shared_memory(Bytes::mb(shared_buffers), &needs, pg_major);
            assert!(Bytes::mb(measured) <= estimate, "{point:?}: {}", estimate.human());
            assert!(estimate <= Bytes::mb(measured).percent(109), "{point:?}: {}", estimate.human());
        }
    }
}
