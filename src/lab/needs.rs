//! What this machine must have before it can hold a lab.

use super::command::{path, run, try_run};
use super::{LabEvent, LabResult, OnEvent};
use crate::diag::Diagnostic;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs the lab calls, and the Debian package of each.
const PROGRAMS: [(&str, &str); 9] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("lxcfs", "lxcfs"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ssh-keygen", "openssh-client"),
    ("mount", "mount"),
    ("setsid", "util-linux"),
];

/// Refuses to start without the rights that every step needs.
pub(super) fn require_root() -> LabResult<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(vec![
        Diagnostic::error(
            "lab-needs-root",
            "the embedded lab makes bridges, mounts and containers, which takes root",
        )
        .hint("run the same command with `sudo`, or use the vagrant lab"),
    ])
}

/// Installs what is missing, after saying so.
pub(super) fn install_missing(on_event: OnEvent<'_>) -> LabResult<()> {
    let missing = missing_packages(&path());
    if missing.is_empty() {
        return Ok(());
    }
    if which("apt-get", &path()).is_none() {
        return Err(vec![
            Diagnostic::error(
                "lab-missing-programs",
                format!("the embedded lab needs {} on this machine", missing.join(", ")),
            )
            .hint("install them with this system's package manager, or use the vagrant lab"),
        ]);
    }
    on_event(LabEvent::InstallingPackages(missing.iter().map(|name| (*name).to_owned()).collect()));
    let limit = Duration::from_secs(600);
    let mut install = vec!["-o", "DPkg::Lock::Timeout=300", "install", "-y", "-q", "--no-install-recommends"];
    install.extend(&missing);
    if !try_run(limit, "apt-get", &install, b"")?.ok() {
        // The usual reason on a fresh machine: its package lists are empty or old.
        run(limit, "apt-get", &["-o", "DPkg::Lock::Timeout=300", "update", "-q"])?;
        run(limit, "apt-get", &install)?;
    }
    let still = missing_packages(&path());
    if still.is_empty() {
        return Ok(());
    }
    Err(vec![Diagnostic::error(
        "lab-missing-programs",
        format!("{} installed, but its programs are still not found", still.join(", ")),
    )])
}

fn missing_packages(path: &str) -> Vec<&'static str> {
    PROGRAMS
        .iter()
        .filter(|(program, _)| which(program, path).is_none())
        .map(|(_, package)| *package)
        .collect()
}

fn which(program: &str, path: &str) -> Option<PathBuf> {
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_packages_of_programs_that_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(missing_packages(dir.path().to_str().unwrap()).len(), PROGRAMS.len());
        std::fs::write(dir.path().join("nft"), "").unwrap();
        let missing = missing_packages(dir.path().to_str().unwrap());
        assert!(!missing.contains(&"nftables") && missing.contains(&"systemd-container"), "{missing:?}");
    }
}
