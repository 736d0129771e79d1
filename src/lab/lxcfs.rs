//! The daemon that shows hosts their own limits in /proc, and what labs share on this machine.

use super::cgroup::Cgroups;
use super::command::{QUICK, path, run, try_run};
use super::record::{Lock, io_failure, make_dir, write_atomic};
use super::{LabResult, OnEvent, machine, network};
use crate::diag::Diagnostic;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where lxcfs shows its files, here and in every host.
pub(super) const MOUNT: &str = "/var/lib/lxcfs";
const SHARED: &str = "/run/ishprov-lab.json";
const LOCK: &str = "/run/lock/ishprov-lab";

/// What the first lab changed on this machine and the last one changes back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Shared {
    /// Forwarding was off before.
    forwarding_set: bool,
    /// lxcfs was not running before.
    lxcfs_started: bool,
}

/// Guards what labs share: choosing numbers, lxcfs, forwarding.
pub(super) fn machine_lock(on_event: OnEvent<'_>) -> LabResult<Lock> {
    Lock::acquire(Path::new(LOCK), "the lab's setup on this machine", on_event)
}

/// Starts what all labs share. Call under [`machine_lock`].
pub(super) fn ensure_shared(cgroups: &Cgroups) -> LabResult<()> {
    let mut shared = load();
    if !network::enable_forwarding()? {
        shared.forwarding_set = true;
        save(&shared)?;
    }
    if !answers(Path::new(MOUNT)) {
        shared.lxcfs_started = true;
        save(&shared)?;
        start(cgroups)?;
    }
    Ok(())
}

/// Stops what labs share, once none is left, and only what a lab started. Call under [`machine_lock`].
pub(super) fn release_shared() -> LabResult<()> {
    if network::any_left() || machine::any_uses(MOUNT) {
        return Ok(());
    }
    let shared = load();
    if shared.lxcfs_started {
        for process in machine::find_by(is_lxcfs) {
            process.signal(Signal::TERM);
            process.wait_gone(Duration::from_secs(5));
        }
        // When it died by itself its mount is still there.
        try_run(QUICK, "umount", &["-q", "-l", MOUNT], b"")?;
    }
    if shared.forwarding_set {
        network::set_forwarding(false)?;
    }
    // Already gone is as good.
    let _ = fs::remove_file(SHARED);
    Ok(())
}

/// Whether lxcfs answers below `mount`: after it died, the mount is there and every read fails.
pub(super) fn answers(mount: &Path) -> bool {
    fs::read_to_string(mount.join("proc/meminfo")).is_ok_and(|text| text.contains("MemTotal"))
}

fn is_lxcfs(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| program.rsplit('/').next() == Some("lxcfs"))
        && argv.iter().any(|arg| arg == MOUNT)
}

fn start(cgroups: &Cgroups) -> LabResult<()> {
    try_run(QUICK, "umount", &["-q", "-l", MOUNT], b"")?;
    make_dir(Path::new(MOUNT), 0o755)?;
    let log = Path::new("/run/ishprov-lab-lxcfs.log");
    let open = || File::create(log).map_err(|error| io_failure("write", log, &error));
    // It must outlive us and whatever cgroup we are in.
    let script = r#"mount=$1; shift; for file; do echo $$ > "$file"; done 2>/dev/null; exec lxcfs "$mount""#;
    let child = Command::new("setsid")
        .args(["sh", "-c", script, "lxcfs", MOUNT])
        .args(cgroups.top())
        .env("PATH", path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn();
    let mut child = child
        .map_err(|error| vec![Diagnostic::error("lab-lxcfs", format!("cannot start `lxcfs`: {error}"))])?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !answers(Path::new(MOUNT)) {
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() > deadline {
            return Err(vec![
                Diagnostic::error(
                    "lab-lxcfs",
                    "`lxcfs` does not come up: hosts would see this machine's RAM, not theirs",
                )
                .note(fs::read_to_string(log).unwrap_or_default())
                .hint("it needs /dev/fuse; see whether `lxcfs /var/lib/lxcfs` runs by hand"),
            ]);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = fs::remove_file(log);
    thread::spawn(move || child.wait());
    Ok(())
}

fn load() -> Shared {
    // Gone after a restart of the machine, together with all it tells of.
    fs::read_to_string(SHARED).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn save(shared: &Shared) -> LabResult<()> {
    let text = serde_json::to_string(shared)
        .map_err(|error| vec![Diagnostic::error("lab-record-broken", error.to_string())])?;
    write_atomic(Path::new(SHARED), 0o600, text.as_bytes())
}

/// RAM of this machine in bytes, as the kernel shows it.
pub(super) fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib * 1024)
}

/// Release name and architecture, for messages and paths.
pub(super) fn architecture() -> LabResult<String> {
    Ok(run(QUICK, "dpkg", &["--print-architecture"])?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_daemon_from_others() {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert!(is_lxcfs(&argv(&["/usr/bin/lxcfs", MOUNT])));
        assert!(!is_lxcfs(&argv(&["lxcfs", "/elsewhere"])));
        assert!(!is_lxcfs(&argv(&["vi", "lxcfs", MOUNT])));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine_memory().is_some_and(|bytes| bytes > 64 << 20));
    }
}
