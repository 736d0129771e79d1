//! A task's arguments, held against the module's specification.

use super::mode::Mode;
use super::spec::{Kind, Param, Spec};
use crate::diag::{Fault, did_you_mean};
use serde_json::{Map, Value};

/// Arguments of the right names and types: aliases resolved, texts turned into what the parameter takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Args {
    values: Map<String, Value>,
    /// Host facts and what else the run knows: `ansible_facts`, `inventory_hostname`, `check_mode`.
    context: Map<String, Value>,
}

impl Args {
    /// Holds `given` against `spec`; every fault found, not only the first. A null counts as not given.
    pub fn bind(spec: &Spec, given: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut values = Map::new();
        for (name, value) in given {
            if value.is_null() && (!spec.open || spec.param(name).is_some()) {
                continue;
            }
            let Some(param) = spec.param(name) else {
                if spec.open {
                    values.insert(name.clone(), value.clone());
                    continue;
                }
                faults.push(unknown(spec, name));
                continue;
            };
            match coerce(param, value) {
                Ok(value) if values.contains_key(param.name) => {
                    drop(value);
                    faults.push(Fault::param(
                        name,
                        format!("`{name}` and `{}` are the same parameter", param.name),
                    ));
                }
                Ok(value) => {
                    values.insert(param.name.to_owned(), value);
                }
                Err(expected) => {
                    let fault =
                        Fault::param(name, format!("`{name}` takes {expected}, not {}", describe(value)));
                    faults.push(near_choice(param, value).into_iter().fold(fault, Fault::hint));
                }
            }
        }
        for param in spec.params.iter().filter(|param| param.required && !values.contains_key(param.name)) {
            if !faults.iter().any(|fault| {
                fault
                    .param
                    .as_deref()
                    .is_some_and(|name| spec.param(name).is_some_and(|p| p.name == param.name))
            }) {
                faults.push(
                    Fault::task(format!("module `{}` needs the parameter `{}`", spec.name, param.name))
                        .hint(format!("`{}`, {}: {}", param.name, param.kind, lower_first(param.doc))),
                );
            }
        }
        if faults.is_empty() { Ok(Self { values, context: Map::new() }) } else { Err(faults) }
    }

    /// Adds what the run knows of the host.
    pub fn with_context(mut self, context: Map<String, Value>) -> Self {
        self.context = context;
        self
    }

    /// What the run knows of the host: `inventory_hostname`, `ansible_facts`, `check_mode`.
    pub fn context(&self, name: &str) -> Option<&Value> {
        self.context.get(name)
    }

    /// Whether the task gave it.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Every value given, in the order of the task.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// The value as it stands.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A text.
    pub fn str(&self, name: &str) -> Option<String> {
        self.values.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// A text that the specification requires (empty when the specification is wrong).
    pub fn required(&self, name: &str) -> String {
        self.str(name).unwrap_or_default()
    }

    /// A truth value.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.values.get(name).and_then(Value::as_bool)
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.values.get(name).and_then(Value::as_i64)
    }

    /// A list of texts; empty when not given.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.values.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A mapping.
    pub fn dict(&self, name: &str) -> Option<&Map<String, Value>> {
        self.values.get(name).and_then(Value::as_object)
    }
}

fn unknown(spec: &Spec, name: &str) -> Fault {
    let names =
        spec.params.iter().flat_map(|param| std::iter::once(param.name).chain(param.aliases.iter().copied()));
    let fault = Fault::param(name, format!("unknown parameter `{name}` of module `{}`", spec.name));
    match did_you_mean(name, names) {
        Some(hint) => fault.hint(hint),
        None => fault.hint(format!("`ishprov doc {}` lists its parameters", spec.name)),
    }
}

/// The value as the parameter takes it, or what it would take.
fn coerce(param: &Param, value: &Value) -> Result<Value, String> {
    let expected = || param.kind.to_string();
    match param.kind {
        Kind::Any => Ok(value.clone()),
        Kind::Conditions | Kind::Expression | Kind::LocalFile | Kind::LocalTemplate => Ok(value.clone()),
        Kind::Dict => value.as_object().map(|map| Value::Object(map.clone())).ok_or_else(expected),
        Kind::Bool => boolean(value).map(Value::Bool).ok_or_else(expected),
        Kind::Int => integer(value).map(Value::from).ok_or_else(expected),
        Kind::List => list(value).ok_or_else(expected),
        Kind::Str => scalar(value).map(Value::String).ok_or_else(expected),
        Kind::Mode => Mode::from_value(value).map(Value::String).ok_or_else(expected),
        Kind::Path => match scalar(value) {
            Some(path) if path.starts_with('/') || path.starts_with('~') => Ok(Value::String(path)),
            _ => Err(expected()),
        },
        Kind::Choice(choices) => match choice(value, choices) {
            Some(word) => Ok(Value::String(word.to_owned())),
            None => Err(expected()),
        },
    }
}

/// The choice that a slip of the finger came from.
fn near_choice(param: &Param, value: &Value) -> Option<String> {
    let Kind::Choice(choices) = param.kind else { return None };
    did_you_mean(&scalar(value)?, choices.iter().copied())
}

/// A sentence's beginning in the middle of another; names in capitals stay as they are.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

/// `yes` and `no` reach choices as booleans.
fn choice(value: &Value, choices: &'static [&'static str]) -> Option<&'static str> {
    let word = match value {
        Value::Bool(truth) => {
            let words: &[&str] = if *truth { &["yes", "true", "on"] } else { &["no", "false", "off"] };
            return choices.iter().copied().find(|choice| words.contains(choice));
        }
        other => scalar(other)?,
    };
    choices.iter().copied().find(|choice| *choice == word)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
            "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(if *truth { "true" } else { "false" }.to_owned()),
        _ => None,
    }
}

fn list(value: &Value) -> Option<Value> {
    match value {
        Value::Array(items) => {
            let texts =
                items.iter().map(|item| scalar(item).map(Value::String)).collect::<Option<Vec<_>>>()?;
            Some(Value::Array(texts))
        }
        Value::String(text) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Some(Value::Array(words.map(Value::from).collect()))
        }
        other => scalar(other).map(|text| Value::Array(vec![Value::String(text)])),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) if text.chars().count() <= 40 => format!("`{text}`"),
        Value::String(text) => format!("`{}...`", text.chars().take(37).collect::<String>()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Nature;
    use super::*;
    use serde_json::json;

    const SPEC: Spec = Spec {
        name: "probe",
        aliases: &[],
        summary: "",
        source: "",
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "Where").required().aliases(&["dest"]),
            Param::new("mode", Kind::Mode, "Mode"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "State"),
            Param::new("force", Kind::Bool, "Force"),
            Param::new("names", Kind::List, "Names"),
        ],
    };

    fn bind(given: Value) -> Result<Args, Vec<String>> {
        let given = given.as_object().cloned().unwrap_or_default();
        Args::bind(&SPEC, &given).map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn aliases_and_ansibles_loose_types_are_taken() {
        let args =
            bind(json!({"dest": "/x", "force": "yes", "names": "a, b", "state": "absent", "mode": null}))
                .expect("binds");
        assert_eq!(args.required("path"), "/x");
        assert_eq!(args.bool("force"), Some(true));
        assert_eq!(args.list("names"), ["a", "b"]);
        assert!(!args.has("mode"));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults =
            bind(json!({"moed": "0640", "force": "perhaps", "state": "presnt"})).expect_err("refused");
        assert_eq!(
            faults,
            [
                "unknown parameter `moed` of module `probe`",
                "`force` takes true or false, not `perhaps`",
                "`state` takes one of present, absent, not `presnt`",
                "module `probe` needs the parameter `path`",
            ]
        );
    }
}
