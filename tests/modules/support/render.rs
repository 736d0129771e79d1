//! Decisions and faults in the compact form of the cases.

use ishprov::diag::Fault;
use ishprov::modules::{Change, Decision};
use ishprov::shell::{Action, Follow, Put, Run};
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

/// One fault as a mapping, several as a list.
pub fn faults(faults: &[Fault]) -> Value {
    let one = |fault: &Fault| {
        let mut map = Map::new();
        if let Some(param) = &fault.param {
            map.insert("param".to_owned(), json!(param));
        }
        map.insert("message".to_owned(), json!(fault.message));
        for (key, texts) in [("note", &fault.notes), ("hint", &fault.hints)] {
            if !texts.is_empty() {
                map.insert(key.to_owned(), json!(texts.join("; ")));
            }
        }
        Value::Object(map)
    };
    match faults {
        [fault] => json!({"refuse": one(fault)}),
        faults => json!({"refuse": faults.iter().map(one).collect::<Vec<_>>()}),
    }
}

/// `in_state` or `act`. Where `full` says so, an action is a mapping with the content it carries.
pub fn decision(decision: &Decision, full: &[bool]) -> Value {
    match decision {
        Decision::InState(because) => json!({"in_state": because}),
        Decision::Act { changes, actions } => {
            let full = full.iter().copied().chain(std::iter::repeat(false));
            let actions: Vec<_> =
                actions.iter().zip(full).map(|(action, full)| self::action(action, full)).collect();
            json!({"act": {"changes": changes.iter().map(change).collect::<Vec<_>>(), "actions": actions}})
        }
    }
}

fn change(change: &Change) -> String {
    match change {
        Change::Field { name, before, after } => {
            let shown = |text: &str| if text.is_empty() { "(none)".to_owned() } else { text.to_owned() };
            format!("{name}: {} -> {}", shown(before), shown(after))
        }
        Change::Text { name, before, after } => {
            let diff = TextDiff::from_lines(before.as_str(), after.as_str());
            let mut lines = vec![format!("{name}:")];
            for change in diff.iter_all_changes() {
                let sign = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => continue,
                };
                let text = change.value();
                let end = if text.ends_with('\n') { "" } else { " (no newline)" };
                lines.push(format!("{sign}{}{end}", text.trim_end_matches('\n')));
            }
            lines.join("\n")
        }
    }
}

fn action(action: &Action, full: bool) -> Value {
    let (text, bytes) = match action {
        Action::Run(run) => (self::run(run), run.stdin.as_deref().map(|bytes| ("stdin", bytes))),
        Action::Put(put) => (self::put(put), Some(("content", &*put.content))),
        Action::Reconnect { timeout } => (format!("reconnect within {timeout}s"), None),
        Action::Local(write) => (
            format!("local {} {:04o} {} bytes", write.path, write.mode, write.content.len()),
            Some(("content", &*write.content)),
        ),
    };
    match bytes {
        Some((name, bytes)) if full => json!({"action": text, name: String::from_utf8_lossy(bytes)}),
        _ => Value::String(text),
    }
}

fn run(run: &Run) -> String {
    let mut text = String::from("run");
    if let Some(user) = &run.user {
        text.push_str(&format!(" as {user}"));
    }
    if let Some(folder) = &run.chdir {
        text.push_str(&format!(" in {folder}"));
    }
    if let Some(stdin) = &run.stdin {
        text.push_str(&format!(" with {} bytes of input", stdin.len()));
    }
    if let Some(seconds) = run.timeout {
        text.push_str(&format!(" for {seconds}s"));
    }
    if run.accept != [0] {
        text.push_str(&format!(" accepting {:?}", run.accept));
    }
    for (name, value) in &run.environment {
        text.push_str(&format!(" {name}={value}"));
    }
    if let Some(shown) = &run.shown {
        text.push_str(&format!(" [{shown}]"));
    }
    format!("{text}: {}", run.script.trim_end())
}

fn put(put: &Put) -> String {
    let mode = put.mode.map_or("keep".to_owned(), |mode| format!("{mode:04o}"));
    let (owner, group) = (put.owner.as_deref().unwrap_or("keep"), put.group.as_deref().unwrap_or("keep"));
    let mut text = format!("put {} {mode} {owner}:{group} {} bytes", put.path, put.content.len());
    if let Some(ending) = &put.backup {
        text.push_str(&format!(" backup {ending}"));
    }
    if let Some(command) = &put.validate {
        text.push_str(&format!(" validate {command}"));
    }
    match put.follow {
        Follow::No => text.push_str(" in the place of a link"),
        Follow::Own => {}
        Follow::Any => text.push_str(" through any link"),
    }
    text
}
