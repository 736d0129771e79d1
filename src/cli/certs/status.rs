//! `ishprov certs status`: certificates as they lie on hosts, and as their servers show them.

use super::gate::CLOCK;
use super::host::{Host, Lying, hosts};
use super::store::{read, rotation, trusted};
use super::{Done, now};
use crate::cli::args::CertsStatusArgs;
use crate::cli::exit;
use crate::console::Screen;
use crate::diag::SourceMap;
use crate::pki::{self, CertInfo, Rotation, State};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// What there is to judge by.
struct Judge<'a> {
    state: &'a State,
    trusted: Vec<CertInfo>,
    days: i64,
    now: OffsetDateTime,
}

/// Shows it; the exit code.
pub async fn status(args: &CertsStatusArgs, screen: &Screen) -> Done<i32> {
    let dir = &args.pki.pki;
    let state = read(dir)?;
    let trusted = CertInfo::all(&trusted(dir)?).map_err(|fault| vec![super::blame(dir, fault)])?;
    let found = hosts(&args.pattern, args.limit.as_deref(), &args.inventory, &args.connect, &state).await?;
    let judge = Judge { state: &state, trusted, days: args.days.into(), now: now() };
    let ca = judge.ca();
    let mut code = if ca.is_empty() { exit::OK } else { exit::FAILED };
    let mut shown = Vec::new();
    for (name, host) in found {
        match host {
            Ok(host) => {
                let (value, well) = judge.host(&name, &host);
                code = code.max(if well { exit::OK } else { exit::FAILED });
                shown.push(value);
            }
            Err(diagnostic) => {
                code = exit::UNREACHABLE;
                if !screen.json {
                    screen.diagnostics(
                        std::slice::from_ref(&diagnostic),
                        &SourceMap::new(),
                        &crate::shell::Masker::new(),
                    );
                }
                shown.push(json!({ "host": name, "reachable": false, "problems": [diagnostic.message] }));
            }
        }
    }
    let rotation = rotation(dir)?.map(|rotation| match rotation {
        Rotation::Leaves { since, .. } => {
            format!("certificates are being rotated, since {since}: `ishprov certs rotate` goes on")
        }
        Rotation::Ca { since, phase, .. } => format!(
            "the CA is being changed, since {since}, {}: {}; `ishprov certs rotate --ca` goes on",
            phase.place(),
            phase.does()
        ),
    });
    let ca = json!({ "subject": state.ca.subject, "fingerprint": state.ca.fingerprint, "not_after": pki::stamp(state.ca.not_after),
        "days_left": state.ca.days_left(judge.now), "problems": ca });
    if screen.json {
        screen.line(
            &json!({ "event": "certs_status", "code": code, "ca": ca, "rotation": rotation, "hosts": shown })
                .to_string(),
        );
    } else {
        print(screen, &ca, &shown);
        rotation.iter().for_each(|text| screen.line(text));
    }
    Ok(code)
}

impl Judge<'_> {
    fn ca(&self) -> Vec<String> {
        self.lifetime(&self.state.ca)
    }

    fn lifetime(&self, cert: &CertInfo) -> Vec<String> {
        let left = cert.days_left(self.now);
        let problem = if cert.not_after <= self.now {
            format!("expired {} days ago", -left)
        } else if self.now < cert.not_before {
            format!("good only from {}", pki::stamp(cert.not_before))
        } else if left < self.days {
            format!("ends in {left} days")
        } else {
            return Vec::new();
        };
        vec![problem]
    }

    fn host(&self, name: &str, host: &Host) -> (Value, bool) {
        let mut well = true;
        let mut certificates = Vec::new();
        for lying in &host.certificates {
            let (value, problems) = self.certificate(lying);
            well &= problems == 0;
            certificates.push(value);
        }
        let mut problems = Vec::new();
        let behind = host.ahead.unwrap_or_default();
        if behind.abs() > CLOCK {
            let side = if behind < 0 { "behind" } else { "ahead of" };
            problems.push(format!("its clock is {} s {side} this machine's", behind.abs()));
        }
        if host.certificates.is_empty() {
            problems.push("it has no certificate".to_owned());
        }
        let servers: Vec<CertInfo> = host
            .certificates
            .iter()
            .filter_map(|lying| CertInfo::first(&lying.pem).ok())
            .filter(serves)
            .collect();
        let wire = match host.wire.as_deref().map(CertInfo::first) {
            Some(Ok(cert)) => {
                let mut faults = self.lifetime(&cert);
                if !servers.is_empty() && !servers.iter().any(|one| one.fingerprint == cert.fingerprint) {
                    faults.push("not the certificate in its file: the server was not reloaded".to_owned());
                }
                well &= faults.is_empty();
                self.shape(&cert, faults)
            }
            Some(Err(fault)) => {
                problems.push(format!("what its server shows: {}", fault.message));
                Value::Null
            }
            None => {
                if !servers.is_empty() {
                    let port = host.port;
                    problems.push(if host.openssl {
                        format!("no server answers by TLS on port {port}")
                    } else {
                        "it has no `openssl`: what its server shows is not known".to_owned()
                    });
                }
                Value::Null
            }
        };
        well &= problems.is_empty();
        let value = json!({ "host": name, "reachable": true, "certificates": certificates, "wire": wire, "problems": problems });
        (value, well)
    }

    fn certificate(&self, lying: &Lying) -> (Value, usize) {
        let cert = match CertInfo::first(&lying.pem) {
            Ok(cert) => cert,
            Err(fault) => return (json!({ "path": lying.path, "problems": [fault.message] }), 1),
        };
        let mut problems = self.lifetime(&cert);
        if !cert.is_ca {
            if !self.trusted.iter().any(|ca| cert.issued_by(ca).is_ok()) {
                problems.push(format!("issued by `{}`, which is not the CA here", cert.issuer));
            }
            if self
                .state
                .entries
                .iter()
                .any(|entry| entry.fingerprint == cert.fingerprint && entry.revoked.is_some())
            {
                problems.push("revoked".to_owned());
            }
            match &lying.key {
                None => problems.push("its key is not there".to_owned()),
                Some(key) => {
                    if key.mode & 0o137 != 0 || (key.mode & 0o040 != 0 && key.owner != "root") {
                        problems.push(format!("its key has mode {:04o}, owner {}", key.mode, key.owner));
                    }
                    if key.public.as_deref().is_some_and(|public| *public != cert.spki) {
                        problems.push("its key belongs to another certificate".to_owned());
                    }
                }
            }
        }
        let number = problems.len();
        let mut value = self.shape(&cert, problems);
        if let Some(map) = value.as_object_mut() {
            map.insert("path".to_owned(), json!(lying.path));
            if let Some(key) = &lying.key {
                let mode = format!("{:04o}", key.mode);
                map.insert(
                    "key".to_owned(),
                    json!({ "path": key.path, "mode": mode, "owner": key.owner, "group": key.group }),
                );
            }
        }
        (value, number)
    }

    fn shape(&self, cert: &CertInfo, problems: Vec<String>) -> Value {
        let chain: Vec<&str> = self
            .trusted
            .iter()
            .filter(|ca| cert.issued_by(ca).is_ok())
            .map(|ca| ca.subject.as_str())
            .collect();
        let sans: Vec<String> = cert.sans.iter().map(ToString::to_string).collect();
        json!({ "subject": cert.subject, "sans": sans, "serial": cert.serial, "fingerprint": cert.fingerprint, "ca": cert.is_ca,
            "not_after": pki::stamp(cert.not_after), "days_left": cert.days_left(self.now), "issuer": cert.issuer, "chain": chain,
            "problems": problems })
    }
}

fn serves(cert: &CertInfo) -> bool {
    !cert.is_ca && cert.usage.is_some_and(pki::Usage::serves)
}

fn print(screen: &Screen, ca: &Value, hosts: &[Value]) {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, key: &str| {
        let items = value[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.map(str::to_owned).collect::<Vec<_>>().join("; ")
    };
    let standing = |value: &Value| {
        let problems = list(value, "problems");
        let days = value["days_left"].as_i64().map(|days| format!("{days} days")).unwrap_or_default();
        if problems.is_empty() { format!("{days}  ok") } else { format!("{days}  PROBLEM: {problems}") }
    };
    screen.line(&format!("CA  {}  {}", text(ca, "subject"), standing(ca)));
    for host in hosts {
        let problems = list(host, "problems");
        let problems = if problems.is_empty() { String::new() } else { format!("  PROBLEM: {problems}") };
        screen.line(&format!("{}{problems}", text(host, "host")));
        for cert in host["certificates"].as_array().into_iter().flatten() {
            let sans = list(cert, "sans");
            let sans = if sans.is_empty() { String::new() } else { format!(" ({sans})") };
            let key = &cert["key"];
            let key = match key.is_object() {
                true => format!("  key {} {}:{}", text(key, "mode"), text(key, "owner"), text(key, "group")),
                false => String::new(),
            };
            screen.line(&format!(
                "  {}  {}{sans}  {}{key}",
                text(cert, "path"),
                text(cert, "subject"),
                standing(cert)
            ));
        }
        if host["wire"].is_object() {
            let wire = &host["wire"];
            screen.line(&format!(
                "  on the wire  {}  serial {}  {}",
                text(wire, "subject"),
                text(wire, "serial"),
                standing(wire)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Key;
    use super::*;
    use crate::pki::{Ca, CaPolicy, Entry, KeyKind, LeafPolicy, generate_key};
    use time::Duration;

    struct Site {
        state: State,
        key: String,
        cert: String,
        public: Vec<u8>,
    }

    fn site(at: OffsetDateTime) -> Site {
        let key = generate_key(KeyKind::EcdsaP256).unwrap().to_string();
        let ca = Ca::create(&CaPolicy::new("main CA").unwrap(), &key, [7; 16], at).unwrap();
        let cert = ca.issue(&LeafPolicy::server(["pg1"]).unwrap(), &key, [9; 16], at).unwrap();
        let info = CertInfo::first(&cert).unwrap();
        let public = info.spki.clone();
        let state = State { ca: ca.info().clone(), entries: vec![Entry::new(&info, "pg1-server")] };
        Site { state, key, cert, public }
    }

    fn problems(site: &Site, at: OffsetDateTime, change: impl FnOnce(&mut Host)) -> String {
        let key = Key {
            path: "/t/server.key".into(),
            mode: 0o600,
            owner: "postgres".into(),
            group: "postgres".into(),
            public: Some(site.public.clone()),
        };
        let lying = Lying { path: "/t/server.crt".into(), pem: site.cert.clone(), key: Some(key) };
        let mut host = Host {
            certificates: vec![lying],
            wire: Some(site.cert.clone()),
            port: 5432,
            openssl: true,
            ahead: Some(0),
        };
        change(&mut host);
        let judge = Judge { state: &site.state, trusted: vec![site.state.ca.clone()], days: 30, now: at };
        let (value, well) = judge.host("pg1", &host);
        let mut all = Vec::new();
        let places = [&value, &value["wire"]].into_iter().chain(value["certificates"].as_array().unwrap());
        for place in places {
            all.extend(
                place["problems"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|one| one.as_str().unwrap().to_owned()),
            );
        }
        assert_eq!(well, all.is_empty(), "{all:?}");
        all.join("; ")
    }

    #[test]
    fn every_fault_is_named_and_a_sound_host_has_none() {
        let start = OffsetDateTime::from_unix_timestamp(1_795_423_117).unwrap();
        let mut site = site(start);
        let day = Duration::days(1);
        assert_eq!(problems(&site, start + day, |_| ()), "");
        assert_eq!(problems(&site, start + day * 340, |_| ()), "ends in 25 days; ends in 25 days");
        assert_eq!(problems(&site, start + day * 366, |_| ()), "expired 1 days ago; expired 1 days ago");
        assert_eq!(problems(&site, start - day, |_| ()).matches("good only from 2026-11-23").count(), 2);
        let key = |mode: u32| move |host: &mut Host| host.certificates[0].key.as_mut().unwrap().mode = mode;
        assert_eq!(problems(&site, start, key(0o644)), "its key has mode 0644, owner postgres");
        assert_eq!(problems(&site, start, key(0o640)), "its key has mode 0640, owner postgres");
        assert_eq!(problems(&site, start, |host| host.certificates[0].key = None), "its key is not there");
        let other = |host: &mut Host| host.certificates[0].key.as_mut().unwrap().public = Some(vec![1]);
        assert_eq!(problems(&site, start, other), "its key belongs to another certificate");
        assert_eq!(problems(&site, start, |host| host.wire = None), "no server answers by TLS on port 5432");
        assert_eq!(
            problems(&site, start, |host| host.ahead = Some(-3600)),
            "its clock is 3600 s behind this machine's"
        );
        assert_eq!(problems(&site, start, |host| host.certificates.clear()), "it has no certificate");
        let ca = Ca::load(&site.state.ca.to_pem(), &site.key).unwrap();
        let newer = ca.issue(&LeafPolicy::server(["pg1"]).unwrap(), &site.key, [10; 16], start).unwrap();
        assert_eq!(
            problems(&site, start, |host| host.wire = Some(newer)),
            "not the certificate in its file: the server was not reloaded"
        );
        site.state.entries[0].revoked = Some(pki::stamp(start));
        assert_eq!(problems(&site, start, |_| ()), "revoked");
    }
}
