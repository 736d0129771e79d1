//! The settings that are compared: PostgreSQL's own, the founding documents' (the seed), two other tuners', and ours.

use super::Fallible;
use ishprov::tuner::{Bytes, Capabilities, ClusterNeeds, Disk, DiskKind, Input, Workload, rivals, tune};

/// One set of settings.
pub struct Arm {
    /// Whose it is.
    pub name: &'static str,
    /// Name and value, as they stand in the configuration file.
    pub settings: Vec<(String, String)>,
}

impl Arm {
    /// The value of a setting, or what PostgreSQL has without it.
    pub fn get(&self, name: &str) -> &str {
        let usual = match name {
            "shared_buffers" => "128MB",
            "work_mem" => "4MB",
            _ => "-",
        };
        self.settings.iter().find(|(key, _)| key == name).map_or(usual, |(_, value)| value)
    }

    /// As a file for conf.d.
    pub fn conf(&self) -> String {
        self.settings
            .iter()
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect()
    }
}

/// PostgreSQL 15 on this RAM, two CPUs, a fast disk.
pub fn input(ram: Bytes, connections: u32) -> Input {
    let mut input = Input::new(ram, 2, connections, Workload::Oltp, 15);
    input.hardware.disk = Disk { kind: DiskKind::Ssd, evidence: "as the benchmark says".to_owned() };
    input.capabilities = Capabilities { lz4: true, zstd: true, io_uring: false };
    input.hardware.wal_fs_size = Some(Bytes::gb(20));
    input.hardware.wal_fs_free = Some(Bytes::gb(15));
    input
}

/// PostgreSQL's defaults.
pub fn defaults() -> Arm {
    Arm { name: "default", settings: Vec::new() }
}

/// What the seed wrote: a quarter for shared_buffers, and all the rest once for work_mem.
pub fn seed(ram: Bytes, connections: u32) -> Arm {
    let quarter = ram.0 / 4;
    let work = (ram.0 - quarter) / u64::from(connections) / (1 << 20);
    let mb = |bytes: u64| format!("{}MB", bytes >> 20);
    let settings = [
        ("shared_buffers", mb(quarter)),
        ("effective_cache_size", mb(ram.0 / 4 * 3)),
        ("work_mem", format!("{work}MB")),
    ];
    Arm { name: "seed", settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec() }
}

/// Ours, pgtune's and timescaledb-tune's.
pub fn tuned(input: &Input) -> Fallible<[Arm; 3]> {
    let needs = ClusterNeeds::of([input], &[]);
    let tuning = tune(input, &needs).map_err(|refusal| refusal.message)?;
    let ours = tuning.settings.iter().map(|setting| (setting.name.to_owned(), setting.value.to_string()));
    Ok([
        Arm { name: "ishprov", settings: ours.collect() },
        Arm { name: "pgtune", settings: rivals::pgtune(input) },
        Arm { name: "timescaledb-tune", settings: rivals::timescaledb_tune(input) },
    ])
}
