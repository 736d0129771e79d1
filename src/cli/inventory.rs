//! `ishprov inventory`: hosts, groups and variables.

use super::args::{InventoryArgs, InventoryCommand};
use super::exit;
use super::load::{World, world};
use crate::console::Screen;
use crate::template::{Scope as _, Variable};
use serde_json::{Map, Value};

/// Shows an inventory; the exit code.
pub fn inventory(command: InventoryCommand) -> i32 {
    let screen = Screen::new(false, 0, false);
    let (InventoryCommand::List(args)
    | InventoryCommand::Graph(args)
    | InventoryCommand::Host { inventory: args, .. }) = &command;
    let mut world = load(args);
    if world.show_findings(&screen) {
        super::run::summary(&world, &screen);
        return exit::ERROR;
    }
    match command {
        InventoryCommand::List(_) => {
            let vars = |host: &str| masked(&world, rendered(&world, host));
            let list = world.inventory.to_json(&vars);
            screen.line(&serde_json::to_string_pretty(&list).unwrap_or_default());
        }
        InventoryCommand::Graph(_) => screen.line(world.inventory.graph().trim_end()),
        InventoryCommand::Host { host, .. } => {
            if world.inventory.host(&host).is_none() {
                let pattern = world.pattern(&host);
                world.select(&pattern, None);
                world.show_findings(&screen);
                return exit::ERROR;
            }
            let vars = masked(&world, rendered(&world, &host));
            screen.line(&serde_json::to_string_pretty(&Value::Object(vars)).unwrap_or_default());
            for layer in world.inventory.host_layers(&host) {
                for (name, node) in layer.vars {
                    let place = world.library.map().locate(node.span);
                    screen.aside(&format!("{name}: {place} ({})", layer.name));
                }
            }
        }
    }
    exit::OK
}

fn load(args: &InventoryArgs) -> World {
    world(args, None, false)
}

/// A host's variables with their templates filled in; what needs facts stays as it is written.
fn rendered(world: &World, host: &str) -> Map<String, Value> {
    let scope = world.scope(host, false);
    let shared = scope.shared();
    let mut vars = Map::new();
    for name in scope.own_names() {
        let value = match scope.get(&name) {
            Some(Variable::Node(node)) => {
                world.templates.render_value(&node, &shared).unwrap_or_else(|_| node.to_value())
            }
            Some(Variable::Value(value)) => (*value).clone(),
            None => continue,
        };
        vars.insert(name, value);
    }
    vars
}

fn masked(world: &World, vars: Map<String, Value>) -> Map<String, Value> {
    let masker = world.library.masker();
    fn walk(value: Value, masker: &crate::shell::Masker) -> Value {
        match value {
            Value::String(text) => Value::String(masker.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| walk(item, masker)).collect(),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(key, value)| (key, walk(value, masker))).collect())
            }
            other => other,
        }
    }
    vars.into_iter().map(|(name, value)| (name, walk(value, masker))).collect()
}
