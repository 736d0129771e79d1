//! What is mounted where, and taking it down again.

use super::LabResult;
use super::command::{QUICK, run, try_run};
use crate::diag::Diagnostic;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The part of the file system that is mounted, `/` for all of it.
    pub root: String,
    pub point: PathBuf,
    pub kind: String,
    /// Options of the file system (for cgroups: its controllers).
    pub options: Vec<String>,
}

/// All mounts, in the order they were made.
pub(super) fn all() -> Vec<Mount> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Whether something is mounted at exactly this path.
pub(super) fn is_mounted(point: &Path) -> bool {
    all().iter().any(|mount| mount.point == point)
}

/// Unmounts everything at or below `dir`, innermost first, and says what would not go.
pub(super) fn unmount_below(dir: &Path) -> LabResult<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left: Vec<Mount> = all().into_iter().filter(|mount| mount.point.starts_with(dir)).collect();
        let Some(last) = left.last() else { return Ok(()) };
        let point = last.point.to_string_lossy().into_owned();
        let finished = try_run(QUICK, "umount", &["-d", &point], b"")?;
        if finished.ok() {
            continue;
        }
        if Instant::now() > deadline {
            return Err(vec![
                Diagnostic::error("lab-busy", format!("`{point}` cannot be unmounted"))
                    .note(finished.stderr.trim().to_owned())
                    .hint(format!("see what holds it with `fuser -vm {point}`, end that, and try again")),
            ]);
        }
        // The kernel lets go of a killed host's files a moment after its last process is gone.
        thread::sleep(Duration::from_millis(50));
    }
}

/// Mounts, with the arguments of `mount`.
pub(super) fn mount(args: &[&str]) -> LabResult<()> {
    run(QUICK, "mount", args).map(drop)
}

pub(super) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let options = right.nth(1).unwrap_or("").split(',').map(str::to_owned).collect();
    let root = unescape(root).to_string_lossy().into_owned();
    Some(Mount { root, point: unescape(point), kind, options })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\')
            .then(|| text.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mountinfo() {
        let text = "34 27 0:31 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            35 27 7:0 /sub /var/lib/my\\040lab/disk rw - ext4 /dev/loop0 rw,discard\nrubbish\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].kind.as_str(), mounts[0].root.as_str()), ("cgroup", "/"));
        assert_eq!(mounts[0].options, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[1].point, Path::new("/var/lib/my lab/disk"));
        assert!(all().iter().any(|mount| mount.point == Path::new("/")));
    }
}
