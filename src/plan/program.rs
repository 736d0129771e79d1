//! A play as a straight list of operations, with jumps for guards and blocks.
//!
//! Every host walks the same program at its own pace. Includes with a constant name are already in it, so that
//! `--list-tasks` and the checks before the first connection see everything; only includes whose name or items
//! are known at run time stay an operation.

use super::reads::Crossing;
use super::role_args::Inputs;
use crate::diag::{Diagnostic, Frame, Span, Spanned};
use crate::modules::{AnyModule, Brings};
use crate::playbook::{IncludeKind, Keywords, Meta};
use crate::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The operations of a play, an include or a handler.
#[derive(Debug, Default)]
pub struct Program {
    /// In order.
    pub ops: Vec<Op>,
}

impl Program {
    /// The same without the steps of these ids; jumps lead where they led.
    pub fn without(&self, ids: &BTreeSet<usize>) -> Self {
        let goes = |op: &Op| matches!(op, Op::Step(step) if ids.contains(&step.id));
        // How many operations before an index stay; an index behind the last is one, too.
        let mut stay = vec![0];
        for op in &self.ops {
            stay.push(stay.last().copied().unwrap_or_default() + usize::from(!goes(op)));
        }
        let at = |index: usize| stay.get(index).copied().unwrap_or(index);
        let moved = |op: &Op| match op {
            Op::Guard { step, to } => Op::Guard { step: Arc::clone(step), to: at(*to) },
            Op::Enter { rescue, always } => Op::Enter { rescue: rescue.map(at), always: at(*always) },
            Op::Leave { always } => Op::Leave { always: at(*always) },
            other => other.clone(),
        };
        Self { ops: self.ops.iter().filter(|op| !goes(op)).map(moved).collect() }
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    /// A task.
    Step(Arc<Step>),
    /// Goes on at `to` unless all conditions hold; they are evaluated once, as for an `include_tasks`.
    Guard {
        /// The include's task.
        step: Arc<Step>,
        /// Where to go on otherwise.
        to: usize,
    },
    /// Enters a block; failures inside go to `rescue`, else to `always`.
    Enter {
        /// First operation of the rescue part.
        rescue: Option<usize>,
        /// First operation of the always part.
        always: usize,
    },
    /// Ends the body or the rescue part: goes on at `always`.
    Leave {
        /// First operation of the always part.
        always: usize,
    },
    /// Ends the always part: a failure that nobody rescued goes on outwards.
    End,
    /// Takes in tasks whose name or items are known only now.
    Include(Arc<Step>),
    /// Runs the handlers notified so far.
    Flush,
    /// Steers the run.
    Meta {
        /// The task.
        step: Arc<Step>,
        /// What to do.
        meta: Meta,
    },
}

/// One task, bound to its module, with everything it inherits.
#[derive(Debug)]
pub struct Step {
    /// Counts through the play; tells steps apart in events.
    pub id: usize,
    /// The task.
    pub span: Span,
    /// Its name as written.
    pub name: Option<Node>,
    /// What it calls.
    pub call: StepCall,
    /// Arguments as written, aliases unresolved.
    pub args: Vec<Argument>,
    /// Its own keywords joined with those of block, role and play.
    pub keywords: Keywords,
    /// Variables of task, blocks, role and play, nearest first.
    pub layers: Arc<Layers>,
    /// The role it belongs to.
    pub role: Option<Arc<Role>>,
    /// The way that led here, innermost first.
    pub frames: Vec<Frame>,
    /// What it has to wait for.
    pub barrier: Barrier,
    /// What it reads of other hosts.
    pub crossing: Crossing,
    /// Folder of the file it stands in, for relative names.
    pub dir: String,
    /// It checks a role's arguments against these.
    pub inputs: Option<Arc<Inputs>>,
    /// What is wrong with it as it is written. It fails where it is reached; whether it is reached, a condition may say.
    pub faults: Vec<Diagnostic>,
    /// What the tasks inherit that an include takes in: not the include's own keywords, but those around it and `apply`.
    pub inner: Option<Box<Keywords>>,
}

/// What a step calls.
#[derive(Clone, Copy)]
pub enum StepCall {
    /// A module.
    Module(&'static dyn AnyModule),
    /// A procedure over all hosts of the play.
    Procedure(&'static dyn crate::cluster::AnyProcedure),
    /// `include_tasks`, `include_role`, `include_vars`.
    Include {
        /// What is taken in.
        kind: IncludeKind,
    },
    /// `meta`.
    Meta,
    /// A module that there is not.
    Unknown,
}

/// One argument of a task.
#[derive(Debug, Clone)]
pub struct Argument {
    /// Its name and where it stands.
    pub name: Spanned<String>,
    /// Its value; templates are still in it.
    pub value: Node,
}

/// What a step has to wait for before any host may go on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// Nothing: the host goes on at its own pace.
    None,
    /// Every host must have come here: the step looks at other hosts' results.
    Sync,
    /// One host does it for all.
    Once,
    /// It is done on another host.
    Delegate,
    /// A procedure over all hosts.
    Procedure,
}

/// A role that takes part in a play.
#[derive(Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: String,
}

/// Variables by where they come from, nearest first.
#[derive(Debug, Default, Clone)]
pub struct Layers {
    /// Parameters of role calls and includes.
    pub params: Vec<Arc<Layer>>,
    /// `vars` of the task and of the blocks around it, innermost first.
    pub tasks: Vec<Arc<Layer>>,
    /// `vars/` of the roles, its own role's first.
    pub role_vars: Vec<Arc<Layer>>,
    /// `vars_files` and `vars` of the play.
    pub play: Vec<Arc<Layer>>,
    /// `defaults/` of the roles, its own role's first.
    pub defaults: Vec<Arc<Layer>>,
}

/// Variables of one origin.
#[derive(Debug, Default, Clone)]
pub struct Layer {
    /// By name.
    pub vars: BTreeMap<String, Arc<Node>>,
}

impl Layer {
    /// The layer of a mapping's entries; later ones win.
    pub fn of(entries: &[crate::yaml::Entry]) -> Arc<Self> {
        let named = entries
            .iter()
            .filter_map(|entry| Some((entry.key.as_str()?.to_owned(), Arc::new(entry.value.clone()))));
        Arc::new(Self { vars: named.collect() })
    }
}

impl StepCall {
    /// The module's or procedure's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Module(module) => module.spec().name,
            Self::Procedure(procedure) => procedure.spec().name,
            Self::Include { kind: IncludeKind::Tasks } => "include_tasks",
            Self::Include { kind: IncludeKind::Role } => "include_role",
            Self::Include { kind: IncludeKind::Vars } => "include_vars",
            Self::Meta => "meta",
            Self::Unknown => "unknown module",
        }
    }
}

impl StepCall {
    /// Whether what it returns as facts are variables of the host (`set_fact`), which win over the site's.
    pub fn sets_variables(&self) -> bool {
        matches!(self, Self::Module(module) if module.brings() == Brings::Variables)
    }
}

impl std::fmt::Debug for StepCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Step {
    /// The argument of this name.
    pub fn arg(&self, name: &str) -> Option<&Argument> {
        self.args.iter().find(|argument| argument.name.node == name)
    }

    /// The module's name, as it is written where there is no such module.
    pub fn module(&self) -> &str {
        match (self.call, self.faults.first()) {
            (StepCall::Unknown, Some(fault)) => fault.message.split('`').nth(1).unwrap_or(self.call.name()),
            _ => self.call.name(),
        }
    }

    /// Whether something must hold before it is reached.
    pub fn is_conditional(&self) -> bool {
        !self.keywords.when.is_empty()
    }

    /// What to call it before its name is rendered: "role : name", or the module.
    pub fn title(&self) -> String {
        let name = self.name.as_ref().and_then(Node::scalar_text).unwrap_or_else(|| self.module().to_owned());
        match &self.role {
            Some(role) => format!("{} : {name}", role.name),
            None => name,
        }
    }
}
