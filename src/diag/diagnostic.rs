//! One message for a tired person: what, where, why, what to do.

use super::span::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Stops the run.
    Error,
    /// Worth knowing; the run goes on.
    Warning,
}

/// One step of the way that led to the fault: a role call, an include, a loop item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the call stands.
    pub span: Span,
    /// What it is, without the place: "role `common`, called".
    pub text: String,
}

/// A message that points at the text to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable kebab-case name of the kind of fault, for JSON and tests: `unknown-parameter`.
    pub code: &'static str,
    /// One line, no trailing period, names in backticks.
    pub message: String,
    /// The text to blame.
    pub span: Option<Span>,
    /// Short text beside the caret: "did you mean `mode`?".
    pub label: Option<String>,
    /// The way that led there, innermost first.
    pub frames: Vec<Frame>,
    /// Facts: values of variables and where they were set, the command that ran, its output.
    pub notes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
    /// Hosts it happened on; empty when it needs no host.
    pub hosts: Vec<String>,
}

impl Diagnostic {
    /// An error of kind `code`.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: None,
            label: None,
            frames: Vec::new(),
            notes: Vec::new(),
            hints: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// A warning of kind `code`.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Points at the text to blame.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Short text beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds an outer frame.
    pub fn frame(mut self, span: Span, text: impl Into<String>) -> Self {
        self.frames.push(Frame { span, text: text.into() });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do, if there is something.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }

    /// Says on which host it happened.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }
}
