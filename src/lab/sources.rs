//! This machine's own apt sources: the parts that are its distribution's archive, for use inside the lab's hosts.

use super::LabResult;
use crate::diag::Diagnostic;
use std::fs;
use std::path::{Path, PathBuf};

/// Components of Debian's own archive; a source with any other is a stranger's.
const COMPONENTS: [&str; 4] = ["main", "contrib", "non-free", "non-free-firmware"];

/// One archive, one URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub uri: String,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    /// What `Signed-By` says: paths of keyrings, or a key itself (then with line breaks).
    pub signed_by: Option<String>,
}

impl Source {
    /// The stanza of a `.sources` file.
    pub fn stanza(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            self.uri,
            self.suites.join(" "),
            self.components.join(" ")
        );
        if let Some(signed_by) = &self.signed_by {
            let separator = if signed_by.starts_with('\n') { "" } else { " " };
            text.push_str(&format!("Signed-By:{separator}{signed_by}\n"));
        }
        text
    }

    /// Keyring files that `Signed-By` names.
    pub fn keyrings(&self) -> Vec<PathBuf> {
        let words = self
            .signed_by
            .iter()
            .filter(|value| !value.contains('\n'))
            .flat_map(|value| value.split_whitespace());
        words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
    }
}

/// Reads `/etc/apt` of this machine and keeps what belongs to `release`.
pub(super) fn read(release: &str) -> LabResult<Vec<Source>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut sources = Vec::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_list(&text),
            Some("sources") => parse_sources(&text),
            _ => continue,
        };
        sources.extend(found.into_iter().filter_map(|source| own_archive(source, release)));
    }
    for source in &mut sources {
        resolve_mirror_list(source);
    }
    if archive(&sources, release).is_none() {
        return Err(vec![
            Diagnostic::error(
                "lab-no-apt-source",
                format!("this machine's apt sources name no Debian archive of `{release}`"),
            )
            .note("read: /etc/apt/sources.list and /etc/apt/sources.list.d/*.list, *.sources")
            .hint("the lab's hosts are made from this machine's own sources: add the one its `apt-get` would use"),
        ]);
    }
    Ok(sources)
}

/// The source that holds the release itself, from which a base can be made.
pub(super) fn archive<'a>(sources: &'a [Source], release: &str) -> Option<&'a Source> {
    sources.iter().find(|source| {
        source.suites.iter().any(|suite| suite == release) && source.components.iter().any(|c| c == "main")
    })
}

/// The part of a source that is the distribution's own archive of this release.
fn own_archive(mut source: Source, release: &str) -> Option<Source> {
    let suites = ["", "-updates", "-security"].map(|suffix| format!("{release}{suffix}"));
    source.suites.retain(|suite| suites.contains(suite));
    let components = source.components.iter().all(|component| COMPONENTS.contains(&component.as_str()));
    let by_path =
        source.uri.trim_end_matches('/').rsplit('/').next().is_some_and(|last| last.starts_with("debian"));
    let by_key = source.keyrings().iter().any(|path| path.to_string_lossy().contains("debian-archive"));
    let reachable = !source.uri.starts_with("cdrom:") && !source.uri.starts_with("file:");
    (!source.suites.is_empty() && components && (by_path || by_key) && reachable).then_some(source)
}

/// `mirror+file:PATH` (Debian's cloud images): the first URI listed there, since a host has no such file.
fn resolve_mirror_list(source: &mut Source) {
    let Some(path) = source.uri.strip_prefix("mirror+file:") else { return };
    let text = fs::read_to_string(Path::new(path)).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    if let Some(uri) = lines.filter_map(|line| line.split_whitespace().next()).next() {
        source.uri = uri.to_owned();
    }
}

/// One-line format: `deb [signed-by=...] URI SUITE COMPONENT...`.
fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None; // deb-src
    }
    rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, behind) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(|value| value.replace(',', " "));
        rest = behind;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uri, suites: vec![suite], components: words.collect(), signed_by })
}

/// Deb822 format: stanzas of `Field: value`, values go on in lines that start with a space.
fn parse_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(from_stanza(&std::mem::take(&mut stanza)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((field, value)) = line.split_once(':') {
            stanza.push((field.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn from_stanza(stanza: &[(String, String)]) -> Vec<Source> {
    let field = |name: &str| stanza.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words =
        |name: &str| field(name).unwrap_or("").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let disabled = field("enabled")
        .is_some_and(|value| ["no", "false", "0"].contains(&value.to_ascii_lowercase().as_str()));
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let source = |uri| Source {
        uri,
        suites: words("suites"),
        components: words("components"),
        signed_by: field("signed-by").map(str::to_owned),
    };
    words("uris").into_iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://apt.vendor.example/debian
Suites: bookworm
Components: stable

Types: deb
URIs: https://apt.vendor.example/deb
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 xyz
";

    fn own(sources: Vec<Source>) -> Vec<Source> {
        sources.into_iter().filter_map(|source| own_archive(source, "bookworm")).collect()
    }

    #[test]
    fn deb822_keeps_the_archive_and_drops_strangers() {
        let all = parse_sources(DEB822);
        assert_eq!(all.len(), 3, "the disabled one is gone");
        assert_eq!(all[2].signed_by.as_deref(), Some("\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz"));
        assert!(all[2].stanza().contains("Signed-By:\n -----BEGIN"), "an inline key survives");
        assert!(all[2].keyrings().is_empty());
        let own = own(all);
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(own[0].keyrings(), [Path::new("/usr/share/keyrings/debian-archive-keyring.gpg")]);
        assert_eq!(parse_sources(&own[0].stanza()), own, "what is written reads back the same");
    }

    #[test]
    fn one_line_format() {
        let text = "# deb http://x/debian bookworm main\ndeb-src http://m.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/k/debian-archive-keyring.gpg] http://m.example/any bookworm main non-free # why\n\
            deb http://m.example/debian-security bookworm-security main\n\
            deb http://m.example/debian trixie main\ndeb http://m.example/pub/repos/apt bookworm-pgdg main\n";
        let own = own(parse_list(text));
        assert_eq!(
            own.iter().map(|source| source.uri.as_str()).collect::<Vec<_>>(),
            ["http://m.example/any", "http://m.example/debian-security"]
        );
        assert_eq!(archive(&own, "bookworm").map(|source| source.uri.as_str()), Some("http://m.example/any"));
        assert_eq!(own[0].components, ["main", "non-free"]);
    }
}
