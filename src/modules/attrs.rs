//! Mode, owner and group, as every module that manages files takes them.

use super::args::Args;
use super::mode::Mode;
use super::{Change, Kind, Param};
use crate::diag::Fault;
use crate::shell::{Account, Action, Answers, Ask, FileState, Follow, GroupEntry, quote};

/// Wanted mode, owner and group; `None` leaves what is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Mode.
    pub mode: Option<Mode>,
    /// Owner by name or number.
    pub owner: Option<String>,
    /// Group by name or number.
    pub group: Option<String>,
}

/// The wanted owner and group as numbers, and the tables for showing those found by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Numeric owner wanted.
    pub uid: Option<u32>,
    /// Numeric group wanted.
    pub gid: Option<u32>,
    accounts: Vec<Account>,
    groups: Vec<GroupEntry>,
}

/// What is to change of mode, owner and group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttrDiff {
    /// Bits found and wanted.
    pub mode: Option<(u32, u32)>,
    /// Owner found.
    pub uid: Option<u32>,
    /// Group found.
    pub gid: Option<u32>,
}

/// The parameter `mode`.
pub const MODE: Param = Param::new(
    "mode",
    Kind::Mode,
    "Permission bits: \"0644\", quoted, or symbolic like u=rwX,g=rX,o=. What is found is kept when not given; new files get 0644, new folders 0755",
);
/// The parameter `owner`.
pub const OWNER: Param =
    Param::new("owner", Kind::Str, "Owner, by name or number. What is found is kept when not given");
/// The parameter `group`.
pub const GROUP: Param =
    Param::new("group", Kind::Str, "Group, by name or number. What is found is kept when not given");

impl Attrs {
    /// Reads `mode`, `owner` and `group`.
    pub fn decode(args: &Args) -> Result<Self, Fault> {
        let mode = match args.str("mode") {
            Some(text) => Some(Mode::parse(&text).ok_or_else(|| {
                Fault::param("mode", format!("`{text}` is no file mode")).hint("write \"0644\" or u=rw,g=r")
            })?),
            None => None,
        };
        Ok(Self { mode, owner: args.str("owner"), group: args.str("group") })
    }

    /// The tables that names are looked up in.
    pub fn asks(&self) -> Vec<Ask> {
        let owner = self.owner.as_ref().map(|_| Ask::Accounts);
        owner.into_iter().chain(self.group.as_ref().map(|_| Ask::Groups)).collect()
    }

    /// As [`resolve`](Self::resolve); in check mode `None` for a name that an announced task may have brought.
    pub fn resolve_or_announced(&self, answers: &Answers, check_mode: bool) -> Result<Option<Ids>, Fault> {
        match self.resolve(answers) {
            Err(_) if check_mode => Ok(None),
            resolved => resolved.map(Some),
        }
    }

    /// Names to numbers. A name that the host does not know is a fault.
    pub fn resolve(&self, answers: &Answers) -> Result<Ids, Fault> {
        let mut ids = Ids::default();
        if let Some(owner) = &self.owner {
            ids.accounts = answers.accounts(&Ask::Accounts)?.clone();
            let found = ids.accounts.iter().find(|account| account.name == *owner).map(|account| account.uid);
            ids.uid = Some(found.or_else(|| owner.parse().ok()).ok_or_else(|| {
                Fault::param("owner", format!("no such account `{owner}` on the host"))
                    .healed_by(&["user", "apt"])
                    .hint(format!("a `user` task before this one can create it: `user: {{name: {owner}}}`"))
            })?);
        }
        if let Some(group) = &self.group {
            ids.groups = answers.groups(&Ask::Groups)?.clone();
            let found = ids.groups.iter().find(|entry| entry.name == *group).map(|entry| entry.gid);
            ids.gid = Some(found.or_else(|| group.parse().ok()).ok_or_else(|| {
                Fault::param("group", format!("no such group `{group}` on the host"))
                    .healed_by(&["group", "user", "apt"])
                    .hint(format!("a `group` task before this one can create it: `group: {{name: {group}}}`"))
            })?);
        }
        Ok(ids)
    }

    /// The mode of something new.
    pub fn new_mode(&self, is_dir: bool) -> u32 {
        let usual = if is_dir { 0o755 } else { 0o644 };
        self.mode.as_ref().map_or(usual, |mode| mode.apply(usual, is_dir))
    }

    /// What differs of something that is there.
    pub fn diff(&self, ids: &Ids, found: &FileState, is_dir: bool) -> AttrDiff {
        let wanted = self.mode.as_ref().map(|mode| mode.apply(found.mode, is_dir));
        let uid = ids.uid.filter(|uid| *uid != found.uid).map(|_| found.uid);
        let gid = ids.gid.filter(|gid| *gid != found.gid).map(|_| found.gid);
        // The kernel clears setuid and setgid when the owner changes: then they are set again.
        let again = |wanted: &u32| wanted & 0o6000 != 0 && (uid.is_some() || gid.is_some());
        let mode = wanted.filter(|wanted| *wanted != found.mode || again(wanted));
        AttrDiff { mode: mode.map(|wanted| (found.mode, wanted)), uid, gid }
    }

    /// Differences of something that is there, for people.
    pub fn show(&self, ids: &Ids, diff: &AttrDiff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some((before, after)) = diff.mode.filter(|(before, after)| before != after) {
            changes.push(Change::field("mode", format!("{before:04o}"), format!("{after:04o}")));
        }
        if let (Some(uid), Some(owner)) = (diff.uid, &self.owner) {
            changes.push(Change::field("owner", ids.owner_name(uid), owner));
        }
        if let (Some(gid), Some(group)) = (diff.gid, &self.group) {
            changes.push(Change::field("group", ids.group_name(gid), group));
        }
        changes
    }

    /// What was asked for, as the reason for doing nothing: ", mode 0640, owner postgres".
    pub fn reason(&self, found: &FileState) -> String {
        let mut reason = String::new();
        if self.mode.is_some() {
            reason.push_str(&format!(", mode {:04o}", found.mode));
        }
        for (name, value) in [("owner", &self.owner), ("group", &self.group)] {
            if let Some(value) = value {
                reason.push_str(&format!(", {name} {value}"));
            }
        }
        reason
    }

    /// The fields of something new, for people.
    pub fn show_new(&self, is_dir: bool) -> Vec<Change> {
        let mut changes = vec![Change::field("mode", "", format!("{:04o}", self.new_mode(is_dir)))];
        changes.extend(self.owner.as_ref().map(|owner| Change::field("owner", "", owner)));
        changes.extend(self.group.as_ref().map(|group| Change::field("group", "", group)));
        changes
    }

    /// `chown` and `chmod`, in the order that does not lose setuid bits. A link that is meant itself has no mode.
    pub fn actions(&self, path: &str, diff: &AttrDiff, follow: Follow) -> Vec<Action> {
        let owner = diff.uid.and(self.owner.as_deref());
        let group = diff.gid.and(self.group.as_deref());
        let mut actions: Vec<Action> =
            whose(owner, group).map(|whose| change_owner(path, &whose, follow)).into_iter().collect();
        if let Some((before, after)) = diff.mode {
            actions.push(change_mode(path, &chmod_digits(before, after), follow));
        }
        actions
    }

    /// Owner and group of something just made.
    pub fn give(&self, path: &str) -> Option<Action> {
        let whose = whose(self.owner.as_deref(), self.group.as_deref())?;
        Some(change_owner(path, &whose, Follow::No))
    }
}

/// Owner and group as `chown` takes them.
fn whose(owner: Option<&str>, group: Option<&str>) -> Option<String> {
    match (owner, group) {
        (None, None) => None,
        (Some(owner), None) => Some(owner.to_owned()),
        (owner, Some(group)) => Some(format!("{}:{group}", owner.unwrap_or_default())),
    }
}

/// Gives what stands at a path to `whose`, by a path that may be another's by now.
pub fn change_owner(path: &str, whose: &str, follow: Follow) -> Action {
    let (path, whose) = (quote(path), quote(whose));
    Action::files(format!("i_chown {} {whose} {path}", follow.word()), format!("chown {whose} {path}"))
}

/// The mode of what stands at a path, likewise.
pub fn change_mode(path: &str, digits: &str, follow: Follow) -> Action {
    let path = quote(path);
    Action::files(format!("i_chmod {} {digits} {path}", follow.word()), format!("chmod {digits} {path}"))
}

/// A folder and the missing ones above it, with the usual mode.
pub fn make_folders(path: &str) -> Action {
    let path = quote(path);
    Action::files(format!("i_mkdirs 0755 {path}"), format!("mkdir -p -m 0755 {path}"))
}

impl AttrDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Ids {
    /// The name of a numeric owner where the table knows one.
    pub fn owner_name(&self, uid: u32) -> String {
        let account = self.accounts.iter().find(|account| account.uid == uid);
        account.map_or_else(|| uid.to_string(), |account| account.name.clone())
    }

    /// The name of a numeric group where the table knows one.
    pub fn group_name(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }
}

/// The digits that take a mode to another. GNU `chmod` keeps setuid and setgid of folders unless five are given.
pub fn chmod_digits(before: u32, after: u32) -> String {
    if before & !after & 0o6000 != 0 { format!("{after:05o}") } else { format!("{after:04o}") }
}

/// A path parameter, without a trailing slash. `~` is refused: whose home it is would depend on the connection.
pub fn path(args: &Args, name: &str) -> Result<Option<String>, Fault> {
    let Some(path) = args.str(name) else { return Ok(None) };
    if !path.starts_with('/') {
        return Err(Fault::param(name, format!("`{path}` is no absolute path"))
            .hint("`~` is not expanded: write the folder out, or use a fact"));
    }
    let trimmed = path.trim_end_matches('/');
    Ok(Some(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }))
}
