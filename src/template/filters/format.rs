//! Python's two ways of formatting: `%` and `{}`.

use super::{Args, Filter, Refusal, int_of};
use crate::template::python;
use serde_json::Value;

pub(super) const FILTERS: &[(&str, Filter)] = &[("format", format), ("pprint", pprint)];

/// `'%s-%d' | format('a', 3)`, `'%(name)s' | format(name='a')`.
fn format(mut args: Args) -> Result<Value, Refusal> {
    let text = args.input_text()?;
    let values = args.rest()?;
    let named = args.rest_named();
    if named.is_empty() {
        return percent(&text, &values).map(Value::String);
    }
    let map = named
        .into_iter()
        .map(|(name, value)| value.map(|value| (name, value)).ok_or(Refusal::Undefined))
        .collect::<Result<serde_json::Map<_, _>, _>>()?;
    percent(&text, &[Value::Object(map)]).map(Value::String)
}

fn pprint(mut args: Args) -> Result<Value, Refusal> {
    Ok(Value::String(python::repr(&args.input()?)))
}

/// How one value is to be written.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    comma: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

/// Wider than this is a mistake, and would eat the memory.
const WIDEST: usize = 10_000;

/// Python's `text % values`.
pub(in crate::template) fn percent(text: &str, values: &[Value]) -> Result<String, Refusal> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut values_left = values.iter();
    let mut by_name = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut name = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            name = Some(chars.by_ref().take_while(|c| *c != ')').collect::<String>());
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "#0- +".contains(*c)) {
            match flag {
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                '-' => spec.align = Some('<'),
                ' ' => spec.space = true,
                _ => spec.plus = true,
            }
        }
        let mut number =
            |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<Option<usize>, Refusal> {
                if chars.next_if_eq(&'*').is_some() {
                    let width =
                        values_left.next().and_then(int_of).and_then(|width| usize::try_from(width).ok());
                    return width.map(Some).ok_or_else(|| "`*` needs a number".into());
                }
                let mut digits = String::new();
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                Ok(digits.parse().ok())
            };
        spec.width = number(&mut chars)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars)?.unwrap_or(0));
        }
        spec.kind = chars.next().ok_or("the format ends inside a `%`")?;
        if spec.kind == '%' {
            out.push('%');
            continue;
        }
        let value = match &name {
            Some(name) => {
                by_name = true;
                values
                    .first()
                    .and_then(|map| map.get(name))
                    .ok_or_else(|| Refusal::new(format!("no value named `{name}`")))?
            }
            None => values_left.next().ok_or("more `%` than values")?,
        };
        out.push_str(&written(value, &spec)?);
    }
    if !by_name && values_left.next().is_some() {
        return Err("more values than `%`".into());
    }
    Ok(out)
}

/// Python's `text.format(...)`.
pub(in crate::template) fn braces(text: &str, mut args: Args) -> Result<String, Refusal> {
    let positional = args.rest()?;
    let named = args.rest_named();
    let mut out = String::new();
    let mut rest = text;
    let mut next = 0;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let mark = &rest[at..at + 1];
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix(mark) {
            out.push_str(mark);
            rest = tail;
            continue;
        }
        if mark == "}" {
            return Err("a single `}`: write `}}`".into());
        }
        let end = after.find('}').ok_or("a `{` without its `}`")?;
        let field = &after[..end];
        rest = &after[end + 1..];
        let (head, spec) = field.split_once(':').unwrap_or((field, ""));
        let (path, conversion) = head.split_once('!').unwrap_or((head, ""));
        let root_end = path.find(['.', '[']).unwrap_or(path.len());
        let (root, links) = path.split_at(root_end);
        let value = if root.is_empty() {
            next += 1;
            positional.get(next - 1).cloned()
        } else if let Ok(index) = root.parse::<usize>() {
            positional.get(index).cloned()
        } else {
            named.iter().find(|(name, _)| name == root).and_then(|(_, value)| value.clone())
        };
        let mut value = value.ok_or_else(|| Refusal::new(format!("no value for `{{{field}}}`")))?;
        for link in
            links.split(['.', '[']).map(|link| link.trim_end_matches(']')).filter(|link| !link.is_empty())
        {
            value = match &value {
                Value::Object(map) => map.get(link).cloned(),
                Value::Array(items) => link.parse::<usize>().ok().and_then(|index| items.get(index).cloned()),
                _ => None,
            }
            .ok_or_else(|| Refusal::new(format!("no value for `{{{field}}}`")))?;
        }
        match conversion {
            "r" | "a" => value = Value::String(python::repr(&value)),
            "s" => value = Value::String(python::str(&value)),
            _ => {}
        }
        out.push_str(&written(&value, &brace_spec(spec, &value)?)?);
    }
    out.push_str(rest);
    Ok(out)
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`.
fn brace_spec(text: &str, value: &Value) -> Result<Spec, Refusal> {
    let mut spec = Spec::default();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let is_align = |c: Option<&char>| c.is_some_and(|c| "<>^=".contains(*c));
    if is_align(chars.get(1)) {
        spec.fill = chars.first().copied();
        spec.align = chars.get(1).copied();
        at = 2;
    } else if is_align(chars.first()) {
        spec.align = chars.first().copied();
        at = 1;
    }
    let mut width = String::new();
    let mut precision: Option<String> = None;
    for c in chars.get(at..).unwrap_or_default() {
        match (c, &mut precision) {
            ('+', None) => spec.plus = true,
            (' ', None) => spec.space = true,
            ('-', None) => {}
            ('#', None) => spec.alternate = true,
            (',' | '_', _) => spec.comma = true,
            ('.', None) => precision = Some(String::new()),
            ('0', None) if width.is_empty() && !spec.zero => spec.zero = true,
            (c, None) if c.is_ascii_digit() => width.push(*c),
            (c, Some(digits)) if c.is_ascii_digit() => digits.push(*c),
            (c, _) => spec.kind = *c,
        }
    }
    spec.width = width.parse().unwrap_or(0);
    spec.precision = precision.and_then(|digits| digits.parse().ok());
    if spec.kind == '\0' {
        spec.kind = match value {
            Value::Number(number) if number.is_f64() && spec.precision.is_some() => 'g',
            Value::Number(number) if !number.is_f64() => 'd',
            _ => 's',
        };
        if spec.align.is_none() && !value.is_number() {
            spec.align = Some('<');
        }
    } else if spec.kind == 's' && spec.align.is_none() {
        spec.align = Some('<');
    }
    Ok(spec)
}

fn written(value: &Value, spec: &Spec) -> Result<String, Refusal> {
    if spec.width > WIDEST || spec.precision.is_some_and(|precision| precision > WIDEST) {
        return Err("a width above 10000".into());
    }
    let number = || {
        python::as_number(value).ok_or_else(|| {
            Refusal::new(format!("`%{}` takes a number, not {}", spec.kind, python::type_name(value)))
        })
    };
    let whole = || match value {
        Value::String(_) => {
            Err(Refusal::new(format!("`%{}` takes a number, not a text", spec.kind)).hint("use `| int`"))
        }
        other => int_of(other).ok_or_else(|| {
            Refusal::new(format!("`%{}` takes a number, not {}", spec.kind, python::type_name(other)))
        }),
    };
    let body = match spec.kind {
        's' | 'r' | 'a' => {
            let text = if spec.kind == 's' { python::str(value) } else { python::repr(value) };
            match spec.precision {
                Some(precision) => text.chars().take(precision).collect(),
                None => text,
            }
        }
        'c' => match value {
            Value::String(text) => text.clone(),
            other => int_of(other)
                .and_then(|code| u32::try_from(code).ok())
                .and_then(char::from_u32)
                .map(String::from)
                .ok_or("`%c` takes a character")?,
        },
        'd' | 'i' | 'u' => {
            let number = whole()?;
            let digits = number.unsigned_abs().to_string();
            signed(number < 0, if spec.comma { grouped(&digits) } else { digits }, spec)
        }
        'x' | 'X' | 'o' | 'b' => {
            let number = whole()?;
            let size = number.unsigned_abs();
            let (prefix, digits) = match spec.kind {
                'x' => ("0x", format!("{size:x}")),
                'X' => ("0X", format!("{size:X}")),
                'o' => ("0o", format!("{size:o}")),
                _ => ("0b", format!("{size:b}")),
            };
            signed(number < 0, if spec.alternate { format!("{prefix}{digits}") } else { digits }, spec)
        }
        'f' | 'F' | '%' => {
            let number = number()? * if spec.kind == '%' { 100.0 } else { 1.0 };
            let digits = format!("{:.*}", spec.precision.unwrap_or(6), number.abs());
            let digits = match digits.split_once('.') {
                Some((head, tail)) if spec.comma => format!("{}.{tail}", grouped(head)),
                None if spec.comma => grouped(&digits),
                _ => digits,
            };
            signed(number.is_sign_negative(), if spec.kind == '%' { digits + "%" } else { digits }, spec)
        }
        'e' | 'E' => {
            let number = number()?;
            let text = scientific(number.abs(), spec.precision.unwrap_or(6));
            signed(number.is_sign_negative(), if spec.kind == 'E' { text.to_uppercase() } else { text }, spec)
        }
        'g' | 'G' => {
            let number = number()?;
            signed(number.is_sign_negative(), general(number.abs(), spec.precision.unwrap_or(6)), spec)
        }
        other => return Err(format!("unknown format `{other}`").into()),
    };
    Ok(padded(body, spec))
}

fn signed(negative: bool, digits: String, spec: &Spec) -> String {
    let sign = match (negative, spec.plus, spec.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    let missing = spec.width.saturating_sub(sign.len() + digits.chars().count());
    if spec.zero && spec.align.is_none() {
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{sign}{digits}")
    }
}

fn padded(body: String, spec: &Spec) -> String {
    let missing = spec.width.saturating_sub(body.chars().count());
    let fill = spec.fill.unwrap_or(' ').to_string();
    match spec.align {
        Some('<') => body + &fill.repeat(missing),
        Some('^') => format!("{}{body}{}", fill.repeat(missing / 2), fill.repeat(missing - missing / 2)),
        _ => fill.repeat(missing) + &body,
    }
}

fn grouped(digits: &str) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn general(number: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let text = scientific(number, precision - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let strip = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        return format!("{}e{}{:02}", strip(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    strip(&format!("{number:.*}", usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0)))
}
