//! Secret texts as they lie on the control machine: sealed when there is a vault password, plain otherwise.
//!
//! The CA key is the first of them. It is not `pki` that seals it, since `pki` knows nothing of ours but `diag`; the
//! edge joins the two and writes the file with mode 0600 either way.

use super::{SALT_LEN, VaultError, decrypt, encrypt, is_vault};
use zeroize::Zeroizing;

/// The text to write to disk: vault text when `password` is set, otherwise `secret` itself.
///
/// # Errors
/// Those of [`encrypt`].
pub fn seal(
    secret: &str,
    password: Option<&[u8]>,
    salt: [u8; SALT_LEN],
    label: Option<&str>,
) -> Result<Zeroizing<String>, VaultError> {
    match password {
        Some(password) => encrypt(secret.as_bytes(), password, salt, label).map(Zeroizing::new),
        None => Ok(Zeroizing::new(secret.to_string())),
    }
}

/// The secret in a text that [`seal`] made: decrypted when it is vault text, otherwise itself.
///
/// # Errors
/// [`VaultError::NoPassword`] when it is sealed and no password was given; those of [`decrypt`];
/// [`VaultError::NotText`] when what was sealed is not text.
pub fn open(text: &str, password: Option<&[u8]>) -> Result<Zeroizing<String>, VaultError> {
    if !is_vault(text) {
        return Ok(Zeroizing::new(text.to_string()));
    }
    let bytes = decrypt(text, password.ok_or(VaultError::NoPassword)?)?;
    std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_string())).map_err(|_| VaultError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAo=\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_password_seals_and_its_absence_leaves_plain() {
        let sealed = seal(KEY, Some(b"pw"), [1; SALT_LEN], None).unwrap();
        assert!(is_vault(&sealed) && !sealed.contains("PRIVATE"));
        assert_eq!(&**open(&sealed, Some(b"pw")).unwrap(), KEY);
        assert_eq!(open(&sealed, Some(b"no")).unwrap_err(), VaultError::WrongPassword);
        assert_eq!(open(&sealed, None).unwrap_err(), VaultError::NoPassword);

        let plain = seal(KEY, None, [1; SALT_LEN], None).unwrap();
        assert_eq!(&*plain, KEY);
        assert_eq!(&**open(&plain, Some(b"pw")).unwrap(), KEY);
        let binary = encrypt(b"\xff\xfe", b"pw", [1; SALT_LEN], None).unwrap();
        assert_eq!(open(&binary, Some(b"pw")).unwrap_err(), VaultError::NotText);
    }
}
