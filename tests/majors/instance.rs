//! One server with a data directory of its own, listening on this machine alone.

use crate::builds::{Build, DEBIAN, Origin};
use ishprov::tuner::{Takes, Tuning, render_conf};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Servers refuse to run as root.
const USER: &str = "postgres";
/// The file of the settings under test, in conf.d.
const OURS: &str = "50-ishprov.conf";

/// A build and a folder for the instances of one test.
pub struct Bench {
    pub build: Build,
    dir: tempfile::TempDir,
    password: String,
}

/// Stopped by its data directory at the latest when it goes out of scope.
pub struct Instance<'a> {
    bench: &'a Bench,
    pub name: String,
    data: PathBuf,
    port: u16,
}

impl Bench {
    pub fn new(origin: Origin) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let build = Build::of(origin, dir.path());
        let password =
            fs::read_to_string("/proc/sys/kernel/random/uuid").expect("randomness").trim().to_owned();
        fs::write(dir.path().join("password"), &password).expect("a file");
        own(&[dir.path(), &dir.path().join("password")]);
        Self { build, dir, password }
    }

    /// A new, empty cluster, not started.
    pub fn init(&self, name: &str) -> Instance<'_> {
        let instance = self.instance(name);
        let output = self
            .program("initdb")
            .args([
                "--no-sync",
                "--no-locale",
                "--encoding=UTF8",
                "--auth=scram-sha-256",
                "--username=postgres",
            ])
            .arg(format!("--pwfile={}", self.dir.path().join("password").display()))
            .arg("-D")
            .arg(&instance.data)
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", said(&output));
        let conf = instance.data.join("postgresql.conf");
        let initial = fs::read_to_string(&conf).expect("initdb writes it");
        fs::write(&conf, initial + "include_dir = 'conf.d'\n").expect("a file");
        fs::create_dir(instance.data.join("conf.d")).expect("a folder");
        own(&[&instance.data.join("conf.d")]);
        instance.base("");
        instance
    }

    fn instance(&self, name: &str) -> Instance<'_> {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        Instance { bench: self, name: name.to_owned(), data: self.dir.path().join(name), port }
    }

    /// The password of `postgres`.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A program of the build, as a user that it agrees to run as.
    fn program(&self, name: &str) -> Command {
        let program = self.build.bin.join(name);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command
    }
}

impl<'a> Instance<'a> {
    /// Our own settings: nothing that the tuner decides.
    fn base(&self, more: &str) {
        let text = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n{more}",
            self.port
        );
        self.write("00-test.conf", &text);
    }

    /// The settings under test, as `ishprov tune --format conf` prints them.
    pub fn tune(&self, tuning: &Tuning) {
        self.write(OURS, &render_conf(tuning, "Written by a test."));
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.data.join("conf.d").join(file);
        fs::write(&path, text).expect("a file");
        own(&[&path]);
    }

    /// `postgres -C`: reads the configuration, and answers with one parameter or with what it refuses.
    pub fn ask_configuration(&self, parameter: &str) -> Result<String, String> {
        let output =
            self.bench.program("postgres").arg("-D").arg(&self.data).args(["-C", parameter]).output();
        let output = output.expect("postgres runs");
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // Where it can go on after a fault, it only says so.
        if output.status.success() && output.stderr.is_empty() { Ok(answer) } else { Err(said(&output)) }
    }

    /// `pg_controldata`, which Debian has and the packages have not.
    pub fn control_data(&self) -> String {
        let output = self.bench.program("pg_controldata").arg("-D").arg(&self.data).output();
        let output = output.expect("pg_controldata runs");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts with a new log; the log if that fails.
    pub fn try_start(&self) -> Result<(), String> {
        let _ = fs::remove_file(self.log_file());
        let output = self.control(&["-w", "-t", "60", "-l", &self.log_file().display().to_string(), "start"]);
        if output.status.success() { Ok(()) } else { Err(said(&output) + &self.log()) }
    }

    #[track_caller]
    pub fn start(&self) {
        if let Err(why) = self.try_start() {
            panic!("{} does not start: {why}", self.name);
        }
    }

    /// A primary ends when its standbys have received everything.
    #[track_caller]
    pub fn stop(&self) {
        let output = self.control(&["-w", "-t", "60", "-m", "fast", "stop"]);
        assert!(output.status.success(), "{}: {}\n{}", self.name, said(&output), self.log());
    }

    /// From standby to primary.
    #[track_caller]
    pub fn promote(&self) {
        let output = self.control(&["-w", "-t", "60", "promote"]);
        assert!(output.status.success(), "{}: {}\n{}", self.name, said(&output), self.log());
        self.base("");
    }

    fn control(&self, arguments: &[&str]) -> Output {
        let mut command = self.bench.program("pg_ctl");
        command.arg("-D").arg(&self.data).args(arguments).output().expect("pg_ctl runs")
    }

    /// A base backup of the running server as a new instance, not started.
    pub fn clone_to(&self, name: &str) -> Instance<'a> {
        let copy = self.bench.instance(name);
        // By the functions that pg_basebackup stands on, since the packages have none.
        let (start, stop) = if self.bench.build.major >= 15 {
            ("pg_backup_start('standby', true)", "pg_backup_stop(false)")
        } else {
            ("pg_start_backup('standby', true, false)", "pg_stop_backup(false, false)")
        };
        let (from, to) = (self.data.display(), copy.data.display());
        self.sql(&format!(
            "SELECT {start};\n\\! cp -a {from} {to}\n\\! rm {to}/postmaster.*\n\\! find {to}/pg_wal -type f -delete\n\
             SELECT labelfile FROM {stop} \\g {to}/backup_label\n"
        ));
        own(&[&copy.data.join("backup_label")]);
        copy.base("");
        copy
    }

    /// Makes it a standby of `primary` at its next start.
    pub fn follow(&self, primary: &Instance<'_>) {
        let (port, password, name) = (primary.port, &self.bench.password, &self.name);
        self.base(&format!(
            "primary_conninfo = 'host=127.0.0.1 port={port} user=postgres password={password} application_name={name}'\n"
        ));
        let signal = self.data.join("standby.signal");
        fs::write(&signal, "").expect("a file");
        own(&[&signal]);
    }

    /// What statements return, by TCP: some settings are not to be seen over a local socket.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        let mut command = Command::new(Path::new(DEBIAN).join("psql"));
        let script = self.bench.dir.path().join(format!("{}.sql", self.name));
        fs::write(&script, statements).expect("a file");
        command.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-d",
            "postgres",
        ]);
        command.arg("-p").arg(self.port.to_string()).arg("-f").arg(script);
        command.env("PGPASSWORD", &self.bench.password).env("LC_ALL", "C").stdin(Stdio::null());
        let output = command.output().expect("psql runs");
        assert!(output.status.success(), "{}: {statements}: {}\n{}", self.name, said(&output), self.log());
        let text = String::from_utf8(output.stdout).expect("text");
        text.strip_suffix('\n').map_or(text.clone(), str::to_owned)
    }

    /// Whether a role gets in with the password of all, and what it is told otherwise.
    pub fn login(&self, role: &str, database: &str) -> Result<(), String> {
        let mut command = Command::new(Path::new(DEBIAN).join("psql"));
        command.args(["-XAtqw", "-h", "127.0.0.1", "-U", role, "-d", database, "-c", "SELECT 1"]);
        command.arg("-p").arg(self.port.to_string());
        command.env("PGPASSWORD", &self.bench.password).env("LC_ALL", "C").stdin(Stdio::null());
        let output = command.output().expect("psql runs");
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    }

    /// Where its data lies.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What `ishprov tune --dry-run --from-stats` says of this server.
    pub fn by_its_statistics(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ishprov"));
        command
            .args(["tune", "--dry-run", "--from-stats"])
            .env("PGHOST", "127.0.0.1")
            .env("PGUSER", "postgres");
        command.env("PGPORT", self.port.to_string()).env("PGPASSWORD", &self.bench.password);
        let output = command.stdin(Stdio::null()).output().expect("the program runs");
        assert!(output.status.success(), "{}: {}", self.name, said(&output));
        said(&output)
    }

    /// Waits until a query returns this.
    #[track_caller]
    pub fn until(&self, query: &str, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.sql(query);
            if found == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{}: {query}: {found}, not {expected}\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every setting is what was printed, came from our file, takes what we say it takes, and nothing waits.
    #[track_caller]
    pub fn has_in_force(&self, tuning: &Tuning) {
        let settings = &tuning.settings;
        let show: String = settings.iter().map(|setting| format!("SHOW {};\n", setting.name)).collect();
        let shown = self.sql(&show);
        let shown: Vec<&str> = shown.lines().collect();
        assert_eq!(shown.len(), settings.len(), "{}: {shown:#?}", self.name);
        let differs: Vec<String> = settings
            .iter()
            .zip(shown)
            .filter(|(setting, shown)| setting.value.to_string() != *shown)
            .map(|(setting, shown)| format!("{} = {} is shown as {shown}", setting.name, setting.to_conf()))
            .collect();
        assert!(differs.is_empty(), "{}: {differs:#?}", self.name);

        let mut takes: Vec<String> = settings
            .iter()
            .map(|setting| format!("{} {}", setting.name, setting.takes == Takes::Restart))
            .collect();
        takes.sort_unstable();
        let contexts = format!(
            "SELECT name || CASE context WHEN 'postmaster' THEN ' true' ELSE ' false' END FROM pg_settings \
             WHERE sourcefile LIKE '%/{OURS}' ORDER BY name COLLATE \"C\""
        );
        assert_eq!(self.sql(&contexts).lines().collect::<Vec<_>>(), takes);
        assert_eq!(self.sql("SELECT name FROM pg_settings WHERE pending_restart"), "");
        let refused = "SELECT name, setting, error FROM pg_file_settings WHERE error IS NOT NULL OR \
                       NOT applied AND sourcefile LIKE '%/conf.d/%'";
        assert_eq!(self.sql(refused), "");
    }

    /// The log since the last start has nothing that asks for attention.
    #[track_caller]
    pub fn is_content(&self) {
        let log = self.log();
        assert!(log.contains("ready to accept"), "{log}");
        let bad = ["WARNING:", "ERROR:", "FATAL:", "PANIC:", "HINT:"];
        let bad: Vec<&str> = log.lines().filter(|line| bad.iter().any(|word| line.contains(word))).collect();
        assert!(bad.is_empty(), "{}: {bad:#?}\n{log}", self.name);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.bench.dir.path().join(format!("{}.log", self.name))
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if self.data.join("postmaster.pid").exists() {
            let output = self.control(&["-w", "-t", "60", "-m", "immediate", "stop"]);
            if !output.status.success() {
                eprintln!("{} was not stopped: {}", self.data.display(), said(&output));
            }
        }
    }
}

/// Gives files to the user of the server.
fn own(paths: &[&Path]) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let id = |flag: &str| -> u32 {
        let output = Command::new("id").args([flag, USER]).output().expect("id runs");
        let id = String::from_utf8_lossy(&output.stdout).trim().parse();
        id.unwrap_or_else(|_| panic!("no user `{USER}`, which Debian's postgresql-15 brings"))
    };
    let (user, group) = (id("-u"), id("-g"));
    for path in paths {
        chown(path, Some(user), Some(group)).expect("root gives files away");
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
