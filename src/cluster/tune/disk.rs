//! What kind of disk a host's data lie on, and the evidence that decided.
//!
//! The order: the user's word, the record of an earlier measurement, a name that only NVMe has, the kernel's flag where it
//! can be believed. A measurement is recorded on the host beside the configuration file, so that its number, which stands
//! in the reasons of settings, never wavers.

use crate::tuner::{Disk, DiskKind};

/// Reads that a measurement needs at least to be believed.
pub const LEAST_READS: usize = 16;

/// What the kernel says of a device.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    /// Its name, without `/dev/`.
    pub device: Option<&'a str>,
    /// It is NVMe, by its name.
    pub nvme: Option<bool>,
    /// `queue/rotational`.
    pub rotational: Option<bool>,
    /// The machine is a virtual one.
    pub guest: bool,
}

/// The kind by what the kernel says, where that can be believed.
pub fn by_flag(told: Told<'_>) -> Disk {
    let evidence = |what: &str| format!("{}: {what}", told.device.unwrap_or("disk"));
    match (told.nvme, told.rotational) {
        (Some(true), _) => Disk { kind: DiskKind::Nvme, evidence: evidence("NVMe, says the kernel") },
        (_, Some(false)) => Disk { kind: DiskKind::Ssd, evidence: evidence("not rotating, says the kernel") },
        // A virtual disk is called rotating when nobody said otherwise.
        (_, Some(true)) if told.guest => Disk {
            kind: DiskKind::Unknown,
            evidence: evidence("a virtual disk, of which the kernel knows nothing"),
        },
        (_, Some(true)) => Disk { kind: DiskKind::Hdd, evidence: evidence("rotating, says the kernel") },
        _ => Disk { kind: DiskKind::Unknown, evidence: "nothing is known of the disk".to_owned() },
    }
}

/// The kind by measured 8 kB random reads, in microseconds each; `None` when they are too few. Below 1 ms at the median
/// it is flash, above 3 ms something seeks, and between them lies a network.
pub fn by_reads(mut reads: Vec<f64>, told: Told<'_>) -> Option<Disk> {
    reads.retain(|read| read.is_finite() && *read > 0.0);
    if reads.len() < LEAST_READS {
        return None;
    }
    reads.sort_by(f64::total_cmp);
    let median = *reads.get(reads.len() / 2)?;
    let kind = match median {
        ..1000.0 if told.nvme == Some(true) => DiskKind::Nvme,
        ..1000.0 => DiskKind::Ssd,
        ..=3000.0 => DiskKind::San,
        _ => DiskKind::Hdd,
    };
    let shown =
        if median < 1000.0 { format!("{median:.0} µs") } else { format!("{:.1} ms", median / 1000.0) };
    let otherwise = match (told.rotational, kind) {
        (Some(true), DiskKind::Nvme | DiskKind::Ssd) | (Some(false), DiskKind::Hdd) => {
            "; the kernel's rotational flag says otherwise"
        }
        _ => "",
    };
    Some(Disk { kind, evidence: format!("8 kB random read {shown}{otherwise}") })
}

/// The record of a kind of disk, as it is kept beside the configuration file.
pub fn record(disk: &Disk) -> String {
    format!("{}\t{}\n", disk.kind, disk.evidence.replace(['\n', '\t'], " "))
}

/// Reads [`record`].
pub fn recorded(text: &str) -> Option<Disk> {
    let (kind, evidence) = text.lines().next()?.split_once('\t')?;
    Some(Disk { kind: kind.parse().ok()?, evidence: evidence.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_reads_beat_the_flag_and_name_themselves() {
        let told = Told { device: Some("vda"), nvme: Some(false), rotational: Some(true), guest: true };
        let disk = by_reads(vec![41.0; 100], told).expect("enough reads");
        assert_eq!(disk.kind, DiskKind::Ssd);
        assert_eq!(disk.evidence, "8 kB random read 41 µs; the kernel's rotational flag says otherwise");
        assert_eq!(recorded(&record(&disk)), Some(disk));
        let table = [
            (700.0, DiskKind::Nvme, "8 kB random read 700 µs"),
            (1800.0, DiskKind::San, "8 kB random read 1.8 ms"),
        ];
        for (read, kind, evidence) in table {
            let told = Told { nvme: Some(true), ..Told::default() };
            assert_eq!(
                by_reads(vec![read; 50], told),
                Some(Disk { kind, evidence: evidence.to_owned() }),
                "{read}"
            );
        }
        let spinning = by_reads(vec![8300.0; 50], Told { rotational: Some(false), ..told });
        assert_eq!(spinning.map(|disk| disk.kind), Some(DiskKind::Hdd));
        assert_eq!(by_reads(vec![41.0; 3], told), None, "three reads prove nothing");
    }

    #[test]
    fn the_flag_counts_where_it_can_be_believed() {
        let told = |nvme, rotational, guest| {
            by_flag(Told { device: Some("x"), nvme: Some(nvme), rotational, guest }).kind
        };
        assert_eq!(told(true, Some(true), true), DiskKind::Nvme);
        assert_eq!(told(false, Some(false), true), DiskKind::Ssd);
        assert_eq!(told(false, Some(true), true), DiskKind::Unknown);
        assert_eq!(told(false, Some(true), false), DiskKind::Hdd);
        assert_eq!(told(false, None, false), DiskKind::Unknown);
        assert_eq!(recorded("floppy\tx\n"), None);
    }
}
