//! Carries plans out: hosts side by side, each at its own pace, together where a step looks across hosts.

mod claim;
mod connect;
mod event;
mod fatal;
mod host;
mod include;
mod local;
mod meet;
mod outcome;
mod play;
mod preflight;
mod procedure;
mod shared;
mod unit;
mod workers;

pub use claim::Claim;
pub use connect::explain;
pub use event::{Done, Event, HostReport, Report, Stats, Status};
pub use local::Local;
pub use play::{HostSetup, Site, run};
pub use shared::{Options, Shared, Stop};
