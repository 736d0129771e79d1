//! The friendly form of a host's answers.

use aws_lc_rs::digest;
use ishprov::shell::{
    Account, Answer, Answers, Ask, Content, FileAsk, FileKind, FileState, GroupEntry, LocalAsk, Output,
    PackageState, Put, Secret, UnitState,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A host told in data.
#[derive(Clone)]
pub struct Host {
    told: Value,
    form: Form,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Form {
    files: BTreeMap<String, Option<File>>,
    accounts: BTreeMap<String, Option<AccountForm>>,
    groups: BTreeMap<String, Option<GroupForm>>,
    packages: BTreeMap<String, Option<PackageForm>>,
    units: BTreeMap<String, Option<Unit>>,
    sh: Vec<Script>,
    failed: BTreeMap<String, String>,
    local: Local,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    kind: Option<String>,
    mode: Option<String>,
    owner: Option<Id>,
    group: Option<Id>,
    size: Option<u64>,
    mtime: i64,
    target: Option<String>,
    content: Option<String>,
    /// Content that is not text.
    base64: Option<String>,
    sha256: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Name(String),
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum AccountForm {
    Uid(u32),
    Full {
        uid: u32,
        gid: Option<u32>,
        home: Option<String>,
        shell: Option<String>,
        #[serde(default)]
        gecos: String,
    },
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum GroupForm {
    Gid(u32),
    Full {
        gid: u32,
        #[serde(default)]
        members: Vec<String>,
    },
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum PackageForm {
    Version(String),
    Full {
        version: Option<String>,
        #[serde(default)]
        held: bool,
    },
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    load: Option<String>,
    #[serde(default)]
    active: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    enabled: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    script: Option<String>,
    contains: Option<String>,
    user: Option<String>,
    #[serde(default)]
    status: i32,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    timed_out: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Local {
    now: Option<i64>,
    files: BTreeMap<String, Option<File>>,
    random: Option<String>,
    key: Option<String>,
    vault_password: Option<String>,
}

impl Host {
    /// Reads the friendly form.
    pub fn new(told: &Value) -> Result<Self, String> {
        let form = match told {
            Value::Null => Form::default(),
            told => serde_json::from_value(told.clone()).map_err(|error| format!("answers: {error}"))?,
        };
        Ok(Self { told: told.clone(), form })
    }

    /// The same host with `over` laid over it: tables are merged by key (null removes), lists replaced.
    pub fn with(&self, over: &Value) -> Result<Self, String> {
        let mut told = match &self.told {
            Value::Object(map) => map.clone(),
            _ => Map::new(),
        };
        for (section, over) in over.as_object().into_iter().flatten() {
            match (told.get_mut(section), over) {
                (Some(Value::Object(entries)), Value::Object(over)) => {
                    for (name, value) in over {
                        entries.insert(name.clone(), value.clone());
                    }
                }
                _ => {
                    told.insert(section.clone(), over.clone());
                }
            }
        }
        Self::new(&Value::Object(told))
    }

    /// The same host after a file was put in place, as the contract of [`Put`] says.
    pub fn put(mut self, put: &Put) -> Self {
        let old = self.form.files.get(&put.path).cloned().flatten();
        let old = old.filter(|old| old.kind.as_deref() != Some("link"));
        let id = |name: &str| name.parse().map_or_else(|_| Id::Name(name.to_owned()), Id::Number);
        let file = File {
            kind: Some("file".to_owned()),
            mode: match put.mode {
                Some(mode) => Some(format!("{mode:04o}")),
                None => old.as_ref().map_or(Some("0600".to_owned()), |old| old.mode.clone()),
            },
            owner: put.owner.as_deref().map(id).or_else(|| old.as_ref()?.owner.clone()),
            group: put.group.as_deref().map(id).or_else(|| old.as_ref()?.group.clone()),
            base64: Some({
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.encode(&put.content)
            }),
            ..File::default()
        };
        self.form.files.insert(put.path.clone(), Some(file));
        self
    }

    /// The answers to a module's questions.
    pub fn answer(&self, asks: &[Ask]) -> Result<Answers, String> {
        let mut answers = Answers::new();
        for ask in asks {
            answers.insert(ask.clone(), self.one(ask)?);
        }
        Ok(answers)
    }

    fn one(&self, ask: &Ask) -> Result<Answer, String> {
        let form = &self.form;
        let subject = match ask {
            Ask::File(file) => file.path.as_str(),
            Ask::Sh { script, .. } => script,
            Ask::Unit(name) | Ask::Package(name) => name,
            _ => "",
        };
        if let Some((_, why)) = form.failed.iter().find(|(part, _)| subject.contains(part.as_str())) {
            return Ok(Answer::Failed(why.clone()));
        }
        Ok(match ask {
            Ask::File(file) => Answer::File(self.file(&form.files, file)?),
            Ask::Accounts => Answer::Accounts(self.accounts()),
            Ask::Groups => Answer::Groups(self.groups()),
            Ask::Package(name) => Answer::Package(match form.packages.get(name).cloned().flatten() {
                None => PackageState::default(),
                Some(PackageForm::Version(version)) => PackageState { version: Some(version), held: false },
                Some(PackageForm::Full { version, held }) => PackageState { version, held },
            }),
            Ask::Unit(name) => Answer::Unit(match form.units.get(name).cloned().flatten() {
                None => UnitState {
                    load: "not-found".to_owned(),
                    active: "inactive".to_owned(),
                    sub: "dead".to_owned(),
                    enabled: String::new(),
                },
                Some(unit) => UnitState {
                    load: unit.load.unwrap_or_else(|| "loaded".to_owned()),
                    active: unit.active,
                    sub: unit.sub,
                    enabled: unit.enabled,
                },
            }),
            Ask::Sh { script, user } => Answer::Output(self.script(script, user.as_deref())?),
            Ask::Local(local) => self.local(local)?,
        })
    }

    fn script(&self, script: &str, user: Option<&str>) -> Result<Output, String> {
        let fits = |known: &&Script| {
            known.script.as_deref().is_none_or(|text| text.trim() == script.trim())
                && known.contains.as_deref().is_none_or(|part| script.contains(part))
                && known.user.as_deref().is_none_or(|name| user == Some(name))
        };
        let known = self.form.sh.iter().find(fits);
        if let (None, Some(path)) = (known, script.strip_prefix("readlink -f ")) {
            return Ok(Output::ok(format!("{}\n", self.real(path))));
        }
        let known = known.ok_or_else(|| {
            format!("no answer in `sh:` for the script (as {})\n{script}", user.unwrap_or("root"))
        })?;
        Ok(Output {
            status: known.status,
            stdout: known.stdout.clone().into_bytes(),
            stderr: known.stderr.clone().into_bytes(),
            timed_out: known.timed_out,
        })
    }

    /// A path with the links at its end followed, so that the cases need not answer `readlink`.
    fn real(&self, path: &str) -> String {
        let target = self.form.files.get(path).and_then(|file| file.as_ref()?.target.clone());
        match target {
            Some(target) => self.real(&absolute(path, &target)),
            None => path.to_owned(),
        }
    }

    fn local(&self, ask: &LocalAsk) -> Result<Answer, String> {
        let local = &self.form.local;
        Ok(match ask {
            LocalAsk::Now => Answer::Now(local.now.ok_or("no `local: {now: seconds}`")?),
            LocalAsk::Random(bytes) => {
                let text = local.random.as_deref().unwrap_or("0123456789abcdef");
                Answer::Random(text.bytes().cycle().take(*bytes).collect())
            }
            LocalAsk::File(path) => {
                let ask = FileAsk {
                    path: path.clone(),
                    follow: true,
                    digest: true,
                    content: Content::Whole,
                    user: None,
                };
                Answer::File(self.file(&local.files, &ask)?)
            }
            LocalAsk::NewKey(_) => {
                Answer::Key(Secret::new(local.key.clone().ok_or("no `local: {key: PEM}`")?))
            }
            LocalAsk::VaultPassword => Answer::Password(local.vault_password.clone().map(Secret::new)),
        })
    }

    fn file(&self, files: &BTreeMap<String, Option<File>>, ask: &FileAsk) -> Result<FileState, String> {
        let known = files.get(&ask.path).cloned();
        let below = format!("{}/", ask.path.trim_end_matches('/'));
        let holds =
            || known.is_none() && files.iter().any(|(path, file)| file.is_some() && path.starts_with(&below));
        let file = match &known {
            Some(Some(file)) => file.clone(),
            // A folder is there when something in it is; `/etc` always.
            _ if ask.path == "/etc" || ask.path == "/" || holds() => {
                File { kind: Some("directory".to_owned()), ..File::default() }
            }
            _ => return Ok(FileState::default()),
        };
        let target = file.target.clone();
        let kind = match file.kind.as_deref() {
            None if target.is_some() => FileKind::Link,
            None | Some("file") => FileKind::File,
            Some("directory") => FileKind::Directory,
            Some("link") => FileKind::Link,
            Some("other") => FileKind::Other,
            Some("absent") => return Ok(FileState::default()),
            Some(other) => return Err(format!("files: `{}`: no such kind `{other}`", ask.path)),
        };
        if kind == FileKind::Link && ask.follow {
            let target = target.unwrap_or_default();
            let path = absolute(&ask.path, &target);
            return self.file(files, &FileAsk { path, ..ask.clone() });
        }
        let content = match (&file.content, &file.base64) {
            (_, Some(base64)) => {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.decode(base64).map_err(|error| error.to_string())?
            }
            (Some(text), None) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        };
        let plain = match kind {
            FileKind::Directory => 0o755,
            FileKind::Link => 0o777,
            _ => 0o644,
        };
        let mode = match &file.mode {
            Some(mode) => u32::from_str_radix(mode, 8).map_err(|error| format!("mode `{mode}`: {error}"))?,
            None => plain,
        };
        let regular = kind == FileKind::File;
        let sha256 = file.sha256.clone().unwrap_or_else(|| sha256(&content));
        Ok(FileState {
            kind,
            mode,
            uid: self.id(file.owner.as_ref(), |name| {
                self.accounts().into_iter().find(|account| account.name == name).map(|account| account.uid)
            })?,
            gid: self.id(file.group.as_ref(), |name| {
                self.groups().into_iter().find(|group| group.name == name).map(|group| group.gid)
            })?,
            size: file.size.unwrap_or(content.len() as u64),
            mtime: file.mtime,
            target: if kind == FileKind::Link { target } else { None },
            sha256: (ask.digest && regular).then_some(sha256),
            content: (ask.content != Content::No && regular).then_some(content),
        })
    }

    fn id(&self, id: Option<&Id>, find: impl Fn(&str) -> Option<u32>) -> Result<u32, String> {
        match id {
            None => Ok(0),
            Some(Id::Number(number)) => Ok(*number),
            Some(Id::Name(name)) => find(name).ok_or_else(|| format!("the case names no id of `{name}`")),
        }
    }

    fn accounts(&self) -> Vec<Account> {
        let mut accounts = vec![account("root", 0, 0, "/root", "/bin/bash", "root")];
        for (name, form) in self.form.accounts.iter().filter(|(name, _)| *name != "root") {
            let home = format!("/home/{name}");
            match form {
                None => {}
                Some(AccountForm::Uid(uid)) => accounts.push(account(name, *uid, *uid, &home, "/bin/sh", "")),
                Some(AccountForm::Full { uid, gid, home: at, shell, gecos }) => accounts.push(account(
                    name,
                    *uid,
                    gid.unwrap_or(*uid),
                    at.as_deref().unwrap_or(&home),
                    shell.as_deref().unwrap_or("/bin/sh"),
                    gecos,
                )),
            }
        }
        accounts
    }

    fn groups(&self) -> Vec<GroupEntry> {
        let mut groups = vec![GroupEntry { name: "root".to_owned(), gid: 0, members: Vec::new() }];
        for (name, form) in self.form.groups.iter().filter(|(name, _)| *name != "root") {
            let name = name.clone();
            match form {
                None => {}
                Some(GroupForm::Gid(gid)) => groups.push(GroupEntry { name, gid: *gid, members: Vec::new() }),
                Some(GroupForm::Full { gid, members }) => {
                    groups.push(GroupEntry { name, gid: *gid, members: members.clone() });
                }
            }
        }
        groups
    }
}

/// The path that a link at `path` to `target` names.
fn absolute(path: &str, target: &str) -> String {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if target.starts_with('/') { target.to_owned() } else { format!("{folder}/{target}") }
}

fn account(name: &str, uid: u32, gid: u32, home: &str, shell: &str, gecos: &str) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        gid,
        gecos: gecos.to_owned(),
        home: home.to_owned(),
        shell: shell.to_owned(),
    }
}

fn sha256(content: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
