//! `ishprov certs init`: a new CA, or one that exists.

use super::store::Store;
use super::{Done, now, option, password};
use crate::cli::args::CertsInitArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault};
use crate::pki::{Ca, CaPolicy, KEY_MODE, SERIAL_LEN, generate_key};
use crate::shell::Secret;
use crate::vault::SALT_LEN;
use serde_json::json;
use std::path::Path;
use zeroize::Zeroizing;

/// Makes it or takes it in; the exit code.
pub fn init(args: &CertsInitArgs, screen: &Screen) -> Done<i32> {
    let password = password(&args.password)?;
    let dir = &args.pki.pki;
    // Everything is checked before the folder is touched.
    let (ca, key) = match (&args.import_cert, &args.import_key) {
        (Some(cert), Some(key)) => import(cert, key, password.as_ref())?,
        _ => create(args).map_err(option)?,
    };
    let store = Store::lock(dir)?;
    if store.has_ca() {
        let message =
            format!("there is a CA in `{}` already, or half of one: it is never overwritten", dir.display());
        return Err(vec![Diagnostic::error("certs", message).hint(
            "another folder (`--pki`); or move it away: nothing that the old one signed is trusted then",
        )]);
    }
    let sealed = sealed(&key, password.as_ref())?;
    // The key first: a key without its certificate is refused and can be moved away.
    store.write("ca.key", &sealed, KEY_MODE)?;
    store.write("ca.crt", &ca.cert_pem(), 0o644)?;
    let info = ca.info();
    let days = info.days_left(now());
    if screen.json {
        screen.line(
            &json!({ "event": "certs_init", "subject": info.subject, "fingerprint": info.fingerprint,
                "serial": info.serial, "days_left": days, "key_sealed": password.is_some(), "warning": ca.warning() })
            .to_string(),
        );
        return Ok(exit::OK);
    }
    let sealed = if password.is_some() {
        "encrypted by the vault password"
    } else {
        "not encrypted: no vault password was given"
    };
    screen.line(&format!(
        "{}\n  in {}, good for {days} days\n  SHA-256 {}\n  key {sealed}",
        info.subject,
        dir.display(),
        info.fingerprint
    ));
    if !info.permitted.is_empty() {
        let permitted: Vec<String> = info.permitted.iter().map(ToString::to_string).collect();
        screen.line(&format!("  signs only for {}", permitted.join(", ")));
    }
    if let Some(warning) = ca.warning() {
        screen.aside(&format!("warning: {warning}"));
    }
    Ok(exit::OK)
}

fn create(args: &CertsInitArgs) -> Result<(Ca, Zeroizing<String>), Fault> {
    let mut policy = CaPolicy::new(&args.name)?;
    policy.organization = args.organization.clone();
    policy.days = args.days;
    policy.key_kind = args.key_type.parse()?;
    policy.permits = args.permit.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    policy.validate()?;
    let key = generate_key(policy.key_kind)?;
    let ca = Ca::create(&policy, &key, serial()?, now())?;
    Ok((ca, key))
}

/// The key as it is written to disk: encrypted, when there is a password.
pub fn sealed(key: &str, password: Option<&Secret>) -> Done<Zeroizing<String>> {
    let mut salt = [0; SALT_LEN];
    random(&mut salt)?;
    let secret = password.map(|it| it.expose().as_bytes());
    let failed = |error| vec![Diagnostic::error("certs", format!("the CA key cannot be encrypted: {error}"))];
    crate::vault::seal(key, secret, salt, None).map_err(failed)
}

/// A CA that another program made.
pub fn import(cert: &Path, key: &Path, password: Option<&Secret>) -> Done<(Ca, Zeroizing<String>)> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
            vec![Diagnostic::error("certs", format!("cannot read `{}`: {error}", path.display()))]
        })
    };
    let (cert_text, key_text) = (read(cert)?, read(key)?);
    let opened =
        crate::vault::open(&key_text, password.map(|it| it.expose().as_bytes())).map_err(|error| {
            vec![Diagnostic::error("certs", format!("cannot open `{}`: {error}", key.display()))]
        })?;
    let ca = Ca::load(&cert_text, &opened).map_err(option)?;
    let info = ca.info();
    if info.not_after <= now() || now() < info.not_before {
        let message =
            format!("`{}` is good from {} to {}, not now", info.subject, info.not_before, info.not_after);
        return Err(vec![
            Diagnostic::error("certs", message).hint("bring in one that is, or check this machine's clock"),
        ]);
    }
    Ok((ca, opened))
}

/// A serial number nobody can guess.
pub fn serial() -> Result<[u8; SERIAL_LEN], Fault> {
    let mut serial = [0; SERIAL_LEN];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| Fault::task("this machine gives no random bytes"))?;
    Ok(serial)
}

fn random(bytes: &mut [u8]) -> Done<()> {
    aws_lc_rs::rand::fill(bytes)
        .map_err(|_| vec![Diagnostic::error("certs", "this machine gives no random bytes")])
}
