//! Filters that turn one type into another, and those about missing values.

use super::{Args, Filter, Refusal};
use crate::template::python;
use serde_json::{Number, Value};

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("bool", bool),
    ("d", default),
    ("default", default),
    ("float", float),
    ("int", int),
    ("list", list),
    ("mandatory", mandatory),
    ("safe", safe),
    ("string", string),
    ("ternary", ternary),
    ("type_debug", type_debug),
];

/// `default(value='', boolean=false)`.
fn default(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input_or_undefined()?;
    let fallback = match args.take_slot("default_value").or_else(|| args.take_named("value").map(Some)) {
        None => Some(Value::String(String::new())),
        Some(slot) => slot,
    };
    let by_truth = args.flag("boolean", false);
    args.done()?;
    match input {
        Some(value) if !by_truth || python::truthy(&value) => Ok(value),
        _ => fallback.ok_or(Refusal::Undefined),
    }
}

/// Ansible's `bool`: what a person means by it; anything else is false.
fn bool(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    args.done()?;
    Ok(Value::Bool(truth(&input).unwrap_or(false)))
}

/// `yes`, `on`, `1`, `true`, `y`, `t` and their opposites.
pub fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "yes" | "on" | "1" | "true" | "y" | "t" => Some(true),
            "no" | "off" | "0" | "false" | "n" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// `int(default=0, base=10)`.
fn int(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let fallback = args.take("default").unwrap_or_else(|| Value::from(0));
    let base = args.int("base")?.unwrap_or(10);
    args.done()?;
    let number = match &input {
        Value::String(text) => parse_int(text, base).or_else(|| whole(text.trim().parse::<f64>().ok()?)),
        other => int_of(other),
    };
    Ok(number.map_or(fallback, Value::from))
}

/// Python's `int(value)`: numbers are cut, texts must be whole numbers.
pub(in crate::template) fn int_of(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(truth) => Some(i64::from(*truth)),
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => parse_int(text, 10),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    (number.is_finite() && number.abs() < 9.2e18).then_some(number.trunc() as i64)
}

fn parse_int(text: &str, base: i64) -> Option<i64> {
    let text = text.trim().replace('_', "");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefixed =
        |prefix: &str| digits.get(..2).filter(|head| head.eq_ignore_ascii_case(prefix)).and(digits.get(2..));
    let (base, digits) = match base {
        16 => (16, prefixed("0x").unwrap_or(digits)),
        8 => (8, prefixed("0o").unwrap_or(digits)),
        2 => (2, prefixed("0b").unwrap_or(digits)),
        0 => match (prefixed("0x"), prefixed("0o"), prefixed("0b")) {
            (Some(rest), _, _) => (16, rest),
            (_, Some(rest), _) => (8, rest),
            (_, _, Some(rest)) => (2, rest),
            _ => (10, digits),
        },
        base => (u32::try_from(base).ok().filter(|base| (2..=36).contains(base))?, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

/// `float(default=0.0)`.
fn float(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let fallback = args.take("default").unwrap_or_else(|| Value::from(0.0));
    args.done()?;
    let number = match &input {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => python::as_number(other),
    };
    Ok(number.and_then(Number::from_f64).map_or(fallback, Value::Number))
}

fn string(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    args.done()?;
    Ok(Value::String(text))
}

fn list(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    args.done()?;
    Ok(Value::Array(items))
}

fn safe(mut args: Args) -> Result<Value, Refusal> {
    args.input()
}

/// `mandatory(msg=None)`.
fn mandatory(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input_or_undefined()?;
    let message = args.text("msg")?;
    match (input, message) {
        (Some(value), _) => Ok(value),
        (None, Some(message)) => Err(Refusal::new(message)),
        (None, None) => Err(Refusal::Undefined),
    }
}

/// `ternary(true_value, false_value, none_value=None)`.
fn ternary(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let yes = args.take_slot("true_val").ok_or("it needs two values")?;
    let no = args.take_slot("false_val").ok_or("it needs two values")?;
    let none = args.take_slot("none_val");
    args.done()?;
    let chosen = match (&input, none) {
        (Value::Null, Some(none)) => none,
        (value, _) if python::truthy(value) => yes,
        _ => no,
    };
    chosen.ok_or(Refusal::Undefined)
}

fn type_debug(mut args: Args) -> Result<Value, Refusal> {
    let name = match args.input_or_undefined()? {
        None => "Undefined",
        Some(Value::Null) => "NoneType",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(number)) if number.is_f64() => "float",
        Some(Value::Number(_)) => "int",
        Some(Value::String(_)) => "str",
        Some(Value::Array(_)) => "list",
        Some(Value::Object(_)) => "dict",
    };
    Ok(Value::from(name))
}
