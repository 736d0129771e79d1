//! Inventories that are programs: run as Ansible runs them, with `--list`, and for each host with `--host NAME` where the
//! list has no `_meta`.

use crate::diag::Diagnostic;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one call may take: a program that asks a cloud takes seconds, one that hangs must be named.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most that a program may print: far more than any inventory.
const MOST: u64 = 64 << 20;

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be read.
    Text,
    /// To be run.
    Program,
    /// A program by its first line that may not be run.
    NotExecutable,
}

/// What a file is, by its mode and its first bytes: hosts in YAML or INI stay text, whatever their mode.
pub fn kind(path: &Path) -> Kind {
    let Ok(mut file) = std::fs::File::open(path) else { return Kind::Text };
    let mut start = [0; 4];
    let length = file.read(&mut start).unwrap_or(0);
    let program = start.starts_with(b"#!") || (length == 4 && start == *b"\x7fELF");
    let executable = file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    match (program, executable) {
        (true, true) => Kind::Program,
        (true, false) => Kind::NotExecutable,
        _ => Kind::Text,
    }
}

/// Runs an inventory; the text that it stands for.
pub fn run(path: &Path) -> Result<String, Diagnostic> {
    let mut list = object(path, &["--list"])?;
    if !list.contains_key("_meta") {
        let mut vars = Map::new();
        for host in hosts(&list) {
            vars.insert(host.clone(), Value::Object(object(path, &["--host", &host])?));
        }
        list.insert("_meta".to_owned(), json!({ "hostvars": vars }));
    }
    Ok(format!("{:#}", Value::Object(list)))
}

/// Every host that a list names, each once.
fn hosts(list: &Map<String, Value>) -> BTreeSet<String> {
    let members = list.values().filter_map(|group| match group {
        Value::Array(hosts) => Some(hosts),
        Value::Object(group) => group.get("hosts").and_then(Value::as_array),
        _ => None,
    });
    members.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a program prints with these words: an object, nothing at all an empty one.
fn object(path: &Path, words: &[&str]) -> Result<Map<String, Value>, Diagnostic> {
    let called = format!("`{} {}`", path.display(), words.join(" "));
    let fault = |what: String| Diagnostic::error("inventory-program", format!("{called} {what}"));
    let (stdout, stderr) = output(path, words).map_err(|(what, stderr)| said(fault(what), &stderr))?;
    let text = String::from_utf8(stdout)
        .map_err(|_| said(fault("printed something that is no UTF-8 text".to_owned()), &stderr))?;
    if text.trim().is_empty() && words != ["--list"] {
        return Ok(Map::new());
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(said(fault("printed JSON that is no object".to_owned()), &stderr)),
        Err(error) => Err(said(fault(format!("did not print JSON: {error}")), &stderr)
            .hint("an inventory program prints one JSON object of groups for `--list`")),
    }
}

fn said(mut diagnostic: Diagnostic, stderr: &str) -> Diagnostic {
    diagnostic.notes.extend(stderr.lines().rev().take(6).map(|line| format!("it said: {line}")));
    diagnostic.notes.reverse();
    diagnostic
}

/// Standard output and error of a call that went well; what went wrong otherwise, and what it said.
fn output(path: &Path, words: &[&str]) -> Result<(Vec<u8>, String), (String, String)> {
    let none = String::new;
    let path = std::path::absolute(path).map_err(|error| (format!("cannot be run: {error}"), none()))?;
    let mut command = Command::new(&path);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| (format!("cannot be run: {error}"), none()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reader = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(stream) = stream {
                // What could not be read is missing in what was printed, which is then no JSON.
                let _ = stream.take(MOST).read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let out = reader(stdout.map(|stream| Box::new(stream) as Box<dyn std::io::Read + Send>));
    let err = reader(stderr.map(|stream| Box::new(stream) as Box<dyn std::io::Read + Send>));
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                break Err(format!("took longer than {} s", PATIENCE.as_secs()));
            }
            Err(error) => break Err(format!("could not be waited for: {error}")),
        }
    };
    let status = status.map_err(|what| (what, none()))?;
    let stdout = out.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&err.join().unwrap_or_default()).into_owned();
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok((stdout, stderr)),
        (Some(code), _) => Err((format!("failed with exit code {code}"), stderr)),
        (None, signal) => Err((format!("was ended by signal {}", signal.unwrap_or_default()), stderr)),
    }
}
