//! What settings are worth: `cargo bench --bench tuning -- oom` and `-- pgbench`, as root. Never part of `cargo test`.
//!
//! `oom` asks whether the memory budget is true: on lab hosts of 2, 4 and 8 GB without swap, every connection holds a full
//! hash aggregate over warm buffers while autovacuum runs. It counts who holds out and whom the kernel kills.
//!
//! `pgbench` asks what the settings do for the work: counters first (they repeat), times as ratios to PostgreSQL's defaults
//! measured in the same round (the machine's own noise cancels), with their spread.
//!
//! Every arm is what a user of that tool would paste. `ISHPROV_BENCH_SIZES` ("2,4,8", GB) and `ISHPROV_BENCH_ROUNDS` (7)
//! set the size of it, `ISHPROV_KEEP_LAB` keeps the host.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arms;
mod host;
mod oom;
mod pgbench;

use std::error::Error;
use std::process::ExitCode;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |part: &str| parts.is_empty() || parts.iter().any(|word| word == part);
    let mut code = ExitCode::SUCCESS;
    for (part, run) in [("oom", oom::bench as fn() -> Fallible<()>), ("pgbench", pgbench::bench)] {
        if chosen(part)
            && let Err(error) = run()
        {
            eprintln!("error: {part}: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// A number from the environment, or the usual one.
fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
