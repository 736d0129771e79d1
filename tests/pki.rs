//! Certificates judged by verifiers that had no part in making them: `openssl` and `webpki`, at fixed dates.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use ishprov::pki::{self, Ca, CaPolicy, CaVerdict, CertInfo, KeyKind, LeafPolicy, San, Usage, Verdict};
use proptest::prelude::*;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName};
use rustls_pki_types::{SignatureVerificationAlgorithm, UnixTime, alg_id};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration as StdDuration;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-11-23 12:00:00.5 UTC);
const NAMES: [&str; 5] =
    ["pg-primary", "pg-primary.example.org", "*.db.example.org", "198.18.0.10", "fd00::10"];

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
fn every_reason_to_issue_and_none_more() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (main_ca(), new_ca("main CA"));
    let renamed = new_ca("other CA");
    let wanted = LeafPolicy::server(["pg1", "198.18.0.10"]).unwrap();
    let issue = |ca: &Ca, policy: &LeafPolicy, at| {
        let key =
            if policy.key_kind == KeyKind::EcdsaP256 { key().to_string() } else { generate(policy.key_kind) };
        ca.issue(policy, &key, [1; 16], at).unwrap()
    };
    let like = |change: fn(&mut LeafPolicy)| {
        let mut policy = wanted.clone();
        change(&mut policy);
        issue(&ca, &policy, NOW)
    };
    let days = Duration::days;
    let good = issue(&ca, &wanted, NOW);
    let damaged = good.replacen("MII", "MIK", 1);
    let (foreign_ca, foreign_key) = openssl_ca(dir.path(), "leaf", &["-newkey", "rsa:2048"], "/CN=pg1");
    drop(foreign_key);

    let keep: [(&str, &str, OffsetDateTime, i64); 6] = [
        ("fresh", &good, NOW, 365),
        ("in the middle", &good, NOW + days(200), 165),
        ("31 days before its end", &good, NOW + days(334), 31),
        ("names in another order", &like(|p| p.sans.reverse()), NOW, 365),
        ("another lifetime is no reason", &like(|p| p.days = 100), NOW, 100),
        ("text around it", &format!("Certificate:\n  Data\n{good}\n# end"), NOW, 365),
    ];
    for (name, pem, at, days_left) in keep {
        assert_eq!(
            pki::needs(Some(pem), &wanted, &ca.cert_pem(), at).unwrap(),
            Verdict::Keep { days_left },
            "{name}"
        );
    }

    let cases: [(Option<&str>, OffsetDateTime, &str); 17] = [
        (None, NOW, "there is none yet"),
        (Some(""), NOW, "the one that is there is unreadable: the text holds no certificate in PEM form"),
        (
            Some("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
            NOW,
            "the one that is there is unreadable: the certificate is damaged: its PEM text cannot be decoded",
        ),
        (
            Some(&damaged),
            NOW,
            "the one that is there is unreadable: the certificate is damaged: it is not valid DER",
        ),
        (
            Some(&issue(&other, &wanted, NOW)),
            NOW,
            "another CA issued it: another CA that is also named `CN=main CA` signed it",
        ),
        (
            Some(&issue(&renamed, &wanted, NOW)),
            NOW,
            "another CA issued it: its issuer is `CN=other CA`, not `CN=main CA`",
        ),
        (Some(&foreign_ca), NOW, "another CA issued it: its issuer is `CN=pg1`, not `CN=main CA`"),
        (Some(&good), NOW + days(336), "it expires on 2027-11-23, in 29 days"),
        (Some(&good), NOW + days(365), "it expired on 2027-11-23"),
        (Some(&good), NOW - days(1), "it is valid only from 2026-11-23 11:55:00.0 +00:00:00"),
        (Some(&like(|p| p.common_name = "pg2".into())), NOW, "its common name is `pg2`, not `pg1`"),
        (
            Some(&like(|p| {
                p.sans.pop();
            })),
            NOW,
            "the name `198.18.0.10` is missing in it",
        ),
        (
            Some(&like(|p| p.sans.push(San::Dns("old".into())))),
            NOW,
            "the name `old` in it is no longer wanted",
        ),
        (Some(&like(|p| p.usage = Usage::Client)), NOW, "it is for use as client, not as server"),
        (Some(&like(|p| p.usage = Usage::Peer)), NOW, "it is for use as server and client, not as server"),
        (Some(&like(|p| p.key_kind = KeyKind::Ed25519)), NOW, "its key is ed25519, not ecdsa-p256"),
        (Some(&like(|p| p.key_kind = KeyKind::Rsa2048)), NOW, "its key is rsa-2048, not ecdsa-p256"),
    ];
    for (pem, at, because) in cases {
        let verdict = pki::needs(pem, &wanted, &ca.cert_pem(), at).unwrap();
        assert_eq!(verdict, Verdict::Issue { because: because.to_string() });
    }

    // The CA is to blame, not the leaf.
    assert!(
        pki::needs(Some(&good), &wanted, "nothing", NOW).unwrap_err().message.starts_with("CA certificate: ")
    );

    let with_key =
        |key: Option<&str>| pki::needs_with_key(Some(&good), key, &wanted, &ca.cert_pem(), NOW).unwrap();
    let another = generate(KeyKind::EcdsaP256);
    assert_eq!(with_key(Some(key())), Verdict::Keep { days_left: 365 });
    for (key, reason) in [
        (None, "its private key is gone"),
        (Some(another.as_str()), "its private key belongs to another certificate"),
        (Some("x"), "its private key is unreadable: the text holds no private key in PEM form"),
    ] {
        assert_eq!(with_key(key), Verdict::Issue { because: reason.to_string() });
    }
}

#[test]
fn a_leaf_never_outlives_its_ca_and_is_not_renewed_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    let policy = CaPolicy { days: 100, ..ca_policy() };
    let ca = Ca::create(&policy, key(), [1; 16], NOW).unwrap();
    let wanted = LeafPolicy::server(NAMES).unwrap();
    let leaf = ca.issue(&wanted, key(), [2; 16], NOW + Duration::days(50)).unwrap();
    assert_eq!(CertInfo::first(&leaf).unwrap().not_after, ca.info().not_after);
    openssl_accepts(dir.path(), &ca.cert_pem(), &leaf, "sslserver", &[], NOW + Duration::days(99));
    // Due by its own rule, but a new one would end on the same day.
    let at = NOW + Duration::days(90);
    assert_eq!(
        pki::needs(Some(&leaf), &wanted, &ca.cert_pem(), at).unwrap(),
        Verdict::Keep { days_left: 10 }
    );
    let fault = ca.issue(&wanted, key(), [3; 16], NOW + Duration::days(101)).unwrap_err();
    assert_eq!(fault.message, "the CA expired on 2027-03-03");
    let fault = ca.issue(&wanted, key(), [3; 16], NOW - Duration::days(1)).unwrap_err();
    assert!(fault.message.contains("valid only from"), "{}", fault.message);

    // A lifetime below the renewal window is not due on the day it begins.
    let short = LeafPolicy { days: 3, ..wanted };
    let leaf = ca.issue(&short, key(), [4; 16], NOW).unwrap();
    assert_eq!(pki::needs(Some(&leaf), &short, &ca.cert_pem(), NOW).unwrap(), Verdict::Keep { days_left: 3 });
    let later = NOW + Duration::days(2) + Duration::hours(1);
    assert!(matches!(pki::needs(Some(&leaf), &short, &ca.cert_pem(), later).unwrap(), Verdict::Issue { .. }));
}

#[test]
fn a_ca_is_made_kept_rotated_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ca = main_ca();
    let (cert, policy) = (ca.cert_pem(), ca_policy());
    let needs = |cert: Option<&str>, key: Option<&str>, at| pki::ca_needs(cert, key, &policy, at);
    let because = String::from;
    let day = Duration::days;
    assert_eq!(needs(None, None, NOW).unwrap(), CaVerdict::Create { because: because("there is no CA yet") });
    assert_eq!(needs(Some(&cert), Some(key()), NOW).unwrap(), CaVerdict::Keep { days_left: 3650 });
    assert_eq!(needs(Some(&cert), Some(key()), NOW + day(3254)).unwrap(), CaVerdict::Keep { days_left: 396 });
    assert_eq!(
        needs(Some(&cert), Some(key()), NOW + day(3256)).unwrap(),
        CaVerdict::Rotate { because: because("it expires on 2036-11-20, in 394 days"), days_left: 394 }
    );
    assert_eq!(
        needs(Some(&cert), Some(key()), NOW + day(3651)).unwrap(),
        CaVerdict::Rotate { because: because("it expired on 2036-11-20"), days_left: -1 }
    );

    let another = generate(KeyKind::EcdsaP256);
    let leaf = ca.issue(&LeafPolicy::server(NAMES).unwrap(), key(), [5; 16], NOW).unwrap();
    let damaged = cert.replacen("MII", "MIK", 1);
    let cut = &cert[..cert.len() / 2];
    let two = format!("{cert}{leaf}");
    let dc = openssl_ca(dir.path(), "dc", &["-newkey", "rsa:2048"], "/DC=org/DC=example/CN=x");
    let locked_key = {
        let file = write(dir.path(), "open.key", key());
        openssl(&["pkcs8", "-topk8", "-in", &file, "-passout", "pass:x"]).unwrap()
    };
    let cases: [(Option<&str>, Option<&str>, &str); 11] = [
        (Some(&cert), None, "there is a CA certificate but no CA key"),
        (None, Some(key()), "there is a CA key but no CA certificate"),
        (Some(&cert), Some(&another), "the CA certificate `CN=main CA` does not belong to the CA key"),
        (Some(&damaged), Some(key()), "CA certificate: the certificate is damaged: it is not valid DER"),
        (
            Some(cut),
            Some(key()),
            "CA certificate: the certificate is damaged: its PEM text cannot be decoded",
        ),
        (Some("\n"), Some(key()), "the CA certificate file holds no certificate in PEM form"),
        (Some(&two), Some(key()), "the CA certificate file holds more than one certificate"),
        (Some(&cert), Some("x"), "CA key: the text holds no private key in PEM form"),
        (Some(&cert), Some(&locked_key), "CA key: the private key is encrypted with a passphrase of its own"),
        (
            Some(&leaf),
            Some(key()),
            "the CA certificate `CN=pg-primary` may not sign certificates (basicConstraints CA:TRUE, keyCertSign)",
        ),
        (
            Some(&dc.0),
            Some(&dc.1),
            "the CA certificate `DC=org, DC=example, CN=x` cannot be an issuer here: its subject holds the same attribute (like `DC` or `OU`) more than once",
        ),
    ];
    for (cert, key, message) in cases {
        let fault = needs(cert, key, NOW).unwrap_err();
        assert_eq!(fault.message, message);
        assert!(!fault.hints.is_empty(), "{message}");
    }
    let fault = needs(Some(&cert), Some(key()), NOW - day(2)).unwrap_err();
    assert!(fault.hints[0].contains("clock"), "{fault:?}");
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

#[test]
fn an_intermediate_is_refused_as_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = openssl_ca(dir.path(), "root", &["-newkey", "rsa:2048"], "/CN=root");
    let (root_cert, root_key) = (write(dir.path(), "r.pem", &root.0), write(dir.path(), "r.key", &root.1));
    let (key, csr, cert) = (path(dir.path(), "i.key"), path(dir.path(), "i.csr"), path(dir.path(), "i.pem"));
    openssl(&[
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=sub", "-keyout", &key, "-out", &csr,
    ])
    .unwrap();
    let ext = write(dir.path(), "ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n");
    let args = ["x509", "-req", "-in", &csr, "-CA", &root_cert, "-CAkey", &root_key, "-set_serial", "7"];
    openssl(&[&args[..], &["-extfile", &ext, "-out", &cert]].concat()).unwrap();
    let read = |file: &str| fs::read_to_string(file).unwrap();
    let fault = Ca::load(&read(&cert), &read(&key)).unwrap_err();
    assert!(fault.message.contains("is not a self-signed root"), "{}", fault.message);
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let ca = main_ca();
    let secret = key().lines().nth(1).unwrap();
    let shown =
        format!("{ca:?} {:?} {:?}", ca.info(), Ca::load(&ca.cert_pem(), &generate(KeyKind::EcdsaP256)));
    assert!(!shown.contains(&secret[..20]) && shown.contains("main CA"));
}

fn dns_name() -> impl Strategy<Value = String> {
    let label = || prop_oneof![4 => "[a-z0-9]([a-z0-9_-]{0,20}[a-z0-9])?", 1 => "xn--[a-z0-9]{1,20}", 1 => "[a-z]{63}"];
    let plain = (proptest::collection::vec(label(), 0..3), "[a-z][a-z0-9]{0,10}")
        .prop_map(|(labels, last)| labels.into_iter().chain([last]).collect::<Vec<_>>().join("."));
    prop_oneof![4 => plain.clone(), 1 => plain.prop_map(|name| format!("*.{name}.example"))]
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => dns_name(),
        1 => any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        1 => any::<[u8; 16]>().prop_map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_set_of_names_verifies_by_each_of_them(
        names in proptest::collection::vec(any_name(), 1..6),
        serial in any::<[u8; 16]>(),
        seconds in 0i64..365 * 86_400,
    ) {
        let ca = cached_ca();
        // None of the names may fit the 64 characters of a common name: then it is refused, and says so.
        let policy = match LeafPolicy::server(&names) {
            Ok(policy) => policy,
            Err(fault) => {
                prop_assert!(names.iter().all(|name| name.len() > 64), "{:?}", fault);
                return Ok(());
            }
        };
        prop_assert!(policy.common_name.len() <= 64);
        let pem = ca.issue(&policy, key(), serial, NOW).unwrap();
        webpki_accepts(&ca.cert_pem(), &pem, Usage::Server, NOW + Duration::seconds(seconds)).unwrap();
        for name in &names {
            let asked = name.replace('*', "any");
            prop_assert!(webpki_names(&pem, &asked).is_ok(), "{}: {:?}", asked, webpki_names(&pem, &asked));
        }
        prop_assert!(webpki_names(&pem, "nobody.invalid").is_err());
        let verdict = pki::needs(Some(&pem), &policy, &ca.cert_pem(), NOW).unwrap();
        prop_assert_eq!(verdict, Verdict::Keep { days_left: 365 });
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,120}", cut in 0usize..800, flip in 0usize..800) {
        let ca = cached_ca();
        let _ = text.parse::<San>();
        let _ = LeafPolicy::client(&text);
        let mut pem = ca.cert_pem().into_bytes();
        let at = flip % pem.len();
        pem[at] ^= 1;
        let pem = String::from_utf8(pem).unwrap();
        for pem in [text.as_str(), &pem, &pem[..cut.min(pem.len())]] {
            let _ = CertInfo::all(pem);
            let _ = Ca::load(pem, key());
            let _ = pki::key_kind(pem);
        }
    }
}

fn cached_ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(main_ca)
}

fn ca_policy() -> CaPolicy {
    CaPolicy::new("main CA").unwrap()
}

/// The CA whose key is `key()`.
fn main_ca() -> Ca {
    Ca::create(&ca_policy(), key(), [7; 16], NOW).unwrap()
}

/// A CA of that name with a key of its own.
fn new_ca(name: &str) -> Ca {
    Ca::create(&CaPolicy::new(name).unwrap(), &generate(KeyKind::EcdsaP256), [7; 16], NOW).unwrap()
}

/// One private key for all tests that do not care.
fn key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| generate(KeyKind::EcdsaP256))
}

fn generate(kind: KeyKind) -> String {
    pki::generate_key(kind).unwrap().to_string()
}

fn webpki_accepts(bundle: &str, pem: &str, usage: Usage, at: OffsetDateTime) -> Result<(), webpki::Error> {
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

fn webpki_names(pem: &str, name: &str) -> Result<(), webpki::Error> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let name = ServerName::try_from(name).expect("a name that can be asked for");
    webpki::EndEntityCert::try_from(&der)?.verify_is_valid_for_subject_name(&name)
}

fn openssl_accepts(dir: &Path, ca: &str, leaf: &str, purpose: &str, more: &[&str], at: OffsetDateTime) {
    if let Err(why) = openssl_verify(dir, ca, leaf, purpose, more, at) {
        panic!("{purpose} {more:?} at {at}: {why}");
    }
}

fn openssl_verify(
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
fn openssl_text(dir: &Path, pem: &str) -> String {
    let file = write(dir, "text.pem", pem);
    let text = openssl(&["x509", "-noout", "-text", "-in", &file]).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn openssl_ca(dir: &Path, name: &str, key_args: &[&str], subject: &str) -> (String, String) {
    let (key, cert) = (path(dir, &format!("{name}.key")), path(dir, &format!("{name}.pem")));
    let args = ["req", "-x509", "-nodes", "-days", "3650"];
    openssl(&[&args[..], &["-subj", subject, "-keyout", &key, "-out", &cert], key_args].concat()).unwrap();
    (fs::read_to_string(cert).unwrap(), fs::read_to_string(key).unwrap())
}

/// What `openssl ecparam -genkey` writes: a block of parameters, then `EC PRIVATE KEY`.
fn openssl_sec1_ca(dir: &Path) -> (String, String) {
    let key = path(dir, "sec1.key");
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-out", &key]).unwrap();
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.contains("BEGIN EC PARAMETERS") && text.contains("BEGIN EC PRIVATE KEY"), "{text}");
    (openssl_self_sign(dir, &key), text)
}

fn openssl_pkcs1_ca(dir: &Path) -> (String, String) {
    let key = path(dir, "pkcs1.key");
    openssl(&["genrsa", "-traditional", "-out", &key, "2048"]).unwrap();
    let text = fs::read_to_string(&key).unwrap();
    assert!(text.contains("BEGIN RSA PRIVATE KEY"), "{text}");
    (openssl_self_sign(dir, &key), text)
}

fn openssl_self_sign(dir: &Path, key: &str) -> String {
    let cert = path(dir, "self.pem");
    openssl(&["req", "-x509", "-key", key, "-days", "3650", "-subj", "/O=Old/CN=old CA", "-out", &cert])
        .unwrap();
    fs::read_to_string(cert).unwrap()
}

fn openssl(args: &[&str]) -> Result<String, String> {
    let output = Command::new("openssl").args(args).output().expect("these tests need `openssl`");
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn pem_der(pem: &str) -> Vec<u8> {
    rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = path(dir, name);
    fs::write(&file, text).unwrap();
    file
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("a UTF-8 path").to_string()
}
