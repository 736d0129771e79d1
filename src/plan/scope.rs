//! The variables of one host at one moment, in Ansible's order of precedence.

use super::ahead::Ahead;
use super::program::{Layer, Layers};
use super::record::Record;
use crate::template::{Foreseen, Scope, Variable};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Finished values by name.
pub type Values = BTreeMap<String, Arc<Value>>;

/// Everything a template on a host may refer to. Cloning is cheap.
///
/// From the nearest to the farthest: loop variables, magic variables, `-e`, parameters of roles and includes,
/// `set_fact` and registered results, `include_vars`, task and block vars, role vars, play vars, facts, host vars,
/// group vars, role defaults.
#[derive(Debug, Clone, Default)]
pub struct HostScope {
    /// `item` and the index variable.
    pub loop_vars: Arc<Values>,
    /// `inventory_hostname`, `groups`, `hostvars`, ...
    pub magic: Arc<Values>,
    /// `-e`.
    pub extra: Arc<Layer>,
    /// `set_fact` and registered results.
    pub runtime: Arc<Values>,
    /// `include_vars`.
    pub included: Arc<Layer>,
    /// What the task brings along.
    pub layers: Arc<Layers>,
    /// `ansible_facts` and the same as `ansible_...`.
    pub facts: Arc<Values>,
    /// Host and group vars, nearest first.
    pub inventory: Arc<Vec<Arc<Layer>>>,
    /// Where questions are noted, while something is made ready.
    pub record: Option<Arc<Record>>,
    /// What only the run brings, while a plan is checked.
    pub ahead: Option<Arc<Ahead>>,
}

impl HostScope {
    /// The same host as seen by a task.
    pub fn for_layers(&self, layers: &Arc<Layers>) -> Self {
        Self { layers: Arc::clone(layers), ..self.clone() }
    }

    /// The same with loop variables.
    pub fn with_loop(&self, vars: Values) -> Self {
        Self { loop_vars: Arc::new(vars), ..self.clone() }
    }

    /// The same with a fresh record of what it is asked for.
    pub fn recorded(&self) -> (Self, Arc<Record>) {
        let record = Arc::new(Record::default());
        (Self { record: Some(Arc::clone(&record)), ..self.clone() }, record)
    }

    /// Sets a registered result or fact.
    pub fn set(&mut self, name: &str, value: Value) {
        Arc::make_mut(&mut self.runtime).insert(name.to_owned(), Arc::new(value));
    }

    /// Sets a magic variable.
    pub fn set_magic(&mut self, name: &str, value: Value) {
        Arc::make_mut(&mut self.magic).insert(name.to_owned(), Arc::new(value));
    }

    /// Takes in a host's facts: `ansible_facts.x`, and `ansible_x`.
    pub fn set_facts(&mut self, facts: &serde_json::Map<String, Value>) {
        let mut values: Values =
            facts.iter().map(|(name, value)| (format!("ansible_{name}"), Arc::new(value.clone()))).collect();
        values.insert("ansible_facts".to_owned(), Arc::new(Value::Object(facts.clone())));
        self.facts = Arc::new(values);
    }

    /// Takes in facts that a task brought (`ansible_x` or `x`), beside those that are known: under `ansible_facts`,
    /// as `ansible_x`, and by their own names. They stay below the site's variables, which they must not hide.
    pub fn learn(&mut self, facts: &serde_json::Map<String, Value>) {
        let values = Arc::make_mut(&mut self.facts);
        let mut all = match values.get("ansible_facts").map(|known| (**known).clone()) {
            Some(Value::Object(known)) => known,
            _ => serde_json::Map::new(),
        };
        for (name, value) in facts {
            let bare = name.strip_prefix("ansible_").unwrap_or(name);
            let shared = Arc::new(value.clone());
            values.insert(name.clone(), Arc::clone(&shared));
            values.insert(format!("ansible_{bare}"), shared);
            all.insert(bare.to_owned(), value.clone());
        }
        values.insert("ansible_facts".to_owned(), Arc::new(Value::Object(all)));
    }

    /// As a scope for the template engine.
    pub fn shared(&self) -> Arc<dyn Scope> {
        Arc::new(self.clone())
    }

    /// The YAML layers, nearest first, with the finished values between them left out.
    fn written(&self) -> impl Iterator<Item = &Arc<Layer>> {
        let layers = &self.layers;
        let near = std::iter::once(&self.extra).chain(&layers.params).chain(std::iter::once(&self.included));
        near.chain(&layers.tasks)
            .chain(&layers.role_vars)
            .chain(&layers.play)
            .chain(self.inventory.iter())
            .chain(&layers.defaults)
    }

    /// Every name defined in YAML or at run time, without facts and magic variables: what `hostvars` offers.
    pub fn own_names(&self) -> BTreeSet<String> {
        let inventory = self.inventory.iter().flat_map(|layer| layer.vars.keys().cloned());
        inventory.chain(self.extra.vars.keys().cloned()).chain(self.runtime.keys().cloned()).collect()
    }
}

impl HostScope {
    /// The nearest definition of a name.
    pub(super) fn defined(&self, name: &str) -> Option<Variable> {
        let value = |values: &Values| values.get(name).map(|value| Variable::Value(Arc::clone(value)));
        let node = |layer: &Arc<Layer>| layer.vars.get(name).map(|node| Variable::Node(Arc::clone(node)));
        let first = |layers: &[Arc<Layer>]| layers.iter().find_map(node);
        let layers = &self.layers;
        value(&self.loop_vars)
            .or_else(|| value(&self.magic))
            .or_else(|| node(&self.extra))
            .or_else(|| first(&layers.params))
            .or_else(|| value(&self.runtime))
            .or_else(|| node(&self.included))
            .or_else(|| first(&layers.tasks))
            .or_else(|| first(&layers.role_vars))
            .or_else(|| first(&layers.play))
            .or_else(|| value(&self.facts))
            .or_else(|| first(&self.inventory))
            .or_else(|| first(&layers.defaults))
    }
}

impl Scope for HostScope {
    fn get(&self, name: &str) -> Option<Variable> {
        let found = self.defined(name);
        if let Some(record) = &self.record {
            record.note(name, found.as_ref());
        }
        found
    }

    fn foreseen(&self, name: &str) -> Option<Foreseen> {
        self.ahead.as_ref()?.foreseen(name, self)
    }

    fn is_whole(&self) -> bool {
        self.ahead.is_none()
    }

    fn names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> =
            self.written().flat_map(|layer| layer.vars.keys().cloned()).collect();
        for values in [&self.loop_vars, &self.magic, &self.runtime, &self.facts] {
            names.extend(values.keys().cloned());
        }
        let names: Vec<String> = names.into_iter().collect();
        if let Some(record) = &self.record {
            record.note_names(&names);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{SourceMap, Span};
    use crate::yaml::{Kind, Node};

    #[test]
    fn nearer_definitions_win() {
        let file = SourceMap::new().add("x", "");
        let layer = |names: &[&str], text: &str| {
            let node = Arc::new(Node::new(Kind::Str(text.to_owned()), Span::new(file, 0, 0)));
            Arc::new(Layer {
                vars: names.iter().map(|name| ((*name).to_owned(), Arc::clone(&node))).collect(),
            })
        };
        let mut scope = HostScope {
            extra: layer(&["a"], "extra"),
            inventory: Arc::new(vec![layer(&["a", "b", "c", "d"], "host"), layer(&["e"], "group")]),
            layers: Arc::new(Layers {
                play: vec![layer(&["a", "b"], "play")],
                defaults: vec![layer(&["d", "f"], "default")],
                ..Layers::default()
            }),
            ..HostScope::default()
        };
        scope.set("c", Value::from("registered"));
        let show = |name: &str| match scope.get(name) {
            Some(Variable::Node(node)) => node.scalar_text().unwrap_or_default(),
            Some(Variable::Value(value)) => value.as_str().unwrap_or_default().to_owned(),
            None => "undefined".to_owned(),
        };
        let found: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"].iter().map(|name| show(name)).collect();
        assert_eq!(found, ["extra", "play", "registered", "host", "group", "default", "undefined"]);
    }
}
