//! The transports against real shells: this machine, and an sshd that the test starts on the loopback interface.

use ishprov::shell::{Action, Ask, Frame, Item, ItemReply, Output, Put, Run, Secret};
use ishprov::transport::{
    Become, BecomeMethod, Endpoint, HostKeyPolicy, Kind, Session, Transport, TransportError, connect,
    probe_host_key,
};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An sshd of our own: its keys, its port, ended with the test.
struct Sshd {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Sshd {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host_ed25519"), "ed25519");
        keygen(&at("host_ecdsa"), "ecdsa");
        keygen(&at("user"), "ed25519");
        keygen(&at("stranger"), "ed25519");
        std::fs::copy(at("user.pub"), at("authorized")).expect("copied");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\nAuthorizedKeysFile {0}/authorized\n\
             PidFile {0}/pid\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AllowTcpForwarding yes\nLogLevel ERROR\n{extra}\n",
            dir.path().display()
        );
        std::fs::write(at("config"), config).expect("written");
        std::fs::create_dir_all("/run/sshd").expect("sshd wants this directory");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts (package openssh-server)");
        let sshd = Self { dir, port, child };
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "sshd listens");
            std::thread::sleep(Duration::from_millis(20));
        }
        let public = std::fs::read_to_string(sshd.at("host_ed25519.pub")).expect("made");
        std::fs::write(sshd.at("known"), format!("[127.0.0.1]:{port} {public}")).expect("written");
        sshd
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: Some("127.0.0.1".into()),
            port: Some(self.port),
            user: Some("root".into()),
            keys: vec![self.at("user")],
            known_hosts: vec![self.at("known")],
            ..Endpoint::new("loop")
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path, kind: &str) {
    let done = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(path).status();
    assert!(done.expect("ssh-keygen runs").success());
}

fn output(reply: &ItemReply) -> Output {
    match reply {
        ItemReply::Acted { outputs, .. } => outputs.last().expect("an output").clone(),
        other => panic!("an output wanted, not {other:?}"),
    }
}

fn asked(reply: &ItemReply, ask: &Ask) -> Output {
    match reply {
        ItemReply::Answers(answers) => answers.output(ask).expect("answered").clone(),
        other => panic!("answers wanted, not {other:?}"),
    }
}

async fn open(endpoint: &Endpoint) -> Session {
    connect(endpoint, &Frame::default()).await.unwrap_or_else(|error| panic!("connects: {error}")).0
}

async fn refused(endpoint: &Endpoint) -> TransportError {
    match connect(endpoint, &Frame::default()).await {
        Ok(_) => panic!("this must not connect"),
        Err(error) => error,
    }
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a file holds so many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(Instant::now() < until, "{} has {count} lines; it has {text:?}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn exercise(endpoint: &Endpoint) {
    let facts = Ask::sh("echo facts; echo noise >&2");
    let (mut session, greeting) = connect(endpoint, &Frame::probe([facts.clone()])).await.expect("connects");
    assert!(greeting.uname.starts_with("Linux "), "{greeting:?}");
    assert_eq!(
        asked(&greeting.replies[0], &facts),
        Output { stderr: b"noise\n".to_vec(), ..Output::ok("facts\n") }
    );
    assert_eq!(session.traffic().round_trips, 1, "hello and the first questions are one trip");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file").to_str().expect("text").to_owned();
    let content: Vec<u8> = (0..5_000_000u32).map(|number| (number * 7 % 256) as u8).collect();
    let frame = Frame {
        items: vec![
            Item::act([
                Action::Put(Put::new(&path, content.clone())),
                Action::Run(Run::new("wc -c").stdin(vec![0u8; 300_000])),
            ]),
            Item::Probe(vec![Ask::digest(&path)]),
        ],
    };
    let replies = session.frame(&frame).await.expect("done");
    assert_eq!(output(&replies[0]).text().trim(), "300000");
    assert_eq!(std::fs::read(&path).expect("there"), content);
    assert_eq!(session.traffic().round_trips, 2);
    assert!(session.traffic().bytes_up > 5_300_000 && session.traffic().bytes_down > 100);
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine() {
    exercise(&Endpoint::local("here")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_ssh() {
    let sshd = Sshd::start();
    exercise(&sshd.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_users_own_ssh() {
    let sshd = Sshd::start();
    exercise(&Endpoint { kind: Kind::OpenSsh, ..sshd.endpoint() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_jump_host_whose_key_is_checked_too() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    let known = [&jump, &target].map(|sshd| std::fs::read_to_string(sshd.at("known")).expect("there"));
    let hops = |known_hosts: Vec<PathBuf>| Endpoint {
        known_hosts,
        keys: vec![target.at("user")],
        user: Some("root".into()),
        jumps: vec![format!("root@127.0.0.1:{}", jump.port)],
        ..target.endpoint()
    };
    std::fs::copy(target.at("user.pub"), jump.at("authorized")).expect("copied");
    std::fs::write(jump.at("both"), known.concat()).expect("written");
    exercise(&hops(vec![jump.at("both")])).await;
    let error = refused(&hops(vec![target.at("known")])).await;
    assert!(matches!(&error, TransportError::HostKey(_)), "{error}");
    assert!(
        error.to_string().contains(&jump.port.to_string()),
        "it is the jump host that is unknown: {error}"
    );
}

/// Processes of an sshd that serve a connection.
fn served(sshd: &Sshd) -> Vec<String> {
    let path = format!("/proc/{0}/task/{0}/children", sshd.child.id());
    std::fs::read_to_string(path).expect("it runs").split_whitespace().map(str::to_owned).collect()
}

async fn many(endpoints: Vec<Endpoint>) -> Vec<Session> {
    let mut tasks = tokio::task::JoinSet::new();
    for endpoint in endpoints {
        tasks.spawn(async move { open(&endpoint).await });
    }
    tasks.join_all().await
}

/// An sshd drops logins at random once a few wait (`MaxStartups`): many names of one address get in all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_names_of_one_address_get_in() {
    let sshd = Sshd::start_with("MaxStartups 2:100:2");
    let names = (0..16).map(|number| Endpoint { name: format!("n{number}"), ..sshd.endpoint() });
    assert_eq!(many(names.collect()).await.len(), 16);
}

/// One login to a jump host for all hosts behind it, and a configuration file (`-F`) that goes with every hop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_behind_a_jump_host_share_the_way_to_it() {
    let (jump, target) = (Sshd::start(), Sshd::start());
    std::fs::copy(target.at("user.pub"), jump.at("authorized")).expect("copied");
    let known = [&jump, &target].map(|sshd| std::fs::read_to_string(sshd.at("known")).expect("there"));
    std::fs::write(jump.at("both"), known.concat()).expect("written");
    let config = format!(
        "Host bastion\n HostName 127.0.0.1\n Port {}\n User root\nHost behind*\n ProxyJump bastion\n HostName 127.0.0.1\n\
         Host *\n IdentityFile {}\n",
        jump.port,
        target.at("user").display()
    );
    std::fs::write(jump.at("ssh_config"), config).expect("written");
    let args = vec!["-F".to_owned(), jump.at("ssh_config").display().to_string()];
    let behind = (0..8).map(|number| Endpoint {
        name: format!("behind{number}"),
        address: None,
        keys: Vec::new(),
        known_hosts: vec![jump.at("both")],
        ssh_args: args.clone(),
        ..target.endpoint()
    });
    let behind: Vec<Endpoint> = behind.collect();
    let mut sessions = many(behind.clone()).await;
    assert_eq!(served(&jump).len(), 1, "one login to the jump host");
    for session in &mut sessions {
        session.frame(&Frame::act([Action::sh("true")])).await.expect("it works");
    }
    // It lasts as long as one of them, and is made anew when it is gone.
    sessions.truncate(1);
    assert_eq!(served(&jump).len(), 1);
    for process in served(&jump) {
        assert!(Command::new("kill").args(["-KILL", &process]).status().expect("kill runs").success());
    }
    assert!(sessions[0].frame(&Frame::act([Action::sh("true")])).await.is_err());
    open(&behind[0]).await.frame(&Frame::act([Action::sh("true")])).await.expect("a new way");
}

/// A host that falls silent is noticed within 10 seconds, and one that runs something long and quiet is left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_told_from_quiet_work() {
    let (frozen, quiet) = (Sshd::start(), Sshd::start());
    let (mut lost, mut kept) = (open(&frozen.endpoint()).await, open(&quiet.endpoint()).await);
    let idle = open(&quiet.endpoint()).await;
    let served = served(&frozen);
    let signal = |name: &str| {
        assert!(Command::new("kill").arg(name).args(&served).status().expect("kill runs").success());
    };
    let works = tokio::spawn(async move { kept.frame(&Frame::act([Action::sh("sleep 14")])).await });
    signal("-STOP");
    let begun = Instant::now();
    let reply = lost.frame(&Frame::act([Action::sh("true")])).await;
    let took = begun.elapsed();
    signal("-CONT");
    assert!(matches!(&reply, Err(TransportError::Lost { .. })), "{reply:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(works.await.expect("no panic").is_ok(), "quiet work goes on");
    idle.close().await;
}

/// `ansible_ssh_common_args` and its like: in process where that can be, by ssh itself where only that can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_as_ssh_takes_them_count() {
    let sshd = Sshd::start();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let port = format!("Port={}", sshd.port);
    let told = Endpoint { port: None, ssh_args: words(&["-C", "-o", &port]), ..sshd.endpoint() };
    exercise(&told).await;
    // A command in the place of a connection: the address itself leads nowhere.
    let there = format!("ProxyCommand=busybox nc 127.0.0.1 {}", sshd.port);
    let behind = Endpoint {
        address: Some("198.18.255.254".into()),
        port: None,
        ssh_args: words(&["-o", &there]),
        ..sshd.endpoint()
    };
    std::fs::write(
        sshd.at("alias"),
        std::fs::read_to_string(sshd.at("known"))
            .expect("there")
            .replace(&format!("[127.0.0.1]:{}", sshd.port), "198.18.255.254"),
    )
    .expect("written");
    exercise(&Endpoint { known_hosts: vec![sshd.at("alias")], ..behind }).await;
    let wrong = Endpoint { ssh_args: words(&["-o", "Prot=1"]), ..sshd.endpoint() };
    let error = refused(&wrong).await.to_string();
    assert!(error.contains("-o Prot=1") && error.contains("Bad configuration option"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_keys_unknown_accepted_changed() {
    let sshd = Sshd::start();
    let file = sshd.at("empty");
    let endpoint = Endpoint { known_hosts: vec![file.clone()], ..sshd.endpoint() };
    let error = refused(&endpoint).await;
    let listed =
        Command::new("ssh-keygen").arg("-lf").arg(sshd.at("host_ed25519.pub")).output().expect("runs").stdout;
    let fingerprint =
        String::from_utf8(listed).expect("text").split(' ').nth(1).expect("second word").to_owned();
    assert!(error.to_string().contains(&fingerprint), "{error} names {fingerprint}");
    let key = probe_host_key(&endpoint).await.expect("reached").expect("unknown");
    assert_eq!((key.fingerprint, key.name), (fingerprint, format!("[127.0.0.1]:{}", sshd.port)));
    assert!(!file.exists(), "looking accepts nothing");
    open(&Endpoint { host_keys: HostKeyPolicy::AcceptNew, ..endpoint.clone() }).await.close().await;
    open(&endpoint).await.close().await;
    assert_eq!(probe_host_key(&endpoint).await.expect("reached"), None);
    // Only the host's second key on file: that one is asked for.
    let second = std::fs::read_to_string(sshd.at("host_ecdsa.pub")).expect("made");
    std::fs::write(&file, format!("[127.0.0.1]:{} {second}", sshd.port)).expect("written");
    open(&endpoint).await.close().await;
    let stranger = std::fs::read_to_string(sshd.at("stranger.pub")).expect("made");
    std::fs::write(&file, format!("# mine\n[127.0.0.1]:{} {stranger}", sshd.port)).expect("written");
    for host_keys in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
        let error = refused(&Endpoint { host_keys, ..endpoint.clone() }).await.to_string();
        assert!(error.contains("HAS CHANGED") && error.contains("empty:2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_their_own_names() {
    let sshd = Sshd::start();
    let wrong =
        refused(&Endpoint { keys: vec![sshd.at("stranger"), sshd.at("nothing")], ..sshd.endpoint() }).await;
    let TransportError::Auth { tried, accepted, user, .. } = &wrong else { panic!("{wrong}") };
    assert!(tried[0].ends_with("stranger") && tried[1].contains("no such file"), "{tried:?}");
    assert_eq!((user.as_str(), accepted.as_slice()), ("root", &["publickey".to_owned()][..]));
    let locked = sshd.at("locked");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked).status();
    assert!(made.expect("runs").success());
    let error = refused(&Endpoint { keys: vec![locked], ..sshd.endpoint() }).await.to_string();
    assert!(error.contains("encrypted: load it into ssh-agent"), "{error}");
    let closed = refused(&Endpoint { port: Some(1), ..sshd.endpoint() }).await;
    assert!(matches!(closed, TransportError::Unreachable { .. }), "{closed}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let mute = Endpoint { port: Some(port), timeout: Duration::from_millis(300), ..sshd.endpoint() };
    let error = refused(&mute).await;
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    let forced = Sshd::start_with("ForceCommand echo This account is currently not available.; exit 1");
    let error = refused(&forced.endpoint()).await;
    assert!(matches!(&error, TransportError::Shell { why } if why.contains("not available")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_noisy_login_disturbs_nothing() {
    let sshd = Sshd::start_with(
        "ForceCommand echo 'Welcome to db1!'; echo moo >&2; export TMOUT=1; eval \"$SSH_ORIGINAL_COMMAND\"",
    );
    let mut session = open(&sshd.endpoint()).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let reply = session
        .frame(&Frame::act([Action::sh("echo ${TMOUT-none} ${SSH_CONNECTION%% *}")]))
        .await
        .expect("done");
    assert_eq!(output(&reply[0]).text(), "none 127.0.0.1\n");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_client_leaves_nothing_running() {
    let sshd = Sshd::start();
    for endpoint in
        [Endpoint::local("here"), sshd.endpoint(), Endpoint { kind: Kind::OpenSsh, ..sshd.endpoint() }]
    {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = dir.path().join("pids");
        let hang =
            format!("echo $PPID >>{0}; echo $$ >>{0}; sleep 1000 & echo $! >>{0}; wait", pids.display());
        let mut session = open(&endpoint).await;
        let frame = Frame::act([Action::sh(hang)]);
        {
            let running = session.frame(&frame);
            tokio::pin!(running);
            let begun = tokio::time::timeout(Duration::from_millis(800), &mut running).await;
            assert!(begun.is_err(), "it hangs");
        }
        let pids = lines(&pids, 3);
        assert!(pids.iter().all(|pid| alive(pid)));
        assert!(
            matches!(session.frame(&Frame::default()).await, Err(TransportError::Lost { .. })),
            "no use after that"
        );
        session.cancel();
        let until = Instant::now() + Duration::from_secs(10);
        while pids.iter().any(|pid| alive(pid)) {
            assert!(Instant::now() < until, "{:?}: {pids:?} still run", endpoint.kind);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_host_is_said_to_be_lost() {
    let sshd = Sshd::start();
    let mut session = open(&sshd.endpoint()).await;
    // The shell of the session is the parent of what it runs.
    let reply = session.frame(&Frame::act([Action::sh("kill -9 $PPID; sleep 5")])).await;
    assert!(matches!(&reply, Err(TransportError::Lost { .. })), "{reply:?}");
    let silent = Endpoint { silence: Duration::from_secs(1), ..sshd.endpoint() };
    let mut session = open(&silent).await;
    let stopped = Frame::act([Action::sh("kill -STOP $PPID; sleep 30")]);
    let begun = Instant::now();
    assert!(matches!(session.frame(&stopped).await, Err(TransportError::Lost { .. })));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// A stand-in for sudo: the real one needs accounts that a test must not make here (the lab's tests have them).
const SUDO: &str = r#"#!/bin/sh
mode= ; while [ $# -gt 0 ]; do case $1 in -S) mode=ask;; -n) mode=no;; --) shift; break;; -p|-u) shift;; esac; shift; done
[ $mode = no ] && { echo 'sudo: a password is required' >&2; exit 1; }
for try in 1 2 3; do
  IFS= read -r word || { echo 'sudo: no password was provided' >&2; exit 1; }
  echo "$word" >>"$0.log"
  [ "$word" = 'the right one' ] && exec "$@"
  echo "Sorry, $word is wrong, try again." >&2
done
echo 'sudo: 3 incorrect password attempts' >&2; exit 1
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_given_once_and_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let sudo = dir.path().join("sudo");
    std::fs::write(&sudo, SUDO).expect("written");
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let sshd = Sshd::start_with(&format!("SetEnv PATH={}:/usr/bin:/bin", dir.path().display()));
    let with = |password: Option<&str>| Endpoint {
        // Another account than the login's, so that the tool is needed.
        r#become: Some(Become {
            method: BecomeMethod::Sudo,
            user: "admin".into(),
            password: password.map(Secret::new),
        }),
        ..sshd.endpoint()
    };
    exercise_become(&with(Some("the right one"))).await;
    let error = refused(&with(None)).await;
    assert!(matches!(&error, TransportError::Become { said, .. } if said.contains("required")), "{error}");
    let begun = Instant::now();
    let error = refused(&with(Some("a-bad-one"))).await;
    assert!(matches!(&error, TransportError::Become { .. }), "{error}");
    assert!(!error.to_string().contains("a-bad-one") && error.to_string().contains("try again"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "well before the limit: {:?}", begun.elapsed());
    let tries = std::fs::read_to_string(dir.path().join("sudo.log")).expect("asked");
    assert_eq!(tries, "the right one\na-bad-one\n", "one attempt each: more would lock the account");
}

async fn exercise_become(endpoint: &Endpoint) {
    let (mut session, greeting) = connect(endpoint, &Frame::default()).await.expect("connects");
    assert_eq!(greeting.login.as_deref(), Some("root"), "behind the tool it is known who logged in");
    let reply = session.frame(&Frame::act([Action::sh("echo in; env | grep -c i_login || :")])).await;
    let reply = reply.expect("answered");
    assert_eq!(output(&reply[0]).text(), "in\n0\n");
    assert_eq!(session.traffic().round_trips, 3, "password, hello, frame");
    session.close().await;
}

/// What answers in the place of a login shell: it says who it is, then lies.
const LIAR: &str = r#"#!/usr/bin/env python3
import os, re, sys, time
n = re.search(r'([0-9a-f]{32}) ready', os.environ['SSH_ORIGINAL_COMMAND']).group(1).encode()
def out(data):
    while data: data = data[os.write(1, data):]
def flood(data, pause=0):
    while True:
        out(data)
        time.sleep(pause)
out(b'\n%s ready 0\n' % n)
body = b'Linux 6 x86_64\nuid=0(root) gid=0(root)\n  '
out(b'\n%s hello %d\n' % (n, len(body)) + body)
mode = sys.argv[1]
if mode == 'noise': flood(b'A' * 65536)
if mode == 'beats': flood(b'\n%s hb 0\n' % n, 0.3)
if mode == 'drip': out(b'\n%s stat 0 5000000\n' % n); flood(b'1', 0.3)
if mode == 'stall': out(b'\n%s stat 0 5000\nhalf' % n); time.sleep(60)
if mode == 'noise-slow': flood(b'A', 0.3)
out(b'\n%s end 1 0\n' % n)
flood(b'B' * 65536)
"#;

#[tokio::test]
async fn a_host_that_only_seems_to_live_is_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("liar");
    std::fs::write(&script, LIAR).expect("written");
    for (mode, reason) in [
        ("noise", "it sent more than 24 MB in one answer|no sign of life for 2 s"),
        ("beats", "it was to be done within 12 s, and only says that it lives"),
        ("drip", "it was to be done within 12 s, and only says that it lives"),
        ("stall", "no sign of life for 2 s"),
        ("noise-slow", "no sign of life for 2 s"),
    ] {
        let sshd = Sshd::start_with(&format!("ForceCommand python3 {} {mode}", script.display()));
        let endpoint = Endpoint { silence: Duration::from_secs(2), ..sshd.endpoint() };
        let error = refused(&endpoint).await;
        assert!(reason.split('|').any(|reason| error.to_string().contains(reason)), "{mode}: {error}");
    }
    // Nobody asks for more: what comes is not kept, and the connection ends.
    let sshd = Sshd::start_with(&format!("ForceCommand python3 {} unasked", script.display()));
    let mut session = open(&sshd.endpoint()).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    match session.frame(&Frame::act([Action::sh("true")])).await {
        Err(error) => assert!(error.to_string().contains("that nobody asked for"), "{error}"),
        Ok(replies) => panic!("{replies:?}"),
    }
}
