//! PgBouncer's pools beside the settings of the server that they lead to.

use super::plan::Plan;
use super::show::wrap;
use super::small;
use crate::cli::args::TuneArgs;
use crate::tuner::{CONNECTIONS, Input, PoolPlan, PoolWish, Refusal, tune as decide};

/// Plans the pools, where they are asked for; what they can open becomes what can be active.
///
/// # Errors
/// They ask for more than the server has.
pub fn plan(args: &mut TuneArgs) -> Result<Option<PoolPlan>, Refusal> {
    let (Some(pairs), Some(connections)) = (args.pool_pairs, args.connections) else { return Ok(None) };
    // The tuner refuses it with its range.
    if !CONNECTIONS.contains(&small(connections)) {
        return Ok(None);
    }
    let wish = PoolWish {
        instances: small(args.pool_instances),
        size: args.pool_size.map(small),
        reserve: small(args.pool_reserve),
        min: small(args.pool_min),
        superuser_reserved: small(args.superuser_reserved),
        reserved: small(args.reserved),
        direct: small(args.direct),
        monitoring: small(args.monitoring),
        clients: args.max_clients.map(small),
        ..PoolWish::new(small(connections), small(pairs))
    };
    let plan = wish.plan()?;
    args.active = Some(plan.active.into());
    Ok(Some(plan))
}

/// A server that keeps more connections back than the pools count on would refuse them when all are open.
///
/// # Errors
/// Such a server, with the option that tells the plan of it.
pub fn check(pools: &PoolPlan, plans: &[Plan]) -> Result<(), Refusal> {
    let counted = [
        ("superuser_reserved_connections", "superuser_reserved", pools.wish.superuser_reserved),
        ("reserved_connections", "reserved", pools.wish.reserved),
    ];
    for plan in plans {
        for (name, input, counted) in counted {
            let set = plan.overrides.iter().find(|(known, _)| known == name).map(|(_, value)| value);
            let kept = set.or_else(|| plan.measured.settings.get(name)).and_then(|text| text.parse().ok());
            let Some(kept) = kept.filter(|kept: &u32| *kept > counted) else { continue };
            let host = if plan.host.is_empty() { String::new() } else { format!(" of `{}`", plan.host) };
            return Err(Refusal {
                input: Some(input),
                message: format!(
                    "the server{host} keeps {kept} connections back (`{name}`), and the pools count on {counted}"
                ),
                arithmetic: Vec::new(),
                ways_out: vec![format!("plan the pools with it (--{} {kept})", input.replace('_', "-"))],
            });
        }
    }
    Ok(())
}

/// The way out of scarce memory in the words of pools that are planned: `--active` is theirs to say.
pub fn way_out(pools: &PoolPlan, plan: &Plan) -> Option<String> {
    plan.tuning.way_out.as_ref()?;
    let narrow = pools.narrowed(plan.input.hardware.cpus.saturating_mul(10).max(40))?;
    let input = Input { active: Some(narrow.active), ..plan.input.clone() };
    let tuning = decide(&input, &plan.needs).ok()?;
    let (size, value) = (narrow.size, &tuning.get("work_mem")?.value);
    Some(format!("{size} server connections of each pool would allow work_mem {value} (--pool-size {size})"))
}

/// The plan for people: the sum, and a table as wide as `width`.
pub fn lines(plan: &PoolPlan, width: usize) -> Vec<String> {
    let head = [("setting", "value", "why")].into_iter();
    let rows =
        head.chain(plan.settings.iter().map(|line| (line.name, line.value.as_str(), line.why.as_str())));
    let rows: Vec<_> = rows.collect();
    let names = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    let values = rows.iter().map(|(_, value, _)| value.len()).max().unwrap_or_default();
    let indent = names + values + 6;
    let mut lines = vec![format!("PgBouncer: {}", plan.sum())];
    for (name, value, why) in rows {
        let mut start = format!("  {name:<names$}  {value:<values$}  ");
        for part in wrap(why, width.saturating_sub(indent).max(30)) {
            lines.push(format!("{start}{part}"));
            start = " ".repeat(indent);
        }
    }
    lines
}

/// How one of its lines comes about; `None` when it has none of that name.
pub fn explain(plan: &PoolPlan, name: &str) -> Option<Vec<String>> {
    let line = plan.settings.iter().find(|line| line.name.eq_ignore_ascii_case(name))?;
    Some(vec![
        format!("{} = {}", line.name, line.value),
        format!("  why      {}", line.why),
        format!("  source   {}", line.source),
        format!("  sum      {}", plan.sum()),
        format!("  active   {} connections can be at work, which the memory budget carries", plan.active),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuner::{Bytes, Workload};

    #[test]
    fn what_a_server_keeps_back_beyond_the_plan_is_refused() {
        let mut plan = Plan::bare(Input::new(Bytes::gb(8), 2, 300, Workload::Web, 16), None);
        plan.host = "pg1".to_owned();
        let pools = PoolWish { reserved: 2, ..PoolWish::new(300, 20) }.plan().expect("fits");
        let mut said = |settings: &[(&str, &str)], overrides: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            plan.measured.settings = settings.iter().map(own).collect();
            plan.overrides = overrides.iter().map(own).collect();
            check(&pools, std::slice::from_ref(&plan)).err().map(|refusal| refusal.to_string())
        };
        let (superusers, others) = ("superuser_reserved_connections", "reserved_connections");
        assert_eq!(said(&[], &[]), None);
        assert_eq!(said(&[(superusers, "3"), (others, "1")], &[]), None);
        let more = "the server of `pg1` keeps 10 connections back (`superuser_reserved_connections`), and the pools \
                    count on 3\nway out: plan the pools with it (--superuser-reserved 10)";
        assert_eq!(said(&[(superusers, "10")], &[]).as_deref(), Some(more));
        // The inventory has the last word, both ways.
        assert_eq!(said(&[(superusers, "10")], &[(superusers, "3")]), None);
        let reserved = said(&[(others, "0")], &[(others, "5")]).expect("more than 2");
        assert!(
            reserved.contains("`reserved_connections`") && reserved.contains("--reserved 5"),
            "{reserved}"
        );
    }
}
