//! Filters of numbers and sizes.

use super::lists::attribute;
use super::{Args, Filter, Refusal};
use crate::template::python;
use serde_json::{Number, Value};
use std::cmp::Ordering;

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("abs", abs),
    ("filesizeformat", filesizeformat),
    ("human_readable", human_readable),
    ("human_to_bytes", human_to_bytes),
    ("log", log),
    ("max", max),
    ("min", min),
    ("pow", pow),
    ("root", root),
    ("round", round),
    ("sum", sum),
];

fn float(number: f64) -> Result<Value, Refusal> {
    Number::from_f64(number).map(Value::Number).ok_or_else(|| "the result is not a finite number".into())
}

fn number(value: &Value) -> Result<f64, Refusal> {
    python::as_number(value).ok_or_else(|| {
        Refusal::new(format!("it takes a number, not {}", python::type_name(value)))
            .hint("use `| int` or `| float` first")
    })
}

fn abs(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    match input.as_i64() {
        Some(whole) => whole.checked_abs().map(Value::from).ok_or_else(|| "the number is too large".into()),
        None => float(number(&input)?.abs()),
    }
}

/// `round(precision=0, method='common')`: always a decimal number, as in Jinja.
fn round(mut args: Args) -> Result<Value, Refusal> {
    let input = number(&args.input()?)?;
    let precision = args.int("precision")?.unwrap_or(0).clamp(-300, 300);
    let method = args.text("method")?.unwrap_or_else(|| "common".to_owned());
    args.done()?;
    let scale = 10_f64.powi(precision as i32);
    let rounded = match method.as_str() {
        "ceil" => (input * scale).ceil() / scale,
        "floor" => (input * scale).floor() / scale,
        "common" if precision < 0 => (input * scale).round_ties_even() / scale,
        // Printing rounds the exact value, half to even, which multiplying does not.
        "common" => format!("{input:.*}", precision as usize).parse().unwrap_or(input),
        _ => return Err("`method` is common, ceil or floor".into()),
    };
    float(rounded)
}

fn extreme(mut args: Args, wanted: Ordering) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let path = args.take_named("attribute").map(|path| python::str(&path));
    let sensitive = args.flag("case_sensitive", false);
    args.done()?;
    let key = |item: &Value| {
        let key = match &path {
            Some(path) => {
                attribute(item, path).ok_or_else(|| Refusal::new(format!("an item has no `{path}`")))?
            }
            None => item.clone(),
        };
        Ok::<_, Refusal>(match key {
            Value::String(text) if !sensitive => Value::String(text.to_lowercase()),
            other => other,
        })
    };
    let mut best: Option<(Value, Value)> = None;
    for item in items {
        let own = key(&item)?;
        let better = match &best {
            None => true,
            Some((known, _)) => {
                python::compare(&own, known).ok_or_else(|| {
                    Refusal::new(format!(
                        "{} and {} have no order",
                        python::type_name(&own),
                        python::type_name(known)
                    ))
                })? == wanted
            }
        };
        if better {
            best = Some((own, item));
        }
    }
    best.map(|(_, item)| item).ok_or(super::lists::EMPTY)
}

fn max(args: Args) -> Result<Value, Refusal> {
    extreme(args, Ordering::Greater)
}

fn min(args: Args) -> Result<Value, Refusal> {
    extreme(args, Ordering::Less)
}

/// `sum(attribute=None, start=0)`.
fn sum(mut args: Args) -> Result<Value, Refusal> {
    let items = args.input_list()?;
    let path = args.text("attribute")?;
    let start = args.take("start").unwrap_or_else(|| Value::from(0));
    args.done()?;
    items.into_iter().try_fold(start, |total, item| {
        let item = match &path {
            Some(path) => {
                attribute(&item, path).ok_or_else(|| Refusal::new(format!("an item has no `{path}`")))?
            }
            None => item,
        };
        match (total, item) {
            (Value::Array(mut left), Value::Array(right)) => {
                left.extend(right);
                Ok(Value::Array(left))
            }
            (left, right) => match (left.as_i64(), right.as_i64()) {
                (Some(left), Some(right)) => {
                    left.checked_add(right).map(Value::from).ok_or_else(|| "the sum is too large".into())
                }
                _ => float(number(&left)? + number(&right)?),
            },
        }
    })
}

/// `log(base=e)`.
fn log(mut args: Args) -> Result<Value, Refusal> {
    let input = number(&args.input()?)?;
    let base = args.take("base").map(|base| number(&base)).transpose()?;
    if input <= 0.0 {
        return Err("it takes a number above 0".into());
    }
    float(match base {
        None => input.ln(),
        Some(10.0) => input.log10(),
        Some(2.0) => input.log2(),
        Some(base) => input.ln() / base.ln(),
    })
}

fn pow(mut args: Args) -> Result<Value, Refusal> {
    let input = number(&args.input()?)?;
    let exponent = number(&args.needed("exponent")?)?;
    float(input.powf(exponent))
}

/// `root(base=2)`.
fn root(mut args: Args) -> Result<Value, Refusal> {
    let input = number(&args.input()?)?;
    let base = args.take("base").map(|base| number(&base)).transpose()?.unwrap_or(2.0);
    float(if base == 2.0 { input.sqrt() } else { input.powf(1.0 / base) })
}

const UNITS: [(&str, u32); 8] =
    [("Y", 80), ("Z", 70), ("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10)];

/// `human_readable(isbits=false, unit=None)`: 1024 is `1.00 KB`.
fn human_readable(mut args: Args) -> Result<Value, Refusal> {
    let size = match args.input()? {
        Value::String(text) => text.trim().parse().map_err(|_| "it takes a number of bytes")?,
        other => number(&other)?,
    };
    let bits = args.flag("isbits", false);
    let unit = args.text("unit")?.map(|unit| unit.to_uppercase());
    args.done()?;
    let base = if bits { "bits" } else { "Bytes" };
    let chosen = UNITS.iter().find(|(name, power)| match &unit {
        Some(unit) => unit == name,
        None => size >= 2_f64.powi(*power as i32),
    });
    Ok(Value::String(match chosen {
        Some((name, power)) => {
            format!("{:.2} {name}{}", size / 2_f64.powi(*power as i32), if bits { 'b' } else { 'B' })
        }
        None => format!("{size:.2} {base}"),
    }))
}

/// `human_to_bytes(default_unit=None, isbits=false)`: `1.5GB` is 1610612736.
fn human_to_bytes(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let default = args.text("default_unit")?;
    let bits = args.flag("isbits", false);
    args.done()?;
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let amount: f64 = digits.parse().map_err(|_| Refusal::new("it starts with no number"))?;
    let unit = match (unit.trim(), default) {
        ("", Some(default)) => default,
        (unit, _) => unit.to_owned(),
    };
    let upper = unit.to_uppercase();
    let power = match upper.chars().next() {
        None | Some('B') => 0,
        Some(first) => {
            let known = UNITS.iter().find(|(name, _)| name.starts_with(first));
            known.map(|(_, power)| *power).ok_or_else(|| Refusal::new(format!("unknown unit `{unit}`")))?
        }
    };
    let tail = unit.chars().nth(1);
    let wrong = if bits { Some('B') } else { Some('b') };
    if unit.len() == 2 && tail == wrong {
        return Err(format!("`{unit}` counts {}", if bits { "bytes" } else { "bits" }).into());
    }
    let bytes = (amount * 2_f64.powi(power as i32)).round_ties_even();
    if bytes.abs() > 9e18 {
        return Err("the number is too large".into());
    }
    Ok(Value::from(bytes as i64))
}

/// `filesizeformat(binary=false)`.
fn filesizeformat(mut args: Args) -> Result<Value, Refusal> {
    let size = number(&args.input()?)?;
    let binary = args.flag("binary", false);
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if size == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if size < base {
        return Ok(Value::String(format!("{} Bytes", size.trunc() as i64)));
    }
    let names = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    let mut scaled = size;
    let mut name = "Bytes";
    for next in names {
        if scaled < base {
            break;
        }
        scaled /= base;
        name = next;
    }
    Ok(Value::String(format!("{scaled:.1} {name}")))
}
