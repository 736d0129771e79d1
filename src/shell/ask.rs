//! Read-only questions to a host (or, where a module needs them, to the control machine), and their answers.
//!
//! Questions are data so that a whole window of them can be merged: one `stat` for all files, one `dpkg-query`
//! for all packages, one `systemctl show` for all units.

use super::limits::CONTENT;
use super::output::Output;
use super::secret::Secret;
use crate::diag::Fault;
use std::collections::HashMap;

/// One question. Equal questions of a window are asked once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// What stands at a path.
    File(FileAsk),
    /// The account table (`/etc/passwd`).
    Accounts,
    /// The group table (`/etc/group`).
    Groups,
    /// A Debian package's state.
    Package(String),
    /// A systemd unit's state.
    Unit(String),
    /// A read-only script, run as root or as `user`. It must not change the host.
    Sh {
        /// POSIX sh text.
        script: String,
        /// Run as this account instead of root.
        user: Option<String>,
    },
    /// Answered on the control machine.
    Local(LocalAsk),
}

/// What to read of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileAsk {
    /// Absolute path on the host.
    pub path: String,
    /// Look through a symbolic link at the path's end.
    pub follow: bool,
    /// Also the SHA-256 of a regular file.
    pub digest: bool,
    /// Also the content of a regular file.
    pub content: Content,
    /// Look as this account instead of root.
    pub user: Option<String>,
}

/// How much of a file's content is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Nothing.
    No,
    /// All of it where it is at most [`SMALL_BYTES`], else nothing.
    Small,
    /// All of it; a file of more than [`CONTENT_BYTES`] is refused.
    Whole,
}

/// A text of this size is still worth showing as a difference.
pub const SMALL_BYTES: u64 = 1 << 20;
/// Files whose content a task works on (configuration, keys, what `slurp` reads) are far smaller; whoever owns a file
/// could else fill this machine's memory.
pub const CONTENT_BYTES: u64 = CONTENT as u64;

/// What only the control machine can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LocalAsk {
    /// Seconds since 1970.
    Now,
    /// So many random bytes. The number tells two draws of one module apart.
    Random(usize),
    /// A file's content; absent when there is none.
    File(String),
    /// A freshly made private key (PKCS#8 PEM) of this algorithm: `ecdsa-p256`, `ed25519`, `rsa-2048`, `rsa-4096`.
    NewKey(String),
    /// The vault password, when one is set.
    VaultPassword,
}

impl Ask {
    /// Kind, owner, mode and size of what stands at `path` itself (not what a link points at).
    pub fn stat(path: impl Into<String>) -> Self {
        Self::File(FileAsk {
            path: path.into(),
            follow: false,
            digest: false,
            content: Content::No,
            user: None,
        })
    }

    /// The same through a symbolic link.
    pub fn stat_follow(path: impl Into<String>) -> Self {
        Self::File(FileAsk {
            path: path.into(),
            follow: true,
            digest: false,
            content: Content::No,
            user: None,
        })
    }

    /// State and SHA-256 of a file, through a symbolic link.
    pub fn digest(path: impl Into<String>) -> Self {
        Self::File(FileAsk {
            path: path.into(),
            follow: true,
            digest: true,
            content: Content::No,
            user: None,
        })
    }

    /// State and content of a file, through a symbolic link.
    pub fn content(path: impl Into<String>) -> Self {
        Self::File(FileAsk {
            path: path.into(),
            follow: true,
            digest: false,
            content: Content::Whole,
            user: None,
        })
    }

    /// A read-only script run as root.
    pub fn sh(script: impl Into<String>) -> Self {
        Self::Sh { script: script.into(), user: None }
    }

    /// The question as `user` asks it; one that names an account already stays as it is. What every account of a host
    /// is told the same needs none.
    pub fn by(self, user: Option<&str>) -> Self {
        let named = |own: Option<String>| own.or_else(|| user.map(str::to_owned));
        match self {
            Self::File(file) => Self::File(FileAsk { user: named(file.user), ..file }),
            Self::Sh { script, user } => Self::Sh { script, user: named(user) },
            Self::Accounts | Self::Groups | Self::Package(_) | Self::Unit(_) | Self::Local(_) => self,
        }
    }

    /// A read-only script run as `user`.
    pub fn sh_as(user: impl Into<String>, script: impl Into<String>) -> Self {
        Self::Sh { script: script.into(), user: Some(user.into()) }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileKind {
    /// Nothing.
    #[default]
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// The state of one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileState {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits, with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Target of a symbolic link.
    pub target: Option<String>,
    /// Lower-case hex SHA-256, when asked for and a regular file.
    pub sha256: Option<String>,
    /// Content, when asked for and a regular file.
    pub content: Option<Vec<u8>>,
}

impl FileState {
    /// Whether something stands there.
    pub fn exists(&self) -> bool {
        self.kind != FileKind::Absent
    }
}

/// A line of the account table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// The comment field.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A line of the group table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// Group name.
    pub name: String,
    /// Numeric group.
    pub gid: u32,
    /// Members by name.
    pub members: Vec<String>,
}

/// A Debian package's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageState {
    /// Installed version; `None` when it is not installed (configuration left behind does not count).
    pub version: Option<String>,
    /// On hold.
    pub held: bool,
}

/// A systemd unit's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `running`, `exited`, `dead`, ...
    pub sub: String,
    /// `enabled`, `disabled`, `static`, `masked`, ... (empty when unknown)
    pub enabled: String,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::File`] and [`LocalAsk::File`].
    File(FileState),
    /// To [`Ask::Accounts`].
    Accounts(Vec<Account>),
    /// To [`Ask::Groups`].
    Groups(Vec<GroupEntry>),
    /// To [`Ask::Package`].
    Package(PackageState),
    /// To [`Ask::Unit`].
    Unit(UnitState),
    /// To [`Ask::Sh`].
    Output(Output),
    /// To [`LocalAsk::Now`].
    Now(i64),
    /// To [`LocalAsk::Random`].
    Random(Vec<u8>),
    /// To [`LocalAsk::NewKey`].
    Key(Secret),
    /// To [`LocalAsk::VaultPassword`].
    Password(Option<Secret>),
    /// The question could not be answered: a tool is missing on the host, a file could not be read.
    Failed(String),
}

/// Why an answer of a large window is missing although it could be had: the window's answers together were too long.
pub(super) const CROWDED: &str = "the answers of this round were longer together than is taken at once";

/// The answers to a module's questions.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    known: HashMap<Ask, Answer>,
}

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $ty:ty) => {
        $(#[$doc])*
        pub fn $name(&self, ask: &Ask) -> Result<&$ty, Fault> {
            match self.get(ask)? {
                Answer::$variant(answer) => Ok(answer),
                other => Err(Fault::task(format!("the host gave a {} where {ask:?} wants another kind of answer", other.kind()))),
            }
        }
    };
}

impl Answers {
    /// No answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the answer to a question.
    pub fn insert(&mut self, ask: Ask, answer: Answer) {
        self.known.insert(ask, answer);
    }

    /// Whether a question was answered.
    pub fn has(&self, ask: &Ask) -> bool {
        self.known.contains_key(ask)
    }

    /// Whether something is missing only because too much was asked at once.
    pub fn crowded(&self) -> bool {
        self.known.values().any(|answer| matches!(answer, Answer::Failed(why) if why.ends_with(CROWDED)))
    }

    /// The answer to a question, if there is one.
    pub fn peek(&self, ask: &Ask) -> Option<&Answer> {
        self.known.get(ask)
    }

    /// The answer to a question; a fault when it was not asked or could not be answered.
    pub fn get(&self, ask: &Ask) -> Result<&Answer, Fault> {
        match self.known.get(ask) {
            Some(Answer::Failed(why)) => {
                let fault = Fault::task(why.clone());
                let package = match why.strip_suffix(" is missing on the host") {
                    Some("`stat`") => "coreutils",
                    Some("`dpkg-query`") => "dpkg",
                    Some("`systemctl`") => "systemd",
                    _ => return Err(fault),
                };
                Err(fault.hint(format!("install the package `{package}` on the host")))
            }
            Some(answer) => Ok(answer),
            None => Err(Fault::task(format!("the host did not answer {ask:?}"))),
        }
    }

    /// A regular file's content as text, `None` when nothing stands at the path.
    pub fn text(&self, ask: &Ask) -> Result<Option<String>, Fault> {
        let file = self.file(ask)?;
        Ok(file.content.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Seconds since 1970 by the control machine's clock.
    pub fn now(&self) -> Result<i64, Fault> {
        match self.get(&Ask::Local(LocalAsk::Now))? {
            Answer::Now(seconds) => Ok(*seconds),
            other => Err(Fault::task(format!("a {} in the place of the time", other.kind()))),
        }
    }

    reader!(
        /// The state of a path.
        file, File, FileState
    );
    reader!(
        /// The account table.
        accounts, Accounts, Vec<Account>
    );
    reader!(
        /// The group table.
        groups, Groups, Vec<GroupEntry>
    );
    reader!(
        /// A package's state.
        package, Package, PackageState
    );
    reader!(
        /// A unit's state.
        unit, Unit, UnitState
    );
    reader!(
        /// A script's answer, whatever its exit status.
        output, Output, Output
    );
    reader!(
        /// Random bytes.
        random, Random, Vec<u8>
    );
    reader!(
        /// A freshly made private key.
        key, Key, Secret
    );
    reader!(
        /// The vault password.
        password, Password, Option<Secret>
    );
}

impl Answer {
    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file state",
            Self::Accounts(_) => "table of accounts",
            Self::Groups(_) => "table of groups",
            Self::Package(_) => "package state",
            Self::Unit(_) => "unit state",
            Self::Output(_) => "script's output",
            Self::Now(_) => "time",
            Self::Random(_) => "random text",
            Self::Key(_) => "private key",
            Self::Password(_) => "password",
            Self::Failed(_) => "failure",
        }
    }
}
