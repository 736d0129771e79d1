//! Whether the host's PostgreSQL server answers, and which one it is.
//!
//! A server that does not answer is no failure: `register` keeps `is_available: false` and the reason in
//! `conn_err_msg`. With an answer it keeps `server_version` (`full`, `raw`, `major`, `minor`), `in_recovery` and
//! `primary` (`host:port` that a standby streams from).
//!
//! EXAMPLES
//! - name: Is it there
//!   postgresql_ping: {port: 5432}
//!   register: pg
//! - name: Wait until it answers
//!   postgresql_ping:
//!   register: pg
//!   until: pg.is_available
//!   retries: 30

use super::psql::{self, Seen, Session};
use super::{Args, Change, Module, Nature, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde_json::{Map, Value, json};

/// The module `postgresql_ping`.
pub struct PostgresqlPing;

/// The server, or why it does not answer.
type Found = Result<Seen<String>, Fault>;

impl Module for PostgresqlPing {
    type Params = Session;
    type State = Found;
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "postgresql_ping",
        aliases: &[],
        summary: "Whether a PostgreSQL server answers",
        source: include_str!("postgresql_ping.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[psql::LOGIN_DB, psql::PORT, psql::SOCKET, psql::USER],
    };

    fn decode(args: &Args) -> Result<Session, Fault> {
        Session::decode(args, "login_db")
    }

    fn probe(session: &Session) -> Vec<Ask> {
        vec![session.ask("to_json(version())")]
    }

    fn state(session: &Session, answers: &Answers) -> Result<Found, Fault> {
        let ask = session.ask("to_json(version())");
        let out = answers.output(&ask)?;
        if out.success() { session.seen(answers, &ask).map(Ok) } else { Ok(Err(session.fault(out))) }
    }

    fn diff(_session: &Session, found: &Found) -> Result<Verdict<Self::Diff>, Fault> {
        Ok(Verdict::InState(match found {
            Ok(seen) => {
                let kind = if seen.server.recovery { "a standby" } else { "a primary" };
                format!(
                    "PostgreSQL {}.{} answers, {kind}",
                    seen.server.version / 10000,
                    seen.server.version % 10000
                )
            }
            Err(fault) => fault.message.clone(),
        }))
    }

    fn show(_session: &Session, _found: &Found, diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_session: &Session, _found: &Found, diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(_session: &Session, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let told = match found {
            Ok(seen) => {
                let (major, minor) = (seen.server.version / 10000, seen.server.version % 10000);
                json!({
                    "is_available": true,
                    "server_version": {
                        "full": format!("{major}.{minor}"),
                        "raw": seen.found,
                        "major": major,
                        "minor": minor,
                    },
                    "in_recovery": seen.server.recovery,
                    "primary": seen.server.primary,
                    "conn_err_msg": "",
                })
            }
            Err(fault) => json!({"is_available": false, "conn_err_msg": fault.message}),
        };
        told.as_object().cloned().unwrap_or_default()
    }
}
