//! What goes in is what arrives: quoting against a real server, on a socket of its own.

use super::*;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A server on a socket in a folder of its own, stopped and removed at the end.
struct Server {
    folder: tempfile::TempDir,
}

impl Server {
    /// `None` where PostgreSQL or its account is not on this machine.
    fn start() -> Option<Self> {
        if !Path::new(BIN).join("initdb").exists() || !root() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("ishprov-sql").tempdir_in("/tmp").expect("a folder");
        let path = folder.path().display();
        let script = format!(
            "chown postgres {path} && chmod 755 {path} && \
             runuser -u postgres -- {BIN}/initdb -D {path}/data -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null && \
             runuser -u postgres -- {BIN}/pg_ctl -D {path}/data -l {path}/log -w -o \
             \"-k {path} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB\" start >/dev/null"
        );
        let done = Command::new("sh").args(["-c", &script]).status().expect("sh runs");
        assert!(done.success(), "the scratch server does not start");
        Some(Self { folder })
    }

    /// What `psql` prints for a text given by stdin.
    fn psql(&self, text: &str, more: &[&str]) -> Vec<u8> {
        let mut child = Command::new(format!("{BIN}/psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"])
            .arg(self.folder.path())
            .args(more)
            .env("PGCLIENTENCODING", "UTF8")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut stdin = child.stdin.take().expect("stdin");
        let text = text.as_bytes().to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&text));
        let out = child.wait_with_output().expect("psql ends");
        writer.join().expect("joins").expect("psql reads");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stop = format!("runuser -u postgres -- {BIN}/pg_ctl -D {} -m immediate -w stop", data.display());
        let _ = Command::new("sh").args(["-c", &stop]).stdout(Stdio::null()).status();
    }
}

fn root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Texts of many kinds in one session; the server tells each back as hex.
fn all_arrive(server: &Server, texts: &[String], setting: &str) {
    let mut script = format!("{setting}\n");
    for text in texts {
        script.push_str(&format!(
            "SELECT encode(convert_to({}, 'UTF8'), 'hex');\n",
            literal(text).expect("quotes")
        ));
    }
    let out = String::from_utf8(server.psql(&script, &[])).expect("UTF-8");
    let lines: Vec<&str> = out.split('\n').map(|line| line.trim_end()).collect();
    assert_eq!(lines.len(), texts.len() + 1);
    for (text, line) in texts.iter().zip(lines) {
        assert_eq!(line, hex(text), "{text:?} under {setting:?}");
    }
}

fn nasty() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "plain",
        "it's",
        "\\",
        "\\'",
        "'\\",
        "\\\\",
        "a\nb",
        "\r\n\t",
        ":name :'x' :\"y\"",
        "\\! touch /tmp/x",
        "\\q",
        "$$",
        "$a$ ' $a$",
        "--",
        "/* '",
        "E'",
        "\u{1}\u{7f}\u{85}",
        "Grüße, 世界 🐘",
        "'); DROP TABLE x; --",
        "%s %(a)s",
        "U&'\\0041'",
        "\\x00",
        "é\\'é",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x'\\\n🐘".repeat(1 << 17));
    texts
}

#[test]
fn a_real_server_reads_back_what_went_in() {
    let Some(server) = Server::start() else { return };
    let mut texts = nasty();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::prelude::any::<String>();
    let quotes = proptest::string::string_regex("[a'\\\\\"$:;\\n -]{0,12}").expect("a pattern");
    for _ in 0..300 {
        use proptest::strategy::{Strategy, ValueTree};
        texts.push(strategy.new_tree(&mut runner).expect("a text").current().replace('\0', ""));
        texts.push(quotes.new_tree(&mut runner).expect("a text").current());
    }
    all_arrive(&server, &texts, "");
    all_arrive(&server, &texts, "SET escape_string_warning = off; SET standard_conforming_strings = off;");
    all_arrive(&server, &texts, "SET standard_conforming_strings = on; SET backslash_quote = off;");

    // Names: a role of that name exists afterwards, and is the only new one.
    let names: Vec<&String> =
        texts.iter().filter(|text| !text.is_empty() && text.len() <= 63).take(200).collect();
    let mut script = String::new();
    for name in &names {
        script.push_str(&format!(
            "BEGIN; CREATE ROLE {}; SELECT encode(convert_to(rolname, 'UTF8'), 'hex') FROM pg_roles \
             WHERE rolname !~ '^(pg_|postgres$)'; ROLLBACK;\n",
            ident(name).expect("quotes")
        ));
    }
    let out = String::from_utf8(server.psql(&script, &[])).expect("UTF-8");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines, names.iter().map(|name| hex(name)).collect::<Vec<_>>());

    // A whole query as a literal behind \gexec: nothing in it is read by psql.
    let query = "SELECT E'\\\\' || ':HOST' || $$ \\! false $$ AS \"a:b\" -- :'x'";
    let out = server.psql(&format!("SELECT {} \\gexec\n", literal(query).expect("quotes")), &[]);
    assert_eq!(String::from_utf8_lossy(&out), "\\:HOST \\! false \n");

    // Arguments of a query keep their types.
    let arguments = [
        json!("it's"),
        json!(-3),
        json!(1.5),
        json!(true),
        json!(null),
        json!(["a", "b\\c"]),
        json!({"k": "v'"}),
    ];
    let query = bind(
        "SELECT jsonb_build_array(%s::text, 5-%s, %s, %s, %s::text, %s::text[], %s::jsonb), '%%'",
        Some(&arguments),
        None,
    )
    .expect("binds");
    let out = server.psql(&format!("SELECT {} \\gexec\n", literal(&query).expect("quotes")), &[]);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "[\"it's\", 8, 1.5, true, null, [\"a\", \"b\\\\c\"], {\"k\": \"v'\"}]|%\n"
    );

    // A line of the configuration, as the server reads it.
    for text in ["a'b", "back\\slash", "host=x password='a\\'b c'", "# no comment"] {
        let line = format!("cluster_name = {}", conf_value(text));
        let path = server.folder.path().join("data/one.conf");
        std::fs::write(&path, line).expect("writes");
        let sql = format!(
            "SELECT setting FROM pg_file_settings WHERE sourcefile LIKE '%one.conf' AND {} <> ''",
            literal(text).expect("quotes")
        );
        let include = format!(
            "\\! grep -q one.conf {0}/postgresql.conf || echo \"include 'one.conf'\" >> {0}/postgresql.conf\n",
            server.folder.path().join("data").display()
        );
        let out = server.psql(&format!("{include}{sql};\n"), &[]);
        assert_eq!(String::from_utf8_lossy(&out), format!("{text}\n"));
    }
}

#[test]
fn libpq_reads_back_conninfo_values() {
    let Some(server) = Server::start() else { return };
    for text in ["plain", "two words", "it's", "back\\slash", "a=b", ""] {
        let name = conninfo_value(text);
        let conninfo = format!(
            "host={} user=postgres dbname=postgres application_name={name}",
            conninfo_value(&server.folder.path().display().to_string())
        );
        let out = Command::new(format!("{BIN}/psql"))
            .args(["-XAtq", "-d", &conninfo, "-c", "SHOW application_name"])
            .output()
            .expect("psql runs");
        assert_eq!(String::from_utf8_lossy(&out.stdout), format!("{text}\n"));
    }
}

#[test]
fn what_postgresql_cannot_hold_is_refused() {
    for (name, why) in [("", "empty"), ("a\0b", "NUL"), (&"ü".repeat(32), "at most 63")] {
        assert!(ident(name).expect_err("refused").contains(why), "{name:?}");
    }
    assert!(literal("a\0").expect_err("refused").contains("NUL"));
    assert!(value(&json!(["a\0"])).is_err());
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let named = json!({"name": 1});
    for (query, positional, named, why) in [
        ("SELECT %s, %s", Some(vec![json!(1)]), None, "more `%s` than the 1 arguments"),
        ("SELECT %s", Some(vec![json!(1), json!(2)]), None, "2 arguments are given, the query has 1"),
        ("SELECT 5 % 2", Some(vec![]), None, "a `%` that is no argument"),
        ("SELECT %(nmae)s", None, named.as_object(), "did you mean `name`"),
    ] {
        let error = bind(query, positional.as_deref(), named).expect_err(query);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn statements_are_told_apart_as_the_server_does() {
    for (text, wanted) in [
        ("SELECT 1", vec!["SELECT 1"]),
        ("SELECT ';' ; ; SELECT 2;-- end;", vec!["SELECT ';'", "SELECT 2"]),
        (
            "DO $x$ BEGIN; $y$;$y$ END $x$; SELECT \"a;b\"",
            vec!["DO $x$ BEGIN; $y$;$y$ END $x$", "SELECT \"a;b\""],
        ),
        ("SELECT E'\\';' /* a /* b; */ ; */", vec!["SELECT E'\\';' /* a /* b; */ ; */"]),
        ("SELECT '\\'; SELECT $1", vec!["SELECT '\\'", "SELECT $1"]),
        ("SELECT a$b$c; SELECT 'x'';'", vec!["SELECT a$b$c", "SELECT 'x'';'"]),
        ("-- nothing\n/* at all */ ;", vec![]),
        ("SELECT 'open; SELECT 2", vec!["SELECT 'open; SELECT 2"]),
    ] {
        let found: Vec<String> = statements(text).into_iter().map(|(text, _)| text).collect();
        assert_eq!(found, wanted, "{text}");
    }
    let (_, words) = &statements("INSERT INTO t VALUES ('RETURNING') -- RETURNING\n returning id")[0];
    assert_eq!(words, &["INSERT", "INTO", "T", "VALUES", "RETURNING", "ID"]);
}
