//! Accounts and their groups.
//!
//! What is not given is left as it is. `groups` are the supplementary groups: exactly these, or with `append` at
//! least these. Where a group of the account's name exists already, a new account gets it as its primary group.
//!
//! `password` is a crypt hash (`$y$...`, `$6$...`), or `*` or `!` for none. It travels by standard input; the host
//! answers only whether it is the one it has, and neither is ever shown.
//!
//! EXAMPLES
//! - name: Somebody who may become root
//!   user: {name: ada, groups: [sudo], append: true, shell: /bin/bash}
//! - name: An account for a service
//!   user: {name: exporter, system: true, home: /var/lib/exporter, create_home: false, shell: /usr/sbin/nologin}
//! - name: Gone, and the home with it
//!   user: {name: bob, state: absent, remove: true}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Account, Action, Answers, Ask, GroupEntry, Output, Run, Secret, quote, sha256};
use serde_json::{Map, Value};

/// The module `user`.
pub struct User;

/// An account as it shall be.
#[derive(Debug)]
pub struct Params {
    name: String,
    present: bool,
    uid: Option<u32>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    append: bool,
    shell: Option<String>,
    home: Option<String>,
    move_home: bool,
    create_home: bool,
    system: bool,
    comment: Option<String>,
    password: Option<Secret>,
    /// Also the password of an account that is there.
    update_password: bool,
    remove: bool,
    force: bool,
}

/// The account as it is.
pub struct Found {
    account: Option<Account>,
    groups: Vec<GroupEntry>,
    has_home: bool,
    same_password: bool,
}

/// What is to be done.
pub enum Diff {
    /// Remove it.
    Remove,
    /// Make it.
    Create,
    /// Change it.
    Modify {
        /// Options of `usermod`.
        options: Vec<String>,
        /// For people.
        changes: Vec<Change>,
        /// Make the home folder at this path.
        home: Option<String>,
        /// Set the password.
        password: bool,
    },
}

impl Module for User {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "user",
        aliases: &[],
        summary: "Accounts and their groups",
        source: include_str!("user.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The account").required().aliases(&["user"]),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether it shall be there")
                .default("present"),
            Param::new("uid", Kind::Int, "Its number"),
            Param::new("group", Kind::Str, "Its primary group, by name or number"),
            Param::new("groups", Kind::List, "Its supplementary groups, by name; an empty list means none"),
            Param::new("append", Kind::Bool, "Stay in groups that `groups` does not name").default("false"),
            Param::new("shell", Kind::Str, "Its login shell"),
            Param::new("home", Kind::Path, "Its home folder"),
            Param::new("move_home", Kind::Bool, "Move the old home's content when `home` changes")
                .default("false"),
            Param::new("create_home", Kind::Bool, "Make the home folder where it is missing")
                .aliases(&["createhome"])
                .default("true"),
            Param::new("system", Kind::Bool, "A new account gets a number of the system's range")
                .default("false"),
            Param::new("comment", Kind::Str, "The comment field: the full name"),
            Param::new("password", Kind::Str, "The password's crypt hash"),
            Param::new(
                "update_password",
                Kind::Choice(&["always", "on_create"]),
                "Whether `password` holds for an account that is there already",
            )
            .default("always"),
            Param::new("remove", Kind::Bool, "With `state: absent`: also the home folder and the mail")
                .default("false"),
            Param::new("force", Kind::Bool, "With `state: absent`: even if it is logged in").default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = account_name(args, "name")?;
        let uid = match args.int("uid").map(u32::try_from) {
            Some(Err(_)) => return Err(Fault::param("uid", "`uid` is no number of an account")),
            Some(Ok(uid)) => Some(uid),
            None => None,
        };
        let password = args.str("password").map(Secret::new);
        if password.as_ref().is_some_and(|hash| !is_hash(hash.expose())) {
            return Err(Fault::param("password", "`password` takes a crypt hash, not the password itself")
                .hint("`openssl passwd -6`, or the filter `password_hash('sha512')`, makes one"));
        }
        for text in ["comment", "home", "shell"] {
            if args.str(text).is_some_and(|value| value.contains([':', '\n'])) {
                return Err(Fault::param(text, format!("`{text}` may hold no `:` and no line end")));
            }
        }
        let append = args.bool("append").unwrap_or(false);
        if append && !args.has("groups") {
            return Err(Fault::param("append", "`append` needs `groups`"));
        }
        Ok(Params {
            name,
            present: args.str("state").as_deref() != Some("absent"),
            uid,
            group: args.str("group"),
            groups: args.has("groups").then(|| args.list("groups")),
            append,
            shell: args.str("shell"),
            home: super::attrs::path(args, "home")?,
            move_home: args.bool("move_home").unwrap_or(false),
            create_home: args.bool("create_home").unwrap_or(true),
            system: args.bool("system").unwrap_or(false),
            comment: args.str("comment"),
            password,
            update_password: args.str("update_password").as_deref() != Some("on_create"),
            remove: args.bool("remove").unwrap_or(false),
            force: args.bool("force").unwrap_or(false),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![Ask::Accounts];
        if params.present {
            asks.push(Ask::Groups);
            asks.extend(params.home_ask());
            asks.extend(params.password_ask());
        }
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let accounts = answers.accounts(&Ask::Accounts)?;
        let account = accounts.iter().find(|account| account.name == params.name).cloned();
        if !params.present {
            return Ok(Found { account, groups: Vec::new(), has_home: true, same_password: true });
        }
        let says = |ask: Option<Ask>, word: &str| match ask {
            Some(ask) => {
                let output = answers.output(&ask)?;
                if !output.success() {
                    let why = output.error_text();
                    return Err(Fault::task(format!(
                        "account `{}` cannot be read: {}",
                        params.name,
                        why.trim()
                    )));
                }
                Ok(output.text().trim() == word)
            }
            None => Ok(true),
        };
        Ok(Found {
            account,
            groups: answers.groups(&Ask::Groups)?.clone(),
            has_home: says(params.home_ask(), "there")?,
            same_password: says(params.password_ask(), "same")?,
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        if !params.present {
            return Ok(match found.account {
                Some(_) => Verdict::Act(Diff::Remove),
                None => Verdict::InState("there is no such account".to_owned()),
            });
        }
        let gid = params.group.as_ref().map(|group| found.gid(group, "group")).transpose()?;
        for group in params.groups.iter().flatten() {
            found.gid(group, "groups")?;
        }
        let Some(account) = &found.account else { return Ok(Verdict::Act(Diff::Create)) };
        Ok(params.compare(found, account, gid))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        match diff {
            Diff::Remove => {
                let mut changes = vec![Change::field("state", "present", "absent")];
                if let (true, Some(account)) = (params.remove, &found.account) {
                    changes.push(Change::field("home", &account.home, "removed"));
                }
                changes
            }
            Diff::Create => {
                let mut changes = vec![Change::field("state", "absent", "present")];
                let mut field = |name: &str, value: Option<String>| {
                    changes.extend(value.map(|value| Change::field(name, "", value)));
                };
                field("uid", params.uid.map(|uid| uid.to_string()));
                field("group", params.group.clone());
                field(
                    "groups",
                    params.groups.as_ref().map(|groups| groups.join(",")).filter(|list| !list.is_empty()),
                );
                field("home", params.home.clone());
                field("shell", params.shell.clone());
                field("comment", params.comment.clone());
                field("password", params.password.as_ref().map(Secret::to_string));
                changes
            }
            Diff::Modify { changes, .. } => changes.clone(),
        }
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        match diff {
            Diff::Remove => {
                let mut words = vec!["userdel"];
                words.extend(params.remove.then_some("-r"));
                words.extend(params.force.then_some("-f"));
                words.push(&params.name);
                vec![Action::argv(words)]
            }
            Diff::Create => {
                let options = params.create_options(found);
                let words = ["useradd".to_owned()].into_iter().chain(options).chain([params.name.clone()]);
                std::iter::once(Action::argv(words)).chain(params.set_password()).collect()
            }
            Diff::Modify { options, home, password, .. } => {
                let mut actions = Vec::new();
                if !options.is_empty() {
                    let words = ["usermod".to_owned()].into_iter().chain(options.iter().cloned());
                    actions.push(Action::argv(words.chain([params.name.clone()])));
                }
                if let Some(home) = home {
                    let (name, path) = (quote(&params.name), quote(home));
                    let above = quote(home.rsplit_once('/').map_or("", |(above, _)| above));
                    // Made by root and given away as the last thing, so that nobody else acts in it meanwhile.
                    actions.push(Action::files(
                        format!(
                            "i_mkdirs 0755 {above} && i_mkdir 0700 {path} && i_enter {path} && \
                             {{ [ ! -d /etc/skel ] || cp -r /etc/skel/. .; }} && \
                             chown -hR {name}:\"$(id -g {name})\" . && chmod 0750 ."
                        ),
                        format!("make {path} from /etc/skel for {name}"),
                    ));
                }
                if *password {
                    actions.extend(params.set_password());
                }
                actions
            }
        }
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let state = if found.account.is_some() { "present" } else { "absent" };
        let mut result = Map::from_iter([
            ("name".to_owned(), Value::from(params.name.clone())),
            ("state".to_owned(), Value::from(state)),
        ]);
        if let Some(account) = &found.account {
            result.insert("uid".to_owned(), account.uid.into());
            result.insert("group".to_owned(), account.gid.into());
            result.insert("home".to_owned(), account.home.clone().into());
            result.insert("shell".to_owned(), account.shell.clone().into());
            result.insert("comment".to_owned(), account.gecos.clone().into());
        }
        result
    }
}

impl Params {
    /// Whether the account's home folder is there.
    fn home_ask(&self) -> Option<Ask> {
        let home = match &self.home {
            Some(home) => quote(home),
            None => format!("\"$(getent passwd {} | cut -d: -f6)\"", quote(&self.name)),
        };
        self.create_home.then(|| Ask::sh(format!("if [ -d {home} ]; then echo there; else echo missing; fi")))
    }

    /// Whether the host has this password: told by a digest of the hash, so that no hash leaves its side.
    fn password_ask(&self) -> Option<Ask> {
        let digest = sha256(self.password.as_ref().filter(|_| self.update_password)?.expose().as_bytes());
        Some(Ask::sh(format!(
            "h=$(getent shadow {} | cut -d: -f2)\n\
             if [ \"$(printf %s \"$h\" | sha256sum | cut -c-64)\" = {digest} ]; then echo same; else echo other; fi",
            quote(&self.name)
        )))
    }

    fn set_password(&self) -> Option<Action> {
        let hash = self.password.as_ref()?.expose();
        let run = Run::new("chpasswd -e").stdin(format!("{}:{hash}\n", self.name));
        Some(Action::Run(run.shown(format!("set the password of {}", self.name))))
    }

    fn create_options(&self, found: &Found) -> Vec<String> {
        let mut options = Vec::new();
        if self.system {
            options.push("-r".to_owned());
        }
        options.push(if self.create_home { "-m" } else { "-M" }.to_owned());
        let own = found.groups.iter().any(|group| group.name == self.name).then(|| self.name.clone());
        let groups = self.groups.as_ref().filter(|groups| !groups.is_empty()).map(|groups| groups.join(","));
        for (option, value) in [
            ("-u", self.uid.map(|uid| uid.to_string())),
            ("-g", self.group.clone().or(own)),
            ("-G", groups),
            ("-d", self.home.clone()),
            ("-s", self.shell.clone()),
            ("-c", self.comment.clone()),
        ] {
            options.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        }
        options
    }

    fn compare(&self, found: &Found, account: &Account, gid: Option<u32>) -> Verdict<Diff> {
        let mut options = Vec::new();
        let mut changes = Vec::new();
        let mut change = |name: &str, option: &str, before: String, after: &str| {
            options.extend([option.to_owned(), after.to_owned()]);
            changes.push(Change::field(name, before, after));
        };
        if let Some(uid) = self.uid.filter(|uid| *uid != account.uid) {
            change("uid", "-u", account.uid.to_string(), &uid.to_string());
        }
        if let (Some(group), true) = (&self.group, gid.is_some_and(|gid| gid != account.gid)) {
            change("group", "-g", found.group_name(account.gid), group);
        }
        let now = found.supplementary(&account.name);
        if let Some(wanted) = &self.groups {
            let mut wanted: Vec<String> = wanted.iter().map(|group| found.name_of(group)).collect();
            if self.append {
                wanted.extend(now.iter().map(|group| (*group).to_owned()));
            }
            let primary = found.group_name(gid.unwrap_or(account.gid));
            wanted.retain(|group| *group != primary || now.contains(&group.as_str()));
            wanted.sort_unstable();
            wanted.dedup();
            if wanted != now {
                change("groups", "-G", now.join(","), &wanted.join(","));
            }
        }
        let mut moved = false;
        for (name, option, before, after) in [
            ("home", "-d", &account.home, &self.home),
            ("shell", "-s", &account.shell, &self.shell),
            ("comment", "-c", &account.gecos, &self.comment),
        ] {
            if let Some(after) = after.as_ref().filter(|after| *after != before) {
                change(name, option, before.clone(), after);
                moved |= option == "-d" && self.move_home;
            }
        }
        if moved {
            options.insert(0, "-m".to_owned());
        }
        let home = self.home.as_ref().unwrap_or(&account.home);
        // `/nonexistent` is Debian's way of saying that an account shall have no home.
        let home = (!found.has_home && !moved && home != "/nonexistent").then(|| home.clone());
        if let Some(home) = &home {
            changes.push(Change::field("home folder", "missing", home));
        }
        let password = !found.same_password;
        if password {
            changes.push(Change::field("password", "other", "as given"));
        }
        if changes.is_empty() {
            return Verdict::InState(format!("the account is there, uid {}", account.uid));
        }
        Verdict::Act(Diff::Modify { options, changes, home, password })
    }
}

impl Found {
    /// The number of a group given by name or number.
    fn gid(&self, group: &str, param: &str) -> Result<u32, Fault> {
        let number = group.parse().ok();
        let found = self.groups.iter().find(|entry| entry.name == group || Some(entry.gid) == number);
        found.map(|entry| entry.gid).ok_or_else(|| {
            Fault::param(param, format!("no such group `{group}` on the host"))
                .healed_by(&["group", "user", "apt"])
                .hint(format!("a `group` task before this one can create it: `group: {{name: {group}}}`"))
        })
    }

    /// The name of a group given by name or number.
    fn name_of(&self, group: &str) -> String {
        let number = group.parse().ok();
        let found = self.groups.iter().find(|entry| entry.name == group || Some(entry.gid) == number);
        found.map_or_else(|| group.to_owned(), |entry| entry.name.clone())
    }

    fn group_name(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// Names of the supplementary groups, sorted.
    fn supplementary(&self, name: &str) -> Vec<&str> {
        let member = |group: &&GroupEntry| group.members.iter().any(|member| member == name);
        let mut groups: Vec<_> = self.groups.iter().filter(member).map(|group| group.name.as_str()).collect();
        groups.sort_unstable();
        groups
    }
}

/// An account's or group's name, held against what the host's tools take.
pub(super) fn account_name(args: &Args, param: &str) -> Result<String, Fault> {
    let name = args.required(param);
    let fits = |c: char| c.is_alphanumeric() || "_.-$@".contains(c);
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(fits) {
        return Err(Fault::param(param, format!("`{name}` is no name of an account or group")));
    }
    Ok(name)
}

/// Whether a text is what `/etc/shadow` holds: `$id$...`, `*`, `!` or a locked one.
fn is_hash(text: &str) -> bool {
    let rest = text.trim_start_matches('!');
    let hashed = rest.starts_with('$') && rest.matches('$').count() >= 3;
    (hashed || matches!(rest, "" | "*")) && !text.is_empty() && !text.contains([':', '\n'])
}
