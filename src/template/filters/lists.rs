//! Filters of lists.

use super::args::list;
use super::{Args, Filter, Refusal};
use crate::template::{python, tests};
use serde_json::{Map, Value};
use std::cmp::Ordering;

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("batch", batch),
    ("count", length),
    ("difference", difference),
    ("extract", extract),
    ("first", first),
    ("flatten", flatten),
    ("groupby", groupby),
    ("intersect", intersect),
    ("join", join),
    ("last", last),
    ("length", length),
    ("map", map),
    ("product", product),
    ("random", random),
    ("reject", reject),
    ("rejectattr", rejectattr),
    ("reverse", reverse),
    ("select", select),
    ("selectattr", selectattr),
    ("slice", slice),
    ("sort", sort),
    ("subelements", subelements),
    ("symmetric_difference", symmetric_difference),
    ("union", union),
    ("unique", unique),
    ("zip", zip),
    ("zip_longest", zip_longest),
];

/// What `a.b.0` names inside a value.
pub(in crate::template) fn attribute(value: &Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(value.clone(), |value, link| match value {
        Value::Object(mut map) => map.remove(link),
        Value::Array(items) => link.parse::<usize>().ok().and_then(|index| items.get(index).cloned()),
        _ => None,
    })
}

fn length(mut args: Args) -> Result<Value, Refusal> {
    let length = match args.input()? {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        other => return Err(format!("{} has no length", python::type_name(&other)).into()),
    };
    args.done()?;
    Ok(Value::from(length))
}

/// `join(d='', attribute=None)`.
fn join(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let separator = args.text("d")?.unwrap_or_default();
    let path = args.text("attribute")?;
    args.done()?;
    let texts = items.iter().map(|item| match &path {
        Some(path) => attribute(item, path).map(|value| python::str(&value)).ok_or_else(|| lacks(path)),
        None => Ok(python::str(item)),
    });
    Ok(Value::String(texts.collect::<Result<Vec<_>, _>>()?.join(&separator)))
}

fn lacks(path: &str) -> Refusal {
    Refusal::new(format!("an item has no `{path}`"))
        .hint("give `default=` or take such items out with `selectattr`")
}

/// What has no first, last, least or greatest item.
pub(super) const EMPTY: Refusal = Refusal::Nothing("the list is empty");

fn first(mut args: Args) -> Result<Value, Refusal> {
    args.input_list()?.into_iter().next().ok_or(EMPTY)
}

fn last(mut args: Args) -> Result<Value, Refusal> {
    args.input_list()?.pop().ok_or(EMPTY)
}

fn reverse(mut args: Args) -> Result<Value, Refusal> {
    match args.input()? {
        Value::String(text) => Ok(Value::String(text.chars().rev().collect())),
        other => {
            let items = list(other).map_err(|found| Refusal::new(format!("it takes a list, not {found}")))?;
            Ok(items.into_iter().rev().collect())
        }
    }
}

/// `map('filter', ...)` or `map(attribute='path', default=None)`.
fn map(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    if let Some(path) = args.take_named("attribute") {
        let path = python::str(&path);
        let has_default = args.has_named("default");
        let default = args.take_named("default").unwrap_or(Value::Null);
        args.done()?;
        return items
            .iter()
            .map(|item| match attribute(item, &path) {
                Some(value) => Ok(value),
                None if has_default => Ok(default.clone()),
                None => Err(lacks(&path)),
            })
            .collect();
    }
    let name = args.needed_text("filter")?;
    let filter = super::find(&name).ok_or_else(|| Refusal::new(format!("unknown filter `{name}`")))?;
    items.into_iter().map(|item| filter(args.with_input("map", Some(item)))).collect()
}

fn chosen(mut args: Args, by_attribute: bool, keep: bool) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let path = if by_attribute { Some(args.needed_text("attribute")?) } else { None };
    let name = args.text("test")?;
    let test = match &name {
        Some(name) => Some(tests::find(name).ok_or_else(|| Refusal::new(format!("unknown test `{name}`")))?),
        None => None,
    };
    let tolerant = matches!(name.as_deref(), Some("defined" | "undefined"));
    let mut out = Vec::new();
    for item in items {
        let subject = match &path {
            Some(path) => attribute(&item, path),
            None => Some(item.clone()),
        };
        let passes = match (test, subject) {
            (Some(_), None) if !tolerant => return Err(path.as_deref().map_or(Refusal::Undefined, lacks)),
            (Some(test), subject) => test(args.with_input("test", subject))?,
            (None, Some(subject)) => python::truthy(&subject),
            (None, None) => return Err(path.as_deref().map_or(Refusal::Undefined, lacks)),
        };
        if passes == keep {
            out.push(item);
        }
    }
    Ok(Value::Array(out))
}

fn select(args: Args) -> Result<Value, Refusal> {
    chosen(args, false, true)
}

fn reject(args: Args) -> Result<Value, Refusal> {
    chosen(args, false, false)
}

fn selectattr(args: Args) -> Result<Value, Refusal> {
    chosen(args, true, true)
}

fn rejectattr(args: Args) -> Result<Value, Refusal> {
    chosen(args, true, false)
}

/// Texts fold to lower case unless `case_sensitive`.
fn folded(value: Value, sensitive: bool) -> Value {
    match value {
        Value::String(text) if !sensitive => Value::String(text.to_lowercase()),
        other => other,
    }
}

pub(super) fn ordered(mut keyed: Vec<(Vec<Value>, Value)>, reverse: bool) -> Result<Vec<Value>, Refusal> {
    let mut clash = None;
    keyed.sort_by(|(left, _), (right, _)| {
        let order = left.iter().zip(right).map(|(left, right)| {
            python::compare(left, right).unwrap_or_else(|| {
                clash = Some((python::type_name(left), python::type_name(right)));
                Ordering::Equal
            })
        });
        let order = order.fold(Ordering::Equal, Ordering::then);
        if reverse { order.reverse() } else { order }
    });
    match clash {
        Some((left, right)) => Err(Refusal::new(format!("{left} and {right} have no order"))
            .hint("make them alike first, for instance with `map('string')`")),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

/// `sort(reverse=false, case_sensitive=false, attribute=None)`.
fn sort(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let reverse = args.flag("reverse", false);
    let sensitive = args.flag("case_sensitive", false);
    let paths = args.text("attribute")?;
    args.done()?;
    let keyed = items
        .into_iter()
        .map(|item| {
            let keys = match &paths {
                None => vec![folded(item.clone(), sensitive)],
                Some(paths) => paths
                    .split(',')
                    .map(|path| {
                        attribute(&item, path).map(|key| folded(key, sensitive)).ok_or_else(|| lacks(path))
                    })
                    .collect::<Result<_, _>>()?,
            };
            Ok((keys, item))
        })
        .collect::<Result<Vec<_>, Refusal>>()?;
    ordered(keyed, reverse).map(Value::Array)
}

fn without_doubles(items: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        if !out.iter().any(|other| python::equal(other, &item)) {
            out.push(item);
        }
    }
    out
}

/// `unique(case_sensitive=false, attribute=None)`: the first of each.
fn unique(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let sensitive = args.flag("case_sensitive", false);
    let path = args.text("attribute")?;
    args.done()?;
    let mut seen: Vec<Value> = Vec::new();
    let mut out = Vec::new();
    for item in items {
        let key = match &path {
            Some(path) => attribute(&item, path).ok_or_else(|| lacks(path))?,
            None => item.clone(),
        };
        let key = folded(key, sensitive);
        if !seen.iter().any(|other| python::equal(other, &key)) {
            seen.push(key);
            out.push(item);
        }
    }
    Ok(Value::Array(out))
}

fn two_lists(mut args: Args) -> Result<(Vec<Value>, Vec<Value>), Refusal> {
    let left = args.input_list()?;
    let right = args.needed_list("list")?;
    args.done()?;
    Ok((left, right))
}

fn within(items: &[Value], item: &Value) -> bool {
    items.iter().any(|other| python::equal(other, item))
}

fn union(args: Args) -> Result<Value, Refusal> {
    let (left, right) = two_lists(args)?;
    Ok(Value::Array(without_doubles(left.into_iter().chain(right))))
}

fn intersect(args: Args) -> Result<Value, Refusal> {
    let (left, right) = two_lists(args)?;
    Ok(Value::Array(without_doubles(left.into_iter().filter(|item| within(&right, item)))))
}

fn difference(args: Args) -> Result<Value, Refusal> {
    let (left, right) = two_lists(args)?;
    Ok(Value::Array(without_doubles(left.into_iter().filter(|item| !within(&right, item)))))
}

fn symmetric_difference(args: Args) -> Result<Value, Refusal> {
    let (left, right) = two_lists(args)?;
    let only_left: Vec<_> = left.iter().filter(|item| !within(&right, item)).cloned().collect();
    let only_right = right.into_iter().filter(|item| !within(&left, item));
    Ok(Value::Array(without_doubles(only_left.into_iter().chain(only_right))))
}

/// `flatten(levels=None, skip_nulls=true)`.
fn flatten(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let levels = args.int("levels")?.unwrap_or(i64::MAX);
    let skip = args.flag("skip_nulls", true);
    args.done()?;
    fn spread(items: Vec<Value>, levels: i64, skip: bool, out: &mut Vec<Value>) {
        for item in items {
            match item {
                Value::Array(inner) if levels > 0 => spread(inner, levels - 1, skip, out),
                Value::Null if skip => {}
                Value::String(word) if skip && matches!(word.as_str(), "None" | "null") => {}
                other => out.push(other),
            }
        }
    }
    let mut out = Vec::new();
    spread(items, levels, skip, &mut out);
    Ok(Value::Array(out))
}

fn zipped(mut args: Args, longest: bool) -> Result<Value, Refusal> {
    let mut lists = vec![args.input_list()?];
    let fill = args.take_named("fillvalue").unwrap_or(Value::Null);
    for other in args.rest()? {
        lists.push(list(other).map_err(|found| Refusal::new(format!("it takes lists, not {found}")))?);
    }
    args.done()?;
    let lengths = lists.iter().map(Vec::len);
    let length = if longest { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let row = |index: usize| {
        lists.iter().map(|items| items.get(index).cloned().unwrap_or_else(|| fill.clone())).collect::<Value>()
    };
    Ok((0..length).map(row).collect())
}

fn zip(args: Args) -> Result<Value, Refusal> {
    zipped(args, false)
}

fn zip_longest(args: Args) -> Result<Value, Refusal> {
    zipped(args, true)
}

/// More rows than this are a mistake, and would eat the memory.
const MOST_ROWS: usize = 1_000_000;

/// `product(*lists)`.
fn product(mut args: Args) -> Result<Value, Refusal> {
    let mut rows: Vec<Vec<Value>> = args.input_list()?.into_iter().map(|item| vec![item]).collect();
    for other in args.rest()? {
        let items = list(other).map_err(|found| Refusal::new(format!("it takes lists, not {found}")))?;
        if rows.len().saturating_mul(items.len()) > MOST_ROWS {
            return Err("more than a million combinations".into());
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                items.iter().map(|item| row.iter().cloned().chain([item.clone()]).collect::<Vec<_>>())
            })
            .collect();
    }
    Ok(rows.into_iter().map(Value::Array).collect())
}

/// `key | extract(container, morekeys=None)`.
fn extract(mut args: Args) -> Result<Value, Refusal> {
    let key = args.input()?;
    let container = args.needed("container")?;
    let more = match args.take("morekeys") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(keys)) => keys,
        Some(key) => vec![key],
    };
    args.done()?;
    std::iter::once(key).chain(more).try_fold(container, |value, key| {
        let text = python::str(&key);
        attribute_plain(&value, &text).ok_or_else(|| Refusal::new(format!("there is no `{text}`")))
    })
}

fn attribute_plain(value: &Value, key: &str) -> Option<Value> {
    match value {
        Value::Object(map) => map.get(key).cloned(),
        Value::Array(items) => {
            let index: i64 = key.parse().ok()?;
            let index = if index < 0 { index + i64::try_from(items.len()).ok()? } else { index };
            items.get(usize::try_from(index).ok()?).cloned()
        }
        _ => None,
    }
}

/// `subelements('path', skip_missing=false)`.
fn subelements(mut args: Args) -> Result<Value, Refusal> {
    let items = match args.input()? {
        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
        Value::Array(items) => items,
        other => return Err(format!("it takes a list, not {}", python::type_name(&other)).into()),
    };
    let path = match args.needed("subelements")? {
        Value::Array(links) => links.iter().map(python::str).collect::<Vec<_>>().join("."),
        other => python::str(&other),
    };
    let skip = args.flag("skip_missing", false);
    args.done()?;
    let mut out = Vec::new();
    for item in items {
        match attribute(&item, &path) {
            Some(Value::Array(parts)) => {
                out.extend(parts.into_iter().map(|part| Value::Array(vec![item.clone(), part])));
            }
            Some(_) => return Err(format!("`{path}` is not a list in every item").into()),
            None if skip => {}
            None => return Err(lacks(&path)),
        }
    }
    Ok(Value::Array(out))
}

/// `groupby(attribute, default=None)`: pairs of key and items.
fn groupby(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let path = args.needed_text("attribute")?;
    let default = args.take("default");
    args.done()?;
    let mut groups: Vec<(Vec<Value>, Value)> = Vec::new();
    for item in items {
        let key = attribute(&item, &path).or_else(|| default.clone()).ok_or_else(|| lacks(&path))?;
        let folded_key = folded(key.clone(), false);
        match groups
            .iter_mut()
            .find(|(known, _)| known.first().is_some_and(|known| python::equal(known, &folded_key)))
        {
            Some((_, Value::Array(pair))) => {
                if let Some(Value::Array(list)) = pair.get_mut(1) {
                    list.push(item);
                }
            }
            _ => groups.push((vec![folded_key], Value::Array(vec![key, Value::Array(vec![item])]))),
        }
    }
    ordered(groups, false).map(Value::Array)
}

/// `batch(linecount, fill_with=None)`.
fn batch(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let size = args.int("linecount")?.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    let size = size.ok_or("it needs a size above 0")?;
    let fill = args.take("fill_with");
    let mut rows: Vec<Vec<Value>> = items.chunks(size).map(<[Value]>::to_vec).collect();
    if let (Some(fill), Some(last)) = (fill, rows.last_mut())
        && size <= MOST_ROWS
    {
        last.resize(size, fill);
    }
    Ok(rows.into_iter().map(Value::Array).collect())
}

/// `slice(slices, fill_with=None)`: that many columns.
fn slice(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let columns = args.int("slices")?.and_then(|count| usize::try_from(count).ok());
    let columns =
        columns.filter(|count| (1..=MOST_ROWS).contains(count)).ok_or("it needs a count above 0")?;
    let fill = args.take("fill_with");
    let (each, longer) = (items.len() / columns, items.len() % columns);
    let mut rest = items.into_iter();
    let column = |index: usize| {
        let mut column: Vec<Value> = rest.by_ref().take(each + usize::from(index < longer)).collect();
        if let Some(fill) = &fill
            && longer > 0
            && index >= longer
        {
            column.push(fill.clone());
        }
        Value::Array(column)
    };
    Ok((0..columns).map(column).collect())
}

/// `random(seed=...)`: the same for the same seed, forever; without a seed it would change every run.
fn random(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let start = args.int("start")?.unwrap_or(0);
    let step = args.int("step")?.unwrap_or(1).max(1);
    let seed = args.take_named("seed");
    args.done()?;
    let Some(seed) = seed else {
        return Err(Refusal::new("without a seed it would change every run")
            .hint("write `random(seed=inventory_hostname)`"));
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, python::str(&seed).as_bytes());
    let number = digest.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let pick = |count: u64| usize::try_from(number % count.max(1)).unwrap_or(0);
    match input {
        Value::Number(end) => {
            let end = end.as_i64().unwrap_or(0);
            let count =
                end.saturating_sub(start).checked_div(step).and_then(|count| u64::try_from(count).ok());
            let count = count.filter(|count| *count > 0).ok_or("the range is empty")?;
            Ok(Value::from(start.saturating_add(step.saturating_mul(pick(count) as i64))))
        }
        other => {
            let items = list(other).map_err(|found| Refusal::new(format!("it takes a list, not {found}")))?;
            items.get(pick(items.len() as u64)).cloned().ok_or_else(|| "the list is empty".into())
        }
    }
}

/// For `dictsort` and others that need an order of pairs.
pub(super) fn pairs(map: Map<String, Value>) -> impl Iterator<Item = Value> {
    map.into_iter().map(|(key, value)| Value::Array(vec![Value::String(key), value]))
}
