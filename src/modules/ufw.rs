//! The host's firewall by ufw, for IPv4 and IPv6.
//!
//! A rule that is there already (ufw's own normal form is compared) is left alone; one for the same packets with
//! another action or comment is changed in place. New rules without a `comment` are tagged `ishprov`. `delete`
//! removes exactly the rule described, and with `comment` only when it carries that comment: rules of other people
//! are never removed. `state: reset` would do so and is refused.
//!
//! `state: enabled` cannot lock you out. Where a new SSH connection from the control machine is not allowed already,
//! a rule for its address and each port of sshd comes first; then a timer is set that switches ufw off after
//! `lockout_timeout` seconds; then ufw is switched on; then a second connection is opened, and only when that works
//! the timer is called off. Otherwise the task fails, and the host undoes it by itself. Established connections are kept: connection tracking is
//! made lenient, since it has not seen their beginnings.
//!
//! Make the rules for peers (replication, clients) before `state: enabled`; the play's order is kept.
//!
//! EXAMPLES
//! - name: PostgreSQL from the cluster's network
//!   ufw: {rule: allow, from_ip: 198.18.0.0/24, to_port: 5432, proto: tcp, comment: "postgresql: peers"}
//! - name: Nothing else comes in
//!   ufw: {direction: incoming, policy: deny}
//! - name: On, without locking us out
//!   ufw: {state: enabled, lockout_timeout: 90}

use super::ufw_guard::{self, Guard};
use super::ufw_rule::{self, Rule, Standing, Tuple};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `ufw`.
pub struct Ufw;

/// What the firewall shall be like.
#[derive(Debug)]
pub struct Params {
    state: Option<State>,
    /// Direction and policy.
    policy: Option<(&'static str, String)>,
    logging: Option<String>,
    rule: Option<Rule>,
    delete: bool,
    insert: Option<i64>,
    lockout_timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Enabled,
    Disabled,
    Reloaded,
}

/// What it is like.
pub struct Found {
    enabled: bool,
    ipv6: bool,
    logging: String,
    /// Of incoming, outgoing and routed packets, as ufw writes them.
    policies: [String; 3],
    tuples: Vec<Tuple>,
    guard: Option<Guard>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    rule: Option<Standing>,
    policy: bool,
    logging: bool,
    state: Option<State>,
}

const DIRECTIONS: [(&str, &str); 3] = [
    ("incoming", "DEFAULT_INPUT_POLICY"),
    ("outgoing", "DEFAULT_OUTPUT_POLICY"),
    ("routed", "DEFAULT_FORWARD_POLICY"),
];

impl Module for Ufw {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "ufw",
        aliases: &[],
        summary: "The host's firewall",
        source: include_str!("ufw.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new(
                "state",
                Kind::Choice(&["enabled", "disabled", "reloaded", "reset"]),
                "On or off; `reloaded` always acts",
            ),
            Param::new(
                "policy",
                Kind::Choice(&["allow", "deny", "reject"]),
                "What becomes of packets without a rule",
            )
            .aliases(&["default"]),
            Param::new(
                "direction",
                Kind::Choice(&["in", "incoming", "out", "outgoing", "routed"]),
                "What the policy or rule is about",
            )
            .default("incoming"),
            Param::new(
                "logging",
                Kind::Choice(&["on", "off", "low", "medium", "high", "full"]),
                "What is logged",
            ),
            Param::new(
                "rule",
                Kind::Choice(&["allow", "deny", "reject", "limit"]),
                "What becomes of the packets described",
            ),
            Param::new("from_ip", Kind::Str, "Address or network they come from")
                .default("any")
                .aliases(&["from", "src"]),
            Param::new("from_port", Kind::Str, "Port they come from"),
            Param::new("to_ip", Kind::Str, "Address they go to").default("any").aliases(&["to", "dest"]),
            Param::new("to_port", Kind::Str, "Port, range `6000:6007` or list `80,443` they go to")
                .aliases(&["port"]),
            Param::new(
                "proto",
                Kind::Choice(&["any", "tcp", "udp", "ipv6", "esp", "ah", "gre", "igmp"]),
                "Protocol",
            )
            .default("any")
            .aliases(&["protocol"]),
            Param::new("name", Kind::Str, "Application profile in place of port and protocol")
                .aliases(&["app"]),
            Param::new("interface", Kind::Str, "Interface of the rule's direction").aliases(&["if"]),
            Param::new("interface_in", Kind::Str, "Interface they come in by").aliases(&["if_in"]),
            Param::new("interface_out", Kind::Str, "Interface they go out by").aliases(&["if_out"]),
            Param::new("route", Kind::Bool, "The rule is about forwarded packets").default("false"),
            Param::new("log", Kind::Bool, "Log new connections of the rule").default("false"),
            Param::new("comment", Kind::Str, "Kept beside the rule").default("ishprov"),
            Param::new("insert", Kind::Int, "Position of a new rule; 1 puts it first"),
            Param::new("delete", Kind::Bool, "The rule shall not be there").default("false"),
            Param::new(
                "lockout_timeout",
                Kind::Int,
                "Seconds until `state: enabled` is undone unless a new connection works; 0 never",
            )
            .default("60"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let state = match args.str("state").as_deref() {
            Some("enabled") => Some(State::Enabled),
            Some("disabled") => Some(State::Disabled),
            Some("reloaded") => Some(State::Reloaded),
            Some(_) => {
                return Err(Fault::param("state", "`state: reset` would remove rules that are not ours")
                    .hint("`delete: true` removes a rule"));
            }
            None => None,
        };
        let rule = args.str("rule").map(|action| rule(args, action)).transpose()?;
        let direction = match args.str("direction").as_deref() {
            Some("out" | "outgoing") => "outgoing",
            Some("routed") => "routed",
            _ => "incoming",
        };
        let policy = args.str("policy").map(|policy| (direction, policy));
        if rule.is_none() {
            let needs = [
                "from_ip",
                "from_port",
                "to_ip",
                "to_port",
                "name",
                "interface",
                "comment",
                "insert",
                "delete",
                "proto",
            ];
            if let Some(name) = needs.iter().find(|name| args.has(name)) {
                return Err(Fault::param(*name, format!("`{name}` is about a rule, and there is no `rule`"))
                    .hint("`rule: allow`, `deny`, `reject` or `limit`"));
            }
        }
        let lockout = args.int("lockout_timeout").unwrap_or(60);
        if lockout != 0 && !(15..=3600).contains(&lockout) {
            return Err(Fault::param("lockout_timeout", "`lockout_timeout` takes 15 to 3600 seconds, or 0"));
        }
        let params = Params {
            state,
            policy,
            logging: args.str("logging").map(|level| if level == "on" { "low".to_owned() } else { level }),
            rule,
            delete: args.bool("delete").unwrap_or(false),
            insert: args.int("insert"),
            lockout_timeout: lockout.unsigned_abs(),
        };
        if params.state.is_none()
            && params.policy.is_none()
            && params.logging.is_none()
            && params.rule.is_none()
        {
            return Err(
                Fault::task("nothing is asked of ufw").hint("give `state`, `policy`, `logging` or `rule`")
            );
        }
        if params.insert.is_some_and(|position| position < 1) {
            return Err(Fault::param("insert", "positions count from 1"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![Ask::sh(FILES)];
        if params.state == Some(State::Enabled) {
            asks.push(Ask::sh(ufw_guard::probe()));
        }
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let text = answers.output(&Ask::sh(FILES))?.text();
        if text.lines().next() == Some("absent") {
            return Err(Fault::task("ufw is not installed on the host")
                .healed_by(&["apt"])
                .hint("`apt: {name: ufw}` installs it"));
        }
        let setting = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix("set ")?.split_once('='));
            values.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_lowercase())
        };
        let tuples = text.lines().filter_map(|line| match line.split_once(' ')? {
            ("v4", tuple) => Tuple::parse(tuple, false),
            ("v6", tuple) => Tuple::parse(tuple, true),
            _ => None,
        });
        let guard = match params.state {
            Some(State::Enabled) => {
                Some(ufw_guard::parse(&answers.output(&Ask::sh(ufw_guard::probe()))?.text()))
            }
            _ => None,
        };
        Ok(Found {
            enabled: setting("ENABLED").as_deref() == Some("yes"),
            ipv6: setting("IPV6").as_deref() == Some("yes"),
            logging: setting("LOGLEVEL").unwrap_or_default(),
            policies: DIRECTIONS.map(|(_, key)| setting(key).unwrap_or_default()),
            tuples: tuples.collect(),
            guard,
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let running = found.enabled && found.guard.as_ref().is_none_or(|guard| guard.live);
        let diff = Diff {
            rule: match &params.rule {
                Some(rule) => rule_diff(params, rule, found)?,
                None => None,
            },
            policy: params
                .policy
                .as_ref()
                .is_some_and(|(direction, policy)| found.policy(direction) != ufw_rule::target(policy)),
            logging: params.logging.as_ref().is_some_and(|level| *level != found.logging),
            state: params.state.filter(|state| match state {
                State::Enabled => !running,
                State::Disabled => found.enabled,
                State::Reloaded => found.enabled,
            }),
        };
        if diff.rule.is_none() && !diff.policy && !diff.logging && diff.state.is_none() {
            return Ok(Verdict::InState(reason(params, found)));
        }
        Ok(Verdict::Act(diff))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let (Some(rule), Some(standing)) = (&params.rule, &diff.rule) {
            let text = rule.words(&[]).join(" ");
            changes.push(match (params.delete, standing) {
                (true, _) => Change::field("rule", text, "absent"),
                (false, Standing::Differs(before)) => Change::field("rule", before, text),
                (false, _) => Change::field("rule", "absent", text),
            });
        }
        if let (Some((direction, policy)), true) = (&params.policy, diff.policy) {
            changes.push(Change::field(
                format!("policy of {direction}"),
                ufw_rule::source(found.policy(direction)),
                policy,
            ));
        }
        if let (Some(level), true) = (&params.logging, diff.logging) {
            changes.push(Change::field("logging", &*found.logging, level));
        }
        if let Some(state) = diff.state {
            let before = if found.enabled { "enabled" } else { "disabled" };
            let after = match state {
                State::Enabled => "enabled",
                State::Disabled => "disabled",
                State::Reloaded => "reloaded",
            };
            changes.push(Change::field("firewall", before, after));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        let ufw = |words: &[&str]| Action::argv(std::iter::once("ufw").chain(words.iter().copied()));
        if diff.state == Some(State::Disabled) {
            actions.push(ufw(&["disable"]));
        }
        if let (Some(rule), Some(standing)) = (&params.rule, &diff.rule) {
            let position = params.insert.map(|position| position.to_string());
            let place: Vec<&str> = match (params.delete, standing, &position) {
                (true, ..) => vec!["delete"],
                // `insert 1` fails where there is no rule yet, and for IPv6 in any case; `prepend` does not.
                (_, Standing::Missing, Some(position)) if position == "1" || found.tuples.is_empty() => {
                    vec!["prepend"]
                }
                (_, Standing::Missing, Some(position)) => vec!["insert", position],
                _ => vec![],
            };
            let mut rule = rule.clone();
            rule.comment.get_or_insert_with(|| TAG.to_owned());
            let words = rule.words(&place);
            actions.push(ufw(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        if let (Some((direction, policy)), true) = (&params.policy, diff.policy) {
            actions.push(ufw(&["default", policy, direction]));
        }
        if let (Some(level), true) = (&params.logging, diff.logging) {
            actions.push(ufw(&["logging", level]));
        }
        match (diff.state, &found.guard) {
            (Some(State::Enabled), Some(guard)) => {
                actions.extend(ufw_guard::actions(guard, &found.tuples, params.lockout_timeout));
            }
            (Some(State::Reloaded), _) => actions.push(ufw(&["reload"])),
            _ => {}
        }
        actions
    }

    fn verifies(params: &Params) -> bool {
        params.state != Some(State::Reloaded)
    }

    fn result(params: &Params, _found: &Found, ran: &[Output]) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(rule) = &params.rule {
            map.insert("rule".to_owned(), json!(rule.words(&[]).join(" ")));
        }
        map.insert("commands_ran".to_owned(), json!(ran.len()));
        map
    }
}

/// Comment of our rules where the task gives none.
const TAG: &str = "ishprov";

/// Everything that ufw keeps, without starting it: it is a slow Python program.
const FILES: &str = "[ -r /etc/ufw/ufw.conf ] || { echo absent; exit 0; }
sed -n 's/^[A-Z][A-Z0-9_]*=/set &/p' /etc/ufw/ufw.conf /etc/default/ufw
for f in /etc/ufw/user.rules /lib/ufw/user.rules; do [ -e \"$f\" ] && { sed -n 's/^### tuple ###/v4 &/p' \"$f\"; break; }; done
for f in /etc/ufw/user6.rules /lib/ufw/user6.rules; do [ -e \"$f\" ] && { sed -n 's/^### tuple ###/v6 &/p' \"$f\"; break; }; done
:";

impl Found {
    fn policy(&self, direction: &str) -> &str {
        let at = DIRECTIONS.iter().position(|(name, _)| *name == direction).unwrap_or(0);
        &self.policies[at]
    }
}

fn rule(args: &Args, action: String) -> Result<Rule, Fault> {
    let address = |name: &str| match args.str(name) {
        Some(text) => ufw_rule::address(name, &text),
        None => Ok(None),
    };
    let ports = |name: &str| match args.str(name) {
        Some(text) => ufw_rule::ports(name, &text),
        None => Ok((None, None)),
    };
    let (to_port, told) = ports("to_port")?;
    let (from_port, from_told) = ports("from_port")?;
    let told = told.or(from_told);
    let proto = match (args.str("proto").filter(|proto| proto != "any"), told) {
        (Some(proto), Some(told)) if proto != told => {
            return Err(Fault::param(
                "proto",
                format!("the port is of `{told}`, and `proto` says `{proto}`"),
            ));
        }
        (proto, told) => proto.or(told).unwrap_or_else(|| "any".to_owned()),
    };
    let many = |port: &Option<String>| port.as_ref().is_some_and(|port| port.contains([',', ':']));
    if proto == "any" && (many(&to_port) || many(&from_port)) {
        return Err(Fault::param("proto", "several ports need `proto: tcp` or `proto: udp`"));
    }
    let app = args.str("name");
    if app.is_some() && (to_port.is_some() || proto != "any") {
        return Err(Fault::param("name", "an application profile brings its own port and protocol"));
    }
    let outward = matches!(args.str("direction").as_deref(), Some("out" | "outgoing"));
    let route = args.bool("route").unwrap_or(false) || args.str("direction").as_deref() == Some("routed");
    let (mut interface_in, mut interface_out) = (args.str("interface_in"), args.str("interface_out"));
    if let Some(name) = args.str("interface") {
        if interface_in.is_some() || interface_out.is_some() {
            return Err(Fault::param("interface", "`interface` excludes `interface_in` and `interface_out`"));
        }
        *(if outward { &mut interface_out } else { &mut interface_in }) = Some(name);
    }
    if interface_in.is_some() && interface_out.is_some() && !route {
        return Err(Fault::param("interface_out", "a rule with both interfaces is about forwarded packets")
            .hint("add `route: true`"));
    }
    let comment = args.str("comment");
    if comment.as_ref().is_some_and(|text| text.contains(['\'', '\n'])) {
        return Err(Fault::param("comment", "ufw takes no single quote and no line's end in a comment"));
    }
    Ok(Rule {
        action,
        log: if args.bool("log").unwrap_or(false) { "log" } else { "" },
        route,
        direction: if outward { "out" } else { "in" },
        interface_in,
        interface_out,
        proto,
        from: address("from_ip")?,
        to: address("to_ip")?,
        from_port,
        to_port,
        app,
        comment,
    })
}

fn rule_diff(params: &Params, rule: &Rule, found: &Found) -> Result<Option<Standing>, Fault> {
    if !params.delete {
        return Ok(
            Some(rule.standing(&found.tuples, found.ipv6)).filter(|standing| *standing != Standing::There)
        );
    }
    let removed = rule.removed(&found.tuples);
    if let Some(comment) = &rule.comment
        && let Some(foreign) = removed.iter().find(|tuple| tuple.comment() != comment)
    {
        return Err(Fault::param(
            "comment",
            format!("the rule carries the comment `{}`, not `{comment}`", foreign.comment()),
        )
        .healed_by(&["ufw"])
        .hint("leave `comment` out to remove it whosever it is"));
    }
    Ok((!removed.is_empty()).then_some(Standing::There))
}

fn reason(params: &Params, found: &Found) -> String {
    let mut parts = Vec::new();
    if params.rule.is_some() {
        parts.push(if params.delete { "there is no such rule" } else { "the rule is there" }.to_owned());
    }
    if let Some((direction, policy)) = &params.policy {
        parts.push(format!("{direction} packets: {policy}"));
    }
    if params.logging.is_some() {
        parts.push(format!("logging {}", found.logging));
    }
    match params.state {
        Some(State::Enabled) => parts.push("enabled and loaded".to_owned()),
        Some(State::Disabled) => parts.push("disabled".to_owned()),
        Some(State::Reloaded) => parts.push("not enabled, nothing to reload".to_owned()),
        None => {}
    }
    parts.join(", ")
}
