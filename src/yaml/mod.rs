//! YAML with a place on every key and value.

mod node;
mod parse;
mod scalar;
mod syntax;

pub use node::{Entry, Kind, Node};
pub use parse::parse;
