//! Places in source text, and messages that point at them.

mod diagnostic;
mod fault;
mod render;
mod source;
mod span;
mod suggest;

pub use diagnostic::{Diagnostic, Frame, Severity};
pub use fault::Fault;
pub use render::{Style, is_unseen, joined_by_host, printable, render, to_json};
pub use source::{Location, SourceMap};
pub use span::{FileId, Span, Spanned};
pub use suggest::{did_you_mean, nearest};
