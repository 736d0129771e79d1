//! What a module says when it cannot go on: a parameter to blame, never a span or a host.

/// A refusal or failure of one module call. The engine turns it into a [`Diagnostic`](super::Diagnostic).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The parameter to blame; `None` blames the whole task.
    pub param: Option<String>,
    /// One line, no trailing period.
    pub message: String,
    /// Facts worth showing.
    pub notes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
}

impl Fault {
    /// A fault of the whole task.
    pub fn task(message: impl Into<String>) -> Self {
        Self { param: None, message: message.into(), notes: Vec::new(), hints: Vec::new() }
    }

    /// A fault that one parameter is to blame for.
    pub fn param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::task(message) }
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
}
