//! The MiniJinja environment: Ansible's filters, tests and functions, and strictness.

use super::compile::{TEXT_MARK, syntax};
use super::filters::{self, Args, Refusal};
use super::lazy::{self, Missing};
use super::syntax::{HARD, REMAINDER, SOFT, TOLERANT_FILTERS};
use super::{functions, python, tests};
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use std::sync::LazyLock;

/// The environment of texts in YAML: a template's name is its text, so that each is compiled once.
pub(super) fn base() -> &'static Environment<'static> {
    static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut env = build();
        env.set_formatter(|out, state, value| {
            if let Some(session) = functions::session_of(state) {
                session.prints(value);
            }
            write(out, state, value)
        });
        env.set_loader(|name| Ok(name.strip_prefix(TEXT_MARK).map(str::to_owned)));
        env
    });
    &BASE
}

/// The environment that template files start from; each file gets its own copy with its own loader.
pub(super) fn file_env() -> &'static Environment<'static> {
    static FILES: LazyLock<Environment<'static>> = LazyLock::new(build);
    &FILES
}

fn build() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_debug(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_syntax(syntax());
    env.set_formatter(write);
    env.set_unknown_method_callback(functions::method);
    env.set_recursion_limit(120);
    for (name, filter) in filters::all() {
        let tolerant = TOLERANT_FILTERS.contains(&name);
        env.add_filter(name, move |args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
            let args = arguments(name, &args.into_values(), tolerant)?;
            match filter(args) {
                Ok(value) => Ok(lazy::from_json(value)),
                Err(Refusal::Nothing(_)) => Ok(Value::UNDEFINED),
                Err(refusal) => Err(error(name, "filter", refusal)),
            }
        });
    }
    env.add_filter(
        SOFT,
        |value: &Value| if value.is_undefined() { Value::from_object(Missing) } else { value.clone() },
    );
    env.add_filter(HARD, |value: &Value| {
        if value.downcast_object_ref::<Missing>().is_some() { Value::UNDEFINED } else { value.clone() }
    });
    env.add_filter(REMAINDER, remainder);
    env.add_filter("default", default);
    env.add_filter("d", default);
    for (name, test) in tests::all() {
        let tolerant = matches!(name, "defined" | "undefined");
        env.add_test(name, move |args: Rest<ValueOrKwargs>| -> Result<bool, Error> {
            let args = arguments(name, &args.into_values(), tolerant)?;
            test(args).map_err(|refusal| error(name, "test", refusal))
        });
    }
    functions::register(&mut env);
    env
}

/// `default`, here without rendering or copying what it passes on.
fn default(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut given = args.into_values();
    let keywords = match given.last() {
        Some(last) if last.is_kwargs() => given.pop().map(Kwargs::try_from).transpose()?,
        _ => None,
    };
    let named = |name: &str| keywords.as_ref().and_then(|keywords| keywords.get::<Value>(name).ok());
    let mut given = given.into_iter();
    let missing = |value: &Value| value.is_undefined() || value.downcast_object_ref::<Missing>().is_some();
    let input = given.next().unwrap_or_default();
    let fallback = given.next().or_else(|| named("default_value")).or_else(|| named("value"));
    let by_truth = given.next().or_else(|| named("boolean")).is_some_and(|flag| flag.is_true());
    if missing(&input) || (by_truth && !input.is_true()) {
        let fallback = fallback.unwrap_or_else(|| Value::from(""));
        return Ok(if missing(&fallback) { Value::UNDEFINED } else { fallback });
    }
    Ok(input)
}

/// Python's `%`: formats a text, or the remainder of a division.
fn remainder(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        let values = match lazy::to_json(right)? {
            serde_json::Value::Array(items) if right.is_tuple() => items,
            other => vec![other],
        };
        return filters::percent(text, &values)
            .map(Value::from)
            .map_err(|refusal| error("%", "operator", refusal));
    }
    let fail = || Error::new(ErrorKind::InvalidOperation, "`%` takes two numbers, or a text and values");
    let zero = || Error::new(ErrorKind::InvalidOperation, "a division by zero");
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let rest = left.checked_rem(right).ok_or_else(zero)?;
        return Ok(Value::from(if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }));
    }
    let (left, right) = (lazy::to_json(left)?, lazy::to_json(right)?);
    let (left, right) = python::as_number(&left).zip(python::as_number(&right)).ok_or_else(fail)?;
    if right == 0.0 {
        return Err(zero());
    }
    Ok(Value::from(left - right * (left / right).floor()))
}

/// Prints a value into the text around it.
fn write(out: &mut Output, _state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => return Ok(()),
        },
        // An `if` without `else` that was not taken.
        ValueKind::None | ValueKind::Undefined => {}
        // A macro's output and the like.
        ValueKind::Plain if value.downcast_object_ref::<Missing>().is_none() => {
            out.write_str(&value.to_string())?
        }
        _ => out.write_str(&python::print(&lazy::to_json(value)?))?,
    }
    Ok(())
}

/// What the engine passes, as plain values.
pub(super) fn arguments(name: &'static str, given: &[Value], tolerant: bool) -> Result<Args, Error> {
    let convert = |value: &Value| {
        if value.is_undefined() || value.downcast_object_ref::<Missing>().is_some() {
            return if tolerant { Ok(None) } else { Err(lazy::undefined()) };
        }
        // A default that is not needed may itself be broken: it is reported only where it is used.
        match lazy::to_json(value) {
            Err(error) if tolerant && error.kind() == ErrorKind::UndefinedError => Ok(None),
            other => other.map(Some),
        }
    };
    let (positional, keywords) = match given.split_last() {
        Some((last, rest)) if last.is_kwargs() => (rest, Some(Kwargs::try_from(last.clone())?)),
        _ => (given, None),
    };
    let mut args = Args::new(name);
    for value in positional {
        args.push(convert(value)?);
    }
    if let Some(keywords) = keywords {
        for key in keywords.args().collect::<Vec<_>>() {
            let value: Value = keywords.get(key)?;
            args.push_named(key, convert(&value)?);
        }
    }
    Ok(args)
}

/// A filter's refusal as the engine's error.
pub(super) fn error(name: &str, what: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Undefined | Refusal::Nothing(_) => lazy::undefined(),
        Refusal::Because { message, hint } => {
            let text = format!("{what} `{name}`: {message}");
            let error = Error::new(ErrorKind::InvalidOperation, text);
            match hint {
                Some(hint) => error.with_source(super::errors::Hint(hint)),
                None => error,
            }
        }
    }
}
