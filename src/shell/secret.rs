//! Text that must not be shown, and the one filter that every shown text passes through.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use zeroize::Zeroizing;

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// A secret text; `Debug` and `Display` show [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for stdin of a host and files of the owner, never for a screen or argv.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

/// Every secret of the run, so that any text can be cleared of them before it is shown.
///
/// Values are tainted by content: what was decrypted, generated or marked `no_log` is registered once, and is
/// masked wherever it turns up afterwards: inside a rendered template, a diff, a command's output, an error.
/// Clones share one register.
#[derive(Clone, Default)]
pub struct Masker {
    secrets: Arc<RwLock<BTreeSet<Longest>>>,
}

/// Orders texts longest first, so that a secret inside a longer secret cannot leave a rest behind.
#[derive(PartialEq, Eq)]
struct Longest(Zeroizing<String>);

impl Ord for Longest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.len().cmp(&self.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Longest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Shorter texts are not masked: hiding every `a` or `on` of a run would tell more than it hides.
const SHORTEST: usize = 4;

impl Masker {
    /// A register without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a secret: the whole text, each of its lines, and the form it takes inside JSON.
    pub fn add(&self, secret: &str) {
        let Ok(mut secrets) = self.secrets.write() else { return };
        let plain = secret.lines().map(str::trim).chain([secret]);
        for form in plain.filter(|form| form.len() >= SHORTEST && !form.starts_with("-----")) {
            // Without its quotes; a quote at the end of the secret is part of it.
            let json = Zeroizing::new(serde_json::to_string(form).unwrap_or_default());
            if let Some(json) = json.get(1..json.len().saturating_sub(1)) {
                secrets.insert(Longest(Zeroizing::new(json.to_owned())));
            }
            secrets.insert(Longest(Zeroizing::new(form.to_owned())));
        }
    }

    /// Whether a text holds a registered secret.
    pub fn finds(&self, text: &str) -> bool {
        self.secrets.read().is_ok_and(|secrets| secrets.iter().any(|secret| text.contains(secret.0.as_str())))
    }

    /// The text with [`MASK`] in the place of every secret.
    pub fn mask(&self, text: &str) -> String {
        let Ok(secrets) = self.secrets.read() else { return MASK.to_owned() };
        let mut shown = text.to_owned();
        for secret in secrets.iter().filter(|secret| text.contains(secret.0.as_str())) {
            shown = shown.replace(secret.0.as_str(), MASK);
        }
        shown
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_longest_first_by_line_and_inside_json() {
        let masker = Masker::new();
        masker.add("hunter2");
        masker.add("hunter2-long");
        masker.add("line one\nline two\n");
        masker.add("quo\"te");
        assert_eq!(masker.mask("a hunter2-long b hunter2"), "a ******** b ********");
        assert_eq!(masker.mask("x line two"), "x ********");
        assert_eq!(masker.mask(r#"{"p":"quo\"te"}"#), r#"{"p":"********"}"#);
        masker.add("first\nit says \"x\"\n");
        assert_eq!(masker.mask(r#"["it says \"x\""]"#), r#"["********"]"#);
        assert!(masker.finds("--password=hunter2"));
        assert!(!masker.finds("nothing here"));
    }

    #[test]
    fn a_secret_does_not_debug_itself() {
        assert_eq!(format!("{:?} {}", Secret::new("x1y2"), Secret::new("x1y2")), "******** ********");
    }
}
