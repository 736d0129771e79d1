//! Work that spans hosts in an order that depends on what is found: pure functions from observed state and goal
//! to the next actions and the gates between them.
//!
//! The engine observes every host of the play, asks the procedure for the next round, performs it, and observes
//! again, until the procedure says it is done. So each procedure can be shown before it runs, is resumable by
//! running it again, and is tested by tables of states without a host.

mod leftovers;
mod neighbours;
pub mod overriding;
pub mod report;
mod rollout;
mod server;
mod survey;
mod takeover;
mod topology;
pub mod tune;

pub use server::{Data, Live, Server};
pub use topology::{Picture, Role};

use crate::diag::Fault;
use crate::modules::{Args, Change, Spec};
use crate::shell::{Action, Answers, Ask};
use serde_json::{Map, Value};

/// One host as a procedure sees it.
#[derive(Debug, Clone)]
pub struct Member {
    /// The host's name in the inventory.
    pub host: String,
    /// The procedure's arguments as rendered for this host.
    pub args: Args,
    /// What it answered to the questions of this round.
    pub answers: Answers,
}

/// What a procedure wants next.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Actions per host; hosts of one round act side by side. Empty with nothing to wait for: it is done.
    pub acts: Vec<Act>,
    /// Nothing to act on yet, but the goal is not reached: look again after a pause, and say what is waited for.
    pub waiting_for: Option<String>,
    /// Worth telling people, per round: "pg-replica1 first: raising max_connections".
    pub notes: Vec<String>,
    /// When done: what `register` keeps and which facts are set, per host (key `ansible_facts` as for modules).
    pub results: Vec<(String, Map<String, Value>)>,
}

/// The actions of one host in a round.
#[derive(Debug, Clone)]
pub struct Act {
    /// Whose.
    pub host: String,
    /// Why, for people.
    pub why: String,
    /// The difference for people.
    pub changes: Vec<Change>,
    /// In order; the first that fails ends the procedure.
    pub actions: Vec<Action>,
}

/// A procedure over the hosts of a play.
pub trait AnyProcedure: Send + Sync {
    /// Name, parameters and reference text, like a module's.
    fn spec(&self) -> &'static Spec;

    /// Facts it sets when it is done, so that later tasks may read them.
    fn facts(&self) -> &'static [&'static str] {
        &[]
    }

    /// Modules whose changes it carries out. In check mode they have changed nothing yet, so that the procedure
    /// finds nothing to do: what is announced for them is announced for it too.
    fn follows(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`forbids`](Self::forbids) is asked before anything is done on any host.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// Refuses what must not be found out half way: an `Err` stops the run while every host is as it was.
    fn forbids(&self, _members: &[Member]) -> Result<(), Fault> {
        Ok(())
    }

    /// What must be known of a host, given its arguments.
    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault>;

    /// The next round. `round` counts from 0; `seconds` is the time since the first, for gates with a limit.
    fn next(&self, members: &[Member], round: usize, seconds: u64) -> Result<Round, Fault>;
}

/// Every procedure, by name.
pub static PROCEDURES: &[&dyn AnyProcedure] =
    &[&leftovers::Leftovers, &rollout::Rollout, &survey::Survey, &topology::Topology, &tune::Tune];

/// The procedure of this name.
pub fn find(name: &str) -> Option<&'static dyn AnyProcedure> {
    PROCEDURES
        .iter()
        .copied()
        .find(|procedure| procedure.spec().name == name || procedure.spec().aliases.contains(&name))
}
