//! What a text would ask for when it is rendered, told from the text alone.

use super::compile;
use super::engine::{Templates, compile_condition};
use super::file::{self, Dialect};
use super::syntax::Reading;
use crate::diag::FileId;
use crate::yaml::{Kind, Node};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a text would ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Variables. `hostvars` is among them unless all that is asked of it is in `of_hosts`.
    pub names: BTreeSet<String>,
    /// Variables of other hosts: `x` of `hostvars[name].x`.
    pub of_hosts: BTreeSet<String>,
    /// Templates asked for by `lookup('template', name)`.
    pub templates: Vec<String>,
    /// Whether a variable's or a template's name is computed: it may be any.
    pub anything: bool,
}

impl Uses {
    /// Takes in what another text asks for.
    pub fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
        self.of_hosts.extend(other.of_hosts);
        self.templates.extend(other.templates);
        self.anything |= other.anything;
    }

    /// What cannot be told asks for anything.
    fn anything() -> Self {
        Self { anything: true, ..Self::default() }
    }

    fn of(reading: &Reading) -> Self {
        let settled = |root: &&super::syntax::Root| !reading.reach.settled.contains(&root.range.start);
        let roots = reading.roots.iter().filter(settled).map(|root| root.name.clone());
        Self {
            names: roots.chain(reading.reach.named.iter().cloned()).collect(),
            of_hosts: reading.reach.of_hosts.clone(),
            templates: reading.reach.templates.clone(),
            anything: reading.reach.computed,
        }
    }
}

impl Templates {
    /// What the templates of a tree ask for; nothing when one cannot be read.
    pub fn uses(&self, node: &Node) -> Option<Uses> {
        let mut uses = Uses::default();
        self.add_uses(node, &mut uses).then_some(uses)
    }

    /// The same for a bare expression, as in `when:`.
    pub fn uses_of_expr(&self, node: &Node) -> Option<Uses> {
        match &node.kind {
            Kind::Str(text) if !text.trim().is_empty() => {
                compile_condition(text).ok().map(|compiled| Uses::of(&compiled.reading))
            }
            Kind::Seq(items) => {
                let mut uses = Uses::default();
                items.iter().try_for_each(|item| self.uses_of_expr(item).map(|found| uses.merge(found)))?;
                Some(uses)
            }
            _ => self.uses(node),
        }
    }

    /// What a template file and the files that it includes, imports or extends ask for.
    pub fn uses_of_file(&self, file: FileId, text: &str, dialect: Dialect) -> Uses {
        self.file_uses(file, text, dialect, &mut Vec::new())
    }

    /// The same by the name that a text in `from` calls the file.
    pub fn uses_of_template(&self, from: FileId, name: &str) -> Uses {
        self.template_uses(from, name, Dialect::of(name), &mut Vec::new())
    }

    fn add_uses(&self, node: &Node, uses: &mut Uses) -> bool {
        match &node.kind {
            Kind::Str(text) if compile::is_template(text) => match compile::text(text) {
                Ok(compiled) => {
                    uses.merge(Uses::of(&compiled.reading));
                    true
                }
                Err(_) => false,
            },
            Kind::Seq(items) => items.iter().all(|item| self.add_uses(item, uses)),
            Kind::Map(entries) => entries
                .iter()
                .all(|entry| self.add_uses(&entry.key, uses) && self.add_uses(&entry.value, uses)),
            _ => true,
        }
    }

    fn file_uses(&self, file: FileId, text: &str, dialect: Dialect, open: &mut Vec<FileId>) -> Uses {
        if open.contains(&file) {
            return Uses::default();
        }
        open.push(file);
        let (mut uses, includes) = match dialect {
            Dialect::Jinja => match file::reading(file, Arc::from(text)) {
                Some(reading) => {
                    (Uses::of(&reading), reading.includes.into_iter().map(|(name, _)| name).collect())
                }
                None => (Uses::anything(), Vec::new()),
            },
            Dialect::Tera => super::tera::uses(file, text),
        };
        for name in includes {
            uses.merge(self.template_uses(file, &name, dialect, open));
        }
        for name in std::mem::take(&mut uses.templates) {
            uses.merge(self.template_uses(file, &name, Dialect::of(&name), open));
        }
        uses
    }

    fn template_uses(&self, from: FileId, name: &str, dialect: Dialect, open: &mut Vec<FileId>) -> Uses {
        match self.world.lookups.template(from, name) {
            Ok(found) => self.file_uses(found.file, &found.text, dialect, open),
            // It may be there when the text is rendered.
            Err(_) => Uses::anything(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{SourceMap, Span};
    use crate::shell::Masker;
    use crate::template::NoLookups;

    /// Names; `*` and those of other hosts; `?` for anything.
    fn shown(text: &str, expression: bool) -> String {
        let file = SourceMap::new().add("x", text);
        let node = Node::new(Kind::Str(text.to_owned()), Span::new(file, 0, text.len()));
        let templates = Templates::new(Masker::new(), Arc::new(NoLookups));
        let uses = if expression { templates.uses_of_expr(&node) } else { templates.uses(&node) };
        let uses = uses.expect("it can be read");
        let mut words: Vec<String> = uses.names.into_iter().collect();
        words.extend(uses.of_hosts.into_iter().map(|name| format!("*{name}")));
        words.extend(uses.templates);
        words.extend(uses.anything.then(|| "?".to_owned()));
        words.join(" ")
    }

    #[test]
    fn names_are_told_where_they_are_constant() {
        for (text, wanted) in [
            ("{{ a.b | default(c) }}", "a c"),
            ("{% for x in list %}{{ x }}{% endfor %}", "list"),
            ("{{ vars.a ~ vars['b'] }}", "a b"),
            ("{{ vars[a] }}", "a ?"),
            ("{{ vars | length }}", "?"),
            ("{{ lookup('vars', 'a', 'b', default=c) }}", "a b c"),
            ("{{ lookup('vars', 'a' ~ b) }}", "b ?"),
            ("{{ lookup(plugin, 'a') }}", "plugin ?"),
            ("{{ query('ansible.builtin.varnames', '^a') }}", "?"),
            ("{{ lookup('template', 'a.j2') }}", "a.j2"),
            ("{{ lookup('template', a) }}", "a ?"),
            ("{{ lookup('file', a) }}", "a"),
            ("{{ hostvars[a].b.c }}", "a *b"),
            ("{{ hostvars['h']['b'] }}", "*b"),
            ("{{ hostvars[a][b] }}", "a b hostvars"),
            ("{{ hostvars[a].b ~ hostvars }}", "a hostvars *b"),
            ("{{ hosts | map('extract', hostvars, 'a') | list }}", "hosts *a"),
            ("{{ hosts | map('extract', hostvars, ['a', 'b']) | list }}", "hosts *a"),
            ("{{ hosts | map('extract', hostvars, a) | list }}", "a hosts hostvars"),
            ("{{ h | extract(hostvars, 'a') }}", "h *a"),
            ("{% include 'x' %}{{ a }}", "a"),
            ("{% include x %}", "x ?"),
        ] {
            assert_eq!(shown(text, false), wanted, "{text}");
        }
        assert_eq!(shown("a is defined and hostvars[b].c", true), "a b *c");
    }
}
