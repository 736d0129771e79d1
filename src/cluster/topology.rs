//! Who is primary: the live cluster is asked, the inventory only says what a new cluster should become.
//!
//! Every host of the play is asked for its data directory, its control file and its server. Where a cluster is found,
//! the primary that is found counts, whatever the groups say; a difference is said, and nothing is promoted or
//! demoted. A host whose data are those of an old primary is `stale`, and is left alone until it is rebuilt.
//!
//! Refused: two primaries of one cluster (split brain), data of another cluster, standbys without a primary, and data
//! newer than the primary's.
//!
//! Sets for every host: `postgresql_primary` (a host's name), `postgresql_role` (`primary`, `standby`, `stale` or
//! `absent`), `postgresql_system_identifier`, `postgresql_timeline`, `postgresql_cluster_exists`, and
//! `postgresql_members`, a list of `{host, role, running, timeline}`, and `postgresql_tablespaces`, the folders that the
//! primary's tablespaces lie in. In a new cluster every role is `absent`, and
//! `postgresql_primary` is the host that the inventory names.
//!
//! EXAMPLES
//! - name: Who is primary
//!   postgresql_topology:
//!     version: 15
//!     primary: "{{ groups['primary'] | first }}"
//!     members: "{{ groups['postgresql'] }}"

use super::server::{Data, Server};
use super::{AnyProcedure, Member, Round};
use crate::diag::Fault;
use crate::modules::{Args, Kind, Nature, Param, Spec, instance};
use crate::shell::Ask;
use serde_json::{Map, Value, json};

/// The procedure `postgresql_topology`.
pub struct Topology;

static SPEC: Spec = Spec {
    name: "postgresql_topology",
    aliases: &[],
    summary: "Who is primary and who is standby, by what the hosts say",
    source: include_str!("topology.rs"),
    nature: Nature::State,
    free_form: None,
    open: false,
    params: &[instance::VERSION, instance::CLUSTER, instance::DATA_DIRECTORY, PRIMARY, MEMBERS, REBUILD],
};

/// The parameter `primary`.
pub const PRIMARY: Param =
    Param::new("primary", Kind::Str, "The host that a new cluster's primary shall be, by the inventory")
        .required();
/// The parameter `members`.
pub const MEMBERS: Param = Param::new(
    "members",
    Kind::List,
    "Hosts that belong to the cluster: while one is missing, no new cluster is made and no stopped primary started",
);
/// The parameter `rebuild`.
pub const REBUILD: Param = Param::new(
    "rebuild",
    Kind::List,
    "Hosts whose data are to be given up: whatever they hold, they are `stale`",
);

/// Seconds that a starting server is waited for.
const PATIENCE: u64 = 120;

/// What a host is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes writes, or will when it is started.
    Primary,
    /// Follows the primary.
    Standby,
    /// Holds data of an old primary, or data to be given up.
    Stale,
    /// Holds no data.
    Absent,
}

/// Who is what.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The primary's host: found, or the inventory's in a new cluster.
    pub primary: String,
    /// Role of each member, in their order.
    pub roles: Vec<Role>,
    /// The identifier of the cluster; `None` while there is none.
    pub identifier: Option<String>,
    /// Worth telling people.
    pub notes: Vec<String>,
}

impl AnyProcedure for Topology {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn facts(&self) -> &'static [&'static str] {
        &[
            "postgresql_primary",
            "postgresql_role",
            "postgresql_system_identifier",
            "postgresql_timeline",
            "postgresql_cluster_exists",
            "postgresql_members",
            "postgresql_tablespaces",
        ]
    }

    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault> {
        Ok(vec![Server::ask(args)?])
    }

    fn next(&self, members: &[Member], _round: usize, seconds: u64) -> Result<Round, Fault> {
        let found = read(members)?;
        if let Some(waiting_for) = unsettled(&found, seconds)? {
            return Ok(Round { waiting_for: Some(waiting_for), ..Round::default() });
        }
        let Some(first) = members.first() else { return Ok(Round::default()) };
        let wanted = Wanted::of(&first.args);
        let picture = decide(&found, &wanted)?;
        let list: Vec<_> = found
            .iter()
            .zip(&picture.roles)
            .map(|((host, server), role)| {
                json!({"host": host, "role": role.name(), "running": server.live.is_some(),
                       "timeline": timeline(server)})
            })
            .collect();
        let leader = found.iter().find(|(host, _)| *host == picture.primary);
        let spaces = leader.map(|(_, server)| server.tablespaces.clone()).unwrap_or_default();
        let results = found.iter().zip(&picture.roles).map(|((host, server), role)| {
            let facts = json!({
                "postgresql_primary": picture.primary,
                "postgresql_role": role.name(),
                "postgresql_system_identifier": picture.identifier,
                "postgresql_timeline": timeline(server),
                "postgresql_cluster_exists": picture.identifier.is_some(),
                "postgresql_members": list,
                "postgresql_tablespaces": spaces,
            });
            let msg = match picture.identifier {
                Some(_) => format!("{}, primary is {}", role.name(), picture.primary),
                None => format!("a new cluster, primary will be {}", picture.primary),
            };
            let result = Map::from_iter([
                ("role".to_owned(), json!(role.name())),
                ("primary".to_owned(), json!(picture.primary)),
                ("msg".to_owned(), json!(msg)),
                ("ansible_facts".to_owned(), facts),
            ]);
            (host.clone(), result)
        });
        Ok(Round { results: results.collect(), notes: picture.notes.clone(), ..Round::default() })
    }
}

/// What the arguments say of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The inventory's primary.
    pub primary: String,
    /// Everybody who belongs to it; empty when not told.
    pub members: Vec<String>,
    /// Hosts whose data are given up.
    pub rebuild: Vec<String>,
}

impl Wanted {
    /// Reads `primary`, `members` and `rebuild`.
    pub fn of(args: &Args) -> Self {
        Self {
            primary: args.required("primary"),
            members: args.list("members"),
            rebuild: args.list("rebuild"),
        }
    }
}

impl Picture {
    /// What a host is; `found` is what the picture was made of.
    pub fn role(&self, found: &[(String, Server)], host: &str) -> Role {
        let at = found.iter().position(|(name, _)| name == host);
        at.and_then(|at| self.roles.get(at)).copied().unwrap_or(Role::Absent)
    }
}

impl Wanted {
    /// A member that is not among the hosts found.
    fn missing(&self, found: &[Host]) -> Option<&String> {
        self.members.iter().find(|name| !found.iter().any(|(host, _)| host == *name))
    }
}

impl Role {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Stale => "stale",
            Self::Absent => "absent",
        }
    }
}

/// Every member's server.
pub fn read(members: &[Member]) -> Result<Vec<(String, Server)>, Fault> {
    let one = |member: &Member| {
        let server = Server::read(&member.args, &member.answers)
            .map_err(|fault| Fault { message: format!("{}: {}", member.host, fault.message), ..fault })?;
        Ok((member.host.clone(), server))
    };
    members.iter().map(one).collect()
}

/// A server whose process is there but does not answer yet: what is waited for. A refusal once that takes too long, or
/// when it answers but does not let us in.
pub fn unsettled(found: &[(String, Server)], seconds: u64) -> Result<Option<String>, Fault> {
    let silent = found.iter().find(|(_, server)| server.process && server.live.is_none());
    let Some((host, server)) = silent else { return Ok(None) };
    let passes = [
        "starting up",
        "shutting down",
        "not yet accepting",
        "recovery",
        "No such file",
        "refused",
        "timed out",
    ];
    let passing = server.silence.is_empty() || passes.iter().any(|words| server.silence.contains(words));
    if passing && seconds < PATIENCE {
        return Ok(Some(format!("the server of {host} to answer")));
    }
    let fault = Fault::task(format!("the server of {host} runs, but does not answer by its local socket"));
    let fault = if server.silence.is_empty() { fault } else { fault.note(server.silence.clone()) };
    Err(fault.hint(format!(
        "look at its log on {host}; `local all postgres peer` must stand first in pg_hba.conf"
    )))
}

/// Who is what; a refusal where nobody can say.
pub fn decide(found: &[(String, Server)], wanted: &Wanted) -> Result<Picture, Fault> {
    let given_up = |host: &str| wanted.rebuild.iter().any(|name| name == host);
    for (host, server) in found {
        if let (Data::Foreign(holds), false) = (&server.data, given_up(host)) {
            return Err(Fault::param(
                "data_directory",
                format!("the data directory of {host} is not empty and is no cluster"),
            )
            .note(format!("it holds: {holds}"))
            .hint("move what lies there away by hand, or name another `data_directory`"));
        }
    }
    let clusters: Vec<_> =
        found.iter().filter(|(host, server)| server.holds_cluster() && !given_up(host)).collect();
    if let Some((host, _)) = found
        .iter()
        .find(|(host, server)| given_up(host) && server.live.as_ref().is_some_and(|live| !live.recovery))
    {
        return Err(Fault::param(
            "rebuild",
            format!("{host} is a running primary: its data are not given up"),
        )
        .hint("stop it by hand first, when another host is the primary you want"));
    }
    let Some((_, leader)) = lead(&clusters)? else { return fresh(found, wanted) };
    if let (None, Some(missing)) = (&leader.1.live, wanted.missing(found)) {
        return Err(Fault::param("members", format!("no primary runs, and {missing} is missing"))
            .note(format!(
                "{} would start as primary, but {missing} may have been promoted since it stopped",
                leader.0
            ))
            .hint(format!(
                "bring {missing} back, or take it out of the inventory when it is gone for good"
            )));
    }
    let (primary, identifier) = (leader.0.clone(), leader.1.system_identifier().map(str::to_owned));
    same_cluster(&clusters, leader)?;
    let mut notes = Vec::new();
    if primary != wanted.primary {
        notes.push(format!(
            "{primary} is the primary, though the inventory names {}: followed as found",
            wanted.primary
        ));
    }
    if leader.1.live.is_none() {
        notes.push(format!("the primary {primary} does not run"));
    }
    let mut roles = Vec::new();
    for (host, server) in found {
        let role = match (&server.data, given_up(host)) {
            (Data::Empty, _) => Role::Absent,
            (_, true) => Role::Stale,
            _ if *host == primary => Role::Primary,
            _ if server.live.is_some() || server.standby_signal => Role::Standby,
            _ => Role::Stale,
        };
        if role == Role::Stale {
            notes.push(match given_up(host) {
                true => format!("{host} is to be rebuilt"),
                false => format!(
                    "{host} holds the data of an old primary (timeline {}, the primary's is {}): left alone; rebuild it \
                     with `-e postgresql_rebuild={host}`",
                    server.timeline(),
                    leader.1.timeline()
                ),
            });
        }
        roles.push(role);
    }
    Ok(Picture { primary, roles, identifier, notes })
}

type Host = (String, Server);

/// The primary among the hosts that hold data, if there are any.
fn lead<'a>(clusters: &[&'a Host]) -> Result<Option<(usize, &'a Host)>, Fault> {
    if clusters.is_empty() {
        return Ok(None);
    }
    let running: Vec<_> = clusters
        .iter()
        .copied()
        .filter(|(_, server)| server.live.as_ref().is_some_and(|live| !live.recovery))
        .collect();
    match running[..] {
        [one] => return Ok(Some((0, one))),
        [] => {}
        [one, two, ..] => return Err(split(one, two)),
    }
    // Nobody takes writes: who would, when started?
    let stopped: Vec<_> = clusters
        .iter()
        .copied()
        .filter(|(_, server)| server.live.is_none() && !server.standby_signal)
        .collect();
    let newest = clusters.iter().map(|(_, server)| server.timeline()).max().unwrap_or(0);
    let able: Vec<_> = stopped.iter().copied().filter(|(_, server)| server.timeline() == newest).collect();
    match able[..] {
        [one] => Ok(Some((0, one))),
        [one, two, ..] => Err(Fault::task(format!("{} and {} would both start as primary", one.0, two.0))
            .note(format!("both do not run and have timeline {newest}"))
            .hint("start the one with the newer data by hand, and run again")),
        [] => {
            let mut fault = Fault::task("there is no primary: every host that holds data is a standby");
            for (host, server) in clusters {
                let state = if server.live.is_some() { "runs" } else { "stopped" };
                let kind =
                    if server.live.is_some() || server.standby_signal { "standby" } else { "old primary" };
                fault = fault.note(format!("{host}: {kind}, {state}, timeline {}", server.timeline()));
            }
            Err(fault
                .hint("bring the old primary's host back, when it was only unreachable")
                .hint("or promote the standby with the newest data by hand (`pg_ctlcluster 15 main promote`), and run again"))
        }
    }
}

fn split(one: &Host, two: &Host) -> Fault {
    if one.1.system_identifier() != two.1.system_identifier() {
        return foreign(two, one);
    }
    let mut fault = Fault::task(format!("split brain: {} and {} both run as primary", one.0, two.0));
    for (host, server) in [one, two] {
        let position = server.live.as_ref().and_then(|live| live.position).unwrap_or(0);
        fault = fault.note(format!(
            "{host}: timeline {}, at {:X}/{:X}, {} standbys",
            server.timeline(),
            position >> 32,
            position & 0xffff_ffff,
            server.live.as_ref().map_or(0, |live| live.senders.len())
        ));
    }
    fault
        .hint("nothing was touched. Keep the applications from writing, and decide whose data count")
        .hint("then stop the other one (`systemctl stop postgresql@...`), and rebuild it with `-e postgresql_rebuild=HOST`")
}

/// Every member must hold data of the leader's cluster, and none newer than its.
fn same_cluster(clusters: &[&Host], leader: &Host) -> Result<(), Fault> {
    for other in clusters.iter().filter(|other| other.0 != leader.0) {
        if other.1.system_identifier() != leader.1.system_identifier() {
            return Err(foreign(other, leader));
        }
        if other.1.timeline() > leader.1.timeline() {
            return Err(Fault::task(format!("{} holds newer data than the primary {}", other.0, leader.0))
                .note(format!("timeline {} on {}, {} on {}", other.1.timeline(), other.0, leader.1.timeline(), leader.0))
                .hint(format!("it was promoted at some time: decide whose data count, and rebuild the other one with `-e postgresql_rebuild={}`", other.0)));
        }
    }
    Ok(())
}

fn foreign(other: &Host, leader: &Host) -> Fault {
    let id = |host: &Host| host.1.system_identifier().unwrap_or("unknown").to_owned();
    Fault::task(format!("{} holds the data of another cluster than {}", other.0, leader.0))
        .note(format!("system identifier {} on {}, {} on {}", id(other), other.0, id(leader), leader.0))
        .hint(format!("if its data are worth nothing: `-e postgresql_rebuild={}`", other.0))
}

fn fresh(found: &[Host], wanted: &Wanted) -> Result<Picture, Fault> {
    if let Some(missing) = wanted.missing(found) {
        return Err(Fault::param("members", format!("{missing} is missing, and nobody else holds data"))
            .note("it may hold the cluster: a new one is not made")
            .hint("bring the host back, or take it out of the inventory"));
    }
    if !found.iter().any(|(host, _)| *host == wanted.primary) {
        return Err(Fault::param("primary", format!("{} is no host of this play", wanted.primary)));
    }
    let role = |(host, server): &Host| match server.data {
        Data::Empty => Role::Absent,
        _ if wanted.rebuild.contains(host) => Role::Stale,
        _ => Role::Absent,
    };
    let roles = found.iter().map(role).collect();
    Ok(Picture { primary: wanted.primary.clone(), roles, identifier: None, notes: Vec::new() })
}

fn timeline(server: &Server) -> Value {
    if server.holds_cluster() { json!(server.timeline()) } else { Value::Null }
}

#[cfg(test)]
mod tests {
    use super::super::server::testing::server;
    use super::*;

    /// `pg1: words | pg2: words` -> `pg1 primary, pg2 standby; notes` or the refusal.
    fn picture(hosts: &str, wanted: &Wanted) -> String {
        let found: Vec<_> = hosts
            .split('|')
            .map(|host| {
                let (name, words) = host.split_once(':').expect("host: words");
                (name.trim().to_owned(), server(words))
            })
            .collect();
        match decide(&found, wanted) {
            Ok(picture) => {
                let roles: Vec<_> = found
                    .iter()
                    .zip(&picture.roles)
                    .map(|((host, _), role)| format!("{host} {}", role.name()))
                    .collect();
                let new = if picture.identifier.is_none() { "new, " } else { "" };
                let notes: String = picture.notes.iter().map(|note| format!("; {note}")).collect();
                format!("{new}primary {}: {}{notes}", picture.primary, roles.join(", "))
            }
            Err(fault) => format!("refused: {}", fault.message),
        }
    }

    #[test]
    fn the_live_cluster_says_who_is_primary() {
        let wanted = Wanted { primary: "pg1".to_owned(), ..Wanted::default() };
        let table = [
            ("pg1: empty | pg2: empty", "new, primary pg1: pg1 absent, pg2 absent"),
            ("pg1: primary | pg2: empty", "primary pg1: pg1 primary, pg2 absent"),
            (
                "pg1: primary | pg2: standby | pg3: signal",
                "primary pg1: pg1 primary, pg2 standby, pg3 standby",
            ),
            (
                "pg1: tli=1 | pg2: primary tli=2 | pg3: standby tli=2",
                "primary pg2: pg1 stale, pg2 primary, pg3 standby; pg2 is the primary, though the inventory names pg1: \
                 followed as found; pg1 holds the data of an old primary (timeline 1, the primary's is 2): left alone; \
                 rebuild it with `-e postgresql_rebuild=pg1`",
            ),
            (
                "pg1: tli=3 | pg2: standby tli=3",
                "primary pg1: pg1 primary, pg2 standby; the primary pg1 does not run",
            ),
            (
                "pg1: tli=1 | pg2: signal",
                "primary pg1: pg1 primary, pg2 standby; the primary pg1 does not run",
            ),
            (
                "pg1: empty | pg2: primary tli=2",
                "primary pg2: pg1 absent, pg2 primary; pg2 is the primary, though the \
                 inventory names pg1: followed as found",
            ),
            ("pg1: primary | pg2: primary", "refused: split brain: pg1 and pg2 both run as primary"),
            ("pg1: primary | pg2: primary id=88", "refused: pg2 holds the data of another cluster than pg1"),
            ("pg1: primary | pg2: id=88", "refused: pg2 holds the data of another cluster than pg1"),
            (
                "pg1: primary | pg2: foreign",
                "refused: the data directory of pg2 is not empty and is no cluster",
            ),
            (
                "pg1: tli=1 | pg2: standby tli=2",
                "refused: there is no primary: every host that holds data is a standby",
            ),
            (
                "pg1: empty | pg2: standby",
                "refused: there is no primary: every host that holds data is a standby",
            ),
            ("pg1: primary tli=1 | pg2: tli=2", "refused: pg2 holds newer data than the primary pg1"),
            ("pg1: tli=1 | pg2: tli=1", "refused: pg1 and pg2 would both start as primary"),
            ("pg2: empty", "refused: pg1 is no host of this play"),
        ];
        for (hosts, told) in table {
            assert_eq!(picture(hosts, &wanted), told, "{hosts}");
        }
    }

    #[test]
    fn a_new_cluster_needs_every_member_and_data_are_given_up_by_name_only() {
        let all = Wanted {
            primary: "pg1".to_owned(),
            members: vec!["pg1".to_owned(), "pg2".to_owned()],
            rebuild: Vec::new(),
        };
        assert_eq!(picture("pg1: empty", &all), "refused: pg2 is missing, and nobody else holds data");
        assert_eq!(picture("pg1: data", &all), "refused: no primary runs, and pg2 is missing");
        assert_eq!(picture("pg1: primary", &all), "primary pg1: pg1 primary");
        let rebuild = Wanted { rebuild: vec!["pg2".to_owned()], ..all };
        assert_eq!(
            picture("pg1: primary | pg2: id=88", &rebuild),
            "primary pg1: pg1 primary, pg2 stale; pg2 is to be rebuilt"
        );
        assert_eq!(
            picture("pg1: standby | pg2: primary", &rebuild),
            "refused: pg2 is a running primary: its data are not given up"
        );
    }

    #[test]
    fn a_server_that_starts_is_waited_for_and_one_that_shuts_us_out_is_not() {
        let starting =
            vec![("pg1".to_owned(), server("process silence=FATAL:_the_database_system_is_starting_up"))];
        assert_eq!(unsettled(&starting, 3), Ok(Some("the server of pg1 to answer".to_owned())));
        assert!(unsettled(&starting, 500).is_err());
        let shut = vec![("pg1".to_owned(), server("process silence=FATAL:_pg_hba.conf_rejects_connection"))];
        assert!(unsettled(&shut, 3).expect_err("refused").notes[0].contains("rejects"));
        assert_eq!(unsettled(&[("pg1".to_owned(), server("primary"))], 3), Ok(None));
    }
}
