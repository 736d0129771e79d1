//! `ishprov certs revoke`: what counts no more although its time is not over.

use super::store::{Store, read, text};
use super::{Done, blame, now, password};
use crate::cli::args::CertsRevokeArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::Fault;
use crate::pki::{CertInfo, is_revoked, stamp, with_list};
use serde_json::json;

/// Revokes; the exit code.
pub fn revoke(args: &CertsRevokeArgs, screen: &Screen) -> Done<i32> {
    let dir = &args.pki.pki;
    let password = password(&args.password)?;
    let store = Store::lock(dir)?;
    let state = read(dir)?;
    let mut serials: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    for which in &args.which {
        match state.find(which, now()) {
            Ok(found) => serials.extend(found.into_iter().map(|entry| entry.serial.clone())),
            Err(fault) => faults.push(blame(dir, fault)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let ca = store.ca(password.as_ref())?;
    let mut entries = state.entries.clone();
    let before = text(dir, "crl.pem")?;
    // What a CA issued that is trusted no more lets nobody in; what one issued that still is, only that one could revoke.
    let bundle = text(dir, "ca-bundle.crt")?.unwrap_or_default();
    let trusted = CertInfo::all(&bundle).map_err(|fault| vec![blame(dir, fault)])?;
    let meant = entries.iter().filter(|entry| serials.contains(&entry.serial));
    let (ours, of_another): (Vec<_>, Vec<_>) = meant.partition(|entry| entry.is_of(&state.ca));
    let still = of_another.iter().find(|entry| trusted.iter().any(|ca| entry.is_of(ca)));
    if let Some(entry) = still.or(of_another.first().filter(|_| ours.is_empty())) {
        let message = format!("another CA than `{}` issued `{}`", state.ca.subject, entry.serial);
        let why = match still {
            Some(_) => "it ends with its CA: `ishprov certs rotate --ca` goes on with that one's last phase",
            None => "that CA is trusted no more, and so is the certificate",
        };
        return Err(vec![blame(dir, Fault::task(message).hint(why))]);
    }
    serials.retain(|serial| ours.iter().any(|entry| entry.serial == *serial));
    let mut changed = Vec::new();
    // A list that was written when the records could not be says more than they do: it keeps its word.
    for entry in entries.iter_mut().filter(|entry| entry.revoked.is_none()) {
        let listed = |list: &String| is_revoked(list, &state.ca.to_pem(), &entry.serial);
        if before.as_ref().map(listed).transpose().map_err(|fault| vec![blame(dir, fault)])? == Some(true) {
            entry.revoked = Some(stamp(now()));
            changed.push(entry.clone());
        }
    }
    for entry in entries.iter_mut().filter(|entry| serials.contains(&entry.serial)) {
        if entry.revoked.is_none() {
            entry.revoked = Some(stamp(now()));
            changed.push(entry.clone());
        }
    }
    if !changed.is_empty() {
        let blamed = |fault| vec![blame(dir, fault)];
        let own = ca.revocation_list(&entries, now()).map_err(blamed)?;
        let list = match &before {
            Some(before) => with_list(before, ca.info(), &own).map_err(blamed)?,
            None => own,
        };
        store.backup(now())?;
        // The list first: one that says more than the records is no contradiction, the other way round is.
        store.write("crl.pem", &list, 0o644)?;
        for entry in &changed {
            store.write(&format!("index/{}", entry.file_name()), &entry.to_text(), 0o644)?;
        }
    }
    if screen.json {
        let revoked: Vec<&str> = changed.iter().map(|entry| entry.serial.as_str()).collect();
        screen.line(
            &json!({ "event": "certs_revoke", "revoked": revoked, "crl": dir.join("crl.pem") }).to_string(),
        );
        return Ok(exit::OK);
    }
    for entry in &changed {
        let host = entry.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
        screen.line(&format!("revoked {} ({}{host})", entry.serial, entry.common_name));
    }
    if changed.is_empty() {
        screen.line("revoked before: nothing changed");
    } else {
        screen.line(&format!("the list is {}", dir.join("crl.pem").display()));
        screen.aside("hosts obey it after a run with `crl_path` on their `tls_cert` task and `ssl_crl_file` on the server");
    }
    Ok(exit::OK)
}
