//! The arguments of `ishprov vault`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

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
