//! Which names a text mentions, and what a step has to wait for because of them.
//!
//! Words are read without parsing the expression: a word too many costs a round trip, never a wrong result.

use super::program::{Barrier, Layers, Step, StepCall};
use crate::modules::{Kind as ParamKind, Spec};
use crate::yaml::{Kind, Node};
use std::collections::BTreeSet;

/// What a step has to wait for.
pub(super) fn of(step: &Step) -> Barrier {
    let keywords = &step.keywords;
    if matches!(step.call, StepCall::Procedure(_)) {
        return Barrier::Procedure;
    }
    if keywords.run_once.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false))) {
        return Barrier::Once;
    }
    if keywords.delegate_to.is_some() {
        return Barrier::Delegate;
    }
    let mut words = mentions(step);
    close_over(&mut words, &step.layers);
    let of_all = ["hostvars", "ansible_play_hosts", "ansible_play_batch"];
    if of_all.iter().any(|name| words.contains(*name)) { Barrier::Sync } else { Barrier::None }
}

/// Every word in the templates and conditions of a step's arguments and keywords.
pub fn mentions(step: &Step) -> BTreeSet<String> {
    let mut words = argument_mentions(step);
    words.extend(condition_mentions(step));
    let keywords = &step.keywords;
    for condition in keywords.until.iter().chain(&keywords.changed_when).chain(&keywords.failed_when) {
        words_of(condition, true, &mut words);
    }
    words
}

/// Words in the conditions alone.
pub fn condition_mentions(step: &Step) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    step.keywords.when.iter().for_each(|condition| words_of(condition, true, &mut words));
    words
}

/// Words in the arguments and in the keywords that are rendered before a step is asked.
pub fn argument_mentions(step: &Step) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut whole = |node: &Node, expression: bool| words_of(node, expression, &mut words);
    for argument in &step.args {
        let kind = spec_of(step).and_then(|spec| spec.param(&argument.name.node)).map(|param| &param.kind);
        let expression = matches!(kind, Some(ParamKind::Conditions | ParamKind::Expression));
        whole(&argument.value, expression);
    }
    let keywords = &step.keywords;
    let nodes = [
        &keywords.r#become,
        &keywords.become_user,
        &keywords.no_log,
        &keywords.check_mode,
        &keywords.delegate_to,
        &keywords.timeout,
    ];
    nodes.into_iter().flatten().for_each(|node| whole(node, false));
    keywords.environment.iter().for_each(|node| whole(node, false));
    if let Some(repeat) = &keywords.r#loop {
        whole(&repeat.items, false);
    }
    words
}

/// The parameters of what a step calls.
fn spec_of(step: &Step) -> Option<&'static Spec> {
    match step.call {
        StepCall::Module(module) => Some(module.spec()),
        StepCall::Procedure(procedure) => Some(procedure.spec()),
        StepCall::Include { .. } | StepCall::Meta => None,
    }
}

/// Adds the words of every variable that is mentioned, as far as play and roles define it.
pub fn close_over(words: &mut BTreeSet<String>, layers: &Layers) {
    let all = || {
        layers
            .params
            .iter()
            .chain(&layers.tasks)
            .chain(&layers.role_vars)
            .chain(&layers.play)
            .chain(&layers.defaults)
    };
    let mut open: Vec<String> = words.iter().cloned().collect();
    while let Some(word) = open.pop() {
        let mut found = BTreeSet::new();
        for node in all().filter_map(|layer| layer.vars.get(&word)) {
            words_of(node, false, &mut found);
        }
        open.extend(found.iter().filter(|word| !words.contains(*word)).cloned());
        words.append(&mut found);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_and_numbers_are_not() {
        let mut words = BTreeSet::new();
        add_words("{{ hostvars[groups['pg'][0]].x_1 | default(12) }}", &mut words);
        let listed: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(listed, ["default", "groups", "hostvars", "pg", "x_1"]);
    }
}
