//! What the lab tells while it works. The console decides how to show it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One thing worth telling. `Display` gives the sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabEvent {
    /// Programs that the lab needs are missing on this machine; their packages are being installed.
    InstallingPackages(Vec<String>),
    /// Another process works on the same lab; this one waits.
    WaitingForLock(String),
    /// The base image of this release is not there yet and is being made.
    BuildingBase {
        /// Debian's name of the release, `bookworm`.
        release: String,
        /// Where it will stand.
        path: PathBuf,
    },
    /// The base image was made.
    BaseBuilt(Duration),
    /// A host asks for more CPUs than this machine has.
    CpusCapped {
        /// The host.
        host: String,
        /// What it asks for.
        asked: u32,
        /// What it gets.
        has: u32,
    },
    /// The hosts together may use more RAM than this machine has.
    MemoryExceeds {
        /// Sum of the limits, in bytes.
        asked: u64,
        /// RAM of this machine, in bytes.
        has: u64,
    },
    /// The host runs already and is left alone.
    AlreadyRunning(String),
    /// The limits of a running host were changed in place.
    LimitsChanged(String),
    /// A host is restarted, and why.
    Restarting {
        /// The host.
        host: String,
        /// The reason.
        why: String,
    },
    /// The host is starting.
    Booting(String),
    /// SSH answers on the host.
    Ready {
        /// The host.
        host: String,
        /// Since its start.
        after: Duration,
    },
    /// The host and all that belonged to it are gone.
    Removed(String),
    /// Something else worth knowing: what an earlier run left behind, a value that was kept.
    Note(String),
}

impl fmt::Display for LabEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstallingPackages(names) => write!(f, "installing {} on this machine", names.join(", ")),
            Self::WaitingForLock(what) => write!(f, "{what} is in use by another process, waiting for it"),
            Self::BuildingBase { release, path } => {
                write!(f, "building the {release} base image in {} (about a minute, once)", path.display())
            }
            Self::BaseBuilt(took) => write!(f, "base image built in {:.1}s", took.as_secs_f64()),
            Self::CpusCapped { host, asked, has } => {
                write!(f, "{host} asks for {asked} CPUs, this machine has {has}")
            }
            Self::MemoryExceeds { asked, has } => write!(
                f,
                "the hosts may use {:.1} GB together, this machine has {:.1} GB: fine as long as they do not fill it",
                gib(*asked),
                gib(*has)
            ),
            Self::AlreadyRunning(host) => write!(f, "{host} runs already"),
            Self::LimitsChanged(host) => write!(f, "{host}: new size, changed while it runs"),
            Self::Restarting { host, why } => write!(f, "{host}: restarting, {why}"),
            Self::Booting(host) => write!(f, "{host}: booting"),
            Self::Ready { host, after } => write!(f, "{host}: SSH answers after {:.1}s", after.as_secs_f64()),
            Self::Removed(host) => write!(f, "{host}: removed"),
            Self::Note(text) => f.write_str(text),
        }
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1u32 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_person_asks() {
        let capped = LabEvent::CpusCapped { host: "pg-primary".into(), asked: 4, has: 2 };
        assert_eq!(capped.to_string(), "pg-primary asks for 4 CPUs, this machine has 2");
        let exceeds = LabEvent::MemoryExceeds { asked: 32 << 30, has: 24 << 30 };
        assert!(
            exceeds.to_string().starts_with("the hosts may use 32.0 GB together, this machine has 24.0 GB")
        );
    }
}
