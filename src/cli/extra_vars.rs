//! `-e`: variables of the command line.

use crate::diag::{Diagnostic, Span};
use crate::plan::{Layer, Library};
use crate::yaml::{Kind, Node};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// `-e k=v k=v`, `-e '{"k": 1}'`, `-e @file`. `k=v` values are texts, as in Ansible.
pub fn read(library: &Library, given: &[String], diags: &mut Vec<Diagnostic>) -> Arc<Layer> {
    let mut vars = BTreeMap::new();
    for text in given {
        let node = if let Some(path) = text.strip_prefix('@') {
            match library.yaml(path) {
                Some(Ok(node)) => Some((*node).clone()),
                Some(Err(found)) => {
                    diags.extend(found);
                    None
                }
                None => {
                    diags.push(
                        Diagnostic::error(
                            "missing-file",
                            format!("there is no file `{path}` (of `-e @{path}`)"),
                        )
                        .maybe_hint(library.near(path)),
                    );
                    None
                }
            }
        } else if text.trim_start().starts_with(['{', '[']) {
            let file = library.add("command line (-e)", text);
            crate::yaml::parse(file, text).map_err(|found| diags.extend(found)).ok()
        } else {
            let file = library.add("command line (-e)", text);
            for (at, word) in split_words(text) {
                match word.split_once('=') {
                    Some((name, value)) => {
                        let node = Node::new(Kind::Str(value.to_owned()), Span::new(file, 0, text.len()));
                        vars.insert(name.to_owned(), Arc::new(node));
                    }
                    None => {
                        let diagnostic =
                            Diagnostic::error("bad-extra-var", format!("`{word}` is no variable"));
                        diags.push(
                            diagnostic
                                .at(Span::new(file, at.start, at.end))
                                .hint("write `name=value`, JSON, or `@file`"),
                        );
                    }
                }
            }
            None
        };
        for entry in node.as_ref().and_then(Node::as_map).unwrap_or_default() {
            if let Some(name) = entry.key.as_str() {
                vars.insert(name.to_owned(), Arc::new(entry.value.clone()));
            }
        }
    }
    Arc::new(Layer { vars })
}

/// Words separated by blanks outside of quotes, and where they stand; the quotes are taken off.
fn split_words(text: &str) -> Vec<(Range<usize>, String)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut start) = (None, 0);
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) if at == text.len() => {}
            Some(_) => word.push(c),
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push((start..at, std::mem::take(&mut word)));
                }
                start = at + c.len_utf8();
            }
            None => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push((start..text.len(), word));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_know_where_they_stand() {
        assert_eq!(
            split_words(" a=1  b='x y' ü=\"2\""),
            [(1..4, "a=1".to_owned()), (6..13, "b=x y".to_owned()), (14..20, "ü=2".to_owned())]
        );
        assert_eq!(split_words("a='open"), [(0..7, "a=open".to_owned())]);
        assert_eq!(split_words(" "), []);
    }
}
