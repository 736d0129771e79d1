//! Texts turned into programs, once each.

use super::env::base;
use super::syntax::{Backslashes, Reading, Rewritten};
use crate::diag::{Diagnostic, did_you_mean};
use minijinja::machinery::{parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind, Expression, Template};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, RwLock};

/// A text ready to run.
pub(super) struct Compiled {
    /// As written.
    pub source: String,
    pub program: Program,
    pub reading: Reading,
    rewritten: Rewritten,
    /// Where the part that was compiled starts in `source`.
    base: usize,
}

/// What runs.
pub(super) enum Program {
    /// One expression; of the line ends after `}}` a text gets what Ansible gives it.
    Expr { expr: Expression<'static, 'static>, tail: String },
    /// Text with templates in it.
    Text(Template<'static, 'static>),
}

/// A fault of the text itself, and where in it.
#[derive(Debug, Clone)]
pub(super) struct SyntaxFault {
    pub diagnostic: Diagnostic,
    pub range: Range<usize>,
}

/// Whether there is anything to render in a text.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// A text with templates in it.
pub(super) fn text(source: &str) -> Result<Arc<Compiled>, SyntaxFault> {
    cached(&TEXTS, source, compile_text)
}

/// A bare expression, as in `when:`.
pub(super) fn expression(source: &str) -> Result<Arc<Compiled>, SyntaxFault> {
    cached(&EXPRESSIONS, source, |source| {
        compile_expression(source, 0..source.len(), String::new(), Backslashes::Escapes)
    })
}

type Cache = RwLock<HashMap<String, Arc<Compiled>>>;
static TEXTS: LazyLock<Cache> = LazyLock::new(Cache::default);
static EXPRESSIONS: LazyLock<Cache> = LazyLock::new(Cache::default);

fn cached(
    cache: &Cache,
    source: &str,
    compile: impl FnOnce(&str) -> Result<Compiled, SyntaxFault>,
) -> Result<Arc<Compiled>, SyntaxFault> {
    if let Ok(cache) = cache.read()
        && let Some(found) = cache.get(source)
    {
        return Ok(Arc::clone(found));
    }
    let compiled = Arc::new(compile(source)?);
    if let Ok(mut cache) = cache.write() {
        cache.insert(source.to_owned(), Arc::clone(&compiled));
    }
    Ok(compiled)
}

impl Compiled {
    /// The range in the source of a range of the program.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let end = (self.base + self.rewritten.original(range.end)).min(self.source.len());
        let start = (self.base + self.rewritten.original(range.start)).min(end);
        start..end
    }

    /// The part that was compiled, without the blanks around it.
    pub fn whole(&self) -> Range<usize> {
        let end = match &self.program {
            Program::Expr { tail, .. } if self.base > 0 => self.source.len().saturating_sub(tail.len() + 2),
            _ => self.source.len(),
        };
        let part = self.source.get(self.base..end).unwrap_or_default();
        let blanks = part.len() - part.trim_start().len();
        let start = self.base + blanks;
        start..start + part.trim().trim_end_matches('-').trim_end().len()
    }

    /// Where the part that was compiled starts.
    pub fn offset(&self) -> usize {
        self.base
    }
}

fn compile_text(source: &str) -> Result<Compiled, SyntaxFault> {
    if let Some((start, end)) = single(source) {
        let tail = source.get(source.trim_end_matches('\n').len()..).unwrap_or_default().to_owned();
        if let Ok(compiled) = compile_expression(source, start..end, tail, Backslashes::Literal) {
            return Ok(compiled);
        }
    }
    let reading = read_template(source, syntax())?;
    let rewritten = reading.rewrite(source, Backslashes::Literal);
    let template = base()
        .get_template(&format!("{TEXT_MARK}{}", rewritten.text))
        .map_err(|error| fault(&error, source, |offset| rewritten.original(offset)))?;
    Ok(Compiled { source: source.to_owned(), program: Program::Text(template), reading, rewritten, base: 0 })
}

fn compile_expression(
    source: &str,
    part: Range<usize>,
    tail: String,
    backslashes: Backslashes,
) -> Result<Compiled, SyntaxFault> {
    let Range { start, end } = part;
    let inner = source.get(start..end).unwrap_or_default();
    let place = |error: &Error| fault(error, source, |offset| start + offset);
    let reading = Reading::of_expr(&parse_expr(inner).map_err(|error| place(&error))?);
    known(&reading).map_err(|fault| SyntaxFault {
        range: fault.range.start + start..fault.range.end + start,
        ..fault
    })?;
    let rewritten = reading.rewrite(inner, backslashes);
    let expr = base().compile_expression_owned(rewritten.text.clone()).map_err(|error| place(&error))?;
    Ok(Compiled {
        source: source.to_owned(),
        program: Program::Expr { expr, tail },
        reading,
        rewritten,
        base: start,
    })
}

/// The inside of a text that may be exactly one `{{ expression }}`.
fn single(source: &str) -> Option<(usize, usize)> {
    let text = source.trim_end_matches('\n');
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let start = 2 + usize::from(inner.starts_with(['-', '+']));
    let end = text.len() - 2 - usize::from(inner.ends_with('-'));
    (start <= end && !inner.contains("{%") && !inner.contains("{#")).then_some((start, end))
}

/// Reads a template without keeping it: its names and whether every filter and test is known.
pub(super) fn read_template(source: &str, syntax: SyntaxConfig) -> Result<Reading, SyntaxFault> {
    let tree = parse(source, "template", syntax).map_err(|error| fault(&error, source, |offset| offset))?;
    let reading = Reading::of_template(&tree);
    known(&reading)?;
    Ok(reading)
}

/// Marks a template name that is the text itself, so that no file name can be mistaken for one.
pub(super) const TEXT_MARK: char = '\u{1}';

/// Ansible's settings: a line end behind a block goes, and the last one of the text ([`line_ends`] gives it back).
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).build().unwrap_or_default()
}

/// A rendered text with the line ends at its end that Ansible gives it: Jinja takes one off the source, and those that
/// the result then lacks of the source's number are put back. (`{{ block }}\n` with a block that ends its own line has
/// one, not two.)
pub(super) fn line_ends(source: &str, mut rendered: String, newline: &str) -> String {
    let count = |text: &str, end: &str| (text.len() - text.trim_end_matches(end).len()) / end.len();
    let lacking = count(source, "\n").saturating_sub(count(&rendered, newline));
    rendered.extend(std::iter::repeat_n(newline, lacking));
    rendered
}

/// Unknown filters and tests are faults of the text, found before anything runs.
fn known(reading: &Reading) -> Result<(), SyntaxFault> {
    for (name, range) in &reading.filters {
        if !super::filters::exists(name) && !name.starts_with("__") {
            return Err(SyntaxFault { diagnostic: unknown_filter(name), range: range.clone() });
        }
    }
    for (name, range) in &reading.tests {
        if !super::tests::exists(name) {
            return Err(SyntaxFault { diagnostic: unknown_test(name), range: range.clone() });
        }
    }
    Ok(())
}

pub(super) fn unknown_filter(name: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error("unknown-filter", format!("unknown filter `{name}`"));
    match did_you_mean(name, super::filters::names()) {
        Some(near) => diagnostic.label(near),
        None => diagnostic.maybe_hint(super::filters::instead_of(name).map(str::to_owned)),
    }
}

pub(super) fn unknown_test(name: &str) -> Diagnostic {
    let diagnostic = Diagnostic::error("unknown-test", format!("unknown test `{name}`"));
    match did_you_mean(name, super::tests::names()) {
        Some(near) => diagnostic.label(near),
        None => diagnostic,
    }
}

/// The engine's own complaint about a text.
fn fault(error: &Error, source: &str, original: impl Fn(usize) -> usize) -> SyntaxFault {
    let detail = error.detail().unwrap_or("the template cannot be read");
    let message = match error.kind() {
        ErrorKind::SyntaxError => format!("template syntax: {detail}"),
        _ => detail.to_owned(),
    };
    let range = error.range().unwrap_or(0..0);
    let end = original(range.end).min(source.len());
    SyntaxFault {
        diagnostic: Diagnostic::error("template-syntax", message),
        range: original(range.start).min(end)..end,
    }
}
