//! Arguments in, exit code out.

// The futures of a run nest deeper than the compiler's default.
#![recursion_limit = "256"]

use clap::Parser as _;
use ishprov::cli;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that went away (`--help | head`) is no fault.
            let _ = error.print();
            // Bad words are bad input; clap's own code for them would say that a host failed.
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    let code = cli::main(cli).await;
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
