//! What may be done on a host, as data.

use super::quote::join;
use std::sync::Arc;

/// One action. Actions of a step run in order; the first that fails ends the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a script.
    Run(Run),
    /// Put a file's content in place: temporary name in the target's folder, owner and mode before content,
    /// fsync, rename.
    Put(Put),
    /// Write a file on the control machine, the same way.
    Local(LocalWrite),
    /// Open a second, new connection to the host and close it again. The engine must have the actions before it
    /// done, and start those behind it only when the connection (to a shell that answers) came about; where it
    /// does not within the limit, the step fails here. For changes that may lock us out.
    Reconnect {
        /// Seconds to try.
        timeout: u64,
    },
}

/// A script to run.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    /// POSIX sh text. No secret may stand in it: secrets go by `stdin`.
    pub script: String,
    /// Standard input, never shown. Empty when `None`.
    pub stdin: Option<Arc<[u8]>>,
    /// Run as this account instead of root.
    pub user: Option<String>,
    /// Working directory.
    pub chdir: Option<String>,
    /// Extra environment.
    pub environment: Vec<(String, String)>,
    /// Seconds until the whole process group is ended; `None` takes the step's default.
    pub timeout: Option<u64>,
    /// What to show of it, when the script itself would tell little; `None` shows the script.
    pub shown: Option<String>,
    /// Exit statuses that are not a failure.
    pub accept: Vec<i32>,
    /// The script calls the functions of `files.sh`.
    pub files: bool,
}

/// A file to put in place.
#[derive(Clone, PartialEq, Eq)]
pub struct Put {
    /// Absolute path on the host.
    pub path: String,
    /// The whole content.
    pub content: Arc<[u8]>,
    /// Permission bits; `None` keeps those of the file replaced, or 0600 when new.
    pub mode: Option<u32>,
    /// Owner by name or number; `None` keeps.
    pub owner: Option<String>,
    /// Group by name or number; `None` keeps.
    pub group: Option<String>,
    /// Keep the replaced file beside it, with this ending.
    pub backup: Option<String>,
    /// A command run on the staged file before it takes the place; `%s` is its path. A failure keeps the old file.
    pub validate: Option<String>,
    /// What a symbolic link at the path means.
    pub follow: Follow,
    /// What the content was made of: something else in its place is not replaced.
    pub over: Over,
    /// Written as this account instead of root.
    pub user: Option<String>,
}

/// What a symbolic link at the end of a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Follow {
    /// It is meant itself.
    No,
    /// What it points at is meant. A link that another account made to what is not its own is refused.
    #[default]
    Own,
    /// What it points at is meant, whoever made it: the task says so.
    Any,
}

/// What a new content is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Over {
    /// Of nothing that is there.
    #[default]
    Anything,
    /// Of the fact that no file is there.
    Nothing,
    /// Of a content with this SHA-256.
    Digest(String),
}

/// Exit status of a [`Put`] that found something else than what its content was made of. EX_TEMPFAIL of sysexits.h:
/// asked again, the answer is another.
pub const CHANGED_MEANWHILE: i32 = 75;

/// A file to write on the control machine.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalWrite {
    /// Path on the control machine.
    pub path: String,
    /// The whole content.
    pub content: Arc<[u8]>,
    /// Permission bits.
    pub mode: u32,
    /// Only when nothing is there yet: of two runs that make the same file, one fails.
    pub new: bool,
    /// The folder that nobody else may be changing meanwhile, by the lock in it.
    pub folder: String,
}

impl Action {
    /// Runs words as a command, each quoted.
    pub fn argv<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Self {
        Self::Run(Run::new(join(words)))
    }

    /// Runs a script as root.
    pub fn sh(script: impl Into<String>) -> Self {
        Self::Run(Run::new(script))
    }

    /// Runs a script that calls the functions of `files.sh`; `shown` is what a person would have typed.
    pub fn files(script: impl Into<String>, shown: impl Into<String>) -> Self {
        Self::Run(Run { files: true, ..Run::new(script).shown(shown) })
    }

    /// The action as `user` does it; one that names an account already stays as it is.
    pub fn by(self, user: Option<&str>) -> Self {
        let named = |own: Option<String>| own.or_else(|| user.map(str::to_owned));
        match self {
            Self::Run(run) => Self::Run(Run { user: named(run.user.clone()), ..run }),
            Self::Put(put) => Self::Put(Put { user: named(put.user.clone()), ..put }),
            // The control machine has accounts of its own, and a connection is its own proof.
            Self::Local(_) | Self::Reconnect { .. } => self,
        }
    }
}

impl Follow {
    /// As the functions of `files.sh` take it.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "''",
            Self::Own => "own",
            Self::Any => "any",
        }
    }
}

impl Run {
    /// A script run as root, without input.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            stdin: None,
            user: None,
            chdir: None,
            environment: Vec::new(),
            timeout: None,
            shown: None,
            accept: vec![0],
            files: false,
        }
    }

    /// Runs as `user`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Gives it standard input, which is never shown.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into().into());
        self
    }

    /// Ends it after so many seconds.
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Some(seconds);
        self
    }

    /// What to show of it.
    pub fn shown(mut self, text: impl Into<String>) -> Self {
        self.shown = Some(text.into());
        self
    }
}

impl Put {
    /// Puts `content` at `path`, keeping owner and mode of what it replaces.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into().into(),
            mode: None,
            owner: None,
            group: None,
            backup: None,
            validate: None,
            follow: Follow::Own,
            over: Over::Anything,
            user: None,
        }
    }
}

// Contents may hold secrets: only their sizes are shown.
impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("script", &self.script)
            .field("stdin", &self.stdin.as_ref().map(|bytes| bytes.len()))
            .field("user", &self.user)
            .finish()
    }
}

impl std::fmt::Debug for Put {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Put")
            .field("path", &self.path)
            .field("bytes", &self.content.len())
            .field("mode", &self.mode.map(|mode| format!("{mode:04o}")))
            .field("owner", &self.owner)
            .field("group", &self.group)
            .finish()
    }
}

impl std::fmt::Debug for LocalWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalWrite").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}
