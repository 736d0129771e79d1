//! A folder of the control machine with all that is in it, as `copy` puts it on a host.

use super::args::Args;
use super::attrs::{self, Attrs};
use super::content::{Edit, Seen, Target};
use super::mode::Mode;
use super::{Change, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, Follow, quote};
use base64::Engine;
use serde_json::{Map, Value};

/// What goes where.
#[derive(Debug)]
pub struct Tree {
    dest: String,
    /// Folders, each behind those that it lies in.
    folders: Vec<String>,
    files: Vec<(Target, Vec<u8>)>,
    /// Of folders that are made.
    attrs: Attrs,
    force: bool,
}

/// What was found.
#[derive(Debug)]
pub struct TreeSeen {
    folders: Vec<FileKind>,
    files: Vec<Seen>,
}

/// What differs, by number.
#[derive(Debug)]
pub struct TreeEdit {
    folders: Vec<usize>,
    files: Vec<(usize, Edit)>,
}

impl Tree {
    /// `src` as bound: its path, and the entries below it. Without a slash at its end the folder itself is put into
    /// `dest`, with one what is in it.
    pub fn decode(args: &Args, src: &Value, entries: &[Value]) -> Result<Self, Fault> {
        let given = src.get("path").and_then(Value::as_str).unwrap_or_default();
        let dest = attrs::path(args, "dest")?.unwrap_or_default();
        let join = |above: &str, name: &str| format!("{}/{name}", if above == "/" { "" } else { above });
        let mut top = vec![dest.clone()];
        if !given.ends_with('/') {
            let name = given.rsplit_once('/').map_or(given, |(_, name)| name);
            top.push(join(&dest, name));
        }
        let root = top.last().cloned().unwrap_or_default();
        let directory_mode = match args.str("directory_mode") {
            Some(text) => Some(Mode::parse(&text).ok_or_else(|| {
                Fault::param("directory_mode", format!("`{text}` is no file mode")).hint("write \"0755\"")
            })?),
            None => None,
        };
        let attrs = Attrs { mode: directory_mode, ..Attrs::decode(args)? };
        let mut tree =
            Self { dest, folders: top, files: Vec::new(), attrs, force: args.bool("force").unwrap_or(true) };
        for entry in entries {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            let path = join(&root, text("name").unwrap_or_default());
            let Some(content) = text("content") else {
                tree.folders.push(path);
                continue;
            };
            let content = base64::engine::general_purpose::STANDARD
                .decode(content)
                .map_err(|error| Fault::param("src", format!("`{path}` was not read well: {error}")))?;
            tree.files.push((Target::whole(path, args)?, content));
        }
        Ok(tree)
    }

    /// What must be known of the host.
    pub fn asks(&self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = self.folders.iter().map(Ask::stat_follow).collect();
        asks.extend(self.attrs.asks());
        asks.extend(self.files.iter().flat_map(|(target, _)| target.asks()));
        asks
    }

    /// The answers, parsed.
    pub fn seen(&self, answers: &Answers) -> Result<TreeSeen, Fault> {
        self.attrs.resolve(answers)?;
        let folders = self.folders.iter().map(|path| Ok(answers.file(&Ask::stat_follow(path))?.kind));
        let files = self.files.iter().map(|(target, _)| target.seen(answers));
        Ok(TreeSeen {
            folders: folders.collect::<Result<_, Fault>>()?,
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// What is to be done.
    pub fn diff(&self, seen: &TreeSeen) -> Result<Verdict<TreeEdit>, Fault> {
        let mut edit = TreeEdit { folders: Vec::new(), files: Vec::new() };
        for (number, (path, kind)) in self.folders.iter().zip(&seen.folders).enumerate() {
            match kind {
                FileKind::Directory => {}
                FileKind::Absent => edit.folders.push(number),
                _ => return Err(Fault::param("dest", format!("`{path}` is not a folder"))),
            }
        }
        for (number, ((target, content), found)) in self.files.iter().zip(&seen.files).enumerate() {
            target.check(found, "dest")?;
            if !self.force && found.file.exists() {
                continue;
            }
            if let Verdict::Act(one) = target.compare(found, content, "") {
                edit.files.push((number, one));
            }
        }
        if edit.folders.is_empty() && edit.files.is_empty() {
            let (folders, files) = (self.folders.len(), self.files.len());
            return Ok(Verdict::InState(format!("{files} files and {folders} folders are there")));
        }
        Ok(Verdict::Act(edit))
    }

    /// The differences for people.
    pub fn show(&self, seen: &TreeSeen, edit: &TreeEdit) -> Vec<Change> {
        let made =
            edit.folders.iter().map(|number| Change::field(&*self.folders[*number], "absent", "a folder"));
        let files = edit.files.iter().flat_map(|(number, one)| {
            let target = &self.files[*number].0;
            target.show(&seen.files[*number], one).into_iter().map(|change| match change {
                Change::Field { name, before, after } => {
                    Change::Field { name: format!("{}: {name}", target.path), before, after }
                }
                text => text,
            })
        });
        made.chain(files).collect()
    }

    /// How to do it.
    pub fn actions(&self, seen: &TreeSeen, edit: &TreeEdit) -> Vec<Action> {
        let mut actions = Vec::new();
        if edit.folders.first() == Some(&0) {
            actions.extend(self.dest.rsplit_once('/').map(|(above, _)| attrs::make_folders(above)));
        }
        for path in edit.folders.iter().map(|number| &self.folders[*number]) {
            let (mode, name) = (self.attrs.new_mode(true), quote(path));
            actions.push(Action::files(
                format!("i_mkdir {mode:04o} {name}"),
                format!("mkdir -m {mode:04o} {name}"),
            ));
            actions.extend(self.attrs.give(path));
            if mode & 0o6000 != 0 {
                actions.push(attrs::change_mode(path, &format!("{mode:04o}"), Follow::No));
            }
        }
        for (number, one) in &edit.files {
            actions.extend(self.files[*number].0.actions(&seen.files[*number], one));
        }
        actions
    }

    /// What `register` keeps.
    pub fn result(&self) -> Map<String, Value> {
        Map::from_iter([("dest".to_owned(), Value::from(self.dest.clone()))])
    }
}
