//! What the control machine keeps beside the CA: one record for each certificate that was issued, and whether all of it
//! holds together.
//!
//! ```text
//! DIR/ca.crt  ca.key  ca-bundle.crt?  crl.pem?    the CA
//! DIR/issued/NAME.crt                             the newest certificate of a name, as it was issued; a host's is named
//!                                                 after the host and the whole path (HOST+etc+pg+server)
//! DIR/index/SERIAL.json                           who got it, until when, and whether it was revoked
//! ```
//!
//! A record is a file of its own, since several hosts of one run are issued certificates side by side: nothing that
//! two of them write is the same file. A folder from before there were records is read as it is: a certificate in
//! `issued/` that no record knows counts as one of ours when the CA signed it.

use super::crl::ListFault;
use super::inspect::CertInfo;
use super::leaf::day;
use super::policy::KEY_MODE;
use crate::diag::Fault;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is known of a certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// Name of its file: `issued/NAME.crt`.
    pub name: String,
    /// The host that holds it; none for one that a person took away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The subject's CN.
    pub common_name: String,
    /// `server`, `client`, `server and client`.
    pub usage: String,
    /// Names and addresses it stands for.
    pub sans: Vec<String>,
    /// Start of its life, RFC 3339.
    pub not_before: String,
    /// End of its life, RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
    /// Where it lies on its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_path: Option<String>,
    /// Where its key lies on its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// Key identifier of the CA that signed it.
    #[serde(default)]
    pub issuer: String,
    /// When it was revoked, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// The files of a folder as they were read.
#[derive(Debug, Default)]
pub struct Files {
    /// `ca.crt`.
    pub ca_cert: Option<String>,
    /// Mode of `ca.key`, when it is there.
    pub ca_key_mode: Option<u32>,
    /// `crl.pem`.
    pub crl: Option<String>,
    /// `index/*.json`: file name and text.
    pub index: Vec<(String, String)>,
    /// `issued/*.crt`: file name and text.
    pub issued: Vec<(String, String)>,
}

/// A state that holds together.
#[derive(Debug)]
pub struct State {
    /// The CA's certificate.
    pub ca: CertInfo,
    /// What was issued, oldest first.
    pub entries: Vec<Entry>,
}

/// Longest name that leaves room for endings and temporary names: file systems take 255 bytes.
const LONGEST_NAME: usize = 200;

/// The name of a host's certificate: no two hosts and paths have the same.
pub fn record_name(host: &str, cert_path: &str) -> String {
    let path = match cert_path.strip_suffix(".crt") {
        Some(stem) => stem.to_owned(),
        None => format!("{cert_path}/"),
    };
    let mut name = String::new();
    for byte in host.bytes().chain(path.bytes()) {
        match byte {
            b'/' => name.push('+'),
            b'-' | b'_' | b'.' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    if name.len() > LONGEST_NAME {
        let digest = super::inspect::hex(digest(&SHA256, name.as_bytes()).as_ref());
        name.truncate(LONGEST_NAME - 33);
        name = format!("{name}%{:.32}", digest);
    }
    name
}

/// The name that the record of a host's certificate had before it held the whole path.
fn short_name(host: &str, cert_path: &str) -> String {
    let stem = cert_path.rsplit('/').next().unwrap_or_default();
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{host}-{stem}").chars().map(plain).collect()
}

impl Entry {
    /// The record of a certificate that was just issued.
    pub fn new(cert: &CertInfo, name: &str) -> Self {
        Self {
            serial: cert.serial.clone(),
            name: name.to_owned(),
            host: None,
            common_name: cert.common_name.clone().unwrap_or_default(),
            usage: cert.usage.map_or_else(|| "other".to_owned(), |usage| usage.to_string()),
            sans: cert.sans.iter().map(ToString::to_string).collect(),
            not_before: stamp(cert.not_before),
            not_after: stamp(cert.not_after),
            fingerprint: cert.fingerprint.clone(),
            cert_path: None,
            key_path: None,
            issuer: cert.authority_key_id.clone().unwrap_or_default(),
            revoked: None,
        }
    }

    /// Name of its file below `index/`.
    pub fn file_name(&self) -> String {
        format!("{}.json", self.serial)
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// The name it had before names held the whole path.
    fn short_name(&self) -> Option<String> {
        Some(short_name(self.host.as_deref()?, self.cert_path.as_deref()?))
    }

    /// Whether it is called so: by its name, or by the shorter one that it had before.
    pub fn goes_by(&self, name: &str) -> bool {
        self.name == name || self.short_name().as_deref() == Some(name)
    }

    /// Whether it was revoked and `ca` has to say so: a CA has no say in what another one issued.
    pub fn listed_by(&self, ca: &CertInfo) -> bool {
        self.revoked.is_some() && self.is_of(ca)
    }

    /// Whether `ca` issued it, as far as that is known.
    pub fn is_of(&self, ca: &CertInfo) -> bool {
        ca.subject_key_id.as_ref().is_none_or(|id| self.issuer.is_empty() || *id == self.issuer)
    }

    /// Whether its life is over at `now`.
    pub fn expired(&self, now: OffsetDateTime) -> bool {
        moment(&self.not_after).is_some_and(|end| end <= now)
    }

    fn parse(file: &str, text: &str) -> Result<Self, String> {
        let entry: Self =
            serde_json::from_str(text).map_err(|error| format!("it cannot be read: {error}"))?;
        if entry.file_name() != file {
            return Err(format!("it speaks of the serial number `{}`", entry.serial));
        }
        if !entry.serial.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`{}` is no serial number", entry.serial));
        }
        for time in
            [Some(&entry.not_before), Some(&entry.not_after), entry.revoked.as_ref()].into_iter().flatten()
        {
            moment(time).ok_or_else(|| format!("`{time}` is no point in time"))?;
        }
        // Also of records from before names held the whole path.
        let name =
            entry.host.as_deref().zip(entry.cert_path.as_deref()).map(|(host, path)| record_name(host, path));
        Ok(Self { name: name.unwrap_or_else(|| entry.name.clone()), ..entry })
    }
}

impl State {
    /// Reads a folder's files. Nothing is repaired and nothing is passed over: a state that was damaged, or changed by
    /// another hand, is refused, since what it says decides about who gets in.
    ///
    /// # Errors
    /// Everything that does not hold together, one fault each.
    pub fn read(files: &Files) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let Some(cert) = &files.ca_cert else {
            let fault = match files.ca_key_mode {
                Some(_) => Fault::task("there is a CA key (`ca.key`) but no CA certificate (`ca.crt`)")
                    .hint("restore `ca.crt` from a backup"),
                None => Fault::task("there is no CA here").hint("`ishprov certs init` makes one"),
            };
            return Err(vec![fault]);
        };
        let ca = match CertInfo::first(cert) {
            Ok(ca) => ca,
            Err(fault) => {
                let fault = Fault { message: format!("`ca.crt`: {}", fault.message), ..fault };
                return Err(vec![fault.hint("restore it from a backup: leaves out there hang on it")]);
            }
        };
        match files.ca_key_mode {
            None => faults.push(
                Fault::task("there is a CA certificate (`ca.crt`) but no CA key (`ca.key`)")
                    .hint("restore `ca.key` from a backup"),
            ),
            Some(mode) if mode & 0o077 != 0 => faults.push(
                Fault::task(format!("`ca.key` has mode {mode:04o}: others on this machine may have read it"))
                    .hint(format!("if nobody did: `chmod {KEY_MODE:04o} ca.key`; otherwise rotate the CA")),
            ),
            Some(_) => {}
        }
        let mut entries = Vec::new();
        for (file, text) in &files.index {
            match Entry::parse(file, text) {
                Ok(entry) => entries.push(entry),
                Err(why) => faults.push(
                    Fault::task(format!("`index/{file}` is damaged: {why}"))
                        .hint("restore it from `backup/`"),
                ),
            }
        }
        adopt(files, &ca, &mut entries, &mut faults);
        entries.sort_by(|a, b| (&a.not_before, &a.name, &a.serial).cmp(&(&b.not_before, &b.name, &b.serial)));
        if let Some(crl) = &files.crl {
            crl_faults(crl, &ca, &entries, &mut faults);
        } else if let Some(entry) = entries.iter().find(|entry| entry.listed_by(&ca)) {
            faults.push(
                Fault::task(format!("`{}` was revoked, but there is no `crl.pem` to say so", entry.serial))
                    .hint("restore `crl.pem` from `backup/`"),
            );
        }
        if faults.is_empty() { Ok(Self { ca, entries }) } else { Err(faults) }
    }

    /// The newest record of each name that is still good.
    pub fn current(&self) -> Vec<&Entry> {
        let mut newest: BTreeMap<&str, &Entry> = BTreeMap::new();
        for entry in &self.entries {
            newest.insert(&entry.name, entry);
        }
        newest.into_values().collect()
    }

    /// What `which` means: a serial number, or the name of a file, host or CN; all of a name's certificates that still
    /// live are meant.
    ///
    /// # Errors
    /// Nothing of that name was issued.
    pub fn find(&self, which: &str, now: OffsetDateTime) -> Result<Vec<&Entry>, Fault> {
        let plain = which.replace(':', "").to_ascii_lowercase();
        let by_serial: Vec<&Entry> = self.entries.iter().filter(|entry| entry.serial == plain).collect();
        if !by_serial.is_empty() {
            return Ok(by_serial);
        }
        let named = |entry: &&Entry| {
            entry.goes_by(which) || entry.common_name == which || entry.host.as_deref() == Some(which)
        };
        let found: Vec<&Entry> =
            self.entries.iter().filter(named).filter(|entry| !entry.expired(now)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = self.current().iter().map(|entry| entry.name.as_str()).collect();
        Err(Fault::task(format!("no certificate that still lives is called `{which}`"))
            .hint(format!("these were issued: {}", names.join(", "))))
    }
}

/// Holds records and files against each other; files from before there were records get one.
fn adopt(files: &Files, ca: &CertInfo, entries: &mut Vec<Entry>, faults: &mut Vec<Fault>) {
    for (file, text) in &files.issued {
        let name = file.strip_suffix(".crt").unwrap_or(file);
        let cert =
            match CertInfo::first(text) {
                Ok(cert) => cert,
                Err(fault) => {
                    faults.push(Fault::task(format!("`issued/{file}` is damaged: {}", fault.message)).hint(
                        "restore it from `backup/`; a run writes it again from its host when it is gone",
                    ));
                    continue;
                }
            };
        if entries.iter().any(|entry| entry.fingerprint == cert.fingerprint) {
            continue;
        }
        let known = entries.iter().any(|entry| entry.goes_by(name));
        // A leaf of the CA before this one says nothing against the state.
        if known && cert.issued_by(ca).is_ok() {
            faults.push(
                Fault::task(format!("`issued/{file}` is not what the records of `{name}` say was issued"))
                    .note(format!("its serial number is `{}`, its last day {}", cert.serial, day(cert.not_after)))
                    .hint("somebody issued with this CA beside ishprov, or one of both files was put back alone"),
            );
            continue;
        }
        entries.push(Entry::new(&cert, name));
    }
    let there = |name: &str| files.issued.iter().any(|(file, _)| file.strip_suffix(".crt") == Some(name));
    // A run writes the file of the whole name, too.
    let lost = entries
        .iter()
        .filter(|entry| !there(&entry.name) && !entry.short_name().is_some_and(|name| there(&name)));
    let mut names: Vec<&str> = lost.map(|entry| entry.name.as_str()).collect();
    names.dedup();
    for name in names {
        faults.push(
            Fault::task(format!("the records name `issued/{name}.crt`, which is not there"))
                .hint("restore it from a backup, or let `ishprov run` record it again from its host"),
        );
    }
}

fn crl_faults(crl: &str, ca: &CertInfo, entries: &[Entry], faults: &mut Vec<Fault>) {
    let restore = "restore it from `backup/`";
    match super::crl::revoked_serials(crl, ca) {
        Ok(serials) => {
            let missing =
                entries.iter().filter(|entry| entry.listed_by(ca) && !serials.contains(&entry.serial));
            faults.extend(missing.map(|entry| {
                Fault::task(format!("`{}` was revoked, but `crl.pem` does not say so", entry.serial))
                    .hint(restore)
            }));
        }
        // A list of the CA before this one is out of use, not wrong.
        Err(ListFault::Foreign) if !entries.iter().any(|entry| entry.listed_by(ca)) => {}
        Err(ListFault::Foreign) => faults
            .push(Fault::task(format!("`crl.pem` was not signed by the CA `{}`", ca.subject)).hint(restore)),
        Err(ListFault::Damaged) => {
            faults.push(Fault::task("`crl.pem` is damaged: it holds no revocation list").hint(restore))
        }
    }
}

/// `2027-11-23T08:38:33Z`
pub fn stamp(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// The point in time that [`stamp`] wrote.
pub(super) fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_never_share_a_name() {
        for (path, name) in [
            ("/etc/pg/server.crt", "pg1+etc+pg+server"),
            ("/etc/pg/server", "pg1+etc+pg+server+"),
            ("/etc/pg+server.crt", "pg1+etc+pg%2bserver"),
            ("/etc/pg-server.crt", "pg1+etc+pg-server"),
            ("/etc/pg/my server.pem", "pg1+etc+pg+my%20server.pem+"),
            ("/etc/pg/%20.crt", "pg1+etc+pg+%2520"),
        ] {
            assert_eq!(record_name("pg1", path), name);
        }
        let long = |end: &str| record_name("pg1", &format!("/{}/{end}.crt", "x".repeat(400)));
        assert_eq!(long("a").len(), LONGEST_NAME);
        assert_ne!(long("a"), long("b"));
    }
}
