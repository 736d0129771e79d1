//! Public keys that may log in as an account.
//!
//! Keys are known by their type and body: one that is there with other options or another comment is replaced.
//! `exclusive` removes all other keys. The folder `.ssh` is made for the account, readable by it alone. A symbolic
//! link in the place of the file is replaced by a file; one that leads to what is not the account's own is not even
//! read.
//!
//! EXAMPLES
//! - name: Ada may come in
//!   authorized_key:
//!     user: ada
//!     key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdyKZC2zGqGNyKZC2zGqGNyKZC2zGqGNyKZC2zGqGNy ada@desk
//! - name: The backup may, but only for one command
//!   authorized_key:
//!     user: postgres
//!     key: "{{ backup_public_key }}"
//!     key_options: command="/usr/local/bin/backup",restrict

use super::user::account_name;
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Account, Action, Answers, Ask, Follow, Output, Over, Put, quote, sha256};
use serde_json::{Map, Value};

/// Bytes of a file of keys: room for thousands. The account could else have any amount read.
const MOST: u32 = 1 << 20;

/// The module `authorized_key`.
pub struct AuthorizedKey;

/// Keys of an account.
#[derive(Debug)]
pub struct Params {
    user: String,
    keys: Vec<Key>,
    present: bool,
    exclusive: bool,
    manage_dir: bool,
    path: Option<String>,
}

/// One line of `authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    options: String,
    kind: String,
    body: String,
    comment: String,
}

/// What was found.
pub struct Found {
    account: Option<Account>,
    path: String,
    /// Whether the folder is there, and its mode and owner.
    folder: Option<(u32, u32)>,
    text: Option<String>,
    /// A link stands in the file's place.
    link: bool,
}

/// What is to be done.
pub struct Diff {
    text: Option<String>,
    make_folder: bool,
}

impl Module for AuthorizedKey {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "authorized_key",
        aliases: &[],
        summary: "Public keys that may log in as an account",
        source: include_str!("authorized_key.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("user", Kind::Str, "The account").required(),
            Param::new("key", Kind::Str, "The public key; several on lines of their own").required(),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether they may log in")
                .default("present"),
            Param::new("key_options", Kind::Str, "Options in front of the key"),
            Param::new("comment", Kind::Str, "The comment behind the key, in the place of its own"),
            Param::new("exclusive", Kind::Bool, "Remove all other keys").default("false"),
            Param::new("manage_dir", Kind::Bool, "Make the folder, with the right owner and mode")
                .default("true"),
            Param::new("path", Kind::Path, "The file")
                .default("`.ssh/authorized_keys` in the account's home"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let mut keys: Vec<Key> = Vec::new();
        for line in args
            .required("key")
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let mut key = Key::parse(line).ok_or_else(|| {
                Fault::param("key", "this is no line of a public key file")
                    .hint("`ssh-ed25519 AAAA... comment`")
            })?;
            if let Some(options) = args.str("key_options") {
                key.options = options;
            }
            if let Some(comment) = args.str("comment") {
                key.comment = comment;
            }
            if !keys.iter().any(|other| other.body == key.body) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(Fault::param("key", "`key` holds no public key"));
        }
        Ok(Params {
            user: account_name(args, "user")?,
            keys,
            present: args.str("state").as_deref() != Some("absent"),
            exclusive: args.bool("exclusive").unwrap_or(false),
            manage_dir: args.bool("manage_dir").unwrap_or(true),
            path: attrs::path(args, "path")?,
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::Accounts, params.ask()]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let accounts = answers.accounts(&Ask::Accounts)?;
        let account = accounts.iter().find(|account| account.name == params.user).cloned();
        let output = answers.output(&params.ask())?;
        if !output.success() {
            return Err(Fault::task(format!("the keys cannot be read: {}", output.error_text().trim())));
        }
        let text = String::from_utf8(output.stdout.clone())
            .map_err(|_| Fault::task("the file of keys is not UTF-8 text"))?;
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let (mark, content) = rest.split_once('\n').unwrap_or((rest, ""));
        let folder = head
            .split_once(' ')
            .and_then(|(mode, uid)| Some((u32::from_str_radix(mode, 8).ok()?, uid.trim().parse().ok()?)));
        let home = account.as_ref().map_or_else(String::new, |account| account.home.clone());
        Ok(Found {
            account,
            path: params.path.clone().unwrap_or_else(|| format!("{home}/.ssh/authorized_keys")),
            folder,
            text: matches!(mark, "file" | "link").then(|| content.to_owned()),
            link: matches!(mark, "link" | "strange"),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let Some(account) = &found.account else {
            return Err(Fault::param("user", format!("no such account `{}` on the host", params.user))
                .healed_by(&["user", "apt"])
                .hint(format!(
                    "a `user` task before this one can create it: `user: {{name: {}}}`",
                    params.user
                )));
        };
        let before = found.text.as_deref().unwrap_or_default();
        let after = params.edit(before);
        let changed = after != before || found.link && params.present;
        let wrong =
            found.folder.is_none_or(|(mode, uid)| mode & 0o022 != 0 || (uid != account.uid && uid != 0));
        let make_folder = params.manage_dir && params.present && wrong;
        if !changed && !make_folder {
            let state = if params.present { "the key is there" } else { "no such key is there" };
            return Ok(Verdict::InState(state.to_owned()));
        }
        Ok(Verdict::Act(Diff { text: changed.then_some(after), make_folder }))
    }

    fn show(_params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let folder = parent(&found.path);
        let before =
            found.folder.map_or_else(|| "missing".to_owned(), |(mode, uid)| format!("{mode:04o}, uid {uid}"));
        let made = diff.make_folder.then(|| Change::field(folder, before, "0700, the account's own"));
        let text = diff.text.as_ref();
        let text = text.map(|text| Change::text(&found.path, found.text.clone().unwrap_or_default(), text));
        made.into_iter().chain(text).collect()
    }

    fn actions(_params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let Some(account) = &found.account else { return Vec::new() };
        let mut actions = Vec::new();
        if diff.make_folder {
            let folder = parent(&found.path);
            let (path, above) = (quote(folder), quote(parent(folder)));
            if found.folder.is_none() {
                actions.push(Action::files(
                    format!("i_mkdirs 0755 {above} && i_mkdir 0700 {path}"),
                    format!("mkdir -m 0700 {path}"),
                ));
            }
            let ids = format!("{}:{}", account.uid, account.gid);
            actions.push(attrs::change_owner(folder, &ids, Follow::Own));
            actions.push(attrs::change_mode(folder, "0700", Follow::Own));
        }
        if let Some(text) = &diff.text {
            let mut put = Put::new(&found.path, text.as_bytes());
            put.follow = Follow::No;
            put.over = match &found.text {
                Some(text) if !found.link => Over::Digest(sha256(text.as_bytes())),
                _ => Over::Nothing,
            };
            if found.text.is_none() || found.link {
                put.mode = Some(0o600);
                put.owner = Some(account.uid.to_string());
                put.group = Some(account.gid.to_string());
            }
            actions.push(Action::Put(put));
        }
        actions
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([
            ("user".to_owned(), Value::from(params.user.clone())),
            ("keyfile".to_owned(), Value::from(found.path.clone())),
        ])
    }
}

impl Params {
    /// First line: mode and owner of the folder, or nothing. Second: `file`, `link`, `strange` (a link to what is not
    /// its maker's own), or nothing. Then the file.
    fn ask(&self) -> Ask {
        let file = match &self.path {
            Some(path) => format!("f={}", quote(path)),
            None => {
                let name = quote(&self.user);
                format!(
                    "h=$(getent passwd {name} | cut -d: -f6); f=$h/.ssh/authorized_keys; [ -n \"$h\" ] || exit 0"
                )
            }
        };
        Ask::sh(format!(
            "{file}\n\
             if [ -d \"${{f%/*}}\" ]; then stat -L -c '%a %u' \"${{f%/*}}\"; else echo; fi\n\
             what=file\n\
             if [ -L \"$f\" ]; then\n\
             what=link whose=$(stat -c %u \"$f\")\n\
             case $whose in 0|\"$(stat -L -c %u \"$f\" 2>/dev/null)\") ;; *) echo strange; exit 0;; esac\n\
             fi\n\
             [ -f \"$f\" ] || exit 0\n\
             size=$(stat -L -c %s \"$f\")\n\
             [ \"$size\" -le {MOST} ] || {{ echo \"$f has $size bytes, and keys of more than {MOST} bytes are not read\" >&2; exit 1; }}\n\
             echo $what; head -c {MOST} \"$f\""
        ))
    }

    /// The file as it shall be.
    fn edit(&self, text: &str) -> String {
        let mut lines = Vec::new();
        let mut seen: Vec<&Key> = Vec::new();
        for line in text.lines() {
            let Some(key) = Key::parse(line) else {
                lines.push(line.to_owned());
                continue;
            };
            match self.keys.iter().find(|wanted| (&wanted.kind, &wanted.body) == (&key.kind, &key.body)) {
                Some(_) if !self.present => {}
                // A second line with the same key would let its options win or lose by order: one is enough.
                Some(wanted) if seen.contains(&wanted) => {}
                Some(wanted) => {
                    seen.push(wanted);
                    lines.push(if *wanted == key { line.to_owned() } else { wanted.line() });
                }
                None if self.exclusive && self.present => {}
                None => lines.push(line.to_owned()),
            }
        }
        if self.present {
            lines.extend(self.keys.iter().filter(|key| !seen.contains(key)).map(Key::line));
        }
        let after: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if after.trim_end() == text.trim_end() { text.to_owned() } else { after }
    }
}

impl Key {
    /// Reads a line; `None` for comments and what is no key.
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (options, rest) = match is_kind(line.split_whitespace().next()?) {
            true => ("", line),
            false => {
                let end = end_of_options(line);
                (&line[..end], line[end..].trim_start())
            }
        };
        let mut words = rest.splitn(3, char::is_whitespace);
        let (kind, body) = (words.next()?, words.next()?);
        if !is_kind(kind) || body.len() < 16 {
            return None;
        }
        Some(Self {
            options: options.to_owned(),
            kind: kind.to_owned(),
            body: body.to_owned(),
            comment: words.next().unwrap_or_default().trim().to_owned(),
        })
    }

    fn line(&self) -> String {
        let words = [&self.options, &self.kind, &self.body, &self.comment];
        words.into_iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
}

/// Where the options at the start of a line end: at the first blank outside quotes.
fn end_of_options(line: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return at,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    line.len()
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(folder, _)| folder)
}
