//! `ishprov tune`: settings that fit this machine, hosts of an inventory, or a machine that is not there; shown, explained,
//! or applied to hosts.

mod apply;
mod compare;
mod explain;
mod hosts;
mod plan;
mod pools;
pub mod probe;
mod show;
mod stats;
mod trial;
mod written;

use super::args::{Rival, TuneArgs, TuneFormat};
use super::exit;
use super::measure::{COMPRESSIONS, Measured, here};
use crate::cluster::tune::{disk, disk_file};
use crate::console::Screen;
use crate::diag::{Diagnostic, SourceMap};
use crate::shell::Masker;
use crate::tuner::{
    Bytes, Capabilities, ClusterNeeds, Disk, Given, HugePages, InUse, Input, Observed, Refusal, Standing,
    Workload, fitting, tune as decide,
};
use plan::Plan;
use std::collections::BTreeSet;

/// The major version when nothing says otherwise: Debian 12's.
const DEFAULT_MAJOR: u32 = 15;
/// `max_connections` of a server that nobody configured.
const UNTOUCHED_CONNECTIONS: u32 = 100;

/// Shows settings, or applies them; the exit code.
pub async fn tune(mut args: TuneArgs) -> i32 {
    let screen = Screen::new(false, 0, false);
    if let Err(why) = super::vault::ask_become(&mut args.connect) {
        let message = format!("cannot ask for the password: {why}");
        return refuse(&screen, Diagnostic::error("tune", message));
    }
    if let Some(diagnostic) = contradiction(&args) {
        return refuse(&screen, diagnostic);
    }
    if let Some(script) = args.measure.clone() {
        return trial::trial(&args, &script, &screen).await;
    }
    if args.undo {
        return apply::undo(&args, &screen).await;
    }
    let only_shown = args.dry_run || args.explain.is_some() || args.compare.is_some() || args.ram.is_some();
    if !only_shown && !args.inventory.inventory.is_empty() {
        return apply::apply(&args, &screen).await;
    }
    if !only_shown {
        return refuse(
            &screen,
            Diagnostic::error("tune", "settings are applied to hosts of an inventory, and none is named")
                .hint("`--dry-run` shows what would fit this machine, or one that is not there (`--ram`, `--cpus`)")
                .hint("`-i INVENTORY` names hosts; `-i localhost,` is this machine"),
        );
    }
    let pools = match pools::plan(&mut args) {
        Ok(pools) => pools,
        Err(refusal) => return refuse(&screen, no_way(refusal)),
    };
    let (mut plans, seen) = match plans(&args, &screen).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    if let Some(pools) = &pools {
        if let Err(refusal) = pools::check(pools, &plans) {
            return refuse(&screen, no_way(refusal));
        }
        for plan in &mut plans {
            plan.tuning.way_out = pools::way_out(pools, plan);
        }
    }
    let mut verdicts = Vec::new();
    for plan in &mut plans {
        if let Some((_, seen)) = seen.iter().find(|(host, _)| *host == plan.host) {
            verdicts.push((seen, stats::adjust_plan(plan, seen)));
        }
    }
    if let (Some(name), Some(pools)) = (&args.explain, &pools)
        && let Some(lines) = pools::explain(pools, name)
    {
        lines.iter().for_each(|line| screen.line(line));
        return exit::OK;
    }
    if let Some(name) = &args.explain {
        return match explain::lines(&plans, name) {
            Ok(lines) => {
                lines.iter().for_each(|line| screen.line(line));
                exit::OK
            }
            Err(diagnostic) => refuse(&screen, diagnostic),
        };
    }
    if let Some(Rival::Pgtune) = args.compare {
        compare::lines(&plans, screen.width()).iter().for_each(|line| screen.line(line));
        return exit::OK;
    }
    show::plans(&args, &plans, pools.as_ref(), &screen);
    if args.format == TuneFormat::Table {
        let found: Vec<_> =
            plans.iter().zip(&verdicts).map(|(plan, (seen, verdict))| (plan, *seen, verdict)).collect();
        stats::show(&found, &screen);
    }
    exit::OK
}

/// Everything decided, for one machine or for the hosts of a cluster; and what their servers counted.
async fn plans(args: &TuneArgs, screen: &Screen) -> Result<(Vec<Plan>, Vec<(String, Observed)>), i32> {
    if !args.inventory.inventory.is_empty() {
        return hosts::plans(args, screen).await.map(|reached| (reached.plans, reached.stats));
    }
    let mut seen = Vec::new();
    if args.from_stats {
        let counted = stats::here().map_err(|why| refuse(screen, Diagnostic::error("tune", why)))?;
        seen.push((String::new(), counted));
    }
    let measured = if args.ram.is_some() {
        imagined(args)
    } else {
        here(args.probe_disk).map_err(|why| refuse(screen, Diagnostic::error("tune", why)))?
    };
    let in_use = if args.ram.is_some() { None } else { stats::in_use_here() };
    let input = input(&measured, args, in_use.as_ref());
    let plan = own(measured, input, args, in_use.as_ref());
    Ok((vec![plan.map_err(|refusal| refuse(screen, no_way(refusal)))?], seen))
}

/// The plan of a machine that no inventory knows; where nobody asks for a number of connections, the most that fits.
fn own(measured: Measured, input: Input, args: &TuneArgs, in_use: Option<&InUse>) -> Result<Plan, Refusal> {
    let none = BTreeSet::new();
    let least = in_use.map_or(0, InUse::least_connections);
    let (decided, fitted) =
        fitting(input.max_connections, args.connections.is_some(), least, |connections| {
            let input = Input { max_connections: connections, ..input.clone() };
            let needs = ClusterNeeds::of([&input], &[]);
            let (needs, kept) = in_use.map_or((needs, Vec::new()), |seen| needs.keeping(seen, &none));
            let tuning = decide(&input, &needs)?;
            Ok::<_, Refusal>((input, needs, tuning, kept))
        })?;
    let (input, needs, tuning, kept) = decided;
    let mut notes: Vec<String> = kept.iter().map(ToString::to_string).collect();
    notes.extend(in_use.and_then(|seen| seen.crowded(needs.max_connections)));
    notes.extend(fitted);
    let overrides = Vec::new();
    Ok(Plan { host: String::new(), measured, input, needs, tuning, overrides, notes, remote: None })
}

/// Options that would have no effect together are refused: nobody shall believe that they had.
fn contradiction(args: &TuneArgs) -> Option<Diagnostic> {
    let refused = |what: &str, why: &str, hint: &str| {
        Some(Diagnostic::error("tune", format!("{what}: {why}")).hint(hint))
    };
    let chosen = args.format != TuneFormat::Table;
    if chosen && args.compare.is_some() {
        return refused(
            "`--format` with `--compare`",
            "a comparison is printed as a table only",
            "leave `--format` out, or take `--format json` without `--compare`",
        );
    }
    if chosen && args.explain.is_some() {
        return refused(
            "`--format` with `--explain`",
            "an explanation is printed as text only",
            "leave `--format` out; `--format json` has the reason of every setting in it",
        );
    }
    if chosen && !args.dry_run && args.ram.is_none() {
        return refused(
            "`--format` without `--dry-run`",
            "what is applied is shown as a table",
            "`--dry-run --format ...` prints it in another form and applies nothing",
        );
    }
    if !args.inventory.extra_vars.is_empty() && args.inventory.inventory.is_empty() {
        return refused(
            "`-e` without `-i`",
            "variables are those of hosts, and no inventory names any",
            "give the value by its option (`--connections`, `--workload`, ...), or name an inventory",
        );
    }
    match (args.active, args.connections) {
        (Some(active), Some(connections)) if active > connections => refused(
            &format!("`--active {active}` with `--connections {connections}`"),
            "no more connections can be active than there are",
            "raise `--connections`, or lower `--active`",
        ),
        _ => None,
    }
}

fn refuse(screen: &Screen, diagnostic: Diagnostic) -> i32 {
    screen.diagnostics(&[diagnostic], &SourceMap::new(), &Masker::new());
    exit::ERROR
}

/// A refusal with the names that the command line has for what is to blame.
fn no_way(refusal: Refusal) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("tune", refusal.message);
    diagnostic.notes = refusal.arithmetic;
    diagnostic.hints = refusal.ways_out;
    if let Some(option) = refusal.input.and_then(option) {
        diagnostic.notes.push(format!("option: {option}"));
    }
    diagnostic
}

/// The option that gives an input of the tuner.
fn option(input: &str) -> Option<&'static str> {
    Some(match input {
        "max_connections" => "--connections",
        "pg_major" => "--pg",
        "ram" => "--ram",
        "cpus" => "--cpus",
        "active" => "--active",
        "pairs" => "--pool-pairs",
        "instances" => "--pool-instances",
        "size" => "--pool-size",
        "clients" => "--max-clients",
        "superuser_reserved" => "--superuser-reserved",
        "reserved" => "--reserved",
        "min" => "--pool-min",
        _ => return None,
    })
}

fn imagined(args: &TuneArgs) -> Measured {
    let cpus = small(args.cpus.unwrap_or(1));
    let blank = Input::new(args.ram.unwrap_or(Bytes(0)), cpus, 0, Workload::Mixed, DEFAULT_MAJOR);
    Measured::bare(blank.hardware, None, false)
}

/// What the tuner is told of a machine that no inventory knows.
fn input(measured: &Measured, args: &TuneArgs, in_use: Option<&InUse>) -> Input {
    let now = |name: &str| measured.settings.get(name);
    let standing = |name: &str| now(name).and_then(|text| text.parse().ok());
    let workload = args.workload.unwrap_or(Workload::Mixed);
    // 100 is what a server has that nobody configured; its clients count on it all the same.
    let usual =
        workload.connections().max(in_use.and_then(|seen| seen.number("max_connections")).unwrap_or(0));
    let connections = args.connections.map(small).or(connections_now(measured)).unwrap_or(usual);
    let major = args.pg.map(small).or(measured.major).unwrap_or(DEFAULT_MAJOR);
    let hardware = measured.hardware.clone();
    let mut input = Input::new(hardware.ram, hardware.cpus, connections, workload, major);
    input.hardware = hardware;
    input.given = in_use.map_or(Given::default(), |seen| seen.given(Given::default()));
    input.active = args.active.map(small);
    // Debian builds with both; a server that runs says what it knows.
    let knows =
        |word: &str| now(COMPRESSIONS).is_none_or(|words| words.split(',').any(|known| known == word));
    input.capabilities = Capabilities { lz4: knows("lz4"), zstd: knows("zstd"), io_uring: false };
    input.standing = Standing {
        shared_buffers: standing("shared_buffers"),
        max_slot_wal_keep_size: standing("max_slot_wal_keep_size"),
    };
    input.preload = now("shared_preload_libraries")
        .map(|text| {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        })
        .unwrap_or_default();
    let file = format!("/etc/postgresql/{major}/main/conf.d/50-ishprov.conf");
    if let Some(kind) = args.disk {
        input.hardware.disk = Disk { kind, evidence: "as you say".to_owned() };
    } else if let Some(recorded) = std::fs::read_to_string(disk_file(&file))
        .ok()
        .filter(|_| !args.probe_disk && args.ram.is_none())
        .and_then(|text| disk::recorded(&text))
    {
        input.hardware.disk = recorded;
    }
    if now("huge_pages_status").is_some_and(|status| status == "on") {
        input.hardware.huge_pages = HugePages::Granted;
    }
    input
}

/// `max_connections` that somebody chose.
fn connections_now(measured: &Measured) -> Option<u32> {
    let now = measured.settings.get("max_connections")?.parse().ok()?;
    (now != UNTOUCHED_CONNECTIONS).then_some(now)
}

/// Numbers beyond every range stay beyond it, so that the refusal can name the range.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
