//! Disks, mounts, and what lies below the data directory.

use super::answer::Answer;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Adds `mounts`, `devices`, `disks` and `data_directory`.
pub fn gather(
    answer: &Answer,
    directory: &str,
    facts: &mut Map<String, Value>,
    ours: &mut Map<String, Value>,
) {
    let disks = Disks::of(answer);
    let sizes: HashMap<&str, Size> =
        answer.section("statfs").iter().filter_map(|line| Size::parse(line)).collect();
    let mounts: Vec<Mount> = answer.section("mount").iter().filter_map(|line| Mount::parse(line)).collect();
    let shown: Vec<Value> = mounts.iter().map(|mount| mount.show(sizes.get(mount.path.as_str()))).collect();
    facts.insert("mounts".to_owned(), json!(shown));
    facts.insert("devices".to_owned(), Value::Object(disks.devices()));

    let below = mounts.iter().filter(|mount| holds(&mount.path, directory));
    // Of two mounts on one path the later one is seen.
    let mount = below.max_by_key(|mount| mount.path.len());
    let disk = mount.and_then(|mount| disks.below(mount.device, mount.source));
    let size = sizes.get(directory);
    let data = json!({
        "path": directory,
        "mount": mount.map(|mount| mount.path.as_str()),
        "fstype": mount.map(|mount| mount.fstype),
        "size_bytes": size.map(|size| size.total),
        "available_bytes": size.map(|size| size.available),
        "device": disk.map(|disk| disk.name),
        "rotational": disk.and_then(|disk| disk.rotational),
        "nvme": disk.map(Disk::nvme),
    });
    let list: Vec<Value> = disks.real().map(|disk| disk.show(data["device"] == json!(disk.name))).collect();
    ours.insert("data_directory".to_owned(), data);
    ours.insert("disks".to_owned(), json!(list));
}

/// Whether `path` lies on or below the folder `mount`.
fn holds(mount: &str, path: &str) -> bool {
    mount == "/" || path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

struct Size {
    block: u64,
    total: u64,
    available: u64,
    blocks: [u64; 3],
    inodes: [u64; 2],
}

impl Size {
    /// `block-size blocks free available inodes free-inodes path`
    fn parse(line: &str) -> Option<(&str, Self)> {
        let mut words = line.splitn(7, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (block, blocks, free) = (number()?, number()?, number()?);
        let (available, inodes, inodes_free) = (number()?, number()?, number()?);
        let size = Self {
            block,
            total: block.saturating_mul(blocks),
            available: block.saturating_mul(available),
            blocks: [blocks, free, available],
            inodes: [inodes, inodes_free],
        };
        Some((words.next()?, size))
    }
}

struct Mount<'a> {
    /// `major:minor`.
    device: &'a str,
    path: String,
    fstype: &'a str,
    source: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [device, path, fstype, source, options] = fields[..] else { return None };
        Some(Self { device, path: unescape(path), fstype, source, options })
    }

    fn show(&self, size: Option<&Size>) -> Value {
        let mut map = json!({
            "mount": self.path, "device": self.source, "fstype": self.fstype, "options": self.options,
        });
        if let (Some(size), Some(map)) = (size, map.as_object_mut()) {
            let [blocks, free, available] = size.blocks;
            let [inodes, inodes_free] = size.inodes;
            for (name, value) in [
                ("size_total", size.total),
                ("size_available", size.available),
                ("block_size", size.block),
                ("block_total", blocks),
                ("block_available", available),
                ("block_used", blocks.saturating_sub(free)),
                ("inode_total", inodes),
                ("inode_available", inodes_free),
                ("inode_used", inodes.saturating_sub(inodes_free)),
            ] {
                map.insert(name.to_owned(), json!(value));
            }
        }
        map
    }
}

/// The kernel writes blanks and backslashes of a mount point as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[derive(Default)]
struct Disk<'a> {
    name: &'a str,
    number: Option<&'a str>,
    sectors: u64,
    sector_size: u64,
    rotational: Option<bool>,
    removable: bool,
    readonly: bool,
    model: Option<&'a str>,
    vendor: Option<&'a str>,
    mapper: Option<&'a str>,
    partitions: Vec<Partition<'a>>,
    /// Disks or partitions that a mapped or raid device stands on.
    slaves: Vec<&'a str>,
}

#[derive(Default)]
struct Partition<'a> {
    name: &'a str,
    number: Option<&'a str>,
    sectors: u64,
}

impl Disk<'_> {
    /// Sectors of sysfs are 512 bytes whatever the disk's own are.
    fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(512)
    }

    fn nvme(&self) -> bool {
        self.name.starts_with("nvme")
    }

    fn show(&self, data: bool) -> Value {
        json!({
            "name": self.name, "size_bytes": self.bytes(), "rotational": self.rotational,
            "nvme": self.nvme(), "model": self.model, "data_directory": data,
        })
    }
}

struct Disks<'a>(Vec<Disk<'a>>);

impl<'a> Disks<'a> {
    fn of(answer: &Answer<'a>) -> Self {
        let mut disks: Vec<Disk> = Vec::new();
        for (path, value) in answer.below("/sys/block") {
            let Some((name, file)) = path.split_once('/') else { continue };
            let at = match disks.iter().position(|disk| disk.name == name) {
                Some(at) => at,
                None => {
                    disks.push(Disk { name, ..Disk::default() });
                    disks.len() - 1
                }
            };
            let disk = &mut disks[at];
            let number = value.parse::<u64>();
            match file {
                "dev" => disk.number = Some(value),
                "size" => disk.sectors = number.unwrap_or(0),
                "ro" => disk.readonly = value == "1",
                "removable" => disk.removable = value == "1",
                "queue/rotational" => disk.rotational = Some(value == "1"),
                "queue/logical_block_size" => disk.sector_size = number.unwrap_or(512),
                "device/model" => disk.model = Some(value),
                "device/vendor" => disk.vendor = Some(value),
                "dm/name" => disk.mapper = Some(value),
                _ => {
                    if let Some((part, file)) = file.split_once('/')
                        && !part.starts_with("queue")
                    {
                        let at = match disk.partitions.iter().position(|known| known.name == part) {
                            Some(at) => at,
                            None => {
                                disk.partitions.push(Partition { name: part, ..Partition::default() });
                                disk.partitions.len() - 1
                            }
                        };
                        match file {
                            "dev" => disk.partitions[at].number = Some(value),
                            "size" => disk.partitions[at].sectors = number.unwrap_or(0),
                            _ => {}
                        }
                    }
                }
            }
        }
        for path in answer.section("slaves") {
            let mut parts = path.trim_start_matches("/sys/block/").split('/');
            if let (Some(name), Some(_), Some(slave)) = (parts.next(), parts.next(), parts.next())
                && let Some(disk) = disks.iter_mut().find(|disk| disk.name == name)
            {
                disk.slaves.push(slave);
            }
        }
        for disk in &mut disks {
            disk.partitions.retain(|part| part.number.is_some());
        }
        Self(disks)
    }

    /// Disks that hold data: no loop devices, RAM disks or empty drives.
    fn real(&self) -> impl Iterator<Item = &Disk<'a>> {
        let virtual_ = ["loop", "ram", "zram", "sr", "fd", "nbd"];
        self.0.iter().filter(move |disk| {
            disk.sectors > 0
                && !virtual_.iter().any(|kind| {
                    disk.name.strip_prefix(kind).is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
                })
        })
    }

    /// The disk below a mount, by device number, else by the name of its source; through volumes and arrays.
    fn below(&self, number: &str, source: &str) -> Option<&Disk<'a>> {
        let by_number = |disk: &&Disk| {
            disk.number == Some(number) || disk.partitions.iter().any(|part| part.number == Some(number))
        };
        let by_name = |disk: &&Disk| {
            let base = source.rsplit('/').next().unwrap_or_default();
            source.starts_with("/dev/")
                && (disk.name == base
                    || disk.mapper == Some(base)
                    || disk.partitions.iter().any(|part| part.name == base))
        };
        let mut disk = self.0.iter().find(by_number).or_else(|| self.0.iter().find(by_name))?;
        // Bounded, since sysfs is not ours to trust with loops.
        for _ in 0..8 {
            let Some(slave) = disk.slaves.first() else { break };
            let next = self
                .0
                .iter()
                .find(|disk| disk.name == *slave || disk.partitions.iter().any(|part| part.name == *slave));
            match next {
                Some(next) => disk = next,
                None => break,
            }
        }
        Some(disk)
    }

    fn devices(&self) -> Map<String, Value> {
        let devices = self.real().map(|disk| {
            let partitions: Map<String, Value> = disk
                .partitions
                .iter()
                .map(|part| {
                    let bytes = part.sectors.saturating_mul(512);
                    let value = json!({
                        "size": human(bytes), "sectors": part.sectors.to_string(), "sectorsize": 512,
                    });
                    (part.name.to_owned(), value)
                })
                .collect();
            let flag = |set: bool| if set { "1" } else { "0" };
            let value = json!({
                "size": human(disk.bytes()), "sectors": disk.sectors.to_string(),
                "sectorsize": disk.sector_size.to_string(),
                "rotational": flag(disk.rotational == Some(true)), "removable": flag(disk.removable),
                "ro": flag(disk.readonly), "model": disk.model, "vendor": disk.vendor, "partitions": partitions,
            });
            (disk.name.to_owned(), value)
        });
        devices.collect()
    }
}

/// Ansible's sizes: `20.00 GB`, in powers of 1024.
fn human(bytes: u64) -> String {
    let units = ["Bytes", "KB", "MB", "GB", "TB", "PB"];
    let power =
        (0..units.len() - 1).find(|power| bytes >> (10 * (power + 1)) == 0).unwrap_or(units.len() - 1);
    format!("{:.2} {}", bytes as f64 / (1_u64 << (10 * power)) as f64, units[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_lead_to_the_disk_below() {
        let text = "@@slaves\n/sys/block/dm-0/slaves/nvme0n1p3\n@@files\n/sys/block/dm-0/dev:253:0\n\
                    /sys/block/dm-0/size:2048\n/sys/block/dm-0/dm/name:vg-pg\n/sys/block/nvme0n1/dev:259:0\n\
                    /sys/block/nvme0n1/size:4194304\n/sys/block/nvme0n1/queue/rotational:0\n\
                    /sys/block/nvme0n1/nvme0n1p3/dev:259:3\n/sys/block/nvme0n1/nvme0n1p3/size:2097152\n\
                    /sys/block/loop0/dev:7:0\n/sys/block/loop0/size:0\n@@end\n";
        let answer = Answer::parse(text).expect("parses");
        let disks = Disks::of(&answer);
        let disk = disks.below("253:0", "/dev/mapper/vg-pg").expect("found");
        assert_eq!((disk.name, disk.nvme(), disk.rotational), ("nvme0n1", true, Some(false)));
        assert_eq!(disks.below("0:77", "/dev/mapper/vg-pg").expect("found by name").name, "nvme0n1");
        assert!(disks.below("0:77", "overlay").is_none());
        assert_eq!(disks.devices()["nvme0n1"]["partitions"]["nvme0n1p3"]["size"], json!("1.00 GB"));
        assert!(!disks.devices().contains_key("loop0"));
    }

    #[test]
    fn the_deepest_mount_holds_a_path() {
        assert!(holds("/", "/x") && holds("/var", "/var") && holds("/var", "/var/lib"));
        assert!(!holds("/var", "/variable"));
        assert_eq!(unescape("/a\\040b"), "/a b");
    }
}
