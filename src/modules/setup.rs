//! Facts: what the host says of itself.
//!
//! Facts are gathered once per host at the start of a play unless `gather_facts: false`; this task gathers them
//! again, after something changed them. They stand under Ansible's names as `ansible_distribution`,
//! `ansible_default_ipv4.address` and so on, and without the prefix under `ansible_facts`. Ours are in
//! `ansible_facts.ishprov`: `memory_bytes` and `cpus` (cgroup limits counted), `data_directory`, `disks`,
//! `postgresql` (versions and clusters found), `ssh_connection`, `huge_pages`, `page_size`, `boot_id`, `container`.
//!
//! `filter` keeps the facts whose names fit one of the patterns (with or without `ansible_`); `gather_subset` is
//! taken without effect, since all facts cost one question.
//!
//! EXAMPLES
//! - name: Look again
//!   setup:
//! - name: Only memory
//!   setup: {filter: ["ansible_mem*", ishprov]}

use super::debian::fits;
use super::{Args, Brings, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::facts;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value};

/// The module `setup`.
pub struct Setup;

/// Which facts.
#[derive(Debug)]
pub struct Params {
    filter: Vec<String>,
}

impl Module for Setup {
    type Params = Params;
    type State = Map<String, Value>;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "setup",
        aliases: &["gather_facts"],
        summary: "Facts of the host",
        source: include_str!("setup.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("filter", Kind::List, "Names or patterns of the facts to keep").default("all"),
            Param::new("gather_subset", Kind::List, "Taken without effect"),
            Param::new("gather_timeout", Kind::Int, "Taken without effect"),
            Param::new("fact_path", Kind::Path, "Taken without effect"),
        ],
    };

    const BRINGS: Brings = Brings::Facts(&["ansible_*"]);

    fn decode(args: &Args) -> Result<Params, Fault> {
        let bare = |name: String| name.strip_prefix("ansible_").map_or(name.clone(), str::to_owned);
        Ok(Params { filter: args.list("filter").into_iter().map(bare).collect() })
    }

    fn probe(_params: &Params) -> Vec<Ask> {
        vec![Ask::sh(facts::script())]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Map<String, Value>, Fault> {
        let mut found = facts::parse(&answers.output(&Ask::sh(facts::script()))?.text())?;
        if !params.filter.is_empty() {
            found.retain(|name, _| params.filter.iter().any(|pattern| fits(name, pattern)));
        }
        Ok(found)
    }

    fn diff(_params: &Params, found: &Map<String, Value>) -> Result<Verdict<()>, Fault> {
        let facts = if found.len() == 1 { "fact" } else { "facts" };
        Ok(Verdict::InState(format!("{} {facts}", found.len())))
    }

    fn show(_params: &Params, _found: &Map<String, Value>, _diff: &()) -> Vec<Change> {
        Vec::new()
    }

    fn actions(_params: &Params, _found: &Map<String, Value>, _diff: &()) -> Vec<Action> {
        Vec::new()
    }

    fn result(_params: &Params, found: &Map<String, Value>, _ran: &[Output]) -> Map<String, Value> {
        let named = found.iter().map(|(name, value)| (format!("ansible_{name}"), value.clone()));
        Map::from_iter([("ansible_facts".to_owned(), Value::Object(named.collect()))])
    }
}
