//! INI inventories: `[group]`, `[group:children]`, `[group:vars]`, and host lines `name key=value …`.

use super::build::{Builder, UNGROUPED};
use super::literal;
use crate::diag::{Diagnostic, FileId, Span, did_you_mean};
use crate::yaml::Node;

/// Takes in the hosts, groups and variables of a text.
pub(super) fn read(builder: &mut Builder, file: FileId, text: &str) {
    let mut reader = Reader {
        builder,
        file,
        section: Section::Hosts(UNGROUPED.to_owned()),
        headers: Vec::new(),
        vars: Vec::new(),
        children: Vec::new(),
    };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        reader.line(line.trim_end_matches(['\n', '\r']), offset);
        offset += line.len();
    }
    reader.finish();
}

enum Section {
    Hosts(String),
    Children(String),
    Vars(String),
    /// Behind a header that is wrong: its lines are not looked at.
    Lost,
}

struct Reader<'b> {
    builder: &'b mut Builder,
    file: FileId,
    section: Section,
    /// Groups that a `:vars` header names, and their variables. Like children they may be defined further down, so
    /// that they are looked up at the end.
    headers: Vec<(String, Span)>,
    vars: Vec<(String, String, Node)>,
    /// Parent, child and place.
    children: Vec<(String, String, Span)>,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, offset: usize) {
        let line = line.strip_prefix('\u{feff}').filter(|_| offset == 0).unwrap_or(line);
        let trimmed = line.trim();
        let start = offset + line.find(trimmed).unwrap_or(0);
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return;
        }
        let span = Span::new(self.file, start, start + trimmed.len());
        if trimmed.starts_with('[') && self.header(trimmed, start, span) {
            return;
        }
        match &self.section {
            Section::Hosts(group) => {
                let group = group.clone();
                self.host_line(&group, trimmed, start);
            }
            Section::Children(parent) => {
                let parent = parent.clone();
                let name = trimmed.split('#').next().unwrap_or(trimmed).trim();
                let span = Span::new(self.file, start, start + name.len());
                self.children.push((parent, name.to_owned(), span));
            }
            Section::Vars(group) => {
                let group = group.clone();
                self.var_line(&group, trimmed, start, span);
            }
            Section::Lost => {}
        }
    }

    /// Whether the line is a section header; a host line may start with the bracket of a range or an address.
    fn header(&mut self, line: &str, start: usize, span: Span) -> bool {
        let Some((inside, rest)) = line[1..].split_once(']') else {
            let message = format!("the section header `{line}` is never closed");
            self.builder.fault(Diagnostic::error("bad-section", message).at(span).hint("write `[group]`"));
            self.section = Section::Lost;
            return true;
        };
        let rest = rest.trim();
        if !(rest.is_empty() || rest.starts_with(['#', ';'])) || inside.parse::<std::net::Ipv6Addr>().is_ok()
        {
            return false;
        }
        let (name, kind) = inside.split_once(':').map_or((inside, None), |(name, kind)| (name, Some(kind)));
        let place = Span::new(self.file, start + 1, start + 1 + inside.len());
        if name.trim().is_empty() || name.contains(char::is_whitespace) {
            let message = format!("`{inside}` is no name of a group");
            self.builder.fault(Diagnostic::error("bad-section", message).at(place));
            self.section = Section::Lost;
            return true;
        }
        let name_place = Span::new(self.file, start + 1, start + 1 + name.len());
        self.section = match kind {
            None | Some("hosts") => {
                self.builder.group(name, name_place);
                Section::Hosts(name.to_owned())
            }
            Some("children") => {
                self.builder.group(name, name_place);
                Section::Children(name.to_owned())
            }
            Some("vars") => {
                self.headers.push((name.to_owned(), name_place));
                Section::Vars(name.to_owned())
            }
            Some(other) => {
                let at = start + 1 + name.len() + 1;
                let mut fault =
                    Diagnostic::error("bad-section", format!("a section of kind `{other}` is not known"))
                        .at(Span::new(self.file, at, at + other.len()))
                        .hint("the kinds are `[group]`, `[group:children]` and `[group:vars]`");
                fault.label = did_you_mean(other, ["children", "vars", "hosts"]);
                self.builder.fault(fault);
                Section::Lost
            }
        };
        true
    }

    fn host_line(&mut self, group: &str, line: &str, start: usize) {
        let (words, cut) = match literal::words(line) {
            Ok(words) => words,
            Err(at) => {
                let place = Span::new(self.file, start + at, start + at + 1);
                self.builder
                    .fault(Diagnostic::error("open-quote", "a quote is opened and never closed").at(place));
                return;
            }
        };
        if let Some(at) = cut {
            let place = Span::new(self.file, start + at, start + line.len());
            self.builder.fault(
                Diagnostic::warning("comment-in-value", "a comment starts inside a value")
                    .at(place)
                    .hint("quote a value that holds a `#`; put a blank before a comment"),
            );
        }
        let Some((name, pairs)) = words.split_first() else { return };
        let span = |from: usize, to: usize| Span::new(self.file, start + from, start + to);
        let place = span(name.start, name.end);
        if let Some((key, value)) = name.text.split_once('=') {
            self.builder.fault(
                Diagnostic::error("bad-host-name", format!("`{key}={value}` is no host"))
                    .at(place)
                    .hint("variables of a group stand below `[group:vars]`"),
            );
            return;
        }
        let places: Vec<_> = pairs.iter().map(|word| (word, span(word.start, word.end))).collect();
        let file = self.file;
        let names = self.builder.hosts(group, &name.text, place);
        for (word, place) in places {
            if word.text.starts_with(';') {
                self.builder.fault(
                    Diagnostic::error("not-a-pair", "a comment behind a host starts with `#`, not `;`")
                        .at(place),
                );
                break;
            }
            let Some((key, value)) = word.text.split_once('=') else {
                self.builder.fault(
                    Diagnostic::error(
                        "not-a-pair",
                        format!("`{}` is not of the form `key=value`", word.text),
                    )
                    .at(place)
                    .hint("one host a line; quote a value that holds blanks: key='two words'"),
                );
                continue;
            };
            let raw = line.get(word.start..word.end).unwrap_or("");
            let from = start + word.start + raw.find('=').map_or(0, |at| at + 1);
            let node = literal::value(value, Span::new(file, from, start + word.end));
            for host in &names {
                self.builder.host_var(host, key, node.clone());
            }
        }
    }

    fn var_line(&mut self, group: &str, line: &str, start: usize, span: Span) {
        let Some((key, value)) = line.split_once('=') else {
            self.builder.fault(
                Diagnostic::error("not-a-pair", format!("`{line}` is not of the form `key=value`")).at(span),
            );
            return;
        };
        let from = start + key.len() + 1 + (value.len() - value.trim_start().len());
        let value = value.trim();
        let node = literal::value(value, Span::new(self.file, from, from + value.len()));
        self.vars.push((group.to_owned(), key.trim().to_owned(), node));
    }

    fn finish(self) {
        let unknown = |builder: &mut Builder, name: &str, span: Span| {
            let mut fault =
                Diagnostic::error("unknown-group", format!("there is no group `{name}`")).at(span);
            fault.label = did_you_mean(name, builder.group_names());
            builder.fault(fault.hint(format!("define it with a section `[{name}]`")));
        };
        for (parent, child, span) in self.children {
            if self.builder.has_group(&child) {
                self.builder.child(&parent, &child, span);
            } else {
                unknown(self.builder, &child, span);
            }
        }
        for (group, span) in self.headers {
            if !self.builder.has_group(&group) {
                unknown(self.builder, &group, span);
            }
        }
        for (group, key, value) in self.vars {
            self.builder.group_var(&group, &key, value);
        }
    }
}
