//! `ishprov certs issue`: a certificate for a person or a program, to files.

use super::init::serial;
use super::store::{Store, put, read, text};
use super::{Done, blame, now, option, password};
use crate::cli::args::CertsIssueArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault};
use crate::pki::{Ca, CertInfo, Entry, KEY_MODE, LeafPolicy, contains, generate_key};
use serde_json::json;

/// Issues it; the exit code.
pub fn issue(args: &CertsIssueArgs, screen: &Screen) -> Done<i32> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if args.name.eq_ignore_ascii_case("ca") {
        let message = "`ca.crt` beside it is the CA's: a certificate cannot be called `ca`";
        return Err(vec![Diagnostic::error("certs", message).hint("another name")]);
    }
    if args.name.is_empty() || args.name.starts_with('.') || !args.name.chars().all(plain) {
        let message = format!("`{}` cannot be the name of a file", args.name.escape_debug());
        return Err(vec![Diagnostic::error("certs", message).hint("letters, digits, and `-_.@` inside")]);
    }
    let policy = policy(args).map_err(option)?;
    let password = password(&args.password)?;
    let paths = ["crt", "key"].map(|ending| args.out.join(format!("{}.{ending}", args.name)));
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        let message = format!("`{}` is there already: a key is never overwritten", path.display());
        return Err(vec![
            Diagnostic::error("certs", message).hint("move it away, or name another folder with `--out`"),
        ]);
    }
    let store = Store::lock(&args.pki.pki)?;
    let state = read(&args.pki.pki)?;
    let ca = store.ca(password.as_ref())?;
    if let Some(host) =
        state.current().iter().find(|it| it.goes_by(&args.name)).and_then(|it| it.host.as_ref())
    {
        let fault =
            Fault::task(format!("`{}` is the record of a certificate that `{host}` holds", args.name))
                .hint("another name; `ishprov run` and `certs rotate` see to what hosts hold");
        return Err(vec![blame(&args.pki.pki, fault)]);
    }
    // While one CA takes the place of another, both must be trusted.
    let trusted = text(&args.pki.pki, "ca-bundle.crt")?.unwrap_or_else(|| ca.cert_pem());
    let ca_path = args.out.join("ca.crt");
    if std::fs::read_to_string(&ca_path).is_ok_and(|there| !ours(&there, &ca)) {
        let message = format!("`{}` is the certificate of another CA", ca_path.display());
        return Err(vec![
            Diagnostic::error("certs", message).hint("move it away, or name another folder with `--out`"),
        ]);
    }
    let (key, cert) = generate_key(policy.key_kind)
        .and_then(|key| ca.issue(&policy, &key, serial()?, now()).map(|cert| (key, cert)))
        .map_err(option)?;
    let info = CertInfo::first(&cert).map_err(option)?;
    store.backup(now())?;
    // Recorded first: a certificate that is out there and not in the records could not be revoked by its name.
    store.record(&Entry::new(&info, &args.name), &cert)?;
    let [cert_path, key_path] = paths;
    let files: [(_, &str, u32); 3] =
        [(&key_path, &key, KEY_MODE), (&cert_path, &cert, 0o644), (&ca_path, &trusted, 0o644)];
    for (path, content, mode) in files {
        put(path, content.as_bytes(), mode).map_err(|error| {
            let message = format!("cannot write `{}`: {error}", path.display());
            vec![
                Diagnostic::error("certs", message)
                    .hint(format!("then `ishprov certs revoke {}`, and issue again", info.serial)),
            ]
        })?;
    }
    if screen.json {
        let event = json!({ "event": "certs_issue", "name": args.name, "serial": info.serial, "fingerprint": info.fingerprint,
            "not_after": crate::pki::stamp(info.not_after), "certificate": cert_path, "key": key_path, "ca": ca_path });
        screen.line(&event.to_string());
        return Ok(exit::OK);
    }
    screen.line(&format!(
        "{} certificate {}, serial {}, good for {} days\n  {}\n  {}\n  {}",
        policy.usage,
        info.subject,
        info.serial,
        info.days_left(now()),
        cert_path.display(),
        key_path.display(),
        ca_path.display(),
    ));
    Ok(exit::OK)
}

/// Whether a file of CAs holds ours, or the ones ours follows or precedes: it was written here.
fn ours(there: &str, ca: &Ca) -> bool {
    contains(there, &ca.cert_pem()).unwrap_or(false)
}

fn policy(args: &CertsIssueArgs) -> Result<LeafPolicy, Fault> {
    let mut policy = match args.usage.as_str() {
        "client" => LeafPolicy::replication(&args.name, &args.san)?,
        "server" => LeafPolicy::server(&args.san)?,
        "peer" => LeafPolicy::peer(&args.san)?,
        other => return Err(Fault::task(format!("`--usage {other}` is none of `client`, `server`, `peer`"))),
    };
    policy.days = args.days;
    policy.key_kind = args.key_type.parse()?;
    policy.validate()?;
    Ok(policy)
}
