//! What a unit came to, and what follows from it: registered results, notifications, failures.

use super::event::{Event, Status};
use super::fatal::Fell;
use super::host::{Flow, Host, State, with_item};
use super::shared::Shared;
use super::unit::{Unit, truth};
use crate::diag::Diagnostic;
use crate::modules::{Call, Change, Nature};
use crate::plan::{HostScope, Landing, Step, addressed, framed, of_item};
use crate::shell::{Action, CHANGED_MEANWHILE, Output, Over, cause_of};
use crate::yaml::Node;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What a unit came to.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub changed: bool,
    pub failed: bool,
    pub skipped: bool,
    pub because: String,
    pub changes: Vec<Change>,
    pub result: Map<String, Value>,
    pub diagnostic: Option<Diagnostic>,
    /// Nothing was done, since what the decision was made on is no more.
    pub overtaken: bool,
}

/// Lines of a command's output that a diagnostic shows.
const TAIL: usize = 12;

impl Outcome {
    pub fn ok(because: String, result: Map<String, Value>) -> Self {
        Self {
            changed: false,
            failed: false,
            skipped: false,
            because,
            changes: Vec::new(),
            result,
            diagnostic: None,
            overtaken: false,
        }
    }

    pub fn changed(result: Map<String, Value>) -> Self {
        Self { changed: true, ..Self::ok(String::new(), result) }
    }

    pub fn skipped(because: String) -> Self {
        Self { skipped: true, ..Self::ok(because, Map::new()) }
    }

    pub fn failed(diagnostic: Diagnostic, result: Map<String, Value>) -> Self {
        let because = diagnostic.message.clone();
        Self { failed: true, diagnostic: Some(diagnostic), ..Self::ok(because, result) }
    }

    /// Several faults of one task: the first carries the message, all are shown.
    pub fn broken(diagnostics: Vec<Diagnostic>) -> Self {
        let mut diagnostics = diagnostics.into_iter();
        let first = diagnostics
            .next()
            .unwrap_or_else(|| Diagnostic::error("internal", "a task is wrong, and nothing says why"));
        let first = diagnostics.fold(first, |first, more| first.note(format!("also: {}", more.message)));
        Self::failed(first, Map::new())
    }

    /// Whether the last action that ran found something else than what it was decided on, and did nothing.
    pub fn was_overtaken(actions: &[Action], outputs: &[Output]) -> bool {
        let last = outputs.len().checked_sub(1).and_then(|at| actions.get(at)).zip(outputs.last());
        last.is_some_and(|(action, output)| {
            let put = matches!(action, Action::Put(put) if put.over != Over::Anything);
            put && output.status == CHANGED_MEANWHILE
        })
    }

    /// Actions that failed.
    pub fn of_output(
        step: &Step,
        call: &dyn Call,
        actions: &[Action],
        outputs: &[Output],
        changes: Vec<Change>,
    ) -> Self {
        let none = Output::failed(255, "");
        let output = outputs.last().unwrap_or(&none);
        let action = actions.get(outputs.len().saturating_sub(1));
        let what = action.map_or_else(String::new, shown);
        let words = output.error_text();
        let free = matches!(call.spec().name, "command" | "shell" | "raw" | "script");
        // A command of the site may speak of anything: only what it said at last tells why it failed.
        let said = if free { words.trim_end().lines().last().unwrap_or_default() } else { &words };
        let cause = cause_of(said).filter(|_| !output.timed_out);
        let message = match (output.timed_out, call.spec().name, &cause) {
            (true, name, _) => format!("`{name}` was ended: it took longer than its time limit"),
            (false, _, Some(cause)) if free => {
                format!("the command exited with {}: {}", output.status, cause.what)
            }
            (false, _, None) if free => format!("the command exited with {}", output.status),
            (false, name, Some(cause)) => format!("`{name}` failed: {}", cause.what),
            (false, name, None) => format!("`{name}` failed: {}", first_line(output)),
        };
        let mut diagnostic = Diagnostic::error("task-failed", message)
            .at(step.name.as_ref().map_or(step.span, |name| name.span));
        if !what.is_empty() {
            diagnostic.notes.push(format!("ran: {what}, exit {}", output.status));
        }
        for (name, text) in [("stderr", output.error_text()), ("stdout", output.text())] {
            if !text.trim().is_empty() {
                diagnostic.notes.push(format!("{name}: {}", tail(&text)));
            }
        }
        if output.timed_out {
            diagnostic.hints.push("`timeout:` on the task gives it longer".to_owned());
        }
        diagnostic.hints.extend(cause.map(|cause| cause.hint.to_owned()));
        if output.error_text().lines().any(|line| line.trim_end().ends_with(": not found")) {
            diagnostic
                .hints
                .push("a program is missing on the host: install the package that holds it".to_owned());
        }
        // A command counts as a change whatever it exits with, as in Ansible; so does what was done before the failure.
        let changed = call.spec().nature == Nature::Command || outputs.len() > 1;
        Self { changes, changed, ..Self::failed(framed(step, diagnostic), Self::streams(outputs)) }
    }

    /// `rc`, `stdout` and `stderr` of the last command.
    pub fn streams(outputs: &[Output]) -> Map<String, Value> {
        let Some(output) = outputs.last() else { return Map::new() };
        let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).to_owned();
        let lines = |text: &str| Value::Array(text.lines().map(Value::from).collect());
        let (stdout, stderr) = (trimmed(&output.stdout), trimmed(&output.stderr));
        let mut map = Map::new();
        map.insert("rc".to_owned(), Value::from(output.status));
        map.insert("stdout_lines".to_owned(), lines(&stdout));
        map.insert("stderr_lines".to_owned(), lines(&stderr));
        map.insert("stdout".to_owned(), Value::from(stdout));
        map.insert("stderr".to_owned(), Value::from(stderr));
        map
    }

    /// Its conditions never held.
    pub fn give_up(&mut self, step: &Step, attempts: usize) {
        self.failed = true;
        let message = format!("what `until` waits for did not come true in {attempts} attempts");
        let at = step.keywords.until.first().map_or(step.span, |condition| condition.span);
        let mut diagnostic = framed(step, Diagnostic::error("retries-exhausted", message.clone()).at(at));
        diagnostic.notes.extend(
            self.diagnostic
                .take()
                .into_iter()
                .flat_map(|inner| std::iter::once(inner.message).chain(inner.notes)),
        );
        self.because = message;
        self.diagnostic = Some(diagnostic);
    }

    /// It counts as failed from now on; what was done and found stays.
    fn fail_as(&mut self, diagnostic: Diagnostic) {
        self.failed = true;
        self.because = diagnostic.message.clone();
        self.diagnostic = Some(diagnostic);
    }

    /// `failed_when` holds.
    fn fails_by_its_word(&mut self, step: &Step, condition: &Node) {
        let message = "the task counts as failed: what `failed_when` says is true";
        let mut diagnostic = Diagnostic::error("failed-when", message).at(condition.span);
        for name in ["stderr", "stdout"] {
            let text = self.result.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
            if let Some(text) = text {
                diagnostic = diagnostic.note(format!("{name}: {}", tail(text)));
            }
        }
        self.fail_as(framed(step, diagnostic));
    }

    fn status(&self) -> Status {
        match (self.failed, self.skipped, self.changed) {
            (true, ..) => Status::Failed,
            (_, true, _) => Status::Skipped,
            (_, _, true) => Status::Changed,
            _ => Status::Ok,
        }
    }

    /// What `register` keeps.
    fn registered(&self) -> Map<String, Value> {
        let mut map = self.result.clone();
        map.remove("ansible_facts");
        map.insert("changed".to_owned(), Value::Bool(self.changed));
        map.insert("failed".to_owned(), Value::Bool(self.failed));
        if self.skipped {
            map.insert("skipped".to_owned(), Value::Bool(true));
            map.insert("skip_reason".to_owned(), Value::from(self.because.clone()));
        }
        if !map.contains_key("msg") && !self.because.is_empty() {
            map.insert("msg".to_owned(), Value::from(self.because.clone()));
        }
        map
    }
}

/// What an action is called in messages.
fn shown(action: &Action) -> String {
    match action {
        Action::Run(run) => {
            let text = run.shown.clone().unwrap_or_else(|| run.script.clone());
            let line = text.lines().next().unwrap_or_default().to_owned();
            let more = if text.lines().count() > 1 { " ..." } else { "" };
            match &run.user {
                Some(user) => format!("{line}{more} (as {user})"),
                None => format!("{line}{more}"),
            }
        }
        Action::Put(put) => format!("write {}", put.path),
        Action::Local(write) => format!("write {} on this machine", write.path),
        Action::Reconnect { .. } => "open a new connection".to_owned(),
    }
}

fn first_line(output: &Output) -> String {
    let (stderr, stdout) = (output.error_text(), output.text());
    let line = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
    line(&stderr)
        .or_else(|| line(&stdout))
        .unwrap_or_else(|| format!("exit status {}, no output", output.status))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    let head = if from > 0 { "... " } else { "" };
    format!("{head}{}", lines[from..].join("\n"))
}

impl Host {
    /// Applies `changed_when` and `failed_when`.
    pub(super) fn judge(&self, shared: &Shared, unit: &Unit, outcome: &mut Outcome) {
        let keywords = &unit.step.keywords;
        if keywords.changed_when.is_empty() && keywords.failed_when.is_empty() {
            return;
        }
        let scope = self.with_result(unit, outcome).shared();
        let holds = |conditions: &[Node]| -> Result<bool, Diagnostic> {
            for condition in conditions {
                if !shared
                    .templates
                    .condition(condition, &scope)
                    .map_err(|diagnostic| framed(&unit.step, diagnostic))?
                {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        // Both hold of failures too; `failed_when` has the last word.
        let changed = match keywords.changed_when.is_empty() {
            true => Ok(outcome.changed),
            false => holds(&keywords.changed_when),
        };
        if let Ok(changed) = &changed {
            outcome.changed = *changed;
        }
        if !keywords.failed_when.is_empty() {
            match holds(&keywords.failed_when) {
                Ok(fails) => {
                    outcome.result.insert("failed_when_result".to_owned(), Value::Bool(fails));
                    match (fails, outcome.failed) {
                        (true, false) => outcome.fails_by_its_word(&unit.step, &keywords.failed_when[0]),
                        (false, true) => {
                            outcome.failed = false;
                            outcome.diagnostic = None;
                        }
                        (true, true) | (false, false) => {}
                    }
                }
                Err(diagnostic) => return outcome.fail_as(diagnostic),
            }
        }
        if let Some(diagnostic) = changed.err().filter(|_| !outcome.failed) {
            outcome.fail_as(diagnostic);
        }
    }

    /// Whether `until` is content with what came out.
    pub(super) fn until_holds(&self, shared: &Shared, unit: &Unit, outcome: &Outcome) -> bool {
        let until = &unit.step.keywords.until;
        if until.is_empty() {
            return !outcome.failed;
        }
        let scope = self.with_result(unit, outcome).shared();
        until.iter().all(|condition| shared.templates.condition(condition, &scope) == Ok(true))
    }

    fn with_result(&self, unit: &Unit, outcome: &Outcome) -> HostScope {
        let mut scope = HostScope { runtime: Arc::clone(&self.scope.runtime), ..unit.scope.clone() };
        if let Some(name) = &unit.step.keywords.register {
            scope.set(&name.node, Value::Object(outcome.registered()));
        }
        scope
    }

    /// Judges and concludes a unit that ran no action.
    pub(super) fn finish(
        &mut self,
        shared: &Shared,
        unit: &Unit,
        mut outcome: Outcome,
        took: Duration,
    ) -> Flow {
        if !outcome.skipped
            && outcome.diagnostic.as_ref().is_none_or(|diagnostic| diagnostic.code == "task-failed")
        {
            self.judge(shared, unit, &mut outcome);
        }
        self.conclude(shared, unit, outcome, took)
    }

    /// Registers, notifies, tells, counts, and moves on.
    pub(super) fn conclude(
        &mut self,
        shared: &Shared,
        unit: &Unit,
        mut outcome: Outcome,
        took: Duration,
    ) -> Flow {
        if let Some(Value::Object(facts)) = outcome.result.get("ansible_facts") {
            let facts = facts.clone();
            if unit.step.call.sets_variables() {
                facts.into_iter().for_each(|(name, value)| self.bring(&name, value));
            } else {
                self.scope.learn(&facts);
                self.learned.facts.extend(facts);
            }
        }
        let keywords = &unit.step.keywords;
        if outcome.changed
            && !outcome.failed
            && let Err(diagnostic) = self.notify(shared, unit)
        {
            outcome.fail_as(diagnostic);
        }
        let registered = outcome.registered();
        let (result, last) = match &unit.item {
            Some(item) => {
                if item.first {
                    self.loop_results().clear();
                }
                let value = with_item(&unit.step, item, registered);
                self.loop_results().push(value.clone());
                (value, !item.more)
            }
            None => (Value::Object(registered), true),
        };
        if let Some(name) = &keywords.register {
            let whole = match &unit.item {
                Some(_) => all_of(self.loop_results()),
                None => result.clone(),
            };
            if last || outcome.failed {
                if unit.no_log {
                    hide(&whole, shared);
                }
                self.bring(&name.node, whole);
            }
        }
        let ignored = keywords.ignore_errors.as_ref().is_some_and(|node| {
            shared
                .templates
                .render_value(node, &unit.scope.shared())
                .ok()
                .as_ref()
                .and_then(truth)
                .unwrap_or(false)
        });
        let mut status = outcome.status();
        if outcome.failed && ignored {
            status = Status::Ignored;
        }
        outcome.diagnostic = outcome.diagnostic.take().map(|diagnostic| {
            let diagnostic = diagnostic.host(self.name.clone());
            match unit.item.as_ref().filter(|_| !unit.no_log) {
                Some(item) => of_item(diagnostic, &item.label),
                None => diagnostic,
            }
        });
        self.last = Some(unit.at.clone());
        let flow = match status {
            Status::Failed => self.failure(shared, unit, &outcome, &mut status),
            _ => {
                if last {
                    self.cursor = unit.after.clone();
                }
                Flow::On
            }
        };
        if unit.item.is_none() || last || status == Status::Failed || status == Status::Rescued {
            let whole = self.whole_status(unit, status);
            self.stats.count(whole);
            if whole == Status::Ignored && (outcome.changed || self.any_item(unit, "changed")) {
                self.stats.changed += 1;
            }
        }
        self.tell_done(shared, unit, &outcome, status, result, took);
        flow
    }

    /// Handlers to run at the next flush.
    fn notify(&mut self, shared: &Shared, unit: &Unit) -> Result<(), Diagnostic> {
        for node in &unit.step.keywords.notify {
            let rendered = shared.templates.render_value(node, &unit.scope.shared());
            let names = match rendered.map_err(|diagnostic| framed(&unit.step, diagnostic))? {
                Value::Array(names) => names,
                name => vec![name],
            };
            for name in names {
                let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                if addressed(&shared.handlers(), &name).is_empty() {
                    let message = format!("no handler is named `{name}` or listens to it");
                    let diagnostic = Diagnostic::error("unknown-handler", message).at(node.span);
                    return Err(framed(&unit.step, diagnostic));
                }
                if !self.notified.contains(&name) {
                    self.notified.push(name);
                }
            }
        }
        Ok(())
    }

    fn bring(&mut self, name: &str, value: Value) {
        let value = Arc::new(value);
        self.learned.values.insert(name.to_owned(), Arc::clone(&value));
        Arc::make_mut(&mut self.scope.runtime).insert(name.to_owned(), value);
    }

    fn any_item(&mut self, unit: &Unit, key: &str) -> bool {
        unit.item.is_some() && self.loop_results().iter().any(|result| result[key] == Value::Bool(true))
    }

    /// A loop counts once: ignored when one item failed, changed when one changed, skipped when all were.
    fn whole_status(&mut self, unit: &Unit, status: Status) -> Status {
        if unit.item.is_none() || matches!(status, Status::Failed | Status::Rescued) {
            return status;
        }
        let skipped = self.loop_results().iter().all(|result| result["skipped"] == Value::Bool(true));
        match (skipped, self.any_item(unit, "failed"), self.any_item(unit, "changed")) {
            (true, ..) => Status::Skipped,
            (_, true, _) => Status::Ignored,
            (_, _, true) => Status::Changed,
            _ => Status::Ok,
        }
    }

    fn failure(&mut self, shared: &Shared, unit: &Unit, outcome: &Outcome, status: &mut Status) -> Flow {
        let result = Value::Object(outcome.registered());
        self.cursor = unit.at.clone();
        let fatal = self.is_fatal(shared, &unit.step, &unit.scope);
        *status = self.fails(&unit.step, result, fatal);
        if *status == Status::Failed {
            self.diagnostics.extend(outcome.diagnostic.clone());
        }
        Flow::Elsewhere
    }

    /// A step failed here: what a rescue part may read of it, and where it leads.
    pub(super) fn fails(&mut self, step: &Step, result: Value, fatal: bool) -> Status {
        let mut task = Map::new();
        task.insert("name".to_owned(), Value::from(step.title()));
        self.scope.set("ansible_failed_task", Value::Object(task));
        self.scope.set("ansible_failed_result", result);
        self.fall(fatal)
    }

    /// Goes where a failure leads; whether it counts as one, or a rescue part takes over.
    pub(super) fn fall(&mut self, fatal: bool) -> Status {
        self.fell = Some(Fell { at: self.cursor.position(), fatal });
        self.forget_ahead();
        let rescued = self.cursor.is_rescued();
        if self.cursor.fail() == Landing::Nowhere {
            self.state = State::Failed;
        }
        if rescued { Status::Rescued } else { Status::Failed }
    }

    /// A failure of a step outside a module call.
    pub(super) fn fail_step(&mut self, shared: &Shared, step: &Step, diagnostic: Diagnostic) {
        let diagnostic = diagnostic.host(self.name.clone());
        let scope = self.scope_of(step, &self.cursor);
        let fatal = self.is_fatal(shared, step, &scope);
        let result = json!({ "failed": true, "changed": false, "msg": diagnostic.message });
        let status = self.fails(step, result, fatal);
        self.stats.count(status);
        shared.tell(Event::Note(format!("{}: {}", self.name, diagnostic.message)));
        if status == Status::Failed {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// The result of a whole loop.
fn all_of(results: &[Value]) -> Value {
    let any = |key: &str| results.iter().any(|result| result[key] == Value::Bool(true));
    let skipped = !results.is_empty() && results.iter().all(|result| result["skipped"] == Value::Bool(true));
    json!({
        "results": results,
        "changed": any("changed"),
        "failed": any("failed"),
        "skipped": skipped,
        "msg": if any("failed") { "one or more items failed" } else { "all items completed" },
    })
}

/// Everything in a `no_log` result is a secret from now on.
fn hide(value: &Value, shared: &Shared) {
    match value {
        Value::String(text) if text.len() >= 8 => shared.library.masker().add(text),
        Value::Array(items) => items.iter().for_each(|item| hide(item, shared)),
        Value::Object(map) => {
            map.iter()
                .filter(|(key, _)| *key != "msg" && *key != "skip_reason")
                .for_each(|(_, value)| hide(value, shared));
        }
        _ => {}
    }
}
