//! Why a vault text cannot be read or written.

/// A refusal, in words for the person whose file it is. No variant holds any part of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The text has no vault header.
    #[error("not a vault file: it does not begin with `$ANSIBLE_VAULT;`")]
    NotAVault,
    /// A version other than 1.1 and 1.2.
    #[error("vault format version `{0}` is not supported (1.1 and 1.2 are)")]
    UnsupportedVersion(String),
    /// A cipher other than AES256.
    #[error("vault cipher `{0}` is not supported (AES256 is)")]
    UnsupportedCipher(String),
    /// The text cannot be vault text from this line on.
    #[error("damaged vault text in line {line}: {why}")]
    Damaged {
        /// Counted from 1, the header included.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// The signature does not fit: another password, or an altered text.
    #[error("wrong vault password, or the text was altered")]
    WrongPassword,
    /// A text is encrypted and nobody gave a password.
    #[error("encrypted, and no vault password was given")]
    NoPassword,
    /// A password file without a password.
    #[error("the vault password is empty")]
    EmptyPassword,
    /// The decrypted content is not text where text is needed.
    #[error("the decrypted content is not UTF-8 text")]
    NotText,
    /// A label that would break the header.
    #[error("vault label `{0}` is not possible: it may hold no `;`, space or control character")]
    BadLabel(String),
    /// The crypto library refused; not expected to happen.
    #[error("the cipher failed")]
    Crypto,
}
