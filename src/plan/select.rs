//! `--tags` and `--skip-tags`.

use crate::diag::Spanned;
use std::collections::BTreeSet;

/// Which tags to run and which to leave out.
#[derive(Debug, Clone, Default)]
pub struct Tags {
    run: Vec<String>,
    skip: Vec<String>,
}

impl Tags {
    /// Of `--tags` and `--skip-tags`; no `run` tags mean all.
    pub fn new(run: Vec<String>, skip: Vec<String>) -> Self {
        Self { run, skip }
    }

    /// How many tags of `--tags` were given.
    pub fn wanted(&self) -> usize {
        self.run.len()
    }

    /// Tags of `--tags` and of `--skip-tags` that are neither special nor known.
    pub fn unknown(&self, known: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        const SPECIAL: [&str; 5] = ["all", "tagged", "untagged", "always", "never"];
        let strange = |tag: &&String| !known.contains(*tag) && !SPECIAL.contains(&tag.as_str());
        let pick = |tags: &[String]| tags.iter().filter(strange).cloned().collect();
        (pick(&self.run), pick(&self.skip))
    }

    /// Everything but `never`.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether a task with these tags is to run. Ansible's special tags hold: `always`, `never`, `all`, `tagged`,
    /// `untagged`.
    pub fn selects(&self, tags: &[Spanned<String>]) -> bool {
        let has = |name: &str| tags.iter().any(|tag| tag.node == name);
        let plain = || tags.iter().any(|tag| tag.node != "always" && tag.node != "never");
        let matches = |wanted: &String| match wanted.as_str() {
            "all" => !has("never"),
            "tagged" => plain() && !has("never"),
            "untagged" => tags.is_empty(),
            name => has(name),
        };
        let run =
            if self.run.is_empty() { !has("never") } else { has("always") || self.run.iter().any(matches) };
        let skip = self.skip.iter().any(|unwanted| match unwanted.as_str() {
            "all" => !has("always"),
            "tagged" => plain(),
            "untagged" => tags.is_empty(),
            name => has(name),
        });
        run && !skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{SourceMap, Span};

    #[test]
    fn special_tags_mean_what_they_mean_in_ansible() {
        let file = SourceMap::new().add("x", "");
        let at = Span::new(file, 0, 0);
        let list = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let tagged =
            |words: &str| list(words).into_iter().map(|word| Spanned::new(word, at)).collect::<Vec<_>>();
        for (run, skip, tags, expected) in [
            ("", "", "", true),
            ("", "", "never", false),
            ("never", "", "never", true),
            ("a", "", "a b", true),
            ("a", "", "b", false),
            ("a", "", "always", true),
            ("a", "always", "always", false),
            ("all", "", "x", true),
            ("tagged", "", "x", true),
            ("tagged", "", "", false),
            ("untagged", "", "", true),
            ("", "a", "a b", false),
            ("b", "", "never b", true),
        ] {
            let tags_of = Tags::new(list(run), list(skip));
            assert_eq!(
                tags_of.selects(&tagged(tags)),
                expected,
                "--tags {run} --skip-tags {skip}, task tags {tags}"
            );
        }
    }
}
