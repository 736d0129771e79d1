//! `ishprov run`: check everything that needs no host, then make the hosts what the site says.

use super::args::{OutputKind, RunArgs};
use super::exit;
use super::load::World;
use crate::console::{Console, JsonConsole, Screen, SilentConsole, TextConsole, recap};
use crate::diag::{Diagnostic, Severity, SourceMap, joined_by_host};
use crate::engine::{self, Claim, Event, Local, Options, Report, Shared, Site, Stop};
use crate::plan::{
    Ahead, Binder, Echo, Findings, HostLint, HostScope, Op, PlayPlan, Tags, lint_handlers, lint_host,
    lint_words, merge,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Seconds a step may take when neither it nor its module says otherwise.
const STEP_SECONDS: u64 = 1800;

/// After Ctrl-C, how long what runs on hosts may take to end by itself.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs a site; the exit code.
pub async fn run(args: RunArgs) -> i32 {
    let screen = Screen::new(args.show.output == OutputKind::Json, args.show.verbose, args.diff);
    match prepare(&args, &screen) {
        Ok(Prepared::Listed) => exit::OK,
        Ok(Prepared::Ready(ready)) => go_and_report(*ready, &args, screen, false).await,
        Err(code) => code,
    }
}

/// What there is after loading and checking.
pub enum Prepared {
    /// Only a list was wanted, and it was printed.
    Listed,
    /// Everything a run needs.
    Ready(Box<Ready>),
}

/// A run about to start.
pub struct Ready {
    /// Texts, inventory, variables.
    pub world: World,
    /// Plays with their hosts.
    pub plays: Vec<(Arc<PlayPlan>, Vec<String>)>,
    /// Hosts.
    pub setups: HashMap<String, engine::HostSetup>,
}

/// Loads and checks a site. Findings are printed; `Err` is the exit code when they stop the run.
pub fn prepare(args: &RunArgs, screen: &Screen) -> Result<Prepared, i32> {
    prepare_with(args, &[], screen)
}

/// The same for a site that is part of this program: `texts` are its files, by path.
pub fn prepare_built_in(args: &RunArgs, texts: &[(&str, &str)], screen: &Screen) -> Result<Prepared, i32> {
    prepare_with(args, texts, screen)
}

fn prepare_with(args: &RunArgs, texts: &[(&str, &str)], screen: &Screen) -> Result<Prepared, i32> {
    let mut args = args.clone();
    if let Err(why) = super::vault::ask_become(&mut args.connect) {
        screen.aside(&format!("error: cannot ask for the password: {why}"));
        return Err(exit::ERROR);
    }
    let mut world = super::load::world(&args.inventory, Some(&args.site), !args.check);
    texts.iter().for_each(|(path, text)| world.library.hold(path, text));
    let tags = Tags::new(args.tags.clone(), args.skip_tags.clone());
    let mut plays = world.site(&args.site, &tags, args.limit.as_deref());
    world.check_tags(&tags, &plays);
    let setups = world.setups(&args.connect, args.check);
    let hosts: Vec<String> = plays.iter().flat_map(|(_, hosts)| hosts.clone()).collect();
    world.check_lab(&hosts);
    let open = check(&mut world, &plays, &setups, &tags, args.strict);
    if world.show_findings(screen) {
        summary(&world, screen);
        return Err(exit::ERROR);
    }
    plays.iter_mut().for_each(|(plan, _)| *plan = Arc::new(plan.without_settled(&open)));
    if args.list_hosts {
        list_hosts(&plays, screen);
        return Ok(Prepared::Listed);
    }
    if args.list_tasks {
        list_tasks(&plays, screen);
        return Ok(Prepared::Listed);
    }
    if args.syntax_check {
        screen.line(&format!("{}: no errors", args.site.display()));
        return Ok(Prepared::Listed);
    }
    if plays.iter().all(|(_, hosts)| hosts.is_empty()) {
        let why = match &args.limit {
            Some(limit) => format!("no play is for a host of `--limit {limit}`"),
            None => "no play has a host".to_owned(),
        };
        screen.aside(&format!("error: no host is left to run on: {why}"));
        screen.aside(&format!(
            " = help: `ishprov run {} --list-hosts` shows the hosts of each play",
            args.site.display()
        ));
        return Err(exit::ERROR);
    }
    Ok(Prepared::Ready(Box::new(Ready { world, plays, setups })))
}

/// How much was looked at, and that nothing was touched.
pub fn summary(world: &World, screen: &Screen) {
    if screen.json {
        return;
    }
    let shown = joined_by_host(&world.diags);
    let errors = shown.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let files = world.library.map().len();
    let files = if files == 0 { String::new() } else { format!(" in {}", counted(files, "file")) };
    screen.aside(&format!("{}{files}. No host was contacted.", counted(errors, "error")));
}

/// "1 file", "2 files".
pub fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// Everything that can be found wrong without a host, for every host, in order of place. What only follows from
/// another fault is left out. The result names the steps that check a role's arguments and must do so at run time.
///
/// What is wrong only where a fact or a result leads to it is one warning; with `strict`, it is an error like the others.
pub fn check(
    world: &mut World,
    plays: &[(Arc<PlayPlan>, Vec<String>)],
    setups: &HashMap<String, engine::HostSetup>,
    tags: &Tags,
    strict: bool,
) -> BTreeSet<usize> {
    let echo = Echo::of(&world.diags, &world.library);
    let (Findings { certain, mut possible }, open) = lint(world, plays, setups, tags);
    possible.retain(|diagnostic| !echo.drowns(diagnostic));
    if strict {
        world.diags.extend(possible);
    } else {
        world.diags.extend(unreached(&possible, &world.library.map()));
    }
    world.diags.extend(certain);
    world.diags.retain(|diagnostic| !echo.drowns(diagnostic));
    world.diags.sort_by_key(|diagnostic| diagnostic.span);
    open
}

fn lint(
    world: &World,
    plays: &[(Arc<PlayPlan>, Vec<String>)],
    setups: &HashMap<String, engine::HostSetup>,
    tags: &Tags,
) -> (Findings, BTreeSet<usize>) {
    let (mut certain, mut possible) = (Vec::new(), Vec::new());
    let mut open = BTreeSet::new();
    let mut known: HashMap<String, (HostScope, Ahead)> = HashMap::new();
    for (plan, hosts) in plays {
        certain.push((String::new(), lint_handlers(plan)));
        let before = certain.len();
        for name in hosts {
            let Some(setup) = setups.get(name) else { continue };
            let binder =
                Binder { library: &world.library, templates: &world.templates, site_dir: &world.site_dir };
            let (scope, ahead) =
                known.remove(name).unwrap_or_else(|| (setup.scope.clone(), Ahead::default()));
            let mut host =
                HostLint { binder, tags, scope, ahead, open: BTreeSet::new(), misused: BTreeSet::new() };
            let found = lint_host(plan, &mut host);
            certain.push((name.clone(), found.certain));
            possible.push((name.clone(), found.possible));
            open.append(&mut host.open);
            known.insert(name.clone(), (host.scope, host.ahead));
        }
        // A play without hosts is checked too, as far as its own words go.
        if certain.len() == before {
            let found = lint_words(plan);
            certain.push((String::new(), found.certain));
            possible.push((String::new(), found.possible));
        }
        // What is handed over to another host is known there from now on.
        let handed = handed_over(plan);
        for (name, setup) in setups.iter().filter(|_| !handed.is_empty()) {
            let (_, ahead) =
                known.entry(name.clone()).or_insert_with(|| (setup.scope.clone(), Ahead::default()));
            ahead.names.extend(handed.iter().cloned());
        }
    }
    let (certain, mut possible) = (merge(certain), merge(possible));
    let same = |left: &Diagnostic, right: &Diagnostic| {
        left.code == right.code && left.span == right.span && left.message == right.message
    };
    possible.retain(|diagnostic| !certain.iter().any(|known| same(known, diagnostic)));
    (Findings { certain, possible }, open)
}

/// How many faults the warning lists of those that only the run leads to.
const LISTED: usize = 5;

/// One warning for all that is wrong only where the run comes to it.
fn unreached(possible: &[Diagnostic], map: &SourceMap) -> Option<Diagnostic> {
    let first = possible.first()?;
    let message = format!(
        "{} in tasks that only facts or results of the run may lead to",
        counted(possible.len(), "fault")
    );
    let mut warning = Diagnostic::warning("not-reached-for-certain", message);
    warning.span = first.span;
    for diagnostic in possible.iter().take(LISTED) {
        let place = diagnostic.span.map(|span| format!(" ({})", map.locate(span))).unwrap_or_default();
        warning.notes.push(format!("{}{place}", diagnostic.message));
    }
    if possible.len() > LISTED {
        warning.notes.push(format!("and {} more", possible.len() - LISTED));
    }
    Some(
        warning
            .hint("a host that comes to one of them is refused or fails there; `--strict` makes them errors"),
    )
}

/// Names that tasks with `delegate_facts` set on other hosts.
fn handed_over(plan: &PlayPlan) -> BTreeSet<String> {
    let steps =
        plan.program.ops.iter().filter_map(|op| if let Op::Step(step) = op { Some(step) } else { None });
    let handing = steps.filter(|step| step.keywords.delegate_facts.is_some() && step.call.sets_variables());
    handing.flat_map(|step| step.args.iter().map(|argument| argument.name.node.clone())).collect()
}

/// Runs what was prepared, and shows how the cluster stands when that is wanted; the exit code. With `verify`, a
/// cluster that is not as it must be counts as failed.
pub async fn go_and_report(ready: Ready, args: &RunArgs, screen: Screen, verify: bool) -> i32 {
    let setups = if args.report || verify { ready.setups.clone() } else { HashMap::new() };
    let masker = ready.world.library.masker().clone();
    let own_lab = ready.world.lab.is_none().then(|| super::lab::default_name(&ready.world.sources));
    let report = go(ready, args, screen.clone()).await;
    let code = exit_code(&report);
    if let Some(lab) = own_lab.filter(|lab| code == exit::UNREACHABLE && super::lab::stands(lab)) {
        screen.aside(&format!(
            "help: lab `{lab}` has the hosts of this inventory: `--lab` runs the site there"
        ));
    }
    if setups.is_empty() || report.interrupted {
        return code;
    }
    let cluster = super::report::cluster_report(&report, &setups, args.connect.forks).await;
    if screen.json {
        let event =
            serde_json::json!({ "event": "cluster", "lines": cluster.lines, "problems": cluster.problems });
        screen.line(&masker.mask(&event.to_string()));
    } else if !cluster.lines.is_empty() {
        screen.line("");
        cluster.lines.iter().for_each(|line| screen.line(&masker.mask(line)));
    }
    if verify && code == exit::OK && !cluster.problems.is_empty() { exit::FAILED } else { code }
}

/// Runs built-in plays without a word of what they do: only what fails is shown. The exit code.
pub async fn quietly(args: &RunArgs, texts: &[(&str, &str)], screen: &Screen) -> i32 {
    let ready = match prepare_built_in(args, texts, screen) {
        Ok(Prepared::Ready(ready)) => *ready,
        Ok(Prepared::Listed) => return exit::OK,
        Err(code) => return code,
    };
    let (map, masker) = (ready.world.library.map(), ready.world.library.masker().clone());
    let report = go_with(ready, args, Box::new(SilentConsole)).await;
    for host in &report.hosts {
        screen.diagnostics(&host.diagnostics, &map, &masker);
    }
    exit_code(&report)
}

/// Runs what was prepared.
async fn go(ready: Ready, args: &RunArgs, screen: Screen) -> Report {
    let masker = ready.world.library.masker().clone();
    let console: Box<dyn Console> = match screen.json {
        true => Box::new(JsonConsole::new(screen, masker)),
        false => Box::new(TextConsole::new(screen, masker, args.check)),
    };
    go_with(ready, args, console).await
}

async fn go_with(ready: Ready, args: &RunArgs, mut console: Box<dyn Console>) -> Report {
    let Ready { world, plays, setups } = ready;
    let (events, mut queue) = tokio::sync::mpsc::unbounded_channel();
    let stop = Stop::default();
    let shared = Arc::new(Shared {
        library: Arc::clone(&world.library),
        templates: Arc::clone(&world.templates),
        site_dir: world.site_dir.clone(),
        options: Options {
            check: args.check,
            window: args.window.max(1),
            forks: args.connect.forks,
            step_seconds: STEP_SECONDS,
            tags: Tags::new(args.tags.clone(), args.skip_tags.clone()),
        },
        handlers: std::sync::RwLock::default(),
        events,
        local: Arc::new(Local {
            vault_password: world.disk.vault_password.clone(),
            dir: world.site_dir.clone(),
            claim: Claim::new(&words(args)),
        }),
        stop: stop.clone(),
        in_step: std::sync::atomic::AtomicBool::new(false),
        ids: AtomicUsize::new(0),
        acted: AtomicUsize::new(0),
    });
    let library = Arc::clone(&world.library);
    let drawing = tokio::spawn(async move {
        while let Some(event) = queue.recv().await {
            console.event(&event, &library.map());
        }
        console
    });
    let watch = tokio::spawn(watch_interrupts(stop, Arc::clone(&shared)));
    let report = engine::run(shared, Site { plays, hosts: setups }).await;
    watch.abort();
    match drawing.await {
        Ok(mut console) => console.report(&report, &world.library.map()),
        Err(_) => {
            let screen = Screen::new(false, 0, false);
            screen.aside("error: a fault of ishprov itself ended the display of this run; it came to:");
            recap(&report).iter().for_each(|line| screen.aside(line));
        }
    }
    report
}

/// What others are told while this run holds their hosts: who, what and since when. No option: they may hold secrets.
fn words(args: &RunArgs) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let since = crate::pki::stamp(time::OffsetDateTime::now_utc());
    let site = args.site.display().to_string();
    // What is part of this program is named after the command that runs it.
    let what = if site.starts_with("ishprov ") { site } else { format!("ishprov run {site}") };
    format!("{user}@{machine}, `{what}`, since {since}")
}

/// First Ctrl-C (or SIGTERM): no new step; a second one, or five seconds: end what runs.
async fn watch_interrupts(stop: Stop, shared: Arc<Shared>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    stop.interrupt();
    shared.tell(Event::Stopping { now: false });
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, () = tokio::time::sleep(GRACE) => {} }
    shared.tell(Event::Stopping { now: true });
    stop.interrupt_now();
}

/// Ansible's exit code for a report.
pub fn exit_code(report: &Report) -> i32 {
    if report.interrupted {
        return exit::INTERRUPTED;
    }
    let any = |pick: fn(&engine::Stats) -> usize| report.hosts.iter().any(|host| pick(&host.stats) > 0);
    match (any(|stats| stats.unreachable), any(|stats| stats.failed)) {
        (true, _) => exit::UNREACHABLE,
        (_, true) => exit::FAILED,
        _ => exit::OK,
    }
}

fn list_hosts(plays: &[(Arc<PlayPlan>, Vec<String>)], screen: &Screen) {
    for (number, (plan, hosts)) in plays.iter().enumerate() {
        screen.line(&format!("play #{} ({}): {}", number + 1, plan.play.hosts.node, plan.play.name.node));
        screen.line(&format!("  hosts ({}):", hosts.len()));
        for host in hosts {
            screen.line(&format!("    {host}"));
        }
    }
}

fn list_tasks(plays: &[(Arc<PlayPlan>, Vec<String>)], screen: &Screen) {
    for (number, (plan, _)) in plays.iter().enumerate() {
        screen.line(&format!("play #{} ({}): {}", number + 1, plan.play.hosts.node, plan.play.name.node));
        for op in &plan.program.ops {
            let (Op::Step(step) | Op::Include(step)) = op else { continue };
            let tags: Vec<&str> = step.keywords.tags.iter().map(|tag| tag.node.as_str()).collect();
            let tags = if tags.is_empty() { String::new() } else { format!("  TAGS: [{}]", tags.join(", ")) };
            screen.line(&format!("    {}{tags}", step.title()));
        }
    }
}
