//! Hosts, groups and their variables, as Ansible knows them: INI, YAML and `h1,h2,` sources, group_vars and host_vars.
//!
//! Pure: it takes texts and gives values. What to read is told by [`layout`]; [`Inventory::build`] puts it together;
//! [`Inventory::select`] finds the hosts of a pattern, [`Inventory::host_layers`] the variables of a host in the order
//! of precedence, and [`connection::read`] how to reach it.

mod address;
mod build;
pub mod connection;
mod from_yaml;
mod group;
mod host;
mod ini;
mod layout;
mod literal;
mod names;
mod pattern;
mod show;
mod vars;

pub use build::{InventorySource, SourceKind};
pub use connection::{Connection, ConnectionKind};
pub use group::Group;
pub use host::Host;
pub use layout::{Layout, Shadowed, VarsPath, is_private, is_secret, layout};
pub use pattern::list_files;
pub use vars::{Beside, Layer, LayerName, Owner, Vars, VarsFile};

use indexmap::IndexMap;

/// All hosts and groups. `all` and `ungrouped` are always among the groups.
#[derive(Debug, Clone)]
pub struct Inventory {
    hosts: IndexMap<String, Host>,
    groups: IndexMap<String, Group>,
    /// `localhost` where no source names it: not a member of `all`, reached without a connection.
    localhost: Host,
    files: Vec<vars::Loaded>,
}

impl Inventory {
    /// The hosts, in the order in which they were first named.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host by name. `localhost` is there even where no source names it.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name).or_else(|| pattern::is_localhost(name).then_some(&self.localhost))
    }

    /// The groups: `all`, `ungrouped`, then in the order in which they were first named.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// A group by name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The hosts of a group and of all groups below it, each once; empty for an unknown group.
    pub fn members(&self, group: &str) -> Vec<&str> {
        if group == build::ALL {
            return self.hosts.keys().map(String::as_str).collect();
        }
        let mut members: IndexMap<&str, ()> = IndexMap::new();
        let mut seen: IndexMap<&str, ()> = IndexMap::new();
        let mut level: Vec<&str> = vec![group];
        while !level.is_empty() {
            let mut below = Vec::new();
            for name in level {
                let Some(group) = self.groups.get(name) else { continue };
                if seen.insert(&group.name, ()).is_none() {
                    members.extend(group.hosts.iter().map(|host| (host.as_str(), ())));
                    below.extend(group.children.iter().map(String::as_str));
                }
            }
            level = below;
        }
        members.into_keys().collect()
    }

    /// The groups that a host belongs to, itself or through groups below, in the order in which their variables
    /// merge: `all` first, then by depth, `ansible_group_priority` and name. Later ones win.
    pub fn groups_of(&self, host: &str) -> Vec<&Group> {
        let mut names: IndexMap<&str, ()> = IndexMap::new();
        names.insert(build::ALL, ());
        let mut level: Vec<&str> = self
            .groups
            .values()
            .filter(|group| group.hosts.iter().any(|member| member == host))
            .map(|group| group.name.as_str())
            .collect();
        while let Some(name) = level.pop() {
            if names.insert(name, ()).is_none() {
                level.extend(self.parents(name));
            }
        }
        let mut groups: Vec<&Group> = names.into_keys().filter_map(|name| self.groups.get(name)).collect();
        groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
        groups
    }

    fn parents<'a>(&'a self, child: &'a str) -> impl Iterator<Item = &'a str> {
        self.groups
            .values()
            .filter(move |group| group.children.iter().any(|name| name == child))
            .map(|group| group.name.as_str())
    }
}

#[cfg(test)]
mod tests;
