//! What a call says, on its way to whoever reads its answer.
//!
//! The work of a call is polled by its reader, so a short queue between the two is all there is; it holds nothing before anything
//! is said, and the one message that most calls say needs no memory of its own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::StatusCode;

/// Messages a call may be ahead of its reader.
const AHEAD: usize = 8;

/// One message for the client.
#[derive(Debug)]
pub(crate) enum Item {
    /// A notification, or a request to the client.
    Message(Bytes),
    /// The backend has closed the connection of a stream that goes on: the client may do without its own as well.
    Pause,
    /// The response to a request, and the status it has where nothing was said before it.
    Final(StatusCode, Bytes),
    /// A response that is a body of its own and comes in parts. Nothing else comes before it or after it.
    Large(Part),
}

/// A part of a large response.
#[derive(Debug)]
pub(crate) enum Part {
    /// The first, or one of those in the middle.
    More(Bytes),
    /// The last. Without it the response is not complete.
    Last(Bytes),
}

/// Where a call puts its messages; waits while the reader is behind.
#[derive(Debug)]
pub(crate) struct Out(Arc<Mutex<Queue>>);

/// What was said and not yet read.
#[derive(Debug)]
pub(crate) struct Said(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    first: Option<Item>,
    /// What was said after the first.
    more: VecDeque<Item>,
    /// Something was said, or the answer has become a stream before anything was.
    begun: bool,
    /// Those who wait until something is read: the parts of a batch are polled only when they are woken.
    waiting: Vec<Waker>,
}

/// Both ends.
pub(crate) fn channel() -> (Out, Said) {
    let queue = Arc::<Mutex<Queue>>::default();
    (Out(Arc::clone(&queue)), Said(queue))
}

impl Out {
    pub(crate) async fn message(&self, message: Bytes) {
        self.put(Item::Message(message)).await;
    }

    /// Says that nothing will be said for a while; whoever is busy reading need not know.
    pub(crate) fn pause(&self) {
        let mut queue = lock(&self.0);
        if queue.len() < AHEAD {
            queue.push(Item::Pause);
        }
    }

    pub(crate) async fn finish(&self, response: Bytes) {
        self.finish_with(StatusCode::OK, response).await;
    }

    /// Ends with a response that has its own HTTP status (MCP 2026-07-28, Streamable HTTP, Server Validation).
    pub(crate) async fn finish_with(&self, status: StatusCode, response: Bytes) {
        self.put(Item::Final(status, response)).await;
    }

    /// Whether a large response can come in parts: nothing was said, and the answer can still be a body of JSON.
    pub(crate) fn takes_large(&self) -> bool {
        !lock(&self.0).begun
    }

    /// More of a large response. Waits until the part before it was read, so that no more than one is held.
    pub(crate) async fn large(&self, part: Part) {
        self.put_within(1, Item::Large(part)).await;
    }

    async fn put(&self, item: Item) {
        self.put_within(AHEAD, item).await;
    }

    async fn put_within(&self, max: usize, item: Item) {
        let mut item = Some(item);
        poll_fn(|context| {
            let mut queue = lock(&self.0);
            if queue.len() >= max {
                queue.wait(context.waker());
                return Poll::Pending;
            }
            item.take().into_iter().for_each(|item| queue.push(item));
            Poll::Ready(())
        })
        .await;
    }
}

impl Said {
    /// The answer is a stream from now on, or nobody's: no response comes in parts.
    pub(crate) fn no_large(&self) {
        lock(&self.0).begun = true;
    }

    /// The oldest that was not read yet.
    pub(crate) fn take(&self) -> Option<Item> {
        let mut queue = lock(&self.0);
        let item = queue.first.take().or_else(|| queue.more.pop_front())?;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.into_iter().for_each(Waker::wake);
        Some(item)
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.more.len() + usize::from(self.first.is_some())
    }

    fn push(&mut self, item: Item) {
        self.begun = true;
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(item);
        } else {
            self.more.push_back(item);
        }
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;
    use crate::reply::Work;

    fn number(item: &Item) -> u8 {
        match item {
            Item::Message(message) | Item::Final(_, message) => message.first().copied().unwrap_or_default(),
            Item::Pause | Item::Large(_) => u8::MAX,
        }
    }

    #[test]
    fn what_is_said_comes_in_order_and_only_so_much_of_it_waits() {
        let (out, said) = channel();
        for at in 0..AHEAD {
            assert!(out.message(Bytes::from(vec![u8::try_from(at).unwrap_or_default()])).now_or_never().is_some());
        }
        assert!(out.message(Bytes::from_static(b"late")).now_or_never().is_none());
        // Nobody waits for that; it is left out.
        out.pause();
        assert_eq!(said.take().as_ref().map(number), Some(0));
        assert!(out.finish(Bytes::from(vec![7_u8 + 1])).now_or_never().is_some());
        let rest: Vec<_> = std::iter::from_fn(|| said.take()).map(|item| number(&item)).collect();
        assert_eq!(rest, (1..=8).collect::<Vec<u8>>());
    }

    /// More than any joined future polls of its own accord: each part has to be woken.
    #[tokio::test]
    async fn every_part_of_a_batch_gets_its_word_in() {
        let parts = u8::MAX;
        let mut work = Work::new(|out| async move {
            join_all((0..parts).map(|part| {
                let out = &out;
                async move {
                    out.message(Bytes::from(vec![part])).await;
                    out.finish(Bytes::from(vec![part])).await;
                }
            }))
            .await;
        });
        let mut heard = [0; u8::MAX as usize];
        let all = async {
            while let Some(item) = poll_fn(|context| work.poll_item(context)).await {
                heard[usize::from(number(&item))] += 1;
            }
        };
        assert!(tokio::time::timeout(std::time::Duration::from_secs(10), all).await.is_ok());
        assert!(heard.iter().all(|times| *times == 2), "{heard:?}");
    }
}
