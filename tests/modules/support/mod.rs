//! Runs one case.

mod answers;
mod render;

use answers::Host;
use ishprov::diag::Fault;
use ishprov::modules::{Args, Call, Decision, Kind, Spec, find};
use ishprov::shell::{Action, Answers, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    params: Map<String, Value>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    answers: Value,
    #[serde(default)]
    expect: Value,
    after: Option<Value>,
    #[serde(default)]
    ran: Vec<String>,
    result: Option<Value>,
}

/// `module/case` and path of every case, sorted.
pub fn cases(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the folder of cases is readable");
        entries.map(|entry| entry.expect("a folder's entry").path()).collect::<Vec<_>>()
    };
    let mut cases = Vec::new();
    for folder in entries(root).into_iter().filter(|path| path.is_dir() && !path.ends_with("support")) {
        for path in
            entries(&folder).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        {
            let name = path.with_extension("");
            let name = name.strip_prefix(root).expect("below the root").display().to_string();
            cases.push((name, path));
        }
    }
    cases.sort();
    cases
}

/// Runs a case; the error says what differs.
pub fn run(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let case: Case = serde_yaml::from_str(&text).map_err(|error| format!("not a case: {error}"))?;
    let module = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let module = find(module).ok_or_else(|| format!("no module `{module}`"))?;
    let host = Host::new(&case.answers)?;

    let (found, decided) =
        match bind(module.spec(), &case).and_then(|args| module.call(&args).map_err(|f| vec![f])) {
            Err(faults) => (render::faults(&faults), None),
            Ok(call) => match call.decide(&host.answer(&call.probe())?) {
                Err(fault) => (render::faults(&[fault]), None),
                Ok(decision) => {
                    (render::decision(&decision, &expected_forms(&case.expect)), Some((call, decision)))
                }
            },
        };
    let result = match &decided {
        Some((call, decision)) => {
            let after = converge(&case, call.as_ref(), decision, &host)?;
            let ran: Vec<_> = case.ran.iter().map(|text| Output::ok(text.as_bytes().to_vec())).collect();
            let result = call.result(&after, &ran).map_err(|fault| format!("result: {}", fault.message))?;
            Some(Value::Object(result))
        }
        None => None,
    };
    if std::env::var_os("BLESS").is_some() {
        return bless(path, &text, &found, case.result.is_some().then_some(()).and(result.as_ref()));
    }
    if !matches(&found, &case.expect) {
        return Err(format!("expected\n{}found\n{}", yaml(&case.expect), yaml(&found)));
    }
    match (&case.result, &result) {
        (Some(wanted), Some(found)) if wanted != found => {
            Err(format!("expected result\n{}found\n{}", yaml(wanted), yaml(found)))
        }
        (Some(_), None) => Err("a refused task has no result".to_owned()),
        _ => Ok(()),
    }
}

fn bind(spec: &'static Spec, case: &Case) -> Result<Args, Vec<Fault>> {
    let mut given = case.params.clone();
    for (name, value) in &mut given {
        let local = spec.param(name).is_some_and(|param| param.kind == Kind::LocalFile);
        if let (true, Some(text)) = (local, value.get("text").and_then(Value::as_str)) {
            use base64::Engine;
            let content = base64::engine::general_purpose::STANDARD.encode(text);
            *value = json!({"path": value.get("path"), "content": content});
        }
    }
    Ok(Args::bind(spec, &given)?.with_context(case.context.clone()))
}

/// What the host answers after the actions; for wanted state it must then be in state.
fn converge(case: &Case, call: &dyn Call, decision: &Decision, host: &Host) -> Result<Answers, String> {
    let Decision::Act { actions, .. } = decision else { return host.answer(&call.probe()) };
    let puts: Option<Vec<_>> =
        actions.iter().map(|action| if let Action::Put(put) = action { Some(put) } else { None }).collect();
    let later = match (&case.after, puts) {
        (Some(after), _) => host.with(after)?,
        (None, Some(puts)) if !puts.is_empty() => puts.iter().fold(host.clone(), |host, put| host.put(put)),
        (None, _) if call.verifies() => {
            return Err(format!(
                "`after:` is missing; the actions were\n{}",
                yaml(&render::decision(decision, &[]))
            ));
        }
        (None, _) => host.clone(),
    };
    let answers = later.answer(&call.probe())?;
    if call.verifies() {
        match call.decide(&answers) {
            Ok(Decision::InState(_)) => {}
            Ok(decision) => {
                let left = render::decision(&decision, &[]);
                return Err(format!("does not converge, `after:` still gives\n{}", yaml(&left)));
            }
            Err(fault) => return Err(format!("does not converge: {}", fault.message)),
        }
    }
    Ok(answers)
}

/// For each action, whether the case spells out its content.
fn expected_forms(expect: &Value) -> Vec<bool> {
    let actions = expect.pointer("/act/actions").and_then(Value::as_array);
    actions.map(|actions| actions.iter().map(Value::is_object).collect()).unwrap_or_default()
}

/// Equal, save that a case may leave out hints and notes of a refusal.
fn matches(found: &Value, expect: &Value) -> bool {
    let (Some(found), Some(wanted)) = (found.get("refuse"), expect.get("refuse")) else {
        return found == expect;
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let (found, wanted) = (list(found), list(wanted));
    found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(found, wanted)| {
            ["param", "message"].iter().all(|key| found.get(key) == wanted.get(key))
                && ["hint", "note"]
                    .iter()
                    .all(|key| wanted.get(key).is_none() || found.get(key) == wanted.get(key))
        })
}

fn bless(path: &Path, text: &str, found: &Value, result: Option<&Value>) -> Result<(), String> {
    let mut kept = String::new();
    let mut dropping = false;
    for line in text.lines() {
        if line.starts_with(|c: char| c.is_ascii_lowercase()) {
            dropping = line.starts_with("expect:") || (result.is_some() && line.starts_with("result:"));
        }
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.push_str(&yaml(&json!({"expect": found})));
    if let Some(result) = result {
        kept.push_str(&yaml(&json!({"result": result})));
    }
    std::fs::write(path, kept).map_err(|error| error.to_string())
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// The reference text must be there, end in an `EXAMPLES` block of YAML tasks, and name only parameters that exist.
pub fn check_doc(spec: &Spec) -> Vec<String> {
    let doc = spec.doc();
    let Some((_, examples)) = doc.split_once("EXAMPLES\n") else {
        return vec![format!("{}: no reference text with EXAMPLES", spec.name)];
    };
    let examples: Vec<_> = examples.lines().filter(|line| !line.trim_start().starts_with("```")).collect();
    let tasks: Vec<Map<String, Value>> = match serde_yaml::from_str(&examples.join("\n")) {
        Ok(tasks) => tasks,
        Err(error) => return vec![format!("{}: EXAMPLES: {error}", spec.name)],
    };
    let mut faults = Vec::new();
    for task in tasks {
        let called = task.iter().find_map(|(key, value)| Some((find(key)?, value)));
        let Some((module, given)) = called else {
            faults.push(format!("{}: an example calls no module: {task:?}", spec.name));
            continue;
        };
        let used = module.spec();
        match given {
            Value::Object(given) if !used.open => {
                faults.extend(given.keys().filter(|name| used.param(name).is_none()).map(|name| {
                    format!("{}: an example gives `{name}`, unknown to `{}`", spec.name, used.name)
                }))
            }
            Value::String(_) if used.free_form.is_none() => {
                faults.push(format!("{}: an example gives `{}` a bare text", spec.name, used.name));
            }
            _ => {}
        }
    }
    faults
}
