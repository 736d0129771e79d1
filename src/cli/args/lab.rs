//! The arguments of `ishprov lab`.

use super::{InventoryArgs, RunArgs};
use clap::{Args, Subcommand, ValueEnum};

/// `ishprov lab`.
#[derive(Debug, Clone, Subcommand)]
pub enum LabCommand {
    /// Make the inventory's hosts exist on this machine, at their own addresses and sizes.
    ///
    /// A host's size is what its variables `lab_memory` ("16GB"), `lab_cpus` and `lab_disk` ("40GB") say. What this
    /// machine lacks for it is installed, after saying so.
    Up(LabUpArgs),
    /// Remove a lab's hosts and everything that was made for them.
    Down(LabNameArgs),
    /// Show the labs of this machine and their hosts.
    List {
        /// Only this lab.
        name: Option<String>,
    },
    /// Log in to a host of a lab, or run a command there.
    Ssh(LabSshArgs),
    /// Make the hosts exist, run a site on them, and prove how the cluster stands.
    Run(LabRunArgs),
    /// Do harm to a host, or take it back, to see what a site makes of it.
    Fault(LabFaultArgs),
}

/// Which lab.
#[derive(Debug, Clone, Default, Args)]
pub struct LabNameArgs {
    /// Name of the lab (default: made from the inventory's path).
    #[arg(long)]
    pub name: Option<String>,
    /// Inventory the lab belongs to (repeatable); with `--name` the name decides.
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Vec<String>,
}

/// `ishprov lab up`.
#[derive(Debug, Clone, Args)]
pub struct LabUpArgs {
    /// Hosts (a pattern).
    #[arg(default_value = "all")]
    pub pattern: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub lab: LabMakeArgs,
}

/// How a lab is made.
#[derive(Debug, Clone, Default, Args)]
pub struct LabMakeArgs {
    /// Name of the lab (default: made from the inventory's path).
    #[arg(long)]
    pub name: Option<String>,
    /// Users `ops` (sudo without a password), `pwops` (sudo with one) and `nosudo` on every host.
    #[arg(long)]
    pub test_users: bool,
}

/// `ishprov lab run`.
#[derive(Debug, Clone, Args)]
pub struct LabRunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub make: LabMakeArgs,
}

/// `ishprov lab ssh`.
#[derive(Debug, Clone, Args)]
pub struct LabSshArgs {
    /// The host.
    pub host: String,
    /// A command for the host's shell, after `--`.
    #[arg(last = true)]
    pub command: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub lab: LabNameArgs,
}

/// `ishprov lab fault`.
#[derive(Debug, Clone, Args)]
pub struct LabFaultArgs {
    /// What to do.
    pub fault: LabFault,
    /// The host.
    pub host: String,
    /// With `cut`: only from this host.
    #[arg(long, value_name = "HOST")]
    pub from: Option<String>,
    /// With `fill-disk`: what stays free.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub leave: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub lab: LabNameArgs,
}

/// What can be done to a host of a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LabFault {
    /// End it at once, like a power cut.
    Kill,
    /// Shut it down.
    Stop,
    /// Start it again.
    Boot,
    /// Hold all its processes.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Cut it off the network.
    Cut,
    /// Put it back on the network.
    Join,
    /// Fill its disk.
    FillDisk,
    /// Give back what filled it.
    FreeDisk,
}
