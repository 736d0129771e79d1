//! Hosts that lie, flood, stall or babble: each is refused with the reason, costs this machine no more than 64 MB, and
//! keeps nobody else from being done. The far side is a script in the place of `sh`: of two hosts the first to come is
//! the liar.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `MODE` says how it lies. Modes that begin with `late-` let the real shell answer the first frame.
const LIAR: &str = r#"#!/usr/bin/env python3
import os, re, subprocess, sys, threading, time
mode, lock, real = os.environ['LIAR'], os.environ['LIAR_LOCK'], os.environ['REAL_SH']
try: os.mkdir(lock)
except FileExistsError: os.execv(real, ['sh'] + sys.argv[1:])
found = re.search(r'([0-9a-f]{32}) ready', ' '.join(sys.argv))
if not found or mode == 'honest': os.execv(real, ['sh'] + sys.argv[1:])
n = found.group(1).encode()
MAX = b'18446744073709551615'
def out(data, fd=1):
    while data:
        data = data[os.write(fd, data):]
def flood(data, fd=1, pause=0):
    until = time.time() + 60
    try:
        while time.time() < until:
            out(data, fd)
            if pause: time.sleep(pause)
    except OSError: pass
def record(head, body=b'', length=None):
    out(b'\n%s %s %s\n' % (n, head, length or b'%d' % len(body)) + body)
HELLO = b'Linux 6 x86_64\nuid=0(root) gid=0(root)\n  '
if mode.startswith('late-'):
    child = subprocess.Popen([real] + sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    seen = threading.Event()
    def up():
        while True:
            data = os.read(0, 65536)
            if not data: os._exit(0)
            if not seen.is_set():
                child.stdin.write(data); child.stdin.flush()
            else:
                for _ in range(data.count(n + b'.')): lie()
    said = [False]
    def lie():
        if said[0]: os._exit(3)
        said[0] = True
        what = mode[5:]
        if what == 'lengths': record(b'act 0 0 0 0 %s %s 0 0' % (MAX, MAX), b'hello')
        elif what == 'lines': record(b'act 0 0 0 0 2097152 2097152 0 0', b'x\n' * 2097152)
        elif what == 'garbage': record(b'act 0 0 0 0 2097152 2097152 0 0', b'\xff' * 4194304)
        elif what == 'flood': return flood(b'B' * 65536)
        elif what == 'quit': os._exit(3)
        elif what == 'nothing': pass
        record(b'end 2')
    threading.Thread(target=up, daemon=True).start()
    buffer = b''
    while not seen.is_set():
        data = os.read(child.stdout.fileno(), 65536)
        if not data: os._exit(0)
        out(data); buffer = (buffer + data)[-200000:]
        if b'%s end 1 0\n' % n in buffer: seen.set()
    if mode == 'late-unasked':
        flood(b'C' * 65536)
    time.sleep(60); os._exit(0)
if mode == 'noise': flood(b'A' * 65536)
elif mode == 'lines': flood(b'\n' * 65536)
elif mode == 'garbage': flood(os.urandom(65536))
elif mode == 'banner': flood(b'Welcome to this host\n', pause=0.01)
elif mode == 'stderr': flood(b'E' * 65536, fd=2)
elif mode == 'silence': time.sleep(60)
elif mode == 'quit': sys.exit(0)
else:
    record(b'ready')
    if mode == 'overflow': record(b'hello', length=MAX)
    elif mode == 'overflow2': record(b'hello', length=b'9' * 60)
    elif mode == 'negative': record(b'hello', length=b'-1')
    elif mode == 'announce':
        record(b'hello', length=b'4000000000000'); flood(b'A' * 1048576)
    elif mode == 'heartbeats': flood(b'\n%s hb 0\n' % n, pause=0.2)
    elif mode == 'deep': out(b'\n%s x' % n * 200000 + b'\n')
    elif mode == 'endless-head': out(b'\n%s ' % n); flood(b'1 ' * 60000)
    elif mode == 'stall': out(b'\n%s hello 100\nLinux' % n); time.sleep(60)
    else:
        record(b'hello', HELLO)
        if mode == 'answers': flood(b'\n%s stat 0 1048576\n' % n + b'1 ' * 524288)
        elif mode == 'words': flood(b'\n%s x%s 0\n' % (n, b' 1' * 1000))
        elif mode == 'beats': flood(b'\n%s hb 0\n' % n * 1000)
        elif mode == 'asks':
            record(b'asks 0 0 0 0 %s 0 0 %s %s' % (MAX, MAX, MAX), b'x'); record(b'end 1')
        elif mode == 'asks2':
            record(b'asks 0 0 0 0 0 0 0 %s 5' % MAX, b'x'); record(b'end 1')
        elif mode == 'facts':
            body = b'\xff\n' * 2097152
            record(b'asks 0 0 0 0 0 0 0 %d 0' % len(body), body); record(b'end 1')
        elif mode == 'no-facts': record(b'end 1')
        elif mode == 'other-end': record(b'end 7'); sys.exit(9)
time.sleep(60)
"#;

struct Run {
    shown: String,
    code: Option<i32>,
    /// The most memory it ever had, in kB.
    peak: u64,
}

/// A run over two hosts, one of which lies.
fn run(dir: &Path, mode: &str) -> Run {
    let lock = dir.join("lock");
    let _ = std::fs::remove_dir(&lock);
    let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let out = std::fs::File::create(dir.join("out")).expect("a file");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ishprov"))
        .args(["run", "site.yaml", "-i", "hosts.ini"])
        .current_dir(dir)
        .env("PATH", path)
        .env("LIAR", mode)
        .env("LIAR_LOCK", &lock)
        .env("REAL_SH", "/bin/sh")
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .spawn()
        .expect("starts");
    let status = format!("/proc/{}/status", child.id());
    let (begun, mut peak) = (Instant::now(), 0);
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("its state") {
            break status.code();
        }
        if begun.elapsed() > Duration::from_secs(50) {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Run { shown: std::fs::read_to_string(dir.join("out")).expect("was shown"), code, peak }
}

/// A folder with a site for two hosts, and the liar in the place of `sh`.
fn site() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("bin")).expect("made");
    std::fs::write(at("bin/sh"), LIAR).expect("written");
    std::fs::set_permissions(at("bin/sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    let hosts = "[all:vars]\nansible_connection=local\nansible_timeout=15\n[all]\none\ntwo\n";
    std::fs::write(at("hosts.ini"), hosts).expect("written");
    let tasks = "- hosts: all\n  tasks:\n    - command: echo hi\n      register: said\n    \
                 - command: echo {{ said.stdout_lines | length }}\n";
    std::fs::write(at("site.yaml"), tasks).expect("written");
    dir
}

/// What is wrong with how a lie was taken.
fn faults(mode: &str, reason: &str, idle: u64) -> Vec<String> {
    let Run { shown, code, peak } = run(site().path(), mode);
    let mut faults = Vec::new();
    let mut fault = |what: String| faults.push(format!("{mode}: {what}\n{shown:.2000}"));
    let over = peak.saturating_sub(idle);
    if over > 64 << 10 {
        fault(format!("{over} kB above the idle run's {idle} kB"));
    }
    if code.is_none() || code == Some(0) || code == Some(101) {
        fault(format!("exit code {code:?}"));
    }
    if !reason.split('|').any(|reason| shown.contains(reason)) {
        fault(format!("does not say `{reason}`"));
    }
    let recap = |host: &str| shown.lines().rev().find(|line| line.starts_with(host)).unwrap_or_default();
    let done = |line: &str| line.contains("ok=2");
    if recap("one").is_empty() || recap("two").is_empty() || !(done(recap("one")) || done(recap("two"))) {
        fault("not both hosts are in the recap, or the honest one is not done".to_owned());
    }
    if shown.contains("panicked") {
        fault("panics".to_owned());
    }
    faults
}

#[test]
fn a_host_that_lies_is_refused_and_costs_nobody_else_anything() {
    let idle = run(site().path(), "honest");
    assert_eq!(idle.code, Some(0), "{}", idle.shown);
    let most = "it sent more than 24 MB in one answer";
    let lies = [
        ("overflow", "it announced an answer of 18446744073709551615 bytes; at most 24 MB are taken"),
        ("overflow2", "it announced an answer of 999999999999999999999999 bytes"),
        ("negative", "the host's first answer took longer than 15 s"),
        ("announce", "it announced an answer of 4000000000000 bytes"),
        ("heartbeats", "it did not say who it is before anything else"),
        ("deep", "the host's first answer took longer than 15 s"),
        ("endless-head", "the heads of its answers are longer than 1 MB"),
        ("stall", "the host's first answer took longer than 15 s"),
        // How much of it comes before the time is over depends on this machine.
        ("noise", "it sent more than 24 MB in one answer|the login shell took longer than 15 s"),
        ("lines", "it sent more than 24 MB in one answer|the login shell took longer than 15 s"),
        ("garbage", "it sent more than 24 MB in one answer|the login shell took longer than 15 s"),
        ("banner", "the login shell took longer than 15 s"),
        ("stderr", "it wrote more than 4 MB to standard error"),
        ("silence", "the login shell took longer than 15 s"),
        ("quit", "its shell ended with status 0"),
        ("answers", most),
        ("words", "the heads of its answers are longer than 1 MB"),
        ("beats", most),
        ("asks", "the host did not come to this question"),
        ("asks2", "the host did not come to this question"),
        ("facts", "cannot read the facts of"),
        ("no-facts", "cannot read the facts of"),
        ("other-end", "its shell ended with status 9"),
        ("late-lengths", "the host did not say how this action ended"),
        ("late-nothing", "the host did not say how this action ended"),
        ("late-flood", most),
        ("late-unasked", ""),
        ("late-quit", "its shell ended with status 3"),
        ("late-lines", ""),
        ("late-garbage", ""),
    ];
    // Most of them only wait for a time limit: side by side.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                while let Some((mode, reason)) =
                    lies.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let faults = faults(mode, reason, idle.peak);
                    found.lock().expect("whole").extend(faults);
                }
            });
        }
    });
    let found = found.into_inner().expect("whole");
    assert!(found.is_empty(), "{}", found.join("\n----\n"));
}
