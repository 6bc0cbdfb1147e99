//! What is heard on a channel.

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What a channel brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Bytes),
    /// Messages were lost at this place: the receiver was too slow, or the connection to the store was gone for a while.
    Missed,
}

/// Where an adapter outside of this crate puts what its channels bring.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Delivery>);

impl Feed {
    /// Nobody listens yet. A receiver that is behind by more than `lag` deliveries loses the oldest and is told so.
    pub fn new(lag: usize) -> Self {
        Self(broadcast::Sender::new(lag.max(1)))
    }

    /// Brings something to all who listen now. Tells whether there are any.
    pub fn send(&self, delivery: Delivery) -> bool {
        self.0.send(delivery).is_ok()
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription(self.0.subscribe())
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }
}

/// A subscription to a channel: every message published after it was made, in order, and where some are missing.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Delivery>);

impl Subscription {
    pub(crate) const fn new(receiver: broadcast::Receiver<Delivery>) -> Self {
        Self(receiver)
    }

    /// The next message, or that some are missing; `None` when the store is gone for good. Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        match self.0.recv().await {
            Ok(delivery) => Some(delivery),
            Err(RecvError::Lagged(_)) => Some(Delivery::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// Whether nothing has come that was not taken yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
