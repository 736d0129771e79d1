//! Where the time of a first run goes: the shipped site, three bare hosts, packages in the lab's cache.

use super::{Fallible, STATE_DIR, told};
use ishprov::lab::{Connection, Lab, LabHost};
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const NET: u8 = 74;
const HOSTS: [(&str, u8, u64); 3] = [("pg-primary", 11, 16), ("pg-replica1", 12, 8), ("pg-replica2", 13, 8)];

/// What one role cost.
struct Phase {
    role: String,
    /// Seconds per host, in the order of `HOSTS`.
    busy: [f64; 3],
}

/// Makes the hosts twice: the first time fills the cache of packages, the second is measured.
pub fn bench() -> Fallible<()> {
    let lab = Lab::open_in(Path::new(STATE_DIR), "bench-first").map_err(told)?;
    let hosts: Vec<LabHost> = HOSTS
        .iter()
        .map(|(name, last, gb)| LabHost {
            memory: Some(gb << 30),
            ..LabHost::new(*name, Ipv4Addr::new(198, 18, NET, *last))
        })
        .collect();
    let mut measured = Err("nothing was measured".into());
    for attempt in ["the package cache is filled", "measured"] {
        lab.down(&|_| ()).map_err(told)?;
        let connections = lab.up(&hosts, &|_| ()).map_err(told)?;
        eprintln!("first run of the shipped site: {attempt}");
        measured = run(&connections);
        if measured.is_err() {
            break;
        }
    }
    lab.down(&|_| ()).map_err(told)?;
    let (wall, phases) = measured?;
    show(wall, &phases);
    Ok(())
}

fn run(connections: &[Connection]) -> Fallible<(f64, Vec<Phase>)> {
    let dir = tempfile::tempdir()?;
    for part in ["site.yaml", "inventory", "roles", "templates"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        if !Command::new("cp").arg("-r").arg(from).arg(dir.path()).status()?.success() {
            return Err(format!("`{part}` could not be copied").into());
        }
    }
    let any = connections.first().ok_or("no hosts")?;
    for (name, last, _) in HOSTS {
        let vars = dir.path().join(format!("inventory/host_vars/{name}.yaml"));
        fs::write(vars, format!("ansible_host: 198.18.{NET}.{last}\n"))?;
    }
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(["run", "site.yaml", "-i", "inventory", "--output", "json", "--private-key"])
        .arg(&any.private_key)
        .arg("--known-hosts")
        .arg(&any.known_hosts)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()?;
    let wall = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let blamed =
            said.lines().filter(|line| line.contains("\"diagnostic\"")).collect::<Vec<_>>().join("\n");
        return Err(format!("the first run failed: {blamed}").into());
    }
    let mut phases: Vec<Phase> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line)?;
        let (Some(task), Some(host), Some(seconds)) =
            (event["task"].as_str(), event["host"].as_str(), event["seconds"].as_f64())
        else {
            continue;
        };
        let role = task.split(" : ").next().unwrap_or(task);
        let Some(index) = HOSTS.iter().position(|(name, _, _)| *name == host) else { continue };
        let position = phases.iter().position(|phase| phase.role == role).unwrap_or_else(|| {
            phases.push(Phase { role: role.to_owned(), busy: [0.0; 3] });
            phases.len() - 1
        });
        phases[position].busy[index] += seconds;
    }
    Ok((wall, phases))
}

fn show(wall: f64, phases: &[Phase]) {
    println!("\nfirst run of the shipped site, 3 bare hosts, packages cached: {wall:.1} s");
    println!("{:<16}{:>14}{:>9}{:>16}{:>14}", "role", "slowest host", "share", "all hosts", "side by side");
    let mut rest = wall;
    for phase in phases {
        let slowest = phase.busy.into_iter().fold(0.0, f64::max);
        let all: f64 = phase.busy.iter().sum();
        rest -= slowest;
        println!(
            "{:<16}{:>12.1} s{:>7.0} %{:>14.1} s{:>14.1}",
            phase.role,
            slowest,
            slowest / wall * 100.0,
            all,
            if slowest > 0.0 { all / slowest } else { 1.0 }
        );
    }
    println!("{:<16}{:>12.1} s{:>7.0} %", "rest", rest, rest / wall * 100.0);
}
