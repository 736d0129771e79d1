//! Which hosts a pattern means: `all`, names, groups, `web*`, `~regex`, `a:b`, `a,b`, `!x`, `&y`, `group[0]`,
//! `group[1:3]`, `@file`.

use super::Inventory;
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use indexmap::IndexSet;
use regex::Regex;
use std::collections::BTreeMap;

/// The files that `@file` terms of patterns name; the caller reads them and passes their texts to
/// [`Inventory::select`].
pub fn list_files(patterns: &[Spanned<String>]) -> Vec<String> {
    let terms = patterns.iter().flat_map(|pattern| split(&pattern.node));
    terms
        .filter_map(|term| term.trim_start_matches(['!', '&']).trim().strip_prefix('@').map(str::to_owned))
        .collect()
}

impl Inventory {
    /// The hosts that patterns mean together, in the order in which the patterns name them.
    ///
    /// First what is named is joined, then every `&` keeps what both have, then every `!` takes away, whatever the
    /// order written. Patterns that only keep or take away start from all hosts. `lists` holds the texts of
    /// [`list_files`] by path.
    ///
    /// # Errors
    /// A name that is no host and no group, with the nearest name; a bad regular expression; an index that is not
    /// there. Globs and regular expressions may match nothing.
    pub fn select(
        &self,
        patterns: &[Spanned<String>],
        lists: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let (mut named, mut kept, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in patterns {
            for term in split(&pattern.node) {
                let (set, term) = match term.as_bytes().first() {
                    Some(b'!') => (&mut taken, &term[1..]),
                    Some(b'&') => (&mut kept, &term[1..]),
                    _ => (&mut named, term.as_str()),
                };
                match self.term(term.trim(), pattern.span, lists) {
                    Ok(hosts) => set.push(hosts),
                    Err(fault) => faults.push(*fault),
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if named.is_empty() && !(kept.is_empty() && taken.is_empty()) {
            named.push(self.hosts.keys().cloned().collect());
        }
        let mut hosts: IndexSet<String> = named.into_iter().flatten().collect();
        for set in kept {
            hosts.retain(|host| set.contains(host));
        }
        for set in taken {
            hosts.retain(|host| !set.contains(host));
        }
        Ok(hosts.into_iter().collect())
    }

    /// Those of `hosts` that a `--limit` keeps, in their order.
    ///
    /// # Errors
    /// As [`Inventory::select`].
    pub fn limit(
        &self,
        hosts: Vec<String>,
        limit: &[Spanned<String>],
        lists: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, Vec<Diagnostic>> {
        let kept = self.select(limit, lists)?;
        Ok(hosts.into_iter().filter(|host| kept.contains(host)).collect())
    }

    fn term(
        &self,
        term: &str,
        span: Span,
        lists: &BTreeMap<String, String>,
    ) -> Result<IndexSet<String>, Box<Diagnostic>> {
        if let Some(path) = term.strip_prefix('@') {
            let Some(text) = lists.get(path) else {
                let message = format!("the host list `{path}` was not read");
                return Err(Box::new(Diagnostic::error("unreadable-list", message).at(span)));
            };
            let names = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            return names
                .map(|name| self.name(name, span))
                .collect::<Result<Vec<_>, _>>()
                .map(|sets| sets.into_iter().flatten().collect());
        }
        if let Some(source) = term.strip_prefix('~') {
            let regex = Regex::new(&format!("^(?:{source})")).map_err(|error| {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
                let message = format!("`{source}` is no regular expression: {why}");
                Box::new(Diagnostic::error("bad-pattern", message).at(span))
            })?;
            return Ok(self.matching(&|name| regex.is_match(name)));
        }
        let (base, slice) = subscript(term);
        let hosts = if base.contains(['*', '?', '[']) {
            let glob = glob(base);
            self.matching(&|name| glob.as_ref().is_some_and(|glob| glob.is_match(name)))
        } else {
            self.name(base, span)?
        };
        let Some(slice) = slice else { return Ok(hosts) };
        slice.of(hosts).ok_or_else(|| {
            let count = self.members(base).len();
            let message = format!("`{term}` is past the end: `{base}` has {}", plural(count, "host"));
            let fault = Diagnostic::error("bad-pattern", message).at(span);
            Box::new(fault.hint("indexes count from 0, and from -1 backwards"))
        })
    }

    /// The hosts of a group, or the host of that name.
    fn name(&self, name: &str, span: Span) -> Result<IndexSet<String>, Box<Diagnostic>> {
        if self.groups.contains_key(name) {
            return Ok(self.members(name).into_iter().map(str::to_owned).collect());
        }
        if let Some(host) = self.host(name) {
            return Ok(IndexSet::from([host.name.clone()]));
        }
        let known = self.hosts.keys().chain(self.groups.keys()).map(String::as_str);
        let mut fault =
            Diagnostic::error("unknown-host-pattern", format!("no host and no group is named `{name}`"))
                .at(span);
        match nearest(name, known) {
            Some(near) => fault.label = Some(format!("did you mean `{near}`?")),
            None => {
                let groups: Vec<&str> =
                    self.groups.keys().map(String::as_str).filter(|name| *name != "ungrouped").collect();
                let shown =
                    groups.iter().take(12).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                fault
                    .notes
                    .push(format!("{} in the inventory; groups: {shown}", plural(self.hosts.len(), "host")));
            }
        }
        Err(Box::new(fault))
    }

    /// Members of all groups, then all hosts, whose names match.
    fn matching(&self, matches: &dyn Fn(&str) -> bool) -> IndexSet<String> {
        let groups = self.groups.keys().filter(|name| matches(name));
        let mut found: IndexSet<String> =
            groups.flat_map(|name| self.members(name)).map(str::to_owned).collect();
        found.extend(self.hosts.keys().filter(|name| matches(name)).cloned());
        found
    }
}

/// Whether a name means the control machine even where no source names it.
pub(super) fn is_localhost(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

/// The terms of a pattern: at commas where there are any, else at colons; not inside brackets.
fn split(pattern: &str) -> Vec<String> {
    let separator = if pattern.contains(',') { ',' } else { ':' };
    let pattern = pattern.trim();
    if pattern.parse::<std::net::Ipv6Addr>().is_ok() {
        return vec![pattern.to_owned()];
    }
    let mut terms = vec![String::new()];
    let mut open = 0_usize;
    for c in pattern.chars() {
        match c {
            '[' | '(' | '{' => open += 1,
            ']' | ')' | '}' => open = open.saturating_sub(1),
            _ if c == separator && open == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms.iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}

/// Part of a list of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slice {
    /// `[0]`, `[-1]`.
    One(i64),
    /// `[1:3]`, `[1-3]`, `[1:]`: both ends included.
    Range(usize, Option<usize>),
}

impl Slice {
    /// `None` when a single index is not there; a range may be empty only where the list is.
    fn of(self, hosts: IndexSet<String>) -> Option<IndexSet<String>> {
        match self {
            Self::One(index) => {
                let at = if index < 0 {
                    hosts.len().checked_sub(index.unsigned_abs() as usize)?
                } else {
                    index as usize
                };
                hosts.get_index(at).map(|host| IndexSet::from([host.clone()]))
            }
            Self::Range(first, last) => {
                let count = last.map_or(usize::MAX, |last| (last + 1).saturating_sub(first));
                (first < hosts.len() || hosts.is_empty())
                    .then(|| hosts.into_iter().skip(first).take(count).collect())
            }
        }
    }
}

fn subscript(term: &str) -> (&str, Option<Slice>) {
    let slice = || {
        let (base, inside) = term.strip_suffix(']')?.rsplit_once('[')?;
        if base.is_empty() {
            return None;
        }
        if let Ok(index) = inside.parse::<i64>() {
            return Some((base, Slice::One(index)));
        }
        let (first, last) = inside.split_once([':', '-'])?;
        let first = first.parse::<u32>().ok()? as usize;
        let last = if last.is_empty() { None } else { Some(last.parse::<u32>().ok()? as usize) };
        Some((base, Slice::Range(first, last)))
    };
    slice().map_or((term, None), |(base, slice)| (base, Some(slice)))
}

/// A shell glob as a regular expression over the whole name.
fn glob(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let mut class = String::new();
                let mut closed = false;
                for inner in chars.by_ref() {
                    if inner == ']' {
                        closed = true;
                        break;
                    }
                    match inner {
                        '!' if class.is_empty() => class.push('^'),
                        '\\' | '[' | '&' | '~' => class.extend(['\\', inner]),
                        _ => class.push(inner),
                    }
                }
                if !closed || class.is_empty() {
                    return None;
                }
                regex.push_str(&format!("[{class}]"));
            }
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    Regex::new(&regex).ok()
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
