//! What the modules of certificates share.

use super::attrs::Attrs;
use super::mode::Mode;
use super::{Args, Kind, Param};
use crate::diag::Fault;
use crate::pki::KeyKind;
use crate::shell::{Answers, Secret};
use crate::vault;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The parameter `dir`.
pub const DIR: Param =
    Param::new("dir", Kind::Str, "Folder of the CA on the control machine, beside the site").default("pki");
/// The parameter `key_type`.
pub const KEY_TYPE: Param = Param::new(
    "key_type",
    Kind::Choice(&["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"]),
    "Kind of the key",
)
.default("ecdsa-p256");

/// Reads `dir`, without a slash at its end.
pub fn dir(args: &Args) -> Result<String, Fault> {
    let dir = args.str("dir").unwrap_or_else(|| "pki".to_owned());
    let trimmed = dir.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.split('/').any(|part| part == "..") {
        return Err(Fault::param("dir", format!("`{dir}` is no folder for a CA"))
            .hint("a folder beside the site, `pki`, or an absolute path"));
    }
    Ok(trimmed.to_owned())
}

/// Reads `mode`, `owner` and `group` of a private key. PostgreSQL and libpq refuse others: a group may read a key of
/// root's only.
pub fn key_attrs(args: &Args) -> Result<Attrs, Fault> {
    let owner = args.str("owner").unwrap_or_else(|| "postgres".to_owned());
    let mut attrs = Attrs::decode(args)?;
    attrs.mode = attrs.mode.or_else(|| Mode::parse("0600"));
    let mode = attrs.new_mode(false);
    if mode & 0o137 != 0 || (mode & 0o040 != 0 && owner != "root") {
        return Err(Fault::param(
            "mode",
            format!("PostgreSQL refuses a private key of mode {mode:04o} and owner {owner}"),
        )
        .hint("0600, or 0640 with `owner: root` and the server's group"));
    }
    attrs.group = Some(attrs.group.unwrap_or_else(|| owner.clone()));
    attrs.owner = Some(owner);
    Ok(attrs)
}

/// Reads `key_type`.
pub fn key_type(args: &Args) -> Result<KeyKind, Fault> {
    args.str("key_type").map_or(Ok(KeyKind::default()), |text| text.parse())
}

/// Reads `days`.
pub fn days(args: &Args, usual: u32) -> Result<u32, Fault> {
    args.int("days").map_or(Ok(usual), |days| {
        u32::try_from(days)
            .map_err(|_| Fault::param("days", format!("a lifetime of {days} days is not possible")))
    })
}

/// The control machine's time.
pub fn now(answers: &Answers) -> Result<OffsetDateTime, Fault> {
    OffsetDateTime::from_unix_timestamp(answers.now()?)
        .map_err(|_| Fault::task("the clock of this machine reads no possible time"))
}

/// Random bytes of the length asked for.
pub fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::task(format!("{} random bytes in the place of {N}", bytes.len())))
}

/// The key in a file's text.
pub fn open(text: &str, password: Option<&Secret>) -> Result<Zeroizing<String>, Fault> {
    vault::open(text, password.map(|password| password.expose().as_bytes())).map_err(|error| {
        Fault::task(format!("the CA key cannot be opened: {error}"))
            .hint("give the vault password that it was made with (`--vault-password-file`)")
    })
}

/// `2027-11-23`
pub fn pem_time(at: OffsetDateTime) -> String {
    at.date().to_string()
}
