//! Other clusters on a host: they use the same RAM, so it is shared by plan.
//!
//! Clusters whose settings this program wrote share alike; before that, what a cluster of somebody else is set to take is
//! left out. A cluster counts while it has data and is not switched off (`start.conf`).

use super::overriding::setting;
use crate::modules::Instance;
use crate::shell::quote;
use crate::tuner::Bytes;
use std::collections::BTreeMap;

/// What a backend is reckoned with, besides what it sorts in: measured on idle backends with warm catalogs.
const BACKEND: u64 = 3 << 20;

/// Another cluster on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// `15/main`.
    pub label: String,
    /// Its settings are written by this program.
    pub ours: bool,
    /// `shared_buffers`.
    pub shared_buffers: Bytes,
    /// `max_connections`.
    pub max_connections: u64,
}

/// Shell text that prints the other clusters and what is set for them, `near<TAB>LABEL<TAB>LINE`; `ours` in the place of the
/// line where this program writes its settings.
pub fn script(instance: &Instance) -> String {
    format!("( own={}\n{PROBE})\n", quote(&instance.label()))
}

const PROBE: &str = r#"for c in /etc/postgresql/*/*/postgresql.conf; do
 [ -f "$c" ] || continue
 c=${c%/postgresql.conf} l=${c#/etc/postgresql/}
 [ "$l" != "$own" ] || continue
 ! grep -qs '^[[:space:]]*disabled' "$c/start.conf" || continue
 d=$(sed -n "s/^[[:space:]]*data_directory[[:space:]]*=\{0,1\}[[:space:]]*'\([^']*\)'.*/\1/p" "$c/postgresql.conf" | tail -n 1)
 [ -f "$d/PG_VERSION" ] || continue
 printf 'near\t%s\t\n' "$l"
 head -n 1 "$c/conf.d/50-ishprov.conf" 2>/dev/null | grep -q '^# Written by ishprov' && printf 'near\t%s\tours\n' "$l"
 cat "$c/postgresql.conf" "$c"/conf.d/*.conf "$d/postgresql.auto.conf" 2>/dev/null |
  grep -E '^[[:space:]]*(shared_buffers|max_connections)' | while IFS= read -r x; do printf 'near\t%s\t%s\n' "$l" "$x"; done
done
"#;

/// The other clusters; `lines` are `LABEL<TAB>LINE`, later lines of a setting win.
pub fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Neighbour> {
    let mut found: BTreeMap<&str, Neighbour> = BTreeMap::new();
    for (label, line) in lines.filter_map(|line| line.split_once('\t')) {
        let one = found.entry(label).or_insert_with(|| Neighbour {
            label: label.to_owned(),
            // PostgreSQL's own defaults.
            shared_buffers: Bytes::mb(128),
            max_connections: 100,
            ..Neighbour::default()
        });
        if line == "ours" {
            one.ours = true;
        }
        match setting(line) {
            // A bare number counts blocks.
            Some((name, value)) if name == "shared_buffers" => {
                let blocks = value.parse::<u64>().ok().map(|number| Bytes(number.saturating_mul(8192)));
                one.shared_buffers = blocks.or_else(|| value.parse().ok()).unwrap_or(one.shared_buffers);
            }
            Some((name, value)) if name == "max_connections" => {
                one.max_connections = value.parse().unwrap_or(one.max_connections);
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

impl Neighbour {
    /// What it is set to take.
    fn takes(&self) -> u64 {
        let shared = self.shared_buffers.0;
        shared.saturating_add(shared / 10).saturating_add(self.max_connections.saturating_mul(BACKEND))
    }
}

/// The part of a host's RAM that is this cluster's, and what people are told of it.
pub fn share(ram: Bytes, neighbours: &[Neighbour]) -> (Bytes, Option<String>) {
    if neighbours.is_empty() {
        return (ram, None);
    }
    let (ours, foreign): (Vec<_>, Vec<_>) = neighbours.iter().partition(|one| one.ours);
    let taken: u64 = foreign.iter().map(|one| one.takes()).sum();
    let part = Bytes(ram.0.saturating_sub(taken) / (ours.len() as u64 + 1));
    let mut parts = Vec::new();
    if !foreign.is_empty() {
        let names: Vec<_> = foreign.iter().map(|one| one.label.as_str()).collect();
        parts.push(format!("{} is left to {}, as set", Bytes(taken).human(), names.join(", ")));
    }
    if !ours.is_empty() {
        let names: Vec<_> = ours.iter().map(|one| one.label.as_str()).collect();
        parts.push(format!("{} has a part alike, from the next run of its site on", names.join(", ")));
    }
    let told = format!(
        "of {} RAM this cluster is planned with {}: {} (`postgresql_memory` says another part)",
        ram.human(),
        part.human(),
        parts.join("; ")
    );
    (part, Some(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ram_of_a_host_is_shared() {
        let gb = |count: u64| Bytes(count << 30);
        assert_eq!(share(gb(8), &[]), (gb(8), None));
        let lines = [
            "15/main\t",
            "15/main\tours",
            "15/main\tshared_buffers = 2GB",
            "16/old\t",
            "16/old\tshared_buffers = 65536",
        ];
        let found = read(lines.into_iter());
        assert_eq!(
            found.iter().map(|one| (one.label.as_str(), one.ours)).collect::<Vec<_>>(),
            [("15/main", true), ("16/old", false)]
        );
        assert_eq!(found[1].shared_buffers, Bytes::mb(512));
        let (part, told) = share(gb(8), &found);
        let taken = (512 << 20) + (512 << 20) / 10 + 100 * BACKEND;
        assert_eq!(part, Bytes(((8 << 30) - taken) / 2));
        let told = told.expect("said");
        assert!(told.contains("16/old") && told.contains("15/main has a part alike"), "{told}");
    }
}
