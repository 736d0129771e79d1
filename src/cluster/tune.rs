//! The settings that fit each host and the cluster as a whole, with the memory budget that proves it.
//!
//! The hardware is read from the facts of each host (`setup` before it, or `gather_facts`), already reduced to cgroup
//! limits. What must be equal on every host is decided once for the cluster: the five settings that a standby may not
//! have lower than its primary, slots, and senders. Memory is decided for each host, in the role of a primary.
//!
//! A standby never gets less of the five than its control file records, or it would not start. Lowering one of them
//! therefore takes two passes: `postgresql_tuned.again` is true on a standby that has to be tuned once more after the
//! rollout. Nothing is written here: `postgresql_set` takes `settings` and `reasons`.
//!
//! Where a measurement of the disk is recorded beside the file (`50-ishprov.disk`, as `ishprov tune --probe-disk` leaves
//! it), it decides what the disk is.
//!
//! Sets `postgresql_tuned`: `settings` (name to text), `reasons`, `takes` (`reload` or `restart`), `kernel` (a list of
//! `{place, name, value, why}`), `budget`, `budget_text`, `active`, `header` (for `postgresql_set`), `way_out`, `shared_memory_bytes`, `again`, `shared` (what is said of other clusters on the host). A set
//! that cannot fit is refused with its arithmetic and the ways out.
//!
//! EXAMPLES
//! - name: What fits
//!   postgresql_tune: {version: 15, workload: web, max_connections: 300, disk: ssd}

pub mod disk;
pub mod in_use;

use super::neighbours;
use super::overriding::{self, Overriding};
use super::server::{Data, FIVE, Server};
use super::{AnyProcedure, Member, Round};
use crate::diag::Fault;
use crate::modules::{Args, Kind, Nature, Param, Spec, instance, setting_text};
use crate::shell::{Ask, quote};
use crate::tuner::{
    Bytes, Capabilities, ClusterNeeds, Disk, Floor, Given, Hardware, HugePages, InUse, Input, Part, Standing,
    Takes, Tuning, Wishes, Workload, fitting, tune,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The procedure `postgresql_tune`.
pub struct Tune;

static SPEC: Spec = Spec {
    name: "postgresql_tune",
    aliases: &[],
    summary: "Settings that fit each host and the cluster, with their memory budget",
    source: include_str!("tune.rs"),
    nature: Nature::State,
    free_form: None,
    open: false,
    params: &[
        instance::VERSION,
        instance::CLUSTER,
        instance::DATA_DIRECTORY,
        Param::new("workload", Kind::Choice(&["web", "oltp", "dw", "mixed", "desktop"]), "Kind of work")
            .default("mixed"),
        Param::new("max_connections", Kind::Int, "Connections that the server takes").default("by workload"),
        Param::new("active", Kind::Int, "Connections that work at once: what the pools in front can open")
            .default("all of them"),
        Param::new("memory", Kind::Str, "RAM that this cluster is planned with, `4GB`")
            .default("all, or a part of it beside other clusters of the host"),
        Param::new("disk", Kind::Choice(&["nvme", "ssd", "hdd", "san", "unknown"]), "Kind of disk")
            .default("what the kernel says, where that can be believed"),
        Param::new("huge_pages", Kind::Bool, "The server is known to get huge pages")
            .default("whether the host's own pool is large enough"),
        Param::new("preload", Kind::List, "`shared_preload_libraries`"),
        Param::new("max_prepared_transactions", Kind::Int, "Two-phase commits at once").default("0"),
        Param::new("extension_workers", Kind::Int, "Background workers of extensions").default("0"),
        Param::new("logical_slots", Kind::Int, "Logical slots; more than 0 makes `wal_level` logical")
            .default("0"),
        Param::new("extra_wal_senders", Kind::Int, "Senders beyond standbys and base backups").default("0"),
        Param::new("settings", Kind::Dict, "Settings that are decided already, by name"),
        Param::new("file", Kind::Path, "The file that holds the settings in force")
            .default("/etc/postgresql/VERSION/CLUSTER/conf.d/50-ishprov.conf"),
        Param::new(
            "members",
            Kind::List,
            "Hosts of the cluster: while one is not in the play, what all need is not lowered below what is in force",
        )
        .default("the hosts of the play"),
        Param::new("settled", Kind::Bool, "Wait, for a minute, until no standby has to be tuned once more")
            .default("false"),
    ],
};

/// Seconds that `settled` waits for standbys to replay what their primary changed.
const SETTLING: u64 = 60;

impl AnyProcedure for Tune {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn facts(&self) -> &'static [&'static str] {
        &["postgresql_tuned"]
    }

    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault> {
        Ok(vec![
            Server::ask(args)?,
            Ask::content(file(args)?),
            Ask::content(disk_file(&file(args)?)),
            disk_ask(args)?,
            in_use::ask(args)?,
        ])
    }

    fn next(&self, members: &[Member], _round: usize, seconds: u64) -> Result<Round, Fault> {
        let decided = decide(members)?;
        let settled = members.first().is_some_and(|member| member.args.bool("settled") == Some(true));
        if let Some(host) = decided.iter().find(|decision| settled && decision.again)
            && seconds < SETTLING
        {
            let waiting_for = format!("{} to replay the primary's change", host.host);
            return Ok(Round { waiting_for: Some(waiting_for), ..Round::default() });
        }
        let results = decided.iter().map(|decision| (decision.host.clone(), decision.result())).collect();
        let notes = decided.first().map(|decision| decision.held.clone()).unwrap_or_default();
        Ok(Round { results, notes, ..Round::default() })
    }
}

/// What was decided for one host.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The host's name in the inventory.
    pub host: String,
    /// What it was decided from.
    pub input: Input,
    /// What the cluster needs, raised to what this host's control file records.
    pub needs: ClusterNeeds,
    /// The decision.
    pub tuning: Tuning,
    /// Settings that the site decides itself, by name; they win.
    pub overrides: Vec<(String, String)>,
    /// A standby that has to be tuned once more after the rollout: something is to be lowered.
    pub again: bool,
    /// Its server, as found.
    pub server: Server,
    /// What people are told of other clusters on the host, which use its RAM too.
    pub shared: Option<String>,
    /// What is not as it was computed or asked for, for people: not lowered because it is in use or because hosts are missing
    /// that may need it, or lowered beneath who uses it.
    pub held: Vec<String>,
}

/// Decides for all hosts of a cluster together.
///
/// # Errors
/// What cannot be read, a set that does not fit into a host, overrides that no cluster can have.
pub fn decide(members: &[Member]) -> Result<Vec<Decision>, Fault> {
    let mut hosts = Vec::new();
    for member in members {
        let named = |fault: Fault| Fault { message: format!("{}: {}", member.host, fault.message), ..fault };
        hosts.push(Tuned::read(member).map_err(named)?);
    }
    // Logical slots that are there keep a server from starting with less than `wal_level` logical.
    let logical = hosts
        .iter()
        .filter(|host| host.seen.is_none())
        .filter_map(|host| host.server.live.as_ref())
        .map(|live| live.logical_slots)
        .max();
    for host in &mut hosts {
        let slots = &mut host.input.wishes.logical_slots;
        *slots = (*slots).max(logical.unwrap_or(0));
    }
    let usual = hosts.iter().map(|host| host.input.max_connections).max().unwrap_or(0);
    let asked = hosts.iter().any(|host| host.asked.contains("max_connections"));
    let least = hosts.iter().filter_map(|host| host.seen.as_ref()).map(InUse::least_connections).max();
    let (mut decided, note) = fitting(usual, asked, least.unwrap_or(0), |connections| {
        let mut hosts = hosts.clone();
        if connections != usual {
            hosts.iter_mut().for_each(|host| host.input.max_connections = connections);
        }
        together(members, hosts)
    })?;
    decided.iter_mut().for_each(|decision| decision.held.extend(note.clone()));
    Ok(decided)
}

/// Decides for hosts with their numbers of connections settled.
fn together(members: &[Member], hosts: Vec<Tuned>) -> Result<Vec<Decision>, Fault> {
    let inputs: Vec<_> = hosts.iter().map(|host| &host.input).collect();
    let mut goal = ClusterNeeds::of(inputs.iter().copied(), &[]);
    let mut held = Vec::new();
    for host in &hosts {
        let Some(seen) = &host.seen else { continue };
        let (keeping, kept) = goal.keeping(seen, &host.asked);
        goal = keeping;
        held.extend(kept.iter().map(ToString::to_string));
        held.extend(seen.crowded(goal.max_connections));
    }
    // What files with the last word give one server all must have.
    goal = hosts.iter().fold(goal, |goal, host| goal.at_least(&host.said_last));
    let known = members.iter().map(|member| member.args.list("members").len()).max().unwrap_or(0);
    if known > members.len() {
        // Nobody knows what the others would need: what is in force was decided when they were there.
        let in_force = hosts.iter().map(|host| host.in_force);
        let alone = goal.with_hosts(u32::try_from(known).unwrap_or(u32::MAX));
        goal = in_force.fold(alone, |goal, floor| goal.at_least(&floor));
        let absent = known - members.len();
        let kept = alone.five().into_iter().zip(goal.five()).filter(|((_, wanted), (_, kept))| kept > wanted);
        let missing = kept
            .map(|((name, wanted), (_, kept))| {
                format!("`{name}` stays {kept}, not {wanted}: {absent} of {known} hosts are not in this run and may need it")
            })
            .collect::<Vec<_>>();
        held.extend(missing);
    }
    held.extend(hosts.iter().flat_map(|host| host.libraries.iter().cloned()));
    held.sort();
    held.dedup();
    let mut decided = Vec::new();
    for (member, host) in members.iter().zip(hosts) {
        let needs = host.floor.iter().fold(goal, |needs, floor| needs.at_least(floor));
        let host = host.with_huge_pages(&needs);
        let tuning = tune(&host.input, &needs).map_err(|refusal| {
            let fault = Fault::from(refusal);
            // RAM and processors are facts, not parameters.
            let param = fault.param.filter(|name| SPEC.param(name).is_some());
            Fault { message: format!("{}: {}", member.host, fault.message), param, ..fault }
        })?;
        host.overrides_can_be()?;
        decided.push(Decision {
            host: member.host.clone(),
            tuning,
            again: needs != goal,
            needs,
            input: host.input,
            overrides: host.overrides,
            server: host.server,
            shared: host.shared,
            held: held.clone(),
        });
    }
    equal_five(&decided)?;
    Ok(decided)
}

/// One host, ready to be tuned.
#[derive(Clone)]
struct Tuned {
    input: Input,
    /// What its server has in force and in use, where one runs.
    seen: Option<InUse>,
    /// Settings that somebody decides by name, and may lower.
    asked: BTreeSet<String>,
    /// Preloaded libraries that are kept, for people.
    libraries: Vec<String>,
    /// Of a standby that is there.
    floor: Option<Floor>,
    overrides: Vec<(String, String)>,
    server: Server,
    /// What its configuration file holds of that which all hosts of a cluster have alike.
    in_force: Floor,
    /// What files that are read after ours say of that.
    said_last: Floor,
    /// Bytes of huge pages that this host itself has reserved; `None` where the site says what to count on.
    pool: Option<Bytes>,
    /// What people are told of other clusters on the host.
    shared: Option<String>,
}

impl Tuned {
    fn read(member: &Member) -> Result<Self, Fault> {
        let args = &member.args;
        let facts = args.context("ansible_facts").unwrap_or(&Value::Null);
        let server = Server::read(args, &member.answers)?;
        let version = instance::Instance::decode(args)?.version;
        let workload: Workload = args
            .str("workload")
            .map_or(Ok(Workload::Mixed), |text| text.parse())
            .map_err(|invalid| Fault::param("workload", format!("{invalid}")))?;
        let standing = member.answers.text(&Ask::content(file(args)?))?.unwrap_or_default();
        let recorded = member.answers.text(&Ask::content(disk_file(&file(args)?)))?;
        let recorded = recorded.as_deref().and_then(disk::recorded);
        let extra = member.answers.output(&disk_ask(args)?)?.text();
        let lines = instance::Lines::of(&extra);
        let bytes = |name: &str| lines.get(name).and_then(|text| text.parse().ok()).map(Bytes);
        let is_standby = server.standby_signal || server.live.as_ref().is_some_and(|live| live.recovery);
        let floor = match (&server.data, is_standby) {
            (Data::Cluster(_), true) => Some(floor_of(&server)?),
            _ => None,
        };
        let mut overrides = Vec::new();
        for (name, value) in args.dict("settings").into_iter().flatten().filter(|(_, value)| !value.is_null())
        {
            if name == "max_connections" {
                return Err(Fault::param(
                    "settings",
                    "`max_connections` is a parameter of its own: the budget hangs on it",
                )
                .hint(format!("max_connections: {value}")));
            }
            overrides.push((name.to_ascii_lowercase(), setting_text(name, value)?));
        }
        let mut hardware = hardware(args, facts, bytes("wal_size"), bytes("wal_free"), recorded)?;
        let mut shared = None;
        match args.str("memory") {
            Some(text) => {
                let part: Bytes =
                    text.parse().map_err(|invalid| Fault::param("memory", format!("{invalid}")))?;
                if part > hardware.ram {
                    return Err(Fault::param("memory", format!("`{text}` is more than the host has"))
                        .note(format!("it has {}", hardware.ram.human())));
                }
                hardware.ram = part;
            }
            None => {
                let near = neighbours::read(lines.all("near"));
                (hardware.ram, shared) = neighbours::share(hardware.ram, &near);
            }
        }
        let seen = in_use::read(args, &member.answers)?;
        if let Some((name, why)) = seen.iter().flat_map(|seen| seen.forbids(&overrides)).next() {
            return Err(Fault::param("settings", why)
                .certain()
                .hint(format!("leave `{name}` as it is, or end what uses it first")));
        }
        let mut asked: BTreeSet<String> = overrides.iter().map(|(name, _)| name.clone()).collect();
        asked.extend(args.int("max_connections").map(|_| "max_connections".to_owned()));
        let mut preload = args.list("preload");
        let mut libraries = Vec::new();
        // Of a list that nobody gave there is nothing to keep: the parameter is left alone.
        if !preload.is_empty() && !asked.contains("shared_preload_libraries") {
            for library in seen.iter().flat_map(|seen| &seen.libraries) {
                if !preload.contains(library) {
                    libraries.push(format!(
                        "`{library}` stays preloaded: its extension exists; to drop it, drop the extension first"
                    ));
                    preload.push(library.clone());
                }
            }
        }
        let given = Given::of(&overrides, version);
        let usual = workload
            .connections()
            .max(seen.iter().filter_map(|seen| seen.number("max_connections")).max().unwrap_or(0));
        let input = Input {
            given: seen.as_ref().map_or(given, |seen| seen.given(given)),
            hardware,
            workload,
            max_connections: count(args, "max_connections")?.unwrap_or(usual),
            active: count(args, "active")?,
            pg_major: version,
            capabilities: Capabilities {
                // Debian builds with both since they exist; the program says otherwise where it is there.
                lz4: lines.get("lz4") != Some("no"),
                zstd: lines.get("zstd") != Some("no"),
                io_uring: false,
            },
            wishes: Wishes {
                max_prepared_transactions: count(args, "max_prepared_transactions")?.unwrap_or(0),
                max_locks_per_transaction: None,
                extension_workers: count(args, "extension_workers")?.unwrap_or(0),
                logical_slots: count(args, "logical_slots")?.unwrap_or(0),
                track_commit_timestamp: false,
                extra_wal_senders: count(args, "extra_wal_senders")?.unwrap_or(0),
            },
            preload,
            standing: Standing {
                shared_buffers: in_force(&standing, "shared_buffers"),
                max_slot_wal_keep_size: in_force(&standing, "max_slot_wal_keep_size"),
            },
        };
        let pool = bytes("huge_pages").filter(|_| args.bool("huge_pages").is_none());
        let in_force = shared_in_force(&standing);
        let last: String = overriding::read(lines.all("over"))
            .iter()
            .map(|Overriding { name, value, .. }| format!("{name} = {value}\n"))
            .collect();
        let said_last = shared_in_force(&last);
        Ok(Self {
            input,
            seen,
            asked,
            libraries,
            floor,
            overrides,
            server,
            in_force,
            said_last,
            pool,
            shared,
        })
    }

    /// Counts on huge pages where those that are reserved hold all of the shared memory.
    fn with_huge_pages(mut self, needs: &ClusterNeeds) -> Self {
        if let Some(pool) = self.pool
            && tune(&self.input, needs).is_ok_and(|tuning| tuning.budget.size(Part::Shared) <= pool)
        {
            self.input.hardware.huge_pages = HugePages::Granted;
        }
        self
    }

    /// A standby may not have less of the five than its control file records.
    fn overrides_can_be(&self) -> Result<(), Fault> {
        for (name, value) in &self.overrides {
            let (Some((_, label)), Ok(number)) =
                (FIVE.iter().find(|(five, _)| five == name), value.parse::<u64>())
            else {
                continue;
            };
            let floor = self.floor.as_ref().map_or(0, |floor| match *label {
                "max_worker_processes setting" => floor.max_worker_processes.into(),
                "max_wal_senders setting" => floor.max_wal_senders.into(),
                "max_prepared_xacts setting" => floor.max_prepared_transactions.into(),
                _ => floor.max_locks_per_transaction.into(),
            });
            if number < floor {
                let message = format!(
                    "`{name}: {value}` is less than the {floor} that the control file of a standby records"
                );
                return Err(Fault::param("settings", message)
                    .hint("`ishprov run` with it in the variables lowers it: the primary first, standbys once they have replayed that"));
            }
        }
        Ok(())
    }
}

impl Decision {
    fn result(&self) -> Map<String, Value> {
        let tuning = &self.tuning;
        let (mut settings, mut reasons, mut takes) = (Map::new(), Map::new(), Map::new());
        for setting in &tuning.settings {
            let word = if setting.takes == Takes::Restart { "restart" } else { "reload" };
            settings.insert(setting.name.to_owned(), json!(setting.value.to_string()));
            reasons.insert(setting.name.to_owned(), json!(setting.why));
            takes.insert(setting.name.to_owned(), json!(word));
        }
        for (name, value) in &self.overrides {
            settings.insert(name.clone(), json!(value));
            reasons.insert(name.clone(), json!("set by the site"));
        }
        let tuned = json!({
            "settings": settings,
            "reasons": reasons,
            "takes": takes,
            "kernel": tuning.kernel,
            "budget": tuning.budget,
            "budget_text": tuning.budget.bar(),
            "active": tuning.active,
            "header": Purpose::of(&self.input).header(),
            "way_out": tuning.way_out,
            "shared_memory_bytes": tuning.budget.size(Part::Shared).0,
            "again": self.again,
            "shared": self.shared,
        });
        Map::from_iter([
            ("msg".to_owned(), json!(tuning.budget.bar())),
            ("tuned".to_owned(), tuned.clone()),
            ("ansible_facts".to_owned(), json!({"postgresql_tuned": tuned})),
        ])
    }

    fn value(&self, name: &str) -> Option<String> {
        let set = self.overrides.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        set.or_else(|| Some(self.tuning.get(name)?.value.to_string()))
    }
}

/// What settings were computed for, as it stands at the top of their file: later runs that are not told keep to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose {
    /// The kind of work.
    pub workload: Workload,
    /// `max_connections` that were asked for.
    pub max_connections: u32,
    /// How many of them are active at once.
    pub active: u32,
}

impl Purpose {
    /// Of a host.
    pub fn of(input: &Input) -> Self {
        Self {
            workload: input.workload,
            max_connections: input.max_connections,
            active: input.active.unwrap_or(input.max_connections),
        }
    }

    /// The comment at the top of the file.
    pub fn header(&self) -> String {
        format!(
            "Written by ishprov for {}, {} connections, {} of them active: changes by hand are overwritten.\n\
             A file of a later name in this folder overrides it; so does ALTER SYSTEM.",
            self.workload, self.max_connections, self.active
        )
    }

    /// Reads a file that begins with [`Self::header`].
    pub fn read(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("# Written by ishprov for ")?;
        let mut parts = line.split(": changes").next()?.split(", ");
        let workload = parts.next()?.parse().ok()?;
        let max_connections = parts.next()?.strip_suffix(" connections")?.parse().ok()?;
        let active = parts.next()?.strip_suffix(" of them active")?.parse().ok()?;
        Some(Self { workload, max_connections, active })
    }
}

/// An override may not make the five differ between hosts.
fn equal_five(decided: &[Decision]) -> Result<(), Fault> {
    let Some((one, rest)) = decided.split_first() else { return Ok(()) };
    let by_site = |decision: &Decision, name: &str| decision.overrides.iter().any(|(known, _)| known == name);
    for (name, _) in FIVE {
        for other in rest {
            let overridden = by_site(one, name) || by_site(other, name);
            if overridden && one.value(name) != other.value(name) {
                let message = format!("`{name}` differs between {} and {}", one.host, other.host);
                return Err(Fault::param("settings", message)
                    .hint("a standby may not have less of it than its primary: set it for all hosts alike"));
            }
        }
    }
    Ok(())
}

/// The file that holds the settings.
///
/// # Errors
/// Arguments that name no possible cluster.
pub fn file(args: &Args) -> Result<String, Fault> {
    let instance = instance::Instance::decode(args)?;
    Ok(args.str("file").unwrap_or_else(|| format!("{}/conf.d/50-ishprov.conf", instance.config_directory())))
}

/// The record of what the disk is, beside the file that holds the settings.
pub fn disk_file(file: &str) -> String {
    format!("{}.disk", file.strip_suffix(".conf").unwrap_or(file))
}

/// The file system of pg_wal, or of the first folder above that exists; and what the program was built with.
fn disk_ask(args: &Args) -> Result<Ask, Fault> {
    let instance = instance::Instance::decode(args)?;
    Ok(Ask::sh(format!(
        "{}{}d={}/pg_wal\nwhile [ ! -d \"$d\" ]; do d=${{d%/*}}; [ -n \"$d\" ] || d=/; done\n\
         set -- $(df -P -B 1 \"$d\" | tail -n 1)\nu=0\n\
         case $d in */pg_wal) u=$(du -s -B 1 \"$d/.\" | cut -f 1) ;; esac\n\
         printf 'wal_size\\t%s\\nwal_free\\t%s\\n' \"$2\" \"$(($4 + u))\"\n\
         # A pool that can only be read belongs to the machine around a container; a server that runs without it has no part in it.\n\
         i={}/postmaster.pid; m=; [ ! -s \"$i\" ] || m=$(grep -m 1 -o anon_hugepage \"/proc/$(head -n 1 \"$i\")/maps\" 2>/dev/null)\n\
         if [ -w /proc/sys/vm/nr_hugepages ] && {{ [ ! -s \"$i\" ] || [ -n \"$m\" ]; }}; then read -r n </proc/sys/vm/nr_hugepages; \
         k=$(sed -n 's/^Hugepagesize: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo); printf 'huge_pages\\t%s\\n' \"$((n * ${{k:-0}} * 1024))\"; fi\n\
         p={}\n[ -x \"$p\" ] || exit 0\nl=$(ldd \"$p\" 2>/dev/null) || exit 0\n\
         case $l in *liblz4*) ;; *) printf 'lz4\\tno\\n' ;; esac\ncase $l in *libzstd*) ;; *) printf 'zstd\\tno\\n' ;; esac\n",
        overriding::script(&instance),
        neighbours::script(&instance),
        quote(&instance.data_directory),
        quote(&instance.data_directory),
        quote(&instance.program("postgres")),
    )))
}

fn floor_of(server: &Server) -> Result<Floor, Fault> {
    let text: String = server.control.iter().map(|(label, value)| format!("{label}: {value}\n")).collect();
    Floor::parse(&text)
}

fn count(args: &Args, name: &str) -> Result<Option<u32>, Fault> {
    args.int(name)
        .map(|number| {
            u32::try_from(number)
                .map_err(|_| Fault::param(name, format!("`{name}: {number}` is out of range")))
        })
        .transpose()
}

/// What a file in force holds of that which all hosts of a cluster have alike.
fn shared_in_force(text: &str) -> Floor {
    let number = |name: &str| word_in_force(text, name).and_then(|word| word.parse().ok()).unwrap_or(0);
    Floor {
        max_connections: number("max_connections"),
        max_worker_processes: number("max_worker_processes"),
        max_wal_senders: number("max_wal_senders"),
        max_prepared_transactions: number("max_prepared_transactions"),
        max_locks_per_transaction: number("max_locks_per_transaction"),
        logical: word_in_force(text, "wal_level") == Some("logical"),
        track_commit_timestamp: word_in_force(text, "track_commit_timestamp") == Some("on"),
    }
}

fn word_in_force<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
    Some(line.trim().trim_matches('\''))
}

/// A size of the file that is in force.
fn in_force(text: &str, name: &str) -> Option<Bytes> {
    word_in_force(text, name)?.parse().ok()
}

fn hardware(
    args: &Args,
    facts: &Value,
    wal_size: Option<Bytes>,
    wal_free: Option<Bytes>,
    recorded: Option<Disk>,
) -> Result<Hardware, Fault> {
    let number = |path: &str| facts.pointer(path).and_then(Value::as_u64);
    let missing = || {
        Fault::task("the facts of the host are missing")
            .hint("`gather_facts: true` in the play, or a `setup` task before this one")
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let ram = number("/ishprov/memory_bytes").ok_or_else(missing)?;
    let cpus = number("/ishprov/cpus").ok_or_else(missing)?;
    let cores = number("/processor_cores").unwrap_or(0) * number("/processor_count").unwrap_or(1);
    let huge = args.bool("huge_pages").unwrap_or(false);
    // An impossible reading of a file system that changes meanwhile is no reading.
    let wal_free = wal_free.map(|free| wal_size.map_or(free, |size| free.min(size)));
    Ok(Hardware {
        ram: Bytes(ram),
        cpus: small(cpus),
        cores: small(cores),
        swap: Bytes(number("/swaptotal_mb").unwrap_or(0) << 20),
        disk: kind_of_disk(args, facts, recorded)?,
        wal_fs_size: wal_size,
        wal_fs_free: wal_free,
        huge_pages: if huge { HugePages::Granted } else { HugePages::Unproven },
        numa_nodes: 1,
        committed: None,
    })
}

fn kind_of_disk(args: &Args, facts: &Value, recorded: Option<Disk>) -> Result<Disk, Fault> {
    if let Some(word) = args.str("disk") {
        let kind = word.parse().map_err(|invalid| Fault::param("disk", format!("{invalid}")))?;
        return Ok(Disk { kind, evidence: "said by the site".to_owned() });
    }
    Ok(recorded.unwrap_or_else(|| disk::by_flag(told(facts))))
}

/// What the facts of a host say of the device below its data directory.
pub fn told(facts: &Value) -> disk::Told<'_> {
    let data = facts.pointer("/ishprov/data_directory");
    let at = |name: &str| data.and_then(|data| data.get(name));
    disk::Told {
        device: at("device").and_then(Value::as_str),
        nvme: at("nvme").and_then(Value::as_bool),
        rotational: at("rotational").and_then(Value::as_bool),
        guest: facts.pointer("/virtualization_role").and_then(Value::as_str) == Some("guest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::{Answer, FileState, Output};

    const GB: u64 = 1 << 30;

    fn member(host: &str, gb: u64, given: Value, server: &str, standing: &str) -> Member {
        let facts = json!({"ishprov": {"memory_bytes": gb * GB, "cpus": (gb / 4).max(1)}, "swaptotal_mb": 0});
        let mut params = json!({"version": 15, "workload": "web", "max_connections": 300, "disk": "ssd"});
        for (name, value) in given.as_object().expect("a mapping") {
            params[name] = value.clone();
        }
        let args = Args::bind(&SPEC, params.as_object().expect("a mapping")).expect("binds");
        let args = args.with_context(Map::from_iter([("ansible_facts".to_owned(), facts)]));
        let mut answers = crate::shell::Answers::new();
        let said = format!("{server}end\t1\n");
        answers.insert(Server::ask(&args).expect("asks"), Answer::Output(Output::ok(said)));
        let file_state = FileState { content: Some(standing.as_bytes().to_vec()), ..FileState::default() };
        answers.insert(Ask::content(file(&args).expect("a path")), Answer::File(file_state));
        let record = Ask::content(disk_file(&file(&args).expect("a path")));
        answers.insert(record, Answer::File(FileState::default()));
        let disk = "wal_size\t107374182400\nwal_free\t90000000000\n";
        answers.insert(disk_ask(&args).expect("asks"), Answer::Output(Output::ok(disk)));
        answers.insert(in_use::ask(&args).expect("asks"), Answer::Output(Output::ok("")));
        Member { host: host.to_owned(), args, answers }
    }

    /// The same host, whose server said this of itself.
    fn saying(mut member: Member, said: &str) -> Member {
        let ask = in_use::ask(&member.args).expect("asks");
        member.answers.insert(ask, Answer::Output(Output::ok(said.to_owned())));
        member
    }

    #[test]
    fn nothing_that_is_in_use_is_lowered_unless_it_is_named() {
        let said = "in_force\twal_level\tlogical\t\nin_force\tmax_locks_per_transaction\t512\t\n\
                    in_force\tmax_prepared_transactions\t50\t\nin_force\thash_mem_multiplier\t8\t\n\
                    counts\t61\t0\t1\t0\nlogical_slot\tcdc\nlibrary\ttimescaledb\n";
        let preload = json!({"preload": ["pg_stat_statements"]});
        let one = tuned(&[saying(member("pg1", 8, preload.clone(), "", ""), said)]);
        let settings = &one[0]["settings"];
        for (name, kept) in [
            ("wal_level", "logical"),
            ("max_locks_per_transaction", "512"),
            ("max_prepared_transactions", "50"),
            ("shared_preload_libraries", "pg_stat_statements,timescaledb"),
        ] {
            assert_eq!(
                settings[name].as_str().map(|text| text.replace(' ', "")).as_deref(),
                Some(kept),
                "{name}"
            );
        }
        let plain = tuned(&[member("pg1", 8, preload, "", "")]);
        let megabytes = |one: &Value| {
            let text = one["settings"]["work_mem"].as_str().expect("a size").to_owned();
            text.parse::<Bytes>().expect("a size")
        };
        assert!(megabytes(&one[0]) < megabytes(&plain[0]), "a multiplier of 8 leaves less for each");
        let named = json!({"settings": {"max_locks_per_transaction": 64}});
        let lowered = tuned(&[saying(member("pg1", 8, named, "", ""), said)]);
        assert_eq!(lowered[0]["settings"]["max_locks_per_transaction"], json!("64"));
        let impossible = json!({"settings": {"wal_level": "replica"}});
        let fault =
            Tune.next(&[saying(member("pg1", 8, impossible, "", ""), said)], 0, 0).expect_err("refused");
        assert!(fault.message.contains("(cdc)"), "{fault:?}");
    }

    #[test]
    fn a_number_that_nobody_asked_for_is_the_most_that_fits() {
        let small = member("pg1", 1, json!({"max_connections": null}), "", "");
        let decided = decide(std::slice::from_ref(&small)).expect("fits");
        let most = decided[0].needs.max_connections;
        assert!((20..200).contains(&most), "{most}");
        assert!(decided[0].held[0].contains("the most that fits"), "{:?}", decided[0].held);
        let asked = |connections: u32| member("pg1", 1, json!({"max_connections": connections}), "", "");
        assert!(decide(&[asked(most)]).is_ok() && decide(&[asked(most + 1)]).is_err());
        let crowd = saying(small, &format!("counts\t{}\t0\t0\t0\n", most + 10));
        assert!(decide(&[crowd]).is_err(), "those who are connected are not thrown out");
    }

    #[test]
    fn what_the_site_decides_is_in_the_budget() {
        let given = |work_mem: &str| json!({"max_connections": 40, "settings": {"work_mem": work_mem}});
        let all = tuned(&[member("pg1", 8, given("16MB"), "", "")]);
        let bar = all[0]["budget_text"].as_str().expect("a bar").to_owned();
        assert!(bar.contains("work 1.3"), "{bar}");
        let fault = Tune.next(&[member("pg1", 8, given("256MB"), "", "")], 0, 0).expect_err("refused");
        assert!(fault.message.contains("with work_mem 256MB, do not fit"), "{fault:?}");
        assert!(fault.hints[0].starts_with("leave these to the tuner"), "{fault:?}");
    }

    fn tuned(members: &[Member]) -> Vec<Value> {
        let round = Tune.next(members, 0, 0).expect("fits");
        assert!(round.acts.is_empty() && round.waiting_for.is_none());
        round
            .results
            .into_iter()
            .map(|(_, result)| result["ansible_facts"]["postgresql_tuned"].clone())
            .collect()
    }

    fn control(connections: u32) -> String {
        [
            ("max_connections setting", connections),
            ("max_worker_processes setting", 8),
            ("max_wal_senders setting", 10),
            ("max_prepared_xacts setting", 0),
            ("max_locks_per_xact setting", 64),
        ]
        .iter()
        .map(|(label, value)| format!("control\t{label}: {value}\n"))
        .chain(["version\t15\nstandby_signal\t1\n".to_owned()])
        .collect()
    }

    #[test]
    fn five_are_equal_and_memory_is_each_hosts_own() {
        let hosts = [("pg1", 16), ("pg2", 8), ("pg3", 8)];
        let members: Vec<_> = hosts.iter().map(|(host, gb)| member(host, *gb, json!({}), "", "")).collect();
        let all = tuned(&members);
        for (name, _) in FIVE {
            assert!(all.iter().all(|one| one["settings"][name] == all[0]["settings"][name]), "{name}");
        }
        assert_eq!(all[0]["settings"]["max_connections"], json!("300"));
        assert_eq!(all[0]["settings"]["shared_buffers"], json!("4GB"));
        assert_eq!(all[1]["settings"]["shared_buffers"], json!("2GB"));
        assert_eq!(all[1]["takes"]["shared_buffers"], json!("restart"));
        assert!(all[1]["budget_text"].as_str().is_some_and(|text| text.starts_with("memory   8.0 GB |")));
        assert!(all.iter().all(|one| one["again"] == json!(false)));
    }

    #[test]
    fn a_missing_host_changes_nothing_on_the_others() {
        let args = json!({"members": ["pg1", "pg2", "pg3"]});
        let three: Vec<_> = [("pg1", 16), ("pg2", 8), ("pg3", 64)]
            .iter()
            .map(|(host, gb)| member(host, *gb, args.clone(), "", ""))
            .collect();
        let all = tuned(&three);
        let written = |one: &Value| {
            let settings = one["settings"].as_object().expect("settings");
            settings
                .iter()
                .map(|(name, value)| format!("{name} = {}\n", value.as_str().unwrap_or_default()))
                .collect::<String>()
        };
        let left: Vec<_> = [("pg1", 16), ("pg2", 8)]
            .iter()
            .zip(&all)
            .map(|((host, gb), one)| member(host, *gb, args.clone(), "", &written(one)))
            .collect();
        for (one, before) in tuned(&left).iter().zip(&all) {
            assert_eq!((&one["settings"], &one["reasons"]), (&before["settings"], &before["reasons"]));
        }
        assert!(Tune.next(&three, 0, 0).expect("fits").notes.is_empty());
        // What the missing host may still need is kept, and that is said.
        let fewer = json!({"members": ["pg1", "pg2", "pg3"], "max_connections": 90});
        let left: Vec<_> = left
            .iter()
            .map(|one| member(&one.host, 16, fewer.clone(), "", "max_connections = 320\n"))
            .collect();
        let notes = Tune.next(&left, 0, 0).expect("fits").notes;
        assert_eq!(
            notes,
            ["`max_connections` stays 320, not 90: 1 of 3 hosts are not in this run and may need it"]
        );
    }

    #[test]
    fn what_a_file_with_the_last_word_gives_one_server_all_get() {
        let mut members =
            [member("pg1", 8, json!({}), "version\t15\n", ""), member("pg2", 8, json!({}), "", "")];
        let ask = disk_ask(&members[0].args).expect("asks");
        let said = "wal_size\t107374182400\nwal_free\t90000000000\nover\t99-local.conf\twal_level = logical\n\
                    over\t99-local.conf\tmax_connections = 500\n";
        members[0].answers.insert(ask, Answer::Output(Output::ok(said)));
        for one in tuned(&members) {
            assert_eq!(
                (&one["settings"]["wal_level"], &one["settings"]["max_connections"]),
                (&json!("logical"), &json!("500"))
            );
        }
    }

    #[test]
    fn logical_slots_that_are_there_are_kept_possible() {
        let live = "recovery\tf\nlogical_slots\t2\nversion\t15\n";
        let all = tuned(&[member("pg1", 8, json!({}), live, ""), member("pg2", 8, json!({}), "", "")]);
        assert!(all.iter().all(|one| one["settings"]["wal_level"] == json!("logical")));
    }

    #[test]
    fn a_standby_keeps_what_its_control_file_records_until_the_next_pass() {
        let members = [
            member("pg1", 8, json!({}), "version\t15\n", ""),
            member("pg2", 8, json!({}), &control(400), ""),
        ];
        let all = tuned(&members);
        assert_eq!(all[0]["settings"]["max_connections"], json!("300"));
        assert_eq!((&all[1]["settings"]["max_connections"], &all[1]["again"]), (&json!("400"), &json!(true)));
        let later = [members[0].clone(), member("pg2", 8, json!({}), &control(300), "")];
        assert_eq!(tuned(&later)[1]["again"], json!(false));
    }

    #[test]
    fn a_reading_that_wavers_keeps_the_value_in_force() {
        let in_force = "# a reason\nshared_buffers = 2046MB\n";
        let all = tuned(&[member("pg1", 8, json!({}), "", in_force)]);
        assert_eq!(all[0]["settings"]["shared_buffers"], json!("2046MB"));
        let all = tuned(&[member("pg1", 8, json!({}), "", "shared_buffers = 1GB\n")]);
        assert_eq!(all[0]["settings"]["shared_buffers"], json!("2GB"));
    }

    #[test]
    fn the_purpose_at_the_top_of_a_file_is_read_back() {
        let purpose = Purpose { workload: Workload::Oltp, max_connections: 300, active: 40 };
        let text = format!("# {}\n\nx = 1\n", purpose.header().replace('\n', "\n# "));
        assert_eq!(Purpose::read(&text), Some(purpose));
        assert_eq!(Purpose::read("# Written by ishprov: changes by hand are overwritten.\n"), None);
    }

    #[test]
    fn what_cannot_be_is_refused_by_host() {
        let refused = |members: &[Member]| Tune.next(members, 0, 0).expect_err("refused");
        let fault = refused(&[member("pg1", 1, json!({"max_connections": 5000}), "", "")]);
        assert!(
            fault.message.starts_with("pg1: ") && !fault.notes.is_empty() && !fault.hints.is_empty(),
            "{fault:?}"
        );
        let fault = refused(&[member("pg1", 8, json!({"settings": {"max_connections": 10}}), "", "")]);
        assert_eq!(fault.param.as_deref(), Some("settings"));
        let workers = |number: u32| json!({"settings": {"max_worker_processes": number}});
        let fault = refused(&[member("pg1", 8, workers(20), "", ""), member("pg2", 8, workers(10), "", "")]);
        assert_eq!(fault.message, "`max_worker_processes` differs between pg1 and pg2");
        let fault = refused(&[member("pg1", 8, workers(4), &control(300), "")]);
        assert!(fault.message.contains("less than the 8"), "{fault:?}");
    }

    #[test]
    fn the_site_may_decide_a_setting() {
        let all = tuned(&[member("pg1", 8, json!({"settings": {"work_mem": "3MB", "jit": true}}), "", "")]);
        assert_eq!(all[0]["settings"]["work_mem"], json!("3MB"));
        assert_eq!(
            (&all[0]["settings"]["jit"], &all[0]["reasons"]["jit"]),
            (&json!("on"), &json!("set by the site"))
        );
    }
}
