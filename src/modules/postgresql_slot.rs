//! Replication slots.
//!
//! A physical slot keeps the WAL that one standby still needs; give every standby its own, named after it. A logical
//! slot belongs to the database `db` and decodes with `output_plugin`. A slot that is in use is never dropped, and a
//! slot whose WAL is lost (`max_slot_wal_keep_size` was exceeded) is a failure: its standby has to be made anew, and with
//! `rebuild: true` (since that follows) the slot is.
//!
//! Physical slots can be made on a standby as well, for standbys behind it. `register` keeps `name`, `slot_type`,
//! `active`, `wal_status` and `restart_lsn`.
//!
//! EXAMPLES
//! - name: A slot for each standby
//!   postgresql_slot:
//!     name: "{{ item | replace('-', '_') }}"
//!     slot_type: physical
//!     immediately_reserve: true
//!   loop: "{{ groups['pg_replicas'] }}"
//! - name: The slot of a host that is gone
//!   postgresql_slot: {name: pg_replica9, state: absent}

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_slot`.
pub struct PostgresqlSlot;

/// Which slot.
#[derive(Debug)]
pub struct Params {
    session: Session,
    name: String,
    logical: bool,
    plugin: String,
    reserve: bool,
    rebuild: bool,
    present: bool,
}

/// What the server has.
#[derive(Debug, Deserialize)]
pub struct Slot {
    slot_type: String,
    plugin: Option<String>,
    database: Option<String>,
    active: bool,
    active_pid: Option<i64>,
    client: Option<String>,
    wal_status: Option<String>,
    restart_lsn: Option<String>,
}

/// The server and its slot of this name.
pub struct Found(Seen<Option<Slot>>);

/// What is to be done.
pub struct Diff(Vec<Step>);

impl Module for PostgresqlSlot {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_slot",
        aliases: &[],
        summary: "Replication slots",
        source: include_str!("postgresql_slot.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The slot: letters a to z, digits and `_`")
                .required()
                .aliases(&["slot_name"]),
            Param::new(
                "slot_type",
                Kind::Choice(&["physical", "logical"]),
                "For a standby, or for logical decoding",
            )
            .default("physical"),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether there is one")
                .default("present"),
            Param::new(
                "immediately_reserve",
                Kind::Bool,
                "A physical slot keeps WAL from now on, not from the first connection on",
            )
            .default("false"),
            Param::new("rebuild", Kind::Bool, "Permit to make a physical slot anew that has lost WAL")
                .default("false"),
            Param::new("output_plugin", Kind::Str, "What a logical slot decodes with")
                .default("test_decoding"),
            psql::LOGIN_DB,
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let params = Params {
            session: Session::decode(args, "login_db")?,
            name: args.required("name"),
            logical: args.str("slot_type").as_deref() == Some("logical"),
            plugin: args.str("output_plugin").unwrap_or_else(|| "test_decoding".to_owned()),
            reserve: args.bool("immediately_reserve").unwrap_or(false),
            rebuild: args.bool("rebuild").unwrap_or(false),
            present: args.str("state").as_deref() != Some("absent"),
        };
        check_name("name", &params.name)?;
        if params.logical && params.reserve {
            return Err(Fault::param("immediately_reserve", "a logical slot reserves WAL in any case"));
        }
        psql::literal("output_plugin", &params.plugin)?;
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![params.ask()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        params.session.seen(answers, &params.ask()).map(Found)
    }

    fn diff(params: &Params, Found(seen): &Found) -> Result<Verdict<Diff>, Fault> {
        let name = &params.name;
        let steps = match &seen.found {
            None if params.present => vec![create(params)?],
            None => Vec::new(),
            Some(slot) if params.present && params.rebuild && renewable(slot) && !params.logical => {
                vec![Step::new(
                    format!(
                        "SELECT pg_drop_replication_slot('{name}');\n\
                         SELECT pg_create_physical_replication_slot('{name}', {})",
                        params.reserve
                    ),
                    Change::field(format!("slot {name}"), "has lost WAL", "made anew"),
                )]
            }
            Some(slot) if params.present => {
                keep(params, slot)?;
                reserve_later(params, slot)
            }
            Some(slot) if slot.active => return Err(in_use(params, slot)),
            Some(slot) => vec![Step::new(
                format!("SELECT pg_drop_replication_slot({})", psql::literal("name", name)?),
                Change::field(format!("slot {name}"), slot.slot_type.as_str(), "absent"),
            )],
        };
        // A standby takes physical slots of its own.
        if seen.server.recovery && !params.logical && !steps.is_empty() {
            return Ok(Verdict::Act(Diff(steps)));
        }
        let verdict = params.session.verdict(&seen.server, steps, || match &seen.found {
            None => "there is no such slot".to_owned(),
            Some(slot) => {
                let used = if slot.active { "active" } else { "not in use" };
                format!(
                    "the slot is there, {used}, WAL {}",
                    slot.wal_status.as_deref().unwrap_or("not reserved")
                )
            }
        })?;
        Ok(match verdict {
            Verdict::InState(because) => Verdict::InState(because),
            Verdict::Act(steps) => Verdict::Act(Diff(steps)),
        })
    }

    fn show(_params: &Params, _found: &Found, Diff(steps): &Diff) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _found: &Found, Diff(steps): &Diff) -> Vec<Action> {
        // A slot cannot be made in a transaction that has written.
        params.session.run(steps, false)
    }

    fn result(params: &Params, Found(seen): &Found, _ran: &[Output]) -> Map<String, Value> {
        let told = match &seen.found {
            None => json!({"name": params.name, "exists": false}),
            Some(slot) => json!({
                "name": params.name,
                "exists": true,
                "slot_type": slot.slot_type,
                "active": slot.active,
                "wal_status": slot.wal_status,
                "restart_lsn": slot.restart_lsn,
            }),
        };
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Params {
    fn ask(&self) -> Ask {
        // The name holds nothing that needs quoting: `check_name`.
        self.session.ask(&format!(
            "SELECT to_json(slot) FROM (SELECT s.slot_type, s.plugin, s.database, s.active, s.active_pid, s.wal_status, \
             s.restart_lsn, coalesce(r.application_name, r.client_addr::text) AS client \
             FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid \
             WHERE s.slot_name = '{}') AS slot",
            self.name
        ))
    }
}

/// Refuses what is no name of a slot, with one that would be.
pub(super) fn check_name(param: &str, name: &str) -> Result<(), Fault> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.len() <= 63 && name.chars().all(fits) {
        return Ok(());
    }
    let near: String = name.to_lowercase().chars().map(|c| if fits(c) { c } else { '_' }).take(63).collect();
    let fault =
        Fault::param(param, format!("`{name}` is no name of a slot: 1 to 63 letters a to z, digits and `_`"));
    Err(if near.is_empty() { fault } else { fault.hint(format!("`{near}` would be one")) })
}

fn create(params: &Params) -> Result<Step, Fault> {
    let name = psql::literal("name", &params.name)?;
    let kind = if params.logical { "logical" } else { "physical" };
    let sql = if params.logical {
        format!(
            "SELECT pg_create_logical_replication_slot({name}, {})",
            psql::literal("output_plugin", &params.plugin)?
        )
    } else {
        format!("SELECT pg_create_physical_replication_slot({name}, {})", params.reserve)
    };
    Ok(Step::new(sql, Change::field(format!("slot {}", params.name), "", kind)))
}

/// A physical slot of no use any more, which nobody reads from.
fn renewable(slot: &Slot) -> bool {
    slot.wal_status.as_deref() == Some("lost") && slot.slot_type == "physical" && !slot.active
}

/// Refuses a slot of this name that is another one, or of no use any more.
fn keep(params: &Params, slot: &Slot) -> Result<(), Fault> {
    let name = &params.name;
    let kind = if params.logical { "logical" } else { "physical" };
    if slot.slot_type != kind {
        return Err(Fault::param(
            "slot_type",
            format!("the slot `{name}` is there and is {}", slot.slot_type),
        )
        .certain()
        .hint("take another name, or drop it with `state: absent` first"));
    }
    if slot.wal_status.as_deref() == Some("lost") {
        return Err(Fault::param(
            "name",
            format!("the slot `{name}` has lost WAL that its reader still needs"),
        )
        .certain()
        .note("the limit `max_slot_wal_keep_size` was exceeded while the reader was away or too slow")
        .hint("its standby has to be made anew: `-e postgresql_rebuild=HOST` with the role `replication`")
        .hint("in tasks of your own: `rebuild: true` here and on its `postgresql_standby`"));
    }
    if params.logical {
        for (param, found, wanted) in [
            ("output_plugin", slot.plugin.as_deref(), params.plugin.as_str()),
            ("login_db", slot.database.as_deref(), params.session.db.as_str()),
        ] {
            if found != Some(wanted) {
                return Err(Fault::param(
                    param,
                    format!(
                        "the slot `{name}` is there with `{}`, not `{wanted}`",
                        found.unwrap_or_default()
                    ),
                )
                .certain()
                .hint("take another name, or drop it with `state: absent` first"));
            }
        }
    }
    Ok(())
}

/// A physical slot that keeps no WAL yet and shall: only making it anew does that, and nothing is lost by it.
fn reserve_later(params: &Params, slot: &Slot) -> Vec<Step> {
    if !params.reserve || slot.active || slot.restart_lsn.is_some() {
        return Vec::new();
    }
    let name = &params.name;
    vec![Step::new(
        format!(
            "SELECT pg_drop_replication_slot('{name}');\n\
             SELECT pg_create_physical_replication_slot('{name}', true)"
        ),
        Change::field(format!("WAL of slot {name}"), "not reserved", "reserved"),
    )]
}

fn in_use(params: &Params, slot: &Slot) -> Fault {
    let name = &params.name;
    let by = slot.client.as_deref().map(|client| format!(" by `{client}`")).unwrap_or_default();
    let pid = slot.active_pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    Fault::param("name", format!("the slot `{name}` is in use{by}{pid} and is not dropped"))
        .certain()
        .hint("stop the standby that reads from it first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_do_is_offered() {
        let fault = check_name("name", "PG-Replica.1").expect_err("refused");
        assert_eq!(fault.hints, ["`pg_replica_1` would be one"]);
        assert!(check_name("name", "").is_err() && check_name("name", &"a".repeat(64)).is_err());
        assert!(check_name("name", &"a".repeat(63)).is_ok());
    }
}
