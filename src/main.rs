//! Arguments in, exit code out.

// The futures of a run nest deeper than the compiler's default.
#![recursion_limit = "256"]

use clap::Parser as _;
use ishprov::cli;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let code = cli::main(cli::Cli::parse()).await;
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
