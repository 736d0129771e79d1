//! What the control machine keeps of a host's certificate: `issued/HOST-NAME.crt`, what the task said beside it, and the
//! record of its serial number.

use super::Args;
use crate::diag::Fault;
use crate::pki::{CertInfo, Entry, Told};
use crate::shell::{Action, Answers, Ask, LocalAsk, LocalWrite};

/// Where it is kept, and what belongs there besides the certificate.
#[derive(Debug)]
pub struct Record {
    dir: String,
    host: String,
    /// `HOST-NAME`
    name: String,
    cert_path: String,
    key_path: String,
    /// What the task says, as text of a file.
    told: String,
}

/// What is there.
pub struct Kept {
    cert: Option<String>,
    told: Option<String>,
}

impl Record {
    /// Of a task, whichever way it was written.
    pub fn of(args: &Args, dir: &str, host: &str, cert_path: &str, key_path: &str) -> Self {
        let stem = cert_path.rsplit('/').next().unwrap_or_default();
        let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let own = |name: &&String| !matches!(name.as_str(), "dir" | "replace");
        let mut names: Vec<&String> = args.values().keys().filter(own).collect();
        names.sort();
        let task = names.into_iter().filter_map(|name| Some((name.clone(), args.value(name)?.clone())));
        Self {
            dir: dir.to_owned(),
            host: host.to_owned(),
            name: format!("{host}-{stem}").chars().map(plain).collect(),
            cert_path: cert_path.to_owned(),
            key_path: key_path.to_owned(),
            told: Told { host: host.to_owned(), task: task.collect() }.to_text(),
        }
    }

    /// The certificate's file.
    pub fn path(&self) -> String {
        format!("{}/issued/{}.crt", self.dir, self.name)
    }

    /// What has to be asked.
    pub fn asks(&self) -> [Ask; 2] {
        [self.path(), self.told_path()].map(|path| Ask::Local(LocalAsk::File(path)))
    }

    /// What is there.
    pub fn kept(&self, answers: &Answers) -> Result<Kept, Fault> {
        let [cert, told] = self.asks();
        Ok(Kept { cert: answers.text(&cert)?, told: answers.text(&told)? })
    }

    /// Whether all of it is there for this certificate.
    pub fn holds(&self, kept: &Kept, cert: &str) -> bool {
        kept.cert.as_deref() == Some(cert) && kept.told.as_ref() == Some(&self.told)
    }

    /// Writes it down: the record of the serial number first, since a certificate that no record knows is refused.
    pub fn write(&self, cert: &str) -> Vec<Action> {
        let write = |path: String, text: &str| {
            Action::Local(LocalWrite { path, content: text.as_bytes().into(), mode: 0o644, new: false })
        };
        let entry = CertInfo::first(cert).ok().map(|info| Entry {
            host: Some(self.host.clone()),
            cert_path: Some(self.cert_path.clone()),
            key_path: Some(self.key_path.clone()),
            ..Entry::new(&info, &self.name)
        });
        let entry =
            entry.map(|entry| write(format!("{}/index/{}", self.dir, entry.file_name()), &entry.to_text()));
        entry.into_iter().chain([write(self.path(), cert), write(self.told_path(), &self.told)]).collect()
    }

    fn told_path(&self) -> String {
        format!("{}/issued/{}.json", self.dir, self.name)
    }
}
