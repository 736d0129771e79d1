//! `ishprov certs`: the CA on this machine, what it issued, and what hosts make of it.

mod export;
mod gate;
mod host;
mod init;
mod issue;
mod places;
mod revoke;
mod rotate;
mod status;
mod store;
mod succession;
mod verify;

use super::args::{CertsCommand, OutputKind, VaultPasswordArgs};
use super::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault, SourceMap};
use crate::shell::{Masker, Secret};
use std::path::Path;
use time::OffsetDateTime;

type Done<T> = Result<T, Vec<Diagnostic>>;

/// Carries a command out; the exit code.
pub async fn certs(command: CertsCommand) -> i32 {
    let output = match &command {
        CertsCommand::Init(args) => args.pki.output,
        CertsCommand::Issue(args) => args.pki.output,
        CertsCommand::Status(args) => args.pki.output,
        CertsCommand::Verify(args) => args.pki.output,
        CertsCommand::Rotate(args) => args.pki.output,
        CertsCommand::Revoke(args) => args.pki.output,
        CertsCommand::Export(args) => args.pki.output,
    };
    let screen = Screen::new(output == OutputKind::Json, 0, false);
    let done = match command {
        CertsCommand::Init(args) => init::init(&args, &screen),
        CertsCommand::Issue(args) => issue::issue(&args, &screen),
        CertsCommand::Revoke(args) => revoke::revoke(&args, &screen),
        CertsCommand::Export(args) => export::export(&args, &screen),
        CertsCommand::Status(args) => Box::pin(status::status(&args, &screen)).await,
        CertsCommand::Verify(args) => Box::pin(verify::verify(&args, &screen)).await,
        CertsCommand::Rotate(args) => Box::pin(rotate::rotate(&args, &screen)).await,
    };
    done.unwrap_or_else(|found| {
        screen.diagnostics(&found, &SourceMap::new(), &Masker::new());
        exit::ERROR
    })
}

/// A fault of a folder, as it is shown.
fn blame(dir: &Path, fault: Fault) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("certs", format!("{} (in `{}`)", fault.message, dir.display()));
    diagnostic.notes = fault.notes;
    diagnostic.hints = fault.hints;
    diagnostic
}

/// A fault that one of the options is to blame for.
fn option(fault: Fault) -> Vec<Diagnostic> {
    let option = match fault.param.as_deref() {
        Some("names") => "`--san`: ",
        Some("days") => "`--days`: ",
        Some("permit") => "`--permit`: ",
        Some("key_kind") => "`--key-type`: ",
        Some("organization") => "`--organization`: ",
        Some("common_name") => "name: ",
        _ => "",
    };
    let mut diagnostic = Diagnostic::error("certs", format!("{option}{}", fault.message));
    diagnostic.notes = fault.notes;
    diagnostic.hints = fault.hints;
    vec![diagnostic]
}

/// The vault password, when the arguments name one.
fn password(args: &VaultPasswordArgs) -> Done<Option<Secret>> {
    if args.ask_vault_pass {
        let failed =
            |error| Diagnostic::error("vault", format!("cannot ask for the vault password: {error}"));
        return super::vault::ask_password("Vault password: ").map(Some).map_err(|error| vec![failed(error)]);
    }
    args.vault_password_file
        .as_deref()
        .map(super::vault::read_password)
        .transpose()
        .map_err(|fault| vec![fault])
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
