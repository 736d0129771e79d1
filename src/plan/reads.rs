//! What a step reads, and what it brings: the one place that says so.
//!
//! Read from the text alone, through template files and what they take in, lookups, and variables made of variables.
//! Where a name is computed, the answer is "anything". Barriers ask here before the run. The window makes steps ready
//! with a [`Record`](super::Record) of what was really asked for, and asks here what earlier steps still bring.

use super::library::Library;
use super::program::{Layer, Layers, Step, StepCall};
use crate::modules::{Brings, Kind as ParamKind, Spec};
use crate::playbook::{Keywords, Loop};
use crate::template::{Dialect, Templates, Uses};
use crate::yaml::{Kind, Node};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that steps define when they are done. A star stands for any ending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    names: BTreeSet<String>,
}

impl Brought {
    /// What one step defines.
    pub fn by(step: &Step) -> Self {
        let mut brought = Self::default();
        brought.add(step);
        brought
    }

    /// Takes in what another step defines.
    pub fn add(&mut self, step: &Step) {
        self.names.extend(step.keywords.register.iter().map(|name| name.node.clone()));
        let arguments = || step.args.iter().map(|argument| argument.name.node.clone());
        match step.call {
            StepCall::Module(module) => match module.brings() {
                Brings::Nothing => {}
                Brings::Variables => self.names.extend(arguments()),
                Brings::Facts(facts) => {
                    self.names.insert("ansible_facts".to_owned());
                    for fact in facts {
                        self.names.insert((*fact).to_owned());
                        self.names
                            .insert(format!("ansible_{}", fact.strip_prefix("ansible_").unwrap_or(fact)));
                    }
                }
            },
            StepCall::Procedure(procedure) => {
                self.names.extend(procedure.facts().iter().map(|name| (*name).to_owned()));
            }
            StepCall::Include { .. } | StepCall::Meta | StepCall::Unknown => {}
        }
    }

    /// Leaves out facts: what is known of a host when it is connected to.
    pub fn without_facts(mut self) -> Self {
        self.names.retain(|name| !name.starts_with("ansible_"));
        self
    }

    /// Whether a name is among them.
    pub fn has(&self, name: &str) -> bool {
        let fits = |known: &String| known.strip_suffix('*').is_some_and(|start| name.starts_with(start));
        self.names.contains(name) || self.names.iter().any(fits)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, those with a star among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// Reads steps: where their template files are looked for, and variables from outside the play.
pub struct Reader<'a> {
    /// Files.
    pub library: &'a Library,
    /// The template engine.
    pub templates: &'a Templates,
    /// Folder of the site file.
    pub site_dir: &'a str,
    /// Variables of the inventory and the command line, of all hosts that may run the step.
    pub layers: &'a [Arc<Layer>],
}

impl Reader<'_> {
    /// Everything that a step reads, from the moment it is asked for to its notifications.
    pub fn of(&self, step: &Step) -> Uses {
        let mut uses = self.of_conditions(step);
        self.arguments(step, &mut uses);
        self.keywords(step, &mut uses);
        self.close(step, &mut uses);
        uses
    }

    /// What the conditions of a step read.
    pub fn of_conditions(&self, step: &Step) -> Uses {
        let mut uses = Uses::default();
        step.keywords.when.iter().for_each(|node| self.expression(node, &mut uses));
        self.close(step, &mut uses);
        uses
    }

    /// What the arguments of a step and the items of its loop read.
    pub fn of_arguments(&self, step: &Step) -> Uses {
        let mut uses = Uses::default();
        self.arguments(step, &mut uses);
        step.keywords.environment.iter().for_each(|node| self.node(node, &mut uses));
        step.keywords.r#loop.iter().for_each(|repeat| self.node(&repeat.items, &mut uses));
        self.close(step, &mut uses);
        uses
    }

    fn arguments(&self, step: &Step, uses: &mut Uses) {
        for argument in &step.args {
            let kind = spec_of(step).and_then(|spec| spec.param(&argument.name.node)).map(|param| param.kind);
            match kind {
                Some(ParamKind::Conditions | ParamKind::Expression) => {
                    let one = std::slice::from_ref(&argument.value);
                    let all = argument.value.as_seq().unwrap_or(one);
                    all.iter().for_each(|node| self.expression(node, uses));
                }
                Some(ParamKind::LocalTemplate) => {
                    self.node(&argument.value, uses);
                    self.file(step, &argument.value, uses);
                }
                _ => self.node(&argument.value, uses),
            }
        }
    }

    /// The keywords, all of them by name: a new one must say here whether it is rendered.
    fn keywords(&self, step: &Step, uses: &mut Uses) {
        let Keywords {
            when: _,
            tags: _,
            vars: _, // a layer, read where it is used
            r#become,
            become_user,
            environment,
            no_log,
            ignore_errors,
            check_mode,
            run_once,
            delegate_to,
            delegate_facts,
            any_errors_fatal,
            register: _,
            notify,
            listen: _,
            r#loop,
            until,
            retries,
            delay,
            changed_when,
            failed_when,
            timeout,
        } = &step.keywords;
        let single = [
            r#become,
            become_user,
            no_log,
            ignore_errors,
            check_mode,
            run_once,
            delegate_to,
            delegate_facts,
            any_errors_fatal,
            retries,
            delay,
            timeout,
        ];
        let texts = single.into_iter().flatten().chain(environment).chain(notify).chain(&step.name);
        texts.for_each(|node| self.node(node, uses));
        until.iter().chain(changed_when).chain(failed_when).for_each(|node| self.expression(node, uses));
        if let Some(Loop { items, source: _, var: _, index_var: _, label, extended: _ }) = r#loop {
            self.node(items, uses);
            label.iter().for_each(|node| self.node(node, uses));
        }
    }

    fn node(&self, node: &Node, uses: &mut Uses) {
        self.take(self.templates.uses(node), node, uses);
    }

    fn expression(&self, node: &Node, uses: &mut Uses) {
        self.take(self.templates.uses_of_expr(node), node, uses);
    }

    fn take(&self, found: Option<Uses>, node: &Node, uses: &mut Uses) {
        let Some(mut found) = found else {
            uses.anything = true;
            return;
        };
        for name in std::mem::take(&mut found.templates) {
            found.merge(self.templates.uses_of_template(node.span.file, &name));
        }
        uses.merge(found);
    }

    /// The template file that an argument names.
    fn file(&self, step: &Step, name: &Node, uses: &mut Uses) {
        let found = name.as_str().filter(|name| !crate::template::is_template(name)).and_then(|name| {
            let path = self
                .library
                .first(&super::bind::search_path(step, "templates", name, self.site_dir))?
                .clone();
            let (file, text) = self.library.text(&path)?.ok()?;
            let dialect = if path.ends_with(".tera") { Dialect::Tera } else { Dialect::Jinja };
            Some(self.templates.uses_of_file(file, &text, dialect))
        });
        match found {
            Some(found) => uses.merge(found),
            // Its name is computed, or it is not there yet.
            None => uses.anything = true,
        }
    }

    /// Adds what the variables that are read are made of, wherever they are defined.
    fn close(&self, step: &Step, uses: &mut Uses) {
        let mut open: Vec<String> = uses.names.iter().cloned().collect();
        let mut seen: BTreeSet<String> = uses.names.clone();
        while let Some(name) = open.pop() {
            for node in all_layers(&step.layers).chain(self.layers).filter_map(|layer| layer.vars.get(&name))
            {
                self.node(node, uses);
            }
            open.extend(uses.names.iter().filter(|name| seen.insert((*name).clone())).cloned());
        }
    }

    /// Whether what it reads of other hosts may change while a play runs whose steps bring `brought`; `None`: anything.
    pub fn crosses(&self, step: &Step, brought: Option<&Brought>) -> Crossing {
        let uses = self.of(step);
        let whole = CROSS.iter().any(|name| uses.names.contains(*name));
        if uses.anything || whole {
            return Crossing::Changing;
        }
        if uses.of_hosts.is_empty() {
            return Crossing::Nothing;
        }
        let Some(brought) = brought else { return Crossing::Changing };
        // Other hosts' variables may be made of variables too.
        let mut theirs = Uses { names: uses.of_hosts, ..Uses::default() };
        self.close(step, &mut theirs);
        let whole = CROSS.iter().any(|name| theirs.names.contains(*name));
        let changes = theirs.names.iter().chain(&theirs.of_hosts).any(|name| brought.has(name));
        if theirs.anything || whole || changes { Crossing::Changing } else { Crossing::Settled }
    }
}

/// What a step reads of other hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// Nothing, as far as its text tells.
    Nothing,
    /// Only what no step of the play changes.
    Settled,
    /// What a step of the play may change.
    Changing,
}

/// Variables that show other hosts as they are at the moment.
pub(super) const CROSS: &[&str] = &["hostvars", "ansible_play_hosts", "ansible_play_batch", "play_hosts"];

fn all_layers(layers: &Layers) -> impl Iterator<Item = &Arc<Layer>> {
    let Layers { params, tasks, role_vars, play, defaults } = layers;
    params.iter().chain(tasks).chain(role_vars).chain(play).chain(defaults)
}

/// The parameters of what a step calls.
pub(super) fn spec_of(step: &Step) -> Option<&'static Spec> {
    match step.call {
        StepCall::Module(module) => Some(module.spec()),
        StepCall::Procedure(procedure) => Some(procedure.spec()),
        StepCall::Include { .. } | StepCall::Meta | StepCall::Unknown => None,
    }
}

/// Words in a node's texts: all of them in an expression, else only in texts that hold a template.
pub fn words_of(node: &Node, expression: bool, words: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Str(text) if expression || text.contains("{{") || text.contains("{%") => add_words(text, words),
        Kind::Seq(items) => items.iter().for_each(|item| words_of(item, expression, words)),
        Kind::Map(entries) => entries.iter().for_each(|entry| words_of(&entry.value, expression, words)),
        _ => {}
    }
}

/// The identifiers of a text.
pub fn add_words(text: &str, words: &mut BTreeSet<String>) {
    let pieces = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.extend(
        pieces
            .filter(|piece| piece.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
            .map(str::to_owned),
    );
}
