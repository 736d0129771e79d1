//! The host's time zone.
//!
//! `/etc/timezone` says it too where there is such a file. Logs and timers follow it; PostgreSQL's `timezone` and `log_timezone` are settings of their own. `hwclock` is
//! refused: keep the hardware clock in UTC.
//!
//! EXAMPLES
//! - name: One clock everywhere
//!   timezone: {name: Etc/UTC}

use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, Put, quote};

/// The module `timezone`.
pub struct Timezone;

/// What the host has.
pub struct Found {
    /// The zone of `/etc/localtime`.
    zone: String,
    /// The name in `/etc/timezone`, where the host has that file.
    named: Option<String>,
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
        let said = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // A copy of the zone's table in the place of a link says the same.
        let zone = match said("link ").and_then(|link| link.rsplit_once("zoneinfo/")) {
            Some((_, zone)) => zone,
            None if said("same").is_some() => name,
            None => "",
        };
        let named = said("named").map(str::to_owned);
        Ok(Found { zone: zone.to_owned(), named, known: said("known").is_some() })
    }

    fn diff(name: &String, found: &Found) -> Result<Verdict<()>, Fault> {
        if found.zone == *name && found.named.as_ref().is_none_or(|named| named == name) {
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
        let zone = (found.zone != *name).then(|| Change::field("time zone", &*found.zone, name));
        let named = found.named.as_ref().filter(|named| *named != name);
        let named = named.map(|named| Change::field("/etc/timezone", named, name));
        zone.into_iter().chain(named).collect()
    }

    fn actions(name: &String, found: &Found, _diff: &()) -> Vec<Action> {
        let zone = quote(&format!("/usr/share/zoneinfo/{name}"));
        let linked = (found.zone != *name).then(|| {
            Action::files(
                format!("i_symlink {zone} /etc/localtime"),
                format!("ln -sfn {zone} /etc/localtime"),
            )
        });
        let named = found.named.as_ref().filter(|named| *named != name);
        let named = named.map(|_| Action::Put(Put::new("/etc/timezone", format!("{name}\n"))));
        linked.into_iter().chain(named).collect()
    }
}

fn ask(name: &str) -> Ask {
    Ask::sh(format!(
        "zone={}\necho \"link $(readlink /etc/localtime)\"\n\
         [ -f /etc/timezone ] && echo \"named $(cat /etc/timezone)\"\n\
         [ -f \"$zone\" ] && echo known && [ ! -L /etc/localtime ] && cmp -s \"$zone\" /etc/localtime && echo same\n:",
        quote(&format!("/usr/share/zoneinfo/{name}"))
    ))
}
