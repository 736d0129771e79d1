//! Reads what stands at a path; changes nothing.
//!
//! Registers `stat` with `exists` and, where something is there, `path isreg isdir islnk mode uid gid pw_name gr_name
//! size mtime`, `lnk_target` for a link, `checksum` (SHA-256 in the place of Ansible's SHA-1) for a file, and the
//! bits of the mode (`rusr` to `xoth`, `isuid`, `isgid`).
//!
//! EXAMPLES
//! - name: Is there a cluster already?
//!   stat: {path: /var/lib/postgresql/15/main/PG_VERSION}
//!   register: version

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Content, FileAsk, FileKind, FileState, Output};
use serde_json::{Map, Value, json};

/// The module `stat`.
pub struct Stat;

/// A path to look at.
#[derive(Debug)]
pub struct Params {
    path: String,
    follow: bool,
    checksum: bool,
}

/// What stands there.
pub struct Found {
    file: FileState,
    owner: Option<String>,
    group: Option<String>,
}

impl Module for Stat {
    type Params = Params;
    type State = Found;
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "stat",
        aliases: &[],
        summary: "What stands at a path",
        source: include_str!("stat.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("path", Kind::Path, "What to look at").required().aliases(&["dest", "name"]),
            Param::new("follow", Kind::Bool, "Look through a link at the path's end").default("false"),
            Param::new("get_checksum", Kind::Bool, "Also the digest of a file").default("true"),
            Param::new("checksum_algorithm", Kind::Choice(&["sha256"]), "The digest's algorithm")
                .aliases(&["checksum", "checksum_algo"])
                .default("sha256"),
            Param::new("get_mime", Kind::Bool, "Never read; taken so that tasks that switch it off work")
                .default("false"),
            Param::new(
                "get_attributes",
                Kind::Bool,
                "Never read; taken so that tasks that switch it off work",
            )
            .default("false"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        Ok(Params {
            path: attrs::path(args, "path")?.unwrap_or_default(),
            follow: args.bool("follow").unwrap_or(false),
            checksum: args.bool("get_checksum").unwrap_or(true),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![params.ask(), Ask::Accounts, Ask::Groups]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let file = answers.file(&params.ask())?.clone();
        let owner = answers.accounts(&Ask::Accounts)?.iter().find(|account| account.uid == file.uid);
        let group = answers.groups(&Ask::Groups)?.iter().find(|group| group.gid == file.gid);
        Ok(Found {
            owner: owner.map(|owner| owner.name.clone()),
            group: group.map(|group| group.name.clone()),
            file,
        })
    }

    fn diff(_params: &Params, found: &Found) -> Result<Verdict<Self::Diff>, Fault> {
        Ok(Verdict::InState(match found.file.kind {
            FileKind::Absent => "nothing is there".to_owned(),
            FileKind::File => format!("a file of {} bytes", found.file.size),
            FileKind::Directory => "a folder".to_owned(),
            FileKind::Link => format!("a link to `{}`", found.file.target.as_deref().unwrap_or_default()),
            FileKind::Other => "a device, socket or pipe".to_owned(),
        }))
    }

    fn show(_params: &Params, _found: &Found, diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_params: &Params, _found: &Found, diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let file = &found.file;
        let mut stat = Map::from_iter([("exists".to_owned(), Value::from(file.exists()))]);
        if file.exists() {
            let mut put = |name: &str, value: Value| stat.insert(name.to_owned(), value);
            put("path", json!(params.path));
            put("isreg", json!(file.kind == FileKind::File));
            put("isdir", json!(file.kind == FileKind::Directory));
            put("islnk", json!(file.kind == FileKind::Link));
            put("mode", json!(format!("{:04o}", file.mode)));
            put("uid", json!(file.uid));
            put("gid", json!(file.gid));
            put("size", json!(file.size));
            put("mtime", json!(file.mtime));
            for (name, value) in [
                ("pw_name", &found.owner),
                ("gr_name", &found.group),
                ("lnk_target", &file.target),
                ("checksum", &file.sha256),
            ] {
                if let Some(value) = value {
                    put(name, json!(value));
                }
            }
            for (name, bit) in BITS {
                put(name, json!(file.mode & bit != 0));
            }
        }
        Map::from_iter([("stat".to_owned(), Value::Object(stat))])
    }
}

const BITS: [(&str, u32); 11] = [
    ("rusr", 0o400),
    ("wusr", 0o200),
    ("xusr", 0o100),
    ("rgrp", 0o040),
    ("wgrp", 0o020),
    ("xgrp", 0o010),
    ("roth", 0o004),
    ("woth", 0o002),
    ("xoth", 0o001),
    ("isuid", 0o4000),
    ("isgid", 0o2000),
];

impl Params {
    fn ask(&self) -> Ask {
        Ask::File(FileAsk {
            path: self.path.clone(),
            follow: self.follow,
            digest: self.checksum,
            content: Content::No,
            user: None,
        })
    }
}
