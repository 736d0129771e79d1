//! The probe's answer, cut into its sections and files.

use crate::diag::Fault;
use std::collections::HashMap;

/// Sections of lines by name, and the contents of the files read.
#[derive(Debug, Default)]
pub struct Answer<'a> {
    sections: HashMap<&'a str, Vec<&'a str>>,
    /// In the order read: path and lines.
    files: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Answer<'a> {
    /// Cuts the text at its `@@name` lines.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut answer = Self::default();
        let mut section = "";
        for line in text.lines() {
            match line.strip_prefix("@@") {
                Some(name) => {
                    section = name;
                    answer.sections.entry(name).or_default();
                }
                None if section == "files" => answer.file_line(line),
                None => answer.sections.entry(section).or_default().push(line),
            }
        }
        if answer.sections.contains_key("end") {
            Ok(answer)
        } else {
            Err(Fault::task("the host's answer about itself is cut short")
                .hint("its login shell or `sh` may have been ended in between; try again"))
        }
    }

    /// The lines of a section; empty when it was not answered.
    pub fn section(&self, name: &str) -> &[&'a str] {
        self.sections.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first line of a section.
    pub fn line(&self, name: &str) -> Option<&'a str> {
        self.section(name).first().copied()
    }

    /// The lines of a file; empty when it is not there.
    pub fn file(&self, path: &str) -> &[&'a str] {
        let found = self.files.iter().find(|(name, _)| *name == path);
        found.map(|(_, lines)| lines.as_slice()).unwrap_or_default()
    }

    /// The first line of a file, trimmed.
    pub fn first(&self, path: &str) -> Option<&'a str> {
        self.file(path).first().map(|line| line.trim())
    }

    /// Files below `folder/` by the part of their path behind it, with their first line.
    pub fn below<'s>(&'s self, folder: &'s str) -> impl Iterator<Item = (&'a str, &'a str)> + 's {
        self.files.iter().filter_map(move |(path, lines)| {
            let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((rest, lines.first()?.trim()))
        })
    }

    // Names of control groups may hold a colon, the other paths do not; contents may, save those of control groups.
    fn file_line(&mut self, line: &'a str) {
        let group = line.starts_with("/sys/fs/cgroup/");
        let parts = if group { line.rsplit_once(':') } else { line.split_once(':') };
        let Some((path, content)) = parts else { return };
        match self.files.last_mut() {
            Some((last, lines)) if *last == path => lines.push(content),
            _ => self.files.push((path, vec![content])),
        }
    }
}

/// `KEY="value"` lines of os-release.
pub fn assignments<'a>(lines: &[&'a str]) -> HashMap<&'a str, &'a str> {
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\'']))).collect()
}
