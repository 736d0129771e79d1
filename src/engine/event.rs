//! What the engine tells while it works. The console draws it; nothing else listens.

use crate::diag::Diagnostic;
use crate::modules::Change;
use serde_json::Value;
use std::time::Duration;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A play starts on these hosts.
    Play {
        /// Its name.
        name: String,
        /// Its hosts.
        hosts: Vec<String>,
    },
    /// Of a play in batches (`serial`): the next one starts on these hosts.
    Batch {
        /// Its hosts.
        hosts: Vec<String>,
    },
    /// Hosts are being connected to.
    Connecting {
        /// Which.
        hosts: Vec<String>,
    },
    /// A host starts to act on a step: worth showing while it lasts.
    Started {
        /// Which host.
        host: String,
        /// The step's name.
        title: String,
    },
    /// The user asked to stop: nothing new is begun. With `now`, what runs on the hosts is ended too.
    Stopping {
        /// What runs is ended, not waited for.
        now: bool,
    },
    /// A host is done with a step (or with one item of its loop).
    Done(Box<Done>),
    /// A host is done with the play, for better or worse.
    HostDone {
        /// Which host.
        host: String,
    },
    /// Worth telling.
    Note(String),
    /// Why hosts do not go on; none of them is in the middle of anything.
    Halted(String),
    /// A host cannot be reached, or was lost.
    Unreachable {
        /// Which host.
        host: String,
        /// Why.
        diagnostic: Diagnostic,
    },
}

/// A step's outcome on a host.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which host.
    pub host: String,
    /// Where the step stands in what the host does in its play: the same on every host, and growing on each.
    pub at: Vec<usize>,
    /// Its name: "role : task".
    pub title: String,
    /// Where it stands: `file:line`.
    pub place: String,
    /// The module's name.
    pub module: &'static str,
    /// The item, for a loop.
    pub item: Option<String>,
    /// More items of the same step follow.
    pub more: bool,
    /// How it went.
    pub status: Status,
    /// Why there was nothing to do, why it was skipped, or what a message says.
    pub because: String,
    /// What was (or, in check mode, would be) changed.
    pub changes: Vec<Change>,
    /// What `register` keeps.
    pub result: Value,
    /// Results are not to be shown.
    pub no_log: bool,
    /// For a failure.
    pub diagnostic: Option<Diagnostic>,
    /// How long it took.
    pub took: Duration,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// Something was changed.
    Changed,
    /// Its conditions did not hold.
    Skipped,
    /// It failed, and the host stops.
    Failed,
    /// It failed, and the host goes on.
    Ignored,
    /// It failed, and a rescue part takes over.
    Rescued,
}

/// Ansible's recap columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps without a change, and with one (as Ansible counts: `ok` includes `changed`).
    pub ok: usize,
    /// Steps that changed something.
    pub changed: usize,
    /// 1 when the host could not be reached.
    pub unreachable: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps left out.
    pub skipped: usize,
    /// Failures that a rescue part took over.
    pub rescued: usize,
    /// Failures that were ignored.
    pub ignored: usize,
}

impl Stats {
    /// Counts one step.
    pub fn count(&mut self, status: Status) {
        match status {
            Status::Ok => self.ok += 1,
            Status::Changed => {
                self.ok += 1;
                self.changed += 1;
            }
            Status::Skipped => self.skipped += 1,
            Status::Failed => self.failed += 1,
            Status::Ignored => {
                self.ok += 1;
                self.ignored += 1;
            }
            Status::Rescued => self.rescued += 1,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Per host, in the inventory's order.
    pub hosts: Vec<HostReport>,
    /// Stopped by the user before its end.
    pub interrupted: bool,
}

/// What a run came to on one host.
#[derive(Debug, Clone, Default)]
pub struct HostReport {
    /// Its name.
    pub host: String,
    /// The recap columns.
    pub stats: Stats,
    /// Round trips after authentication.
    pub round_trips: u64,
    /// Bytes sent and received.
    pub bytes: (u64, u64),
    /// Failures, in full.
    pub diagnostics: Vec<Diagnostic>,
    /// The host's facts, for reports after the run.
    pub facts: serde_json::Map<String, Value>,
}
