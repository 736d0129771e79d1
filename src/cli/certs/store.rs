//! The folder of the CA on this machine: read whole, changed by one hand at a time, backed up before.

use super::{Done, blame};
use crate::diag::{Diagnostic, Fault};
use crate::pki::{Ca, Entry, Files, KEY_MODE, Rotation, State, Told, record_name};
use crate::shell::Secret;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// How many backups stay: a change is rare, and the newest are the ones that help.
const BACKUPS: usize = 20;

/// What a backup holds; keys as they lie there, sealed or not, with their mode.
const KEPT: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "ca-bundle.crt",
    "crl.pem",
    "rotation.json",
    "next/ca.crt",
    "next/ca.key",
    "previous/ca.crt",
];

/// A folder that nobody else changes while this lives.
pub struct Store {
    dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Takes the folder for itself; it is made when there is none.
    pub fn lock(dir: &Path) -> Done<Self> {
        let failed = |what: &str, error: std::io::Error| vec![unwritable(dir, what, &error)];
        if !dir.is_dir() {
            DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(dir)
                .map_err(|error| failed("make it", error))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(KEY_MODE);
        let mut lock = options.open(dir.join(".lock")).map_err(|error| failed("lock it", error))?;
        if let Err(error) = lock.try_lock() {
            let std::fs::TryLockError::WouldBlock = error else {
                return Err(vec![unwritable(dir, "lock it", &error.into())]);
            };
            let mut who = String::new();
            // Who holds it is worth telling; that it is held is what counts.
            let _ = lock.read_to_string(&mut who);
            let message = format!("`{}` is being changed by {}", dir.display(), who.trim());
            return Err(vec![Diagnostic::error("locked", message).hint("wait for it to end, and try again")]);
        }
        let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let since = crate::pki::stamp(super::now());
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{user}, process {}, since {since}", std::process::id()))
            .map_err(|error| failed("lock it", error))?;
        Ok(Self { dir: dir.to_path_buf(), _lock: lock })
    }

    /// Whether there is a CA, or half of one.
    pub fn has_ca(&self) -> bool {
        self.dir.join("ca.crt").exists() || self.dir.join("ca.key").exists()
    }

    /// The CA, ready to sign.
    pub fn ca(&self, password: Option<&Secret>) -> Done<Ca> {
        let cert = text(&self.dir, "ca.crt")?.unwrap_or_default();
        let key = text(&self.dir, "ca.key")?.unwrap_or_default();
        let opened = crate::vault::open(&key, password.map(|it| it.expose().as_bytes()));
        let opened = opened.map_err(|error| {
            let fault = Fault::task(format!("the CA key cannot be opened: {error}"))
                .hint("give the vault password that it was made with (`--vault-password-file`)");
            vec![blame(&self.dir, fault)]
        })?;
        Ca::load(&cert, &opened).map_err(|fault| vec![blame(&self.dir, fault)])
    }

    /// Copies what is there to `backup/TIME/`, with its modes; the oldest ones beyond a number go.
    pub fn backup(&self, now: OffsetDateTime) -> Done<()> {
        let stamp: String = crate::pki::stamp(now).chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let all = self.dir.join("backup");
        let target = (0..100).map(|n| all.join(format!("{stamp}-{n:02}"))).find(|path| !path.exists());
        let target = target.unwrap_or_else(|| all.join(stamp));
        let failed = |error: std::io::Error| vec![unwritable(&self.dir, "back it up", &error)];
        let mut names: Vec<String> = KEPT.map(str::to_owned).to_vec();
        for (folder, ending) in [("index", ".json"), ("issued", ".crt"), ("issued", ".json")] {
            names.extend(
                listed(&self.dir, folder, ending)?.into_iter().map(|name| format!("{folder}/{name}")),
            );
        }
        for name in names {
            let from = self.dir.join(&name);
            let mode = match std::fs::metadata(&from) {
                Ok(metadata) => metadata.mode() & 0o7777,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let content = zeroize::Zeroizing::new(std::fs::read(&from).map_err(failed)?);
            put(&target.join(&name), &content, mode & 0o700 | mode & 0o044).map_err(failed)?;
        }
        let mut old: Vec<PathBuf> = match std::fs::read_dir(&all) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| ours(path)).collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        old.sort();
        for path in old.iter().rev().skip(BACKUPS) {
            std::fs::remove_dir_all(path).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes a file of the folder: a whole new one, or the old one stays.
    pub fn write(&self, name: &str, content: &str, mode: u32) -> Done<()> {
        put(&self.dir.join(name), content.as_bytes(), mode)
            .map_err(|error| vec![unwritable(&self.dir, &format!("write `{name}` there"), &error)])
    }

    /// Removes a file of the folder, and its own folder when that is empty then; it may be gone already.
    pub fn remove(&self, name: &str) -> Done<()> {
        let path = self.dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(vec![unwritable(&self.dir, &format!("remove `{name}` there"), &error)]);
            }
            _ => {}
        }
        if let (true, Some(folder)) = (name.contains('/'), path.parent()) {
            // It goes with its last file.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Writes the record of a certificate, and then the certificate.
    pub fn record(&self, entry: &Entry, cert: &str) -> Done<()> {
        self.write(&format!("index/{}", entry.file_name()), &entry.to_text(), 0o644)?;
        self.write(&format!("issued/{}.crt", entry.name), cert, 0o644)
    }
}

/// Whether a backup was made here: `20261127T120000Z-00`.
fn ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.starts_with("00000000T000000Z")
}

/// Reads a folder, and refuses one that does not hold together.
pub fn read(dir: &Path) -> Done<State> {
    let files = Files {
        ca_cert: text(dir, "ca.crt")?,
        ca_key_mode: std::fs::metadata(dir.join("ca.key")).ok().map(|it| it.mode() & 0o7777),
        crl: text(dir, "crl.pem")?,
        index: texts(dir, "index", ".json")?,
        issued: texts(dir, "issued", ".crt")?,
    };
    State::read(&files).map_err(|faults| faults.into_iter().map(|fault| blame(dir, fault)).collect())
}

/// What the tasks `tls_cert` said, by the name of their certificate.
pub fn told(dir: &Path) -> Done<Vec<(String, Told)>> {
    let mut all: Vec<(String, Told)> = Vec::new();
    let mut before = Vec::new();
    for (file, text) in texts(dir, "issued", ".json")? {
        let told = Told::parse(&file, &text).map_err(|fault| vec![blame(dir, fault)])?;
        let named = file.trim_end_matches(".json").to_owned();
        match told.str("cert_path").map(|path| record_name(&told.host, path)) {
            Some(name) if name != named => before.push((name, told)),
            _ => all.push((named, told)),
        }
    }
    // From before names held the whole path; what a run has written since then counts.
    before.retain(|(name, _)| !all.iter().any(|(known, _)| known == name));
    all.append(&mut before);
    Ok(all)
}

/// How far a rotation is.
pub fn rotation(dir: &Path) -> Done<Option<Rotation>> {
    let text = text(dir, "rotation.json")?;
    text.map(|text| Rotation::parse(&text)).transpose().map_err(|fault| vec![blame(dir, fault)])
}

/// What hosts are to trust: both CAs while one takes the place of the other, else the one there is.
pub fn trusted(dir: &Path) -> Done<String> {
    match text(dir, "ca-bundle.crt")? {
        Some(bundle) => Ok(bundle),
        None => Ok(text(dir, "ca.crt")?.unwrap_or_default()),
    }
}

/// A file of the folder; `None` when it is not there.
pub fn text(dir: &Path, name: &str) -> Done<Option<String>> {
    match std::fs::read_to_string(dir.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", dir.join(name).display());
            Err(vec![Diagnostic::error("certs", message)])
        }
    }
}

/// Writes a file: temporary name beside it, mode before content, fsync, rename, and the folder's own fsync.
pub fn put(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    }
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

fn texts(dir: &Path, folder: &str, ending: &str) -> Done<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for name in listed(dir, folder, ending)? {
        if let Some(text) = text(dir, &format!("{folder}/{name}"))? {
            texts.push((name, text));
        }
    }
    Ok(texts)
}

fn listed(dir: &Path, folder: &str, ending: &str) -> Done<Vec<String>> {
    let entries = match std::fs::read_dir(dir.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", dir.join(folder).display());
            return Err(vec![Diagnostic::error("certs", message)]);
        }
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(ending) && !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

fn unwritable(dir: &Path, what: &str, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error("certs", format!("`{}`: cannot {what}: {error}", dir.display()))
        .hint("nothing was changed by what failed; the files that were there are as they were")
}
