//! Passwords as PostgreSQL stores them: SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677).
//!
//! `SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, salt and keys in base64. The verifier is made here, so that no
//! clear password reaches the server, its log or its statistics.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::num::NonZeroU32;

/// What PostgreSQL itself takes (`scram_iterations`).
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// Bytes of salt that PostgreSQL itself takes.
pub(super) const SALT: usize = 16;

/// The verifier of a password.
pub(super) fn verifier(password: &str, salt: &[u8]) -> String {
    with(password, salt, ITERATIONS)
}

/// Whether a text is a SCRAM verifier already.
pub(super) fn is_verifier(text: &str) -> bool {
    parts(text).is_some()
}

/// Whether `stored` is a verifier of this password (with whatever salt and iterations it has) or the same verifier.
pub(super) fn fits(password: &str, stored: &str) -> bool {
    if is_verifier(password) {
        return password == stored;
    }
    parts(stored).is_some_and(|(iterations, salt)| with(password, &salt, iterations) == stored)
}

fn with(password: &str, salt: &[u8], iterations: NonZeroU32) -> String {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    let sign = |text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), text.as_bytes());
    let stored = digest::digest(&digest::SHA256, sign("Client Key").as_ref());
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored.as_ref()),
        STANDARD.encode(sign("Server Key").as_ref())
    )
}

/// Iterations and salt of a verifier.
fn parts(text: &str) -> Option<(NonZeroU32, Vec<u8>)> {
    let (start, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = start.split_once(':')?;
    let (stored, server) = keys.split_once(':')?;
    let is_key = |key| STANDARD.decode(key).is_ok_and(|key| key.len() == digest::SHA256_OUTPUT_LEN);
    // More iterations than anyone stores would keep this machine busy for the host's benefit.
    let iterations = iterations.parse().ok().filter(|n: &NonZeroU32| n.get() <= 1_000_000)?;
    (is_key(stored) && is_key(server)).then_some((iterations, STANDARD.decode(salt).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7677_comes_out() {
        // The RFC's exchange (user `user`, password `pencil`): its proof and signature follow from these keys.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = verifier("pencil", &salt);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let key = STANDARD.decode(verifier.rsplit(':').next().expect("a key")).expect("base64");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), message.as_bytes());
        assert_eq!(STANDARD.encode(signature.as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(fits("pencil", &verifier) && !fits("pencils", &verifier) && fits(&verifier, &verifier));
    }

    #[test]
    fn what_is_no_verifier_fits_nothing() {
        for text in [
            "",
            "pencil",
            "md5aaaa",
            "SCRAM-SHA-256$4096:AA==$x:y",
            "SCRAM-SHA-256$0:AA==$:",
            "SCRAM-SHA-256$",
        ] {
            assert!(!is_verifier(text) && !fits("pencil", text), "{text}");
        }
    }
}
