//! YAML with a place on every key and value.

mod node;

pub use node::{Entry, Kind, Node};
