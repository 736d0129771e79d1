//! One group as its sources name it.

use super::Vars;
use crate::diag::Span;

/// A group, its direct members, and the variables that stand beside it in the inventory's own sources.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Where it was first named; `None` for `all` and `ungrouped` that no source names.
    pub span: Option<Span>,
    /// Hosts that are members themselves.
    pub hosts: Vec<String>,
    /// Groups directly below.
    pub children: Vec<String>,
    /// Variables set in the sources.
    pub vars: Vars,
    /// `ansible_group_priority`: of two groups at one depth the variables of the higher win. 1 where not set.
    pub priority: i64,
    /// Longest way from `all`, which has depth 0.
    pub depth: usize,
}
