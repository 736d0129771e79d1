//! `ishprov lint`: everything that can be found wrong without contacting a host.

use super::args::{ConnectArgs, LintArgs, OutputKind};
use super::exit;
use super::run::counted;
use crate::console::Screen;
use crate::plan::Tags;

/// Checks a site; the exit code.
pub fn lint(args: LintArgs) -> i32 {
    let screen = Screen::new(args.output == OutputKind::Json, 0, false);
    let mut world = super::load::world(&args.inventory, Some(&args.site), false);
    let tags = Tags::new(vec!["all".to_owned(), "never".to_owned()], Vec::new());
    let plays = world.site(&args.site, &tags, None);
    let setups = world.setups(&ConnectArgs::default(), true);
    let open = super::run::check(&mut world, &plays, &setups, &tags, args.strict);
    if world.show_findings(&screen) {
        super::run::summary(&world, &screen);
        return exit::ERROR;
    }
    if !screen.json {
        // Ids count on from play to play; checks of arguments are no tasks of anybody's.
        let settled = |plan: &crate::plan::PlayPlan| plan.settled(&open).len();
        let tasks = plays.iter().map(|(plan, _)| plan.steps).max().unwrap_or(0);
        let tasks = tasks - plays.iter().map(|(plan, _)| settled(plan)).sum::<usize>();
        let (files, tasks) = (counted(world.library.map().len(), "file"), counted(tasks, "task"));
        screen.line(&format!("{}: no errors in {files}, {tasks}", args.site.display()));
    }
    exit::OK
}
