//! Prints plans: as a table for people, as a file, as statements, as data.

use super::plan::{Plan, Row, Step};
use super::pools;
use crate::cli::args::{TuneArgs, TuneFormat};
use crate::console::Screen;
use crate::tuner::{DiskKind, PoolPlan, Setting, Takes, Value as Wanted, render_conf};
use serde_json::{Map, Value, json};

/// Shows what was decided, in the wanted format.
pub fn plans(args: &TuneArgs, plans: &[Plan], pools: Option<&PoolPlan>, screen: &Screen) {
    let commented = |mark: &str| {
        let Some(pools) = pools else { return };
        screen.line("");
        // Not wrapped: who reads the file has another width.
        pools::lines(pools, usize::MAX).iter().for_each(|line| screen.line(&format!("{mark} {line}")));
    };
    match args.format {
        TuneFormat::Table => {
            tables(plans, args.all, screen);
            if let Some(pools) = pools {
                screen.line("");
                pools::lines(pools, screen.width()).iter().for_each(|line| screen.line(line));
            }
        }
        TuneFormat::Conf => {
            for plan in plans {
                screen.line(file(plan).trim_end());
            }
            commented("#");
        }
        TuneFormat::Sql => {
            for plan in plans {
                screen.line(statements(plan).trim_end());
            }
            commented("--");
        }
        TuneFormat::Json | TuneFormat::Yaml => screen.line(data(args.format, plans, pools).trim_end()),
    }
}

/// One table a machine.
pub fn tables(plans: &[Plan], all: bool, screen: &Screen) {
    for (index, plan) in plans.iter().enumerate() {
        if index > 0 {
            screen.line("");
        }
        wrap(&heading(plan), screen.width()).iter().for_each(|line| screen.line(line));
        table(plan, all, screen.width()).iter().for_each(|line| screen.line(line));
    }
    if plans.len() > 1 {
        screen.line(&format!(
            "\nThese {} hosts count as one cluster: settings that standbys share with their primary are the same.",
            plans.len()
        ));
    }
}

pub fn heading(plan: &Plan) -> String {
    let name = if plan.host.is_empty() { String::new() } else { format!("{}: ", plan.host) };
    format!("{name}{}", describe(plan))
}

fn data(format: TuneFormat, plans: &[Plan], pools: Option<&PoolPlan>) -> String {
    let one = |plan: &Plan| {
        let mut value = json!({ "input": plan.input, "tuning": plan.tuning, "now": plan.measured.settings,
                "notes": plan.notes,
                "set_by_the_inventory": plan.overrides.iter().cloned().collect::<std::collections::BTreeMap<_, _>>() });
        if let Some(pools) = pools {
            value["pgbouncer"] = json!(pools);
        }
        value
    };
    let value = match plans {
        [plan] if plan.host.is_empty() => one(plan),
        many => Value::Object(many.iter().map(|plan| (plan.host.clone(), one(plan))).collect::<Map<_, _>>()),
    };
    match format {
        TuneFormat::Yaml => serde_yaml::to_string(&value).unwrap_or_default(),
        _ => serde_json::to_string_pretty(&value).unwrap_or_default(),
    }
}

/// The settings as a file for `conf.d`, each after its reason.
fn file(plan: &Plan) -> String {
    let mut tuning = plan.tuning.clone();
    let site = |name: &str| plan.overrides.iter().any(|(known, _)| known == name);
    tuning.settings.retain(|setting| !site(setting.name));
    let mut text = render_conf(&tuning, &heading(plan));
    for (name, value) in &plan.overrides {
        let value = value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n");
        text.push_str(&format!("\n# set by the inventory\n{name} = '{value}'\n"));
    }
    text
}

/// The settings as `ALTER SYSTEM` statements for `psql`, each after its reason.
fn statements(plan: &Plan) -> String {
    let mut text = format!("-- {}\n-- {}\n", heading(plan), plan.tuning.budget.bar());
    let site = |name: &str| plan.overrides.iter().any(|(known, _)| known == name);
    for (name, value) in &plan.overrides {
        let value = value.replace('\'', "''");
        text.push_str(&format!("\n-- set by the inventory\nALTER SYSTEM SET {name} = '{value}';\n"));
    }
    for setting in plan.tuning.settings.iter().filter(|setting| !site(setting.name)) {
        let why = setting.why.replace(['\n', '\r'], " ");
        text.push_str(&format!("\n-- {why}\nALTER SYSTEM SET {} = {};\n", setting.name, sql_value(setting)));
    }
    let restarts: Vec<&str> = plan
        .tuning
        .settings
        .iter()
        .filter(|setting| setting.takes == Takes::Restart)
        .map(|setting| setting.name)
        .collect();
    text.push_str("\nSELECT pg_reload_conf();\n");
    if !restarts.is_empty() {
        text.push_str(&format!("-- these wait for a restart: {}\n", restarts.join(", ")));
    }
    text
}

/// A list is a list of literals there: as one literal it would be one name with a comma in it.
fn sql_value(setting: &Setting) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    match &setting.value {
        Wanted::Text(text) if setting.name.ends_with("_libraries") && !text.is_empty() => {
            text.split(',').map(|item| literal(item.trim())).collect::<Vec<_>>().join(", ")
        }
        value => literal(&value.to_string()),
    }
}

/// `8 GB RAM, 2 CPUs, SSD (sda: not rotating, says the kernel) · PostgreSQL 15 · web · 300 connections`.
fn describe(target: &Plan) -> String {
    let hardware = &target.input.hardware;
    let limited = if target.measured.limited { " (what its cgroup allows)" } else { "" };
    let cpus = if hardware.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", hardware.cpus) };
    let kind = match hardware.disk.kind {
        DiskKind::Nvme => "NVMe",
        DiskKind::Ssd => "SSD",
        DiskKind::Hdd => "HDD",
        DiskKind::San => "SAN",
        DiskKind::Unknown => "unknown disk",
    };
    let evidence = if hardware.disk.evidence.is_empty() {
        String::new()
    } else {
        format!(" ({})", hardware.disk.evidence)
    };
    let active = if target.tuning.active < target.input.max_connections {
        format!(", {} active", target.tuning.active)
    } else {
        String::new()
    };
    format!(
        "{} RAM, {cpus}{limited}, {kind}{evidence} · PostgreSQL {} · {} · {} connections{active}",
        hardware.ram.human(),
        target.input.pg_major,
        target.input.workload,
        target.input.max_connections
    )
}

/// Columns that a reason takes at least to be read with ease.
const LEAST_REASON: usize = 30;
/// Columns that a value takes at most where reasons stand below: a longer one gets a line of its own.
const MOST_VALUE: usize = 20;

/// The settings that differ from what is in force (all of them where nothing is), the budget, and the way out.
fn table(plan: &Plan, all: bool, width: usize) -> Vec<String> {
    let server = plan.runs();
    let decided = plan.rows();
    let right = decided.iter().filter(|row| row.takes == Step::Nothing).count();
    let cells =
        |row: &Row| [row.name.clone(), row.now.clone(), row.proposed.clone(), row.takes.word().to_owned()];
    let mut rows = vec![(["setting", "now", "proposed", "takes"].map(str::to_owned), "why".to_owned())];
    rows.extend(
        decided
            .iter()
            .filter(|row| all || row.takes != Step::Nothing)
            .map(|row| (cells(row), row.why.clone())),
    );
    let columns: Vec<usize> = (0..4).filter(|column| server || *column != 1).collect();
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| rows.iter().map(|(cells, _)| cells[*column].chars().count()).max().unwrap_or(0))
        .collect();
    let beside = 2 + widths.iter().map(|width| width + 2).sum::<usize>();
    // Where a column of reasons would be too narrow to read, each stands below its setting.
    let below = width < beside + LEAST_REASON;
    let indent = if below { 6 } else { beside };
    let widths: Vec<usize> = match below {
        true => widths
            .iter()
            .enumerate()
            .map(|(at, width)| if at == 0 { *width } else { (*width).min(MOST_VALUE) })
            .collect(),
        false => widths,
    };
    let mut lines = Vec::new();
    for (index, (cells, why)) in rows.iter().enumerate() {
        let mut line = String::from("  ");
        for (column, cell_width) in columns.iter().zip(&widths) {
            line += &format!("{:<cell_width$}  ", cells[*column]);
        }
        if below {
            if line.trim_end().chars().count() > width {
                let [name, rest @ ..] = cells;
                let rest: Vec<&str> =
                    rest.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
                lines.push(format!("  {name}"));
                line = format!("{}{}", " ".repeat(indent), rest.join("  "));
            }
            lines.push(line.trim_end().to_owned());
            if index == 0 {
                continue;
            }
            line = " ".repeat(indent);
        }
        for (index, part) in wrap(why, width.saturating_sub(indent)).iter().enumerate() {
            if index > 0 {
                line = " ".repeat(indent);
            }
            lines.push(format!("{line}{part}").trim_end().to_owned());
        }
    }
    if rows.len() == 1 {
        lines = vec!["  every setting is right as it is".to_owned()];
    } else if right > 0 && !all {
        lines.push(format!("  ({right} more are right as they are; `--all` shows them)"));
    }
    lines.extend(bar(&plan.tuning.budget.bar(), width));
    for note in &plan.notes {
        lines.extend(wrap(&format!("Note: {note}."), width));
    }
    if let Some(way) = &plan.tuning.way_out {
        lines.extend(wrap(&format!("Way out: {way}."), width));
    }
    lines
}

/// The budget's bar, broken between its parts where it is wider than the terminal.
fn bar(text: &str, width: usize) -> Vec<String> {
    let indent = text.chars().take_while(|c| *c != '|').count();
    let mut lines = vec![String::new()];
    for part in text.split_inclusive('|') {
        let length = part.chars().count();
        let full = |line: &String| line.chars().count() > indent && line.chars().count() + length > width;
        if lines.last().is_some_and(full) {
            lines.push(" ".repeat(indent) + "|");
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(part);
        }
    }
    lines
}

pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let length = lines.last().map_or(0, |line| line.chars().count());
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::{Bytes, Input, Workload};

    fn small_host(settings: &[(&str, &str)]) -> Plan {
        let mut input = Input::new(Bytes::gb(8), 2, 300, Workload::Web, 15);
        input.preload = vec!["pg_stat_statements".to_owned(), "auto_explain".to_owned()];
        let mut plan = Plan::bare(input, Some(15));
        plan.measured.settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        plan
    }

    #[test]
    fn only_what_differs_is_shown_and_reasons_keep_their_column() {
        let plan =
            small_host(&[("shared_buffers", "128MB"), ("work_mem", "4MB"), ("max_connections", "300")]);
        let lines = table(&plan, false, 120);
        let buffers = lines.iter().find(|line| line.contains("shared_buffers ")).expect("a row");
        assert!(
            buffers.contains("128MB") && buffers.contains("2GB") && buffers.contains("restart"),
            "{buffers}"
        );
        assert!(!lines.iter().any(|line| line.starts_with("  max_connections")));
        assert!(lines.iter().all(|line| line.chars().count() <= 120));
        let all = table(&plan, true, 120);
        assert!(all.iter().any(|line| line.starts_with("  max_connections") && line.contains(" -  ")));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut plan = small_host(&[("shared_buffers", "128MB")]);
        plan.notes = vec!["`max_locks_per_transaction` stays 512, not 64: it is set in /etc/postgresql/15/main/conf.d/10-app.conf".to_owned()];
        for width in [80, 100, 120, 200] {
            let lines = table(&plan, true, width);
            let wide: Vec<&String> = lines.iter().filter(|line| line.chars().count() > width).collect();
            assert!(wide.is_empty(), "{width}: {wide:#?}");
        }
        let narrow = table(&plan, true, 80);
        let at = narrow.iter().position(|line| line.starts_with("  shared_buffers ")).expect("a row");
        assert_eq!(narrow[at + 1], "      a quarter of 8 GB RAM");
    }

    #[test]
    fn a_server_that_has_it_all_needs_nothing() {
        let mut plan = small_host(&[("x", "y")]);
        for setting in &plan.tuning.settings {
            plan.measured.settings.insert(setting.name.to_owned(), setting.value.to_string());
        }
        assert_eq!(table(&plan, false, 100)[0], "  every setting is right as it is");
        assert!(plan.changes().is_empty());
        plan.overrides = vec![("work_mem".to_owned(), "64MB".to_owned())];
        let changes = plan.changes();
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].proposed.as_str(), changes[0].why.as_str()), ("64MB", "set by the inventory"));
    }

    #[test]
    fn statements_quote_each_item_of_a_list() {
        let text = statements(&small_host(&[]));
        assert!(text.contains("\nALTER SYSTEM SET shared_buffers = '2GB';\n"), "{text}");
        assert!(
            text.contains("SET shared_preload_libraries = 'pg_stat_statements', 'auto_explain';"),
            "{text}"
        );
        assert!(text.contains("-- these wait for a restart: shared_buffers"), "{text}");
        assert!(text.lines().all(|line| line.is_empty()
            || line.starts_with("-- ")
            || line.starts_with("ALTER SYSTEM SET ") && line.ends_with(';')
            || line == "SELECT pg_reload_conf();"));
    }
}
