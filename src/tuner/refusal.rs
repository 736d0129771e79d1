//! What the tuner says when no settings can be right.

use crate::diag::Fault;
use serde::Serialize;
use std::fmt;

/// A wish that cannot be met, with the arithmetic that shows it and the ways out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The input to blame (`ram`, `max_connections`, ...); `None` when it is the whole.
    pub input: Option<&'static str>,
    /// One line, no trailing period.
    pub message: String,
    /// The sum, one line each.
    pub arithmetic: Vec<String>,
    /// What to do.
    pub ways_out: Vec<String>,
}

impl Refusal {
    /// An input outside of its range.
    pub(super) fn input(input: &'static str, message: impl Into<String>) -> Self {
        Self { input: Some(input), message: message.into(), arithmetic: Vec::new(), ways_out: Vec::new() }
    }

    /// Adds what to do.
    pub(super) fn way_out(mut self, way: impl Into<String>) -> Self {
        self.ways_out.push(way.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.arithmetic.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        self.ways_out.iter().try_for_each(|way| write!(f, "\nway out: {way}"))
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault {
            healers: None,
            param: refusal.input.map(str::to_owned),
            message: refusal.message,
            notes: refusal.arithmetic,
            hints: refusal.ways_out,
        }
    }
}
