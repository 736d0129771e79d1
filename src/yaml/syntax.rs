//! What is wrong with a text that is not YAML, in words of the person who wrote it.

use crate::diag::{Diagnostic, FileId, Span};
use granit_parser::{ErrorKind, ScanError};

/// The parser's error as a message with a place and, for the classic traps, the way out.
pub(super) fn explain(file: FileId, text: &str, error: &ScanError) -> Diagnostic {
    let offset = floor(text, error.marker().byte_offset().unwrap_or(text.len()));
    let line = Line::at(text, offset);
    if let Some(start) =
        line.bare_template().or_else(|| line.previous(text).and_then(|line| line.bare_template()))
    {
        return unquoted_template(file, text, start);
    }
    let at = |start: usize, end: usize| Span::new(file, start, end.max(start));
    // The end of the text, and of a line, is no place to point at: point at the last thing before it.
    let here = if line.text.get(offset - line.start..).unwrap_or("").trim().is_empty() {
        let head = text[..offset].trim_end();
        let start = head.char_indices().next_back().map_or(0, |(start, _)| start);
        at(start, head.len())
    } else {
        at(offset, offset + text[offset..].chars().next().map_or(0, char::len_utf8))
    };
    let fault = |message: &str| Diagnostic::error("yaml-syntax", message).at(here);
    match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => {
            let tab = line.text.find('\t').map_or(offset, |tab| line.start + tab);
            Diagnostic::error("yaml-tab", "a tab stands where YAML wants spaces")
                .at(at(tab, tab + 1))
                .hint("indent with spaces")
        }
        ErrorKind::MappingValueNotAllowed => colon_in_value(&line, offset, fault),
        ErrorKind::UnclosedQuotedScalar => fault("a quote is opened and never closed"),
        ErrorKind::DocumentIndicatorInQuotedScalar => fault("a quote is still open when the document ends"),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            fault("there is more text behind the closing quote")
                .hint("quote the whole value, with the other kind of quotes outside: 'say \"this\" and that'")
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape => fault("unknown escape in a text in double quotes")
            .hint("write `\\\\` for a backslash, or use single quotes, which know no escapes"),
        ErrorKind::UnexpectedCharacter { character } => {
            fault(&format!("a text cannot start with `{}`", character.escape_debug())).hint("quote the text")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            fault("a `:` is missing behind this key")
                .hint("a key is followed by a colon and a space: `key: value`")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::MappingKeyNotAllowed => indentation(&line, fault),
        ErrorKind::InvalidBlockScalarIndent => {
            fault("this line is indented less than the first line of its text block")
        }
        ErrorKind::InvalidBlockScalarHeader => fault("nothing may follow `|` or `>` on its line")
            .hint("start the text on the next line, indented"),
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::UnclosedFlowCollection { .. } => fault("a bracket is opened and never closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            fault(&format!("the bracket `{open}` is closed by `{close}`"))
        }
        ErrorKind::InvalidColonPlacement => {
            fault("a `:` stands inside a list in brackets").hint("is a `[` above never closed?")
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            fault("a bracket is closed that was never opened").hint("quote a text that holds brackets")
        }
        ErrorKind::ExpectedFlowMappingSeparator => fault("a `,` or `}` is missing here"),
        ErrorKind::ExpectedFlowSequenceSeparator => fault("a `,` or `]` is missing here"),
        ErrorKind::RecursionLimitExceeded => {
            Diagnostic::error("yaml-too-deep", "this is nested too deep").at(here)
        }
        ErrorKind::UndeclaredTagHandle | ErrorKind::InvalidTagTerminator | ErrorKind::MissingTagUri => {
            fault("this is not a tag").hint("quote a text that starts with `!`")
        }
        other => fault(&other.to_string()),
    }
}

/// `key: {{ x }}`: YAML reads braces, the writer meant a template.
pub(super) fn unquoted_template(file: FileId, text: &str, start: usize) -> Diagnostic {
    let line = text[start..].lines().next().unwrap_or("");
    let value = line.split(" #").next().unwrap_or(line).trim_end();
    let quoted = if value.contains('"') { format!("'{value}'") } else { format!("\"{value}\"") };
    let hint = if value.contains('"') && value.contains('\'') {
        "quote the whole value".to_owned()
    } else {
        format!("write {quoted}")
    };
    Diagnostic::error("yaml-unquoted-template", "a value that starts with `{{` needs quotes")
        .at(Span::new(file, start, start + value.len()))
        .label("quote it")
        .hint(hint)
}

/// `key: value: x`, and a value that goes on in a `key:` line.
fn colon_in_value(line: &Line<'_>, offset: usize, fault: impl Fn(&str) -> Diagnostic) -> Diagnostic {
    let head = line.text.get(..offset.saturating_sub(line.start)).unwrap_or("");
    match head.find(": ") {
        Some(first) => {
            let value = line.text[first + 2..].trim();
            let quoted = if value.contains('"') { format!("'{value}'") } else { format!("\"{value}\"") };
            fault("a second `: ` on the line makes a mapping where a text was begun").hint(format!(
                "quote the value: `{}: {quoted}`",
                line.text[..first].trim().trim_start_matches("- ")
            ))
        }
        None => indentation(line, fault),
    }
}

fn indentation(line: &Line<'_>, fault: impl Fn(&str) -> Diagnostic) -> Diagnostic {
    if line.indent().contains('\t') {
        return fault("a tab stands where YAML wants spaces").hint("indent with spaces");
    }
    fault("this line does not fit the indentation of the lines above")
        .hint("keys of one mapping, and dashes of one list, start in the same column")
}

struct Line<'a> {
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn at(text: &'a str, offset: usize) -> Self {
        let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
        Self { start, text: text[start..].lines().next().unwrap_or("") }
    }

    /// The line above that is not blank.
    fn previous(&self, text: &'a str) -> Option<Self> {
        let head = text[..self.start].trim_end();
        (!head.is_empty()).then(|| Self::at(text, head.len()))
    }

    fn indent(&self) -> &'a str {
        &self.text[..self.text.len() - self.text.trim_start().len()]
    }

    /// Where a value that starts with `{{` and no quote stands.
    fn bare_template(&self) -> Option<usize> {
        let offset = |rest: &str| self.start + self.text.len() - rest.len();
        let mut rest = self.text.trim_start();
        while let Some(item) = rest.strip_prefix("- ") {
            rest = item.trim_start();
        }
        if rest.starts_with("{{") {
            return Some(offset(rest));
        }
        let colon = rest.find(": ")?;
        let key_is_plain = !rest[..colon].contains(['"', '\'', '#']);
        let value = rest[colon + 1..].trim_start();
        (key_is_plain && value.starts_with("{{")).then(|| offset(value))
    }
}

/// The offset, or the start of the character it falls into.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
