//! A package repository, as a file `/etc/apt/sources.list.d/NAME.sources`.
//!
//! `signed_by` is the repository's public key, as an ASCII-armoured text (it is put into the file itself, so that it
//! counts for this repository alone) or as the path of a keyring on the host. Nothing is downloaded: give the key as
//! text, `"{{ lookup('file', 'pgdg.asc') }}"`. The package lists are refreshed by the next `apt` task that has
//! `update_cache: true` or installs something, since a source is then newer than the lists.
//!
//! `apt_key` and one-line `apt_repository` entries are the old way, in which a key counts for every repository.
//!
//! EXAMPLES
//! - name: PostgreSQL's own packages
//!   deb822_repository:
//!     name: pgdg
//!     uris: https://apt.example.org/postgresql
//!     suites: bookworm-pgdg
//!     components: main
//!     signed_by: /usr/share/postgresql-common/pgdg/pgdg.asc
//! - name: Gone
//!   deb822_repository: {name: old, state: absent}

use super::{Args, Change, Kind, Mode, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, FileState, Output, Put};
use serde_json::{Map, Value, json};

/// The module `deb822_repository`.
pub struct Deb822Repository;

/// A repository's file.
#[derive(Debug)]
pub struct Params {
    path: String,
    /// `None`: the file shall not be there.
    content: Option<String>,
    mode: u32,
}

impl Module for Deb822Repository {
    type Params = Params;
    type State = FileState;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "deb822_repository",
        aliases: &[],
        summary: "Package repositories",
        source: include_str!("deb822_repository.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "Name of the file and `X-Repolib-Name`").required(),
            Param::new("state", Kind::Choice(&["present", "absent"]), "Whether it is there")
                .default("present"),
            Param::new("types", Kind::List, "`deb`, `deb-src`").default("deb"),
            Param::new("uris", Kind::List, "Addresses"),
            Param::new("suites", Kind::List, "Releases: `bookworm-pgdg`"),
            Param::new("components", Kind::List, "Parts: `main`"),
            Param::new("architectures", Kind::List, "`amd64`, ..."),
            Param::new("signed_by", Kind::Str, "Public key as text, or the path of a keyring on the host"),
            Param::new("enabled", Kind::Bool, "Whether apt reads it").default("true"),
            Param::new("trusted", Kind::Bool, "Take it unsigned (do not)"),
            Param::new("allow_insecure", Kind::Bool, "Allow it without signature (do not)"),
            Param::new("by_hash", Kind::Bool, "Fetch indexes by their hash"),
            Param::new("check_valid_until", Kind::Bool, "Refuse indexes that are too old"),
            Param::new("languages", Kind::List, "Translations to fetch"),
            Param::new("pdiffs", Kind::Bool, "Fetch indexes as differences"),
            Param::new("mode", Kind::Mode, "Mode of the file").default("0644"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let name = args.required("name");
        let slug: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .collect();
        if slug.trim_matches(['-', '.']).is_empty() {
            return Err(Fault::param("name", format!("`{name}` gives no name for a file")));
        }
        let mode = match args.str("mode").map(|text| Mode::parse(&text)) {
            None => 0o644,
            Some(Some(mode)) => mode.apply(0o644, false),
            Some(None) => return Err(Fault::param("mode", "`mode` takes a file mode, quoted (\"0644\")")),
        };
        let content = match args.str("state").as_deref() {
            Some("absent") => None,
            _ => Some(content(args, &name)?),
        };
        Ok(Params { path: format!("/etc/apt/sources.list.d/{}.sources", slug.to_lowercase()), content, mode })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::content(&params.path)]
    }

    fn state(params: &Params, answers: &Answers) -> Result<FileState, Fault> {
        Ok(answers.file(&Ask::content(&params.path))?.clone())
    }

    fn diff(params: &Params, found: &FileState) -> Result<Verdict<()>, Fault> {
        if !matches!(found.kind, FileKind::File | FileKind::Absent) {
            return Err(
                Fault::task(format!("`{}` is no regular file", params.path)).healed_by(&["file", "apt"])
            );
        }
        let same = match &params.content {
            None => !found.exists(),
            Some(content) => {
                found.content.as_deref() == Some(content.as_bytes()) && found.mode == params.mode
            }
        };
        let reason = if params.content.is_some() { "as wanted" } else { "is not there" };
        if same { Ok(Verdict::InState(format!("{} {reason}", params.path))) } else { Ok(Verdict::Act(())) }
    }

    fn show(params: &Params, found: &FileState, _diff: &()) -> Vec<Change> {
        let before = found.content.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let mut changes = Vec::new();
        let after = params.content.clone().unwrap_or_default();
        if before != after {
            changes.push(Change::text(&*params.path, before, after));
        }
        if params.content.is_some() && found.exists() && found.mode != params.mode {
            changes.push(Change::field(
                "mode",
                format!("{:04o}", found.mode),
                format!("{:04o}", params.mode),
            ));
        }
        changes
    }

    fn actions(params: &Params, _found: &FileState, _diff: &()) -> Vec<Action> {
        match &params.content {
            None => vec![Action::argv(["rm", "-f", "--", &params.path])],
            Some(content) => {
                let mut put = Put::new(&params.path, content.clone());
                put.mode = Some(params.mode);
                vec![Action::Put(put)]
            }
        }
    }

    fn result(params: &Params, _found: &FileState, _ran: &[Output]) -> Map<String, Value> {
        Map::from_iter([("dest".to_owned(), json!(params.path)), ("repo".to_owned(), json!(params.content))])
    }
}

fn content(args: &Args, name: &str) -> Result<String, Fault> {
    let mut lines = vec![format!("X-Repolib-Name: {name}")];
    let types = args.list("types");
    let types = if types.is_empty() { vec!["deb".to_owned()] } else { types };
    if let Some(other) = types.iter().find(|kind| !matches!(kind.as_str(), "deb" | "deb-src")) {
        return Err(Fault::param("types", format!("`{other}` is neither `deb` nor `deb-src`")));
    }
    lines.push(format!("Types: {}", types.join(" ")));
    for (param, field) in [("uris", "URIs"), ("suites", "Suites")] {
        let values = args.list(param);
        if values.is_empty() {
            return Err(
                Fault::task(format!("module `deb822_repository` needs `{param}`")).hint("or `state: absent`")
            );
        }
        lines.push(format!("{field}: {}", values.join(" ")));
    }
    let flat = args.list("suites").iter().all(|suite| suite.ends_with('/'));
    match (args.list("components"), flat) {
        (components, _) if !components.is_empty() => {
            lines.push(format!("Components: {}", components.join(" ")))
        }
        (_, true) => {}
        _ => {
            return Err(Fault::param("components", "a suite without a slash at its end needs `components`")
                .hint("`main`, usually"));
        }
    }
    for (param, field) in [("architectures", "Architectures"), ("languages", "Languages")] {
        let values = args.list(param);
        if !values.is_empty() {
            lines.push(format!("{field}: {}", values.join(" ")));
        }
    }
    for (param, field) in [
        ("enabled", "Enabled"),
        ("trusted", "Trusted"),
        ("allow_insecure", "Allow-Insecure"),
        ("by_hash", "By-Hash"),
        ("check_valid_until", "Check-Valid-Until"),
        ("pdiffs", "PDiffs"),
    ] {
        if let Some(set) = args.bool(param) {
            lines.push(format!("{field}: {}", if set { "yes" } else { "no" }));
        }
    }
    if let Some(key) = args.str("signed_by") {
        lines.push(signed_by(&key)?);
    }
    if lines.iter().any(|line| line.lines().skip(1).any(|more| !more.starts_with(' '))) {
        return Err(Fault::task("a value holds a line's end"));
    }
    Ok(format!("{}\n", lines.join("\n")))
}

/// A path as it is; a key with the indentation and dots of a deb822 field.
fn signed_by(key: &str) -> Result<String, Fault> {
    if key.contains("://") {
        return Err(Fault::param("signed_by", "ishprov downloads no keys")
            .hint("keep the key beside the site: `\"{{ lookup('file', 'repository.asc') }}\"`"));
    }
    if !key.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        if key.starts_with('/') {
            return Ok(format!("Signed-By: {key}"));
        }
        return Err(Fault::param(
            "signed_by",
            "`signed_by` is neither an ASCII-armoured public key nor a path",
        ));
    }
    let lines = key.trim().lines().map(|line| match line.trim() {
        "" => " .".to_owned(),
        line => format!(" {line}"),
    });
    Ok(format!("Signed-By:\n{}", lines.collect::<Vec<_>>().join("\n")))
}
