//! One file's content, as every module that writes files handles it: what is there, what differs, how it is put.

use super::args::Args;
use super::attrs::{self, AttrDiff, Attrs, Ids};
use super::{Change, Kind, Param, Verdict};
use crate::diag::Fault;
use crate::shell::{
    Action, Answers, Ask, Content, FileAsk, FileKind, FileState, Follow, LocalAsk, Over, Put, SMALL_BYTES,
    quote, sha256,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The parameter `backup`.
pub const BACKUP: Param =
    Param::new("backup", Kind::Bool, "Keep what is replaced beside it, with the time in its name")
        .default("false");
/// The parameter `validate`.
pub const VALIDATE: Param = Param::new(
    "validate",
    Kind::Str,
    "A command that must succeed on the new file before it takes the place; `%s` is its path",
);

/// A file to write, and how.
#[derive(Debug)]
pub struct Target {
    /// Absolute path on the host.
    pub path: String,
    /// Wanted mode, owner and group.
    pub attrs: Attrs,
    backup: bool,
    validate: Option<String>,
    /// What a link at the path means.
    pub follow: Follow,
    /// Whether a missing folder above is made.
    pub make_folder: bool,
    /// Whether the new content is made of what is there; else the digest tells whether it differs.
    pub edits: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Seen {
    /// The state of the file, with content or digest.
    pub file: FileState,
    /// The path behind all links.
    pub real: String,
    ids: Ids,
    now: Option<i64>,
    folder: Option<FileKind>,
}

/// What differs.
#[derive(Debug)]
pub struct Edit {
    /// The content wanted, where it differs.
    content: Option<Arc<[u8]>>,
    attrs: AttrDiff,
}

impl Target {
    /// Reads the parameters `mode`, `owner`, `group`, `backup` and `validate`.
    pub fn decode(path: String, args: &Args) -> Result<Self, Fault> {
        let validate = args.str("validate");
        if validate.as_ref().is_some_and(|command| !command.contains("%s")) {
            return Err(Fault::param("validate", "`validate` must name the file as `%s`")
                .hint("for example `visudo -cf %s`"));
        }
        let backup = args.bool("backup").unwrap_or(false);
        Ok(Self {
            path,
            attrs: Attrs::decode(args)?,
            backup,
            validate,
            follow: Follow::Own,
            make_folder: false,
            edits: true,
        })
    }

    /// The same for a file whose content does not come of what is there: a link is replaced, unless the task says that
    /// it is followed.
    pub fn whole(path: String, args: &Args) -> Result<Self, Fault> {
        let follow = if args.bool("follow") == Some(true) { Follow::Any } else { Follow::No };
        Ok(Self { follow, edits: false, ..Self::decode(path, args)? })
    }

    fn ask(&self) -> Ask {
        Ask::File(FileAsk {
            path: self.path.clone(),
            follow: self.follows(),
            digest: !self.edits,
            // Of what is replaced as a whole, enough to show the difference.
            content: if self.edits { Content::Whole } else { Content::Small },
            user: None,
        })
    }

    fn follows(&self) -> bool {
        self.follow != Follow::No
    }

    fn real_ask(&self) -> Ask {
        Ask::sh(format!("readlink -f {}", quote(&self.path)))
    }

    /// What must be known of the host.
    pub fn asks(&self) -> Vec<Ask> {
        let mut asks = vec![self.ask()];
        asks.extend(self.attrs.asks());
        if self.follows() {
            asks.push(self.real_ask());
        }
        if self.make_folder {
            asks.push(Ask::stat_follow(above(&self.path)));
        }
        if self.backup {
            asks.push(Ask::Local(LocalAsk::Now));
        }
        asks
    }

    /// The answers, parsed.
    pub fn seen(&self, answers: &Answers) -> Result<Seen, Fault> {
        let file = answers.file(&self.ask())?.clone();
        let mut real = self.path.clone();
        if self.follows() {
            let output = answers.output(&self.real_ask())?;
            let text = output.text();
            let text = text.strip_suffix('\n').unwrap_or(&text);
            if output.success() && text.starts_with('/') {
                real = text.to_owned();
            }
        }
        let now = if self.backup { Some(answers.now()?) } else { None };
        let folder = match self.make_folder {
            true => Some(answers.file(&Ask::stat_follow(above(&self.path)))?.kind),
            false => None,
        };
        Ok(Seen { file, real, ids: self.attrs.resolve(answers)?, now, folder })
    }

    /// Refuses everything but a regular file or nothing.
    pub fn check(&self, seen: &Seen, param: &str) -> Result<(), Fault> {
        let what = match seen.file.kind {
            FileKind::Absent | FileKind::File => return Ok(()),
            FileKind::Link if !self.follows() => return Ok(()),
            FileKind::Directory => "a folder",
            FileKind::Link | FileKind::Other => "no regular file",
        };
        Err(Fault::param(param, format!("`{}` is {what}", self.path)).healed_by(&["file", "apt"]))
    }

    /// The text that is there; `None` when nothing is.
    pub fn text<'a>(&self, seen: &'a Seen, param: &str) -> Result<Option<&'a str>, Fault> {
        self.check(seen, param)?;
        if !seen.file.exists() {
            return Ok(None);
        }
        let bytes = seen.file.content.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Fault::param(param, format!("`{}` is not UTF-8 text", self.path)))?;
        Ok(Some(text))
    }

    /// What is to be done to give it this content; `because` is the reason for doing nothing.
    pub fn compare(&self, seen: &Seen, content: &[u8], because: &str) -> Verdict<Edit> {
        let file = &seen.file;
        let same = file.kind == FileKind::File
            && match (&file.content, &file.sha256) {
                (Some(found), _) => found == content,
                (None, Some(found)) => *found == sha256(content),
                (None, None) => false,
            };
        let attrs = match file.kind {
            FileKind::File => self.attrs.diff(&seen.ids, file, false),
            _ => AttrDiff::default(),
        };
        if same && attrs.is_empty() {
            return Verdict::InState(format!("{because}{}", self.attrs.reason(file)));
        }
        Verdict::Act(Edit { content: (!same).then(|| content.into()), attrs })
    }

    /// The differences for people.
    pub fn show(&self, seen: &Seen, edit: &Edit) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(content) = &edit.content {
            changes.push(self.show_content(seen, content));
        }
        if seen.file.kind == FileKind::File {
            changes.extend(self.attrs.show(&seen.ids, &edit.attrs));
        } else {
            changes.extend(self.attrs.show_new(false));
        }
        changes
    }

    fn show_content(&self, seen: &Seen, content: &[u8]) -> Change {
        let texts = || {
            let before = match seen.file.kind {
                FileKind::File => seen.file.content.as_deref()?,
                _ => &[],
            };
            if before.len().max(content.len()) as u64 > SMALL_BYTES
                || before.contains(&0)
                || content.contains(&0)
            {
                return None;
            }
            Some((std::str::from_utf8(before).ok()?, std::str::from_utf8(content).ok()?))
        };
        if let Some((before, after)) = texts() {
            return Change::text(&self.path, before, after);
        }
        let short = |digest: &str| format!("sha256 {}", digest.get(..16).unwrap_or(digest));
        let before = match (&seen.file.sha256, &seen.file.content) {
            (Some(digest), _) => short(digest),
            (None, Some(content)) => short(&sha256(content)),
            (None, None) => String::new(),
        };
        Change::field("content", before, short(&sha256(content)))
    }

    /// How to do it.
    pub fn actions(&self, seen: &Seen, edit: &Edit) -> Vec<Action> {
        let Some(content) = &edit.content else {
            return self.attrs.actions(&self.path, &edit.attrs, self.follow);
        };
        let replaces = seen.file.kind == FileKind::File;
        let mode = match (&self.attrs.mode, replaces) {
            (None, true) => None,
            (Some(mode), true) => Some(mode.apply(seen.file.mode, false)),
            (_, false) => Some(self.attrs.new_mode(false)),
        };
        let missing = seen.folder == Some(FileKind::Absent);
        let folder = missing.then(|| attrs::make_folders(above(&self.path)));
        let put = Action::Put(Put {
            path: self.path.clone(),
            content: content.clone(),
            mode,
            owner: self.attrs.owner.clone(),
            group: self.attrs.group.clone(),
            backup: seen.now.filter(|_| seen.file.exists()).map(ending),
            validate: self.validate.clone(),
            follow: self.follow,
            over: self.over(&seen.file),
            user: None,
        });
        folder.into_iter().chain([put]).collect()
    }

    fn over(&self, file: &FileState) -> Over {
        match &file.content {
            _ if !self.edits => Over::Anything,
            Some(content) => Over::Digest(sha256(content)),
            None => Over::Nothing,
        }
    }

    /// What `register` keeps of the file.
    pub fn result(&self, seen: &Seen, name: &str) -> Map<String, Value> {
        let mut result = Map::from_iter([(name.to_owned(), self.path.clone().into())]);
        if seen.file.exists() {
            result.insert("mode".to_owned(), format!("{:04o}", seen.file.mode).into());
            result.insert("uid".to_owned(), seen.file.uid.into());
            result.insert("gid".to_owned(), seen.file.gid.into());
            result.insert("size".to_owned(), seen.file.size.into());
        }
        result
    }
}

/// The ending of a backup's name, as Ansible writes it: `.2026-11-23@07:44:00~` (UTC).
fn ending(seconds: i64) -> String {
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!(
            ".{:04}-{:02}-{:02}@{:02}:{:02}:{:02}~",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
        Err(_) => format!(".{seconds}~"),
    }
}

/// Where a file goes: `dest`, or into it when it is a folder or ends in `/`.
#[derive(Debug)]
pub struct Dest {
    /// The file at `dest` itself.
    target: Target,
    /// The file inside, when `dest` is a folder.
    inside: Option<Target>,
    /// `dest` ends in `/`.
    slash: bool,
    /// The content wanted.
    content: Vec<u8>,
    /// Replace a file that differs.
    force: bool,
}

/// What was found at a [`Dest`].
#[derive(Debug)]
pub struct DestSeen {
    file: Seen,
    /// Whether it goes into the folder `dest`.
    into: bool,
    /// The folder that the file goes to, and what it is.
    folder: (String, FileKind),
}

impl Dest {
    /// `name` is the file's name on the control machine, when it has one.
    pub fn decode(args: &Args, name: Option<&str>, content: Vec<u8>) -> Result<Self, Fault> {
        let given = args.required("dest");
        let path = attrs::path(args, "dest")?.unwrap_or_default();
        let slash = given.ends_with('/');
        if slash && name.is_none() {
            return Err(Fault::param(
                "dest",
                format!("`{given}` is a folder, and `content` has no file name"),
            )
            .hint("name the file in `dest`"));
        }
        let target = |path: String| Target::whole(path, args);
        let inside = match name.map(|name| name.rsplit_once('/').map_or(name, |(_, name)| name)) {
            Some(name) if !name.is_empty() => {
                Some(target(format!("{}/{name}", if path == "/" { "" } else { &path }))?)
            }
            _ => None,
        };
        let force = args.bool("force").unwrap_or(true);
        Ok(Self { target: target(path)?, inside, slash, content, force })
    }

    /// What must be known of the host.
    pub fn asks(&self) -> Vec<Ask> {
        let mut asks = self.target.asks();
        asks.push(Ask::stat_follow(&self.target.path));
        asks.push(Ask::stat_follow(above(&self.target.path)));
        asks.extend(self.inside.iter().flat_map(Target::asks));
        asks
    }

    /// The answers, parsed.
    pub fn seen(&self, answers: &Answers) -> Result<DestSeen, Fault> {
        let at = answers.file(&Ask::stat_follow(&self.target.path))?.kind;
        let into = self.inside.is_some() && (self.slash || at == FileKind::Directory);
        let folder = if into {
            (self.target.path.clone(), at)
        } else {
            let above = above(&self.target.path);
            (above.to_owned(), answers.file(&Ask::stat_follow(above))?.kind)
        };
        Ok(DestSeen { file: self.target(into).seen(answers)?, into, folder })
    }

    fn target(&self, into: bool) -> &Target {
        self.inside.as_ref().filter(|_| into).unwrap_or(&self.target)
    }

    /// What is to be done.
    pub fn diff(&self, seen: &DestSeen) -> Result<Verdict<Edit>, Fault> {
        let target = self.target(seen.into);
        let (folder, kind) = &seen.folder;
        match kind {
            FileKind::Directory => {}
            FileKind::Absent if self.slash => {}
            FileKind::Absent => {
                return Err(Fault::param("dest", format!("the folder `{folder}` does not exist"))
                    .hint(format!("make it first: `file: {{path: {folder}, state: directory}}`")));
            }
            _ => {
                return Err(
                    Fault::param("dest", format!("`{folder}` is not a folder")).healed_by(&["file", "apt"])
                );
            }
        }
        target.check(&seen.file, "dest")?;
        if !self.force && seen.file.file.exists() {
            let path = &target.path;
            return Ok(Verdict::InState(format!("`{path}` is there, and `force: false` leaves it as it is")));
        }
        Ok(target.compare(&seen.file, &self.content, "same content"))
    }

    /// The differences for people.
    pub fn show(&self, seen: &DestSeen, edit: &Edit) -> Vec<Change> {
        self.target(seen.into).show(&seen.file, edit)
    }

    /// How to do it.
    pub fn actions(&self, seen: &DestSeen, edit: &Edit) -> Vec<Action> {
        let (folder, kind) = &seen.folder;
        let missing = (*kind == FileKind::Absent).then(|| attrs::make_folders(folder));
        missing.into_iter().chain(self.target(seen.into).actions(&seen.file, edit)).collect()
    }

    /// What `register` keeps.
    pub fn result(&self, seen: &DestSeen) -> Map<String, Value> {
        self.target(seen.into).result(&seen.file, "dest")
    }
}

/// The folder that holds a path.
fn above(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}
