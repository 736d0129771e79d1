//! What a step has to wait for.

use super::compile::{Handler, PlayPlan};
use super::program::{Barrier, Layers, Op, Program, Step, StepCall};
use super::reads::{Brought, CROSS, Crossing, Reader, spec_of, words_of};
use crate::modules::Kind as ParamKind;
use crate::yaml::{Kind, Node};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a step has to wait for, as far as its own words tell; [`arrange`] looks further.
pub(super) fn of(step: &Step) -> Barrier {
    if let Some(barrier) = by_keyword(step) {
        return barrier;
    }
    let mut words = mentions(step);
    close_over(&mut words, &step.layers);
    if CROSS.iter().any(|name| words.contains(*name)) { Barrier::Sync } else { Barrier::None }
}

/// Barriers that do not depend on what is read. What an include brings waits by itself.
fn by_keyword(step: &Step) -> Option<Barrier> {
    let keywords = &step.keywords;
    match step.call {
        StepCall::Procedure(_) => return Some(Barrier::Procedure),
        StepCall::Include { .. } | StepCall::Meta | StepCall::Unknown => return None,
        StepCall::Module(_) => {}
    }
    if keywords.run_once.as_ref().is_some_and(|node| !matches!(node.kind, Kind::Bool(false))) {
        return Some(Barrier::Once);
    }
    keywords.delegate_to.as_ref().map(|_| Barrier::Delegate)
}

/// Settles for every step of a play whether hosts wait for each other there, from all that it reads.
pub fn arrange(plan: &mut PlayPlan, reader: &Reader<'_>) {
    let handlers = plan.handlers.iter().flat_map(|handler| handler.program.ops.iter());
    let all = plan.program.ops.iter().chain(handlers);
    let mut brought = Some(Brought::default());
    for op in all {
        match (op, &mut brought) {
            // What it takes in is not known yet.
            (Op::Include(_), brought) => *brought = None,
            (Op::Step(step), Some(brought)) => brought.add(step),
            _ => {}
        }
    }
    if let Some(program) = Arc::get_mut(&mut plan.program) {
        arrange_program(program, reader, brought.as_ref());
    }
    let programs = plan.handlers.iter_mut().filter_map(Arc::get_mut);
    for Handler { program, .. } in programs {
        if let Some(program) = Arc::get_mut(program) {
            arrange_program(program, reader, brought.as_ref());
        }
    }
}

/// The same for tasks that are taken in at run time; `brought` is what the play brings, when all of it is known.
pub fn arrange_program(program: &mut Program, reader: &Reader<'_>, brought: Option<&Brought>) {
    for op in &mut program.ops {
        let (Op::Step(step) | Op::Guard { step, .. } | Op::Include(step) | Op::Meta { step, .. }) = op else {
            continue;
        };
        let Some(step) = Arc::get_mut(step).filter(|step| by_keyword(step).is_none()) else { continue };
        step.crossing = reader.crosses(step, brought);
        // A step that names other hosts in its own words stays where hosts wait for each other, even when what it reads
        // of them never changes: it may well need what they have done.
        if step.crossing == Crossing::Changing {
            step.barrier = Barrier::Sync;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::super::reads::add_words;
    use super::*;

    #[test]
    fn identifiers_are_read_and_numbers_are_not() {
        let mut words = BTreeSet::new();
        add_words("{{ hostvars[groups['pg'][0]].x_1 | default(12) }}", &mut words);
        let listed: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(listed, ["default", "groups", "hostvars", "pg", "x_1"]);
    }
}
