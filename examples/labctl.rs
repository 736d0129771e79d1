//! Drives the embedded lab by hand: `cargo run --example labctl -- up NAME HOST,ADDRESS[,mem=8G][,cpus=2][,disk=20G]...`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use ishprov::lab::{Connection, Lab, LabHost, LabOptions, LabResult, state_dir};
use std::process::ExitCode;

const USAGE: &str = "usage: labctl [--test-users] up LAB HOST,ADDRESS[,mem=8G][,cpus=2][,disk=20G]...
       labctl down LAB
       labctl list [LAB]
       labctl kill|stop|boot|freeze|thaw|cut|join|free-disk LAB HOST
       labctl cut-between LAB HOST OTHER
       labctl fill-disk LAB HOST BYTES-TO-LEAVE";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let test_users = args.iter().any(|arg| arg == "--test-users");
    args.retain(|arg| arg != "--test-users");
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match act(&words, LabOptions { test_users }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(faults) => {
            for fault in faults {
                eprintln!("error: {} {:?}", fault.message, fault.hosts);
                fault.notes.iter().for_each(|note| eprintln!("   = {note}"));
                fault.hints.iter().for_each(|hint| eprintln!("   = hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

fn act(words: &[&str], options: LabOptions) -> LabResult<bool> {
    let tell = |event: ishprov::lab::LabEvent| println!("{event}");
    let open = |name: &str| Lab::open(name).map(|lab| lab.with_options(options));
    match words {
        ["up", lab, hosts @ ..] => {
            let Some(hosts) = hosts.iter().map(|text| parse_host(text)).collect::<Option<Vec<_>>>() else {
                return Ok(false);
            };
            for connection in open(lab)?.up(&hosts, &tell)? {
                println!("{}", ssh_line(&connection));
            }
        }
        ["down", lab] => open(lab)?.down(&tell)?,
        ["list", labs @ ..] => {
            let all = Lab::names_in(&state_dir());
            for lab in all.iter().filter(|lab| labs.is_empty() || labs.contains(&lab.as_str())) {
                for status in open(lab)?.list()? {
                    println!("{lab}: {status:?}");
                }
            }
        }
        ["kill", lab, host] => open(lab)?.kill(host)?,
        ["stop", lab, host] => open(lab)?.stop(host)?,
        ["boot", lab, host] => open(lab)?.boot(host, &tell)?,
        ["freeze", lab, host] => open(lab)?.freeze(host)?,
        ["thaw", lab, host] => open(lab)?.thaw(host)?,
        ["cut", lab, host] => open(lab)?.cut(host)?,
        ["cut-between", lab, host, other] => open(lab)?.cut_between(host, other)?,
        ["join", lab, host] => open(lab)?.join(host)?,
        ["free-disk", lab, host] => open(lab)?.free_disk(host)?,
        ["fill-disk", lab, host, leave] => {
            let Some(leave) = parse_size(leave) else { return Ok(false) };
            println!("{} bytes taken", open(lab)?.fill_disk(host, leave)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn parse_host(text: &str) -> Option<LabHost> {
    let mut parts = text.split(',');
    let mut host = LabHost::new(parts.next()?, parts.next()?.parse().ok()?);
    for part in parts {
        match part.split_once('=')? {
            ("mem", size) => host.memory = Some(parse_size(size)?),
            ("cpus", count) => host.cpus = Some(count.parse().ok()?),
            ("disk", size) => host.disk = Some(parse_size(size)?),
            _ => return None,
        }
    }
    Some(host)
}

fn parse_size(text: &str) -> Option<u64> {
    let shift = match text.chars().last()? {
        'G' => 30,
        'M' => 20,
        'K' => 10,
        _ => 0,
    };
    text.trim_end_matches(['G', 'M', 'K']).parse::<u64>().ok()?.checked_shl(shift)
}

fn ssh_line(connection: &Connection) -> String {
    format!(
        "ssh -i {} -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -p {} {}@{}",
        connection.private_key.display(),
        connection.known_hosts.display(),
        connection.port,
        connection.user,
        connection.address
    )
}
