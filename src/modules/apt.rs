//! Debian and Ubuntu packages.
//!
//! `name` is one package, a list, or names separated by commas. `nginx=1.22.*` wants a version (wildcards work),
//! `nginx/bookworm-backports` a release. `state: present` does nothing where any version is installed, or a package that
//! provides a name which no package has itself; `latest` installs the candidate where it is newer. All names of a task are
//! handled by one call of `apt-get`, which asks nothing, keeps changed configuration files, waits `lock_timeout`
//! seconds for another package manager, and restarts no service by needrestart.
//!
//! A fresh host has no package lists: where apt does not know a wanted package, or its lists are older than a day,
//! `apt-get update` runs before the installation without being asked. `update_cache: true` alone refreshes lists
//! older than `cache_valid_time`; with `name` and `state: present` it matters only when something is to be
//! installed. Ansible's default `cache_valid_time: 0` would refresh on every run; here the default is an hour, and
//! lists older than a file in `/etc/apt/sources.list.d` are refreshed in any case.
//!
//! `package` is the same module. `build-dep`, `fixed`, local `.deb` files and wildcards in names are not supported.
//!
//! EXAMPLES
//! - name: Server and client
//!   apt: {name: [postgresql-15, postgresql-client-15], state: present}
//! - name: A version
//!   apt: {name: pgbouncer=1.18.*, install_recommends: false}
//! - name: Everything up to date
//!   apt: {upgrade: dist, update_cache: true}
//! - name: Installed, but not started
//!   apt: {name: haproxy, policy_rc_d: 101}

use super::debian::{self, AptOptions, LISTS, Touched, bare};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Output, PackageState, cause_of, join};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The module `apt`.
pub struct Apt;

/// Which packages, and how.
#[derive(Debug)]
pub struct Params {
    /// As given: `name`, `name=version`, `name/release`.
    specs: Vec<String>,
    state: State,
    update_cache: bool,
    cache_valid_time: i64,
    upgrade: Option<&'static str>,
    autoremove: bool,
    autoclean: bool,
    clean: bool,
    purge: bool,
    only_upgrade: bool,
    release: Option<String>,
    options: AptOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Latest,
    Absent,
}

/// What the host has.
pub struct Found {
    /// By name, in the order of the task.
    packages: Vec<PackageState>,
    /// Provider by virtual name.
    providers: HashMap<String, String>,
    candidates: HashMap<String, String>,
    /// Removed, but with configuration files left.
    leftovers: Vec<String>,
    /// Seconds since the lists were refreshed; `None` when they do not count.
    age: Option<i64>,
    upgrades: Vec<Touched>,
    unneeded: Vec<Touched>,
    /// Downloaded files to delete.
    stale_files: usize,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    update: bool,
    upgrade: bool,
    install: Vec<String>,
    remove: Vec<String>,
    autoremove: bool,
    clean: bool,
}

impl Module for Apt {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "apt",
        aliases: &["package"],
        summary: "Debian and Ubuntu packages",
        source: include_str!("apt.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            Param::new("name", Kind::List, "Packages; `name=version` and `name/release` narrow")
                .aliases(&["pkg", "package"]),
            Param::new(
                "state",
                Kind::Choice(&["present", "installed", "latest", "absent", "removed"]),
                "Installed, installed at the candidate's version, or not installed",
            )
            .default("present"),
            Param::new("update_cache", Kind::Bool, "Refresh old package lists first")
                .default("false")
                .aliases(&["update-cache"]),
            Param::new(
                "cache_valid_time",
                Kind::Int,
                "Seconds that package lists count as fresh; implies `update_cache`",
            )
            .default("3600"),
            Param::new("purge", Kind::Bool, "Remove configuration files as well").default("false"),
            Param::new("autoremove", Kind::Bool, "Remove packages that nothing needs any more")
                .default("false"),
            Param::new("autoclean", Kind::Bool, "Delete downloaded packages that are no longer offered")
                .default("false"),
            Param::new("clean", Kind::Bool, "Delete all downloaded packages").default("false"),
            Param::new(
                "install_recommends",
                Kind::Bool,
                "Install recommended packages too; without it apt's own setting holds",
            )
            .aliases(&["install-recommends"]),
            Param::new("default_release", Kind::Str, "Release to install from").aliases(&["default-release"]),
            Param::new("only_upgrade", Kind::Bool, "Only upgrade what is installed already").default("false"),
            Param::new(
                "upgrade",
                Kind::Choice(&["no", "yes", "safe", "full", "dist"]),
                "Upgrade all packages; `full` and `dist` may remove some",
            )
            .default("no"),
            Param::new("allow_downgrade", Kind::Bool, "Allow an older version than the one installed")
                .default("false")
                .aliases(&["allow-downgrade", "allow_downgrades", "allow-downgrades"]),
            Param::new("allow_change_held_packages", Kind::Bool, "Change packages on hold too")
                .default("false"),
            Param::new("allow_unauthenticated", Kind::Bool, "Install from unsigned repositories")
                .default("false")
                .aliases(&["allow-unauthenticated"]),
            Param::new("fail_on_autoremove", Kind::Bool, "Refuse an installation that would remove packages")
                .default("false"),
            Param::new(
                "policy_rc_d",
                Kind::Int,
                "Exit status of policy-rc.d meanwhile; 101 keeps services from starting",
            ),
            Param::new("dpkg_options", Kind::List, "Options for dpkg, without dashes")
                .default("force-confdef,force-confold"),
            Param::new("lock_timeout", Kind::Int, "Seconds to wait for another package manager")
                .default("60"),
            Param::new("force_apt_get", Kind::Bool, "Taken without effect: it is always apt-get"),
            Param::new("update_cache_retries", Kind::Int, "Taken without effect"),
            Param::new("update_cache_retry_max_delay", Kind::Int, "Taken without effect"),
            Param::new("use", Kind::Choice(&["auto", "apt"]), "Taken without effect (of `package`)"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let flag = |name: &str| args.bool(name).unwrap_or(false);
        let mut words = Vec::new();
        if let Some(recommends) = args.bool("install_recommends") {
            words.extend(["-o".to_owned(), format!("APT::Install-Recommends={recommends}")]);
        }
        if let Some(release) = args.str("default_release") {
            words.extend(["-t".to_owned(), release]);
        }
        for (name, word) in [
            ("purge", "--purge"),
            ("only_upgrade", "--only-upgrade"),
            ("allow_downgrade", "--allow-downgrades"),
            ("allow_change_held_packages", "--allow-change-held-packages"),
            ("allow_unauthenticated", "--allow-unauthenticated"),
            ("fail_on_autoremove", "--no-remove"),
        ] {
            words.extend(flag(name).then(|| word.to_owned()));
        }
        let dpkg = if args.has("dpkg_options") {
            args.list("dpkg_options")
        } else {
            vec!["force-confdef".to_owned(), "force-confold".to_owned()]
        };
        let number = |name: &str, default: i64| match args.int(name).unwrap_or(default) {
            number @ 0.. => Ok(number),
            _ => Err(Fault::param(name, format!("`{name}` counts seconds and cannot be negative"))),
        };
        let params = Params {
            specs: args
                .list("name")
                .into_iter()
                .map(|spec| spec.trim().to_owned())
                .filter(|s| !s.is_empty())
                .collect(),
            state: match args.str("state").as_deref() {
                Some("latest") => State::Latest,
                Some("absent" | "removed") => State::Absent,
                _ => State::Present,
            },
            update_cache: args.bool("update_cache").unwrap_or(args.has("cache_valid_time")),
            // A list that was just refreshed counts as fresh whatever is asked, or no run would ever end.
            cache_valid_time: number("cache_valid_time", 3600)?.max(60),
            upgrade: match args.str("upgrade").as_deref() {
                Some("yes" | "safe") => Some("upgrade --with-new-pkgs"),
                Some("full" | "dist") => Some("dist-upgrade"),
                _ => None,
            },
            autoremove: flag("autoremove"),
            autoclean: flag("autoclean"),
            clean: flag("clean"),
            purge: flag("purge"),
            only_upgrade: flag("only_upgrade"),
            release: args.str("default_release"),
            options: AptOptions {
                lock_timeout: number("lock_timeout", 60)?.unsigned_abs(),
                dpkg,
                words,
                policy_rc_d: args.int("policy_rc_d"),
            },
        };
        for spec in &params.specs {
            debian::check(spec, params.state == State::Latest)?;
        }
        let asked = args.has("name") || params.update_cache || params.upgrade.is_some();
        if !asked && !args.has("upgrade") && !params.autoremove && !params.autoclean && !params.clean {
            return Err(Fault::task("nothing is asked of apt")
                .hint("give `name`, `upgrade`, `update_cache`, `autoremove`, `autoclean` or `clean`"));
        }
        if !params.specs.is_empty() && params.upgrade.is_some() {
            return Err(Fault::param("upgrade", "`upgrade` and `name` exclude each other")
                .hint("`state: latest` upgrades the named packages"));
        }
        Ok(params)
    }

    fn probe(params: &Params) -> Vec<Ask> {
        let mut asks: Vec<Ask> =
            params.specs.iter().map(|spec| Ask::Package(bare(spec).to_owned())).collect();
        asks.extend(params.asks_provided());
        asks.extend(params.asks_policy());
        asks.extend(params.asks_leftovers());
        asks.extend(params.update_cache.then(|| Ask::sh(LISTS)));
        asks.extend(params.upgrade.map(|verb| Ask::sh(params.options.simulate(verb))));
        asks.extend(params.asks_unneeded());
        asks.extend(params.asks_files());
        asks
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let text = |ask: Option<Ask>| match ask {
            Some(ask) => output(answers, &ask),
            None => Ok(String::new()),
        };
        let packages =
            params.specs.iter().map(|spec| answers.package(&Ask::Package(bare(spec).to_owned())).cloned());
        let packages = packages.collect::<Result<_, _>>()?;
        let provided = text(params.asks_provided())?;
        let names = params.specs.iter().map(|spec| bare(spec));
        let providers =
            names.filter_map(|name| Some((name.to_owned(), debian::provider(&provided, name)?.to_owned())));
        let policy = text(params.asks_policy())?;
        let candidates = debian::candidates(&policy).into_iter();
        Ok(Found {
            packages,
            providers: providers.collect(),
            candidates: candidates.map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
            leftovers: text(params.asks_leftovers())?.lines().map(str::to_owned).collect(),
            age: debian::age(&text(params.update_cache.then(|| Ask::sh(LISTS)))?),
            upgrades: debian::simulated(&text(
                params.upgrade.map(|verb| Ask::sh(params.options.simulate(verb))),
            )?),
            unneeded: debian::simulated(&text(params.asks_unneeded())?),
            stale_files: text(params.asks_files())?.lines().filter(|line| !line.is_empty()).count(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        let mut diff = Diff::default();
        let stale = params.update_cache && found.age.is_none_or(|age| age > params.cache_valid_time);
        for (spec, package) in params.specs.iter().zip(&found.packages) {
            match params.state {
                State::Absent
                    if package.version.is_some() || found.leftovers.iter().any(|name| name == bare(spec)) =>
                {
                    diff.remove.push(bare(spec).to_owned());
                }
                State::Absent => {}
                _ if wants(params, found, spec, package) => diff.install.push(spec.clone()),
                _ => {}
            }
        }
        // Whether there is something newer is known only from fresh lists.
        let depends_on_lists =
            params.state == State::Latest || params.upgrade.is_some() || params.specs.is_empty();
        diff.update = stale && (depends_on_lists || !diff.install.is_empty());
        if diff.update && params.state == State::Latest {
            diff.install = installable(params, found);
        }
        diff.upgrade = params.upgrade.is_some() && (!found.upgrades.is_empty() || diff.update);
        diff.autoremove = !found.unneeded.is_empty();
        diff.clean = found.stale_files > 0;
        if diff == Diff::default() {
            Ok(Verdict::InState(reason(params, found)))
        } else {
            Ok(Verdict::Act(diff))
        }
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if diff.update {
            let age =
                found.age.map_or("missing or older than a source".to_owned(), |age| format!("{age} s old"));
            changes.push(Change::field("package lists", age, "fresh"));
        }
        for spec in diff.install.iter().chain(&diff.remove) {
            let at = params.specs.iter().position(|known| bare(known) == bare(spec));
            let before = at.and_then(|at| found.packages.get(at)?.version.clone());
            let after = match (params.state, spec.split_once('=')) {
                (State::Absent, _) if params.purge => "purged".to_owned(),
                (State::Absent, _) => "absent".to_owned(),
                (_, Some((_, version))) => version.to_owned(),
                _ => found.candidates.get(bare(spec)).cloned().unwrap_or_else(|| "installed".to_owned()),
            };
            changes.push(Change::field(bare(spec), before.unwrap_or_else(|| "absent".to_owned()), after));
        }
        let touched = |list: &[Touched]| -> Vec<Change> {
            let or_absent = |text: &str| if text.is_empty() { "absent".to_owned() } else { text.to_owned() };
            list.iter()
                .map(|one| Change::field(&*one.name, or_absent(&one.before), or_absent(&one.after)))
                .collect()
        };
        if diff.upgrade {
            changes.extend(touched(&found.upgrades));
        }
        if diff.autoremove {
            changes.extend(touched(&found.unneeded));
        }
        if diff.clean {
            changes.push(Change::field("downloaded packages", found.stale_files.to_string(), "deleted"));
        }
        changes
    }

    fn actions(params: &Params, _found: &Found, diff: &Diff) -> Vec<Action> {
        let mut options = params.options.clone();
        let mut runs = Vec::new();
        if diff.update {
            runs.push(options.update());
        }
        if diff.upgrade {
            runs.extend(params.upgrade.map(|verb| match verb.split_once(' ') {
                Some((verb, word)) => {
                    options.words.push(word.to_owned());
                    options.everything(verb)
                }
                None => options.everything(verb),
            }));
        }
        if params.autoremove && !params.specs.is_empty() {
            options.words.push("--auto-remove".to_owned());
        }
        if !diff.install.is_empty() {
            runs.push(options.install(&diff.install, diff.update));
        }
        if !diff.remove.is_empty() {
            runs.push(options.remove(&diff.remove));
        }
        if diff.autoremove {
            runs.push(options.everything("autoremove"));
        }
        if diff.clean {
            runs.push(options.everything(if params.clean { "clean" } else { "autoclean" }));
        }
        runs.into_iter().map(Action::Run).collect()
    }

    fn result(params: &Params, found: &Found, ran: &[Output]) -> Map<String, Value> {
        let mut map =
            Map::from_iter([("cache_updated".to_owned(), json!(params.update_cache && !ran.is_empty()))]);
        if let Some(last) = ran.last() {
            map.insert("stdout".to_owned(), json!(last.text().trim_end()));
            map.insert("stderr".to_owned(), json!(last.error_text().trim_end()));
        }
        let versions = params.specs.iter().zip(&found.packages);
        let versions: Map<String, Value> =
            versions.map(|(spec, package)| (bare(spec).to_owned(), json!(package.version))).collect();
        map.insert("versions".to_owned(), Value::Object(versions));
        map
    }
}

impl Params {
    fn names(&self) -> Vec<&str> {
        self.specs.iter().map(|spec| bare(spec)).collect()
    }

    /// Names that no package has may be provided by another.
    fn asks_provided(&self) -> Option<Ask> {
        let asked = self.state == State::Present && !self.specs.is_empty();
        asked.then(|| Ask::sh(debian::provided(&self.names())))
    }

    fn asks_policy(&self) -> Option<Ask> {
        let asked = self.state == State::Latest && !self.specs.is_empty();
        asked.then(|| Ask::sh(debian::policy(&self.names(), self.release.as_deref())))
    }

    fn asks_leftovers(&self) -> Option<Ask> {
        let asked = self.state == State::Absent && self.purge && !self.specs.is_empty();
        asked.then(|| {
            let names = join(self.names());
            Ask::sh(format!(
                "dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}\\n' {names} 2>/dev/null | sed -n 's/^.c[^|]*|//p'"
            ))
        })
    }

    fn asks_unneeded(&self) -> Option<Ask> {
        let asked = self.autoremove && self.specs.is_empty();
        asked.then(|| Ask::sh(self.options.simulate("autoremove")))
    }

    fn asks_files(&self) -> Option<Ask> {
        if self.clean {
            return Some(Ask::sh("find /var/cache/apt/archives -name '*.deb' 2>/dev/null"));
        }
        self.autoclean.then(|| Ask::sh(format!("{} | grep '^Del '\n:", self.options.simulate("autoclean"))))
    }
}

/// What a script printed; a failed one is a fault with its words.
fn output(answers: &Answers, ask: &Ask) -> Result<String, Fault> {
    let output = answers.output(ask)?;
    if output.success() {
        return Ok(output.text());
    }
    let error = output.error_text();
    let last = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    let cause = cause_of(&error);
    let why = cause.as_ref().map_or(last.trim(), |cause| cause.what.as_str());
    let fault =
        Fault::task(format!("apt cannot tell what is to be done: {why}")).note(error.trim().to_owned());
    Err(match &cause {
        Some(cause) => fault.hint(cause.hint),
        None => fault,
    })
}

/// Whether it is to be installed or upgraded.
fn wants(params: &Params, found: &Found, spec: &str, package: &PackageState) -> bool {
    let Some(version) = &package.version else {
        let provided = params.state == State::Present && found.providers.contains_key(spec);
        return !params.only_upgrade && !provided;
    };
    match (params.state, spec.split_once('=')) {
        (_, Some((_, pattern))) => !debian::fits(version, pattern),
        (State::Latest, None) => {
            !package.held && found.candidates.get(bare(spec)).is_some_and(|candidate| candidate != version)
        }
        _ => false,
    }
}

fn installable(params: &Params, found: &Found) -> Vec<String> {
    let all = params.specs.iter().zip(&found.packages);
    all.filter(|(_, package)| !package.held && (package.version.is_some() || !params.only_upgrade))
        .map(|(spec, _)| spec.clone())
        .collect()
}

fn reason(params: &Params, found: &Found) -> String {
    if params.specs.is_empty() {
        return match (params.upgrade, found.age) {
            (Some(_), _) => "every package is up to date".to_owned(),
            (None, Some(age)) if params.update_cache => format!("package lists are {age} s old"),
            _ => "nothing to do".to_owned(),
        };
    }
    let mut parts = Vec::new();
    for (spec, package) in params.specs.iter().zip(&found.packages) {
        let name = bare(spec);
        parts.push(match (&package.version, found.providers.get(name)) {
            (Some(version), _) if package.held => format!("{name} {version} (on hold)"),
            (Some(version), _) => format!("{name} {version}"),
            (None, Some(provider)) => format!("{name} (by {provider})"),
            (None, None) => format!("{name} is not installed"),
        });
    }
    parts.join(", ")
}
