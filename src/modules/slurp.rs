//! Reads a file of the host; changes nothing.
//!
//! Registers `content` (base64: read it with the filter `b64decode`), `encoding` and `source`.
//!
//! EXAMPLES
//! - name: The host's public key
//!   slurp: {src: /etc/ssh/ssh_host_ed25519_key.pub}
//!   register: key

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, attrs};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, FileState, Output};
use base64::Engine;
use serde_json::{Map, Value, json};

/// The module `slurp`.
pub struct Slurp;

impl Module for Slurp {
    type Params = String;
    type State = FileState;
    type Diff = std::convert::Infallible;

    const SPEC: Spec = Spec {
        name: "slurp",
        aliases: &[],
        summary: "A file's content",
        source: include_str!("slurp.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[Param::new("src", Kind::Path, "The file").required().aliases(&["path"])],
    };

    fn decode(args: &Args) -> Result<String, Fault> {
        Ok(attrs::path(args, "src")?.unwrap_or_default())
    }

    fn probe(path: &String) -> Vec<Ask> {
        vec![Ask::content(path)]
    }

    fn state(path: &String, answers: &Answers) -> Result<FileState, Fault> {
        Ok(answers.file(&Ask::content(path))?.clone())
    }

    fn diff(path: &String, file: &FileState) -> Result<Verdict<Self::Diff>, Fault> {
        match file.kind {
            FileKind::File => Ok(Verdict::InState(format!("{} bytes", file.size))),
            FileKind::Absent => Err(Fault::param("src", format!("there is no file `{path}`"))
                .hint("`stat` tells whether a file is there")),
            _ => Err(Fault::param("src", format!("`{path}` is no regular file"))),
        }
    }

    fn show(_path: &String, _file: &FileState, diff: &Self::Diff) -> Vec<Change> {
        match *diff {}
    }

    fn actions(_path: &String, _file: &FileState, diff: &Self::Diff) -> Vec<Action> {
        match *diff {}
    }

    fn result(path: &String, file: &FileState, _ran: &[Output]) -> Map<String, Value> {
        let content = file.content.as_deref().unwrap_or_default();
        Map::from_iter([
            ("content".to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(content))),
            ("encoding".to_owned(), json!("base64")),
            ("source".to_owned(), json!(path)),
        ])
    }
}
