//! The control machine's files: reading a site and its inventory, opening vaults, keeping generated passwords.

use crate::diag::{FileId, SourceMap};
use crate::plan::Sources;
use crate::shell::{Masker, Secret};
use crate::template::{FileText, Lookups, NOWHERE, PasswordRequest, alphabet, kept};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::plan::Library;

/// The file system as a site sees it.
pub struct Disk {
    /// The vault password, when one was given.
    pub vault_password: Option<Secret>,
    /// Learns every secret that is opened or made.
    pub masker: Masker,
    /// Folder of the site.
    pub site_dir: String,
    /// Folder that generated passwords are kept in: the inventory's.
    pub keep_dir: String,
    /// Generated passwords are made only when the run may write.
    pub may_write: bool,
    library: OnceLock<Weak<Library>>,
    fresh: Mutex<Fresh>,
}

/// Passwords that were made in this run.
#[derive(Default)]
struct Fresh {
    /// With the file that each is kept in, and whether it was written.
    made: Vec<(PathBuf, Secret, bool)>,
    /// New ones are written at once.
    settled: bool,
}

impl Disk {
    /// A door to the files of a site.
    pub fn new(
        vault_password: Option<Secret>,
        masker: Masker,
        site_dir: &str,
        keep_dir: &str,
        may_write: bool,
    ) -> Self {
        if let Some(password) = &vault_password {
            masker.add(password.expose());
        }
        Self {
            vault_password,
            masker,
            site_dir: site_dir.to_owned(),
            keep_dir: keep_dir.to_owned(),
            may_write,
            library: OnceLock::new(),
            fresh: Mutex::default(),
        }
    }

    /// Tells it the library that reads through it, so that lookups see the same texts.
    pub fn serve(&self, library: &Arc<Library>) {
        let _ = self.library.set(Arc::downgrade(library));
    }

    fn library(&self) -> Option<Arc<Library>> {
        self.library.get().and_then(Weak::upgrade)
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down passwords of this run, where the run may write.
    fn write_down(&self, fresh: &mut Fresh, which: impl Fn(&str) -> bool) -> Result<(), String> {
        if !self.may_write {
            return Ok(());
        }
        for (path, secret, written) in &mut fresh.made {
            if !*written && which(secret.expose()) {
                write_password(self, path, secret)?;
                *written = true;
            }
        }
        Ok(())
    }

    fn path_of(&self, file: FileId) -> Option<String> {
        Some(self.library()?.map().path(file).to_owned())
    }

    /// Where a relative name is looked for from a file: `part/` of its role, beside the file, and of the site.
    fn search(&self, from: FileId, part: &str, name: &str) -> Vec<PathBuf> {
        if name.starts_with('/') {
            return vec![PathBuf::from(name)];
        }
        let mut places = Vec::new();
        if let Some(path) = self.path_of(from) {
            let dir = Path::new(&path).parent().unwrap_or(Path::new(""));
            // The role (or the site) that the file stands in, however deep.
            let of_role = dir.ancestors().find(|dir| dir.file_name().is_some_and(is_part));
            places.extend(of_role.and_then(Path::parent).map(Path::to_path_buf));
            places.push(dir.to_path_buf());
        }
        places.push(PathBuf::from(&self.site_dir));
        // The folder for such files comes first, unless the name leads there itself.
        let leads_there = name.split('/').next() == Some(part);
        let mut paths: Vec<PathBuf> = Vec::new();
        for place in places {
            let own = (!leads_there).then(|| place.join(part).join(name));
            for path in own.into_iter().chain([place.join(name)]) {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        paths
    }

    fn found(&self, from: FileId, part: &str, name: &str) -> Result<PathBuf, String> {
        let candidates = self.search(from, part, name);
        candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
            let listed =
                candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            format!("there is no file `{name}` (looked for {listed})")
        })
    }
}

/// Whether a folder is one of those that a role is made of.
fn is_part(name: &std::ffi::OsStr) -> bool {
    ["tasks", "handlers", "defaults", "vars", "templates", "files", "meta"].iter().any(|part| name == *part)
}

impl Sources for Disk {
    fn bytes(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        match std::fs::read(path) {
            Ok(bytes) => Some(Ok(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || Path::new(path).is_dir() => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        Path::new(path).is_dir()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn all_names(&self, path: &str) -> Result<Vec<String>, String> {
        let failed = |error: std::io::Error| format!("cannot read the folder `{path}`: {error}");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            names.push(
                entry.map_err(failed)?.file_name().into_string().map_err(|name| {
                    format!("the name of `{path}/{}` is not UTF-8", name.to_string_lossy())
                })?,
            );
        }
        names.sort();
        Ok(names)
    }

    fn decrypt(&self, ciphertext: &str) -> Result<Secret, String> {
        let Some(password) = &self.vault_password else {
            return Err("no vault password was given".to_owned());
        };
        let plain = crate::vault::decrypt(ciphertext, password.expose().as_bytes())
            .map_err(|error| error.to_string())?;
        let text =
            String::from_utf8(plain.to_vec()).map_err(|_| "the vault holds no UTF-8 text".to_owned())?;
        self.masker.add(&text);
        Ok(Secret::new(text))
    }
}

/// What templates ask of the control machine.
pub struct DiskLookups(pub Arc<Disk>);

impl Lookups for DiskLookups {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, from: FileId, path: &str) -> Result<String, String> {
        let path = self.0.found(from, "files", path)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        if text.starts_with("$ANSIBLE_VAULT;") {
            return self.0.decrypt(&text).map(|secret| secret.expose().to_owned());
        }
        Ok(text)
    }

    fn template(&self, from: FileId, path: &str) -> Result<FileText, String> {
        let path = self.0.found(from, "templates", path)?.display().to_string();
        let library = self.0.library().ok_or("the site is closed")?;
        match library.text(&path) {
            Some(Ok((file, text))) => Ok(FileText { file, text }),
            Some(Err(diagnostic)) => Err(diagnostic.message),
            None => Err(format!("there is no template `{path}`")),
        }
    }

    fn first_found(&self, from: FileId, paths: &[String]) -> Option<String> {
        let parts = ["files", "templates", "tasks", "vars"];
        paths.iter().find_map(|name| {
            let candidates = parts.iter().flat_map(|part| self.0.search(from, part, name));
            candidates.into_iter().find(|path| path.is_file()).map(|path| path.display().to_string())
        })
    }

    fn fileglob(&self, from: FileId, pattern: &str) -> Vec<String> {
        let (dir, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let expression = regex::escape(name).replace(r"\*", "[^/]*").replace(r"\?", "[^/]");
        let Ok(matcher) = regex::Regex::new(&format!("^{expression}$")) else { return Vec::new() };
        let mut found = Vec::new();
        for dir in self.0.search(from, "files", if dir.is_empty() { "." } else { dir }) {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            let files = entries.flatten().filter(|entry| entry.path().is_file());
            found.extend(
                files
                    .filter(|entry| matcher.is_match(&entry.file_name().to_string_lossy()))
                    .map(|entry| entry.path().display().to_string()),
            );
            if !found.is_empty() {
                break;
            }
        }
        found.sort();
        found
    }

    fn decrypt(&self, ciphertext: &str) -> Result<Secret, String> {
        Sources::decrypt(self.0.as_ref(), ciphertext)
    }

    fn password(&self, _from: FileId, request: &PasswordRequest) -> Result<Secret, String> {
        let secret = kept_password(&self.0, request)?;
        self.0.masker.add(secret.expose());
        Ok(secret)
    }

    fn is_fresh(&self, text: &str) -> bool {
        self.0.fresh().made.iter().any(|(_, secret, _)| holds(text, secret.expose()))
    }

    fn settle(&self, held: &[String]) -> Result<(), String> {
        let mut fresh = self.0.fresh();
        fresh.settled = true;
        self.0.write_down(&mut fresh, |secret| !held.iter().any(|text| holds(text, secret)))
    }

    fn keep(&self, text: &str) -> Result<(), String> {
        self.0.write_down(&mut self.0.fresh(), |secret| holds(text, secret))
    }

    fn disown(&self, text: &str) {
        for (path, secret, written) in &mut self.0.fresh().made {
            if *written && holds(text, secret.expose()) {
                // What cannot be removed was written a moment ago, and is named by the refusal.
                *written = std::fs::remove_file(path).is_err();
            }
        }
    }

    fn source(&self, file: FileId) -> Option<Arc<str>> {
        Some(self.0.library()?.map().text(file))
    }
}

/// Whether a text holds a password. A very short one would be found everywhere: it must be the whole text.
fn holds(text: &str, secret: &str) -> bool {
    text == secret || (secret.len() >= 8 && text.contains(secret))
}

/// A password that was made before, or a new one: in a file that its owner alone can read, encrypted when there is
/// a vault password.
fn kept_password(disk: &Disk, request: &PasswordRequest) -> Result<Secret, String> {
    let drawn = || random_text(request.length, &alphabet(&request.chars)).map(Secret::new);
    if request.path == NOWHERE {
        return drawn();
    }
    let path = match (request.path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => kept_path(&home, rest)?,
        _ => kept_path(Path::new(&disk.keep_dir), &request.path)?,
    };
    let plain = |text: &str| {
        let password = kept(text).map(Secret::new);
        password.ok_or_else(|| {
            let path = path.display();
            format!("`{path}` is empty: put the password into it, or remove it to have a new one made")
        })
    };
    let mut fresh = disk.fresh();
    // The same for everybody in this run, written or not.
    if let Some((_, secret, _)) = fresh.made.iter().find(|(known, ..)| *known == path) {
        return Ok(secret.clone());
    }
    match std::fs::read_to_string(&path) {
        Ok(text) if text.starts_with("$ANSIBLE_VAULT;") => plain(Sources::decrypt(disk, &text)?.expose()),
        Ok(text) => plain(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let password = drawn()?;
            let written = fresh.settled && disk.may_write;
            if written {
                write_password(disk, &path, &password)?;
            }
            fresh.made.push((path, password.clone(), written));
            Ok(password)
        }
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
    }
}

/// Where a password is kept. Parts of the path may come from a host: none of them leads out of the folder.
fn kept_path(dir: &Path, path: &str) -> Result<PathBuf, String> {
    let refused = |why: &str| {
        Err(format!("the password's path `{}` {why}: it is not read or written", path.escape_debug()))
    };
    if path.split('/').any(|part| part == "..") {
        return refused("leads upwards by `..`");
    }
    if path.chars().any(char::is_control) || path.is_empty() || path.ends_with('/') {
        return refused("names no file");
    }
    if path.starts_with('/') {
        return Ok(PathBuf::from(path));
    }
    let mut at = dir.to_path_buf();
    for part in path.split('/') {
        at.push(part);
        if at.is_symlink() {
            let inside = std::fs::canonicalize(&at).ok().zip(std::fs::canonicalize(dir).ok());
            if !inside.is_some_and(|(target, dir)| target.starts_with(dir)) {
                return refused(&format!("leaves `{}` by the link `{}`", dir.display(), at.display()));
            }
        }
    }
    Ok(at)
}

fn write_password(disk: &Disk, path: &Path, password: &Secret) -> Result<(), String> {
    let text = match &disk.vault_password {
        Some(vault) => {
            let mut salt = [0; 32];
            aws_lc_rs::rand::fill(&mut salt).map_err(|_| "this machine gives no random bytes".to_owned())?;
            crate::vault::encrypt(password.expose().as_bytes(), vault.expose().as_bytes(), salt, None)
                .map_err(|error| error.to_string())?
        }
        None => format!("{}\n", password.expose()),
    };
    write_private(path, text.as_bytes())
        .map_err(|error| format!("cannot keep the password in `{}`: {error}", path.display()))
}

/// Writes a file that its owner alone can read: mode before content, fsync, rename.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .recursive(true)
            .create(dir)?;
    }
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Characters drawn without bias: bytes beyond the last whole multiple of the alphabet are drawn again.
fn random_text(length: usize, alphabet: &[char]) -> Result<String, String> {
    if !(1..=256).contains(&alphabet.len()) {
        return Err(format!("a password is made of 1 to 256 characters, not of {}", alphabet.len()));
    }
    let limit = 256 - 256 % alphabet.len();
    let mut text = String::new();
    while text.chars().count() < length {
        let mut bytes = [0u8; 64];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "this machine gives no random bytes".to_owned())?;
        let room = length - text.chars().count();
        text.extend(
            bytes
                .iter()
                .filter(|byte| usize::from(**byte) < limit)
                .take(room)
                .map(|byte| alphabet[usize::from(*byte) % alphabet.len()]),
        );
    }
    Ok(text)
}

/// All files below a folder, relative to it, for [`crate::inventory::layout`].
pub fn tree(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path() {
                path if path.is_dir() => walk(&path, &format!("{name}/"), found),
                path if path.is_file() => found.push(name),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, "", &mut found);
    found
}

/// A source map with one text, for messages about the command line.
pub fn command_line(text: &str) -> (SourceMap, FileId) {
    let mut map = SourceMap::new();
    let file = map.add("command line", text);
    (map, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_inside_its_folder() {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = dir.path().join("inventory");
        std::fs::create_dir_all(keep.join("real")).expect("made");
        std::os::unix::fs::symlink(dir.path(), keep.join("out")).expect("linked");
        std::os::unix::fs::symlink("real", keep.join("in")).expect("linked");
        std::os::unix::fs::symlink("/etc/passwd", keep.join("file")).expect("linked");
        for path in ["secrets/app", "secrets/a..b", "in/x", "real/new/x", "/srv/secrets/x"] {
            assert_eq!(kept_path(&keep, path), Ok(keep.join(path)), "{path}");
        }
        for (path, why) in [
            ("../x", "leads upwards by `..`"),
            ("secrets/../../esc", "leads upwards by `..`"),
            ("/srv/../etc/x", "leads upwards by `..`"),
            ("secrets/a\nb", "names no file"),
            ("secrets/", "names no file"),
            ("", "names no file"),
            ("out/x", "by the link"),
            ("file", "by the link"),
        ] {
            let said = kept_path(&keep, path).expect_err(path);
            assert!(said.contains(why), "{path}: {said}");
        }
    }

    #[test]
    fn passwords_are_drawn_from_their_alphabet_and_kept_privately() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let keep = dir.path().display().to_string();
        let disk = Disk::new(None, Masker::new(), &keep, &keep, true);
        let request =
            PasswordRequest { path: "secrets/app".to_owned(), length: 24, chars: vec!["digits".to_owned()] };
        let first = kept_password(&disk, &request).expect("is made");
        assert!(!dir.path().join("secrets/app").exists(), "not before a host gets it");
        let lookups = DiskLookups(Arc::new(disk));
        assert!(lookups.is_fresh(&format!("password={}", first.expose())) && !lookups.is_fresh("another"));
        // Held back while nobody can say whether it may take the place of another; refused; and used at last.
        lookups.settle(&[first.expose().to_owned()]).expect("is written");
        assert!(!dir.path().join("secrets/app").exists());
        lookups.keep(first.expose()).expect("is written");
        lookups.disown(first.expose());
        assert!(!dir.path().join("secrets/app").exists());
        lookups.keep(first.expose()).expect("is written");
        let disk = &lookups.0;
        assert_eq!(first.expose().len(), 24);
        assert!(first.expose().chars().all(|c| c.is_ascii_digit()));
        assert_eq!(kept_password(disk, &request).expect("is kept").expose(), first.expose());
        let later = Disk::new(None, Masker::new(), &keep, &keep, true);
        assert_eq!(kept_password(&later, &request).expect("is kept").expose(), first.expose());
        assert!(!DiskLookups(Arc::new(later)).is_fresh(first.expose()), "it was known before");
        let mode = std::fs::metadata(dir.path().join("secrets/app")).expect("a file").mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_kept_of_a_password_for_once_and_an_empty_file_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let keep = dir.path().display().to_string();
        let disk = Disk::new(None, Masker::new(), &keep, &keep, true);
        let of = |path: &str| {
            let chars = vec!["ascii_letters".to_owned()];
            kept_password(&disk, &PasswordRequest { path: path.to_owned(), length: 12, chars })
        };
        let (one, other) = (of(NOWHERE).expect("a password"), of(NOWHERE).expect("a password"));
        assert_eq!((one.expose().len(), other.expose().len()), (12, 12));
        assert_ne!(one.expose(), other.expose());
        std::fs::write(dir.path().join("empty"), "\n").expect("a file");
        assert!(of("empty").expect_err("no password").contains("is empty"));
        std::fs::write(dir.path().join("of ansible"), "old one salt=abc\n").expect("a file");
        assert_eq!(of("of ansible").expect("a password").expose(), "old one");
    }
}
