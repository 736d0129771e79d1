//! Groups of accounts.
//!
//! EXAMPLES
//! - name: Who may read the backups
//!   group: {name: backup-readers}
//! - name: With a number of its own
//!   group: {name: app, gid: 4001}

use super::user::account_name;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, GroupEntry, Output};
use serde_json::{Map, Value};

/// The module `group`.
pub struct Group;

/// A group as it shall be.
#[derive(Debug)]
pub struct Params {
    name: String,
    present: bool,
    gid: Option<u32>,
    system: bool,
}

/// The group as it is, and an account whose primary group it is.
pub struct Found {
    group: Option<GroupEntry>,
    primary_of: Option<String>,
}

/// What is to be done.
pub enum Diff {
    /// Make it.
    Create,
    /// Give it another number.
    Renumber(u32),
    /// Remove it.
    Remove,
}

impl Module for Group {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "group",
        aliases: &[],
        summary: "Groups of accounts",
        source: include_str!("group.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The group").required(),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether it shall be there")
                .default("present"),
            Param::new("gid", Kind::Int, "Its number"),
            Param::new("system", Kind::Bool, "A new group gets a number of the system's range")
                .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let gid = match args.int("gid").map(u32::try_from) {
            Some(Err(_)) => return Err(Fault::param("gid", "`gid` is no number of a group")),
            Some(Ok(gid)) => Some(gid),
            None => None,
        };
        Ok(Params {
            name: account_name(args, "name")?,
            present: args.str("state").as_deref() != Some("absent"),
            gid,
            system: args.bool("system").unwrap_or(false),
        })
    }

    fn probe(_params: &Params) -> Vec<Ask> {
        vec![Ask::Groups, Ask::Accounts]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let groups = answers.groups(&Ask::Groups)?;
        let group = groups.iter().find(|group| group.name == params.name).cloned();
        let accounts = answers.accounts(&Ask::Accounts)?;
        let owner =
            accounts.iter().find(|account| group.as_ref().is_some_and(|group| group.gid == account.gid));
        Ok(Found { primary_of: owner.map(|account| account.name.clone()), group })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        match (&found.group, params.present) {
            (None, false) => Ok(Verdict::InState("there is no such group".to_owned())),
            (None, true) => Ok(Verdict::Act(Diff::Create)),
            (Some(_), false) => match &found.primary_of {
                Some(account) => Err(Fault::param(
                    "name",
                    format!("`{}` is the primary group of `{account}`", params.name),
                )
                .healed_by(&["user"])
                .hint("give the account another group, or remove it, before this task")),
                None => Ok(Verdict::Act(Diff::Remove)),
            },
            (Some(group), true) => match params.gid.filter(|gid| *gid != group.gid) {
                Some(gid) => Ok(Verdict::Act(Diff::Renumber(gid))),
                None => Ok(Verdict::InState(format!("the group is there, gid {}", group.gid))),
            },
        }
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        match diff {
            Diff::Create => {
                let gid = params.gid.map(|gid| Change::field("gid", "", gid.to_string()));
                std::iter::once(Change::field("state", "absent", "present")).chain(gid).collect()
            }
            Diff::Renumber(gid) => {
                let before = found.group.as_ref().map_or_else(String::new, |group| group.gid.to_string());
                vec![Change::field("gid", before, gid.to_string())]
            }
            Diff::Remove => vec![Change::field("state", "present", "absent")],
        }
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        let mut words = Vec::new();
        match diff {
            Diff::Create => {
                words.push("groupadd".to_owned());
                words.extend(params.system.then(|| "-r".to_owned()));
                words.extend(params.gid.into_iter().flat_map(|gid| ["-g".to_owned(), gid.to_string()]));
            }
            Diff::Renumber(gid) => words.extend(["groupmod".to_owned(), "-g".to_owned(), gid.to_string()]),
            Diff::Remove => words.push("groupdel".to_owned()),
        }
        words.push(params.name.clone());
        vec![Action::argv(words)]
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let state = if found.group.is_some() { "present" } else { "absent" };
        let mut result = Map::from_iter([
            ("name".to_owned(), Value::from(params.name.clone())),
            ("state".to_owned(), Value::from(state)),
        ]);
        if let Some(group) = &found.group {
            result.insert("gid".to_owned(), group.gid.into());
        }
        result
    }
}
