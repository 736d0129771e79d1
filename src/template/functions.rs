//! Functions (`lookup`, `range`, ...) and methods of values.

use super::filters::{Args, Refusal};
use super::python;
use super::session::{Handle, SESSION, Session};
use super::{env, lazy};
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// Names of functions, for "did you mean".
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ["range", "dict", "namespace", "lookup", "query", "q", "now", "undef"].into_iter()
}

/// Registers the functions.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_function("range", minijinja::functions::range);
    env.add_function("dict", dict);
    env.add_function("namespace", minijinja::functions::namespace);
    env.add_function("lookup", |state: &State, args: Rest<ValueOrKwargs>| lookup(state, args, false));
    env.add_function("query", |state: &State, args: Rest<ValueOrKwargs>| lookup(state, args, true));
    env.add_function("q", |state: &State, args: Rest<ValueOrKwargs>| lookup(state, args, true));
    env.add_function("now", |_args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
        Err(refuse(
            "now",
            Refusal::new("the time would change every run")
                .hint("use `ansible_date_time` in a task that may change"),
        ))
    });
    env.add_function("undef", |args: Rest<ValueOrKwargs>| -> Result<Value, Error> {
        let mut args = env::arguments("undef", &args.into_values(), true)?;
        let hint = args.text("hint").ok().flatten().unwrap_or_else(|| "a value must be given".to_owned());
        Err(Error::new(ErrorKind::InvalidOperation, hint))
    });
}

fn refuse(name: &str, refusal: Refusal) -> Error {
    env::error(name, "function", refusal)
}

/// `dict(a=1)`, `dict(pairs)`, `dict(mapping, b=2)`.
fn dict(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut args = env::arguments("dict", &args.into_values(), false)?;
    let mut out = Map::new();
    for source in args.rest().map_err(|refusal| refuse("dict", refusal))? {
        match source {
            Json::Object(map) => out.extend(map),
            Json::Array(pairs) => {
                for pair in pairs {
                    match pair.as_array().map(Vec::as_slice) {
                        Some([key, value]) => drop(out.insert(python::str(key), value.clone())),
                        _ => return Err(refuse("dict", Refusal::new("it takes pairs of a key and a value"))),
                    }
                }
            }
            _ => return Err(refuse("dict", Refusal::new("it takes a mapping or pairs"))),
        }
    }
    for (name, value) in args.rest_named() {
        out.insert(name, value.ok_or_else(lazy::undefined)?);
    }
    Ok(lazy::from_json(Json::Object(out)))
}

/// The rendering that a function or the printer works for.
pub(super) fn session_of(state: &State) -> Option<Arc<Session>> {
    state.lookup(SESSION)?.downcast_object_ref::<Handle>()?.0.upgrade()
}

/// `lookup('name', ...)` gives texts joined by commas, `query` gives a list.
fn lookup(state: &State, args: Rest<ValueOrKwargs>, as_list: bool) -> Result<Value, Error> {
    let unavailable = || Error::new(ErrorKind::InvalidOperation, "lookups are not available here");
    let session = session_of(state).ok_or_else(unavailable)?;
    let args = env::arguments("lookup", &args.into_values(), false)?;
    lookup_plain(&session, args, as_list).map(lazy::from_json)
}

/// The lookup itself, for both dialects.
pub(super) fn lookup_plain(session: &Arc<Session>, mut args: Args, as_list: bool) -> Result<Json, Error> {
    let fail = |refusal: Refusal| env::error("lookup", "function", refusal);
    let name = args.needed_text("name").map_err(fail)?;
    let name = name.rsplit('.').next().unwrap_or(&name).to_owned();
    let wantlist = args.take_named("wantlist").is_some_and(|flag| python::truthy(&flag));
    let on_error = args.text_named("errors");
    match found(session, &name, &mut args) {
        Ok(values) if as_list || wantlist => Ok(Json::Array(values)),
        // One value keeps its type; texts are joined as Ansible joins them.
        Ok(mut values) if values.len() == 1 => Ok(values.pop().unwrap_or(Json::Null)),
        Ok(values) if values.iter().all(Json::is_string) => {
            Ok(Json::String(values.iter().map(python::str).collect::<Vec<_>>().join(",")))
        }
        Ok(values) => Ok(Json::Array(values)),
        Err(error)
            if matches!(on_error.as_deref(), Some("ignore" | "warn")) && !super::errors::is_later(&error) =>
        {
            Ok(if as_list || wantlist { Json::Array(Vec::new()) } else { Json::Null })
        }
        Err(error) => Err(error),
    }
}

fn found(session: &Arc<Session>, name: &str, args: &mut Args) -> Result<Vec<Json>, Error> {
    let said = |why: String| Error::new(ErrorKind::InvalidOperation, format!("lookup `{name}`: {why}"));
    let refused = |refusal: Refusal| env::error(name, "lookup", refusal);
    let lookups = &session.world.lookups;
    match name {
        "env" => {
            let default = args.take_named("default");
            let names = args.rest().map_err(refused)?;
            let value = |name: &Json| match lookups.env(&python::str(name)) {
                Some(value) => Json::String(value),
                None => default.clone().unwrap_or_else(|| Json::String(String::new())),
            };
            Ok(names.iter().map(value).collect())
        }
        "file" => {
            let rstrip = args.take_named("rstrip").is_none_or(|flag| python::truthy(&flag));
            let lstrip = args.take_named("lstrip").is_some_and(|flag| python::truthy(&flag));
            let paths = args.rest().map_err(refused)?;
            paths
                .iter()
                .map(|path| {
                    let mut text = lookups.file(session.from, &python::str(path)).map_err(said)?;
                    if rstrip {
                        text.truncate(text.trim_end().len());
                    }
                    Ok(Json::String(if lstrip { text.trim_start().to_owned() } else { text }))
                })
                .collect()
        }
        "template" => {
            let extra = match args.take_named("template_vars") {
                Some(Json::Object(map)) => map,
                _ => session.extra.clone(),
            };
            let paths = args.rest().map_err(refused)?;
            paths
                .iter()
                .map(|path| {
                    let path = python::str(path);
                    let found = lookups.template(session.from, &path).map_err(said)?;
                    let templates = super::Templates { world: Arc::clone(&session.world) };
                    let (dialect, options) = (super::Dialect::of(&path), super::FileOptions::default());
                    templates
                        .render_file(found.file, &found.text, dialect, &session.scope, &extra, &options)
                        .map(Json::String)
                        .map_err(super::errors::carry)
                })
                .collect()
        }
        "first_found" => {
            let mut paths = Vec::new();
            let mut skip = args.take_named("skip").is_some_and(|flag| python::truthy(&flag));
            for term in args.rest().map_err(refused)? {
                candidates(term, &mut paths, &mut skip);
            }
            let files = args.take_named("files").map(strings).unwrap_or_default();
            let folders = args.take_named("paths").map(strings).unwrap_or_default();
            cross(&folders, &files, &mut paths);
            match lookups.first_found(session.from, &paths) {
                Some(path) => Ok(vec![Json::String(path)]),
                None if skip => Ok(Vec::new()),
                None => Err(said(format!("none of these files exists: {}", paths.join(", ")))),
            }
        }
        "fileglob" => {
            let patterns = args.rest().map_err(refused)?;
            Ok(patterns
                .iter()
                .flat_map(|pattern| lookups.fileglob(session.from, &python::str(pattern)))
                .map(Json::String)
                .collect())
        }
        "vars" => {
            let default = args.take_named("default");
            let names = args.rest().map_err(refused)?;
            names
                .iter()
                .map(|name| {
                    let name = python::str(name);
                    match session.lookup(&name).filter(|value| !value.is_undefined()) {
                        Some(value) => lazy::to_json(&value),
                        None => default.clone().ok_or_else(|| {
                            super::errors::carry(super::errors::undefined_name(&name, session))
                        }),
                    }
                })
                .collect()
        }
        "varnames" => {
            if !session.scope.is_whole() {
                return Err(super::errors::carry(super::errors::later("varnames")));
            }
            let mut names = session.scope.names();
            names.sort();
            let mut out = Vec::new();
            for source in args.rest().map_err(refused)? {
                let regex = super::filters::pattern(&python::str(&source), false, false).map_err(refused)?;
                out.extend(names.iter().filter(|name| regex.is_match(name)).cloned().map(Json::String));
            }
            Ok(out)
        }
        "password" => {
            let requests = super::password::requests(args).map_err(refused)?;
            let made = requests.iter().map(|request| {
                let secret = lookups.password(session.from, request).map_err(said)?;
                session.world.masker.add(secret.expose());
                Ok(Json::from(secret.expose()))
            });
            made.collect()
        }
        "dict" => {
            let mut out = Vec::new();
            for source in args.rest().map_err(refused)? {
                let Json::Object(map) = source else { return Err(said("it takes mappings".to_owned())) };
                out.extend(map.into_iter().map(|(key, value)| {
                    Json::Object([("key".to_owned(), Json::String(key)), ("value".to_owned(), value)].into_iter().collect())
                }));
            }
            Ok(out)
        }
        "flattened" | "items" | "list" => {
            let mut input = Args::new("flatten");
            input.push(Some(Json::Array(args.rest().map_err(refused)?)));
            if name != "flattened" {
                input.push(Some(Json::from(1)));
            }
            match super::filters::find("flatten").map(|flatten| flatten(input)) {
                Some(Ok(Json::Array(items))) => Ok(items),
                Some(Err(refusal)) => Err(refused(refusal)),
                _ => Ok(Vec::new()),
            }
        }
        "indexed_items" => {
            let items = args.rest().map_err(refused)?.into_iter().flat_map(|item| match item {
                Json::Array(items) => items,
                other => vec![other],
            });
            Ok(items.enumerate().map(|(index, item)| Json::Array(vec![Json::from(index), item])).collect())
        }
        "sequence" => sequence(args).map_err(refused),
        "pipe" | "lines" => Err(refused(
            Refusal::new("it would run a command on the control machine while planning")
                .hint("run the command as a task (`delegate_to: localhost`) and register its result"),
        )),
        "url" => Err(refused(
            Refusal::new("it would fetch from the network while planning")
                .hint("fetch it in a task of its own (`command: curl ...`) and register the result"),
        )),
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("unknown lookup `{other}`")).with_source(
            super::errors::Hint(
                "there are env, file, template, first_found, fileglob, vars, varnames, password, dict, flattened, items, sequence"
                    .to_owned(),
            ),
        )),
    }
}

fn strings(value: Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().map(python::str).collect(),
        Json::Null => Vec::new(),
        other => python::str(&other).split([',', ';']).map(|part| part.trim().to_owned()).collect(),
    }
}

fn cross(folders: &[String], files: &[String], out: &mut Vec<String>) {
    if folders.is_empty() {
        out.extend(files.iter().cloned());
    }
    for folder in folders {
        out.extend(files.iter().map(|file| format!("{}/{file}", folder.trim_end_matches('/'))));
    }
}

/// A term of `first_found`: a path, a list of terms, or `{files: [...], paths: [...], skip: true}`.
fn candidates(term: Json, out: &mut Vec<String>, skip: &mut bool) {
    match term {
        Json::Array(terms) => terms.into_iter().for_each(|term| candidates(term, out, skip)),
        Json::Object(mut map) => {
            *skip |= map.get("skip").is_some_and(python::truthy);
            let files = map.remove("files").map(strings).unwrap_or_default();
            let folders = map.remove("paths").map(strings).unwrap_or_default();
            cross(&folders, &files, out);
        }
        other => out.push(python::str(&other)),
    }
}

/// `lookup('sequence', start=1, end=5, stride=2, format='host%02d')`, also written as one text.
fn sequence(args: &mut Args) -> Result<Vec<Json>, Refusal> {
    let mut fields: Map<String, Json> = Map::new();
    for term in args.rest()? {
        for word in python::str(&term).split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => drop(fields.insert(name.to_owned(), Json::from(value))),
                None => {
                    let (start, end) = word.split_once('-').unwrap_or(("1", word));
                    fields.insert("start".to_owned(), Json::from(start));
                    fields.insert("end".to_owned(), Json::from(end));
                }
            }
        }
    }
    for (name, value) in args.rest_named() {
        fields.insert(name, value.ok_or(Refusal::Undefined)?);
    }
    let number = |name: &str| fields.get(name).and_then(super::filters::int_of);
    let start = number("start").unwrap_or(1);
    let stride = number("stride").unwrap_or(1);
    let end = match (number("end"), number("count")) {
        (Some(end), _) => end,
        (None, Some(count)) => start.saturating_add(stride.saturating_mul(count.saturating_sub(1))),
        (None, None) => return Err("it needs `end` or `count`".into()),
    };
    if stride == 0 || (end.abs_diff(start) / stride.unsigned_abs().max(1)) > 100_000 {
        return Err("more than 100000 items".into());
    }
    let format = fields.get("format").map(python::str);
    let mut out = Vec::new();
    let mut at = start;
    while (stride > 0 && at <= end) || (stride < 0 && at >= end) {
        out.push(match &format {
            Some(format) => Json::String(super::filters::percent(format, &[Json::from(at)])?),
            None => Json::String(at.to_string()),
        });
        at += stride;
    }
    Ok(out)
}

/// Methods of Python's texts, lists and mappings.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let rewrite = |text: &str| {
        Err(Error::new(
            ErrorKind::UnknownMethod,
            format!("`.{name}()` changes a value in place, and values never change here"),
        )
        .with_source(super::errors::Hint(text.to_owned())))
    };
    match (value.kind(), name) {
        (ValueKind::Seq | ValueKind::Iterable, "append") => {
            return rewrite("write `{% set x = x + [item] %}`; across a loop use `namespace`");
        }
        (ValueKind::Seq | ValueKind::Iterable, "extend" | "insert") => {
            return rewrite("write `{% set x = x + other %}`");
        }
        (ValueKind::Seq | ValueKind::Iterable, "remove" | "pop" | "clear") => {
            return rewrite("write `x | difference([item])` or a slice");
        }
        (ValueKind::Seq | ValueKind::Iterable, "sort" | "reverse") => {
            return rewrite("write `x | sort` or `x | reverse`");
        }
        (ValueKind::Map, "update" | "setdefault") => {
            return rewrite("write `{% set x = x | combine({key: value}) %}`");
        }
        (ValueKind::Map, "pop" | "popitem" | "clear") => {
            return rewrite("write `x | dict2items | rejectattr('key', 'eq', name) | items2dict`");
        }
        (ValueKind::String, "format") => {
            let args = env::arguments("format", args, false)?;
            let text = value.as_str().unwrap_or_default();
            return super::filters::braces(text, args)
                .map(Value::from)
                .map_err(|refusal| env::error("format", "method", refusal));
        }
        (ValueKind::String, "ljust" | "rjust" | "zfill" | "partition" | "rpartition" | "swapcase") => {
            return text_method(value.as_str().unwrap_or_default(), name, args)
                .map_err(|refusal| env::error(name, "method", refusal));
        }
        (ValueKind::Map, "copy") => return Ok(value.clone()),
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args).map_err(
        |error| match error.kind() {
            ErrorKind::UnknownMethod => {
                Error::new(ErrorKind::UnknownMethod, format!("{} has no method `{name}`", describe(value)))
            }
            _ => error,
        },
    )
}

/// Methods of Python's texts that the engine's own set lacks.
fn text_method(text: &str, name: &str, args: &[Value]) -> Result<Value, Refusal> {
    let word = || args.first().and_then(Value::as_str).filter(|word| !word.is_empty());
    let parts = |found: Option<(&str, &str)>, otherwise: [&str; 3]| {
        let middle = word().unwrap_or_default();
        let parts = found.map_or(otherwise, |(head, tail)| [head, middle, tail]);
        Value::from(parts.map(Value::from).to_vec())
    };
    match name {
        "partition" => {
            let mark = word().ok_or("it takes a text that is not empty")?;
            Ok(parts(text.split_once(mark), [text, "", ""]))
        }
        "rpartition" => {
            let mark = word().ok_or("it takes a text that is not empty")?;
            Ok(parts(text.rsplit_once(mark), ["", "", text]))
        }
        "swapcase" => {
            let swap = |c: char| {
                if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() }
            };
            Ok(Value::from(text.chars().map(swap).collect::<String>()))
        }
        _ => {
            let width = args.first().and_then(Value::as_usize).filter(|width| *width <= 10_000);
            let width = width.ok_or("it takes a width of at most 10000")?;
            let missing = width.saturating_sub(text.chars().count());
            let fill = args.get(1).and_then(Value::as_str).unwrap_or(" ").repeat(missing);
            Ok(Value::from(match name {
                "ljust" => format!("{text}{fill}"),
                "rjust" => format!("{fill}{text}"),
                _ => {
                    let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
                    format!("{sign}{}{digits}", "0".repeat(missing))
                }
            }))
        }
    }
}

fn describe(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::String => "a text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a mapping",
        ValueKind::Number => "a number",
        ValueKind::Bool => "a truth value",
        ValueKind::None => "none",
        _ => "the value",
    }
}
