//! One running host: found by what it is, never by a number that was written down.

use super::command::{path, tail};
use super::record::io_failure;
use super::{LabHost, LabResult};
use crate::diag::Diagnostic;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug)]
pub(super) struct Process {
    pub pid: i32,
    /// In the kernel's ticks since boot.
    started: u64,
    handle: OwnedFd,
}

impl Process {
    /// Sends a signal; a process that is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Waits until the process ended. False: it did not within the limit.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while started_at(self.pid) == Some(self.started) {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// All processes whose command line fits.
pub(super) fn find_by(fits: impl Fn(&[String]) -> bool) -> Vec<Process> {
    let mut found = Vec::new();
    for pid in all_pids() {
        if !fits(&argv(pid)) {
            continue;
        }
        let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            continue;
        };
        // The number may have passed on between reading and opening.
        if let Some(started) = started_at(pid).filter(|_| fits(&argv(pid))) {
            found.push(Process { pid, started, handle });
        }
    }
    found
}

/// The container process of the host whose file system is `root`.
pub(super) fn find(root: &Path) -> Option<Process> {
    let directory = directory_argument(root);
    find_by(|argv| is_nspawn(argv) && argv.contains(&directory)).into_iter().next()
}

/// Whether any container on this machine uses the folder.
pub(super) fn any_uses(folder: &str) -> bool {
    !find_by(|argv| is_nspawn(argv) && argv.iter().any(|arg| arg.ends_with(&format!("={folder}")))).is_empty()
}

/// The host's own process 1, as this machine numbers it.
pub(super) fn leader(container: i32) -> Option<i32> {
    all_pids().into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        field("PPid:") == container.to_string() && field("NSpid:").split_whitespace().last() == Some("1")
    })
}

/// What a start needs.
pub(super) struct Start<'a> {
    pub host: &'a LabHost,
    pub root: &'a Path,
    /// The lab's number, which is also its bridge.
    pub id: &'a str,
    pub archives: &'a Path,
    pub console: &'a Path,
    /// Files to write oneself into, for the host.
    pub joins: &'a [PathBuf],
    /// The same, for what stays outside the host.
    pub top: &'a [PathBuf],
}

/// Runs the container again when the host inside reboots: status 133 says so. It leaves the caller's cgroup, which may
/// be taken down with the caller.
const KEEPER: &str = r#"
while [ "$1" != -- ]; do echo $$ > "$1"; shift; done 2>/dev/null
shift; become=$1; shift
while :; do
  sh -c "$become" ishprov-host-start "$@"; status=$?
  [ "$status" = 133 ] || exit "$status"
done"#;
const KEEPER_NAME: &str = "ishprov-host-keeper";
/// The name that [`BECOME_HOST`] runs under until it is the container.
const HOST_NAME: &str = "ishprov-host-start";
/// Joining the cgroups first and becoming the container then means that nothing of it ever runs outside its limits.
const BECOME_HOST: &str = r#"
while [ "$1" != -- ]; do echo $$ > "$1" || exit 97; shift; done
shift; exec systemd-nspawn "$@""#;

/// A host that was told to start. It lives on when this process ends.
#[derive(Debug)]
pub(super) struct Started {
    begun: Instant,
    ended: Receiver<ExitStatus>,
}

/// Starts the container in its own session and cgroups.
pub(super) fn start(start: &Start<'_>) -> LabResult<Started> {
    let open = || {
        let mut options = File::options();
        options
            .create(true)
            .append(true)
            .open(start.console)
            .map_err(|error| io_failure("write", start.console, &error))
    };
    let child = Command::new("setsid")
        .args(["sh", "-c", KEEPER])
        .arg(KEEPER_NAME)
        .args(start.top)
        .args(["--", BECOME_HOST])
        .args(start.joins)
        .arg("--")
        .args(["--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no", "--resolv-conf=off"])
        .args(["--timezone=off", "--link-journal=no"])
        .arg(directory_argument(start.root))
        .arg(format!("--machine={}-{}", start.id, start.host.name))
        .arg(format!("--hostname={}", start.host.name))
        .arg(format!("--network-bridge={}", start.id))
        .arg(format!("--bind={}", super::lxcfs::MOUNT))
        .arg(format!("--bind={}:/var/cache/apt/archives", start.archives.display()))
        // A real host keeps /tmp on its disk.
        .env("SYSTEMD_NSPAWN_TMPFS_TMP", "0")
        .env("PATH", path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn();
    let mut child = child.map_err(|error| {
        vec![Diagnostic::error("lab-boot", format!("cannot start the host: {error}")).host(&start.host.name)]
    })?;
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            // Nobody listens any more once the host answered.
            let _ = sender.send(status);
        }
    });
    Ok(Started { begun: Instant::now(), ended })
}

impl Started {
    /// Waits until SSH answers.
    pub fn wait_ready(&self, host: &LabHost, console: &Path, limit: Duration) -> LabResult<Duration> {
        loop {
            if greets(host.address, Duration::from_millis(500)) {
                return Ok(self.begun.elapsed());
            }
            let ended = self.ended.try_recv().ok();
            if ended.is_none() && self.begun.elapsed() < limit {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let why = match ended {
                Some(status) => format!("the container ended ({status})"),
                None => {
                    format!("SSH did not answer on {}:22 within {} seconds", host.address, limit.as_secs())
                }
            };
            let said = tail(&fs::read_to_string(console).unwrap_or_default(), 15);
            return Err(vec![
                Diagnostic::error("lab-boot", format!("`{}` did not start: {why}", host.name))
                    .host(&host.name)
                    .note(format!("end of {}:\n{said}", console.display())),
            ]);
        }
    }
}

/// Whether an SSH server says hello.
pub(super) fn greets(address: Ipv4Addr, limit: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::from((address, 22)), limit) else {
        return false;
    };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(limit.max(Duration::from_secs(2)))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}

/// Asks the host to shut down in order. False: it still runs after `limit`.
pub(super) fn ask_to_stop(root: &Path, limit: Duration) -> bool {
    find(root).is_none_or(|container| {
        container.signal(Signal::TERM);
        container.wait_gone(limit)
    })
}

/// Ends process 1 of a host, which takes everything inside along in one stroke.
pub(super) fn kill_leader(container: i32) {
    let leader =
        leader(container).and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(leader) = leader {
        // Gone already is what we want.
        let _ = pidfd_send_signal(&leader, Signal::KILL);
    }
}

/// Removes the folders that a container leaves in /run when it is killed.
pub(super) fn forget(id: &str, host: &str) {
    for kind in ["propagate", "unix-export"] {
        let dir = Path::new("/run/systemd/nspawn").join(kind).join(format!("{id}-{host}"));
        // Empty or not there.
        let _ = fs::remove_dir(dir);
    }
}

/// Ends a host as a power cut would. `processes` names what is in its cgroup. True when all of it is gone.
pub(super) fn kill(root: &Path, processes: impl Fn() -> Vec<i32>) -> bool {
    let directory = directory_argument(root);
    // Also what is on its way to become the container, in a run that was killed a moment ago.
    let keeper = |argv: &[String]| {
        argv.contains(&directory) && argv.iter().any(|arg| arg == KEEPER_NAME || arg == HOST_NAME)
    };
    for keeper in find_by(keeper) {
        keeper.signal(Signal::KILL);
        keeper.wait_gone(Duration::from_secs(5));
    }
    if let Some(container) = find(root) {
        // The container process itself would first ask.
        kill_leader(container.pid);
        container.signal(Signal::KILL);
        container.wait_gone(Duration::from_secs(10));
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = processes();
        if left.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        for pid in left {
            if let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
                && processes().contains(&pid)
            {
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn directory_argument(root: &Path) -> String {
    format!("--directory={}", root.display())
}

fn is_nspawn(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| program.rsplit('/').next() == Some("systemd-nspawn"))
}

fn argv(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// When a process started; `None` when it is gone or only waits to be reaped.
fn started_at(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    fields.nth(18)?.parse().ok().filter(|_| state != "Z" && state != "X")
}

fn all_pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_words_signalled_and_waited_for() {
        let mut child = Command::new("sleep").arg("31.4159").spawn().unwrap();
        let fits = |argv: &[String]| argv == ["sleep", "31.4159"];
        // A program that is only just starting shows no words for an instant.
        let found = (0..100)
            .map(|_| {
                thread::sleep(Duration::from_millis(10));
                find_by(fits)
            })
            .find(|found| !found.is_empty())
            .unwrap();
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id() as i32]);
        assert!(!found[0].wait_gone(Duration::from_millis(20)));
        found[0].signal(Signal::KILL);
        assert!(found[0].wait_gone(Duration::from_secs(5)));
        child.wait().unwrap();
        assert!(find_by(fits).is_empty());
    }

    #[test]
    fn a_folder_in_another_programs_words_is_not_a_host() {
        let root = Path::new("/tmp/ishprov-no-such-root");
        let mut child =
            Command::new("sh").args(["-c", "sleep 5", &directory_argument(root)]).spawn().unwrap();
        assert!(find(root).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
