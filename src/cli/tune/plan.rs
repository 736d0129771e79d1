//! What one machine has now, what it shall have, and what each difference takes: pure.

use super::written;
use crate::cli::measure::Measured;
use crate::cluster::Server;
use crate::tuner::{
    ClusterNeeds, Context, Input, Takes, Tuning, Value as Wanted, hidden_on_unix_socket, lookup, same_value,
};

/// One machine with its settings decided.
pub struct Plan {
    /// Its name in the inventory; empty for one that has none.
    pub host: String,
    pub measured: Measured,
    pub input: Input,
    pub needs: ClusterNeeds,
    pub tuning: Tuning,
    /// Settings that the inventory decides itself; they win.
    pub overrides: Vec<(String, String)>,
    /// What is not as it was computed or asked for, and why.
    pub notes: Vec<String>,
    /// A host that was reached over its connection.
    pub remote: Option<Remote>,
}

/// What is known of a host beyond its measurement.
pub struct Remote {
    pub cluster: String,
    /// Where its data lies.
    pub data_directory: String,
    /// RAM that it is planned with, where the inventory says so.
    pub memory: Option<String>,
    /// The file that holds the settings.
    pub file: String,
    /// Its text.
    pub standing: Option<String>,
    /// The server, as the procedures see it.
    pub server: Server,
    /// A standby has to be tuned once more after the rollout.
    pub again: bool,
    /// The attempt that has begun to write there and has no end.
    pub applying: Option<String>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    /// In force; empty where nothing runs, `?` where it cannot be seen.
    pub now: String,
    pub proposed: String,
    pub takes: Step,
    pub why: String,
}

/// What a setting takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is right as it is.
    Nothing,
    Reload,
    Restart,
    /// Our file would not be heard: this one is read after it.
    Overridden(String),
}

impl Step {
    pub fn word(&self) -> &'static str {
        match self {
            Step::Nothing => "-",
            Step::Reload => "reload",
            Step::Restart => "restart",
            Step::Overridden(_) => "nothing",
        }
    }
}

impl Plan {
    /// A server answered.
    pub fn runs(&self) -> bool {
        !self.measured.settings.is_empty()
    }

    /// The same decision beside what the host has `now`: with the values that were written there, which a second pass may
    /// have lowered.
    pub fn seen_again(mut self, now: Self) -> Self {
        (self.measured.settings, self.measured.sources) = (now.measured.settings, now.measured.sources);
        self.remote = now.remote;
        let written = self.remote.as_ref().and_then(|remote| remote.standing.as_deref()).unwrap_or_default();
        for setting in &mut self.tuning.settings {
            if let Some(value) = written::value(written, setting.name) {
                setting.value = Wanted::Text(value);
            }
        }
        self
    }

    /// Every setting that we decide, in the order of the file.
    pub fn rows(&self) -> Vec<Row> {
        let site = |name: &str| self.overrides.iter().find(|(known, _)| known == name);
        let decided = self.tuning.settings.iter().map(|setting| match site(setting.name) {
            Some((name, value)) => (name.clone(), value.clone(), by_site(), setting.takes),
            None => (setting.name.to_owned(), setting.value.to_string(), setting.why.clone(), setting.takes),
        });
        let more = self.overrides.iter().filter(|(name, _)| self.tuning.get(name).is_none());
        let more = more.map(|(name, value)| {
            let restart = self.measured.restarting.contains(name)
                || lookup(name, self.input.pg_major)
                    .is_some_and(|parameter| parameter.context == Context::Postmaster);
            let takes = if restart { Takes::Restart } else { Takes::Reload };
            (name.clone(), value.clone(), by_site(), takes)
        });
        decided.chain(more).map(|(name, proposed, why, takes)| self.row(name, proposed, why, takes)).collect()
    }

    fn row(&self, name: String, proposed: String, why: String, takes: Takes) -> Row {
        let unseen = self.runs() && hidden_on_unix_socket(&name);
        let in_force = self.measured.settings.get(&name).cloned().unwrap_or_default();
        let same = self.runs() && (unseen || same_value(&name, &in_force, &proposed, self.input.pg_major));
        let takes = match (same, takes) {
            (true, _) => Step::Nothing,
            _ if self.later_file(&name).is_some() => {
                Step::Overridden(self.later_file(&name).unwrap_or_default())
            }
            (_, Takes::Restart) => Step::Restart,
            (_, Takes::Reload) => Step::Reload,
        };
        let now = match (unseen, self.runs()) {
            (true, _) => "?".to_owned(),
            (_, true) if in_force.is_empty() => "-".to_owned(),
            _ => in_force,
        };
        let why = match &takes {
            Step::Overridden(file) => format!("{why}; but `{file}` has the last word"),
            _ => why,
        };
        Row { name, now, proposed, takes, why }
    }

    /// The file with the last word on a setting, when it is read after ours. `ALTER SYSTEM` is told apart: there we refuse.
    fn later_file(&self, name: &str) -> Option<String> {
        let (ours, theirs) = (&self.remote.as_ref()?.file, self.measured.sources.get(name)?);
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        (folder(ours) == folder(theirs) && theirs > ours).then(|| theirs.clone())
    }

    /// Rows that a rollout would bring into force.
    pub fn changes(&self) -> Vec<Row> {
        let acts = |row: &Row| matches!(row.takes, Step::Reload | Step::Restart);
        self.rows().into_iter().filter(acts).collect()
    }

    /// Settings of ours that `ALTER SYSTEM` holds another value for.
    pub fn held_by_auto_conf(&self) -> Vec<Row> {
        let auto = |row: &Row| {
            self.measured.sources.get(&row.name).is_some_and(|file| file.ends_with("/postgresql.auto.conf"))
        };
        self.changes().into_iter().filter(auto).collect()
    }
}

fn by_site() -> String {
    "set by the inventory".to_owned()
}

#[cfg(test)]
impl Plan {
    /// Of a machine on which nothing runs.
    pub fn bare(input: Input, major: Option<u32>) -> Self {
        let measured = Measured::bare(input.hardware.clone(), major, false);
        let needs = ClusterNeeds::of([&input], &[]);
        let tuning = crate::tuner::tune(&input, &needs).expect("fits");
        let (host, overrides, notes) = (String::new(), Vec::new(), Vec::new());
        Self { host, measured, input, needs, tuning, overrides, notes, remote: None }
    }
}
