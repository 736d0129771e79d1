//! Includes that are known only at run time.

use super::fatal::has_fatal_steps;
use super::host::Host;
use super::play::program_wants_root;
use super::shared::Shared;
use crate::diag::Diagnostic;
use crate::plan::{Compiler, HostScope, Layer, Reader, Step, arrange_program, framed, search_path};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The variables of the file that an `include_vars` names.
pub(super) fn vars(shared: &Shared, step: &Step, scope: &HostScope) -> Result<Arc<Layer>, Diagnostic> {
    let (name, span) = target(shared, step, scope)?;
    let paths = search_path(step, "vars", &name, &shared.site_dir);
    let Some(path) = shared.library.first(&paths) else {
        let diagnostic =
            Diagnostic::error("missing-file", format!("there is no file of variables `{name}`")).at(span);
        return Err(framed(step, diagnostic.hint(format!("looked for {}", paths.join(", ")))));
    };
    match shared.library.yaml(path) {
        Some(Ok(node)) => match (node.as_map(), node.is_null()) {
            (Some(entries), _) => Ok(Layer::of(entries)),
            (None, true) => Ok(Arc::default()),
            (None, false) => {
                let message =
                    format!("a file of variables is a mapping, and `{path}` is {}", node.describe());
                Err(Diagnostic::error("wrong-type", message).at(node.span))
            }
        },
        Some(Err(found)) => Err(found
            .into_iter()
            .next()
            .unwrap_or_else(|| Diagnostic::error("missing-file", "nothing was read").at(span))),
        None => Err(Diagnostic::error("missing-file", format!("there is no file `{path}`")).at(span)),
    }
}

fn target(
    shared: &Shared,
    step: &Step,
    scope: &HostScope,
) -> Result<(String, crate::diag::Span), Diagnostic> {
    let Some(argument) = step.arg("name") else {
        return Err(Diagnostic::error("missing-key", "this include names nothing").at(step.span));
    };
    match shared
        .templates
        .render_value(&argument.value, &scope.shared())
        .map_err(|diagnostic| framed(step, diagnostic))?
    {
        Value::String(name) => Ok((name, argument.value.span)),
        _ => Err(framed(
            step,
            Diagnostic::error("wrong-type", "an include's name is a text").at(argument.value.span),
        )),
    }
}

impl Host {
    /// Compiles a run-time include for this host and goes on in it, once per item.
    pub(super) fn take_in(&mut self, shared: &Shared, step: &Arc<Step>) {
        if let Err(diagnostics) = self.try_take_in(shared, step) {
            let first = diagnostics.into_iter().next();
            let diagnostic = first.unwrap_or_else(|| {
                Diagnostic::error("internal", "an include failed without a reason").at(step.span)
            });
            self.fail_step(shared, step, framed(step, diagnostic));
        }
    }

    fn try_take_in(&mut self, shared: &Shared, step: &Arc<Step>) -> Result<(), Vec<Diagnostic>> {
        let one = |diagnostic| vec![diagnostic];
        let scope = self.scope_of(step, &self.cursor);
        let repeated = step.keywords.r#loop.is_some();
        if !repeated && !self.conditions(shared, step, &scope).map_err(one)? {
            self.cursor.advance();
            self.stats.count(super::event::Status::Skipped);
            return Ok(());
        }
        let mut programs = Vec::new();
        for (turn, scope) in self.turns_of(shared, step).map_err(one)?.into_iter().enumerate() {
            if repeated && !self.conditions(shared, step, &scope).map_err(one)? {
                continue;
            }
            let (name, _) = target(shared, step, &scope).map_err(one)?;
            let compiler =
                Compiler::new(&shared.library, &shared.site_dir, &shared.options.tags, shared.next_ids());
            let mut program = compiler.include(step, &name);
            let reader = Reader {
                library: &shared.library,
                templates: &shared.templates,
                site_dir: &shared.site_dir,
                layers: &self.scope.inventory,
            };
            arrange_program(&mut program, &reader, None);
            shared.take_ids(compiler.next_id());
            shared.add_handlers(compiler.take_handlers());
            let diagnostics = compiler.into_diagnostics();
            if !diagnostics.is_empty() {
                return Err(diagnostics);
            }
            if has_fatal_steps(&program) {
                shared.in_step.store(true, Ordering::SeqCst);
            }
            self.wants_rise |= program_wants_root(&program);
            let loop_vars = scope.loop_vars;
            programs.push((Arc::new(program), turn, loop_vars));
        }
        self.cursor.advance();
        for (program, turn, loop_vars) in programs.into_iter().rev() {
            self.cursor.call(program, turn, Some(loop_vars));
        }
        Ok(())
    }
}
