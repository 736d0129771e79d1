//! A site file and the playbooks it imports, as plans.

use super::compile::{Compiler, PlayPlan, folder, join};
use super::library::Library;
use super::select::Tags;
use crate::diag::{Diagnostic, Span};
use crate::playbook::{PlaybookEntry, decode_playbook};

/// Compiles the site at `path`. Everything found wrong lands in `diags`; what could be read is returned.
pub fn load_site(library: &Library, path: &str, tags: &Tags, diags: &mut Vec<Diagnostic>) -> Vec<PlayPlan> {
    let mut plays = Vec::new();
    load(library, path, None, tags, &mut Vec::new(), &mut plays, diags);
    plays
}

fn load(
    library: &Library,
    path: &str,
    called: Option<Span>,
    tags: &Tags,
    open: &mut Vec<String>,
    plays: &mut Vec<PlayPlan>,
    diags: &mut Vec<Diagnostic>,
) {
    let at = |diagnostic: Diagnostic| match called {
        Some(span) => diagnostic.at(span),
        None => diagnostic,
    };
    if open.iter().any(|outer| outer == path) {
        let way = open.iter().map(|outer| format!("`{outer}`")).collect::<Vec<_>>().join(" -> ");
        let message = format!("playbook `{path}` imports itself");
        return diags.push(at(
            Diagnostic::error("import-cycle", message).note(format!("the circle is {way} -> `{path}`"))
        ));
    }
    let node = match library.yaml(path) {
        None => {
            let message = match library.sources().is_dir(path) {
                true => format!("`{path}` is a folder, not a playbook"),
                false => format!("there is no playbook `{path}`"),
            };
            let mut diagnostic = at(Diagnostic::error("missing-file", message));
            match library.near(path) {
                Some(near) if called.is_some() => diagnostic.label = Some(near),
                near => diagnostic.hints.extend(near),
            }
            return diags.push(diagnostic);
        }
        Some(Err(found)) => return diags.extend(found),
        Some(Ok(node)) => node,
    };
    open.push(path.to_owned());
    let playbook = decode_playbook(&node, diags);
    for entry in &playbook.entries {
        match entry {
            PlaybookEntry::Import(file) => {
                let path = join(&folder(path), &file.node);
                load(library, &path, Some(file.span), tags, open, plays, diags);
            }
            PlaybookEntry::Play(play) => {
                let first = plays.last().map_or(0, |plan: &PlayPlan| plan.steps);
                let compiler = Compiler::new(library, &folder(path), tags, first);
                plays.push(compiler.play(play));
                diags.extend(compiler.into_diagnostics());
            }
        }
    }
    open.pop();
}
