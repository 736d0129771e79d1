//! What a template may ask of the world: the variables of a host, and what only an edge can answer.

use crate::diag::FileId;
use crate::shell::Secret;
use crate::yaml::Node;
use serde_json::Value;
use std::sync::Arc;

/// A variable as it was defined.
#[derive(Debug, Clone)]
pub enum Variable {
    /// As written in YAML: the templates in it are rendered when they are used, never before.
    Node(Arc<Node>),
    /// A finished value: facts, registered results, loop items. Braces in it are plain text.
    Value(Arc<Value>),
}

/// What a scope that looks ahead of the run knows of a variable. Whatever needs what is not known fails with the code
/// [`LATER`]; what a short circuit leaves out does not need it.
#[derive(Debug, Clone)]
pub enum Foreseen {
    /// A mapping of which some keys are not known yet: those that are not in it.
    Partly(Arc<Value>),
    /// Nothing: the run will tell.
    Later,
}

/// The code of the fault that says nothing but that a value is not known yet.
pub const LATER: &str = "known-later";

impl From<Value> for Variable {
    fn from(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

impl From<Node> for Variable {
    fn from(node: Node) -> Self {
        Self::Node(Arc::new(node))
    }
}

/// The variables of one host at one moment, unrendered.
///
/// It is handed over as `Arc<dyn Scope>` because values stay lazy while a template runs. `hostvars`, `groups`,
/// `group_names`, `inventory_hostname` and `ansible_facts` are variables like any other.
pub trait Scope: Send + Sync {
    /// The definition of a variable; `None` when it is undefined.
    fn get(&self, name: &str) -> Option<Variable>;
    /// Every name that is defined, for "did you mean".
    fn names(&self) -> Vec<String>;
    /// What is known of a variable that only the run brings; `None` for all that [`get`](Self::get) answers.
    fn foreseen(&self, _name: &str) -> Option<Foreseen> {
        None
    }
    /// Whether these are all variables there will be.
    fn is_whole(&self) -> bool {
        true
    }
}

/// A plain mapping is a scope of finished values.
impl Scope for serde_json::Map<String, Value> {
    fn get(&self, name: &str) -> Option<Variable> {
        self.get(name).map(|value| Variable::from(value.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// The text of a file that another template includes.
#[derive(Debug, Clone)]
pub struct FileText {
    /// Its place in the source map.
    pub file: FileId,
    /// What stands in it.
    pub text: Arc<str>,
}

/// What `lookup('password', ...)` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordRequest {
    /// The file on the control machine that keeps it, as written.
    pub path: String,
    /// How many characters a new one has.
    pub length: usize,
    /// Character classes a new one is made of, as Ansible names them: `ascii_letters`, `digits`, or characters.
    pub chars: Vec<String>,
}

/// What a template asks of the control machine. `from` is the file the asking template stands in, so that relative
/// paths can be searched beside it (`files/`, `templates/` of its role). Errors are one line without a period.
pub trait Lookups: Send + Sync {
    /// A variable of the environment.
    fn env(&self, name: &str) -> Option<String>;
    /// The text of a file, searched as Ansible's `file` lookup does.
    fn file(&self, from: FileId, path: &str) -> Result<String, String>;
    /// The text of a template that is included, imported or extended, or asked for by `lookup('template', ...)`.
    fn template(&self, from: FileId, path: &str) -> Result<FileText, String>;
    /// The path of the first of these files that exists.
    fn first_found(&self, from: FileId, paths: &[String]) -> Option<String>;
    /// Paths that match a shell pattern, sorted.
    fn fileglob(&self, from: FileId, pattern: &str) -> Vec<String>;
    /// The plain text of a `!vault` value.
    fn decrypt(&self, ciphertext: &str) -> Result<Secret, String>;
    /// A password that is made once and kept.
    fn password(&self, from: FileId, request: &PasswordRequest) -> Result<Secret, String>;
    /// Whether a text holds a password that was made in this run: nobody has known it before.
    fn is_fresh(&self, _text: &str) -> bool {
        false
    }
    /// From now on what is made is kept at once, and so is what was made, except passwords that stand in `held`.
    ///
    /// # Errors
    /// One cannot be written down.
    fn settle(&self, _held: &[String]) -> Result<(), String> {
        Ok(())
    }
    /// Keeps passwords that stand in a text: a host is about to get them.
    ///
    /// # Errors
    /// One cannot be written down.
    fn keep(&self, _text: &str) -> Result<(), String> {
        Ok(())
    }
    /// Forgets passwords of this run that stand in a text: they were refused, and the next run shall refuse them too.
    fn disown(&self, _text: &str) {}
    /// The source text of a file, so that faults can point into a scalar.
    fn source(&self, file: FileId) -> Option<Arc<str>>;
}

/// Answers nothing: for templates that must stand alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLookups;

impl Lookups for NoLookups {
    fn env(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _from: FileId, path: &str) -> Result<String, String> {
        Err(format!("file `{path}` cannot be read here"))
    }

    fn template(&self, _from: FileId, path: &str) -> Result<FileText, String> {
        Err(format!("template `{path}` cannot be read here"))
    }

    fn first_found(&self, _from: FileId, _paths: &[String]) -> Option<String> {
        None
    }

    fn fileglob(&self, _from: FileId, _pattern: &str) -> Vec<String> {
        Vec::new()
    }

    fn decrypt(&self, _ciphertext: &str) -> Result<Secret, String> {
        Err("no vault password is known here".to_owned())
    }

    fn password(&self, _from: FileId, request: &PasswordRequest) -> Result<Secret, String> {
        Err(format!("password `{}` cannot be kept here", request.path))
    }

    fn source(&self, _file: FileId) -> Option<Arc<str>> {
        None
    }
}
