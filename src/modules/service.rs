//! Services and other systemd units: running or not, started at boot or not, masked or not.
//!
//! `name` without an ending means `.service`. `state: started` and `stopped` do nothing where that is so already;
//! `restarted` and `reloaded` always act (use them in handlers), and start a unit that is not running.
//! A unit that fails to start fails the task with its status and last log lines.
//!
//! `enabled` looks at what systemd says of the unit file. A static or generated unit counts as enabled and cannot be
//! disabled (one generated from a script in `/etc/init.d` can); an indirect one is as enabled as the units that it
//! names in `Also=`. What is enabled or masked until the next boot only (`enabled-runtime` by hand, `masked-runtime`)
//! is neither enabled nor masked. A masked unit is refused unless `masked: false` stands beside `state` or `enabled`.
//!
//! `daemon_reload: true` re-reads unit files only where systemd says that the unit (without `name`: any loaded unit)
//! has changed on disk, so it costs nothing on a second run.
//!
//! `pattern`, `sleep`, `runlevel`, `arguments` and `use` of Ansible's `service` serve other init systems and are
//! taken without effect; hosts without systemd are refused.
//!
//! EXAMPLES
//! - name: Running, and after a reboot as well
//!   service: {name: postgresql@15-main, state: started, enabled: true}
//! - name: Take the new unit file
//!   systemd: {name: app, state: restarted, daemon_reload: true}
//! - name: Never
//!   service: {name: apt-daily.timer, state: stopped, enabled: false, masked: true}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, Run, UnitState, quote};
use serde_json::{Map, Value, json};

/// The module `service`.
pub struct Service;

/// What a unit shall be like.
#[derive(Debug)]
pub struct Params {
    /// With its ending.
    unit: Option<String>,
    state: Option<State>,
    enabled: Option<bool>,
    masked: Option<bool>,
    daemon_reload: bool,
    daemon_reexec: bool,
    no_block: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

/// What it is like.
pub struct Found {
    unit: UnitState,
    /// Unit files have changed on disk since systemd read them.
    outdated: bool,
    /// Whether it starts at boot, where the word for its unit file does not tell.
    at_boot: Option<bool>,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    reexec: bool,
    reload_units: bool,
    mask: Option<bool>,
    enable: Option<bool>,
    /// `systemctl`'s verb.
    verb: Option<&'static str>,
}

impl Module for Service {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "service",
        aliases: &["systemd", "systemd_service"],
        summary: "Services and other systemd units",
        source: include_str!("service.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::Str, "The unit; without an ending a service")
                .aliases(&["service", "unit"]),
            Param::new(
                "state",
                Kind::Choice(&["started", "stopped", "restarted", "reloaded"]),
                "Running or not; `restarted` and `reloaded` always act",
            ),
            Param::new("enabled", Kind::Bool, "Started at boot"),
            Param::new("masked", Kind::Bool, "Cannot be started at all"),
            Param::new("daemon_reload", Kind::Bool, "Re-read unit files that changed on disk first")
                .default("false")
                .aliases(&["daemon-reload"]),
            Param::new("daemon_reexec", Kind::Bool, "Re-execute systemd itself first; always acts")
                .default("false")
                .aliases(&["daemon-reexec"]),
            Param::new("no_block", Kind::Bool, "Do not wait until the unit has started or stopped")
                .default("false"),
            Param::new("scope", Kind::Choice(&["system"]), "Only the system's own systemd is managed")
                .default("system"),
            Param::new("force", Kind::Bool, "Replace links in the way when enabling").default("false"),
            Param::new("pattern", Kind::Str, "Taken without effect"),
            Param::new("sleep", Kind::Int, "Taken without effect"),
            Param::new("runlevel", Kind::Str, "Taken without effect"),
            Param::new("arguments", Kind::Str, "Taken without effect").aliases(&["args"]),
            Param::new("use", Kind::Choice(&["auto", "systemd", "service"]), "Taken without effect"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let flag = |name: &str| args.bool(name).unwrap_or(false);
        let params = Params {
            unit: args.str("name").map(|name| with_ending(&name)),
            state: match args.str("state").as_deref() {
                Some("started") => Some(State::Started),
                Some("stopped") => Some(State::Stopped),
                Some("restarted") => Some(State::Restarted),
                Some("reloaded") => Some(State::Reloaded),
                _ => None,
            },
            enabled: args.bool("enabled"),
            masked: args.bool("masked"),
            daemon_reload: flag("daemon_reload"),
            daemon_reexec: flag("daemon_reexec"),
            no_block: flag("no_block"),
        };
        if let Some(name) = params.unit.as_deref() {
            if name.contains(['*', '?', '[', ' ', '/']) || name.starts_with(['-', '.']) {
                return Err(Fault::param("name", format!("`{name}` is no name of one unit"))
                    .hint("use `loop` for several units"));
            }
        } else if params.state.is_some() || params.enabled.is_some() || params.masked.is_some() {
            return Err(Fault::task("`state`, `enabled` and `masked` need `name`, the unit they are about"));
        }
        let asked = params.state.is_some() || params.enabled.is_some() || params.masked.is_some();
        if !asked && !params.daemon_reload && !params.daemon_reexec {
            return Err(Fault::task("nothing is asked of the unit")
                .hint("give `state`, `enabled`, `masked` or `daemon_reload`"));
        }
        if params.masked == Some(true) && matches!(params.state, Some(state) if state != State::Stopped) {
            return Err(Fault::param("masked", "a masked unit cannot be started"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let unit = params.unit.iter().cloned().map(Ask::Unit);
        unit.chain(params.daemon_reload.then(|| outdated(params))).chain(at_boot(params)).collect()
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let unit = match &params.unit {
            Some(unit) => answers.unit(&Ask::Unit(unit.clone()))?.clone(),
            None => UnitState::default(),
        };
        let outdated = match params.daemon_reload {
            false => false,
            true => answers.output(&outdated(params))?.text().lines().any(|line| line.contains("yes")),
        };
        let at_boot = match at_boot(params) {
            Some(ask) => match answers.output(&ask)?.text().trim() {
                "" => None,
                words => {
                    Some(words.split_whitespace().all(|word| matches!(word, "enabled" | "static" | "alias")))
                }
            },
            None => None,
        };
        Ok(Found { unit, outdated, at_boot })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let unit = &found.unit;
        let masked = unit.load == "masked" || unit.enabled.starts_with("masked");
        if let Some(name) = params.unit.as_deref() {
            refuse(params, unit, name, masked)?;
        }
        let mut diff = Diff {
            reexec: params.daemon_reexec,
            reload_units: found.outdated,
            mask: params.masked.filter(|wanted| match wanted {
                true => unit.enabled == "masked-runtime" || !masked,
                false => masked,
            }),
            ..Diff::default()
        };
        // What a mask hides is not known: after unmasking everything asked for is done.
        let unmask = diff.mask == Some(false);
        let enabled = found.at_boot.unwrap_or_else(|| is_enabled(unit));
        // Until the next boot it is enabled all the same.
        let off = !enabled && unit.enabled != "enabled-runtime";
        diff.enable = params.enabled.filter(|wanted| unmask || if *wanted { !enabled } else { !off });
        if params.enabled == Some(false) && found.at_boot.is_none() && !can_disable(unit) && !unmask {
            diff.enable = None;
        }
        let runs = matches!(unit.active.as_str(), "active" | "reloading" | "activating");
        diff.verb = match params.state {
            Some(State::Started) if !runs => Some("start"),
            Some(State::Stopped) if runs || unit.active == "deactivating" => Some("stop"),
            Some(State::Restarted) => Some("restart"),
            Some(State::Reloaded) if runs => Some("reload"),
            Some(State::Reloaded) => Some("start"),
            _ => None,
        };
        if diff == Diff::default() {
            Ok(Verdict::InState(reason(params, unit)))
        } else {
            Ok(Verdict::Act(diff))
        }
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let unit = &found.unit;
        let mut changes = Vec::new();
        if diff.reexec {
            changes.push(Change::field("systemd", "", "re-executed"));
        }
        if diff.reload_units {
            changes.push(Change::field("unit files", "changed on disk", "re-read"));
        }
        let word = |set: bool, yes: &'static str, no: &'static str| if set { yes } else { no };
        if let Some(mask) = diff.mask {
            changes.push(Change::field("masked", word(!mask, "yes", "no"), word(mask, "yes", "no")));
        }
        if let Some(enable) = diff.enable {
            changes.push(Change::field("at boot", &*unit.enabled, word(enable, "enabled", "disabled")));
        }
        if diff.verb.is_some() {
            let after = match params.state {
                Some(State::Started) => "started",
                Some(State::Stopped) => "stopped",
                Some(State::Reloaded) => "reloaded",
                _ => "restarted",
            };
            changes.push(Change::field("state", &*unit.active, after));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        if diff.reexec {
            actions.push(Action::argv(["systemctl", "daemon-reexec"]));
        }
        if diff.reload_units {
            actions.push(Action::argv(["systemctl", "daemon-reload"]));
        }
        let Some(name) = params.unit.as_deref() else { return actions };
        let run = |verb: &str| Action::argv(["systemctl", verb, "--", name]);
        // What lies below /run is not found without being asked for.
        let undo = |verb: &str| match found.unit.enabled.ends_with("-runtime") {
            true => Action::argv(["systemctl", verb, "--runtime", "--", name]),
            false => run(verb),
        };
        actions.extend(diff.mask.filter(|mask| !mask).map(|_| undo("unmask")));
        actions.extend(diff.enable.map(|enable| if enable { run("enable") } else { undo("disable") }));
        actions.extend(diff.verb.map(|verb| Action::Run(turn(verb, name, params.no_block))));
        actions.extend(diff.mask.filter(|mask| *mask).map(|_| run("mask")));
        actions
    }

    fn verifies(params: &Params) -> bool {
        // Starting is checked by the action itself: a oneshot unit is not active afterwards, and rightly so.
        matches!(params.state, None | Some(State::Stopped)) && !params.daemon_reexec && !params.no_block
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(name) = &params.unit {
            let unit = &found.unit;
            map.insert("name".to_owned(), json!(name));
            map.insert(
                "status".to_owned(),
                json!({"LoadState": unit.load, "ActiveState": unit.active, "SubState": unit.sub,
                       "UnitFileState": unit.enabled}),
            );
        }
        map
    }
}

/// The name with the ending `.service` where it has none.
pub fn with_ending(name: &str) -> String {
    let endings = [
        "service",
        "socket",
        "timer",
        "target",
        "mount",
        "automount",
        "path",
        "slice",
        "scope",
        "swap",
        "device",
    ];
    match name.rsplit_once('.') {
        Some((_, ending)) if endings.contains(&ending) => name.to_owned(),
        _ => format!("{name}.service"),
    }
}

/// Whether unit files are newer than what systemd has read. Its own word (`NeedDaemonReload`) goes by a list of folders
/// that it made at its last reload: a first drop-in of a unit is not in there, so what lies on disk is held against the
/// time of that reload.
fn outdated(params: &Params) -> Ask {
    const NEWER: &str = "newer() { find \"$@\" -newer /run/systemd/systemd-units-load 2>/dev/null | grep -q . \
                         && echo files=yes; }";
    match &params.unit {
        Some(name) => {
            let name = quote(name);
            Ask::sh(format!(
                "systemctl show -p NeedDaemonReload -- {name}\n{NEWER}\n\
                 newer /etc/systemd/system/{name} /etc/systemd/system/{name}.d\n:"
            ))
        }
        // Mounts come from /etc/fstab by way of generated unit files.
        None => Ask::sh(format!(
            "systemctl show -p NeedDaemonReload -- '*' | grep -m 1 yes\n{NEWER}\n\
             newer /etc/systemd/system -maxdepth 2\n\
             [ /etc/fstab -nt /run/systemd/generator ] && echo fstab=yes\n:"
        )),
    }
}

/// One word per unit that decides whether the unit starts at boot, where its own unit file does not: those that an
/// indirect unit names in `Also=`, links that a generator makes at every boot, and what `systemctl` knows of a script in `/etc/init.d`.
fn at_boot(params: &Params) -> Option<Ask> {
    let name = params.unit.as_deref().filter(|_| params.enabled.is_some())?;
    let script = quote(&format!("/etc/init.d/{}", name.strip_suffix(".service").unwrap_or(name)));
    let name = quote(name);
    Some(Ask::sh(format!(
        "case $(systemctl show -p UnitFileState -- {name} 2>/dev/null) in\n\
         *=indirect) systemctl cat -- {name} | sed -n 's/^Also=//p' | tr ' ' '\\n' | while read -r unit; do\n\
         [ -z \"$unit\" ] || {{ systemctl is-enabled -- \"$unit\" 2>/dev/null || :; }}; done;;\n\
         *=enabled-runtime) for link in /run/systemd/generator*/*.wants/{name} /run/systemd/generator*/*.requires/{name}; do\n\
         [ ! -L \"$link\" ] || {{ echo enabled; break; }}; done;;\n\
         *=generated) [ ! -x {script} ] || systemctl is-enabled -- {name} 2>/dev/null;;\n\
         esac\n:"
    )))
}

fn refuse(params: &Params, unit: &UnitState, name: &str, masked: bool) -> Result<(), Fault> {
    let only_mask = params.state.is_none() && params.enabled.is_none() && params.masked.is_some();
    // A unit that is not there yet has nothing to read again.
    let only_reload = params.state.is_none() && params.enabled.is_none() && params.masked.is_none();
    match unit.load.as_str() {
        "not-found" if only_mask || only_reload => Ok(()),
        // A unit whose file is gone may still run, and can be stopped.
        "not-found" if unit.active == "active" && params.enabled.is_none() => Ok(()),
        "not-found" => Err(Fault::param("name", format!("the host has no unit `{name}`"))
            .hint("install what brings it first; `systemctl list-unit-files` on the host lists the names")),
        "error" | "bad-setting" => {
            Err(Fault::param("name", format!("systemd cannot load `{name}` ({})", unit.load))
                .hint(format!("`systemd-analyze verify {name}` on the host tells the line")))
        }
        _ if masked && params.masked != Some(false) => match (params.state, params.enabled) {
            (Some(state), _) if state != State::Stopped => Err(still_masked("state", name)),
            (_, Some(true)) => Err(still_masked("enabled", name)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn still_masked(param: &str, name: &str) -> Fault {
    Fault::param(param, format!("`{name}` is masked on the host")).hint("`masked: false` takes the mask off")
}

fn is_enabled(unit: &UnitState) -> bool {
    // An alias alone is another unit's name: `systemctl enable` refuses it and says so.
    matches!(unit.enabled.as_str(), "enabled" | "static" | "generated" | "transient")
}

fn can_disable(unit: &UnitState) -> bool {
    !matches!(unit.enabled.as_str(), "static" | "generated" | "transient")
}

fn reason(params: &Params, unit: &UnitState) -> String {
    let mut parts = Vec::new();
    if params.state.is_some() {
        parts.push(if unit.active == "active" && !unit.sub.is_empty() && unit.sub != "active" {
            format!("active ({})", unit.sub)
        } else {
            unit.active.clone()
        });
    }
    if params.enabled.is_some() {
        parts.push(if unit.enabled.is_empty() { "not enabled".to_owned() } else { unit.enabled.clone() });
    }
    if let Some(masked) = params.masked {
        parts.push(if masked { "masked" } else { "not masked" }.to_owned());
    }
    if params.daemon_reload {
        parts.push("unit files as systemd read them".to_owned());
    }
    parts.dedup();
    parts.join(", ")
}

/// Runs the verb; what a failed unit says of itself goes to standard error.
fn turn(verb: &str, name: &str, no_block: bool) -> Run {
    let unit = quote(name);
    let shown = format!("systemctl {verb} {}-- {unit}", if no_block { "--no-block " } else { "" });
    if no_block {
        return Run::new(&shown);
    }
    let check = match verb {
        "stop" => String::new(),
        _ => format!(
            "systemctl is-active --quiet -- {unit} && exit 0\n\
             case $(systemctl show -p Type,ActiveState -- {unit}) in *Type=oneshot*|*ActiveState=activating*) exit 0;; esac\n\
             echo {} >&2\nfail 1\n",
            quote(&format!("`{name}` ended right after `{verb}`")),
        ),
    };
    // A failed unit's limit of starts would refuse the next try.
    let script = format!(
        "fail() {{ systemctl status --no-pager --full --lines=20 -- {unit} >&2; exit \"$1\"; }}\n\
         {}{shown} || fail $?\n{check}",
        if verb == "start" {
            format!("systemctl reset-failed -- {unit} 2>/dev/null\n")
        } else {
            String::new()
        },
    );
    Run::new(script).shown(shown)
}
