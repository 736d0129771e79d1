//! A host's file system: the base below, its own disk above, and the few files that make it this host.

use super::base;
use super::command::{QUICK, run, run_with_input};
use super::mounts::{is_mounted, mount, unmount_below};
use super::record::{io_failure, make_dir, write_atomic};
use super::{LabHost, LabResult};
use crate::diag::Diagnostic;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Size of a host's disk when nobody says: sparse, so it costs only what is written.
const DISK: u64 = 20 << 30;
const DISK_SMALLEST: u64 = 64 << 20;
const HOSTS_BEGIN: &str = "# lab hosts begin";
const HOSTS_END: &str = "# lab hosts end";

/// Makes the three test users, the password of `pwops` comes on standard input.
const TEST_USERS: &str = r#"
set -e
for user in ops pwops nosudo; do
  id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
  install -d -m 0700 -o "$user" -g "$user" "/home/$user/.ssh"
  install -m 0600 -o "$user" -g "$user" /root/.ssh/authorized_keys "/home/$user/.ssh/authorized_keys"
done
printf 'ops ALL=(ALL:ALL) NOPASSWD: ALL\n' > /etc/sudoers.d/ops
printf 'pwops ALL=(ALL:ALL) ALL\n' > /etc/sudoers.d/pwops
chmod 0440 /etc/sudoers.d/ops /etc/sudoers.d/pwops
chpasswd
"#;

/// The folders and files of one host on this machine.
#[derive(Debug, Clone)]
pub(super) struct HostDir {
    dir: PathBuf,
}

impl HostDir {
    pub fn new(lab_dir: &Path, host: &str) -> Self {
        Self { dir: lab_dir.join("hosts").join(host) }
    }

    /// Where the host's file system is mounted.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub fn archives(&self) -> PathBuf {
        self.dir.join("archives")
    }

    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    fn disk(&self) -> PathBuf {
        self.dir.join("disk")
    }

    fn filler(&self) -> PathBuf {
        self.disk().join("filler")
    }

    fn ssh_key(&self) -> PathBuf {
        self.dir.join("ssh_host_ed25519_key")
    }

    /// The host's own SSH key, made at the first call, as its line for known_hosts.
    pub fn known_hosts_line(&self, host: &LabHost) -> LabResult<String> {
        make_dir(&self.dir, 0o700)?;
        let public = new_ssh_key(&self.ssh_key(), &format!("root@{}", host.name))?;
        let words: Vec<&str> = public.split_whitespace().take(2).collect();
        Ok(format!("{},{} {}\n", host.name, host.address, words.join(" ")))
    }

    /// Mounts the host's disk over the base and writes what makes it this host. What is there already is kept: a
    /// host that was stopped comes back with all that was changed on it.
    pub fn prepare(&self, host: &LabHost, base: &Path, setup: &Setup<'_>) -> LabResult<()> {
        make_dir(&self.dir, 0o700)?;
        self.mount_disk(host)?;
        let (upper, work, root) = (self.disk().join("upper"), self.disk().join("work"), self.root());
        for dir in [&upper, &work, &root] {
            make_dir(dir, 0o755)?;
        }
        if !is_mounted(&root) {
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                base.display(),
                upper.display(),
                work.display()
            );
            mount(&["-t", "overlay", "overlay", "-o", &options, &root.to_string_lossy()])?;
        }
        let done = self.disk().join("prepared");
        let now =
            format!("{} {}/24 {} test_users={}\n", host.name, host.address, setup.gateway, setup.test_users);
        if fs::read_to_string(&done).is_ok_and(|before| before == now) {
            return Ok(());
        }
        self.write_identity(host, setup)?;
        write_atomic(&done, 0o600, now.as_bytes())
    }

    fn mount_disk(&self, host: &LabHost) -> LabResult<()> {
        let (disk, image) = (self.disk(), self.dir.join("disk.img"));
        make_dir(&disk, 0o755)?;
        if is_mounted(&disk) {
            return Ok(());
        }
        if !image.exists() {
            let size = host.disk.unwrap_or(DISK);
            if size < DISK_SMALLEST {
                return Err(vec![
                    Diagnostic::error("lab-disk", format!("a disk of {size} bytes is too small for a host"))
                        .host(&host.name)
                        .hint(format!("give it at least {} MB", DISK_SMALLEST >> 20)),
                ]);
            }
            let half_made = self.dir.join("disk.tmp");
            let file = File::create(&half_made).map_err(|error| io_failure("make", &half_made, &error))?;
            file.set_len(size).map_err(|error| io_failure("make", &half_made, &error))?;
            // No journal: it guards against a crash of the machine, after which a lab may as well start anew.
            let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
            let half_made_text = half_made.to_string_lossy();
            run(QUICK, "mkfs.ext4", &[&options[..], &[&half_made_text]].concat())?;
            fs::rename(&half_made, &image).map_err(|error| io_failure("make", &image, &error))?;
        }
        mount(&["-o", "loop,discard,noatime", &image.to_string_lossy(), &disk.to_string_lossy()]).map_err(
            |mut failure| {
                for diagnostic in &mut failure {
                    diagnostic
                        .hints
                        .push("each host's disk is a loop device: /dev/loop-control must exist here".into());
                }
                failure
            },
        )
    }

    fn write_identity(&self, host: &LabHost, setup: &Setup<'_>) -> LabResult<()> {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
        self.put("etc/machine-id", 0o444, &format!("{}\n", id.trim().replace('-', "")))?;
        self.put("etc/hostname", 0o644, &format!("{}\n", host.name))?;
        self.put("etc/resolv.conf", 0o644, &base::resolv_conf())?;
        self.put("etc/systemd/network/10-host0.network", 0o644, &network_file(host.address, setup.gateway))?;
        let key = self.ssh_key();
        for (from, to, mode) in [
            (key.clone(), "etc/ssh/ssh_host_ed25519_key", 0o600),
            (key.with_extension("pub"), "etc/ssh/ssh_host_ed25519_key.pub", 0o644),
        ] {
            let text = fs::read_to_string(&from).map_err(|error| io_failure("read", &from, &error))?;
            self.put(to, mode, &text)?;
        }
        make_dir(&self.root().join("root/.ssh"), 0o700)?;
        self.put("root/.ssh/authorized_keys", 0o600, setup.authorized_key)?;
        if setup.test_users {
            let input = format!("pwops:{}\n", super::TEST_SUDO_PASSWORD);
            let root = self.root().to_string_lossy().into_owned();
            run_with_input(QUICK, "chroot", &[&root, "/bin/sh", "-c", TEST_USERS], input.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the lab's hosts into the host's /etc/hosts, between two marks; the rest stays as it is.
    pub fn write_hosts(&self, host: &LabHost, all: &[LabHost]) -> LabResult<()> {
        let path = self.root().join("etc/hosts");
        let is_file = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
        let before = if is_file { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let after = hosts_file(&before, host, all);
        if before == after { Ok(()) } else { self.put("etc/hosts", 0o644, &after) }
    }

    /// Writes a file of the host from outside. Links in the host point into the host, but would be followed out of it
    /// from here: a path that leads outside is refused.
    fn put(&self, path: &str, mode: u32, content: &str) -> LabResult<()> {
        let root = self.root();
        let target = root.join(path);
        let parent = target.parent().unwrap_or(&root);
        let real = fs::canonicalize(parent).map_err(|error| io_failure("find", parent, &error))?;
        let real_root = fs::canonicalize(&root).map_err(|error| io_failure("find", &root, &error))?;
        if !real.starts_with(&real_root) {
            return Err(vec![Diagnostic::error(
                "lab-escape",
                format!(
                    "`{}` leads out of the host, to `{}`: nothing written",
                    parent.display(),
                    real.display()
                ),
            )]);
        }
        write_atomic(&target, mode, content.as_bytes())
    }

    /// Takes the host's disk space until `leave` bytes are free, by a file that the host cannot see or delete.
    /// Returns how much was taken.
    pub fn fill(&self, leave: u64) -> LabResult<u64> {
        let filler = self.filler();
        let fail = |error: io::Error| io_failure("fill", &filler, &error);
        let file = File::options().create(true).append(true).open(&filler).map_err(fail)?;
        let mut size = file.metadata().map_err(fail)?.len();
        loop {
            let disk = statvfs(self.disk()).map_err(|error| fail(error.into()))?;
            let free = disk.f_bavail * disk.f_frsize;
            // In pieces, because the file system needs a little for its own books as the file grows.
            let piece = (free.saturating_sub(leave) / disk.f_frsize * disk.f_frsize).min(4 << 30);
            if piece == 0 {
                return Ok(size);
            }
            match fallocate(&file, FallocateFlags::empty(), size, piece) {
                Ok(()) => size += piece,
                Err(rustix::io::Errno::NOSPC) => return Ok(file.metadata().map_err(fail)?.len()),
                Err(error) => return Err(fail(error.into())),
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub fn unfill(&self) -> LabResult<()> {
        match fs::remove_file(self.filler()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_failure("remove", &self.filler(), &error))
            }
            _ => Ok(()),
        }
    }

    pub fn is_filled(&self) -> bool {
        self.filler().exists()
    }

    /// Unmounts and deletes all of the host.
    pub fn remove(&self) -> LabResult<()> {
        unmount_below(&self.dir)?;
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_failure("remove", &self.dir, &error))
            }
            _ => Ok(()),
        }
    }
}

/// What all hosts of a lab have in common when they are prepared.
pub(super) struct Setup<'a> {
    pub gateway: Ipv4Addr,
    pub authorized_key: &'a str,
    pub test_users: bool,
}

/// Makes an Ed25519 key pair unless it is there; returns the public half.
pub(super) fn new_ssh_key(path: &Path, comment: &str) -> LabResult<String> {
    let public = path.with_extension("pub");
    if !public.exists() {
        // A private key without its public half is what a crash left.
        let _ = fs::remove_file(path);
        run(
            QUICK,
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", &path.to_string_lossy()],
        )?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|error| io_failure("protect", path, &error))?;
    }
    fs::read_to_string(&public).map_err(|error| io_failure("read", &public, &error))
}

fn network_file(address: Ipv4Addr, gateway: Ipv4Addr) -> String {
    format!(
        "[Match]\nName=host0\n\n[Network]\nAddress={address}/24\nGateway={gateway}\nIPv6AcceptRA=no\n\
         LinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n"
    )
}

fn hosts_file(before: &str, own: &LabHost, all: &[LabHost]) -> String {
    let mut text = match before.split_once(HOSTS_BEGIN) {
        Some((head, rest)) => {
            let behind = rest.split_once(HOSTS_END).map_or("", |(_, behind)| behind.trim_start_matches('\n'));
            format!("{head}{behind}")
        }
        None if before.trim().is_empty() => {
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned()
        }
        None => before.to_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut all: Vec<&LabHost> = all.iter().collect();
    if !all.iter().any(|host| host.name == own.name) {
        all.push(own);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    text.push_str(&format!("{HOSTS_BEGIN}\n"));
    for host in all {
        text.push_str(&format!("{}\t{}\n", host.address, host.name));
    }
    text.push_str(&format!("{HOSTS_END}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, last: u8) -> LabHost {
        LabHost::new(name, Ipv4Addr::new(198, 18, 7, last))
    }

    #[test]
    fn hosts_file_keeps_what_others_wrote() {
        let (a, b) = (host("a", 2), host("b", 3));
        let first = hosts_file("", &a, std::slice::from_ref(&a));
        assert!(first.starts_with("127.0.0.1\tlocalhost\n") && first.contains("198.18.7.2\ta\n"));
        let edited = format!("{first}192.0.2.9\tbackup\n");
        let second = hosts_file(&edited, &a, &[b.clone(), a.clone()]);
        assert!(second.contains("192.0.2.9\tbackup\n") && second.contains("198.18.7.3\tb\n"), "{second}");
        assert_eq!(second.matches("198.18.7.2").count(), 1);
        assert_eq!(hosts_file(&second, &a, &[a.clone(), b]), second, "nothing to do the second time");
    }

    #[test]
    fn a_link_in_the_host_cannot_write_outside() {
        let lab = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let dir = HostDir::new(lab.path(), "a");
        fs::create_dir_all(dir.root()).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.root().join("etc")).unwrap();
        assert_eq!(dir.put("etc/hostname", 0o644, "a").unwrap_err()[0].code, "lab-escape");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
