//! Huge pages for the shared memory of a PostgreSQL server: without them every backend that has touched
//! shared_buffers holds page tables for it, 2 MB for each GB.
//!
//! The server program is asked how many it needs with `settings` (`shared_memory_size_in_huge_pages`, PostgreSQL 15 and
//! later, where the cluster's data is there) and one per cent is added; no fewer than `shared_memory` are reserved, which
//! is what the memory budget counts on. The number is kept in
//! `sysctl_file` for the next boot and, while the server is stopped, reserved at once as far as there is free memory for
//! it; a number that fits still is left as it is. What the kernel grants is read back: when memory is too fragmented, the pages that would only lie
//! idle are given back, and the next boot reserves them. `huge_pages = try` of the server stays right in every case.
//!
//! Where the settings say `huge_pages = off`, or ask for more shared memory than the budget gives, none are reserved, and
//! ours are given back. A pool that somebody else has made, or that serves another cluster, is left alone.
//!
//! In a container the pages belong to the machine around it: nothing is done there, and it is said.
//!
//! Registers `pages` (wanted) and `granted` (they are reserved).
//!
//! EXAMPLES
//! - name: Huge pages for it
//!   postgresql_huge_pages:
//!     version: 15
//!     settings: "{{ postgresql_tuned.settings }}"
//!     shared_memory: "{{ postgresql_tuned.shared_memory_bytes }}"

use super::instance::{self, Instance, Lines};
use super::{Args, Change, Kind, Module, Nature, Param, Spec, Verdict, setting_text};
use crate::diag::Fault;
use crate::shell::{Action, Answers, Ask, FileKind, Output, Put, Run, quote};
use serde_json::{Map, Value, json};

/// The module `postgresql_huge_pages`.
pub struct PostgresqlHugePages;

/// For which server, and what it is going to need.
#[derive(Debug)]
pub struct Params {
    instance: Instance,
    settings: Vec<(String, String)>,
    /// Bytes that the memory budget gives to shared memory.
    shared_memory: u64,
    file: String,
}

/// What the host has.
#[derive(Debug)]
pub struct Found {
    /// Content of the file for the next boot; `None` when it is not there.
    file: Option<String>,
    /// The pool may be changed here.
    writable: bool,
    /// Bytes of one huge page; 0 where the kernel has none.
    size: u64,
    /// Pages in the pool.
    total: u64,
    /// Pages that the server program says it needs.
    needs: Option<u64>,
    /// Bytes that can be had without swapping.
    available: u64,
    /// A number that the kernel could not grant since it was started.
    not_granted: u64,
    /// The server runs: it would not take pages that come now, and they would lie idle beside its memory.
    runs: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Number for the next boot.
    keep: Option<u64>,
    /// Number to reserve now.
    reserve: Option<u64>,
}

/// Where a number that could not be granted is noted until the next boot.
const NOT_GRANTED: &str = "/run/ishprov-huge-pages";

impl Module for PostgresqlHugePages {
    type Params = Params;
    type State = Found;
    type Diff = Diff;

    const SPEC: Spec = Spec {
        name: "postgresql_huge_pages",
        aliases: &[],
        summary: "Huge pages for the shared memory of a server",
        source: include_str!("postgresql_huge_pages.rs"),
        nature: Nature::State,
        free_form: None,
        open: false,
        params: &[
            instance::VERSION,
            instance::CLUSTER,
            instance::DATA_DIRECTORY,
            Param::new("settings", Kind::Dict, "Settings that the server is going to have"),
            Param::new("shared_memory", Kind::Int, "Bytes that the memory budget gives to shared memory")
                .required(),
            Param::new("sysctl_file", Kind::Path, "File for the next boot")
                .default("/etc/sysctl.d/61-ishprov-huge-pages.conf"),
        ],
    };

    fn decode(args: &Args) -> Result<Params, Fault> {
        let shared_memory = args.int("shared_memory").and_then(|bytes| u64::try_from(bytes).ok());
        let given = args.dict("settings").into_iter().flatten().filter(|(_, value)| !value.is_null());
        Ok(Params {
            instance: Instance::decode(args)?,
            settings: given
                .map(|(name, value)| Ok((name.clone(), setting_text(name, value)?)))
                .collect::<Result<_, Fault>>()?,
            shared_memory: shared_memory.filter(|bytes| *bytes > 0).ok_or_else(|| {
                Fault::param("shared_memory", "`shared_memory` takes a number of bytes")
                    .hint("\"{{ postgresql_tuned.shared_memory_bytes }}\"")
            })?,
            file: args
                .str("sysctl_file")
                .unwrap_or_else(|| "/etc/sysctl.d/61-ishprov-huge-pages.conf".to_owned()),
        })
    }

    fn probe(params: &Params) -> Vec<Ask> {
        vec![Ask::content(&params.file), ask(params)]
    }

    fn state(params: &Params, answers: &Answers) -> Result<Found, Fault> {
        let file = Ask::content(&params.file);
        if !matches!(answers.file(&file)?.kind, FileKind::File | FileKind::Absent) {
            return Err(Fault::param("sysctl_file", format!("`{}` is no regular file", params.file))
                .healed_by(&["file", "apt"]));
        }
        let output = answers.output(&ask(params))?;
        let text = output.text();
        let lines = Lines::of(&text);
        if lines.get("end").is_none() {
            return Err(Fault::task("the host could not be asked for its huge pages")
                .note(output.error_text().trim().to_owned()));
        }
        let number = |name: &str| lines.get(name).and_then(|text| text.trim().parse::<u64>().ok());
        Ok(Found {
            file: answers.text(&file)?,
            writable: lines.get("writable").is_some(),
            size: number("size").unwrap_or(0) * 1024,
            total: number("total").unwrap_or(0),
            needs: number("needs"),
            available: number("available").unwrap_or(0) * 1024,
            not_granted: number("not_granted").unwrap_or(0),
            runs: lines.get("runs").is_some(),
        })
    }

    fn diff(params: &Params, found: &Found) -> Result<Verdict<Diff>, Fault> {
        if !found.writable {
            let why =
                "left alone: the pool of huge pages can only be read here and belongs to the machine around";
            return Ok(Verdict::InState(why.to_owned()));
        }
        if found.size == 0 {
            return Ok(Verdict::InState("left alone: the kernel of this host has no huge pages".to_owned()));
        }
        if let Some(why) = found.of_another(&params.instance) {
            return Ok(Verdict::InState(format!("left alone: {why}")));
        }
        let wanted = match wanted(params, found) {
            Ok(wanted) => wanted,
            Err(why) if found.kept().unwrap_or(0) == 0 => {
                return Ok(Verdict::InState(format!("none: {why}")));
            }
            Err(_) => 0,
        };
        let diff = Diff {
            keep: (found.kept() != Some(wanted)).then_some(wanted),
            reserve: match found.room_for(wanted) {
                // Fewer than before: what was ours is given back.
                _ if found.total > wanted && found.kept() == Some(found.total) => Some(wanted),
                Room::There | Room::NotNow => None,
                Room::Free => Some(wanted),
            },
        };
        if diff != Diff::default() {
            return Ok(Verdict::Act(diff));
        }
        let now = format!("{wanted} pages from the next boot on");
        Ok(Verdict::InState(match found.room_for(wanted) {
            Room::There => format!("{wanted} pages of {} kB are reserved", found.size / 1024),
            _ if found.runs => format!("{now}, or a run that finds the server stopped: it runs without them"),
            _ if found.not_granted >= wanted => format!("{now}: the memory is too fragmented for them now"),
            _ => format!("{now}: there is no free memory for them now"),
        }))
    }

    fn show(params: &Params, found: &Found, diff: &Diff) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(pages) = diff.keep {
            changes.push(Change::text(
                &*params.file,
                found.file.clone().unwrap_or_default(),
                content(params, pages),
            ));
        }
        if let Some(pages) = diff.reserve {
            changes.push(Change::field("vm.nr_hugepages", found.total.to_string(), pages.to_string()));
        }
        changes
    }

    fn actions(params: &Params, found: &Found, diff: &Diff) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(pages) = diff.keep {
            let mut put = Put::new(&params.file, content(params, pages));
            put.mode = Some(0o644);
            actions.push(Action::Put(put));
        }
        if let Some(pages) = diff.reserve {
            let before = found.total;
            // Compacting makes room for whole pages where the free memory lies in pieces.
            actions.push(Action::Run(Run::new(format!(
                "p=/proc/sys/vm/nr_hugepages\n[ {pages} -gt {before} ] && echo 1 > /proc/sys/vm/compact_memory\n\
                 echo {pages} > $p\nn=$(cat $p)\n\
                 if [ \"$n\" -lt {pages} ]; then echo {before} > $p; echo {pages} > {NOT_GRANTED}; \
                 echo \"the kernel granted $n of {pages}\"; fi"
            ))));
        }
        actions
    }

    fn result(params: &Params, found: &Found, _ran: &[Output]) -> Map<String, Value> {
        let ours = found.writable && found.size > 0 && found.of_another(&params.instance).is_none();
        let pages = if ours { wanted(params, found).ok() } else { None };
        let granted = pages.is_some_and(|pages| found.total >= pages);
        Map::from_iter([("pages".to_owned(), json!(pages)), ("granted".to_owned(), json!(granted))])
    }
}

/// Whether a number of pages can be had now.
enum Room {
    There,
    Free,
    NotNow,
}

impl Found {
    /// The number that the file holds.
    fn kept(&self) -> Option<u64> {
        let lines = self.file.as_deref()?.lines();
        lines.filter_map(|line| line.trim().strip_prefix("vm.nr_hugepages")).find_map(|rest| {
            let value = rest.trim_start().strip_prefix('=')?;
            value.trim().parse().ok()
        })
    }

    /// Whose the pool is, if not this cluster's.
    fn of_another(&self, instance: &Instance) -> Option<String> {
        let Some(file) = &self.file else {
            return (self.total > 0)
                .then(|| format!("{} huge pages are there that ishprov did not reserve", self.total));
        };
        let named = file.lines().find_map(|line| line.strip_prefix(WRITTEN)?.strip_suffix('.'));
        let own = format!("{}/{}", instance.version, instance.name);
        named.filter(|named| *named != own).map(|named| format!("the pool is kept for cluster {named}"))
    }

    fn room_for(&self, pages: u64) -> Room {
        if self.total >= pages {
            return Room::There;
        }
        // The server itself may hold its memory in small pages still: no more than four fifths of what is free.
        let more = (pages - self.total) * self.size;
        if !self.runs && self.not_granted < pages && more <= self.available / 5 * 4 {
            Room::Free
        } else {
            Room::NotNow
        }
    }
}

/// Pages to reserve, or the number that is kept where that still fits; otherwise why there shall be none.
fn wanted(params: &Params, found: &Found) -> Result<u64, String> {
    let off = |(name, value): &(String, String)| {
        name == "huge_pages" && ["off", "false", "no", "0"].contains(&value.as_str())
    };
    if params.settings.iter().any(off) {
        return Err("`huge_pages` is off".to_owned());
    }
    let budget = params.shared_memory.div_ceil(found.size);
    let needs = found.needs.unwrap_or(budget);
    // The budget's own formula is good to two per cent.
    if needs > budget + budget / 50 + 8 {
        let mb = |pages: u64| pages * found.size / (1 << 20);
        return Err(format!(
            "with these settings the server needs {} MB of shared memory, and the memory budget gives it {} MB",
            mb(needs),
            mb(budget)
        ));
    }
    // No fewer than the budget counts on: `postgresql_tune` takes huge pages for granted from there on.
    let wanted = budget.max(needs + needs.div_ceil(100));
    let kept = found.kept().filter(|kept| (budget.max(needs)..=wanted + wanted / 20).contains(kept));
    Ok(kept.unwrap_or(wanted))
}

/// How the file begins that keeps the number, up to the cluster's name.
const WRITTEN: &str = "# Written by ishprov: huge pages for the shared memory of PostgreSQL ";

fn content(params: &Params, pages: u64) -> String {
    format!("{WRITTEN}{}/{}.\nvm.nr_hugepages = {pages}\n", params.instance.version, params.instance.name)
}

/// The pool, the free memory, and what the server program says.
fn ask(params: &Params) -> Ask {
    let words =
        params.settings.iter().map(|(name, value)| format!(" -c {}", quote(&format!("{name}={value}"))));
    // A running server's folder is locked: a folder with its control file alone stands in for it. Nothing is started.
    Ask::sh(format!(
        "D={data}\nB={bin}\n\
         [ -w /proc/sys/vm/nr_hugepages ] && printf 'writable\\t1\\n'\n\
         while read -r k v _; do case $k in MemAvailable:) printf 'available\\t%s\\n' \"$v\";; Hugepagesize:) printf 'size\\t%s\\n' \"$v\";; esac; done </proc/meminfo\n\
         printf 'total\\t%s\\n' \"$(cat /proc/sys/vm/nr_hugepages 2>/dev/null)\"\n\
         [ -s \"$D/postmaster.pid\" ] && printf 'runs\\t1\\n'\n\
         [ -e {NOT_GRANTED} ] && printf 'not_granted\\t%s\\n' \"$(cat {NOT_GRANTED})\"\n\
         if [ -w /proc/sys/vm/nr_hugepages ] && [ -x \"$B\" ] && [ -e \"$D/global/pg_control\" ] && t=$(mktemp -d); then\n \
         mkdir \"$t/global\" && cp \"$D/PG_VERSION\" \"$t\" && cp \"$D/global/pg_control\" \"$t/global\" && chown -R postgres \"$t\" && chmod -R go= \"$t\" &&\n \
         n=$(cd / && runuser -u postgres -- env LC_ALL=C \"$B\" -C shared_memory_size_in_huge_pages -D \"$t\" -c config_file=/dev/null{words} 2>/dev/null) && [ \"$n\" -gt 0 ] && printf 'needs\\t%s\\n' \"$n\"\n \
         rm -rf \"$t\"\nfi\nprintf 'end\\t1\\n'",
        data = quote(&params.instance.data_directory),
        bin = quote(&params.instance.program("postgres")),
        words = words.collect::<String>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(needs: Option<u64>, total: u64, file: Option<&str>) -> Found {
        Found {
            file: file.map(str::to_owned),
            writable: true,
            size: 2 << 20,
            total,
            needs,
            available: 8 << 30,
            not_granted: 0,
            runs: false,
        }
    }

    fn params(shared_memory: u64) -> Params {
        let name = "main".to_owned();
        let instance = Instance { version: 15, name, data_directory: "/data".to_owned() };
        Params { instance, settings: Vec::new(), shared_memory, file: "/etc/sysctl.d/x.conf".to_owned() }
    }

    #[test]
    fn the_server_is_believed_within_the_budget() {
        let params = params(2130 << 20);
        let pages = |needs, file| wanted(&params, &found(needs, 0, file));
        assert_eq!(pages(Some(1065), None).expect("fits"), 1076);
        assert_eq!(pages(None, None).expect("by the budget"), 1076);
        // A number that fits still stays, so that a second run changes nothing.
        assert_eq!(pages(Some(1040), None).expect("the budget's"), 1065);
        assert_eq!(pages(Some(1060), Some("vm.nr_hugepages = 1076\n")).expect("kept"), 1076);
        assert_eq!(pages(Some(1080), Some("vm.nr_hugepages = 1076\n")).expect("too few"), 1091);
        assert_eq!(pages(Some(1065), Some("vm.nr_hugepages = 4000\n")).expect("too many"), 1076);
        assert!(pages(Some(2000), None).expect_err("over the budget").contains("4000 MB"));
        let mut off = self::params(2130 << 20);
        off.settings.push(("huge_pages".to_owned(), "off".to_owned()));
        assert_eq!(wanted(&off, &found(Some(1065), 0, None)), Err("`huge_pages` is off".to_owned()));
    }

    proptest::proptest! {
        /// Invariant 13 of the tuner: never fewer than the server's own count, never more than the budget gave and a little.
        #[test]
        fn as_many_as_the_server_counts_and_the_budget_pays(
            budget in 1_u64..1 << 40, needs in proptest::option::of(1_u64..1 << 19), kept in proptest::option::of(0_u64..1 << 19),
        ) {
            let file = kept.map(|pages| format!("vm.nr_hugepages = {pages}\n"));
            let Ok(pages) = wanted(&params(budget), &found(needs, 0, file.as_deref())) else { return Ok(()) };
            let paid = budget.div_ceil(2 << 20);
            proptest::prop_assert!(pages >= needs.unwrap_or(0) && pages >= paid);
            let most = paid + paid / 50 + 8;
            proptest::prop_assert!(pages <= most + most / 100 + 1 + (most + most / 100 + 1) / 20);
        }
    }

    #[test]
    fn a_pool_of_somebody_else_is_left_alone() {
        let instance = params(1).instance;
        let whose = |total, file| found(None, total, file).of_another(&instance);
        assert_eq!(whose(0, None), None);
        assert!(whose(40, None).is_some_and(|why| why.contains("40 huge pages")));
        assert_eq!(whose(40, Some("# older\nvm.nr_hugepages = 40\n")), None);
        let file = content(&params(1), 40);
        assert_eq!(whose(40, Some(&file)), None);
        let other = file.replace("15/main", "16/other");
        assert!(whose(40, Some(&other)).is_some_and(|why| why.ends_with("cluster 16/other")));
    }
}
