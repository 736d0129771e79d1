//! What all hosts of a run share.

use super::event::Event;
use super::local::Local;
use crate::plan::{Handler, Library, Tags};
use crate::template::Templates;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::mpsc::UnboundedSender;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only look (`--check`).
    pub check: bool,
    /// Most steps whose questions travel together; 1 switches reading ahead off (`--window`).
    pub window: usize,
    /// Most hosts at once (`--forks`).
    pub forks: usize,
    /// Seconds a step may take when it names no limit of its own.
    pub step_seconds: u64,
    /// Steps to run.
    pub tags: Tags,
}

/// What all hosts of a run share.
pub struct Shared {
    /// Files.
    pub library: Arc<Library>,
    /// Templates.
    pub templates: Arc<Templates>,
    /// Folder of the site file.
    pub site_dir: String,
    /// How to run.
    pub options: Options,
    /// Handlers of the current play.
    pub handlers: RwLock<Vec<Arc<Handler>>>,
    /// Where events go.
    pub events: UnboundedSender<Event>,
    /// What the control machine answers and keeps.
    pub local: Arc<Local>,
    /// The user asked to stop.
    pub stop: Stop,
    /// Hosts go step by step together: none is through with a step before all are with the one before it.
    pub in_step: AtomicBool,
    /// Ids for steps that are compiled at run time.
    pub ids: AtomicUsize,
    /// How often something acted, on any host or here. A host may be this machine, whose files tasks read.
    pub acted: AtomicUsize,
}

/// Whether the user asked every host to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    user: Arc<AtomicBool>,
    now: Arc<Gate>,
}

/// A semaphore that starts closed.
#[derive(Debug)]
struct Gate(tokio::sync::Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(0))
    }
}

/// Hosts waiting for [`Stop::cut`]: more than any run has.
const ALL_WAITING: usize = 1 << 20;

impl Stop {
    /// The user asked to stop.
    pub fn interrupt(&self) {
        self.user.store(true, Ordering::SeqCst);
    }

    /// What runs on hosts is to be ended, not waited for.
    pub fn interrupt_now(&self) {
        self.interrupt();
        self.now.0.add_permits(ALL_WAITING);
    }

    /// Comes back when what runs on hosts is to be ended.
    pub async fn cut(&self) {
        if let Ok(permit) = self.now.0.acquire().await {
            permit.forget();
        }
    }

    /// Whether the user asked to stop.
    pub fn interrupted(&self) -> bool {
        self.user.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Something acted.
    pub fn note_act(&self) {
        self.acted.fetch_add(1, Ordering::SeqCst);
    }

    /// Tells the console.
    pub fn tell(&self, event: Event) {
        // A console that went away is no reason to leave a host half done.
        let _ = self.events.send(event);
    }

    /// The first free id for a step compiled at run time. Ids only tell steps apart for the console: hosts that
    /// compile the same include at the same time may get the same ones.
    pub fn next_ids(&self) -> usize {
        self.ids.load(Ordering::SeqCst)
    }

    /// Ids below `next` are taken.
    pub fn take_ids(&self, next: usize) {
        self.ids.fetch_max(next, Ordering::SeqCst);
    }

    /// The handlers of the current play, in order of definition.
    pub fn handlers(&self) -> Vec<Arc<Handler>> {
        self.handlers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new play has handlers of its own.
    pub fn set_handlers(&self, handlers: Vec<Arc<Handler>>) {
        *self.handlers.write().unwrap_or_else(PoisonError::into_inner) = handlers;
    }

    /// Handlers of a role that was included at run time.
    pub fn add_handlers(&self, more: Vec<Arc<Handler>>) {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        for handler in more {
            if !handlers.iter().any(|known| known.is_same(&handler)) {
                handlers.push(handler);
            }
        }
    }
}
