//! Filters of texts.

use super::{Args, Filter, Refusal};
use crate::template::python;
use regex::{Captures, Regex, RegexBuilder};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{LazyLock, RwLock};

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("capitalize", capitalize),
    ("center", center),
    ("comment", comment),
    ("e", escape),
    ("escape", escape),
    ("indent", indent),
    ("lower", lower),
    ("quote", quote),
    ("regex_escape", regex_escape),
    ("regex_findall", regex_findall),
    ("regex_replace", regex_replace),
    ("regex_search", regex_search),
    ("replace", replace),
    ("split", split),
    ("splitlines", splitlines),
    ("striptags", striptags),
    ("title", title),
    ("trim", trim),
    ("truncate", truncate),
    ("upper", upper),
    ("urlencode", urlencode),
    ("wordcount", wordcount),
    ("wordwrap", wordwrap),
];

fn text_out(text: impl Into<String>) -> Result<Value, Refusal> {
    Ok(Value::String(text.into()))
}

fn lower(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    args.done()?;
    text_out(text.to_lowercase())
}

fn upper(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    args.done()?;
    text_out(text.to_uppercase())
}

fn capitalize(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    text_out(first + &chars.as_str().to_lowercase())
}

fn title(mut args: Args) -> Result<Value, Refusal> {
    let mut out = String::new();
    let mut inside = false;
    for c in args.input_text()?.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = !(c.is_whitespace() || "-([{<".contains(c));
    }
    text_out(out)
}

/// `trim(chars=None)`.
fn trim(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    match args.text("chars")? {
        Some(chars) => text_out(text.trim_matches(|c| chars.contains(c))),
        None => text_out(text.trim()),
    }
}

/// `replace(old, new, count=None)`.
fn replace(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let old = args.needed_text("old")?;
    let new = args.needed_text("new")?;
    let count = args.int("count")?;
    args.done()?;
    match count.and_then(|count| usize::try_from(count).ok()) {
        Some(count) => text_out(text.replacen(&old, &new, count)),
        None => text_out(text.replace(&old, &new)),
    }
}

/// `split(sep=None, maxsplit=-1)`.
fn split(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let separator = args.text("sep")?;
    let most = args.int("maxsplit")?.and_then(|most| usize::try_from(most).ok());
    args.done()?;
    let parts: Vec<Value> = match (separator, most) {
        (Some(separator), _) if separator.is_empty() => return Err("an empty separator".into()),
        (Some(separator), None) => text.split(&separator).map(Value::from).collect(),
        (Some(separator), Some(most)) => {
            text.splitn(most.saturating_add(1), &separator).map(Value::from).collect()
        }
        (None, None) => text.split_whitespace().map(Value::from).collect(),
        (None, Some(most)) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start();
            while parts.len() < most
                && let Some(at) = rest.find(char::is_whitespace)
            {
                let (head, tail) = rest.split_at(at);
                parts.push(Value::from(head));
                rest = tail.trim_start();
            }
            if !rest.is_empty() {
                parts.push(Value::from(rest));
            }
            parts
        }
    };
    Ok(Value::Array(parts))
}

fn splitlines(mut args: Args) -> Result<Value, Refusal> {
    Ok(args.input_text()?.lines().map(Value::from).collect())
}

/// `indent(width=4, first=false, blank=false)`.
fn indent(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let width = match args.take("width") {
        None => " ".repeat(4),
        Some(Value::String(fill)) => fill,
        Some(other) => " ".repeat(
            super::int_of(&other).and_then(|width| usize::try_from(width).ok()).unwrap_or(0).min(1000),
        ),
    };
    let first = args.flag("first", false);
    let blank = args.flag("blank", false);
    args.done()?;
    let mut out = String::new();
    // Every line end but the last opens a line, also one that is empty.
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if (index > 0 || first) && (blank || !line.is_empty() || (index == 0 && first)) {
            out.push_str(&width);
        }
        out.push_str(line);
    }
    text_out(out)
}

/// `comment(style='plain', decoration=..., prefix=..., postfix=..., prefix_count=1, ...)`.
fn comment(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let style = args.text("style")?.unwrap_or_else(|| "plain".to_owned());
    let (begin, decoration, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(format!("unknown style `{other}`: plain, erlang, c, cblock or xml").into()),
    };
    let newline = args.text("newline")?.unwrap_or_else(|| "\n".to_owned());
    let begin = args.text("beginning")?.unwrap_or_else(|| begin.to_owned());
    let end = args.text("end")?.unwrap_or_else(|| end.to_owned());
    let decoration = args.text("decoration")?.unwrap_or_else(|| decoration.to_owned());
    let trimmed = decoration.trim_end().to_owned();
    let prefix = args.text("prefix")?.unwrap_or_else(|| trimmed.clone());
    let postfix = args.text("postfix")?.unwrap_or_else(|| trimmed.clone());
    let count =
        |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1).min(100);
    let prefixes = count(args.int("prefix_count")?);
    let postfixes = count(args.int("postfix_count")?);
    args.done()?;
    let mut out = String::new();
    if !begin.is_empty() {
        out.push_str(&begin);
        out.push_str(&newline);
    }
    if prefix == newline {
        out.push_str(&newline.repeat(prefixes));
    } else if !prefix.is_empty() {
        out.push_str(&format!("{prefix}{newline}").repeat(prefixes));
    }
    let body = format!("{decoration}{}", text.replace(&newline, &format!("{newline}{decoration}")));
    // A line without text carries no blank at its end.
    out.push_str(&body.replace(&format!("{decoration}{newline}"), &format!("{trimmed}{newline}")));
    out.push_str(&format!("{newline}{postfix}").repeat(postfixes));
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(&end);
    }
    text_out(out)
}

/// A word of a POSIX shell.
fn quote(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    args.done()?;
    let text = if input.is_null() { String::new() } else { python::str(&input) };
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text_out(text);
    }
    text_out(format!("'{}'", text.replace('\'', "'\"'\"'")))
}

fn escape(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text_out(escaped.replace('"', "&#34;").replace('\'', "&#39;"))
}

fn striptags(mut args: Args) -> Result<Value, Refusal> {
    let text =
        pattern("(?s)<!--.*?-->|<.*?>", false, false)?.replace_all(&args.input_text()?, "").into_owned();
    text_out(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `center(width=80)`.
fn center(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let width = args.int("width")?.unwrap_or(80).clamp(0, 10_000) as usize;
    let free = width.saturating_sub(text.chars().count());
    // Python puts the odd blank to the left when the width is odd.
    let left = free / 2 + (free & width & 1);
    text_out(format!("{}{text}{}", " ".repeat(left), " ".repeat(free - left)))
}

/// `truncate(length=255, killwords=false, end='...', leeway=0)`.
fn truncate(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let length = args.int("length")?.unwrap_or(255).max(0) as usize;
    let kill = args.flag("killwords", false);
    let end = args.text("end")?.unwrap_or_else(|| "...".to_owned());
    let leeway = args.int("leeway")?.unwrap_or(0).max(0) as usize;
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= length.saturating_add(leeway) {
        return text_out(text);
    }
    let kept: String = chars.iter().take(length.saturating_sub(end.chars().count())).collect();
    let kept =
        if kill { kept.as_str() } else { kept.rsplit_once(' ').map_or(kept.as_str(), |(head, _)| head) };
    text_out(format!("{kept}{end}"))
}

fn wordcount(mut args: Args) -> Result<Value, Refusal> {
    Ok(Value::from(args.input_text()?.split_whitespace().count()))
}

/// `wordwrap(width=79)`.
fn wordwrap(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let width = args.int("width")?.unwrap_or(79).max(1) as usize;
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split_whitespace() {
            if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    text_out(lines.join("\n"))
}

fn urlencode(mut args: Args) -> Result<Value, Refusal> {
    let encode = |text: &str, keep: &str| {
        let mut out = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) {
                out.push(byte as char);
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    };
    match args.input()? {
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| {
                format!("{}={}", encode(key, "_.-~"), encode(&python::str(value), "_.-~").replace("%20", "+"))
            });
            text_out(pairs.collect::<Vec<_>>().join("&"))
        }
        other => text_out(encode(&python::str(&other), "_.-~/")),
    }
}

/// A compiled pattern in Python's dialect, as far as it can be had without look-around and back references.
pub(in crate::template) fn pattern(
    source: &str,
    ignorecase: bool,
    multiline: bool,
) -> Result<Regex, Refusal> {
    static CACHE: LazyLock<RwLock<HashMap<(String, bool, bool), Regex>>> = LazyLock::new(RwLock::default);
    let key = (source.to_owned(), ignorecase, multiline);
    if let Ok(cache) = CACHE.read()
        && let Some(found) = cache.get(&key)
    {
        return Ok(found.clone());
    }
    // Python's `\Z` is the very end, and it takes any escaped punctuation for itself.
    let translated = translate(source);
    let compiled = RegexBuilder::new(&translated)
        .case_insensitive(ignorecase)
        .multi_line(multiline)
        .size_limit(4 << 20)
        .build()
        .map_err(|error| {
            let reason = error.to_string();
            let reason =
                reason.lines().last().unwrap_or("it is not valid").trim_start_matches("error: ").to_owned();
            let refusal = Refusal::new(format!("the pattern cannot be used: {reason}"));
            if reason.contains("look-around") || reason.contains("backreference") {
                refusal.hint("match more and keep a group: look-around and back references are not supported")
            } else {
                refusal
            }
        })?;
    if let Ok(mut cache) = CACHE.write() {
        cache.insert(key, compiled.clone());
    }
    Ok(compiled)
}

fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Z') => out.push_str("\\z"),
            // Harmless escapes that the crate refuses.
            Some(c) if !c.is_ascii_alphanumeric() && !"\\.+*?()|[]{}^$#&-~/<>".contains(c) => out.push(c),
            Some(c @ ('<' | '>')) => out.push(c),
            Some(c) => {
                out.push('\\');
                out.push(c);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// `regex_replace(pattern='', replacement='', ignorecase=false, multiline=false, count=0)`.
fn regex_replace(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let source = args.text("pattern")?.unwrap_or_default();
    let replacement = args.text("replacement")?.unwrap_or_default();
    let ignorecase = args.flag("ignorecase", false);
    let multiline = args.flag("multiline", false);
    let count = args.int("count")?.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    args.done()?;
    let regex = pattern(&source, ignorecase, multiline)?;
    text_out(regex.replacen(&text, count, |found: &Captures<'_>| expand(&replacement, found)).into_owned())
}

/// Python's replacement text: `\1`, `\g<1>`, `\g<name>`, `\n`, `\t`, `\\`.
fn expand(replacement: &str, found: &Captures<'_>) -> String {
    let group = |name: &str| match name.parse::<usize>() {
        Ok(index) => found.get(index).map_or("", |part| part.as_str()),
        Err(_) => found.name(name).map_or("", |part| part.as_str()),
    };
    let mut out = String::new();
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let digits = after.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out.push_str(group(&after[..digits]));
            rest = &after[digits..];
        } else if let Some(name) = after.strip_prefix("g<").and_then(|tail| tail.split_once('>')) {
            out.push_str(group(name.0));
            rest = name.1;
        } else {
            let mut chars = after.chars();
            match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('\\') => out.push('\\'),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            }
            rest = chars.as_str();
        }
    }
    out.push_str(rest);
    out
}

/// `regex_search(pattern, *groups, ignorecase=false, multiline=false)`: the match, its groups, or nothing.
fn regex_search(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let source = args.needed_text("regex")?;
    let ignorecase = args.take_named("ignorecase").is_some_and(|flag| python::truthy(&flag));
    let multiline = args.take_named("multiline").is_some_and(|flag| python::truthy(&flag));
    let groups = args.rest()?;
    args.done()?;
    let regex = pattern(&source, ignorecase, multiline)?;
    let Some(found) = regex.captures(&text) else { return Ok(Value::Null) };
    if groups.is_empty() {
        return Ok(Value::from(found.get(0).map_or("", |whole| whole.as_str())));
    }
    let mut parts = Vec::new();
    for group in groups {
        let group = python::str(&group);
        let name = group
            .strip_prefix("\\g<")
            .and_then(|name| name.strip_suffix('>'))
            .or_else(|| group.strip_prefix('\\'))
            .ok_or("groups are written `\\\\1` or `\\\\g<name>`")?;
        let part = match name.parse::<usize>() {
            Ok(index) if index < found.len() => found.get(index),
            Ok(_) => return Err(format!("the pattern has no group `{name}`").into()),
            Err(_) => found.name(name),
        };
        parts.push(part.map_or(Value::Null, |part| Value::from(part.as_str())));
    }
    Ok(Value::Array(parts))
}

/// `regex_findall(pattern, multiline=false, ignorecase=false)`.
fn regex_findall(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let source = args.needed_text("regex")?;
    let multiline = args.flag("multiline", false);
    let ignorecase = args.flag("ignorecase", false);
    args.done()?;
    let regex = pattern(&source, ignorecase, multiline)?;
    let part = |found: &Captures<'_>, index| Value::from(found.get(index).map_or("", |part| part.as_str()));
    Ok(regex
        .captures_iter(&text)
        .map(|found| match found.len() {
            1 => part(&found, 0),
            2 => part(&found, 1),
            groups => (1..groups).map(|index| part(&found, index)).collect(),
        })
        .collect())
}

/// `regex_escape(re_type='python')`.
fn regex_escape(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let kind = args.text("re_type")?.unwrap_or_else(|| "python".to_owned());
    args.done()?;
    let special: &str = match kind.as_str() {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}",
        "posix_basic" => "[].^$*\\",
        other => return Err(format!("unknown kind `{other}`: python or posix_basic").into()),
    };
    let mut out = String::new();
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    text_out(out)
}
