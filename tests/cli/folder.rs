//! A folder of files, and the program run inside it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Marks of a crash: no output may hold one.
const CRASH: [&str; 4] = ["panicked", "backtrace", "BACKTRACE", "internal error"];

/// A temporary folder with the files of a site.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// Files as one text: a line `== NAME`, then the file's content up to the next such line.
    pub fn new(files: &str) -> Self {
        let folder = Self { dir: tempfile::tempdir().expect("a folder") };
        for part in format!("\n{files}").split("\n== ").skip(1) {
            let (name, content) = part.split_once('\n').expect("a name and a content");
            folder.write(name.trim(), content.trim_end_matches('\n'));
        }
        folder
    }

    /// A file of this folder; a line end is added.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, format!("{content}\n")).expect("a file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    /// The program with these words (blanks separate; `'` keeps them together), as an unstarted command.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ishprov"));
        command
            .args(split(words))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("HOME", self.dir.path());
        command.env("EDITOR", "true");
        for name in ["ANSIBLE_VAULT_PASSWORD_FILE", "VISUAL", "SSH_AUTH_SOCK"] {
            command.env_remove(name);
        }
        command
    }

    /// Everything that a run of the program shows: exit code, standard output, standard error.
    pub fn run(&self, words: &str) -> String {
        self.shown(&self.command(words).output().expect("the program runs"))
    }

    /// As [`run`](Self::run), with something to read on standard input.
    pub fn run_with_input(&self, words: &str, input: &str) -> String {
        self.write("stdin", input);
        let stdin = fs::File::open(self.path("stdin")).expect("a file");
        self.shown(&self.command(words).stdin(stdin).output().expect("the program runs"))
    }

    fn shown(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let mut shown = format!("exit {}\n", output.status.code().unwrap_or(-1));
        for (name, stream) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !stream.is_empty() {
                shown += &format!("-- {name}\n{}", text(stream));
            }
        }
        for mark in CRASH {
            assert!(!shown.contains(mark), "`{mark}`:\n{shown}");
        }
        let real = self.dir.path().canonicalize().expect("a folder");
        shown
            .replace(&real.display().to_string(), "/DIR")
            .replace(&self.dir.path().display().to_string(), "/DIR")
    }
}

fn split(words: &str) -> Vec<String> {
    let mut parts = words.split('\'');
    let mut found = Vec::new();
    while let Some(plain) = parts.next() {
        found.extend(plain.split_whitespace().map(str::to_owned));
        found.extend(parts.next().map(str::to_owned));
    }
    found
}
