//! Waits until a port answers or falls silent, a file appears or goes, or a text stands in a file.
//!
//! The host itself looks. A port of `host: 127.0.0.1` (the default) is looked up among the listening sockets of the
//! kernel; a port of another host is tried with `nc` or bash, one of which must be there. `search_regex` (an extended
//! regular expression of `grep`) looks into `path`. Without `port` and `path` it waits `timeout` seconds.
//! Waiting changes nothing on the host.
//!
//! EXAMPLES
//! - name: PostgreSQL answers
//!   wait_for: {port: 5432, timeout: 60}
//! - name: The primary is reachable from here
//!   wait_for: {host: 198.18.0.11, port: 5432}
//! - name: Recovery has ended
//!   wait_for: {path: /var/lib/postgresql/15/main/standby.signal, state: absent}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run, quote};
use serde_json::{Map, Value, json};

/// The module `wait_for`.
pub struct WaitFor;

/// What to wait for.
#[derive(Debug)]
pub struct Params {
    what: What,
    /// Whether it shall come, or go.
    come: bool,
    timeout: u64,
    delay: u64,
    sleep: u64,
    message: Option<String>,
}

#[derive(Debug)]
enum What {
    /// Only time.
    Time,
    Port {
        host: String,
        port: u16,
        connect_timeout: u64,
    },
    Path {
        path: String,
        search: Option<String>,
    },
}

impl Module for WaitFor {
    type Params = Params;
    type State = bool;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "wait_for",
        aliases: &[],
        summary: "Waits for a port, a file or a text",
        source: include_str!("wait_for.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("port", Kind::Int, "TCP port"),
            Param::new("host", Kind::Str, "Whose port").default("127.0.0.1"),
            Param::new("path", Kind::Path, "File"),
            Param::new("search_regex", Kind::Str, "Extended regular expression to find in the file"),
            Param::new(
                "state",
                Kind::Choice(&["started", "present", "stopped", "absent", "drained"]),
                "Whether it shall come (`started`, `present`) or go (`stopped`, `absent`)",
            )
            .default("started"),
            Param::new("timeout", Kind::Int, "Seconds until the task fails").default("300"),
            Param::new("delay", Kind::Int, "Seconds before the first look").default("0"),
            Param::new("sleep", Kind::Int, "Seconds between looks").default("1"),
            Param::new("connect_timeout", Kind::Int, "Seconds for one try to connect").default("5"),
            Param::new("msg", Kind::Str, "What to say when it took too long"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let number = |name: &str, default: i64| match args.int(name).unwrap_or(default) {
            number @ 0.. => Ok(number.unsigned_abs()),
            _ => Err(Fault::param(name, format!("`{name}` counts seconds and cannot be negative"))),
        };
        let what = match (args.int("port"), args.str("path")) {
            (Some(_), Some(_)) => return Err(Fault::param("path", "`port` and `path` exclude each other")),
            (Some(port), None) => What::Port {
                host: args.str("host").unwrap_or_else(|| "127.0.0.1".to_owned()),
                port: u16::try_from(port)
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| Fault::param("port", format!("`{port}` is no port")))?,
                connect_timeout: number("connect_timeout", 5)?.max(1),
            },
            (None, Some(path)) => What::Path { path, search: args.str("search_regex") },
            (None, None) => What::Time,
        };
        let state = args.str("state");
        if state.as_deref() == Some("drained") {
            return Err(Fault::param("state", "`drained` is not supported")
                .hint("`stopped` waits until nothing listens"));
        }
        if args.has("search_regex") && !matches!(what, What::Path { .. }) {
            return Err(Fault::param("search_regex", "`search_regex` goes with `path`"));
        }
        Ok(Params {
            come: !matches!(state.as_deref(), Some("stopped" | "absent")),
            timeout: number("timeout", 300)?,
            delay: number("delay", 0)?,
            sleep: number("sleep", 1)?.max(1),
            message: args.str("msg"),
            what,
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        params
            .test()
            .map(|test| Ask::sh(format!("{test}\nholds && echo yes || echo no")))
            .into_iter()
            .collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<bool, Fault> {
        let Some(test) = params.test() else { return Ok(false) };
        let output = answers.output(&Ask::sh(format!("{test}\nholds && echo yes || echo no")))?;
        match output.text().trim() {
            "yes" => Ok(params.come),
            "no" => Ok(!params.come),
            _ => Err(Fault::task(format!("the host cannot look: {}", output.error_text().trim()))),
        }
    }

    fn diff(params: &Params, there: &bool) -> Result<Verdict<()>, Fault> {
        // A delay is asked for because what is there now may be about to go.
        if *there && params.delay == 0 { Ok(Verdict::InState(params.text())) } else { Ok(Verdict::Act(())) }
    }

    fn show(params: &Params, _there: &bool, _diff: &()) -> Vec<Change> {
        vec![Change::field("wait", "", params.text())]
    }

    fn actions(params: &Params, _there: &bool, _diff: &()) -> Vec<Action> {
        let wait = params.delay + params.timeout;
        let Some(test) = params.test() else {
            return vec![Action::Run(Run::new(format!("sleep {wait}")).timeout(wait + 10))];
        };
        let not = if params.come { "" } else { "! " };
        let late = params
            .message
            .clone()
            .unwrap_or_else(|| format!("waited {} s in vain: {}", params.timeout, params.text()));
        let script = format!(
            "{test}\nsleep {}\nend=$(($(date +%s) + {}))\nuntil {not}holds; do\n \
             [ \"$(date +%s)\" -lt \"$end\" ] || {{ printf '%s\\n' {} >&2; exit 1; }}\n sleep {}\ndone",
            params.delay,
            params.timeout,
            quote(&late),
            params.sleep,
        );
        vec![Action::Run(Run::new(script).timeout(wait + 30).shown(format!("wait until {}", params.text())))]
    }

    fn verifies(params: &Params) -> bool {
        params.delay == 0 && !matches!(params.what, What::Time)
    }

    fn result(params: &Params, _there: &bool, _ran: &[Output]) -> Map<String, Value> {
        let mut map = Map::from_iter([("changed".to_owned(), json!(false))]);
        match &params.what {
            What::Port { port, .. } => map.insert("port".to_owned(), json!(port)),
            What::Path { path, search } => {
                map.insert("search_regex".to_owned(), json!(search));
                map.insert("path".to_owned(), json!(path))
            }
            What::Time => None,
        };
        map
    }
}

impl Params {
    /// Text that defines the shell function `holds`.
    fn test(&self) -> Option<String> {
        match &self.what {
            What::Time => None,
            What::Port { host, port, .. } if is_local(host) => Some(format!(
                // State 0A is LISTEN; the port stands in hex behind the address.
                "holds() {{ grep -qE '^ *[0-9]+: [0-9A-F]+:{port:04X} [^ ]+ 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null; }}"
            )),
            What::Port { host, port, connect_timeout } => Some(format!(
                "holds() {{
 if command -v nc >/dev/null; then nc -z -w {connect_timeout} {host} {port} >/dev/null 2>&1
 else timeout {connect_timeout} bash -c {bash} >/dev/null 2>&1; fi
}}
command -v nc >/dev/null || command -v bash >/dev/null || {{ echo 'neither `nc` nor `bash` is there to try a port with; install netcat-openbsd' >&2; exit 3; }}",
                host = quote(host),
                bash = quote(&format!("exec 3<>/dev/tcp/{host}/{port}")),
            )),
            What::Path { path, search: None } => Some(format!("holds() {{ [ -e {} ]; }}", quote(path))),
            What::Path { path, search: Some(search) } => {
                Some(format!("holds() {{ grep -qE -e {} -- {} 2>/dev/null; }}", quote(search), quote(path)))
            }
        }
    }

    fn text(&self) -> String {
        let come = self.come;
        match &self.what {
            What::Time => format!("{} s", self.timeout),
            What::Port { host, port, .. } if come => format!("port {port} of {host} answers"),
            What::Port { host, port, .. } => format!("port {port} of {host} does not answer"),
            What::Path { path, search: Some(search) } if come => format!("`{search}` is in {path}"),
            What::Path { path, search: Some(search) } => format!("`{search}` is not in {path}"),
            What::Path { path, search: None } if come => format!("{path} is there"),
            What::Path { path, search: None } => format!("{path} is not there"),
        }
    }
}

fn is_local(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost" | "::1" | "0.0.0.0")
}
