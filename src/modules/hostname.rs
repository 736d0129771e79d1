//! The host's own name, now and after a boot.
//!
//! Only the name itself is set: `/etc/hosts` is the business of a `template` or `lineinfile` task.
//!
//! EXAMPLES
//! - name: The name from the inventory
//!   hostname: {name: "{{ inventory_hostname }}"}

use super::{Args, Brings, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Put};
use serde_json::{Map, Value, json};

/// The module `hostname`.
pub struct Hostname;

/// Names found.
pub struct Found {
    running: String,
    stored: String,
}

impl Module for Hostname {
    type Params = String;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "hostname",
        aliases: &[],
        summary: "The host's own name",
        source: include_str!("hostname.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[Param::new("name", Kind::Str, "The name").required()],
    };

    const BRINGS: Brings = Brings::Facts(&["ansible_hostname", "ansible_nodename"]);

    fn decode(args: &Args) -> Result<String, Fault> {
        let name = args.required("name");
        let label = |label: &str| {
            let fits = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            fits && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
        };
        if name.len() > 64 || !name.split('.').all(label) {
            return Err(Fault::param("name", format!("`{name}` is no name of a host"))
                .hint("letters, digits and `-`, parts separated by `.`, 64 characters at most"));
        }
        Ok(name)
    }

    fn probe(_name: &String) -> Vec<Ask> {
        vec![Ask::sh("uname -n"), Ask::content("/etc/hostname")]
    }

    fn state(_name: &String, answers: &Answers) -> Result<Found, Fault> {
        let output = answers.output(&Ask::sh("uname -n"))?;
        if !output.success() {
            return Err(Fault::task(format!("`uname` failed: {}", output.error_text().trim())));
        }
        let stored = answers.text(&Ask::content("/etc/hostname"))?.unwrap_or_default();
        Ok(Found { running: output.text().trim().to_owned(), stored: stored.trim().to_owned() })
    }

    fn diff(name: &String, found: &Found) -> Result<Verdict<()>, Fault> {
        if found.running == *name && found.stored == *name {
            return Ok(Verdict::InState(format!("the host is called `{name}`")));
        }
        Ok(Verdict::Act(()))
    }

    fn show(name: &String, found: &Found, (): &()) -> Vec<Change> {
        [("name", &found.running), ("name after a boot", &found.stored)]
            .into_iter()
            .filter(|(_, before)| *before != name)
            .map(|(field, before)| Change::field(field, before, name))
            .collect()
    }

    fn actions(name: &String, found: &Found, (): &()) -> Vec<Action> {
        let mut actions = Vec::new();
        if found.stored != *name {
            let mut put = Put::new("/etc/hostname", format!("{name}\n"));
            put.mode = Some(0o644);
            actions.push(Action::Put(put));
        }
        if found.running != *name {
            actions.push(Action::argv(["hostname", name]));
        }
        actions
    }

    fn result(name: &String, _found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let short = name.split('.').next().unwrap_or(name);
        Map::from_iter([
            ("name".to_owned(), json!(name)),
            ("ansible_facts".to_owned(), json!({"ansible_hostname": short, "ansible_nodename": name})),
        ])
    }
}
