//! The arguments of a filter, test or function, and how it refuses them.

use crate::template::python;
use serde_json::Value;

/// Why a filter gives no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// An argument is undefined.
    Undefined,
    /// There is no result, which is no fault where `default` or `is defined` copes with it.
    Nothing(&'static str),
    /// Anything else, without the filter's name.
    Because {
        /// One line, no trailing period, never the value itself: it may be a secret.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Refusal {
    /// A refusal for this reason.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Because { message: message.into(), hint: None }
    }

    /// Adds what to do.
    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Because { message, .. } => Self::Because { message, hint: Some(text.into()) },
            Self::Undefined | Self::Nothing(_) => self,
        }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Arguments, taken one after the other; `None` inside is an undefined value.
#[derive(Debug, Default)]
pub struct Args {
    name: &'static str,
    positional: std::collections::VecDeque<Option<Value>>,
    named: Vec<(String, Option<Value>)>,
}

impl Args {
    /// No arguments yet, of the filter `name`.
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// The name it was called by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a positional argument.
    pub fn push(&mut self, value: Option<Value>) {
        self.positional.push_back(value);
    }

    /// Adds a named argument.
    pub fn push_named(&mut self, name: &str, value: Option<Value>) {
        self.named.push((name.to_owned(), value));
    }

    /// Replaces the value that is filtered, keeping the rest: for `map('filter', ...)`.
    pub fn with_input(&self, name: &'static str, input: Option<Value>) -> Self {
        let mut positional = self.positional.clone();
        positional.push_front(input);
        Self { name, positional, named: self.named.clone() }
    }

    /// What stands before the `|`.
    pub fn input(&mut self) -> Result<Value, Refusal> {
        self.input_or_undefined()?.ok_or(Refusal::Undefined)
    }

    /// The same where an undefined value is welcome.
    pub fn input_or_undefined(&mut self) -> Result<Option<Value>, Refusal> {
        self.positional.pop_front().ok_or_else(|| Refusal::new("nothing to work on"))
    }

    /// The input as a text; numbers and truth values are printed.
    pub fn input_text(&mut self) -> Result<String, Refusal> {
        Ok(python::str(&self.input()?))
    }

    /// The input as a list: items of a list, keys of a mapping, characters of a text.
    pub fn input_list(&mut self) -> Result<Vec<Value>, Refusal> {
        list(self.input()?).map_err(|found| Refusal::new(format!("it takes a list, not {found}")))
    }

    /// The input as a mapping.
    pub fn input_map(&mut self) -> Result<serde_json::Map<String, Value>, Refusal> {
        match self.input()? {
            Value::Object(map) => Ok(map),
            other => Err(Refusal::new(format!("it takes a mapping, not {}", python::type_name(&other)))),
        }
    }

    /// The next argument, by its name or its position.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.take_named(name).or_else(|| self.positional.pop_front().flatten())
    }

    /// The next argument; an undefined one is there all the same.
    pub fn take_slot(&mut self, name: &str) -> Option<Option<Value>> {
        if let Some(at) = self.named.iter().position(|(given, _)| given == name) {
            return Some(self.named.remove(at).1);
        }
        self.positional.pop_front()
    }

    /// An argument that can only be given by name.
    pub fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(given, _)| given == name)?;
        self.named.remove(at).1
    }

    /// The same as a text.
    pub fn text_named(&mut self, name: &str) -> Option<String> {
        self.take_named(name).map(|value| python::str(&value))
    }

    /// Whether an argument of that name was given.
    pub fn has_named(&self, name: &str) -> bool {
        self.named.iter().any(|(given, _)| given == name)
    }

    /// The positional arguments that are left.
    pub fn rest(&mut self) -> Result<Vec<Value>, Refusal> {
        self.positional.drain(..).map(|value| value.ok_or(Refusal::Undefined)).collect()
    }

    /// The named arguments that are left.
    pub fn rest_named(&mut self) -> Vec<(String, Option<Value>)> {
        std::mem::take(&mut self.named)
    }

    /// The next argument as a text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value @ (Value::Array(_) | Value::Object(_))) => {
                Err(Refusal::new(format!("`{name}` takes a text, not {}", python::type_name(&value))))
            }
            Some(value) => Ok(Some(python::str(&value))),
        }
    }

    /// The next argument as a text that must be given.
    pub fn needed_text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| Refusal::new(format!("it needs `{name}`")))
    }

    /// The next argument, which must be given.
    pub fn needed(&mut self, name: &str) -> Result<Value, Refusal> {
        self.take(name).ok_or_else(|| Refusal::new(format!("it needs `{name}`")))
    }

    /// The next argument as a list that must be given.
    pub fn needed_list(&mut self, name: &str) -> Result<Vec<Value>, Refusal> {
        list(self.needed(name)?).map_err(|found| Refusal::new(format!("`{name}` takes a list, not {found}")))
    }

    /// The next argument as a whole number.
    pub fn int(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match super::int_of(&value) {
                Some(number) => Ok(Some(number)),
                None => Err(Refusal::new(format!(
                    "`{name}` takes a whole number, not {}",
                    python::type_name(&value)
                ))),
            },
        }
    }

    /// The next argument as a truth value.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.take(name).map_or(default, |value| python::truthy(&value))
    }

    /// Refuses what nobody asked for.
    pub fn done(&self) -> Result<(), Refusal> {
        if let Some((name, _)) = self.named.first() {
            return Err(Refusal::new(format!("it knows no argument `{name}`")));
        }
        match self.positional.len() {
            0 => Ok(()),
            1 => Err(Refusal::new("one argument too many")),
            more => Err(Refusal::new(format!("{more} arguments too many"))),
        }
    }
}

/// What Python would iterate over, or the name of what it cannot.
pub(in crate::template) fn list(value: Value) -> Result<Vec<Value>, &'static str> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(map) => Ok(map.into_iter().map(|(key, _)| Value::String(key)).collect()),
        Value::String(text) => Ok(text.chars().map(|c| Value::String(c.to_string())).collect()),
        other => Err(python::type_name(&other)),
    }
}
