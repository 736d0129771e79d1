//! Diagnostics as text for people and as JSON for programs.
//!
//! Both take a `mask`, the filter that every shown text passes through, source lines too: a password in a vars file
//! stays hidden when the line beside it is blamed.

use super::{Diagnostic, Severity, SourceMap, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

/// How the text shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use terminal colours.
    pub colour: bool,
    /// Columns of the screen; longer source lines are cut around the caret.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, width: 120 }
    }
}

/// The filter that every shown text passes through.
pub type Mask<'a> = &'a dyn Fn(&str) -> String;

/// All diagnostics as text, each ended by a line break. What differs in its host alone is shown once.
pub fn render(diagnostics: &[Diagnostic], sources: &SourceMap, mask: Mask<'_>, style: Style) -> String {
    let renderer =
        if style.colour { Renderer::styled() } else { Renderer::plain() }.term_width(style.width.max(40));
    let mut text = String::new();
    for diagnostic in joined_by_host(diagnostics) {
        // The renderer pads lines with blanks, which only get in the way of comparing and copying.
        let shown = one(&renderer, &diagnostic, sources, mask);
        let gutter = |line: &&str| diagnostic.span.is_some() || line.trim() != "|";
        for line in shown.lines().filter(gutter) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// One diagnostic as JSON: `severity code message place label frames notes hints hosts`. Lines and columns count
/// from 1, columns in characters.
pub fn to_json(diagnostic: &Diagnostic, sources: &SourceMap, mask: Mask<'_>) -> Value {
    let place = |span: Span| {
        let start = sources.locate(span);
        let end = sources.locate(Span { start: span.end, ..span });
        json!({
            "path": start.path, "line": start.line, "column": start.column,
            "end_line": end.line, "end_column": end.column,
        })
    };
    let texts = |texts: &[String]| texts.iter().map(|text| mask(text)).collect::<Vec<_>>();
    json!({
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "code": diagnostic.code,
        "message": mask(&diagnostic.message),
        "place": diagnostic.span.map(place),
        "label": diagnostic.label.as_deref().map(mask),
        "frames": diagnostic.frames.iter()
            .map(|frame| json!({ "text": mask(&frame.text), "place": place(frame.span) }))
            .collect::<Vec<_>>(),
        "notes": texts(&diagnostic.notes),
        "hints": texts(&diagnostic.hints),
        "hosts": diagnostic.hosts,
    })
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic, sources: &SourceMap, mask: Mask<'_>) -> String {
    let shown = |text: &str| printable(&mask(text));
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(shown(&diagnostic.message)));
    let mut label = diagnostic.label.as_deref().map(shown);
    let mut places = None;
    if let Some(span) = diagnostic.span {
        let excerpt = Excerpt::new(span, sources, mask);
        // The renderer counts the column in the line it is given, which a mask may have made longer.
        let column = excerpt.text.get(..excerpt.caret.start).map_or(0, |head| head.chars().count()) + 1;
        places = Some((
            format!("{}:{}:{column}", excerpt.path, excerpt.line),
            printable(&sources.locate(span).to_string()),
        ));
        let mut caret = AnnotationKind::Primary.span(excerpt.caret);
        if let Some(label) = label.take() {
            caret = caret.label(label);
        }
        group = group.element(
            Snippet::source(excerpt.text).path(excerpt.path).line_start(excerpt.line).annotation(caret),
        );
    }
    let frames = diagnostic.frames.iter().map(|frame| {
        format!("{} at {}", shown(&frame.text), printable(&sources.locate(frame.span).to_string()))
    });
    let facts = frames
        .chain(label)
        .chain(hosts(&diagnostic.hosts).map(|hosts| printable(&hosts)))
        .chain(diagnostic.notes.iter().map(|note| shown(note)))
        .map(|text| Level::NOTE.no_name().message(text));
    let hints = diagnostic.hints.iter().map(|hint| Level::HELP.message(shown(hint)));
    let text = renderer.render(&[group.elements(facts).elements(hints)]);
    match places {
        Some((counted, true_place)) if counted != true_place => text.replacen(&counted, &true_place, 1),
        _ => text,
    }
}

/// The source line to show and the bytes of it to underline.
struct Excerpt {
    path: String,
    line: usize,
    text: String,
    caret: std::ops::Range<usize>,
}

impl Excerpt {
    fn new(span: Span, sources: &SourceMap, mask: Mask<'_>) -> Self {
        let whole = sources.text(span.file);
        let location = sources.locate(span);
        let offset = floor(&whole, span.start as usize);
        let from = whole[..offset].rfind('\n').map_or(0, |at| at + 1);
        let line = whole[from..].lines().next().unwrap_or("").trim_end();
        // A span over several lines is shown by its first.
        let start = floor(line, offset - from);
        let end = floor(line, (span.end as usize).saturating_sub(from)).max(start);
        let masked = mask(line);
        let caret = if masked == line {
            start..end
        } else {
            // A mask moves what stands behind it; where it cuts through the caret the whole line is underlined.
            let (head, blamed) = (mask(&line[..start]), mask(&line[start..end]));
            let fits =
                masked.strip_prefix(head.as_str()).is_some_and(|rest| rest.starts_with(blamed.as_str()));
            if fits { head.len()..head.len() + blamed.len() } else { 0..masked.len() }
        };
        let (text, caret) = unescaped(&masked, caret);
        Self { path: printable(&location.path), line: location.line, text, caret }
    }
}

/// The line without control characters, each replaced by one visible character of its own.
fn unescaped(line: &str, caret: std::ops::Range<usize>) -> (String, std::ops::Range<usize>) {
    let moved = |at: usize| printable(line.get(..at).unwrap_or(line)).len();
    let range = moved(caret.start)..moved(caret.end);
    (printable(line), range)
}

/// A text without what a terminal would obey: control characters, and those that turn the direction of writing, each
/// as one visible character. Line ends and tabs stay.
pub fn printable(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\t' => c,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        c if is_unseen(c) => '\u{fffd}',
        _ => c,
    };
    text.chars().map(visible).collect()
}

/// Control characters beyond ASCII, and marks that turn the direction of writing.
pub fn is_unseen(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// "host db2 (and db3)".
fn hosts(hosts: &[String]) -> Option<String> {
    let (first, others) = hosts.split_first()?;
    Some(match others {
        [] => format!("host {first}"),
        _ if others.len() <= 8 => format!("host {first} (and {})", others.join(", ")),
        _ => format!("host {first} (and {}, {} more)", others[..7].join(", "), others.len() - 7),
    })
}

/// Equal diagnostics of several hosts as one, as they are shown.
pub fn joined_by_host(diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
    let mut all: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics {
        let same = |known: &Diagnostic| {
            let bare = Diagnostic { hosts: diagnostic.hosts.clone(), ..known.clone() };
            bare == *diagnostic
        };
        match all.iter_mut().find(|known| same(known)) {
            Some(known) => {
                let new = diagnostic
                    .hosts
                    .iter()
                    .filter(|host| !known.hosts.contains(host))
                    .cloned()
                    .collect::<Vec<_>>();
                known.hosts.extend(new);
            }
            None => all.push(diagnostic.clone()),
        }
    }
    all
}

/// The offset, or the start of the character it falls into.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
        render(diagnostics, sources, &str::to_owned, Style::default())
    }

    fn span(sources: &SourceMap, file: super::super::FileId, text: &str) -> Span {
        let at = sources.text(file).find(text).unwrap_or_default();
        Span::new(file, at, at + text.len())
    }

    #[test]
    fn a_misspelt_parameter() {
        let mut sources = SourceMap::new();
        let site = sources.add("site.yaml", "- hosts: all\n  roles:\n    - common\n");
        let tasks =
            sources.add("roles/common/tasks/main.yml", "- file:\n    path: /etc/x\n    moed: \"0640\"\n");
        let error = Diagnostic::error("unknown-parameter", "unknown parameter `moed` of module `file`")
            .at(span(&sources, tasks, "moed"))
            .label("did you mean `mode`?")
            .frame(span(&sources, site, "common"), "role `common`, called");
        let warning = Diagnostic::warning("other", "nothing to point at").hint("do this\nor that");
        insta::assert_snapshot!(plain(&[error, warning], &sources), @r#"
        error: unknown parameter `moed` of module `file`
         --> roles/common/tasks/main.yml:3:5
          |
        3 |     moed: "0640"
          |     ^^^^ did you mean `mode`?
          |
          = role `common`, called at site.yaml:3:7
        warning: nothing to point at
         = help: do this
                 or that
        "#);
    }

    #[test]
    fn hosts_notes_and_long_lines() {
        let mut sources = SourceMap::new();
        let text = format!("a: 1\nlong: {}é{{{{ pg_versoin }}}}{}\n", "x ".repeat(80), " y".repeat(80));
        let file = sources.add("f.yml", text);
        let failure = |host: &str| {
            Diagnostic::error("failed", "`pg_versoin` is undefined")
                .at(span(&sources, file, "pg_versoin"))
                .label("did you mean `pg_version`?")
                .note("command: psql -XAtq\nexit status 1")
                .hint("set it in group_vars")
                .host(host)
        };
        let text = plain(&[failure("db2"), failure("db3")], &sources);
        assert!(text.lines().all(|line| line.chars().count() <= 125), "{text}");
        insta::assert_snapshot!(text, @r#"
        error: `pg_versoin` is undefined
         --> f.yml:2:171
          |
        2 | ...x x x x x x x x x x x x x x x x é{{ pg_versoin }} y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y ...
          |                                        ^^^^^^^^^^ did you mean `pg_version`?
          |
          = host db2 (and db3)
          = command: psql -XAtq
            exit status 1
          = help: set it in group_vars
        "#);
    }

    #[test]
    fn spans_over_lines_at_the_end_and_of_nothing() {
        let mut sources = SourceMap::new();
        let file = sources.add("f.yml", "a:\n  b: 1\n  c: 2\n");
        let at = |start, end| Diagnostic::error("x", "here").at(Span::new(file, start, end));
        let empty = sources.add("empty.yml", "");
        let nothing = Diagnostic::error("x", "empty").at(Span::new(empty, 0, 0));
        insta::assert_snapshot!(plain(&[at(5, 16), at(17, 17), at(90, 99), nothing], &sources), @r#"
        error: here
         --> f.yml:2:3
          |
        2 |   b: 1
          |   ^^^^
        error: here
         --> f.yml:4:1
          |
        4 |
          | ^
        error: here
         --> f.yml:4:1
          |
        4 |
          | ^
        error: empty
         --> empty.yml:1:1
          |
        1 |
          | ^
        "#);
    }

    #[test]
    fn secrets_are_masked_everywhere_and_the_caret_follows() {
        let mut sources = SourceMap::new();
        let file = sources.add("f.yml", "password: hunter2 and moed: 1\n");
        let mask = |text: &str| text.replace("hunter2", "********");
        let at = |text: &str| {
            Diagnostic::error("x", format!("bad {text}"))
                .at(span(&sources, file, text))
                .label("hunter2?")
                .note("was hunter2")
                .hint("not hunter2")
                .frame(span(&sources, file, "and"), "hunter2 set")
        };
        let diagnostics = [at("moed"), at("hunter2"), at("ter2 and")];
        let text = render(&diagnostics, &sources, &mask, Style::default());
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!to_json(&diagnostics[0], &sources, &mask).to_string().contains("hunter2"));
        insta::assert_snapshot!(text, @r#"
        error: bad moed
         --> f.yml:1:23
          |
        1 | password: ******** and moed: 1
          |                        ^^^^ ********?
          |
          = ******** set at f.yml:1:19
          = was ********
          = help: not ********
        error: bad ********
         --> f.yml:1:11
          |
        1 | password: ******** and moed: 1
          |           ^^^^^^^^ ********?
          |
          = ******** set at f.yml:1:19
          = was ********
          = help: not ********
        error: bad ter2 and
         --> f.yml:1:14
          |
        1 | password: ******** and moed: 1
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ ********?
          |
          = ******** set at f.yml:1:19
          = was ********
          = help: not ********
        "#);
    }

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        let mut sources = SourceMap::new();
        let file = sources.add("f.yml", "a: \u{1b}[31mred\tx\n");
        let error =
            Diagnostic::error("x", "bad \u{1b}[0m").at(span(&sources, file, "red")).note("out\u{7}put");
        let text = plain(&[error], &sources);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
        insta::assert_snapshot!(text, @r#"
        error: bad ␛[0m
         --> f.yml:1:9
          |
        1 | a: ␛[31mred    x
          |         ^^^
          |
          = out␇put
        "#);
    }

    #[test]
    fn colours_only_when_asked() {
        let sources = SourceMap::new();
        let error = [Diagnostic::error("x", "y")];
        assert!(
            render(&error, &sources, &str::to_owned, Style { colour: true, width: 80 }).contains('\u{1b}')
        );
        assert_eq!(plain(&error, &sources), "error: y\n");
    }

    #[test]
    fn json_form() {
        let mut sources = SourceMap::new();
        let file = sources.add("f.yml", "é: moed\n");
        let error = Diagnostic::error("unknown", "bad")
            .at(span(&sources, file, "moed"))
            .label("l")
            .host("db1")
            .hint("h");
        insta::assert_snapshot!(to_json(&error, &sources, &str::to_owned), @r#"{"severity":"error","code":"unknown","message":"bad","place":{"path":"f.yml","line":1,"column":4,"end_line":1,"end_column":8},"label":"l","frames":[],"notes":[],"hints":["h"],"hosts":["db1"]}"#);
    }

    proptest::proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text in "[a-cé\u{1b}\t\n\r 日]{0,60}", start in 0_usize..70, len in 0_usize..70) {
            let mut sources = SourceMap::new();
            let file = sources.add("f", text);
            let error = [Diagnostic::error("x", "y").at(Span::new(file, start, start + len)).label("l")];
            for colour in [false, true] {
                let shown = render(&error, &sources, &|text| text.replace("ab", "****"), Style { colour, width: 50 });
                proptest::prop_assert!(shown.contains("error"));
            }
            let _ = to_json(&error[0], &sources, &str::to_owned);
        }
    }
}
