//! The command line.

mod certs;
mod lab;
mod tune;
mod vault;

pub use certs::{
    CertsCommand, CertsExport, CertsExportArgs, CertsInitArgs, CertsIssueArgs, CertsRevokeArgs,
    CertsRotateArgs, CertsStatusArgs, CertsVerifyArgs,
};
pub use lab::{
    LabCommand, LabFault, LabFaultArgs, LabMakeArgs, LabNameArgs, LabRunArgs, LabSshArgs, LabUpArgs,
};
pub use tune::{Rival, TuneArgs, TuneFormat};
pub use vault::{VaultCommand, VaultFilesArgs, VaultPasswordArgs};

use crate::shell::Secret;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Agentless provisioner and PostgreSQL config tuner.
///
/// From this machine, over SSH, bare Debian and Ubuntu hosts become a tuned, TLS-only, firewalled, replicated
/// PostgreSQL cluster. Nothing is installed on the hosts for it: sshd and a POSIX shell are enough.
#[derive(Debug, Parser)]
#[command(name = "ishprov", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a site: make the hosts what it says they are.
    Run(RunArgs),
    /// Check a site and its inventory without contacting a host.
    Lint(LintArgs),
    /// Show hosts, groups and variables.
    #[command(subcommand)]
    Inventory(InventoryCommand),
    /// Show what hosts say of themselves.
    Facts(FactsArgs),
    /// Rehearse: make an inventory's hosts exist on this machine, and run sites on them.
    #[command(subcommand)]
    Lab(Box<LabCommand>),
    /// PostgreSQL settings that fit a machine, with the memory budget that proves it.
    ///
    /// With `--dry-run` they are only shown: for this machine, for hosts (`-i`), or for a machine that is not there
    /// (`--ram`, `--cpus`). Without it hosts are shown what would change, and get it after a yes: reloaded where that is
    /// enough, restarted in the order that standbys need where it is not, and brought back to what they had when a server
    /// does not come up.
    Tune(Box<TuneArgs>),
    /// Certificates: the CA on this machine, and what it issued.
    #[command(subcommand)]
    Certs(Box<CertsCommand>),
    /// Encrypt, read and change secrets as `ansible-vault` keeps them.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Show the reference text of a module, or list all modules.
    Doc {
        /// The module.
        module: Option<String>,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where hosts and variables come from.
#[derive(Debug, Clone, Default, Args)]
pub struct InventoryArgs {
    /// Inventory: a file, a folder, or a list of hosts with a comma (repeatable).
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Vec<String>,
    /// Variables: `name=value`, JSON, or `@file` (repeatable).
    #[arg(short, long, value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// File that holds the vault password, or a program that prints it.
    #[arg(long, value_name = "FILE", env = "ANSIBLE_VAULT_PASSWORD_FILE")]
    pub vault_password_file: Option<PathBuf>,
    /// Ask for the vault password, whatever file is named.
    #[arg(long)]
    pub ask_vault_pass: bool,
    /// The vault password, when it was asked for already.
    #[arg(skip)]
    pub vault_password: Option<Secret>,
}

/// How to reach hosts.
#[derive(Debug, Clone, Default, Args)]
pub struct ConnectArgs {
    /// Private key file.
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// Account to log in with.
    #[arg(short, long)]
    pub user: Option<String>,
    /// Become root for every task.
    #[arg(short, long)]
    pub r#become: bool,
    /// Account to become instead of root.
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// Ask for the password of sudo.
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// Take in the keys of hosts that are new. A changed key is always refused.
    #[arg(long)]
    pub accept_new_host_keys: bool,
    /// File of known host keys, instead of the SSH configuration's (repeatable; the first is written to).
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Vec<PathBuf>,
    /// Seconds to wait for a connection.
    #[arg(short = 'T', long)]
    pub timeout: Option<u64>,
    /// Most hosts at once.
    #[arg(short, long, default_value_t = 50)]
    pub forks: usize,
    /// Reach the lab's hosts instead: address, account and keys are the lab's (default: the inventory's own lab).
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub lab: Option<String>,
    /// The password of sudo, when it was asked for.
    #[arg(skip)]
    pub become_password: Option<Secret>,
}

/// How to show results.
#[derive(Debug, Clone, Default, Args)]
pub struct ShowArgs {
    /// Say more: results with -v, reasons for doing nothing with -vv.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub output: OutputKind,
}

/// What to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputKind {
    /// For people.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// `ishprov run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The site file.
    pub site: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub show: ShowArgs,
    /// Only look: say what would change, change nothing.
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show what changes, line by line.
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Only these hosts (a pattern).
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Only tasks with these tags.
    #[arg(short, long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// No tasks with these tags.
    #[arg(long, value_delimiter = ',')]
    pub skip_tags: Vec<String>,
    /// Only list the hosts.
    #[arg(long)]
    pub list_hosts: bool,
    /// Only list the tasks.
    #[arg(long)]
    pub list_tasks: bool,
    /// Only check the site, as `lint` does.
    #[arg(long)]
    pub syntax_check: bool,
    /// What is wrong only where a fact or a result leads to it is an error, not a warning.
    #[arg(long)]
    pub strict: bool,
    /// Most steps whose questions travel together; 1 reads nothing ahead.
    #[arg(long, default_value_t = 500, value_name = "STEPS")]
    pub window: usize,
    /// After the run, ask every host for its PostgreSQL and show how the cluster stands.
    #[arg(long)]
    pub report: bool,
}

impl RunArgs {
    /// A run of plays that are part of this program, over `hosts`.
    pub fn built_in(site: &str, inventory: InventoryArgs, connect: ConnectArgs, hosts: String) -> Self {
        Self {
            site: PathBuf::from(site),
            inventory,
            connect,
            show: ShowArgs::default(),
            check: false,
            diff: false,
            limit: Some(hosts),
            tags: Vec::new(),
            skip_tags: Vec::new(),
            list_hosts: false,
            list_tasks: false,
            syntax_check: false,
            strict: false,
            window: 500,
            report: false,
        }
    }
}

/// `ishprov lint`.
#[derive(Debug, Clone, Args)]
pub struct LintArgs {
    /// The site file.
    pub site: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    /// What is wrong only where a fact or a result leads to it is an error, not a warning.
    #[arg(long)]
    pub strict: bool,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub output: OutputKind,
}

/// `ishprov inventory`.
#[derive(Debug, Clone, Subcommand)]
pub enum InventoryCommand {
    /// All hosts, groups and variables as JSON.
    List(InventoryArgs),
    /// Groups and hosts as a tree.
    Graph(InventoryArgs),
    /// One host's variables, and where each was set.
    Host {
        /// The host.
        host: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        inventory: InventoryArgs,
    },
}

/// `ishprov facts`.
#[derive(Debug, Clone, Args)]
pub struct FactsArgs {
    /// Hosts (a pattern).
    #[arg(default_value = "all")]
    pub pattern: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
}
