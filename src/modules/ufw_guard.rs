//! Switching a firewall on without locking anybody out.

use super::ufw_rule::{Rule, Tuple};
use crate::facts;
use crate::shell::{Action, Run};
use std::net::IpAddr;

/// What must be known before a firewall is switched on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// ufw's chains are loaded.
    pub live: bool,
    /// Ports that sshd answers on.
    ports: Vec<u16>,
    /// The control machine, as the host sees it; `None` when this is no session over a network.
    client: Option<IpAddr>,
}

/// Reads what [`parse`] needs.
pub fn probe() -> String {
    format!(
        "iptables -n -L ufw-user-input >/dev/null 2>&1 && echo live\n\
         sshd=$(command -v sshd || echo /usr/sbin/sshd)\n\
         \"$sshd\" -T 2>/dev/null | sed -n 's/^port /port /p; s/^listenaddress .*:\\([0-9][0-9]*\\)$/port \\1/p'\n\
         {}:",
        facts::CONNECTION
    )
}

/// The answer to [`probe`].
pub fn parse(answer: &str) -> Guard {
    let mut guard = Guard { live: answer.lines().any(|line| line == "live"), ..Guard::default() };
    guard.ports = answer.lines().filter_map(|line| line.strip_prefix("port ")?.trim().parse().ok()).collect();
    if let Some(connection) = facts::connection(answer.lines().filter(|line| line.contains(": "))) {
        guard.client = Some(connection.client);
        // What answers us now may have been started with other settings than those on disk.
        guard.ports.push(connection.server_port);
    }
    guard.ports.sort_unstable();
    guard.ports.dedup();
    guard
}

/// Allows SSH, arms the timer, switches on, proves a new connection, calls the timer off. `seconds` 0: no timer.
pub fn actions(guard: &Guard, tuples: &[Tuple], seconds: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for rule in guard.rules(tuples) {
        actions.push(Action::argv(std::iter::once("ufw".to_owned()).chain(rule.words(&["prepend"]))));
    }
    if seconds > 0 {
        actions.push(Action::Run(arm(seconds)));
    }
    actions.push(Action::Run(Run::new(ENABLE).shown("ufw --force enable").timeout(60)));
    if seconds > 0 {
        // Well before the timer, so that a failure is told apart from its undoing.
        actions.push(Action::Reconnect { timeout: seconds * 2 / 3 });
        actions.push(Action::Run(Run::new(DISARM).shown("call the timer off")));
    }
    actions
}

impl Guard {
    /// Rules that are missing for a new connection from the control machine.
    fn rules(&self, tuples: &[Tuple]) -> Vec<Rule> {
        let Some(client) = self.client else { return Vec::new() };
        let allowed = |port: u16| {
            let of_family = || tuples.iter().filter(|tuple| tuple.v6 == client.is_ipv6());
            let first = of_family().position(|tuple| tuple.admits(client, port));
            let hindered = of_family().position(|tuple| tuple.hinders(client, port));
            first.is_some_and(|first| hindered.is_none_or(|hindered| first < hindered))
        };
        let ports = self.ports.iter().filter(|port| !allowed(**port));
        let rules = ports.map(|port| Rule {
            action: "allow".to_owned(),
            log: "",
            route: false,
            direction: "in",
            interface_in: None,
            interface_out: None,
            proto: "tcp".to_owned(),
            from: Some(client.to_string()),
            to: None,
            from_port: None,
            to_port: Some(port.to_string()),
            app: None,
            comment: Some("ishprov: ssh from the control machine".to_owned()),
        });
        rules.collect()
    }
}

/// A timer of its own that outlives this session. The token keeps one that was called off, or an older one, from
/// undoing a later run.
fn arm(seconds: u64) -> Run {
    let script = format!(
        "flag=/run/ishprov-ufw-undo
token=$(date +%s).$$
printf '%s\\n' \"$token\" >$flag || exit 1
undo=\"[ \\\"\\$(cat $flag 2>/dev/null)\\\" = $token ] || exit 0; ufw disable; rm -f $flag\"
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
 systemctl stop ishprov-ufw-undo.timer 2>/dev/null
 systemctl reset-failed ishprov-ufw-undo.service ishprov-ufw-undo.timer 2>/dev/null
 systemd-run --quiet --collect --unit=ishprov-ufw-undo --on-active={seconds} --timer-property=AccuracySec=1s sh -c \"$undo\"
else
 setsid sh -c \"sleep {seconds}; $undo\" </dev/null >/dev/null 2>&1 &
fi"
    );
    Run::new(script).shown(format!("set a timer: `ufw disable` in {seconds} s"))
}

const ENABLE: &str = "modprobe -q nf_conntrack 2>/dev/null
[ ! -w /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal ] || echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
ufw --force enable";

const DISARM: &str = "rm -f /run/ishprov-ufw-undo
systemctl stop ishprov-ufw-undo.timer 2>/dev/null
:";

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "port 22\nport 2222\nport 22\n   3: 0202C6C6:08AE 0102C6C6:D431 01 00000000:00000000 02:00000000 00000000 0 0 77 2\n";

    #[test]
    fn the_ports_of_sshd_and_of_this_session_are_opened_for_the_control_machine_alone() {
        let guard = parse(SESSION);
        assert_eq!((guard.live, &*guard.ports), (false, &[22, 2222][..]));
        let words: Vec<_> = guard.rules(&[]).iter().map(|rule| rule.words(&[]).join(" ")).collect();
        assert_eq!(
            words,
            [
                "allow in proto tcp from 198.198.2.1 to any port 22 comment ishprov: ssh from the control machine",
                "allow in proto tcp from 198.198.2.1 to any port 2222 comment ishprov: ssh from the control machine",
            ]
        );
    }

    #[test]
    fn a_rule_that_lets_us_in_is_enough_unless_another_comes_first() {
        let guard = parse(SESSION);
        let tuple = |text: &str| Tuple::parse(&format!("### tuple ### {text}"), false).expect("parses");
        let allow = tuple("allow tcp 22,2222 0.0.0.0/0 any 198.198.0.0/16 in");
        let limit = tuple("limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in");
        assert!(guard.rules(std::slice::from_ref(&allow)).is_empty());
        assert!(guard.rules(&[allow.clone(), limit.clone()]).is_empty());
        assert_eq!(guard.rules(&[limit, allow]).len(), 1);
    }

    #[test]
    fn without_a_session_nothing_is_opened() {
        assert!(parse("live\nport 22\n").live);
        assert!(parse("live\nport 22\n").rules(&[]).is_empty());
    }
}
