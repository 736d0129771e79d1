//! The other tuners' formulas give what their own programs printed.

use ishprov::tuner::{Bytes, Disk, Input, rivals};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
struct Case {
    tool: String,
    ram: u64,
    cpus: u32,
    connections: u32,
    workload: String,
    disk: String,
    pg: u32,
    settings: BTreeMap<String, String>,
}

#[test]
fn other_tuners_formulas_give_what_they_printed() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("rivals.json")).expect("cases");
    assert!(cases.len() > 60);
    for case in cases {
        let workload = case.workload.parse().expect("a workload");
        let mut input = Input::new(Bytes(case.ram), case.cpus, case.connections, workload, case.pg);
        input.hardware.disk = Disk { kind: case.disk.parse().expect("a disk"), evidence: String::new() };
        let settings = match case.tool.as_str() {
            "pgtune" => rivals::pgtune(&input),
            _ => rivals::timescaledb_tune(&input),
        };
        assert_eq!(
            settings.into_iter().collect::<BTreeMap<_, _>>(),
            case.settings,
            "{} {input:#?}",
            case.tool
        );
    }
}
