//! `--measure`: whole candidates in turns under a person's own script, and back to what was.
//!
//! A few whole configurations and no search: what is compared is what the tuner gives for a kind of work, beside what runs
//! now (the idea of lambda-Tune: the best of a few whole candidates within a bound of time).

use super::apply::{APPLY, KERNEL, SITE, UNDO, attempt, in_the_way, is_primary, run_args, undoing, vars};
use super::hosts::{self, Reached};
use super::refuse;
use crate::cli::args::TuneArgs;
use crate::cli::asking::answers;
use crate::cli::confirm::agreed;
use crate::cli::{exit, load, run};
use crate::console::Screen;
use crate::diag::Diagnostic;
use crate::engine::explain;
use crate::shell::{Ask, Output, quote};
use crate::transport::Endpoint;
use crate::tuner::Workload;
use serde_json::Value;
use std::path::Path;

/// Seconds that a change of settings takes with its restarts, about.
const CHANGE: u64 = 15;
/// Fewer turns tell nothing of the spread.
const LEAST_ROUNDS: u64 = 2;
/// What ends the script in the host's shell.
const END: &str = "ISHPROV_END_OF_SCRIPT";

/// Settings to try.
struct Candidate {
    name: String,
    /// What the plays are told; `None` for what runs now.
    vars: Option<Value>,
    turns: Vec<Turn>,
}

/// One run of the script.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Turn {
    /// Transactions a second, without connecting.
    tps: f64,
    /// Bytes of WAL and of temporary files for a transaction.
    wal: f64,
    temp: f64,
}

/// Measures; the exit code. The settings of before come back in every case.
pub async fn trial(args: &TuneArgs, script: &Path, screen: &Screen) -> i32 {
    let text = match std::fs::read_to_string(script) {
        Ok(text) if text.lines().any(|line| line == END) => {
            return refuse(
                screen,
                Diagnostic::error("tune", format!("a line of the script is `{END}`, which ends it here")),
            );
        }
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", script.display());
            return refuse(screen, Diagnostic::error("tune", message));
        }
    };
    let standing = match hosts::plans(args, screen).await {
        Ok(reached) => reached,
        Err(code) => return code,
    };
    if let Some(diagnostic) = in_the_way(&standing.plans) {
        return refuse(screen, diagnostic);
    }
    // One attempt for all candidates: what was before it is kept until the end, which is an undo.
    let attempt = attempt(&standing);
    let Some(primary) = standing.plans.iter().find(|plan| is_primary(plan)) else {
        let message = "none of these hosts is a primary: the script has to write";
        return refuse(
            screen,
            Diagnostic::error("tune", message).hint("name the whole cluster, or its primary"),
        );
    };
    let (host, cpus) = (primary.host.clone(), primary.input.hardware.cpus);
    let most = primary.input.active.unwrap_or(primary.input.max_connections);
    let clients = args.clients.map_or((cpus * 4).min(most).max(1), super::small);
    let mut candidates = vec![Candidate { name: "as it is".to_owned(), vars: None, turns: Vec::new() }];
    for workload in workloads(args.workload.unwrap_or(primary.input.workload)) {
        let wish = TuneArgs { workload: Some(workload), ..args.clone() };
        let Ok(reached) = hosts::plans(&wish, screen).await else {
            screen.aside(&format!("`{workload}` is left out: it does not fit these hosts"));
            continue;
        };
        let wanted = vars(&reached, &attempt);
        let known = |other: &Candidate| other.vars.as_ref() == Some(&wanted);
        if !candidates.iter().any(known) {
            candidates.push(Candidate { name: workload.to_string(), vars: Some(wanted), turns: Vec::new() });
        }
    }
    let seconds = args.seconds.clamp(1, 600);
    let turn = candidates.len() as u64 * (seconds + CHANGE);
    let rounds = args.minutes * 60 / turn;
    if rounds < LEAST_ROUNDS {
        let least = (turn * LEAST_ROUNDS).div_ceil(60);
        let message = format!(
            "{} minutes are too few for {} candidates in two turns each",
            args.minutes,
            candidates.len()
        );
        return refuse(
            screen,
            Diagnostic::error("tune", message).hint(format!("`--minutes {least}` or more")),
        );
    }
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    screen.line(&format!(
        "{} in turns, {rounds} rounds of {seconds} s each: `{}` with {clients} clients in database `{}` of {host}.\n\
         Every change restarts the servers: their clients lose their connections, {} times in about {} minutes.\n\
         At the end they run with the settings they have now; when this program is killed, `ishprov tune --undo` brings them back.",
        names.join(", "),
        script.display(),
        args.database,
        candidates.len() as u64 * rounds,
        (turn * rounds).div_ceil(60),
    ));
    if let Err(code) = agreed(args.yes, screen, "Measure?") {
        return code;
    }
    let mut world = load::world(&args.inventory, None, false);
    world.enter_lab(&args.connect);
    let endpoint = world.setup(&host, &args.connect, true).endpoint;
    let bench =
        Bench { args, screen, host, endpoint, ask: question(&args.database, clients, seconds, &text) };
    let back = undoing(&vars(&standing, &attempt), false);
    let code = tokio::select! {
        code = bench.rounds(&mut candidates, rounds, &standing, &back) => code,
        _ = tokio::signal::ctrl_c() => exit::INTERRUPTED,
    };
    let returned = bench.play(&standing, UNDO, &back).await;
    if returned == exit::OK {
        screen.line("The servers run with the settings they had before.");
    } else {
        screen.aside(
            "error: the settings of before are not back everywhere; `ishprov tune --undo` goes on from there",
        );
    }
    if code == exit::OK {
        table(&candidates).iter().for_each(|line| screen.line(line));
    }
    code.max(returned)
}

/// What is tried beside what is: the kind of work it was made for, and its neighbours.
fn workloads(own: Workload) -> Vec<Workload> {
    let mut all = vec![own];
    all.extend([Workload::Oltp, Workload::Mixed, Workload::Dw].into_iter().filter(|other| *other != own));
    all.truncate(3);
    all
}

struct Bench<'a> {
    args: &'a TuneArgs,
    screen: &'a Screen,
    host: String,
    endpoint: Endpoint,
    ask: Ask,
}

impl Bench<'_> {
    /// Every candidate once a round, the order turned by one each time, so that none always comes after the same.
    async fn rounds(
        &self,
        candidates: &mut [Candidate],
        rounds: u64,
        standing: &Reached,
        back: &Value,
    ) -> i32 {
        for round in 0..rounds as usize {
            for place in 0..candidates.len() {
                let at = (round + place) % candidates.len();
                let candidate = &mut candidates[at];
                let code = match &candidate.vars {
                    Some(vars) => self.play(standing, APPLY, vars).await,
                    None => self.play(standing, UNDO, back).await,
                };
                if code != exit::OK {
                    return code;
                }
                match self.turn().await {
                    Ok(turn) => {
                        self.screen.line(&format!(
                            "  {:<10}  {:.0} transactions a second",
                            candidate.name, turn.tps
                        ));
                        candidate.turns.push(turn);
                    }
                    Err((code, diagnostic)) => {
                        refuse(self.screen, diagnostic);
                        return code;
                    }
                }
            }
        }
        exit::OK
    }

    async fn turn(&self) -> Result<Turn, (i32, Diagnostic)> {
        let answers = answers(&self.endpoint, &self.ask).await;
        let answers = answers.map_err(|error| (exit::UNREACHABLE, explain(&self.host, &error)))?;
        let output = answers.and_then(|answers| answers.output(&self.ask).map(Output::text).ok());
        let text = output.unwrap_or_default();
        read(&text).map_err(|why| {
            let mut diagnostic = Diagnostic::error("tune", why).host(&self.host);
            diagnostic.notes =
                text.lines().filter(|line| line.contains("error")).take(5).map(str::to_owned).collect();
            (
                exit::FAILED,
                diagnostic.hint("try it by hand: `pgbench -n -f SCRIPT` on the host, as `postgres`"),
            )
        })
    }

    /// Built-in plays without a word of what they do; failures are shown.
    async fn play(&self, reached: &Reached, text: &'static str, vars: &Value) -> i32 {
        let run_args = run_args(self.args, reached, vars);
        run::quietly(&run_args, &[(SITE, text), KERNEL], self.screen).await
    }
}

/// Runs the script on the host by its own pgbench, and tells what the server counted meanwhile.
fn question(database: &str, clients: u32, seconds: u64, script: &str) -> Ask {
    let script = if script.ends_with('\n') { script.to_owned() } else { format!("{script}\n") };
    Ask::sh_as(
        "postgres",
        format!(
            "cd /; PGDATABASE={}; export PGDATABASE\n\
             count() {{ psql -XAtq -F ' ' -c \"SELECT pg_current_wal_insert_lsn() - '0/0', sum(temp_bytes) FROM pg_stat_database\"; }}\n\
             command -v pgbench >/dev/null || {{ echo 'error: the host has no pgbench'; exit 0; }}\n\
             psql -XAtq -c CHECKPOINT\nb=$(count)\n\
             pgbench -n -c {clients} -j {} -T {seconds} -f - 2>&1 <<'{END}'\n{script}{END}\n\
             sleep 1; echo \"counted $b $(count)\"\n",
            quote(database),
            clients.min(4),
        ),
    )
}

/// What pgbench and the server's counters said.
fn read(text: &str) -> Result<Turn, String> {
    let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let first = |rest: &str| rest.split([' ', '/']).next().and_then(|word| word.parse::<f64>().ok());
    let tps =
        after("tps = ").and_then(first).ok_or("pgbench told no rate: the script did not run to its end")?;
    let done = after("number of transactions actually processed: ").and_then(first).unwrap_or(0.0);
    if done < 1.0 {
        return Err("the script finished no transaction in its time: nothing can be said of it; `--seconds` gives more".to_owned());
    }
    let counted: Vec<f64> =
        after("counted ").unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [wal_before, temp_before, wal_after, temp_after] = counted[..] else {
        return Err("the server's counters could not be read".to_owned());
    };
    Ok(Turn { tps, wal: (wal_after - wal_before) / done, temp: (temp_after - temp_before) / done })
}

/// Medians, and how each turn stands beside the same round's turn of what is.
fn table(candidates: &[Candidate]) -> Vec<String> {
    let median = |mut values: Vec<f64>| -> f64 {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        }
    };
    let Some(base) = candidates.first() else { return Vec::new() };
    let mut lines = vec![format!(
        "{:<12}{:>10}   {:<26}{:>14}{:>14}",
        "candidate", "tps", "against what is (spread)", "WAL B/trans", "temp B/trans"
    )];
    let mut best = (1.0, None);
    for candidate in candidates {
        let of = |pick: fn(&Turn) -> f64| median(candidate.turns.iter().map(pick).collect());
        let mut ratios: Vec<f64> =
            candidate.turns.iter().zip(&base.turns).map(|(own, other)| own.tps / other.tps).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios.first().copied().unwrap_or(1.0), ratios.last().copied().unwrap_or(1.0));
        let ratio = median(ratios);
        lines.push(format!(
            "{:<12}{:>10.0}   {:<26}{:>14.0}{:>14.0}",
            candidate.name,
            of(|turn| turn.tps),
            format!("{ratio:.2} ({least:.2} - {most:.2})"),
            of(|turn| turn.wal),
            of(|turn| turn.temp),
        ));
        // Better only when it was in every round.
        if least > 1.0 && ratio > best.0 {
            best = (ratio, Some(candidate.name.as_str()));
        }
    }
    lines.push(match best {
        (ratio, Some(name)) => format!(
            "`{name}` was ahead in every round, {ratio:.2} times what is: `postgresql_workload: {name}` in the inventory, or \
             `ishprov tune --workload {name}`."
        ),
        _ => "None was ahead of what is in every round: nothing to gain that is more than noise.".to_owned(),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_and_the_server_say_is_read() {
        let said = "pgbench (15.18 (Debian))\nnumber of transactions actually processed: 200\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 1.0 ms\ntps = 1234.5 (without initial connection time)\ncounted 1000 0 401000 2000\n";
        assert_eq!(read(said), Ok(Turn { tps: 1234.5, wal: 2000.0, temp: 10.0 }));
        assert!(read("pgbench: error: no such table\n").unwrap_err().contains("did not run to its end"));
        let none = said.replace("processed: 200", "processed: 0");
        assert!(read(&none).unwrap_err().contains("finished no transaction"));
        assert!(read(&said.replace("counted", "x")).unwrap_err().contains("counters"));
        // 13 and 14 say it with the number asked for.
        assert!(read(&said.replace("processed: 200", "processed: 200/200")).is_ok());
    }

    #[test]
    fn only_what_was_ahead_in_every_round_is_called_better() {
        let turn = |tps| Turn { tps, wal: 1.0, temp: 0.0 };
        let candidate = |name: &str, rates: [f64; 3]| Candidate {
            name: name.to_owned(),
            vars: None,
            turns: rates.map(turn).to_vec(),
        };
        let lines = table(&[
            candidate("as it is", [100.0, 110.0, 90.0]),
            candidate("oltp", [150.0, 100.0, 140.0]),
            candidate("dw", [110.0, 121.0, 99.0]),
        ]);
        insta::assert_snapshot!(lines.join("\n"), @"
        candidate          tps   against what is (spread)     WAL B/trans  temp B/trans
        as it is           100   1.00 (1.00 - 1.00)                     1             0
        oltp               140   1.50 (0.91 - 1.56)                     1             0
        dw                 110   1.10 (1.10 - 1.10)                     1             0
        `dw` was ahead in every round, 1.10 times what is: `postgresql_workload: dw` in the inventory, or `ishprov tune --workload dw`.
        ");
        let noise =
            table(&[candidate("as it is", [100.0, 110.0, 90.0]), candidate("oltp", [101.0, 100.0, 91.0])]);
        assert!(noise[3].contains("more than noise"), "{noise:?}");
    }

    #[test]
    fn what_is_comes_first_and_few_are_tried() {
        assert_eq!(workloads(Workload::Web), [Workload::Web, Workload::Oltp, Workload::Mixed]);
        assert_eq!(workloads(Workload::Mixed), [Workload::Mixed, Workload::Oltp, Workload::Dw]);
    }
}
