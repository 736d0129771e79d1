//! Which services there are, as the fact `services`.
//!
//! `ansible_facts.services` maps each unit (`nginx.service`) to its `name`, `state` (`running`, `stopped`, `failed`,
//! `inactive`), `status` (`enabled`, `disabled`, `static`, `masked`, ...) and `source`.
//!
//! EXAMPLES
//! - name: What is there
//!   service_facts:
//! - name: Only where it runs
//!   debug: {msg: "apparmor runs"}
//!   when: ansible_facts.services['apparmor.service'].state | default('') == 'running'

use super::{Args, Brings, Change, Module, Nature, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `service_facts`.
pub struct ServiceFacts;

impl Module for ServiceFacts {
    type Params = ();
    type State = Map<String, Value>;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "service_facts",
        aliases: &[],
        summary: "Which services there are",
        source: include_str!("service_facts.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[],
    };

    const BRINGS: Brings = Brings::Facts(&["services"]);

    fn decode(_args: &Args) -> Result<(), Fault> {
        Ok(())
    }

    fn probe((): &()) -> Vec<Ask> {
        vec![Ask::sh(LIST)]
    }

    fn state((): &(), answers: &Answers) -> Result<Map<String, Value>, Fault> {
        let output = answers.output(&Ask::sh(LIST))?;
        let text = output.text();
        let (units, files) = match text.split_once("@@files\n") {
            Some(parts) if output.success() => parts,
            _ => {
                return Err(Fault::task("systemd does not say which services there are")
                    .note(output.error_text().trim().to_owned()));
            }
        };
        let mut services = Map::new();
        let service = |name: &str, state: &str, status: &str| json!({"name": name, "state": state, "status": status, "source": "systemd"});
        for line in files.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(status)) = (words.next(), words.next()) {
                services.insert(name.to_owned(), service(name, "inactive", status));
            }
        }
        for line in units.lines() {
            // A mark in front of failed and missing units.
            let words: Vec<&str> =
                line.split_whitespace().filter(|word| !matches!(*word, "●" | "*" | "○" | "×")).collect();
            let [name, load, active, sub, ..] = words[..] else { continue };
            let state = match (active, sub) {
                ("failed", _) => "failed",
                (_, "running") => "running",
                ("active", _) => "active",
                _ => "stopped",
            };
            let known = services.get(name).and_then(|known| known.get("status")).and_then(Value::as_str);
            let status =
                known.unwrap_or(if load == "not-found" { "not-found" } else { "unknown" }).to_owned();
            services.insert(name.to_owned(), service(name, state, &status));
        }
        Ok(services)
    }

    fn diff((): &(), found: &Map<String, Value>) -> Result<Verdict<()>, Fault> {
        Ok(Verdict::InState(format!("{} services", found.len())))
    }

    fn show((): &(), _found: &Map<String, Value>, _diff: &()) -> Vec<Change> {
        Vec::new()
    }

    fn actions((): &(), _found: &Map<String, Value>, _diff: &()) -> Vec<Action> {
        Vec::new()
    }

    fn result((): &(), found: &Map<String, Value>, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("ansible_facts".to_owned(), json!({"services": found}))])
    }
}

const LIST: &str = "systemctl list-units --no-pager --plain --no-legend --full --all --type service || exit 1
printf '@@files\\n'
systemctl list-unit-files --no-pager --no-legend --full --type service";
