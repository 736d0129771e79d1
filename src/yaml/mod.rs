//! YAML with a place on every key and value.

mod decode;
mod node;
mod parse;
mod scalar;
mod syntax;

pub use decode::{Reader, truth, type_fault};
pub use node::{Entry, Kind, Node};
pub use parse::parse;
