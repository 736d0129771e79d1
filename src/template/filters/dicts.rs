//! Filters of mappings.

use super::lists::{ordered, pairs};
use super::{Args, Filter, Refusal};
use crate::template::python;
use serde_json::{Map, Value};

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("combine", combine),
    ("dict2items", dict2items),
    ("dictsort", dictsort),
    ("items", items),
    ("items2dict", items2dict),
];

/// `combine(*others, recursive=false, list_merge='replace')`.
fn combine(mut args: Args) -> Result<Value, Refusal> {
    let mut inputs = match args.input()? {
        Value::Array(items) => items,
        other => vec![other],
    };
    let recursive = args.take_named("recursive").is_some_and(|flag| python::truthy(&flag));
    let merge = args.take_named("list_merge").map_or_else(|| "replace".to_owned(), |word| python::str(&word));
    const MERGES: [&str; 6] = ["replace", "keep", "append", "prepend", "append_rp", "prepend_rp"];
    if !MERGES.contains(&merge.as_str()) {
        return Err(format!("`list_merge` is one of {}", MERGES.join(", ")).into());
    }
    for other in args.rest()? {
        match other {
            Value::Array(items) => inputs.extend(items),
            other => inputs.push(other),
        }
    }
    args.done()?;
    let mut out = Map::new();
    for input in inputs {
        match input {
            Value::Object(map) => merge_into(&mut out, map, recursive, &merge),
            other => return Err(format!("it takes mappings, not {}", python::type_name(&other)).into()),
        }
    }
    Ok(Value::Object(out))
}

fn merge_into(out: &mut Map<String, Value>, other: Map<String, Value>, recursive: bool, merge: &str) {
    for (key, value) in other {
        match (out.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(value)) if recursive => {
                merge_into(inner, value, recursive, merge);
            }
            (Some(Value::Array(old)), Value::Array(new)) => merge_lists(old, new, merge),
            (_, value) => {
                out.insert(key, value);
            }
        }
    }
}

fn merge_lists(old: &mut Vec<Value>, new: Vec<Value>, merge: &str) {
    match merge {
        "keep" => {}
        "append" => old.extend(new),
        "prepend" => {
            old.splice(0..0, new);
        }
        "append_rp" => {
            old.retain(|item| !new.iter().any(|other| python::equal(item, other)));
            old.extend(new);
        }
        "prepend_rp" => {
            old.retain(|item| !new.iter().any(|other| python::equal(item, other)));
            old.splice(0..0, new);
        }
        _ => *old = new,
    }
}

/// `dict2items(key_name='key', value_name='value')`.
fn dict2items(mut args: Args) -> Result<Value, Refusal> {
    let map = args.input_map()?;
    let key_name = args.text("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value_name = args.text("value_name")?.unwrap_or_else(|| "value".to_owned());
    args.done()?;
    Ok(map
        .into_iter()
        .map(|(key, value)| {
            let pair = [(key_name.clone(), Value::String(key)), (value_name.clone(), value)];
            Value::Object(pair.into_iter().collect())
        })
        .collect())
}

/// `items2dict(key_name='key', value_name='value')`.
fn items2dict(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let key_name = args.text("key_name")?.unwrap_or_else(|| "key".to_owned());
    let value_name = args.text("value_name")?.unwrap_or_else(|| "value".to_owned());
    args.done()?;
    let mut out = Map::new();
    for item in items {
        let part = |name: &str| {
            item.get(name).cloned().ok_or_else(|| Refusal::new(format!("an item has no `{name}`")))
        };
        out.insert(python::str(&part(&key_name)?), part(&value_name)?);
    }
    Ok(Value::Object(out))
}

/// `dictsort(case_sensitive=false, by='key', reverse=false)`.
fn dictsort(mut args: Args) -> Result<Value, Refusal> {
    let map = args.input_map()?;
    let sensitive = args.flag("case_sensitive", false);
    let by = args.text("by")?.unwrap_or_else(|| "key".to_owned());
    let reverse = args.flag("reverse", false);
    args.done()?;
    let at = match by.as_str() {
        "key" => 0,
        "value" => 1,
        _ => return Err("`by` is `key` or `value`".into()),
    };
    let keyed = pairs(map).map(|pair| {
        let key = match pair.get(at) {
            Some(Value::String(text)) if !sensitive => Value::String(text.to_lowercase()),
            Some(other) => other.clone(),
            None => Value::Null,
        };
        (vec![key], pair)
    });
    ordered(keyed.collect(), reverse).map(Value::Array)
}

fn items(mut args: Args) -> Result<Value, Refusal> {
    let map = args.input_map()?;
    args.done()?;
    Ok(pairs(map).collect())
}
