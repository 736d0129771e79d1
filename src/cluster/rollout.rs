//! Brings running servers in line with their configuration files: starts, reloads, and restarts where nothing less will
//! do, one host at a time and in the order that standbys need.
//!
//! First every file is put to the server program; a fault anywhere (file and line are named) stops the rollout before
//! anything is touched. Servers that hold data but do not run are started, the primary first. A server whose files (its
//! configuration, pg_hba.conf, certificates and keys) are newer than what it read is reloaded; that the next question
//! is answered proves that a new login works. Then those settings are left that take a restart:
//!
//! - Standbys first, one by one, as long as none of the five settings that a standby may not have lower than its
//!   primary (`max_connections`, `max_worker_processes`, `max_wal_senders`, `max_prepared_transactions`,
//!   `max_locks_per_transaction`) would fall below what its control file records.
//! - Then the primary, once every standby has at least what it will have.
//! - Then the standbys whose values fall: each waits until it has replayed the primary's change.
//!
//! So raising goes to the standbys first and lowering to the primary first, and a change that does both is one rollout.
//! Between two restarts every running standby must stream again and be within `max_lag` of the primary. Two kinds of
//! standbys are not waited for: one that will be told to follow another host or port anyway (`follows`), and one that
//! somebody paused (`pg_wal_replay_pause`). That one stays paused: its restart waits until it is resumed, and that is said.
//! Only where one of the five has to rise, or the primary could not, it is restarted and its pause ends, and that is said.
//! A run that was broken off goes on from what it finds. Hosts without data and stale hosts are left alone.
//!
//! EXAMPLES
//! - name: Take the new settings, certificates and rules
//!   postgresql_rollout: {version: 15, primary: "{{ groups['primary'] | first }}"}

use super::server::{FIVE, Live, Server};
use super::topology::{MEMBERS, PRIMARY, Picture, REBUILD, Role, Wanted, decide, read, unsettled};
use super::{Act, AnyProcedure, Member, Round};
use crate::diag::Fault;
use crate::modules::{Args, Change, Kind, Nature, Param, Spec, instance};
use crate::shell::{Action, Ask, Run, quote};
use serde_json::{Map, Value, json};

/// The procedure `postgresql_rollout`.
pub struct Rollout;

static SPEC: Spec = Spec {
    name: "postgresql_rollout",
    aliases: &[],
    summary: "Running servers in line with their configuration: start, reload, restart in the right order",
    source: include_str!("rollout.rs"),
    nature: Nature::State,
    free_form: None,
    open: false,
    params: &[
        instance::VERSION,
        instance::CLUSTER,
        instance::DATA_DIRECTORY,
        PRIMARY,
        MEMBERS,
        REBUILD,
        Param::new(
            "follows",
            Kind::Str,
            "The primary's address that standbys will be told to follow, where a task does that after this one",
        ),
        Param::new("start", Kind::Bool, "Start servers that do not run").default("true"),
        Param::new("restart", Kind::Bool, "Restart where a setting takes it; `false` only names what waits")
            .default("true"),
        Param::new("max_lag", Kind::Int, "Bytes that a standby may be behind, between two restarts")
            .default("16777216"),
        Param::new("timeout", Kind::Int, "Seconds that a gate may stay closed").default("600"),
    ],
};

/// Seconds after a start within which a standby that does not stream is waited for at the end.
const SETTLING: f64 = 60.0;

impl AnyProcedure for Rollout {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn follows(&self) -> &'static [&'static str] {
        &["postgresql_cluster", "postgresql_set", "postgresql_hba", "tls_cert"]
    }

    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault> {
        Ok(vec![Server::ask(args)?])
    }

    fn next(&self, members: &[Member], _round: usize, seconds: u64) -> Result<Round, Fault> {
        let found = read(members)?;
        let Some(first) = members.first() else { return Ok(Round::default()) };
        faultless(&found)?;
        if let Some(waiting_for) = unsettled(&found, seconds)? {
            return Ok(Round { waiting_for: Some(waiting_for), ..Round::default() });
        }
        let picture = decide(&found, &Wanted::of(&first.args))?;
        let goal = Goal::of(&first.args);
        let crew = Crew { members, found: &found, picture: &picture, goal, seconds };
        crew.next()
    }
}

/// What the arguments ask for.
#[derive(Debug, Clone, Copy)]
struct Goal {
    start: bool,
    restart: bool,
    max_lag: u64,
    timeout: u64,
}

impl Goal {
    fn of(args: &Args) -> Self {
        let number =
            |name: &str, usual: u64| args.int(name).and_then(|n| u64::try_from(n).ok()).unwrap_or(usual);
        Self {
            start: args.bool("start").unwrap_or(true),
            restart: args.bool("restart").unwrap_or(true),
            max_lag: number("max_lag", 16 << 20),
            timeout: number("timeout", 600),
        }
    }
}

/// Files that a server would refuse stop everything.
fn faultless(found: &[(String, Server)]) -> Result<(), Fault> {
    let Some((host, server)) = found.iter().find(|(_, server)| !server.config_errors.is_empty()) else {
        return Ok(());
    };
    let mut errors = server.config_errors.iter();
    let first = errors.next().cloned().unwrap_or_default();
    let fault = Fault::task(format!("the configuration of {host} is not in order: {first}"));
    Err(errors
        .fold(fault, |fault, error| fault.note(error.clone()))
        .hint("nothing was reloaded or restarted; correct the file, or the task that wrote it"))
}

/// The hosts of a rollout in one round.
struct Crew<'a> {
    members: &'a [Member],
    found: &'a [(String, Server)],
    picture: &'a Picture,
    goal: Goal,
    seconds: u64,
}

impl Crew<'_> {
    fn next(&self) -> Result<Round, Fault> {
        if let Some(round) = self.starts()? {
            return Ok(round);
        }
        if let Some(round) = self.reloads()? {
            return Ok(round);
        }
        if self.goal.restart
            && let Some(round) = self.restarts()?
        {
            return Ok(round);
        }
        if let Some(waiting_for) = self.settling() {
            return self.wait(waiting_for);
        }
        Ok(self.done())
    }

    fn hosts(&self) -> impl Iterator<Item = (usize, &str, &Server, Role)> {
        self.found
            .iter()
            .zip(&self.picture.roles)
            .enumerate()
            .map(|(index, ((host, server), role))| (index, host.as_str(), server, *role))
    }

    fn live(&self) -> impl Iterator<Item = (usize, &str, &Server, &Live, Role)> {
        self.hosts().filter_map(|(index, host, server, role)| {
            Some((index, host, server, server.live.as_ref()?, role))
        })
    }

    fn starts(&self) -> Result<Option<Round>, Fault> {
        if !self.goal.start {
            return Ok(None);
        }
        let stopped: Vec<_> = self
            .hosts()
            .filter(|(_, _, server, role)| {
                server.live.is_none()
                    && server.configured
                    && server.holds_cluster()
                    && matches!(role, Role::Primary | Role::Standby)
            })
            .collect();
        let leader = stopped.iter().find(|(_, _, _, role)| *role == Role::Primary);
        // Standbys that find their primary stream at once.
        let chosen: Vec<_> = leader.map_or_else(|| stopped.clone(), |leader| vec![*leader]);
        if chosen.is_empty() {
            return Ok(None);
        }
        let mut acts = Vec::new();
        for (index, host, server, role) in chosen {
            self.can_start(host, server)?;
            acts.push(Act {
                host: host.to_owned(),
                why: format!("start the {}", role.name()),
                changes: vec![Change::field("server", "stopped", "running")],
                actions: vec![self.command(index, "start")?],
            });
        }
        Ok(Some(Round { acts, notes: self.picture.notes.clone(), ..Round::default() }))
    }

    /// A server whose control file is unreadable is not touched.
    fn can_start(&self, host: &str, server: &Server) -> Result<(), Fault> {
        if server.system_identifier().is_none() {
            return Err(Fault::task(format!("the control file of {host} cannot be read"))
                .hint("its data directory is damaged: rebuild it"));
        }
        Ok(())
    }

    fn reloads(&self) -> Result<Option<Round>, Fault> {
        let mut acts = Vec::new();
        for (index, host, server, live, role) in self.live() {
            let Some((changed, path)) = server.newest.as_ref().filter(|_| role != Role::Stale) else {
                continue;
            };
            // A clock that was set back would have files of the future, which no reload can catch up with.
            if *changed > live.loaded && *changed <= server.now {
                acts.push(Act {
                    host: host.to_owned(),
                    why: format!("reload: `{path}` is newer than what the server read"),
                    changes: vec![Change::field("configuration", "", "reloaded")],
                    actions: vec![self.command(index, "reload")?],
                });
            }
        }
        let notes = self.picture.notes.clone();
        Ok((!acts.is_empty()).then_some(Round { acts, notes, ..Round::default() }))
    }

    fn restarts(&self) -> Result<Option<Round>, Fault> {
        let waiting: Vec<_> = self
            .live()
            .filter(|(_, _, _, live, role)| !live.pending.is_empty() && *role != Role::Stale)
            .filter(|(_, _, server, live, _)| !self.stays_paused(server, live))
            .collect();
        if waiting.is_empty() {
            return Ok(None);
        }
        for (_, host, server, live, _) in &waiting {
            // Restarted by this very run, and still not what the files say.
            if self.seconds > 0 && server.now - live.started < self.seconds as f64 {
                let names: Vec<_> = live.pending.iter().map(|(name, _, _)| format!("`{name}`")).collect();
                return Err(Fault::task(format!(
                    "{host} was restarted, but {} did not follow",
                    names.join(", ")
                ))
                .hint(
                    "something outside of the files sets it: the command line of the server, or pg_ctl.conf",
                ));
            }
        }
        let (falling, rising): (Vec<_>, Vec<_>) = waiting
            .iter()
            .filter(|(_, _, _, _, role)| *role == Role::Standby)
            .partition(|(_, _, server, _, _)| below_floor(server).is_some());
        // A standby whose replay is paused for want of one of the five is healed by its restart.
        let healed = rising.iter().find(|(_, _, _, live, _)| !live.follows_well());
        if healed.is_none()
            && let Some(closed) = self.gate()
        {
            return self.wait(closed).map(Some);
        }
        if let Some(standby) = healed.or_else(|| rising.first()) {
            let primary_waits = waiting.iter().any(|(_, _, _, _, role)| *role == Role::Primary);
            return self
                .restart(standby, if primary_waits { "before the primary" } else { "alone" })
                .map(Some);
        }
        if let Some(primary) = waiting.iter().find(|(_, _, _, _, role)| *role == Role::Primary) {
            self.standbys_can_follow(primary.2)?;
            let order = if falling.is_empty() {
                "after the standbys"
            } else {
                "before the standbys, whose values fall"
            };
            return self.restart(primary, order).map(Some);
        }
        let Some((_, host, server, _, _)) = falling.first() else { return Ok(None) };
        let (name, wanted, floor) = below_floor(server).unwrap_or_default();
        let primary = self.live().find(|(_, _, _, _, role)| *role == Role::Primary);
        match primary.and_then(|(_, _, server, _, _)| server.after_restart(name)) {
            // The primary has it already; its change is on the way in the WAL.
            Some(value) if value <= wanted => self
                .wait(format!("{host} to replay the primary's change of {name} ({floor} to {value})"))
                .map(Some),
            value => Err(Fault::task(format!(
                "{host} would not start any more: `{name}` is {wanted} in its files"
            ))
            .note(match value {
                Some(value) => format!("the primary has {value}, and a standby may not have less"),
                None => format!("its control file records {floor}, and there is no primary to lower it"),
            })
            .hint("give every host of the cluster the same value")),
        }
    }

    /// Every running standby must have at least what the primary will have.
    fn standbys_can_follow(&self, primary: &Server) -> Result<(), Fault> {
        for (_, host, _, live, role) in self.live() {
            if role != Role::Standby {
                continue;
            }
            for (name, _) in FIVE {
                let (Some(will), Some(has)) = (primary.after_restart(name), live.five.get(name)) else {
                    continue;
                };
                if *has < will {
                    return Err(Fault::task(format!(
                        "`{name}` is {has} on the standby {host}, and would be {will} on the primary"
                    ))
                    .note("replay on the standby would pause, and it would not start any more")
                    .hint(format!("give {host} at least {will}, and run again")));
                }
            }
        }
        Ok(())
    }

    fn restart(&self, chosen: &(usize, &str, &Server, &Live, Role), order: &str) -> Result<Round, Fault> {
        let (index, host, _, live, role) = *chosen;
        let shown = |value: &str| if value.is_empty() { "default".to_owned() } else { value.to_owned() };
        let changes =
            live.pending.iter().map(|(name, before, after)| Change::field(name, before, shown(after)));
        let names: Vec<_> = live.pending.iter().map(|(name, _, _)| name.as_str()).collect();
        let mut notes = self.picture.notes.clone();
        notes.push(format!("{host} ({}) is restarted {order}: {}", role.name(), names.join(", ")));
        if role == Role::Standby && self.paused_by_hand(chosen.2, live) {
            notes.push(format!(
                "the replay of {host} was paused by hand, and the restart ends that: what its primary has more of it must have too"
            ));
        }
        Ok(Round {
            acts: vec![Act {
                host: host.to_owned(),
                why: format!("restart: {}", names.join(", ")),
                changes: changes.collect(),
                actions: vec![self.command(index, "restart")?],
            }],
            notes,
            ..Round::default()
        })
    }

    /// What keeps the next restart from being done: every running standby must be close behind a primary that runs.
    fn gate(&self) -> Option<String> {
        let primary = self.live().find(|(_, _, _, _, role)| *role == Role::Primary);
        self.live().filter(|(_, _, _, _, role)| *role == Role::Standby).find_map(
            |(index, host, server, live, _)| {
                if self.paused_by_hand(server, live) {
                    return None;
                }
                if live.paused {
                    return Some(format!("{host} to go on with its replay, which is paused"));
                }
                // Without a primary nobody can stream.
                let (_, _, _, leader, _) = primary?;
                if !live.follows_well() && self.repointed(index, live, leader) {
                    return None;
                }
                if !live.follows_well() {
                    return Some(format!("{host} to stream again"));
                }
                let lag = leader.position?.saturating_sub(live.position?);
                (lag > self.goal.max_lag).then(|| format!("{host} to come closer: it is {lag} bytes behind"))
            },
        )
    }

    /// A standby that will be told to follow another host or port than it does now.
    fn repointed(&self, index: usize, live: &Live, leader: &Live) -> bool {
        let Some(target) = self.members.get(index).and_then(|member| member.args.str("follows")) else {
            return false;
        };
        live.follows.as_ref().is_some_and(|follows| *follows != target)
            || live.follows_port.is_some_and(|port| port != leader.port)
    }

    /// Somebody paused the replay: the server itself does so only for want of one of the five.
    fn paused_by_hand(&self, server: &Server, live: &Live) -> bool {
        let primary =
            self.live().find(|(_, _, _, _, role)| *role == Role::Primary).map(|(_, _, _, live, _)| live);
        let wants = FIVE.iter().any(|(name, label)| {
            let has = live.five.get(*name).copied().unwrap_or(u64::MAX);
            let needed = primary.and_then(|primary| primary.five.get(*name).copied()).unwrap_or(0);
            has < needed.max(server.floor(label))
        });
        live.recovery && live.paused && !wants
    }

    /// Paused by hand, and nothing forces a restart: none of the five has to rise.
    fn stays_paused(&self, server: &Server, live: &Live) -> bool {
        let rises = FIVE.iter().any(|(name, _)| {
            server.after_restart(name).zip(live.five.get(*name)).is_some_and(|(after, has)| after > *has)
        });
        self.paused_by_hand(server, live) && !rises
    }

    /// What waits because somebody paused a standby.
    fn paused_notes(&self) -> Vec<String> {
        let paused = self.live().filter(|(_, _, server, live, _)| self.paused_by_hand(server, live));
        let told = |(_, host, _, live, _): (usize, &str, &Server, &Live, Role)| {
            let names: Vec<_> = live.pending.iter().map(|(name, _, _)| name.as_str()).collect();
            match names.is_empty() {
                true => format!("the replay of {host} is paused by hand and stays so"),
                false => format!(
                    "the replay of {host} is paused by hand and stays so: {} wait for its restart; \
                     `SELECT pg_wal_replay_resume()` on it, then run again",
                    names.join(", ")
                ),
            }
        };
        paused.map(told).collect()
    }

    /// At the end: a standby that was started a moment ago, or whose primary was, is given time to stream.
    fn settling(&self) -> Option<String> {
        let young = |server: &Server, live: &Live| server.now - live.started < SETTLING;
        let recent = self.live().any(|(_, _, server, live, _)| young(server, live));
        (recent && self.seconds < self.goal.timeout.min(SETTLING as u64 * 2)).then(|| self.gate()).flatten()
    }

    fn wait(&self, waiting_for: String) -> Result<Round, Fault> {
        if self.seconds > self.goal.timeout {
            return Err(Fault::task(format!("gave up waiting for {waiting_for}, after {} seconds", self.seconds))
                .hint("what was done so far stays; look at the log of that host, and run again: it goes on from there"));
        }
        Ok(Round { waiting_for: Some(waiting_for), ..Round::default() })
    }

    fn done(&self) -> Round {
        let mut notes = self.picture.notes.clone();
        notes.extend(self.paused_notes());
        notes.extend(self.gate().map(|closed| format!("still waiting: {closed}")));
        let results = self.hosts().map(|(_, host, server, role)| {
            let pending: Vec<_> =
                server.live.iter().flat_map(|live| &live.pending).map(|(name, _, _)| name).collect();
            let msg = match (&server.live, role) {
                (Some(_), _) if !pending.is_empty() => format!("{}, a restart is pending", role.name()),
                (Some(_), _) => format!("{}, in line with its files", role.name()),
                (None, Role::Absent) => "holds no data".to_owned(),
                (None, _) => format!("{}, does not run", role.name()),
            };
            let result = Map::from_iter([
                ("role".to_owned(), json!(role.name())),
                ("running".to_owned(), json!(server.live.is_some())),
                ("started".to_owned(), json!(server.live.as_ref().map(|live| live.started))),
                ("pending_restart".to_owned(), json!(pending)),
                ("msg".to_owned(), Value::String(msg)),
            ]);
            (host.to_owned(), result)
        });
        Round { results: results.collect(), notes, ..Round::default() }
    }

    fn command(&self, index: usize, verb: &str) -> Result<Action, Fault> {
        let args = self.members.get(index).map(|member| member.args.clone()).unwrap_or_default();
        let instance = instance::Instance::decode(&args)?;
        let unit = instance.unit();
        let script = match verb {
            "reload" => {
                format!("{}[ \"$(sql <<'X'\nSELECT pg_reload_conf()\nX\n)\" = t ]\n", instance.sql_function())
            }
            _ => {
                // A checkpoint beforehand keeps the shutdown short; a standby makes a restart point.
                let checkpoint = match verb {
                    "restart" => format!(
                        "{}sql >/dev/null 2>&1 <<'X'\nSET statement_timeout = '10min';\nCHECKPOINT\nX\n",
                        instance.sql_function()
                    ),
                    _ => String::new(),
                };
                let log =
                    format!("/var/log/postgresql/postgresql-{}-{}.log", instance.version, instance.name);
                format!(
                    "{checkpoint}timeout 280 systemctl {verb} {unit} && exit 0\n\
                     printf 'the server did not come up; the end of its log:\\n' >&2\n\
                     tail -n 15 {} >&2\nexit 1\n",
                    quote(&log)
                )
            }
        };
        Ok(Action::Run(Run::new(script).timeout(300).shown(match verb {
            "reload" => "SELECT pg_reload_conf()".to_owned(),
            verb => format!("systemctl {verb} {unit}"),
        })))
    }
}

/// The first of the five that would fall below what the control file records: name, value in the files, floor.
fn below_floor(server: &Server) -> Option<(&'static str, u64, u64)> {
    FIVE.iter().find_map(|(name, label)| {
        let (after, floor) = (server.after_restart(name)?, server.floor(label));
        (after < floor).then_some((*name, after, floor))
    })
}

#[cfg(test)]
mod tests {
    use super::super::server::testing::server;
    use super::super::topology::decide;
    use super::*;

    /// `pg1: words | pg2: words` at so many seconds -> what the next round does.
    fn next(hosts: &str, seconds: u64) -> String {
        let found: Vec<_> = hosts
            .split('|')
            .map(|host| {
                let (name, words) = host.split_once(':').expect("host: words");
                (name.trim().to_owned(), server(words))
            })
            .collect();
        let given = json!({"version": 15, "primary": "pg1", "follows": "pg1"});
        let args = Args::bind(&SPEC, given.as_object().expect("a mapping")).expect("binds");
        let members: Vec<_> = found
            .iter()
            .map(|(host, _)| Member { host: host.clone(), args: args.clone(), answers: Default::default() })
            .collect();
        let round = faultless(&found).and_then(|()| decide(&found, &Wanted::of(&args))).and_then(|picture| {
            Crew { members: &members, found: &found, picture: &picture, goal: Goal::of(&args), seconds }
                .next()
        });
        match round {
            Err(fault) => format!("refused: {}", fault.message),
            Ok(round) => match (round.acts.is_empty(), round.waiting_for) {
                (false, _) => round
                    .acts
                    .iter()
                    .map(|act| format!("{} {}", act.host, act.why.split(':').next().unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .join(", "),
                (true, Some(waiting)) => format!("wait for {waiting}"),
                (true, None) => "done".to_owned(),
            },
        }
    }

    #[test]
    fn what_a_cluster_in_order_or_out_of_it_needs_next() {
        let table = [
            ("pg1: primary | pg2: standby", 0, "done"),
            ("pg1: data | pg2: signal", 0, "pg1 start the primary"),
            ("pg1: primary | pg2: signal | pg3: signal", 0, "pg2 start the standby, pg3 start the standby"),
            ("pg1: primary | pg2: empty", 0, "done"),
            ("pg1: primary | pg2: signal bare", 0, "done"),
            ("pg1: tli=1 | pg2: primary tli=2", 0, "done"),
            ("pg1: primary newer | pg2: standby newer", 0, "pg1 reload, pg2 reload"),
            ("pg1: primary | pg2: standby silent", 0, "done"),
            ("pg1: primary | pg2: standby silent started=9990", 3, "wait for pg2 to stream again"),
            (
                "pg1: primary error=syntax_error_in_file_\"x\"_line_3 | pg2: standby newer",
                0,
                "refused: the configuration of pg1 is not in order: syntax error in file \"x\" line 3",
            ),
        ];
        for (hosts, seconds, told) in table {
            assert_eq!(next(hosts, seconds), told, "{hosts}");
        }
    }

    #[test]
    fn raising_goes_to_the_standbys_first() {
        let raise = "pending=max_connections,100,300";
        let table = [
            (
                format!(
                    "pg1: primary {raise} | pg2: standby floor=100 {raise} | pg3: standby floor=100 {raise}"
                ),
                "pg2 restart",
            ),
            (
                format!(
                    "pg1: primary {raise} | pg2: standby floor=100 runs=300 | pg3: standby floor=100 {raise}"
                ),
                "pg3 restart",
            ),
            (
                format!(
                    "pg1: primary {raise} | pg2: standby runs=300 silent | pg3: standby floor=100 {raise}"
                ),
                "wait for pg2 to stream again",
            ),
            (
                format!(
                    "pg1: primary {raise} at=99999999 | pg2: standby runs=300 | pg3: standby floor=100 {raise}"
                ),
                "wait for pg2 to come closer: it is 98999999 bytes behind",
            ),
            (
                format!(
                    "pg1: primary {raise} | pg2: standby floor=100 runs=300 | pg3: standby floor=100 runs=300"
                ),
                "pg1 restart",
            ),
            (
                format!("pg1: primary {raise} | pg2: standby runs=300 | pg3: standby runs=100"),
                "refused: `max_connections` is 100 on the standby pg3, and would be 300 on the primary",
            ),
            // Replay is paused since the primary was raised by hand: the restart is the cure.
            (
                format!(
                    "pg1: primary runs=300 | pg2: standby paused floor=100 {raise} | pg3: standby runs=300"
                ),
                "pg2 restart",
            ),
        ];
        for (hosts, told) in table {
            assert_eq!(next(&hosts, 0), told, "{hosts}");
        }
    }

    #[test]
    fn lowering_goes_to_the_primary_first_and_a_mixed_change_is_one_rollout() {
        let lower = "pending=max_connections,300,100";
        let table = [
            (
                format!("pg1: primary runs=300 {lower} | pg2: standby runs=300 floor=300 {lower}"),
                "pg1 restart",
            ),
            (
                format!("pg1: primary runs=100 | pg2: standby runs=300 floor=300 {lower}"),
                "wait for pg2 to replay the primary's change of max_connections (300 to 100)",
            ),
            (format!("pg1: primary runs=100 | pg2: standby runs=300 floor=100 {lower}"), "pg2 restart"),
            (
                format!("pg1: primary runs=300 | pg2: standby runs=300 floor=300 {lower}"),
                "refused: pg2 would not start any more: `max_connections` is 100 in its files",
            ),
            // Workers rise and connections fall: standbys keep their connections (their floor) and take the workers.
            (
                format!(
                    "pg1: primary runs=300 {lower} pending=max_worker_processes,100,200 | pg2: standby runs=300 floor=300 \
                     pending=max_worker_processes,100,200"
                ),
                "pg2 restart",
            ),
            (
                format!(
                    "pg1: primary runs=300 {lower} pending=max_worker_processes,100,200 | pg2: standby runs=300 floor=300"
                ),
                "refused: `max_worker_processes` is 100 on the standby pg2, and would be 200 on the primary",
            ),
        ];
        for (hosts, told) in table {
            assert_eq!(next(&hosts, 0), told, "{hosts}");
        }
    }

    #[test]
    fn a_standby_that_is_about_to_follow_another_host_is_not_waited_for() {
        let table = [
            ("pg1: primary | pg2: standby silent follows=pg9 started=9990", "done"),
            ("pg1: primary port=5433 | pg2: standby silent follows_port=5432 started=9990", "done"),
            (
                "pg1: primary port=5432 | pg2: standby silent follows_port=5432 started=9990",
                "wait for pg2 to stream again",
            ),
            ("pg1: primary pending=port,5432,5433 | pg2: standby silent follows=pg9", "pg1 restart"),
            (
                "pg1: primary at=99999999 pending=port,5432,5433 | pg2: standby follows=pg9",
                "wait for pg2 to come closer: it is 98999999 bytes behind",
            ),
        ];
        for (hosts, told) in table {
            assert_eq!(next(hosts, 3), told, "{hosts}");
        }
    }

    #[test]
    fn a_standby_that_somebody_paused_stays_paused_unless_one_of_the_five_has_to_rise() {
        let table = [
            ("pg1: primary | pg2: standby paused started=9990", "done"),
            ("pg1: primary | pg2: standby paused pending=jit,on,off", "done"),
            (
                "pg1: primary pending=port,5432,5433 | pg2: standby paused pending=port,5432,5433",
                "pg1 restart",
            ),
            (
                "pg1: primary pending=max_connections,100,300 | pg2: standby paused pending=max_connections,100,300",
                "pg2 restart",
            ),
            ("pg1: primary | pg2: standby paused runs=300 floor=300 pending=max_connections,300,100", "done"),
        ];
        for (hosts, told) in table {
            assert_eq!(next(hosts, 3), told, "{hosts}");
        }
    }

    #[test]
    fn a_restart_that_changes_nothing_is_not_repeated_for_ever() {
        assert_eq!(
            next("pg1: primary started=9990 pending=port,5432,5433", 30),
            "refused: pg1 was restarted, but `port` did not follow"
        );
        assert_eq!(next("pg1: primary pending=port,5432,5433", 30), "pg1 restart");
        assert_eq!(
            next("pg1: primary pending=port,5432,5433 | pg2: standby silent", 5000),
            "refused: gave up waiting for pg2 to stream again, after 5000 seconds"
        );
    }
}
