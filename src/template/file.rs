//! Template files: Jinja2 with Ansible's settings, includes answered by the edge.

use super::compile::{self, SyntaxFault};
use super::engine::{Root, Templates};
use super::env::file_env;
use super::errors::{self, Chains};
use super::scope::Scope;
use super::session::Session;
use super::syntax::{Reading, Rewritten};
use crate::diag::{Diagnostic, FileId, Span};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What a template file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Jinja2, by MiniJinja.
    Jinja,
    /// Tera 2.
    Tera,
}

impl Dialect {
    /// By the end of the name: `*.tera` is Tera, anything else Jinja2, as in every Ansible role.
    pub fn of(path: &str) -> Self {
        match Path::new(path).extension() {
            Some(end) if end == "tera" => Self::Tera,
            _ => Self::Jinja,
        }
    }
}

/// How a template file is read where it does not say so itself in its `#jinja2:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// The line end behind a block goes.
    pub trim_blocks: bool,
    /// The blanks before a block that starts its line go.
    pub lstrip_blocks: bool,
    /// What ends a line of the result: `\n`, `\r\n` or `\r`.
    pub newline: String,
    /// Start and end of an expression, a statement and a comment.
    pub delimiters: [(String, String); 3],
}

impl Default for FileOptions {
    /// Ansible's.
    fn default() -> Self {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        Self {
            trim_blocks: true,
            lstrip_blocks: false,
            newline: "\n".to_owned(),
            delimiters: [pair("{{", "}}"), pair("{%", "%}"), pair("{#", "#}")],
        }
    }
}

/// A template file that was read: what is needed to point into it.
struct Part {
    file: FileId,
    text: Arc<str>,
    reading: Reading,
    rewritten: Rewritten,
    /// Length of the `#jinja2:` line, which is not part of the template.
    header: usize,
}

impl Chains for Part {
    fn part(&self) -> &str {
        self.text.get(self.header..).unwrap_or_default()
    }

    fn base(&self) -> usize {
        self.header
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

impl Part {
    fn span(&self, range: Range<usize>) -> Span {
        Span::new(self.file, range.start, range.end)
    }

    fn original(&self, range: Range<usize>) -> Range<usize> {
        let at = |offset| (self.header + self.rewritten.original(offset)).min(self.text.len());
        at(range.start)..at(range.end)
    }
}

/// The parts of one rendering, by the name they were asked for.
type Parts = Arc<Mutex<HashMap<String, Arc<Part>>>>;

const MAIN: &str = "\u{1}main";

impl Templates {
    /// What a template file becomes. `extra` are variables that only this file sees, as `vars:` of the `template`
    /// module; they win over the scope.
    pub fn render_file(
        &self,
        file: FileId,
        text: &str,
        dialect: Dialect,
        scope: &Arc<dyn Scope>,
        extra: &Map<String, Value>,
        options: &FileOptions,
    ) -> Result<String, Diagnostic> {
        let session = Session::new(&self.world, scope, extra.clone(), file);
        match dialect {
            Dialect::Jinja => {
                let rendered = self.render_jinja(file, text, &session, options, "\n")?;
                match options.newline.as_str() {
                    "\n" => Ok(rendered),
                    // A second time, since what values bring is not to be touched: places are those of the first.
                    "\r" => {
                        Ok(self.render_jinja(file, text, &session, options, "\r\n")?.replace("\r\n", "\r"))
                    }
                    _ => self.render_jinja(file, text, &session, options, "\r\n"),
                }
            }
            Dialect::Tera => super::tera::render(file, text, &session),
        }
    }

    /// The variables that a template file uses; faults of its syntax, unknown filters and unknown tests.
    pub fn roots_of_file(&self, file: FileId, text: &str, dialect: Dialect) -> Result<Vec<Root>, Diagnostic> {
        match dialect {
            Dialect::Jinja => {
                let part = read(file, Arc::from(text), &FileOptions::default())?;
                let place = |root: &super::syntax::Root| {
                    part.span(root.range.start + part.header..root.range.end + part.header)
                };
                Ok(part
                    .reading
                    .roots
                    .iter()
                    .map(|root| Root {
                        name: root.name.clone(),
                        span: place(root),
                        optional: root.guarded || root.perhaps || part.reading.tested.contains(&root.name),
                    })
                    .collect())
            }
            Dialect::Tera => super::tera::roots(file, text),
        }
    }

    fn render_jinja(
        &self,
        file: FileId,
        text: &str,
        session: &Arc<Session>,
        given: &FileOptions,
        newline: &'static str,
    ) -> Result<String, Diagnostic> {
        let main = Arc::new(read(file, Arc::from(text), given)?);
        let (syntax, _) =
            options(text, given).map_err(|fault| fault.diagnostic.at(main.span(fault.range)))?;
        let lines = move |text: &str| match newline {
            "\n" => text.to_owned(),
            other => text.replace('\n', other),
        };
        let parts = Parts::default();
        remember(&parts, MAIN, &main);
        let mut env = file_env().clone();
        env.set_syntax(syntax);
        let (lookups, kept, given) = (Arc::clone(&self.world.lookups), Arc::clone(&parts), given.clone());
        env.set_loader(move |name| {
            let missing = |why| errors::carry(Diagnostic::error("template-not-found", why));
            let found = lookups.template(file, name).map_err(missing)?;
            let part = Arc::new(read(found.file, found.text, &given).map_err(errors::carry)?);
            remember(&kept, name, &part);
            Ok(Some(lines(&part.rewritten.text)))
        });
        let explain = |error: Error| errors::clean(explain(&error, &parts, &main, session), session);
        let source = lines(&main.rewritten.text);
        let template = env.template_from_named_str(MAIN, &source).map_err(explain)?;
        let rendered = template.render(session.root()).map_err(explain)?;
        Ok(compile::line_ends(text, rendered, newline))
    }
}

/// The error of the file that is to blame, and the includes that led to it.
fn explain(error: &Error, parts: &Parts, main: &Arc<Part>, session: &Arc<Session>) -> Diagnostic {
    let part = error.name().and_then(|name| recall(parts, name)).unwrap_or_else(|| Arc::clone(main));
    let range = error.range().map_or(0..0, |range| part.original(range));
    let inner = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    match inner {
        Some(inner) if error.kind() == ErrorKind::BadInclude => {
            explain(inner, parts, main, session).frame(part.span(range), "included")
        }
        _ => errors::explain(error, &*part, session, range, &|range| part.span(range)),
    }
}

fn remember(parts: &Parts, name: &str, part: &Arc<Part>) {
    parts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(part));
}

fn recall(parts: &Parts, name: &str) -> Option<Arc<Part>> {
    parts.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// The syntax tree of a file, read; nothing when it cannot be.
pub(super) fn reading(file: FileId, text: Arc<str>) -> Option<Reading> {
    read(file, text, &FileOptions::default()).ok().map(|part| part.reading)
}

fn read(file: FileId, text: Arc<str>, given: &FileOptions) -> Result<Part, Diagnostic> {
    let at = |fault: SyntaxFault, shift: usize| {
        fault.diagnostic.at(Span::new(file, fault.range.start + shift, fault.range.end + shift))
    };
    let (syntax, header) = options(&text, given).map_err(|fault| at(fault, 0))?;
    let body = text.get(header..).unwrap_or_default();
    let reading = compile::read_template(body, syntax).map_err(|fault| at(fault, header))?;
    let rewritten = reading.rewrite(body, super::syntax::Backslashes::Escapes);
    Ok(Part { file, text, reading, rewritten, header })
}

/// The `#jinja2: trim_blocks:False, lstrip_blocks:True` line that a template may start with, and its length.
fn options(text: &str, given: &FileOptions) -> Result<(SyntaxConfig, usize), SyntaxFault> {
    let mut own = given.clone();
    let mut keep = false;
    let Some(rest) = text.strip_prefix("#jinja2:") else {
        return Ok((
            own.config(keep).map_err(|diagnostic| SyntaxFault { diagnostic, range: 0..text.len() })?,
            0,
        ));
    };
    let line = rest.split_inclusive('\n').next().unwrap_or(rest);
    let header = text.len() - rest.len() + line.len();
    let fault = |message: String| SyntaxFault {
        diagnostic: Diagnostic::error("template-syntax", message)
            .hint("it takes trim_blocks, lstrip_blocks, keep_trailing_newline and the start and end strings"),
        range: 0..text.get(..header).unwrap_or_default().trim_end().len(),
    };
    for pair in line.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once(':').ok_or_else(|| fault(format!("`{pair}` is not an option of `#jinja2:`")))?;
        let value = value.trim().trim_matches(['"', '\'']);
        let truth = || match value.to_lowercase().as_str() {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            _ => Err(fault(format!("`{}` takes True or False", name.trim()))),
        };
        match name.trim() {
            "trim_blocks" => own.trim_blocks = truth()?,
            "lstrip_blocks" => own.lstrip_blocks = truth()?,
            "keep_trailing_newline" => keep = truth()?,
            "variable_start_string" => own.delimiters[0].0 = value.to_owned(),
            "variable_end_string" => own.delimiters[0].1 = value.to_owned(),
            "block_start_string" => own.delimiters[1].0 = value.to_owned(),
            "block_end_string" => own.delimiters[1].1 = value.to_owned(),
            "comment_start_string" => own.delimiters[2].0 = value.to_owned(),
            "comment_end_string" => own.delimiters[2].1 = value.to_owned(),
            other => return Err(fault(format!("`{other}` is not an option of `#jinja2:`"))),
        }
    }
    own.config(keep).map(|config| (config, header)).map_err(|diagnostic| fault(diagnostic.message))
}

impl FileOptions {
    fn config(&self, keep_trailing_newline: bool) -> Result<SyntaxConfig, Diagnostic> {
        let [variable, block, comment] = self.delimiters.clone();
        SyntaxConfig::builder()
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .keep_trailing_newline(keep_trailing_newline)
            .variable_delimiters(variable.0, variable.1)
            .block_delimiters(block.0, block.1)
            .comment_delimiters(comment.0, comment.1)
            .build()
            .map_err(|error| {
                Diagnostic::error("template-syntax", format!("the delimiters cannot be used: {error}"))
            })
    }
}
