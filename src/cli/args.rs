//! The command line.

use crate::shell::Secret;
use crate::tuner::{Bytes, DiskKind, Workload};
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
            window: 500,
            report: false,
        }
    }
}

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
    /// Inventory the lab belongs to (repeatable).
    #[arg(short, long, value_name = "INVENTORY", conflicts_with = "name")]
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

/// `ishprov tune`.
#[derive(Debug, Clone, Args)]
pub struct TuneArgs {
    /// Hosts (a pattern) of the inventory; together they count as one cluster.
    #[arg(requires = "inventory")]
    pub pattern: Option<String>,
    /// Only show what would be set, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
    /// Only these hosts (a pattern).
    #[arg(short, long, value_name = "PATTERN", requires = "inventory")]
    pub limit: Option<String>,
    /// RAM of a machine that is not there ("16GB").
    #[arg(long, value_name = "SIZE", requires = "cpus", conflicts_with = "inventory")]
    pub ram: Option<Bytes>,
    /// CPUs of a machine that is not there.
    #[arg(long, value_name = "NUMBER", requires = "ram", conflicts_with = "inventory")]
    pub cpus: Option<u64>,
    /// Kind of the data disk: nvme, ssd, hdd, san or unknown (default: what the kernel says, where that can be believed).
    #[arg(long, value_name = "KIND")]
    pub disk: Option<DiskKind>,
    /// `max_connections` (default: as the running server has it, else what the workload usually takes).
    #[arg(long, value_name = "NUMBER")]
    pub connections: Option<u64>,
    /// Connections that work at the same time: what the pools in front can open (default: all).
    #[arg(long, value_name = "NUMBER")]
    pub active: Option<u64>,
    /// Kind of work: web, oltp, dw, mixed or desktop (default: what the inventory or the file in force says, else mixed).
    #[arg(long, value_name = "KIND")]
    pub workload: Option<Workload>,
    /// Major version of PostgreSQL (default: the one that runs or is installed, else 15).
    #[arg(long, value_name = "MAJOR")]
    pub pg: Option<u64>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub format: TuneFormat,
    /// Also show settings that are right as they are.
    #[arg(long)]
    pub all: bool,
    /// Measure the data disk for a second by reading it; otherwise an earlier measurement or the kernel is believed.
    #[arg(long, conflicts_with_all = ["ram", "disk"])]
    pub probe_disk: bool,
    /// Tell how one setting comes about, and what would change it.
    #[arg(long, value_name = "SETTING")]
    pub explain: Option<String>,
    /// Let the server's own statistics adjust what is proposed, each change with its evidence.
    #[arg(long, requires = "dry_run", conflicts_with = "ram")]
    pub from_stats: bool,
    /// Show where another tuner differs, and why.
    #[arg(long, value_name = "TUNER", conflicts_with_all = ["explain", "yes", "undo"])]
    pub compare: Option<Rival>,
    /// Apply without asking.
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Bring back the settings from before the last change.
    #[arg(long, requires = "inventory", conflicts_with_all = ["dry_run", "ram", "explain"])]
    pub undo: bool,
}

/// Tuners to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// le0pard's pgtune, as of 2026-07.
    Pgtune,
}

/// How to print settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TuneFormat {
    /// For people.
    #[default]
    Table,
    /// A file for `conf.d`, reasons as comments.
    Conf,
    /// `ALTER SYSTEM` statements, reasons as comments.
    Sql,
    /// Everything, for programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// `ishprov certs`.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make the CA, or bring in one that exists.
    Init(CertsInitArgs),
    /// Issue a certificate for a person or a program: certificate, key and CA to files.
    Issue(CertsIssueArgs),
    /// Show every certificate on every host, and what its server shows to clients.
    ///
    /// Exit code 2 when one is broken, was revoked, ends within `--days`, or is not the one in use; 4 when a host cannot be
    /// reached.
    Status(CertsStatusArgs),
    /// Connect to every server as a client would: chain, names, protocol version.
    Verify(CertsVerifyArgs),
    /// Revoke certificates, by serial number or by name.
    ///
    /// `crl.pem` then lists them; `tls_cert` with `crl_path` hands it to hosts, whose server obeys it with `ssl_crl_file`.
    Revoke(CertsRevokeArgs),
    /// Print what a client or another program needs: the CA, the bundle, the revocation list, or the list of what was
    /// issued.
    Export(CertsExportArgs),
}

/// Where the CA lies, and what its key is sealed with.
#[derive(Debug, Clone, Args)]
pub struct PkiArgs {
    /// Folder of the CA.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub pki: PathBuf,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputKind,
}

/// `ishprov certs init`.
#[derive(Debug, Args)]
pub struct CertsInitArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub password: VaultPasswordArgs,
    /// Its name.
    #[arg(long, default_value = "ishprov CA", conflicts_with = "import_cert")]
    pub name: String,
    /// Its organization.
    #[arg(long, conflicts_with = "import_cert")]
    pub organization: Option<String>,
    /// Its lifetime in days.
    #[arg(long, default_value_t = 3650, conflicts_with = "import_cert")]
    pub days: u32,
    /// Kind of its key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096.
    #[arg(long, default_value = "ecdsa-p256", conflicts_with = "import_cert")]
    pub key_type: String,
    /// The only names it may sign for: a DNS suffix or a range of addresses (repeatable; default: any).
    #[arg(long, value_name = "SUFFIX|CIDR", conflicts_with = "import_cert")]
    pub permit: Vec<String>,
    /// A CA that exists: its certificate (PEM), with all above it up to the root.
    #[arg(long, value_name = "FILE", requires = "import_key")]
    pub import_cert: Option<PathBuf>,
    /// Its key (PEM, not encrypted, or vault text).
    #[arg(long, value_name = "FILE", requires = "import_cert")]
    pub import_key: Option<PathBuf>,
}

/// `ishprov certs issue`.
#[derive(Debug, Args)]
pub struct CertsIssueArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub password: VaultPasswordArgs,
    /// For a client the PostgreSQL role, which becomes the CN; for a server the name of the files.
    pub name: String,
    /// What it may be used for: client, server or peer.
    #[arg(long, default_value = "client")]
    pub usage: String,
    /// A name or address it stands for (repeatable).
    #[arg(long, value_name = "NAME")]
    pub san: Vec<String>,
    /// Its lifetime in days.
    #[arg(long, default_value_t = 365)]
    pub days: u32,
    /// Kind of its key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072, rsa-4096.
    #[arg(long, default_value = "ecdsa-p256")]
    pub key_type: String,
    /// Folder that NAME.crt, NAME.key and ca.crt are written to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `ishprov certs status`.
#[derive(Debug, Args)]
pub struct CertsStatusArgs {
    /// Hosts (a pattern).
    #[arg(default_value = "all")]
    pub pattern: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
    /// Only these hosts (a pattern).
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Flag what ends within so many days.
    #[arg(long, default_value_t = 30)]
    pub days: u32,
}

/// `ishprov certs verify`.
#[derive(Debug, Args)]
pub struct CertsVerifyArgs {
    /// Hosts (a pattern).
    #[arg(default_value = "all")]
    pub pattern: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub connect: ConnectArgs,
    /// Only these hosts (a pattern).
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
}

/// `ishprov certs revoke`.
#[derive(Debug, Args)]
pub struct CertsRevokeArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub password: VaultPasswordArgs,
    /// Serial number, or the name of a file, a host or a role.
    #[arg(required = true, value_name = "SERIAL|NAME")]
    pub which: Vec<String>,
}

/// `ishprov certs export`.
#[derive(Debug, Args)]
pub struct CertsExportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pki: PkiArgs,
    /// What to print.
    #[arg(value_enum, default_value_t)]
    pub what: CertsExport,
}

/// What can be taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum CertsExport {
    /// The CA certificate.
    #[default]
    Ca,
    /// What hosts trust: old and new CA while one takes the place of the other.
    Bundle,
    /// The revocation list.
    Crl,
    /// Everything that was issued.
    Index,
}

/// `ishprov vault`.
#[derive(Debug, Clone, Subcommand)]
pub enum VaultCommand {
    /// Encrypt files in place (`-`: standard input to standard output).
    Encrypt(VaultFilesArgs),
    /// Decrypt files in place (`-`: standard input to standard output).
    Decrypt(VaultFilesArgs),
    /// Show the content of encrypted files.
    View {
        #[command(flatten)]
        #[allow(missing_docs)]
        password: VaultPasswordArgs,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Edit an encrypted file with $VISUAL or $EDITOR.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs)]
        password: VaultPasswordArgs,
        /// The file; it is made when there is none.
        file: PathBuf,
    },
    /// Encrypt files anew with another password.
    Rekey {
        #[command(flatten)]
        #[allow(missing_docs)]
        password: VaultPasswordArgs,
        /// File that holds the new password (default: ask for it).
        #[arg(long, value_name = "FILE")]
        new_vault_password_file: Option<PathBuf>,
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Encrypt one value for use in a YAML file.
    EncryptString {
        #[command(flatten)]
        #[allow(missing_docs)]
        password: VaultPasswordArgs,
        /// Name of the variable.
        #[arg(short, long)]
        name: Option<String>,
        /// `-`: read the value from standard input (one line end at its end does not count); otherwise it is asked for.
        source: Option<String>,
    },
}

/// Which vault password.
#[derive(Debug, Clone, Default, Args)]
pub struct VaultPasswordArgs {
    /// Label written into the file, to tell passwords apart (`prod`).
    #[arg(long, value_name = "LABEL")]
    pub vault_id: Option<String>,
    /// File that holds the vault password, or a program that prints it.
    #[arg(long, value_name = "FILE", env = "ANSIBLE_VAULT_PASSWORD_FILE")]
    pub vault_password_file: Option<PathBuf>,
    /// Ask for the vault password, whatever file is named.
    #[arg(long)]
    pub ask_vault_pass: bool,
}

/// `ishprov vault encrypt` and `decrypt`.
#[derive(Debug, Clone, Args)]
pub struct VaultFilesArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub password: VaultPasswordArgs,
    /// Where to write instead of in place (`-`: standard output).
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The files.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// `ishprov lint`.
#[derive(Debug, Clone, Args)]
pub struct LintArgs {
    /// The site file.
    pub site: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub inventory: InventoryArgs,
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
