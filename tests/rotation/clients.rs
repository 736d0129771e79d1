//! Clients that notice: fifty that keep their sessions and four that open new ones all the while, each checking the
//! server's certificate and name.

use super::PRIMARY;
use super::bench::Bench;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How many keep their session.
const HELD: usize = 50;

pub struct Clients<'a> {
    bench: &'a Bench,
    held: Child,
    opening: Child,
}

impl<'a> Clients<'a> {
    pub fn start(bench: &'a Bench) -> Self {
        bench.sql(
            PRIMARY,
            "\\c app\nCREATE SCHEMA clients; GRANT USAGE ON SCHEMA clients TO app; SET search_path = clients;\nCREATE TABLE held (pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());\n\
             CREATE TABLE opened (at timestamptz DEFAULT clock_timestamp());\nGRANT ALL ON held, opened TO app",
        );
        let script = |name: &str, text: &str| std::fs::write(bench.path(name), text).expect("a file");
        script("held.sql", "INSERT INTO clients.held DEFAULT VALUES;\n\\sleep 200 ms\n");
        script("opening.sql", "INSERT INTO clients.opened DEFAULT VALUES;\n\\sleep 100 ms\n");
        Self::trust(bench, &bench.path("pki/ca.crt"));
        let start = |script: &str, arguments: &[&str]| {
            let conninfo = format!(
                "host={} dbname=app user=app sslmode=verify-full sslrootcert={} connect_timeout=20",
                bench.address(PRIMARY),
                bench.path("trusted.crt").display()
            );
            let log = File::create(bench.path(&format!("{script}.log"))).expect("a file");
            Command::new("pgbench")
                .args(["-n", "-T", "3000", "-f"])
                .arg(bench.path(&format!("{script}.sql")))
                .args(arguments)
                .arg(conninfo)
                .env("PGPASSWORD", bench.secret("app"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("pgbench runs")
        };
        let held = start("held", &["-c", &HELD.to_string(), "-j", "2"]);
        let opening = start("opening", &["-C", "-c", "4", "-j", "2"]);
        let clients = Self { bench, held, opening };
        bench.until(PRIMARY, "fifty sessions", || clients.sessions().0 == HELD);
        clients
    }

    /// What clients trust from now on.
    pub fn trust(bench: &Bench, file: &Path) {
        let staged = bench.path("trusted.crt.new");
        std::fs::copy(file, &staged).expect("a copy");
        std::fs::rename(staged, bench.path("trusted.crt")).expect("a rename");
    }

    /// Backends that ever wrote for those that keep their session, and sessions that were opened.
    fn sessions(&self) -> (usize, usize) {
        let text = self.bench.sql(
            PRIMARY,
            "\\c app\nSELECT (SELECT count(DISTINCT pid) FROM clients.held) || ' ' || (SELECT count(*) FROM clients.opened)",
        );
        let numbers: Vec<usize> =
            text.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        (numbers[0], numbers[1])
    }

    /// None has failed: all still run, nothing was said, the fifty have the sessions they began with, and new ones
    /// come about to this moment.
    pub fn unharmed(&mut self, when: &str) {
        for (name, child) in [("held", &mut self.held), ("opening", &mut self.opening)] {
            let said = std::fs::read_to_string(self.bench.path(&format!("{name}.log"))).expect("a log");
            let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("pgbench (")).collect();
            assert!(said.is_empty(), "{when}: {name}: {said:?}");
            assert!(child.try_wait().expect("a process").is_none(), "{when}: {name} ended");
        }
        let (held, opened) = self.sessions();
        assert_eq!(held, HELD, "{when}: a session was lost");
        self.bench.until(PRIMARY, "new sessions", || self.sessions().1 > opened + 3);
        eprintln!("{when}: {HELD} sessions held, {opened} opened, none failed");
    }
}

impl Drop for Clients<'_> {
    fn drop(&mut self) {
        for child in [&mut self.held, &mut self.opening] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
