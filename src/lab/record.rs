//! What a lab wrote down of itself: the marker that makes its folder ours, and the locks.

use super::{LabEvent, LabHost, LabResult, OnEvent};
use crate::diag::Diagnostic;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file whose presence makes a folder a lab's own.
pub(super) const MARKER: &str = "lab.json";
const FORMAT: u32 = 1;
/// How names of files begin that are being written and not yet in place.
const HALF_WRITTEN: &str = ".ishprov-lab-";

/// Everything `down` must know to leave nothing behind. Written before the thing it tells of is made, so that a
/// crash in between leaves a record of something that may not exist, never a thing without a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    pub lab: String,
    /// Users with and without sudo, for tests.
    pub test_users: bool,
    pub network: Option<NetworkRecord>,
    /// What the hosts' disks lie over. A newer base must not slip under a host that was made on an older one.
    pub base: Option<PathBuf>,
    pub hosts: Vec<LabHost>,
}

/// The lab's number on this machine and its subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkRecord {
    /// Name of the bridge, of the nft tables and of the cgroup: `ishlab0`.
    pub id: String,
    /// First address of the /24.
    pub subnet: Ipv4Addr,
    pub gateway: Ipv4Addr,
}

impl Record {
    pub fn new(lab: &str) -> Self {
        Self {
            format: FORMAT,
            lab: lab.to_owned(),
            test_users: false,
            network: None,
            base: None,
            hosts: Vec::new(),
        }
    }

    pub fn host(&self, name: &str) -> Option<&LabHost> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Reads the record of the lab in `dir`. `None`: there is nothing, or an empty folder. A folder with other
    /// things in it and no record is not ours and a refusal.
    pub fn load(dir: &Path) -> LabResult<Option<Self>> {
        let path = dir.join(MARKER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A run that was killed while it wrote the first record leaves a half-written one, which is ours too.
                let foreign = |name: &std::ffi::OsStr| !name.to_string_lossy().starts_with(HALF_WRITTEN);
                let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
                let occupied = entries.any(|entry| foreign(&entry.file_name()));
                if occupied {
                    return Err(vec![
                        Diagnostic::error(
                            "lab-not-ours",
                            format!("`{}` is not a lab: it holds files but no `{MARKER}`", dir.display()),
                        )
                        .hint("give the lab another name, or set ISHPROV_LAB_DIR to another folder"),
                    ]);
                }
                return Ok(None);
            }
            Err(error) => return Err(io_failure("read", &path, &error)),
        };
        let broken = |why: String| {
            vec![
                Diagnostic::error("lab-record-broken", format!("`{}` cannot be used: {why}", path.display()))
                    .hint("if the lab is not needed any more, end its `systemd-nspawn` processes and remove the folder"),
            ]
        };
        let record: Self = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if record.format != FORMAT {
            return Err(broken(format!("it has format {}, this version knows {FORMAT}", record.format)));
        }
        Ok(Some(record))
    }

    /// Writes the record in one step.
    pub fn save(&self, dir: &Path) -> LabResult<()> {
        make_dir(dir, 0o700)?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| vec![Diagnostic::error("lab-record-broken", error.to_string())])?;
        text.push('\n');
        write_atomic(&dir.join(MARKER), 0o600, text.as_bytes())
    }
}

/// Removes a lab's folder, the record last: until then a run that is killed can be repeated.
pub(super) fn remove_dir(dir: &Path) -> LabResult<()> {
    let gone = |path: &Path, result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure("remove", path, &error)),
        _ => Ok(()),
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gone(&path, fs::remove_dir_all(&path))?;
        } else if entry.file_name() != MARKER {
            gone(&path, fs::remove_file(&path))?;
        }
    }
    let marker = dir.join(MARKER);
    gone(&marker, fs::remove_file(&marker))?;
    gone(dir, fs::remove_dir(dir))
}

/// An exclusive lock, held until dropped, released by the kernel when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock; `what` names it in the event that is sent when it is taken.
    pub fn acquire(path: &Path, what: &str, on_event: OnEvent<'_>) -> LabResult<Self> {
        if let Some(parent) = path.parent() {
            make_dir(parent, 0o755)?;
        }
        let fail = |error: io::Error| io_failure("lock", path, &error);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)
                .map_err(fail)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                on_event(LabEvent::WaitingForLock(what.to_owned()));
                flock(&file, FlockOperation::LockExclusive).map_err(|error| fail(error.into()))?;
            }
            // The holder before us may have removed the file: then this lock guards nothing.
            let held = file.metadata().map_err(fail)?.ino();
            if fs::metadata(path).is_ok_and(|now| now.ino() == held) {
                return Ok(Self { _file: file, path: path.to_owned() });
            }
        }
    }

    /// Removes the lock file and releases it.
    pub fn remove(self) {
        // A lock file that stays is only untidy.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a folder and its parents; `mode` is given to the last one if it is new.
pub(super) fn make_dir(path: &Path, mode: u32) -> LabResult<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|error| io_failure("make", path, &error))
}

/// Writes beside the target, then renames: readers see the old or the new text, and a symlink is replaced, never
/// followed.
pub(super) fn write_atomic(path: &Path, mode: u32, content: &[u8]) -> LabResult<()> {
    let fail = |error: io::Error| io_failure("write", path, &error);
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(HALF_WRITTEN)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(fail)?;
    file.write_all(content).map_err(fail)?;
    // The umask may have taken bits away.
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// "cannot `verb` `path`: reason".
pub(super) fn io_failure(verb: &str, path: &Path, error: &io::Error) -> Vec<Diagnostic> {
    let diagnostic = Diagnostic::error("lab-io", format!("cannot {verb} `{}`: {error}", path.display()));
    vec![if error.kind() == io::ErrorKind::PermissionDenied {
        diagnostic.hint("the embedded lab needs root: run it with sudo")
    } else {
        diagnostic
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_record_comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("dev");
        assert_eq!(Record::load(&lab).unwrap(), None);
        let mut record = Record::new("dev");
        record.hosts.push(LabHost::new("a", Ipv4Addr::new(198, 18, 0, 2)));
        record.save(&lab).unwrap();
        assert_eq!(Record::load(&lab).unwrap(), Some(record));
        assert_eq!(fs::metadata(&lab).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_without_the_marker_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".ishprov-lab-Ab3"), "{").unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), None, "half of our own first record");
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        let refusal = Record::load(dir.path()).unwrap_err();
        assert_eq!(refusal[0].code, "lab-not-ours");
        fs::write(dir.path().join(MARKER), "{").unwrap();
        assert_eq!(Record::load(dir.path()).unwrap_err()[0].code, "lab-record-broken");
    }

    #[test]
    fn a_symlink_is_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "precious").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        write_atomic(&link, 0o644, b"new").unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
    }

    #[test]
    fn the_second_waits_for_the_first_even_when_the_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = Lock::acquire(&path, "lab", &|_| ()).unwrap();
        let second = {
            let (path, order) = (path.clone(), Arc::clone(&order));
            thread::spawn(move || {
                let lock = Lock::acquire(&path, "lab", &|_| ()).unwrap();
                order.lock().unwrap().push("second");
                assert!(path.exists());
                lock.remove();
            })
        };
        thread::sleep(Duration::from_millis(100));
        order.lock().unwrap().push("first");
        first.remove();
        second.join().unwrap();
        assert_eq!(*order.lock().unwrap(), ["first", "second"]);
        assert!(!path.exists());
    }
}
