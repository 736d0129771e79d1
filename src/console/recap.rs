//! Ansible's recap.

use crate::engine::{HostReport, Report};

/// A line per host, in Ansible's columns.
pub fn recap(report: &Report) -> Vec<String> {
    let widest = report.hosts.iter().map(|host| host.host.chars().count()).max().unwrap_or(0);
    report.hosts.iter().map(|host| line(host, widest)).collect()
}

fn line(host: &HostReport, widest: usize) -> String {
    let stats = &host.stats;
    let columns = [
        ("ok", stats.ok),
        ("changed", stats.changed),
        ("unreachable", stats.unreachable),
        ("failed", stats.failed),
        ("skipped", stats.skipped),
        ("rescued", stats.rescued),
        ("ignored", stats.ignored),
    ];
    let columns =
        columns.map(|(name, count)| format!("{:<width$}", format!("{name}={count}"), width = name.len() + 4));
    format!("{:<widest$} : {}", host.host, columns.join(" ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Stats;

    #[test]
    fn columns_are_ansibles() {
        let stats = Stats { ok: 41, changed: 33, skipped: 2, ..Stats::default() };
        let host = HostReport { host: "pg1".to_owned(), stats, ..HostReport::default() };
        let other = HostReport { host: "pg-replica1".to_owned(), ..HostReport::default() };
        let report = Report { hosts: vec![host, other], interrupted: false };
        insta::assert_snapshot!(recap(&report).join("\n"), @r"
        pg1         : ok=41  changed=33  unreachable=0   failed=0   skipped=2   rescued=0   ignored=0
        pg-replica1 : ok=0   changed=0   unreachable=0   failed=0   skipped=0   rescued=0   ignored=0
        ");
    }
}
