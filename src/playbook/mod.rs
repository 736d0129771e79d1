//! Plays, roles and tasks as people wrote them: decoded, every keyword checked, nothing resolved yet.
//!
//! A module call stays a name and a node here; `plan` binds it.

mod argument_spec;
mod decode;
mod keywords;
mod role;
mod role_args;
mod task;

pub use argument_spec::{ArgumentKind, ArgumentSpec, EntryPoint, Options, options_of};
pub use decode::decode_playbook;
pub use keywords::{Keywords, Loop, LoopSource};
pub use role::{RoleCall, RoleMeta, decode_defaults, decode_meta, decode_role_tasks};
pub use role_args::{Given, Pair, Placed, Wrong, check as check_arguments};
pub use task::{Action, Block, Include, IncludeKind, Item, Meta, Task, decode_items};

use crate::diag::{Span, Spanned};
use crate::yaml::{Entry, Node};

/// A whole playbook file.
#[derive(Debug, Clone, Default)]
pub struct Playbook {
    /// Plays and imported playbooks, in order.
    pub entries: Vec<PlaybookEntry>,
}

/// One entry of a playbook file.
#[derive(Debug, Clone)]
pub enum PlaybookEntry {
    /// A play.
    Play(Box<Play>),
    /// `import_playbook: file`.
    Import(Spanned<String>),
}

/// One play: hosts, and what shall hold there.
#[derive(Debug, Clone)]
pub struct Play {
    /// Where it stands.
    pub span: Span,
    /// Its name, or the host pattern.
    pub name: Spanned<String>,
    /// Host pattern.
    pub hosts: Spanned<String>,
    /// Whether facts are gathered (they come with the connection; `false` only hides them).
    pub gather_facts: bool,
    /// Batches: numbers of hosts or percentages.
    pub serial: Vec<Spanned<String>>,
    /// One failed host ends the play everywhere.
    pub any_errors_fatal: bool,
    /// Ends the play when more than this share of its hosts failed.
    pub max_fail_percentage: Option<u8>,
    /// Files of variables.
    pub vars_files: Vec<Spanned<String>>,
    /// Keywords that hold for every task of the play (`become`, `environment`, `tags`, `vars`, ...).
    pub keywords: Keywords,
    /// Before the roles.
    pub pre_tasks: Vec<Item>,
    /// Roles.
    pub roles: Vec<RoleCall>,
    /// After the roles.
    pub tasks: Vec<Item>,
    /// After the tasks and their handlers.
    pub post_tasks: Vec<Item>,
    /// The play's own handlers.
    pub handlers: Vec<Item>,
}

/// Variables as written: names, values and their places.
pub type VarEntries = Vec<Entry>;

/// The entries of a mapping of variables, or a diagnostic in `diags`.
pub(crate) fn variables(node: &Node, what: &str, diags: &mut Vec<crate::diag::Diagnostic>) -> VarEntries {
    let Some(entries) = node.as_map() else {
        if !node.is_null() {
            diags.push(wrong_type(node, what, "a mapping of names to values"));
        }
        return Vec::new();
    };
    for entry in entries {
        let Some(name) = entry.key.as_str() else {
            diags.push(wrong_type(&entry.key, "a variable's name", "a text"));
            continue;
        };
        if !is_identifier(name) {
            diags.push(
                crate::diag::Diagnostic::error(
                    "bad-variable-name",
                    format!("`{name}` cannot be a variable's name"),
                )
                .at(entry.key.span)
                .hint("names are letters, digits and underscores, and do not start with a digit"),
            );
        }
    }
    entries.to_vec()
}

/// Whether a text can name a variable.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// "`what` takes X, not Y".
pub(crate) fn wrong_type(node: &Node, what: &str, expected: &str) -> crate::diag::Diagnostic {
    crate::diag::Diagnostic::error("wrong-type", format!("{what} takes {expected}, not {}", node.describe()))
        .at(node.span)
}
