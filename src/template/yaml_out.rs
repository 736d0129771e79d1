//! YAML as PyYAML writes it, so that what a template writes with `to_nice_yaml` does not change when a site moves here
//! from Ansible. Lines are not folded.

use super::python;
use serde_json::{Map, Value};

/// `indent` blanks a level; `leaves`: lists and mappings that hold only plain values stand in one line.
pub fn write(value: &Value, indent: usize, sorted: bool, leaves: bool) -> String {
    let mut writer = Writer { out: String::new(), indent, sorted, leaves };
    writer.value(value, 0, Place::Root);
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    writer.out
}

struct Writer {
    out: String,
    indent: usize,
    sorted: bool,
    leaves: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    /// Behind `key:`.
    Key,
    /// Behind `-`.
    Item,
}

impl Writer {
    /// `column`: where the lines of this value start.
    fn value(&mut self, value: &Value, column: usize, place: Place) {
        match value {
            Value::Array(items) if !items.is_empty() && !self.flows(value) => self.list(items, column, place),
            Value::Object(map) if !map.is_empty() && !self.flows(value) => self.mapping(map, column, place),
            Value::Array(_) | Value::Object(_) => {
                self.blank(place);
                let text = self.flow(value);
                self.line(&text);
            }
            scalar => {
                self.blank(place);
                let inner = if place == Place::Root { self.indent } else { column.max(self.indent) };
                let text = self.scalar(scalar, inner, false);
                self.line(&text);
            }
        }
    }

    fn blank(&mut self, place: Place) {
        if place != Place::Root {
            self.out.push(' ');
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn flows(&self, value: &Value) -> bool {
        let plain = |item: &Value| !matches!(item, Value::Array(_) | Value::Object(_));
        self.leaves
            && match value {
                Value::Array(items) => items.iter().all(plain),
                Value::Object(map) => map.values().all(plain),
                _ => false,
            }
    }

    fn entries<'a>(&self, map: &'a Map<String, Value>) -> Vec<(&'a String, &'a Value)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.sorted {
            entries.sort_by_key(|(key, _)| *key);
        }
        entries
    }

    fn list(&mut self, items: &[Value], column: usize, place: Place) {
        // Below a key the dash stands under the key itself.
        let column = if place == Place::Key { column.saturating_sub(self.indent) } else { column };
        if place == Place::Key {
            self.out.push('\n');
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 || place != Place::Item {
                self.out.push_str(&" ".repeat(column));
            } else {
                self.out.push_str(&" ".repeat(self.indent - 1));
            }
            self.out.push('-');
            self.value(item, column + self.indent, Place::Item);
        }
    }

    fn mapping(&mut self, map: &Map<String, Value>, column: usize, place: Place) {
        if place == Place::Key {
            self.out.push('\n');
        }
        for (index, (key, value)) in self.entries(map).into_iter().enumerate() {
            if index > 0 || place != Place::Item {
                self.out.push_str(&" ".repeat(column));
            } else {
                self.out.push_str(&" ".repeat(self.indent - 1));
            }
            let key = key_text(key);
            self.out.push_str(&key);
            self.out.push(':');
            self.value(value, column + self.indent, Place::Key);
        }
    }

    fn flow(&self, value: &Value) -> String {
        match value {
            Value::Array(items) => {
                format!("[{}]", items.iter().map(|item| self.flow(item)).collect::<Vec<_>>().join(", "))
            }
            Value::Object(map) => {
                let entries = self.entries(map).into_iter().map(|(key, value)| {
                    let key = self.scalar(&Value::String(key.clone()), 0, true);
                    format!("{key}: {}", self.flow(value))
                });
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            scalar => self.scalar(scalar, self.indent, true),
        }
    }

    fn scalar(&self, value: &Value, column: usize, in_flow: bool) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) if number.is_f64() => {
                let text = python::number(number);
                // `1e+20` would be read as a text.
                if text.contains('e') && !text.contains('.') { text.replacen('e', ".0e", 1) } else { text }
            }
            Value::Number(number) => number.to_string(),
            Value::String(text) => string(text, column, in_flow),
            Value::Array(_) | Value::Object(_) => self.flow(value),
        }
    }
}

fn key_text(key: &str) -> String {
    if key.contains('\n') { double(key) } else { string(key, 0, false) }
}

fn string(text: &str, column: usize, in_flow: bool) -> String {
    let printable = |c: char| {
        matches!(c, '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
            && c != '\u{feff}'
    };
    if !text.chars().all(printable) || text.contains(" \n") {
        return double(text);
    }
    if is_plain(text, in_flow) {
        return text.to_owned();
    }
    let mut out = String::from("'");
    let mut breaks = false;
    for c in text.chars() {
        if c == '\n' {
            if !breaks {
                out.push('\n');
            }
            out.push('\n');
            breaks = true;
            continue;
        }
        if breaks {
            out.push_str(&" ".repeat(column));
            breaks = false;
        }
        if c == '\'' {
            out.push('\'');
        }
        out.push(c);
    }
    if breaks {
        out.push_str(&" ".repeat(column));
    }
    out.push('\'');
    out
}

fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{1b}' => out.push_str("\\e"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02X}", c as u32)),
            '\u{80}'..='\u{9f}' => out.push_str(&format!("\\x{:02X}", c as u32)),
            '\u{feff}' => out.push_str("\\uFEFF"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_plain(text: &str, in_flow: bool) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let (Some(first), Some(last)) = (chars.first(), chars.last()) else { return false };
    let blank_after = |index: usize| chars.get(index + 1).is_none_or(|next| next.is_whitespace());
    if first.is_whitespace() || last.is_whitespace() || text.contains('\n') {
        return false;
    }
    if text.starts_with("---") || text.starts_with("...") || "#,[]{}&*!|>'\"%@`".contains(*first) {
        return false;
    }
    if matches!(first, '?' | ':') && (in_flow || blank_after(0)) || *first == '-' && blank_after(0) {
        return false;
    }
    for (index, c) in chars.iter().enumerate() {
        match c {
            ':' if in_flow || blank_after(index) => return false,
            '#' if index > 0 && chars.get(index - 1).is_some_and(|before| before.is_whitespace()) => {
                return false;
            }
            ',' | '?' | '[' | ']' | '{' | '}' if in_flow => return false,
            _ => {}
        }
    }
    !reads_as_other(text)
}

/// Whether YAML 1.1 would read the text as something else than a text.
fn reads_as_other(text: &str) -> bool {
    let lower = text.to_lowercase();
    let cased = text == lower || text == text.to_uppercase() || {
        let mut chars = text.chars();
        let head: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
        text == format!("{head}{}", chars.as_str().to_lowercase())
    };
    if cased && matches!(lower.as_str(), "yes" | "no" | "true" | "false" | "on" | "off" | "null") {
        return true;
    }
    if matches!(text, "~" | "<<" | "=") {
        return true;
    }
    let date = super::filters::pattern(
        r"^(\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?([Tt]|[ \t]+)\d\d?:\d\d:\d\d(\.\d*)?([ \t]*(Z|[-+]\d\d?(:\d\d)?))?)$",
        false,
        false,
    );
    let number = super::filters::pattern(
        r"^([-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+|[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        false,
        false,
    );
    [date, number].iter().any(|pattern| pattern.as_ref().is_ok_and(|pattern| pattern.is_match(text)))
}
