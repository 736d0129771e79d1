//! Hosts that are asked outside of a run: one connection and one question each, side by side.

use crate::shell::{Answers, Ask, Frame, ItemReply};
use crate::transport::{Endpoint, Transport as _, TransportError, connect};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

/// What a host answers to one question, over a connection of its own; `None` when it answers something else.
///
/// # Errors
/// It cannot be reached.
pub async fn answers(endpoint: &Endpoint, ask: &Ask) -> Result<Option<Answers>, TransportError> {
    let (session, greeting) = connect(endpoint, &Frame::probe([ask.clone()])).await?;
    session.close().await;
    Ok(match greeting.replies.into_iter().next() {
        Some(ItemReply::Answers(answers)) => Some(answers),
        _ => None,
    })
}

/// Asks all of them, at most `forks` at once; what came of each, in their order. An error is a bug of ours: the task
/// panicked.
pub async fn abreast<T, F>(
    items: impl IntoIterator<Item = T>,
    forks: usize,
    ask: impl Fn(T) -> F,
) -> Vec<Result<F::Output, JoinError>>
where
    F: Future<Output: Send> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(forks.max(1)));
    let (mut tasks, mut places) = (JoinSet::new(), HashMap::new());
    for (place, item) in items.into_iter().enumerate() {
        let (permits, asked) = (Arc::clone(&permits), ask(item));
        let task = tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            asked.await
        });
        places.insert(task.id(), place);
    }
    let mut answers = Vec::with_capacity(places.len());
    while let Some(joined) = tasks.join_next_with_id().await {
        let (task, answer) = match joined {
            Ok((task, answer)) => (task, Ok(answer)),
            Err(error) => (error.id(), Err(error)),
        };
        answers.push((places.get(&task), answer));
    }
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_hosts_and_a_panic_is_one_of_them() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let answers = abreast(0..6_u64, 2, |number| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(20 * (6 - number))).await;
                now.fetch_sub(1, Ordering::SeqCst);
                assert_ne!(number, 3);
                number
            }
        })
        .await;
        let answers: Vec<Option<u64>> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(answers, [Some(0), Some(1), Some(2), None, Some(4), Some(5)]);
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
