//! The commands: one file each. They load, call the layers below, and give an exit code.

mod args;
mod asking;
mod certs;
mod confirm;
mod doc;
mod extra_vars;
mod facts;
mod inventory;
mod inventory_script;
mod lab;
mod lint;
mod load;
mod measure;
mod report;
mod run;
mod tune;
mod vault;

pub use args::Cli;

use args::Command;
use clap::CommandFactory as _;

/// Exit codes, Ansible's.
pub mod exit {
    /// Done.
    pub const OK: i32 = 0;
    /// Bad input: nothing was touched.
    pub const ERROR: i32 = 1;
    /// A host failed.
    pub const FAILED: i32 = 2;
    /// A host could not be reached.
    pub const UNREACHABLE: i32 = 4;
    /// Stopped by the user (128 + SIGINT).
    pub const INTERRUPTED: i32 = 130;
}

/// Carries a command out; the exit code.
pub async fn main(cli: Cli) -> i32 {
    match cli.command {
        Command::Run(args) => Box::pin(run::run(args)).await,
        Command::Lint(args) => lint::lint(args),
        Command::Inventory(command) => inventory::inventory(command),
        Command::Facts(args) => Box::pin(facts::facts(args)).await,
        Command::Lab(command) => Box::pin(lab::lab(*command)).await,
        Command::Tune(args) => Box::pin(tune::tune(*args)).await,
        Command::Certs(command) => Box::pin(certs::certs(*command)).await,
        Command::Vault(command) => vault::vault(command),
        Command::Doc { module } => doc::doc(module.as_deref()),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "ishprov", &mut std::io::stdout());
            exit::OK
        }
    }
}
