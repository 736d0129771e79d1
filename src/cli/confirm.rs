//! A yes, by the command line or at the terminal.

use super::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, SourceMap, printable};
use crate::shell::Masker;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Whether to go on: `yes` was said on the command line, or somebody says it now.
///
/// # Errors
/// The exit code when not: nobody can be asked, or they say no.
pub fn agreed(yes: bool, screen: &Screen, question: &str) -> Result<(), i32> {
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let diagnostic =
            Diagnostic::error("confirm", "nobody can be asked here: standard input is no terminal")
                .hint("`--yes` goes on without asking");
        screen.diagnostics(&[diagnostic], &SourceMap::new(), &Masker::new());
        return Err(exit::ERROR);
    }
    let mut out = std::io::stdout();
    let _ = write!(out, "{} [y/N] ", printable(question));
    let _ = out.flush();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    screen.line("Nothing was touched.");
    Err(exit::OK)
}
