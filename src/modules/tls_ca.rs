//! The site's own certificate authority, kept on the control machine. Run it once, before `tls_cert`.
//!
//! `DIR/ca.crt` is its certificate and `DIR/ca.key` its key, readable by its owner alone and encrypted when a vault
//! password is set (a key that lies there in plain is then encrypted). Both are made when neither is there. A CA that
//! is there is never overwritten: when one of the files is missing or damaged the task is refused.
//!
//! Nothing is sent to a host. Registers `certificate` (PEM), `fingerprint`, `days_left`, `not_after`, and, where there
//! is something to know, `warning` (an Ed25519 CA breaks password logins over TLS; the CA is due to be rotated).
//!
//! EXAMPLES
//! - name: Our CA
//!   tls_ca: {dir: pki, common_name: example CA}
//!   run_once: true
//!   register: ca

use super::instance::check_mode;
use super::tls::{self, pem_time};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::pki::{Ca, CaPolicy, CaVerdict, KEY_MODE, ca_needs};
use crate::shell::{Action, Answers, Ask, LocalAsk, LocalWrite, Output, Secret};
use crate::vault::{self, SALT_LEN, is_vault};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The module `tls_ca`.
pub struct TlsCa;

/// What the CA shall be.
#[derive(Debug)]
pub struct Params {
    dir: String,
    policy: CaPolicy,
    check_mode: bool,
}

/// What was found, and what is needed to make a CA.
pub struct Found {
    cert: Option<String>,
    key: Option<String>,
    key_mode: u32,
    new_key: Secret,
    serial: Vec<u8>,
    salt: Vec<u8>,
    password: Option<Secret>,
    now: OffsetDateTime,
    /// Certificates were issued from this folder.
    issued: bool,
}

/// What is to be done.
pub enum Diff {
    /// Make the CA; the files are ready.
    Create {
        /// Its certificate.
        cert: String,
        /// Its key as it is written to disk.
        key: String,
    },
    /// Encrypt the key, or make it readable by its owner alone.
    Protect {
        /// The key as it is written to disk.
        key: String,
        /// What is wrong now, and what it becomes.
        change: (String, String),
    },
}

impl Module for TlsCa {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "tls_ca",
        aliases: &[],
        summary: "The site's own certificate authority, on the control machine",
        source: include_str!("tls_ca.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            tls::DIR,
            Param::new("common_name", Kind::Str, "Its name; counts for a new CA")
                .default("ishprov CA")
                .aliases(&["name"]),
            Param::new("organization", Kind::Str, "Its organization; counts for a new CA"),
            Param::new("days", Kind::Int, "Its lifetime; counts for a new CA").default("3650"),
            tls::KEY_TYPE,
            Param::new(
                "permit",
                Kind::List,
                "The only DNS suffixes and ranges of addresses it may sign for; counts for a new CA",
            ),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let mut policy = CaPolicy::new(&args.str("common_name").unwrap_or_else(|| "ishprov CA".to_owned()))?;
        policy.organization = args.str("organization");
        policy.days = tls::days(args, policy.days)?;
        policy.key_kind = tls::key_type(args)?;
        policy.permits = args.list("permit").iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        policy.validate()?;
        Ok(Params { dir: tls::dir(args)?, policy, check_mode: check_mode(args) })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        asks(params).to_vec()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let [cert, key, new_key, serial, salt, password, _, issued] = asks(params);
        let key_file = answers.file(&key)?;
        Ok(Found {
            cert: answers.text(&cert)?,
            key: answers.text(&key)?,
            key_mode: key_file.mode,
            new_key: answers.key(&new_key)?.clone(),
            serial: answers.random(&serial)?.clone(),
            salt: answers.random(&salt)?.clone(),
            password: answers.password(&password)?.clone(),
            now: tls::now(answers)?,
            issued: answers.file(&issued)?.exists(),
        })
    }

    const LOOKS_AHEAD: bool = true;

    fn forbids(params: &Params, found: &Found) -> Result<(), Fault> {
        Self::diff(params, found).map(|_| ())
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let opened = found.key.as_deref().map(|text| tls::open(text, found.password.as_ref())).transpose()?;
        let key = opened.as_ref().map(|text| text.as_str());
        match ca_needs(found.cert.as_deref(), key, &params.policy, found.now)? {
            CaVerdict::Create { .. } if found.issued => Err(Fault::param(
                "dir",
                format!("`{}` has records of certificates that were issued, but no CA", params.dir),
            )
            .hint("restore `ca.crt` and `ca.key`, from `backup/` there or from where the site was last run")
            .hint("lost for good: move the whole folder away; hosts with its certificates are then named")
            .certain()),
            CaVerdict::Create { .. } => {
                let serial = tls::array(&found.serial)?;
                let ca = Ca::create(&params.policy, found.new_key.expose(), serial, found.now)?;
                let key = found.sealed(found.new_key.expose())?;
                Ok(Verdict::Act(Diff::Create { cert: ca.cert_pem(), key }))
            }
            CaVerdict::Rotate { because, days_left } if days_left < 0 => {
                Err(Fault::task(format!("the CA in `{}` cannot sign any more: {because}", params.dir))
                    .hint(format!("move `{}` away: a new CA and all its leaves are made; no connection by the old ones works any more", params.dir)))
            }
            CaVerdict::Keep { days_left } | CaVerdict::Rotate { days_left, .. } => {
                if let (Some(plain), Some(text)) = (key, &found.key) {
                    if found.password.is_some() && !is_vault(text) {
                        let change = ("plain".to_owned(), "encrypted by the vault password".to_owned());
                        return Ok(Verdict::Act(Diff::Protect { key: found.sealed(plain)?, change }));
                    }
                    if found.key_mode & 0o077 != 0 {
                        let change = (format!("{:04o}", found.key_mode), format!("{KEY_MODE:04o}"));
                        return Ok(Verdict::Act(Diff::Protect { key: text.clone(), change }));
                    }
                }
                Ok(Verdict::InState(format!("the CA is good for {days_left} days")))
            }
        }
    }

    fn show(params: &Params, _found: &Found, diff: &Diff) -> Vec<Change> {
        match diff {
            Diff::Create { .. } => {
                let policy = &params.policy;
                let mut changes = vec![Change::field(
                    "CA",
                    "",
                    format!("{}, {}, {} days", policy.common_name, policy.key_kind, policy.days),
                )];
                if !policy.permits.is_empty() {
                    let permits: Vec<String> = policy.permits.iter().map(ToString::to_string).collect();
                    changes.push(Change::field("permit", "", permits.join(", ")));
                }
                changes.extend(policy.warning().map(|warning| Change::field("warning", "", warning)));
                changes
            }
            Diff::Protect { change: (before, after), .. } => vec![Change::field("CA key", before, after)],
        }
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        let new = matches!(diff, Diff::Create { .. });
        let write = |name: &str, text: &str, mode: u32| {
            let path = format!("{}/{name}", params.dir);
            Action::Local(LocalWrite {
                path,
                content: text.as_bytes().into(),
                mode,
                new,
                folder: params.dir.clone(),
            })
        };
        match diff {
            // The key first: a key without its certificate is refused, and can be moved away; the other way round the
            // certificate could already be out there.
            Diff::Create { cert, key } => vec![write("ca.key", key, KEY_MODE), write("ca.crt", cert, 0o644)],
            Diff::Protect { key, .. } => vec![write("ca.key", key, KEY_MODE)],
        }
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let (cert, key) = match (&found.cert, &found.key) {
            (Some(cert), Some(key)) => (cert, tls::open(key, found.password.as_ref())),
            // Only announced: later tasks of a check go on with what would be there.
            _ if params.check_mode => return Map::from_iter([("certificate".to_owned(), json!(""))]),
            _ => return Map::new(),
        };
        let Ok(ca) = key.and_then(|key| Ca::load(cert, &key)) else { return Map::new() };
        let info = ca.info();
        let mut result = Map::from_iter([
            ("certificate".to_owned(), json!(cert)),
            ("fingerprint".to_owned(), json!(info.fingerprint)),
            ("days_left".to_owned(), json!(info.days_left(found.now))),
            ("not_after".to_owned(), json!(pem_time(info.not_after))),
        ]);
        let mut warnings: Vec<String> = ca.warning().map(str::to_owned).into_iter().collect();
        if info.days_left(found.now) < params.policy.renew_before().whole_days() {
            warnings.push(format!("the CA ends on {}: rotate it", pem_time(info.not_after)));
        }
        if !warnings.is_empty() {
            result.insert("warning".to_owned(), json!(warnings.join("; ")));
        }
        result
    }
}

impl Found {
    fn sealed(&self, key: &str) -> Result<String, Fault> {
        let password = self.password.as_ref().map(|password| password.expose().as_bytes());
        let sealed = vault::seal(key, password, tls::array(&self.salt)?, None);
        sealed
            .map(|text| text.to_string())
            .map_err(|error| Fault::task(format!("the CA key cannot be encrypted: {error}")))
    }
}

fn asks(params: &Params) -> [Ask; 8] {
    let file = |name: &str| Ask::Local(LocalAsk::File(format!("{}/{name}", params.dir)));
    [
        file("ca.crt"),
        file("ca.key"),
        Ask::Local(LocalAsk::NewKey(params.policy.key_kind.to_string())),
        Ask::Local(LocalAsk::Random(crate::pki::SERIAL_LEN)),
        Ask::Local(LocalAsk::Random(SALT_LEN)),
        Ask::Local(LocalAsk::VaultPassword),
        Ask::Local(LocalAsk::Now),
        file("issued"),
    ]
}
