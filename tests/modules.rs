//! Case folders of the modules: `tests/modules/<module>/<what>*.yaml`, found by themselves.
//!
//! A case is one task against one host, told in data:
//!
//! ```yaml
//! params: {path: /etc/x, mode: "0640"}        # `src: {path: motd, text: "..."}` for a file of the control machine
//! context: {ansible_facts: {...}}             # optional
//! answers:                                    # what the host is like; what is not named does not exist there
//!   files: {/etc/x: {kind: file, mode: "0644", owner: root, group: root, content: "text\n"}}
//!   accounts: {postgres: 105}                 # or {uid, gid, home, shell, gecos}; `root` is always there
//!   groups: {postgres: 106}                   # or {gid, members: []}; `root` is always there
//!   packages: {nginx: 1.2-3, vim: null}       # or {version, held}
//!   units: {nginx.service: {active: active, enabled: enabled}}
//!   sh: [{contains: pg_lsclusters, user: postgres, status: 0, stdout: "...", stderr: "..."}]   # or `script:` (exact)
//!   failed: {/etc/x: why}                     # a path or a part of a script that cannot be answered
//!   local: {now: 0, files: {ca.pem: text}, random: text, key: text, vault_password: text}
//! expect:
//!   in_state: the reason                      # or
//!   act: {changes: [...], actions: [...]}     # or
//!   refuse: {param: mode, message: ..., hint: ...}
//! after: {...}      # laid over `answers`; must then be in state. Not needed where every action is a `put`.
//! ran: ["stdout"]   # outputs of the actions, for `result`
//! result: {...}     # what `register` keeps, from `after` when something was done
//! ```
//!
//! `CASE=file/create cargo test --test modules` runs the cases whose name contains the text; `BLESS=1` writes the
//! `expect` and `result` found into the case (read the difference before you commit it).

#[path = "modules/support/mod.rs"]
mod support;

use ishprov::modules::{MODULES, Nature, find};
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/modules")
}

#[test]
fn every_case_holds() {
    let only = std::env::var("CASE").unwrap_or_default();
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, path) in support::cases(&root()) {
        if !name.contains(&only) {
            continue;
        }
        count += 1;
        if let Err(why) = support::run(&path) {
            failures.push(format!("--- {name}\n{why}"));
        }
    }
    assert!(count > 0, "no case is called like `{only}`");
    assert!(failures.is_empty(), "{} of {count} cases failed\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_module_has_its_cases() {
    let cases = support::cases(&root());
    let mut missing = Vec::new();
    for spec in MODULES.iter().map(|module| module.spec()) {
        let has =
            |start: &str| cases.iter().any(|(name, _)| name.starts_with(&format!("{}/{start}", spec.name)));
        let wanted: &[&str] = match spec.nature {
            Nature::State if READERS.contains(&spec.name) => &["read"],
            Nature::State if EDITORS.contains(&spec.name) => &["noop", "change", "refuse"],
            Nature::State => &["create", "noop", "change", "refuse"],
            Nature::Command | Nature::Controller => &[""],
        };
        missing.extend(
            wanted.iter().filter(|start| !has(start)).map(|start| format!("{}/{start}*.yaml", spec.name)),
        );
    }
    assert!(missing.is_empty(), "missing cases: {}", missing.join(", "));
}

/// Modules of wanted state that only change what is there, and so never create.
const EDITORS: &[&str] = &["replace", "hostname"];

/// Modules of wanted state that only read, and so never create or change.
const READERS: &[&str] = &[
    "stat",
    "slurp",
    "setup",
    "getent",
    "package_facts",
    "service_facts",
    "postgresql_info",
    "postgresql_ping",
];

#[test]
fn every_case_folder_is_a_module() {
    for (name, _) in support::cases(&root()) {
        let folder = name.split('/').next().unwrap_or_default();
        assert!(find(folder).is_some_and(|module| module.spec().name == folder), "no module `{folder}`");
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = ishprov::modules::names().collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn every_module_has_reference_text_with_working_examples() {
    let faults: Vec<_> = MODULES.iter().flat_map(|module| support::check_doc(module.spec())).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
