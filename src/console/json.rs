//! One JSON object per line, for programs.

use super::{Console, Screen};
use crate::diag::{SourceMap, to_json};
use crate::engine::{Done, Event, Report, Status};
use crate::modules::Change;
use crate::shell::Masker;
use serde_json::{Value, json};

/// Prints JSON lines.
pub struct JsonConsole {
    screen: Screen,
    masker: Masker,
}

impl JsonConsole {
    /// A console that masks by `masker`.
    pub fn new(screen: Screen, masker: Masker) -> Self {
        Self { screen, masker }
    }

    fn print(&self, value: &Value) {
        self.screen.line(&self.masker.mask(&value.to_string()));
    }

    fn done(&self, done: &Done, map: &SourceMap) -> Value {
        let mask = |text: &str| self.masker.mask(text);
        let mut event = json!({
            "event": "task",
            "host": done.host,
            "task": done.title,
            "place": done.place,
            "module": done.module,
            "status": status(done.status),
            "changed": done.status == Status::Changed,
            "seconds": (done.took.as_secs_f64() * 1000.0).round() / 1000.0,
        });
        if let Some(item) = &done.item {
            event["item"] = json!(item);
        }
        if done.no_log {
            event["censored"] = json!("hidden by no_log");
            return event;
        }
        event["msg"] = json!(done.because);
        event["changes"] = done.changes.iter().map(change).collect();
        event["result"] = done.result.clone();
        if let Some(diagnostic) = &done.diagnostic {
            event["diagnostic"] = to_json(diagnostic, map, &mask);
        }
        event
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Changed => "changed",
        Status::Skipped => "skipped",
        Status::Failed => "failed",
        Status::Ignored => "ignored",
        Status::Rescued => "rescued",
    }
}

fn change(change: &Change) -> Value {
    match change {
        Change::Field { name, before, after } | Change::Text { name, before, after } => {
            json!({ "name": name, "before": before, "after": after })
        }
    }
}

impl Console for JsonConsole {
    fn event(&mut self, event: &Event, map: &SourceMap) {
        let mask = |text: &str| self.masker.mask(text);
        let value = match event {
            Event::Play { name, hosts } => json!({ "event": "play", "name": name, "hosts": hosts }),
            Event::Batch { hosts } => json!({ "event": "batch", "hosts": hosts }),
            Event::Connecting { hosts } => json!({ "event": "connecting", "hosts": hosts }),
            Event::Stopping { now } => json!({ "event": "stopping", "now": now }),
            Event::Started { .. } | Event::HostDone { .. } => return,
            Event::Done(done) => self.done(done, map),
            Event::Note(text) | Event::Halted(text) => json!({ "event": "note", "msg": text }),
            Event::Unreachable { host, diagnostic } => {
                json!({ "event": "unreachable", "host": host, "diagnostic": to_json(diagnostic, map, &mask) })
            }
        };
        self.print(&value);
    }

    fn report(&mut self, report: &Report, _map: &SourceMap) {
        let hosts = report.hosts.iter().map(|host| {
            let stats = &host.stats;
            let value = json!({
                "ok": stats.ok, "changed": stats.changed, "unreachable": stats.unreachable, "failed": stats.failed,
                "skipped": stats.skipped, "rescued": stats.rescued, "ignored": stats.ignored,
                "round_trips": host.round_trips, "bytes_sent": host.bytes.0, "bytes_received": host.bytes.1,
            });
            (host.host.clone(), value)
        });
        let hosts: serde_json::Map<String, Value> = hosts.collect();
        self.print(&json!({ "event": "recap", "hosts": hosts, "interrupted": report.interrupted }));
    }
}
