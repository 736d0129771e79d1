//! The coordinator: plays, batches, and the places where hosts come together.

use super::event::{Event, HostReport, Report, Status};
use super::host::{Halt, Host, State};
use super::shared::Shared;
use crate::diag::Diagnostic;
use crate::plan::{Barrier, Cursor, HostScope, Op, PlayPlan, Step, framed};
use crate::transport::Endpoint;
use crate::yaml::Kind;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

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
}

/// Runs a site. Hosts keep their connections from play to play.
pub async fn run(shared: Arc<Shared>, site: Site) -> Report {
    let mut crew =
        Crew { shared, setups: site.hosts, hosts: HashMap::new(), order: Vec::new(), refused: false };
    for (plan, hosts) in &site.plays {
        if crew.shared.stop.interrupted() || crew.refused {
            break;
        }
        crew.play(plan, hosts).await;
    }
    crew.report()
}

/// All hosts of the run.
pub(super) struct Crew {
    pub shared: Arc<Shared>,
    setups: HashMap<String, HostSetup>,
    pub hosts: HashMap<String, Host>,
    order: Vec<String>,
    /// Something was refused before anything was done: the run is over.
    refused: bool,
}

impl Crew {
    async fn play(&mut self, plan: &Arc<PlayPlan>, hosts: &[String]) {
        self.shared.stop.reset();
        self.shared.take_ids(plan.steps);
        if let Ok(mut handlers) = self.shared.handlers.write() {
            *handlers = plan.handlers.clone();
        }
        let usable = |crew: &Self, name: &String| {
            crew.hosts.get(name).is_none_or(|host| !matches!(host.state, State::Failed | State::Unreachable))
        };
        let hosts: Vec<String> = hosts.iter().filter(|name| usable(self, name)).cloned().collect();
        self.shared.tell(Event::Play { name: plan.play.name.node.clone(), hosts: hosts.clone() });
        self.refused = self.forbids(plan, &hosts).await;
        let mut rest = if self.refused { &[] } else { hosts.as_slice() };
        let mut batch_number = 0;
        while !rest.is_empty() && !self.shared.stop.is_set() {
            let size = batch_size(plan, batch_number, hosts.len()).min(rest.len());
            let (batch, later) = rest.split_at(size);
            if batch.len() < hosts.len() {
                self.shared.tell(Event::Batch { hosts: batch.to_vec() });
            }
            self.batch(plan, batch, &hosts).await;
            let failed = hosts.iter().filter(|name| !usable(self, name)).count();
            let share = plan.play.max_fail_percentage.unwrap_or(100);
            if !later.is_empty()
                && (failed > 0 && batch.iter().all(|name| !usable(self, name))
                    || failed * 100 > usize::from(share) * hosts.len())
            {
                let message = format!(
                    "{failed} of {} hosts failed: the remaining batches are not started",
                    hosts.len()
                );
                self.shared.tell(Event::Note(message));
                break;
            }
            rest = later;
            batch_number += 1;
        }
        for name in &hosts {
            self.shared.tell(Event::HostDone { host: name.clone() });
        }
    }

    async fn batch(&mut self, plan: &Arc<PlayPlan>, batch: &[String], all: &[String]) {
        self.connect(plan, batch).await;
        for name in batch {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            host.cursor = Cursor::new(Arc::clone(&plan.program));
            host.passed = None;
            host.notified.clear();
            if host.state == State::Ended {
                host.state = State::Active;
            }
            host.scope.layers = Arc::clone(&plan.layers);
            let list = |names: &[String]| Value::Array(names.iter().cloned().map(Value::String).collect());
            host.scope.set_magic("ansible_play_hosts_all", list(all));
            host.scope.set_magic("ansible_play_name", Value::from(plan.play.name.node.clone()));
        }
        self.refresh_hostvars();
        loop {
            self.tell_who_is_left(batch, all);
            let halts = self.advance(plan, batch).await;
            self.tell_who_is_left(batch, all);
            if halts.is_empty() {
                return;
            }
            self.meet(plan, batch, halts).await;
        }
    }

    /// `ansible_play_hosts` and `ansible_play_batch`: hosts of the play and of the batch that did not fail. A step that
    /// reads them is a barrier, so that every host reads the same.
    fn tell_who_is_left(&mut self, batch: &[String], all: &[String]) {
        let failed = |host: &Host| matches!(host.state, State::Failed | State::Unreachable);
        let list = |names: &[String]| {
            let left = names.iter().filter(|name| !self.hosts.get(*name).is_some_and(failed));
            Value::Array(left.cloned().map(Value::String).collect())
        };
        let (all, of_batch) = (list(all), list(batch));
        for name in batch {
            if let Some(host) = self.hosts.get_mut(name) {
                host.scope.set_magic("ansible_play_hosts", all.clone());
                host.scope.set_magic("ansible_play_batch", of_batch.clone());
            }
        }
    }

    /// Connects the hosts of a batch, side by side.
    pub(super) async fn connect(&mut self, plan: &Arc<PlayPlan>, batch: &[String]) {
        let fresh: Vec<String> = batch
            .iter()
            .filter(|name| self.hosts.get(*name).is_none_or(|host| host.session.is_none()))
            .cloned()
            .collect();
        if fresh.is_empty() {
            return;
        }
        self.shared.tell(Event::Connecting { hosts: fresh.clone() });
        let privileged = plan_wants_root(plan);
        let permits = Arc::new(Semaphore::new(self.shared.options.forks.max(1)));
        let mut tasks = JoinSet::new();
        for name in fresh {
            let Some(mut setup) = self.setups.get(&name).cloned() else { continue };
            let mut host = self.hosts.remove(&name).unwrap_or_else(|| Host::new(&name));
            if !self.order.contains(&name) {
                self.order.push(name.clone());
                host.scope = setup.scope.clone();
            }
            host.wants_root = setup.become_root.unwrap_or(false);
            host.become_user = setup.become_user.clone();
            if !(privileged || host.wants_root) {
                setup.endpoint.r#become = None;
            }
            let (shared, permits) = (Arc::clone(&self.shared), Arc::clone(&permits));
            tasks.spawn(async move {
                let _permit = permits.acquire_owned().await;
                host.connect(&shared, &setup).await;
                host
            });
        }
        while let Some(joined) = tasks.join_next().await {
            if let Ok(host) = joined {
                self.hosts.insert(host.name.clone(), host);
            }
        }
    }

    /// Lets every active host of the batch go on until something stops it.
    async fn advance(&mut self, plan: &Arc<PlayPlan>, batch: &[String]) -> Vec<(String, Halt)> {
        let permits = Arc::new(Semaphore::new(self.shared.options.forks.max(1)));
        let mut tasks = JoinSet::new();
        let mut away: Vec<String> = Vec::new();
        for name in batch {
            if !self.hosts.get(name).is_some_and(Host::is_active) {
                continue;
            }
            let Some(mut host) = self.hosts.remove(name) else { continue };
            away.push(name.clone());
            let (shared, permits) = (Arc::clone(&self.shared), Arc::clone(&permits));
            tasks.spawn(async move {
                let _permit = permits.acquire_owned().await;
                let halt = host.advance(&shared).await;
                (host, halt)
            });
        }
        let mut halts = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            if let Ok((host, halt)) = joined {
                away.retain(|name| *name != host.name);
                if host.state == State::Failed && (plan.play.any_errors_fatal) {
                    self.shared.stop.end_play();
                }
                match halt {
                    Halt::Over => self.shared.tell(Event::HostDone { host: host.name.clone() }),
                    halt => halts.push((host.name.clone(), halt)),
                }
                self.hosts.insert(host.name.clone(), host);
            }
        }
        // A worker that ended by a fault of this program takes only its own host with it.
        for name in away {
            let mut host = Host::new(&name);
            host.state = State::Failed;
            host.stats.failed = 1;
            let message = format!("a fault of ishprov itself ended the work on `{name}`");
            host.diagnostics.push(
                Diagnostic::error("internal", message)
                    .hint("please report it; the next run goes on where this one stopped"),
            );
            self.hosts.insert(name, host);
        }
        halts
    }

    /// Hosts that came to a common place: the ones farthest back go first.
    async fn meet(&mut self, plan: &Arc<PlayPlan>, batch: &[String], halts: Vec<(String, Halt)>) {
        let place = |crew: &Self, name: &String| {
            crew.hosts.get(name).map(|host| host.cursor.position()).unwrap_or_default()
        };
        for (name, halt) in &halts {
            if let (Halt::Include(step), Some(host)) = (halt, self.hosts.get_mut(name)) {
                host.take_in(&self.shared, step);
            }
        }
        let stopped: Vec<(&String, &Arc<Step>)> = halts
            .iter()
            .filter_map(|(name, halt)| if let Halt::Barrier(step) = halt { Some((name, step)) } else { None })
            .collect();
        // Hosts that took in tasks are still on their way to the barrier.
        if stopped.len() < halts.len() {
            return;
        }
        let Some(first) = stopped.iter().map(|(name, _)| place(self, name)).min() else { return };
        let together: Vec<String> = batch
            .iter()
            .filter(|name| stopped.iter().any(|(stopped, _)| stopped == name) && place(self, name) == first)
            .cloned()
            .collect();
        let Some(step) =
            stopped.iter().find(|(name, _)| together.contains(name)).map(|(_, step)| Arc::clone(step))
        else {
            return;
        };
        self.refresh_hostvars();
        match step.barrier {
            Barrier::None | Barrier::Sync => {
                for name in &together {
                    if let Some(host) = self.hosts.get_mut(name) {
                        host.passed = Some(first.clone());
                    }
                }
            }
            Barrier::Once => self.once(&step, &together).await,
            Barrier::Delegate => self.delegated(&step, &together).await,
            Barrier::Procedure => self.procedure(plan, &step, &together).await,
        }
    }

    /// One host does it for all; what it registers holds on all.
    async fn once(&mut self, step: &Arc<Step>, together: &[String]) {
        let Some(first) = together.first().cloned() else { return };
        let position = self.hosts.get(&first).map(|host| host.cursor.position());
        if let Some(host) = self.hosts.get_mut(&first) {
            host.learned.clear();
        }
        if step.keywords.delegate_to.is_some() {
            self.delegated(step, std::slice::from_ref(&first)).await;
        } else {
            self.alone(step, &first).await;
        }
        let Some(host) = self.hosts.get(&first) else { return };
        let results: Vec<(String, Arc<Value>)> = step
            .keywords
            .register
            .iter()
            .map(|name| name.node.clone())
            .chain(
                step.args
                    .iter()
                    .filter(|_| step.call.sets_variables())
                    .map(|argument| argument.name.node.clone()),
            )
            .filter_map(|name| host.scope.runtime.get(&name).map(|value| (name.clone(), Arc::clone(value))))
            .collect();
        let learned = host.learned.clone();
        let failed = !host.is_active() || Some(host.cursor.position()) == position;
        for name in together.iter().skip(1) {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            for (name, value) in &results {
                host.scope.set(name, (**value).clone());
            }
            if !learned.is_empty() {
                host.scope.learn(&learned);
            }
            if failed {
                let message = format!("`{}` failed on {first}, which does it for all hosts", step.title());
                host.fail(
                    &self.shared,
                    Diagnostic::error("run-once-failed", message).at(step.span),
                    Status::Failed,
                );
            } else {
                host.cursor.advance();
            }
        }
    }

    /// Runs one step on one host, whatever barrier it is.
    async fn alone(&mut self, step: &Arc<Step>, name: &str) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.single(&self.shared, step).await;
        }
    }

    /// Each host's step on another host's connection, one after the other.
    async fn delegated(&mut self, step: &Arc<Step>, together: &[String]) {
        for name in together {
            let target = match self.delegate_target(step, name) {
                Ok(target) => target,
                Err(diagnostic) => {
                    if let Some(host) = self.hosts.get_mut(name) {
                        host.fail(&self.shared, framed(step, diagnostic), Status::Failed);
                    }
                    continue;
                }
            };
            if target == *name {
                self.alone(step, name).await;
                continue;
            }
            self.reach(&target).await;
            let Some(session) = self.hosts.get_mut(&target).and_then(|host| host.session.take()) else {
                if let Some(host) = self.hosts.get_mut(name) {
                    let message = format!("`{target}`, which this task is delegated to, cannot be reached");
                    host.fail(
                        &self.shared,
                        framed(step, Diagnostic::error("unreachable", message).at(step.span)),
                        Status::Failed,
                    );
                }
                continue;
            };
            let own = self.hosts.get_mut(name).and_then(|host| host.session.replace(session));
            self.alone(step, name).await;
            let lent = self.hosts.get_mut(name).and_then(|host| std::mem::replace(&mut host.session, own));
            if let Some(host) = self.hosts.get_mut(&target) {
                host.session = lent;
            }
        }
    }

    fn delegate_target(&self, step: &Arc<Step>, name: &str) -> Result<String, Diagnostic> {
        let Some((host, node)) = self.hosts.get(name).zip(step.keywords.delegate_to.as_ref()) else {
            return Ok(name.to_owned());
        };
        let scope = host.scope_of(step, &host.cursor);
        let target = self.shared.templates.render_value(node, &scope.shared())?;
        let target = target.as_str().unwrap_or_default().to_owned();
        if self.setups.contains_key(&target) {
            return Ok(target);
        }
        let near = crate::diag::did_you_mean(&target, self.setups.keys().map(String::as_str));
        Err(Diagnostic::error("unknown-host", format!("`{target}` is no host of the inventory"))
            .at(node.span)
            .maybe_hint(near))
    }

    /// Makes sure there is a connection to a host that may be outside the play.
    async fn reach(&mut self, name: &str) {
        let Some(setup) = self.setups.get(name).cloned() else { return };
        let shared = Arc::clone(&self.shared);
        let host = self.hosts.entry(name.to_owned()).or_insert_with(|| {
            let mut host = Host::new(name);
            host.scope = setup.scope.clone();
            host
        });
        host.connect(&shared, &setup).await;
    }

    /// `hostvars` as of now, for every host.
    pub(super) fn refresh_hostvars(&mut self) {
        let mut all = Map::new();
        for (name, setup) in &self.setups {
            let scope = self.hosts.get(name).map_or(&setup.scope, |host| &host.scope);
            all.insert(name.clone(), Value::Object(self.own_vars(scope)));
        }
        let all = Arc::new(Value::Object(all));
        for host in self.hosts.values_mut() {
            Arc::make_mut(&mut host.scope.magic).insert("hostvars".to_owned(), Arc::clone(&all));
        }
    }

    /// A host's variables as other hosts see them. What cannot be rendered yet is left out.
    fn own_vars(&self, scope: &HostScope) -> Map<String, Value> {
        let lean = HostScope { layers: Arc::default(), loop_vars: Arc::default(), ..scope.clone() };
        let shared = lean.shared();
        let mut vars = Map::new();
        for name in scope
            .own_names()
            .into_iter()
            .chain(scope.facts.keys().cloned())
            .chain(["inventory_hostname".to_owned(), "group_names".to_owned()])
        {
            let value = match shared.get(&name) {
                Some(crate::template::Variable::Value(value)) => Some((*value).clone()),
                Some(crate::template::Variable::Node(node)) => {
                    self.shared.templates.render_value(&node, &shared).ok()
                }
                None => None,
            };
            if let Some(value) = value {
                vars.insert(name, value);
            }
        }
        vars
    }

    fn report(self) -> Report {
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
    let handlers = plan.handlers.iter().flat_map(|handler| handler.program.ops.iter());
    plan.program.ops.iter().chain(handlers).any(|op| match op {
        Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. } => {
            step.keywords.r#become.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false)))
        }
        _ => false,
    })
}
