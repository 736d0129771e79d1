//! Connecting hosts, with their facts in the first reply.

use super::claim::Claim;
use super::event::Event;
use super::host::{Host, State};
use super::play::HostSetup;
use super::shared::Shared;
use crate::diag::Diagnostic;
use crate::facts;
use crate::plan::Step;
use crate::shell::{Ask, Frame, Hold, ItemReply};
use crate::transport::{Endpoint, Greeting, Kind, Transport as _, TransportError};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Seconds by which a host's clock may be wrong before it is said where certificates are issued.
const SKEW: u64 = 60;

impl Host {
    /// Connects (unless connected) and reads the facts. A host that cannot be reached is marked so.
    pub(super) async fn connect(&mut self, shared: &Shared, setup: &HostSetup) {
        if self.session.is_some() || self.state == State::Unreachable {
            return;
        }
        let ask = Ask::sh(facts::script());
        let frame = Frame::probe([ask.clone()]);
        let claim = shared.local.claim.as_ref().filter(|_| setup.endpoint.kind != Kind::Local);
        let claim = claim.filter(|_| !shared.options.check);
        let mut endpoint = setup.endpoint.clone();
        endpoint.hold = claim.map(Claim::hold);
        let begun = seconds_now();
        let mut connected = crate::transport::connect(&endpoint, &frame).await;
        if let (Some(claim), Ok((_, Greeting { held: Some([run, _, about]), .. }))) = (claim, &connected)
            && claim.is_gone(about)
        {
            let gone = endpoint.hold.take().map(|hold| Hold { gone: Some(run.clone()), ..hold });
            connected = crate::transport::connect(&Endpoint { hold: gone, ..endpoint.clone() }, &frame).await;
        }
        let (session, greeting) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let diagnostic = explain(&self.name, &error);
                self.state = State::Unreachable;
                self.stats.unreachable = 1;
                self.diagnostics.push(diagnostic.clone());
                return shared.tell(Event::Unreachable { host: self.name.clone(), diagnostic });
            }
        };
        if let Some(holder) = &greeting.held {
            session.close().await;
            self.held = true;
            return self.give_up(shared, super::claim::held(&self.name, holder));
        }
        self.session = Some(session);
        self.endpoint = Some(setup.endpoint.clone());
        self.privileged = setup.endpoint.r#become.is_some() || greeting.uid == 0;
        self.login_user =
            setup.endpoint.user.clone().or(greeting.login).unwrap_or_else(|| greeting.account.clone());
        let Some(ItemReply::Answers(answers)) = greeting.replies.into_iter().next() else { return };
        let parsed = answers.output(&ask).and_then(|output| facts::parse(&output.text()));
        match parsed {
            Ok(facts) => {
                let clock = facts.get("date_time").and_then(|time| time.get("epoch")?.as_str()?.parse().ok());
                self.skew = clock.map_or(0, |clock| ahead(clock, begun, seconds_now()));
                self.take_facts(&facts);
            }
            Err(fault) => {
                let missing = greeting.missing.join(", ");
                let mut diagnostic = Diagnostic::error(
                    "facts",
                    format!("cannot read the facts of `{}`: {}", self.name, fault.message),
                );
                diagnostic.hints = fault.hints;
                if !missing.is_empty() {
                    diagnostic.notes.push(format!("missing on the host: {missing}"));
                }
                self.give_up(shared, diagnostic);
            }
        }
    }

    /// It fails before it has begun with anything.
    pub(super) fn give_up(&mut self, shared: &Shared, diagnostic: Diagnostic) {
        self.stats.failed += 1;
        self.state = State::Failed;
        shared.tell(Event::Note(format!("{}: {}", self.name, diagnostic.message)));
        self.diagnostics.push(diagnostic.host(self.name.clone()));
    }

    /// The facts of this connection; what tasks learned over an earlier one stays.
    fn take_facts(&mut self, facts: &serde_json::Map<String, Value>) {
        let known = std::mem::take(&mut self.scope.facts);
        self.scope.set_facts(facts);
        let Some(Value::Object(all)) = known.get("ansible_facts").map(|all| (**all).clone()) else { return };
        let learned = all.into_iter().filter(|(name, _)| !facts.contains_key(name)).collect();
        self.scope.learn(&learned);
    }

    /// Says once that the host's clock is wrong, where a certificate is to count there.
    pub(super) fn tell_skew(&mut self, shared: &Shared, step: &Step) {
        if self.skew.unsigned_abs() <= SKEW || !matches!(step.call.name(), "tls_cert" | "tls_ca") {
            return;
        }
        let side = if self.skew < 0 { "behind" } else { "ahead of" };
        let message = format!(
            "the clock of `{}` is {} s {side} this machine's: certificates made now may not count there",
            self.name,
            self.skew.unsigned_abs()
        );
        self.skew = 0;
        shared.tell(Event::Note(format!("warning: {message}")));
        self.diagnostics.push(
            Diagnostic::warning("clock", message)
                .at(step.span)
                .hint("set the host's clock, and let it be kept: `timedatectl set-ntp true` (systemd-timesyncd, chrony)"),
        );
    }

    /// Whether the host still lets a new connection in, tried until `limit` is over.
    pub(super) async fn prove_connection(
        endpoint: Option<Endpoint>,
        limit: Duration,
    ) -> Result<(), Diagnostic> {
        let Some(endpoint) = endpoint else { return Ok(()) };
        let until = Instant::now() + limit;
        loop {
            let endpoint = Endpoint { timeout: limit.min(endpoint.timeout), ..endpoint.clone() };
            let error = match crate::transport::connect(&endpoint, &Frame::default()).await {
                Ok((session, _)) => {
                    session.close().await;
                    return Ok(());
                }
                Err(error) => error,
            };
            if Instant::now() >= until {
                let message = "after this change no new connection came about, so it is undone on the host";
                let diagnostic =
                    Diagnostic::error("locked-out", message).note(format!("the new connection: {error}"));
                return Err(
                    diagnostic.hint("allow SSH from this machine in the rules before switching them on")
                );
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// The host's facts.
    pub(super) fn facts(&self) -> serde_json::Map<String, Value> {
        match self.scope.facts.get("ansible_facts").map(|facts| (**facts).clone()) {
            Some(Value::Object(facts)) => facts,
            _ => serde_json::Map::new(),
        }
    }
}

fn seconds_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// Seconds that a clock is ahead for certain, when it was read between two moments of ours.
fn ahead(clock: i64, begun: i64, ended: i64) -> i64 {
    clock.saturating_sub(clock.clamp(begun, ended.max(begun)))
}

/// A failure of the connection as a message.
pub fn explain(host: &str, error: &TransportError) -> Diagnostic {
    let code = match error {
        TransportError::Auth { .. } => "authentication",
        TransportError::HostKey(_) => "host-key",
        TransportError::Become { .. } => "become",
        TransportError::Lost { .. } => "connection-lost",
        _ => "unreachable",
    };
    Diagnostic::error(code, error.to_string()).host(host).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_connection_is_no_wrong_clock() {
        for (clock, wanted) in
            [(1000, 0), (1004, 0), (1010, 0), (999, -1), (1011, 1), (0, -1000), (4610, 3600)]
        {
            assert_eq!(ahead(clock, 1000, 1010), wanted, "{clock}");
        }
        assert_eq!(ahead(i64::MIN, 1000, 1010), i64::MIN);
        assert_eq!(ahead(1005, 1010, 1000), -5, "our own clock was set back meanwhile");
    }
}
