//! PgBouncer's pools beside the settings of the server that they lead to.

use super::small;
use crate::cli::args::TuneArgs;
use crate::tuner::{PoolPlan, PoolWish, Refusal};

/// Plans the pools, where they are asked for; what they can open becomes what can be active.
///
/// # Errors
/// They ask for more than the server has.
pub fn plan(args: &mut TuneArgs) -> Result<Option<PoolPlan>, Refusal> {
    let (Some(pairs), Some(connections)) = (args.pool_pairs, args.connections) else { return Ok(None) };
    let wish = PoolWish {
        instances: small(args.pool_instances),
        size: args.pool_size.map(small),
        reserve: small(args.pool_reserve),
        min: small(args.pool_min),
        direct: small(args.direct),
        monitoring: small(args.monitoring),
        clients: args.max_clients.map(small),
        ..PoolWish::new(small(connections), small(pairs))
    };
    let plan = wish.plan()?;
    args.active = Some(plan.active.into());
    Ok(Some(plan))
}

/// The plan for people, a line each.
pub fn lines(plan: &PoolPlan) -> Vec<String> {
    let title = format!("PgBouncer: {}", plan.sum());
    let names = plan.settings.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let values = plan.settings.iter().map(|line| line.value.len()).max().unwrap_or_default();
    let line = |line: &crate::tuner::PoolSetting| {
        format!("  {:<names$}  {:<values$}  {}", line.name, line.value, line.why)
    };
    std::iter::once(title).chain(plan.settings.iter().map(line)).collect()
}

/// How one of its lines comes about; `None` when it has none of that name.
pub fn explain(plan: &PoolPlan, name: &str) -> Option<Vec<String>> {
    let line = plan.settings.iter().find(|line| line.name == name)?;
    Some(vec![
        format!("{} = {}", line.name, line.value),
        format!("  why      {}", line.why),
        format!("  sum      {}", plan.sum()),
        format!("  active   {} connections can be at work, which the memory budget carries", plan.active),
    ])
}
