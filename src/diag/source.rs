//! The only copy of every text that was read, and the way from byte offsets to lines.

use super::span::{FileId, Span};
use std::sync::Arc;

/// All texts of a run. Cloning is cheap: texts are shared.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<Arc<SourceFile>>,
}

#[derive(Debug)]
struct SourceFile {
    path: String,
    text: Arc<str>,
    /// Byte offset of the start of every line.
    lines: Vec<u32>,
}

/// A place as people write it: `path:line:column`, both counted from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path as it was opened.
    pub path: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

impl SourceMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a text under the path that diagnostics shall show.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1));
        self.files.push(Arc::new(SourceFile { path: path.into(), text, lines }));
        FileId(self.files.len() as u32 - 1)
    }

    /// How many texts were read.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The path of a file, as it was opened.
    pub fn path(&self, file: FileId) -> &str {
        &self.files[file.0 as usize].path
    }

    /// The whole text of a file.
    pub fn text(&self, file: FileId) -> Arc<str> {
        Arc::clone(&self.files[file.0 as usize].text)
    }

    /// The text that a span covers (empty when the range is not on character borders).
    pub fn snippet(&self, span: Span) -> &str {
        self.files[span.file.0 as usize].text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Where a span starts.
    pub fn locate(&self, span: Span) -> Location {
        let file = &self.files[span.file.0 as usize];
        let line = file.lines.partition_point(|start| *start <= span.start).max(1);
        let from = file.lines[line - 1] as usize;
        let column = file.text.get(from..span.start as usize).map_or(0, |head| head.chars().count());
        Location { path: file.path.clone(), line, column: column + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let mut map = SourceMap::new();
        let file = map.add("a.yml", "x\nähé: 1\n");
        let at = |start| map.locate(Span::new(file, start, start + 1)).to_string();
        assert_eq!(at(0), "a.yml:1:1");
        assert_eq!(at(2), "a.yml:2:1");
        assert_eq!(at(5), "a.yml:2:3");
    }
}
