//! `ishprov vault`, and how vault passwords are read.

use crate::diag::Diagnostic;
use crate::shell::Secret;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

/// The vault password in a file.
pub fn read_password(path: &Path) -> Result<Secret, Diagnostic> {
    let failed = |why: String| {
        let message = format!("cannot read the vault password from `{}`: {why}", path.display());
        Diagnostic::error("vault", message)
            .hint("give a file that holds the password with `--vault-password-file`")
    };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let password = crate::vault::password_of_file(&bytes).map_err(|error| failed(error.to_string()))?;
    let text = std::str::from_utf8(&password).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    Ok(Secret::new(text))
}

/// Asks for a password on the terminal, without showing it.
pub fn ask_password(prompt: &str) -> std::io::Result<Secret> {
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = rustix::termios::tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
    (&terminal).write_all(prompt.as_bytes())?;
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Flush, &silent)?;
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = std::io::BufReader::new(&terminal).read_line(&mut line);
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Flush, &before)?;
    (&terminal).write_all(b"\n")?;
    read?;
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}
