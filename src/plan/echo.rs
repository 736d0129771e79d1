//! Faults that are only the echo of another: a name that nobody defines because what defines it could not be read.

use super::library::Library;
use crate::diag::{Diagnostic, Severity};
use std::collections::BTreeSet;

/// Faults that leave everything readable that could define a name. After any other, all names may be echoes.
const CLEAR: &[&str] = &[
    "unknown-module",
    "unknown-parameter",
    "unknown-key",
    "keyword-not-supported",
    "unknown-host-pattern",
    "bare-mode",
    "no-free-form",
    "no-module",
    "two-modules",
    "no-hosts",
    "bad-connection",
    "bad-extra-var",
];

/// Faults that say that nothing defines a name.
const OF_NAMES: &[&str] = &["undefined-variable", "missing-input", "unknown-handler"];

/// What earlier faults may have hidden.
#[derive(Debug, Default)]
pub struct Echo {
    /// Every word that some file writes where a name can be defined; only filled after a fault.
    written: BTreeSet<String>,
    blind: bool,
}

impl Echo {
    /// What these faults may have hidden.
    pub fn of(earlier: &[Diagnostic], library: &Library) -> Self {
        let mut errors =
            earlier.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).peekable();
        let written = if errors.peek().is_some() { library.written() } else { BTreeSet::new() };
        Self { written, blind: errors.any(|diagnostic| !CLEAR.contains(&diagnostic.code)) }
    }

    /// Whether a part that could not be read may define this name.
    pub fn may_define(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    /// Whether a fault may be nothing but an echo.
    pub fn drowns(&self, diagnostic: &Diagnostic) -> bool {
        let quoted = diagnostic.message.split('`').skip(1).step_by(2).last().unwrap_or_default();
        let name = quoted.split(['.', '[']).next().unwrap_or_default();
        OF_NAMES.contains(&diagnostic.code) && (self.blind || self.may_define(name))
    }
}
