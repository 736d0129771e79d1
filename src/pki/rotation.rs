//! Rotations: what is known of one under way, and what it waits for.
//!
//! ```text
//! leaves   certificates of hosts, by their serial numbers        rotation.json {of: leaves, replace: [..]}
//! CA       trust    both CAs are trusted everywhere              next/ca.{crt,key}  ca-bundle.crt
//!          leaves   every host gets a certificate of the new CA  previous/ca.crt    ca-bundle.crt
//!          distrust the old CA is trusted nowhere                previous/ca.crt
//! ```
//!
//! The file `rotation.json` is the truth about how far a rotation is; what belongs to a phase is written before the file
//! names it and removed after the file names the next, so that each step can be done again.

use super::inspect::CertInfo;
use super::state::{Entry, State};
use crate::diag::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// What a task `tls_cert` said: `issued/NAME.json`. A rotation does the same task again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Whose certificate it is.
    pub host: String,
    /// The module's parameters, without the folder of the CA.
    pub task: Map<String, Value>,
}

/// A rotation under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "lowercase", deny_unknown_fields)]
pub enum Rotation {
    /// Of certificates.
    Leaves {
        /// When it began, RFC 3339.
        since: String,
        /// Serial numbers of what shall be replaced.
        replace: Vec<String>,
    },
    /// Of the CA.
    Ca {
        /// When it began, RFC 3339.
        since: String,
        /// How far it is.
        phase: Phase,
        /// Every host was proven to be through with the phase.
        done: bool,
    },
}

/// The phases of a change of CA, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Hosts come to trust the new CA beside the old one.
    Trust,
    /// Hosts get certificates of the new CA.
    Leaves,
    /// Hosts cease to trust the old CA.
    Distrust,
}

impl Told {
    /// The text of its file.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is damaged.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|error| {
            Fault::task(format!("`issued/{file}` is damaged: {error}"))
                .hint("a run of the site writes it again when it is gone")
        })
    }

    /// A parameter that is a list of texts, or one text.
    pub fn list(&self, name: &str) -> Vec<&str> {
        match self.task.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        }
    }

    /// A parameter that is a text.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.task.get(name).and_then(Value::as_str)
    }
}

impl Rotation {
    /// The text of `rotation.json`.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Reads `rotation.json`.
    ///
    /// # Errors
    /// It is damaged.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|error| {
            Fault::task(format!("`rotation.json` is damaged: {error}"))
                .hint("restore it from `backup/`: it says how far a rotation is")
        })
    }
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Trust, Self::Leaves, Self::Distrust];

    /// The one after it.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Trust => Some(Self::Leaves),
            Self::Leaves => Some(Self::Distrust),
            Self::Distrust => None,
        }
    }

    /// What it does, for people.
    pub fn does(self) -> &'static str {
        match self {
            Self::Trust => "every host trusts the old CA and the new one",
            Self::Leaves => "every host gets new certificates, from the new CA",
            Self::Distrust => "no host trusts the old CA any more",
        }
    }

    /// `phase 1 of 3`
    pub fn place(self) -> String {
        format!("phase {} of {}", self as usize + 1, Self::ALL.len())
    }
}

/// What shall be replaced on `hosts`: what is left of a rotation that was broken off, and for hosts that it did not know
/// of all they have. The list still names what was replaced already: that is no longer there, so nothing happens twice.
pub fn to_replace(before: Option<&[String]>, state: &State, hosts: &[&str]) -> Vec<String> {
    let mut list: Vec<String> = before.unwrap_or_default().to_vec();
    let of_host = |host: &str| -> Vec<&Entry> {
        state.entries.iter().filter(|entry| entry.host.as_deref() == Some(host)).collect()
    };
    for host in hosts {
        let entries = of_host(host);
        if entries.iter().any(|entry| list.contains(&entry.serial)) {
            continue;
        }
        let current = state.current();
        list.extend(
            entries
                .iter()
                .filter(|entry| current.iter().any(|one| one.serial == entry.serial))
                .map(|entry| entry.serial.clone()),
        );
    }
    list
}

/// Certificates of people and programs that still hang on `old`: they could not log in any more without it.
pub fn hanging_on<'a>(old: &CertInfo, state: &'a State, now: OffsetDateTime) -> Vec<&'a Entry> {
    let by_old = |entry: &&Entry| old.subject_key_id.as_deref() == Some(entry.issuer.as_str());
    let lives = |entry: &&Entry| entry.host.is_none() && entry.revoked.is_none() && !entry.expired(now);
    state.current().into_iter().filter(by_old).filter(lives).collect()
}

/// The common name of the CA that takes the place of `old`: another one, so that both can be told apart everywhere.
pub fn successor(old: &CertInfo, now: OffsetDateTime) -> String {
    let name = old.common_name.as_deref().unwrap_or("CA");
    let is_date = |text: &str| text.len() == 10 && text.chars().all(|c| c.is_ascii_digit() || c == '-');
    let base = match name.rsplit_once(' ') {
        Some((base, date)) if is_date(date.split('.').next().unwrap_or_default()) => base,
        _ => name,
    };
    let today = super::leaf::day(now).to_string();
    let candidate = format!("{base} {today}");
    let mut named = candidate.clone();
    let mut number = 2;
    while named == name {
        named = format!("{candidate}.{number}");
        number += 1;
    }
    // A common name has at most 64 characters.
    match named.chars().count() {
        0..=64 => named,
        long => {
            let kept: String = base.chars().take(base.chars().count().saturating_sub(long - 64)).collect();
            named.replacen(base, &kept, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ca, CaPolicy, KeyKind, LeafPolicy, generate_key};
    use super::*;

    fn at() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_795_423_117).unwrap()
    }

    fn state(names: &[(&str, Option<&str>)]) -> (Ca, State) {
        let key = generate_key(KeyKind::EcdsaP256).unwrap().to_string();
        let ca = Ca::create(&CaPolicy::new("main CA").unwrap(), &key, [7; 16], at()).unwrap();
        let mut entries = Vec::new();
        for (number, (name, host)) in (1..).zip(names) {
            let cert = ca.issue(&LeafPolicy::server(["pg"]).unwrap(), &key, [number; 16], at()).unwrap();
            let entry = Entry::new(&CertInfo::first(&cert).unwrap(), name);
            entries.push(Entry { host: host.map(str::to_owned), ..entry });
        }
        let info = ca.info().clone();
        (ca, State { ca: info, entries })
    }

    #[test]
    fn a_rotation_of_leaves_goes_on_where_it_was() {
        let (_, state) = state(&[("a-server", Some("a")), ("b-server", Some("b")), ("alice", None)]);
        let serial = |at: usize| state.entries[at].serial.clone();
        let begun = to_replace(None, &state, &["a"]);
        assert_eq!(begun, [serial(0)]);
        assert_eq!(to_replace(Some(&begun), &state, &["a"]), begun);
        assert_eq!(to_replace(Some(&begun), &state, &["a", "b"]), [serial(0), serial(1)]);
        // The host has its new one: nothing is asked for twice.
        let (_, newer) = self::state(&[("a-server", Some("a")), ("a-server", Some("a"))]);
        let old = vec![newer.entries[0].serial.clone()];
        assert_eq!(to_replace(Some(&old), &newer, &["a"]), old);
        assert_eq!(to_replace(None, &newer, &["a"]), [newer.entries[1].serial.clone()]);
    }

    #[test]
    fn what_people_hold_hangs_on_its_ca_until_it_is_replaced_or_over() {
        let (ca, mut state) = state(&[("a-server", Some("a")), ("alice", None)]);
        let names = |state: &State, now| {
            hanging_on(ca.info(), state, now).iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&state, at()), ["alice"]);
        assert!(names(&state, at() + time::Duration::days(400)).is_empty());
        let mut newer = state.entries[1].clone();
        newer.issuer = "another".to_owned();
        newer.serial = "ff".to_owned();
        state.entries.push(newer);
        assert!(names(&state, at()).is_empty());
        state.entries.pop();
        state.entries[1].revoked = Some(super::super::stamp(at()));
        assert!(names(&state, at()).is_empty());
    }

    #[test]
    fn a_successor_has_a_name_of_its_own() {
        let (ca, _) = state(&[]);
        let mut info = ca.info().clone();
        let mut next = |name: &str, now| {
            info.common_name = Some(name.to_owned());
            successor(&info, now)
        };
        assert_eq!(next("main CA", at()), "main CA 2026-11-23");
        assert_eq!(next("main CA 2026-11-23", at()), "main CA 2026-11-23.2");
        assert_eq!(next("main CA 2026-11-23.2", at()), "main CA 2026-11-23");
        assert_eq!(next("main CA 2025-01-02", at()), "main CA 2026-11-23");
        let long = "x".repeat(64);
        let named = next(&long, at());
        assert_eq!(named.chars().count(), 64);
        assert!(named.ends_with(" 2026-11-23") && named != long);
    }

    #[test]
    fn its_file_is_read_as_it_was_written_and_damage_is_named() {
        let ca = Rotation::Ca { since: super::super::stamp(at()), phase: Phase::Leaves, done: false };
        assert_eq!(Rotation::parse(&ca.to_text()), Ok(ca.clone()));
        assert!(ca.to_text().contains("\"phase\": \"leaves\""));
        let leaves = Rotation::Leaves { since: super::super::stamp(at()), replace: vec!["0a".to_owned()] };
        assert_eq!(Rotation::parse(&leaves.to_text()), Ok(leaves));
        for text in ["", "{\"of\": \"ca\"", "{\"of\": \"ca\", \"since\": \"\", \"phase\": \"over\"}"] {
            assert!(Rotation::parse(text).is_err_and(|fault| fault.message.contains("damaged")), "{text}");
        }
        assert_eq!(Phase::ALL.map(Phase::next), [Some(Phase::Leaves), Some(Phase::Distrust), None]);
    }
}
