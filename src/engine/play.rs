//! The coordinator: plays, batches, and the places where hosts come together.

use super::event::{Event, HostReport, Report};
use super::fatal::{FATAL, in_step};
use super::host::{Halt, Host, State};
use super::shared::Shared;
use crate::plan::{Cursor, HostScope, Op, PlayPlan, Program};
use crate::playbook::Keywords;
use crate::transport::Endpoint;
use crate::yaml::Kind;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A site made ready: plays with their hosts, and what is known of each host beforehand.
pub struct Site {
    /// Plays and their hosts, in order.
    pub plays: Vec<(Arc<PlayPlan>, Vec<String>)>,
    /// Every host that may be needed, by name (also those that tasks are delegated to).
    pub hosts: HashMap<String, HostSetup>,
}

/// What is known of a host before it is connected to.
#[derive(Debug, Clone)]
pub struct HostSetup {
    /// How to get in.
    pub endpoint: Endpoint,
    /// Its variables from the inventory, `-e` and magic.
    pub scope: HostScope,
    /// `ansible_become` of the inventory, or `-b`.
    pub become_root: Option<bool>,
    /// `ansible_become_user`, when not root.
    pub become_user: Option<String>,
    /// Why it is known by its variables alone, and nothing may be done on it in this run.
    pub out_of_reach: Option<String>,
}

/// Runs a site. Hosts keep their connections from play to play.
pub async fn run(shared: Arc<Shared>, site: Site) -> Report {
    let (plays, mut crew) = (site.plays.clone(), Crew::new(shared, site));
    for (number, (plan, hosts)) in plays.iter().enumerate() {
        if crew.shared.stop.interrupted() || crew.refused {
            break;
        }
        let more = plays[number + 1..].iter().any(|(_, hosts)| !hosts.is_empty());
        if !crew.play(plan, hosts, more).await {
            break;
        }
    }
    crew.report()
}

/// All hosts of the run.
pub(super) struct Crew {
    pub shared: Arc<Shared>,
    pub setups: HashMap<String, HostSetup>,
    pub hosts: HashMap<String, Host>,
    /// Hosts of the plays so far, in the order of the report.
    order: Vec<String>,
    /// Something was refused before anything was done: the run is over.
    refused: bool,
    /// `meta: end_play` was met: no further batch.
    pub play_over: bool,
}

impl Crew {
    pub(super) fn new(shared: Arc<Shared>, site: Site) -> Self {
        Self {
            shared,
            setups: site.hosts,
            hosts: HashMap::new(),
            order: Vec::new(),
            refused: false,
            play_over: false,
        }
    }

    /// Carries out a play; whether the run goes on. `more` says that plays follow.
    async fn play(&mut self, plan: &Arc<PlayPlan>, hosts: &[String], more: bool) -> bool {
        self.play_over = false;
        self.shared.take_ids(plan.steps);
        self.shared.set_handlers(plan.handlers.clone());
        let lost =
            |crew: &Self, name: &String| crew.is(name, State::Failed) || crew.is(name, State::Unreachable);
        let hosts: Vec<String> = hosts.iter().filter(|name| !lost(self, name)).cloned().collect();
        self.shared.tell(Event::Play { name: plan.play.name.node.clone(), hosts: hosts.clone() });
        self.refused |= self.forbids(plan, &hosts).await;
        let mut rest = if self.refused { &[] } else { hosts.as_slice() };
        let mut batch_number = 0;
        let mut goes_on = true;
        let over = |crew: &Self| crew.refused || crew.play_over || crew.shared.stop.interrupted();
        while !rest.is_empty() && goes_on && !over(self) {
            let size = batch_size(plan, batch_number, hosts.len()).min(rest.len());
            let (batch, later) = rest.split_at(size);
            if batch.len() < hosts.len() {
                self.shared.tell(Event::Batch { hosts: batch.to_vec() });
            }
            self.batch(plan, batch, &hosts).await;
            if self.nobody_left(batch) {
                goes_on = false;
                let what = match (later.is_empty(), more) {
                    (true, false) => "",
                    (true, true) => ": the plays that follow are not started",
                    (false, false) => ": the batches that follow are not started",
                    (false, true) => ": the batches and plays that follow are not started",
                };
                if !what.is_empty() {
                    self.shared.tell(Event::Halted(format!("NO MORE HOSTS LEFT{what}")));
                }
            }
            rest = later;
            batch_number += 1;
        }
        for name in &hosts {
            self.shared.tell(Event::HostDone { host: name.clone() });
        }
        goes_on
    }

    async fn batch(&mut self, plan: &Arc<PlayPlan>, batch: &[String], all: &[String]) {
        self.enlist(batch);
        self.connect(plan, batch).await;
        self.refused |= self.is_held(batch);
        if self.refused {
            return;
        }
        for name in batch {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            host.begin(Cursor::new(Arc::clone(&plan.program)));
            if host.state == State::Ended {
                host.state = State::Active;
            }
            host.scope.layers = Arc::clone(&plan.layers);
            let list = |names: &[String]| Value::Array(names.iter().cloned().map(Value::String).collect());
            host.scope.set_magic("ansible_play_hosts_all", list(all));
            host.scope.set_magic("ansible_play_name", Value::from(plan.play.name.node.clone()));
        }
        let absent = batch.iter().find(|name| !self.hosts.get(*name).is_some_and(Host::is_active));
        if let Some(absent) = absent.filter(|_| plan.play.any_errors_fatal) {
            // Nobody has begun: there is no block whose rescue part could be meant.
            self.fail_along(batch, &absent.clone(), &[], FATAL);
        }
        self.refresh_hostvars();
        self.shared.in_step.store(in_step(plan), Ordering::SeqCst);
        loop {
            self.heed_failures(plan, batch);
            self.tell_who_is_left(batch, all);
            let halts = self.advance(batch).await;
            // Whoever a failure elsewhere sent away no longer stands where it halted.
            if self.heed_failures(plan, batch) {
                continue;
            }
            self.tell_who_is_left(batch, all);
            if halts.is_empty() {
                return;
            }
            self.meet(plan, batch, halts).await;
        }
    }

    /// Hosts of the plays are in the report, whatever becomes of them.
    pub(super) fn enlist(&mut self, batch: &[String]) {
        for name in batch {
            if self.order.contains(name) {
                continue;
            }
            self.order.push(name.clone());
            self.recruit(name);
        }
    }

    /// A host as its setup describes it, unless it is known already.
    pub(super) fn recruit(&mut self, name: &str) -> Option<&mut Host> {
        let setup = self.setups.get(name)?;
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| {
            let mut host = Host::new(name);
            host.scope = setup.scope.clone();
            host.wants_root = setup.become_root.unwrap_or(false);
            host.become_user = setup.become_user.clone();
            host
        });
        Some(host)
    }

    /// `ansible_play_hosts` and `ansible_play_batch`: hosts of the play and of the batch that did not fail. A step that
    /// reads them is a barrier, so that every host reads the same.
    fn tell_who_is_left(&mut self, batch: &[String], all: &[String]) {
        let failed = |host: &Host| matches!(host.state, State::Failed | State::Unreachable);
        let list = |names: &[String]| {
            let left = names.iter().filter(|name| !self.hosts.get(*name).is_some_and(failed));
            Arc::new(Value::Array(left.cloned().map(Value::String).collect()))
        };
        let (all, of_batch) = (list(all), list(batch));
        for name in batch {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            for (name, value) in [("ansible_play_hosts", &all), ("ansible_play_batch", &of_batch)] {
                if host.scope.magic.get(name) != Some(value) {
                    Arc::make_mut(&mut host.scope.magic).insert(name.to_owned(), Arc::clone(value));
                }
            }
        }
    }

    /// Connects the hosts of a batch, side by side.
    pub(super) async fn connect(&mut self, plan: &Arc<PlayPlan>, batch: &[String]) {
        let privileged = plan_wants_root(plan);
        self.open(batch.iter().map(|name| (name.clone(), privileged)).collect()).await;
    }

    /// Connects hosts that are not connected, or that need the rights of root (by what is asked here or by their own
    /// variables) and began without them.
    pub(super) async fn open(&mut self, wanted: Vec<(String, bool)>) {
        let mut fresh: Vec<String> = Vec::new();
        let mut setups = HashMap::new();
        for (name, privileged) in wanted {
            let (Some(host), Some(setup)) = (self.hosts.get_mut(&name), self.setups.get(&name)) else {
                continue;
            };
            let wants_root = privileged || host.wants_root;
            let connected = host.session.is_some() && (host.privileged || !wants_root);
            if connected || host.state == State::Unreachable || setup.out_of_reach.is_some() {
                continue;
            }
            // What an account began without the rights of root cannot go on with them.
            host.session = None;
            let mut setup = setup.clone();
            if !wants_root {
                setup.endpoint.r#become = None;
            }
            setups.insert(name.clone(), setup);
            fresh.push(name);
        }
        if fresh.is_empty() {
            return;
        }
        self.shared.tell(Event::Connecting { hosts: fresh.clone() });
        let (shared, setups) = (Arc::clone(&self.shared), Arc::new(setups));
        let connecting = |mut host: Host| {
            let (shared, setups) = (Arc::clone(&shared), Arc::clone(&setups));
            async move {
                if let Some(setup) = setups.get(&host.name) {
                    host.connect(&shared, setup).await;
                }
                (host, ())
            }
        };
        let forks = self.shared.options.forks;
        self.side_by_side(&fresh, forks, connecting).await;
    }

    /// Lets every active host of the batch go on until something stops it.
    async fn advance(&mut self, batch: &[String]) -> Vec<(String, Halt)> {
        let active = |name: &&String| self.hosts.get(*name).is_some_and(Host::is_active);
        let active: Vec<String> = batch.iter().filter(active).cloned().collect();
        let shared = Arc::clone(&self.shared);
        let advancing = |mut host: Host| {
            let shared = Arc::clone(&shared);
            async move {
                let halt = host.advance(&shared).await;
                if matches!(halt, Halt::Over) {
                    shared.tell(Event::HostDone { host: host.name.clone() });
                }
                (host, halt)
            }
        };
        let forks = self.shared.options.forks;
        let halts = self.side_by_side(&active, forks, advancing).await;
        halts.into_iter().filter(|(_, halt)| !matches!(halt, Halt::Over)).collect()
    }

    pub(super) fn report(self) -> Report {
        let mut hosts = self.hosts;
        let reports = self.order.iter().filter_map(|name| {
            let host = hosts.remove(name)?;
            let traffic = host.session.as_ref().map(crate::transport::Transport::traffic).unwrap_or_default();
            let facts = host.facts();
            Some(HostReport {
                host: host.name,
                stats: host.stats,
                round_trips: traffic.round_trips,
                bytes: (traffic.bytes_up, traffic.bytes_down),
                diagnostics: host.diagnostics,
                facts,
            })
        });
        Report { hosts: reports.collect(), interrupted: self.shared.stop.interrupted() }
    }
}

/// How many hosts the n-th batch takes.
fn batch_size(plan: &PlayPlan, number: usize, all: usize) -> usize {
    let Some(size) = plan.play.serial.get(number).or(plan.play.serial.last()) else { return all };
    let count = match size.node.strip_suffix('%') {
        Some(share) => share.trim().parse::<usize>().map_or(all, |share| all * share / 100),
        None => size.node.parse().unwrap_or(all),
    };
    if count == 0 { if size.node.ends_with('%') { 1 } else { all } } else { count }
}

/// Whether any task of a play may need root.
fn plan_wants_root(plan: &PlayPlan) -> bool {
    let handlers = plan.handlers.iter().map(|handler| &handler.program);
    handlers.chain([&plan.program]).any(|program| program_wants_root(program))
}

/// Whether any task of a program may need root.
pub(super) fn program_wants_root(program: &Program) -> bool {
    program.ops.iter().any(|op| match op {
        Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => {
            wants_root(&step.keywords)
        }
        _ => false,
    })
}

/// Whether a task may need root.
pub(super) fn wants_root(keywords: &Keywords) -> bool {
    keywords.r#become.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false)))
}
