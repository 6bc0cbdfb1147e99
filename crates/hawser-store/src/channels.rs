//! Publish and subscribe within one process: all of it for the adapters that serve one node, the last step for the others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::port::{StoreError, Unavailable};
use crate::subscription::{Delivery, Subscription};

/// Messages that a receiver may fall behind before it loses the oldest.
pub(crate) const LAG_MAX: usize = 256;
/// Most channels with receivers.
const CHANNELS_MAX: usize = 65_536;
/// Fewest channels that are looked through for abandoned ones.
const SWEEP_MIN: usize = 64;

/// The channels that somebody listens to.
#[derive(Debug, Default)]
pub(crate) struct Channels(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    senders: HashMap<Box<str>, broadcast::Sender<Delivery>>,
    /// How many channels there may be before abandoned ones are looked for. Doubles with what is left, so that looking
    /// costs a constant per subscription.
    sweep_at: usize,
}

impl Channels {
    /// Sends to everyone who listens now; a channel that nobody listens to any more is dropped.
    pub(crate) fn publish(&self, channel: &str, message: Bytes) {
        let mut open = self.lock();
        let Some(sender) = open.senders.get(channel) else { return };
        // `send` fails only if there is no receiver.
        if sender.send(Delivery::Message(message)).is_err() {
            open.senders.remove(channel);
        }
    }

    /// Listens from now on.
    pub(crate) fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        let mut open = self.lock();
        if let Some(sender) = open.senders.get(channel) {
            return Ok(Subscription::new(sender.subscribe()));
        }
        if open.senders.len() >= open.sweep_at.max(SWEEP_MIN) {
            open.senders.retain(|_, sender| sender.receiver_count() > 0);
            open.sweep_at = (open.senders.len() * 2).min(CHANNELS_MAX);
        }
        if open.senders.len() >= CHANNELS_MAX {
            return Err(Unavailable { reason: format!("there are {CHANNELS_MAX} channels already") }.into());
        }
        let (sender, receiver) = broadcast::channel(LAG_MAX);
        open.senders.insert(channel.into(), sender);
        Ok(Subscription::new(receiver))
    }

    /// Tells everyone who listens that messages may be missing.
    pub(crate) fn tell_missed(&self) {
        for sender in self.lock().senders.values() {
            let _ = sender.send(Delivery::Missed);
        }
    }

    /// The channels that somebody listens to.
    pub(crate) fn open(&self) -> Vec<Box<str>> {
        let open = self.lock();
        open.senders
            .iter()
            .filter(|(_, sender)| sender.receiver_count() > 0)
            .map(|(channel, _)| channel.clone())
            .collect()
    }

    /// Whether somebody listens to the channel.
    pub(crate) fn is_open(&self, channel: &str) -> bool {
        self.lock().senders.get(channel).is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Drops channels that nobody listens to any more.
    pub(crate) fn sweep(&self) {
        self.lock().senders.retain(|_, sender| sender.receiver_count() > 0);
    }

    /// A panic elsewhere cannot leave the map half changed: every change to it is one call.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().senders.len()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_channel_that_nobody_listens_to_is_dropped_at_the_next_message() {
        let channels = Channels::default();
        drop(channels.subscribe("a").unwrap());
        assert_eq!(channels.len(), 1);
        channels.publish("a", Bytes::new());
        assert_eq!(channels.len(), 0);
    }

    #[test]
    fn abandoned_channels_do_not_pile_up_without_messages() {
        let channels = Channels::default();
        let _kept = channels.subscribe("kept").unwrap();
        for number in 0..10_000 {
            drop(channels.subscribe(&format!("channel {number}")).unwrap());
            assert!(channels.len() <= SWEEP_MIN);
        }
    }

    #[test]
    fn channels_are_bounded() {
        let channels = Channels::default();
        let open: Vec<_> = (0..CHANNELS_MAX).map(|number| channels.subscribe(&number.to_string()).unwrap()).collect();
        assert!(matches!(channels.subscribe("one more"), Err(StoreError::Unavailable(_))));
        assert!(channels.subscribe("7").is_ok());
        drop(open);
        assert!(channels.subscribe("one more").is_ok());
    }
}
