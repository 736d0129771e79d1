//! A started shell as three byte streams, whatever carries them.
//!
//! What a host sends waits in a queue that holds [`BACKLOG`] bytes: beyond that the reader waits. Nothing more is read
//! from a host that sends while nobody takes it in, and after [`UNASKED`] its connection is given up.

use crate::shell::limits::{BACKLOG, bytes};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};

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

impl Event {
    fn size(&self) -> usize {
        match self {
            Self::Out(bytes) | Self::Err(bytes) => bytes.len().min(BACKLOG),
            Self::Exit(_) | Self::Broken(_) => 0,
        }
    }
}

/// How long a full queue may stay full. A frame under way empties it at once; between frames a host of ours is silent.
/// Hosts behind one jump host wait for each other meanwhile, so this is short.
const UNASKED: Duration = Duration::from_secs(5);

/// Where the reader of a connection puts what comes.
#[derive(Clone)]
pub(super) struct Sender {
    queue: mpsc::UnboundedSender<Event>,
    room: Arc<Semaphore>,
}

/// Where a session takes it from.
pub(super) struct Events {
    queue: mpsc::UnboundedReceiver<Event>,
    room: Arc<Semaphore>,
}

/// A queue of [`BACKLOG`] bytes.
pub(super) fn queue() -> (Sender, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(BACKLOG));
    (Sender { queue: sender, room: room.clone() }, Events { queue: receiver, room })
}

impl Sender {
    /// Passes an event on once there is room for it; `false` when nobody wants any more.
    pub async fn send(&self, event: Event) -> bool {
        // BACKLOG fits into 32 bits.
        let room = self.room.acquire_many(event.size() as u32);
        match tokio::time::timeout(UNASKED, room).await {
            Ok(Ok(room)) => room.forget(),
            Ok(Err(_)) => return false,
            Err(_) => {
                let why = format!("it sent more than {} that nobody asked for", bytes(BACKLOG as u64));
                let _ = self.queue.send(Event::Broken(why));
                return false;
            }
        }
        self.queue.send(event).is_ok()
    }
}

impl Events {
    /// The next event; `None` when nothing more can come.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.queue.recv().await;
        self.taken(event)
    }

    /// The next event that is here already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.queue.try_recv().ok();
        self.taken(event)
    }

    fn taken(&self, event: Option<Event>) -> Option<Event> {
        self.room.add_permits(event.as_ref().map_or(0, Event::size));
        event
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// A started shell.
pub(super) struct Link {
    /// Its standard input. Dropping it ends the shell.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it sends; ends when nothing more can come.
    pub events: Events,
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
pub(super) async fn pump(mut stream: impl AsyncRead + Unpin, events: Sender, wrap: fn(Vec<u8>) -> Event) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if !events.send(wrap(buffer[..count].to_vec())).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_takes_is_not_kept_beyond_the_backlog() {
        let (sender, mut events) = queue();
        let mut sent = 0;
        while sender.send(Event::Out(vec![b'x'; 65536])).await {
            sent += 65536;
        }
        assert_eq!(sent, BACKLOG);
        let mut taken = 0;
        let why = loop {
            match events.recv().await {
                Some(Event::Out(bytes)) => taken += bytes.len(),
                Some(Event::Broken(why)) => break why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(taken, BACKLOG);
        assert_eq!(why, "it sent more than 2 MB that nobody asked for");
        assert!(sender.send(Event::Out(vec![0; 65536])).await, "there is room again");
        drop(events);
        assert!(!sender.send(Event::Exit(0)).await);
    }
}
