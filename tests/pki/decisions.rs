//! Every reason to issue, rotate or refuse, and that there is no other.

use crate::support::*;
use ishprov::pki::{self, Ca, CaPolicy, CaVerdict, CertInfo, KeyKind, LeafPolicy, San, Usage, Verdict};
use std::fs;
use time::{Duration, OffsetDateTime};

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
fn a_leaf_that_another_program_made_with_our_ca_is_judged_by_what_it_may_do() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (ca_file, key_file) = (write(dir, "ca.pem", &main_ca().cert_pem()), write(dir, "ca.key", key()));
    let wanted = LeafPolicy::server(["pg1"]).unwrap();
    let request = path(dir, "pg1.csr");
    openssl(&["req", "-new", "-key", &key_file, "-subj", "/CN=pg1", "-out", &request]).unwrap();
    let cases = [
        ("keyUsage=critical,digitalSignature", None),
        ("basicConstraints=CA:FALSE", None),
        ("basicConstraints=critical,CA:TRUE", Some("it is a CA certificate, not a leaf")),
        (
            "keyUsage=critical,keyAgreement",
            Some("its key may not sign handshakes (key usage digitalSignature)"),
        ),
    ];
    for (extension, because) in cases {
        let ext =
            write(dir, "ext", &format!("subjectAltName=DNS:PG1\nextendedKeyUsage=serverAuth\n{extension}\n"));
        let args =
            ["x509", "-req", "-in", &request, "-CA", &ca_file, "-CAkey", &key_file, "-set_serial", "7"];
        let leaf = openssl(&[&args[..], &["-days", "365", "-extfile", &ext]].concat()).unwrap();
        // OpenSSL 3.0 takes the start of a leaf from this machine's clock.
        let at = CertInfo::first(&leaf).unwrap().not_before + Duration::hours(1);
        let verdict = match because {
            None => Verdict::Keep { days_left: 364 },
            Some(because) => Verdict::Issue { because: because.to_string() },
        };
        assert_eq!(
            pki::needs(Some(&leaf), &wanted, &main_ca().cert_pem(), at).unwrap(),
            verdict,
            "{extension}"
        );
    }
}

#[test]
fn a_short_lived_ca_is_not_due_on_the_day_it_begins() {
    let ca = Ca::create(&CaPolicy { days: 90, ..ca_policy() }, key(), [1; 16], NOW).unwrap();
    // As one from outside would be judged: by a policy that expects ten years.
    let needs = |at| pki::ca_needs(Some(&ca.cert_pem()), Some(key()), &ca_policy(), at).unwrap();
    assert_eq!(needs(NOW), CaVerdict::Keep { days_left: 90 });
    assert!(matches!(needs(NOW + Duration::days(61)), CaVerdict::Rotate { days_left: 29, .. }));
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
    // Nor does it begin before its CA, whose clock may have been ahead of this run's.
    let early = ca.issue(&wanted, key(), [2; 16], NOW - Duration::minutes(4)).unwrap();
    assert_eq!(CertInfo::first(&early).unwrap().not_before, ca.info().not_before);
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
        (
            Some(&two),
            Some(key()),
            "the CA certificate `CN=main CA` stands in a chain that is broken: `CN=main CA`: its issuer is `CN=main CA`, not `CN=pg-primary`",
        ),
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
fn an_intermediate_without_its_root_is_refused() {
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
    assert!(fault.message.contains("has no root above it"), "{}", fault.message);
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let ca = main_ca();
    let secret = key().lines().nth(1).unwrap();
    let shown =
        format!("{ca:?} {:?} {:?}", ca.info(), Ca::load(&ca.cert_pem(), &generate(KeyKind::EcdsaP256)));
    assert!(!shown.contains(&secret[..20]) && shown.contains("main CA"));
}
