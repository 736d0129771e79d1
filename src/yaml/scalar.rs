//! Which value a plain (unquoted) scalar is: the YAML 1.1 rules of PyYAML, which Ansible users rely on.
//!
//! Three readings differ from PyYAML on purpose: `0o644` is a number; `22:22` (base sixty there) and dates stay texts,
//! because nobody who writes them unquoted means anything else.

use super::Kind;

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Kind::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Kind::Bool(false),
        _ => {}
    }
    if let Some(value) = int(text) {
        return Kind::Int { value, raw: text.to_owned() };
    }
    float(text).map_or_else(|| Kind::Str(text.to_owned()), Kind::Float)
}

/// A whole number that fits 64 bits; a longer one stays a text and so keeps all its digits.
pub(super) fn int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        [b'0'..=b'9', ..] => (10, digits),
        _ => return None,
    };
    if !digits.chars().all(|c| c == '_' || c.is_digit(radix)) {
        return None;
    }
    let digits = digits.replace('_', "");
    let value = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// A decimal number: it needs a point, and its exponent a sign.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, body) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if body.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, part) = mantissa.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts_with_digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let shaped = digits(whole)
        && digits(part)
        && if whole.is_empty() {
            body.len() == text.len() && starts_with_digit(part)
        } else {
            starts_with_digit(whole)
        };
    let exponent_shaped = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['-', '+'])
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    if !shaped || !exponent_shaped {
        return None;
    }
    body.replace('_', "").parse::<f64>().ok().map(|number| sign * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match resolve(text) {
            Kind::Null => "null".to_owned(),
            Kind::Bool(truth) => format!("bool {truth}"),
            Kind::Int { value, raw } => format!("int {value} {raw}"),
            Kind::Float(number) => format!("float {number:?}"),
            Kind::Str(text) => format!("str {text}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn plain_scalars_follow_pyyaml() {
        for (text, wanted) in [
            ("", "null"),
            ("~", "null"),
            ("NULL", "null"),
            ("nUll", "str nUll"),
            ("yes", "bool true"),
            ("Off", "bool false"),
            ("y", "str y"),
            ("N", "str N"),
            ("tRue", "str tRue"),
            ("0", "int 0 0"),
            ("0644", "int 420 0644"),
            ("0o644", "int 420 0o644"),
            ("0x1F", "int 31 0x1F"),
            ("0b11", "int 3 0b11"),
            ("-17", "int -17 -17"),
            ("1_000", "int 1000 1_000"),
            ("0888", "str 0888"),
            ("0x", "str 0x"),
            ("22:22", "str 22:22"),
            ("99999999999999999999", "str 99999999999999999999"),
            ("-9223372036854775808", "int -9223372036854775808 -9223372036854775808"),
            ("1.5", "float 1.5"),
            ("1.", "float 1.0"),
            (".5", "float 0.5"),
            ("-.5", "str -.5"),
            ("1.5e+3", "float 1500.0"),
            ("1e3", "str 1e3"),
            ("1.5e3", "str 1.5e3"),
            ("-.inf", "float -inf"),
            (".nan", "float NaN"),
            ("inf", "str inf"),
            (".", "str ."),
            ("-", "str -"),
            ("1.2.3", "str 1.2.3"),
            ("2024-01-02", "str 2024-01-02"),
            ("10.0.0.1", "str 10.0.0.1"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }
}
