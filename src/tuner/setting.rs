//! One configuration parameter: its value, what it takes to apply it, and why.

use super::catalog::{self, Context, Kind};
use super::refusal::Refusal;
use super::units::{Bytes, Millis};
use serde::{Serialize, Serializer};
use std::fmt;

/// A value of the type that the parameter has.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `on` or `off`.
    Bool(bool),
    /// A number without a unit.
    Int(i64),
    /// A number with a fraction.
    Real(f64),
    /// A size.
    Size(Bytes),
    /// A time.
    Time(Millis),
    /// One of the words that the parameter knows.
    Word(&'static str),
    /// Free text.
    Text(String),
}

/// What it takes for a new value to be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// `pg_ctl reload`; running sessions follow unless they set their own value.
    Reload,
    /// A restart of the server.
    Restart,
}

/// One line of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// PostgreSQL's name.
    pub name: &'static str,
    /// The value.
    pub value: Value,
    /// Reload or restart, from `pg_settings.context` of the target version.
    pub takes: Takes,
    /// A short sentence with the numbers that led here, no trailing period.
    pub why: String,
    /// Where the rule comes from.
    pub source: &'static str,
}

impl Setting {
    /// The value as it stands in a configuration file, quoted where PostgreSQL asks for it.
    pub fn to_conf(&self) -> String {
        let text = self.value.to_string();
        let plain = match self.value {
            Value::Text(_) => false,
            Value::Word(word) => word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            _ => true,
        };
        if plain { text } else { quote(&text) }
    }
}

impl fmt::Display for Value {
    /// The text that `SHOW` returns for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(on) => f.write_str(if *on { "on" } else { "off" }),
            Value::Int(number) => write!(f, "{number}"),
            Value::Real(number) => write!(f, "{number}"),
            Value::Size(size) => write!(f, "{size}"),
            Value::Time(time) => write!(f, "{time}"),
            Value::Word(word) => f.write_str(word),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    /// Sizes and times as PostgreSQL's text, the rest by type.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Bool(on) => serializer.serialize_bool(*on),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Real(number) => serializer.serialize_f64(*number),
            other => serializer.collect_str(other),
        }
    }
}

/// Collects settings for one version: what that version does not have is left out, what it would refuse is an error.
pub(super) struct Settings {
    pg: u32,
    list: Vec<Setting>,
    refused: Option<Refusal>,
}

impl Settings {
    pub(super) fn new(pg: u32) -> Self {
        Self { pg, list: Vec::new(), refused: None }
    }

    pub(super) fn set(
        &mut self,
        name: &'static str,
        value: Value,
        source: &'static str,
        why: impl Into<String>,
    ) {
        let Some(parameter) = catalog::lookup(name, self.pg) else {
            return;
        };
        if let Err(why_not) = admits(parameter.kind, &value) {
            let message = format!("PostgreSQL {} would refuse `{name} = {value}`: {why_not}", self.pg);
            self.refused.get_or_insert(Refusal {
                input: None,
                message,
                arithmetic: Vec::new(),
                ways_out: Vec::new(),
            });
        }
        let takes = if parameter.context == Context::Postmaster { Takes::Restart } else { Takes::Reload };
        self.list.push(Setting { name, value, takes, why: why.into(), source });
    }

    pub(super) fn finish(self) -> Result<Vec<Setting>, Refusal> {
        self.refused.map_or(Ok(self.list), Err)
    }
}

/// A string literal of postgresql.conf: quotes doubled, backslashes and line ends escaped.
fn quote(text: &str) -> String {
    let body = text.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n").replace('\r', "\\r");
    format!("'{body}'")
}

/// Whether a parameter of this kind takes the value; otherwise the rule that it breaks.
pub(super) fn admits(kind: Kind, value: &Value) -> Result<(), String> {
    let whole = |number: i128, min: i64, max: i64, unit: &str| {
        if number >= i128::from(min) && number <= i128::from(max) {
            Ok(())
        } else {
            Err(format!("the range is {min}{unit} to {max}{unit}"))
        }
    };
    match (kind, value) {
        (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::Text(_)) => Ok(()),
        (Kind::Word(words), Value::Word(word)) if words.contains(word) => Ok(()),
        (Kind::Word(words), _) => Err(format!("it knows {}", words.join(", "))),
        (Kind::Real { min, max }, Value::Real(number)) if (min..=max).contains(number) => Ok(()),
        (Kind::Real { min, max }, _) => Err(format!("the range is {min} to {max}")),
        (Kind::Int { unit, min, max }, Value::Int(number)) => {
            whole(i128::from(*number), min, max, unit.name())
        }
        (Kind::Int { unit, min, max }, Value::Size(Bytes(amount)) | Value::Time(Millis(amount))) => {
            let is_time = matches!(value, Value::Time(_));
            if unit.size() == 1 && unit.name().is_empty() || unit.is_time() != is_time {
                return Err(format!("`{value}` has a unit that does not belong there"));
            }
            if amount % unit.size() != 0 {
                return Err(format!("it counts whole {}", unit.name()));
            }
            whole(i128::from(amount / unit.size()), min, max, unit.name())
        }
        _ => Err("the type is wrong".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Unit;
    use super::*;

    #[test]
    fn conf_literals_survive_quotes_backslashes_and_lines() {
        let conf = |value| {
            Setting { name: "x", value, takes: Takes::Reload, why: String::new(), source: "" }.to_conf()
        };
        assert_eq!(conf(Value::Size(Bytes::gb(4))), "4GB");
        assert_eq!(conf(Value::Word("scram-sha-256")), "'scram-sha-256'");
        assert_eq!(conf(Value::Text("it's \\ \n".into())), "'it''s \\\\ \\n'");
        assert_eq!(conf(Value::Real(0.9)), "0.9");
    }

    #[test]
    fn values_outside_of_range_unit_or_words_are_refused() {
        let kb = Kind::Int { unit: Unit::Kilobytes, min: 64, max: 2_147_483_647 };
        assert!(admits(kb, &Value::Size(Bytes::kb(64))).is_ok());
        assert!(admits(kb, &Value::Size(Bytes::kb(63))).is_err());
        assert!(admits(kb, &Value::Size(Bytes(65_537))).is_err());
        assert!(admits(kb, &Value::Time(Millis(65_536))).is_err());
        assert!(admits(Kind::Int { unit: Unit::None, min: 0, max: 9 }, &Value::Size(Bytes(4))).is_err());
        assert!(admits(Kind::Word(&["on"]), &Value::Word("lz4")).is_err());
        assert!(admits(Kind::Bool, &Value::Int(1)).is_err());
    }
}
