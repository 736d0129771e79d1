//! What a vault password file says.

use super::VaultError;
use zeroize::Zeroizing;

/// The password in the content of a password file: white space around it does not count, as in Ansible.
///
/// # Errors
/// [`VaultError::EmptyPassword`] when nothing is left.
pub fn password_of_file(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    // Python's bytes.strip also takes the vertical tab, which trim_ascii leaves.
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = content.iter().position(|byte| !blank(byte)).ok_or(VaultError::EmptyPassword)?;
    let end = content.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    Ok(Zeroizing::new(content[start..end].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_does_not_count() {
        assert_eq!(&**password_of_file(b" \ta b\r\n\x0b").unwrap(), b"a b");
        assert_eq!(&**password_of_file(b"x").unwrap(), b"x");
        for empty in [&b""[..], b" \n"] {
            assert_eq!(password_of_file(empty).unwrap_err(), VaultError::EmptyPassword);
        }
    }
}
