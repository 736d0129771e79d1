//! Every text a plan is made of, read once, through a door that the edge opens.

use crate::diag::{Diagnostic, FileId, SourceMap, nearest};
use crate::shell::{Masker, Secret};
use crate::yaml::{Kind, Node};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, RwLock};

/// How the files of a site are reached; the edge implements it over the file system.
pub trait Sources: Send + Sync {
    /// A file's bytes; `None` when there is none, `Err` when it cannot be read.
    fn bytes(&self, path: &str) -> Option<Result<Vec<u8>, String>>;

    /// Whether a directory stands at `path`.
    fn is_dir(&self, path: &str) -> bool;

    /// What stands in the directory at `path`, by name; nothing when there is none.
    fn names(&self, path: &str) -> Vec<String>;

    /// The same, where nothing may be left out: `Err` when it cannot be read whole.
    fn all_names(&self, path: &str) -> Result<Vec<String>, String> {
        Ok(self.names(path))
    }

    /// The plain text of a vault file or value.
    fn decrypt(&self, ciphertext: &str) -> Result<Secret, String>;
}

/// How an encrypted file begins.
const VAULT: &[u8] = b"$ANSIBLE_VAULT;";

/// The texts of a run: sources, their map, and what was parsed of them.
pub struct Library {
    sources: Arc<dyn Sources>,
    map: RwLock<SourceMap>,
    masker: Masker,
    parsed: Mutex<HashMap<String, (FileId, Arc<Node>)>>,
    texts: Mutex<HashMap<String, Known>>,
}

/// A text that was read, and what it was read from.
#[derive(Clone)]
struct Known {
    file: FileId,
    text: Arc<str>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// It stands for the file, whatever the file holds.
    Held,
    /// The file's bytes are the text.
    Plain,
    /// The file's bytes, from which the text was made: decrypted, or with one kind of line end.
    Made(Arc<[u8]>),
}

impl Known {
    /// Whether it is what a file with these bytes holds.
    fn is_of(&self, bytes: &[u8]) -> bool {
        match &self.origin {
            Origin::Held => true,
            Origin::Plain => self.text.as_bytes() == bytes,
            Origin::Made(origin) => **origin == *bytes,
        }
    }

    fn entry(&self) -> (FileId, Arc<str>) {
        (self.file, Arc::clone(&self.text))
    }
}

impl Library {
    /// A library that reads through `sources`.
    pub fn new(sources: Arc<dyn Sources>, masker: Masker) -> Self {
        Self { sources, map: RwLock::default(), masker, parsed: Mutex::default(), texts: Mutex::default() }
    }

    /// The source map as it stands (texts are shared, so this is cheap).
    pub fn map(&self) -> SourceMap {
        self.map.read().map(|map| map.clone()).unwrap_or_default()
    }

    /// The register of secrets.
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// The door to the files.
    pub fn sources(&self) -> &Arc<dyn Sources> {
        &self.sources
    }

    /// Takes in a text that was read elsewhere.
    pub fn add(&self, path: &str, text: &str) -> FileId {
        match self.map.write() {
            Ok(mut map) => map.add(path, text),
            Err(poisoned) => poisoned.into_inner().add(path, text),
        }
    }

    /// Takes in a text that stands for the file `path` from now on.
    pub fn hold(&self, path: &str, text: &str) {
        self.remember(path, text, Origin::Held);
    }

    /// Whether a file stands at `path`.
    pub fn exists(&self, path: &str) -> bool {
        self.known(path).is_some_and(|known| matches!(known.origin, Origin::Held))
            || self.sources.bytes(path).is_some()
    }

    /// The first of these paths at which a file stands.
    pub fn first<'a>(&self, paths: &'a [String]) -> Option<&'a String> {
        paths.iter().find(|path| self.exists(path))
    }

    /// A file beside the missing `path` that its name may be a slip of: "did you mean `x`?".
    pub fn near(&self, path: &str) -> Option<String> {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let there: Vec<String> = self.sources.names(dir).into_iter().filter(|other| other != name).collect();
        let stems: Vec<String> = there.iter().map(|name| stem(name)).collect();
        let (wanted, near) = (stem(name), nearest(&stem(name), stems.iter().map(String::as_str)));
        // The same word with another ending, else a slip in the word: an ending alone makes no two names alike.
        let found = there.iter().find(|name| stem(name) == wanted && !wanted.is_empty());
        let found = found.or_else(|| there.iter().find(|name| near == Some(stem(name).as_str())))?;
        Some(format!("did you mean `{found}`?"))
    }

    /// A text file as it is now; `None` when there is none. Tasks may write files of this machine, so that what was read
    /// before stays good only while the file is the same.
    pub fn text(&self, path: &str) -> Option<Result<(FileId, Arc<str>), Diagnostic>> {
        let known = self.known(path);
        if let Some(held) = known.as_ref().filter(|known| matches!(known.origin, Origin::Held)) {
            return Some(Ok(held.entry()));
        }
        let bytes = match self.sources.bytes(path)? {
            Ok(bytes) => bytes,
            Err(why) => {
                return Some(Err(Diagnostic::error(
                    "unreadable-file",
                    format!("cannot read `{path}`: {why}"),
                )));
            }
        };
        if let Some(known) = known.filter(|known| known.is_of(&bytes)) {
            return Some(Ok(known.entry()));
        }
        let origin = match bytes.starts_with(VAULT) || bytes.contains(&b'\r') {
            true => Origin::Made(Arc::from(bytes.as_slice())),
            false => Origin::Plain,
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Some(Err(Diagnostic::error("not-utf8", format!("`{path}` is not UTF-8 text"))));
        };
        let text = match self.plain(path, text) {
            Ok(text) => text,
            Err(diagnostic) => return Some(Err(diagnostic)),
        };
        // YAML and Jinja2 read every kind of line end as one: a checkout on another system changes no result.
        let text = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text };
        Some(Ok(self.remember(path, &text, origin)))
    }

    /// A YAML file; `None` when there is none.
    pub fn yaml(&self, path: &str) -> Option<Result<Arc<Node>, Vec<Diagnostic>>> {
        let (file, text) = match self.text(path)? {
            Ok(found) => found,
            Err(diagnostic) => return Some(Err(vec![diagnostic])),
        };
        let known = self.parsed.lock().ok().and_then(|parsed| parsed.get(path).cloned());
        if let Some((_, node)) = known.filter(|(of, _)| *of == file) {
            return Some(Ok(node));
        }
        Some(crate::yaml::parse(file, &text).map(|node| {
            let node = Arc::new(node);
            if let Ok(mut parsed) = self.parsed.lock() {
                parsed.insert(path.to_owned(), (file, Arc::clone(&node)));
            }
            node
        }))
    }

    /// Every word that a file read so far writes where a name can be defined.
    pub fn written(&self) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        if let Ok(parsed) = self.parsed.lock() {
            parsed.values().for_each(|(_, node)| collect_words(node, &mut words));
        }
        words
    }

    fn known(&self, path: &str) -> Option<Known> {
        self.texts.lock().ok()?.get(path).cloned()
    }

    fn remember(&self, path: &str, text: &str, origin: Origin) -> (FileId, Arc<str>) {
        let known = Known { file: self.add(path, text), text: Arc::from(text), origin };
        let entry = known.entry();
        if let Ok(mut texts) = self.texts.lock() {
            texts.insert(path.to_owned(), known);
        }
        entry
    }

    /// The text itself, or what a vault file holds; everything in a vault file is a secret from then on.
    fn plain(&self, path: &str, text: String) -> Result<String, Diagnostic> {
        if !text.as_bytes().starts_with(VAULT) {
            return Ok(text);
        }
        let plain = self.sources.decrypt(&text).map_err(|why| {
            // What was tried and refused needs no advice to try.
            let advice = "give it with `--vault-password-file` or `--ask-vault-pass`".to_owned();
            let advice = why.starts_with("no vault password").then_some(advice);
            Diagnostic::error("vault", format!("cannot open the vault file `{path}`: {why}"))
                .maybe_hint(advice)
        })?;
        let scratch = SourceMap::new().add(path, plain.expose());
        if let Ok(node) = crate::yaml::parse(scratch, plain.expose()) {
            self.hide_values(&node);
        }
        Ok(plain.expose().to_owned())
    }

    fn hide_values(&self, node: &Node) {
        match &node.kind {
            Kind::Seq(items) => items.iter().for_each(|item| self.hide_values(item)),
            Kind::Map(entries) => entries.iter().for_each(|entry| self.hide_values(&entry.value)),
            Kind::Str(text) | Kind::Unsafe(text) if !text.contains("{{") => self.masker.add(text),
            _ => {}
        }
    }
}

fn collect_words(node: &Node, words: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Seq(items) => items.iter().for_each(|item| collect_words(item, words)),
        Kind::Map(entries) => {
            for entry in entries {
                let key = entry.key.as_str().unwrap_or_default();
                words.insert(key.to_owned());
                // Names of results, handlers and loop variables stand as values.
                if ["register", "name", "listen", "loop_var", "index_var"].contains(&key) {
                    let values = entry.value.as_seq().unwrap_or(std::slice::from_ref(&entry.value));
                    words.extend(values.iter().filter_map(Node::as_str).map(str::to_owned));
                }
                collect_words(&entry.value, words);
            }
        }
        _ => {}
    }
}
