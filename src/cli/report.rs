//! How the cluster stands after a run: every host is asked once, side by side.

use crate::cluster::report::{ClusterReport, HostAnswer, ask, report};
use crate::engine::{HostSetup, Report, explain};
use crate::shell::{Frame, ItemReply};
use crate::transport::{Transport as _, connect};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Asks the hosts of a run that were reached.
pub async fn cluster_report(
    run: &Report,
    setups: &HashMap<String, HostSetup>,
    forks: usize,
) -> ClusterReport {
    let permits = Arc::new(Semaphore::new(forks.max(1)));
    let mut tasks = JoinSet::new();
    let reached = run.hosts.iter().filter(|host| host.stats.unreachable == 0);
    for (index, (name, setup)) in
        reached.filter_map(|host| Some((host.host.clone(), setups.get(&host.host)?.clone()))).enumerate()
    {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let text = one(&name, &setup).await;
            (index, HostAnswer { host: name, address: setup.endpoint.address, text })
        });
    }
    let mut answers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        answers.extend(joined.ok());
    }
    answers.sort_by_key(|(index, _)| *index);
    let answers: Vec<HostAnswer> = answers.into_iter().map(|(_, answer)| answer).collect();
    report(&answers, time::OffsetDateTime::now_utc())
}

async fn one(host: &str, setup: &HostSetup) -> Result<String, String> {
    let question = ask();
    let (session, greeting) = connect(&setup.endpoint, &Frame::probe([question.clone()]))
        .await
        .map_err(|error| explain(host, &error).message)?;
    session.close().await;
    let Some(ItemReply::Answers(answers)) = greeting.replies.into_iter().next() else {
        return Err("it did not answer".to_owned());
    };
    // A host without the account `postgres` has no server to speak of.
    Ok(answers.output(&question).map(crate::shell::Output::text).unwrap_or_default())
}
