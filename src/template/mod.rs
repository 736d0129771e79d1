//! One template layer: Jinja2 for expressions in YAML and `*.j2` files, Tera for the program's own `*.tera` files, with
//! Ansible's filters, tests and lookups in both. Undefined variables are errors with their place.
//!
//! | question | answer |
//! |---|---|
//! | what a text gives | [`Templates::render_node`], [`Templates::render_value`] |
//! | what a condition gives | [`Templates::condition`], [`Templates::eval`] |
//! | what a file becomes | [`Templates::render_file`] |
//! | which variables a text needs | [`Templates::roots`] and its siblings |
//! | what a text and all that it takes in may ask for | [`Templates::uses`] and its siblings |
//!
//! A string that is exactly one `{{ expression }}` keeps the type of its result. Variables are rendered when they are
//! used, not before, so that a broken variable that nobody uses does no harm.

mod compile;
mod engine;
mod env;
mod errors;
mod file;
pub mod filters;
mod functions;
mod lazy;
mod password;
pub mod python;
mod scope;
mod session;
mod syntax;
mod tera;
pub mod tests;
mod uses;
pub mod version;
mod yaml_out;

pub use compile::is_template;
pub use engine::{Root, Templates};
pub use file::{Dialect, FileOptions};
pub use password::{NOWHERE, alphabet, kept};
pub use scope::{FileText, Foreseen, LATER, Lookups, NoLookups, PasswordRequest, Scope, Variable};
pub use session::OMIT;
pub use uses::Uses;

#[cfg(test)]
mod cases;

#[cfg(test)]
mod diagnostics;
