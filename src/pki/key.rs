//! Private keys as PEM text: reading them, their kind, and the public half.

use super::policy::KeyKind;
use crate::diag::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject as _};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::{Zeroize as _, Zeroizing};

/// The kind of a private key (PKCS#8, SEC1 or PKCS#1 PEM).
///
/// # Errors
/// The text holds no private key, an encrypted one, or one of a kind we cannot use.
pub fn key_kind(key_pem: &str) -> Result<KeyKind, Fault> {
    let key = read(key_pem)?;
    kind_of_spki(&key.subject_public_key_info()).map_err(|other| unusable(&other))
}

/// The public half of a private key, as `openssl pkey -pubout` writes it.
///
/// # Errors
/// As [`key_kind`].
pub fn public_key_pem(key_pem: &str) -> Result<String, Fault> {
    Ok(encode_pem("PUBLIC KEY", &read(key_pem)?.subject_public_key_info()))
}

/// Whether the private key belongs to the (first) certificate.
///
/// # Errors
/// Either text cannot be read.
pub fn key_matches(cert_pem: &str, key_pem: &str) -> Result<bool, Fault> {
    let cert = super::CertInfo::first(cert_pem)?;
    Ok(read(key_pem)?.subject_public_key_info() == cert.spki)
}

/// A key pair that wipes itself.
pub(super) fn read(key_pem: &str) -> Result<Zeroizing<KeyPair>, Fault> {
    if key_pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || key_pem.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(Fault::task("the private key is encrypted with a passphrase of its own").hint(
            "decrypt it with `openssl pkey -in OLD -out NEW`; the vault password protects it from then on",
        ));
    }
    let mut der = match PrivateKeyDer::from_pem_slice(key_pem.as_bytes()) {
        Ok(der) => der,
        Err(pem::Error::NoItemsFound) => {
            return Err(Fault::task("the text holds no private key in PEM form"));
        }
        Err(_) => return Err(Fault::task("the private key is damaged: its PEM text cannot be decoded")),
    };
    let key = KeyPair::try_from(&der);
    der.zeroize();
    key.map(Zeroizing::new).map_err(|_| unusable("damaged, too weak, or of a kind that cannot sign"))
}

/// The kind of a public key, or what it is instead.
pub(super) fn kind_of_spki(spki: &[u8]) -> Result<KeyKind, String> {
    let damaged = || "damaged".to_string();
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).map_err(|_| damaged())?;
    let curve =
        spki.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
    match (spki.algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Ok(KeyKind::EcdsaP256),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Ok(KeyKind::EcdsaP384),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Err("ecdsa-p521".to_string()),
        ("1.2.840.10045.2.1", _) => Err("ECDSA on an unusual curve".to_string()),
        ("1.3.101.112", _) => Ok(KeyKind::Ed25519),
        ("1.2.840.113549.1.1.1", _) => match spki.parsed() {
            Ok(PublicKey::RSA(rsa)) => match rsa.key_size() {
                2048 => Ok(KeyKind::Rsa2048),
                3072 => Ok(KeyKind::Rsa3072),
                4096 => Ok(KeyKind::Rsa4096),
                bits => Err(format!("rsa-{bits}")),
            },
            _ => Err(damaged()),
        },
        (oid, _) => Err(format!("of the unknown kind {oid}")),
    }
}

/// PEM with lines of 64 characters, as RFC 7468 asks.
pub(super) fn encode_pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    // One allocation, so that no copy of a key is left behind by growing.
    let mut out = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    out.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.extend([line, "\n"]);
        rest = tail;
    }
    out.extend(["-----END ", label, "-----\n"]);
    out
}

fn unusable(what: &str) -> Fault {
    Fault::task(format!("the private key is not usable: {what}"))
        .hint("ECDSA P-256 and P-384, Ed25519, and RSA with 2048, 3072 or 4096 bits are")
}
