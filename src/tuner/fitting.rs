//! A number of connections that nobody asked for is no reason to refuse: the greatest that fits is taken, and said.

use super::input::CONNECTIONS;
use super::memory::greatest;

/// Decides with the `usual` number of connections. Where that does not fit and nobody `asked` for a number: with the
/// greatest that does, never fewer than `least`, and the sentence that says so.
///
/// # Errors
/// What `decide` says of the usual number.
pub fn fitting<T, E>(
    usual: u32,
    asked: bool,
    least: u32,
    decide: impl Fn(u32) -> Result<T, E>,
) -> Result<(T, Option<String>), E> {
    let refused = match decide(usual) {
        Ok(decided) => return Ok((decided, None)),
        Err(refused) => refused,
    };
    let least = least.max(*CONNECTIONS.start());
    let most = if asked { None } else { greatest(least, usual, |connections| decide(connections).is_ok()) };
    let Some(most) = most else { return Err(refused) };
    let note = format!(
        "`max_connections` is {most}, the most that fits: nobody asks for a number, and {usual} would be usual"
    );
    Ok((decide(most)?, Some(note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_refused_and_what_was_not_is_fitted() {
        let up_to = |most: u32| {
            move |connections: u32| if connections <= most { Ok(connections) } else { Err(connections) }
        };
        assert_eq!(fitting(100, false, 0, up_to(100)), Ok((100, None)));
        assert_eq!(fitting(100, true, 0, up_to(57)), Err(100));
        assert_eq!(fitting(100, false, 58, up_to(57)), Err(100));
        assert_eq!(fitting(100, false, 0, up_to(9)), Err(100));
        let (taken, note) = fitting(100, false, 20, up_to(57)).expect("fits");
        assert_eq!(taken, 57);
        assert!(note.is_some_and(|note| note.starts_with("`max_connections` is 57, the most that fits")));
    }
}
