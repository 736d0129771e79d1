//! How much a host may say. A host may be broken, or in strange hands: what it sends costs this machine so much and no
//! more, and what goes beyond is refused with the number.
//!
//! The host's shell keeps to these numbers itself (they travel with its functions); the decoder holds every host to them.

/// Bytes of all answers of one frame, noise and heartbeats counted. With what is made of them, a host stays below 64 MB.
pub const FRAME: usize = 24 << 20;
/// Bytes of contents and outputs in one frame, kept to by the host's shell. The rest of [`FRAME`] is for everything
/// else, so that an honest host never comes to it.
pub const ROOM: usize = 16 << 20;
/// Bytes of one file's content. What is longer is compared by its digest, never read.
pub const CONTENT: usize = 4 << 20;
/// Bytes of a question's answer, or of all files that an account looks at. It is taken whole or not at all.
pub const SCRIPT: usize = 8 << 20;
/// Bytes of one stream of a command; what is longer is cut, and said to be. A result holds both streams as text and by
/// lines, and is held three times: registered, shown, kept for `--json`.
pub const OUTPUT: usize = 2 << 20;
/// Lines of one stream of a command: each costs some seventy bytes more than its length.
pub const LINES: usize = 64 << 10;
/// Bytes of one stream that is no UTF-8: as text it is three times as long.
pub const BINARY: usize = 512 << 10;
/// Bytes of any other answer: states, digests, tables of accounts. 1 MB of /etc/passwd are 15 000 accounts, and every
/// line of it costs ten times its length once it is read.
pub const ANSWER: usize = 1 << 20;
/// Bytes of one record's head: number, status and two lengths for every question of a window.
pub const HEAD: usize = 256 << 10;
/// Bytes of all heads of a frame. A word of a head costs twenty times its length once it is cut.
pub const HEADS: usize = 1 << 20;
/// Bytes of the connection's own standard error in one frame: commands write into files, so this is a login script, or
/// the shell's last words.
pub const ERRORS: usize = 4 << 20;
/// Bytes that lie between the reader of a connection and the frame that takes them in.
pub const BACKLOG: usize = 2 << 20;
/// Bytes of the facts' answer: a host with a thousand mounts and network devices says half a MB.
pub const FACTS: usize = 2 << 20;
/// Bytes of noise kept to be shown.
pub const SHOWN: usize = 4096;
/// Bytes per second below which a host that answers counts as one that does not.
pub const SLOWEST: usize = 4096;

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} bytes"),
        10_000..0x10_0000 => format!("{} kB", count >> 10),
        _ => format!("{} MB", count >> 20),
    }
}

/// What a host said too much of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// One answer, by its announcement.
    #[error("it announced an answer of {0} bytes; at most {most} are taken", most = bytes(FRAME as u64))]
    Record(String),
    /// All answers to a frame.
    #[error("it sent more than {} in one answer", bytes(FRAME as u64))]
    Frame,
    /// Heads of records.
    #[error("the heads of its answers are longer than {}", bytes(HEADS as u64))]
    Heads,
    /// Standard error.
    #[error("it wrote more than {} to standard error", bytes(ERRORS as u64))]
    Errors,
}
