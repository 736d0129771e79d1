//! A started shell as three byte streams, whatever carries them.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;

/// What a shell sends.
#[derive(Debug)]
pub(super) enum Event {
    /// Standard output.
    Out(Vec<u8>),
    /// Standard error.
    Err(Vec<u8>),
    /// It ended with this status.
    Exit(i32),
    /// The connection ended for this reason.
    Broken(String),
}

/// A started shell.
pub(super) struct Link {
    /// Its standard input. Dropping it ends the shell.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it sends; ends when nothing more can come.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// Tasks and handles that live as long as the connection, ended in order.
    pub keeper: Keeper,
}

/// Ends its tasks, then lets go of its handles, when dropped.
#[derive(Default)]
pub(super) struct Keeper {
    pub tasks: Vec<tokio::task::JoinHandle<()>>,
    pub handles: Vec<Box<dyn std::any::Any + Send + Sync>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.handles.clear();
    }
}

/// Passes a stream on until it ends.
pub(super) async fn pump(
    mut stream: impl AsyncRead + Unpin,
    events: mpsc::UnboundedSender<Event>,
    wrap: fn(Vec<u8>) -> Event,
) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if events.send(wrap(buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}
