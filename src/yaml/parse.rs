//! Text to tree: the only file that knows the YAML crate's events.
//!
//! What Ansible refuses is refused, with the place; duplicate keys, which it lets pass with a warning, are refused too.

use super::{Entry, Kind, Node, scalar, syntax};
use crate::diag::{Diagnostic, FileId, Span};
use granit_parser::{Event, Parser, ScalarStyle, StrInput, StructureStyle, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// Deepest nesting, aliases followed.
const MAX_DEPTH: usize = 100;
/// How many nodes aliases may add to a file: the guard against a few lines that unfold into gigabytes.
const MAX_ALIASED: usize = 200_000;

/// Reads the one document of a text. An empty text is [`Kind::Null`].
///
/// # Errors
/// Everything that is wrong with it, each with its place; the text behind a syntax error is not looked at.
pub fn parse(file: FileId, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        file,
        text,
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        faults: Vec::new(),
        aliased: 0,
        depth: 0,
    };
    let built = builder.document();
    match (built, builder.faults) {
        (Ok(node), faults) if faults.is_empty() => Ok(node),
        (_, faults) => Err(faults),
    }
}

/// The text cannot be read further; why is among the faults.
struct Stop;

struct Anchored {
    node: Node,
    weight: usize,
    depth: usize,
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    faults: Vec<Diagnostic>,
    aliased: usize,
    depth: usize,
}

type TagOf<'a> = Option<Cow<'a, Tag>>;

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    let span = self.line_of(span.start);
                    self.faults.push(
                        Diagnostic::error("yaml-second-document", "a second document starts here")
                            .at(span)
                            .label("only one document a file is read")
                            .hint("remove this line, or move what follows into a file of its own"),
                    );
                    return Err(Stop);
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                other => root = Some(self.node(other, span)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node::new(Kind::Null, Span::new(self.file, 0, 0))))
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Stop> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                let tag = span.tag_span().and_then(|tag| tag.byte_range());
                let (tag_start, tag_end) = tag.map_or((range.start, range.start), |tag| (tag.start, tag.end));
                Ok((event, Place { start: range.start, end: range.end, tag_start, tag_end }))
            }
            Some(Err(error)) => {
                let fault = syntax::explain(self.file, self.text, &error);
                // An unquoted template is reported when it is met; what the scanner trips over behind it is its echo.
                let echo = |known: &Diagnostic| {
                    known.code == "yaml-unquoted-template"
                        && (fault.code == known.code || same_line(self.text, known, &fault))
                };
                if !self.faults.iter().any(echo) {
                    self.faults.push(fault);
                }
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place) -> Result<Node, Stop> {
        if self.depth >= MAX_DEPTH {
            let message = format!("this is nested deeper than {MAX_DEPTH} levels");
            self.faults.push(Diagnostic::error("yaml-too-deep", message).at(self.span(place)));
            return Err(Stop);
        }
        self.depth += 1;
        let built = match event {
            Event::Scalar(value, style, anchor, tag) => {
                let node = self.scalar(value, style, tag, place);
                self.anchored(anchor, node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let node = self.sequence(tag, place)?;
                self.anchored(anchor, node)
            }
            Event::MappingStart(style, anchor, tag) => {
                let node = self.mapping(style, tag, place)?;
                self.anchored(anchor, node)
            }
            Event::Alias(id) => self.alias(id, place)?,
            Event::UnresolvedAlias(name) => {
                self.faults.push(
                    Diagnostic::error(
                        "yaml-unknown-alias",
                        format!("`*{name}` refers to an anchor that is not set above"),
                    )
                    .at(self.span(place))
                    .hint(format!("set it with `&{name}`, or quote a text that starts with `*`")),
                );
                Node::new(Kind::Null, self.span(place))
            }
            _ => Node::new(Kind::Null, self.span(place)),
        };
        self.depth -= 1;
        Ok(built)
    }

    fn scalar(&mut self, value: Cow<'a, str>, style: ScalarStyle, tag: TagOf<'a>, place: Place) -> Node {
        let span = self.span(place);
        let value = value.into_owned();
        let Some(tag) = tag else {
            let kind = if style == ScalarStyle::Plain { scalar::resolve(&value) } else { Kind::Str(value) };
            return Node::new(kind, span);
        };
        let written = tag.to_string();
        let kind = match tag.core_suffix() {
            Some("str") => Some(Kind::Str(value)),
            Some("null") => Some(Kind::Null),
            Some("int") => scalar::int(&value).map(|number| Kind::Int { value: number, raw: value }),
            Some("float") => scalar::float(&value)
                .or_else(|| scalar::int(&value).map(|number| number as f64))
                .map(Kind::Float),
            Some("bool") => Some(scalar::resolve(&value.to_ascii_lowercase()))
                .filter(|kind| matches!(kind, Kind::Bool(_))),
            _ => match written.as_str() {
                "!vault" | "!vault-encrypted" => Some(Kind::Vault(value)),
                "!unsafe" => Some(Kind::Unsafe(value)),
                "!" => Some(Kind::Str(value)),
                _ => {
                    self.unknown_tag(&written, place);
                    Some(Kind::Null)
                }
            },
        };
        let kind = kind.unwrap_or_else(|| {
            let written = self.text.get(place.tag_start..place.tag_end).unwrap_or(&written);
            let message = format!("this is not what its tag `{written}` says");
            self.faults.push(Diagnostic::error("yaml-tag-mismatch", message).at(span));
            Kind::Null
        });
        Node::new(kind, span)
    }

    fn sequence(&mut self, tag: TagOf<'a>, place: Place) -> Result<Node, Stop> {
        let mut items = Vec::new();
        let end = loop {
            match self.next()? {
                (Event::SequenceEnd, end) => break end,
                (event, place) => items.push(self.node(event, place)?),
            }
        };
        let last = items.last().map_or(place.end, |item: &Node| item.span.end as usize);
        let span = self.span(Place { end: end.end.min(last.max(place.end)).max(last), ..place });
        let span = self.closed_flow(span, end);
        Ok(self.collection(Node::new(Kind::Seq(items), span), tag, "seq", place))
    }

    fn mapping(&mut self, style: StructureStyle, tag: TagOf<'a>, place: Place) -> Result<Node, Stop> {
        let template = style == StructureStyle::Flow && self.text[place.start..].starts_with("{{");
        if template {
            self.faults.push(syntax::unquoted_template(self.file, self.text, place.start));
        }
        let known = self.faults.len();
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Node> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        let end = loop {
            let (event, key_place) = match self.next()? {
                (Event::MappingEnd, end) => break end,
                key => key,
            };
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, _, None));
            let key = self.node(event, key_place)?;
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place)?;
            if plain && key.as_str() == Some("<<") {
                merged.push(value);
                continue;
            }
            match key.scalar_text().or_else(|| key.is_null().then(String::new)) {
                None => self.faults.push(
                    Diagnostic::error(
                        "yaml-complex-key",
                        format!("a key of a mapping must be a text, not {}", key.describe()),
                    )
                    .at(key.span),
                ),
                Some(name) => {
                    if let Some(first) = seen.get(&name) {
                        self.faults.push(
                            Diagnostic::error(
                                "yaml-duplicate-key",
                                format!("the key `{name}` stands here twice"),
                            )
                            .at(key.span)
                            .frame(*first, format!("`{name}` first set")),
                        );
                    } else {
                        seen.insert(name, key.span);
                        entries.push(Entry { key, value });
                    }
                }
            }
        };
        if template {
            self.faults.truncate(known);
        }
        let last =
            entries.last().map_or(place.end, |entry| entry.value.span.end.max(entry.key.span.end) as usize);
        let span = self.closed_flow(self.span(Place { end: last.max(place.end), ..place }), end);
        let entries = self.merge(entries, merged);
        Ok(self.collection(Node::new(Kind::Map(entries), span), tag, "map", place))
    }

    /// Entries of `<<` in front of those written here, which win.
    fn merge(&mut self, entries: Vec<Entry>, merged: Vec<Node>) -> Vec<Entry> {
        if merged.is_empty() {
            return entries;
        }
        let mut all: Vec<Entry> = Vec::new();
        for source in merged {
            let span = source.span;
            let maps = match source.kind {
                Kind::Seq(items) => items,
                _ => vec![source],
            };
            for map in maps {
                let Kind::Map(inherited) = map.kind else {
                    let message = format!("`<<` merges mappings, not {}", map.describe());
                    self.faults.push(Diagnostic::error("yaml-merge", message).at(span));
                    continue;
                };
                for entry in inherited {
                    let name = entry.key.scalar_text();
                    let taken = |other: &Entry| other.key.scalar_text() == name;
                    if !all.iter().any(taken) && !entries.iter().any(taken) {
                        all.push(entry);
                    }
                }
            }
        }
        all.extend(entries);
        all
    }

    fn collection(&mut self, node: Node, tag: TagOf<'a>, core: &str, place: Place) -> Node {
        let Some(tag) = tag else { return node };
        let written = tag.to_string();
        match written.as_str() {
            "!unsafe" => never_template(node),
            "!" => node,
            _ if tag.core_suffix() == Some(core) => node,
            _ => {
                self.unknown_tag(&written, place);
                node
            }
        }
    }

    fn unknown_tag(&mut self, written: &str, place: Place) {
        let span = Span::new(self.file, place.tag_start, place.tag_end);
        let shown =
            self.text.get(place.tag_start..place.tag_end).filter(|text| !text.is_empty()).unwrap_or(written);
        self.faults.push(
            Diagnostic::error("yaml-unknown-tag", format!("unknown tag `{shown}`"))
                .at(span)
                .hint("the tags are `!vault` and `!unsafe`; quote a text that starts with `!`"),
        );
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            let (weight, depth) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight, depth });
            self.aliased += weight;
        }
        node
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Stop> {
        let span = self.span(place);
        let Some(target) = self.anchors.get(&id) else {
            self.faults.push(
                Diagnostic::error("yaml-alias-cycle", "this alias refers to what it is a part of").at(span),
            );
            return Err(Stop);
        };
        self.aliased = self.aliased.saturating_add(target.weight);
        if self.aliased > MAX_ALIASED || self.depth + target.depth > MAX_DEPTH {
            self.faults.push(
                Diagnostic::error("yaml-alias-bomb", "the aliases of this file unfold into too much")
                    .at(span)
                    .note(format!("the limit is {MAX_ALIASED} values and {MAX_DEPTH} levels")),
            );
            return Err(Stop);
        }
        Ok(target.node.clone())
    }

    /// The span of a place without the blanks and line breaks at its end.
    fn span(&self, place: Place) -> Span {
        let text = self.text.get(place.start..place.end).unwrap_or("");
        Span::new(self.file, place.start, place.start + text.trim_end().len())
    }

    /// A flow collection reaches to its bracket, a block one to its last value.
    fn closed_flow(&self, span: Span, end: Place) -> Span {
        let bracket = self.text.get(end.start..end.end).is_some_and(|text| text == "]" || text == "}");
        if bracket { span.to(Span::new(self.file, end.start, end.end)) } else { span }
    }

    fn line_of(&self, offset: usize) -> Span {
        let rest = self.text.get(offset..).unwrap_or("");
        Span::new(self.file, offset, offset + rest.lines().next().unwrap_or("").trim_end().len())
    }
}

/// Byte offsets of an event and of its tag.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    tag_start: usize,
    tag_end: usize,
}

fn same_line(text: &str, one: &Diagnostic, other: &Diagnostic) -> bool {
    match (one.span, other.span) {
        (Some(one), Some(other)) => {
            let (from, to) = (one.start.min(other.start) as usize, one.start.max(other.start) as usize);
            text.get(from..to).is_some_and(|between| between.matches('\n').count() <= 1)
        }
        _ => false,
    }
}

fn never_template(node: Node) -> Node {
    let kind = match node.kind {
        Kind::Str(text) => Kind::Unsafe(text),
        Kind::Seq(items) => Kind::Seq(items.into_iter().map(never_template).collect()),
        Kind::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .map(|entry| Entry { key: entry.key, value: never_template(entry.value) })
                .collect(),
        ),
        other => other,
    };
    Node { kind, span: node.span }
}

/// How many nodes (a long text counts as several) and how many levels.
fn measure(node: &Node) -> (usize, usize) {
    let sum = |sizes: &mut dyn Iterator<Item = (usize, usize)>| {
        sizes.fold((1, 1), |(weight, depth), (more, below)| (weight + more, depth.max(below + 1)))
    };
    match &node.kind {
        Kind::Str(text) | Kind::Unsafe(text) | Kind::Vault(text) => (1 + text.len() / 64, 1),
        Kind::Seq(items) => sum(&mut items.iter().map(measure)),
        Kind::Map(entries) => {
            sum(&mut entries.iter().flat_map(|entry| [measure(&entry.key), measure(&entry.value)]))
        }
        _ => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;

    fn read(text: &str) -> Result<Node, Vec<Diagnostic>> {
        parse(SourceMap::new().add("t.yml", text), text)
    }

    fn value(text: &str) -> serde_json::Value {
        read(text).map(|node| node.to_value()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    #[test]
    fn values() {
        for (text, wanted) in [
            ("", "null"),
            ("# nothing\n---\n", "null"),
            ("a: 1\nb: [x, 'yes', yes, \"1\"]\n", r#"{"a":1,"b":["x","yes",true,"1"]}"#),
            ("a:\nb: ~\n", r#"{"a":null,"b":null}"#),
            ("- a: |\n    x\n     y\n\n- >-\n  p\n  q\n", r#"[{"a":"x\n y\n"},"p q"]"#),
            ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", r#"{"a":{"p":1,"q":2},"b":{"p":1,"q":3}}"#),
            (
                "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}\n",
                r#"{"a":{"p":1},"b":{"p":2,"q":2},"c":{"p":1,"q":2}}"#,
            ),
            ("? a\n: b\n", r#"{"a":"b"}"#),
            ("{a: {b: c}, d}", r#"{"a":{"b":"c"},"d":null}"#),
            ("---\na: b\n...\n", r#"{"a":"b"}"#),
            ("a: !!str 12\nb: !!int '12'\nc: !!bool Yes", r#"{"a":"12","b":12,"c":true}"#),
            ("\"<<\": 1", r#"{"<<":1}"#),
            ("a: \"{{ x }}\"", r#"{"a":"{{ x }}"}"#),
            ("a: |\n  end without line feed", r#"{"a":"end without line feed"}"#),
            ("a:\n- 1\n- 2\nb: x", r#"{"a":[1,2],"b":"x"}"#),
            ("\u{feff}a: 1", r#"{"a":1}"#),
        ] {
            assert_eq!(value(text).to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn tagged_texts() {
        let node = read(
            "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3030\nb: !unsafe '{{ x }}'\nc: !unsafe [a, 1]\n",
        )
        .unwrap_or_else(|faults| panic!("{faults:?}"));
        let kind = |key: &str| node.get(key).map(|node| node.kind.clone());
        assert_eq!(kind("a"), Some(Kind::Vault("$ANSIBLE_VAULT;1.1;AES256\n3030\n".to_owned())));
        assert_eq!(kind("b"), Some(Kind::Unsafe("{{ x }}".to_owned())));
        assert_eq!(
            node.get("c").and_then(|c| c.as_seq()).map(|c| c[0].kind.clone()),
            Some(Kind::Unsafe("a".to_owned()))
        );
    }

    #[test]
    fn spans_cover_what_was_written() {
        let text = "a: 'x y' # c\nb:\n  - 1\n  - {p: q}\nc: |\n  one\n  two\n\nd: plain text\n";
        let mut sources = SourceMap::new();
        let file = sources.add("t.yml", text);
        let node = parse(file, text).unwrap_or_else(|faults| panic!("{faults:?}"));
        let snippet = |node: &Node| sources.snippet(node.span).to_owned();
        assert_eq!(node.get("a").map(&snippet).as_deref(), Some("'x y'"));
        assert_eq!(node.get("b").map(&snippet).as_deref(), Some("- 1\n  - {p: q}"));
        let items =
            node.get("b").and_then(Node::as_seq).map(|items| items.iter().map(&snippet).collect::<Vec<_>>());
        assert_eq!(items, Some(vec!["1".to_owned(), "{p: q}".to_owned()]));
        assert_eq!(node.get("c").map(&snippet).as_deref(), Some("one\n  two"));
        assert_eq!(node.get("d").map(&snippet).as_deref(), Some("plain text"));
        assert_eq!(node.entry("d").map(|entry| snippet(&entry.key)).as_deref(), Some("d"));
        assert_eq!(snippet(&node), text.trim_end());
    }

    /// `code at line:column message [frames] | hints`, a line a fault.
    fn faults(text: &str) -> String {
        let mut sources = SourceMap::new();
        let file = sources.add("t", text);
        let faults = match parse(file, text) {
            Ok(node) => return format!("{node:?}"),
            Err(faults) => faults,
        };
        let place = |span| sources.locate(span).to_string();
        let shown = faults.iter().map(|fault| {
            let frames: String =
                fault.frames.iter().map(|frame| format!(" [{} {}]", frame.text, place(frame.span))).collect();
            let hints: String = fault.hints.iter().map(|hint| format!(" | {hint}")).collect();
            let span = fault
                .span
                .map(|span| format!("{} `{}`", place(span), sources.snippet(span)))
                .unwrap_or_default();
            format!("{} {span} {}{frames}{hints}", fault.code, fault.message)
        });
        shown.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn classic_traps() {
        insta::assert_snapshot!(faults("a: {{ x }}\nb: 1\n"), @r#"yaml-unquoted-template t:1:4 `{{ x }}` a value that starts with `{{` needs quotes | write "{{ x }}""#);
        insta::assert_snapshot!(faults("a: {{ x }}/y\nb: 1\n"), @r#"yaml-unquoted-template t:1:4 `{{ x }}/y` a value that starts with `{{` needs quotes | write "{{ x }}/y""#);
        insta::assert_snapshot!(faults("a:\n  - {{ x | d('') }} and more\n"), @r#"yaml-unquoted-template t:2:5 `{{ x | d('') }} and more` a value that starts with `{{` needs quotes | write "{{ x | d('') }} and more""#);
        insta::assert_snapshot!(faults("msg: value: x\n"), @r#"yaml-syntax t:1:11 `:` a second `: ` on the line makes a mapping where a text was begun | quote the value: `msg: "value: x"`"#);
        insta::assert_snapshot!(faults("- name: install: all\n  apt: x\n"), @r#"yaml-syntax t:1:16 `:` a second `: ` on the line makes a mapping where a text was begun | quote the value: `name: "install: all"`"#);
        insta::assert_snapshot!(faults("a:\n\tb: 1\n"), @r#"yaml-tab t:2:1 `	` a tab stands where YAML wants spaces | indent with spaces"#);
        insta::assert_snapshot!(faults("a:\n  b: 1\n c: 2\n"), @r#"yaml-syntax t:3:2 `c` this line does not fit the indentation of the lines above | keys of one mapping, and dashes of one list, start in the same column"#);
        insta::assert_snapshot!(faults("- a: 1\n   b: 2\n"), @r#"yaml-syntax t:2:5 `:` this line does not fit the indentation of the lines above | keys of one mapping, and dashes of one list, start in the same column"#);
        insta::assert_snapshot!(faults("a: \"x\" y\n"), @r#"yaml-syntax t:1:8 `y` there is more text behind the closing quote | quote the whole value, with the other kind of quotes outside: 'say "this" and that'"#);
        insta::assert_snapshot!(faults("a: \"\\d\"\n"), @r#"yaml-syntax t:1:4 `"` unknown escape in a text in double quotes | write `\\` for a backslash, or use single quotes, which know no escapes"#);
        insta::assert_snapshot!(faults("a: \"open\nb: 1\n"), @r#"yaml-syntax t:1:4 `"` a quote is opened and never closed"#);
        insta::assert_snapshot!(faults("a: @x\n"), @r#"yaml-syntax t:1:4 `@` a text cannot start with `@` | quote the text"#);
        insta::assert_snapshot!(faults("a: [1, 2\nb: 3\n"), @r#"yaml-syntax t:2:2 `:` a `:` stands inside a list in brackets | is a `[` above never closed?"#);
        insta::assert_snapshot!(faults("a: *glob\nb: *.conf\n"), @r#"
        yaml-unknown-alias t:1:4 `*glob` `*glob` refers to an anchor that is not set above | set it with `&glob`, or quote a text that starts with `*`
        yaml-unknown-alias t:2:4 `*.conf` `*.conf` refers to an anchor that is not set above | set it with `&.conf`, or quote a text that starts with `*`
        "#);
        insta::assert_snapshot!(faults("a: !lookup x\nb: !!python/tuple [1]\n"), @r#"
        yaml-unknown-tag t:1:4 `!lookup` unknown tag `!lookup` | the tags are `!vault` and `!unsafe`; quote a text that starts with `!`
        yaml-unknown-tag t:2:4 `!!python/tuple` unknown tag `!!python/tuple` | the tags are `!vault` and `!unsafe`; quote a text that starts with `!`
        "#);
        insta::assert_snapshot!(faults("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n"), @r#"
        yaml-duplicate-key t:3:1 `a` the key `a` stands here twice [`a` first set t:1:1]
        yaml-duplicate-key t:4:11 `d` the key `d` stands here twice [`d` first set t:4:5]
        "#);
        insta::assert_snapshot!(faults("a: 1\n---\nb: 2\n"), @r#"yaml-second-document t:2:1 `---` a second document starts here | remove this line, or move what follows into a file of its own"#);
        insta::assert_snapshot!(faults("{a: 1}: b\n"), @r#"yaml-complex-key t:1:1 `{a: 1}` a key of a mapping must be a text, not a mapping"#);
        insta::assert_snapshot!(faults("a: &x\n  b: *x\n"), @r#"yaml-alias-cycle t:2:6 `*x` this alias refers to what it is a part of"#);
        insta::assert_snapshot!(faults("a:\n  <<: text\n"), @r#"yaml-merge t:2:7 `text` `<<` merges mappings, not a text"#);
        insta::assert_snapshot!(faults("a: 1\nplain\nb: 2\n"), @r#"yaml-syntax t:2:1 `p` a `:` is missing behind this key | a key is followed by a colon and a space: `key: value`"#);
        insta::assert_snapshot!(faults("a: !!int x\n"), @r#"yaml-tag-mismatch t:1:10 `x` this is not what its tag `!!int` says"#);
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(faults(&text).contains("yaml-alias-bomb"));
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..5000 {
            text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert!(faults(&text).contains("yaml-alias-bomb"));
        assert!(faults(&"[".repeat(100_000)).contains("yaml-too-deep"));
        assert!(faults(&"- ".repeat(100_000)).contains("yaml-too-deep"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in r#"([ \t\n:\-{}\[\]"'|>&*!#%@,?~a0.<é]|: |- |\n  |\{\{ | \}\}|<<: |---|!vault |&a |\*a){0,60}"#) {
            let mut sources = SourceMap::new();
            let file = sources.add("t", text.as_str());
            if let Err(faults) = parse(file, &text) {
                proptest::prop_assert!(!faults.is_empty());
                for span in faults.iter().filter_map(|fault| fault.span) {
                    proptest::prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
                }
            }
        }

        #[test]
        fn never_panics_on_anything(text in "\\PC{0,200}") {
            let _ = parse(SourceMap::new().add("t", text.as_str()), &text);
        }

        #[test]
        fn reads_back_what_the_writer_wrote(texts in proptest::collection::vec("[ -~éß\n\t]{0,30}", 0..8)) {
            let written = serde_yaml::to_string(&texts).unwrap_or_default();
            let read = value(&written);
            let wanted = serde_json::json!(texts);
            proptest::prop_assert_eq!(read, wanted, "{}", written);
        }
    }
}
