//! Packages that one host fetched, for all hosts: seeded before a host starts, gathered when one comes or goes.
//!
//! apt locks its archive folder, so hosts cannot share one. Each has its own, filled with hard links.

use super::LabResult;
use super::record::{io_failure, make_dir};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Puts every cached package into a host's archive folder.
pub(super) fn seed(cache: &Path, archives: &Path) -> LabResult<()> {
    make_dir(cache, 0o755)?;
    make_dir(&archives.join("partial"), 0o755)?;
    link_all(cache, archives)
}

/// Takes what a host fetched into the cache.
pub(super) fn gather(archives: &Path, cache: &Path) -> LabResult<()> {
    make_dir(cache, 0o755)?;
    link_all(archives, cache)
}

fn link_all(from: &Path, to: &Path) -> LabResult<()> {
    for deb in packages(from) {
        let Some(name) = deb.file_name() else { continue };
        let target = to.join(name);
        if !target.exists() {
            link(&deb, &target).map_err(|error| io_failure("write", &target, &error))?;
        }
    }
    Ok(())
}

/// Another host's thread may place the same file at the same time: then it is there, which is all we want.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let dir = to.parent().unwrap_or(Path::new("/"));
            let mut copy = tempfile::NamedTempFile::new_in(dir)?;
            io::copy(&mut fs::File::open(from)?, copy.as_file_mut())?;
            copy.persist(to).map(drop).map_err(|error| error.error)
        }
        // apt, or the end of another lab, may take the file away meanwhile.
        Err(error) if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound].contains(&error.kind()) => {
            Ok(())
        }
        result => result,
    }
}

/// Whole packages: apt moves a file here from `partial` only after its digest was right.
fn packages(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let regular = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    regular
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_travel_both_ways_and_nothing_else_does() {
        let top = tempfile::tempdir().unwrap();
        let (cache, host) = (top.path().join("cache"), top.path().join("host"));
        seed(&cache, &host).unwrap();
        assert!(host.join("partial").is_dir());
        fs::write(host.join("jq_1_amd64.deb"), "jq").unwrap();
        fs::write(host.join("lock"), "").unwrap();
        fs::write(host.join("partial/half.deb"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/shadow", host.join("evil.deb")).unwrap();
        gather(&host, &cache).unwrap();
        gather(&host, &cache).unwrap();
        let names: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["jq_1_amd64.deb"]);
        let other = top.path().join("other");
        seed(&cache, &other).unwrap();
        assert_eq!(fs::read_to_string(other.join("jq_1_amd64.deb")).unwrap(), "jq");
    }
}
