//! What was made for the inventory and is no longer named by it: said at the end of every run, with the line that removes
//! it. Rules of the firewall that are ours, and slots of standbys that left, go by themselves.
//!
//! What was made is written down on every host of the cluster, in `/var/lib/ishprov/made-VERSION-CLUSTER`, so that any of
//! them may become the primary. Only what stands there, or carries a comment of ours in the firewall, is ever removed or
//! named: things of other people are not looked at. A slot that is in use is named and stays. Rules of the firewall go
//! only in a run that has all hosts (`whole`), and not those for the port of another cluster on the host.
//!
//! EXAMPLES
//! - name: What the inventory names no longer
//!   postgresql_leftovers:
//!     version: 15
//!     primary: "{{ postgresql_primary }}"
//!     slots: [pg_replica1, pg_replica2]
//!     accounts: [{name: app}, {name: old, state: absent}]
//!     databases: [{name: app}]

use super::{Act, AnyProcedure, Member, Round};
use crate::diag::Fault;
use crate::modules::{Args, Change, Instance, Kind, Lines, Nature, Param, Spec, instance};
use crate::shell::{Action, Ask, Put, Run, join, quote};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The procedure `postgresql_leftovers`.
pub struct Leftovers;

static SPEC: Spec = Spec {
    name: "postgresql_leftovers",
    aliases: &[],
    summary: "What was made and is no longer named: told, and where it is safe removed",
    source: include_str!("leftovers.rs"),
    nature: Nature::State,
    free_form: None,
    open: false,
    params: &[
        instance::VERSION,
        instance::CLUSTER,
        instance::DATA_DIRECTORY,
        Param::new("primary", Kind::Str, "The primary's host").required(),
        Param::new("slots", Kind::List, "Slots of the cluster's standbys"),
        Param::new("accounts", Kind::Any, "Accounts, as the role has them"),
        Param::new("databases", Kind::Any, "Databases, as the role has them"),
        Param::new("extensions", Kind::Any, "Extensions, as the role has them"),
        Param::new("rights", Kind::Any, "Rights, as the role has them"),
        Param::new("certificates", Kind::List, "Files of certificates on the host"),
        Param::new("port", Kind::Int, "The port that the firewall opens"),
        Param::new("peers", Kind::List, "Addresses of the cluster's hosts, as the firewall lets them in"),
        Param::new("clients", Kind::List, "Networks of clients, as the firewall lets them in"),
        Param::new("whole", Kind::Bool, "All hosts of the cluster are in this run").default("false"),
    ],
};

/// Kinds of things that are written down: the word, the parameter that names them, the variable that removes them.
const KINDS: &[(&str, &str, &str)] = &[
    ("account", "accounts", "postgresql_users"),
    ("database", "databases", "postgresql_databases"),
    ("extension", "extensions", "postgresql_extensions"),
    ("right", "rights", "postgresql_privileges"),
];

/// Comments of the firewall's rules that are ours.
const COMMENTS: [&str; 2] = ["ishprov: peer", "ishprov: clients"];

impl AnyProcedure for Leftovers {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn probe(&self, args: &Args) -> Result<Vec<Ask>, Fault> {
        Ok(vec![ask(args)?])
    }

    fn next(&self, members: &[Member], round: usize, _seconds: u64) -> Result<Round, Fault> {
        let Some(first) = members.first() else { return Ok(Round::default()) };
        let found = members.iter().map(Found::read).collect::<Result<Vec<_>, _>>()?;
        let primary = first.args.required("primary");
        let at = members.iter().position(|member| member.host == primary);
        // Without the primary nobody can say what is there.
        let Some((leader, server)) = at.and_then(|at| Some((members.get(at)?, found.get(at)?))) else {
            return Ok(Round::default());
        };
        let check = first.args.context("check_mode").and_then(Value::as_bool).unwrap_or(false);
        let known: BTreeSet<Made> = found.iter().flat_map(|one| one.made.iter().cloned()).collect();
        let wanted = wanted(&leader.args);
        let dropped = droppable(&known, &wanted, server);
        let kept = kept(&known, &wanted, &dropped, server);
        let mut acts = Vec::new();
        for (member, one) in members.iter().zip(&found) {
            let mine = if member.host == primary { dropped.as_slice() } else { &[] };
            acts.extend(one.act(member, mine, &kept)?);
        }
        // In circles with somebody who puts them back: said once, by the next run.
        if round > 1 {
            acts.clear();
        }
        let mut notes = Vec::new();
        if acts.is_empty() || check {
            notes = named(&kept, &wanted, server);
            notes.extend(members.iter().zip(&found).flat_map(|(member, one)| one.named(member)));
        }
        let results = members.iter().map(|member| (member.host.clone(), Map::new())).collect();
        Ok(Round { acts, notes, results, ..Round::default() })
    }
}

/// Something that was made: its kind, and its name or its whole entry as JSON.
type Made = (String, String);

/// What one host says.
#[derive(Debug, Default)]
struct Found {
    made: BTreeSet<Made>,
    accounts: BTreeSet<String>,
    databases: BTreeSet<String>,
    /// Physical slots, and whether they are in use.
    slots: Vec<(String, bool)>,
    /// The server answered.
    answers: bool,
    rules: Vec<Rule>,
    /// Ports of other clusters on the host.
    ports: BTreeSet<String>,
    certificates: Vec<String>,
    units: Vec<String>,
    old_data: Vec<String>,
}

/// A rule of the firewall that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    source: String,
    port: String,
    comment: String,
}

impl Found {
    fn read(member: &Member) -> Result<Self, Fault> {
        let output = member.answers.output(&ask(&member.args)?)?;
        let text = output.text();
        let lines = Lines::of(&text);
        if lines.get("end").is_none() {
            return Err(Fault::task(format!("{}: what was made could not be read", member.host))
                .note(output.error_text().trim().to_owned()));
        }
        let all = |key: &'static str| lines.all(key).map(str::to_owned);
        let pair = |line: &str| line.split_once('\t').map(|(one, two)| (one.to_owned(), two.to_owned()));
        Ok(Self {
            made: lines.all("made").filter_map(pair).collect(),
            accounts: all("role").collect(),
            databases: all("db").collect(),
            slots: lines.all("slot").filter_map(pair).map(|(name, active)| (name, active == "t")).collect(),
            answers: lines.get("answers").is_some(),
            rules: lines.all("rule").filter_map(Rule::parse).collect(),
            ports: all("port").collect(),
            certificates: all("certificate").collect(),
            units: all("unit").collect(),
            old_data: all("old").collect(),
        })
    }

    /// What is to be done on this host: slots, rules, and the record.
    fn act(&self, member: &Member, dropped: &[String], kept: &BTreeSet<Made>) -> Result<Option<Act>, Fault> {
        let args = &member.args;
        let instance = Instance::decode(args)?;
        let (mut actions, mut changes, mut why) = (Vec::new(), Vec::new(), Vec::new());
        if !dropped.is_empty() {
            let sql: String =
                dropped.iter().map(|name| format!("SELECT pg_drop_replication_slot('{name}');\n")).collect();
            let shown = format!("pg_drop_replication_slot: {}", dropped.join(", "));
            actions.push(Action::Run(
                Run::new(format!("{}sql >/dev/null", instance.sql_function()))
                    .stdin(sql)
                    .timeout(60)
                    .shown(shown),
            ));
            changes.extend(
                dropped
                    .iter()
                    .map(|name| Change::field(format!("slot {name}"), "of a host that left", "absent")),
            );
            why.push("slots of hosts that left");
        }
        for rule in self.strays(args) {
            actions.push(Action::argv(rule.delete()));
            changes.push(Change::field("firewall rule", rule.shown(), "absent"));
            if !why.contains(&"rules of the firewall") {
                why.push("rules of the firewall");
            }
        }
        let mut mine = kept.clone();
        mine.extend(args.list("certificates").into_iter().map(|path| ("certificate".to_owned(), path)));
        mine.extend(self.certificates.iter().map(|path| ("certificate".to_owned(), path.clone())));
        if mine != self.made {
            let text: String = mine.iter().map(|(kind, name)| format!("{kind}\t{name}\n")).collect();
            let path = record(&instance);
            actions.push(Action::Run(Run::new("install -d -m 0755 /var/lib/ishprov").timeout(60)));
            let mut put = Put::new(path.clone(), text);
            put.mode = Some(0o600);
            actions.push(Action::Put(put));
            changes.push(Change::field(path, "", "what was made, written down"));
            why.push("what was made is written down");
        }
        let why = why.join(", ");
        Ok((!actions.is_empty()).then_some(Act { host: member.host.clone(), why, changes, actions }))
    }

    /// Rules of ours that nobody asks for any more.
    fn strays(&self, args: &Args) -> Vec<Rule> {
        if args.bool("whole") != Some(true) {
            return Vec::new();
        }
        let port = args.int("port").unwrap_or_default().to_string();
        let named = |what: &str| args.list(what).iter().map(|source| plain(source)).collect::<BTreeSet<_>>();
        let (peers, clients) = (named("peers"), named("clients"));
        let stays = |rule: &Rule| {
            let named = if rule.comment == COMMENTS[0] { &peers } else { &clients };
            self.ports.contains(&rule.port) || rule.port == port && named.contains(&rule.source)
        };
        self.rules.iter().filter(|rule| !stays(rule)).cloned().collect()
    }

    /// What lies on this host and is named by nobody.
    fn named(&self, member: &Member) -> Vec<String> {
        let host = &member.host;
        let wanted = member.args.list("certificates");
        let certificates = self.certificates.iter().filter(|path| !wanted.contains(path));
        let certificates = certificates.map(|path| {
            format!(
                "{host}: the inventory no longer names the certificate {path}: `rm {}` there",
                quote(path)
            )
        });
        let units = self
            .units
            .iter()
            .map(|path| format!("{host}: {path} belongs to no cluster any more: `rm {}` there", quote(path)));
        let old = self.old_data.iter().map(|path| {
            format!(
                "{host}: {path} holds data that were given up: `rm -r {}` there when nobody needs them",
                quote(path)
            )
        });
        certificates.chain(units).chain(old).collect()
    }
}

impl Rule {
    /// `allow tcp 5432 0.0.0.0/0 any 198.18.0.1 in comment=HEX`, a rule as ufw keeps it.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["allow", "tcp", port, _any, "any", source, "in", comment] = words[..] else { return None };
        let hex = comment.strip_prefix("comment=")?;
        let bytes: Option<Vec<u8>> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
        let comment = String::from_utf8(bytes?).ok()?;
        COMMENTS.contains(&comment.as_str()).then(|| Self {
            source: plain(source),
            port: port.to_owned(),
            comment,
        })
    }

    fn delete(&self) -> Vec<String> {
        let from = if self.source == "0.0.0.0/0" || self.source == "::/0" { "any" } else { &self.source };
        ["ufw", "delete", "allow", "from", from, "to", "any", "port", &self.port, "proto", "tcp"]
            .map(str::to_owned)
            .to_vec()
    }

    fn shown(&self) -> String {
        format!("port {} from {} ({})", self.port, self.source, self.comment)
    }
}

/// An address or network in the one form that ufw keeps.
fn plain(source: &str) -> String {
    let text = if source == "any" { "0.0.0.0/0" } else { source };
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return address.to_string();
    }
    match text.parse::<ipnet::IpNet>() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Ok(net) => net.trunc().to_string(),
        Err(_) => text.to_owned(),
    }
}

/// What the inventory names now: present, and to be absent.
#[derive(Debug, Default)]
struct Wanted {
    present: BTreeSet<Made>,
    absent: BTreeSet<Made>,
}

fn wanted(args: &Args) -> Wanted {
    let mut wanted = Wanted::default();
    for (kind, param, _) in KINDS {
        for item in args.value(param).and_then(Value::as_array).into_iter().flatten() {
            let absent = item.get("state").and_then(Value::as_str) == Some("absent");
            let made = ((*kind).to_owned(), entry(kind, item));
            // The record has a line for each.
            if made.1.contains(char::is_control) {
                continue;
            }
            if absent {
                wanted.absent.insert(made)
            } else {
                wanted.present.insert(made)
            };
        }
    }
    wanted.present.extend(args.list("slots").into_iter().map(|name| ("slot".to_owned(), name)));
    wanted
}

/// How an entry is known again: an account and a database by its name, the others by all that they say.
fn entry(kind: &str, item: &Value) -> String {
    if let ("account" | "database", Some(name)) = (kind, item.get("name").and_then(Value::as_str)) {
        return name.to_owned();
    }
    let mut item = item.clone();
    if let Some(map) = item.as_object_mut() {
        map.remove("state");
    }
    item.to_string()
}

/// Slots of ours that no standby needs and nobody reads from.
fn droppable(known: &BTreeSet<Made>, wanted: &Wanted, server: &Found) -> Vec<String> {
    let ours = |name: &str| known.contains(&("slot".to_owned(), name.to_owned()));
    let named = |name: &str| wanted.present.contains(&("slot".to_owned(), name.to_owned()));
    let free = server.slots.iter().filter(|(name, active)| !active && ours(name) && !named(name));
    free.map(|(name, _)| name.clone()).collect()
}

/// What is written down from now on: what is named, and what was made and is still there.
fn kept(known: &BTreeSet<Made>, wanted: &Wanted, dropped: &[String], server: &Found) -> BTreeSet<Made> {
    let there = |(kind, name): &Made| match kind.as_str() {
        "account" => server.accounts.contains(name),
        "database" => server.databases.contains(name),
        "slot" => server.slots.iter().any(|(slot, _)| slot == name) && !dropped.contains(name),
        // Rights and extensions live in a database.
        "right" | "extension" => {
            let item: Value = serde_json::from_str(name).unwrap_or_default();
            let database = ["database", "db"].iter().find_map(|key| item.get(*key)?.as_str());
            database.is_none_or(|database| server.databases.contains(database))
        }
        _ => false,
    };
    let left = known.iter().filter(|made| made.0 != "certificate" && !wanted.absent.contains(*made));
    // A server that does not answer forgets nothing.
    let left = left.filter(|made| !server.answers || there(made)).cloned();
    left.chain(wanted.present.iter().cloned()).collect()
}

/// What nobody names any more, with what removes it.
fn named(kept: &BTreeSet<Made>, wanted: &Wanted, server: &Found) -> Vec<String> {
    if !server.answers {
        return Vec::new();
    }
    let left = kept.iter().filter(|made| !wanted.present.contains(*made));
    left.filter_map(|(kind, name)| {
        if kind == "slot" {
            return Some(format!(
                "the slot {name} is of a host that left, and somebody reads from it: stop that standby, and it goes with the next run"
            ));
        }
        let (_, _, variable) = KINDS.iter().find(|(known, _, _)| known == kind)?;
        let item = match serde_json::from_str::<Value>(name) {
            Ok(Value::Object(mut item)) => {
                item.insert("state".to_owned(), json!("absent"));
                Value::Object(item)
            }
            _ => json!({"name": name, "state": "absent"}),
        };
        let what = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let blank = if what.is_empty() { "" } else { " " };
        // Whether rights and extensions are still there, nobody asked.
        let stands = match kind.as_str() {
            "account" | "database" => "which stays",
            _ => "which an earlier run gave",
        };
        Some(format!("the inventory no longer names the {kind}{blank}{what}, {stands}: `- {item}` in `{variable}` removes it"))
    })
    .collect()
}

fn record(instance: &Instance) -> String {
    format!("/var/lib/ishprov/made-{}-{}", instance.version, instance.name)
}

fn ask(args: &Args) -> Result<Ask, Fault> {
    let instance = Instance::decode(args)?;
    let mut script = instance.sql_function();
    let certificates = args.list("certificates");
    script.push_str(&format!(
        "R={} D={} own={}\nset --{}\n",
        quote(&record(&instance)),
        quote(&instance.data_directory),
        quote(&instance.label()),
        if certificates.is_empty() { String::new() } else { format!(" {}", join(&certificates)) },
    ));
    script.push_str(PROBE);
    Ok(Ask::sh(script))
}

const PROBE: &str = r#"[ ! -f "$R" ] || sed 's/^/made\t/' "$R"
{ for f in "$@"; do echo "$f"; done; [ ! -f "$R" ] || sed -n 's/^certificate\t//p' "$R"; } | sort -u |
while IFS= read -r f; do [ ! -e "$f" ] || printf 'certificate\t%s\n' "$f"; done
cat /etc/ufw/user.rules /etc/ufw/user6.rules 2>/dev/null | sed -n 's/^### tuple ### /rule\t/p'
if command -v pg_lsclusters >/dev/null; then
 pg_lsclusters -h | while read -r v n p x; do [ "$v/$n" = "$own" ] || printf 'port\t%s\n' "$p"; done
fi
for f in /etc/systemd/system/postgresql@*.service.d/60-ishprov.conf; do
 [ -f "$f" ] || continue
 c=${f#*@}; c=${c%.service.d/*}
 [ -d "/etc/postgresql/${c%%-*}/${c#*-}" ] || printf 'unit\t%s\n' "$f"
done
for x in "$D.old-"*; do [ ! -f "$x/PG_VERSION" ] || printf 'old\t%s\n' "$x"; done
sql 2>/dev/null <<'X'
SELECT 'role', rolname FROM pg_roles WHERE rolname !~ '^pg_';
SELECT 'db', datname FROM pg_database;
SELECT 'slot', slot_name, active FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary;
SELECT 'answers', 1;
X
printf 'end\t1\n'
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::{Answer, Answers, Output};

    const SERVER: &str = "role\tapp\nrole\told\nrole\tsomebody\ndb\tapp\ndb\tolddb\nslot\tpgb\tt\nslot\tpgc\tf\nslot\tpgd\tt\nslot\tbarman\tf\nanswers\t1\n";
    const MADE: &str = "made\taccount\tapp\nmade\taccount\told\nmade\taccount\tgone\nmade\tdatabase\tapp\nmade\tdatabase\tolddb\nmade\tslot\tpgb\n\
                        made\tslot\tpgc\nmade\tslot\tpgd\nmade\tright\t{\"database\":\"app\",\"privs\":\"SELECT\",\"roles\":\"old\"}\n";

    fn member(host: &str, given: &Value, said: &str) -> Member {
        let mut params = json!({"version": 15, "primary": "pga", "slots": ["pgb"], "accounts": [{"name": "app"}],
            "databases": [{"name": "app"}], "port": 5433, "peers": ["198.18.0.1", "fd00::1"], "clients": ["198.18.5.0/24"], "whole": true});
        for (name, value) in given.as_object().expect("a mapping") {
            params[name] = value.clone();
        }
        let args = Args::bind(&SPEC, params.as_object().expect("a mapping")).expect("binds");
        let mut answers = Answers::new();
        answers.insert(ask(&args).expect("asks"), Answer::Output(Output::ok(format!("{said}end\t1\n"))));
        Member { host: host.to_owned(), args, answers }
    }

    fn acts(round: &Round) -> Vec<String> {
        let one = |act: &Act| {
            act.changes
                .iter()
                .map(|change| match change {
                    Change::Field { name, before, after } => {
                        format!("{} {name}: {before} -> {after}", act.host)
                    }
                    Change::Text { name, .. } => name.clone(),
                })
                .collect::<Vec<_>>()
        };
        round.acts.iter().flat_map(one).collect()
    }

    #[test]
    fn slots_of_hosts_that_left_go_and_the_rest_is_named() {
        let said = format!("{MADE}{SERVER}");
        let members = [member("pga", &json!({}), &said), member("pgb", &json!({}), MADE)];
        let round = Leftovers.next(&members, 0, 0).expect("a round");
        assert_eq!(
            acts(&round),
            [
                "pga slot pgc: of a host that left -> absent",
                "pga /var/lib/ishprov/made-15-main:  -> what was made, written down",
                "pgb /var/lib/ishprov/made-15-main:  -> what was made, written down"
            ]
        );
        // Afterwards: only what stays is named, and nothing of somebody else.
        let kept = MADE.replace("made\taccount\tgone\n", "").replace("made\tslot\tpgc\n", "");
        let said = format!("{kept}{}", SERVER.replace("slot\tpgc\tf\n", ""));
        let members = [member("pga", &json!({}), &said), member("pgb", &json!({}), &kept)];
        let round = Leftovers.next(&members, 1, 0).expect("a round");
        assert_eq!(acts(&round), Vec::<String>::new());
        assert_eq!(
            round.notes,
            [
                "the inventory no longer names the account old, which stays: `- {\"name\":\"old\",\"state\":\"absent\"}` in `postgresql_users` removes it",
                "the inventory no longer names the database olddb, which stays: `- {\"name\":\"olddb\",\"state\":\"absent\"}` in `postgresql_databases` removes it",
                "the inventory no longer names the right, which an earlier run gave: `- {\"database\":\"app\",\"privs\":\"SELECT\",\"roles\":\"old\",\"state\":\"absent\"}` in `postgresql_privileges` removes it",
                "the slot pgd is of a host that left, and somebody reads from it: stop that standby, and it goes with the next run",
            ]
        );
    }

    #[test]
    fn our_rules_of_the_firewall_go_and_those_of_others_stay() {
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let rule = |port: u16, source: &str, comment: &str| {
            format!("rule\tallow tcp {port} 0.0.0.0/0 any {source} in comment={}\n", hex(comment))
        };
        let said = [
            rule(5433, "198.18.0.1", "ishprov: peer"),
            rule(5432, "198.18.0.1", "ishprov: peer"),
            rule(5433, "198.18.0.9", "ishprov: peer"),
            rule(5433, "fd00::1", "ishprov: peer"),
            rule(5433, "198.18.5.0/24", "ishprov: clients"),
            rule(5433, "198.18.6.0/24", "ishprov: clients"),
            rule(5432, "198.18.7.0/24", "somebody else"),
            rule(5439, "198.18.0.9", "ishprov: peer"),
            "port\t5439\n".to_owned(),
            "rule\tallow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n".to_owned(),
        ]
        .concat();
        let of =
            |given: &Value| acts(&Leftovers.next(&[member("pga", given, &said)], 0, 0).expect("a round"));
        let rules: Vec<_> = of(&json!({})).into_iter().filter(|act| act.contains("firewall")).collect();
        assert_eq!(
            rules,
            [
                "pga firewall rule: port 5432 from 198.18.0.1 (ishprov: peer) -> absent",
                "pga firewall rule: port 5433 from 198.18.0.9 (ishprov: peer) -> absent",
                "pga firewall rule: port 5433 from 198.18.6.0/24 (ishprov: clients) -> absent"
            ]
        );
        assert!(
            !of(&json!({"whole": false})).iter().any(|act| act.contains("firewall")),
            "a host is missing"
        );
    }

    #[test]
    fn files_that_nobody_names_are_named_by_host() {
        let said = "made\tcertificate\t/etc/x/old.crt\ncertificate\t/etc/x/new.crt\ncertificate\t/etc/x/old.crt\n\
                    unit\t/etc/systemd/system/postgresql@15-gone.service.d/60-ishprov.conf\nold\t/var/lib/postgresql/15/main.old-1\nanswers\t1\n";
        let given = json!({"certificates": ["/etc/x/new.crt"], "accounts": [], "databases": [], "slots": []});
        let first = Leftovers.next(&[member("pga", &given, said)], 1, 0).expect("a round");
        assert_eq!(acts(&first), ["pga /var/lib/ishprov/made-15-main:  -> what was made, written down"]);
        let said = format!("made\tcertificate\t/etc/x/new.crt\n{said}");
        let round = Leftovers.next(&[member("pga", &given, &said)], 1, 0).expect("a round");
        assert_eq!(
            round.notes,
            [
                "pga: the inventory no longer names the certificate /etc/x/old.crt: `rm /etc/x/old.crt` there",
                "pga: /etc/systemd/system/postgresql@15-gone.service.d/60-ishprov.conf belongs to no cluster any more: \
                 `rm /etc/systemd/system/postgresql@15-gone.service.d/60-ishprov.conf` there",
                "pga: /var/lib/postgresql/15/main.old-1 holds data that were given up: `rm -r /var/lib/postgresql/15/main.old-1` \
                 there when nobody needs them",
            ]
        );
    }
}
