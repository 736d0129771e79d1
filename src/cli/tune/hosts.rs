//! Hosts of an inventory: what they are and have, two round trips each; decided together by the same function that the
//! role `postgresql` calls.

use super::apply::kept;
use super::plan::{Plan, Remote};
use super::{DEFAULT_MAJOR, connections_now, probe, refuse, small, stats};
use crate::cli::args::TuneArgs;
use crate::cli::asking::abreast;
use crate::cli::load::World;
use crate::cli::measure::{Measured, of_facts, read_server, server_ask};
use crate::cli::{exit, load, run};
use crate::cluster::tune::{Decision, Purpose, disk, disk_file, file, told};
use crate::cluster::{self, Member};
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault};
use crate::engine::{HostSetup, explain};
use crate::modules::{Args, Instance};
use crate::shell::{Answer, Answers, Ask, FileState, Frame, ItemReply, Output};
use crate::transport::{Session, Transport as _, connect};
use crate::tuner::{Disk, DiskKind, Observed, Workload};
use serde_json::{Map, Value, json};
use tokio::task::JoinError;

/// Hosts that answered, all of them.
pub struct Reached {
    pub plans: Vec<Plan>,
    /// Disks that were measured or said just now, by host: their record is to be kept.
    pub disks: Vec<(String, Disk)>,
    /// What the servers counted, by host, where that was asked.
    pub stats: Vec<(String, Observed)>,
}

/// What inventory and command line say of one host.
#[derive(Clone)]
struct Wish {
    version: Option<String>,
    cluster: String,
    data_directory: Option<String>,
    memory: Option<String>,
    workload: Option<Workload>,
    connections: Option<u32>,
    active: Option<u32>,
    settings: Map<String, Value>,
    disk: Option<DiskKind>,
    /// Measure the disk; `None`: only where nothing better is known.
    probe: Option<bool>,
    /// `shared_preload_libraries`.
    preload: Option<Vec<String>>,
    /// Ask for the server's counters.
    stats: bool,
}

/// One host's answers.
struct Answered {
    measured: Measured,
    member: Member,
    disk: Option<Disk>,
    stats: Option<Observed>,
    /// The attempt that has begun to write there and has no end.
    applying: Option<String>,
}

/// Asks every host, and decides for all of them together.
///
/// # Errors
/// The exit code, after everything was said.
pub async fn plans(args: &TuneArgs, screen: &Screen) -> Result<Reached, i32> {
    let mut world = load::world(&args.inventory, None, false);
    let pattern = world.pattern(args.pattern.as_deref().unwrap_or("all"));
    let names = world.select(&pattern, args.limit.as_deref());
    world.enter_lab(&args.connect);
    world.check_lab(&names);
    let mut setups = Vec::new();
    for name in &names {
        let wish = wish(&mut world, name, args);
        setups.push((name.clone(), world.setup(name, &args.connect, true), wish));
    }
    if world.show_findings(screen) {
        run::summary(&world, screen);
        return Err(exit::ERROR);
    }
    if setups.is_empty() {
        let message = "no host is left: the pattern and `--limit` have none in common";
        return Err(refuse(screen, Diagnostic::error("tune", message)));
    }
    let asked =
        abreast(
            setups,
            args.connect.forks,
            |(host, setup, wish)| async move { ask(&host, &setup, &wish).await },
        );
    let answers = asked.await.into_iter().zip(names);
    let answers = answers.map(|(answered, host)| (joined(&host, answered), host));
    let (mut measured, mut members, mut disks, mut code) = (Vec::new(), Vec::new(), Vec::new(), exit::OK);
    let (mut stats, mut applying) = (Vec::new(), Vec::new());
    for (answered, host) in answers {
        match answered {
            Ok(answered) => {
                disks.extend(answered.disk.map(|disk| (host.clone(), disk)));
                stats.extend(answered.stats.map(|seen| (host, seen)));
                measured.push(answered.measured);
                applying.push(answered.applying);
                members.push(answered.member);
            }
            Err((exit_code, diagnostic)) => {
                code = code.max(exit_code);
                screen.diagnostics(&[diagnostic], &world.library.map(), world.library.masker());
            }
        }
    }
    // A cluster of which a host is missing would get settings that do not fit it.
    if code != exit::OK {
        return Err(code);
    }
    let decided = cluster::tune::decide(&members).map_err(|fault| refuse(screen, of_fault("tune", fault)))?;
    let plans = decided.into_iter().zip(measured).zip(applying).zip(&members);
    let plans = plans
        .map(|(((decision, measured), applying), member)| plan(decision, measured, applying, member))
        .collect();
    Ok(Reached { plans, disks, stats })
}

/// A fault as it is shown: parameters of the task are options and variables here.
pub fn of_fault(code: &'static str, fault: Fault) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(code, fault.message);
    diagnostic.notes = fault.notes;
    diagnostic.hints = fault.hints;
    let named = match fault.param.as_deref() {
        Some("max_connections") => Some("--connections, or the variable `postgresql_max_connections`"),
        Some("active") => Some("--active, or the variable `postgresql_active`"),
        Some("settings") => Some("variable `postgresql_settings`"),
        Some("version") => Some("--pg, or the variable `postgresql_version`"),
        _ => None,
    };
    diagnostic.notes.extend(named.map(|named| format!("option: {named}")));
    diagnostic
}

fn plan(decision: Decision, measured: Measured, applying: Option<String>, member: &Member) -> Plan {
    let Decision { host, input, needs, tuning, overrides, again, server, held, shared: _ } = decision;
    let path = file(&member.args).unwrap_or_default();
    let remote = Remote {
        cluster: member.args.str("cluster").unwrap_or_else(|| "main".to_owned()),
        data_directory: Instance::decode(&member.args)
            .map(|instance| instance.data_directory)
            .unwrap_or_default(),
        memory: member.args.str("memory"),
        standing: member.answers.text(&Ask::content(path.clone())).ok().flatten(),
        file: path,
        server,
        again,
        applying,
    };
    let mut measured = measured;
    measured.hardware = input.hardware.clone();
    Plan { host, measured, input, needs, tuning, overrides, notes: held, remote: Some(remote) }
}

/// The command line's word, else the variables that the role `postgresql` reads.
fn wish(world: &mut World, host: &str, args: &TuneArgs) -> Wish {
    let mut var = |name: &str| world.var(host, name);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let version = var("postgresql_version").and_then(|(value, _)| text(&value));
    let cluster = var("postgresql_cluster_name").and_then(|(value, _)| text(&value));
    let filled = |value: String| Some(value).filter(|value| !value.is_empty());
    let data_directory =
        var("postgresql_data_directory").and_then(|(value, _)| text(&value)).and_then(filled);
    let memory = var("postgresql_memory").and_then(|(value, _)| text(&value)).and_then(filled);
    let mut wrong = Vec::new();
    let mut misshapen = |name: &str, wanted: &str, span| {
        let mut diagnostic = Diagnostic::error("bad-variable", format!("`{name}` is no {wanted}"));
        diagnostic.span = span;
        wrong.push(diagnostic.host(host));
    };
    let settings = match var("postgresql_settings") {
        Some((Value::Object(settings), _)) => settings,
        None | Some((Value::Null, _)) => Map::new(),
        Some((_, span)) => {
            misshapen("postgresql_settings", "mapping of settings to values", span);
            Map::new()
        }
    };
    let preload = match var("postgresql_preload") {
        Some((Value::Array(libraries), span)) => {
            let names: Option<Vec<String>> = libraries.iter().map(text).collect();
            if names.is_none() {
                misshapen("postgresql_preload", "list of names", span);
            }
            names
        }
        None | Some((Value::Null, _)) => None,
        Some((_, span)) => {
            misshapen("postgresql_preload", "list of libraries", span);
            None
        }
    };
    let said = [var("postgresql_workload"), var("postgresql_max_connections"), var("postgresql_active")];
    let mut count = |said: &Option<(Value, Option<crate::diag::Span>)>, name: &str| {
        let (value, span) = said.as_ref()?;
        let number = text(value).and_then(|text| text.trim().parse::<u64>().ok()).map(small);
        if number.is_none() {
            let mut diagnostic = Diagnostic::error("bad-variable", format!("`{name}` is no whole number"));
            diagnostic.span = *span;
            wrong.push(diagnostic.host(host));
        }
        number
    };
    let connections = count(&said[1], "postgresql_max_connections");
    let active = count(&said[2], "postgresql_active");
    let workload = said[0].as_ref().and_then(|(value, span)| {
        let parsed = text(value).unwrap_or_default().parse::<Workload>();
        parsed
            .map_err(|invalid| {
                let mut diagnostic =
                    Diagnostic::error("bad-variable", format!("`postgresql_workload`: {invalid}"));
                diagnostic.span = *span;
                wrong.push(diagnostic.host(host));
            })
            .ok()
    });
    world.diags.extend(wrong);
    Wish {
        version: args.pg.map(|major| major.to_string()).or(version),
        cluster: cluster.unwrap_or_else(|| "main".to_owned()),
        data_directory,
        memory,
        workload: args.workload.or(workload),
        connections: args.connections.map(small).or(connections),
        active: args.active.map(small).or(active),
        settings,
        disk: args.disk,
        preload,
        stats: args.from_stats,
        probe: if args.probe_disk {
            Some(true)
        } else if args.dry_run || args.undo {
            Some(false)
        } else {
            None
        },
    }
}

type Failure = (i32, Diagnostic);

/// Facts and the server's settings first; with them the questions of the task `postgresql_tune`.
async fn ask(host: &str, setup: &HostSetup, wish: &Wish) -> Result<Answered, Failure> {
    let unreachable = |error: &_| (exit::UNREACHABLE, explain(host, error));
    let (facts_ask, server) = (Ask::sh(crate::facts::script()), server_ask());
    let counters = stats::ask();
    let mut asks = vec![facts_ask.clone(), server.clone()];
    asks.extend(wish.stats.then(|| counters.clone()));
    let first = Frame::probe(asks);
    let (mut session, greeting) =
        connect(&setup.endpoint, &first).await.map_err(|error| unreachable(&error))?;
    let answers = only(host, greeting.replies)?;
    let facts = answers
        .output(&facts_ask)
        .and_then(|output| crate::facts::parse(&output.text()))
        .map_err(|fault| failed(host, fault))?;
    let measured = of_facts(&facts).map_err(|why| failed(host, Fault::task(why)))?;
    // A host without a server, or one that we may not ask, is tuned all the same.
    let said = answers.output(&server).map(Output::text).unwrap_or_default();
    let measured = measured.with_server(read_server(&said));
    let stats = match wish.stats {
        true => {
            let said = answers.output(&counters).map(Output::text).unwrap_or_default();
            let seen = Observed::parse(&said).ok_or_else(|| failed(host, Fault::task(stats::NO_SERVER)))?;
            Some(seen)
        }
        false => None,
    };

    let bound = |purpose| bind(wish, &measured, purpose, &facts).map_err(|fault| failed(host, fault));
    let args = bound(None)?;
    let answered = second(host, &mut session, &args, wish.probe).await;
    session.close().await;
    let (mut answers, reads) = answered?;
    let path = file(&args).map_err(|fault| failed(host, fault))?;
    let standing = answers.text(&Ask::content(path.clone())).ok().flatten();
    let begun = marker(&args).and_then(|marker| answers.text(&marker));
    let applying = begun.map_err(|fault| failed(host, fault))?.map(|text| text.trim().to_owned());
    let args = bound(standing.as_deref())?;
    let facts = Value::Object(facts);
    let disk = match (wish.disk, reads) {
        (Some(kind), _) => Some(Disk { kind, evidence: "as you say".to_owned() }),
        (None, Some(reads)) => match disk::by_reads(reads, told(&facts)) {
            None if wish.probe == Some(true) => return Err(failed(host, Fault::task(probe::TOO_FEW))),
            measured => measured,
        },
        (None, None) => None,
    };
    if let Some(disk) = &disk {
        let content = Some(disk::record(disk).into_bytes());
        let state = FileState { content, ..FileState::default() };
        answers.insert(Ask::content(disk_file(&path)), Answer::File(state));
    }
    let member = Member { host: host.to_owned(), args, answers };
    Ok(Answered { measured, member, disk, stats, applying })
}

/// The answers of the task's questions, and the reads of its disk where that is to be measured.
async fn second(
    host: &str,
    session: &mut Session,
    args: &Args,
    probe: Option<bool>,
) -> Result<(Answers, Option<Vec<f64>>), Failure> {
    let Some(procedure) = cluster::find("postgresql_tune") else { return Ok((Answers::new(), None)) };
    let mut asks = procedure.probe(args).map_err(|fault| failed(host, fault))?;
    asks.push(marker(args).map_err(|fault| failed(host, fault))?);
    let record = Ask::content(disk_file(&file(args).map_err(|fault| failed(host, fault))?));
    let mut send = async |asks: Vec<Ask>| {
        let frame = Frame::probe(asks);
        let replies = session.frame(&frame).await;
        only(host, replies.map_err(|error| (exit::UNREACHABLE, explain(host, &error)))?)
    };
    let answers = send(asks).await?;
    let unknown = || {
        let facts = args.context("ansible_facts").unwrap_or(&Value::Null);
        let recorded = answers.text(&record).ok().flatten().is_some();
        !recorded && disk::by_flag(told(facts)).kind == DiskKind::Unknown
    };
    if !probe.unwrap_or_else(unknown) {
        return Ok((answers, None));
    }
    let ask = Ask::sh(probe::SCRIPT);
    let reads = send(vec![ask.clone()]).await?;
    let said = reads.output(&ask).map(Output::text).unwrap_or_default();
    Ok((answers, Some(probe::read(&said))))
}

/// Where an attempt that has begun says so.
fn marker(args: &Args) -> Result<Ask, Fault> {
    let instance = Instance::decode(args)?;
    Ok(Ask::content(format!("{}.applying", kept(instance.version, &instance.name))))
}

/// What a host's task came to; a task that ended by a fault of ours is that host's failure.
fn joined<T>(host: &str, answered: Result<Result<T, Failure>, JoinError>) -> Result<T, Failure> {
    answered.unwrap_or_else(|error| {
        let fault = Fault::task("the program itself failed there").note(error.to_string());
        Err(failed(host, fault.hint("this is a fault of ishprov: please report it with these lines")))
    })
}

fn only(host: &str, replies: Vec<ItemReply>) -> Result<Answers, Failure> {
    match replies.into_iter().next() {
        Some(ItemReply::Answers(answers)) => Ok(answers),
        _ => Err(failed(host, Fault::task("it did not answer"))),
    }
}

fn failed(host: &str, fault: Fault) -> Failure {
    let fault = Fault { message: format!("cannot measure `{host}`: {}", fault.message), ..fault };
    (exit::FAILED, of_fault("facts", fault).host(host))
}

/// The parameters of the task `postgresql_tune`, as the role gives them; what nobody says is what the file in force was
/// made for, then what the server has.
fn bind(
    wish: &Wish,
    measured: &Measured,
    file: Option<&str>,
    facts: &Map<String, Value>,
) -> Result<Args, Fault> {
    let major = measured.major.unwrap_or(DEFAULT_MAJOR).to_string();
    let standing = file.and_then(Purpose::read);
    let running = measured.settings.get("shared_preload_libraries").map(|text| {
        text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    });
    let preload: Vec<String> = wish.preload.clone().or(running).unwrap_or_default();
    let workload = wish.workload.or(standing.map(|purpose| purpose.workload)).unwrap_or(Workload::Mixed);
    let connections =
        wish.connections.or(standing.map(|purpose| purpose.max_connections)).or(connections_now(measured));
    let kept = standing.filter(|purpose| Some(purpose.max_connections) == connections);
    let active = wish.active.or(kept.map(|purpose| purpose.active)).or(connections);
    let version = wish.version.clone().unwrap_or(major);
    // Where the cluster lies that is there; the inventory's word where there is none yet.
    let clusters = facts.get("ishprov").and_then(|ours| ours.pointer("/postgresql/clusters")?.as_array());
    let there = clusters.into_iter().flatten().find(|one| {
        let major = one.get("version").map(Value::to_string).unwrap_or_default();
        major == version && one.get("name").and_then(Value::as_str) == Some(wish.cluster.as_str())
    });
    let found = there.and_then(|one| one.get("data_directory")?.as_str()).map(str::to_owned);
    // What is null is not given: then the most that fits is taken.
    let given = json!({
        "version": version,
        "cluster": wish.cluster,
        "data_directory": found.or_else(|| wish.data_directory.clone()),
        "memory": wish.memory,
        "workload": workload.name(),
        "max_connections": connections,
        "active": active,
        "preload": preload,
        "settings": wish.settings,
    });
    let spec = cluster::find("postgresql_tune").map(|procedure| procedure.spec());
    let (Some(spec), Value::Object(given)) = (spec, given) else { return Ok(Args::default()) };
    let args = Args::bind(spec, &given).map_err(|mut faults| faults.swap_remove(0))?;
    Ok(args.with_context(Map::from_iter([("ansible_facts".to_owned(), Value::Object(facts.clone()))])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_our_own_fault_is_its_hosts_failure() {
        let task = tokio::spawn(async { panic!("no such case") });
        let (code, diagnostic) = joined::<()>("pg1", task.await).expect_err("it failed");
        assert_eq!(code, exit::FAILED);
        assert_eq!(diagnostic.message, "cannot measure `pg1`: the program itself failed there");
        assert!(diagnostic.notes[0].contains("no such case"), "{:?}", diagnostic.notes);
    }
}
