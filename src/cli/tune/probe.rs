//! Measures the data disk: for a second, random reads of 8 kB past the page cache. Nothing is written.
//!
//! The device itself is read where that is allowed, since a short file may lie in the disk's own cache; otherwise the
//! largest files of the same filesystem are.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a measurement came to nothing.
pub const TOO_FEW: &str =
    "the disk could not be measured: too few reads got through; `--disk` says what it is";

const READ: usize = 8192;
const LONGEST: Duration = Duration::from_secs(1);
const MOST_READS: usize = 2000;
/// The least size of a file that is read in the place of the device.
const LEAST_FILE: u64 = 8 << 20;

/// Microseconds of each read on this machine. `device` holds the filesystem of the folder `data`.
///
/// # Errors
/// Nothing can be read past the page cache.
pub fn here(device: &std::ffi::OsStr, data: &Path) -> Result<Vec<f64>, String> {
    let own = std::env::current_exe().ok();
    let candidates = std::iter::once(PathBuf::from(device)).chain(own.filter(|own| same_disk(own, data)));
    for path in candidates {
        if let Ok(reads) = reads_of(&path) {
            return Ok(reads);
        }
    }
    let device = device.to_string_lossy();
    Err(format!("`{device}` cannot be read past the page cache: measure as root, or say `--disk`"))
}

fn same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(one).is_some() && device(one) == device(other)
}

fn reads_of(path: &Path) -> std::io::Result<Vec<f64>> {
    let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or(0);
    let file: File = OpenOptions::new().read(true).custom_flags(flag).open(path)?;
    let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
    if size < LEAST_FILE {
        return Err(std::io::Error::other("too small"));
    }
    let blocks = size / READ as u64;
    // A buffer aligned for every device: direct reads take no other.
    let mut space = vec![0_u8; READ * 2];
    let start = space.as_ptr().align_offset(READ / 2).min(READ);
    let mut reads = Vec::new();
    let started = Instant::now();
    // Any spread will do: a linear congruence seeded by the clock.
    let mut state = u64::from(Instant::now().elapsed().subsec_nanos()) ^ (std::process::id() as u64) << 20;
    while reads.len() < MOST_READS && started.elapsed() < LONGEST {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let block = (state >> 16) % blocks;
        let Some(buffer) = space.get_mut(start..start + READ) else { break };
        let before = Instant::now();
        file.read_exact_at(buffer, block * READ as u64)?;
        reads.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok(reads)
}

/// The same on a host that has nothing but sh, awk and dd, whose own clock counts.
pub const SCRIPT: &str = r#"LC_ALL=C; export LC_ALL
d=/var/lib/postgresql; [ -d "$d" ] || d=/var/lib
dev=$(df -P "$d" | awk 'NR == 2 { print $1 }'); dev=$(readlink -f "$dev" 2>/dev/null || printf '%s' "$dev")
set --
if [ -b "$dev" ] && dd if="$dev" of=/dev/null bs=8192 count=1 iflag=direct 2>/dev/null; then
 s=$(cat "/sys/class/block/${dev##*/}/size" 2>/dev/null || echo 0)
 [ "$s" -gt 16384 ] && set -- "$dev" && n=$((s / 16))
fi
if [ $# = 0 ]; then
 n=1024
 for f in $(find "$d" /usr/lib -xdev -type f -size +16384 2>/dev/null | head -n 24); do
  dd if="$f" of=/dev/null bs=8192 count=1 iflag=direct 2>/dev/null && set -- "$@" "$f"
 done
fi
[ $# -gt 0 ] || exit 0
[ "$n" -lt 1073741824 ] || n=1073741824
awk -v n="$n" -v f=$# 'BEGIN { srand(); for (i = 0; i < 2000; i++) printf "%d %d\n", 1 + int(rand() * f), int(rand() * n) }' |
 timeout 1 sh -c 'while read -r f b; do eval "p=\${$f}"; dd if="$p" of=/dev/null bs=8192 count=1 skip="$b" iflag=direct 2>&1; done' sh "$@"
exit 0
"#;

/// Reads what [`SCRIPT`] printed: `8192 bytes (8.2 kB, 8.0 KiB) copied, 4.1e-05 s, 200 MB/s`.
pub fn read(text: &str) -> Vec<f64> {
    let seconds = text.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix("8192 bytes")?.split_once("copied, ")?;
        rest.split(' ').next()?.parse::<f64>().ok()
    });
    seconds.map(|seconds| seconds * 1e6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dd_says_becomes_microseconds() {
        let said = "1+0 records in\n1+0 records out\n8192 bytes (8.2 kB, 8.0 KiB) copied, 4.1e-05 s, 200 MB/s\n\
                    8192 bytes (8.2 kB, 8.0 KiB) copied, 0.00123 s, 6.7 MB/s\n0 bytes copied, 0.1 s, 0.0 kB/s\n";
        let reads = read(said);
        assert_eq!(reads.len(), 2);
        assert!((reads[0] - 41.0).abs() < 0.01 && (reads[1] - 1230.0).abs() < 0.01, "{reads:?}");
    }
}
