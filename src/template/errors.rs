//! The engine's errors as diagnostics that point into the YAML scalar or the template file.

use super::compile::{Compiled, SyntaxFault};
use super::scope::Lookups;
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
    let range = error
        .range()
        .map_or(compiled.offset()..compiled.source.trim_end().len(), |range| compiled.original(range));
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
    let mut hint = None;
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(Carried(diagnostic)) = inner.downcast_ref() {
            let diagnostic = diagnostic.as_ref().clone();
            let here = place(range);
            return if diagnostic.span == Some(here) { diagnostic } else { diagnostic.frame(here, "used") };
        }
        if let Some(Hint(text)) = inner.downcast_ref() {
            hint = Some(text.clone());
        }
        source = inner.source();
    }
    if error.kind() == ErrorKind::UndefinedError {
        return undefined(compiled, session, range, place);
    }
    let detail = error.detail().unwrap_or("the expression failed").to_owned();
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

/// Names what is undefined inside `range` (of the whole text).
fn undefined(
    text: &impl Chains,
    session: &Arc<Session>,
    range: Range<usize>,
    place: &dyn Fn(Range<usize>) -> Span,
) -> Diagnostic {
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
        if let Some(cause) = missing.cause {
            return cause.frame(here, format!("`{}` used", missing.path));
        }
        return missing.diagnostic().at(here);
    }
    // A local name, or something that no chain names.
    if let Some((name, cause)) = session.any_cause() {
        return cause.frame(place(range), format!("`{name}` used"));
    }
    let local = within.iter().copied().find(|chain| text.is_local(chain.start));
    match local.and_then(|chain| source.get(chain.clone()).map(|path| (chain, path))) {
        Some((chain, path)) => Diagnostic::error(Undefined::CODE, format!("`{path}` is undefined"))
            .at(place(chain.start + offset..chain.end + offset)),
        None => Diagnostic::error(Undefined::CODE, "the expression has no value")
            .at(place(range))
            .hint("an `if` without `else` gives nothing when it is false"),
    }
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
