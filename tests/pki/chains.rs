//! What is issued verifies, and what must not verify does not.

use crate::support::*;
use ishprov::pki::{self, Ca, CaPolicy, CertInfo, KeyKind, LeafPolicy, Usage, Verdict};
use rustls_pki_types::pem::PemObject;
use std::fs;
use time::Duration;

#[test]
fn every_kind_of_ca_and_leaf_chains() {
    let dir = tempfile::tempdir().unwrap();
    let mut cas: Vec<(String, Ca)> = Vec::new();
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048] {
        let policy = CaPolicy { key_kind: kind, organization: Some("Ümläut & Co".into()), ..ca_policy() };
        let key = pki::generate_key(kind).unwrap();
        cas.push((kind.to_string(), Ca::create(&policy, &key, [9; 16], NOW).unwrap()));
    }
    for (name, (cert, key)) in [
        (
            "openssl rsa-4096",
            openssl_ca(dir.path(), "rsa", &["-newkey", "rsa:4096"], "/C=DE/O=Example/CN=old CA"),
        ),
        ("openssl p256 sec1", openssl_sec1_ca(dir.path())),
        ("openssl ed25519", openssl_ca(dir.path(), "ed", &["-newkey", "ed25519"], "/CN=old CA")),
        ("openssl pkcs1", openssl_pkcs1_ca(dir.path())),
    ] {
        cas.push((
            name.to_string(),
            Ca::load(&cert, &key).unwrap_or_else(|fault| panic!("{name}: {fault:?}")),
        ));
    }
    let kinds = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048];
    for (i, (name, ca)) in cas.iter().enumerate() {
        // OpenSSL 3.0 takes the start of a CA from this machine's clock.
        let now = ca.info().not_before + Duration::hours(1);
        // Every CA with the default kind, and each with one other in turn.
        for kind in [kinds[0], kinds[i % 4]] {
            let server = LeafPolicy { key_kind: kind, ..LeafPolicy::server(NAMES).unwrap() };
            let key = pki::generate_key(kind).unwrap();
            let pem =
                ca.issue(&server, &key, [0xff; 16], now).unwrap_or_else(|f| panic!("{name}, {kind}: {f:?}"));
            assert!(pki::key_matches(&pem, &key).unwrap());
            let ca_pem = ca.cert_pem();
            for at in [now, now + Duration::days(364)] {
                openssl_accepts(dir.path(), &ca_pem, &pem, "sslserver", &["-verify_hostname", NAMES[1]], at);
                webpki_accepts(&ca_pem, &pem, Usage::Server, at).unwrap();
            }
            openssl_accepts(dir.path(), &ca_pem, &pem, "sslserver", &["-verify_ip", NAMES[3]], now);
            openssl_accepts(dir.path(), &ca_pem, &pem, "sslserver", &["-verify_ip", NAMES[4]], now);
            for name in ["pg-primary", "x.db.example.org", "198.18.0.10", "fd00::10"] {
                webpki_names(&pem, name).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            assert!(webpki_names(&pem, "pg-replica1").is_err());

            let client = LeafPolicy {
                key_kind: kind,
                ..LeafPolicy::replication("replicator", ["pg-replica1"]).unwrap()
            };
            let pem = ca.issue(&client, &key, [1; 16], now).unwrap();
            openssl_accepts(dir.path(), &ca_pem, &pem, "sslclient", &[], now);
            webpki_accepts(&ca_pem, &pem, Usage::Client, now).unwrap();
        }
    }
}

#[test]
fn what_must_not_verify_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (main_ca(), new_ca("main CA"));
    let key = key();
    let server = ca.issue(&LeafPolicy::server(NAMES).unwrap(), key, [1; 16], NOW).unwrap();
    let client = ca.issue(&LeafPolicy::client("app").unwrap(), key, [2; 16], NOW).unwrap();
    let peer = ca.issue(&LeafPolicy::peer(["etcd1"]).unwrap(), key, [3; 16], NOW).unwrap();
    let refused = |ca: &Ca, pem: &str, purpose: &str, at| {
        let usage = if purpose == "sslserver" { Usage::Server } else { Usage::Client };
        let openssl = openssl_verify(dir.path(), &ca.cert_pem(), pem, purpose, &[], at);
        openssl.is_err() && webpki_accepts(&ca.cert_pem(), pem, usage, at).is_err()
    };
    assert!(!refused(&ca, &server, "sslserver", NOW), "the checks below can fail");
    assert!(refused(&ca, &server, "sslclient", NOW), "a server certificate logs nobody in");
    assert!(refused(&ca, &client, "sslserver", NOW), "a client certificate serves nobody");
    assert!(!refused(&ca, &peer, "sslserver", NOW) && !refused(&ca, &peer, "sslclient", NOW));
    assert!(refused(&other, &server, "sslserver", NOW), "another CA of the same name");
    assert!(refused(&ca, &server, "sslserver", NOW + Duration::days(366)), "too late");
    assert!(refused(&ca, &server, "sslserver", NOW - Duration::minutes(6)), "too early");
    assert!(!refused(&ca, &server, "sslserver", NOW - Duration::minutes(4)), "a host whose clock is behind");
}

#[test]
fn the_extensions_are_those_that_were_promised() {
    let dir = tempfile::tempdir().unwrap();
    let ca = main_ca();
    let text = openssl_text(dir.path(), &ca.cert_pem());
    for line in [
        "Basic Constraints: critical CA:TRUE, pathlen:0",
        "Key Usage: critical Certificate Sign, CRL Sign",
        "Subject Key Identifier:",
        "Not Before: Nov 23 11:55:00 2026 GMT",
        "Not After : Nov 20 12:00:00 2036 GMT",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let rsa = pki::generate_key(KeyKind::Rsa2048).unwrap();
    let policy = LeafPolicy { key_kind: KeyKind::Rsa2048, ..LeafPolicy::server(NAMES).unwrap() };
    let text = openssl_text(dir.path(), &ca.issue(&policy, &rsa, [0xff; 16], NOW).unwrap());
    for line in [
        "Version: 3",
        "Serial Number: 7f:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff:ff",
        "Basic Constraints: critical CA:FALSE",
        "Key Usage: critical Digital Signature, Key Encipherment",
        "Extended Key Usage: TLS Web Server Authentication",
        "Authority Key Identifier:",
        "DNS:pg-primary, DNS:pg-primary.example.org, DNS:*.db.example.org, IP Address:198.18.0.10, IP Address:FD00:0:0:0:0:0:0:10",
        "Not Before: Nov 23 11:55:00 2026 GMT",
        "Not After : Nov 23 12:00:00 2027 GMT",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let client = LeafPolicy::client("replicator").unwrap();
    let text = openssl_text(dir.path(), &ca.issue(&client, key(), [0; 16], NOW).unwrap());
    assert!(text.contains("Subject: CN = replicator "), "{text}");
    assert!(text.contains("Key Usage: critical Digital Signature X509v3"), "{text}");
    assert!(text.contains("Extended Key Usage: TLS Web Client Authentication"), "{text}");
}

#[test]
fn openssl_reads_every_key_that_we_make() {
    let dir = tempfile::tempdir().unwrap();
    for kind in ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"] {
        let kind: KeyKind = kind.parse().unwrap();
        let pem = pki::generate_key(kind).unwrap();
        let file = write(dir.path(), "key.pem", &pem);
        let public = openssl(&["pkey", "-in", &file, "-pubout"]).unwrap();
        assert_eq!(public, pki::public_key_pem(&pem).unwrap(), "{kind}");
        assert_eq!(pki::key_kind(&pem).unwrap(), kind);
        assert_ne!(*pem, *pki::generate_key(kind).unwrap());
    }
}

#[test]
fn a_request_made_on_a_host_is_signed_with_our_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let ca = main_ca();
    let key = path(dir.path(), "host.key");
    let request = path(dir.path(), "host.csr");
    let args = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let names = [
        "-subj",
        "/CN=evil",
        "-addext",
        "subjectAltName=DNS:evil.example.org",
        "-keyout",
        &key,
        "-out",
        &request,
    ];
    openssl(&[&args[..], &names[..]].concat()).unwrap();
    let request = fs::read_to_string(&request).unwrap();
    let policy = LeafPolicy::server(NAMES).unwrap();
    let pem = ca.sign_request(&policy, &request, [1; 16], NOW).unwrap();
    assert!(pki::key_matches(&pem, &fs::read_to_string(&key).unwrap()).unwrap());
    assert_eq!(CertInfo::first(&pem).unwrap().sans, policy.sans);
    assert_eq!(CertInfo::first(&pem).unwrap().common_name.as_deref(), Some("pg-primary"));
    openssl_accepts(dir.path(), &ca.cert_pem(), &pem, "sslserver", &[], NOW);

    let wrong = LeafPolicy { key_kind: KeyKind::Ed25519, ..policy.clone() };
    let fault = ca.sign_request(&wrong, &request, [1; 16], NOW).unwrap_err();
    assert_eq!(fault.message, "the key is ecdsa-p256, but ed25519 is wanted");
    // Another subject under the old signature.
    let mut der = pem_der(&request);
    let at = der.windows(4).position(|four| four == b"evil").unwrap();
    der[at] = b'E';
    let forged = write(dir.path(), "forged.der", "");
    fs::write(&forged, der).unwrap();
    let forged = openssl(&["req", "-inform", "DER", "-in", &forged]).unwrap();
    let fault = ca.sign_request(&policy, &forged, [1; 16], NOW).unwrap_err();
    assert_eq!(fault.message, "the certificate request was not signed with the key that it names");
}

#[test]
fn while_a_ca_takes_the_place_of_another_both_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    // The same name, as a rotation makes it: only the key tells them apart.
    let (old, new) = (new_ca("main CA"), new_ca("main CA"));
    let policy = LeafPolicy::server(NAMES).unwrap();
    let old_leaf = old.issue(&policy, key(), [1; 16], NOW).unwrap();
    let new_leaf = new.issue(&policy, key(), [2; 16], NOW).unwrap();
    let both = pki::join([new.cert_pem(), old.cert_pem(), new.cert_pem()]).unwrap();
    assert_eq!(both.matches("BEGIN").count(), 2);
    for leaf in [&old_leaf, &new_leaf] {
        assert!(pki::trusts(&both, leaf, NOW).unwrap());
        openssl_accepts(dir.path(), &both, leaf, "sslserver", &[], NOW);
        webpki_accepts(&both, leaf, Usage::Server, NOW).unwrap();
    }
    // The bundle begins with the new CA: leaves of the old one are to be issued anew.
    assert!(matches!(pki::needs(Some(&old_leaf), &policy, &both, NOW).unwrap(), Verdict::Issue { .. }));
    assert!(matches!(pki::needs(Some(&new_leaf), &policy, &both, NOW).unwrap(), Verdict::Keep { .. }));

    let after = pki::without(&both, &old.cert_pem()).unwrap();
    assert_eq!(after, new.cert_pem());
    assert!(
        pki::contains(&both, &old.cert_pem()).unwrap() && !pki::contains(&after, &old.cert_pem()).unwrap()
    );
    assert!(!pki::trusts(&after, &old_leaf, NOW).unwrap());
    assert!(!pki::trusts(&both, &new_leaf, NOW + Duration::days(366)).unwrap());
    assert!(openssl_verify(dir.path(), &after, &old_leaf, "sslserver", &[], NOW).is_err());
    assert!(pki::without(&after, &new.cert_pem()).unwrap_err().message.contains("refuse everybody"));
    assert!(pki::join([&old_leaf]).unwrap_err().message.contains("not a CA"));
}

fn pem_der(pem: &str) -> Vec<u8> {
    rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
