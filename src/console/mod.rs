//! Events and diagnostics to a terminal, a log or a program: nothing else prints.

mod json;
mod live;
mod recap;
mod text;

pub use json::JsonConsole;
pub use recap::recap;
pub use text::TextConsole;

use crate::diag::{Diagnostic, SourceMap, Style, render, to_json};
use crate::engine::{Event, Report};
use crate::shell::Masker;
use std::io::{IsTerminal as _, Write as _};

/// Where texts end up. Every line passes the register of secrets.
#[derive(Debug, Clone)]
pub struct Screen {
    /// JSON lines instead of text.
    pub json: bool,
    /// How much to say.
    pub verbose: u8,
    /// Show what changes line by line.
    pub diff: bool,
    style: Style,
    live: bool,
}

impl Screen {
    /// The process's own streams.
    pub fn new(json: bool, verbose: u8, diff: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        let width = columns().filter(|width| *width >= 60).unwrap_or(120);
        Self { json, verbose, diff, style: Style { colour, width }, live: terminal && !json }
    }

    /// Whether a person watches.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Columns of the screen.
    pub fn width(&self) -> usize {
        self.style.width
    }

    /// Whether to use colours.
    pub fn colour(&self) -> bool {
        self.style.colour
    }

    /// A line for people or programs, on standard output.
    pub fn line(&self, text: &str) {
        // A reader that went away (`| head`) is no fault of the run.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A line beside the results, on standard error.
    pub fn aside(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Diagnostics, on standard error as text or on standard output as JSON.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic], map: &SourceMap, masker: &Masker) {
        let mask = |text: &str| masker.mask(text);
        if self.json {
            for diagnostic in diagnostics {
                let event = serde_json::json!({ "event": "diagnostic", "diagnostic": to_json(diagnostic, map, &mask) });
                self.line(&event.to_string());
            }
            return;
        }
        if !diagnostics.is_empty() {
            let text = render(diagnostics, map, &mask, self.style);
            self.aside(text.trim_end());
        }
    }
}

/// Columns of the terminal, if it is one.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A text of at most `width` characters; what is cut off leaves `…`.
fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}…")
}

/// Draws a run.
pub trait Console: Send {
    /// Something happened.
    fn event(&mut self, event: &Event, map: &SourceMap);

    /// The run is over.
    fn report(&mut self, report: &Report, map: &SourceMap);
}

/// Says nothing: the caller tells of the report itself.
pub struct SilentConsole;

impl Console for SilentConsole {
    fn event(&mut self, _event: &Event, _map: &SourceMap) {}

    fn report(&mut self, _report: &Report, _map: &SourceMap) {}
}
