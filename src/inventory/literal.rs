//! What stands behind the `=` of an INI inventory: words as a shell splits them, values as Python literals.
//!
//! A value that is no literal is a text: `yes`, `0644` and `db.example.com` are texts, `True`, `5` and `[1, 2]` are not.

use crate::diag::Span;
use crate::yaml::{Entry, Kind, Node};

/// Deepest nesting of a literal.
const MAX_DEPTH: usize = 32;

/// A word and its bytes in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Quotes and backslashes taken away.
    pub text: String,
    /// First byte in the line.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// The words of a line, and where a comment starts inside a word (`a=b#c`, nearly always an accident).
///
/// # Errors
/// The offset of a quote that is never closed.
pub(super) fn words(line: &str) -> Result<(Vec<Word>, Option<usize>), usize> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        if c == '#' {
            let inside = word.is_some().then_some(at);
            words.extend(word);
            return Ok((words, inside));
        }
        let current = word.get_or_insert(Word { text: String::new(), start: at, end: at });
        match c {
            '\'' | '"' => loop {
                let Some((_, inner)) = chars.next() else { return Err(at) };
                if inner == c {
                    break;
                }
                if inner == '\\' && c == '"' {
                    let Some((_, escaped)) = chars.next() else { return Err(at) };
                    if !matches!(escaped, '"' | '\\') {
                        current.text.push('\\');
                    }
                    current.text.push(escaped);
                } else {
                    current.text.push(inner);
                }
            },
            '\\' => current.text.extend(chars.next().map(|(_, escaped)| escaped)),
            other => current.text.push(other),
        }
        current.end = chars.offset();
    }
    words.extend(word);
    Ok((words, None))
}

/// A value as Ansible's INI plugin reads it; everything in it stands at `span`.
pub(super) fn value(text: &str, span: Span) -> Node {
    let mut reader = Literal { rest: text.trim(), span };
    let literal = reader.value(0).filter(|_| {
        reader.blank();
        reader.rest.is_empty()
    });
    literal.unwrap_or_else(|| Node::new(Kind::Str(text.to_owned()), span))
}

struct Literal<'a> {
    rest: &'a str,
    span: Span,
}

impl Literal<'_> {
    fn node(&self, kind: Kind) -> Node {
        Node::new(kind, self.span)
    }

    /// Skips blanks and a comment, which Python allows behind a literal.
    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
        if let Some(comment) = self.rest.strip_prefix('#') {
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest.trim_start());
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        self.blank();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blank();
        match self.rest.chars().next()? {
            '[' => self.items('[', ']', depth).map(|(items, _)| self.node(Kind::Seq(items))),
            '(' => {
                let (mut items, comma) = self.items('(', ')', depth)?;
                // `(1)` is a number in brackets, `(1,)` a tuple.
                if items.len() == 1 && !comma { items.pop() } else { Some(self.node(Kind::Seq(items))) }
            }
            '{' => self.dict(depth),
            '\'' | '"' => {
                // Texts side by side are one text.
                let mut text = self.text()?;
                self.blank();
                while self.rest.starts_with(['\'', '"']) {
                    text.push_str(&self.text()?);
                    self.blank();
                }
                Some(self.node(Kind::Str(text)))
            }
            _ => self.atom(),
        }
    }

    fn items(&mut self, open: char, close: char, depth: usize) -> Option<(Vec<Node>, bool)> {
        let (open, close) = (open.to_string(), close.to_string());
        self.eat(&open);
        let mut items = Vec::new();
        let mut comma = false;
        while !self.eat(&close) {
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            comma = self.eat(",");
        }
        Some((items, comma))
    }

    fn dict(&mut self, depth: usize) -> Option<Node> {
        self.eat("{");
        let mut entries: Vec<Entry> = Vec::new();
        let mut comma = true;
        while !self.eat("}") {
            if !comma {
                return None;
            }
            let key = self.value(depth + 1)?;
            if !self.eat(":") {
                return None;
            }
            let value = self.value(depth + 1)?;
            entries.retain(|entry| entry.key.kind != key.kind);
            entries.push(Entry { key, value });
            comma = self.eat(",");
        }
        Some(self.node(Kind::Map(entries)))
    }

    fn text(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        loop {
            let (at, c) = chars.next()?;
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    escape @ ('x' | 'u') => {
                        let count = if escape == 'x' { 2 } else { 4 };
                        let digits: String = chars.by_ref().take(count).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == count)?;
                        text.push(char::from_u32(code)?);
                    }
                    escaped @ ('\\' | '\'' | '"') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                other => text.push(other),
            }
        }
    }

    fn atom(&mut self) -> Option<Node> {
        let end =
            self.rest.find(|c: char| c.is_whitespace() || ",:]})#".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let kind = match word {
            "True" => Kind::Bool(true),
            "False" => Kind::Bool(false),
            "None" => Kind::Null,
            _ => number(word)?,
        };
        self.rest = rest;
        Some(self.node(kind))
    }
}

/// A number as Python writes it: no leading zeros, underscores between digits only.
fn number(word: &str) -> Option<Kind> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || digits.contains("__")
        || digits.ends_with('_')
        || digits == "."
    {
        return None;
    }
    let plain = digits.replace('_', "");
    let (radix, body) = match plain.get(..2) {
        Some("0x" | "0X") => (16, &plain[2..]),
        Some("0o" | "0O") => (8, &plain[2..]),
        Some("0b" | "0B") => (2, &plain[2..]),
        _ => (10, plain.as_str()),
    };
    if radix != 10 || body.bytes().all(|b| b.is_ascii_digit()) {
        if body.starts_with(['+', '-']) {
            return None;
        }
        if radix == 10 && body.starts_with('0') && body.bytes().any(|b| b != b'0') {
            return None;
        }
        let value = i128::from_str_radix(body, radix).ok()?;
        let value = i64::try_from(if word.starts_with('-') { -value } else { value }).ok()?;
        return Some(Kind::Int { value, raw: word.to_owned() });
    }
    if !plain.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    Some(Kind::Float(if word.starts_with('-') { -value } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    #[test]
    fn values_follow_python() {
        let span = Span::new(SourceMap::new().add("t", ""), 0, 0);
        for (text, wanted) in [
            ("5", "5"),
            ("-5", "-5"),
            ("0644", "\"0644\""),
            ("0o644", "420"),
            ("0", "0"),
            ("00", "0"),
            ("1_000", "1000"),
            ("1.50", "1.5"),
            ("1e3", "1000.0"),
            ("yes", "\"yes\""),
            ("True", "true"),
            ("true", "\"true\""),
            ("None", "null"),
            ("db.example.com", "\"db.example.com\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("'quoted text'", "\"quoted text\""),
            ("\"5\"", "\"5\""),
            ("'it\\'s \\n'", "\"it's \\n\""),
            ("['a', 1, True, [2]]", "[\"a\",1,true,[2]]"),
            ("[1,]", "[1]"),
            ("[]", "[]"),
            ("[a, b]", "\"[a, b]\""),
            ("(1)", "1"),
            ("(1,)", "[1]"),
            ("{'a': 1, 'b': {'c': []}}", "{\"a\":1,\"b\":{\"c\":[]}}"),
            ("{a: 1}", "\"{a: 1}\""),
            ("5 # five", "5"),
            ("text # stays", "\"text # stays\""),
            ("{{ x }}", "\"{{ x }}\""),
            ("'a' 'b'", "\"ab\""),
            ("'a' + 'b'", "\"'a' + 'b'\""),
            ("", "\"\""),
            ("-", "\"-\""),
            ("[1, 2", "\"[1, 2\""),
        ] {
            assert_eq!(value(text, span).to_value().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn words_follow_the_shell() {
        let shown = |line: &str| match words(line) {
            Ok((words, inside)) => {
                let words: Vec<String> = words
                    .into_iter()
                    .map(|word| format!("{}={}", &line[word.start..word.end], word.text))
                    .collect();
                format!("{}{}", words.join(" | "), inside.map(|at| format!(" #{at}")).unwrap_or_default())
            }
            Err(at) => format!("open quote at {at}"),
        };
        assert_eq!(shown("h a=1  # c"), "h=h | a=1=a=1");
        assert_eq!(shown("a='x y' b=\"q\\\"\\n\""), "a='x y'=a=x y | b=\"q\\\"\\n\"=b=q\"\\n");
        assert_eq!(shown("a=b#c"), "a=b=a=b #3");
        assert_eq!(shown("a=\\ b"), "a=\\ b=a= b");
        assert_eq!(shown("a='b"), "open quote at 2");
        assert_eq!(shown("é='ü' x"), "é='ü'=é=ü | x=x");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in r#"[\[\](){}'"\\,:# a-c0-9._xuTé+-]{0,30}"#) {
            let span = Span::new(SourceMap::new().add("t", ""), 0, 0);
            let _ = value(&text, span);
            let _ = words(&text);
        }
    }
}
