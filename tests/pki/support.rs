//! The verifiers that judge, and the certificates that other programs make.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use ishprov::pki::{self, Ca, CaPolicy, CertInfo, KeyKind, Usage};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName};
use rustls_pki_types::{SignatureVerificationAlgorithm, UnixTime, alg_id};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration as StdDuration;
use time::OffsetDateTime;
use time::macros::datetime;

/// What every test calls now, unless openssl took the start of a CA from this machine's clock.
pub const NOW: OffsetDateTime = datetime!(2026-11-23 12:00:00.5 UTC);

/// A host with every kind of name.
pub const NAMES: [&str; 5] =
    ["pg-primary", "pg-primary.example.org", "*.db.example.org", "198.18.0.10", "fd00::10"];

pub fn ca_policy() -> CaPolicy {
    CaPolicy::new("main CA").unwrap()
}

/// The CA whose key is `key()`.
pub fn main_ca() -> Ca {
    Ca::create(&ca_policy(), key(), [7; 16], NOW).unwrap()
}

/// A CA of that name with a key of its own.
pub fn new_ca(name: &str) -> Ca {
    Ca::create(&CaPolicy::new(name).unwrap(), &generate(KeyKind::EcdsaP256), [7; 16], NOW).unwrap()
}

/// One private key for all tests that do not care.
pub fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| generate(KeyKind::EcdsaP256))
}

pub fn generate(kind: KeyKind) -> String {
    pki::generate_key(kind).unwrap().to_string()
}

pub fn webpki_accepts(
    bundle: &str,
    pem: &str,
    usage: Usage,
    at: OffsetDateTime,
) -> Result<(), webpki::Error> {
    let cas: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).map(Result::unwrap).collect();
    let anchors: Vec<_> = cas.iter().map(|ca| webpki::anchor_from_trusted_cert(ca).unwrap()).collect();
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let leaf = webpki::EndEntityCert::try_from(&der)?;
    let time = UnixTime::since_unix_epoch(StdDuration::from_secs(at.unix_timestamp() as u64));
    let usage = match usage {
        Usage::Client => webpki::KeyUsage::client_auth(),
        _ => webpki::KeyUsage::server_auth(),
    };
    leaf.verify_for_usage(&ALGORITHMS, &anchors, &[], time, usage, None, None).map(drop)
}

/// The signatures that CAs make here, checked by the crypto library we have anyway; the rest of the judgement is webpki's.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 4] = [
    &Algorithm(&signature::ECDSA_P256_SHA256_ASN1, alg_id::ECDSA_P256, alg_id::ECDSA_SHA256),
    &Algorithm(&signature::ECDSA_P384_SHA384_ASN1, alg_id::ECDSA_P384, alg_id::ECDSA_SHA384),
    &Algorithm(&signature::ED25519, alg_id::ED25519, alg_id::ED25519),
    &Algorithm(&signature::RSA_PKCS1_2048_8192_SHA256, alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256),
];

#[derive(Debug)]
struct Algorithm(&'static dyn signature::VerificationAlgorithm, AlgorithmIdentifier, AlgorithmIdentifier);

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.0, key).verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.1
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.2
    }
}

pub fn webpki_names(pem: &str, name: &str) -> Result<(), webpki::Error> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let name = ServerName::try_from(name).expect("a name that can be asked for");
    webpki::EndEntityCert::try_from(&der)?.verify_is_valid_for_subject_name(&name)
}

pub fn openssl_accepts(dir: &Path, ca: &str, leaf: &str, purpose: &str, more: &[&str], at: OffsetDateTime) {
    if let Err(why) = openssl_verify(dir, ca, leaf, purpose, more, at) {
        panic!("{purpose} {more:?} at {at}: {why}");
    }
}

pub fn openssl_verify(
    dir: &Path,
    ca: &str,
    leaf: &str,
    purpose: &str,
    more: &[&str],
    at: OffsetDateTime,
) -> Result<String, String> {
    let ca_info = CertInfo::first(ca).unwrap();
    let (ca, leaf) = (write(dir, "v-ca.pem", ca), write(dir, "v-leaf.pem", leaf));
    let at = at.unix_timestamp().to_string();
    // Nothing of ours needs leniency; a CA that openssl itself made lacks a key usage, which its strict mode refuses.
    let strict: &[&str] = if ca_info.key_usages.is_some() { &["-x509_strict"] } else { &[] };
    let args = ["verify", "-no-CApath", "-no-CAstore", "-purpose", purpose, "-attime", &at, "-CAfile", &ca];
    openssl(&[&args[..], strict, more, &[&leaf]].concat())
}

/// `openssl x509 -text` with every run of white space made one space.
pub fn openssl_text(dir: &Path, pem: &str) -> String {
    let file = write(dir, "text.pem", pem);
    let text = openssl(&["x509", "-noout", "-text", "-in", &file]).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub fn openssl_ca(dir: &Path, name: &str, key_args: &[&str], subject: &str) -> (String, String) {
    let (key, cert) = (path(dir, &format!("{name}.key")), path(dir, &format!("{name}.pem")));
    let args = ["req", "-x509", "-nodes", "-days", "3650"];
    openssl(&[&args[..], &["-subj", subject, "-keyout", &key, "-out", &cert], key_args].concat()).unwrap();
    (fs::read_to_string(cert).unwrap(), fs::read_to_string(key).unwrap())
}

/// What `openssl ecparam -genkey` writes: a block of parameters, then `EC PRIVATE KEY`.
pub fn openssl_sec1_ca(dir: &Path) -> (String, String) {
    let key = path(dir, "sec1.key");
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", &key]).unwrap();
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.contains("BEGIN EC PARAMETERS") && text.contains("BEGIN EC PRIVATE KEY"), "{text}");
    (openssl_self_sign(dir, &key), text)
}

pub fn openssl_pkcs1_ca(dir: &Path) -> (String, String) {
    let key = path(dir, "pkcs1.key");
    openssl(&["genrsa", "-traditional", "-out", &key, "2048"]).unwrap();
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.contains("BEGIN RSA PRIVATE KEY"), "{text}");
    (openssl_self_sign(dir, &key), text)
}

pub fn openssl_self_sign(dir: &Path, key: &str) -> String {
    let cert = path(dir, "self.pem");
    openssl(&["req", "-x509", "-key", key, "-days", "3650", "-subj", "/O=Old/CN=old CA", "-out", &cert])
        .unwrap();
    fs::read_to_string(cert).unwrap()
}

pub fn openssl(args: &[&str]) -> Result<String, String> {
    let output = Command::new("openssl").args(args).output().expect("these tests need `openssl`");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

pub fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = path(dir, name);
    fs::write(&file, text).unwrap();
    file
}

pub fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("a UTF-8 path").to_string()
}
