//! `ishprov certs export`: what others need, on standard output. Never a key.

use super::store::{read, text};
use super::{Done, now};
use crate::cli::args::{CertsExport, CertsExportArgs};
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::Diagnostic;

/// Prints it; the exit code.
pub fn export(args: &CertsExportArgs, screen: &Screen) -> Done<i32> {
    let dir = &args.pki.pki;
    let state = read(dir)?;
    let file = match args.what {
        CertsExport::Ca => text(dir, "ca.crt")?,
        CertsExport::Bundle => match text(dir, "ca-bundle.crt")? {
            Some(bundle) => Some(bundle),
            None => text(dir, "ca.crt")?,
        },
        CertsExport::Crl => text(dir, "crl.pem")?,
        CertsExport::Index if screen.json => serde_json::to_string(&state.entries).ok(),
        CertsExport::Index => {
            let lines = state.entries.iter().map(|entry| {
                let standing = match &entry.revoked {
                    Some(at) => format!("revoked {at}"),
                    None if entry.expired(now()) => "expired".to_owned(),
                    None => "good".to_owned(),
                };
                let host = entry.host.as_deref().unwrap_or("-");
                format!(
                    "{}  {host}  {}  {}  {}  {standing}",
                    entry.serial, entry.name, entry.usage, entry.not_after
                )
            });
            Some(lines.collect::<Vec<_>>().join("\n"))
        }
    };
    let Some(content) = file else {
        let message = format!("nothing was revoked yet: there is no `{}`", dir.join("crl.pem").display());
        return Err(vec![Diagnostic::error("certs", message).hint("`ishprov certs revoke` writes it")]);
    };
    screen.line(content.trim_end());
    Ok(exit::OK)
}
