//! Regular expressions and replacement texts as playbooks write them: Python's.

use crate::diag::Fault;
use regex::{Captures, Regex, RegexBuilder};

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// How an expression is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// `^` and `$` match at every line.
    pub multi_line: bool,
    /// `.` matches the end of a line.
    pub dot_all: bool,
}

impl Pattern {
    /// Compiles an expression; `param` is to blame when it is none.
    pub fn compile(param: &str, text: &str, flags: Flags) -> Result<Self, Fault> {
        let built = RegexBuilder::new(&translate(text))
            .multi_line(flags.multi_line)
            .dot_matches_new_line(flags.dot_all)
            .build();
        built.map(Self).map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let fault =
                Fault::param(param, format!("`{text}` is not understood as a regular expression: {reason}"));
            if reason.contains("look-around") || reason.contains("backreferences") {
                return fault.hint(
                    "look-ahead, look-behind and backreferences inside the expression are not supported",
                );
            }
            fault
        })
    }

    /// The expression itself.
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// Whether it is found in a line.
    pub fn finds(&self, line: &str) -> bool {
        self.0.is_match(line)
    }

    /// The text with every match replaced, and how many there were.
    pub fn replace_all(&self, text: &str, replacement: &str) -> (String, usize) {
        let mut count = 0;
        let replaced = self.0.replace_all(text, |captures: &Captures<'_>| {
            count += 1;
            expand(replacement, captures)
        });
        (replaced.into_owned(), count)
    }
}

/// A replacement text with its groups filled in: `\1`, `\g<1>`, `\g<name>`, `\n`, `\t`, `\\`. Groups that took no
/// part are empty.
pub fn expand(replacement: &str, captures: &Captures<'_>) -> String {
    let group = |name: &str| {
        let found = match name.parse::<usize>() {
            Ok(number) => captures.get(number),
            Err(_) => captures.name(name),
        };
        found.map_or("", |found| found.as_str())
    };
    let mut out = String::new();
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(next) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        let named = rest.strip_prefix("g<").and_then(|tail| tail.split_once('>'));
        if let Some((name, tail)) = named {
            out.push_str(group(name));
            rest = tail;
            continue;
        }
        if next.is_ascii_digit() {
            let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
            let digits = if next == '0' { 1 } else { digits };
            out.push_str(group(&rest[..digits]));
            rest = &rest[digits..];
            continue;
        }
        match next {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '\\' => out.push('\\'),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = &rest[next.len_utf8()..];
    }
    out.push_str(rest);
    out
}

/// What the two dialects write differently: `\Z`, `\<` (a plain `<`), a bare `{`, and `[` `&` `~` in a class.
fn translate(text: &str) -> String {
    let mut out = String::new();
    let mut in_class = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'Z')) if !in_class => out.push_str(r"\z"),
                Some((_, quoted @ ('<' | '>'))) => out.push(quoted),
                Some((_, quoted)) => {
                    out.push('\\');
                    out.push(quoted);
                }
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.next_if(|(_, next)| *next == '^').is_some() {
                    out.push('^');
                }
                if chars.next_if(|(_, next)| *next == ']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '{' if !in_class && !is_repetition(&text[at..]) => out.push_str(r"\{"),
            other => out.push(other),
        }
    }
    out
}

/// Whether a text starts with `{n}`, `{n,}`, `{,m}` or `{n,m}`.
fn is_repetition(text: &str) -> bool {
    let Some((inside, _)) = text[1..].split_once('}') else { return false };
    !inside.is_empty() && inside != "," && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(regexp: &str, replacement: &str, text: &str) -> String {
        let pattern = Pattern::compile("regexp", regexp, Flags::default()).expect("an expression");
        pattern.replace_all(text, replacement).0
    }

    #[test]
    fn pythons_groups_and_escapes() {
        assert_eq!(replaced(r"(\w+)=(?P<v>\d+)", r"\2:\g<1>:\g<v>:\\", "a=12"), r"12:a:12:\");
        assert_eq!(replaced("(a)(b)?", r"[\1\2]", "a"), "[a]");
        assert_eq!(replaced("x", r"a\nb", "x"), "a\nb");
        assert_eq!(replaced("x", r"\g<0>0", "x"), "x0");
    }

    #[test]
    fn what_python_writes_otherwise() {
        assert_eq!(replaced(r"\<a\>", "b", "<a>"), "b");
        assert_eq!(replaced("{{ x }}", "y", "{{ x }}"), "y");
        assert_eq!(replaced("a{2}", "y", "aa"), "y");
        assert_eq!(replaced("[[]", "(", "["), "(");
        assert_eq!(replaced("[]x]", "-", "]x"), "--");
        assert_eq!(replaced("[^]&&~]", "-", "]&~a"), "]&~-");
        assert_eq!(replaced(r"b\Z", "c", "ab"), "ac");
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let fault = Pattern::compile("regexp", "a(?!b)", Flags::default()).expect_err("refused");
        assert_eq!(
            fault.message,
            "`a(?!b)` is not understood as a regular expression: look-around, including look-ahead and look-behind, is not supported"
        );
        assert!(!fault.hints.is_empty());
    }
}
