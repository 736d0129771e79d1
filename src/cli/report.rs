//! How the cluster stands after a run: every host is asked once, side by side.

use super::asking::{abreast, answers};
use crate::cluster::report::{ClusterReport, HostAnswer, ask, report};
use crate::engine::{HostSetup, Report, explain};
use std::collections::HashMap;

/// Asks the hosts of a run that were reached.
pub async fn cluster_report(
    run: &Report,
    setups: &HashMap<String, HostSetup>,
    forks: usize,
) -> ClusterReport {
    let reached = run.hosts.iter().filter(|host| host.stats.unreachable == 0);
    let reached = reached.filter_map(|host| Some((host.host.clone(), setups.get(&host.host)?.clone())));
    let answers = abreast(reached, forks, |(host, setup)| async move {
        let text = one(&host, &setup).await;
        HostAnswer { host, address: setup.endpoint.address, text }
    });
    let answers: Vec<HostAnswer> = answers.await.into_iter().filter_map(Result::ok).collect();
    report(&answers, time::OffsetDateTime::now_utc())
}

async fn one(host: &str, setup: &HostSetup) -> Result<String, String> {
    let question = ask();
    let answers = answers(&setup.endpoint, &question).await;
    let answers = answers.map_err(|error| explain(host, &error).message)?.ok_or("it did not answer")?;
    // A host without the account `postgres` has no server to speak of.
    Ok(answers.output(&question).map(crate::shell::Output::text).unwrap_or_default())
}
