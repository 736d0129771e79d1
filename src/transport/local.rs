//! This machine: the same shell as on a host, as a child process.

use super::error::TransportError;
use super::link::{Event, Keeper, Link, pump, queue};
use std::process::Stdio;
use tokio::process::Command;

/// Starts the shell.
pub(super) fn open(command: &str) -> Result<Link, TransportError> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on the terminal is for us: the shell ends by the end of its input.
        .process_group(0)
        .spawn()
        .map_err(|error| TransportError::Shell { why: format!("cannot start `sh`: {error}") })?;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
        return Err(TransportError::Shell { why: "`sh` started without its streams".to_owned() });
    };
    let (sender, events) = queue();
    let out = tokio::spawn(pump(stdout, sender.clone(), Event::Out));
    let err = tokio::spawn(pump(stderr, sender.clone(), Event::Err));
    let exit = tokio::spawn(async move {
        use std::os::unix::process::ExitStatusExt;
        if let Ok(status) = child.wait().await {
            let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
            // Its last words come first: they are still in the pipes.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            sender.send(Event::Exit(status)).await;
        }
    });
    let keeper = Keeper { tasks: vec![out, err, exit], handles: Vec::new() };
    Ok(Link { writer: Box::new(stdin), events, keeper })
}
