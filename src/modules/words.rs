//! Words of a command as a POSIX shell (and Python's `shlex`) would split them, and back.

/// The words of a command line; `Err` is what is wrong with its quotes.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a double quote is not closed".to_owned()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("a double quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => match chars.next() {
                // As everywhere, a backslash before the line's end joins the lines.
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("a backslash stands at the end".to_owned()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// One shell word in which `$NAME`, `${NAME}` and a leading `~` are expanded and nothing else is: what Ansible's
/// `command` does to its arguments. A variable that is not set stays as it is written.
pub fn quote_expanding(word: &str) -> String {
    if !word.contains('$') && !word.starts_with('~') {
        return crate::shell::quote(word);
    }
    let mut out = String::from("\"");
    let mut rest = word;
    if let Some(after) = rest.strip_prefix('~')
        && (after.is_empty() || after.starts_with('/'))
    {
        out.push_str("${HOME-~}");
        rest = after;
    }
    while let Some(at) = rest.find('$') {
        escape(&mut out, &rest[..at]);
        rest = &rest[at + 1..];
        let (braced, body) = match rest.strip_prefix('{') {
            Some(body) => (true, body),
            None => (false, rest),
        };
        let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
        let name = &body[..end];
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !named || (braced && !body[end..].starts_with('}')) {
            out.push_str("\\$");
            continue;
        }
        let braces = if braced { "{}" } else { "" };
        let written = match braces {
            "" => format!("\\${name}"),
            _ => format!("\\${{{name}\\}}"),
        };
        out.push_str(&format!("${{{name}-{written}}}"));
        rest = &body[end + usize::from(braced)..];
    }
    escape(&mut out, rest);
    out.push('"');
    out
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
}

/// Takes Ansible's `creates=... removes=... chdir=... executable=... stdin=...` out of a free-form command;
/// the rest is left as it is written.
pub fn take_options(text: &str, names: &[&str]) -> (String, Vec<(String, String)>) {
    let mut options = Vec::new();
    let mut rest = String::new();
    let mut quote = None;
    let mut start = 0;
    let mut escaped = false;
    // Ends one blank-separated piece (quotes kept together).
    let mut flush = |piece: &str, rest: &mut String| {
        let option = piece.split_once('=').filter(|(name, _)| names.contains(name));
        match option {
            Some((name, value)) => {
                let value = split(value).ok().map(|words| words.concat()).unwrap_or_else(|| value.to_owned());
                options.push((name.to_owned(), value));
            }
            None => rest.push_str(piece),
        }
    };
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_whitespace() => {
                flush(&text[start..at], &mut rest);
                rest.push(c);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    flush(&text[start..], &mut rest);
    (rest.trim().to_owned(), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, words) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            ("say 'a b' \"c d\" e\\ f", vec!["say", "a b", "c d", "e f"]),
            ("x''y \"\" 'it'\\''s'", vec!["xy", "", "it's"]),
            ("\"a\\\"b\\n\" | >", vec!["a\"b\\n", "|", ">"]),
            ("a \\\n b", vec!["a", "b"]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).expect(text), words, "{text}");
        }
        for text in ["'a", "\"a", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_are_taken_out_and_the_rest_is_left() {
        let names = ["creates", "chdir"];
        let (rest, options) = take_options("make  install creates=/a/b chdir='/c d'", &names);
        assert_eq!(rest, "make  install");
        assert_eq!(
            options,
            [("creates".to_owned(), "/a/b".to_owned()), ("chdir".to_owned(), "/c d".to_owned())]
        );
        let (rest, options) = take_options("echo 'creates=/x' x=creates", &names);
        assert_eq!((rest.as_str(), options.len()), ("echo 'creates=/x' x=creates", 0));
    }

    fn sh(word: &str) -> String {
        let out = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quote_expanding(word))])
            .env_clear()
            .env("HOME", "/root")
            .env("ONE", "1 *")
            .output()
            .expect("sh runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    #[test]
    fn variables_and_home_are_expanded_and_nothing_else() {
        for (word, wanted) in [
            ("$ONE", "1 *"),
            ("${ONE}x", "1 *x"),
            ("$TWO/${TWO}/$", "$TWO/${TWO}/$"),
            ("~/a", "/root/a"),
            ("~", "/root"),
            ("a~", "a~"),
            ("$(id)`id`\"$ONE\"\\$1", "$(id)`id`\"1 *\"\\$1"),
            ("${ONE", "${ONE"),
        ] {
            assert_eq!(sh(word), wanted, "{word}");
        }
    }

    proptest::proptest! {
        #[test]
        fn words_without_variables_come_back(words in proptest::collection::vec("[^\0$~]{0,12}", 0..5)) {
            let line = crate::shell::join(&words);
            proptest::prop_assert_eq!(split(&line).expect("splits"), words.clone());
            for word in &words {
                proptest::prop_assert_eq!(&sh(word), word);
            }
        }
    }
}
