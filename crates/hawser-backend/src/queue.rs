//! Bounded queues of messages: bounded in number and in bytes, since one message may be megabytes.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{Message, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// What a message costs beside its payload.
const OVERHEAD_BYTES: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Sender {
    messages: mpsc::Sender<(Message, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bytes_max: u32,
}

#[derive(Debug)]
pub(crate) struct Receiver(mpsc::Receiver<(Message, OwnedSemaphorePermit)>);

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Nobody made room in time.
    Full,
    /// Nobody listens.
    Closed,
}

/// A queue for at most this many messages and about this many bytes. A single message over `bytes_max` still passes alone.
pub(crate) fn queue(messages_max: usize, bytes_max: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(messages_max.max(1));
    let bytes_max = u32::try_from(bytes_max.max(1)).unwrap_or(u32::MAX / 2);
    let room = Arc::new(Semaphore::new(usize::try_from(bytes_max).unwrap_or(Semaphore::MAX_PERMITS)));
    (Sender { messages: sender, room, bytes_max }, Receiver(receiver))
}

impl Sender {
    /// Queues a message, waiting for room until the receiver is gone.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Rejected> {
        let weight = self.weight(&message);
        let permit = tokio::select! {
            permit = Arc::clone(&self.room).acquire_many_owned(weight) => permit.map_err(|_| Rejected::Closed)?,
            () = self.messages.closed() => return Err(Rejected::Closed),
        };
        self.messages.send((message, permit)).await.map_err(|_| Rejected::Closed)
    }

    /// Queues a message, waiting for room for at most this long.
    pub(crate) async fn send_within(&self, message: Message, wait: Duration) -> Result<(), Rejected> {
        timeout(wait, self.send(message)).await.unwrap_or(Err(Rejected::Full))
    }

    /// Queues a message if there is room now.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), Rejected> {
        if self.messages.is_closed() {
            return Err(Rejected::Closed);
        }
        let weight = self.weight(&message);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(weight).map_err(|_| Rejected::Full)?;
        self.messages.try_send((message, permit)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Rejected::Full,
            mpsc::error::TrySendError::Closed(_) => Rejected::Closed,
        })
    }

    fn weight(&self, message: &Message) -> u32 {
        let payload = match message {
            Message::Request(request) => request.params.as_ref().map_or(0, |params| params.bytes().len()),
            Message::Notification(notification) => {
                notification.params.as_ref().map_or(0, |params| params.bytes().len())
            }
            Message::Response(response) => match &response.outcome {
                Outcome::Result(value) | Outcome::Error(value) => value.bytes().len(),
            },
        };
        u32::try_from(payload + OVERHEAD_BYTES).unwrap_or(u32::MAX).min(self.bytes_max)
    }
}

impl Receiver {
    /// The next message; `None` once all senders are gone and the queue is empty. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        self.0.recv().await.map(|(message, _)| message)
    }

    /// The next message, if it is there already.
    pub(crate) fn try_recv(&mut self) -> Option<Message> {
        self.0.try_recv().ok().map(|(message, _)| message)
    }

    /// Lets nothing more in; what was in the queue.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = Message> {
        self.0.close();
        std::iter::from_fn(|| self.try_recv())
    }
}

#[cfg(test)]
mod tests {
    use hawser_mcp::{Notification, RawJson};

    use super::*;

    fn note(bytes: usize) -> Message {
        Message::Notification(Notification::new("n", Some(RawJson::string(&"x".repeat(bytes)))))
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_messages_and_in_bytes() {
        let (sender, mut receiver) = queue(2, 1_000_000);
        assert_eq!(sender.try_send(note(1)), Ok(()));
        assert_eq!(sender.try_send(note(1)), Ok(()));
        assert_eq!(sender.try_send(note(1)), Err(Rejected::Full));
        assert!(receiver.try_recv().is_some());
        assert_eq!(sender.try_send(note(1)), Ok(()));

        let (sender, mut receiver) = queue(100, 2_000);
        assert_eq!(sender.try_send(note(1_000)), Ok(()));
        assert_eq!(sender.try_send(note(1_000)), Err(Rejected::Full), "bytes count, too");
        assert!(receiver.recv().await.is_some());
        assert_eq!(sender.try_send(note(50_000)), Ok(()), "alone, even a large message passes");
        assert_eq!(sender.send_within(note(1), Duration::from_millis(1)).await, Err(Rejected::Full));
        drop(receiver);
        assert_eq!(sender.send(note(1)).await, Err(Rejected::Closed));
        assert_eq!(sender.try_send(note(1)), Err(Rejected::Closed));
    }
}
