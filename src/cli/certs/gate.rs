//! What proves a step of a rotation: each host is asked what its files hold, what its server shows and demands, and
//! whether a standby's login works; what is wrong is said in words.

use super::host::{Host, Lying, Service, answer, parse, socket};
use crate::diag::Diagnostic;
use crate::pki::{self, CertInfo, Told};
use crate::shell::{Ask, quote};
use crate::transport::Endpoint;
use std::collections::BTreeSet;
use std::time::Duration;

/// More than this apart, a fresh certificate (which starts five minutes back) may not count yet on a host.
pub const CLOCK: i64 = 240;

/// How long a host may take until everything is as it must be: a reload is a signal, not a call.
const PATIENCE: u32 = 20;

/// A host of a rotation.
#[derive(Clone)]
pub struct Place {
    /// Its server.
    pub service: Service,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// Its certificates, as its tasks say.
    pub tasks: Vec<Told>,
}

/// What a host said.
pub struct Seen {
    /// Files, and what its server shows.
    pub host: Host,
    /// CAs whose certificates its server demands of clients.
    pub names: BTreeSet<String>,
    /// When its server started.
    pub started: Option<String>,
    /// Whether its server is a standby.
    pub standby: bool,
    /// How a standby's replication stands.
    pub receiver: Option<String>,
    /// What a new login of a standby came to; words of a fault.
    pub login: Option<Result<(), String>>,
    /// What a reload said, where it failed.
    pub failed: Vec<String>,
    /// Files of trusted CAs: path and text.
    trusted: Vec<(String, String)>,
}

/// What shall be.
pub struct Wanted<'a> {
    /// The text of what hosts trust.
    pub trusted: &'a str,
    /// The only CA that certificates may come from.
    pub issuer: Option<&'a CertInfo>,
    /// Serial numbers that may not be there any more.
    pub replaced: &'a [String],
}

/// Asks a host; with `reload`, the units of its certificates are reloaded before.
pub async fn look(place: &Place, reload: bool) -> Result<Seen, Diagnostic> {
    let text = answer(&place.service.name, &place.endpoint, &Ask::sh(script(place, reload))).await?;
    Ok(read(&text, place.service.port, super::now().unix_timestamp()))
}

/// Asks until nothing is wrong, and gives up after a while: what was seen last, and what is wrong with it.
pub async fn settle(
    place: &Place,
    wanted: &Wanted<'_>,
    before: &Seen,
) -> Result<(Seen, Vec<String>), Diagnostic> {
    let mut seen = look(place, true).await?;
    let mut faults = judge(place, wanted, before, &seen);
    for _ in 0..PATIENCE {
        if faults.is_empty() || !seen.failed.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        seen = look(place, false).await?;
        faults = judge(place, wanted, before, &seen);
    }
    Ok((seen, faults))
}

/// What stands in the way of beginning: a rotation must find everything at work, or it could not tell what it broke.
pub fn unfit(seen: &Seen, tasks: &[Told]) -> Vec<String> {
    let mut faults = Vec::new();
    let ahead = seen.host.ahead.unwrap_or_default();
    if ahead.abs() > CLOCK {
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        faults.push(format!(
            "its clock is {} s {side} this machine's: a new certificate would not count there",
            ahead.abs()
        ));
    }
    faults.extend(replication(seen));
    let missing = tasks.iter().filter(|told| lying(told, seen).is_none());
    for path in missing.filter_map(|told| told.str("cert_path")) {
        faults.push(format!("`{path}` is not there (given up for good: `ishprov certs revoke` it)"));
    }
    faults
}

/// What is not as it shall be.
pub fn judge(place: &Place, wanted: &Wanted<'_>, before: &Seen, seen: &Seen) -> Vec<String> {
    let mut faults = seen.failed.clone();
    let mut served = Vec::new();
    for told in &place.tasks {
        let Some(path) = told.str("cert_path") else { continue };
        match lying(told, seen) {
            None => faults.push(format!("`{path}` is not there")),
            Some(lying) => match leaf(lying, wanted) {
                Ok(cert) if cert.usage.is_some_and(pki::Usage::serves) => served.push(cert),
                Ok(_) => {}
                Err(why) => faults.push(format!("`{path}`: {why}")),
            },
        }
        if let Some(path) = told.str("ca_path") {
            let there = seen.trusted.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str());
            if there.map(str::trim_end) != Some(wanted.trusted.trim_end()) {
                faults.push(format!("`{path}` does not hold what is to be trusted"));
            }
        }
    }
    match seen.host.wire.as_deref().map(CertInfo::first) {
        Some(Ok(cert)) if !served.is_empty() => {
            if served.iter().all(|one| one.fingerprint != cert.fingerprint) {
                faults.push("its server shows another certificate than the one in its file".to_owned());
            }
            let names = names(wanted.trusted);
            if !seen.names.is_empty() && seen.names != names {
                let shown = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join("; ");
                faults.push(format!(
                    "its server trusts {}, not {}: it did not take the file",
                    shown(&seen.names),
                    shown(&names)
                ));
            }
        }
        Some(Ok(_)) => {}
        Some(Err(fault)) => faults.push(format!("what its server shows: {}", fault.message)),
        None if before.host.wire.is_some() => faults.push("its server answers by TLS no more".to_owned()),
        None => {}
    }
    if before.started.is_some() && before.started != seen.started {
        faults.push("its server was restarted, or does not answer".to_owned());
    }
    faults.extend(replication(seen));
    faults
}

/// What lies where a task puts its certificate.
fn lying<'a>(told: &Told, seen: &'a Seen) -> Option<&'a Lying> {
    let path = told.str("cert_path")?;
    seen.host.certificates.iter().find(|lying| lying.path == path)
}

/// Serial numbers of the certificates that lie where the tasks put them.
pub fn serials(place: &Place, seen: &Seen) -> Vec<String> {
    let certs = place.tasks.iter().filter_map(|told| lying(told, seen));
    certs.filter_map(|lying| CertInfo::first(&lying.pem).ok()).map(|cert| cert.serial).collect()
}

/// Whether a certificate is not what it shall be.
pub fn due(told: &Told, wanted: &Wanted<'_>, seen: &Seen) -> bool {
    lying(told, seen).is_none_or(|lying| leaf(lying, wanted).is_err())
}

/// What is wrong with a standby.
fn replication(seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    if !seen.standby {
        return faults;
    }
    match seen.receiver.as_deref() {
        Some("streaming") => {}
        Some(status) => faults.push(format!("its replication is `{status}`, not streaming")),
        None => faults.push("it does not stream".to_owned()),
    }
    match &seen.login {
        Some(Ok(())) => {}
        Some(Err(why)) => faults.push(format!("a new login to its primary fails: {why}")),
        None => faults.push("a new login to its primary could not be tried".to_owned()),
    }
    faults
}

fn leaf(lying: &Lying, wanted: &Wanted<'_>) -> Result<CertInfo, String> {
    let cert = CertInfo::first(&lying.pem).map_err(|fault| fault.message)?;
    if let Some(ca) = wanted.issuer {
        cert.issued_by(ca).map_err(|_| format!("`{}` issued it, not `{}`", cert.issuer, ca.subject))?;
    }
    if wanted.replaced.contains(&cert.serial) {
        return Err("it is still the old one".to_owned());
    }
    let key = lying.key.as_ref().ok_or("its key is not there")?;
    if key.public.as_deref().is_some_and(|public| *public != cert.spki) {
        return Err("its key belongs to another certificate".to_owned());
    }
    Ok(cert)
}

/// The subjects of a bundle, in a form that holds against openssl's own.
fn names(bundle: &str) -> BTreeSet<String> {
    CertInfo::all(bundle).unwrap_or_default().iter().map(|ca| plain(&ca.subject)).collect()
}

/// A subject without the blanks that versions of openssl put differently; its parts in one order.
fn plain(subject: &str) -> String {
    let parts = subject.split(',').map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        format!("{}={}", name.trim(), value.trim())
    });
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts.join(", ")
}

/// Questions that change nothing but what a reload does.
fn script(place: &Place, reload: bool) -> String {
    let mut text = super::host::FUNCTIONS.to_owned();
    if reload {
        let units: BTreeSet<&str> = place.tasks.iter().flat_map(|told| told.list("reload")).collect();
        for unit in units {
            let unit = quote(unit);
            text += &format!(
                "if systemctl -q is-active -- {unit}; then said=$(systemctl reload -- {unit} 2>&1) || \
                 printf 'failed\\treload of %s: %s\\n' {unit} \"$(printf %s \"$said\" | tr '\\n\\t' '  ')\"; fi\n"
            );
        }
    }
    let pairs = place.tasks.iter().filter_map(|told| Some((told.str("cert_path")?, told.str("key_path")?)));
    for (cert, key) in pairs {
        text += &format!("one {} {}\n", quote(cert), quote(key));
    }
    let trusted: BTreeSet<&str> = place.tasks.iter().filter_map(|told| told.str("ca_path")).collect();
    for path in trusted {
        let path = quote(path);
        text += &format!(
            "[ -f {path} ] && printf 'trusted\\t%s\\t%s\\n' {path} \"$(base64 < {path} | tr -d '\\n')\"\n"
        );
    }
    let port = place.service.port;
    text += &super::host::wire(&[&place.service.address, "127.0.0.1"].map(|at| socket(at, port)));
    // The very words that the server's receiver logs in with, taken over inside of psql: none stands in a command line.
    text + &format!(
        "command -v psql >/dev/null || exit 0\n\
         q() {{ ( cd / && runuser -u postgres -- env PGCONNECT_TIMEOUT=10 psql -XAtq -v ON_ERROR_STOP=1 -p {port} -d postgres 2>&1 ); }}\n\
         q <<'E' | sed -n '/^server\\t/p'\n\
         select 'server' || chr(9) || pg_postmaster_start_time() || chr(9) || pg_is_in_recovery() || chr(9) || \
         coalesce((select status from pg_stat_wal_receiver), '');\nE\n\
         login=$(q <<'E'\n\
         select pg_is_in_recovery() and current_setting('primary_conninfo') <> '' as standby \\gset\n\
         \\if :standby\n\
         select current_setting('primary_conninfo') || ' dbname=replication replication=true connect_timeout=10' as login \\gset\n\
         \\connect -reuse-previous=off :login\n\
         IDENTIFY_SYSTEM;\n\\endif\nE\n) && say=login || say=refused\n\
         [ -n \"$login\" ] && printf '%s\\t%s\\n' \"$say\" \"$(printf %s \"$login\" | tr '\\n\\t' '  ')\"\nexit 0\n"
    )
}

fn read(text: &str, port: u16, at: i64) -> Seen {
    let mut seen = Seen {
        host: parse(text, port, at),
        names: BTreeSet::new(),
        started: None,
        standby: false,
        receiver: None,
        login: None,
        failed: Vec::new(),
        trusted: Vec::new(),
    };
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["trusted", path, content] => {
                seen.trusted.push((path.to_owned(), super::host::decode_text(content)));
            }
            ["name", name] => {
                seen.names.insert(plain(name));
            }
            ["failed", what] => seen.failed.push(what.to_owned()),
            ["server", started, recovery, receiver] => {
                seen.started = Some(started.to_owned());
                seen.standby = recovery == "true" || recovery == "t";
                seen.receiver = Some(receiver.to_owned()).filter(|status| !status.is_empty());
            }
            ["login", _] => seen.login = Some(Ok(())),
            ["refused", said] => seen.login = Some(Err(said.trim().to_owned())),
            _ => {}
        }
    }
    seen
}
