//! AES-256-CTR under HMAC-SHA256, keys by PBKDF2-HMAC-SHA256 with 10,000 rounds: what `ansible-vault` calls AES256.

use super::VaultError;
use super::envelope::Body;
use aws_lc_rs::cipher::UnboundCipherKey;
use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

const ROUNDS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
const BLOCK: usize = 16;

/// Cipher key, MAC key and first counter block, in the order PBKDF2 yields them.
struct Keys {
    cipher: Zeroizing<[u8; 32]>,
    mac: Zeroizing<[u8; 32]>,
    counter: [u8; BLOCK],
}

pub(super) fn encrypt(plaintext: &[u8], password: &[u8], salt: &[u8]) -> Result<Body, VaultError> {
    let keys = Keys::derive(password, salt);
    let pad = BLOCK - plaintext.len() % BLOCK;
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + pad));
    buffer.extend_from_slice(plaintext);
    buffer.resize(plaintext.len() + pad, pad as u8);

    let key = UnboundCipherKey::new(&AES_256, &*keys.cipher).map_err(|_| VaultError::Crypto)?;
    let key = EncryptingKey::ctr(key).map_err(|_| VaultError::Crypto)?;
    let counter = EncryptionContext::Iv128(FixedLength::from(keys.counter));
    key.less_safe_encrypt(&mut buffer, counter).map_err(|_| VaultError::Crypto)?;

    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*keys.mac), &buffer);
    Ok(Body { salt: salt.to_vec(), mac: mac.as_ref().to_vec(), ciphertext: std::mem::take(&mut *buffer) })
}

pub(super) fn decrypt(body: &Body, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let keys = Keys::derive(password, &body.salt);
    // In constant time, and before a single byte is decrypted.
    let mac = hmac::Key::new(hmac::HMAC_SHA256, &*keys.mac);
    hmac::verify(&mac, &body.ciphertext, &body.mac).map_err(|_| VaultError::WrongPassword)?;

    let key = UnboundCipherKey::new(&AES_256, &*keys.cipher).map_err(|_| VaultError::Crypto)?;
    let key = DecryptingKey::ctr(key).map_err(|_| VaultError::Crypto)?;
    let mut plaintext = Zeroizing::new(body.ciphertext.clone());
    let counter = DecryptionContext::Iv128(FixedLength::from(keys.counter));
    key.decrypt(&mut plaintext, counter).map_err(|_| VaultError::Crypto)?;

    let padding = plaintext.last().map_or(0, |byte| usize::from(*byte));
    let length = plaintext.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding));
    match length {
        Some(length) if plaintext[length..].iter().all(|byte| usize::from(*byte) == padding) => {
            plaintext.truncate(length);
            Ok(plaintext)
        }
        // The signature fits, so whoever wrote this knew the password but not the format.
        _ => Err(VaultError::Damaged {
            line: 1,
            why: "the padding of the decrypted content is wrong".to_string(),
        }),
    }
}

impl Keys {
    fn derive(password: &[u8], salt: &[u8]) -> Self {
        let mut out = Zeroizing::new([0u8; 32 + 32 + BLOCK]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, password, &mut *out);
        let mut keys = Self { cipher: Zeroizing::default(), mac: Zeroizing::default(), counter: [0; BLOCK] };
        keys.cipher.copy_from_slice(&out[..32]);
        keys.mac.copy_from_slice(&out[32..64]);
        keys.counter.copy_from_slice(&out[64..]);
        keys
    }
}
