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
    Bytes, Capabilities, ClusterNeeds, Disk, HugePages, Input, Observed, Refusal, Standing, Workload,
    tune as decide,
};
use plan::Plan;

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
    let input = input(&measured, args);
    let needs = ClusterNeeds::of([&input], &[]);
    let tuning = decide(&input, &needs).map_err(|refusal| refuse(screen, no_way(refusal)))?;
    let host = String::new();
    Ok((vec![Plan { host, measured, input, needs, tuning, overrides: Vec::new(), remote: None }], seen))
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
fn input(measured: &Measured, args: &TuneArgs) -> Input {
    let now = |name: &str| measured.settings.get(name);
    let standing = |name: &str| now(name).and_then(|text| text.parse().ok());
    let workload = args.workload.unwrap_or(Workload::Mixed);
    let connections =
        args.connections.map(small).or(connections_now(measured)).unwrap_or(workload.connections());
    let major = args.pg.map(small).or(measured.major).unwrap_or(DEFAULT_MAJOR);
    let hardware = measured.hardware.clone();
    let mut input = Input::new(hardware.ram, hardware.cpus, connections, workload, major);
    input.hardware = hardware;
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
