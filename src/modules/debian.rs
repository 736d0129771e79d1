//! What `apt-get`, `apt-cache` and `dpkg` say, parsed; and the scripts that drive them without a question asked.

use crate::diag::Fault;
use crate::shell::{Run, join, quote};
use std::collections::HashMap;

/// Environment of everything that may run a package's scripts: no dialogue, no restart of services by itself.
const QUIET: &[(&str, &str)] = &[
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("LC_ALL", "C"),
];

/// Seconds until an installation is taken for hanging.
const LONG: u64 = 3600;

/// How `apt-get` is called.
#[derive(Debug, Clone)]
pub struct AptOptions {
    /// Seconds to wait for another package manager to finish.
    pub lock_timeout: u64,
    /// Options for dpkg without leading dashes: `force-confold`.
    pub dpkg: Vec<String>,
    /// Further words, `-t bookworm-backports`.
    pub words: Vec<String>,
    /// Exit status of `policy-rc.d` while packages are installed: 101 keeps their services from starting.
    pub policy_rc_d: Option<i64>,
}

impl AptOptions {
    fn command(&self, verb: &str, names: &[String]) -> String {
        let mut words = vec!["apt-get".to_owned(), "-y".to_owned(), "-q".to_owned()];
        words.extend(["-o".to_owned(), format!("DPkg::Lock::Timeout={}", self.lock_timeout)]);
        words.extend(["-o".to_owned(), "Dpkg::Use-Pty=0".to_owned()]);
        for option in &self.dpkg {
            words.extend(["-o".to_owned(), format!("Dpkg::Options::=--{option}")]);
        }
        words.extend(self.words.iter().cloned());
        words.push(verb.to_owned());
        words.extend(names.iter().cloned());
        join(words)
    }

    /// The command as a person would type it.
    fn shown(&self, verb: &str, names: &[String]) -> String {
        let words = std::iter::once("apt-get").chain(self.words.iter().map(String::as_str));
        join(words.chain([verb]).chain(names.iter().map(String::as_str)))
    }

    /// Text that defines the shell function `update`: `apt-get update` waits for no lock by itself.
    fn update_function(&self) -> String {
        format!(
            "update() {{
 end=$(($(date +%s) + {}))
 while :; do
  out=$(apt-get -q -o APT::Update::Error-Mode=any update 2>&1) && {{ touch /var/lib/apt/lists; return 0; }}
  case $out in
  *'Could not get lock'*|*'Unable to lock'*) [ \"$(date +%s)\" -lt \"$end\" ] && {{ sleep 1; continue; }};;
  esac
  printf '%s\\n' \"$out\" >&2
  return 100
 done
}}
",
            self.lock_timeout
        )
    }

    /// Refreshes the package lists.
    pub fn update(&self) -> Run {
        run(format!("{}update", self.update_function()), "apt-get update".to_owned())
    }

    /// Installs or upgrades; refreshes the lists first where they do not know a package or are older than a day,
    /// unless that was just done.
    pub fn install(&self, specs: &[String], refreshed: bool) -> Run {
        let names: Vec<&str> = specs.iter().map(|spec| bare(spec)).collect();
        let refresh = if refreshed {
            String::new()
        } else {
            // Not being able to refresh matters only when the package is not there either.
            format!(
                "{}known=$(apt-cache policy {} 2>/dev/null | grep -c '^  Candidate: [^(]')\n\
                 if [ \"$known\" -lt {} ] || [ -n \"$(find /var/lib/apt/lists -maxdepth 0 -mtime +0)\" ]; then update || :; fi\n",
                self.update_function(),
                join(&names),
                names.len(),
            )
        };
        let command = self.command("install", specs);
        let script = format!(
            "{refresh}{}{}[ $rc = 0 ] || for name in {}; do\n \
             [ -n \"$(apt-cache showpkg \"$name\" 2>/dev/null | sed -n '/^Versions:/,/^Reverse Depends:/p; /^Reverse Provides:/,$p' | grep -Ev '^([A-Z].*)?$')\" ] ||\n  \
             printf 'the package lists of this host have no package `%s`: check the name, or add its repository first\\n' \"$name\" >&2\n\
             done\nexit $rc",
            self.policy(),
            self.resumed(&command),
            join(&names),
        );
        run(script, self.shown("install", specs))
    }

    /// Removes.
    pub fn remove(&self, names: &[String]) -> Run {
        let command = self.command("remove", names);
        run(format!("{}exit $rc", self.resumed(&command)), self.shown("remove", names))
    }

    /// Runs a verb on everything: `upgrade`, `dist-upgrade`, `autoremove`, `autoclean`, `clean`.
    pub fn everything(&self, verb: &str) -> Run {
        let command = self.command(verb, &[]);
        run(format!("{}{}exit $rc", self.policy(), self.resumed(&command)), self.shown(verb, &[]))
    }

    /// What a verb would do, without doing it.
    pub fn simulate(&self, verb: &str) -> String {
        let words = join(&self.words);
        format!("LC_ALL=C apt-get -s -o APT::Get::Show-User-Simulation-Note=false {words} {verb}")
    }

    /// Runs a command of apt-get, its status in `rc`. A run of dpkg that was cut off is finished first, since it would
    /// refuse everything else; one that is being cut off just now, while apt-get waits for its lock, afterwards.
    fn resumed(&self, command: &str) -> String {
        format!(
            "broken_off() {{ [ -n \"$(ls -A /var/lib/dpkg/updates 2>/dev/null)\" ]; }}
resume() {{
 end=$(($(date +%s) + {}))
 while broken_off; do
  out=$(dpkg --force-confdef --force-confold --configure -a 2>&1) && return 0
  case $out in
  *lock*) [ \"$(date +%s)\" -lt \"$end\" ] && {{ sleep 1; continue; }};;
  esac
  printf '%s\\n' \"$out\" >&2
  return 0
 done
}}
resume
{command}
rc=$?
if [ $rc != 0 ] && broken_off; then resume; {command}; rc=$?; fi
",
            self.lock_timeout
        )
    }

    fn policy(&self) -> String {
        let Some(status) = self.policy_rc_d else { return String::new() };
        format!(
            "p=/usr/sbin/policy-rc.d
restore() {{ rm -f $p; [ ! -e $p.kept ] || mv $p.kept $p; }}
trap restore EXIT
trap 'exit 143' TERM INT HUP
[ ! -e $p ] || mv $p $p.kept
printf '#!/bin/sh\\nexit {status}\\n' >$p && chmod 755 $p || exit 1
"
        )
    }
}

fn run(script: String, shown: String) -> Run {
    let mut run = Run::new(script).timeout(LONG).shown(shown);
    run.environment = QUIET.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    run
}

/// The name in `name=version`, `name/release`, `name:arch=version`.
pub fn bare(spec: &str) -> &str {
    spec.split(['=', '/']).next().unwrap_or(spec)
}

/// Refuses what is no package's name, or names a version where `latest` names another.
pub fn check(spec: &str, latest: bool) -> Result<(), Fault> {
    let name = bare(spec);
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.:".contains(c);
    let fault = |why: String| Err(Fault::param("name", why));
    if spec.contains("://") || spec.ends_with(".deb") {
        return fault(format!("`{spec}` is a file; apt takes names of packages here"));
    }
    if name.ends_with(['>', '<', '!']) {
        return fault(format!("`{spec}` compares versions"))
            .map_err(|fault| fault.hint("`name=1.2.*` wants a version"));
    }
    if name.is_empty() || !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return fault(format!("`{name}` is no name of a package"));
    }
    match spec.split_once('=') {
        Some((_, "")) => fault(format!("`{spec}` names no version")),
        Some(_) if latest => fault(format!("`{spec}` wants a version, and `state: latest` another")),
        _ => Ok(()),
    }
}

/// Age of the package lists: `now`, `lists` and `sources` in seconds since 1970, and whether there are any.
pub const LISTS: &str = "printf 'now %s\\n' \"$(date +%s)\"
for f in /var/lib/apt/lists/*_InRelease /var/lib/apt/lists/*_Release /var/lib/apt/lists/*_Packages*; do
 [ -e \"$f\" ] && { stat -c 'lists %Y' /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp 2>/dev/null; break; }
done
stat -c 'sources %Y' /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/sources.list.d/* 2>/dev/null
:";

/// Seconds since the lists were refreshed; `None` when there are none, or a source was changed since.
pub fn age(answer: &str) -> Option<i64> {
    let newest = |key: &str| {
        let values = answer.lines().filter_map(|line| line.strip_prefix(key)?.trim().parse::<i64>().ok());
        values.max()
    };
    let lists = newest("lists ")?;
    if newest("sources ").is_some_and(|sources| sources > lists) {
        return None;
    }
    Some(newest("now ")?.saturating_sub(lists).max(0))
}

/// Candidate versions of packages.
pub fn policy(names: &[&str], release: Option<&str>) -> String {
    let release = release.map(|name| format!("-o {} ", quote(&format!("APT::Default-Release={name}"))));
    format!("LC_ALL=C apt-cache {}policy {}", release.unwrap_or_default(), join(names))
}

/// Candidate by package, of what `apt-cache policy` printed.
pub fn candidates(answer: &str) -> HashMap<&str, &str> {
    let mut found = HashMap::new();
    let mut name = "";
    for line in answer.lines() {
        if let Some(candidate) = line.strip_prefix("  Candidate: ") {
            found.insert(name, candidate);
        } else if !line.starts_with(' ') {
            name = line.trim_end_matches(':');
        }
    }
    found.retain(|_, candidate| *candidate != "(none)");
    found
}

/// A package that `apt-get -s` would touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its name.
    pub name: String,
    /// Version found; empty when it is new.
    pub before: String,
    /// Version wanted; empty when it goes.
    pub after: String,
}

/// `Inst libc6 [2.36-9] (2.36-9+deb12u1 Debian:...)`, `Remv old [1.0]`.
pub fn simulated(answer: &str) -> Vec<Touched> {
    let lines = answer.lines().filter_map(|line| {
        let (verb, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let first = |inner: &str| inner.split_whitespace().next().map(str::to_owned);
        // `[all]`, the architecture, stands inside the parentheses.
        let before = rest.strip_prefix('[').and_then(|rest| first(rest.split_once(']')?.0));
        let after = match verb {
            "Inst" => {
                rest.split_once('(').and_then(|(_, rest)| first(rest.split_once(')')?.0)).unwrap_or_default()
            }
            "Remv" | "Purg" | "Del" => String::new(),
            _ => return None,
        };
        Some(Touched { name: name.to_owned(), before: before.unwrap_or_default(), after })
    });
    lines.collect()
}

/// Installed packages that provide one of the names, and behind them what apt knows of the names: one that it could
/// install is a package of its own, whoever provides it too. Prints nothing in the usual case, at the price of two
/// greps.
pub fn provided(names: &[&str]) -> String {
    let patterns = names.iter().map(|name| format!("-e {}", quote(name))).collect::<Vec<_>>().join(" ");
    format!(
        "grep -F {patterns} /var/lib/dpkg/status 2>/dev/null | grep -q '^Provides:' || exit 0\n\
         dpkg-query -W -f '${{db:Status-Abbrev}}|${{Package}}|${{Provides}}\\n' | grep -F {patterns}\n\
         LC_ALL=C apt-cache policy {} 2>/dev/null\n:",
        join(names)
    )
}

/// The installed package that provides `name`; none for the name of a real package.
pub fn provider<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    if candidates(answer).contains_key(name) {
        return None;
    }
    answer.lines().find_map(|line| {
        let mut fields = line.splitn(3, '|');
        let (status, package, provides) = (fields.next()?, fields.next()?, fields.next()?);
        let mut names = provides.split(',').filter_map(|item| item.split_whitespace().next());
        (status.chars().nth(1) == Some('i') && names.any(|provided| provided == name)).then_some(package)
    })
}

/// Whether `version` fits a pattern with `*` and `?`.
pub fn fits(version: &str, pattern: &str) -> bool {
    let (version, pattern): (Vec<char>, Vec<char>) = (version.chars().collect(), pattern.chars().collect());
    let (mut at, mut p, mut star, mut mark) = (0, 0, None, 0);
    while at < version.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some(p);
                mark = at;
                p += 1;
            }
            Some(c) if *c == '?' || *c == version[at] => {
                at += 1;
                p += 1;
            }
            _ => match star {
                Some(star) => {
                    p = star + 1;
                    mark += 1;
                    at = mark;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_versions() {
        for (version, pattern, wanted) in [
            ("1.22.1-9", "1.22.*", true),
            ("1.22.1-9", "1.22.1-9", true),
            ("1.22.1-9", "1.2", false),
            ("15.4-1.pgdg12+1", "15*+1", true),
            ("15", "1?", true),
            ("", "*", true),
        ] {
            assert_eq!(fits(version, pattern), wanted, "{version} {pattern}");
        }
    }

    #[test]
    fn lists_older_than_their_sources_do_not_count() {
        assert_eq!(age("now 1000\nlists 400\nlists 900\nsources 300"), Some(100));
        assert_eq!(age("now 1000\nlists 400\nsources 500"), None);
        assert_eq!(age("now 1000\nsources 500"), None);
    }

    #[test]
    fn apts_own_words() {
        let policy = "nginx:\n  Installed: (none)\n  Candidate: 1.22.1-9+deb12u1\n  Version table:\n     1.22.1-9 500\nx:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), HashMap::from([("nginx", "1.22.1-9+deb12u1")]));
        let text = "Inst libc6 [2.36-9] (2.36-9+deb12u1 Debian:12.1/stable [amd64]) []\nInst new (1.0 Debian [all])\nConf libc6\nRemv old [1.0]\n";
        let touched: Vec<_> =
            simulated(text).into_iter().map(|t| format!("{} {} {}", t.name, t.before, t.after)).collect();
        assert_eq!(touched, ["libc6 2.36-9 2.36-9+deb12u1", "new  1.0", "old 1.0 "]);
        let provides =
            "ii |exim4|mail-transport-agent\nrc |postfix|mail-transport-agent\nii |mawk|awk (= 1), x\n";
        assert_eq!(provider(provides, "mail-transport-agent"), Some("exim4"));
        assert_eq!(provider(provides, "awk"), Some("mawk"));
        assert_eq!(provider(provides, "mail"), None);
        let real = format!(
            "{provides}awk:\n  Installed: (none)\n  Candidate: 1.0\nmail-transport-agent:\n  Candidate: (none)\n"
        );
        assert_eq!((provider(&real, "awk"), provider(&real, "mail-transport-agent")), (None, Some("exim4")));
        assert_eq!(provider("rc |postfix|mail-transport-agent", "mail-transport-agent"), None);
    }
}
