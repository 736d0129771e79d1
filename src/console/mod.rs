//! Events and diagnostics to a terminal, a log or a program: nothing else prints.

mod json;
mod live;
mod recap;
mod text;

pub use json::JsonConsole;
pub use recap::recap;
pub use text::TextConsole;

use crate::diag::{Diagnostic, SourceMap, Style, is_unseen, printable, render, to_json};
use crate::engine::{Event, Report};
use crate::shell::Masker;
use std::io::{IsTerminal as _, Write as _};

/// Where texts end up. Whatever hosts, files and inventories say is shown, never obeyed by the terminal.
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
    /// Where a test looks at what is shown.
    #[cfg(test)]
    kept: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Screen {
    /// The process's own streams.
    pub fn new(json: bool, verbose: u8, diff: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        let width = columns().filter(|width| *width >= 60).unwrap_or(NO_TERMINAL);
        Self {
            json,
            verbose,
            diff,
            style: Style { colour, width },
            live: terminal && !json,
            #[cfg(test)]
            kept: std::sync::Arc::default(),
        }
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
        if self.json { self.emit(&escaped(text)) } else { self.emit(&printable(text)) }
    }

    /// A line with one coloured word in it, on standard output.
    fn painted(&self, head: &str, (word, colour): (&str, &str), tail: &str) {
        let (head, tail) = (printable(head), printable(tail));
        match self.style.colour {
            true => self.emit(&format!("{head}\u{1b}[{colour}m{word}\u{1b}[0m{tail}")),
            false => self.emit(format!("{head}{word}{tail}").trim_end()),
        }
    }

    /// A line beside the results, on standard error.
    pub fn aside(&self, text: &str) {
        self.emit_aside(&printable(text));
    }

    fn emit(&self, text: &str) {
        #[cfg(test)]
        self.keep(text);
        // A reader that went away (`| head`) is no fault of the run.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    fn emit_aside(&self, text: &str) {
        #[cfg(test)]
        self.keep(text);
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    #[cfg(test)]
    fn keep(&self, text: &str) {
        if let Ok(mut kept) = self.kept.lock() {
            kept.push_str(text);
            kept.push('\n');
        }
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
            // It is made of printable parts; what else is in it are colours.
            let text = render(diagnostics, map, &mask, self.style);
            self.emit_aside(text.trim_end());
        }
    }
}

/// Columns where there is no terminal.
const NO_TERMINAL: usize = 120;

/// A JSON text with everything escaped that a terminal would obey. Outside of its strings there is none of that.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unseen(c) {
            text += &format!("\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// A text as part of one line.
fn one_line(text: &str) -> String {
    text.replace('\n', "\u{240a}")
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

/// Words on lines of at most `width` characters; a word that is longer has one of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Done, HostReport, Stats, Status};
    use crate::modules::Change;
    use serde_json::{Value, json};
    use std::time::Duration;

    /// What a terminal would obey: a title, the clipboard, colours that hide, a line over another, writing from the right.
    const HOSTILE: &str = "a\u{1b}]0;owned\u{7}\u{1b}]52;c;eA==\u{7}\u{1b}[8mb\rc\u{8}\u{9b}2J\u{7f}\u{85}\u{202e}d\u{2066}\nPLAY RECAP";

    fn screen(json: bool, colour: bool) -> Screen {
        let style = Style { colour, width: 80 };
        Screen { json, verbose: 2, diff: true, style, live: false, kept: std::sync::Arc::default() }
    }

    fn diagnostic() -> Diagnostic {
        Diagnostic::error("task-failed", HOSTILE).note(HOSTILE).hint(HOSTILE).host(HOSTILE)
    }

    fn done(status: Status, module: &'static str, item: bool) -> Event {
        Event::Done(Box::new(Done {
            host: HOSTILE.to_owned(),
            at: vec![0],
            title: HOSTILE.to_owned(),
            place: HOSTILE.to_owned(),
            module,
            item: item.then(|| HOSTILE.to_owned()),
            more: false,
            status,
            because: HOSTILE.to_owned(),
            changes: vec![
                Change::field(HOSTILE, HOSTILE, HOSTILE),
                Change::Text { name: HOSTILE.to_owned(), before: HOSTILE.to_owned(), after: String::new() },
            ],
            result: json!({ "stdout": HOSTILE }),
            no_log: false,
            diagnostic: Some(diagnostic()),
            took: Duration::from_secs(1),
        }))
    }

    /// Every event with hostile text wherever text can be, and the report.
    fn tell(console: &mut dyn Console) {
        let map = SourceMap::new();
        let hosts = || vec![HOSTILE.to_owned(), "other".to_owned()];
        let text = || HOSTILE.to_owned();
        let mut events = vec![
            Event::Play { name: text(), hosts: hosts() },
            Event::Batch { hosts: hosts() },
            Event::Connecting { hosts: hosts() },
            Event::Started { host: text(), title: text() },
            Event::Note(text()),
            Event::Halted(text()),
            Event::Unreachable { host: text(), diagnostic: diagnostic() },
            Event::Stopping { now: false },
            Event::Stopping { now: true },
        ];
        for status in
            [Status::Ok, Status::Changed, Status::Skipped, Status::Failed, Status::Ignored, Status::Rescued]
        {
            events.extend([
                done(status, "debug", false),
                done(status, "debug", true),
                done(status, "command", true),
            ]);
            events.push(Event::HostDone { host: text() });
            events.push(Event::Play { name: text(), hosts: hosts() });
        }
        events.iter().for_each(|event| console.event(event, &map));
        let host = HostReport {
            host: text(),
            stats: Stats::default(),
            diagnostics: vec![diagnostic()],
            ..HostReport::default()
        };
        console.report(&Report { hosts: vec![host], interrupted: true }, &map);
    }

    fn harmless(text: &str) {
        for c in text.chars() {
            assert!(c == '\n' || !(c.is_control() || is_unseen(c)), "{c:?} in {text}");
        }
    }

    #[test]
    fn nothing_that_is_shown_is_obeyed_by_the_terminal() {
        for colour in [false, true] {
            let screen = screen(false, colour);
            let kept = std::sync::Arc::clone(&screen.kept);
            tell(&mut TextConsole::new(screen.clone(), Masker::new(), false));
            screen.line(HOSTILE);
            screen.aside(HOSTILE);
            let mut shown = kept.lock().expect("kept").clone();
            assert!(shown.contains("owned") && shown.contains("PLAY RECAP"));
            // Our own colours, and nothing else.
            for code in [
                "0",
                "1",
                "31",
                "32",
                "33",
                "34",
                "35",
                "36",
                "91",
                "92",
                "93",
                "94",
                "96",
                "1m\u{1b}[91",
                "1m\u{1b}[94",
            ] {
                shown = shown.replace(&format!("\u{1b}[{code}m"), "");
            }
            harmless(&shown);
        }
    }

    #[test]
    fn json_stays_json_and_says_what_was_said() {
        let screen = screen(true, false);
        let kept = std::sync::Arc::clone(&screen.kept);
        tell(&mut JsonConsole::new(screen, Masker::new()));
        let shown = kept.lock().expect("kept").clone();
        harmless(&shown);
        let events: Vec<Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let note = events.iter().find(|event| event["event"] == "note").expect("a note");
        assert_eq!(note["msg"], HOSTILE);
    }

    #[test]
    fn words_are_wrapped() {
        assert_eq!(wrap("one two three  four", 8), ["one two", "three ", "four"]);
        assert_eq!(wrap("incomprehensibilities a", 8), ["incomprehensibilities", "a"]);
        assert_eq!(wrap("", 8), [""]);
    }
}
