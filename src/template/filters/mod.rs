//! Ansible's filters as plain functions over plain values, written once and registered in both dialects.

mod args;
mod convert;
mod data;
mod dicts;
mod format;
mod lists;
mod math;
mod md5;
mod net;
mod paths;
mod text;
mod time;

pub use args::{Args, Refusal};
pub(super) use convert::int_of;
pub use convert::truth;
pub(super) use format::{braces, percent};
pub(super) use text::pattern;

use serde_json::Value;

/// A filter: its arguments (the first is what stands before the `|`) to its result.
pub type Filter = fn(Args) -> Result<Value, Refusal>;

/// Every filter and its name.
pub fn all() -> impl Iterator<Item = (&'static str, Filter)> {
    TABLES.iter().flat_map(|table| table.iter().copied())
}

/// The filter of that name; Ansible's collection prefixes are accepted.
pub fn find(name: &str) -> Option<Filter> {
    let name = short(name);
    all().find(|(known, _)| *known == name).map(|(_, filter)| filter)
}

/// Whether there is such a filter.
pub fn exists(name: &str) -> bool {
    all().any(|(known, _)| known == name)
}

/// The names of all filters.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

/// What to use instead of filters that Ansible has and this program has not.
pub fn instead_of(name: &str) -> Option<&'static str> {
    Some(match short(name) {
        "password_hash" => "a salt drawn anew would change every run: keep the hash itself in a vault value",
        "json_query" => "use `selectattr`, `map(attribute=...)` and `[...]`",
        "vault" | "unvault" => "vault values are decrypted where they are used",
        "shuffle" => "its order would change every run",
        "expanduser" | "expandvars" | "realpath" | "relpath" => {
            "it would ask the control machine: write the path out"
        }
        _ => return None,
    })
}

fn short(name: &str) -> &str {
    ["ansible.builtin.", "ansible.utils.", "ansible.netcommon.", "community.general."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

const TABLES: &[&[(&str, Filter)]] = &[
    convert::FILTERS,
    data::FILTERS,
    dicts::FILTERS,
    format::FILTERS,
    lists::FILTERS,
    math::FILTERS,
    net::FILTERS,
    paths::FILTERS,
    text::FILTERS,
    time::FILTERS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_name_is_given_twice() {
        let mut seen = BTreeSet::new();
        for name in super::names() {
            assert!(seen.insert(name), "{name}");
        }
    }
}
