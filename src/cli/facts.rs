//! `ishprov facts`: what hosts say of themselves, one round trip each.

use super::args::FactsArgs;
use super::asking::{abreast, answers};
use super::exit;
use crate::console::Screen;
use crate::engine::explain;
use crate::shell::{Ask, Output};
use serde_json::{Map, Value};

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
    let asked = setups.into_iter().map(|(host, mut setup)| {
        if !args.connect.r#become && setup.become_root != Some(true) {
            setup.endpoint.r#become = None;
        }
        (host, setup.endpoint)
    });
    let asked = abreast(asked, args.connect.forks, |(host, endpoint)| async move {
        let ask = Ask::sh(crate::facts::script());
        let answer = match answers(&endpoint, &ask).await {
            Ok(Some(answers)) => Ok(answers.output(&ask).map(Output::text)),
            Ok(None) => Ok(Ok(String::new())),
            Err(error) => Err(explain(&host, &error)),
        };
        (host, answer)
    });
    let mut all = Map::new();
    let mut code = exit::OK;
    for asked in asked.await {
        let (host, answer) = match asked {
            Ok(asked) => asked,
            Err(error) => {
                screen.aside(&format!("error: a host's task ended: {error}"));
                code = code.max(exit::FAILED);
                continue;
            }
        };
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
