//! `ishprov doc`: the reference text of the modules, made from the modules themselves.

use super::exit;
use crate::cluster::PROCEDURES;
use crate::console::Screen;
use crate::diag::did_you_mean;
use crate::modules::{MODULES, Spec};

/// Shows one module, or lists all; the exit code.
pub fn doc(module: Option<&str>) -> i32 {
    let screen = Screen::new(false, 0, false);
    let Some(name) = module else {
        for spec in specs() {
            screen.line(&format!("{:<24} {}", spec.name, spec.summary));
        }
        return exit::OK;
    };
    let short = name.rsplit('.').next().unwrap_or(name);
    match specs().into_iter().find(|spec| spec.name == short || spec.aliases.contains(&short)) {
        Some(spec) => {
            screen.line(&reference(spec));
            exit::OK
        }
        None => {
            let near = did_you_mean(short, specs().into_iter().map(|spec| spec.name)).unwrap_or_default();
            screen.aside(&format!("error: there is no module `{name}`  {near}"));
            screen.aside("`ishprov doc` lists the modules there are");
            exit::ERROR
        }
    }
}

fn specs() -> Vec<&'static Spec> {
    let mut specs: Vec<&'static Spec> = MODULES.iter().map(|module| module.spec()).collect();
    specs.extend(PROCEDURES.iter().map(|procedure| procedure.spec()));
    specs.sort_by_key(|spec| spec.name);
    specs
}

/// The reference text of one module.
fn reference(spec: &Spec) -> String {
    let mut text = format!("{} - {}\n", spec.name, spec.summary);
    if !spec.aliases.is_empty() {
        text += &format!("Also called: {}\n", spec.aliases.join(", "));
    }
    text += &format!("\n{}\n\nPARAMETERS\n", spec.doc().trim_end());
    for param in spec.params {
        let need = if param.required { " (required)" } else { "" };
        let default = param.default.map(|default| format!(", default {default}")).unwrap_or_default();
        let aliases =
            if param.aliases.is_empty() { String::new() } else { format!(" [{}]", param.aliases.join(", ")) };
        text += &format!("  {}{aliases}{need}: {}{default}\n      {}\n", param.name, param.kind, param.doc);
    }
    text.trim_end().to_owned()
}
