//! Ansible's vault format: secrets as text that may stand in a repository.
//!
//! Reads and writes `$ANSIBLE_VAULT;1.1;AES256` and `$ANSIBLE_VAULT;1.2;AES256;LABEL`, whole files and inline `!vault |`
//! blocks alike, interoperable with `ansible-vault` in both directions (`tests/vault.rs` proves it against the real one).
//! Everything here is pure: the salt comes from the caller, who must draw it anew for each text.

mod at_rest;
mod cipher;
mod envelope;
mod error;
mod password;

pub use at_rest::{open, seal};
pub use envelope::{is_vault, label, to_yaml_block};
pub use error::VaultError;
pub use password::password_of_file;

use zeroize::Zeroizing;

/// Length of the salt in bytes, the one `ansible-vault` uses.
pub const SALT_LEN: usize = 32;

/// Encrypts `plaintext` into the text of a vault file, ending in a newline.
///
/// `salt` must be random and used only once. `label` is the vault id (`dev`, `prod`); without one, or with `default`,
/// the header is version 1.1, as `ansible-vault` writes it.
///
/// # Errors
/// [`VaultError::BadLabel`] when the label cannot stand in the header, [`VaultError::Crypto`] when the cipher fails.
pub fn encrypt(
    plaintext: &[u8],
    password: &[u8],
    salt: [u8; SALT_LEN],
    label: Option<&str>,
) -> Result<String, VaultError> {
    let body = cipher::encrypt(plaintext, password, &salt)?;
    envelope::write(&body, label)
}

/// Decrypts the text of a vault file or of an inline block, whatever its indentation and line ends.
///
/// # Errors
/// Every [`VaultError`] that is about reading; [`VaultError::WrongPassword`] also when the content was altered, since
/// the two cannot be told apart.
pub fn decrypt(text: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    cipher::decrypt(&envelope::read(text)?, password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: [u8; SALT_LEN] = [7; SALT_LEN];

    proptest! {
        // PBKDF2 makes each case cost about 10 ms.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_goes_in_comes_out(
            plaintext in proptest::collection::vec(any::<u8>(), 0..300),
            password in proptest::collection::vec(any::<u8>(), 0..40),
            salt in any::<[u8; SALT_LEN]>(),
            label in proptest::option::of("[a-zA-Z0-9_.@-]{1,12}"),
            indent in 0usize..12,
        ) {
            let text = encrypt(&plaintext, &password, salt, label.as_deref()).unwrap();
            prop_assert!(is_vault(&text));
            prop_assert_eq!(&*decrypt(&text, &password).unwrap(), &plaintext);
            prop_assert!(text.lines().all(|line| line.len() <= 80));
            let pad = " ".repeat(indent);
            let block: String = text.lines().map(|line| format!("{pad}{line}\r\n")).collect();
            prop_assert_eq!(&*decrypt(&block, &password).unwrap(), &plaintext);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", body in "[0-9a-f\n ]{0,300}") {
            let _ = decrypt(&text, b"x");
            let _ = decrypt(&format!("$ANSIBLE_VAULT;1.1;AES256\n{body}"), b"x");
        }
    }

    #[test]
    fn a_text_made_by_ansible_vault_is_read() {
        // Made by `ansible-vault encrypt --vault-id prod@...` of ansible-core 2.19 with the password `geheim`.
        let text = include_str!("made_by_ansible.txt");
        assert_eq!(&**decrypt(text, b"geheim").unwrap(), "pässwörd\n".as_bytes());
        assert_eq!(label(text), Some("prod"));
    }

    #[test]
    fn any_altered_digit_is_noticed() {
        let text = encrypt(b"secret", b"pw", SALT, None).unwrap();
        let body = text.find('\n').unwrap() + 1;
        for at in (body..text.len()).step_by(17) {
            let mut altered = text.clone().into_bytes();
            altered[at] = match altered[at] {
                b'\n' => continue,
                b'3' => b'4',
                _ => b'3',
            };
            let altered = String::from_utf8(altered).unwrap();
            let err = decrypt(&altered, b"pw").unwrap_err();
            assert!(matches!(err, VaultError::WrongPassword | VaultError::Damaged { .. }), "{at}: {err}");
        }
    }

    #[test]
    fn every_refusal_says_what_is_wrong() {
        let good = encrypt(b"secret", b"pw", SALT, None).unwrap();
        let truncated = &good[..good.len() - 40];
        let first_lines = good.lines().take(3).collect::<Vec<_>>().join("\n");
        let with_yaml = format!("{good}other: value\n");
        let odd = good.trim_end().strip_suffix(|_: char| true).unwrap();
        let cases: [(&str, &str); 10] = [
            ("plain: text\n", "not a vault file: it does not begin with `$ANSIBLE_VAULT;`"),
            ("", "not a vault file: it does not begin with `$ANSIBLE_VAULT;`"),
            ("$ANSIBLE_VAULT;1.0;AES\n00\n", "vault format version `1.0` is not supported (1.1 and 1.2 are)"),
            ("$ANSIBLE_VAULT;1.1;AES\n00\n", "vault cipher `AES` is not supported (AES256 is)"),
            ("$ANSIBLE_VAULT;1.1\n00\n", "damaged vault text in line 1: the header names no cipher"),
            (&with_yaml, "damaged vault text in line 7: `o` is not a hexadecimal digit"),
            (&first_lines, "damaged vault text in line 3: the text ends before its content is complete"),
            (truncated, "damaged vault text in line 5: the text ends before its content is complete"),
            (odd, "damaged vault text in line 6: an odd number of hexadecimal digits"),
            (
                "$ANSIBLE_VAULT;1.1;AES256\n",
                "damaged vault text in line 1: the text ends before its content is complete",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(decrypt(text, b"pw").unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!(decrypt(&good, b"PW").unwrap_err(), VaultError::WrongPassword);
        assert_eq!(
            encrypt(b"", b"pw", SALT, Some("a;b")).unwrap_err().to_string(),
            "vault label `a;b` is not possible: it may hold no `;`, space or control character"
        );
    }

    #[test]
    fn the_version_follows_the_label() {
        let head = |label| encrypt(b"", b"pw", SALT, label).unwrap().lines().next().unwrap().to_string();
        assert_eq!(head(None), "$ANSIBLE_VAULT;1.1;AES256");
        assert_eq!(head(Some("default")), "$ANSIBLE_VAULT;1.1;AES256");
        assert_eq!(head(Some("dev")), "$ANSIBLE_VAULT;1.2;AES256;dev");
    }
}
