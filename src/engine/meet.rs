//! Where hosts come together: steps that look across hosts, that one host does for all, or that are done on another host.

use super::event::Event;
use super::host::{Halt, Host, State};
use super::play::{Crew, wants_root};
use super::unit::truth;
use crate::diag::{Diagnostic, did_you_mean};
use crate::plan::{Barrier, HostScope, PlayPlan, Step, framed};
use crate::playbook::Meta;
use serde_json::{Map, Value};
use std::sync::Arc;

impl Crew {
    /// Hosts that came to a common place: the ones farthest back go first.
    pub(super) async fn meet(&mut self, plan: &Arc<PlayPlan>, batch: &[String], halts: Vec<(String, Halt)>) {
        let mut taken_in = false;
        for (name, halt) in &halts {
            if let (Halt::Include(step), Some(host)) = (halt, self.hosts.get_mut(name)) {
                host.take_in(&self.shared, step);
                taken_in = true;
            }
        }
        if taken_in {
            // Hosts that took in tasks are still on their way to the others.
            return self.rise(&halts).await;
        }
        let place = |halt: &Halt| halt.place().cloned().unwrap_or_default();
        let Some(first) = halts.iter().map(|(_, halt)| place(halt)).min() else { return };
        let here = |name: &&String| halts.iter().any(|(host, halt)| host == *name && place(halt) == first);
        let together: Vec<String> = batch.iter().filter(here).cloned().collect();
        let Some(lead) = together.first() else { return };
        let Some((_, halt)) = halts.into_iter().find(|(name, _)| name == lead) else { return };
        match halt {
            Halt::Pace(_) => self.let_pass(&together, &first),
            Halt::Meta(step, meta, _) => self.steer(&step, meta, batch, &together),
            Halt::Barrier(step, _) => {
                self.refresh_hostvars();
                if step.barrier != Barrier::Sync {
                    // What was read ahead may not hold any more behind what is done now.
                    self.hosts.values_mut().for_each(Host::forget_ahead);
                }
                match step.barrier {
                    Barrier::None | Barrier::Sync => self.let_pass(&together, &first),
                    Barrier::Once => self.once(&step, &together, &first).await,
                    Barrier::Delegate => self.delegated(&step, &together).await,
                    Barrier::Procedure => self.procedure(plan, &step, &together).await,
                }
            }
            Halt::Include(_) | Halt::Over => {}
        }
    }

    fn let_pass(&mut self, together: &[String], place: &[usize]) {
        for name in together {
            if let Some(host) = self.hosts.get_mut(name) {
                host.passed = Some(place.to_vec());
            }
        }
    }

    /// What `meta` does to all hosts at once; as in Ansible, its conditions are asked of the first host alone.
    fn steer(&mut self, step: &Arc<Step>, meta: Meta, batch: &[String], together: &[String]) {
        let shared = Arc::clone(&self.shared);
        let Some(first) = together.first().and_then(|name| self.hosts.get_mut(name)) else { return };
        let scope = first.scope_of(step, &first.cursor);
        let holds = match first.conditions(&shared, step, &scope) {
            Ok(holds) => holds,
            Err(diagnostic) => return first.fail_step(&shared, step, diagnostic),
        };
        for name in together {
            if let Some(host) = self.hosts.get_mut(name) {
                host.cursor.advance();
            }
        }
        if !holds {
            return;
        }
        match meta {
            Meta::EndPlay => {
                self.play_over = true;
                for name in batch {
                    if let Some(host) = self.hosts.get_mut(name).filter(|host| host.is_active()) {
                        host.state = State::Ended;
                        shared.tell(Event::HostDone { host: name.clone() });
                    }
                }
            }
            // They do not come back to this play, but the next one has them again.
            Meta::ClearHostErrors => {
                for name in batch {
                    if let Some(host) = self.hosts.get_mut(name).filter(|host| !host.is_active()) {
                        host.state = State::Ended;
                    }
                }
            }
            Meta::EndHost | Meta::FlushHandlers | Meta::Noop | Meta::RefreshFacts => {}
        }
    }

    /// One host does it for all; what it brings holds on all, and so does its failure.
    async fn once(&mut self, step: &Arc<Step>, together: &[String], place: &[usize]) {
        let Some(first) = together.first().cloned() else { return };
        if step.keywords.delegate_to.is_some() {
            self.delegated(step, std::slice::from_ref(&first)).await;
        } else {
            self.alone(step, &first).await;
        }
        let Some(host) = self.hosts.get_mut(&first) else { return };
        let failed = host.fell.take().is_some() || host.state == State::Failed;
        let learned = std::mem::take(&mut host.learned);
        for name in together.iter().skip(1) {
            let Some(host) = self.hosts.get_mut(name) else { continue };
            learned.hold_on(&mut host.scope);
            if !failed {
                host.cursor.advance();
            }
        }
        if failed {
            self.fail_along(together, &first, place, "it does this task for all hosts");
        }
    }

    /// Runs one step on one host, whatever barrier it is.
    async fn alone(&mut self, step: &Arc<Step>, name: &str) {
        let (shared, step) = (Arc::clone(&self.shared), Arc::clone(step));
        let one = |mut host: Host| {
            let (shared, step) = (Arc::clone(&shared), Arc::clone(&step));
            async move {
                host.single(&shared, &step).await;
                (host, ())
            }
        };
        self.side_by_side(&[name.to_owned()], 1, one).await;
    }

    /// Each host's step on another host's connection, one after the other.
    async fn delegated(&mut self, step: &Arc<Step>, together: &[String]) {
        for name in together {
            let target = match self.delegate_target(step, name) {
                Ok(target) => target,
                Err(diagnostic) => {
                    let shared = Arc::clone(&self.shared);
                    if let Some(host) = self.hosts.get_mut(name) {
                        host.fail_step(&shared, step, framed(step, diagnostic));
                    }
                    continue;
                }
            };
            if target == *name {
                self.alone(step, name).await;
                continue;
            }
            let why = self.reach(step, &target).await;
            let Some(seat) = self.hosts.get_mut(&target).filter(|_| why.is_none()).and_then(Host::lend)
            else {
                let shared = Arc::clone(&self.shared);
                if let Some(host) = self.hosts.get_mut(name) {
                    let message = format!("`{target}`, which this task is delegated to, cannot be reached");
                    let diagnostic =
                        Diagnostic::error("unreachable", message).at(step.span).host(name.clone());
                    host.lose(&shared, framed(step, why.into_iter().fold(diagnostic, Diagnostic::note)));
                }
                continue;
            };
            let Some(host) = self.hosts.get_mut(name) else { continue };
            let (before, own) = (host.scope.clone(), host.sit(seat));
            self.alone(step, name).await;
            let lent = self.hosts.get_mut(name).map(|host| host.sit(own));
            if let Some((host, lent)) = self.hosts.get_mut(&target).zip(lent) {
                host.sit(lent);
            }
            self.hand_over_facts(step, name, &target, before);
        }
    }

    /// With `delegate_facts`, what a delegated step brought is known of the host it ran on. `before` is what was known.
    fn hand_over_facts(&mut self, step: &Step, name: &str, target: &str, before: HostScope) {
        let shared = Arc::clone(&self.shared);
        let Some(host) = self.hosts.get_mut(name) else { return };
        let scope = host.scope_of(step, &host.cursor);
        let wanted = step.keywords.delegate_facts.as_ref();
        let wanted = wanted.and_then(|node| shared.templates.render_value(node, &scope.shared()).ok());
        if !wanted.as_ref().and_then(truth).unwrap_or(false) {
            return;
        }
        let mut learned = std::mem::take(&mut host.learned);
        let register = step.keywords.register.as_ref().map(|name| name.node.clone()).unwrap_or_default();
        let result = learned.values.remove(&register);
        (host.scope.runtime, host.scope.facts) = (before.runtime, before.facts);
        if let Some(result) = result {
            Arc::make_mut(&mut host.scope.runtime).insert(register, result);
        }
        if let Some(target) = self.hosts.get_mut(target) {
            learned.hold_on(&mut target.scope);
        }
    }

    fn delegate_target(&self, step: &Arc<Step>, name: &str) -> Result<String, Diagnostic> {
        let Some((host, node)) = self.hosts.get(name).zip(step.keywords.delegate_to.as_ref()) else {
            return Ok(name.to_owned());
        };
        let scope = host.scope_of(step, &host.cursor);
        // A task that is left out goes nowhere: its own host says so.
        if step.keywords.r#loop.is_none() && host.conditions(&self.shared, step, &scope) == Ok(false) {
            return Ok(name.to_owned());
        }
        let target = self.shared.templates.render_value(node, &scope.shared())?;
        let target = target.as_str().unwrap_or_default().to_owned();
        match self.setups.get(&target).map(|setup| &setup.out_of_reach) {
            Some(None) => Ok(target),
            Some(Some(why)) => {
                Err(Diagnostic::error("out-of-reach", format!("`{target}` is out of reach: {why}"))
                    .at(node.span))
            }
            None => {
                let near = did_you_mean(&target, self.setups.keys().map(String::as_str));
                Err(Diagnostic::error("unknown-host", format!("`{target}` is no host of the inventory"))
                    .at(node.span)
                    .maybe_hint(near))
            }
        }
    }

    /// Makes sure there is a connection to a host that may be outside the play, with the rights the step needs; else why
    /// there is none.
    async fn reach(&mut self, step: &Step, name: &str) -> Option<String> {
        let wants_root = wants_root(&step.keywords);
        self.recruit(name);
        self.open(vec![(name.to_owned(), wants_root)]).await;
        let host = self.hosts.get(name)?;
        let why = host.diagnostics.last().map(|diagnostic| diagnostic.message.clone());
        host.session.is_none().then(|| why.unwrap_or_default())
    }

    /// Hosts that took in tasks which need the rights of root, and began without them.
    async fn rise(&mut self, halts: &[(String, Halt)]) {
        let low =
            |name: &&String| self.hosts.get(*name).is_some_and(|host| host.wants_rise && !host.privileged);
        let names: Vec<String> = halts.iter().map(|(name, _)| name).filter(low).cloned().collect();
        self.open(names.into_iter().map(|name| (name, true)).collect()).await;
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
}
