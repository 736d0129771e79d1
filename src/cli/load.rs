//! From command line to everything a run needs: inventory, site, variables, connections. Every fault is collected.

use super::args::{ConnectArgs, InventoryArgs};
use super::inventory_script::{self, Kind};
use super::lab::LabDoor;
use crate::diag::{Diagnostic, FileId, Span, Spanned, did_you_mean};
use crate::engine::HostSetup;
use crate::files::{Disk, DiskLookups, tree};
use crate::inventory::{
    self, Beside, Connection, ConnectionKind, Inventory, InventorySource, SourceKind, VarsFile, layout,
};
use crate::plan::{HostScope, Layer, Library, Op, PlayPlan, Reader, Tags, Values, arrange, load_site};
use crate::shell::{Masker, Secret};
use crate::template::{Scope as _, Templates, Variable};
use crate::transport::{Become, BecomeMethod, Endpoint, HostKeyPolicy, Kind as TransportKind};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where inventories are looked for when `-i` is not given.
pub(super) const DEFAULT_INVENTORY: &str = "inventory";

/// What is loaded for every command that knows hosts.
pub struct World {
    /// All texts.
    pub library: Arc<Library>,
    /// The template engine.
    pub templates: Arc<Templates>,
    /// Hosts and groups.
    pub inventory: Inventory,
    /// `-e`.
    pub extra: Arc<Layer>,
    /// Folder of the site file.
    pub site_dir: String,
    /// The door to the files.
    pub disk: Arc<Disk>,
    /// What was found wrong.
    pub diags: Vec<Diagnostic>,
    /// Every inventory could be read, so that a name that none of them has is wrong.
    pub hosts_known: bool,
    /// Inventories as they were named.
    pub sources: Vec<String>,
    /// The lab whose hosts stand in for the inventory's, once one was asked for.
    pub lab: Option<LabDoor>,
}

/// Loads inventory and variables. `site` is the site file, when there is one.
pub fn world(args: &InventoryArgs, site: Option<&Path>, may_write: bool) -> World {
    let masker = Masker::new();
    let mut diags = Vec::new();
    let vault_password = vault_password(args, &mut diags);
    let site_dir = site.and_then(Path::parent).map(|dir| dir.display().to_string()).unwrap_or_default();
    let sources =
        if args.inventory.is_empty() { vec![DEFAULT_INVENTORY.to_owned()] } else { args.inventory.clone() };
    let keep_dir = sources.iter().find(|source| !source.contains(',')).map_or(PathBuf::from("."), |source| {
        let path = Path::new(source);
        if path.is_dir() {
            path.to_path_buf()
        } else {
            path.parent().map(Path::to_path_buf).unwrap_or_default()
        }
    });
    let disk =
        Disk::new(vault_password, masker.clone(), &site_dir, &keep_dir.display().to_string(), may_write);
    let disk = Arc::new(disk);
    let library = Arc::new(Library::new(Arc::clone(&disk) as Arc<dyn crate::plan::Sources>, masker.clone()));
    disk.serve(&library);
    let templates = Arc::new(Templates::new(masker, Arc::new(DiskLookups(Arc::clone(&disk)))));
    let (inventory, hosts_known) = read_inventory(&library, &sources, &site_dir, &mut diags);
    let extra = super::extra_vars::read(&library, &args.extra_vars, &mut diags);
    if diags.iter().any(|diagnostic| diagnostic.code == super::vault::NO_PASSWORD) {
        // What cannot be opened without the password is no news.
        diags.retain(|diagnostic| diagnostic.code != "vault");
    }
    World { library, templates, inventory, extra, site_dir, disk, diags, hosts_known, sources, lab: None }
}

/// The vault password that the arguments name or ask for.
pub fn vault_password(args: &InventoryArgs, diags: &mut Vec<Diagnostic>) -> Option<Secret> {
    if args.vault_password.is_some() {
        return args.vault_password.clone();
    }
    if args.ask_vault_pass {
        return match super::vault::ask_password("Vault password: ") {
            Ok(password) => Some(password),
            Err(why) => {
                let message = format!("cannot ask for the vault password: {why}");
                diags.push(Diagnostic::error(super::vault::NO_PASSWORD, message));
                None
            }
        };
    }
    let path = args.vault_password_file.as_ref()?;
    match super::vault::read_password(path) {
        Ok(password) => Some(password),
        Err(diagnostic) => {
            diags.push(diagnostic);
            None
        }
    }
}

fn read_inventory(
    library: &Library,
    sources: &[String],
    site_dir: &str,
    diags: &mut Vec<Diagnostic>,
) -> (Inventory, bool) {
    let mut found = Vec::new();
    let mut files = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        if source.contains(',') {
            found.push(InventorySource {
                file: library.add("command line (-i)", source),
                kind: SourceKind::HostList,
            });
            continue;
        }
        let path = Path::new(source);
        let (dir, own) = if path.is_dir() {
            let dir = path.to_path_buf();
            let layout = layout(&tree(&dir));
            let own: Vec<String> =
                layout.sources.iter().map(|name| dir.join(name).display().to_string()).collect();
            if own.is_empty() {
                let message = format!("the inventory folder `{source}` holds no inventory file");
                diags.push(
                    Diagnostic::error("empty-inventory", message)
                        .hint("put `hosts.yaml` or `hosts.ini` into it"),
                );
            }
            (dir, own)
        } else {
            (path.parent().map(Path::to_path_buf).unwrap_or_default(), vec![source.clone()])
        };
        for path in own {
            if path == *source && is_secret_file(&path) {
                let message = format!("`{path}` is no inventory: it lies in a folder of secrets");
                diags.push(Diagnostic::error("private-file", message));
                continue;
            }
            match inventory_script::kind(Path::new(&path)) {
                Kind::Text => {}
                Kind::Program => {
                    match inventory_script::run(Path::new(&path)) {
                        Ok(text) => found.push(InventorySource {
                            file: library.add(&format!("{path} --list"), &text),
                            kind: SourceKind::Yaml,
                        }),
                        Err(diagnostic) => diags.push(diagnostic),
                    }
                    continue;
                }
                Kind::NotExecutable => {
                    let message = format!("`{path}` is a program by its first line, and may not be run");
                    diags.push(Diagnostic::error("inventory-program", message).hint(format!(
                        "`chmod +x {path}`, or take the line `#!...` out of what is no program"
                    )));
                    continue;
                }
            }
            match library.text(&path) {
                Some(Ok((_, text)))
                    if path != *source && inventory::is_secret(&path, &text, is_private_mode(&path)) =>
                {
                    library.masker().add(text.trim());
                    let message =
                        format!("`{path}` is not read as an inventory: it looks like a kept secret");
                    diags.push(Diagnostic::warning("private-file", message).hint(
                        "passwords belong into `secrets/`; an inventory of one host is named `NAME.ini`",
                    ));
                }
                Some(Ok((file, _))) => found.push(InventorySource { file, kind: SourceKind::Auto }),
                Some(Err(diagnostic)) => diags.push(diagnostic),
                None => diags.push(
                    Diagnostic::error("missing-file", format!("there is no inventory `{path}`"))
                        .maybe_hint(library.near(&path))
                        .note(format!("looked in {}", absolute(&folder_of(&path))))
                        .hint("give a file, a folder or a list of hosts (`h1,h2,`) with `-i`"),
                ),
            }
        }
        files.extend(vars_files(library, &dir, Beside::Inventory(number), diags));
    }
    files.extend(vars_files(library, Path::new(site_dir), Beside::Playbook, diags));
    let (inventory, faults) = Inventory::build(&found, &files, &library.map());
    let of_hosts = |fault: &Diagnostic| {
        let in_source = |span: Span| found.iter().any(|source| source.file == span.file);
        fault.severity == crate::diag::Severity::Error && fault.span.is_some_and(in_source)
    };
    let hosts_known = found.len() >= sources.len() && !faults.iter().any(of_hosts);
    diags.extend(faults);
    (inventory, hosts_known)
}

fn owned(layer: &inventory::Layer<'_>) -> Arc<Layer> {
    let vars = layer.vars.iter().map(|(name, node)| (name.clone(), Arc::new(node.clone())));
    Arc::new(Layer { vars: vars.collect() })
}

/// Whether a file that was named is one of a folder of secrets, and has no inventory's ending.
fn is_secret_file(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or(path);
    !name.contains('.') && parts.next().is_some_and(|dir| inventory::is_private(&format!("{dir}/{name}")))
}

/// Whether nobody but its owner may read a file.
fn is_private_mode(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o077 == 0)
}

/// `group_vars` and `host_vars` beside an inventory or a site.
fn vars_files(library: &Library, dir: &Path, beside: Beside, diags: &mut Vec<Diagnostic>) -> Vec<VarsFile> {
    let mut names = Vec::new();
    for part in ["group_vars", "host_vars"] {
        names.extend(tree(&dir.join(part)).into_iter().map(|name| format!("{part}/{name}")));
    }
    let layout = layout(&names);
    for shadowed in &layout.shadowed {
        let message = format!("`{}` is not read: `{}` comes first", shadowed.path, shadowed.by);
        diags.push(Diagnostic::warning("shadowed-file", message));
    }
    let mut files = Vec::new();
    for vars in layout.vars {
        let path = dir.join(&vars.path).display().to_string();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let vaulted = library
            .sources()
            .bytes(&path)
            .and_then(Result::ok)
            .is_some_and(|bytes| bytes.starts_with(b"$ANSIBLE_VAULT;"));
        match library.text(&path) {
            Some(Ok((file, _))) => files.push(VarsFile { file, owner: vars.owner, beside, vaulted }),
            Some(Err(diagnostic)) => diags.push(diagnostic),
            None => {}
        }
    }
    files
}

impl World {
    /// Hosts of a pattern, under `--limit`.
    pub fn select(&mut self, pattern: &Spanned<String>, limit: Option<&str>) -> Vec<String> {
        let mut patterns = vec![pattern.clone()];
        let selected = self.inventory.select(&patterns, &BTreeMap::new());
        let hosts = match selected {
            Ok(hosts) => hosts,
            Err(found) => {
                self.diags.extend(found);
                return Vec::new();
            }
        };
        let Some(limit) = limit else { return hosts };
        let file = self.library.add("command line (--limit)", limit);
        patterns = vec![Spanned::new(limit.to_owned(), Span::new(file, 0, limit.len()))];
        let lists = inventory::list_files(&patterns).into_iter().filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            Some((path, text))
        });
        let lists: BTreeMap<String, String> = lists.collect();
        match self.inventory.limit(hosts, &patterns, &lists) {
            Ok(hosts) => hosts,
            Err(found) => {
                self.diags.extend(
                    found
                        .into_iter()
                        .filter(|diagnostic| !self.diags.contains(diagnostic))
                        .collect::<Vec<_>>(),
                );
                Vec::new()
            }
        }
    }

    /// A pattern of the command line.
    pub fn pattern(&self, text: &str) -> Spanned<String> {
        let file: FileId = self.library.add("command line", text);
        Spanned::new(text.to_owned(), Span::new(file, 0, text.len()))
    }

    /// The site's plays with their hosts.
    pub fn site(
        &mut self,
        path: &Path,
        tags: &Tags,
        limit: Option<&str>,
    ) -> Vec<(Arc<PlayPlan>, Vec<String>)> {
        let path = path.display().to_string();
        let mut plans = load_site(&self.library, &path, tags, &mut self.diags);
        let layers = self.all_layers();
        let reader = Reader {
            library: &self.library,
            templates: &self.templates,
            site_dir: &self.site_dir,
            layers: &layers,
        };
        plans.iter_mut().for_each(|plan| arrange(plan, &reader));
        let mut plays = Vec::new();
        for plan in plans {
            let known = self.diags.len();
            let hosts = self.select(&plan.play.hosts, limit);
            if !self.hosts_known {
                // Which names there are is not known: that one is missing may be an echo.
                self.diags.truncate(known);
            }
            plays.push((Arc::new(plan), hosts));
        }
        plays
    }

    /// Variables of all hosts and groups and of the command line, in no order.
    fn all_layers(&self) -> Vec<Arc<Layer>> {
        let mut seen = BTreeSet::new();
        let mut layers = vec![Arc::clone(&self.extra)];
        for host in self.inventory.hosts() {
            for layer in self.inventory.host_layers(&host.name) {
                // Groups are the same for all of their hosts.
                if seen.insert(std::ptr::from_ref(layer.vars).addr()) {
                    layers.push(owned(&layer));
                }
            }
        }
        layers
    }

    /// Says which tags of `--tags` and `--skip-tags` no task has. When none of `--tags` is known there is nothing to
    /// run, which is an error.
    pub fn check_tags(&mut self, tags: &Tags, plays: &[(Arc<PlayPlan>, Vec<String>)]) {
        if self.has_errors() {
            return;
        }
        let known: BTreeSet<String> = plays.iter().flat_map(|(plan, _)| plan.tags.iter().cloned()).collect();
        // What is taken in later may bring tags that nobody knows yet.
        let open =
            plays.iter().any(|(plan, _)| plan.program.ops.iter().any(|op| matches!(op, Op::Include(_))));
        let (run, skip) = tags.unknown(&known);
        let nothing = !open && tags.wanted() > 0 && run.len() == tags.wanted();
        for (option, words) in [("--tags", run), ("--skip-tags", skip)] {
            for word in words {
                let message = format!("no task has the tag `{word}`");
                let code = "unknown-tag";
                let diagnostic = if nothing && option == "--tags" {
                    Diagnostic::error(code, message)
                } else {
                    Diagnostic::warning(code, message)
                };
                let file = self.library.add(&format!("command line ({option})"), &word);
                let mut diagnostic = diagnostic.at(Span::new(file, 0, word.len()));
                diagnostic.label = did_you_mean(&word, known.iter().map(String::as_str));
                if diagnostic.label.is_none() && !known.is_empty() {
                    let listed = known.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ");
                    diagnostic = diagnostic.note(format!("the tags of this site are {listed}"));
                }
                self.diags.push(diagnostic);
            }
        }
    }

    /// A host's variables before anything is known of it.
    pub fn scope(&self, host: &str, check: bool) -> HostScope {
        let mut layers: Vec<Arc<Layer>> = Vec::new();
        for layer in self.inventory.host_layers(host) {
            layers.push(owned(&layer));
        }
        layers.reverse();
        let mut magic: Values =
            self.inventory.magic(host).into_iter().map(|(name, value)| (name, Arc::new(value))).collect();
        let mut set = |name: &str, value: Value| {
            magic.insert(name.to_owned(), Arc::new(value));
        };
        set("groups", self.inventory.groups_value());
        set("playbook_dir", json!(absolute(&self.site_dir)));
        set("ansible_check_mode", json!(check));
        set("ansible_diff_mode", json!(false));
        set("ansible_managed", json!("Managed by ishprov"));
        set(
            "ansible_version",
            json!({ "full": "2.19.0", "major": 2, "minor": 19, "revision": 0, "string": "2.19.0" }),
        );
        set("omit", json!(crate::template::OMIT));
        HostScope {
            magic: Arc::new(magic),
            extra: Arc::clone(&self.extra),
            inventory: Arc::new(layers),
            ..HostScope::default()
        }
    }

    /// The `ansible_...` variables of a host, rendered: how to reach it.
    pub fn connection(&mut self, host: &str) -> Connection {
        let scope = self.scope(host, false);
        let shared = scope.shared();
        let mut vars = Map::new();
        for name in
            scope.names().into_iter().filter(|name| name.starts_with("ansible_") && name != "ansible_managed")
        {
            let rendered = match shared.get(&name) {
                Some(Variable::Node(node)) => self.templates.render_value(&node, &shared),
                Some(Variable::Value(value)) => Ok((*value).clone()),
                None => continue,
            };
            match rendered {
                Ok(value) => {
                    vars.insert(name, value);
                }
                Err(diagnostic) => self.diags.push(diagnostic.host(host)),
            }
        }
        match inventory::connection::read(&vars) {
            Ok(connection) => connection,
            Err(faults) => {
                for fault in faults {
                    let node = fault.param.as_ref().and_then(|name| match scope.get(name) {
                        Some(Variable::Node(node)) => Some(node.span),
                        _ => None,
                    });
                    let mut diagnostic = Diagnostic::error("bad-connection", fault.message).host(host);
                    diagnostic.span = node;
                    diagnostic.hints = fault.hints;
                    self.diags.push(diagnostic);
                }
                Connection::default()
            }
        }
    }

    /// A variable of a host with its templates filled in, and where it was set.
    pub fn var(&mut self, host: &str, name: &str) -> Option<(Value, Option<Span>)> {
        let shared = self.scope(host, false).shared();
        match shared.get(name)? {
            Variable::Value(value) => Some(((*value).clone(), None)),
            Variable::Node(node) => match self.templates.render_value(&node, &shared) {
                Ok(value) => Some((value, Some(node.span))),
                Err(diagnostic) => {
                    self.diags.push(diagnostic.host(host));
                    None
                }
            },
        }
    }

    /// From now on the lab's hosts stand in for the inventory's, when a lab was asked for.
    pub fn enter_lab(&mut self, args: &ConnectArgs) {
        let Some(name) = args.lab.as_ref().filter(|_| self.lab.is_none()) else { return };
        let own = super::lab::default_name(&self.sources);
        let door = LabDoor::find(if name.is_empty() { &own } else { name });
        self.lab = Some(door.unwrap_or_else(|found| {
            self.diags.extend(found);
            LabDoor::default()
        }));
    }

    /// Says which of these hosts the lab does not have: they must not be reached anywhere else.
    pub fn check_lab(&mut self, hosts: &[String]) {
        if self.has_errors() {
            return;
        }
        let Some(lab) = &self.lab else { return };
        let (name, has) = (lab.name.clone(), lab.hosts.len());
        let missing: Vec<String> =
            hosts.iter().filter(|host| !lab.hosts.contains_key(*host)).cloned().collect();
        let missing: Vec<String> = missing.into_iter().filter(|host| !self.is_local(host)).collect();
        if !missing.is_empty() {
            let message = format!("lab `{name}` has no host {}", missing.join(", "));
            let hosts = if has == 1 { "1 host".to_owned() } else { format!("{has} hosts") };
            let diagnostic = Diagnostic::error("lab-unknown-host", message);
            self.diags.push(diagnostic.hint(format!(
                "the lab has {hosts}: add the missing ones with `ishprov lab up`, or limit the run with `--limit`"
            )));
        }
    }

    fn is_local(&mut self, host: &str) -> bool {
        self.connection(host).kind == ConnectionKind::Local
    }

    /// Everything known of a host before it is connected to.
    pub fn setup(&mut self, host: &str, args: &ConnectArgs, check: bool) -> HostSetup {
        let connection = self.connection(host);
        for secret in [&connection.password, &connection.become_password].into_iter().flatten() {
            self.library.masker().add(secret.expose());
        }
        let wants_root = connection.become_root.unwrap_or(args.r#become);
        let become_user =
            args.become_user.clone().or_else(|| connection.become_user.clone()).filter(|user| user != "root");
        let method = match connection.become_method.as_deref() {
            Some("su") => BecomeMethod::Su,
            Some("doas") => BecomeMethod::Doas,
            _ => BecomeMethod::Sudo,
        };
        let mut endpoint = Endpoint::new(host);
        endpoint.kind = match connection.kind {
            ConnectionKind::Local => TransportKind::Local,
            ConnectionKind::OpenSsh => TransportKind::OpenSsh,
            ConnectionKind::Ssh | ConnectionKind::Native => TransportKind::Native,
        };
        endpoint.ssh_args = connection.ssh_args.clone();
        for (name, set) in [
            ("ansible_ssh_executable", connection.ssh_executable.is_some()),
            ("ansible_become_exe", connection.become_exe.is_some()),
            ("ansible_become_flags", connection.become_flags.is_some()),
        ] {
            if set {
                let message = format!(
                    "`{name}` has no effect: programs are found by their names, called without flags of yours"
                );
                self.diags.push(Diagnostic::warning("no-effect", message).host(host));
            }
        }
        endpoint.address = connection.address.clone();
        endpoint.port = connection.port;
        endpoint.user = args.user.clone().or(connection.user.clone());
        let key = args.private_key.clone().or(connection.private_key.clone().map(PathBuf::from));
        endpoint.keys = key.into_iter().map(|path| expand_home(&path)).collect();
        endpoint.password = connection.password.clone();
        endpoint.r#become = Some(Become {
            method,
            user: "root".to_owned(),
            password: connection.become_password.clone().or_else(|| args.become_password.clone()),
        });
        endpoint.known_hosts = args.known_hosts.clone();
        if args.accept_new_host_keys {
            endpoint.host_keys = HostKeyPolicy::AcceptNew;
        }
        if connection.host_key_checking == Some(false) {
            let message = "`ansible_host_key_checking: false` is not honoured: host keys are always checked";
            self.diags.push(
                Diagnostic::warning("host-key-checking", message)
                    .hint("`--accept-new-host-keys` takes in hosts that are new")
                    .host(host),
            );
        }
        if let Some(seconds) = args.timeout.or(connection.timeout) {
            endpoint.timeout = Duration::from_secs(seconds);
        }
        if let Some(door) = self.lab.as_ref().and_then(|lab| lab.hosts.get(host)) {
            super::lab::lead_in(&mut endpoint, door);
        }
        HostSetup {
            endpoint,
            scope: self.scope(host, check),
            become_root: Some(wants_root).filter(|wants| *wants || connection.become_root.is_some()),
            become_user,
            out_of_reach: None,
        }
    }

    /// The setups of all hosts of the inventory.
    pub fn setups(&mut self, args: &ConnectArgs, check: bool) -> HashMap<String, HostSetup> {
        let mut names: Vec<String> = self.inventory.hosts().map(|host| host.name.clone()).collect();
        if !names.iter().any(|name| name == "localhost") {
            names.push("localhost".to_owned());
        }
        self.enter_lab(args);
        let mut setups: HashMap<String, HostSetup> =
            names.into_iter().map(|name| (name.clone(), self.setup(&name, args, check))).collect();
        // What is not in the lab is known by its variables, and nothing is done there, not even by `delegate_to`.
        if let Some(lab) = self
            .lab
            .as_ref()
            .map(|lab| (lab.name.clone(), lab.hosts.keys().cloned().collect::<BTreeSet<_>>()))
        {
            for (name, setup) in setups.iter_mut().filter(|(name, _)| !lab.1.contains(*name)) {
                if setup.endpoint.kind != TransportKind::Local {
                    setup.out_of_reach = Some(format!("lab `{}` has no host `{name}`", lab.0));
                }
            }
        }
        // What a host's inventory says of it is known to the others before anybody is connected.
        let known =
            setups.iter().map(|(name, setup)| (name.clone(), Value::Object(self.written_vars(&setup.scope))));
        let known = Value::Object(known.collect());
        setups.values_mut().for_each(|setup| setup.scope.set_magic("hostvars", known.clone()));
        setups
    }

    /// A host's own variables as far as they can be rendered without facts.
    fn written_vars(&self, scope: &HostScope) -> Map<String, Value> {
        let shared = scope.shared();
        let names =
            scope.own_names().into_iter().chain(["inventory_hostname".to_owned(), "group_names".to_owned()]);
        let rendered = names.filter_map(|name| match scope.get(&name)? {
            Variable::Node(node) => {
                self.templates.render_value(&node, &shared).ok().map(|value| (name, value))
            }
            Variable::Value(value) => Some((name, (*value).clone())),
        });
        rendered.collect()
    }

    /// Shows every finding; whether one of them is an error.
    pub fn show_findings(&self, console: &crate::console::Screen) -> bool {
        console.diagnostics(&self.diags, &self.library.map(), self.library.masker());
        self.has_errors()
    }

    /// Whether anything found stops the run.
    pub fn has_errors(&self) -> bool {
        self.diags.iter().any(|diagnostic| diagnostic.severity == crate::diag::Severity::Error)
    }
}

fn folder_of(path: &str) -> String {
    Path::new(path).parent().map(|dir| dir.display().to_string()).unwrap_or_default()
}

fn absolute(dir: &str) -> String {
    let path = if dir.is_empty() { Path::new(".") } else { Path::new(dir) };
    std::path::absolute(path).map(|path| path.display().to_string()).unwrap_or_else(|_| dir.to_owned())
}

fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_path_buf(),
    }
}
