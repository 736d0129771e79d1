//! Applies what was decided, or takes it back: built-in plays over the engine that `ishprov run` uses, so that the same
//! tasks write, reload and restart as in the role `postgresql`.

use super::hosts::{self, Reached};
use super::plan::{Plan, Row, Step};
use super::{refuse, show};
use crate::cli::args::{RunArgs, TuneArgs};
use crate::cli::confirm::agreed;
use crate::cli::{exit, run};
use crate::cluster::Live;
use crate::cluster::tune::{disk, disk_file};
use crate::console::Screen;
use crate::diag::Diagnostic;
use serde_json::{Map, Value, json};

const CHECK: &str = include_str!("check.yaml");
pub(super) const APPLY: &str = include_str!("apply.yaml");
pub(super) const UNDO: &str = include_str!("undo.yaml");
/// The name that the built-in plays go by in messages.
pub(super) const SITE: &str = "ishprov tune";
/// The role's own tasks for what the budget asks of the kernel and of the server's unit, as apply.yaml names them.
pub(super) const KERNEL: (&str, &str) =
    ("ishprov-tune-kernel.yml", include_str!("../../../roles/postgresql/tasks/kernel.yml"));

/// The five settings that a standby may not have lower than its primary.
const FIVE: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// Shows the plan, asks, applies, looks whether it is in force; takes it back when a server does not come up.
pub async fn apply(args: &TuneArgs, screen: &Screen) -> i32 {
    let reached = match hosts::plans(args, screen).await {
        Ok(reached) => reached,
        Err(code) => return code,
    };
    if let Some(diagnostic) = in_the_way(&reached.plans) {
        return refuse(screen, diagnostic);
    }
    show::tables(&reached.plans, args.all, screen);
    if reached.plans.iter().all(|plan| plan.changes().is_empty() && !again(plan)) {
        screen.line("\nNothing to do: every setting that fits is in force.");
        return exit::OK;
    }
    screen.line("");
    order(&reached.plans).iter().for_each(|line| screen.line(line));
    lasting(args).iter().for_each(|line| screen.line(line));
    if let Err(code) = agreed(args.yes, screen, "Apply this?") {
        return code;
    }
    let vars = vars(&reached);
    let code = play(args, screen, &reached, CHECK, &vars).await;
    if code != exit::OK {
        screen.aside("Nothing was written: the settings are as they were.");
        return code;
    }
    let code = play(args, screen, &reached, APPLY, &vars).await;
    match code {
        exit::OK => in_force(args, screen).await,
        exit::INTERRUPTED => {
            screen.aside("Stopped on the way. The same command goes on; `ishprov tune --undo` takes back what was done.");
            code
        }
        code => {
            screen.aside("\nThat failed: the settings of before come back.");
            match play(args, screen, &reached, UNDO, &undoing(&vars, true)).await {
                exit::OK => screen.aside("Undone: the servers run with the settings they had before."),
                _ => screen.aside(
                    "error: the settings of before could not be brought back everywhere; what failed is said above, and \
                     `ishprov tune --undo` goes on from there",
                ),
            }
            code
        }
    }
}

/// Brings back what was kept before the last change.
pub async fn undo(args: &TuneArgs, screen: &Screen) -> i32 {
    let reached = match hosts::plans(args, screen).await {
        Ok(reached) => reached,
        Err(code) => return code,
    };
    let hosts: Vec<&str> = reached.plans.iter().map(|plan| plan.host.as_str()).collect();
    screen.line(&format!(
        "The settings from before the last change come back on {}, by the same reloads and restarts.",
        hosts.join(", ")
    ));
    if let Err(code) = agreed(args.yes, screen, "Undo?") {
        return code;
    }
    play(args, screen, &reached, UNDO, &undoing(&vars(&reached), false)).await
}

/// Variables of the play that takes back: with `attempt` only what an attempt that did not end has changed.
pub(super) fn undoing(vars: &Value, attempt: bool) -> Value {
    let mut vars = vars.clone();
    vars["tune_attempt"] = json!(attempt);
    vars
}

/// What must be put right before anything is applied.
pub(super) fn in_the_way(plans: &[Plan]) -> Option<Diagnostic> {
    if let Some(plan) = plans.iter().find(|plan| !plan.runs()) {
        let message = "no server answers there, so nothing can be applied to it";
        return Some(
            Diagnostic::error("tune", message)
                .host(&plan.host)
                .hint("`ishprov run` with the role `postgresql` makes a server and tunes it")
                .hint("`--dry-run` shows what would fit"),
        );
    }
    let held = plans.iter().map(|plan| (plan, plan.held_by_auto_conf())).find(|(_, held)| !held.is_empty());
    let (plan, held) = held?;
    let names: Vec<String> = held.iter().map(|row| format!("`{}` ({})", row.name, row.now)).collect();
    let message = format!("`ALTER SYSTEM` has the last word on {}", names.join(", "));
    let resets: Vec<String> = held.iter().map(|row| format!("ALTER SYSTEM RESET {};", row.name)).collect();
    Some(
        Diagnostic::error("tune", message)
            .host(&plan.host)
            .hint(format!("take it back there first: {} SELECT pg_reload_conf();", resets.join(" "))),
    )
}

fn again(plan: &Plan) -> bool {
    plan.remote.as_ref().is_some_and(|remote| remote.again)
}

fn live(plan: &Plan) -> Option<&Live> {
    plan.remote.as_ref()?.server.live.as_ref()
}

pub(super) fn is_primary(plan: &Plan) -> bool {
    live(plan).is_some_and(|live| !live.recovery)
}

/// Which servers restart, in which order and why.
fn order(plans: &[Plan]) -> Vec<String> {
    let restarts = |plan: &Plan| plan.changes().iter().any(|row| row.takes == Step::Restart);
    let waiting: Vec<&Plan> = plans.iter().filter(|plan| restarts(plan) || again(plan)).collect();
    let kernel = "Kernel settings and limits follow where the role `postgresql` keeps them.".to_owned();
    if waiting.is_empty() {
        return vec!["A reload is enough on every host: no connection is lost.".to_owned(), kernel];
    }
    let names = |plans: &[&Plan]| plans.iter().map(|plan| plan.host.as_str()).collect::<Vec<_>>().join(", ");
    let (primary, standbys): (Vec<&Plan>, Vec<&Plan>) = waiting.iter().partition(|plan| is_primary(plan));
    let falls = |row: &Row| {
        let number = |text: &str| text.parse::<u64>().ok();
        FIVE.contains(&row.name.as_str())
            && number(&row.proposed).zip(number(&row.now)).is_some_and(|(new, old)| new < old)
    };
    let falling: Vec<String> = primary
        .iter()
        .flat_map(|plan| plan.changes())
        .filter(falls)
        .map(|row| format!("`{}`", row.name))
        .collect();
    let mut lines = Vec::new();
    match (primary.is_empty(), standbys.is_empty(), falling.is_empty()) {
        (_, true, _) => lines.push(format!("Restarts: {}.", names(&primary))),
        (true, ..) => lines.push(format!("Restarts, one by one: {}.", names(&standbys))),
        (_, _, true) => lines.push(format!(
            "Restarts, one by one: {}, then {}: standbys first, so that none has less than its primary.",
            names(&standbys),
            names(&primary)
        )),
        (_, _, false) => lines.push(format!(
            "Restarts, one by one: standbys ({}) for what rises, then {} for {}, which a standby may have no lower than \
             its primary; then those standbys follow, once they have replayed the change.",
            names(&standbys),
            names(&primary),
            falling.join(", ")
        )),
    }
    lines.push("Clients of a server lose their connections at its restart.".to_owned());
    lines.push(kernel);
    lines
}

/// What was said here alone does not outlive the next run of the site.
fn lasting(args: &TuneArgs) -> Option<String> {
    let said = [
        args.workload.map(|workload| format!("postgresql_workload: {workload}")),
        args.connections.map(|connections| format!("postgresql_max_connections: {connections}")),
        args.active.map(|active| format!("postgresql_active: {active}")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| {
        format!("`ishprov run` goes by the inventory: to keep this, it has to say {} there.", said.join(", "))
    })
}

/// What the built-in plays know of each host.
pub(super) fn vars(reached: &Reached) -> Value {
    let primary = reached.plans.iter().find(|plan| is_primary(plan));
    let primary = primary.or(reached.plans.first()).map(|plan| plan.host.clone()).unwrap_or_default();
    let mut all = Map::new();
    for plan in &reached.plans {
        let Some(remote) = &plan.remote else { continue };
        let measured = reached.disks.iter().find(|(host, _)| *host == plan.host).map(|(_, disk)| disk);
        let ours = |name: &str| {
            plan.tuning.get(name).is_some() || plan.overrides.iter().any(|(known, _)| known == name)
        };
        let kept = unexplained(remote.standing.as_deref().unwrap_or_default()).into_iter();
        let kept: Map<String, Value> =
            kept.filter(|(name, _)| !ours(name)).map(|(name, value)| (name, literal(&value))).collect();
        let settings: Map<String, Value> =
            plan.overrides.iter().map(|(name, value)| (name.clone(), literal(value))).collect();
        let host = json!({
            "version": plan.input.pg_major,
            "cluster": remote.cluster,
            "file": remote.file,
            // Not beside the file: a folder of the configuration that changes looks like a configuration that changed.
            "before": format!("/var/lib/ishprov/tune/{}-{}", plan.input.pg_major, remote.cluster),
            "workload": plan.input.workload.name(),
            "max_connections": plan.input.max_connections,
            "active": plan.input.active.unwrap_or(plan.input.max_connections),
            "preload": plan.input.preload,
            "primary": primary,
            "unit": format!(
                "/etc/systemd/system/postgresql@{}-{}.service.d/60-ishprov.conf",
                plan.input.pg_major, remote.cluster
            ),
            "kept": kept,
            "settings": settings,
            "disk": measured.map(disk::record).unwrap_or_default(),
            "disk_file": disk_file(&remote.file),
        });
        all.insert(plan.host.clone(), host);
    }
    json!({ "tune_hosts": all, "tune_twice": reached.plans.iter().any(again), "tune_measuring": false })
}

/// Settings of a file of ours that no reason stands above: what a site needs besides the tuned ones. They stay.
fn unexplained(text: &str) -> Vec<(String, String)> {
    let body = text.lines().skip_while(|line| line.starts_with('#'));
    let (mut found, mut reason) = (Vec::new(), false);
    for line in body {
        match line.trim() {
            "" => reason = false,
            line if line.starts_with('#') => reason = true,
            line => {
                if let (Some((name, value)), false) = (line.split_once('='), reason) {
                    found.push((name.trim().to_owned(), plain(value.trim())));
                }
                reason = false;
            }
        }
    }
    found
}

/// A value of postgresql.conf without its quotes, as `postgresql_set` writes them.
fn plain(literal: &str) -> String {
    let Some(body) = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) else {
        return literal.to_owned();
    };
    let (mut text, mut chars) = (String::new(), body.chars());
    while let Some(c) = chars.next() {
        match c {
            '\'' => text.extend(chars.next()),
            '\\' => text.extend(chars.next().map(|next| match next {
                'n' => '\n',
                'r' => '\r',
                other => other,
            })),
            c => text.push(c),
        }
    }
    text
}

/// A text that a host told, for variables that are rendered: what looks like a template there is none.
fn literal(text: &str) -> Value {
    let templated = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
    if templated { json!(text.replace('{', "{{ '{' }}")) } else { json!(text) }
}

/// Runs built-in plays over the hosts; the exit code.
async fn play(args: &TuneArgs, screen: &Screen, reached: &Reached, text: &'static str, vars: &Value) -> i32 {
    let hosts: Vec<&str> = reached.plans.iter().map(|plan| plan.host.as_str()).collect();
    let mut inventory = args.inventory.clone();
    inventory.extra_vars.push(vars.to_string());
    let run_args = RunArgs::built_in(SITE, inventory, args.connect.clone(), hosts.join(","));
    match run::prepare_built_in(&run_args, &[(SITE, text), KERNEL], screen) {
        Ok(run::Prepared::Ready(ready)) => run::go_and_report(*ready, &run_args, screen.clone(), false).await,
        Ok(run::Prepared::Listed) => exit::OK,
        Err(code) => code,
    }
}

/// Whether the servers have what was decided, asked anew.
async fn in_force(args: &TuneArgs, screen: &Screen) -> i32 {
    // By the disk's record of just now: measured once more it could come out as another kind.
    let args = TuneArgs { probe_disk: false, ..args.clone() };
    let reached = match hosts::plans(&args, screen).await {
        Ok(reached) => reached,
        Err(code) => return code,
    };
    let mut code = exit::OK;
    for plan in &reached.plans {
        let missing: Vec<String> = plan
            .changes()
            .iter()
            .map(|row| format!("`{}` is {}, not {}", row.name, row.now, row.proposed))
            .collect();
        let pending = live(plan).map_or(0, |live| live.pending.len());
        if missing.is_empty() && pending == 0 {
            let rows = plan.rows();
            let ours = rows.iter().filter(|row| row.takes == Step::Nothing).count();
            screen.line(&format!("{}: {ours} settings are in force, none waits", plan.host));
            for row in &rows {
                if let Step::Overridden(file) = &row.takes {
                    screen.line(&format!(
                        "{}: `{}` stays {}, not {}: `{file}` has the last word",
                        plan.host, row.name, row.now, row.proposed
                    ));
                }
            }
            continue;
        }
        let message =
            format!("{} settings did not come into force, {pending} wait for a restart", missing.len());
        let mut diagnostic = Diagnostic::error("tune", message).host(&plan.host);
        diagnostic.notes = missing;
        code = refuse(screen, diagnostic.hint("does its postgresql.conf include the folder conf.d?"));
    }
    if code == exit::OK {
        screen.line("`ishprov tune --undo` brings back what was before.");
        return code;
    }
    exit::FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_needs_besides_is_kept_and_unquoted() {
        let text = "# Written by ishprov for oltp, 300 connections, 300 of them active: changes by hand are overwritten.\n\
                    # A file of a later name\n\n# a quarter of RAM\nshared_buffers = 2GB\n\n# why\n# why more\njit = off\n\
                    listen_addresses = '*'\nport = 5432\nssl_ca_file = '/etc/it''s\\\\ca.crt'\n";
        let kept = unexplained(text);
        let expected = [("listen_addresses", "*"), ("port", "5432"), ("ssl_ca_file", "/etc/it's\\ca.crt")];
        assert_eq!(kept, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
