//! One CA takes the place of another in the folder on this machine. Each step can be done again, wherever it ended.
//!
//! What a phase needs is written before `rotation.json` names it, and what it leaves is removed after the file names the
//! next: a program that ends in between finds the step half done, and does it again.

use super::init::{import, sealed, serial};
use super::store::{Store, rotation, text};
use super::{Done, blame, now, option};
use crate::cli::args::CertsRotateArgs;
use crate::diag::Fault;
use crate::pki::{self, Ca, CaPolicy, CertInfo, KEY_MODE, KeyKind, Phase, Rotation, State};
use crate::shell::Secret;
use std::path::Path;
use zeroize::Zeroizing;

const NEXT_CERT: &str = "next/ca.crt";
const NEXT_KEY: &str = "next/ca.key";
const PREVIOUS: &str = "previous/ca.crt";
const BUNDLE: &str = "ca-bundle.crt";
const ROTATION: &str = "rotation.json";

/// The CA that shall take over, before anything is written: made anew, or brought in.
pub fn successor(
    args: &CertsRotateArgs,
    state: &State,
    password: Option<&Secret>,
) -> Done<(Ca, Zeroizing<String>)> {
    if let (Some(cert), Some(key)) = (&args.import_cert, &args.import_key) {
        let (ca, key) = import(cert, key, password)?;
        if ca.info().spki == state.ca.spki {
            let fault = Fault::task(format!(
                "`{}` has the key of the CA here: it would take no place",
                ca.info().subject
            ));
            return Err(vec![blame(&args.pki.pki, fault)]);
        }
        return Ok((ca, key));
    }
    let old = &state.ca;
    if old.subject != old.issuer {
        let fault = Fault::task(format!("the CA here, `{}`, stands below `{}`", old.subject, old.issuer))
            .hint("bring in its successor from there: `--import-cert FILE --import-key FILE`");
        return Err(vec![blame(&args.pki.pki, fault)]);
    }
    create(args, old).map_err(option)
}

fn create(args: &CertsRotateArgs, old: &CertInfo) -> Result<(Ca, Zeroizing<String>), Fault> {
    let name = args.name.clone().unwrap_or_else(|| pki::successor(old, now()));
    if old.common_name.as_deref() == Some(name.as_str()) {
        return Err(Fault::param(
            "common_name",
            format!("`{name}` is the old CA's name: nobody could tell them apart"),
        ));
    }
    let mut policy = CaPolicy::new(&name)?;
    let organization = old.subject.split(", ").find_map(|part| part.strip_prefix("O="));
    policy.organization = organization.map(str::to_owned);
    policy.key_kind = old.key_kind.clone().unwrap_or_else(|_| KeyKind::default());
    let days = (old.not_after - old.not_before).whole_days();
    policy.days = u32::try_from(days).unwrap_or(policy.days);
    policy.permits = old.permitted.clone();
    policy.validate()?;
    let key = pki::generate_key(policy.key_kind)?;
    Ok((Ca::create(&policy, &key, serial()?, now())?, key))
}

/// The new CA beside the old one, and what hosts are to trust meanwhile.
pub fn begin(store: &Store, dir: &Path, next: &Ca, key: &str, password: Option<&Secret>) -> Done<()> {
    let blamed = |fault: Fault| vec![blame(dir, fault)];
    store.backup(now())?;
    store.write(NEXT_KEY, &sealed(key, password)?, KEY_MODE)?;
    store.write(NEXT_CERT, &next.cert_pem(), 0o644)?;
    if let Some(list) = text(dir, "crl.pem")? {
        let own = next.revocation_list(&[], now()).map_err(blamed)?;
        store.write("crl.pem", &pki::with_list(&list, next.info(), &own).map_err(blamed)?, 0o644)?;
    }
    let old = text(dir, "ca.crt")?.unwrap_or_default();
    store.write(BUNDLE, &pki::join([old, next.cert_pem()]).map_err(blamed)?, 0o644)?;
    at(store, dir, Phase::Trust, false)
}

/// Writes down that every host is through with a phase.
pub fn done(store: &Store, dir: &Path, phase: Phase) -> Done<()> {
    at(store, dir, phase, true)
}

/// Goes on to the phase after `phase`; none when that was the last.
pub fn advance(store: &Store, dir: &Path, phase: Phase) -> Done<Option<Phase>> {
    store.backup(now())?;
    match phase {
        Phase::Trust => take_over(store, dir)?,
        Phase::Leaves => {
            at(store, dir, Phase::Distrust, false)?;
            forget(store, dir)?;
        }
        Phase::Distrust => {
            store.remove(PREVIOUS)?;
            store.remove(ROTATION)?;
        }
    }
    Ok(phase.next())
}

/// Ends a step that was broken off.
pub fn mend(store: &Store, dir: &Path) -> Done<()> {
    match rotation(dir)? {
        Some(Rotation::Ca { phase: Phase::Trust, .. }) if dir.join(PREVIOUS).exists() => {
            take_over(store, dir)
        }
        Some(Rotation::Ca { phase: Phase::Leaves, .. }) => {
            store.remove(NEXT_KEY)?;
            store.remove(NEXT_CERT)
        }
        Some(Rotation::Ca { phase: Phase::Distrust, .. }) => forget(store, dir),
        _ => Ok(()),
    }
}

/// The old CA's certificate, once the new one signs.
pub fn previous(dir: &Path) -> Done<Option<CertInfo>> {
    let read = |text: String| CertInfo::first(&text).map_err(|fault| vec![blame(dir, fault)]);
    text(dir, PREVIOUS)?.map(read).transpose()
}

/// The new CA signs from now on.
fn take_over(store: &Store, dir: &Path) -> Done<()> {
    let next = |name: &str| -> Done<String> {
        let missing = || {
            let fault = Fault::task(format!("`{name}` is not there, and the new CA was to take over"))
                .hint("restore it from `backup/`");
            vec![blame(dir, fault)]
        };
        text(dir, name)?.ok_or_else(missing)
    };
    let (key, cert) = (Zeroizing::new(next(NEXT_KEY)?), next(NEXT_CERT)?);
    // Written once: when this is done again, `ca.crt` may be the new one already.
    if !dir.join(PREVIOUS).exists() {
        store.write(PREVIOUS, &text(dir, "ca.crt")?.unwrap_or_default(), 0o644)?;
    }
    store.write("ca.key", &key, KEY_MODE)?;
    store.write("ca.crt", &cert, 0o644)?;
    at(store, dir, Phase::Leaves, false)?;
    store.remove(NEXT_KEY)?;
    store.remove(NEXT_CERT)
}

/// The old CA is trusted no more.
fn forget(store: &Store, dir: &Path) -> Done<()> {
    if let (Some(old), Some(list)) = (previous(dir)?, text(dir, "crl.pem")?) {
        let kept = pki::with_list(&list, &old, "").map_err(|fault| vec![blame(dir, fault)])?;
        store.write("crl.pem", &kept, 0o644)?;
    }
    store.remove(BUNDLE)
}

fn at(store: &Store, dir: &Path, phase: Phase, done: bool) -> Done<()> {
    let since = match rotation(dir)? {
        Some(Rotation::Ca { since, .. }) => since,
        _ => pki::stamp(now()),
    };
    let rotation = Rotation::Ca { since, phase, done };
    store.write(ROTATION, &rotation.to_text(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::super::store::read;
    use super::*;
    use crate::pki::{Entry, LeafPolicy, generate_key};

    fn site() -> (tempfile::TempDir, Ca) {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let key = generate_key(KeyKind::EcdsaP256).unwrap().to_string();
            (Ca::create(&CaPolicy::new(name).unwrap(), &key, [7; 16], now()).unwrap(), key)
        };
        let (old, key) = make("old CA");
        let store = Store::lock(dir.path()).unwrap();
        store.write("ca.key", &key, KEY_MODE).unwrap();
        store.write("ca.crt", &old.cert_pem(), 0o644).unwrap();
        let leaf = old.issue(
            &LeafPolicy::client("alice").unwrap(),
            &generate_key(KeyKind::EcdsaP256).unwrap(),
            [9; 16],
            now(),
        );
        let leaf = leaf.unwrap();
        let mut entry = Entry::new(&CertInfo::first(&leaf).unwrap(), "alice");
        entry.revoked = Some(pki::stamp(now()));
        store.record(&entry, &leaf).unwrap();
        store.write("crl.pem", &old.revocation_list(&[entry], now()).unwrap(), 0o644).unwrap();
        let (next, key) = make("new CA");
        begin(&store, dir.path(), &next, &key, None).unwrap();
        drop(store);
        (dir, next)
    }

    /// The folder's files with their texts, without locks and backups.
    fn picture(dir: &Path) -> Vec<(String, String)> {
        ["ca.crt", "ca.key", BUNDLE, "crl.pem", NEXT_CERT, NEXT_KEY, PREVIOUS]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), text(dir, name).unwrap()?)))
            .collect()
    }

    #[test]
    fn three_steps_change_the_ca_and_every_one_holds_together() {
        let (dir, next) = site();
        let dir = dir.path();
        let store = Store::lock(dir).unwrap();
        let phase = |dir: &Path| match rotation(dir).unwrap() {
            Some(Rotation::Ca { phase, .. }) => Some(phase),
            _ => None,
        };
        assert_eq!(phase(dir), Some(Phase::Trust));
        let bundle = text(dir, BUNDLE).unwrap().unwrap();
        assert_eq!(CertInfo::all(&bundle).unwrap().len(), 2);
        assert!(pki::without_list(&bundle, &text(dir, "crl.pem").unwrap().unwrap()).unwrap().is_empty());
        assert_eq!(read(dir).unwrap().ca.common_name.as_deref(), Some("old CA"));
        assert_eq!(advance(&store, dir, Phase::Trust).unwrap(), Some(Phase::Leaves));
        assert_eq!(phase(dir), Some(Phase::Leaves));
        assert_eq!(read(dir).unwrap().ca, *next.info());
        assert_eq!(store.ca(None).unwrap().info(), next.info());
        assert_eq!(previous(dir).unwrap().unwrap().common_name.as_deref(), Some("old CA"));
        assert!(!dir.join("next").exists());
        assert_eq!(advance(&store, dir, Phase::Leaves).unwrap(), Some(Phase::Distrust));
        assert!(!dir.join(BUNDLE).exists());
        let list = text(dir, "crl.pem").unwrap().unwrap();
        assert!(pki::without_list(&next.cert_pem(), &list).unwrap().is_empty());
        assert_eq!(list.matches("BEGIN X509 CRL").count(), 1);
        assert_eq!(advance(&store, dir, Phase::Distrust).unwrap(), None);
        assert!(!dir.join("previous").exists() && phase(dir).is_none());
        read(dir).unwrap();
    }

    #[test]
    fn a_step_that_was_broken_off_anywhere_is_ended() {
        // Every set of files that `take_over` leaves when it ends after n of its writes.
        for broken in 0..6 {
            let (dir, next) = site();
            let dir = dir.path();
            let store = Store::lock(dir).unwrap();
            let before = picture(dir);
            take_over(&store, dir).unwrap();
            let whole = picture(dir);
            let put_back = |name: &str| match before.iter().find(|(known, _)| known == name) {
                Some((_, text)) => {
                    store.write(name, text, if name.ends_with(".key") { KEY_MODE } else { 0o644 }).unwrap()
                }
                None => store.remove(name).unwrap(),
            };
            // Undone from the last write to the first.
            let writes = [NEXT_CERT, NEXT_KEY, ROTATION, "ca.crt", "ca.key", PREVIOUS];
            for name in &writes[..broken] {
                if *name == ROTATION { at(&store, dir, Phase::Trust, true).unwrap() } else { put_back(name) }
            }
            mend(&store, dir).unwrap();
            assert_eq!(picture(dir), whole, "broken off {broken} writes before its end");
            assert_eq!(store.ca(None).unwrap().info(), next.info());
            advance(&store, dir, Phase::Leaves).unwrap();
            let whole = picture(dir);
            store.write(BUNDLE, "left over", 0o644).unwrap();
            mend(&store, dir).unwrap();
            assert_eq!(picture(dir), whole);
        }
    }
}
