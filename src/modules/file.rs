//! Folders, links, modes and owners; removes what shall not be there.
//!
//! `state: directory` makes missing parents too, with the same mode and owner. `state: link` replaces a link that
//! points elsewhere by itself, anything else only with `force`. `state: file` (what holds when something is there
//! and no state is given) changes mode and owner and never creates; `copy` and `template` create files.
//! `state: absent` removes folders with all that is in them.
//!
//! `recurse` gives mode, owner and group to everything below a folder as well; `X` in a symbolic mode means
//! execution for folders, and for files that somebody may execute.
//!
//! `state: touch` would change the file on every run, so `modification_time: preserve` must stand beside it; it
//! then makes an empty file where there is none.
//!
//! EXAMPLES
//! - name: A folder only postgres may enter
//!   file: {path: /srv/pg, state: directory, owner: postgres, group: postgres, mode: "0700"}
//! - name: A link
//!   file: {src: /srv/pg, path: /var/lib/pg, state: link}
//! - name: Readable for the group, all the way down
//!   file: {path: /srv/www, state: directory, recurse: true, group: www-data, mode: "u=rwX,g=rX,o="}
//! - name: Gone
//!   file: {path: /etc/motd.old, state: absent}

use super::attrs::{self, AttrDiff, Attrs, Ids, change_mode, chmod_digits};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, FileState, Follow, Output, quote};
use serde_json::{Map, Value};

/// The module `file`.
pub struct File;

/// What shall stand at a path.
#[derive(Debug)]
pub struct Params {
    path: String,
    state: Option<State>,
    src: Option<String>,
    attrs: Attrs,
    recurse: bool,
    force: bool,
    follow: bool,
    /// `follow: true` stands in the task.
    follow_any: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    File,
    Directory,
    Link,
    Touch,
    Absent,
}

/// What stands there.
pub struct Found {
    /// At the path itself.
    at: FileState,
    /// Behind a link at the path.
    behind: FileState,
    /// The folders above, outermost first.
    parents: Vec<(String, FileState)>,
    /// What `src` names.
    source: FileState,
    ids: Ids,
    below: Vec<Below>,
}

/// So many entries below a folder are alike.
struct Below {
    count: u64,
    /// `f`, `d`, `l`, ... as `find` prints it.
    kind: char,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// What is to be done.
pub enum Diff {
    /// Remove it.
    Remove,
    /// Make these folders, outermost first.
    Folders(Vec<String>),
    /// Make an empty file.
    Touch,
    /// Make the link, and give what it points at these attributes.
    Link(AttrDiff),
    /// Change mode and owner, of the path and below it.
    Attrs(AttrDiff, Descent),
}

/// What is to be done below a folder.
#[derive(Default, PartialEq, Eq)]
pub struct Descent {
    /// Type, mode found, mode wanted, and how many.
    modes: Vec<(char, u32, u32, u64)>,
    /// How many have another owner.
    owner: u64,
    /// How many have another group.
    group: u64,
}

impl Module for File {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "file",
        aliases: &[],
        summary: "Folders, links, modes and owners",
        source: include_str!("file.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "The file, folder or link").required().aliases(&["dest", "name"]),
            Param::new(
                "state",
                Kind::Choice(&["file", "directory", "link", "touch", "absent"]),
                "What shall stand there",
            )
            .default("what is there; `directory` with `recurse`, else `file`"),
            Param::new("src", Kind::Str, "What a link points at; relative to the link's folder"),
            attrs::MODE,
            attrs::OWNER,
            attrs::GROUP,
            Param::new("recurse", Kind::Bool, "Mode, owner and group for everything below, too")
                .default("false"),
            Param::new(
                "force",
                Kind::Bool,
                "Let a link replace a file or an empty folder, and point at something that is not there",
            )
            .default("false"),
            Param::new("follow", Kind::Bool, "Mode and owner go to what a link points at").default("true"),
            Param::new("modification_time", Kind::Choice(&["preserve"]), "Needed with `state: touch`"),
            Param::new("access_time", Kind::Choice(&["preserve"]), "Taken beside `modification_time`"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let state = match args.str("state").as_deref() {
            Some("file") => Some(State::File),
            Some("directory") => Some(State::Directory),
            Some("link") => Some(State::Link),
            Some("touch") => Some(State::Touch),
            Some("absent") => Some(State::Absent),
            _ => None,
        };
        let path = attrs::path(args, "path")?.unwrap_or_default();
        let params = Params {
            state,
            src: args.str("src"),
            attrs: Attrs::decode(args)?,
            recurse: args.bool("recurse").unwrap_or(false),
            force: args.bool("force").unwrap_or(false),
            follow: args.bool("follow").unwrap_or(true),
            follow_any: args.bool("follow") == Some(true),
            path,
        };
        match state {
            Some(State::Link) if params.src.is_none() => {
                return Err(Fault::param("state", "`state: link` needs `src`, what the link points at"));
            }
            Some(State::Link) => {}
            _ if params.src.is_some() => {
                return Err(Fault::param("src", "`src` goes with `state: link` only")
                    .hint("`copy` puts a file of the control machine on the host"));
            }
            Some(State::Touch) if !args.has("modification_time") => {
                return Err(Fault::param("state", "`state: touch` would change the file on every run")
                    .hint("add `modification_time: preserve` to only make it where it is missing"));
            }
            Some(State::Absent) if params.path == "/" => {
                return Err(Fault::param("path", "`/` is never removed"));
            }
            _ => {}
        }
        if params.recurse && !matches!(state, None | Some(State::Directory)) {
            return Err(Fault::param("recurse", "`recurse` goes with `state: directory` only"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks = vec![Ask::stat(&params.path)];
        if params.state == Some(State::Absent) {
            return asks;
        }
        asks.push(Ask::stat_follow(&params.path));
        asks.extend(params.attrs.asks());
        if params.makes_folders() {
            asks.extend(parents(&params.path).into_iter().map(Ask::stat_follow));
        }
        asks.extend(params.source().map(Ask::stat_follow));
        if params.recurse {
            asks.push(census(&params.path));
        }
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let at = answers.file(&Ask::stat(&params.path))?.clone();
        if params.state == Some(State::Absent) {
            let (behind, source) = (at.clone(), FileState::default());
            return Ok(Found {
                at,
                behind,
                source,
                parents: Vec::new(),
                ids: Ids::default(),
                below: Vec::new(),
            });
        }
        let mut above = Vec::new();
        if params.makes_folders() {
            for path in parents(&params.path) {
                let found = answers.file(&Ask::stat_follow(&path))?.clone();
                above.push((path, found));
            }
        }
        let source = match params.source() {
            Some(path) => answers.file(&Ask::stat_follow(path))?.clone(),
            None => FileState::default(),
        };
        let behind = answers.file(&Ask::stat_follow(&params.path))?.clone();
        let below = match params.recurse {
            true => read_census(answers.output(&census(&params.path))?)?,
            false => Vec::new(),
        };
        Ok(Found { at, behind, parents: above, source, ids: params.attrs.resolve(answers)?, below })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        match params.state {
            Some(State::Absent) if !found.at.exists() => Ok(Verdict::InState("nothing is there".to_owned())),
            Some(State::Absent) => Ok(Verdict::Act(Diff::Remove)),
            Some(State::Link) => link(params, found),
            _ if params.makes_folders() && !found.at.exists() => folders(params, found),
            Some(State::Touch) if !found.at.exists() => Ok(Verdict::Act(Diff::Touch)),
            wanted => {
                let path = &params.path;
                let seen = if params.follow { &found.behind } else { &found.at };
                if !found.at.exists() {
                    return Err(Fault::param(
                        "path",
                        format!("nothing is at `{path}`, and `state: file` creates nothing"),
                    )
                    .hint("`copy` and `template` make files, `state: directory` makes folders"));
                }
                if !seen.exists() {
                    return Err(Fault::param(
                        "path",
                        format!("`{path}` is a link to something that is not there"),
                    )
                    .hint("`follow: false` means the link itself"));
                }
                let fits = match wanted {
                    Some(State::Directory) => seen.kind == FileKind::Directory,
                    Some(State::File) => seen.kind == FileKind::File,
                    None if params.recurse => seen.kind == FileKind::Directory,
                    _ => true,
                };
                if !fits {
                    let wanted = if wanted == Some(State::File) { "a file" } else { "a folder" };
                    return Err(Fault::param(
                        "path",
                        format!("`{path}` is {}, not {wanted}", word(seen.kind)),
                    )
                    .healed_by(&["file", "apt"])
                    .hint("a task with `state: absent` before this one would remove it"));
                }
                attributes(params, found, seen)
            }
        }
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let attrs = &params.attrs;
        match diff {
            Diff::Remove => vec![Change::field("state", word(found.at.kind), "absent")],
            Diff::Folders(_) => with_state("absent", "directory", attrs.show_new(true)),
            Diff::Touch => with_state("absent", "file", attrs.show_new(false)),
            Diff::Link(target) => {
                let src = params.src.as_deref().unwrap_or_default();
                let before = match found.at.kind {
                    FileKind::Link => found.at.target.clone().unwrap_or_default(),
                    kind => word(kind).to_owned(),
                };
                let mut changes = Vec::new();
                if found.at.target.as_deref() != Some(src) {
                    changes.push(Change::field("link to", before, src));
                }
                changes.extend(attrs.show(&found.ids, target));
                changes
            }
            Diff::Attrs(top, below) => {
                let mut changes = attrs.show(&found.ids, top);
                for (kind, before, after, count) in &below.modes {
                    let what = if *kind == 'd' { "folders" } else { "files" };
                    let (before, after) = (format!("{before:04o}"), format!("{after:04o}"));
                    changes.push(Change::field(format!("mode of {count} {what} below"), before, after));
                }
                for (name, count, after) in
                    [("owner", below.owner, &attrs.owner), ("group", below.group, &attrs.group)]
                {
                    if let (1.., Some(after)) = (count, after) {
                        changes.push(Change::field(
                            format!("{name} of {count} entries below"),
                            "other",
                            after,
                        ));
                    }
                }
                changes
            }
        }
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let path = quote(&params.path);
        let attrs = &params.attrs;
        match diff {
            Diff::Remove => vec![Action::files(format!("i_remove {path}"), format!("rm -rf {path}"))],
            Diff::Folders(missing) => {
                let mode = attrs.new_mode(true);
                let one = |folder: &String| {
                    let path = quote(folder);
                    let made = Action::files(
                        format!("i_mkdir {mode:04o} {path}"),
                        format!("mkdir -m {mode:04o} {path}"),
                    );
                    let mut actions: Vec<Action> = std::iter::once(made).chain(attrs.give(folder)).collect();
                    // A setgid bit above is inherited, and `chown` may clear one: the mode is set once more.
                    if mode & 0o6000 != 0 {
                        actions.push(change_mode(folder, &format!("{mode:04o}"), Follow::No));
                    }
                    actions
                };
                missing.iter().flat_map(one).collect()
            }
            Diff::Touch => {
                let mode = attrs.new_mode(false);
                let made = Action::files(
                    format!("i_touch {mode:04o} {path}"),
                    format!("touch {path}, mode {mode:04o}"),
                );
                let mut actions: Vec<Action> =
                    std::iter::once(made).chain(attrs.give(&params.path)).collect();
                if mode & 0o6000 != 0 && actions.len() > 1 {
                    actions.push(change_mode(&params.path, &format!("{mode:04o}"), Follow::No));
                }
                actions
            }
            Diff::Link(target) => {
                let mut actions = Vec::new();
                let src = params.src.as_deref().unwrap_or_default();
                if found.at.target.as_deref() != Some(src) {
                    let src = quote(src);
                    actions.push(Action::files(
                        format!("i_symlink {src} {path}"),
                        format!("ln -sfn {src} {path}"),
                    ));
                }
                actions.extend(attrs.actions(&params.path, target, params.follows()));
                actions
            }
            Diff::Attrs(top, below) => {
                let mut actions = attrs.actions(&params.path, top, params.follows());
                actions.extend(descend(params, found, below));
                actions
            }
        }
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let mut result = Map::from_iter([
            ("path".to_owned(), params.path.clone().into()),
            (
                "state".to_owned(),
                if found.at.exists() { ansible_word(found.at.kind) } else { "absent" }.into(),
            ),
        ]);
        if found.at.exists() {
            result.insert("mode".to_owned(), format!("{:04o}", found.behind.mode).into());
            result.insert("uid".to_owned(), found.behind.uid.into());
            result.insert("gid".to_owned(), found.behind.gid.into());
        }
        result
    }
}

impl Params {
    /// What a link at the path means.
    fn follows(&self) -> Follow {
        match (self.follow, self.follow_any) {
            (_, true) => Follow::Any,
            (true, false) => Follow::Own,
            (false, false) => Follow::No,
        }
    }

    fn makes_folders(&self) -> bool {
        self.state == Some(State::Directory) || (self.state.is_none() && self.recurse)
    }

    /// The absolute path that `src` names.
    fn source(&self) -> Option<String> {
        let src = self.src.as_ref()?;
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Some(if src.starts_with('/') { src.clone() } else { format!("{folder}/{src}") })
    }
}

fn folders(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
    if let Some((path, at)) =
        found.parents.iter().find(|(_, at)| at.exists() && at.kind != FileKind::Directory)
    {
        return Err(Fault::param("path", format!("`{path}` is {}, not a folder", word(at.kind)))
            .healed_by(&["file", "apt"]));
    }
    let missing = found.parents.iter().filter(|(_, at)| !at.exists()).map(|(path, _)| path.clone());
    Ok(Verdict::Act(Diff::Folders(missing.chain([params.path.clone()]).collect())))
}

fn link(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
    let (path, src) = (&params.path, params.src.as_deref().unwrap_or_default());
    if !found.source.exists() && !params.force {
        return Err(Fault::param("src", format!("nothing is at `{}`", params.source().unwrap_or_default()))
            .hint("`force: true` makes the link all the same"));
    }
    if !params.force && !matches!(found.at.kind, FileKind::Absent | FileKind::Link) {
        return Err(Fault::param("path", format!("`{path}` is {}, not a link", word(found.at.kind)))
            .healed_by(&["file", "apt"])
            .hint("`force: true` lets the link replace a file or an empty folder"));
    }
    let seen = if params.follow { &found.source } else { &found.at };
    let attrs = if seen.exists() {
        let mut diff = params.attrs.diff(&found.ids, seen, seen.kind == FileKind::Directory);
        if !params.follow {
            diff.mode = None;
        }
        diff
    } else {
        AttrDiff::default()
    };
    if found.at.target.as_deref() == Some(src) && attrs.is_empty() {
        return Ok(Verdict::InState(format!("the link to `{src}` is there")));
    }
    Ok(Verdict::Act(Diff::Link(attrs)))
}

fn attributes(params: &Params, found: &Found, seen: &FileState) -> Result<Verdict<Diff>, Fault> {
    let attrs = &params.attrs;
    let mut top = attrs.diff(&found.ids, seen, seen.kind == FileKind::Directory);
    if seen.kind == FileKind::Link {
        top.mode = None;
    }
    let mut descent = Descent::default();
    for entry in &found.below {
        if let Some(mode) = attrs.mode.as_ref().filter(|_| matches!(entry.kind, 'd' | 'f')) {
            let wanted = mode.apply(entry.mode, entry.kind == 'd');
            if wanted != entry.mode {
                match descent
                    .modes
                    .iter_mut()
                    .find(|(kind, before, ..)| (*kind, *before) == (entry.kind, entry.mode))
                {
                    Some((.., count)) => *count += entry.count,
                    None => descent.modes.push((entry.kind, entry.mode, wanted, entry.count)),
                }
            }
        }
        descent.owner += if found.ids.uid.is_some_and(|uid| uid != entry.uid) { entry.count } else { 0 };
        descent.group += if found.ids.gid.is_some_and(|gid| gid != entry.gid) { entry.count } else { 0 };
    }
    if top.is_empty() && descent == Descent::default() {
        let below = if params.recurse { ", all that is below it as well" } else { "" };
        return Ok(Verdict::InState(format!("{} is there{}{below}", word(seen.kind), attrs.reason(seen))));
    }
    Ok(Verdict::Act(Diff::Attrs(top, descent)))
}

/// Counts what is below a folder by type, mode and owner: a short answer however many files there are.
fn census(path: &str) -> Ask {
    let path = quote(path);
    Ask::sh(format!(
        "[ ! -d {path} ] || find {path}/ -mindepth 1 -printf '%y %m %U %G\\n' | LC_ALL=C sort | uniq -c"
    ))
}

fn read_census(output: &Output) -> Result<Vec<Below>, Fault> {
    let unreadable =
        |line: &str| Fault::task(format!("`find` answered `{line}`, not type, mode, owner and group"));
    if !output.success() {
        return Err(Fault::task(format!(
            "what is below the folder cannot be read: {}",
            output.error_text().trim()
        )));
    }
    output
        .text()
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [count, kind, mode, uid, gid] = words[..] else { return Err(unreadable(line)) };
            let below = || {
                Some(Below {
                    count: count.parse().ok()?,
                    kind: kind.chars().next()?,
                    mode: u32::from_str_radix(mode, 8).ok()?,
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                })
            };
            below().ok_or_else(|| unreadable(line))
        })
        .collect()
}

fn descend(params: &Params, found: &Found, below: &Descent) -> Vec<Action> {
    let path = quote(&params.path);
    let attrs = &params.attrs;
    let mut actions = Vec::new();
    for (count, flag, id, wanted) in [
        (below.owner, "-uid", found.ids.uid, attrs.owner.as_deref().map(quote)),
        (
            below.group,
            "-gid",
            found.ids.gid,
            attrs.group.as_deref().map(|group| format!(":{}", quote(group))),
        ),
    ] {
        if let (1.., Some(id), Some(wanted)) = (count, id, wanted) {
            // -execdir: from within each folder, whatever its path may mean by now.
            let find = format!("-mindepth 1 ! {flag} {id}");
            actions.push(Action::files(
                format!("i_enter {path} && find . {find} -execdir chown -h {wanted} {{}} +"),
                format!("find {path} {find} -exec chown -h {wanted} {{}} +"),
            ));
        }
    }
    for (kind, before, after, _) in &below.modes {
        let digits = chmod_digits(*before, *after);
        actions.push(Action::files(
            format!("i_modes {kind} {before:04o} {digits} {path}"),
            format!("find {path} -mindepth 1 -type {kind} -perm {before:04o} -exec chmod {digits} {{}} +"),
        ));
    }
    actions
}

/// The folders above a path, outermost first, without `/`.
fn parents(path: &str) -> Vec<String> {
    path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()).collect()
}

fn with_state(before: &str, after: &str, rest: Vec<Change>) -> Vec<Change> {
    std::iter::once(Change::field("state", before, after)).chain(rest).collect()
}

fn word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Absent => "absent",
        FileKind::File => "a file",
        FileKind::Directory => "a folder",
        FileKind::Link => "a link",
        FileKind::Other => "a device, socket or pipe",
    }
}

fn ansible_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Absent => "absent",
        FileKind::Directory => "directory",
        FileKind::Link => "link",
        FileKind::File | FileKind::Other => "file",
    }
}
