//! What the control machine keeps of a host's certificate: `issued/NAME.crt`, what the task said beside it, and the record
//! of its serial number. NAME holds the host and the whole path: two certificates never share a record. Several services
//! may use one certificate: the record holds the units of all of them.

use super::Args;
use crate::diag::Fault;
use crate::pki::{CertInfo, Entry, Told, record_name};
use crate::shell::{Action, Answers, Ask, LocalAsk, LocalWrite};
use serde_json::json;

/// Where it is kept, and what belongs there besides the certificate.
#[derive(Debug)]
pub struct Record {
    dir: String,
    host: String,
    /// `HOST+etc+pg+server`
    name: String,
    cert_path: String,
    key_path: String,
    /// What the task says.
    told: Told,
}

/// What is there.
pub struct Kept {
    cert: Option<String>,
    told: Option<String>,
}

impl Record {
    /// Of a task, whichever way it was written.
    pub fn of(args: &Args, dir: &str, host: &str, cert_path: &str, key_path: &str) -> Self {
        let own = |name: &&String| !matches!(name.as_str(), "dir" | "replace" | "replace_foreign");
        let mut names: Vec<&String> = args.values().keys().filter(own).collect();
        names.sort();
        let task = names.into_iter().filter_map(|name| Some((name.clone(), args.value(name)?.clone())));
        Self {
            dir: dir.to_owned(),
            host: host.to_owned(),
            name: record_name(host, cert_path),
            cert_path: cert_path.to_owned(),
            key_path: key_path.to_owned(),
            told: Told { host: host.to_owned(), task: task.collect() },
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
        kept.cert.as_deref() == Some(cert) && kept.told.as_ref() == Some(&self.told(kept).to_text())
    }

    /// The units that are told of a new certificate: the task's, and those of others that use the same one.
    pub fn units(&self, kept: &Kept) -> Vec<String> {
        let before = kept.told.as_deref().and_then(|text| Told::parse("", text).ok());
        let mut units = self.told.list("reload");
        let others =
            before.iter().filter(|told| told.host == self.told.host).flat_map(|told| told.list("reload"));
        units.extend(others);
        units.sort_unstable();
        units.dedup();
        units.into_iter().map(str::to_owned).collect()
    }

    /// What the task says, with the units of others.
    fn told(&self, kept: &Kept) -> Told {
        let mut told = self.told.clone();
        let units = self.units(kept);
        if !units.is_empty() {
            told.task.insert("reload".to_owned(), json!(units));
        }
        told
    }

    /// Writes it down: the record of the serial number first, since a certificate that no record knows is refused.
    pub fn write(&self, kept: &Kept, cert: &str) -> Vec<Action> {
        let write = |path: String, text: &str| {
            Action::Local(LocalWrite {
                path,
                content: text.as_bytes().into(),
                mode: 0o644,
                new: false,
                folder: self.dir.clone(),
            })
        };
        let entry = CertInfo::first(cert).ok().map(|info| Entry {
            host: Some(self.host.clone()),
            cert_path: Some(self.cert_path.clone()),
            key_path: Some(self.key_path.clone()),
            ..Entry::new(&info, &self.name)
        });
        let entry =
            entry.map(|entry| write(format!("{}/index/{}", self.dir, entry.file_name()), &entry.to_text()));
        entry
            .into_iter()
            .chain([write(self.path(), cert), write(self.told_path(), &self.told(kept).to_text())])
            .collect()
    }

    fn told_path(&self) -> String {
        format!("{}/issued/{}.json", self.dir, self.name)
    }
}
