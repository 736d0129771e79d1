//! From questions and actions to the sh text that carries them.
//!
//! A [`Frame`] goes to the host in one piece: a line with the script's length, the script, then the payloads (file
//! contents, standard inputs) as raw bytes in the order in which the script takes them. The functions that the script
//! calls are sent once per connection ([`hello`]). What comes back is a stream of records, read by [`super::reply`].

use super::ask::CROWDED;
use super::limits::{ANSWER, OUTPUT, ROOM, SCRIPT};
use super::{Action, Ask, CONTENT_BYTES, Content, FileAsk, Over, Put, Run, SMALL_BYTES, quote};
use std::fmt::Write as _;
use std::sync::Arc;

/// Seconds that an action may take when nothing else is said.
pub const ACTION_SECONDS: u64 = 3600;
/// Seconds that the scripts of one window of questions may take together.
pub const PROBE_SECONDS: u64 = 120;

const PRELUDE: &str = include_str!("prelude.sh");
/// Functions that other processes than the host's shell need as well.
const FILES: &str = include_str!("files.sh");

/// What travels to a host in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Done in this order.
    pub items: Vec<Item>,
}

/// A part of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A window of questions. [`Ask::Local`] is left out: the engine answers it itself.
    Probe(Vec<Ask>),
    /// Actions of one step. The first that fails ends the item.
    Act {
        /// Done in this order. [`Action::Local`] and [`Action::Reconnect`] are not for the wire: they count as done.
        actions: Vec<Action>,
        /// Seconds for each action that names no limit of its own.
        seconds: u64,
        /// Whether the frame's later items run even when this one fails.
        go_on: bool,
    },
}

/// A run that wants a host for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What tells runs apart: one word.
    pub run: String,
    /// What others are told of it: one line.
    pub about: String,
    /// A run that is gone, as its own machine knows: what is left of it on the host is ended.
    pub gone: Option<String>,
}

impl Frame {
    /// One window of questions.
    pub fn probe(asks: impl IntoIterator<Item = Ask>) -> Self {
        Self { items: vec![Item::Probe(asks.into_iter().collect())] }
    }

    /// Seconds within which an honest host is done with it: the limits of all that it runs, and for each part the time
    /// in which a process group is ended.
    pub fn seconds(&self) -> u64 {
        const ENDING: u64 = 15;
        // Digests of large files, packages, units, the sync of a file: they have no limit of their own.
        const UNLIMITED: u64 = 600;
        let of = |item: &Item| match item {
            Item::Probe(asks) => {
                let asks = distinct(asks);
                let lookup = asks.iter().any(|ask| !matches!(ask, Ask::Sh { .. }));
                batches(&asks).len() as u64 * (PROBE_SECONDS + ENDING) + if lookup { UNLIMITED } else { 0 }
            }
            Item::Act { actions, seconds, .. } => actions
                .iter()
                .map(|action| match action {
                    Action::Run(run) => run.timeout.unwrap_or(*seconds).saturating_add(ENDING),
                    Action::Put(_) => seconds.saturating_add(UNLIMITED),
                    Action::Local(_) | Action::Reconnect { .. } => 0,
                })
                .fold(0, u64::saturating_add),
        };
        self.items.iter().map(of).fold(0, u64::saturating_add)
    }

    /// The actions of one step.
    pub fn act(actions: impl IntoIterator<Item = Action>) -> Self {
        Self { items: vec![Item::act(actions)] }
    }
}

impl Item {
    /// Actions with the default limit, whose failure stops the frame.
    pub fn act(actions: impl IntoIterator<Item = Action>) -> Self {
        Self::Act { actions: actions.into_iter().collect(), seconds: ACTION_SECONDS, go_on: false }
    }
}

/// A frame in the form in which it is sent.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The script; its length goes ahead of it.
    pub script: String,
    /// Raw bytes that follow it.
    pub payloads: Vec<Arc<[u8]>>,
}

impl Wire {
    /// The line that announces the script, and the script.
    pub fn head(&self, nonce: &str) -> Vec<u8> {
        let mut head = format!("{nonce}.{}\n", self.script.len()).into_bytes();
        head.extend_from_slice(self.script.as_bytes());
        head
    }

    /// Bytes of the whole frame, without the announcing line.
    pub fn len(&self) -> usize {
        self.script.len() + self.payloads.iter().map(|payload| payload.len()).sum::<usize>()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The loop that the host's shell runs: reads the length of a script, the script, and evaluates it. It skips what is
/// not meant for it, for example a password that nobody asked for. One line without `'`, `\` and `!`, so that it
/// passes as one single-quoted word through every login shell.
pub fn bootstrap(nonce: &str) -> String {
    format!(
        "echo; echo {nonce} ready 0; \
         while IFS= read -r i_x; do case $i_x in {nonce}.*) i_x=${{i_x#*.}};; *) continue;; esac; \
         i_x=$(dd bs=\"$i_x\" count=1 iflag=fullblock 2>/dev/null && echo x) || exit 99; \
         eval \"${{i_x%x}}\"; done"
    )
}

/// The first frame of a connection: the functions that all later frames call, who and where we are, and the first
/// items.
pub fn hello(frame: &Frame, nonce: &str, number: u64, hold: Option<&Hold>) -> Wire {
    let mut wire = compile(frame, number);
    let held = hold.map_or_else(String::new, |hold| {
        let gone = quote(hold.gone.as_deref().unwrap_or_default());
        format!("i_run={} i_gone={gone} i_who={}\n", quote(&hold.run), quote(&hold.about))
    });
    let (functions, files) = (travelling(PRELUDE), quote(&travelling(FILES)));
    wire.script = format!(
        "i_N={nonce} i_run=\n{held}{}\ni_lib={files}\neval \"$i_lib\"\n{functions}i_hello\n{}",
        limits(),
        wire.script
    );
    wire
}

/// The limits that the functions keep to.
fn limits() -> String {
    format!("i_cap={OUTPUT} i_sc={SCRIPT} i_tc={ANSWER} i_fr={ROOM} i_cr={}", quote(CROWDED))
}

/// Comments need not travel.
fn travelling(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("# "));
    lines.flat_map(|line| [line.trim_start(), "\n"]).collect()
}

/// A frame's script and payloads. `number` marks it among those of the connection.
pub fn compile(frame: &Frame, number: u64) -> Wire {
    let mut out = Writer { script: String::from("i_F=0 i_room=$i_fr\n"), payloads: Vec::new() };
    for (index, item) in frame.items.iter().enumerate() {
        let taken = out.payloads.len();
        out.line("if [ \"$i_F\" = 0 ]; then");
        match item {
            Item::Probe(asks) => out.probe(index, asks),
            Item::Act { actions, seconds, go_on } => out.act(index, actions, *seconds, *go_on),
        }
        let bytes: usize = out.payloads[taken..].iter().map(|payload| payload.len()).sum();
        out.line(format_args!("else i_b= ; i_say not {index}; i_skip {bytes}; fi"));
    }
    out.line(format_args!("i_b= ; i_say end {number}"));
    Wire { script: out.script, payloads: out.payloads }
}

/// The questions of a window in the order in which they are asked, each once.
pub(super) fn distinct(asks: &[Ask]) -> Vec<&Ask> {
    let mut seen = std::collections::HashSet::new();
    asks.iter().filter(|ask| !matches!(ask, Ask::Local(_)) && seen.insert(*ask)).collect()
}

/// The paths that one account looks at in a window: each path and way of looking once, with what is wanted of it.
pub(super) fn files(asks: &[&Ask], user: Option<&str>) -> Vec<FileAsk> {
    let mut files: Vec<FileAsk> = Vec::new();
    for ask in asks {
        let Ask::File(ask) = ask else { continue };
        if ask.user.as_deref() != user {
            continue;
        }
        match files.iter_mut().find(|file| file.path == ask.path && file.follow == ask.follow) {
            Some(file) => {
                file.digest |= ask.digest;
                file.content = file.content.max(ask.content);
            }
            None => files.push(ask.clone()),
        }
    }
    files
}

/// What one account is asked in a window.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The account; root's shell itself when `None`.
    pub user: Option<&'a str>,
    /// Scripts, each with its number in the window.
    pub scripts: Vec<(usize, &'a str)>,
    /// The number under which the records about this account's paths come. Root's shell answers about paths itself.
    pub files: Option<usize>,
}

/// The scripts of a window, and the paths that others than root look at, by account.
pub(super) fn batches<'a>(asks: &[&'a Ask]) -> Vec<Batch<'a>> {
    let mut batches: Vec<Batch<'a>> = Vec::new();
    for (number, ask) in asks.iter().enumerate() {
        let user = match ask {
            Ask::Sh { user, .. } => user.as_deref(),
            Ask::File(FileAsk { user: Some(user), .. }) => Some(user.as_str()),
            _ => continue,
        };
        let at = batches.iter().position(|batch| batch.user == user).unwrap_or_else(|| {
            batches.push(Batch { user, scripts: Vec::new(), files: None });
            batches.len() - 1
        });
        match ask {
            Ask::Sh { script, .. } => batches[at].scripts.push((number, script)),
            _ => batches[at].files = batches[at].files.or(Some(number)),
        }
    }
    batches
}

/// Names that one of the host's tools would read as a pattern or an option are not asked.
pub(super) fn plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| !"*?[] \t\n'\"\\/".contains(c) && !c.is_control())
}

struct Writer {
    script: String,
    payloads: Vec<Arc<[u8]>>,
}

impl Writer {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.script, "{line}");
    }

    fn probe(&mut self, item: usize, asks: &[Ask]) {
        let asks = distinct(asks);
        // In a subshell without input: nothing it runs can eat the stream, and its variables end with it.
        self.line("i_n=$((i_n + 99)); (");
        self.files(item, &files(&asks, None));
        let mut packages = Vec::new();
        let mut units = Vec::new();
        for ask in &asks {
            match ask {
                Ask::Accounts => self.line(format_args!("i_table accounts {item} /etc/passwd")),
                Ask::Groups => self.line(format_args!("i_table groups {item} /etc/group")),
                Ask::Package(name) if plain_name(name) => packages.push(quote(name)),
                Ask::Unit(name) if plain_name(name) => units.push(quote(name)),
                _ => {}
            }
        }
        if !packages.is_empty() {
            self.line(format_args!("i_pkgs {item} {}", packages.join(" ")));
        }
        if !units.is_empty() {
            self.line(format_args!("i_units {item} {}", units.join(" ")));
        }
        for (number, batch) in batches(&asks).iter().enumerate() {
            self.batch(item, number, batch, &files(&asks, batch.user));
        }
        self.line(format_args!(": ) </dev/null; i_b= ; i_say did {item}"));
    }

    fn batch(&mut self, item: usize, batch: usize, of: &Batch, files: &[FileAsk]) {
        // Beyond this a script's answer does not fill the host's memory either: twice what is read of it and more.
        let mut text = format!("i_v=$1; shift\n{}ulimit -f 65536 2>/dev/null\n", home(of.user));
        let mut numbers = String::new();
        let mut asked = |number: usize, script: &str| {
            let _ = write!(numbers, " {number}");
            let _ = writeln!(
                text,
                "( {script} ) </dev/null >>\"$i_v/o{number}\" 2>>\"$i_v/e{number}\"; echo {number} $? >>\"$i_v/st\""
            );
        };
        if let Some(number) = of.files {
            let mut looks = Self { script: String::new(), payloads: Vec::new() };
            looks.files(item, files);
            asked(number, &format!("i_D=$i_v\n{}:", looks.script));
        }
        for (number, script) in &of.scripts {
            asked(*number, &format!("eval {}", quote(script)));
        }
        // Only who looks at files needs the functions for it.
        let functions = if of.files.is_some() { "\"$i_lib\"\"\n\"" } else { "" };
        self.line(format_args!(
            "i_t={functions}{}; i_asks 'asks {item} {batch}' {PROBE_SECONDS} {} '{numbers}'",
            quote(&text),
            quote(of.user.unwrap_or_default())
        ));
    }

    fn files(&mut self, item: usize, files: &[FileAsk]) {
        let numbers = |wanted: &dyn Fn(&FileAsk) -> bool| {
            let numbers = files.iter().enumerate().filter(|(_, file)| wanted(file));
            numbers.map(|(number, _)| number.to_string()).collect::<Vec<_>>().join(" ")
        };
        for (number, file) in files.iter().enumerate() {
            self.line(format_args!("i_p{number}={}", quote(&file.path)));
        }
        let plain = numbers(&|file| !file.follow);
        if !plain.is_empty() {
            self.line(format_args!("i_stat {item} '{plain}' ''"));
            self.line(format_args!("for i_l in {plain}; do i_link {item} $i_l; done"));
        }
        let followed = numbers(&|file| file.follow);
        if !followed.is_empty() {
            self.line(format_args!("i_stat {item} '{followed}' -L"));
        }
        let digests = numbers(&|file| file.digest);
        if !digests.is_empty() {
            self.line(format_args!("i_sums {item} '{digests}'"));
        }
        for (number, file) in files.iter().enumerate() {
            match file.content {
                Content::No => {}
                Content::Small => self.line(format_args!("i_text {item} {number} {SMALL_BYTES} left")),
                Content::Whole => self.line(format_args!("i_text {item} {number} {CONTENT_BYTES}")),
            }
        }
    }

    fn act(&mut self, item: usize, actions: &[Action], seconds: u64, go_on: bool) {
        self.line("i_A=0");
        for (number, action) in actions.iter().enumerate() {
            let payload = match action {
                Action::Run(run) => run.stdin.clone().filter(|bytes| !bytes.is_empty()),
                Action::Put(put) => Some(put.content.clone()),
                Action::Local(_) | Action::Reconnect { .. } => continue,
            };
            let bytes = payload.as_ref().map_or(0, |payload| payload.len());
            self.payloads.extend(payload.filter(|payload| !payload.is_empty()));
            self.line("if [ $i_A = 0 ]; then");
            match action {
                Action::Run(run) => self.run(item, number, run, bytes, run.timeout.unwrap_or(seconds)),
                Action::Put(put) => self.put(item, number, put, seconds),
                Action::Local(_) | Action::Reconnect { .. } => {}
            }
            self.line(format_args!("else i_skip {bytes}; fi"));
        }
        self.line(if go_on { ":" } else { "i_F=$i_A" });
    }

    fn run(&mut self, item: usize, number: usize, run: &Run, bytes: usize, seconds: u64) {
        let mut text = home(run.user.as_deref());
        text.push_str("umask 022\n");
        for (name, value) in &run.environment {
            let _ = writeln!(text, "export {}={}", name, quote(value));
        }
        if let Some(dir) = &run.chdir {
            let _ = writeln!(text, "cd -- {} || exit 1", quote(dir));
        }
        text.push_str(&run.script);
        if bytes > 0 {
            self.line(format_args!("i_pay {bytes}"));
        }
        let accept: Vec<String> = run.accept.iter().map(|status| format!("{status}:0")).collect();
        self.line(format_args!(
            "i_t={}{}; i_run 'act {item} {number}' {seconds} {}; case $i_r:$i_to in {}) ;; *) i_A=1 ;; esac",
            if run.files { "\"$i_lib\"\"\n\"" } else { "" },
            quote(&text),
            quote(run.user.as_deref().unwrap_or_default()),
            if accept.is_empty() { "0:0".to_owned() } else { accept.join("|") },
        ));
    }

    fn put(&mut self, item: usize, number: usize, put: &Put, seconds: u64) {
        let text = |text: &Option<String>| quote(text.as_deref().unwrap_or_default());
        // The staged file's name is only known on the host: the command gets it as its argument.
        let validate = put.validate.as_ref().map(|command| command.replace("%s", "\"$1\""));
        let over = match &put.over {
            Over::Anything => "",
            Over::Nothing => "none",
            Over::Digest(digest) => digest,
        };
        let variables = format!(
            "{}i_p={} i_m={} i_ow={} i_gr={} i_bk={} i_va={} i_fol={} i_ex={}",
            home(put.user.as_deref()),
            quote(&put.path),
            put.mode.map(|mode| format!("{mode:04o}")).unwrap_or_default(),
            text(&put.owner),
            text(&put.group),
            text(&put.backup),
            text(&validate),
            put.follow.word(),
            quote(over),
        );
        self.line(format_args!(
            "i_a={}; i_put 'act {item} {number}' {} {seconds} {}; case $i_r in 0) ;; *) i_A=1 ;; esac",
            quote(&variables),
            put.content.len(),
            text(&put.user),
        ));
    }
}

/// The lines that make an account's environment its own.
fn home(user: Option<&str>) -> String {
    let Some(user) = user else { return String::new() };
    let plain =
        user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !user.starts_with('-');
    if !plain || user.is_empty() {
        return String::new();
    }
    // The tilde must stand outside quotes to be looked up.
    format!("HOME=~{user} USER={user} LOGNAME={user}\n[ -d \"$HOME\" ] || HOME=/\nexport HOME USER LOGNAME\n")
}
