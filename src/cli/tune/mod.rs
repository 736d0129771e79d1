//! `ishprov tune`: settings that fit this machine, hosts of an inventory, or a machine that is not there.

use super::args::{TuneArgs, TuneFormat};
use super::exit;
use super::measure::{COMPRESSIONS, Measured, here, of_facts, read_server, server_ask};
use crate::console::Screen;
use crate::diag::{Diagnostic, SourceMap};
use crate::engine::explain;
use crate::shell::{Ask, Frame, ItemReply, Masker, Output};
use crate::transport::{Transport as _, connect};
use crate::tuner::{
    Bytes, Capabilities, ClusterNeeds, Disk, DiskKind, HugePages, Input, Refusal, Standing, Takes, Tuning,
    hidden_on_unix_socket, render_conf, tune as decide,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The major version when nothing says otherwise: Debian 12's.
const DEFAULT_MAJOR: u32 = 15;
/// `max_connections` of a server that nobody configured.
const UNTOUCHED_CONNECTIONS: u32 = 100;

/// One machine that settings are for.
struct Target {
    /// Its name in the inventory; empty for one that has none.
    name: String,
    measured: Measured,
    input: Input,
}

/// Shows settings; the exit code.
pub async fn tune(args: TuneArgs) -> i32 {
    let screen = Screen::new(false, 0, false);
    if !args.dry_run {
        return refuse(
            &screen,
            Diagnostic::error("tune", "this command only shows settings, with `--dry-run`")
                .hint("`ishprov run` with the role `postgresql` applies them"),
        );
    }
    let measured = if args.ram.is_some() {
        vec![(String::new(), imagined(&args))]
    } else if args.inventory.inventory.is_empty() {
        match here() {
            Ok(measured) => vec![(String::new(), measured)],
            Err(why) => return refuse(&screen, Diagnostic::error("tune", why)),
        }
    } else {
        match hosts(&args, &screen).await {
            Ok(found) => found,
            Err(code) => return code,
        }
    };
    let targets: Vec<Target> =
        measured.into_iter().map(|(name, measured)| target(name, measured, &args)).collect();
    // What must be equal on every host is decided once.
    let needs = ClusterNeeds::of(targets.iter().map(|target| &target.input), &[]);
    let mut decided = Vec::new();
    let mut code = exit::OK;
    for target in &targets {
        match decide(&target.input, &needs) {
            Ok(tuning) => decided.push((target, tuning)),
            Err(refusal) => code = refuse(&screen, no_way(target, refusal)),
        }
    }
    if code == exit::OK {
        show(&args, &decided, &screen);
    }
    code
}

fn refuse(screen: &Screen, diagnostic: Diagnostic) -> i32 {
    screen.diagnostics(&[diagnostic], &SourceMap::new(), &Masker::new());
    exit::ERROR
}

/// A refusal with the names that the command line has for what is to blame.
fn no_way(target: &Target, refusal: Refusal) -> Diagnostic {
    let option = match refusal.input {
        Some("max_connections") => Some("--connections"),
        Some("pg_major") => Some("--pg"),
        Some("ram") => Some("--ram"),
        Some("cpus") => Some("--cpus"),
        Some("active") => Some("--active"),
        _ => None,
    };
    let mut diagnostic = Diagnostic::error("tune", refusal.message);
    diagnostic.notes = refusal.arithmetic;
    diagnostic.hints = refusal.ways_out;
    if let Some(option) = option {
        diagnostic.notes.push(format!("option: {option}"));
    }
    if target.name.is_empty() { diagnostic } else { diagnostic.host(&target.name) }
}

fn imagined(args: &TuneArgs) -> Measured {
    let cpus = small(args.cpus.unwrap_or(1));
    let hardware = Input::new(args.ram.unwrap_or(Bytes(0)), cpus, 0, args.workload, DEFAULT_MAJOR).hardware;
    Measured { hardware, major: None, settings: BTreeMap::new(), limited: false }
}

fn target(name: String, measured: Measured, args: &TuneArgs) -> Target {
    let now = |name: &str| measured.settings.get(name);
    let standing = |name: &str| now(name).and_then(|text| text.parse().ok());
    let as_now =
        now("max_connections").and_then(|text| text.parse().ok()).filter(|now| *now != UNTOUCHED_CONNECTIONS);
    let connections = args.connections.map(small).or(as_now).unwrap_or(args.workload.connections());
    let major = args.pg.map(small).or(measured.major).unwrap_or(DEFAULT_MAJOR);
    let hardware = measured.hardware.clone();
    let mut input = Input::new(hardware.ram, hardware.cpus, connections, args.workload, major);
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
    if let Some(kind) = args.disk {
        input.hardware.disk = Disk { kind, evidence: "as you say".to_owned() };
    }
    if now("huge_pages_status").is_some_and(|status| status == "on") {
        input.hardware.huge_pages = HugePages::Granted;
    }
    Target { name, measured, input }
}

/// Numbers beyond every range stay beyond it, so that the refusal can name the range.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Facts and settings in force of every host, one round trip each.
async fn hosts(args: &TuneArgs, screen: &Screen) -> Result<Vec<(String, Measured)>, i32> {
    let mut world = super::load::world(&args.inventory, None, false);
    let pattern = world.pattern(args.pattern.as_deref().unwrap_or("all"));
    let names = world.select(&pattern, args.limit.as_deref());
    world.enter_lab(&args.connect);
    world.check_lab(&names);
    let setups: Vec<_> =
        names.iter().map(|name| (name.clone(), world.setup(name, &args.connect, true))).collect();
    if world.show_findings(screen) {
        super::run::summary(&world, screen);
        return Err(exit::ERROR);
    }
    if setups.is_empty() {
        return Err(refuse(
            screen,
            Diagnostic::error("tune", "no host is left: the pattern and `--limit` have none in common"),
        ));
    }
    let permits = Arc::new(Semaphore::new(args.connect.forks.max(1)));
    let mut tasks = JoinSet::new();
    for (index, (host, mut setup)) in setups.into_iter().enumerate() {
        let permits = Arc::clone(&permits);
        if !args.connect.r#become && setup.become_root != Some(true) {
            setup.endpoint.r#become = None;
        }
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let (facts, server) = (Ask::sh(crate::facts::script()), server_ask());
            let measured = match connect(&setup.endpoint, &Frame::probe([facts.clone(), server.clone()]))
                .await
            {
                Err(error) => Err((exit::UNREACHABLE, explain(&host, &error))),
                Ok((session, greeting)) => {
                    session.close().await;
                    let failed = |why: String| {
                        (
                            exit::FAILED,
                            Diagnostic::error("facts", format!("cannot measure `{host}`: {why}")).host(&host),
                        )
                    };
                    match greeting.replies.into_iter().next() {
                        Some(ItemReply::Answers(answers)) => answers
                            .output(&facts)
                            .and_then(|output| crate::facts::parse(&output.text()))
                            .map_err(|fault| failed(fault.message))
                            .and_then(|facts| of_facts(&facts).map_err(failed))
                            .map(|measured| {
                                // A host without a server, or one that we may not ask, is tuned all the same.
                                let said = answers.output(&server).map(Output::text).unwrap_or_default();
                                measured.with_server(read_server(&said))
                            }),
                        _ => Err(failed("it did not answer".to_owned())),
                    }
                }
            };
            (index, host, measured)
        });
    }
    let mut answers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        answers.extend(joined.ok());
    }
    answers.sort_by_key(|(index, ..)| *index);
    let (mut found, mut code) = (Vec::new(), exit::OK);
    for (_, host, measured) in answers {
        match measured {
            Ok(measured) => found.push((host, measured)),
            Err((exit_code, diagnostic)) => {
                code = code.max(exit_code);
                screen.diagnostics(&[diagnostic], &world.library.map(), world.library.masker());
            }
        }
    }
    // A cluster of which a host is missing would get settings that do not fit it.
    if code == exit::OK { Ok(found) } else { Err(code) }
}

fn show(args: &TuneArgs, decided: &[(&Target, Tuning)], screen: &Screen) {
    let heading = |target: &Target, tuning: &Tuning| {
        let name = if target.name.is_empty() { String::new() } else { format!("{}: ", target.name) };
        format!("{name}{}", describe(target, tuning))
    };
    match args.format {
        TuneFormat::Table => {
            for (index, (target, tuning)) in decided.iter().enumerate() {
                if index > 0 {
                    screen.line("");
                }
                screen.line(&heading(target, tuning));
                table(target, tuning, args.all, screen.width()).iter().for_each(|line| screen.line(line));
            }
            if decided.len() > 1 {
                screen.line(&format!(
                    "\nThese {} hosts count as one cluster: settings that standbys share with their primary are the same.",
                    decided.len()
                ));
            }
        }
        TuneFormat::Conf => {
            for (target, tuning) in decided {
                screen.line(render_conf(tuning, &heading(target, tuning)).trim_end());
            }
        }
        TuneFormat::Json | TuneFormat::Yaml => {
            let one = |target: &Target, tuning: &Tuning| json!({ "input": target.input, "tuning": tuning, "now": target.measured.settings });
            let value = match decided {
                [(target, tuning)] if target.name.is_empty() => one(target, tuning),
                many => Value::Object(
                    many.iter()
                        .map(|(target, tuning)| (target.name.clone(), one(target, tuning)))
                        .collect::<Map<_, _>>(),
                ),
            };
            let text = match args.format {
                TuneFormat::Yaml => serde_yaml::to_string(&value).unwrap_or_default(),
                _ => serde_json::to_string_pretty(&value).unwrap_or_default(),
            };
            screen.line(text.trim_end());
        }
    }
}

/// `8 GB RAM, 2 CPUs, SSD (sda: not rotating, says the kernel) · PostgreSQL 15 · web · 300 connections`.
fn describe(target: &Target, tuning: &Tuning) -> String {
    let hardware = &target.input.hardware;
    let limited = if target.measured.limited { " (what its cgroup allows)" } else { "" };
    let cpus = if hardware.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", hardware.cpus) };
    let kind = match hardware.disk.kind {
        DiskKind::Nvme => "NVMe",
        DiskKind::Ssd => "SSD",
        DiskKind::Hdd => "HDD",
        DiskKind::San => "SAN",
        DiskKind::Unknown => "unknown disk",
    };
    let evidence = if hardware.disk.evidence.is_empty() {
        String::new()
    } else {
        format!(" ({})", hardware.disk.evidence)
    };
    let active = if tuning.active < target.input.max_connections {
        format!(", {} active", tuning.active)
    } else {
        String::new()
    };
    format!(
        "{} RAM, {cpus}{limited}, {kind}{evidence} · PostgreSQL {} · {} · {} connections{active}",
        hardware.ram.human(),
        target.input.pg_major,
        target.input.workload,
        target.input.max_connections
    )
}

struct Row {
    cells: [String; 4],
    why: String,
}

/// The settings that differ from what is in force (all of them where nothing is), the budget, and the way out.
fn table(target: &Target, tuning: &Tuning, all: bool, width: usize) -> Vec<String> {
    let server = !target.measured.settings.is_empty();
    let mut right = 0;
    let mut rows = vec![Row {
        cells: ["setting", "now", "proposed", "takes"].map(str::to_owned),
        why: "why".to_owned(),
    }];
    for setting in &tuning.settings {
        let proposed = setting.value.to_string();
        let now = target.measured.settings.get(setting.name).cloned().unwrap_or_default();
        let unseen = server && hidden_on_unix_socket(setting.name);
        let same = server && (now == proposed || unseen);
        if same {
            right += 1;
            if !all {
                continue;
            }
        }
        let takes = match setting.takes {
            _ if same => "-",
            Takes::Restart => "restart",
            Takes::Reload => "reload",
        };
        let now = if unseen { "?".to_owned() } else { now };
        let shorten = |text: String| if text.is_empty() && server { "-".to_owned() } else { text };
        rows.push(Row {
            cells: [setting.name.to_owned(), shorten(now), shorten(proposed), takes.to_owned()],
            why: setting.why.clone(),
        });
    }
    let columns: Vec<usize> = (0..4).filter(|column| server || *column != 1).collect();
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| rows.iter().map(|row| row.cells[*column].chars().count()).max().unwrap_or(0))
        .collect();
    let indent = 2 + widths.iter().map(|width| width + 2).sum::<usize>();
    let mut lines = Vec::new();
    for row in &rows {
        let mut line = String::from("  ");
        for (column, cell_width) in columns.iter().zip(&widths) {
            line += &format!("{:<cell_width$}  ", row.cells[*column]);
        }
        for (index, part) in wrap(&row.why, width.saturating_sub(indent).max(30)).iter().enumerate() {
            if index > 0 {
                line = " ".repeat(indent);
            }
            lines.push(format!("{line}{part}").trim_end().to_owned());
        }
    }
    if rows.len() == 1 {
        lines = vec!["  every setting is right as it is".to_owned()];
    } else if right > 0 && !all {
        lines.push(format!("  ({right} more are right as they are; `--all` shows them)"));
    }
    lines.push(tuning.budget.bar());
    if let Some(way) = &tuning.way_out {
        lines.push(format!("Way out: {way}."));
    }
    lines
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::Workload;

    fn small_host(settings: &[(&str, &str)]) -> (Target, Tuning) {
        let input = Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15);
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let measured =
            Measured { hardware: input.hardware.clone(), major: Some(15), settings, limited: false };
        let tuning = decide(&input, &ClusterNeeds::of([&input], &[])).expect("fits");
        (Target { name: String::new(), measured, input }, tuning)
    }

    #[test]
    fn only_what_differs_is_shown_and_reasons_keep_their_column() {
        let (target, tuning) =
            small_host(&[("shared_buffers", "128MB"), ("work_mem", "4MB"), ("max_connections", "300")]);
        let lines = table(&target, &tuning, false, 120);
        let buffers = lines.iter().find(|line| line.contains("shared_buffers ")).expect("a row");
        assert!(
            buffers.contains("128MB") && buffers.contains("2GB") && buffers.contains("restart"),
            "{buffers}"
        );
        assert!(!lines.iter().any(|line| line.starts_with("  max_connections")));
        assert!(lines.iter().all(|line| line.starts_with("memory")
            || line.starts_with("Way")
            || line.chars().count() <= 120));
        let all = table(&target, &tuning, true, 120);
        assert!(all.iter().any(|line| line.starts_with("  max_connections") && line.contains(" -  ")));
    }

    #[test]
    fn a_server_that_has_it_all_needs_nothing() {
        let (mut target, tuning) = small_host(&[("x", "y")]);
        for setting in &tuning.settings {
            target.measured.settings.insert(setting.name.to_owned(), setting.value.to_string());
        }
        assert_eq!(table(&target, &tuning, false, 100)[0], "  every setting is right as it is");
    }
}
