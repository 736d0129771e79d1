//! Ansible's tests (`is ...`) as plain functions over plain values.

use super::filters::{Args, Refusal, pattern, truth};
use super::python;
use super::version;
use serde_json::Value;

/// A test: its arguments (the first is what stands before `is`) to its answer.
pub type Test = fn(Args) -> Result<bool, Refusal>;

/// Every test and its name.
pub fn all() -> impl Iterator<Item = (&'static str, Test)> {
    TESTS.iter().copied()
}

/// The test of that name; Ansible's collection prefix is accepted.
pub fn find(name: &str) -> Option<Test> {
    let name = name.strip_prefix("ansible.builtin.").unwrap_or(name);
    all().find(|(known, _)| *known == name).map(|(_, test)| test)
}

/// Whether there is such a test.
pub fn exists(name: &str) -> bool {
    all().any(|(known, _)| known == name)
}

/// The names of all tests.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

const TESTS: &[(&str, Test)] = &[
    ("!=", ne),
    ("<", lt),
    ("<=", le),
    ("==", eq),
    (">", gt),
    (">=", ge),
    ("all", every),
    ("any", any),
    ("boolean", boolean),
    ("change", changed),
    ("changed", changed),
    ("contains", contains),
    ("defined", defined),
    ("divisibleby", divisibleby),
    ("empty", empty),
    ("endswith", endswith),
    ("eq", eq),
    ("equalto", eq),
    ("even", even),
    ("failed", failed),
    ("failure", failed),
    ("false", is_false),
    ("falsy", falsy),
    ("filter", is_filter),
    ("finished", finished),
    ("float", float),
    ("ge", ge),
    ("greaterthan", gt),
    ("gt", gt),
    ("in", within),
    ("integer", integer),
    ("ip", ip),
    ("issubset", subset),
    ("issuperset", superset),
    ("iterable", iterable),
    ("le", le),
    ("lessthan", lt),
    ("lower", lower),
    ("lt", lt),
    ("mapping", mapping),
    ("match", matches),
    ("ne", ne),
    ("none", none),
    ("number", number),
    ("odd", odd),
    ("reachable", reachable),
    ("regex", regex),
    ("sameas", sameas),
    ("search", search),
    ("sequence", sequence),
    ("skip", skipped),
    ("skipped", skipped),
    ("startswith", startswith),
    ("string", string),
    ("subset", subset),
    ("succeeded", succeeded),
    ("success", succeeded),
    ("superset", superset),
    ("test", is_test),
    ("true", is_true),
    ("truthy", truthy),
    ("undefined", undefined),
    ("unreachable", unreachable),
    ("upper", upper),
    ("version", version_is),
    ("version_compare", version_is),
];

fn one(mut args: Args, judge: impl FnOnce(&Value) -> bool) -> Result<bool, Refusal> {
    let value = args.input()?;
    args.done()?;
    Ok(judge(&value))
}

fn two(mut args: Args, judge: impl FnOnce(&Value, &Value) -> bool) -> Result<bool, Refusal> {
    let left = args.input()?;
    let right = args.needed("other")?;
    args.done()?;
    Ok(judge(&left, &right))
}

fn defined(mut args: Args) -> Result<bool, Refusal> {
    Ok(args.input_or_undefined()?.is_some())
}

fn undefined(mut args: Args) -> Result<bool, Refusal> {
    Ok(args.input_or_undefined()?.is_none())
}

fn none(args: Args) -> Result<bool, Refusal> {
    one(args, Value::is_null)
}

fn string(args: Args) -> Result<bool, Refusal> {
    one(args, Value::is_string)
}

fn number(args: Args) -> Result<bool, Refusal> {
    // Python's truth values are numbers.
    one(args, |value| value.is_number() || value.is_boolean())
}

fn integer(args: Args) -> Result<bool, Refusal> {
    one(args, |value| value.is_i64() || value.is_u64())
}

fn float(args: Args) -> Result<bool, Refusal> {
    one(args, Value::is_f64)
}

fn boolean(args: Args) -> Result<bool, Refusal> {
    one(args, Value::is_boolean)
}

fn is_true(args: Args) -> Result<bool, Refusal> {
    one(args, |value| *value == Value::Bool(true))
}

fn is_false(args: Args) -> Result<bool, Refusal> {
    one(args, |value| *value == Value::Bool(false))
}

fn mapping(args: Args) -> Result<bool, Refusal> {
    one(args, Value::is_object)
}

fn sequence(args: Args) -> Result<bool, Refusal> {
    one(args, |value| value.is_array() || value.is_string() || value.is_object())
}

fn iterable(args: Args) -> Result<bool, Refusal> {
    sequence(args)
}

fn empty(args: Args) -> Result<bool, Refusal> {
    one(args, |value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => value.is_null(),
    })
}

/// `truthy(convert_bool=false)`.
fn truthy(mut args: Args) -> Result<bool, Refusal> {
    let value = args.input()?;
    let convert = args.flag("convert_bool", false);
    args.done()?;
    match truth(&value) {
        Some(truth) if convert => Ok(truth),
        _ => Ok(python::truthy(&value)),
    }
}

fn falsy(args: Args) -> Result<bool, Refusal> {
    truthy(args).map(|truth| !truth)
}

fn eq(args: Args) -> Result<bool, Refusal> {
    two(args, python::equal)
}

fn ne(args: Args) -> Result<bool, Refusal> {
    two(args, |left, right| !python::equal(left, right))
}

fn ordered(mut args: Args, judge: fn(std::cmp::Ordering) -> bool) -> Result<bool, Refusal> {
    let left = args.input()?;
    let right = args.needed("other")?;
    match python::compare(&left, &right) {
        Some(order) => Ok(judge(order)),
        None => {
            Err(format!("{} and {} have no order", python::type_name(&left), python::type_name(&right))
                .into())
        }
    }
}

fn lt(args: Args) -> Result<bool, Refusal> {
    ordered(args, std::cmp::Ordering::is_lt)
}

fn le(args: Args) -> Result<bool, Refusal> {
    ordered(args, std::cmp::Ordering::is_le)
}

fn gt(args: Args) -> Result<bool, Refusal> {
    ordered(args, std::cmp::Ordering::is_gt)
}

fn ge(args: Args) -> Result<bool, Refusal> {
    ordered(args, std::cmp::Ordering::is_ge)
}

fn sameas(args: Args) -> Result<bool, Refusal> {
    two(args, |left, right| left == right)
}

fn odd(args: Args) -> Result<bool, Refusal> {
    one(args, |value| value.as_i64().is_some_and(|number| number % 2 != 0))
}

fn even(args: Args) -> Result<bool, Refusal> {
    one(args, |value| value.as_i64().is_some_and(|number| number % 2 == 0))
}

fn divisibleby(mut args: Args) -> Result<bool, Refusal> {
    let number = args.int("value")?;
    let by = args.int("num")?.filter(|by| *by != 0).ok_or("it needs a number other than 0")?;
    Ok(number.is_some_and(|number| number.checked_rem(by) == Some(0)))
}

fn upper(args: Args) -> Result<bool, Refusal> {
    one(args, |value| cased(value, char::is_uppercase, char::is_lowercase))
}

fn lower(args: Args) -> Result<bool, Refusal> {
    one(args, |value| cased(value, char::is_lowercase, char::is_uppercase))
}

fn cased(value: &Value, wanted: fn(char) -> bool, unwanted: fn(char) -> bool) -> bool {
    let text = python::str(value);
    text.chars().any(wanted) && !text.chars().any(unwanted)
}

fn startswith(args: Args) -> Result<bool, Refusal> {
    two(args, |left, right| python::str(left).starts_with(&python::str(right)))
}

fn endswith(args: Args) -> Result<bool, Refusal> {
    two(args, |left, right| python::str(left).ends_with(&python::str(right)))
}

/// `item is in(container)`.
fn within(mut args: Args) -> Result<bool, Refusal> {
    let item = args.input()?;
    let container = args.needed("seq")?;
    python::contains(&container, &item)
        .ok_or_else(|| format!("{} holds nothing", python::type_name(&container)).into())
}

/// `container is contains(item)`.
fn contains(mut args: Args) -> Result<bool, Refusal> {
    let container = args.input()?;
    let item = args.needed("value")?;
    python::contains(&container, &item)
        .ok_or_else(|| format!("{} holds nothing", python::type_name(&container)).into())
}

fn lists(mut args: Args) -> Result<(Vec<Value>, Vec<Value>), Refusal> {
    Ok((args.input_list()?, args.needed_list("b")?))
}

fn is_within(inner: &[Value], outer: &[Value]) -> bool {
    inner.iter().all(|item| outer.iter().any(|other| python::equal(item, other)))
}

fn subset(args: Args) -> Result<bool, Refusal> {
    lists(args).map(|(left, right)| is_within(&left, &right))
}

fn superset(args: Args) -> Result<bool, Refusal> {
    lists(args).map(|(left, right)| is_within(&right, &left))
}

fn every(mut args: Args) -> Result<bool, Refusal> {
    Ok(args.input_list()?.iter().all(python::truthy))
}

fn any(mut args: Args) -> Result<bool, Refusal> {
    Ok(args.input_list()?.iter().any(python::truthy))
}

/// `search(pattern, ignorecase=false, multiline=false)`; `match` must start at the start.
fn found(mut args: Args, kind: &str) -> Result<bool, Refusal> {
    let text = match args.input()? {
        Value::String(text) => text,
        value @ (Value::Number(_) | Value::Bool(_) | Value::Null) => python::str(&value),
        other => return Err(format!("it takes a text, not {}", python::type_name(&other)).into()),
    };
    let source = args.text("pattern")?.unwrap_or_default();
    let ignorecase = args.flag("ignorecase", false);
    let multiline = args.flag("multiline", false);
    let kind = args.text("match_type")?.unwrap_or_else(|| kind.to_owned());
    args.done()?;
    let source = match kind.as_str() {
        "search" => source,
        "match" => format!(r"\A(?:{source})"),
        "fullmatch" => format!(r"\A(?:{source})\z"),
        _ => return Err("`match_type` is search, match or fullmatch".into()),
    };
    Ok(pattern(&source, ignorecase, multiline)?.is_match(&text))
}

fn search(args: Args) -> Result<bool, Refusal> {
    found(args, "search")
}

fn regex(args: Args) -> Result<bool, Refusal> {
    found(args, "search")
}

fn matches(args: Args) -> Result<bool, Refusal> {
    found(args, "match")
}

/// `version('1.2', '>=', strict=None, version_type=None)`.
fn version_is(mut args: Args) -> Result<bool, Refusal> {
    let left = args.input_text()?;
    let right = args.needed_text("version")?;
    let operator = args.text("operator")?.unwrap_or_else(|| "eq".to_owned());
    let strict = args.flag("strict", false);
    let kind = args.text("version_type")?;
    args.done()?;
    let kind = kind.unwrap_or_else(|| if strict { "strict" } else { "loose" }.to_owned());
    version::holds(&left, &right, &operator, &kind).map_err(Refusal::new)
}

/// A registered result's flag.
fn flag(mut args: Args, name: &str) -> Result<bool, Refusal> {
    match args.input()? {
        Value::Object(map) => Ok(map.get(name).is_some_and(python::truthy)),
        other => {
            Err(Refusal::new(format!("it takes a registered result, not {}", python::type_name(&other)))
                .hint("name the variable of `register:`"))
        }
    }
}

fn failed(args: Args) -> Result<bool, Refusal> {
    flag(args, "failed")
}

fn succeeded(args: Args) -> Result<bool, Refusal> {
    flag(args, "failed").map(|failed| !failed)
}

fn skipped(args: Args) -> Result<bool, Refusal> {
    flag(args, "skipped")
}

fn finished(args: Args) -> Result<bool, Refusal> {
    flag(args, "finished")
}

fn unreachable(args: Args) -> Result<bool, Refusal> {
    flag(args, "unreachable")
}

fn reachable(args: Args) -> Result<bool, Refusal> {
    flag(args, "unreachable").map(|gone| !gone)
}

/// A loop's result changed when one of its items did.
fn changed(mut args: Args) -> Result<bool, Refusal> {
    let Value::Object(map) = args.input()? else {
        return Err(Refusal::new("it takes a registered result").hint("name the variable of `register:`"));
    };
    if let Some(own) = map.get("changed") {
        return Ok(python::truthy(own));
    }
    let items = map.get("results").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(items.iter().any(|item| item.get("changed").is_some_and(python::truthy)))
}

fn ip(args: Args) -> Result<bool, Refusal> {
    one(args, |value| {
        let text = python::str(value);
        text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok()
    })
}

fn is_filter(args: Args) -> Result<bool, Refusal> {
    one(args, |value| super::filters::find(&python::str(value)).is_some())
}

fn is_test(args: Args) -> Result<bool, Refusal> {
    one(args, |value| find(&python::str(value)).is_some())
}
