//! How fast a run is that has nothing to do, next to the floor: `cargo bench --bench converge`, as root.
//!
//! Three lab hosts converge on the 40 tasks of `site.yaml` once. Then a run that changes nothing and the floor (one
//! `ssh HOST sh -s < floor.sh` a host, all side by side) take turns, so that whatever else the machine does slows both.
//! Times are printed, never asserted; but a run that changes something measures something else, and fails.
//!
//! Then the shipped site runs on three bare hosts, and the share of each role in that first run is printed. `-- noop` and
//! `-- first` choose one of the two.
//!
//! `ISHPROV_BENCH_ROUNDS` sets the rounds (at least 5), `ISHPROV_KEEP_LAB` keeps the hosts for the next time.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod first;

use ishprov::lab::{Connection, Lab, LabHost};
use serde_json::Value;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const STATE_DIR: &str = "/var/lib/ishprov-lab-tests";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/converge");
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const ROUNDS: usize = 7;

const RATIO_AIM: f64 = 1.3;
const TRIPS_AIM: u64 = 6;
const MEMORY_AIM: u64 = 40;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// One run of the program.
struct Ran {
    took: Duration,
    /// Its high-water mark of resident memory, in kB.
    peak: u64,
    /// The recap's columns, by host.
    recap: serde_json::Map<String, Value>,
    /// Tasks that changed something, as `host: task`.
    changed: Vec<String>,
}

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |part: &str| parts.is_empty() || parts.iter().any(|word| word == part);
    let mut code = ExitCode::SUCCESS;
    for (part, run) in [("noop", bench as fn() -> Fallible<()>), ("first", first::bench)] {
        if chosen(part)
            && let Err(error) = run()
        {
            eprintln!("error: {part}: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn bench() -> Fallible<()> {
    let asked = std::env::var("ISHPROV_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = asked.unwrap_or(ROUNDS).max(5);
    let lab = Lab::open_in(Path::new(STATE_DIR), "bench").map_err(told)?;
    let hosts: Vec<LabHost> = HOSTS
        .iter()
        .zip(11..)
        .map(|(name, last)| LabHost {
            memory: Some(1 << 30),
            ..LabHost::new(*name, Ipv4Addr::new(198, 18, 72, last))
        })
        .collect();
    let connections = lab.up(&hosts, &|event| eprintln!("{event}")).map_err(told)?;
    let measured = measure(&connections, rounds);
    if std::env::var_os("ISHPROV_KEEP_LAB").is_none() {
        lab.down(&|_| ()).map_err(told)?;
    }
    measured
}

fn measure(connections: &[Connection], rounds: usize) -> Fallible<()> {
    let inventory = tempfile::Builder::new().suffix(".ini").tempfile()?;
    let lines = connections.iter().map(|to| {
        let (host, address, key) = (&to.host, to.address, to.private_key.display());
        format!("{host} ansible_host={address} ansible_user=root ansible_ssh_private_key_file={key}\n")
    });
    fs::write(inventory.path(), lines.collect::<String>())?;
    let known_hosts = &connections.first().ok_or("no hosts")?.known_hosts;

    let first = run(inventory.path(), known_hosts)?;
    eprintln!("first run: {:.1} s, {} tasks changed", first.took.as_secs_f64(), first.changed.len());
    // Unmeasured: both sides find the hosts' caches warm.
    run(inventory.path(), known_hosts)?;
    floor(connections)?;
    let (mut runs, mut floors) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let ran = run(inventory.path(), known_hosts)?;
        if !ran.changed.is_empty() {
            return Err(format!("the run was not quiet: {}", ran.changed.join(", ")).into());
        }
        let below = floor(connections)?;
        eprintln!("round {round}: run {:.2} s, floor {:.2} s", ran.took.as_secs_f64(), below.as_secs_f64());
        runs.push(ran);
        floors.push(below);
    }
    print(&runs, &floors)
}

/// Runs the site, with its peak of memory read from `/proc` while it lives.
fn run(inventory: &Path, known_hosts: &Path) -> Fallible<Ran> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(["run", "site.yaml", "--output", "json", "-i"])
        .arg(inventory)
        .arg("--known-hosts")
        .arg(known_hosts)
        .current_dir(FOLDER)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().ok_or("no pipe")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = high_water(&status_file).unwrap_or(0).max(peak);
        thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    let text = reader.join().map_err(|_| "the reader panicked")??;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    if !status.success() {
        let blamed = events.iter().filter(|event| !event["diagnostic"].is_null());
        let blamed = blamed.map(|event| format!("\n{}: {}", event["host"], event["diagnostic"]["message"]));
        return Err(format!("`ishprov run` ended with {status}{}", blamed.collect::<String>()).into());
    }
    let recap = events.iter().find(|event| event["event"] == "recap").ok_or("the run told no recap")?;
    let recap = recap["hosts"].as_object().ok_or("a recap without hosts")?.clone();
    if recap.len() != HOSTS.len() {
        return Err(format!("{} hosts in the recap, not {}", recap.len(), HOSTS.len()).into());
    }
    let counted = recap.iter().filter(|(_, stats)| stats["changed"] != 0);
    let changed: Vec<String> = counted
        .flat_map(|(host, _)| {
            let of_host =
                events.iter().filter(move |event| event["host"] == **host && event["status"] == "changed");
            of_host.map(move |event| format!("{host}: {}", event["task"].as_str().unwrap_or_default()))
        })
        .collect();
    let counted = recap.values().filter_map(|stats| stats["changed"].as_u64()).sum::<u64>();
    if counted != changed.len() as u64 {
        return Err(format!("the recap counts {counted} changes, the events {}", changed.len()).into());
    }
    Ok(Ran { took, peak, recap, changed })
}

/// One script a host through the system's own ssh, side by side; until the last has ended.
fn floor(connections: &[Connection]) -> Fallible<Duration> {
    let started = Instant::now();
    let mut children = Vec::new();
    for to in connections {
        let child = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"])
            .arg(format!("UserKnownHostsFile={}", to.known_hosts.display()))
            .arg("-i")
            .arg(&to.private_key)
            .arg(format!("{}@{}", to.user, to.address))
            .arg("sh -s")
            .stdin(File::open(Path::new(FOLDER).join("floor.sh"))?)
            .stdout(Stdio::null())
            .spawn()?;
        children.push(child);
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("the floor's ssh ended with {status}").into());
        }
    }
    Ok(started.elapsed())
}

/// `VmHWM` of a process that still lives, in kB.
fn high_water(status_file: &str) -> Option<u64> {
    let text = fs::read_to_string(status_file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn print(runs: &[Ran], floors: &[Duration]) -> Fallible<()> {
    let times: Vec<f64> = runs.iter().map(|ran| ran.took.as_secs_f64()).collect();
    let floors: Vec<f64> = floors.iter().map(Duration::as_secs_f64).collect();
    let pairs: Vec<f64> = times.iter().zip(&floors).map(|(run, floor)| run / floor).collect();
    let most = |column: &str| {
        let of_runs = runs.iter().flat_map(|ran| ran.recap.values());
        of_runs.filter_map(|stats| stats[column].as_u64()).max().ok_or_else(|| format!("no `{column}`"))
    };
    let peak = runs.iter().map(|ran| ran.peak).max().unwrap_or(0);
    let build = if cfg!(debug_assertions) { "a debug build: times mean little" } else { "optimised build" };
    println!("40 tasks, {} hosts, nothing to do; {} rounds taken in turns; {build}", HOSTS.len(), runs.len());
    println!("{:<28}{:>12}{:>20}   aim", "", "median", "min - max");
    row("no-op run", &times, " s", "");
    row("floor: one ssh a host", &floors, " s", "");
    row("run / floor", &pairs, "", &format!("{RATIO_AIM}"));
    println!("{:<28}{:>12}{:>20}   {TRIPS_AIM}", "round trips a host, at most", most("round_trips")?, "");
    println!("{:<28}{:>12}", "bytes sent a host", most("bytes_sent")?);
    println!("{:<28}{:>12}", "bytes received a host", most("bytes_received")?);
    println!("{:<28}{:>9.1} MB{:>20}   {MEMORY_AIM} MB", "peak memory", peak as f64 / 1024.0, "");
    Ok(())
}

fn row(name: &str, values: &[f64], unit: &str, aim: &str) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { return };
    let middle = sorted.len() / 2;
    let median =
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    let line = format!(
        "{name:<28}{:>12}{:>20}   {aim}",
        format!("{median:.2}{unit}"),
        format!("{low:.2} - {high:.2}")
    );
    println!("{}", line.trim_end());
}

fn told(faults: Vec<ishprov::diag::Diagnostic>) -> Box<dyn Error> {
    let messages: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
    messages.join("; ").into()
}
