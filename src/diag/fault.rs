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
    /// Modules whose changes could heal it; `None`: any could. In check mode a fault is certain while none of them has
    /// announced a change before it.
    pub healers: Option<&'static [&'static str]>,
}

impl Fault {
    /// A fault of the whole task.
    pub fn task(message: impl Into<String>) -> Self {
        Self { param: None, message: message.into(), notes: Vec::new(), hints: Vec::new(), healers: None }
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

    /// Only changes of these modules could heal it.
    pub fn healed_by(mut self, modules: &'static [&'static str]) -> Self {
        self.healers = Some(modules);
        self
    }

    /// No change of a module could heal it: people decide.
    pub fn certain(self) -> Self {
        self.healed_by(&[])
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
