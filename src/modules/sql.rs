//! The only place that quotes for PostgreSQL: identifiers, literals, arguments of a query, `conninfo` strings and
//! lines of a configuration file.

use serde_json::Value;

/// `name` as a quoted identifier; `Err` when PostgreSQL can hold no such name.
pub fn ident(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("a name in PostgreSQL cannot be empty".to_owned());
    }
    if name.contains('\0') {
        return Err("a name in PostgreSQL cannot hold the character NUL".to_owned());
    }
    // Longer names would be cut silently, and the object be another one than asked for.
    if name.len() > 63 {
        return Err(format!("`{name}` has {} bytes; a name in PostgreSQL has at most 63", name.len()));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// `text` as a string literal; `Err` when PostgreSQL can hold no such text.
///
/// With a backslash in it the form `E'...'` is taken, which means the same whatever `standard_conforming_strings`
/// says, to the server and to `psql`; the blank before it keeps the `E` apart from a word.
pub fn literal(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("PostgreSQL's texts cannot hold the character NUL".to_owned());
    }
    let doubled = text.replace('\'', "''");
    Ok(if text.contains('\\') {
        format!(" E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    })
}

/// A value of YAML or JSON as an expression, as psycopg writes it: NULL, true, numbers, texts, `ARRAY[...]`; a mapping
/// as JSON text.
pub fn value(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok("NULL".to_owned()),
        Value::Bool(truth) => Ok(truth.to_string()),
        // A minus sign behind another would open a comment.
        Value::Number(number) if number.to_string().starts_with('-') => Ok(format!(" {number}")),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => literal(text),
        Value::Array(items) if items.is_empty() => Ok("'{}'".to_owned()),
        Value::Array(items) => {
            let items = items.iter().map(self::value).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("ARRAY[{}]", items.join(", ")))
        }
        Value::Object(_) => literal(&value.to_string()),
    }
}

/// A query's `%s` and `%(name)s` replaced by quoted arguments, `%%` by `%`, as psycopg does it.
pub fn bind(
    query: &str,
    positional: Option<&[Value]>,
    named: Option<&serde_json::Map<String, Value>>,
) -> Result<String, String> {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    let mut used = 0;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if let (Some(after), Some(positional)) = (rest.strip_prefix('s'), positional) {
            let argument = positional
                .get(used)
                .ok_or_else(|| format!("the query has more `%s` than the {} arguments", used))?;
            out.push_str(&value(argument)?);
            used += 1;
            rest = after;
        } else if let (Some((name, after)), Some(named)) =
            (rest.strip_prefix('(').and_then(|rest| rest.split_once(")s")), named)
        {
            let argument = named.get(name).ok_or_else(|| {
                match crate::diag::did_you_mean(name, named.keys().map(String::as_str)) {
                    Some(near) => {
                        format!("the query names the argument `{name}`, which is not given ({near})")
                    }
                    None => format!("the query names the argument `{name}`, which is not given"),
                }
            })?;
            out.push_str(&value(argument)?);
            rest = after;
        } else {
            let form = if named.is_some() { "%(name)s" } else { "%s" };
            return Err(format!(
                "a `%` that is no argument: with arguments a query writes `{form}`, and `%%` for a percent sign"
            ));
        }
    }
    out.push_str(rest);
    match positional {
        Some(given) if given.len() > used => {
            Err(format!("{} arguments are given, the query has {used} `%s`", given.len()))
        }
        _ => Ok(out),
    }
}

/// The statements of an SQL text, without comments at their ends, each with its bare words in upper case (outside of
/// quotes and comments). Reads as the server does while `standard_conforming_strings` is on.
pub fn statements(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { break };
        let word: &str = {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()));
            if c.is_alphabetic() || c == '_' { &rest[..end.unwrap_or(rest.len())] } else { "" }
        };
        if rest.starts_with("--") {
            at += rest.find('\n').map_or(rest.len(), |end| end + 1);
        } else if rest.starts_with("/*") {
            at += comment(rest);
        } else if c == '\'' || c == '"' {
            at += quoted(rest, c, false);
        } else if word.eq_ignore_ascii_case("e") && rest[1..].starts_with('\'') {
            at += 1 + quoted(&rest[1..], '\'', true);
        } else if !word.is_empty() {
            words.push(word.to_ascii_uppercase());
            at += word.len();
        } else if let Some(tag) = dollar_tag(rest) {
            at += rest[tag.len()..].find(tag).map_or(rest.len(), |end| end + 2 * tag.len());
        } else if c == ';' {
            let whole = text[start..at].trim();
            if !words.is_empty() {
                found.push((whole.to_owned(), std::mem::take(&mut words)));
            }
            at += 1;
            start = at;
        } else {
            at += c.len_utf8();
        }
    }
    if !words.is_empty() {
        found.push((text[start.min(text.len())..].trim().to_owned(), words));
    }
    found
}

/// A value of a `conninfo` string (`host='...'`).
pub fn conninfo_value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A value of `postgresql.conf` and `postgresql.auto.conf`, as `ALTER SYSTEM` writes it.
pub fn conf_value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return at + 1;
            }
        }
    }
    text.len()
}

fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = &inner[..end];
    let plain = tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    (plain && !tag.starts_with(|c: char| c.is_ascii_digit())).then(|| &text[..end + 2])
}

#[cfg(test)]
#[path = "sql_tests.rs"]
mod tests;
