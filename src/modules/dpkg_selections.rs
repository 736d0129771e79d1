//! Whether dpkg may change a package: `hold` keeps its version, `install` lets it go again.
//!
//! `apt` with `state: latest` and `upgrade` leaves packages on hold alone.
//!
//! EXAMPLES
//! - name: The server is upgraded by us alone
//!   dpkg_selections: {name: postgresql-15, selection: hold}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Run, quote};

/// The module `dpkg_selections`.
pub struct DpkgSelections;

/// A package and its selection.
#[derive(Debug)]
pub struct Params {
    name: String,
    selection: String,
}

impl Module for DpkgSelections {
    type Params = Params;
    type State = Option<String>;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "dpkg_selections",
        aliases: &[],
        summary: "Packages on hold",
        source: include_str!("dpkg_selections.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The package").required(),
            Param::new(
                "selection",
                Kind::Choice(&["install", "hold", "deinstall", "purge"]),
                "What dpkg shall do with it",
            )
            .required(),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-.:".contains(c);
        if name.is_empty() || !name.chars().all(plain) || name.starts_with('-') {
            return Err(Fault::param("name", format!("`{name}` is no name of a package")));
        }
        Ok(Params { name, selection: args.required("selection") })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![selections(&params.name)]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Option<String>, Fault> {
        let text = answers.output(&selections(&params.name))?.text();
        Ok(text.lines().find_map(|line| line.split_whitespace().nth(1).map(str::to_owned)))
    }

    fn diff(params: &Params, found: &Option<String>) -> Result<Verdict<()>, Fault> {
        match found {
            Some(selection) if *selection == params.selection => Ok(Verdict::InState(selection.clone())),
            Some(_) => Ok(Verdict::Act(())),
            None => Err(Fault::param("name", format!("dpkg knows no package `{}`", params.name))
                .healed_by(&["apt"])
                .hint("install it first, with `apt`")),
        }
    }

    fn show(params: &Params, found: &Option<String>, _diff: &()) -> Vec<Change> {
        vec![Change::field(&*params.name, found.clone().unwrap_or_default(), &*params.selection)]
    }

    fn actions(params: &Params, _found: &Option<String>, _diff: &()) -> Vec<Action> {
        let line = format!("{} {}\n", params.name, params.selection);
        vec![Action::Run(Run::new("dpkg --set-selections").stdin(line))]
    }
}

fn selections(name: &str) -> Ask {
    Ask::sh(format!("dpkg --get-selections {} 2>/dev/null\n:", quote(name)))
}
