//! A run for people: a line per task, hosts grouped by how it went; progress while a person watches.

use super::live::{UnderWay, bar};
use super::{Console, Screen, one_line, recap, wrap};
use crate::diag::{Diagnostic, SourceMap};
use crate::engine::{Done, Event, Report, Status};
use crate::modules::Change;
use crate::shell::Masker;
use indicatif::ProgressBar;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Prints text.
pub struct TextConsole {
    screen: Screen,
    masker: Masker,
    started: Instant,
    check: bool,
    /// Hosts of the play, in the inventory's order.
    hosts: Vec<String>,
    /// Those that are still on their way.
    active: BTreeSet<String>,
    /// The last step each host is through with: it does not come back to earlier ones.
    passed: BTreeMap<String, Vec<usize>>,
    /// Tasks some hosts have been through, by place and name: at one place hosts may have taken in different files.
    open: BTreeMap<(Vec<usize>, String), Task>,
    /// What each host is in the middle of.
    under_way: UnderWay,
    stopping: bool,
    bar: Option<ProgressBar>,
    diagnostics: Vec<Diagnostic>,
}

/// A task that hosts are going through.
struct Task {
    hosts: Vec<(String, Status)>,
    /// Hosts with no more items to come.
    finished: BTreeSet<String>,
    because: BTreeMap<String, String>,
    took: Duration,
    details: Vec<String>,
}

impl TextConsole {
    /// A console that masks by `masker`. `check` says that nothing is being changed.
    pub fn new(screen: Screen, masker: Masker, check: bool) -> Self {
        let under_way = UnderWay::default();
        let bar = screen.is_live().then(|| bar(&under_way));
        Self {
            screen,
            masker,
            started: Instant::now(),
            check,
            hosts: Vec::new(),
            active: BTreeSet::new(),
            passed: BTreeMap::new(),
            open: BTreeMap::new(),
            under_way,
            stopping: false,
            bar,
            diagnostics: Vec::new(),
        }
    }

    fn line(&self, text: &str) {
        let text = self.masker.mask(text);
        self.beside_the_bar(|| self.screen.line(&text));
    }

    fn beside_the_bar(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Columns for the names of tasks: about half of a narrow screen.
    fn column(&self) -> usize {
        (self.screen.width() * 45 / 100).clamp(24, 48)
    }

    /// Lines of words as wide as the screen; where nobody watches, one line holds them all.
    fn wrapped(&self, text: &str, indent: usize) -> Vec<String> {
        match self.screen.is_live() {
            true => wrap(text, self.screen.width().saturating_sub(indent).max(20)),
            false => vec![text.to_owned()],
        }
    }

    /// A name, how it went, and more. A name too long for its column has lines of its own.
    fn status(&self, name: &str, word: (&str, &str), more: &str) {
        let (column, mut name) = (self.column(), one_line(name));
        if name.chars().count() > column {
            self.wrapped(&name, 2).iter().for_each(|part| self.line(&format!("  {part}")));
            name.clear();
        }
        let indent = 2 + column + 1 + word.0.chars().count() + 2;
        let more = self.wrapped(more, indent);
        let (first, rest) =
            more.split_first().map_or(("", more.as_slice()), |(first, rest)| (first.as_str(), rest));
        let head = self.masker.mask(&format!("  {name:<column$} "));
        let tail = self.masker.mask(&format!("  {first}"));
        self.beside_the_bar(|| self.screen.painted(&head, word, &tail));
        rest.iter().for_each(|part| self.line(&format!("{:indent$}{part}", "")));
    }

    fn done(&mut self, done: &Done) {
        let verbose = self.screen.verbose;
        let details = self.details(done);
        let task = self.open.entry((done.at.clone(), done.title.clone())).or_insert_with(|| Task {
            hosts: Vec::new(),
            finished: BTreeSet::new(),
            because: BTreeMap::new(),
            took: Duration::ZERO,
            details: Vec::new(),
        });
        task.took = task.took.max(done.took);
        task.details.extend(details);
        let known = task.hosts.iter_mut().find(|(host, _)| *host == done.host);
        // What is said of a loop is what its worst item says.
        let decides = known.as_ref().is_none_or(|(_, status)| rank(done.status) > rank(*status));
        match known {
            Some((_, status)) if decides => *status = done.status,
            Some(_) => {}
            None => task.hosts.push((done.host.clone(), done.status)),
        }
        if decides {
            task.because.remove(&done.host);
        }
        let inline = message(done).is_none() && (verbose > 1 || worth_saying(done));
        if !done.because.is_empty() && !done.no_log && inline {
            task.because.entry(done.host.clone()).or_insert_with(|| done.because.clone());
        }
        if !done.more || done.status == Status::Failed {
            task.finished.insert(done.host.clone());
            self.passed.insert(done.host.clone(), done.at.clone());
            self.flush(false);
        }
    }

    /// Prints tasks that every host has been through, oldest first.
    fn flush(&mut self, all: bool) {
        let finished: Vec<(Vec<usize>, String)> = self
            .open
            .iter()
            .take_while(|((at, _), task)| {
                let through = |host: &String| {
                    task.finished.contains(host) || self.passed.get(host).is_some_and(|passed| passed > at)
                };
                all || self.active.iter().all(through)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in finished {
            if let Some(mut task) = self.open.remove(&key) {
                task.hosts.sort_by_key(|(host, _)| self.hosts.iter().position(|known| known == host));
                self.print(&key.1, &task);
            }
        }
    }

    /// What a run that was stopped has done and what not.
    fn interrupted(&self) {
        let ended = self.under_way.list();
        let ended: Vec<_> = ended.into_iter().filter(|(what, _, _)| what != CONNECTING).collect();
        if ended.is_empty() {
            self.line(
                "Stopped by you: what is listed above was done, the rest was not begun. Run it again to go on.",
            );
            return;
        }
        self.line("Stopped by you: what is listed above was done. Ended in the middle, which the next run looks at again:");
        for (what, hosts, _) in ended {
            self.line(&format!("  {what}  {}", hosts.join(" ")));
        }
        self.line("The rest was not begun. Run it again to go on.");
    }

    fn print(&self, title: &str, task: &Task) {
        let order =
            [Status::Failed, Status::Rescued, Status::Ignored, Status::Changed, Status::Ok, Status::Skipped];
        let quiet = |status: Status| status == Status::Skipped && self.screen.verbose == 0;
        let groups: Vec<(Status, Vec<&str>)> = order
            .into_iter()
            .map(|status| {
                (
                    status,
                    task.hosts
                        .iter()
                        .filter(|(_, is)| *is == status)
                        .map(|(host, _)| host.as_str())
                        .collect::<Vec<_>>(),
                )
            })
            .filter(|(status, hosts)| !hosts.is_empty() && !quiet(*status))
            .collect();
        for (index, (status, hosts)) in groups.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let time = match *status {
                Status::Changed | Status::Failed if task.took >= Duration::from_millis(500) => {
                    format!("  {}", seconds(task.took))
                }
                _ => String::new(),
            };
            let word = self.word(*status);
            let reasons: BTreeSet<&str> =
                hosts.iter().filter_map(|host| task.because.get(*host)).map(String::as_str).collect();
            let because = match reasons.len() {
                0 => String::new(),
                1 => format!("  ({})", first_line(reasons.first().copied().unwrap_or_default())),
                _ => String::new(),
            };
            self.status(title, word, &format!("{}{time}{because}", hosts.join(" ")));
            if reasons.len() > 1 {
                for host in hosts {
                    if let Some(reason) = task.because.get(*host) {
                        self.line(&format!("      {host}: {}", first_line(reason)));
                    }
                }
            }
        }
        for detail in &task.details {
            self.line(detail);
        }
    }

    fn word(&self, status: Status) -> (&'static str, &'static str) {
        match status {
            Status::Ok => ("ok      ", "32"),
            Status::Changed if self.check => ("would   ", "33"),
            Status::Changed => ("changed ", "33"),
            Status::Skipped => ("skipped ", "36"),
            Status::Failed => ("FAILED  ", "31"),
            Status::Ignored => ("ignored ", "35"),
            Status::Rescued => ("rescued ", "35"),
        }
    }

    fn details(&self, done: &Done) -> Vec<String> {
        let mut lines = Vec::new();
        if done.no_log {
            return lines;
        }
        lines.extend(message(done).into_iter().flat_map(|text| message_lines(done, text)));
        if self.screen.diff || self.screen.verbose > 0 {
            for change in &done.changes {
                lines.extend(diff_lines(&done.host, change, self.screen.diff));
            }
        }
        let loud = self.screen.verbose > 0
            && matches!(done.status, Status::Changed | Status::Ok | Status::Failed | Status::Ignored);
        if loud && (self.screen.verbose > 1 || done.result.get("stdout").is_some()) {
            lines.push(format!("      {} => {}", done.host, done.result));
        }
        lines
    }
}

/// What `debug` shows where it does not fit behind the task: values of several lines, and one for each item of a loop.
fn message(done: &Done) -> Option<&str> {
    let shown = done.module == "debug" && done.status == Status::Ok && !done.because.is_empty();
    (shown && (done.item.is_some() || done.because.contains('\n'))).then_some(done.because.as_str())
}

fn message_lines(done: &Done, text: &str) -> Vec<String> {
    let whose = match &done.item {
        Some(item) => format!("{} ({})", done.host, one_line(item)),
        None => done.host.clone(),
    };
    let mut lines = text.lines();
    let first = format!("      {whose}: {}", lines.next().unwrap_or_default());
    std::iter::once(first).chain(lines.map(|line| format!("        {line}"))).collect()
}

/// Messages that people asked for, and reasons that are no routine.
fn worth_saying(done: &Done) -> bool {
    matches!(done.module, "debug" | "assert" | "fail" | "postgresql_topology")
        || matches!(done.status, Status::Failed | Status::Ignored | Status::Rescued)
        || (done.status == Status::Changed && !done.because.is_empty())
}

/// What a host is at before its first step.
const CONNECTING: &str = "connecting";

fn rank(status: Status) -> u8 {
    match status {
        Status::Skipped => 0,
        Status::Ok => 1,
        Status::Changed => 2,
        Status::Ignored => 3,
        Status::Rescued => 4,
        Status::Failed => 5,
    }
}

fn diff_lines(host: &str, change: &Change, whole: bool) -> Vec<String> {
    match change {
        Change::Field { name, before, after } if before.is_empty() => {
            vec![format!("      {host}  {name}: {after}")]
        }
        Change::Field { name, before, after } => vec![format!("      {host}  {name}: {before} -> {after}")],
        Change::Text { name, .. } if !whole => vec![format!("      {host}  {name}: content")],
        Change::Text { name, before, after } => {
            let diff = similar::TextDiff::from_lines(before.as_str(), after.as_str());
            let text = diff
                .unified_diff()
                .context_radius(3)
                .header(&format!("{name} on {host}"), &format!("{name} (wanted)"))
                .to_string();
            text.lines().map(|line| format!("      {line}")).collect()
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn seconds(took: Duration) -> String {
    format!("{:.1}s", took.as_secs_f64())
}

impl Console for TextConsole {
    fn event(&mut self, event: &Event, _map: &SourceMap) {
        match event {
            Event::Play { name, hosts } => {
                self.flush(true);
                self.hosts = hosts.clone();
                self.passed.clear();
                self.active = hosts.iter().cloned().collect();
                let head = format!("PLAY [{}] ", one_line(name));
                let tail =
                    if hosts.len() == 1 { " 1 host".to_owned() } else { format!(" {} hosts", hosts.len()) };
                let fill = self.screen.width().min(100).saturating_sub(head.chars().count() + tail.len());
                self.line(&format!("{head}{}{tail}", "·".repeat(fill.max(3))));
            }
            Event::Batch { hosts } => {
                self.flush(true);
                self.passed.clear();
                self.active = hosts.iter().cloned().collect();
                self.line(&format!("  batch of {}", hosts.join(" ")));
            }
            Event::Connecting { hosts } => {
                hosts.iter().for_each(|host| self.under_way.begin(host, CONNECTING));
            }
            Event::Started { host, title } => self.under_way.begin(host, &self.masker.mask(title)),
            Event::Stopping { now: false } => {
                self.stopping = true;
                self.line(
                    "Stopping: nothing new is begun. What runs on the hosts has five seconds; Ctrl-C once more ends it now.",
                );
            }
            Event::Stopping { now: true } => self.line("Stopping: what runs on the hosts is ended."),
            Event::Done(done) => {
                self.under_way.end(&done.host);
                if done.status == Status::Failed {
                    self.active.remove(&done.host);
                }
                self.done(done);
            }
            Event::HostDone { host } => {
                // What a stopped host was in the middle of is told at the end.
                if !self.stopping {
                    self.under_way.end(host);
                }
                self.active.remove(host);
                self.flush(false);
            }
            Event::Halted(text) => {
                self.flush(true);
                text.lines().for_each(|line| self.line(&format!("  {line}")));
            }
            Event::Note(text) => text.lines().for_each(|line| self.line(&format!("  {line}"))),
            Event::Unreachable { host, diagnostic } => {
                self.under_way.end(host);
                self.active.remove(host);
                self.status(host, ("UNREACHABLE", "31"), first_line(&diagnostic.message));
                self.flush(false);
            }
        }
    }

    fn report(&mut self, report: &Report, map: &SourceMap) {
        self.flush(true);
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.diagnostics = report.hosts.iter().flat_map(|host| host.diagnostics.clone()).collect();
        if !self.diagnostics.is_empty() {
            self.screen.line("");
            self.screen.diagnostics(&self.diagnostics, map, &self.masker);
        }
        self.screen.line("PLAY RECAP");
        for line in recap(report) {
            self.line(&line);
        }
        let trips = report.hosts.iter().map(|host| host.round_trips).max().unwrap_or(0);
        let count = report.hosts.len();
        let hosts = if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
        let took = seconds(self.started.elapsed()).replace('s', " s");
        // A connection that was ended has not told how much went over it.
        let trips = if trips > 0 { format!(", at most {trips} round trips a host") } else { String::new() };
        self.line(&format!("{hosts}, {took}{trips}"));
        if self.check {
            self.line("Nothing was changed: this was --check.");
        }
        if report.interrupted {
            self.interrupted();
        }
    }
}
