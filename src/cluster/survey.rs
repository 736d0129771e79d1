//! What is there, before anything is touched anywhere: everything that the role `postgresql` would refuse later is refused
//! now, for all hosts together, and what a run takes from people is told.
//!
//! Refused: what `postgresql_topology` refuses, a cluster whose data directory, version, checksums, encoding, locale or
//! WAL directory is another than wanted, a port that somebody else has, settings that the server program does not take,
//! and a place that no clone can take. With `--check` the same.
//!
//! Told: that a cluster which this program did not make is taken over, with the settings that change; lines that leave
//! `pg_hba.conf`; settings of `ALTER SYSTEM` that go; files of `conf.d` that have the last word on a setting. Of a cluster
//! that is taken over `pg_hba.conf`, `postgresql.conf` and `postgresql.auto.conf` are kept beside, once, as
//! `/etc/postgresql/VERSION/CLUSTER/NAME.before-ishprov`.
//!
//! Sets `postgresql_surveyed`.
//!
//! EXAMPLES
//! - name: What is there
//!   postgresql_survey:
//!     version: 15
//!     primary: "{{ groups['primary'] | first }}"
//!     settings: "{{ postgresql_tuned.settings }}"
//!     rules: "{{ lookup('template', 'pg_hba.yaml.j2') | from_yaml }}"

use super::overriding;
use super::server::Server;
use super::takeover::{Standing, told};
use super::topology::{MEMBERS, PRIMARY, Picture, REBUILD, Role, Wanted, decide, read, unsettled};
use super::{Act, AnyProcedure, Member, Round};
use crate::diag::Fault;
use crate::modules::{
    Args, Call, Change, Decision, Instance, Kind, Lines, Nature, Param, Spec, find, instance,
};
use crate::shell::{Action, Ask, Run, quote};
use serde_json::{Map, Value, json};

/// The procedure `postgresql_survey`.
pub struct Survey;

static SPEC: Spec = Spec {
    name: "postgresql_survey",
    aliases: &[],
    summary: "What is there before anything is touched: refusals, and what is taken over",
    source: include_str!("survey.rs"),
    nature: Nature::State,
    free_form: None,
    open: false,
    params: &[
        instance::VERSION,
        instance::CLUSTER,
        instance::DATA_DIRECTORY,
        PRIMARY,
        MEMBERS,
        REBUILD,
        Param::new("port", Kind::Int, "Port of the server").default("5432"),
        Param::new("checksums", Kind::Bool, "Data checksums").default("true"),
        Param::new("encoding", Kind::Str, "Encoding of the databases").default("UTF8"),
        Param::new("locale", Kind::Str, "Locale of the databases").default("C.UTF-8"),
        Param::new("wal_directory", Kind::Path, "Where pg_wal lies, if not in the data directory"),
        Param::new("settings", Kind::Dict, "The settings that will be written").required(),
        Param::new("shared", Kind::Str, "What is to be said of other clusters on the host"),
        Param::new("rules", Kind::Any, "The rules of pg_hba.conf that will be written").required(),
    ],
};

impl AnyProcedure for Survey {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn looks_ahead(&self) -> bool {
        true
    }

    fn forbids(&self, members: &[Member]) -> Result<(), Fault> {
        let found = read(members)?;
        // A server that starts or stops just now is waited for by the task itself.
        if members.is_empty() || unsettled(&found, 0).is_ok_and(|waiting| waiting.is_some()) {
            return Ok(());
        }
        look(members, &found).map(drop)
    }

    fn facts(&self) -> &'static [&'static str] {
        &["postgresql_surveyed"]
    }

    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault> {
        let mut asks = vec![Server::ask(args)?, ask(args)?];
        for call in calls(args)? {
            asks.extend(call.probe());
        }
        Ok(asks)
    }

    fn next(&self, members: &[Member], _round: usize, seconds: u64) -> Result<Round, Fault> {
        let found = read(members)?;
        if let Some(waiting_for) = unsettled(&found, seconds)? {
            return Ok(Round { waiting_for: Some(waiting_for), ..Round::default() });
        }
        let Some(first) = members.first() else { return Ok(Round::default()) };
        let (hosts, picture) = look(members, &found)?;
        let mut notes = Vec::new();
        let mut acts = Vec::new();
        for (((host, server), seen), member) in found.iter().zip(&hosts).zip(members) {
            let role = picture.role(&found, host);
            notes.extend(member.args.str("shared").map(|shared| format!("{host}: {shared}")));
            if role != Role::Stale && server.holds_cluster() && server.configured {
                notes.extend(told(host, &seen.standing));
                acts.extend(seen.keep(host, &member.args)?);
            }
        }
        notes.extend(wal_notes(&found, &picture, &first.args));
        let check = first.args.context("check_mode").and_then(Value::as_bool).unwrap_or(false);
        // Once: behind the copies, or with them where nothing is done.
        if !acts.is_empty() && !check {
            notes.clear();
        }
        let results = found.iter().map(|(host, _)| {
            let facts = json!({"postgresql_surveyed": true});
            (host.clone(), Map::from_iter([("ansible_facts".to_owned(), facts)]))
        });
        Ok(Round { acts, notes, results: results.collect(), ..Round::default() })
    }
}

/// What stands on every host, and who is what; everything that will be refused is refused here.
fn look(members: &[Member], found: &[(String, Server)]) -> Result<(Vec<Seen>, Picture), Fault> {
    let wanted = members.first().map(|first| Wanted::of(&first.args)).unwrap_or_default();
    let (mut faults, mut hosts) = (Vec::new(), Vec::new());
    for (member, (host, server)) in members.iter().zip(found) {
        let given_up = wanted.rebuild.contains(host);
        let (seen, refused) = Seen::read(member, server, given_up)?;
        faults.extend(refused.into_iter().map(|fault| (host.as_str(), fault)));
        hosts.push(seen);
    }
    if let Some(fault) = together(faults) {
        return Err(fault);
    }
    let picture = decide(found, &wanted)?;
    for ((host, _), seen) in found.iter().zip(&hosts) {
        seen.place_refused(host, picture.role(found, host))?;
    }
    Ok((hosts, picture))
}

/// The modules that will write, and refuse, as the role calls them: the cluster, its settings, its rules.
fn calls(args: &Args) -> Result<[Box<dyn Call>; 3], Fault> {
    let take = |names: &[&str]| {
        let mut given = Map::new();
        for name in ["version", "cluster", "data_directory"].iter().chain(names) {
            given.extend(args.value(name).map(|value| ((*name).to_owned(), value.clone())));
        }
        given
    };
    let call = |module: &str, mut given: Map<String, Value>, more: &[(&str, Value)]| {
        given.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let module = find(module).ok_or_else(|| Fault::task(format!("there is no module `{module}`")))?;
        let bound = Args::bind(module.spec(), &given).map_err(|faults| {
            faults.into_iter().next().unwrap_or_else(|| Fault::task("parameters that cannot be"))
        })?;
        // What a package or an earlier task brings is no reason to refuse.
        let context = Map::from_iter([("check_mode".to_owned(), Value::Bool(true))]);
        module.call(&bound.with_context(context))
    };
    Ok([
        call(
            "postgresql_cluster",
            take(&["port", "checksums", "encoding", "locale", "wal_directory"]),
            &[("state", json!("present"))],
        )?,
        call("postgresql_set", take(&["settings"]), &[("auto_conf", json!("reset"))])?,
        call("postgresql_hba", take(&["rules"]), &[])?,
    ])
}

/// The variable of the role `postgresql` behind a parameter.
const VARIABLES: &[(&str, &str)] = &[
    ("data_directory", "postgresql_data_directory"),
    ("checksums", "postgresql_data_checksums"),
    ("encoding", "postgresql_encoding"),
    ("locale", "postgresql_locale"),
    ("wal_directory", "postgresql_wal_directory"),
    ("port", "postgresql_port"),
    ("cluster", "postgresql_cluster_name"),
    ("version", "postgresql_version"),
];

/// Every host's refusals as one.
fn together(faults: Vec<(&str, Fault)>) -> Option<Fault> {
    let mut faults = faults.into_iter();
    let (host, fault) = faults.next()?;
    let variable = |fault: &Fault| {
        let named = VARIABLES.iter().find(|(param, _)| fault.param.as_deref() == Some(*param))?;
        Some(format!("the role's variable for `{}` is `{}`", named.0, named.1))
    };
    let hint = variable(&fault);
    let mut all = Fault { message: format!("{host}: {}", fault.message), ..fault };
    all.hints.extend(hint);
    for (host, other) in faults {
        all.notes.push(format!("{host}: {}", other.message));
        all.hints
            .extend(other.hints.iter().filter(|hint| !all.hints.contains(hint)).cloned().collect::<Vec<_>>());
        all.hints.extend(variable(&other).filter(|hint| !all.hints.contains(hint)));
    }
    all.notes.push("no host was touched".to_owned());
    Some(all)
}

/// What is known of one host besides its server.
struct Seen {
    standing: Standing,
    mounted: bool,
    cloning: bool,
    /// Files that are to be kept and are not yet.
    unkept: Vec<String>,
}

impl Seen {
    fn read(member: &Member, server: &Server, given_up: bool) -> Result<(Self, Vec<Fault>), Fault> {
        let (args, host) = (&member.args, &member.host);
        let output = member.answers.output(&ask(args)?)?;
        let text = output.text();
        let lines = Lines::of(&text);
        if lines.get("end").is_none() {
            return Err(Fault::task(format!("{host}: what is there could not be read"))
                .note(output.error_text().trim().to_owned()));
        }
        let mut faults = Vec::new();
        let mut standing = Standing::of(args, server, &lines);
        for (index, call) in calls(args)?.iter().enumerate() {
            match call.decide(&member.answers) {
                Ok(Decision::Act { changes, .. }) => standing.changes(&changes),
                Ok(Decision::InState(_)) => {}
                Err(_) if given_up && index == 0 => {}
                // What an announced change could bring is no refusal yet.
                Err(fault) if fault.healers == Some(&[]) => faults.push(fault),
                Err(_) => {}
            }
        }
        let seen = Self {
            standing,
            mounted: lines.get("mounted").is_some(),
            cloning: lines.get("cloning").is_some(),
            unkept: lines.all("unkept").map(str::to_owned).collect(),
        };
        Ok((seen, faults))
    }

    /// A host that is to be cloned needs a place for that.
    fn place_refused(&self, host: &str, role: Role) -> Result<(), Fault> {
        if !matches!(role, Role::Absent | Role::Stale) {
            return Ok(());
        }
        let data = &self.standing.data_directory;
        if self.mounted {
            return Err(Fault::param(
                "data_directory",
                format!("{host}: `{data}` is a mount point, which a clone cannot replace at once"),
            )
            .hint(
                "mount the file system one level up, or name a folder in it: `postgresql_data_directory`",
            ));
        }
        if self.cloning {
            return Err(Fault::task(format!("{host}: `{data}.cloning` is in the way and is not ours"))
                .hint("look at it, and move it away"));
        }
        Ok(())
    }

    /// Copies of what is taken over.
    fn keep(&self, host: &str, args: &Args) -> Result<Option<Act>, Fault> {
        if !self.standing.taken_over() || self.unkept.is_empty() {
            return Ok(None);
        }
        let config = Instance::decode(args)?.config_directory();
        let mut script = String::from("set -e\n");
        let mut changes = Vec::new();
        for path in &self.unkept {
            let copy = kept(&config, path);
            script.push_str(&format!("cp -p -- {} {}\n", quote(path), quote(&copy)));
            changes.push(Change::field(copy, "", format!("a copy of {path}")));
        }
        Ok(Some(Act {
            host: host.to_owned(),
            why: "keep copies of what is taken over".to_owned(),
            changes,
            actions: vec![Action::Run(Run::new(script).timeout(60).shown("cp NAME NAME.before-ishprov"))],
        }))
    }
}

/// Where a copy of a file goes.
fn kept(config: &str, path: &str) -> String {
    format!("{config}/{}.before-ishprov", path.rsplit('/').next().unwrap_or_default())
}

/// A primary whose WAL lies elsewhere, and hosts that are about to be cloned without that.
fn wal_notes(found: &[(String, Server)], picture: &Picture, args: &Args) -> Vec<String> {
    let leader = found.iter().find(|(host, _)| *host == picture.primary);
    let Some(link) = leader.and_then(|(_, server)| server.wal_link.as_ref()) else { return Vec::new() };
    if args.has("wal_directory") {
        return Vec::new();
    }
    let new: Vec<&str> = found
        .iter()
        .filter(|(host, _)| picture.role(found, host) == Role::Absent)
        .map(|(host, _)| host.as_str())
        .collect();
    if new.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "pg_wal of {} lies in `{link}`; on {} it will lie in the data directory: `postgresql_wal_directory: {link}` makes it alike",
        picture.primary,
        new.join(", ")
    )]
}

fn ask(args: &Args) -> Result<Ask, Fault> {
    let instance = Instance::decode(args)?;
    let (config, data) = (instance.config_directory(), &instance.data_directory);
    let mut script = instance.sql_function();
    script.push_str(&format!(
        "C={} D={} O={}\n{}",
        quote(&config),
        quote(data),
        overriding::OURS,
        overriding::script(&instance)
    ));
    script.push_str(PROBE);
    Ok(Ask::sh(script))
}

const PROBE: &str = r#"say() { printf '%s\t%s\n' "$1" "$2"; }
mountpoint -q "$D" 2>/dev/null && say mounted 1
[ -e "$D.cloning" ] && [ ! -f "$D.cloning/.ishprov" ] && say cloning 1
if [ -f "$C/postgresql.conf" ]; then
 o=; h=
 head -n 1 "$C/conf.d/$O" 2>/dev/null | grep -q '^# Written by ishprov' && o=1 && say ours settings
 head -n 1 "$C/pg_hba.conf" 2>/dev/null | grep -q '^# Written by ishprov' && h=1 && say ours rules
 if [ -z "$o" ] || [ -z "$h" ]; then
  for f in "$C/pg_hba.conf" "$C/postgresql.conf" "$D/postgresql.auto.conf"; do
   [ ! -f "$f" ] || [ -e "$C/${f##*/}.before-ishprov" ] || say unkept "$f"
  done
  sql 2>/dev/null <<'X'
SELECT 'runs', name, context, current_setting(name) FROM pg_settings ORDER BY 2;
X
 fi
fi
say end 1
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_all_hosts_are_one_with_the_roles_variables() {
        let fault = |param: &str, words: &str| Fault::param(param, words).certain();
        let faults =
            vec![("pga", fault("data_directory", "it lies elsewhere")), ("pgb", fault("port", "taken"))];
        let all = together(faults).expect("a fault");
        assert_eq!(all.message, "pga: it lies elsewhere");
        assert_eq!(all.notes, ["pgb: taken", "no host was touched"]);
        assert_eq!(
            all.hints,
            [
                "the role's variable for `data_directory` is `postgresql_data_directory`",
                "the role's variable for `port` is `postgresql_port`"
            ]
        );
        assert_eq!(together(Vec::new()), None);
    }

    #[test]
    fn copies_lie_with_the_configuration() {
        assert_eq!(
            kept("/etc/postgresql/15/main", "/srv/15/postgresql.auto.conf"),
            "/etc/postgresql/15/main/postgresql.auto.conf.before-ishprov"
        );
    }
}
