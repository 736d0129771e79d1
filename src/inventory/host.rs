//! One host as its sources name it.

use super::Vars;
use crate::diag::Span;

/// A host and the variables that stand beside it in the inventory's own sources.
#[derive(Debug, Clone)]
pub struct Host {
    /// `inventory_hostname`.
    pub name: String,
    /// Where it was first named; `None` for the `localhost` that no source names.
    pub span: Option<Span>,
    /// Path of the source that first named it.
    pub source: Option<String>,
    /// Variables set in the sources.
    pub vars: Vars,
}

impl Host {
    /// `inventory_hostname_short`: the name up to its first dot.
    pub fn short_name(&self) -> &str {
        if self.name.parse::<std::net::IpAddr>().is_ok() {
            return &self.name;
        }
        self.name.split('.').next().unwrap_or(&self.name)
    }

    /// `inventory_dir`: the folder of the source that first named it.
    pub fn source_dir(&self) -> Option<&str> {
        let path = self.source.as_deref()?;
        Some(path.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir }))
    }
}
