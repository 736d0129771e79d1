//! The only place that quotes for a POSIX shell.

/// `text` as one shell word: single quotes around it, `'` as `'\''`; plain words stay bare.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('=') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Several words, quoted and separated by blanks.
pub fn join<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_bare_and_the_rest_is_quoted() {
        assert_eq!(join(["ls", "-l", "/a b", "it's", "", "$HOME"]), r"ls -l '/a b' 'it'\''s' '' '$HOME'");
    }

    proptest::proptest! {
        #[test]
        fn a_real_sh_reads_back_what_went_in(text in "[^\0]{0,40}") {
            let out = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(&text))])
                .output()
                .expect("sh runs");
            proptest::prop_assert_eq!(String::from_utf8_lossy(&out.stdout), text);
        }
    }
}
