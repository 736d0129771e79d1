//! The layers: imports only point to layers below, and the pure core does no I/O.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Layers from the ground up; those of one row may use each other.
const LAYERS: &[&[&str]] = &[
    &["diag", "shell"],
    &["yaml", "vault", "facts", "tuner", "pki"],
    &["inventory", "template", "playbook"],
    &["modules"],
    &["cluster", "plan"],
    &["files", "transport", "engine", "lab"],
    &["console"],
    &["cli"],
];

/// Layers that decide and do nothing else.
const PURE: usize = 5;

/// Narrower than their row.
const ONLY: &[(&str, &[&str])] = &[
    ("tuner", &["diag"]),
    ("pki", &["diag"]),
    ("vault", &["diag", "shell"]),
    // Of `playbook` only what roles declare: `validate_argument_spec` holds arguments against it.
    ("modules", &["diag", "shell", "facts", "tuner", "pki", "vault", "playbook"]),
    ("cluster", &["diag", "shell", "facts", "tuner", "pki", "modules"]),
    ("transport", &["diag", "shell"]),
];

/// What the pure core must not touch, and the one file that may, with the reason.
const FORBIDDEN: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "println!",
    "eprintln!",
    "tokio::",
    "async fn",
    "rand::",
];
const EXCUSED: &[(&str, &str)] =
    &[("src/pki/keygen.rs", "keys are made of the system's randomness; only the edge calls it")];

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("src can be read").flatten() {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
                _ => {}
            }
        }
    }
    let mut paths = Vec::new();
    walk(Path::new("src"), &mut paths);
    let layer = |path: &Path| {
        let inner = path.strip_prefix("src").expect("below src");
        inner
            .components()
            .next()
            .expect("a name")
            .as_os_str()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned()
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("source can be read");
        (layer(&path), path, text)
    };
    let sources: Vec<_> =
        paths.into_iter().map(read).filter(|(layer, ..)| layer != "lib" && layer != "main").collect();
    assert!(sources.len() > 50, "the sources were found");
    sources
}

/// The program text: without comments and without the tests at its end.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn rank(layer: &str) -> usize {
    LAYERS
        .iter()
        .position(|row| row.contains(&layer))
        .unwrap_or_else(|| panic!("`{layer}` is in no layer: add it to LAYERS"))
}

/// The layers that a text names by `crate::`.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => found.extend(
                list.split([',', '}'])
                    .map(|item| item.trim().split("::").next().unwrap_or_default().to_owned()),
            ),
            None => found.push(
                part.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ),
        }
    }
    let known = |name: &String| LAYERS.iter().any(|row| row.contains(&name.as_str()));
    found.into_iter().filter(known).collect()
}

#[test]
fn imports_only_point_down() {
    let mut wrong = BTreeMap::new();
    for (layer, path, text) in sources() {
        let text = program(&text);
        let only = ONLY.iter().find(|(name, _)| *name == layer).map(|(_, allowed)| *allowed);
        for used in uses(&text).into_iter().filter(|used| *used != layer) {
            let fine = only.map_or(rank(&used) <= rank(&layer), |allowed| allowed.contains(&used.as_str()));
            if !fine {
                wrong.insert(format!("{} uses crate::{used}", path.display()), ());
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that point the wrong way:\n{}",
        wrong.into_keys().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn the_core_does_no_input_or_output() {
    let mut wrong = Vec::new();
    for (layer, path, text) in sources() {
        let name = path.display().to_string();
        let test = name.ends_with("tests.rs") || name.ends_with("cases.rs") || name.contains("/tests/");
        if rank(&layer) >= PURE || test || EXCUSED.iter().any(|(excused, _)| *excused == name) {
            continue;
        }
        let text = program(&text);
        wrong.extend(
            FORBIDDEN.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")),
        );
    }
    assert!(wrong.is_empty(), "the pure core touches the world:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_looks_for() {
    assert_eq!(
        uses("use crate::{diag::Fault, shell};\nlet x = crate::plan::y();"),
        ["diag", "shell", "plan"]
    );
    assert!(rank("cli") > rank("diag"));
    assert_eq!(program("a\n// std::fs\n#[cfg(test)]\nmod tests { std::fs }"), "a");
}
