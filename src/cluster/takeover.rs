//! What a run takes from people who had the cluster before, or who work on it by hand: a few lines for them.

use super::overriding::{self, Overriding};
use super::server::Server;
use crate::modules::{Args, Change, Lines, setting_text};
use crate::tuner::{hidden_on_unix_socket, same_value};
use std::collections::HashMap;

/// How one host's configuration stands to what will be written.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// `15/main`.
    pub label: String,
    /// Where its data lies.
    pub data_directory: String,
    version: u32,
    runs: bool,
    /// The settings file is ours.
    settings_ours: bool,
    /// `pg_hba.conf` is ours.
    rules_ours: bool,
    /// What the server runs with: value, and whether another one takes a restart. Only where it is taken over.
    now: HashMap<String, (String, bool)>,
    /// What will be written.
    wanted: Vec<(String, String)>,
    /// Files with the last word.
    overriding: Vec<Overriding>,
    /// `name = value` of ALTER SYSTEM that go.
    altered: Vec<String>,
    /// Lines that leave `pg_hba.conf`.
    rules: Vec<String>,
}

impl Standing {
    /// From the answers of one host.
    pub fn of(args: &Args, server: &Server, lines: &Lines<'_>) -> Self {
        let instance = crate::modules::Instance::decode(args).ok();
        let wanted = args.dict("settings").into_iter().flatten().filter(|(_, value)| !value.is_null());
        let now = lines.all("runs").filter_map(|line| {
            let mut fields = line.splitn(3, '\t');
            let (name, context, value) = (fields.next()?, fields.next()?, fields.next()?);
            Some((name.to_owned(), (value.to_owned(), context == "postmaster")))
        });
        let ours = |what: &str| lines.all("ours").any(|word| word == what);
        Self {
            label: instance.as_ref().map(|instance| instance.label()).unwrap_or_default(),
            version: instance.as_ref().map(|instance| instance.version).unwrap_or_default(),
            data_directory: instance.map(|instance| instance.data_directory).unwrap_or_default(),
            runs: server.live.is_some(),
            settings_ours: ours("settings"),
            rules_ours: ours("rules"),
            now: now.collect(),
            wanted: wanted
                .filter_map(|(name, value)| {
                    Some((name.to_ascii_lowercase(), setting_text(name, value).ok()?))
                })
                .collect(),
            overriding: overriding::read(lines.all("over")),
            ..Self::default()
        }
    }

    /// Takes in what a module would change: lines that go.
    pub fn changes(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Text { name, before, after } if name.ends_with("/pg_hba.conf") => {
                    let rules = |text: &str| text.lines().filter_map(rule).collect::<Vec<_>>();
                    let kept = rules(after);
                    self.rules = rules(before).into_iter().filter(|line| !kept.contains(line)).collect();
                }
                Change::Field { name, before, after } if after == "(removed)" => {
                    let name = name.strip_prefix("postgresql.auto.conf ").unwrap_or(name);
                    self.altered.push(format!("{name} = {before}"));
                }
                _ => {}
            }
        }
    }

    /// Somebody else made what is there.
    pub fn taken_over(&self) -> bool {
        !self.settings_ours || !self.rules_ours
    }

    /// Settings whose value changes, those of a restart last: `work_mem 4MB -> 11MB`.
    fn differing(&self) -> (Vec<String>, Vec<String>) {
        let (mut reload, mut restart) = (Vec::new(), Vec::new());
        for (name, wanted) in &self.wanted {
            let Some((now, by_restart)) = self.now.get(name) else { continue };
            let held = self.overriding.iter().any(|over| over.name == *name);
            if held || hidden_on_unix_socket(name) || same_value(name, now, wanted, self.version) {
                continue;
            }
            let shown = |value: &str| if value.is_empty() { "''".to_owned() } else { value.to_owned() };
            let text = format!("{name} {} -> {}", shown(now), shown(wanted));
            if *by_restart { restart.push(text) } else { reload.push(text) }
        }
        (reload, restart)
    }

    /// Settings that files of a later name keep from being what was computed.
    fn held(&self) -> Vec<String> {
        let ours = |over: &&Overriding| {
            let wanted = self.wanted.iter().find(|(name, _)| *name == over.name);
            wanted.is_some_and(|(_, wanted)| !same_value(&over.name, &over.value, wanted, self.version))
        };
        let wanted =
            |name: &str| self.wanted.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let one = |over: &Overriding| {
            format!(
                "conf.d/{} has the last word on {}: {}, not {}",
                over.file,
                over.name,
                over.value,
                wanted(&over.name)
            )
        };
        self.overriding.iter().filter(ours).map(one).collect()
    }
}

/// A line of `pg_hba.conf` without comment, words apart by one blank.
fn rule(line: &str) -> Option<String> {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// What people are told of one host.
pub fn told(host: &str, standing: &Standing) -> Vec<String> {
    let mut lines = Vec::new();
    if standing.taken_over() {
        let state = if standing.runs { "a cluster that is in use" } else { "a cluster that is there" };
        lines.push(format!(
            "{host}: {state} is taken over: {} in {}; its pg_hba.conf, postgresql.conf and postgresql.auto.conf are kept as \
             /etc/postgresql/{}/NAME.before-ishprov",
            standing.label, standing.data_directory, standing.label
        ));
        let (reload, restart) = standing.differing();
        if !restart.is_empty() {
            lines.push(format!(
                "{host}: settings change, and the server is restarted: {}",
                restart.join(", ")
            ));
        }
        if !reload.is_empty() {
            lines.push(format!("{host}: settings change, by reload: {}", reload.join(", ")));
        }
    }
    if !standing.rules.is_empty() {
        lines.push(format!("{host}: lines leave pg_hba.conf: {}", standing.rules.join("; ")));
    }
    if !standing.altered.is_empty() {
        lines.push(format!("{host}: settings of ALTER SYSTEM go: {}", standing.altered.join(", ")));
    }
    lines.extend(standing.held().into_iter().map(|held| format!("{host}: {held}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TAKEN: &str = "over\t99-local.conf\twork_mem = 64MB\nover\t99-local.conf\twal_level = logical\n\
                         runs\tmax_connections\tpostmaster\t150\nruns\twork_mem\tuser\t64MB\n\
                         runs\teffective_cache_size\tuser\t4GB\nruns\tjit\tuser\ton\n";

    fn standing(text: &str) -> Standing {
        let given = json!({"version": 15, "primary": "pga", "rules": [], "settings": {
            "max_connections": "40", "work_mem": "11MB", "effective_cache_size": "1GB", "jit": true, "wal_level": "replica"}});
        let spec = super::super::find("postgresql_survey").expect("there").spec();
        let args = Args::bind(spec, given.as_object().expect("a mapping")).expect("binds");
        Standing::of(&args, &super::super::server::testing::server("primary"), &Lines::of(text))
    }

    #[test]
    fn a_cluster_of_somebody_else_is_taken_over_and_what_goes_is_said() {
        let mut taken = standing(TAKEN);
        taken.changes(&[
            Change::text(
                "/etc/postgresql/15/main/pg_hba.conf",
                "# old\nlocal all  postgres peer\nhost legacy\tlegacy 0.0.0.0/0 md5\n",
                "# Written by ishprov\nlocal all postgres peer\n",
            ),
            Change::field("postgresql.auto.conf max_connections", "150", "(removed)"),
        ]);
        assert_eq!(
            told("pga", &taken),
            [
                "pga: a cluster that is in use is taken over: 15/main in /var/lib/postgresql/15/main; its pg_hba.conf, \
                 postgresql.conf and postgresql.auto.conf are kept as /etc/postgresql/15/main/NAME.before-ishprov",
                "pga: settings change, and the server is restarted: max_connections 150 -> 40",
                "pga: settings change, by reload: effective_cache_size 4GB -> 1GB",
                "pga: lines leave pg_hba.conf: host legacy legacy 0.0.0.0/0 md5",
                "pga: settings of ALTER SYSTEM go: max_connections = 150",
                "pga: conf.d/99-local.conf has the last word on work_mem: 64MB, not 11MB",
                "pga: conf.d/99-local.conf has the last word on wal_level: logical, not replica",
            ]
        );
    }

    #[test]
    fn of_our_own_cluster_only_what_goes_or_wins_is_said() {
        let ours = standing("ours\tsettings\nours\trules\n");
        assert_eq!(told("pga", &ours), Vec::<String>::new());
        let held = standing("ours\tsettings\nours\trules\nover\t99-local.conf\tjit = off\n");
        assert_eq!(told("pga", &held), ["pga: conf.d/99-local.conf has the last word on jit: off, not on"]);
    }
}
