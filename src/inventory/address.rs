//! Host names as inventories write them: `db[1:3].example.com:2222`.

use std::net::Ipv6Addr;

/// Most names one range may stand for.
const MAX_NAMES: usize = 100_000;

/// The names that a text stands for, and the port behind it.
///
/// # Errors
/// What is wrong with a range or a port.
pub(super) fn expand(text: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (name, port) = split_port(text)?;
    if name.is_empty() {
        return Err("a host name is missing".to_owned());
    }
    let mut names = vec![String::new()];
    let mut rest = name;
    while let Some((head, tail)) = rest.split_once('[') {
        let Some((range, after)) = tail.split_once(']') else {
            return Err(format!("the range in `{text}` is never closed"));
        };
        let parts = expand_range(range)?;
        if names.len().saturating_mul(parts.len()) > MAX_NAMES {
            return Err(format!("`{text}` stands for more than {MAX_NAMES} hosts"));
        }
        names = names
            .iter()
            .flat_map(|name| parts.iter().map(move |part| format!("{name}{head}{part}")))
            .collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok((names, port))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let port = |digits: &str| match digits.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(format!("`{digits}` is no port")),
    };
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']'))
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((address, port(digits)?)),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(format!("`{text}` is no address")),
        };
    }
    // A colon inside brackets belongs to a range.
    match text.rfind(':') {
        Some(colon) if text[..colon].matches('[').count() == text[..colon].matches(']').count() => {
            Ok((&text[..colon], port(&text[colon + 1..])?))
        }
        _ => Ok((text, None)),
    }
}

/// `1:3`, `01:10:2`, `a:f`: both ends included.
fn expand_range(range: &str) -> Result<Vec<String>, String> {
    let fault = |why: &str| format!("the range `[{range}]` {why}");
    let parts: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match parts.as_slice() {
        [begin, end] => (*begin, *end, "1"),
        [begin, end, step] => (*begin, *end, *step),
        _ => return Err(fault("is not of the form `[first:last]` or `[first:last:step]`")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    let step = step
        .parse::<u64>()
        .ok()
        .filter(|step| *step > 0)
        .ok_or_else(|| fault("has a step that is no number"))?;
    if end.is_empty() {
        return Err(fault("has no end"));
    }
    let values = |first: u64, last: u64| {
        if first > last {
            return Err(fault("ends before it begins"));
        }
        if (last - first) / step >= MAX_NAMES as u64 {
            return Err(fault("is too long"));
        }
        Ok((0..=(last - first) / step).map(move |index| first + index * step))
    };
    if let (Ok(first), Ok(last)) = (begin.parse::<u64>(), end.parse::<u64>()) {
        let padded = begin.len() > 1 && begin.starts_with('0');
        if padded && begin.len() != end.len() {
            return Err(fault("must have ends of one length when the first is padded with zeros"));
        }
        let width = if padded { begin.len() } else { 0 };
        return Ok(values(first, last)?.map(|value| format!("{value:0width$}")).collect());
    }
    // As Ansible counts letters: a to z, then A to Z.
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
    let index = |text: &str| {
        let mut chars = text.chars();
        let letter = chars.next().filter(|_| chars.next().is_none())?;
        letters.iter().position(|known| *known == letter)
    };
    match (index(begin), index(end)) {
        (Some(first), Some(last)) => Ok(values(first as u64, last as u64)?
            .filter_map(|at| letters.get(at as usize))
            .map(char::to_string)
            .collect()),
        _ => Err(fault("must have two numbers or two letters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ranges_and_ports() {
        for (text, wanted) in [
            ("db1", "db1"),
            ("db1:2222", "db1 port 2222"),
            ("pg[1:3]", "pg1 pg2 pg3"),
            ("pg[01:10:4].x:22", "pg01.x pg05.x pg09.x port 22"),
            ("pg[08:11]", "pg08 pg09 pg10 pg11"),
            ("db-[a:c]", "db-a db-b db-c"),
            ("[a:b][1:2]", "a1 a2 b1 b2"),
            ("x[:2]", "x0 x1 x2"),
            ("10.0.0.[1:2]", "10.0.0.1 10.0.0.2"),
            ("fe80::1", "fe80::1"),
            ("[fe80::1]:22", "fe80::1 port 22"),
            ("::1", "::1"),
            ("pg[3:1]", "error: the range `[3:1]` ends before it begins"),
            ("pg[1:", "error: the range in `pg[1:` is never closed"),
            ("pg[1]", "error: the range `[1]` is not of the form `[first:last]` or `[first:last:step]`"),
            (
                "pg[01:100]",
                "error: the range `[01:100]` must have ends of one length when the first is padded with zeros",
            ),
            ("pg[1:z]", "error: the range `[1:z]` must have two numbers or two letters"),
            ("pg[1:9:0]", "error: the range `[1:9:0]` has a step that is no number"),
            ("pg[0:18446744073709551615]", "error: the range `[0:18446744073709551615]` is too long"),
            ("h:99999", "error: `99999` is no port"),
            ("h:ssh", "error: `ssh` is no port"),
            (":22", "error: a host name is missing"),
        ] {
            let shown = match expand(text) {
                Ok((names, None)) => names.join(" "),
                Ok((names, Some(port))) => format!("{} port {port}", names.join(" ")),
                Err(why) => format!("error: {why}"),
            };
            assert_eq!(shown, wanted, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-c0-9:\\[\\].é-]{0,20}") {
            let _ = expand(&text);
        }
    }
}
