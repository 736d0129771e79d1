//! `ishprov certs revoke`: what counts no more although its time is not over.

use super::store::{Store, read};
use super::{Done, blame, now, password};
use crate::cli::args::CertsRevokeArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::pki::stamp;
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
    let mut changed = Vec::new();
    for entry in entries.iter_mut().filter(|entry| serials.contains(&entry.serial)) {
        if entry.revoked.is_none() {
            entry.revoked = Some(stamp(now()));
            changed.push(entry.clone());
        }
    }
    if !changed.is_empty() {
        let list = ca.revocation_list(&entries, now()).map_err(|fault| vec![blame(dir, fault)])?;
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
