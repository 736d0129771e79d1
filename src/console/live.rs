//! What hosts are at right now: one line at the foot of the screen while a person watches.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The steps that hosts are in the middle of, by host.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Mutex<BTreeMap<String, (String, Instant)>>>);

impl UnderWay {
    /// A host begins with a step, or with a connection.
    pub fn begin(&self, host: &str, what: &str) {
        self.with(|hosts| hosts.insert(host.to_owned(), (what.to_owned(), Instant::now())));
    }

    /// A host is through with what it was at.
    pub fn end(&self, host: &str) {
        self.with(|hosts| hosts.remove(host));
    }

    /// What is under way, longest first: what, its hosts, since when.
    pub fn list(&self) -> Vec<(String, Vec<String>, Instant)> {
        let mut found: Vec<(String, Vec<String>, Instant)> = Vec::new();
        self.with(|hosts| {
            for (host, (what, since)) in hosts.iter() {
                match found.iter_mut().find(|(known, _, _)| known == what) {
                    Some((_, hosts, first)) => {
                        hosts.push(host.clone());
                        *first = (*first).min(*since);
                    }
                    None => found.push((what.clone(), vec![host.clone()], *since)),
                }
            }
        });
        found.sort_by_key(|(_, _, since)| *since);
        found
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, (String, Instant)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As one line of at most `width` columns.
    fn line(&self, width: usize) -> String {
        let parts = self.list().into_iter().map(|(what, hosts, since)| {
            let seconds = match since.elapsed().as_secs() {
                0 => String::new(),
                seconds => format!("  {seconds}s"),
            };
            format!("{what}  {}{seconds}", hosts.join(" "))
        });
        super::shorten(&super::printable(&super::one_line(&parts.collect::<Vec<_>>().join(" · "))), width)
    }
}

/// A spinner that shows it, with the time since its beginning.
pub fn bar(under_way: &UnderWay) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let hosts = under_way.clone();
    let work = move |_: &ProgressState, out: &mut dyn Write| {
        // The window may have another size by now. What is not drawn now is drawn a moment later.
        let width = super::columns().unwrap_or(80);
        let _ = out.write_str(&hosts.line(width.saturating_sub(10)));
    };
    let style = ProgressStyle::with_template("{spinner} {elapsed} {work}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("work", work));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_at_the_same_step_stand_together() {
        let under_way = UnderWay::default();
        assert_eq!(under_way.line(80), "");
        under_way.begin("db1", "package");
        under_way.begin("db2", "package");
        under_way.begin("web", "service");
        assert_eq!(under_way.line(80), "package  db1 db2 · service  web");
        assert_eq!(under_way.line(20), "package  db1 db2 · …");
        under_way.end("db1");
        under_way.begin("db2", "service");
        assert_eq!(under_way.line(80), "service  db2 web");
    }
}
