//! The inventory as values: Ansible's `--list` and `--graph`, and the magic variables.

use super::{Inventory, build};
use serde_json::{Map, Value, json};

impl Inventory {
    /// Ansible's `--list` form: groups with their hosts and children, and `_meta.hostvars`. `hostvars` gives the
    /// variables of a host: [`Inventory::plain_vars`], or rendered ones.
    pub fn to_json(&self, hostvars: &dyn Fn(&str) -> Map<String, Value>) -> Value {
        let vars: Map<String, Value> =
            self.hosts.keys().map(|host| (host.clone(), Value::Object(hostvars(host)))).collect();
        let mut list = Map::new();
        list.insert("_meta".to_owned(), json!({ "hostvars": vars }));
        for group in self.groups.values() {
            let mut shown = Map::new();
            if !group.children.is_empty() {
                shown.insert("children".to_owned(), json!(group.children));
            }
            if !group.hosts.is_empty() {
                shown.insert("hosts".to_owned(), json!(group.hosts));
            }
            if !shown.is_empty() {
                list.insert(group.name.clone(), Value::Object(shown));
            }
        }
        Value::Object(list)
    }

    /// The merged variables of a host as written: templates are not rendered, vault texts stay encrypted.
    pub fn plain_vars(&self, host: &str) -> Map<String, Value> {
        self.host_vars(host).into_iter().map(|(name, (node, _))| (name.to_owned(), node.to_value())).collect()
    }

    /// Ansible's `--graph` form: the tree below `@all:`, ended by a line break.
    pub fn graph(&self) -> String {
        let mut text = String::new();
        self.branch(build::ALL, 0, &mut text);
        text
    }

    fn branch(&self, name: &str, depth: usize, text: &mut String) {
        let head =
            |depth: usize| if depth == 0 { String::new() } else { format!("{}--", "  |".repeat(depth)) };
        text.push_str(&format!("{}@{name}:\n", head(depth)));
        let Some(group) = self.groups.get(name) else { return };
        for child in &group.children {
            self.branch(child, depth + 1, text);
        }
        for host in &group.hosts {
            text.push_str(&format!("{}{host}\n", head(depth + 1)));
        }
    }

    /// The magic variable `groups`: the hosts of every group, those of groups below included.
    pub fn groups_value(&self) -> Value {
        self.groups.keys().map(|name| (name.clone(), json!(self.members(name)))).collect::<Map<_, _>>().into()
    }

    /// The magic variables of a host, without `groups` (see [`Inventory::groups_value`]): `inventory_hostname`,
    /// `inventory_hostname_short`, `group_names`, `inventory_file`, `inventory_dir`. A `localhost` that
    /// no source names has `ansible_connection` here too.
    pub fn magic(&self, host: &str) -> Map<String, Value> {
        let mut magic = Map::new();
        let Some(host) = self.host(host) else { return magic };
        let mut names: Vec<&str> =
            self.groups_of(&host.name).into_iter().map(|group| group.name.as_str()).collect();
        names.retain(|name| *name != build::ALL);
        names.sort_unstable();
        magic.insert("inventory_hostname".to_owned(), json!(host.name));
        magic.insert("inventory_hostname_short".to_owned(), json!(host.short_name()));
        magic.insert("group_names".to_owned(), json!(names));
        if host.source.is_none() {
            magic.insert("ansible_connection".to_owned(), json!("local"));
        }
        magic.insert("inventory_file".to_owned(), json!(host.source));
        magic.insert("inventory_dir".to_owned(), json!(host.source_dir()));
        magic
    }
}
