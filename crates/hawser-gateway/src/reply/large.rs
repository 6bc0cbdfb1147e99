//! A large response as the body of an answer: each part goes out as it comes, and the next is asked for when the client has taken it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use tokio::time::sleep;
use tracing::warn;

use super::{Body, BrokenAnswer, Item, Part, Work, with_media_type};

/// A client that takes nothing for so long is given up: a connection of the backend is held for it meanwhile.
const STALLED: Duration = Duration::from_mins(1);

/// The answer that begins with this part; the work behind it gives the others.
pub(super) fn body(first: Part, work: Work) -> Response<Body> {
    let reading = Arc::new(Reading { work: Mutex::new(Some(work)), taken: AtomicU64::new(0) });
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(give_up_when_stalled(Arc::downgrade(&reading)));
    }
    let mut response = Response::new(Body::stream(Large { first: Some(first), reading, complete: false }));
    with_media_type(&mut response, StatusCode::OK);
    response
}

/// The body.
struct Large {
    first: Option<Part>,
    reading: Arc<Reading>,
    /// The last part was given.
    complete: bool,
}

/// What the body and who watches it share.
struct Reading {
    /// `None` when there is nothing more to come.
    work: Mutex<Option<Work>>,
    /// How many parts the client has taken.
    taken: AtomicU64,
}

impl Reading {
    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Large {
    fn part(&mut self, part: Part) -> Frame<Bytes> {
        let (bytes, last) = match part {
            Part::More(bytes) => (bytes, false),
            Part::Last(bytes) => (bytes, true),
        };
        self.complete = last;
        self.reading.taken.fetch_add(1, Ordering::Relaxed);
        Frame::data(bytes)
    }
}

impl http_body::Body for Large {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(self.part(first))));
        }
        let mut work = self.reading.work();
        let item = loop {
            let Some(working) = work.as_mut() else { break None };
            match ready!(working.poll_item(context)) {
                Some(Item::Large(part)) => break Some(part),
                // Nothing else is said with a large response.
                Some(_) => {}
                None => *work = None,
            }
        };
        drop(work);
        Poll::Ready(match item {
            Some(part) => Some(Ok(self.part(part))),
            None if self.complete => None,
            None => Some(Err(BrokenAnswer)),
        })
    }
}

/// Drops the work when the client has taken nothing for a while; what it reads later ends with an error.
async fn give_up_when_stalled(reading: Weak<Reading>) {
    let mut taken = 0;
    loop {
        sleep(STALLED).await;
        let Some(reading) = reading.upgrade() else { return };
        let now = reading.taken.load(Ordering::Relaxed);
        let work = if now == taken { reading.work().take() } else { None };
        taken = now;
        if work.is_some() {
            warn!("a large result was given up: its client has taken nothing for {} s", STALLED.as_secs());
            return;
        }
    }
}
