//! Questions and writes that belong to the control machine.

use super::claim::Claim;
use crate::shell::{Action, Answer, Answers, Ask, FileKind, FileState, LocalAsk, LocalWrite, Output, Secret};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Other hosts of this run, and other runs, hold a folder only while they write a file.
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The control machine's side of a run.
#[derive(Debug, Default)]
pub struct Local {
    /// The vault password, when one was given.
    pub vault_password: Option<Secret>,
    /// Folder that relative paths are seen from: the site's.
    pub dir: String,
    /// What the hosts are told of this run, so that no other one acts on them meanwhile.
    pub claim: Option<Claim>,
}

impl Local {
    /// Answers the local ones among a module's questions, afresh each time.
    pub fn answer(&self, asks: &[Ask], answers: &mut Answers) {
        for ask in asks {
            if let Ask::Local(local) = ask {
                answers.insert(ask.clone(), self.one(local));
            }
        }
    }

    fn one(&self, ask: &LocalAsk) -> Answer {
        match ask {
            LocalAsk::Now => match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
                Ok(since) => Answer::Now(since.as_secs() as i64),
                Err(_) => Answer::Failed("this machine's clock stands before 1970: set it".to_owned()),
            },
            LocalAsk::Random(count) => {
                let mut bytes = vec![0; *count];
                match aws_lc_rs::rand::fill(&mut bytes) {
                    Ok(()) => Answer::Random(bytes),
                    Err(_) => Answer::Failed("this machine gives no random bytes".to_owned()),
                }
            }
            LocalAsk::File(path) => self.file(path),
            LocalAsk::NewKey(kind) => match kind.parse().and_then(crate::pki::generate_key) {
                Ok(pem) => Answer::Key(Secret::new(pem.as_str())),
                Err(why) => Answer::Failed(format!("cannot make a private key: {}", why.message)),
            },
            LocalAsk::VaultPassword => Answer::Password(self.vault_password.clone()),
        }
    }

    fn path(&self, path: &str) -> String {
        if path.starts_with('/') || self.dir.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.dir)
        }
    }

    fn file(&self, path: &str) -> Answer {
        let path = self.path(path);
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Answer::File(FileState::default());
            }
            Err(error) => return Answer::Failed(format!("cannot read `{path}`: {error}")),
        };
        let kind = if metadata.is_dir() { FileKind::Directory } else { FileKind::File };
        let content = match metadata.is_file().then(|| std::fs::read(&path)).transpose() {
            Ok(content) => content,
            Err(error) => return Answer::Failed(format!("cannot read `{path}`: {error}")),
        };
        Answer::File(FileState {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.size(),
            mtime: metadata.mtime(),
            target: None,
            sha256: None,
            content,
        })
    }

    /// Performs the local ones among a step's actions; the output of the first that fails.
    pub fn perform(&self, actions: &[Action]) -> Result<(), Output> {
        for action in actions {
            if let Action::Local(write) = action {
                let _lock = self.locked(&write.folder).map_err(|why| Output::failed(1, why))?;
                self.write(write).map_err(|why| {
                    let path = self.path(&write.path);
                    let meanwhile = write.new && why.kind() == std::io::ErrorKind::AlreadyExists;
                    Output::failed(
                        1,
                        match meanwhile {
                            true => format!(
                                "another run made `{path}` in the meantime: run again, with what it made"
                            ),
                            false => format!("cannot write `{path}`: {why}"),
                        },
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Holds a folder while something is written there, as `ishprov certs` does; a command of this very process that
    /// holds it already lets its own run write.
    fn locked(&self, folder: &str) -> Result<Option<std::fs::File>, String> {
        let path = self.path(&format!("{folder}/.lock"));
        if !Path::new(&path).parent().is_some_and(Path::is_dir) {
            return Ok(None);
        }
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|why| format!("cannot lock `{path}`: {why}"))?;
        let own = format!("process {},", std::process::id());
        let mut who = String::new();
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::Error(why)) => return Err(format!("cannot lock `{path}`: {why}")),
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            who = std::fs::read_to_string(&path).unwrap_or_default();
            if who.contains(&own) {
                return Ok(None);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(format!("`{folder}` is being changed by {}: wait for it to end, and run again", who.trim()))
    }

    /// Temporary name beside the target, mode before content, fsync, rename.
    fn write(&self, write: &LocalWrite) -> std::io::Result<()> {
        let path = self.path(&write.path);
        let target = Path::new(&path);
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !dir.is_dir() {
            let secret = write.mode & 0o077 == 0;
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, if secret { 0o700 } else { 0o755 });
            builder.recursive(true).create(dir)?;
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let staged = dir.join(format!(".{name}.{}.ishprov", std::process::id()));
        let _ = std::fs::remove_file(&staged);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
        let done = file
            .write_all(&write.content)
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(write.mode)))
            .and_then(|()| file.sync_all())
            .and_then(|()| match write.new {
                true => std::fs::hard_link(&staged, target),
                false => std::fs::rename(&staged, target),
            });
        if done.is_err() || write.new {
            let _ = std::fs::remove_file(&staged);
        }
        done
    }
}
