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
mod tests;
