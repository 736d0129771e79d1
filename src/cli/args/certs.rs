//! The arguments of `ishprov certs`.

use super::{ConnectArgs, InventoryArgs, OutputKind, VaultPasswordArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

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
    /// Put new certificates in the place of the ones that hosts have, or a new CA in the place of the old one.
    ///
    /// One host at a time, standbys before their primary, by reload alone: no server restarts and no connection ends.
    /// With `--ca` in three phases: hosts trust both CAs; they get certificates of the new one; they trust the new one
    /// alone. Between two phases every login that should work is proven to. A rotation that was broken off goes on
    /// where it was when the same command is given again.
    Rotate(CertsRotateArgs),
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

/// `ishprov certs rotate`.
#[derive(Debug, Args)]
pub struct CertsRotateArgs {
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
    /// Only these hosts (a pattern). A change of CA waits in its phase until all hosts are through.
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Change the CA.
    #[arg(long)]
    pub ca: bool,
    /// Do only the next phase of a change of CA: time to hand `ca-bundle.crt` to clients outside.
    #[arg(long, requires = "ca")]
    pub step: bool,
    /// Begin without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// Name of the new CA (default: the old one's, with today's date).
    #[arg(long, requires = "ca", conflicts_with = "import_cert")]
    pub name: Option<String>,
    /// A CA that exists, to take the old one's place: its certificate (PEM), with all above it up to the root.
    #[arg(long, value_name = "FILE", requires = "import_key", requires = "ca")]
    pub import_cert: Option<PathBuf>,
    /// Its key (PEM, not encrypted, or vault text).
    #[arg(long, value_name = "FILE", requires = "import_cert")]
    pub import_key: Option<PathBuf>,
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
