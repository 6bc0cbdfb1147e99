//! What a node has to say, on its way into the store: three bounded queues and one task, which puts what goes to the same node
//! into one letter and keeps its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hawser_owner::Clock;
use hawser_store::{Store, StoreError};
use tokio::sync::mpsc;
use tracing::debug;

use super::frame::{ExchangeId, Frame, Word};
use super::letter::{Channel, Writer};

/// Pieces and parts that wait to be sent. Whoever has more waits as well.
const BULKY_MAX: usize = 32;
/// Short words that wait to be sent. More are dropped: each is said again or noticed by silence.
const BRIEF_MAX: usize = 16 * 1024;
/// What waits to be told to all nodes. More is dropped: it is told at best effort.
const NEWS_MAX: usize = 512;
/// Frames that are taken at a time.
const TAKEN_MAX: usize = 256;
/// Most bytes of a message; below what a store takes (`hawser_store::VALUE_BYTES_MAX`), the seal included.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;

type Outgoing = (Channel, Frame);

/// Where frames are put.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    bulky: mpsc::Sender<Outgoing>,
    brief: mpsc::Sender<Outgoing>,
    news: mpsc::Sender<Outgoing>,
    /// What was put in and is not sent yet.
    waiting: Arc<AtomicUsize>,
}

/// Takes frames out.
pub(super) struct Postman {
    bulky: mpsc::Receiver<Outgoing>,
    brief: mpsc::Receiver<Outgoing>,
    news: mpsc::Receiver<Outgoing>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn outbox() -> (Outbox, Postman) {
    let (bulky, from_bulky) = mpsc::channel(BULKY_MAX);
    let (brief, from_brief) = mpsc::channel(BRIEF_MAX);
    let (news, from_news) = mpsc::channel(NEWS_MAX);
    let waiting = Arc::<AtomicUsize>::default();
    let postman = Postman { bulky: from_bulky, brief: from_brief, news: from_news, waiting: Arc::clone(&waiting) };
    (Outbox { bulky, brief, news, waiting }, postman)
}

impl Outbox {
    /// Says something short; whether there was room for it. Never waits.
    pub(super) fn say(&self, to: Channel, frame: Frame) -> bool {
        self.put(&self.brief, (to, frame))
    }

    /// Tells all nodes something; whether there was room for it. Never waits.
    pub(super) fn tell(&self, message: Bytes) -> bool {
        self.put(&self.news, (Channel::Nodes, Frame::Tell(message)))
    }

    fn put(&self, queue: &mpsc::Sender<Outgoing>, outgoing: Outgoing) -> bool {
        let Ok(place) = queue.try_reserve() else { return false };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        place.send(outgoing);
        true
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Sends what may be large, and waits while others do.
    pub(super) async fn send(&self, to: Channel, frame: Frame) {
        // Nobody takes it only when the node stops.
        if let Ok(place) = self.bulky.reserve().await {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            place.send((to, frame));
        }
    }
}

impl Postman {
    /// Sends until dropped. `unsent` is told of the requests that could not be sent.
    pub(super) async fn run(
        &mut self,
        store: &Arc<dyn Store>,
        writer: &Writer,
        clock: &Clock,
        unsent: impl Fn(ExchangeId, &StoreError) + Sync,
    ) {
        let mut taken = Vec::new();
        loop {
            let first = tokio::select! {
                biased;
                brief = self.brief.recv() => brief,
                bulky = self.bulky.recv() => bulky,
                news = self.news.recv() => news,
            };
            let Some(first) = first else { return };
            taken.push(first);
            taken.extend(std::iter::from_fn(|| self.brief.try_recv().ok()).take(TAKEN_MAX));
            taken.extend(std::iter::from_fn(|| self.bulky.try_recv().ok()).take(BULKY_MAX));
            taken.extend(std::iter::from_fn(|| self.news.try_recv().ok()).take(TAKEN_MAX));
            let count = taken.len();
            let posts = sorted(taken.drain(..)).into_iter().map(|(to, frames)| {
                let unsent = &unsent;
                async move {
                    for message in packed(&frames) {
                        if let Err(error) = post(store, writer, clock, to, message).await {
                            debug!(channel = to.name(), %error, "a letter to another node could not be sent");
                            message.iter().filter_map(request_of).for_each(|exchange| unsent(exchange, &error));
                        }
                    }
                }
            });
            futures_util::future::join_all(posts).await;
            self.waiting.fetch_sub(count, Ordering::Relaxed);
        }
    }
}

async fn post(
    store: &Arc<dyn Store>,
    writer: &Writer,
    clock: &Clock,
    to: Channel,
    message: &[Frame],
) -> Result<(), StoreError> {
    let mut bytes = Vec::with_capacity(message.iter().map(Frame::weight).sum());
    for frame in message {
        frame.write(&mut bytes);
    }
    let letter = writer.seal(to, clock(), &bytes).map_err(|error| {
        StoreError::Unavailable(hawser_store::Unavailable {
            reason: format!("the letter could not be sealed: {error}"),
        })
    })?;
    store.publish(&to.name(), letter).await
}

/// What goes to each channel, in its order.
fn sorted(frames: impl Iterator<Item = Outgoing>) -> Vec<(Channel, Vec<Frame>)> {
    let mut sorted: Vec<(Channel, Vec<Frame>)> = Vec::new();
    for (to, frame) in frames {
        match sorted.iter_mut().find(|(channel, _)| *channel == to) {
            Some((_, frames)) => frames.push(frame),
            None => sorted.push((to, vec![frame])),
        }
    }
    sorted
}

/// As few messages as possible, none larger than it may be.
fn packed(frames: &[Frame]) -> Vec<&[Frame]> {
    let mut messages = Vec::new();
    let mut rest = frames;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|frame| {
            bytes += frame.weight();
            bytes <= MESSAGE_BYTES_MAX
        });
        let (message, left) = rest.split_at(fitting.count().max(1));
        messages.push(message);
        rest = left;
    }
    messages
}

fn request_of(frame: &Frame) -> Option<ExchangeId> {
    match frame {
        Frame::Of(exchange, Word::Request { .. }) => Some(*exchange),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::frame::{PART_BYTES_MAX, Piece};
    use crate::relay::name::NodeName;

    fn node(number: u8) -> Channel {
        Channel::Node(NodeName::from_bytes([number; 8]))
    }

    fn request(part: u16) -> Frame {
        let bytes = Bytes::from(vec![0; PART_BYTES_MAX]);
        Frame::Of(ExchangeId(1), Word::Request { part, parts: 9, bytes })
    }

    #[test]
    fn each_node_gets_its_frames_in_their_order_and_in_few_messages() {
        let piece = |number| Frame::Of(ExchangeId(2), Word::Piece(number, Piece::End));
        let frames = vec![(node(1), piece(0)), (node(2), piece(7)), (node(1), piece(1)), (node(1), piece(2))];
        let sorted = sorted(frames.into_iter());
        assert_eq!(sorted, [(node(1), vec![piece(0), piece(1), piece(2)]), (node(2), vec![piece(7)])]);
        assert!(sorted.iter().all(|(_, frames)| packed(frames).len() == 1));
    }

    #[test]
    fn no_message_is_larger_than_the_store_takes() {
        let frames: Vec<_> = (0..9).map(request).collect();
        let messages = packed(&frames);
        assert_eq!(messages.concat(), frames);
        for message in messages {
            let mut bytes = Vec::new();
            for frame in message {
                frame.write(&mut bytes);
            }
            assert!(bytes.len() < hawser_store::VALUE_BYTES_MAX - 1024, "{}", bytes.len());
        }
    }
}
