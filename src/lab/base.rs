//! The file system that all hosts start from: a small Debian of this machine's release, made once and kept.

use super::command::{QUICK, run, tail, try_run};
use super::lxcfs::architecture;
use super::mounts::unmount_below;
use super::record::{Lock, io_failure, make_dir, write_atomic};
use super::sources::{self, Source};
use super::{LabEvent, LabResult, OnEvent};
use crate::diag::Diagnostic;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bases and fetched packages, shared by all labs.
const CACHE: &str = "/var/cache/ishprov-lab";
/// What a plain server has; no Python, since we need none.
const PACKAGES: &str =
    "systemd,systemd-sysv,openssh-server,iproute2,sudo,dbus,netbase,ca-certificates,procps";
/// Raised when the preparation below changes, so that old bases are not used any more.
const FORMAT: u32 = 1;

/// Shows the host its own limits. A unit rather than a mount from outside, so that it holds after a reboot inside.
const PROC_UNIT: &str = "\
[Unit]
Description=This host's own limits in /proc
DefaultDependencies=no
Before=sysinit.target systemd-networkd.service
ConditionPathExists=/var/lib/lxcfs/proc/meminfo

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for f in meminfo cpuinfo stat swaps; do mount --bind /var/lib/lxcfs/proc/$f /proc/$f; done; \\
  if [ -e /var/lib/lxcfs/sys/devices/system/cpu/online ]; then \\
    mount --bind /var/lib/lxcfs/sys/devices/system/cpu /sys/devices/system/cpu; fi'

[Install]
WantedBy=sysinit.target
";

/// Everything after debootstrap, run inside the new base. Unattended package jobs would fight the user's own runs for
/// dpkg's lock at moments nobody chose.
const PREPARE: &str = r#"
set -e
apt-get -q update
apt-cache gencaches >/dev/null
systemctl -q enable systemd-networkd.service ishprov-lab-proc.service
systemctl -q disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer
systemctl -q mask console-getty.service getty@tty1.service systemd-networkd-wait-online.service
rm -f /etc/ssh/ssh_host_* /var/log/bootstrap.log /var/log/dpkg.log /var/log/apt/*
rm -f /var/cache/apt/archives/*.deb /etc/resolv.conf
: > /etc/machine-id
"#;

/// Where fetched packages are kept.
pub(super) fn package_cache() -> PathBuf {
    cache().join("apt-archives")
}

/// Where bases and packages are kept: `ISHPROV_LAB_CACHE`, or [`CACHE`].
fn cache() -> PathBuf {
    std::env::var_os("ISHPROV_LAB_CACHE")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from(CACHE), PathBuf::from)
}

/// The base for this machine's release, made first if it is not there.
pub(super) fn ensure(on_event: OnEvent<'_>) -> LabResult<PathBuf> {
    let release = release(&fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    let sources = sources::read(&release)?;
    let architecture = architecture()?;
    let mut hasher = DefaultHasher::new();
    (FORMAT, PACKAGES, PROC_UNIT, PREPARE, &architecture, &sources, apt_settings()?).hash(&mut hasher);
    let cache = cache();
    let base = cache.join(format!("base-{release}-{:016x}", hasher.finish()));
    if base.is_dir() {
        return Ok(base);
    }
    make_dir(&cache, 0o755)?;
    let _lock = Lock::acquire(&cache.join("base.lock"), "the base image", on_event)?;
    if base.is_dir() {
        return Ok(base);
    }
    remove_leftovers(&cache)?;
    let begun = Instant::now();
    on_event(LabEvent::BuildingBase { release: release.clone(), path: base.clone() });
    let temporary = cache.join(format!("tmp-base-{}", std::process::id()));
    build(&temporary, &release, &sources)?;
    fs::rename(&temporary, &base).map_err(|error| io_failure("rename to", &base, &error))?;
    on_event(LabEvent::BaseBuilt(begun.elapsed()));
    Ok(base)
}

fn build(dir: &Path, release: &str, sources: &[Source]) -> LabResult<()> {
    let Some(archive) = sources::archive(sources, release) else {
        return Err(vec![Diagnostic::error("lab-no-apt-source", format!("no apt source holds `{release}`"))]);
    };
    let cache = package_cache();
    make_dir(&cache, 0o755)?;
    let (cache, target) = (format!("--cache-dir={}", cache.display()), dir.display().to_string());
    let include = format!("--include={PACKAGES}");
    let keyring = archive.keyrings().into_iter().next().map(|path| format!("--keyring={}", path.display()));
    let mut args = vec!["--variant=minbase", &include, &cache];
    args.extend(keyring.as_deref());
    args.extend([release, &target, &archive.uri]);
    let finished = try_run(Duration::from_secs(1200), "debootstrap", &args, b"")?;
    if !finished.ok() {
        return Err(vec![
            Diagnostic::error("lab-base", format!("the {release} base image could not be made"))
                .note(format!("command: debootstrap {}", args.join(" ")))
                .note(tail(&format!("{}\n{}", finished.stdout, finished.stderr), 15))
                .hint("does `apt-get update` work on this machine? The base comes from the same sources"),
        ]);
    }
    configure(dir, sources)?;
    run(Duration::from_secs(300), "chroot", &[&target, "/bin/sh", "-c", PREPARE]).map(drop)
}

/// Files of the base that do not depend on the host.
fn configure(dir: &Path, sources: &[Source]) -> LabResult<()> {
    let put = |path: &str, content: &str| {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            make_dir(parent, 0o755)?;
        }
        write_atomic(&path, 0o644, content.as_bytes())
    };
    let stanzas: Vec<String> = sources.iter().map(Source::stanza).collect();
    put("etc/apt/sources.list.d/debian.sources", &stanzas.join("\n"))?;
    let old = dir.join("etc/apt/sources.list");
    if old.exists() {
        fs::remove_file(&old).map_err(|error| io_failure("remove", &old, &error))?;
    }
    for keyring in sources.iter().flat_map(Source::keyrings) {
        copy_into(&keyring, dir)?;
    }
    for entry in fs::read_dir("/usr/local/share/ca-certificates").into_iter().flatten().flatten() {
        // An archive behind a company's own certificate authority.
        copy_into(&entry.path(), dir)?;
    }
    put("etc/apt/apt.conf.d/90ishprov-lab", &apt_settings()?)?;
    put(
        "etc/dpkg/dpkg.cfg.d/ishprov-lab",
        "# A lab may lose its disk with the machine's power: unpacking need not wait for it.\nforce-unsafe-io\n",
    )?;
    put("etc/systemd/system/ishprov-lab-proc.service", PROC_UNIT)?;
    put("etc/default/locale", "LANG=C.UTF-8\n")?;
    put("etc/hostname", "localhost\n")?;
    put("etc/resolv.conf", &resolv_conf())
}

/// Settings of this machine's apt that decide whether its sources can be reached, and our own.
fn apt_settings() -> LabResult<String> {
    let dump = run(QUICK, "apt-config", &["dump"])?;
    Ok(format!(
        "{}APT::Keep-Downloaded-Packages \"true\";\nAcquire::Languages \"none\";\n",
        reach_settings(&dump)
    ))
}

fn reach_settings(dump: &str) -> String {
    let wanted = [
        "Acquire::Check-Valid-Until ",
        "Acquire::Check-Date ",
        "Acquire::http::Proxy ",
        "Acquire::https::Proxy ",
    ];
    let lines = dump
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)) && !line.ends_with("\"\";"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Name servers of this machine that a host can reach: one that listens on this machine's loopback is none.
pub(super) fn resolv_conf() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    if reachable_servers(&own) > 0 { own } else { read("/run/systemd/resolve/resolv.conf") }
}

fn reachable_servers(resolv_conf: &str) -> usize {
    let servers = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter(|server| !server.trim().starts_with("127.") && server.trim() != "::1").count()
}

/// This machine's Debian release.
fn release(os_release: &str) -> LabResult<String> {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or("").trim_matches('"').to_owned()
    };
    let (id, codename) = (field("ID"), field("VERSION_CODENAME"));
    if id == "debian" && !codename.is_empty() {
        return Ok(codename);
    }
    let what = if id.is_empty() { "unknown".to_owned() } else { format!("`{id}` {}", field("VERSION_ID")) };
    Err(vec![
        Diagnostic::error("lab-not-debian", format!("the embedded lab makes its hosts from this machine's own Debian release, but this system is {what}"))
            .hint("use the vagrant lab here"),
    ])
}

/// Removes half-made bases of runs that were killed, unless something still works in them.
fn remove_leftovers(cache: &Path) -> LabResult<()> {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with("tmp-base-") || in_use(&path) {
            continue;
        }
        // debootstrap leaves /proc and /sys mounted in there.
        unmount_below(&path)?;
        fs::remove_dir_all(&path).map_err(|error| io_failure("remove", &path, &error))?;
    }
    Ok(())
}

/// Whether a process has its root or working folder below `dir` or names it.
fn in_use(dir: &Path) -> bool {
    let name = dir.display().to_string();
    if !super::machine::find_by(|argv| argv.iter().any(|arg| arg.contains(&name))).is_empty() {
        return true;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .flat_map(|process| ["root", "cwd"].map(|link| process.path().join(link)))
        .any(|link| fs::read_link(link).is_ok_and(|target| target.starts_with(dir)))
}

/// Copies a file to the same path below `dir`.
fn copy_into(file: &Path, dir: &Path) -> LabResult<()> {
    let Ok(content) = fs::read(file) else { return Ok(()) };
    let target = dir.join(file.strip_prefix("/").unwrap_or(file));
    if let Some(parent) = target.parent() {
        make_dir(parent, 0o755)?;
    }
    write_atomic(&target, 0o644, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_is_its_own_base() {
        assert_eq!(release("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        let refusal = release("ID=fedora\nVERSION_ID=\"42\"\n").unwrap_err();
        assert!(refusal[0].message.ends_with("but this system is `fedora` 42"), "{refusal:?}");
    }

    #[test]
    fn settings_that_reach_the_archive_are_taken_over() {
        let dump = "APT \"\";\nAcquire::Check-Date \"false\";\nAcquire::http::Proxy \"\";\n\
            Acquire::https::Proxy \"http://proxy.example:3128\";\nDir::Cache::pkgcache \"\";\n";
        assert_eq!(
            reach_settings(dump),
            "Acquire::Check-Date \"false\";\nAcquire::https::Proxy \"http://proxy.example:3128\";\n"
        );
    }

    #[test]
    fn a_stub_resolver_is_no_name_server_for_hosts() {
        assert_eq!(reachable_servers("# x\nnameserver 127.0.0.53\noptions edns0\n"), 0);
        assert_eq!(reachable_servers("nameserver 127.0.0.1\nnameserver 192.0.2.53\n"), 1);
    }
}
