//! Versions, compared as Ansible's `version` test does.

use std::cmp::Ordering;

/// Whether `left operator right`; `kind` is `loose`, `strict`, `semver`, `semantic` or `pep440`.
pub fn holds(left: &str, right: &str, operator: &str, kind: &str) -> Result<bool, String> {
    let order = match kind {
        "pep440" => pep440(left)?.cmp(&pep440(right)?),
        "loose" | "strict" => {
            for text in [left, right] {
                if text.trim().is_empty() {
                    return Err("an empty version".to_owned());
                }
            }
            loose(left, right)?
        }
        "semver" | "semantic" => semantic(left)?.cmp(&semantic(right)?),
        other => return Err(format!("unknown kind of version `{other}`: loose, strict, semver or pep440")),
    };
    Ok(match operator {
        "==" | "=" | "eq" => order.is_eq(),
        "!=" | "<>" | "ne" => order.is_ne(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        other => return Err(format!("unknown operator `{other}`: one of ==, !=, <, <=, >, >=")),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Number(u64),
    Word(String),
}

/// Runs of digits are numbers, runs of letters words, the rest separates.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let kind = |c: char| (c.is_ascii_digit(), c.is_ascii_alphabetic());
        let end = rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        match kind(first) {
            (true, _) => parts.push(Part::Number(run.parse().unwrap_or(u64::MAX))),
            (_, true) => parts.push(Part::Word(run.to_owned())),
            _ => {}
        }
        rest = tail;
    }
    parts
}

fn loose(left: &str, right: &str) -> Result<Ordering, String> {
    let (left, right) = (parts(left), parts(right));
    for (left, right) in left.iter().zip(&right) {
        let order = match (left, right) {
            (Part::Number(left), Part::Number(right)) => left.cmp(right),
            (Part::Word(left), Part::Word(right)) => left.cmp(right),
            _ => return Err("the versions are built differently: a number stands against a word".to_owned()),
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(left.len().cmp(&right.len()))
}

/// A Python version: epoch, release without zeros at its end, then pre-release, post-release and development release,
/// each as a number that sorts as PEP 440 says.
type Python = (u64, Vec<u64>, (u8, u64), u64, (bool, u64));

fn pep440(text: &str) -> Result<Python, String> {
    let lower = text.trim().to_lowercase();
    let text = lower.trim_start_matches('v').split('+').next().unwrap_or_default();
    let (epoch, text) = match text.split_once('!') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, text),
    };
    let parts = parts(text);
    let mut parts = parts.iter().peekable();
    let mut release = Vec::new();
    while let Some(Part::Number(number)) = parts.next_if(|part| matches!(part, Part::Number(_))) {
        release.push(*number);
    }
    if release.is_empty() {
        return Err("a Python version starts with a number".to_owned());
    }
    while release.last() == Some(&0) {
        release.pop();
    }
    let (mut pre, mut post, mut dev) = (None, None, None);
    while let Some(part) = parts.next() {
        let Part::Word(word) = part else { return Err("this is not a Python version".to_owned()) };
        let number = match parts.next_if(|part| matches!(part, Part::Number(_))) {
            Some(Part::Number(number)) => *number,
            _ => 0,
        };
        match word.as_str() {
            "a" | "alpha" => pre = Some((1, number)),
            "b" | "beta" => pre = Some((2, number)),
            "rc" | "c" | "pre" | "preview" => pre = Some((3, number)),
            "post" | "rev" | "r" => post = Some(number + 1),
            "dev" => dev = Some(number),
            _ => return Err("this is not a Python version".to_owned()),
        }
    }
    // A development release of the release itself comes before its pre-releases.
    let pre = pre.unwrap_or(if dev.is_some() && post.is_none() { (0, 0) } else { (4, 0) });
    Ok((epoch, release, pre, post.unwrap_or(0), (dev.is_none(), dev.unwrap_or(0))))
}

/// A semantic version: numbers, then whether it is a release, then the parts of the pre-release.
type Semantic = ([u64; 3], bool, Vec<(u64, String)>);

fn semantic(text: &str) -> Result<Semantic, String> {
    let bad = || "a semantic version is written 1.2.3 or 1.2.3-rc.1".to_owned();
    let text = text.trim().trim_start_matches('v');
    let core = text.split('+').next().unwrap_or(text);
    let (numbers, pre) = core.split_once('-').map_or((core, None), |(head, tail)| (head, Some(tail)));
    let mut fields = numbers.split('.').map(|field| field.parse::<u64>().map_err(|_| bad()));
    let mut next = || fields.next().unwrap_or_else(|| Err(bad()));
    let numbers = [next()?, next()?, next()?];
    if fields.next().is_some() {
        return Err(bad());
    }
    let words = pre.map_or_else(Vec::new, |pre| {
        pre.split('.')
            .map(|word| {
                word.parse::<u64>()
                    .map_or_else(|_| (u64::MAX, word.to_owned()), |number| (number, String::new()))
            })
            .collect()
    });
    Ok((numbers, pre.is_none(), words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_ansible_compares_them() {
        let cases = [
            ("15.4", "15", ">", true),
            ("15", "15.0", "==", false),
            ("9.6", "10", "<", true),
            ("1.10", "1.9", "gt", true),
            ("22.04", "20.04", ">=", true),
            ("1.2rc1", "1.2", ">", true),
        ];
        for (left, right, operator, expected) in cases {
            assert_eq!(holds(left, right, operator, "loose"), Ok(expected), "{left} {operator} {right}");
        }
        assert_eq!(holds("1.2.3-rc.1", "1.2.3", "<", "semver"), Ok(true));
        for (left, right) in
            [("1.2rc1", "1.2"), ("1.2", "1.2.post1"), ("1.2.dev1", "1.2a1"), ("1.9", "1.10"), ("5", "1!1")]
        {
            assert_eq!(holds(left, right, "<", "pep440"), Ok(true), "{left} < {right}");
        }
        assert_eq!(holds("1.0", "1", "==", "pep440"), Ok(true));
        assert!(holds("1", "2", "~=", "loose").is_err());
        assert!(holds("a", "1", "<", "loose").is_err());
    }
}
