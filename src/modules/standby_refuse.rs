//! What `postgresql_standby` leaves alone, and why.

use super::postgresql_standby::{Found, Params};
use crate::diag::Fault;

/// Refuses data that is not ours to touch.
pub(super) fn check_data(params: &Params, found: &Found) -> Result<(), Fault> {
    let data = &found.data;
    let (Some(version), Some(identifier)) = (&found.version, &found.identifier) else {
        let names = found.entries.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(Fault::task(format!(
            "`{data}` holds what is no whole PostgreSQL cluster, and is left alone"
        ))
        .certain()
        .note(format!("there are {names}"))
        .hint("look at it, and move it away if nothing in it is needed"));
    };
    if *version != params.version.to_string() {
        return Err(Fault::param("version", format!("`{data}` is a cluster of PostgreSQL {version}, not {}", params.version)).certain()
            .hint("a standby has its primary's version; drop the old cluster with `pg_dropcluster` when it is not needed"));
    }
    if let Some(wanted) = params.system_identifier.as_ref().filter(|wanted| *wanted != identifier) {
        let fault = Fault::param(
            "system_identifier",
            format!("`{data}` is another cluster than the primary `{}`, and is left alone", params.primary),
        )
        .certain()
        .note(format!("system identifier here {identifier}, of the primary {wanted}"));
        return Err(fault.hint(format!(
            "when nothing in it is needed: `pg_dropcluster --stop {} {}` on the host, then run again",
            params.version, params.cluster
        )));
    }
    if let Some(live) = found.live.as_ref().filter(|live| !live.server.recovery) {
        let server = live.server.version / 10000;
        return Err(Fault::task(format!("PostgreSQL {server} on port {} of this host is a primary, and is left alone", params.session.port)).certain()
            .note(format!("`{data}`, system identifier {identifier}, timeline {}", found.timeline.unwrap_or_default()))
            .hint(format!(
                "when `{}` is the one to follow: stop this one (`systemctl stop {}`), then run with `rebuild: true`",
                params.primary,
                params.unit()
            )));
    }
    Ok(())
}

/// The refusal of a stopped primary.
pub(super) fn former_primary(params: &Params, found: &Found) -> Fault {
    Fault::param("rebuild", format!("`{}` is a stopped primary, and is left alone", found.data)).certain()
        .note(format!(
            "system identifier {}, timeline {}, no `standby.signal`",
            found.identifier.as_deref().unwrap_or("unknown"),
            found.timeline.unwrap_or_default()
        ))
        .hint(format!(
            "when `{}` has taken over: `rebuild: true` clones it anew where the system identifier is the same, and keeps \
             the old data until the new standby streams",
            params.primary
        ))
}

/// Refuses a place that a clone cannot take.
pub(super) fn check_place(found: &Found) -> Result<(), Fault> {
    if found.mounted {
        return Err(Fault::param(
            "data_directory",
            format!("`{}` is a mount point, which a clone cannot replace at once", found.data),
        )
        .certain()
        .hint("mount the file system one level up"));
    }
    if found.cloning == "foreign" {
        return Err(Fault::task(format!("`{}.cloning` is in the way and is not ours", found.data))
            .certain()
            .hint("look at it, and move it away"));
    }
    Ok(())
}

/// Refuses folders of tablespaces and of the WAL that are somebody else's.
pub(super) fn check_folders(params: &Params, found: &Found, replaces: bool) -> Result<(), Fault> {
    let wal = params.wal_target(found, replaces);
    let version = params.version;
    for (path, state) in &found.places {
        let is_wal = wal.as_ref() == Some(path);
        let given_up =
            replaces && (found.linked.contains(path) || is_wal && found.wal_link.as_ref() == Some(path));
        // What a clone of ours was filling when it was killed is moved aside.
        let ours = given_up || found.begun.contains(path);
        let param = if is_wal { "wal_directory" } else { "tablespaces" };
        let what = if is_wal { "`pg_wal`".to_owned() } else { "a tablespace".to_owned() };
        match state.as_str() {
            "holds" if !ours && is_wal => {
                return Err(Fault::param(param, format!("`{path}`, the folder for {what}, is not empty"))
                    .certain()
                    .note("no data directory on this host uses it, and nothing was touched")
                    .hint(format!("when nothing in it is needed: `find {path} -mindepth 1 -delete` on the host, then run again")));
            }
            "holds" if !ours => {
                return Err(Fault::param(
                    param,
                    format!("`{path}`, the folder for {what}, holds files of PostgreSQL {version} already"),
                )
                .certain()
                .note("no data directory on this host uses them, and nothing was touched")
                .hint(format!(
                    "when nothing needs them: `rm -r {path}/PG_{version}_*` on the host, then run again"
                )));
            }
            "mounted" if is_wal => {
                return Err(Fault::param(
                    param,
                    format!("`{path}` is a mount point, which a clone cannot replace at once"),
                )
                .certain()
                .hint("name a folder in it: `wal_directory`"));
            }
            "foreign" => {
                return Err(Fault::param(
                    param,
                    format!("the clone of `{path}` has no room: what stands in its place is not ours"),
                )
                .certain()
                .note(if is_wal {
                    format!("`{path}.cloning`")
                } else {
                    format!("`{path}/ishprov.cloning-{version}`, or `{path}` is no folder")
                })
                .hint("look at it, and move it away"));
            }
            _ => {}
        }
    }
    Ok(())
}
