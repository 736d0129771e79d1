//! What a module says of itself: one definition for checking, help and completion.

use super::Nature;

/// Name, parameters and reference text of a module.
#[derive(Debug)]
pub struct Spec {
    /// Ansible's name, without a collection: `lineinfile`.
    pub name: &'static str,
    /// Other names of the same module: `systemd_service`.
    pub aliases: &'static [&'static str],
    /// One line.
    pub summary: &'static str,
    /// The module's own source text; its leading `//!` lines are the reference text.
    pub source: &'static str,
    /// How it stands to reading ahead and check mode.
    pub nature: Nature,
    /// The parameter that a task may give as a bare string (`command: uptime`).
    pub free_form: Option<&'static str>,
    /// Whether keys that `params` does not name are taken as they stand (`set_fact`).
    pub open: bool,
    /// Parameters, in the order of the reference text.
    pub params: &'static [Param],
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// Ansible's name.
    pub name: &'static str,
    /// Other names of the same parameter.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// Whether a task must give it.
    pub required: bool,
    /// What holds when it is not given, as text for people.
    pub default: Option<&'static str>,
    /// One or two sentences.
    pub doc: &'static str,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text (numbers and booleans are taken by their text).
    Str,
    /// An absolute path on the host.
    Path,
    /// `true` or `false` (Ansible's yes, no, on, off as well).
    Bool,
    /// A whole number.
    Int,
    /// A file mode: `"0644"` or `u=rw,g=r`. Bare numbers that may be misread are refused.
    Mode,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A list of texts; a single text is a list of one, commas separate.
    List,
    /// A mapping.
    Dict,
    /// Anything.
    Any,
    /// A condition or a list of conditions, evaluated before the module sees them: a list of
    /// `{condition: text, holds: bool}`.
    Conditions,
    /// A bare expression (`debug: {var: ansible_facts.hostname}`), evaluated before the module sees it:
    /// `{expression: text, value: any}`, without `value` when it is undefined.
    Expression,
    /// A file of the control machine, looked up in the role's `files/` and beside the site; the module sees
    /// `{path, content}` (content base64).
    LocalFile,
    /// A template of the control machine, looked up in `templates/`, rendered before the module sees it;
    /// the module sees `{path, content}` (content text).
    LocalTemplate,
}

impl Param {
    /// A parameter that may be left out.
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, aliases: &[], kind, required: false, default: None, doc }
    }

    /// Must be given.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What holds when it is not given.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Other names of it.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

impl Spec {
    /// The parameter of this name or alias.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        let params: &'static [Param] = self.params;
        params.iter().find(|param| param.name == name || param.aliases.contains(&name))
    }

    /// The reference text: the leading `//!` lines of the module's file.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str => f.write_str("a text"),
            Self::Path => f.write_str("an absolute path"),
            Self::Bool => f.write_str("true or false"),
            Self::Int => f.write_str("a whole number"),
            Self::Mode => f.write_str("a file mode, quoted (\"0644\")"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
            Self::List => f.write_str("a list of texts"),
            Self::Dict => f.write_str("a mapping"),
            Self::Any => f.write_str("any value"),
            Self::Conditions => f.write_str("a condition or a list of conditions"),
            Self::Expression => f.write_str("an expression"),
            Self::LocalFile => f.write_str("a file of the control machine"),
            Self::LocalTemplate => f.write_str("a template of the control machine"),
        }
    }
}
