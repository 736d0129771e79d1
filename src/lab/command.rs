//! Running programs of this machine, each with a time limit, and turning their failures into diagnostics.

use super::LabResult;
use crate::diag::Diagnostic;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Enough for anything that only talks to the kernel.
pub(super) const QUICK: Duration = Duration::from_secs(30);

/// How a program ended and what it said.
#[derive(Debug)]
pub(super) struct Finished {
    /// `None` when the time limit ended it.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn ok(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a program and returns its standard output; anything but success is a diagnostic.
pub(super) fn run(limit: Duration, program: &str, args: &[&str]) -> LabResult<String> {
    run_with_input(limit, program, args, b"")
}

/// As [`run`], with `input` on the program's standard input.
pub(super) fn run_with_input(
    limit: Duration,
    program: &str,
    args: &[&str],
    input: &[u8],
) -> LabResult<String> {
    let finished = try_run(limit, program, args, input)?;
    if finished.ok() {
        return Ok(finished.stdout);
    }
    let how = match finished.status {
        None => format!("did not end within {} seconds", limit.as_secs()),
        Some(status) => format!("failed ({status})"),
    };
    let mut diagnostic = Diagnostic::error("lab-command-failed", format!("`{program}` {how}"))
        .note(format!("command: {program} {}", args.join(" ")));
    for said in [&finished.stderr, &finished.stdout] {
        if !said.trim().is_empty() {
            diagnostic = diagnostic.note(tail(said, 12));
        }
    }
    Err(vec![diagnostic])
}

/// Runs a program and leaves the judgement to the caller; only a program that cannot start is a diagnostic.
pub(super) fn try_run(limit: Duration, program: &str, args: &[&str], input: &[u8]) -> LabResult<Finished> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive").env("PATH", path());
    watch(command, limit, input).map_err(|error| {
        vec![
            Diagnostic::error("lab-command-failed", format!("cannot run `{program}`: {error}"))
                .note(format!("command: {program} {}", args.join(" "))),
        ]
    })
}

/// The caller's search path with the administrator's folders, which a user's shell often lacks.
pub(super) fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// The last `lines` lines of a text.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn watch(mut command: Command, limit: Duration, input: &[u8]) -> io::Result<Finished> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        // A program that reads nothing closes the pipe early; that is its right, its status tells the rest.
        thread::spawn(move || pipe.write_all(&input));
    }
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let status = wait(&mut child, limit)?;
    // A background child of the program may hold the pipe open: what came until now is enough then.
    let grace = Duration::from_secs(2);
    let text = |pipe: Option<mpsc::Receiver<Vec<u8>>>| {
        let bytes = pipe.and_then(|pipe| pipe.recv_timeout(grace).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Finished { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Waits without a helper thread, so that the child is never signalled after it was reaped.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut nap = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        sender.send(bytes)
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_input_pass_and_failure_shows_what_was_said() {
        assert_eq!(run_with_input(QUICK, "cat", &[], b"a\nb").unwrap(), "a\nb");
        let failure = run(QUICK, "sh", &["-c", "echo broken >&2; exit 3"]).unwrap_err();
        assert_eq!(failure[0].message, "`sh` failed (exit status: 3)");
        assert!(failure[0].notes.iter().any(|note| note == "broken"), "{failure:?}");
        assert!(run(QUICK, "no-such-program", &[]).unwrap_err()[0].message.starts_with("cannot run"));
    }

    #[test]
    fn a_hung_program_is_ended() {
        let start = Instant::now();
        let failure = run(Duration::from_millis(100), "sleep", &["30"]).unwrap_err();
        assert!(failure[0].message.contains("did not end"), "{failure:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
