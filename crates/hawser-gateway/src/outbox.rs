//! Where messages for one client wait to be written: bounded queues behind GET streams.
//!
//! One message goes to one stream (MCP 2025-11-25, Transports, Multiple Connections). While no stream is open, change
//! notifications are kept, one of each kind, since a client that reconnects must not miss that a list changed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hawser_mcp::notification;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::credential::{Credential, Revocation};

/// Most notifications kept for a client that has no stream open.
const KEPT_MAX: usize = 64;
/// Largest notification that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Most bytes queued for one stream.
const QUEUED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The open GET streams of a session.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    streams_max: usize,
    queue: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first; messages go to the newest that still takes them.
    streams: Vec<Stream>,
    kept: Vec<Bytes>,
}

#[derive(Debug)]
struct Stream {
    sender: mpsc::Sender<Bytes>,
    /// What it was opened with.
    credential: Credential,
    /// Cancelled when the stream is gone.
    gone: CancellationToken,
    queued_bytes: Arc<AtomicUsize>,
}

/// The reading end of a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    messages: mpsc::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    /// Tells that the stream is gone, when this is dropped.
    _gone: DropGuard,
}

impl Reader {
    /// The next message; `None` when the stream is over.
    pub(crate) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let message = self.messages.poll_recv(context);
        if let Poll::Ready(Some(message)) = &message {
            self.queued_bytes.fetch_sub(message.len(), Ordering::Relaxed);
        }
        message
    }
}

/// Who will read a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readership<'a> {
    /// The client that opened the stream.
    pub(crate) client_id: Option<&'a str>,
    /// Cancelled when the stream is gone.
    pub(crate) gone: &'a CancellationToken,
}

/// A message found no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoStream;

impl Outbox {
    pub(crate) fn new(streams_max: usize, queue: usize) -> Self {
        Self { state: Mutex::default(), streams_max, queue }
    }

    /// Opens a stream; what was kept comes first. Where there are as many as there may be, the oldest ends: its client is more
    /// likely gone than patient.
    pub(crate) fn open(&self, credential: &Credential) -> Reader {
        let mut state = self.lock();
        state.streams.retain(|stream| !stream.sender.is_closed());
        if state.streams.len() >= self.streams_max.max(1) {
            state.streams.remove(0);
        }
        let (sender, receiver) = mpsc::channel(self.queue.max(KEPT_MAX));
        let queued_bytes = Arc::<AtomicUsize>::default();
        for message in std::mem::take(&mut state.kept) {
            queued_bytes.fetch_add(message.len(), Ordering::Relaxed);
            // The queue is at least as long as what is kept.
            let _ = sender.try_send(message);
        }
        let gone = CancellationToken::new();
        let stream = Stream {
            sender,
            credential: credential.clone(),
            gone: gone.clone(),
            queued_bytes: Arc::clone(&queued_bytes),
        };
        state.streams.push(stream);
        Reader { messages: receiver, queued_bytes, _gone: gone.drop_guard() }
    }

    /// Whether a stream is open.
    pub(crate) fn has_stream(&self) -> bool {
        self.lock().streams.iter().any(|stream| !stream.sender.is_closed())
    }

    /// Sends a message to the newest stream. A stream whose reader is too slow is dropped: the client reconnects.
    pub(crate) fn send(&self, message: &Bytes) -> Result<(), NoStream> {
        self.send_with(|_| Some(message.clone()))
    }

    /// Sends a message that depends on which client will read it; nothing is sent if there is none to make.
    pub(crate) fn send_with(&self, make: impl FnOnce(Readership<'_>) -> Option<Bytes>) -> Result<(), NoStream> {
        let mut state = self.lock();
        while let Some(stream) = state.streams.last() {
            if stream.queued_bytes.load(Ordering::Relaxed) < QUEUED_BYTES_MAX
                && let Ok(place) = stream.sender.try_reserve()
            {
                let reader = Readership { client_id: stream.credential.client_id.as_deref(), gone: &stream.gone };
                let message = make(reader).ok_or(NoStream)?;
                stream.queued_bytes.fetch_add(message.len(), Ordering::Relaxed);
                place.send(message);
                return Ok(());
            }
            state.streams.pop();
        }
        Err(NoStream)
    }

    /// Sends a notification, or keeps it if it is one that must not be missed and not kept already.
    pub(crate) fn send_or_keep(&self, method: &str, message: &Bytes) {
        if self.send(message).is_ok() || !must_not_be_missed(method) {
            return;
        }
        let mut state = self.lock();
        let fits = state.kept.len() < KEPT_MAX && message.len() <= KEPT_BYTES_MAX;
        if fits && !state.kept.contains(message) {
            state.kept.push(message.clone());
        }
    }

    /// Ends the streams of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        self.lock().streams.retain(|stream| !stream.credential.is_hit_by(revocation));
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.streams.clear();
        state.kept.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn must_not_be_missed(method: &str) -> bool {
    matches!(
        method,
        notification::TOOLS_LIST_CHANGED
            | notification::PROMPTS_LIST_CHANGED
            | notification::RESOURCES_LIST_CHANGED
            | notification::RESOURCES_UPDATED
            | notification::ELICITATION_COMPLETE
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn changes_wait_for_a_stream_once_each() {
        let outbox = Outbox::new(1, 1);
        let changed = Bytes::from_static(b"changed");
        outbox.send_or_keep(notification::TOOLS_LIST_CHANGED, &changed);
        outbox.send_or_keep(notification::TOOLS_LIST_CHANGED, &changed);
        outbox.send_or_keep(notification::MESSAGE, &Bytes::from_static(b"log"));
        let mut stream = outbox.open(&Credential::default());
        assert_eq!(stream.messages.try_recv().unwrap(), changed);
        assert!(stream.messages.try_recv().is_err());
        let mut next = outbox.open(&Credential::default());
        assert!(
            stream.messages.try_recv().is_err() && stream.messages.is_closed(),
            "one stream is all it may have: the older one ends"
        );
        outbox.send(&changed).unwrap();
        assert_eq!(next.messages.try_recv().unwrap(), changed);
    }

    #[test]
    fn a_stream_is_bounded_in_bytes_and_reading_makes_room() {
        let outbox = Outbox::new(1, 256);
        let mut stream = outbox.open(&Credential::default());
        let message = Bytes::from(vec![b'x'; QUEUED_BYTES_MAX / 2]);
        outbox.send(&message).unwrap();
        outbox.send(&message).unwrap();
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(stream.poll_message(&mut context).is_ready());
        outbox.send(&message).unwrap();
        assert_eq!(outbox.send(&message).unwrap_err(), NoStream, "the reader is too slow and loses the stream");
    }

    #[test]
    fn a_message_goes_to_one_stream_and_a_slow_reader_loses_only_its_own() {
        let outbox = Outbox::new(2, 1);
        let mut old = outbox.open(&Credential::default());
        let _slow = outbox.open(&Credential::default());
        let message = Bytes::from_static(b"m");
        for _ in 0..KEPT_MAX {
            outbox.send(&message).unwrap();
        }
        assert!(old.messages.try_recv().is_err(), "the newest stream gets it");
        outbox.send(&message).unwrap();
        assert_eq!(old.messages.try_recv().unwrap(), message, "the newest is full and gone");
    }
}
