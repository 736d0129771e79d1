//! Why a host could not be reached, entered, or kept.

use super::known_hosts::HostKeyError;
use crate::shell::cause_of;

/// A failure of the connection itself; a command that fails is no such thing.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection to the address.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// Host and port as they were tried.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The connection was ended before anybody was asked who we are: a server that is busy, or that has had enough of us.
    #[error("{address} ended the connection before the login: {why}")]
    Dropped {
        /// Host and port as they were tried.
        address: String,
        /// What is known of it.
        why: String,
    },
    /// The host does not let us in.
    #[error("{address} refused user `{user}` (tried: {}; it accepts: {})", list(.tried), list(.accepted))]
    Auth {
        /// Host and port.
        address: String,
        /// Login name.
        user: String,
        /// What was offered, in order.
        tried: Vec<String>,
        /// The methods the host would take.
        accepted: Vec<String>,
    },
    /// The host's key is not the one it should be.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The account did not become another.
    #[error("cannot become `{user}` by `{method}`: {}", why(.said))]
    Become {
        /// `sudo`, `su` or `doas`.
        method: String,
        /// The account wanted.
        user: String,
        /// What the tool said, without secrets.
        said: String,
        /// A password was given.
        given: bool,
    },
    /// Something took too long.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// The connection ended in the middle. What ran then may or may not have been completed.
    #[error("the connection was lost: {why}")]
    Lost {
        /// What is known of it.
        why: String,
    },
    /// No usable shell answered.
    #[error("no usable shell: {why}")]
    Shell {
        /// What came instead.
        why: String,
    },
    /// What answers there does not keep to what was agreed on: it says too much, or out of turn.
    #[error("the host does not answer as a shell of ours would: {why}")]
    Protocol {
        /// What it did.
        why: String,
    },
    /// What the user configured cannot be used.
    #[error("{why}")]
    Config {
        /// What is wrong.
        why: String,
    },
}

impl TransportError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Dropped { .. } => {
                "it was tried again for a while: too many logins at a time (`MaxStartups` of its sshd), a firewall that bans \
                 this machine, or no SSH server"
            }
            Self::Unreachable { .. } => "check `ansible_host` and `ansible_port`, and that sshd runs there",
            Self::Auth { .. } => {
                "give a key by `--private-key` or `ansible_ssh_private_key_file`, or load it into ssh-agent"
            }
            Self::HostKey(error) => return Some(error.hint()),
            Self::Become { said, .. } if said.contains("not found") => {
                "install sudo on the host, or set `ansible_become_method: su`"
            }
            Self::Become { said, .. } if said.contains("sudoers") => "allow the user in sudoers on the host",
            Self::Become { said, .. } if cause_of(said).is_some() => {
                return cause_of(said).map(|cause| cause.hint.to_owned());
            }
            // How much the tool says of it depends on how long it is listened to.
            Self::Become { given: true, .. } => {
                "the password was refused: look at `ansible_become_password`, or what `-K` was answered"
            }
            Self::Become { .. } => "set `ansible_become_password` (in a vault), or allow the user in sudoers",
            Self::Timeout { .. } => "raise `ansible_timeout`, or look why the host is slow",
            Self::Lost { .. } => "run again: what was done is recognised and not done twice",
            Self::Shell { why } if why.contains("`dd`") => "install `coreutils` (or `busybox`) on the host",
            Self::Shell { .. } => "the login user needs a shell such as /bin/bash or /bin/sh",
            Self::Protocol { .. } => {
                "nothing of it was taken in; look at the host's login scripts, and at who it is that answers there"
            }
            Self::Config { .. } => return None,
        };
        Some(hint.to_owned())
    }

    pub(super) fn lost(why: impl std::fmt::Display) -> Self {
        Self::Lost { why: why.to_string() }
    }

    pub(super) fn protocol(why: impl std::fmt::Display) -> Self {
        Self::Protocol { why: why.to_string() }
    }

    pub(super) fn config(why: impl std::fmt::Display) -> Self {
        Self::Config { why: why.to_string() }
    }
}

impl From<crate::shell::limits::Excess> for TransportError {
    fn from(excess: crate::shell::limits::Excess) -> Self {
        Self::protocol(excess)
    }
}

/// The cause, where what a tool says of it is known, and its words.
fn why(said: &str) -> String {
    match cause_of(said) {
        Some(cause) => format!("{} ({said})", cause.what),
        None => said.to_owned(),
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
