//! Every operational invariant has its proof, or a named reason why not yet (`tests/invariants.yaml`).

use serde::Deserialize;
use std::fs;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invariant {
    number: u32,
    rule: String,
    #[serde(default)]
    proof: Vec<String>,
    later: Option<String>,
}

#[test]
fn every_invariant_has_a_proof_that_exists_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list: Vec<Invariant> = serde_yaml::from_str(include_str!("invariants.yaml")).expect("a list");
    let numbers: Vec<u32> = list.iter().map(|invariant| invariant.number).collect();
    assert_eq!(numbers, (1..=46).collect::<Vec<_>>());
    for Invariant { number, rule, proof, later } in list {
        assert!(
            !rule.is_empty() && (!proof.is_empty() || later.is_some()),
            "{number} has neither proof nor reason"
        );
        for place in proof {
            let (file, function) =
                place.split_once("::").map_or((&*place, None), |(file, name)| (file, Some(name)));
            let text = fs::read_to_string(root.join(file))
                .unwrap_or_else(|_| panic!("{number}: {file} does not exist"));
            let there = function.is_none_or(|name| text.contains(&format!("fn {name}(")));
            assert!(there, "{number}: {file} has no function {}", function.unwrap_or_default());
        }
    }
}
