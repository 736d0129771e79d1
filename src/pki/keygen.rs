//! New private keys: the one place of `pki` that draws random bytes. Only the edge calls it; decisions never do.

use super::key::encode_pem;
use super::policy::KeyKind;
use crate::diag::Fault;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING};
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair};
use zeroize::Zeroizing;

/// A new private key as PKCS#8 PEM, in the first version of that format: the second one, which signers prefer for
/// Ed25519, is not read by the OpenSSL that PostgreSQL hosts have.
///
/// # Errors
/// The crypto library could not make one.
pub fn generate_key(kind: KeyKind) -> Result<Zeroizing<String>, Fault> {
    let der = match kind {
        KeyKind::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING),
        KeyKind::Ed25519 => ed25519(),
        KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
        KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
    };
    let der =
        der.map_err(|_| Fault::task(format!("no {kind} key could be made: the crypto library refused")))?;
    Ok(Zeroizing::new(encode_pem("PRIVATE KEY", &der)))
}

type Der = Result<Zeroizing<Vec<u8>>, Unspecified>;

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Der {
    Ok(Zeroizing::new(EcdsaKeyPair::generate(algorithm)?.to_pkcs8v1()?.as_ref().to_vec()))
}

fn ed25519() -> Der {
    Ok(Zeroizing::new(Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec()))
}

fn rsa(size: KeySize) -> Der {
    Ok(Zeroizing::new(AsDer::as_der(&rsa::KeyPair::generate(size)?)?.as_ref().to_vec()))
}
