//! What the control machine keeps: sound states are read, every kind of damage is refused, and lists and constraints mean
//! to openssl what they mean to us.

use crate::support::*;
use ishprov::pki::{self, Ca, CaPolicy, CertInfo, Entry, Files, LeafPolicy, Permit, State};
use std::fs;
use time::Duration;

fn issued(ca: &Ca, name: &str, serial: u8) -> (Entry, String) {
    let cert = ca.issue(&LeafPolicy::client(name).unwrap(), key(), [serial; 16], NOW).unwrap();
    (Entry::new(&CertInfo::first(&cert).unwrap(), name), cert)
}

/// Two certificates, one of them revoked.
fn sound() -> Files {
    let ca = main_ca();
    let (alice, alice_cert) = issued(&ca, "alice", 1);
    let (mut bob, bob_cert) = issued(&ca, "bob", 2);
    bob.revoked = Some(pki::stamp(NOW));
    let entries = [alice, bob];
    Files {
        ca_cert: Some(ca.cert_pem()),
        ca_key_mode: Some(0o600),
        crl: Some(ca.revocation_list(&entries, NOW).unwrap()),
        index: entries.iter().map(|entry| (entry.file_name(), entry.to_text())).collect(),
        issued: vec![("alice.crt".to_owned(), alice_cert), ("bob.crt".to_owned(), bob_cert)],
    }
}

#[test]
fn a_sound_state_is_read_whole() {
    let state = State::read(&sound()).unwrap();
    let names: Vec<_> =
        state.entries.iter().map(|entry| (entry.name.as_str(), entry.revoked.is_some())).collect();
    assert_eq!(names, [("alice", false), ("bob", true)]);
    let serial = &state.entries[0].serial;
    let colons = serial.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap().to_uppercase());
    let colons = colons.collect::<Vec<_>>().join(":");
    for which in ["alice", serial, &colons] {
        assert_eq!(state.find(which, NOW).unwrap()[0].name, "alice", "{which}");
    }
    let fault = state.find("carol", NOW).unwrap_err();
    assert!(fault.hints[0].contains("alice, bob"), "{fault:?}");
    assert!(state.find("alice", NOW + Duration::days(400)).is_err(), "what is over needs no revoking");
}

#[test]
fn a_folder_from_before_there_were_records_is_read_as_it_is() {
    let files = Files { index: Vec::new(), crl: None, ..sound() };
    let state = State::read(&files).unwrap();
    assert_eq!(state.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn records_of_hosts_from_before_names_held_the_whole_path_are_read_as_two() {
    let ca = main_ca();
    let held = |serial: u8, path: &str| {
        let (entry, cert) = issued(&ca, "pg1-server", serial);
        let (host, cert_path) = (Some("pg1".to_owned()), Some(path.to_owned()));
        (Entry { host, cert_path, ..entry }, cert)
    };
    let (pg, _) = held(1, "/etc/pg/server.crt");
    let (bouncer, bouncer_cert) = held(2, "/etc/bouncer/server.crt");
    let before = Files {
        index: [&pg, &bouncer].iter().map(|entry| (entry.file_name(), entry.to_text())).collect(),
        // The one that was written last.
        issued: vec![("pg1-server.crt".to_owned(), bouncer_cert.clone())],
        crl: None,
        ..sound()
    };
    let state = State::read(&before).unwrap();
    let names: Vec<_> = state.current().iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(names, ["pg1+etc+bouncer+server", "pg1+etc+pg+server"]);
    assert_eq!(state.find("pg1-server", NOW).unwrap().len(), 2, "the old name still means both");
    // A run has written one of them anew: the old file beside it says nothing against that.
    let mut half = before;
    half.issued.push(("pg1+etc+bouncer+server.crt".to_owned(), bouncer_cert));
    assert_eq!(State::read(&half).unwrap().entries.len(), 2);
    half.issued.clear();
    assert_eq!(State::read(&half).unwrap_err().len(), 2, "both are lost");
}

#[test]
fn whatever_does_not_hold_together_is_refused() {
    let other = new_ca("main CA");
    let (_, foreign) = issued(&main_ca(), "alice", 9);
    let foreign_list = other.revocation_list(&[], NOW).unwrap();
    let empty_list = main_ca().revocation_list(&[], NOW).unwrap();
    type Damage<'a> = Box<dyn Fn(&mut Files) + 'a>;
    let cases: Vec<(Damage<'_>, &str)> = vec![
        (
            Box::new(|files| files.ca_cert = None),
            "there is a CA key (`ca.key`) but no CA certificate (`ca.crt`)",
        ),
        (
            Box::new(|files| files.ca_key_mode = None),
            "there is a CA certificate (`ca.crt`) but no CA key (`ca.key`)",
        ),
        (Box::new(|files| files.ca_key_mode = Some(0o640)), "`ca.key` has mode 0640"),
        (
            Box::new(|files| files.ca_cert = Some("half".to_owned())),
            "`ca.crt`: the text holds no certificate",
        ),
        (Box::new(|files| files.index[0].1.truncate(40)), "is damaged: it cannot be read"),
        (Box::new(|files| files.index[0].1.clear()), "is damaged: it cannot be read"),
        (
            Box::new(|files| files.index[0].1 = files.index[0].1.replace("\"sans\"", "\"more\"")),
            "unknown field `more`",
        ),
        (Box::new(|files| files.index[0].0 = "00.json".to_owned()), "it speaks of the serial number"),
        (
            Box::new(|files| files.index[0].1 = files.index[0].1.replace("2026-", "26-")),
            "is no point in time",
        ),
        (
            Box::new(|files| drop(files.issued.remove(0))),
            "the records name `issued/alice.crt`, which is not there",
        ),
        (Box::new(|files| files.issued[0].1.truncate(100)), "`issued/alice.crt` is damaged"),
        (
            Box::new(|files| files.issued[0].1 = foreign.clone()),
            "is not what the records of `alice` say was issued",
        ),
        (Box::new(|files| files.crl = None), "was revoked, but there is no `crl.pem`"),
        (Box::new(|files| files.crl = Some("half".to_owned())), "`crl.pem` is damaged"),
        (Box::new(|files| files.crl = Some(foreign_list.clone())), "`crl.pem` was not signed by the CA"),
        (
            Box::new(|files| files.crl = Some(empty_list.clone())),
            "was revoked, but `crl.pem` does not say so",
        ),
    ];
    for (damage, message) in cases {
        let mut files = sound();
        damage(&mut files);
        let faults = State::read(&files).unwrap_err();
        assert!(faults.iter().any(|fault| fault.message.contains(message)), "wants `{message}`: {faults:#?}");
        assert!(faults.iter().all(|fault| !fault.hints.is_empty()), "{faults:#?}");
    }
    let fault = &State::read(&Files::default()).unwrap_err()[0];
    assert!(fault.hints[0].contains("certs init"), "{fault:?}");
}

#[test]
fn openssl_obeys_the_list_until_the_end_of_the_ca() {
    let dir = tempfile::tempdir().unwrap();
    let files = sound();
    let list = write(dir.path(), "crl.pem", files.crl.as_ref().unwrap());
    let ca = files.ca_cert.unwrap();
    let check = ["-crl_check", "-CRLfile", &list];
    for at in [NOW, NOW + Duration::days(360)] {
        openssl_accepts(dir.path(), &ca, &files.issued[0].1, "sslclient", &check, at);
        let why = openssl_verify(dir.path(), &ca, &files.issued[1].1, "sslclient", &check, at).unwrap_err();
        assert!(why.contains("revoked"), "{why}");
    }
    assert!(pki::is_revoked(&fs::read_to_string(&list).unwrap(), &ca, &"02".repeat(16)).is_ok());
}

#[test]
fn what_the_constraints_forbid_is_refused_by_us_and_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let permits: Vec<Permit> =
        ["Example.org", "10.1.0.0/16", "fd00::/64"].map(|text| text.parse().unwrap()).into();
    let policy = CaPolicy { permits: permits.clone(), ..ca_policy() };
    let bound = Ca::create(&policy, key(), [7; 16], NOW).unwrap();
    assert_eq!(bound.info().permitted, permits);
    // A CA of the same name and key without constraints signs what the bound one refuses.
    let free = main_ca();
    let cases = [
        ("pg1.example.org", true),
        ("example.org", true),
        ("*.db.example.org", true),
        ("pg1.example.org 10.1.2.3", true),
        // Alone it is the CN as well, and openssl takes that for a DNS name.
        ("10.1.2.3", false),
        ("fd00::7", true),
        ("pg1.example.com", false),
        ("badexample.org", false),
        ("pg1.example.org 10.2.0.1", false),
        ("fd01::7", false),
    ];
    for (name, good) in cases {
        let leaf = LeafPolicy::server(name.split(' ')).unwrap();
        let issued = bound.issue(&leaf, key(), [3; 16], NOW);
        assert_eq!(issued.is_ok(), good, "{name}: {issued:?}");
        let cert = issued.unwrap_or_else(|_| free.issue(&leaf, key(), [3; 16], NOW).unwrap());
        let judged = openssl_verify(dir.path(), &bound.cert_pem(), &cert, "sslserver", &[], NOW);
        assert_eq!(judged.is_ok(), good, "{name}: {judged:?}");
        let judged = webpki_accepts(&bound.cert_pem(), &cert, pki::Usage::Server, NOW);
        // webpki looks at no CN.
        assert_eq!(judged.is_ok(), good || name == "10.1.2.3", "{name}: {judged:?}");
    }
    for text in ["*.example.org", "a b", "10.0.0.0/33"] {
        assert_eq!(text.parse::<Permit>().unwrap_err().param.as_deref(), Some("permit"), "{text}");
    }
}
