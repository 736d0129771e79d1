//! `ishprov facts`: what hosts say of themselves, one round trip each.

use super::args::FactsArgs;
use super::exit;
use crate::console::Screen;
use crate::engine::explain;
use crate::shell::{Ask, Frame, ItemReply};
use crate::transport::{Transport as _, connect};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Shows facts as JSON, by host; the exit code.
pub async fn facts(args: FactsArgs) -> i32 {
    let screen = Screen::new(false, 0, false);
    let mut world = super::load::world(&args.inventory, None, false);
    let pattern = world.pattern(&args.pattern);
    let hosts = world.select(&pattern, None);
    world.enter_lab(&args.connect);
    world.check_lab(&hosts);
    let setups: Vec<_> =
        hosts.iter().map(|host| (host.clone(), world.setup(host, &args.connect, true))).collect();
    if world.show_findings(&screen) {
        super::run::summary(&world, &screen);
        return exit::ERROR;
    }
    let permits = Arc::new(Semaphore::new(args.connect.forks.max(1)));
    let mut tasks = JoinSet::new();
    for (index, (host, mut setup)) in setups.into_iter().enumerate() {
        let permits = Arc::clone(&permits);
        if !args.connect.r#become && setup.become_root != Some(true) {
            setup.endpoint.r#become = None;
        }
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let ask = Ask::sh(crate::facts::script());
            let answer = match connect(&setup.endpoint, &Frame::probe([ask.clone()])).await {
                Ok((session, greeting)) => {
                    session.close().await;
                    match greeting.replies.into_iter().next() {
                        Some(ItemReply::Answers(answers)) => {
                            Ok(answers.output(&ask).map(crate::shell::Output::text))
                        }
                        _ => Ok(Ok(String::new())),
                    }
                }
                Err(error) => Err(explain(&host, &error)),
            };
            (index, host, answer)
        });
    }
    let mut answers = Vec::new();
    while let Some(Ok(answer)) = tasks.join_next().await {
        answers.push(answer);
    }
    answers.sort_by_key(|(index, ..)| *index);
    let mut all = Map::new();
    let mut code = exit::OK;
    for (_, host, answer) in answers {
        match answer.map(|text| text.and_then(|text| crate::facts::parse(&text))) {
            Ok(Ok(facts)) => {
                all.insert(host, Value::Object(facts));
            }
            Ok(Err(fault)) => {
                screen.aside(&format!("error: cannot read the facts of `{host}`: {}", fault.message));
                code = code.max(exit::FAILED);
            }
            Err(diagnostic) => {
                screen.diagnostics(&[diagnostic], &world.library.map(), world.library.masker());
                code = exit::UNREACHABLE;
            }
        }
    }
    screen.line(&serde_json::to_string_pretty(&Value::Object(all)).unwrap_or_default());
    code
}
