//! The engine's errors as diagnostics that point into the YAML scalar or the template file.

use super::compile::{Compiled, SyntaxFault};
use super::scope::{LATER, Lookups};
use super::session::Session;
use crate::diag::{Diagnostic, Span, did_you_mean};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

/// The kind of fault that `default` and `is defined` cope with.
pub(super) struct Undefined;

impl Undefined {
    /// Its name in diagnostics.
    pub const CODE: &'static str = "undefined-variable";
}

const CYCLE: &str = "variable-cycle";

/// A diagnostic on its way through the engine.
#[derive(Debug)]
struct Carried(Box<Diagnostic>);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Carried {}

/// What to do about an error, on its way through the engine.
#[derive(Debug)]
pub(super) struct Hint(pub String);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hint {}

/// A finished diagnostic as an error of the engine.
pub(super) fn carry(diagnostic: Diagnostic) -> Error {
    let kind = if diagnostic.code == Undefined::CODE {
        ErrorKind::UndefinedError
    } else {
        ErrorKind::InvalidOperation
    };
    Error::new(kind, "a variable cannot be rendered").with_source(Carried(Box::new(diagnostic)))
}

/// The finished diagnostic inside an error of the engine.
pub(super) fn carried(error: &Error) -> Option<Diagnostic> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(Carried(diagnostic)) = inner.downcast_ref() {
            return Some(diagnostic.as_ref().clone());
        }
        source = inner.source();
    }
    None
}

/// A variable that needs itself.
pub(super) fn cycle(chain: &[&str]) -> Diagnostic {
    let way = chain.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" -> ");
    Diagnostic::error(
        "variable-cycle",
        format!("`{}` is defined by itself: {way}", chain.first().unwrap_or(&"?")),
    )
    .hint("give one of them a value that does not use the others")
}

/// A definition without end.
pub(super) fn too_deep(name: &str) -> Diagnostic {
    Diagnostic::error(
        "variable-cycle",
        format!("`{name}` needs too many other variables, one inside the other"),
    )
}

/// A variable that is not there, asked for by its name.
pub(super) fn undefined_name(name: &str, session: &Session) -> Diagnostic {
    let names = session.scope.names();
    let diagnostic = Diagnostic::error(Undefined::CODE, format!("`{name}` is undefined"));
    match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(near) => diagnostic.label(near),
        None => diagnostic,
    }
}

/// A variable whose value only the run brings.
pub(super) fn later(name: &str) -> Diagnostic {
    Diagnostic::error(LATER, format!("`{name}` is known only at run time"))
}

/// Whether an error says no more than that.
pub(super) fn is_later(error: &Error) -> bool {
    carried(error).is_some_and(|diagnostic| diagnostic.code == LATER)
}

/// A vault text that cannot be read.
pub(super) fn vault(why: &str) -> Diagnostic {
    Diagnostic::error("vault", format!("vault value cannot be decrypted: {why}"))
        .hint("give the password with --vault-password-file or --ask-vault-pass")
}

/// A fault of the text itself, at its place.
pub(super) fn place_fault(fault: SyntaxFault, text: &str, span: Span, lookups: &dyn Lookups) -> Diagnostic {
    fault.diagnostic.at(inside(span, text, fault.range, lookups))
}

/// The engine's error as a diagnostic. `span` is the scalar the program was compiled from.
pub(super) fn diagnose(error: &Error, compiled: &Compiled, session: &Arc<Session>, span: Span) -> Diagnostic {
    let range = error.range().map_or_else(|| compiled.whole(), |range| compiled.original(range));
    let place = |range: Range<usize>| inside(span, &compiled.source, range, &*session.world.lookups);
    let diagnostic = explain(error, compiled, session, range, &place);
    clean(diagnostic, session)
}

/// The same for a template file, whose text is its span.
pub(super) fn explain(
    error: &Error,
    compiled: &impl Chains,
    session: &Arc<Session>,
    range: Range<usize>,
    place: &dyn Fn(Range<usize>) -> Span,
) -> Diagnostic {
    if let Some(mut diagnostic) = carried(error) {
        let here = place(range);
        return match diagnostic.span {
            None => diagnostic.at(here),
            Some(span) if span == here => diagnostic,
            Some(_) => {
                if diagnostic.code == CYCLE {
                    // The message names the way; only where it starts is news.
                    diagnostic.frames.clear();
                }
                diagnostic.frame(here, "used")
            }
        };
    }
    let mut hint = None;
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(Hint(text)) = inner.downcast_ref() {
            hint = Some(text.clone());
        }
        source = inner.source();
    }
    if error.kind() == ErrorKind::UndefinedError {
        return named(compiled, session, &range, place)
            .unwrap_or_else(|| unnamed(compiled, session, range, place));
    }
    let detail = error.detail().unwrap_or("the expression failed").to_owned();
    // An operator that met an undefined value says so only in passing.
    if detail.contains("undefined")
        && let Some(diagnostic) = named(compiled, session, &range, place)
    {
        return diagnostic;
    }
    let diagnostic = match error.kind() {
        ErrorKind::UnknownFunction => {
            let name = detail.split(' ').next().unwrap_or_default().trim_matches('`').to_owned();
            let known = super::functions::names();
            let diagnostic = Diagnostic::error("unknown-function", format!("unknown function `{name}`"));
            match did_you_mean(&name, known) {
                Some(near) => diagnostic.label(near),
                None => diagnostic,
            }
        }
        ErrorKind::SyntaxError => Diagnostic::error("template-syntax", format!("template syntax: {detail}")),
        ErrorKind::TemplateNotFound => Diagnostic::error("template-not-found", detail),
        _ => Diagnostic::error("template", detail),
    };
    diagnostic.at(place(range)).maybe_hint(hint)
}

/// What a diagnosis needs to know of the text that failed.
pub(super) trait Chains {
    /// The part that was compiled.
    fn part(&self) -> &str;
    /// Where that part starts in the whole text.
    fn base(&self) -> usize;
    /// Chains in the text, the outer before the inner.
    fn chains(&self) -> &[Range<usize>];
    /// Whether the name that starts here is one that the text sets itself.
    fn is_local(&self, start: usize) -> bool;
    /// Whether the name that starts here may be undefined.
    fn is_guarded(&self, start: usize) -> bool;
}

impl Chains for Compiled {
    fn base(&self) -> usize {
        self.offset()
    }

    fn part(&self) -> &str {
        self.source.get(self.offset()..).unwrap_or_default()
    }

    fn chains(&self) -> &[Range<usize>] {
        &self.reading.chains
    }

    fn is_local(&self, start: usize) -> bool {
        !self.reading.roots.iter().any(|root| root.range.start == start)
    }

    fn is_guarded(&self, start: usize) -> bool {
        self.reading.roots.iter().any(|root| root.range.start == start && root.guarded)
    }
}

/// Names what is undefined inside `range` (of the whole text), or near it.
fn named(
    text: &impl Chains,
    session: &Arc<Session>,
    range: &Range<usize>,
    place: &dyn Fn(Range<usize>) -> Span,
) -> Option<Diagnostic> {
    let source = text.part();
    // Chains count from where the compiled part starts.
    let offset = text.base();
    // First what stands in the range, then the rest: a filter's range is its name alone.
    let inside = |chain: &&Range<usize>| chain.start + offset < range.end && chain.end + offset > range.start;
    let within: Vec<&Range<usize>> = text.chains().iter().filter(inside).collect();
    for chain in within.iter().copied().chain(text.chains()) {
        let Some(path) = source.get(chain.clone()) else { continue };
        if text.is_local(chain.start) || text.is_guarded(chain.start) && !within.contains(&chain) {
            continue;
        }
        let Some(missing) = missing_link(path, session) else { continue };
        let start = chain.start + offset;
        let here = place(start..start + missing.path.len());
        return Some(match missing.cause {
            Some(cause) => cause.frame(here, format!("`{}` used", missing.path)),
            None => missing.diagnostic().at(here),
        });
    }
    None
}

/// A value that a loop or a macro holds, the attribute of a result, or the end of an `if` without `else`.
fn unnamed(
    text: &impl Chains,
    session: &Arc<Session>,
    range: Range<usize>,
    place: &dyn Fn(Range<usize>) -> Span,
) -> Diagnostic {
    let (source, offset) = (text.part(), text.base());
    if let Some((name, cause)) = session.any_cause() {
        return cause.frame(place(range), format!("`{name}` used"));
    }
    let inside = |chain: &&Range<usize>| chain.start + offset < range.end && chain.end + offset > range.start;
    let near = text.chains().iter().filter(inside).chain(text.chains());
    for chain in near {
        let Some(path) = source.get(chain.clone()) else { continue };
        let here = place(chain.start + offset..chain.end + offset);
        let plain = path.chars().all(|c| c.is_alphanumeric() || "_.[]'\"".contains(c));
        match path.rfind(['.', '[']) {
            _ if plain && text.is_local(chain.start) => {
                return Diagnostic::error(Undefined::CODE, format!("`{path}` is undefined")).at(here);
            }
            Some(at) if !plain => {
                let link = path.get(at..).unwrap_or_default();
                let here = place(chain.start + offset + at..chain.end + offset);
                return Diagnostic::error(Undefined::CODE, format!("`{link}` of this value is undefined"))
                    .at(here);
            }
            _ => {}
        }
    }
    let diagnostic = Diagnostic::error(Undefined::CODE, "the expression has no value").at(place(range));
    if ["first", "last", "min", "max"].iter().any(|filter| source.contains(filter)) {
        return diagnostic.hint("an empty list has no such item: `| default(...)` says what stands for it");
    }
    if source.contains(" if ") {
        return diagnostic.hint("an `if` without `else` gives nothing when it is false");
    }
    diagnostic
}

/// The first link of a chain that is not there.
struct MissingLink {
    /// As written, up to and with the link.
    path: String,
    /// The nearest of what is there.
    near: Option<String>,
    cause: Option<Diagnostic>,
}

impl MissingLink {
    fn diagnostic(&self) -> Diagnostic {
        let diagnostic = Diagnostic::error(Undefined::CODE, format!("`{}` is undefined", self.path));
        match &self.near {
            Some(near) => diagnostic.label(near.clone()),
            None => diagnostic,
        }
    }
}

fn missing_link(path: &str, session: &Arc<Session>) -> Option<MissingLink> {
    let root_end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let (root, mut rest) = path.split_at(root_end);
    let missing =
        |path: &str, near: Option<String>, cause| Some(MissingLink { path: path.to_owned(), near, cause });
    let Some(mut value) = session.lookup(root) else {
        let names = session.scope.names();
        let near = did_you_mean(
            root,
            names.iter().map(String::as_str).chain(super::functions::names().map(|name| -> &str { name })),
        );
        return missing(root, near, None);
    };
    let mut dotted = root.to_owned();
    if value.is_undefined() {
        return missing(root, None, session.cause(root));
    }
    while !rest.is_empty() {
        let (link, length) = next_link(rest, session)?;
        let done = path.len() - rest.len() + length;
        let next = value.get_item(&link).ok()?;
        dotted = match link.kind() {
            ValueKind::Number => format!("{dotted}[{link}]"),
            _ => format!("{dotted}.{link}"),
        };
        if next.is_undefined() {
            let keys: Vec<String> = match value.kind() {
                ValueKind::Map => {
                    value.try_iter().ok()?.filter_map(|key| key.as_str().map(str::to_owned)).collect()
                }
                _ => Vec::new(),
            };
            let near = link.as_str().and_then(|link| did_you_mean(link, keys.iter().map(String::as_str)));
            return missing(path.get(..done)?, near, session.cause(&dotted));
        }
        value = next;
        rest = rest.get(length..)?;
    }
    None
}

/// `.name`, `['name']`, `[0]` or `[variable]` at the start of a text, and how long it is.
fn next_link(text: &str, session: &Arc<Session>) -> Option<(Value, usize)> {
    if let Some(name) = text.strip_prefix('.') {
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        let name = name.get(..end)?;
        let link = name.parse::<i64>().map_or_else(|_| Value::from(name), Value::from);
        return Some((link, end + 1));
    }
    let inner = text.strip_prefix('[')?;
    let end = inner.find(']')?;
    let subscript = inner.get(..end)?.trim();
    let quoted = |mark: char| subscript.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    let link = match quoted('\'').or_else(|| quoted('"')) {
        Some(name) => Value::from(name),
        None => match subscript.parse::<i64>() {
            Ok(index) => Value::from(index),
            Err(_) => session.lookup(subscript)?,
        },
    };
    Some((link, end + 2))
}

/// No secret leaves through a message.
pub(super) fn clean(mut diagnostic: Diagnostic, session: &Session) -> Diagnostic {
    diagnostic.message = session.world.masker.mask(&diagnostic.message);
    diagnostic
}

/// The place of `range` of a scalar's text inside the scalar as it is written: behind a quote, in an indented block.
/// When the source does not show the same line, the whole scalar is the place.
pub(super) fn inside(span: Span, text: &str, range: Range<usize>, lookups: &dyn Lookups) -> Span {
    exact(span, text, range, lookups).unwrap_or(span)
}

fn exact(span: Span, text: &str, range: Range<usize>, lookups: &dyn Lookups) -> Option<Span> {
    let source = lookups.source(span.file)?;
    let raw = source.get(span.start as usize..span.end as usize)?;
    let line_start = text.get(..range.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line_end = text.get(range.start..)?.find('\n').map_or(text.len(), |at| range.start + at);
    let line = text.get(line_start..line_end)?;
    if line.trim().is_empty() {
        return None;
    }
    // The same line may stand in the text more than once.
    let earlier = text.get(..line_start)?.matches(line).count();
    let (at, _) = raw.match_indices(line).nth(earlier)?;
    let start = span.start as usize + at + (range.start - line_start);
    let end = start + range.end.min(line_end).saturating_sub(range.start);
    Some(Span::new(span.file, start, end.max(start)))
}
