//! `ishprov lab`: the inventory's hosts on this machine, and sites run on them.

use super::args::{
    LabCommand, LabFault, LabFaultArgs, LabMakeArgs, LabNameArgs, LabRunArgs, LabSshArgs, LabUpArgs,
};
use super::exit;
use super::load::{DEFAULT_INVENTORY, World};
use super::run::Prepared;
use crate::console::Screen;
use crate::diag::{Diagnostic, SourceMap, Span, did_you_mean};
use crate::lab::{
    Connection, HostState, HostStatus, Lab, LabEvent, LabHost, LabOptions, LabResult, state_dir,
};
use crate::shell::Masker;
use crate::transport::{Endpoint, HostKeyPolicy, Kind};
use crate::tuner::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

/// The doors of a lab's hosts.
#[derive(Debug, Default)]
pub struct LabDoor {
    /// The lab's name.
    pub name: String,
    /// How to reach each host, by name.
    pub hosts: HashMap<String, Connection>,
}

impl LabDoor {
    /// A lab that stands.
    pub fn find(name: &str) -> LabResult<Self> {
        let lab = Lab::open(name)?;
        let there = lab.list()?;
        if there.is_empty() {
            return Err(vec![unknown(name)]);
        }
        Self::of(
            name,
            there.iter().map(|status| lab.connection(&status.host.name)).collect::<LabResult<_>>()?,
        )
    }

    fn of(name: &str, doors: Vec<Connection>) -> LabResult<Self> {
        let hosts = doors.into_iter().map(|door| (door.host.clone(), door)).collect();
        Ok(Self { name: name.to_owned(), hosts })
    }
}

/// Points an endpoint at a lab's host: its own address, account, key and host key, and nothing of the user's SSH.
pub fn lead_in(endpoint: &mut Endpoint, door: &Connection) {
    endpoint.kind = Kind::Native;
    endpoint.address = Some(door.address.to_string());
    endpoint.port = Some(door.port);
    endpoint.user = Some(door.user.clone());
    endpoint.keys = vec![door.private_key.clone()];
    endpoint.known_hosts = vec![door.known_hosts.clone()];
    endpoint.host_keys = HostKeyPolicy::Strict;
    endpoint.password = None;
    endpoint.jumps = Vec::new();
    endpoint.ssh_config = false;
}

/// The name of an inventory's lab: its folder's name, and six digits that tell it from others of that name. The same
/// inventory always has the same lab, from whichever folder it is named.
pub fn default_name(sources: &[String]) -> String {
    let paths: Vec<String> = sources
        .iter()
        .map(|source| match std::fs::canonicalize(source) {
            Ok(path) if !source.contains(',') => path.display().to_string(),
            _ => source.clone(),
        })
        .collect();
    let first = paths.first().map(Path::new).unwrap_or(Path::new("lab"));
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    // `inventory/hosts.yaml` tells nothing: the folder of the project does.
    let plain = ["inventory", "inventories", "hosts"];
    let word = first.ancestors().map(stem).find(|word| !plain.contains(&word.as_str())).unwrap_or_default();
    let word: String =
        word.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').take(24).collect();
    let word = word.trim_matches('-');
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, paths.join("\n").as_bytes());
    let digits: String = digest.as_ref().iter().take(3).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", if word.is_empty() { "lab" } else { word })
}

/// Whether a lab of this name is on this machine.
pub fn stands(name: &str) -> bool {
    Lab::names_in(&state_dir()).iter().any(|known| known == name)
}

/// Carries a command out; the exit code.
pub async fn lab(command: LabCommand) -> i32 {
    let screen = Screen::new(false, 0, false);
    let done = match command {
        LabCommand::Up(args) => return up(args, &screen).await,
        LabCommand::Run(args) => return Box::pin(run(args)).await,
        LabCommand::Down(args) => down(args, &screen).await,
        LabCommand::List { name } => list(name.as_deref(), &screen),
        LabCommand::Ssh(args) => ssh(args),
        LabCommand::Fault(args) => fault(args, &screen).await,
    };
    done.map_or_else(|found| refused(&found, &screen), |()| exit::OK)
}

fn refused(found: &[Diagnostic], screen: &Screen) -> i32 {
    screen.diagnostics(found, &SourceMap::new(), &Masker::new());
    exit::ERROR
}

async fn up(args: LabUpArgs, screen: &Screen) -> i32 {
    let mut world = super::load::world(&args.inventory, None, false);
    let pattern = world.pattern(&args.pattern);
    let names = world.select(&pattern, None);
    match raise(&mut world, &names, &args.lab, screen).await {
        Some(_) => exit::OK,
        None => exit::ERROR,
    }
}

/// Makes these hosts exist, telling what is done; `None` when that failed, which was shown.
async fn raise(world: &mut World, names: &[String], make: &LabMakeArgs, screen: &Screen) -> Option<LabDoor> {
    let hosts = lab_hosts(world, names);
    if world.show_findings(screen) {
        super::run::summary(world, screen);
        return None;
    }
    let name = make.name.clone().unwrap_or_else(|| default_name(&world.sources));
    let options = LabOptions { test_users: make.test_users };
    let tell = teller(screen, &name);
    let count = if hosts.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", hosts.len()) };
    note(screen, &format!("LAB {name} · {count}"));
    let (wanted, of) = (hosts.clone(), name.clone());
    let doors = blocking(move || Lab::open(&of)?.with_options(options).up(&wanted, &tell)).await;
    let doors = match doors {
        Ok(doors) => doors,
        Err(found) => {
            refused(&found, screen);
            return None;
        }
    };
    for line in host_lines(&hosts.iter().map(|host| (host, String::new())).collect::<Vec<_>>()) {
        note(screen, &line);
    }
    // A part of the hosts was raised: the others that stand are of the same lab.
    match LabDoor::find(&name).or_else(|_| LabDoor::of(&name, doors)) {
        Ok(door) => Some(door),
        Err(found) => {
            refused(&found, screen);
            None
        }
    }
}

/// The inventory's hosts as the lab makes them. Those that are this machine itself are left out.
fn lab_hosts(world: &mut World, names: &[String]) -> Vec<LabHost> {
    let mut hosts = Vec::new();
    for name in names {
        let connection = world.connection(name);
        if connection.kind == crate::inventory::ConnectionKind::Local {
            continue;
        }
        let given = connection.address.clone().unwrap_or_else(|| name.clone());
        let Ok(address) = given.parse::<Ipv4Addr>() else {
            let message = format!("`{name}` has no IPv4 address: `{given}` is none");
            let span = world.var(name, "ansible_host").and_then(|(_, span)| span);
            let diagnostic = Diagnostic::error("lab-address", message)
                .hint("set `ansible_host` to an address in 198.18.0.0/15, the range that labs use");
            world.diags.push(span.map_or(diagnostic.clone(), |span| diagnostic.at(span)));
            continue;
        };
        let mut host = LabHost::new(name, address);
        host.memory = size(world, name, "lab_memory");
        host.disk = size(world, name, "lab_disk");
        host.cpus = cpus(world, name);
        hosts.push(host);
    }
    hosts
}

fn size(world: &mut World, host: &str, name: &str) -> Option<u64> {
    let (value, span) = world.var(host, name)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.parse::<Bytes>() {
        Ok(size) => Some(size.0),
        Err(why) => {
            wrong(world, host, format!("`{name}` is no size: {why}"), "write it as \"16GB\"", span);
            None
        }
    }
}

fn cpus(world: &mut World, host: &str) -> Option<u32> {
    let (value, span) = world.var(host, "lab_cpus")?;
    let number = match &value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number =
        number.filter(|number| (1..=1024).contains(number)).and_then(|number| u32::try_from(number).ok());
    if number.is_none() {
        wrong(world, host, format!("`lab_cpus` is {value}"), "give a whole number from 1 to 1024", span);
    }
    number
}

fn wrong(world: &mut World, host: &str, message: String, hint: &str, span: Option<Span>) {
    let diagnostic = Diagnostic::error("lab-size", message).hint(hint).host(host);
    world.diags.push(match span {
        Some(span) => diagnostic.at(span),
        None => diagnostic,
    });
}

async fn run(args: LabRunArgs) -> i32 {
    let screen = Screen::new(
        args.run.show.output == super::args::OutputKind::Json,
        args.run.show.verbose,
        args.run.diff,
    );
    // Everything that can be found wrong is, before a host is made.
    let mut ready = match super::run::prepare(&args.run, &screen) {
        Ok(Prepared::Ready(ready)) => ready,
        Ok(Prepared::Listed) => return exit::OK,
        Err(code) => return code,
    };
    ready.world.diags.clear();
    let all = ready.world.pattern("all");
    let names = ready.world.select(&all, args.run.limit.as_deref());
    let Some(door) = raise(&mut ready.world, &names, &args.make, &screen).await else { return exit::ERROR };
    ready.world.lab = Some(door);
    ready.setups = ready.world.setups(&args.run.connect, args.run.check);
    let hosts: Vec<String> = ready.plays.iter().flat_map(|(_, hosts)| hosts.clone()).collect();
    ready.world.check_lab(&hosts);
    if ready.world.show_findings(&screen) {
        return exit::ERROR;
    }
    note(&screen, "");
    super::run::go_and_report(*ready, &args.run, screen, !args.run.check).await
}

async fn down(args: LabNameArgs, screen: &Screen) -> LabResult<()> {
    let name = name_of(&args);
    let tell = teller(screen, &name);
    let of = name.clone();
    blocking(move || Lab::open(&of)?.down(&tell)).await?;
    Ok(())
}

fn list(only: Option<&str>, screen: &Screen) -> LabResult<()> {
    let dir = state_dir();
    if dir.exists() && !rustix::process::geteuid().is_root() {
        let message = format!("only root can look into the labs in `{}`", dir.display());
        return Err(vec![
            Diagnostic::error("lab-needs-root", message).hint("run the same command with `sudo`"),
        ]);
    }
    let names = Lab::names_in(&dir);
    if let Some(only) = only.filter(|only| !names.iter().any(|name| name == only)) {
        return Err(vec![unknown(only)]);
    }
    if names.is_empty() {
        screen.line("no lab on this machine");
    }
    for name in names.iter().filter(|name| only.is_none_or(|only| only == *name)) {
        screen.line(&format!("LAB {name}"));
        let hosts = Lab::open(name)?.list()?;
        let rows: Vec<(&LabHost, String)> =
            hosts.iter().map(|status| (&status.host, state(status))).collect();
        for line in host_lines(&rows) {
            screen.line(&line);
        }
    }
    Ok(())
}

fn ssh(args: LabSshArgs) -> LabResult<()> {
    let lab = Lab::open(&name_of(&args.lab))?;
    let door = lab.connection(&args.host)?;
    let stands = lab.list()?.into_iter().find(|status| status.host.name == args.host);
    let down = match stands.map(|status| status.state) {
        Some(HostState::Stopped) => Some(("stopped", "boot")),
        Some(HostState::Frozen) => Some(("frozen", "thaw")),
        Some(HostState::Running) | None => None,
    };
    if let Some((state, way_out)) = down {
        let way_out = format!("ishprov lab fault {way_out} {} --name {}", args.host, lab.name());
        let diagnostic = Diagnostic::error("lab-host-down", format!("`{}` is {state}", args.host));
        return Err(vec![diagnostic.hint(format!("`{way_out}` brings it back"))]);
    }
    let mut command = std::process::Command::new("ssh");
    command.arg("-F").arg("none").arg("-i").arg(&door.private_key);
    for option in [
        "IdentitiesOnly=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        format!("UserKnownHostsFile={}", door.known_hosts.display()),
        "LogLevel=ERROR".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    command.arg("-p").arg(door.port.to_string()).arg(format!("{}@{}", door.user, door.address));
    if !args.command.is_empty() {
        // One word is a line for the remote shell; several are a command with its arguments.
        command.arg("--").arg(match args.command.as_slice() {
            [line] => line.clone(),
            words => crate::shell::join(words),
        });
    }
    let error = command.exec();
    Err(vec![
        Diagnostic::error("lab-ssh", format!("cannot start `ssh`: {error}")).hint("install openssh-client"),
    ])
}

async fn fault(args: LabFaultArgs, screen: &Screen) -> LabResult<()> {
    let name = name_of(&args.lab);
    let leave: Bytes = args.leave.parse().map_err(|why| {
        vec![
            Diagnostic::error("lab-size", format!("`--leave {}`: {why}", args.leave))
                .hint("write it as 100MB"),
        ]
    })?;
    let tell = teller(screen, &name);
    let lines = screen.clone();
    blocking(move || {
        let lab = Lab::open(&name)?;
        let host = args.host.as_str();
        match (args.fault, args.from.as_deref()) {
            (LabFault::Kill, _) => lab.kill(host),
            (LabFault::Stop, _) => lab.stop(host),
            (LabFault::Boot, _) => lab.boot(host, &tell),
            (LabFault::Freeze, _) => lab.freeze(host),
            (LabFault::Thaw, _) => lab.thaw(host),
            (LabFault::Cut, Some(other)) => lab.cut_between(host, other),
            (LabFault::Cut, None) => lab.cut(host),
            (LabFault::Join, _) => lab.join(host),
            (LabFault::FreeDisk, _) => lab.free_disk(host),
            (LabFault::FillDisk, _) => lab
                .fill_disk(host, leave.0)
                .map(|taken| lines.line(&format!("  {} taken", Bytes(taken).human()))),
        }?;
        let now = lab.list()?.into_iter().filter(|status| status.host.name == host).collect::<Vec<_>>();
        let rows: Vec<(&LabHost, String)> = now.iter().map(|status| (&status.host, state(status))).collect();
        host_lines(&rows).iter().for_each(|line| lines.line(line));
        Ok(())
    })
    .await
}

fn name_of(args: &LabNameArgs) -> String {
    let sources =
        if args.inventory.is_empty() { vec![DEFAULT_INVENTORY.to_owned()] } else { args.inventory.clone() };
    args.name.clone().unwrap_or_else(|| default_name(&sources))
}

fn unknown(name: &str) -> Diagnostic {
    let labs = Lab::names_in(&state_dir());
    let diagnostic = Diagnostic::error("lab-unknown", format!("there is no lab `{name}`"))
        .maybe_hint(did_you_mean(name, labs.iter().map(String::as_str)))
        .hint("`ishprov lab up -i INVENTORY` makes it");
    match labs.as_slice() {
        [] => diagnostic,
        labs => diagnostic.note(format!("labs of this machine: {}", labs.join(", "))),
    }
}

/// What the lab tells goes beside the results when those are for programs.
fn note(screen: &Screen, text: &str) {
    if screen.json { screen.aside(text) } else { screen.line(text) }
}

fn teller(screen: &Screen, _lab: &str) -> impl Fn(LabEvent) + Send + Sync + 'static {
    let screen = screen.clone();
    move |event: LabEvent| note(&screen, &format!("  {event}"))
}

/// A line per host: name, address, size, and what else there is to say.
fn host_lines(rows: &[(&LabHost, String)]) -> Vec<String> {
    let widest = rows.iter().map(|(host, _)| host.name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(host, more)| {
        let memory = host.memory.map_or_else(|| "all RAM".to_owned(), |bytes| Bytes(bytes).human());
        let cpus = match host.cpus {
            None => "all CPUs".to_owned(),
            Some(1) => "1 CPU".to_owned(),
            Some(cpus) => format!("{cpus} CPUs"),
        };
        let address = host.address.to_string();
        format!("  {:<widest$}  {address:<15}  {memory:>8}  {cpus:<8}  {more}", host.name)
            .trim_end()
            .to_owned()
    });
    lines.collect()
}

fn state(status: &HostStatus) -> String {
    let mut words = vec![match status.state {
        HostState::Running => "running",
        HostState::Frozen => "frozen",
        HostState::Stopped => "stopped",
    }];
    words.extend(status.cut.then_some("cut off"));
    words.extend(status.disk_filled.then_some("disk full"));
    words.join(", ")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> LabResult<T> + Send + 'static) -> LabResult<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(vec![Diagnostic::error("lab-bug", format!("the lab's work broke off: {error}"))])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_named_after_its_project_and_stays_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let inventory = dir.path().join("Shop DB").join("inventory");
        std::fs::create_dir_all(&inventory).expect("a folder");
        let path = inventory.display().to_string();
        let name = default_name(std::slice::from_ref(&path));
        assert!(name.starts_with("shopdb-") && name.len() == "shopdb-".len() + 6, "{name}");
        assert_eq!(default_name(&[format!("{path}/../inventory/")]), name);
        assert_ne!(default_name(&[format!("{path}/..")]), name);
        assert!(Lab::open(&name).is_ok());
        assert!(Lab::open(&default_name(&["a,b,".to_owned()])).is_ok());
    }

    #[test]
    fn the_door_of_a_lab_takes_nothing_from_the_user() {
        let mut endpoint = Endpoint::new("pg");
        endpoint.user = Some("admin".to_owned());
        endpoint.jumps = vec!["bastion".to_owned()];
        endpoint.host_keys = HostKeyPolicy::AcceptNew;
        let door = Connection {
            host: "pg".to_owned(),
            address: Ipv4Addr::new(198, 18, 0, 11),
            port: 22,
            user: "root".to_owned(),
            private_key: "/l/id".into(),
            known_hosts: "/l/known".into(),
        };
        lead_in(&mut endpoint, &door);
        assert_eq!(endpoint.address.as_deref(), Some("198.18.0.11"));
        assert_eq!(endpoint.user.as_deref(), Some("root"));
        assert_eq!((endpoint.jumps.len(), endpoint.ssh_config), (0, false));
        assert_eq!(endpoint.host_keys, HostKeyPolicy::Strict);
    }
}
