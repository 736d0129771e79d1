//! Which roles are members of which groups.
//!
//! A group is a role whose rights its members have. `state: exact` makes the named roles the only members.
//!
//! EXAMPLES
//! - name: Two readers
//!   postgresql_membership: {groups: [readers], target_roles: [anna, berta]}

use super::psql::{self, Seen, Session, Step};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The module `postgresql_membership`.
pub struct PostgresqlMembership;

/// Who in what.
#[derive(Debug)]
pub struct Params {
    session: Session,
    groups: Vec<String>,
    roles: Vec<String>,
    state: State,
    fail: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Absent,
    Exact,
}

/// What the server has.
#[derive(Debug, Deserialize)]
pub struct Found {
    /// Of those named, the roles that exist.
    roles: Vec<String>,
    /// Group and member.
    members: Vec<(String, String)>,
}

impl Module for PostgresqlMembership {
    type Params = Params;
    type State = Seen<Found>;
    type Diff = Vec<Step>;

    const SPEC: Spec = Spec {
        name: "postgresql_membership",
        aliases: &[],
        summary: "Members of groups of a PostgreSQL server",
        source: include_str!("postgresql_membership.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("groups", Kind::List, "The groups").required().aliases(&[
                "group",
                "source_role",
                "source_roles",
            ]),
            Param::new("target_roles", Kind::List, "The members").required().aliases(&[
                "target_role",
                "users",
                "user",
            ]),
            Param::new(
                "state",
                Kind::Choice(&["present", "absent", "exact"]),
                "Members, no members, or the only members",
            )
            .default("present"),
            Param::new(
                "fail_on_role",
                Kind::Bool,
                "Fail where a role does not exist; otherwise leave it out",
            )
            .default("true"),
            psql::LOGIN_DB,
            psql::ON_STANDBY,
            psql::PORT,
            psql::SOCKET,
            psql::USER,
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        Ok(Params {
            session: Session::decode(args, "login_db")?,
            groups: psql::names("groups", args.list("groups"))?,
            roles: psql::names("target_roles", args.list("target_roles"))?,
            state: match args.str("state").as_deref() {
                Some("absent") => State::Absent,
                Some("exact") => State::Exact,
                _ => State::Present,
            },
            fail: args.bool("fail_on_role").unwrap_or(true),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params.ask().into_iter().collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Seen<Found>, Fault> {
        params.session.seen(answers, &params.ask()?)
    }

    fn diff(params: &Params, seen: &Seen<Found>) -> Result<Verdict<Vec<Step>>, Fault> {
        let found = &seen.found;
        let exists = |name: &String| found.roles.contains(name);
        for (param, names) in [("groups", &params.groups), ("target_roles", &params.roles)] {
            if let Some(name) = names.iter().find(|name| params.fail && !exists(name)) {
                return Err(Fault::param(param, format!("there is no role `{name}`"))
                    .healed_by(&["postgresql_user"])
                    .hint("make it with `postgresql_user` before, or say `fail_on_role: false`"));
            }
        }
        let mut steps = Vec::new();
        for group in params.groups.iter().filter(|name| exists(name)) {
            let is_in =
                |role: &String| found.members.iter().any(|(of, member)| of == group && member == role);
            let title = |role: &str| format!("{role} in {group}");
            let quoted = psql::ident("groups", group)?;
            let mut leave: Vec<&String> = Vec::new();
            for role in params.roles.iter().filter(|name| exists(name)) {
                match params.state {
                    State::Absent if is_in(role) => leave.push(role),
                    State::Present | State::Exact if !is_in(role) => steps.push(Step::new(
                        format!("GRANT {quoted} TO {}", psql::ident("target_roles", role)?),
                        Change::field(title(role), "no", "yes"),
                    )),
                    _ => {}
                }
            }
            if params.state == State::Exact {
                let others =
                    found.members.iter().filter(|(of, member)| of == group && !params.roles.contains(member));
                leave.extend(others.map(|(_, member)| member));
            }
            for role in leave {
                steps.push(Step::new(
                    format!("REVOKE {quoted} FROM {}", psql::ident("target_roles", role)?),
                    Change::field(title(role), "yes", "no"),
                ));
            }
        }
        params.session.verdict(&seen.server, steps, || "the groups have the members wanted".to_owned())
    }

    fn show(_params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Change> {
        Step::changes(steps)
    }

    fn actions(params: &Params, _seen: &Seen<Found>, steps: &Vec<Step>) -> Vec<Action> {
        params.session.run(steps, true)
    }

    fn result(params: &Params, _seen: &Seen<Found>, _ran: &[Output]) -> Map<String, Value> {
        let told = json!({"groups": params.groups, "target_roles": params.roles});
        told.as_object().cloned().unwrap_or_default()
    }
}

impl Params {
    fn ask(&self) -> Result<Ask, Fault> {
        let groups = psql::array("groups", &self.groups)?;
        let roles = psql::array("target_roles", &self.roles)?;
        Ok(self.session.ask(&format!(
            "SELECT json_build_object('roles', (SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles \
             WHERE rolname = ANY ({groups} || {roles})), 'members', (SELECT coalesce(json_agg(json_build_array(g.rolname, \
             m.rolname) ORDER BY g.rolname, m.rolname), '[]') FROM (SELECT DISTINCT roleid, member FROM pg_auth_members) AS a \
             JOIN pg_roles AS g ON g.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member WHERE g.rolname = ANY ({groups})))"
        )))
    }
}
