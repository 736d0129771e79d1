//! `ishprov certs rotate`: new certificates on hosts that run, or a new CA, without anybody noticing.

use super::gate::{self, Place, Seen, Wanted};
use super::places::{look, places, wrong};
use super::store::{self, Store, read, trusted};
use super::{Done, blame, now, succession};
use crate::cli::args::{CertsRotateArgs, ConnectArgs, InventoryArgs, RunArgs};
use crate::cli::confirm::agreed;
use crate::cli::{exit, load, run};
use crate::console::Screen;
use crate::diag::{Diagnostic, Fault, SourceMap};
use crate::pki::{self, Phase, Rotation, State, to_replace};
use crate::shell::{Masker, Secret};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

/// The name that the built-in play goes by in messages.
const SITE: &str = "ishprov certs rotate";

/// Everything about the hosts of a rotation.
struct Crew<'a> {
    screen: &'a Screen,
    dir: PathBuf,
    inventory: InventoryArgs,
    connect: ConnectArgs,
    /// Standbys first.
    hosts: Vec<(Place, Seen)>,
    /// Hosts with certificates that this call leaves out.
    outside: Vec<String>,
}

/// Rotates; the exit code.
pub async fn rotate(args: &CertsRotateArgs, screen: &Screen) -> Done<i32> {
    let failed = |error: std::io::Error| {
        vec![Diagnostic::error("certs", format!("cannot read `{}`: {error}", args.pki.pki.display()))]
    };
    if !args.pki.pki.is_dir() {
        read(&args.pki.pki)?;
    }
    let store = Store::lock(&args.pki.pki)?;
    let dir = std::fs::canonicalize(&args.pki.pki).map_err(failed)?;
    let (inventory, connect, password) = asked(args)?;
    succession::mend(&store, &dir)?;
    let rotation = store::rotation(&dir)?;
    let state = read(&dir)?;
    // Opened before anything else: a wrong password must not be found out half way.
    store.ca(password.as_ref())?;
    fits(args, rotation.as_ref()).map_err(|fault| vec![blame(&dir, fault)])?;
    let (places, outside) = places(args, &inventory, &connect, &dir, &state)?;
    let hosts = match look(places, screen, args.connect.forks).await {
        Ok(hosts) => hosts,
        Err(code) => return Ok(code),
    };
    let crew = Crew { screen, dir, inventory, connect, hosts, outside };
    let code = match args.ca {
        true => Box::pin(crew.ca(args, &store, &state, rotation, password.as_ref())).await?,
        false => Box::pin(crew.leaves(args, &store, &state, rotation)).await?,
    };
    if screen.json {
        let under_way = store::rotation(&crew.dir)?;
        screen.line(&json!({ "event": "certs_rotated", "code": code, "under_way": under_way }).to_string());
    }
    Ok(code)
}

/// Passwords that have to be asked for, asked for once.
fn asked(args: &CertsRotateArgs) -> Done<(InventoryArgs, ConnectArgs, Option<Secret>)> {
    let (mut inventory, mut connect) = (args.inventory.clone(), args.connect.clone());
    let cannot = |error| vec![Diagnostic::error("vault", format!("cannot ask for the password: {error}"))];
    crate::cli::vault::ask_become(&mut connect).map_err(cannot)?;
    let mut faults = Vec::new();
    let password = load::vault_password(&inventory, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    inventory.vault_password.clone_from(&password);
    Ok((inventory, connect, password))
}

/// Whether what is asked for goes with what is under way.
fn fits(args: &CertsRotateArgs, rotation: Option<&Rotation>) -> Result<(), Fault> {
    match (rotation, args.ca) {
        (Some(Rotation::Ca { since, phase, .. }), false) => {
            Err(Fault::task(format!("the CA is being changed, since {since}: {}", phase.place()))
                .hint("`ishprov certs rotate --ca` goes on with it; it replaces every certificate too"))
        }
        (Some(Rotation::Leaves { since, .. }), true) => {
            Err(Fault::task(format!("certificates are being rotated, since {since}"))
                .hint("`ishprov certs rotate` goes on with that; then change the CA"))
        }
        (Some(Rotation::Ca { .. }), true) if args.name.is_some() || args.import_cert.is_some() => {
            Err(Fault::task("the new CA is there already: it can be chosen only at the beginning")
                .hint("leave out `--name` and `--import-cert`"))
        }
        _ => Ok(()),
    }
}

impl Crew<'_> {
    fn names(&self) -> Vec<&str> {
        self.hosts.iter().map(|(place, _)| place.service.name.as_str()).collect()
    }

    /// New certificates from the same CA.
    async fn leaves(
        &self,
        args: &CertsRotateArgs,
        store: &Store,
        state: &State,
        rotation: Option<Rotation>,
    ) -> Done<i32> {
        let before = match &rotation {
            Some(Rotation::Leaves { replace, since }) => Some((replace.as_slice(), since.clone())),
            _ => None,
        };
        let names = self.names();
        let replace = to_replace(before.as_ref().map(|(list, _)| *list), state, &names);
        if let Some((_, since)) = &before {
            self.say(&format!("Going on with the rotation of {since}."));
        }
        self.say(&format!(
            "New keys and certificates for {}, one host at a time, by reload: no server restarts, no connection ends.",
            names.join(", ")
        ));
        if let Err(code) = agreed(args.yes, self.screen, "Rotate?") {
            return Ok(code);
        }
        let since = before.map_or_else(|| pki::stamp(now()), |(_, since)| since);
        if rotation.is_none() {
            store.backup(now())?;
        }
        let under_way = Rotation::Leaves { since, replace: replace.clone() };
        store.write("rotation.json", &under_way.to_text(), 0o644)?;
        let bundle = trusted(&self.dir)?;
        let wanted = Wanted { trusted: &bundle, issuer: Some(&state.ca), replaced: &replace };
        let code = self.hosts(&wanted, "certificates").await?;
        if code != exit::OK {
            return Ok(code);
        }
        let left = read(&self.dir)?;
        let waiting = left.current().into_iter().filter(|entry| replace.contains(&entry.serial));
        let waiting: BTreeSet<&str> = waiting.filter_map(|entry| entry.host.as_deref()).collect();
        if waiting.is_empty() {
            store.remove("rotation.json")?;
            self.say("Every host has new certificates, and its server shows them.");
        } else {
            let waiting: Vec<&str> = waiting.into_iter().collect();
            self.say(&format!(
                "These still have old ones: {}. The same command goes on.",
                waiting.join(", ")
            ));
        }
        Ok(exit::OK)
    }

    /// Another CA.
    async fn ca(
        &self,
        args: &CertsRotateArgs,
        store: &Store,
        state: &State,
        rotation: Option<Rotation>,
        password: Option<&Secret>,
    ) -> Done<i32> {
        let next = match rotation {
            Some(Rotation::Ca { .. }) => None,
            _ => Some(succession::successor(args, state, password)?),
        };
        let (begun, mut done) = match rotation {
            Some(Rotation::Ca { since, phase, done }) => {
                self.say(&format!("Going on with the change of CA: {} since {since}.", phase.place()));
                (phase, done)
            }
            _ => {
                let name = next.as_ref().map(|(ca, _)| ca.info().subject.clone()).unwrap_or_default();
                self.say(&format!("`{name}` takes the place of `{}`.", state.ca.subject));
                (Phase::Trust, false)
            }
        };
        for phase in Phase::ALL.into_iter().filter(|phase| *phase > begun || (*phase == begun && !done)) {
            self.say(&format!("  {}: {}", phase.place(), phase.does()));
        }
        self.say(&format!(
            "On {}, one host at a time, by reload: no server restarts, no connection ends.",
            self.names().join(", ")
        ));
        if begun == Phase::Trust && !args.step {
            self.say(
                "Clients outside that check the server's certificate must trust the new CA before phase 2: with `--step` \
                 this ends after phase 1, and `ishprov certs export bundle` prints what they need.",
            );
        }
        if let Err(code) = agreed(args.yes, self.screen, "Change the CA?") {
            return Ok(code);
        }
        if let Some((ca, key)) = &next {
            succession::begin(store, &self.dir, ca, key, password)?;
        }
        let mut phase = begun;
        loop {
            // Also where it was done before: what was true then must be true now.
            let code = self.phase(phase).await?;
            if code != exit::OK {
                return Ok(code);
            }
            if !self.outside.is_empty() {
                self.say(&format!(
                    "{} waits for {}: the same command with those hosts goes on. A host that is no more: `ishprov \
                     certs revoke` its certificates.",
                    phase.place(),
                    self.outside.join(", ")
                ));
                return Ok(exit::OK);
            }
            succession::done(store, &self.dir, phase)?;
            if let (true, false, Some(next)) = (args.step, done, phase.next()) {
                self.say(&format!("Next, by the same command: {}, {}.", next.place(), next.does()));
                return Ok(exit::OK);
            }
            if phase == Phase::Leaves {
                self.nobody_left_behind()?;
            }
            let Some(next) = succession::advance(store, &self.dir, phase)? else { break };
            (phase, done) = (next, false);
        }
        let ca = read(&self.dir)?.ca;
        self.say(&format!("`{}` is the only CA now; every login was proven.", ca.subject));
        Ok(exit::OK)
    }

    /// One phase on every host; then all of them are looked at once more.
    async fn phase(&self, phase: Phase) -> Done<i32> {
        let bundle = trusted(&self.dir)?;
        let ca = read(&self.dir)?.ca;
        let issuer = (phase != Phase::Trust).then_some(&ca);
        let wanted = Wanted { trusted: &bundle, issuer, replaced: &[] };
        self.say(&format!("\n{}: {}", phase.place(), phase.does()));
        let code = self.hosts(&wanted, &phase.place()).await?;
        if code != exit::OK {
            return Ok(code);
        }
        let mut faults = Vec::new();
        for (place, before) in &self.hosts {
            let found = match gate::look(place, false).await {
                Ok(seen) => gate::judge(place, &wanted, before, &seen),
                Err(diagnostic) => return self.stopped(&[diagnostic], exit::UNREACHABLE),
            };
            if !found.is_empty() {
                faults.push(wrong(place, &found));
            }
        }
        if faults.is_empty() { Ok(exit::OK) } else { self.stopped(&faults, exit::FAILED) }
    }

    /// Certificates outside that only the old CA stands for would stop working without a word.
    fn nobody_left_behind(&self) -> Done<()> {
        let Some(old) = succession::previous(&self.dir)? else { return Ok(()) };
        let state = read(&self.dir)?;
        let left = pki::hanging_on(&old, &state, now());
        if left.is_empty() {
            return Ok(());
        }
        let message = format!("`{}` still stands for certificates that people or programs hold", old.subject);
        let mut diagnostic = Diagnostic::error("certs", message);
        diagnostic.notes = left
            .iter()
            .map(|entry| format!("{} ({}), until {}", entry.name, entry.common_name, entry.not_after))
            .collect();
        Err(vec![
            diagnostic
                .hint(
                    "issue new ones (`ishprov certs issue NAME --out DIR`) and hand them out, or revoke them",
                )
                .hint("then the same command goes on: servers accept both until it does"),
        ])
    }

    /// Brings one host after the other to what is wanted, and proves it.
    async fn hosts(&self, wanted: &Wanted<'_>, step: &str) -> Done<i32> {
        let state = read(&self.dir)?;
        for (place, before) in &self.hosts {
            let started = Instant::now();
            let name = &place.service.name;
            // A run that was broken off may have been here; what was seen then is as it shall be.
            let seen = match gate::look(place, false).await {
                Ok(seen) => seen,
                Err(diagnostic) => return self.stopped(&[diagnostic], exit::UNREACHABLE),
            };
            // What a killed program issued and did not write down any more is written down by the task.
            let known = |serial: &str| state.entries.iter().any(|entry| entry.serial == serial);
            let recorded = gate::serials(place, &seen).iter().all(|serial| known(serial));
            if recorded && gate::judge(place, wanted, before, &seen).is_empty() {
                self.tell(name, step, "as it shall be", None);
                continue;
            }
            if let Some(code) = self.play(place, wanted, &seen).await {
                return Ok(code);
            }
            let (seen, faults) = match gate::settle(place, wanted, before).await {
                Ok(settled) => settled,
                Err(diagnostic) => return self.stopped(&[diagnostic], exit::UNREACHABLE),
            };
            if !faults.is_empty() {
                return self.stopped(&[wrong(place, &faults)], exit::FAILED);
            }
            self.tell(name, step, &proven(&seen), Some(started.elapsed().as_secs_f64()));
        }
        Ok(exit::OK)
    }

    /// The host's own `tls_cert` tasks once more; the exit code when one failed.
    async fn play(&self, place: &Place, wanted: &Wanted<'_>, seen: &Seen) -> Option<i32> {
        let tasks = place.tasks.iter().flat_map(|told| {
            let name = told.str("cert_path").unwrap_or_default();
            let mut task = told.task.clone();
            task.insert("dir".to_owned(), json!(self.dir));
            task.insert("replace".to_owned(), json!(wanted.replaced));
            // A key that never travels is made anew where it lies, when its certificate is due.
            let key = (told.str("key_origin") == Some("host") && gate::due(told, wanted, seen)).then(|| {
                let mut key: serde_json::Map<String, Value> = told.task.clone();
                key.retain(|name, _| {
                    ["key_path", "key_type", "owner", "group", "mode"].contains(&name.as_str())
                });
                key.insert("next".to_owned(), json!(true));
                json!({ "name": format!("next key for {name}"), "tls_key": key })
            });
            key.into_iter().chain([json!({ "name": name, "tls_cert": task })])
        });
        let play = json!([{ "name": "certificates", "hosts": place.service.name, "become": true, "gather_facts": false,
            "tasks": tasks.collect::<Vec<Value>>() }]);
        let run_args =
            RunArgs::built_in(SITE, self.inventory.clone(), self.connect.clone(), place.service.name.clone());
        let code = run::quietly(&run_args, &[(SITE, &play.to_string())], self.screen).await;
        if code == exit::OK {
            return None;
        }
        self.ended();
        Some(code)
    }

    fn stopped(&self, faults: &[Diagnostic], code: i32) -> Done<i32> {
        self.screen.diagnostics(faults, &SourceMap::new(), &Masker::new());
        self.ended();
        Ok(code)
    }

    fn ended(&self) {
        self.screen.aside(
            "The rotation stopped at that host: those after it are as they were. The same command goes on when this is mended.",
        );
    }

    fn say(&self, text: &str) {
        if !self.screen.json {
            self.screen.line(text);
        }
    }

    fn tell(&self, host: &str, step: &str, what: &str, seconds: Option<f64>) {
        if self.screen.json {
            let event = json!({ "event": "certs_rotate", "host": host, "step": step, "changed": seconds.is_some(),
                "proven": what, "seconds": seconds });
            return self.screen.line(&event.to_string());
        }
        let took = seconds.map(|seconds| format!("  {seconds:.1} s")).unwrap_or_default();
        self.screen.line(&format!("  {host:<20}  {what}{took}"));
    }
}

/// What was proven of a host.
fn proven(seen: &Seen) -> String {
    let mut words = vec!["files in place"];
    if seen.host.wire.is_some() {
        words.push("shown by its server");
    }
    if seen.standby {
        words.push("streaming, new login works");
    }
    words.join(", ")
}
