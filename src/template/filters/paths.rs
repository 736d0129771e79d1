//! Filters of file names and addresses of the web; none asks a file system.

use super::{Args, Filter, Refusal};
use crate::template::python;
use serde_json::{Map, Value};

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("basename", basename),
    ("commonpath", commonpath),
    ("dirname", dirname),
    ("normpath", normpath),
    ("path_join", path_join),
    ("splitext", splitext),
    ("urldecode", urldecode),
    ("urlsplit", urlsplit),
];

fn basename(mut args: Args) -> Result<Value, Refusal> {
    let path = args.input_text()?;
    Ok(Value::from(path.rsplit('/').next().unwrap_or_default()))
}

fn dirname(mut args: Args) -> Result<Value, Refusal> {
    let path = args.input_text()?;
    let head = path.rfind('/').map_or("", |at| path.get(..=at).unwrap_or_default());
    let trimmed = head.trim_end_matches('/');
    Ok(Value::from(if trimmed.is_empty() { head } else { trimmed }))
}

/// `a/b.tar.gz` is `['a/b.tar', '.gz']`.
fn splitext(mut args: Args) -> Result<Value, Refusal> {
    let path = args.input_text()?;
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let name = path.get(name_at..).unwrap_or_default();
    let body = name.trim_start_matches('.');
    let dot = body.rfind('.').map(|at| name_at + name.len() - body.len() + at);
    let (head, end) = path.split_at(dot.unwrap_or(path.len()));
    Ok(Value::from(vec![head, end]))
}

/// A list of parts, or parts as arguments; an absolute part starts anew.
fn path_join(mut args: Args) -> Result<Value, Refusal> {
    let parts = match args.input()? {
        Value::Array(parts) => parts,
        other => vec![other],
    };
    let mut out = String::new();
    for part in parts.iter().map(python::str) {
        if part.starts_with('/') || out.is_empty() {
            out = part;
        } else {
            if !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(&part);
        }
    }
    Ok(Value::String(out))
}

fn normpath(mut args: Args) -> Result<Value, Refusal> {
    let path = args.input_text()?;
    let absolute = path.starts_with('/');
    let mut links: Vec<&str> = Vec::new();
    for link in path.split('/') {
        match link {
            "" | "." => {}
            ".." if links.last().is_some_and(|last| *last != "..") => drop(links.pop()),
            ".." if absolute => {}
            other => links.push(other),
        }
    }
    let joined = links.join("/");
    Ok(Value::String(match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }))
}

fn commonpath(mut args: Args) -> Result<Value, Refusal> {
    let paths: Vec<String> = args.input_list()?.iter().map(python::str).collect();
    let mut links =
        paths.iter().map(|path| path.split('/').filter(|link| !link.is_empty()).collect::<Vec<_>>());
    let first = links.next().ok_or("the list is empty")?;
    let common = links.fold(first, |common, other| {
        common
            .into_iter()
            .zip(other)
            .take_while(|(left, right)| left == right)
            .map(|(link, _)| link)
            .collect()
    });
    let root = if paths.iter().all(|path| path.starts_with('/')) { "/" } else { "" };
    Ok(Value::String(format!("{root}{}", common.join("/"))))
}

/// `urlsplit(query='')`: all parts, or the one asked for.
fn urlsplit(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let wanted = args.text("query")?.unwrap_or_default();
    args.done()?;
    let (rest, fragment) = text.split_once('#').unwrap_or((&text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |head: &str| {
        head.starts_with(|c: char| c.is_ascii_alphabetic())
            && head.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = rest.split_once(':').filter(|(head, _)| is_scheme(head)).unwrap_or(("", rest));
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(tail) => tail.split_at(tail.find('/').unwrap_or(tail.len())),
        None => ("", rest),
    };
    let (user, host) = netloc.rsplit_once('@').map_or((None, netloc), |(user, host)| (Some(user), host));
    let (username, password) =
        match user.map(|user| user.split_once(':').map_or((user, None), |(name, word)| (name, Some(word)))) {
            Some((name, word)) => (Some(name), word),
            None => (None, None),
        };
    let bracket = host.rfind(']').map_or(0, |at| at + 1);
    let (hostname, port) = match host.get(bracket..).and_then(|tail| tail.find(':')) {
        Some(at) => (
            host.get(..bracket + at).unwrap_or_default(),
            host.get(bracket + at + 1..).and_then(|port| port.parse::<u16>().ok()),
        ),
        None => (host, None),
    };
    let hostname = hostname.trim_matches(['[', ']']).to_lowercase();
    let optional = |text: Option<&str>| text.map_or(Value::Null, Value::from);
    let parts: Map<String, Value> = [
        ("fragment", Value::from(fragment)),
        ("hostname", if hostname.is_empty() { Value::Null } else { Value::from(hostname) }),
        ("netloc", Value::from(netloc)),
        ("password", optional(password)),
        ("path", Value::from(path)),
        ("port", port.map_or(Value::Null, Value::from)),
        ("query", Value::from(query)),
        ("scheme", Value::from(scheme.to_lowercase())),
        ("username", optional(username)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if wanted.is_empty() {
        return Ok(Value::Object(parts));
    }
    parts.get(&wanted).cloned().ok_or_else(|| {
        let names = parts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Refusal::new(format!("a URL has no part `{wanted}`: {names}"))
    })
}

fn urldecode(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    Ok(Value::String(String::from_utf8_lossy(&out).into_owned()))
}
