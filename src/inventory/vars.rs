//! Variables of hosts and groups, and the order in which they win.

use super::{Inventory, build};
use crate::diag::{Diagnostic, FileId, SourceMap};
use crate::yaml::{self, Kind, Node, type_fault};
use indexmap::IndexMap;

/// Variables by name, in the order set; every value knows its place.
pub type Vars = IndexMap<String, Node>;

/// A group_vars or host_vars file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VarsFile {
    /// Its text, decrypted when the whole file was a vault.
    pub file: FileId,
    /// Whose variables they are.
    pub owner: Owner,
    /// Beside what it was found.
    pub beside: Beside,
    /// Whether the whole file was a vault: every value in it is a secret.
    pub vaulted: bool,
}

/// Whose variables a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// `group_vars/NAME`.
    Group(String),
    /// `host_vars/NAME`.
    Host(String),
}

/// Beside what a vars file was found. What lies beside the playbook wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beside {
    /// The n-th inventory source; later sources win.
    Inventory(usize),
    /// The playbook.
    Playbook,
}

/// Where a layer of variables comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerName {
    /// Variables of a group in the inventory's own sources.
    Group(String),
    /// A group_vars file: the group and the path.
    GroupVars(String, String),
    /// Variables of the host in the inventory's own sources.
    Host,
    /// A host_vars file: the path.
    HostVars(String),
}

impl std::fmt::Display for LayerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Group(group) => write!(f, "vars of group `{group}`"),
            Self::Host => f.write_str("vars of the host in the inventory"),
            Self::GroupVars(_, path) | Self::HostVars(path) => f.write_str(path),
        }
    }
}

/// Variables that were set in one place.
#[derive(Debug, Clone)]
pub struct Layer<'a> {
    /// Where they come from.
    pub name: LayerName,
    /// The variables.
    pub vars: &'a Vars,
    /// Whether every value is a secret.
    pub vaulted: bool,
}

/// A vars file that was read.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    path: String,
    owner: Owner,
    beside: Beside,
    vaulted: bool,
    vars: Vars,
}

impl Loaded {
    pub(super) fn read(file: &VarsFile, map: &SourceMap) -> Result<Self, Vec<Diagnostic>> {
        let path = map.path(file.file).to_owned();
        let text = map.text(file.file);
        if text.trim_start().starts_with("$ANSIBLE_VAULT") {
            return Err(vec![
                Diagnostic::error("vault-locked", format!("`{path}` is encrypted and was not opened"))
                    .hint("give the vault password: --vault-password-file or --ask-vault-pass"),
            ]);
        }
        let root = yaml::parse(file.file, &text)?;
        let vars = mapping(&path, root)?;
        Ok(Self { path, owner: file.owner.clone(), beside: file.beside, vaulted: file.vaulted, vars })
    }
}

fn mapping(path: &str, root: Node) -> Result<Vars, Vec<Diagnostic>> {
    let entries = match root.kind {
        Kind::Null => return Ok(Vars::new()),
        Kind::Map(entries) => entries,
        _ => return Err(vec![type_fault(&format!("`{path}`"), "a mapping of variables", &root)]),
    };
    let mut faults = Vec::new();
    let mut vars = Vars::new();
    for entry in entries {
        match entry.key.as_str() {
            Some(name) => {
                vars.insert(name.to_owned(), entry.value);
            }
            None => faults.push(type_fault("the name of a variable", "a text", &entry.key)),
        }
    }
    if faults.is_empty() { Ok(vars) } else { Err(faults) }
}

impl Inventory {
    /// The variables of a host in Ansible's order; later layers win. Empty layers are left out.
    ///
    /// From weak to strong: `all` in the sources, other groups in the sources, `group_vars/all` beside the inventory,
    /// then beside the playbook, other group_vars beside the inventory, then beside the playbook, the host in the
    /// sources, host_vars beside the inventory, then beside the playbook. Groups come parent before child.
    pub fn host_layers(&self, host: &str) -> Vec<Layer<'_>> {
        let Some(known) = self.host(host) else { return Vec::new() };
        let groups = self.groups_of(&known.name);
        let mut layers: Vec<Layer<'_>> = Vec::new();
        for group in &groups {
            layers.push(Layer {
                name: LayerName::Group(group.name.clone()),
                vars: &group.vars,
                vaulted: false,
            });
        }
        let (all, others): (Vec<&str>, Vec<&str>) =
            groups.iter().map(|group| group.name.as_str()).partition(|name| *name == build::ALL);
        for names in [all, others] {
            for file in self.files_in_order(|name| names.iter().position(|known| *known == name)) {
                layers.push(file);
            }
        }
        layers.push(Layer { name: LayerName::Host, vars: &known.vars, vaulted: false });
        let owned =
            |file: &&Loaded| matches!(&file.owner, Owner::Host(name) if *name == known.name || name == host);
        let mut files: Vec<&Loaded> = self.files.iter().filter(owned).collect();
        files.sort_by_key(|file| rank(file.beside));
        layers.extend(files.into_iter().map(|file| Layer {
            name: LayerName::HostVars(file.path.clone()),
            vars: &file.vars,
            vaulted: file.vaulted,
        }));
        layers.retain(|layer| !layer.vars.is_empty());
        layers
    }

    /// The winning node of every variable of a host, and the layer that set it.
    pub fn host_vars(&self, host: &str) -> IndexMap<&str, (&Node, LayerName)> {
        let mut merged = IndexMap::new();
        for layer in self.host_layers(host) {
            for (name, node) in layer.vars {
                merged.insert(name.as_str(), (node, layer.name.clone()));
            }
        }
        merged
    }

    /// Group files: by source, then by the place of the group, then as they were found.
    fn files_in_order(&self, place: impl Fn(&str) -> Option<usize>) -> Vec<Layer<'_>> {
        let mut files: Vec<(usize, usize, &Loaded, &str)> = Vec::new();
        for file in &self.files {
            if let Owner::Group(group) = &file.owner
                && let Some(at) = place(group)
            {
                files.push((rank(file.beside), at, file, group));
            }
        }
        files.sort_by_key(|(rank, at, ..)| (*rank, *at));
        files
            .into_iter()
            .map(|(_, _, file, group)| Layer {
                name: LayerName::GroupVars(group.to_owned(), file.path.clone()),
                vars: &file.vars,
                vaulted: file.vaulted,
            })
            .collect()
    }
}

fn rank(beside: Beside) -> usize {
    match beside {
        Beside::Inventory(source) => source,
        Beside::Playbook => usize::MAX,
    }
}
