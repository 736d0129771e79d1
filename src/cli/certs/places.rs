//! The hosts of a rotation: who is meant, what their tasks said, and whether they are fit to begin.

use super::gate::{self, Place, Seen};
use super::host::chosen;
use super::{Done, blame, store};
use crate::cli::args::{CertsRotateArgs, ConnectArgs, InventoryArgs};
use crate::cli::asking::abreast;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault, SourceMap};
use crate::pki::{State, Told};
use crate::shell::Masker;
use std::collections::{BTreeMap, BTreeSet};

/// The hosts that are meant, with what their tasks said; names of hosts that have certificates and are not meant.
pub fn places(
    args: &CertsRotateArgs,
    inventory: &InventoryArgs,
    connect: &ConnectArgs,
    dir: &std::path::Path,
    state: &State,
) -> Done<(Vec<Place>, Vec<String>)> {
    let told = store::told(dir)?;
    let mut tasks: BTreeMap<&str, Vec<Told>> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for entry in state.current() {
        let Some(host) = entry.host.as_deref() else { continue };
        // What was revoked is no longer out there, or must not count.
        if entry.revoked.is_some() {
            continue;
        }
        match told.iter().find(|(name, _)| *name == entry.name) {
            Some((_, told)) => tasks.entry(host).or_default().push(told.clone()),
            None => {
                unknown.insert(host);
            }
        }
    }
    let hosts = chosen(&args.pattern, args.limit.as_deref(), inventory, connect)?;
    let mut places = Vec::new();
    for (service, endpoint, _) in hosts {
        if unknown.contains(service.name.as_str()) {
            let message = "its certificates are from before it was kept how they are made";
            return Err(vec![
                Diagnostic::error("certs", message)
                    .host(&service.name)
                    .hint("`ishprov run` of the site writes that down, once"),
            ]);
        }
        if let Some(tasks) = tasks.remove(service.name.as_str()) {
            places.push(Place { service, endpoint, tasks });
        }
    }
    let outside: Vec<String> = tasks.keys().chain(&unknown).map(|host| (*host).to_owned()).collect();
    if places.is_empty() {
        let fault = Fault::task("none of these hosts has a certificate from here")
            .hint("`ishprov run` of a site with `tls_cert` tasks issues them");
        return Err(vec![blame(dir, fault)]);
    }
    Ok((places, outside))
}

/// Asks every host how it is; standbys first. Nothing is begun where something does not work.
pub async fn look(places: Vec<Place>, screen: &Screen, forks: usize) -> Result<Vec<(Place, Seen)>, i32> {
    let asked = abreast(places, forks, |place| async move {
        let seen = gate::look(&place, false).await;
        (place, seen)
    });
    let (mut hosts, mut faults, mut code) = (Vec::new(), Vec::new(), exit::OK);
    for joined in asked.await {
        match joined {
            Ok((place, Ok(seen))) => {
                let unfit = gate::unfit(&seen, &place.tasks);
                if !unfit.is_empty() {
                    code = code.max(exit::FAILED);
                    faults.push(wrong(&place, &unfit));
                }
                hosts.push((place, seen));
            }
            Ok((_, Err(diagnostic))) => {
                code = exit::UNREACHABLE;
                faults.push(diagnostic);
            }
            Err(error) => {
                code = exit::UNREACHABLE;
                faults.push(Diagnostic::error("certs", format!("a host's task ended: {error}")));
            }
        }
    }
    if code != exit::OK {
        screen.diagnostics(&faults, &SourceMap::new(), &Masker::new());
        screen.aside("Nothing was touched: a rotation begins where everything works, or it could not tell what it broke.");
        return Err(code);
    }
    hosts.sort_by_key(|(_, seen)| !seen.standby);
    Ok(hosts)
}

/// A host's faults, as they are shown.
pub fn wrong(place: &Place, faults: &[String]) -> Diagnostic {
    let mut faults = faults.iter();
    let first = faults.next().cloned().unwrap_or_default();
    let mut diagnostic = Diagnostic::error("certs", first).host(&place.service.name);
    diagnostic.notes = faults.cloned().collect();
    diagnostic
}
