//! The host's time zone.
//!
//! Logs and timers follow it; PostgreSQL's `timezone` and `log_timezone` are settings of their own. `hwclock` is
//! refused: keep the hardware clock in UTC.
//!
//! EXAMPLES
//! - name: One clock everywhere
//!   timezone: {name: Etc/UTC}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, quote};

/// The module `timezone`.
pub struct Timezone;

/// What the host has.
pub struct Found {
    zone: String,
    /// Its tables know the wanted zone.
    known: bool,
}

impl Module for Timezone {
    type Params = String;
    type State = Found;
    type Diff = ();

    const SPEC: Spec = Spec {
        name: "timezone",
        aliases: &[],
        summary: "The host's time zone",
        source: include_str!("timezone.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[Param::new("name", Kind::Str, "`Etc/UTC`, `Europe/Berlin`, ...").required()],
    };

    fn decode(args: &Args) -> Result<String, Fault> {
        let name = args.required("name");
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        if name.is_empty() || name.starts_with('/') || !name.chars().all(plain) {
            return Err(
                Fault::param("name", format!("`{name}` is no time zone")).hint("`Etc/UTC`, `Europe/Berlin`")
            );
        }
        Ok(name)
    }

    fn probe(name: &String) -> Vec<Ask> {
        vec![ask(name)]
    }

    fn state(name: &String, answers: &Answers) -> Result<Found, Fault> {
        let text = answers.output(&ask(name))?.text();
        let mut lines = text.lines();
        let link = lines.next().unwrap_or_default();
        let zone = link.rsplit_once("zoneinfo/").map_or(lines.next().unwrap_or_default(), |(_, zone)| zone);
        Ok(Found { zone: zone.to_owned(), known: text.lines().any(|line| line == "known") })
    }

    fn diff(name: &String, found: &Found) -> Result<Verdict<()>, Fault> {
        if found.zone == *name {
            return Ok(Verdict::InState(name.clone()));
        }
        if !found.known {
            return Err(Fault::param("name", format!("the host knows no time zone `{name}`"))
                .healed_by(&["apt"])
                .hint("the package `tzdata` must be there; `timedatectl list-timezones` lists the names"));
        }
        Ok(Verdict::Act(()))
    }

    fn show(name: &String, found: &Found, _diff: &()) -> Vec<Change> {
        vec![Change::field("time zone", &*found.zone, name)]
    }

    fn actions(name: &String, _found: &Found, _diff: &()) -> Vec<Action> {
        let zone = quote(&format!("/usr/share/zoneinfo/{name}"));
        vec![Action::sh(format!(
            "ln -sfn {zone} /etc/localtime.new && mv -fT /etc/localtime.new /etc/localtime && \
             {{ [ ! -e /etc/timezone ] || printf '%s\\n' {} >/etc/timezone; }}",
            quote(name)
        ))]
    }
}

fn ask(name: &str) -> Ask {
    Ask::sh(format!(
        "readlink /etc/localtime || echo\ncat /etc/timezone 2>/dev/null || echo\n\
         [ -f {} ] && echo known\n:",
        quote(&format!("/usr/share/zoneinfo/{name}"))
    ))
}
