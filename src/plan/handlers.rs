//! Which handlers a notification means, and in which order they run.

use super::compile::Handler;
use std::collections::BTreeSet;

/// The handlers that a notification means, by number: the last one defined of this name, and all that listen to it.
pub fn addressed<'a>(
    handlers: impl IntoIterator<Item = &'a std::sync::Arc<Handler>>,
    notified: &str,
) -> Vec<usize> {
    let mut named = None;
    let mut found = Vec::new();
    for (number, handler) in handlers.into_iter().enumerate() {
        if handler.is_named(notified) {
            named = Some(number);
        } else if handler.listen.iter().any(|topic| topic == notified) {
            found.push(number);
        }
    }
    found.extend(named);
    found.sort_unstable();
    found
}

/// The handler that comes next in a flush in which `ran` ran: in the order of definition, and from the front again for
/// those that were notified by one behind them. Each runs once in a flush; whoever is notified after that waits for the
/// next one.
pub fn next_in_flush(called: &BTreeSet<usize>, ran: &[usize]) -> Option<usize> {
    let open = || called.iter().copied().filter(|number| !ran.contains(number));
    open().find(|number| ran.last().is_none_or(|last| number > last)).or_else(|| open().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Program;
    use std::sync::Arc;

    fn handler(name: &str, listen: &[&str]) -> Arc<Handler> {
        let listen = listen.iter().map(|topic| (*topic).to_owned()).collect();
        Arc::new(Handler { name: name.to_owned(), listen, role: None, program: Arc::new(Program::default()) })
    }

    #[test]
    fn names_mean_the_last_one_and_topics_all() {
        let handlers = [
            handler("a", &[]),
            handler("b", &["t"]),
            handler("a", &["t"]),
            handler("c", &["a"]),
            handler("t", &[]),
        ];
        assert_eq!(addressed(&handlers, "a"), [2, 3]);
        assert_eq!(addressed(&handlers, "t"), [1, 2, 4]);
        assert_eq!(addressed(&handlers, "nobody"), [0; 0]);
    }

    #[test]
    fn a_flush_goes_by_definition_and_comes_back_for_those_before() {
        // What each handler notifies.
        let flush = |start: &[usize], notifies: &[(usize, &[usize])]| {
            let mut called: BTreeSet<usize> = start.iter().copied().collect();
            let mut ran = Vec::new();
            while let Some(next) = next_in_flush(&called, &ran) {
                called.remove(&next);
                ran.push(next);
                let more = notifies.iter().filter(|(by, _)| *by == next).flat_map(|(_, more)| more.iter());
                called.extend(more);
            }
            (ran, called.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(flush(&[2, 0], &[]), (vec![0, 2], vec![]));
        assert_eq!(flush(&[0], &[(0, &[1])]), (vec![0, 1], vec![]));
        assert_eq!(flush(&[1], &[(1, &[0, 2])]), (vec![1, 2, 0], vec![]));
        assert_eq!(flush(&[0, 1], &[(0, &[1])]), (vec![0, 1], vec![]));
        // A circle comes to an end: who ran waits for the next flush.
        assert_eq!(flush(&[0], &[(0, &[1]), (1, &[0])]), (vec![0, 1], vec![0]));
    }
}
