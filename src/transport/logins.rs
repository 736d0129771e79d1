//! How many logins at a time, and when one that was cut off is tried again.
//!
//! An sshd drops connections at random once ten wait for their login (`MaxStartups 10:30:100`): many hosts behind one
//! address, or many names of one host, must not run into that, and others may log in at the same moment.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Logins to one address at a time: some of sshd's ten are left to others.
const ABREAST: usize = 6;

/// How long a login that is cut off is tried again.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

static PLACES: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Waits for a place among the logins to an address; dropped when the login is through.
pub(super) async fn place(address: &str) -> Option<OwnedSemaphorePermit> {
    let places = {
        let mut all = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(address.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(ABREAST))))
    };
    places.acquire_owned().await.ok()
}

/// The pause before another try: it grows from a quarter of a second to four, and differs from connection to connection
/// (by its random mark), so that those that were cut off together do not come back together.
pub(super) fn pause(tries: u32, mark: &str) -> Duration {
    let usual = 250_u64 << tries.min(4);
    let at = usize::try_from(tries).unwrap_or(0) % mark.len().max(1);
    let digit = mark.as_bytes().get(at).copied().unwrap_or(b'0');
    let share = u64::from(char::from(digit).to_digit(16).unwrap_or(0));
    Duration::from_millis(usual / 2 + usual * share / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let of = |mark: &str| (0..9).map(|tries| pause(tries, mark).as_millis()).collect::<Vec<_>>();
        assert_eq!(of("000000000"), [125, 250, 500, 1000, 2000, 2000, 2000, 2000, 2000]);
        assert_eq!(of("f"), [359, 718, 1437, 2875, 5750, 5750, 5750, 5750, 5750]);
        assert!(of("").iter().all(|pause| *pause > 0));
    }

    #[tokio::test]
    async fn a_few_at_a_time() {
        let mut held = Vec::new();
        for _ in 0..ABREAST {
            held.push(place("here:22").await);
        }
        let waits = tokio::time::timeout(Duration::from_millis(20), place("here:22")).await;
        assert!(waits.is_err());
        assert!(place("there:22").await.is_some());
        held.pop();
        assert!(place("here:22").await.is_some());
    }
}
