//! Applies what was decided, or takes it back: built-in plays over the engine that `ishprov run` uses, so that the same
//! tasks write, reload and restart as in the role `postgresql`.

use super::hosts::{self, Reached};
use super::plan::{Plan, Row, Step};
use super::written::{literal, unexplained};
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
const FINISH: &str = include_str!("finish.yaml");
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
    let goes_on = unfinished(&reached).is_some();
    if reached.plans.iter().all(|plan| plan.changes().is_empty() && !again(plan)) && !goes_on {
        let held = reached.plans.iter().flat_map(Plan::rows);
        let held = held.filter(|row| matches!(row.takes, Step::Overridden(_))).count();
        screen.line(&match held {
            0 => "\nNothing to do: every setting that fits is in force.".to_owned(),
            held => format!(
                "\nNothing to do: what is not in force ({held}, above) is held by files that are read later."
            ),
        });
        return exit::OK;
    }
    screen.line("");
    if goes_on {
        screen.line("An attempt that did not end goes on: `--undo` will bring back what was before it.");
    }
    order(&reached.plans).iter().for_each(|line| screen.line(line));
    lasting(args).iter().for_each(|line| screen.line(line));
    if let Err(code) = agreed(args.yes, screen, "Apply this?") {
        return code;
    }
    let vars = vars(&reached, &attempt(&reached));
    let code = play(args, screen, &reached, CHECK, &vars).await;
    if code != exit::OK {
        screen.aside("Nothing was written: the settings are as they were.");
        return code;
    }
    let code = play(args, screen, &reached, APPLY, &vars).await;
    match code {
        exit::OK => match play(args, screen, &reached, FINISH, &vars).await {
            exit::OK => in_force(args, reached, screen).await,
            code => {
                screen.aside(
                    "error: the servers run with the new settings, but that could not be noted everywhere; the same command \
                     goes on from there",
                );
                code
            }
        },
        exit::INTERRUPTED => {
            screen.aside("Stopped on the way. The same command goes on; `ishprov tune --undo` takes back what was done.");
            code
        }
        code => {
            screen.aside("\nThat failed: the settings of before come back.");
            match play(args, screen, &reached, UNDO, &undoing(&vars, false)).await {
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
    let ended = unfinished(&reached).is_none();
    play(args, screen, &reached, UNDO, &undoing(&vars(&reached, &attempt(&reached)), ended)).await
}

/// Variables of the play that takes back: unless the last attempt `ended`, only what it has changed.
pub(super) fn undoing(vars: &Value, ended: bool) -> Value {
    let mut vars = vars.clone();
    vars["tune_ended"] = json!(ended);
    vars
}

/// The newest attempt that some host has no end of.
fn unfinished(reached: &Reached) -> Option<&str> {
    reached.plans.iter().filter_map(|plan| plan.remote.as_ref()?.applying.as_deref()).max()
}

/// The attempt that goes on, else a new one: seconds since 1970, so that a later one is greater.
pub(super) fn attempt(reached: &Reached) -> String {
    let new = || time::OffsetDateTime::now_utc().unix_timestamp().to_string();
    unfinished(reached).map_or_else(new, str::to_owned)
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
pub(super) fn vars(reached: &Reached, attempt: &str) -> Value {
    let primary = reached.plans.iter().find(|plan| is_primary(plan));
    let primary = primary.or(reached.plans.first()).map(|plan| plan.host.clone()).unwrap_or_default();
    let mut all = Map::new();
    for plan in &reached.plans {
        let Some(remote) = &plan.remote else { continue };
        let measured = reached.disks.iter().find(|(host, _)| *host == plan.host).map(|(_, disk)| disk);
        let ours = |name: &str| {
            plan.tuning.get(name).is_some() || plan.overrides.iter().any(|(known, _)| known == name)
        };
        let besides = unexplained(remote.standing.as_deref().unwrap_or_default()).into_iter();
        let besides: Map<String, Value> =
            besides.filter(|(name, _)| !ours(name)).map(|(name, value)| (name, literal(&value))).collect();
        let settings: Map<String, Value> =
            plan.overrides.iter().map(|(name, value)| (name.clone(), literal(value))).collect();
        let host = json!({
            "version": plan.input.pg_major,
            "cluster": remote.cluster,
            "data_directory": remote.data_directory,
            "memory": remote.memory,
            "file": remote.file,
            "kept": kept(plan.input.pg_major, &remote.cluster),
            "workload": plan.input.workload.name(),
            "max_connections": plan.input.max_connections,
            "active": plan.input.active.unwrap_or(plan.input.max_connections),
            "preload": plan.input.preload,
            "primary": primary,
            "unit": format!(
                "/etc/systemd/system/postgresql@{}-{}.service.d/60-ishprov.conf",
                plan.input.pg_major, remote.cluster
            ),
            "besides": besides,
            "settings": settings,
            "disk": measured.map(disk::record).unwrap_or_default(),
            "disk_file": disk_file(&remote.file),
        });
        all.insert(plan.host.clone(), host);
    }
    let twice = reached.plans.iter().any(again);
    json!({ "tune_hosts": all, "tune_twice": twice, "tune_attempt": literal(attempt) })
}

/// Where a host keeps the settings of before (`.previous`) and the attempt that they were kept by (`.applying`, and
/// `.applied` once it ended). Not beside the file: a folder of the configuration that changes looks like a configuration
/// that changed.
pub(super) fn kept(major: u32, cluster: &str) -> String {
    format!("/var/lib/ishprov/tune/{major}-{cluster}")
}

/// A run of built-in plays over the hosts, with what the plays know of them.
pub(super) fn run_args(args: &TuneArgs, reached: &Reached, vars: &Value) -> RunArgs {
    let hosts: Vec<&str> = reached.plans.iter().map(|plan| plan.host.as_str()).collect();
    let mut inventory = args.inventory.clone();
    inventory.extra_vars.push(vars.to_string());
    RunArgs::built_in(SITE, inventory, args.connect.clone(), hosts.join(","))
}

/// Runs built-in plays over the hosts; the exit code.
async fn play(args: &TuneArgs, screen: &Screen, reached: &Reached, text: &'static str, vars: &Value) -> i32 {
    let run_args = run_args(args, reached, vars);
    match run::prepare_built_in(&run_args, &[(SITE, text), KERNEL], screen) {
        Ok(run::Prepared::Ready(ready)) => run::go_and_report(*ready, &run_args, screen.clone(), false).await,
        Ok(run::Prepared::Listed) => exit::OK,
        Err(code) => code,
    }
}

/// Whether the servers have what the apply wrote, asked anew. Nothing is decided or measured once more.
async fn in_force(args: &TuneArgs, applied: Reached, screen: &Screen) -> i32 {
    let asking = TuneArgs { probe_disk: false, dry_run: true, ..args.clone() };
    let now = match hosts::plans(&asking, screen).await {
        Ok(reached) => reached,
        Err(code) => return code,
    };
    let mut code = exit::OK;
    for (plan, now) in applied.plans.into_iter().zip(now.plans) {
        let plan = plan.seen_again(now);
        let (held, missing) = outcome(&plan);
        let pending = live(&plan).map_or(0, |live| live.pending.len());
        if missing.is_empty() && pending == 0 {
            let rows = plan.rows();
            let ours = rows.iter().filter(|row| row.takes == Step::Nothing).count();
            screen.line(&format!("{}: {ours} settings are in force, none waits", plan.host));
            held.iter().for_each(|line| screen.line(&format!("{}: {line}", plan.host)));
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

/// What is not in force, each with the file that has the last word: where a file that is read later than ours holds it, as
/// was shown before, and where ours should have been heard.
fn outcome(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let (mut held, mut missing) = (Vec::new(), Vec::new());
    for row in plan.rows() {
        let (name, now, wanted) = (&row.name, &row.now, &row.proposed);
        let word = match plan.measured.sources.get(name) {
            Some(file) => format!("`{file}` has the last word"),
            None => "no file sets it".to_owned(),
        };
        match row.takes {
            Step::Nothing => {}
            Step::Overridden(_) => held.push(format!("`{name}` stays {now}, not {wanted}: {word}")),
            Step::Reload | Step::Restart => missing.push(format!("`{name}` is {now}, not {wanted}: {word}")),
        }
    }
    (held, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::cli::measure::Measured;
    use crate::cli::tune::plan::Remote;
    use crate::cluster::Server;
    use crate::tuner::{Bytes, ClusterNeeds, Input, Workload, tune as decide};

    const FILE: &str = "/etc/postgresql/15/main/conf.d/50-ishprov.conf";

    fn host(name: &str, applying: Option<&str>) -> Plan {
        let input = Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15);
        let mut measured = Measured::bare(input.hardware.clone(), Some(15), false);
        let needs = ClusterNeeds::of([&input], &[]);
        let tuning = decide(&input, &needs).expect("fits");
        for setting in &tuning.settings {
            measured.settings.insert(setting.name.to_owned(), setting.value.to_string());
            measured.sources.insert(setting.name.to_owned(), FILE.to_owned());
        }
        let remote = Remote {
            cluster: "main".to_owned(),
            data_directory: "/var/lib/postgresql/15/main".to_owned(),
            memory: None,
            file: FILE.to_owned(),
            standing: Some("# ours\n\n# why\njit = off\n\nport = 5433\n".to_owned()),
            server: Server::default(),
            again: false,
            applying: applying.map(str::to_owned),
        };
        let (host, overrides) = (name.to_owned(), Vec::new());
        Plan { host, measured, input, needs, tuning, overrides, notes: Vec::new(), remote: Some(remote) }
    }

    fn reached(plans: Vec<Plan>) -> Reached {
        Reached { plans, disks: Vec::new(), stats: Vec::new() }
    }

    #[test]
    fn plays_are_told_where_the_settings_of_before_lie_and_what_stays_besides() {
        let vars = vars(&reached(vec![host("pg1", None)]), "7");
        let pg1 = &vars["tune_hosts"]["pg1"];
        assert_eq!(pg1["kept"], "/var/lib/ishprov/tune/15-main");
        assert_eq!(pg1["besides"], json!({"port": "5433"}));
        assert_eq!(vars["tune_attempt"], "7");
    }

    #[test]
    fn the_newest_attempt_without_an_end_goes_on() {
        let of = |marks: [Option<&str>; 3]| {
            let reached = reached(marks.map(|mark| host("pg1", mark)).into());
            (unfinished(&reached).map(str::to_owned), attempt(&reached))
        };
        let going = of([None, Some("1800000000"), Some("1800000005")]);
        assert_eq!(going, (Some("1800000005".to_owned()), "1800000005".to_owned()));
        let (none, new) = of([None, None, None]);
        assert_eq!(none, None);
        assert!(new.parse::<i64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{new}");
    }

    #[test]
    fn what_is_not_in_force_is_told_with_the_file_that_has_the_last_word() {
        let mut plan = host("pg1", None);
        assert_eq!(outcome(&plan), (Vec::new(), Vec::new()));
        let later = "/etc/postgresql/15/main/conf.d/60-own.conf";
        for (name, value, file) in [
            ("work_mem", "1MB", Some(later)),
            ("jit", "on", Some("/etc/postgresql/15/main/postgresql.conf")),
            ("max_connections", "100", None),
        ] {
            plan.measured.settings.insert(name.to_owned(), value.to_owned());
            plan.measured.sources.remove(name);
            plan.measured.sources.extend(file.map(|file| (name.to_owned(), file.to_owned())));
        }
        let wanted = |name: &str| plan.tuning.get(name).expect("decided").value.to_string();
        let (held, missing) = outcome(&plan);
        assert_eq!(
            held,
            [format!("`work_mem` stays 1MB, not {}: `{later}` has the last word", wanted("work_mem"))]
        );
        assert_eq!(
            missing,
            [
                "`max_connections` is 100, not 300: no file sets it".to_owned(),
                format!(
                    "`jit` is on, not {}: `/etc/postgresql/15/main/postgresql.conf` has the last word",
                    wanted("jit")
                ),
            ]
        );
    }
}
