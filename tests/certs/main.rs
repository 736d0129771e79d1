//! `ishprov certs` with a real PostgreSQL server on this machine: who is let in, and what the commands say of it.
//! Needs root, `openssl` and PostgreSQL 15.

use ishprov::pki::{Ca, CaPolicy, LeafPolicy};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use time::{Duration, OffsetDateTime};

const BIN: &str = "/usr/lib/postgresql/15/bin";

fn ishprov(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(args)
        .current_dir(dir)
        .env_remove("ANSIBLE_VAULT_PASSWORD_FILE")
        .output()
        .expect("ishprov runs");
    (output.status.code().unwrap_or(-1), said(&output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn well(dir: &Path, args: &[&str]) -> String {
    let (code, text) = ishprov(dir, args);
    assert_eq!(code, 0, "{args:?}: {text}");
    text
}

fn refused(dir: &Path, args: &[&str], why: &str) {
    let (code, text) = ishprov(dir, args);
    assert_eq!(code, 1, "{args:?}: {text}");
    assert!(text.contains(why), "{args:?}: wants `{why}`: {text}");
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("is there").mode() & 0o777
}

/// Every file below a folder with its content and mode.
fn picture(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(picture(&path));
        } else if !path.ends_with(".lock") {
            all.push((path.clone(), mode(path.clone()), fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

struct Server {
    dir: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// A server that lets in over TLS by client certificate alone.
    fn start(site: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { dir, port };
        fs::set_permissions(server.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tls = server.tls();
        fs::create_dir(&tls).unwrap();
        for name in ["pg1.crt", "pg1.key", "ca.crt"] {
            fs::copy(site.join("server").join(name), tls.join(name)).unwrap();
        }
        sh(&format!("chown -R postgres {}", server.dir.path().display()));
        let data = server.dir.path().join("data");
        let (data, tls) = (data.display(), tls.display());
        as_postgres(&format!("{BIN}/initdb -D {data} -A trust >/dev/null"));
        let conf = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{data}'\nssl = on\nssl_cert_file = '{tls}/pg1.crt'\n\
             ssl_key_file = '{tls}/pg1.key'\nssl_ca_file = '{tls}/ca.crt'\nssl_min_protocol_version = 'TLSv1.3'\nfsync = off\n"
        );
        fs::write(server.dir.path().join("data/postgresql.auto.conf"), conf).unwrap();
        let hba = "local all all trust\nhostssl all all 127.0.0.1/32 cert\n";
        fs::write(server.dir.path().join("data/pg_hba.conf"), hba).unwrap();
        as_postgres(&format!("{BIN}/pg_ctl -w -D {data} -l {data}/log start >/dev/null"));
        as_postgres(&format!(
            "psql -qh {data} -p {port} -c 'CREATE ROLE alice LOGIN' -c 'CREATE ROLE bob LOGIN' postgres"
        ));
        server
    }

    fn tls(&self) -> PathBuf {
        self.dir.path().join("tls")
    }

    fn reload(&self) {
        let data = self.dir.path().join("data");
        as_postgres(&format!("{BIN}/pg_ctl -D {} reload >/dev/null", data.display()));
        std::thread::sleep(std::time::Duration::from_millis(700));
    }

    /// Whether `role` gets in with the certificate `name` of a folder; what psql says otherwise.
    fn login(&self, role: &str, folder: &Path, name: &str, more: &str) -> Result<(), String> {
        let at = folder.join(name).display().to_string();
        let conninfo = format!(
            "host=127.0.0.1 port={} dbname=postgres user={role} sslcert={at}.crt sslkey={at}.key sslrootcert={} sslmode=verify-full {more}",
            self.port,
            self.tls().join("ca.crt").display(),
        );
        let output = Command::new("psql").args(["-XAtc", "select 1", &conninfo]).output().expect("psql runs");
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.dir.path().join("data");
        let stop = format!("{BIN}/pg_ctl -m immediate -D {} stop", data.display());
        let _ = Command::new("runuser").args(["-u", "postgres", "--", "sh", "-c", &stop]).output();
    }
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", said(&output));
}

fn as_postgres(script: &str) {
    let output =
        Command::new("runuser").args(["-u", "postgres", "--", "sh", "-c", script]).current_dir("/").output();
    let output = output.expect("runuser runs");
    assert!(output.status.success(), "{script}: {}", said(&output));
}

#[test]
fn only_good_certificates_get_in_and_status_and_verify_tell() {
    let site = tempfile::tempdir().unwrap();
    let dir = site.path();
    well(dir, &["certs", "init", "--name", "main CA"]);
    let names = ["--san", "pg1", "--san", "127.0.0.1"];
    let issue = |usage: &str, out: &str, name: &str, more: &[&str]| {
        well(dir, &[&["certs", "issue", name, "--usage", usage, "--out", out], more].concat());
    };
    issue("server", "server", "pg1", &names);
    issue("client", "people", "alice", &[]);
    issue("client", "people", "bob", &["--key-type", "ed25519"]);
    well(dir, &["certs", "init", "--pki", "other", "--name", "main CA"]);
    well(dir, &["certs", "issue", "alice", "--pki", "other", "--out", "strangers"]);
    // Long expired: issued when the CA (made anew for that time, with the same key and name) was young.
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let then = OffsetDateTime::now_utc() - Duration::days(100);
    let key = read("pki/ca.key");
    let ca = Ca::create(&CaPolicy::new("main CA").unwrap(), &key, [4; 16], then).unwrap();
    let policy = LeafPolicy { days: 1, ..LeafPolicy::client("alice").unwrap() };
    let expired = ca.issue(&policy, &read("people/alice.key"), [5; 16], then).unwrap();
    fs::write(dir.join("people/expired.crt"), expired).unwrap();
    fs::copy(dir.join("people/alice.key"), dir.join("people/expired.key")).unwrap();

    let server = Server::start(dir);
    let people = dir.join("people");
    assert_eq!(server.login("alice", &people, "alice", ""), Ok(()));
    assert_eq!(server.login("bob", &people, "bob", ""), Ok(()));
    let why = |result: Result<(), String>, words: &str| {
        let text = result.expect_err(words);
        assert!(text.contains(words), "wants `{words}`: {text}");
    };
    why(server.login("alice", &dir.join("strangers"), "alice", ""), "unknown ca");
    why(server.login("alice", &people, "bob", ""), "certificate authentication failed");
    why(server.login("alice", &people, "alice", "sslmode=disable"), "no encryption");
    why(server.login("alice", &people, "expired", ""), "certificate expired");
    why(server.login("alice", &people, "nobody", ""), "client certificate");

    // The host as the inventory has it: this machine.
    let line = format!(
        "pg1 ansible_connection=local tls_directory={} postgresql_port={}\n",
        server.tls().display(),
        server.port
    );
    fs::write(dir.join("hosts"), line).unwrap();
    let status = |days: &str| {
        let (code, text) = ishprov(dir, &["certs", "status", "-i", "hosts", "-o", "json", "--days", days]);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (code, value)
    };
    let (code, value) = status("30");
    assert_eq!(code, 0, "{value:#}");
    let host = &value["hosts"][0];
    assert_eq!(host["certificates"].as_array().map(Vec::len), Some(2), "{value:#}");
    let leaf = host["certificates"].as_array().unwrap().iter().find(|cert| cert["ca"] == false).unwrap();
    assert_eq!(leaf["fingerprint"], host["wire"]["fingerprint"]);
    assert_eq!(leaf["sans"], serde_json::json!(["pg1", "127.0.0.1"]));
    assert_eq!(leaf["chain"], serde_json::json!(["CN=main CA"]));
    assert_eq!((&leaf["key"]["mode"], &leaf["key"]["owner"]), (&"0600".into(), &"postgres".into()));
    assert_eq!(leaf["days_left"], 364);
    let (code, value) = status("400");
    assert_eq!(code, 2, "{value:#}");
    assert!(value.to_string().contains("ends in 364 days"), "{value:#}");

    let text = well(dir, &["certs", "verify", "-i", "hosts"]);
    assert!(text.contains("pg1  127.0.0.1:") && text.contains("proven"), "{text}");
    let (code, text) = ishprov(dir, &["certs", "verify", "--pki", "other", "-i", "hosts"]);
    assert!(code == 2 && text.contains("wrong"), "another CA: {code} {text}");
    let line = format!("pg2 ansible_connection=local postgresql_port={}\n", server.port);
    fs::write(dir.join("misnamed"), line).unwrap();
    let (code, text) = ishprov(dir, &["certs", "verify", "-i", "misnamed"]);
    assert!(code == 2 && text.contains("as `pg2`"), "another name: {code} {text}");
    fs::write(dir.join("silent"), "pg1 ansible_connection=local postgresql_port=1\n").unwrap();
    let (code, text) = ishprov(dir, &["certs", "verify", "-i", "silent"]);
    assert_eq!(code, 4, "nothing listens: {text}");

    // Revoked: refused as soon as the server has the list, and nobody else is.
    well(dir, &["certs", "revoke", "alice"]);
    let list = server.tls().join("crl.pem");
    fs::copy(dir.join("pki/crl.pem"), &list).unwrap();
    let conf = server.dir.path().join("data/postgresql.auto.conf");
    let text = fs::read_to_string(&conf).unwrap() + &format!("ssl_crl_file = '{}'\n", list.display());
    fs::write(&conf, text).unwrap();
    server.reload();
    why(server.login("alice", &people, "alice", ""), "certificate revoked");
    assert_eq!(server.login("bob", &people, "bob", ""), Ok(()));

    // A new certificate that the server was not told of.
    issue("server", "second", "pg1", &names);
    for name in ["pg1.crt", "pg1.key"] {
        fs::copy(dir.join("second").join(name), server.tls().join(name)).unwrap();
    }
    sh(&format!("chown postgres {0}/pg1.key", server.tls().display()));
    let (code, value) = status("30");
    assert!(code == 2 && value.to_string().contains("the server was not reloaded"), "{value:#}");
    server.reload();
    let (code, value) = status("30");
    assert_eq!(code, 0, "{value:#}");

    // TLS 1.2 is a finding.
    let text = fs::read_to_string(&conf).unwrap() + "ssl_min_protocol_version = 'TLSv1.2'\n";
    fs::write(&conf, text).unwrap();
    server.reload();
    let (code, text) = ishprov(dir, &["certs", "verify", "-i", "hosts"]);
    assert!(code == 2 && text.contains("TLSv1.2"), "{code} {text}");
}

#[test]
fn a_ca_is_sealed_never_overwritten_and_damage_is_refused() {
    let site = tempfile::tempdir().unwrap();
    let dir = site.path();
    fs::write(dir.join("pw"), "a long password\n").unwrap();
    fs::write(dir.join("wrong"), "another password\n").unwrap();
    let vault = ["--vault-password-file", "pw"];
    well(
        dir,
        &[&["certs", "init", "--permit", "example.org", "--permit", "10.0.0.0/8"][..], &vault].concat(),
    );
    assert_eq!(mode(dir.join("pki/ca.key")), 0o600);
    assert!(fs::read_to_string(dir.join("pki/ca.key")).unwrap().starts_with("$ANSIBLE_VAULT;"));
    let before = picture(&dir.join("pki"));
    refused(dir, &[&["certs", "init"][..], &vault].concat(), "never overwritten");
    let issue =
        |name: &str, more: &[&str]| ishprov(dir, &[&["certs", "issue", name, "--out", "out"], more].concat());
    for (more, why) in [
        (&["--vault-password-file", "wrong"][..], "cannot be opened"),
        (&[][..], "cannot be opened"),
        (
            &["--vault-password-file", "pw", "--san", "pg1.example.com"][..],
            "may not sign for `pg1.example.com`",
        ),
        (&["--vault-password-file", "pw", "--san", "192.168.0.1"][..], "may not sign for `192.168.0.1`"),
        (&["--vault-password-file", "pw", "--days", "0"][..], "`--days`"),
    ] {
        let (code, text) = issue("alice", more);
        assert!(code == 1 && text.contains(why), "{more:?} wants `{why}`: {text}");
        assert_eq!(picture(&dir.join("pki")), before, "{more:?} changed nothing");
        assert!(!dir.join("out/alice.key").exists());
    }
    let (code, text) = issue("alice", &vault);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("PRIVATE KEY"));
    assert_eq!(mode(dir.join("out/alice.key")), 0o600);
    refused(dir, &[&["certs", "issue", "alice", "--out", "out"][..], &vault].concat(), "never overwritten");
    well(dir, &[&["certs", "revoke", "alice"][..], &vault].concat());
    for (path, mode, content) in picture(&dir.join("pki")) {
        let text = String::from_utf8_lossy(&content).into_owned();
        assert!(!text.contains("PRIVATE KEY"), "{} holds a key in plain", path.display());
        assert!(!path.ends_with("ca.key") || mode == 0o600, "{} has mode {mode:o}", path.display());
    }
    assert!(picture(&dir.join("pki/backup")).iter().any(|(path, ..)| path.ends_with("ca.key")));
    assert!(well(dir, &["certs", "export", "index"]).contains("revoked"));
    assert!(well(dir, &["certs", "export", "crl"]).contains("BEGIN X509 CRL"));

    // What lies where it is to go is never overwritten: another CA's certificate, a host's record; and no name makes two
    // files of one.
    fs::create_dir(dir.join("taken")).unwrap();
    well(dir, &["certs", "init", "--pki", "other", "--name", "another CA"]);
    fs::copy(dir.join("other/ca.crt"), dir.join("taken/ca.crt")).unwrap();
    refused(dir, &[&["certs", "issue", "bob", "--out", "taken"][..], &vault].concat(), "of another CA");
    assert!(!dir.join("taken/bob.key").exists());
    refused(dir, &[&["certs", "issue", "CA", "--out", "out"][..], &vault].concat(), "cannot be called `ca`");

    // The list was written and the records could not be: the next revocation keeps what the list says.
    let (code, text) = issue("carol", &vault);
    assert_eq!(code, 0, "{text}");
    let records: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(dir.join("pki/index"))
        .unwrap()
        .flatten()
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
        .collect();
    well(dir, &[&["certs", "revoke", "carol"][..], &vault].concat());
    records.iter().for_each(|(path, text)| fs::write(path, text).unwrap());
    let (code, text) = issue("dave", &vault);
    assert_eq!(code, 0, "{text}");
    let said = well(dir, &[&["certs", "revoke", "dave"][..], &vault].concat());
    assert!(said.contains("(carol)") && said.contains("(dave)"), "{said}");
    sh(&format!(
        "cd {} && test $(openssl crl -in pki/crl.pem -noout -text | grep -c 'Serial Number') = 3",
        dir.display()
    ));

    // Whatever is damaged is named, and nothing is written over it.
    let index = fs::read_dir(dir.join("pki/index")).unwrap().flatten().next().unwrap().path();
    let crl = dir.join("pki/crl.pem");
    let cert = dir.join("pki/issued/alice.crt");
    let damage: [(&Path, &str, &str); 5] = [
        (&index, "{\"serial\":", "is damaged"),
        (&crl, "half", "`crl.pem` is damaged"),
        (&crl, "", "`crl.pem` is damaged"),
        (&cert, "-----BEGIN CERTIFICATE-----\nAAAA", "`issued/alice.crt` is damaged"),
        (&dir.join("pki/ca.crt"), "nothing", "`ca.crt`"),
    ];
    for (path, content, why) in damage {
        let good = fs::read(path).unwrap();
        fs::write(path, content).unwrap();
        let before = picture(&dir.join("pki"));
        refused(dir, &[&["certs", "revoke", "alice"][..], &vault].concat(), why);
        refused(dir, &[&["certs", "issue", "bob", "--out", "out"][..], &vault].concat(), why);
        assert_eq!(picture(&dir.join("pki")), before, "{} stays as it is", path.display());
        fs::write(path, good).unwrap();
    }
    fs::set_permissions(dir.join("pki/ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(dir, &["certs", "export"], "mode 0644");
    fs::set_permissions(dir.join("pki/ca.key"), fs::Permissions::from_mode(0o600)).unwrap();

    // A second hand waits outside.
    let lock = fs::OpenOptions::new().write(true).open(dir.join("pki/.lock")).unwrap();
    lock.try_lock().unwrap();
    refused(dir, &[&["certs", "revoke", "alice"][..], &vault].concat(), "is being changed by");
}

#[test]
fn a_company_intermediate_is_taken_in_with_its_chain() {
    let site = tempfile::tempdir().unwrap();
    let dir = site.path();
    sh(&format!(
        "cd {} && exec 2>/dev/null && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=root -days 3650 -keyout root.key -out root.crt \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign && \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=issuing -keyout sub.key -out sub.csr && \
         printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n' > ext && \
         openssl x509 -req -in sub.csr -CA root.crt -CAkey root.key -CAcreateserial -days 900 -extfile ext -out sub.crt && \
         cat sub.crt root.crt > chain.pem && cat root.crt sub.crt > mixed.pem",
        dir.display()
    ));
    let import =
        |cert: &'static str, key: &'static str| ["certs", "init", "--import-cert", cert, "--import-key", key];
    refused(dir, &import("sub.crt", "sub.key"), "has no root above it");
    refused(dir, &import("chain.pem", "root.key"), "does not belong to the CA key");
    refused(dir, &import("mixed.pem", "root.key"), "chain that is broken");
    assert!(!dir.join("pki/ca.key").exists());
    well(dir, &import("chain.pem", "sub.key"));
    well(dir, &["certs", "issue", "alice", "--out", "out"]);
    sh(&format!(
        "cd {} && openssl verify -CAfile root.crt -untrusted out/ca.crt -purpose sslclient out/alice.crt",
        dir.display()
    ));
    sh(&format!(
        "cd {} && openssl verify -CAfile pki/ca.crt -purpose sslclient out/alice.crt",
        dir.display()
    ));
}
