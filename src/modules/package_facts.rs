//! Which packages are installed, as the fact `packages`.
//!
//! `ansible_facts.packages` maps each name to a list of what is installed of it: `name`, `version`, `arch`, `source`.
//!
//! EXAMPLES
//! - name: What is there
//!   package_facts:
//! - name: Only where it is installed
//!   debug: {msg: "PostgreSQL {{ ansible_facts.packages['postgresql-15'][0].version }}"}
//!   when: "'postgresql-15' in ansible_facts.packages"

use super::{Args, Brings, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `package_facts`.
pub struct PackageFacts;

impl Module for PackageFacts {
    type Params = ();
    type State = Map<String, Value>;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "package_facts",
        aliases: &[],
        summary: "Which packages are installed",
        source: include_str!("package_facts.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("manager", Kind::List, "Taken without effect: it is dpkg").default("auto"),
            Param::new("strategy", Kind::Choice(&["first", "all"]), "Taken without effect").default("first"),
        ],
    };

    const BRINGS: Brings = Brings::Facts(&["packages"]);

    fn decode(_args: &Args) -> Result<(), Fault> {
        Ok(())
    }

    fn probe((): &()) -> Vec<Ask> {
        vec![Ask::sh(LIST)]
    }

    fn state((): &(), answers: &Answers) -> Result<Map<String, Value>, Fault> {
        let output = answers.output(&Ask::sh(LIST))?;
        if !output.success() {
            return Err(Fault::task("dpkg does not say what is installed")
                .note(output.error_text().trim().to_owned()));
        }
        let mut packages = Map::new();
        for line in output.text().lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [status, name, version, arch, source] = fields[..] else { continue };
            if !status.ends_with("installed") || status.ends_with("not-installed") {
                continue;
            }
            let one = json!({"name": name, "version": version, "arch": arch, "source": "apt", "source_package": source});
            match packages.entry(name).or_insert_with(|| json!([])) {
                Value::Array(list) => list.push(one),
                other => *other = json!([one]),
            }
        }
        Ok(packages)
    }

    fn diff((): &(), found: &Map<String, Value>) -> Result<Verdict<()>, Fault> {
        Ok(Verdict::InState(format!("{} packages", found.len())))
    }

    fn show((): &(), _found: &Map<String, Value>, _diff: &()) -> Vec<Change> {
        Vec::new()
    }

    fn actions((): &(), _found: &Map<String, Value>, _diff: &()) -> Vec<Action> {
        Vec::new()
    }

    fn result((): &(), found: &Map<String, Value>, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("ansible_facts".to_owned(), json!({"packages": found}))])
    }
}

const LIST: &str = "dpkg-query -W -f '${Status}|${Package}|${Version}|${Architecture}|${source:Package}\\n'";
