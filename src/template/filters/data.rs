//! Filters between values and texts: JSON, YAML, base64, digests.

use super::super::yaml_out;
use super::{Args, Filter, Refusal, md5};
use crate::diag::SourceMap;
use crate::template::python;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;

pub(super) const FILTERS: &[(&str, Filter)] = &[
    ("b64decode", b64decode),
    ("b64encode", b64encode),
    ("checksum", checksum),
    ("from_json", from_json),
    ("from_yaml", from_yaml),
    ("hash", hash),
    ("md5", md5_filter),
    ("sha1", checksum),
    ("to_json", to_json),
    ("to_nice_json", to_nice_json),
    ("to_nice_yaml", to_nice_yaml),
    ("to_uuid", to_uuid),
    ("to_yaml", to_yaml),
    ("tojson", tojson),
];

/// How JSON is written.
struct Style {
    indent: Option<usize>,
    sorted: bool,
    ascii: bool,
}

fn json_style(args: &mut Args, indent: Option<usize>, sorted: bool) -> Result<Style, Refusal> {
    let given = args
        .take_named("indent")
        .as_ref()
        .and_then(super::int_of)
        .and_then(|width| usize::try_from(width).ok());
    let sorted = args.take_named("sort_keys").map_or(sorted, |flag| python::truthy(&flag));
    let ascii = args.take_named("ensure_ascii").is_none_or(|flag| python::truthy(&flag));
    for ignored in ["vault_to_text", "preprocess_unsafe", "separators"] {
        args.take_named(ignored);
    }
    Ok(Style { indent: given.map(|width| width.min(64)).or(indent), sorted, ascii })
}

/// `to_json(indent=None, sort_keys=false, ensure_ascii=true)`, spaced as Python spaces it.
fn to_json(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let style = json_style(&mut args, None, false)?;
    args.done()?;
    Ok(Value::String(json(&input, &style)))
}

/// The same with sorted keys and four blanks.
fn to_nice_json(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    if let Some(indent) = args.int("indent")? {
        args.push_named("indent", Some(Value::from(indent)));
    }
    let style = json_style(&mut args, Some(4), true)?;
    args.done()?;
    Ok(Value::String(json(&input, &style)))
}

/// Jinja's own: sorted, and safe inside HTML.
fn tojson(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let indent = args.int("indent")?.and_then(|width| usize::try_from(width).ok()).map(|width| width.min(64));
    args.done()?;
    let text = json(&input, &Style { indent, sorted: true, ascii: true });
    let safe =
        text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027");
    Ok(Value::String(safe))
}

fn json(value: &Value, style: &Style) -> String {
    let mut out = String::new();
    write_json(&mut out, value, style, 0);
    out
}

fn write_json(out: &mut String, value: &Value, style: &Style, depth: usize) {
    let (open, close, empty) = match value {
        Value::Array(items) => ('[', ']', items.is_empty()),
        Value::Object(map) => ('{', '}', map.is_empty()),
        Value::String(text) => return json_text(out, text, style.ascii),
        Value::Number(number) => return out.push_str(&python::number(number)),
        other => return out.push_str(&other.to_string()),
    };
    out.push(open);
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = style.indent {
            out.push('\n');
            out.push_str(&" ".repeat(width * depth));
        }
    };
    let next = |out: &mut String, index: usize| {
        if index > 0 {
            out.push_str(if style.indent.is_some() { "," } else { ", " });
        }
        line(out, depth + 1);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                next(out, index);
                write_json(out, item, style, depth + 1);
            }
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            if style.sorted {
                entries.sort_by_key(|(key, _)| *key);
            }
            for (index, (key, item)) in entries.into_iter().enumerate() {
                next(out, index);
                json_text(out, key, style.ascii);
                out.push_str(": ");
                write_json(out, item, style, depth + 1);
            }
        }
        _ => {}
    }
    if !empty {
        line(out, depth);
    }
    out.push(close);
}

fn json_text(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn from_json(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let _ = args.rest_named();
    serde_json::from_str(&text).map_err(|error| {
        Refusal::new(format!("the text is not JSON (line {}, column {})", error.line(), error.column()))
    })
}

fn from_yaml(mut args: Args) -> Result<Value, Refusal> {
    match args.input()? {
        Value::String(text) => {
            let file = SourceMap::new().add("text", text.as_str());
            crate::yaml::parse(file, &text).map(|node| node.to_value()).map_err(|faults| {
                let why = faults.first().map_or("it cannot be read", |fault| fault.message.as_str());
                Refusal::new(format!("the text is not YAML: {why}"))
            })
        }
        other => Ok(other),
    }
}

fn yaml_options(args: &mut Args) -> Result<(Option<usize>, bool, Option<bool>), Refusal> {
    let indent =
        args.int("indent")?.and_then(|width| usize::try_from(width).ok()).map(|width| width.clamp(2, 9));
    let sorted = args.take_named("sort_keys").is_none_or(|flag| python::truthy(&flag));
    let flow = args.take_named("default_flow_style").map(|flag| python::truthy(&flag));
    for ignored in
        ["width", "allow_unicode", "explicit_start", "vault_to_text", "dump_vault_tags", "default_style"]
    {
        args.take_named(ignored);
    }
    Ok((indent, sorted, flow))
}

/// As PyYAML writes it: block style, lists and mappings of plain values in one line, keys sorted.
fn to_yaml(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let (indent, sorted, flow) = yaml_options(&mut args)?;
    args.done()?;
    let leaves = flow.unwrap_or(true);
    Ok(Value::String(yaml_out::write(&input, indent.unwrap_or(2), sorted, leaves)))
}

/// The same, every item on its own line.
fn to_nice_yaml(mut args: Args) -> Result<Value, Refusal> {
    let input = args.input()?;
    let (indent, sorted, _) = yaml_options(&mut args)?;
    args.done()?;
    Ok(Value::String(yaml_out::write(&input, indent.unwrap_or(4), sorted, false)))
}

fn b64encode(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let safe = args.take_named("urlsafe").is_some_and(|flag| python::truthy(&flag));
    Ok(Value::String(if safe { URL_SAFE.encode(text) } else { STANDARD.encode(text) }))
}

fn b64decode(mut args: Args) -> Result<Value, Refusal> {
    let text: String = args.input_text()?.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes =
        STANDARD.decode(&text).or_else(|_| URL_SAFE.decode(&text)).map_err(|_| "the text is not base64")?;
    String::from_utf8(bytes).map(Value::String).map_err(|_| {
        Refusal::new("the content is not text").hint("use `copy` with a file for binary content")
    })
}

/// `hash(hashtype='sha1')`.
fn hash(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let kind = args.text("hashtype")?.unwrap_or_else(|| "sha1".to_owned());
    args.done()?;
    let algorithm = match kind.as_str() {
        "md5" => return Ok(Value::String(md5::hex(text.as_bytes()))),
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        other => {
            return Err(
                format!("unknown digest `{other}`: md5, sha1, sha224, sha256, sha384 or sha512").into()
            );
        }
    };
    Ok(Value::String(hex(digest::digest(algorithm, text.as_bytes()).as_ref())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checksum(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    Ok(Value::String(hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())))
}

fn md5_filter(mut args: Args) -> Result<Value, Refusal> {
    Ok(Value::String(md5::hex(args.input_text()?.as_bytes())))
}

/// A name-based UUID in Ansible's namespace.
fn to_uuid(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    const NAMESPACE: u128 = 0x361E_6D51_FAEC_444A_9079_3413_86DA_8E2E;
    let bytes: Vec<u8> = NAMESPACE.to_be_bytes().into_iter().chain(text.bytes()).collect();
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let mut id: Vec<u8> = digest.as_ref().iter().take(16).copied().collect();
    if let Some(byte) = id.get_mut(6) {
        *byte = *byte & 0x0f | 0x50;
    }
    if let Some(byte) = id.get_mut(8) {
        *byte = *byte & 0x3f | 0x80;
    }
    let text = hex(&id);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| text.get(range).unwrap_or_default());
    Ok(Value::String(parts.join("-")))
}
