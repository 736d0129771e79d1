//! The tuner: from the host, the work and what the cluster needs to settings, each with its reason, and a memory budget that
//! proves they fit.
//!
//! ```text
//! every host's Input -> ClusterNeeds::of -> once per cluster
//! one Input + ClusterNeeds -> tune -> Tuning { settings, kernel, budget } | Refusal { arithmetic, ways out }
//! ```
//!
//! Pure: the same input gives the same bytes.

mod budget;
mod catalog;
mod cluster;
mod connections;
mod fitting;
mod in_use;
mod input;
mod io;
mod kernel;
mod libraries;
mod logging;
mod memory;
mod observed;
mod parallel;
mod pool;
mod refusal;
pub mod rivals;
mod same;
mod setting;
#[cfg(test)]
mod tests;
mod units;
mod vacuum;
mod wal;

pub use budget::{Budget, Line, Part};
pub use catalog::{Context, Kind, Parameter, Unit, hidden_on_unix_socket, lookup};
pub use cluster::{ClusterNeeds, Floor};
pub use fitting::fitting;
pub use in_use::{InUse, Kept};
pub use input::{
    CONNECTIONS, CPUS, Capabilities, Disk, DiskKind, Given, Hardware, HugePages, Input, MAX_RAM, MIN_RAM,
    PG_MAJORS, Standing, Wishes, Workload,
};
pub use kernel::{KernelSetting, Place};
pub use libraries::{LIBRARIES, Library};
pub use memory::shared_memory;
pub use observed::{LEAST_HOURS, Observed, Verdict, adjust};
pub use pool::{POOL_SETTINGS, PoolPlan, PoolSetting, PoolWish};
pub use refusal::Refusal;
pub use same::{same_value, size_of};
pub use setting::{Setting, Takes, Value};
pub use units::{Bytes, Invalid, Millis};

use serde::Serialize;

/// What one host shall have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuning {
    /// Settings of the server, grouped by subject.
    pub settings: Vec<Setting>,
    /// Settings of the operating system.
    pub kernel: Vec<KernelSetting>,
    /// Where the RAM goes.
    pub budget: Budget,
    /// How many server connections the budget takes to be active at once.
    pub active: u32,
    /// What would help most where memory is scarce: `a pool with 40 server connections would allow work_mem 47MB (--active 40)`.
    pub way_out: Option<String>,
}

impl Tuning {
    /// The setting of that name.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// Decides the settings of one host. `needs` is the same for all hosts of a cluster; the budget is that of the promoted role,
/// since every host may become the primary.
///
/// # Errors
/// An input out of its range, or connections that the RAM or WAL that the disk cannot hold.
pub fn tune(input: &Input, needs: &ClusterNeeds) -> Result<Tuning, Refusal> {
    input.validate()?;
    // The cluster may ask for more than this host would by itself.
    Input { max_connections: needs.max_connections, ..input.clone() }.validate()?;
    let memory = memory::plan(input, needs)?;
    let wal = wal::plan(input, needs)?;
    let mut out = setting::Settings::new(input.pg_major);
    memory::settings(input, &memory, &mut out);
    cluster::settings(needs, &mut out);
    wal::settings(input, memory.shared_buffers, &wal, &mut out);
    parallel::settings(input, &mut out);
    io::settings(input, &mut out);
    vacuum::settings(input, memory.autovacuum_workers, &mut out);
    connections::settings(&mut out);
    logging::settings(input, &mut out);
    Ok(Tuning {
        settings: out.finish()?,
        kernel: kernel::settings(input, &memory.budget),
        active: memory.active,
        way_out: memory::way_out(input, needs, &memory),
        budget: memory.budget,
    })
}

/// The settings as a configuration file: `header` as comment lines on top, then every setting after its reason.
pub fn render_conf(tuning: &Tuning, header: &str) -> String {
    let mut conf = String::new();
    for line in header.lines() {
        conf.push_str(format!("# {line}").trim_end());
        conf.push('\n');
    }
    conf.push_str(&format!("# {}\n", tuning.budget.bar()));
    for setting in &tuning.settings {
        // A reason may quote what a host said; it must not end the comment.
        let why = setting.why.replace(['\n', '\r'], " ");
        conf.push_str(&format!("\n# {why}\n{} = {}\n", setting.name, setting.to_conf()));
    }
    conf
}
