//! Puts sources and vars files together: merging, implicit groups, depth, and what contradicts itself.

use super::vars::{Loaded, VarsFile};
use super::{Group, Host, Inventory, Vars, address, from_yaml, ini, names};
use crate::diag::{Diagnostic, FileId, SourceMap, Span, nearest};
use crate::yaml::{Kind, Node};
use indexmap::IndexMap;

/// The group of all hosts.
pub(super) const ALL: &str = "all";
/// The group of hosts without a group.
pub(super) const UNGROUPED: &str = "ungrouped";
/// The variable that orders groups of one depth.
const PRIORITY: &str = "ansible_group_priority";

/// One `-i`, or one file of an inventory directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventorySource {
    /// Its text; for a host list the list itself.
    pub file: FileId,
    /// How to read it.
    pub kind: SourceKind,
}

/// How to read an inventory source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// By the ending of its name, then by its first lines.
    Auto,
    /// YAML, JSON, or the JSON that an inventory script prints for `--list`.
    Yaml,
    /// INI.
    Ini,
    /// `h1,h2,`.
    HostList,
}

impl Inventory {
    /// Merges sources in order (later ones win) and takes in the vars files.
    ///
    /// There is always an inventory, made of what could be read, so that the rest of a site can be looked at too; it is
    /// good to use only when no diagnostic is an error.
    pub fn build(
        sources: &[InventorySource],
        files: &[VarsFile],
        map: &SourceMap,
    ) -> (Self, Vec<Diagnostic>) {
        let mut builder = Builder::new();
        for source in sources {
            builder.path = map.path(source.file).to_owned();
            let text = map.text(source.file);
            match resolved(*source, map) {
                SourceKind::HostList => builder.host_list(source.file, &text),
                SourceKind::Ini => ini::read(&mut builder, source.file, &text),
                _ => from_yaml::read(&mut builder, source.file, &text),
            }
        }
        builder.finish(files, map)
    }
}

fn resolved(source: InventorySource, map: &SourceMap) -> SourceKind {
    if source.kind != SourceKind::Auto {
        return source.kind;
    }
    let path = map.path(source.file);
    if [".yml", ".yaml", ".json"].iter().any(|ending| path.ends_with(ending)) {
        return SourceKind::Yaml;
    }
    let text = map.text(source.file);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    match first {
        Some(line) if line.starts_with(['{']) || line == "---" => SourceKind::Yaml,
        Some(line) if line.ends_with(':') && !line.starts_with('[') && !line.contains(' ') => {
            SourceKind::Yaml
        }
        _ => SourceKind::Ini,
    }
}

/// What the readers of the formats fill.
pub(super) struct Builder {
    hosts: IndexMap<String, Host>,
    groups: IndexMap<String, Group>,
    /// Where an edge from parent to child was set.
    edges: IndexMap<(String, String), Span>,
    faults: Vec<Diagnostic>,
    /// The source that is being read.
    path: String,
}

impl Builder {
    fn new() -> Self {
        let mut builder = Self {
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            edges: IndexMap::new(),
            faults: Vec::new(),
            path: String::new(),
        };
        builder.groups.insert(ALL.to_owned(), new_group(ALL, None));
        builder.groups.insert(UNGROUPED.to_owned(), new_group(UNGROUPED, None));
        builder
    }

    pub(super) fn fault(&mut self, fault: Diagnostic) {
        self.faults.push(fault);
    }

    pub(super) fn faults(&mut self, faults: impl IntoIterator<Item = Diagnostic>) {
        self.faults.extend(faults);
    }

    pub(super) fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    pub(super) fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    pub(super) fn group(&mut self, name: &str, span: Span) {
        if let Err(why) = names::group(name) {
            // Where it is named a second time it is there already, and told already.
            if !self.groups.contains_key(name) {
                self.faults.push(bad_name("bad-group-name", why, span));
            }
        }
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| new_group(name, None));
        group.span.get_or_insert(span);
    }

    /// Takes in the hosts of `db[1:3]:22`, as members of a group, and gives their names.
    pub(super) fn hosts(&mut self, group: &str, text: &str, span: Span) -> Vec<String> {
        let (names, port) = match address::expand(text) {
            Ok(expanded) => expanded,
            Err(why) => {
                self.faults.push(Diagnostic::error("bad-host-name", why).at(span));
                return Vec::new();
            }
        };
        if let Some(why) = names.iter().find_map(|name| names::host(name).err()) {
            self.faults.push(bad_name("bad-host-name", why, span));
            return Vec::new();
        }
        for name in &names {
            let path = &self.path;
            self.hosts.entry(name.clone()).or_insert_with(|| Host {
                name: name.clone(),
                span: Some(span),
                source: Some(path.clone()),
                vars: Vars::new(),
            });
            if let Some(port) = port {
                let node = Node::new(Kind::Int { value: i64::from(port), raw: port.to_string() }, span);
                self.host_var(name, "ansible_port", node);
            }
            if let Some(group) = self.groups.get_mut(group)
                && !group.hosts.contains(name)
            {
                group.hosts.push(name.clone());
            }
        }
        names
    }

    pub(super) fn host_var(&mut self, host: &str, key: &str, value: Node) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.vars.insert(key.to_owned(), value);
        }
    }

    pub(super) fn group_var(&mut self, group: &str, key: &str, value: Node) {
        let Some(group) = self.groups.get_mut(group) else { return };
        if key != PRIORITY {
            group.vars.insert(key.to_owned(), value);
            return;
        }
        match value.scalar_text().and_then(|text| text.trim().parse().ok()) {
            Some(priority) => group.priority = priority,
            None => self.faults.push(
                Diagnostic::error(
                    "wrong-type",
                    format!("`{PRIORITY}` expects a whole number, found {}", value.describe()),
                )
                .at(value.span),
            ),
        }
    }

    /// Puts one known group below another.
    pub(super) fn child(&mut self, parent: &str, child: &str, span: Span) {
        if child == ALL {
            let message = format!("group `{ALL}` cannot be below `{parent}`: it is above every group");
            self.faults.push(Diagnostic::error("group-cycle", message).at(span));
            return;
        }
        if let Some(way) = self.way(child, parent) {
            let mut fault = Diagnostic::error(
                "group-cycle",
                format!("group `{child}` cannot be below `{parent}`: it is above it already"),
            )
            .at(span);
            if parent == child {
                fault.message = format!("group `{child}` cannot be its own child");
            }
            for (above, below, span) in way {
                fault = fault.frame(span, format!("`{below}` put below `{above}`"));
            }
            self.faults.push(fault);
            return;
        }
        let Some(group) = self.groups.get_mut(parent) else { return };
        if !group.children.iter().any(|name| name == child) {
            group.children.push(child.to_owned());
            self.edges.insert((parent.to_owned(), child.to_owned()), span);
        }
    }

    /// The edges that lead from a group down to another; empty when they are the same.
    fn way(&self, from: &str, to: &str) -> Option<Vec<(String, String, Span)>> {
        let mut reached: IndexMap<&str, Option<(&str, Span)>> = IndexMap::new();
        reached.insert(from, None);
        let mut next = 0;
        while let Some((name, _)) = reached.get_index(next) {
            let name = *name;
            if name == to {
                break;
            }
            for ((parent, child), span) in self.edges.iter().filter(|((parent, _), _)| parent == name) {
                reached.entry(child).or_insert(Some((parent, *span)));
            }
            next += 1;
        }
        let mut way = Vec::new();
        let mut at = to;
        while let Some((above, span)) = *reached.get(at)? {
            way.push((above.to_owned(), at.to_owned(), span));
            at = above;
        }
        Some(way)
    }

    fn host_list(&mut self, file: FileId, text: &str) {
        let mut offset = 0;
        for piece in text.split(',') {
            let name = piece.trim();
            if !name.is_empty() {
                let start = offset + piece.len() - piece.trim_start().len();
                self.hosts(UNGROUPED, name, Span::new(file, start, start + name.len()));
            }
            offset += piece.len() + 1;
        }
    }

    fn finish(mut self, files: &[VarsFile], map: &SourceMap) -> (Inventory, Vec<Diagnostic>) {
        self.same_names();
        self.implicit_groups();
        self.depths();
        let mut loaded = Vec::new();
        for file in files {
            match Loaded::read(file, map) {
                Ok(read) => loaded.push(read),
                Err(faults) => self.faults.extend(faults),
            }
            self.stray(file, map);
        }
        let inventory = Inventory {
            hosts: self.hosts,
            groups: self.groups,
            localhost: implicit_localhost(),
            files: loaded,
        };
        (inventory, self.faults)
    }

    fn same_names(&mut self) {
        for (name, host) in &self.hosts {
            if let Some(group) = self.groups.get(name) {
                let mut warning = Diagnostic::warning(
                    "same-name",
                    format!("`{name}` is the name of a host and of a group"),
                )
                .hint("a pattern `".to_owned() + name + "` means the group; rename one of them");
                warning.span = host.span;
                if let Some(span) = group.span {
                    warning = warning.frame(span, format!("group `{name}` named"));
                }
                self.faults.push(warning);
            }
        }
    }

    /// Every group is below `all`; hosts without a group of their own are in `ungrouped`.
    fn implicit_groups(&mut self) {
        let grouped = |groups: &IndexMap<String, Group>, host: &str| {
            groups.values().any(|group| {
                group.name != ALL
                    && group.name != UNGROUPED
                    && group.hosts.iter().any(|member| member == host)
            })
        };
        let alone: Vec<String> =
            self.hosts.keys().filter(|host| !grouped(&self.groups, host)).cloned().collect();
        if let Some(group) = self.groups.get_mut(UNGROUPED) {
            group.hosts = alone;
        }
        let below: Vec<&String> = self
            .groups
            .values()
            .filter(|group| group.name != ALL)
            .flat_map(|group| &group.children)
            .collect();
        let explicit = self.groups.get(ALL).map(|all| all.children.clone()).unwrap_or_default();
        let children: Vec<String> = self
            .groups
            .keys()
            .filter(|name| *name != ALL && (explicit.contains(name) || !below.contains(name)))
            .cloned()
            .collect();
        if let Some(all) = self.groups.get_mut(ALL) {
            // Each is a member of some other group by now.
            all.hosts.clear();
            all.children = children;
        }
    }

    fn depths(&mut self) {
        // There are no cycles, so this ends after as many rounds as there are levels.
        loop {
            let mut changed = false;
            let edges: Vec<(usize, String)> = self
                .groups
                .values()
                .flat_map(|group| group.children.iter().map(|child| (group.depth + 1, child.clone())))
                .collect();
            for (depth, child) in edges {
                if let Some(group) = self.groups.get_mut(&child)
                    && group.depth < depth
                {
                    group.depth = depth;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Warns of a vars file whose name is nearly that of a host or group. One of a quite different name may belong to
    /// another inventory.
    fn stray(&mut self, file: &VarsFile, map: &SourceMap) {
        let (kind, name, known) = match &file.owner {
            super::Owner::Group(name) => ("group", name, self.groups.contains_key(name)),
            super::Owner::Host(name) => ("host", name, self.hosts.contains_key(name)),
        };
        if known || super::pattern::is_localhost(name) {
            return;
        }
        let near = match kind {
            "group" => nearest(name, self.groups.keys().map(String::as_str)),
            _ => nearest(name, self.hosts.keys().map(String::as_str))
                .filter(|near| !differ_in_digits(near, name)),
        };
        if let Some(near) = near {
            let path = map.path(file.file);
            self.faults.push(
                Diagnostic::warning(
                    "stray-vars-file",
                    format!("`{path}` belongs to no {kind}: there is no `{name}`"),
                )
                .hint(format!("did you mean `{near}`?")),
            );
        }
    }
}

fn bad_name(code: &'static str, why: String, span: Span) -> Diagnostic {
    Diagnostic::error(code, why)
        .at(span)
        .hint("names become parts of paths and commands: letters, digits and `. - _`; an address goes into `ansible_host`")
}

/// `db1` and `db2` are two hosts, not a slip.
fn differ_in_digits(one: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    letters(one) == letters(other)
}

fn new_group(name: &str, span: Option<Span>) -> Group {
    Group {
        name: name.to_owned(),
        span,
        hosts: Vec::new(),
        children: Vec::new(),
        vars: Vars::new(),
        priority: 1,
        depth: 0,
    }
}

fn implicit_localhost() -> Host {
    Host { name: "localhost".to_owned(), span: None, source: None, vars: Vars::new() }
}
