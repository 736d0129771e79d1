//! Which host keys are trusted: known_hosts files, read strictly.
//!
//! Plain, hashed and wildcard names, `[host]:port`, negation, `@revoked` and `@cert-authority`. A host that stands in
//! the files with another key is refused, always.

use super::error::TransportError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{Certificate, HashAlg, PublicKey};
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A host's public key as it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Name as known_hosts files write it: `host`, or `[host]:port`.
    pub name: String,
    /// `ssh-ed25519`, ...
    pub algorithm: String,
    /// `SHA256:...`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The key itself, base64.
    pub base64: String,
}

/// Why a host's key is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyError {
    /// It is in no known_hosts file.
    Unknown(Box<HostKey>),
    /// The files name another key for this host.
    Changed {
        /// What the host showed.
        shown: Box<HostKey>,
        /// Fingerprint of the key on file.
        known: String,
        /// Where that stands.
        file: PathBuf,
        /// Line number from 1.
        line: usize,
    },
    /// The key is marked `@revoked`.
    Revoked {
        /// What the host showed.
        shown: Box<HostKey>,
        /// Where it is revoked.
        file: PathBuf,
        /// Line number from 1.
        line: usize,
    },
}

/// The lines of all known_hosts files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    marker: Marker,
    names: String,
    key: PublicKey,
    file: PathBuf,
    number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

/// A name as known_hosts files write it.
pub fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl HostKey {
    /// A key met at `host`.
    pub fn new(host: &str, port: u16, key: &PublicKey) -> Self {
        let line = key.to_openssh().unwrap_or_default();
        Self {
            name: entry_name(host, port),
            algorithm: key.algorithm().to_string(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            base64: line.split(' ').nth(1).unwrap_or_default().to_owned(),
        }
    }
}

impl KnownHosts {
    /// Reads files; one that does not exist has no lines.
    ///
    /// # Errors
    /// A file that cannot be read, or a marked line (`@...`) that cannot be understood.
    pub fn read(files: &[PathBuf]) -> Result<Self, TransportError> {
        let mut hosts = Self::default();
        for file in files {
            match std::fs::read_to_string(file) {
                Ok(text) => hosts.add(file, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(TransportError::config(format!("cannot read `{}`: {error}", file.display())));
                }
            }
        }
        Ok(hosts)
    }

    /// Takes in a file's text.
    ///
    /// # Errors
    /// A marked line that cannot be understood: ignoring a revocation would trust what must not be trusted.
    pub fn add(&mut self, file: &Path, text: &str) -> Result<(), TransportError> {
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace().peekable();
            let marker = match words.peek() {
                None => continue,
                Some(word) if word.starts_with('#') => continue,
                Some(&"@revoked") => Marker::Revoked,
                Some(&"@cert-authority") => Marker::Authority,
                Some(word) if word.starts_with('@') => return Err(odd(file, index, "has an unknown marker")),
                Some(_) => Marker::None,
            };
            if marker != Marker::None {
                words.next();
            }
            let (names, kind, base64) = (words.next(), words.next(), words.next());
            let key = kind
                .zip(base64)
                .and_then(|(kind, base64)| PublicKey::from_openssh(&format!("{kind} {base64}")).ok());
            match (names, key) {
                (Some(names), Some(key)) => {
                    let line = Line {
                        marker,
                        names: names.to_owned(),
                        key,
                        file: file.to_owned(),
                        number: index + 1,
                    };
                    self.lines.push(line);
                }
                _ if marker != Marker::None => return Err(odd(file, index, "cannot be read")),
                // Key types that are not known yet, and remains of accidents: they trust nobody.
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a key is the one of this host.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeyError> {
        let shown = || Box::new(HostKey::new(host, port, key));
        let same = |line: &&Line| line.key.key_data() == key.key_data();
        let name = entry_name(host, port);
        let all: Vec<&Line> = self.matching(&name).collect();
        // A key of the plain name serves for every port, as OpenSSH has it; a different one there says nothing.
        let plain = entry_name(host, 22);
        let plain = self.matching(&plain).filter(same);
        let lines: Vec<&Line> = all.iter().copied().chain(plain).collect();
        if let Some(line) = lines.iter().find(|line| line.marker == Marker::Revoked && same(line)) {
            return Err(HostKeyError::Revoked { shown: shown(), file: line.file.clone(), line: line.number });
        }
        if lines.iter().any(|line| line.marker == Marker::None && same(line)) {
            return Ok(());
        }
        match all.iter().find(|line| line.marker == Marker::None) {
            Some(line) => Err(HostKeyError::Changed {
                shown: shown(),
                known: line.key.fingerprint(HashAlg::Sha256).to_string(),
                file: line.file.clone(),
                line: line.number,
            }),
            None => Err(HostKeyError::Unknown(shown())),
        }
    }

    /// Whether a host certificate is signed by a trusted authority, for this host, now.
    ///
    /// # Errors
    /// Its key is revoked, or nobody vouches for it.
    pub fn check_certificate(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
    ) -> Result<(), HostKeyError> {
        let key = PublicKey::from(certificate.public_key().clone());
        let shown = || Box::new(HostKey::new(host, port, &key));
        let name = entry_name(host, port);
        let host = host.to_ascii_lowercase();
        let lines: Vec<&Line> = self.matching(&name).chain(self.matching(&host)).collect();
        let revoked = |line: &&&Line| {
            line.marker == Marker::Revoked
                && (line.key.key_data() == key.key_data()
                    || line.key.key_data() == certificate.signature_key())
        };
        if let Some(line) = lines.iter().find(revoked) {
            return Err(HostKeyError::Revoked { shown: shown(), file: line.file.clone(), line: line.number });
        }
        let authorities: Vec<_> = lines
            .iter()
            .filter(|line| {
                line.marker == Marker::Authority && line.key.key_data() == certificate.signature_key()
            })
            .map(|line| line.key.fingerprint(HashAlg::Sha256))
            .collect();
        let principals = certificate.valid_principals();
        let named = principals.iter().any(|principal| principal.to_ascii_lowercase() == host);
        let trusted = !authorities.is_empty()
            && certificate.cert_type().is_host()
            && named
            && certificate.validate(authorities.iter()).is_ok();
        if trusted { Ok(()) } else { Err(HostKeyError::Unknown(shown())) }
    }

    /// Key types on file for a host: they are asked for first, or a host with several keys would look changed.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<russh::keys::Algorithm> {
        let name = entry_name(host, port);
        self.matching(&name)
            .filter(|line| line.marker == Marker::None)
            .map(|line| line.key.algorithm())
            .collect()
    }

    /// Whether an authority is trusted for a host.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        let (name, plain) = (entry_name(host, port), host.to_ascii_lowercase());
        self.matching(&name).chain(self.matching(&plain)).any(|line| line.marker == Marker::Authority)
    }

    fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| names_match(&line.names, name))
    }
}

/// Adds keys to a known_hosts file: locked, in one write, readable by the owner alone when new. Keys that are already
/// there are left out.
///
/// # Errors
/// The file cannot be written.
pub fn remember(file: &Path, keys: &[HostKey]) -> Result<(), TransportError> {
    let failed =
        |error: std::io::Error| TransportError::config(format!("cannot write `{}`: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut open = options.read(true).append(true).create(true).mode(0o600).open(file).map_err(failed)?;
    rustix::fs::flock(&open, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed(error.into()))?;
    let mut text = String::new();
    open.seek(SeekFrom::Start(0)).and_then(|_| open.read_to_string(&mut text)).map_err(failed)?;
    let mut added = String::new();
    if !text.is_empty() && !text.ends_with('\n') {
        added.push('\n');
    }
    for key in keys {
        let line = format!("{} {} {}", key.name, key.algorithm, key.base64);
        if !text.lines().any(|old| old.trim() == line) && !added.contains(&line) {
            added.push_str(&line);
            added.push('\n');
        }
    }
    open.write_all(added.as_bytes()).and_then(|()| open.sync_all()).map_err(failed)
}

impl HostKeyError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown(key) => format!(
                "compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub` on the host's console, then run with `--accept-new-host-keys`",
                key.algorithm.trim_start_matches("ssh-").split('-').next().unwrap_or("ed25519")
            ),
            Self::Changed { shown, file, line, .. } => format!(
                "if the host was really reinstalled, remove line {line} of `{}` (`ssh-keygen -R '{}'`); otherwise somebody is in between",
                file.display(),
                shown.name
            ),
            Self::Revoked { .. } => "give the host a new key".to_owned(),
        }
    }
}

impl std::error::Error for HostKeyError {}

impl fmt::Display for HostKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => {
                write!(
                    f,
                    "the host key of `{}` is not known: {} {}",
                    key.name, key.algorithm, key.fingerprint
                )
            }
            Self::Changed { shown, known, file, line } => write!(
                f,
                "THE HOST KEY OF `{}` HAS CHANGED: it shows {} {}, but {}:{line} has {known}",
                shown.name,
                shown.algorithm,
                shown.fingerprint,
                file.display()
            ),
            Self::Revoked { shown, file, line } => {
                write!(
                    f,
                    "the host key of `{}` ({}) is revoked by {}:{line}",
                    shown.name,
                    shown.fingerprint,
                    file.display()
                )
            }
        }
    }
}

fn odd(file: &Path, index: usize, what: &str) -> TransportError {
    TransportError::config(format!("{}:{} {what}", file.display(), index + 1))
}

/// Whether a line's list of names covers a name. A negated match overrides all others.
fn names_match(list: &str, name: &str) -> bool {
    if let Some(hashed) = list.strip_prefix("|1|") {
        let Some((salt, hash)) = hashed.split_once('|') else { return false };
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        return aws_lc_rs::hmac::verify(&key, name.as_bytes(), &hash).is_ok();
    }
    let mut matched = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(&pattern.to_ascii_lowercase(), name) => return false,
            Some(_) => {}
            None => matched |= glob(&pattern.to_ascii_lowercase(), name),
        }
    }
    matched
}

/// `*` and `?`, nothing else: a bracket is part of a name here.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).expect("a key")
    }

    fn hosts(text: &str) -> KnownHosts {
        let mut hosts = KnownHosts::default();
        hosts.add(Path::new("kh"), text).expect("readable");
        hosts
    }

    #[test]
    fn plain_port_glob_negation_and_case() {
        let hosts = hosts(&format!(
            "# comment\n\nDB1,10.0.0.1 {A} note\n[db2]:2222\t{A}\n*.example.org,!bad.example.org {A}\n10.1.?.* {B}\njunk\n"
        ));
        for (name, port, ok) in [
            ("db1", 22, true),
            ("DB1", 22, true),
            ("10.0.0.1", 22, true),
            ("db2", 2222, true),
            ("db2", 22, false),
            ("db1", 2200, true),
            ("x.example.org", 22, true),
            ("bad.example.org", 22, false),
            ("example.org", 22, false),
        ] {
            assert_eq!(hosts.check(name, port, &key(A)).is_ok(), ok, "{name}:{port}");
        }
        assert!(hosts.check("10.1.2.33", 22, &key(B)).is_ok());
        assert!(matches!(hosts.check("10.1.22.33", 22, &key(B)), Err(HostKeyError::Unknown(_))));
        let Err(HostKeyError::Changed { line, .. }) = hosts.check("db1", 22, &key(B)) else {
            panic!("changed")
        };
        assert_eq!(line, 3);
        assert!(matches!(hosts.check("db1", 2200, &key(B)), Err(HostKeyError::Unknown(_))));
    }

    #[test]
    fn hashed_names_are_those_that_ssh_keygen_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("kh");
        std::fs::write(&file, format!("db1 {A}\n[db2]:2222 {B}\n")).expect("written");
        let run = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).output();
        if !run.is_ok_and(|out| out.status.success()) {
            return;
        }
        let hosts = KnownHosts::read(std::slice::from_ref(&file)).expect("readable");
        assert!(!std::fs::read_to_string(&file).expect("there").contains("db1"));
        assert!(hosts.check("db1", 22, &key(A)).is_ok());
        assert!(hosts.check("db2", 2222, &key(B)).is_ok());
        assert!(matches!(hosts.check("db1", 22, &key(B)), Err(HostKeyError::Changed { .. })));
        assert!(matches!(hosts.check("db3", 22, &key(A)), Err(HostKeyError::Unknown(_))));
    }

    #[test]
    fn a_revoked_key_is_refused_wherever_else_it_stands() {
        let hosts = hosts(&format!("db1 {A}\n@revoked * {A}\n"));
        assert!(matches!(hosts.check("db1", 22, &key(A)), Err(HostKeyError::Revoked { line: 2, .. })));
        let mut hosts = KnownHosts::default();
        assert!(
            hosts.add(Path::new("kh"), "@revoked * garbage\n").is_err(),
            "an unreadable revocation is not ignored"
        );
        assert!(hosts.add(Path::new("kh"), "@trusted * x\n").is_err());
    }

    #[test]
    fn an_authority_vouches_for_certificates_only() {
        let hosts = hosts(&format!("@cert-authority *.example.org {A}\n"));
        assert!(hosts.has_authority("db.example.org", 22) && !hosts.has_authority("db", 22));
        assert!(matches!(hosts.check("db.example.org", 22, &key(A)), Err(HostKeyError::Unknown(_))));
    }

    #[test]
    fn new_keys_are_appended_once_and_privately() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ssh/kh");
        let keys = [HostKey::new("Db1", 22, &key(A)), HostKey::new("db2", 2222, &key(B))];
        remember(&file, &keys).expect("written");
        remember(&file, &keys).expect("written");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), format!("db1 {A}\n[db2]:2222 {B}\n"));
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        let hosts = KnownHosts::read(&[file]).expect("readable");
        assert!(hosts.check("db1", 22, &key(A)).is_ok() && hosts.check("db2", 2222, &key(B)).is_ok());
        assert_eq!(keys[0].fingerprint.len(), 50);
        assert!(keys[0].fingerprint.starts_with("SHA256:"));
    }
}
