//! The program's own template files, in Tera 2: the same variables, the same functions where Tera has none of that
//! name, the same strictness.

use super::engine::Root;
use super::errors::{self, Undefined};
use super::filters::{self, Args, Refusal, pattern};
use super::functions;
use super::lazy;
use super::session::Session;
use super::tests;
use crate::diag::{Diagnostic, FileId, Span, did_you_mean};
use regex::Regex;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use tera::{Context, Error, ErrorKind, Kwargs, State, Tera, Value};

/// What one file and the files it includes are.
struct Part {
    file: FileId,
    text: Arc<str>,
}

const MAIN: &str = "\u{1}main";

/// Renders a file.
pub(super) fn render(file: FileId, text: &str, session: &Arc<Session>) -> Result<String, Diagnostic> {
    let mut parts = HashMap::from([(MAIN.to_owned(), Part { file, text: Arc::from(text) })]);
    include(MAIN, &mut parts, session)?;
    let mut tera = base().clone();
    for (name, as_list) in [("lookup", false), ("query", true)] {
        let session = Arc::clone(session);
        tera.register_function(name, move |given: Kwargs, _: &State| -> Result<Value, Error> {
            let args = arguments("lookup", None, &given)?;
            functions::lookup_plain(&session, args, as_list)
                .map(|value| Value::from_serializable(&value))
                .map_err(|error| Error::message(error.detail().unwrap_or("the lookup failed")))
        });
    }
    let fail = |error: Error| errors::clean(explain(&error, &parts, Some(session)), session);
    let texts: Vec<(&str, &str)> = parts.iter().map(|(name, part)| (name.as_str(), &*part.text)).collect();
    tera.add_raw_templates(texts).map_err(fail)?;
    let mut names: Vec<&str> = tera.get_template_variables(MAIN).map_err(fail)?.into_iter().collect();
    names.sort_unstable();
    let mut context = Context::new();
    for name in names {
        // A variable that cannot be had is left out: Tera complains where it is used, if it is.
        if let Some(value) = session.lookup(name).filter(|value| !value.is_undefined()) {
            match lazy::to_json(&value) {
                Ok(value) => context.insert_value(name.to_owned(), Value::from_serializable(&value)),
                Err(error) => return Err(broken(name, &error, &parts, session)),
            }
        }
    }
    tera.render(MAIN, &context).map_err(fail)
}

/// The variables of a file, by the first place that names each.
pub(super) fn roots(file: FileId, text: &str) -> Result<Vec<Root>, Diagnostic> {
    let parts = HashMap::from([(MAIN.to_owned(), Part { file, text: Arc::from(text) })]);
    let fail = |error: Error| explain(&error, &parts, None);
    let mut tera = base().clone();
    for name in ["lookup", "query"] {
        tera.register_function(name, |_: Kwargs, _: &State| Value::none());
    }
    // Included files are read when the file is rendered; here they only need to exist.
    let mut texts = vec![(MAIN, text)];
    let included: Vec<String> = included(text).map(|(name, _)| name).collect();
    texts.extend(included.iter().map(|name| (name.as_str(), "")));
    tera.add_raw_templates(texts).map_err(fail)?;
    let names = tera.get_template_variables(MAIN).map_err(fail)?;
    let mut roots: Vec<Root> = names
        .into_iter()
        .map(|name| Root {
            name: name.to_owned(),
            span: place_of(name, file, text),
            optional: guard(name).is_some_and(|guard| guard.is_match(text)),
        })
        .collect();
    roots.sort_by_key(|root| root.span.start);
    Ok(roots)
}

/// What a file asks for, and the names of the files that it takes in.
pub(super) fn uses(file: FileId, text: &str) -> (super::Uses, Vec<String>) {
    let includes = included(text).map(|(name, _)| name).collect();
    let mut uses = super::Uses::default();
    match roots(file, text) {
        Ok(roots) => uses.names.extend(roots.into_iter().map(|root| root.name)),
        Err(_) => uses.anything = true,
    }
    // Its calls are not read: a lookup may ask for anything.
    uses.anything |= ["lookup", "query"].iter().any(|name| text.contains(name));
    (uses, includes)
}

/// Tera with Ansible's filters and tests wherever Tera has none of that name: its own are documented by it, and take
/// its own argument names.
fn base() -> &'static Tera {
    static BASE: LazyLock<Tera> = LazyLock::new(|| {
        let own = Tera::default();
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::<&str>::new());
        for (name, filter) in filters::all() {
            tera.register_filter(
                name,
                move |value: Value, given: Kwargs, _: &State| -> Result<Value, Error> {
                    let args = arguments(name, Some(&value), &given)?;
                    match filter(args) {
                        Ok(value) => Ok(Value::from_serializable(&value)),
                        Err(Refusal::Nothing(_)) => Ok(Value::undefined()),
                        Err(refusal) => Err(refused(name, refusal)),
                    }
                },
            );
        }
        for (name, test) in
            tests::all().filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            tera.register_test(name, move |value: Value, given: Kwargs, _: &State| -> Result<bool, Error> {
                test(arguments(name, Some(&value), &given)?).map_err(|refusal| refused(name, refusal))
            });
        }
        restore(&own, tera)
    });
    &BASE
}

/// Puts what Tera has of itself back over what was registered beside it.
fn restore(own: &Tera, ours: Tera) -> Tera {
    let mut tera = own.clone();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_from(&ours);
    tera
}

/// Arguments by name; `with=[...]` gives those that a filter takes by position only (`combine`, `zip`, `format`).
fn arguments(name: &'static str, input: Option<&Value>, given: &Kwargs) -> Result<Args, Error> {
    let convert = |value: &Value| -> Result<Option<Json>, Error> {
        if value.is_undefined() {
            Ok(None)
        } else {
            serde_json::to_value(value).map(Some).map_err(Error::message)
        }
    };
    let mut args = Args::new(name);
    if let Some(input) = input {
        args.push(convert(input)?);
    }
    for (key, value) in given.iter() {
        let value = convert(value)?;
        match (key.as_str(), value) {
            (Some("with"), Some(Json::Array(items))) => {
                items.into_iter().for_each(|item| args.push(Some(item)))
            }
            (Some("with"), value) => args.push(value),
            (Some(key), value) => args.push_named(key, value),
            (None, _) => {}
        }
    }
    Ok(args)
}

fn refused(name: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Undefined => Error::message(format!("`{name}`: an argument is undefined")),
        Refusal::Nothing(why) => Error::message(format!("`{name}`: {why}")),
        Refusal::Because { message, hint } => Error::message(format!(
            "`{name}`: {message}{}",
            hint.map(|hint| format!("; {hint}")).unwrap_or_default()
        )),
    }
}

/// Names of templates that a text includes or extends, and where.
fn included(text: &str) -> impl Iterator<Item = (String, std::ops::Range<usize>)> {
    let regex = pattern(r#"\{%-?\s*(?:include|extends|import)\s+["']([^"']+)["']"#, false, false).ok();
    let found: Vec<_> = regex
        .iter()
        .flat_map(|regex| regex.captures_iter(text))
        .filter_map(|found| found.get(1).map(|name| (name.as_str().to_owned(), name.range())))
        .collect();
    found.into_iter()
}

fn include(name: &str, parts: &mut HashMap<String, Part>, session: &Arc<Session>) -> Result<(), Diagnostic> {
    let Some((file, text)) = parts.get(name).map(|part| (part.file, Arc::clone(&part.text))) else {
        return Ok(());
    };
    for (inner, range) in included(&text) {
        if parts.contains_key(&inner) {
            continue;
        }
        let found = session.world.lookups.template(file, &inner).map_err(|why| {
            Diagnostic::error("template-not-found", why).at(Span::new(file, range.start, range.end))
        })?;
        parts.insert(inner.clone(), Part { file: found.file, text: found.text });
        include(&inner, parts, session)?;
    }
    Ok(())
}

/// Where a variable is named first inside a tag.
fn place_of(name: &str, file: FileId, text: &str) -> Span {
    let regex = pattern(&format!(r"\b{}\b", regex::escape(name)), false, false).ok();
    let places = regex.iter().flat_map(|regex| regex.find_iter(text)).map(|found| found.range());
    let in_tag = |at: usize| {
        let head = text.get(..at).unwrap_or_default();
        let open = head.rfind("{{").max(head.rfind("{%"));
        open.is_some() && open > head.rfind("}}").max(head.rfind("%}"))
    };
    let before = |at: usize| text.get(..at).and_then(|head| head.chars().next_back());
    let is_root = |range: &std::ops::Range<usize>| !matches!(before(range.start), Some('.' | '"' | '\''));
    let found = places.filter(|range| in_tag(range.start)).find(is_root).unwrap_or(0..0);
    Span::new(file, found.start, found.end)
}

/// A use of a variable that copes without it.
fn guard(name: &str) -> Option<Regex> {
    let name = regex::escape(name);
    let source = format!(r#"\b{name}\b[\w.?\[\]"']*\s*(\|\s*default\b|is\s+(not\s+)?(un)?defined\b)"#);
    pattern(&source, false, false).ok()
}

/// A variable that has a value which cannot be rendered.
fn broken(
    name: &str,
    error: &minijinja::Error,
    parts: &HashMap<String, Part>,
    session: &Arc<Session>,
) -> Diagnostic {
    let Some(main) = parts.get(MAIN) else { return Diagnostic::error("template", "the template is gone") };
    let here = place_of(name, main.file, &main.text);
    if let Some(carried) = errors::carried(error) {
        return carried.frame(here, format!("`{name}` used"));
    }
    match session.any_cause() {
        Some((inner, cause)) => cause.frame(here, format!("`{inner}` used")),
        None => Diagnostic::error(
            "template",
            error.detail().unwrap_or("a variable cannot be rendered").to_owned(),
        )
        .at(here),
    }
}

/// Tera's error as a diagnostic.
fn explain(error: &Error, parts: &HashMap<String, Part>, session: Option<&Arc<Session>>) -> Diagnostic {
    let main = parts.get(MAIN);
    let (report, code) = match error.kind() {
        ErrorKind::SyntaxError(report) => (report, "template-syntax"),
        ErrorKind::RenderingError(report) => (report, "template"),
        other => {
            let diagnostic = Diagnostic::error("template", other.to_string());
            return match main {
                Some(part) => diagnostic.at(Span::new(part.file, 0, 0)),
                None => diagnostic,
            };
        }
    };
    let Some(part) = parts.get(report.filename()).or(main) else {
        return Diagnostic::error(code, report.message());
    };
    let range = report.span().range.clone();
    let span = Span::new(part.file, range.start.min(part.text.len()), range.end.min(part.text.len()));
    // Tera lists everything that is defined behind its first sentence.
    let message = report.message();
    let first =
        |head: &str| message.strip_prefix(head).and_then(|tail| tail.split_once('`')).map(|(name, _)| name);
    if let Some(name) = first("Variable `") {
        if let Some(cause) = session.and_then(|session| session.cause(name)) {
            return cause.frame(span, format!("`{name}` used"));
        }
        let names = session.map(|session| session.scope.names()).unwrap_or_default();
        let diagnostic = Diagnostic::error(Undefined::CODE, format!("`{name}` is undefined")).at(span);
        return match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(near) => diagnostic.label(near),
            None => diagnostic,
        };
    }
    if let Some(field) = first("Field `") {
        // Tera points at the last link; the way to it is worth showing.
        let chained = |c: char| c.is_alphanumeric() || "_.?[]'\"".contains(c);
        let head = part.text.get(..range.start).unwrap_or_default();
        let start = head.rfind(|c: char| !chained(c)).map_or(0, |at| at + 1);
        let path = part.text.get(start..range.end).unwrap_or(field);
        let span = Span::new(part.file, start, range.end);
        let known = message.split_once("Available fields: ").map_or("", |(_, names)| names);
        let diagnostic = Diagnostic::error(Undefined::CODE, format!("`{path}` is undefined")).at(span);
        return match did_you_mean(field, known.split(", ")) {
            Some(near) => diagnostic.label(near),
            None => diagnostic,
        };
    }
    if message.starts_with("Tried to render a variable that is undefined") {
        let path = part.text.get(range).unwrap_or("the expression").trim();
        return Diagnostic::error(Undefined::CODE, format!("`{path}` is undefined")).at(span);
    }
    let text = message.lines().next().unwrap_or_default().trim_end_matches('.');
    let text = if code == "template-syntax" { format!("template syntax: {text}") } else { text.to_owned() };
    Diagnostic::error(code, text).at(span)
}
