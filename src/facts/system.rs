//! Distribution, kernel, names, time, virtualisation.

use super::answer::{Answer, assignments};
use crate::diag::Fault;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Adds what the host says of its software.
pub fn gather(
    answer: &Answer,
    facts: &mut Map<String, Value>,
    ours: &mut Map<String, Value>,
) -> Result<(), Fault> {
    names(answer, facts)?;
    distribution(answer, facts);
    date_time(answer, facts);
    virtualization(answer, facts, ours);
    user(answer, facts);
    let mut put = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    let have = |path: &str| answer.section("have").contains(&path);
    let manager = [
        ("/usr/bin/apt-get", "apt"),
        ("/usr/bin/dnf", "dnf"),
        ("/usr/bin/yum", "yum"),
        ("/usr/bin/zypper", "zypper"),
        ("/usr/bin/pacman", "pacman"),
        ("/sbin/apk", "apk"),
    ];
    let manager = manager.iter().find(|(path, _)| have(path)).map_or("unknown", |(_, name)| name);
    put("pkg_mgr", json!(manager));
    let init = answer.section("init").iter().find_map(|line| line.strip_prefix("comm "));
    let init = if have("/run/systemd/system") { "systemd" } else { init.unwrap_or("unknown") };
    put("service_mgr", json!(init));
    put("selinux", selinux(answer, have("/sys/fs/selinux/enforce")));
    let apparmor = answer.first("/sys/module/apparmor/parameters/enabled") == Some("Y");
    put("apparmor", json!({"status": if apparmor { "enabled" } else { "disabled" }}));
    if let Some(seconds) =
        answer.first("/proc/uptime").and_then(|line| line.split('.').next()?.parse::<u64>().ok())
    {
        put("uptime_seconds", json!(seconds));
    }
    put("cmdline", cmdline(answer.first("/proc/cmdline").unwrap_or_default()));
    put("dns", dns(answer.file("/etc/resolv.conf")));
    put("reboot_required", json!(have("/run/reboot-required")));
    let load: Vec<f64> = answer
        .first("/proc/loadavg")
        .map(|line| line.split_whitespace().take(3).filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_default();
    if let [one, five, fifteen] = load[..] {
        put("loadavg", json!({"1m": one, "5m": five, "15m": fifteen}));
    }
    for (name, file) in [
        ("product_name", "product_name"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ] {
        let value = answer.first(&format!("/sys/class/dmi/id/{file}")).filter(|text| !text.is_empty());
        put(name, json!(value.unwrap_or("NA")));
    }
    let boot = answer.first("/proc/sys/kernel/random/boot_id");
    ours.insert("boot_id".to_owned(), json!(boot));
    Ok(())
}

fn names(answer: &Answer, facts: &mut Map<String, Value>) -> Result<(), Fault> {
    // `uname -snrvm` prints in this order whatever the order of its options; the version holds blanks.
    let line = answer.line("uname").unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let [system, node, release, version @ .., machine] = words.as_slice() else {
        return Err(Fault::task(format!("`uname` on the host answered `{line}`")));
    };
    let fqdn = canonical(answer.file("/etc/hosts"), node);
    let short = node.split('.').next().unwrap_or(node);
    let domain = fqdn.split_once('.').map_or("", |(_, domain)| domain).to_owned();
    for (name, value) in [
        ("system", *system),
        ("nodename", *node),
        ("hostname", short),
        ("fqdn", fqdn.as_str()),
        ("domain", domain.as_str()),
        ("kernel", *release),
        ("kernel_version", version.join(" ").as_str()),
        ("machine", *machine),
        ("architecture", architecture(machine)),
        ("userspace_bits", if machine.contains("64") { "64" } else { "32" }),
    ] {
        facts.insert(name.to_owned(), json!(value));
    }
    Ok(())
}

fn architecture(machine: &str) -> &str {
    if matches!(machine, "i386" | "i486" | "i586" | "i686") { "i386" } else { machine }
}

/// The first name on the line of `/etc/hosts` that has `node`, when it is a full name; as resolvers do.
fn canonical(hosts: &[&str], node: &str) -> String {
    let lines = hosts.iter().map(|line| line.split('#').next().unwrap_or_default());
    let names = lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
    let mut found = names.filter(|names| names.contains(&node)).filter_map(|names| names.first().copied());
    found.find(|name| *name != "localhost").unwrap_or(node).to_owned()
}

fn distribution(answer: &Answer, facts: &mut Map<String, Value>) {
    let release = assignments(answer.file("/etc/os-release"));
    let get = |key: &str| release.get(key).copied().unwrap_or_default();
    let id = get("ID");
    let name = distribution_name(id, get("NAME"));
    // Debian's os-release has no minor version; Ansible takes /etc/debian_version.
    let minor =
        answer.first("/etc/debian_version").filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
    let version = match (id, minor) {
        ("debian", Some(version)) => version,
        _ => get("VERSION_ID"),
    };
    let major = version.split('.').next().unwrap_or_default();
    let codename = codename(&release);
    let version = if version.is_empty() { "NA" } else { version };
    let family = family(id, get("ID_LIKE"), name);
    for (key, value) in [
        ("distribution", name),
        ("distribution_version", version),
        ("distribution_major_version", if major.is_empty() { "NA" } else { major }),
        ("distribution_release", codename),
        ("os_family", family),
    ] {
        facts.insert(key.to_owned(), json!(value));
    }
    if let Some((_, minor)) = version.split_once('.') {
        facts.insert("distribution_minor_version".to_owned(), json!(minor));
    }
    let lsb = json!({
        "id": name,
        "release": get("VERSION_ID"),
        "major_release": get("VERSION_ID").split('.').next().unwrap_or_default(),
        "codename": codename,
        "description": get("PRETTY_NAME"),
    });
    facts.insert("lsb".to_owned(), lsb);
}

fn codename<'a>(release: &HashMap<&str, &'a str>) -> &'a str {
    if let Some(name) = release.get("VERSION_CODENAME").or(release.get("UBUNTU_CODENAME")) {
        return name;
    }
    let pretty = release.get("PRETTY_NAME").copied().unwrap_or_default();
    pretty.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("NA", |(name, _)| name)
}

fn distribution_name<'a>(id: &str, name: &'a str) -> &'a str {
    match id {
        "debian" => "Debian",
        "ubuntu" => "Ubuntu",
        "linuxmint" => "Linux Mint",
        "raspbian" => "Debian",
        "centos" => "CentOS",
        "rhel" => "RedHat",
        "rocky" => "Rocky",
        "almalinux" => "AlmaLinux",
        "fedora" => "Fedora",
        "alpine" => "Alpine",
        "arch" => "Archlinux",
        _ => name,
    }
}

fn family<'a>(id: &str, like: &str, name: &'a str) -> &'a str {
    let ids: Vec<&str> = std::iter::once(id).chain(like.split_whitespace()).collect();
    let any = |known: &[&str]| ids.iter().any(|id| known.contains(id));
    if any(&["debian", "ubuntu", "raspbian"]) {
        "Debian"
    } else if any(&["rhel", "fedora", "centos"]) {
        "RedHat"
    } else if any(&["suse", "opensuse"]) {
        "Suse"
    } else if any(&["alpine"]) {
        "Alpine"
    } else if any(&["arch"]) {
        "Archlinux"
    } else {
        name
    }
}

fn date_time(answer: &Answer, facts: &mut Map<String, Value>) {
    let fields: Vec<&str> = answer.line("date").unwrap_or_default().split('|').collect();
    let [epoch, date, time, zone, offset, weekday, number, week] = fields[..] else { return };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next(), parts.next(), parts.next());
    let compact = format!("{}T{}", date.replace('-', ""), time.replace(':', ""));
    let mut map = json!({
        "epoch": epoch, "epoch_int": epoch, "date": date, "time": time,
        "year": year, "month": month, "day": day, "hour": hour, "minute": minute, "second": second,
        "weekday": weekday, "weekday_number": number, "weeknumber": week,
        "tz": zone, "tz_dst": zone, "tz_offset": offset, "iso8601_basic_short": compact,
    });
    let utc = epoch.parse().ok().and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    if let (Some(utc), Some(map)) = (utc, map.as_object_mut()) {
        let (date, time) = (utc.date(), utc.time());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let text = format!("{date}T{hour:02}:{minute:02}:{second:02}Z");
        map.insert("iso8601".to_owned(), json!(text));
        map.insert("iso8601_basic".to_owned(), json!(format!("{compact}000000")));
        map.insert("iso8601_micro".to_owned(), json!(text.replace('Z', ".000000Z")));
    }
    facts.insert("date_time".to_owned(), map);
}

fn virtualization(answer: &Answer, facts: &mut Map<String, Value>, ours: &mut Map<String, Value>) {
    let container = guess_container(answer);
    let machine = answer.line("virt").unwrap_or_else(|| guess_machine(answer));
    let known = |name: &&str| !name.is_empty() && *name != "none";
    let container = Some(container).filter(known);
    let machine = Some(machine).filter(known).map(|name| match name {
        "vmware" => "VMware",
        "oracle" => "virtualbox",
        "microsoft" => "VirtualPC",
        "amazon" | "qemu" | "google" => "kvm",
        other => other,
    });
    let kind = container.or(machine);
    facts.insert("virtualization_type".to_owned(), json!(kind.unwrap_or("NA")));
    facts.insert("virtualization_role".to_owned(), json!(if kind.is_some() { "guest" } else { "NA" }));
    let guest: Vec<&str> = container.into_iter().chain(machine).collect();
    facts.insert("virtualization_tech_guest".to_owned(), json!(guest));
    facts.insert("is_chroot".to_owned(), json!(false));
    ours.insert("container".to_owned(), json!(container));
}

fn guess_container<'a>(answer: &Answer<'a>) -> &'a str {
    let have = |path: &str| answer.section("have").contains(&path);
    match answer.first("/run/systemd/container") {
        Some(name) => name,
        None if have("/.dockerenv") => "docker",
        None if have("/run/.containerenv") => "podman",
        None => "none",
    }
}

fn guess_machine<'a>(answer: &Answer<'a>) -> &'a str {
    let dmi = |file: &str| answer.first(&format!("/sys/class/dmi/id/{file}")).unwrap_or_default();
    let text = format!("{} {}", dmi("sys_vendor"), dmi("product_name"));
    let signs = [
        ("QEMU", "kvm"),
        ("KVM", "kvm"),
        ("Amazon EC2", "kvm"),
        ("Google", "kvm"),
        ("OpenStack", "kvm"),
        ("VMware", "vmware"),
        ("VirtualBox", "oracle"),
        ("Microsoft", "microsoft"),
        ("Xen", "xen"),
    ];
    signs.iter().find(|(sign, _)| text.contains(sign)).map_or("none", |(_, name)| name)
}

fn user(answer: &Answer, facts: &mut Map<String, Value>) {
    // uid=0(root) gid=0(root) groups=...
    let field = |key: &str| -> Option<(i64, &str)> {
        let word = answer.line("id")?.split(' ').find_map(|word| word.strip_prefix(key))?;
        let (number, name) = word.split_once('(')?;
        Some((number.parse().ok()?, name.trim_end_matches(')')))
    };
    if let Some((uid, name)) = field("uid=") {
        facts.insert("user_id".to_owned(), json!(name));
        facts.insert("user_uid".to_owned(), json!(uid));
        facts.insert("effective_user_id".to_owned(), json!(uid));
    }
    if let Some((gid, _)) = field("gid=") {
        facts.insert("user_gid".to_owned(), json!(gid));
    }
}

fn selinux(answer: &Answer, present: bool) -> Value {
    match (present, answer.first("/sys/fs/selinux/enforce")) {
        (false, _) => json!({"status": "disabled"}),
        (true, Some("1")) => json!({"status": "enabled", "mode": "enforcing"}),
        (true, _) => json!({"status": "enabled", "mode": "permissive"}),
    }
}

fn cmdline(line: &str) -> Value {
    let words = line.split_whitespace().map(|word| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), json!(value)),
        None => (word.to_owned(), json!(true)),
    });
    Value::Object(words.collect())
}

fn dns(lines: &[&str]) -> Value {
    let words = |key: &str| -> Vec<String> {
        let lines = lines.iter().filter_map(|line| line.trim().strip_prefix(key));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    json!({"nameservers": words("nameserver "), "search": words("search ")})
}
