//! Which nodes there are. Each keeps a row in the store for as long as it runs, so that a node that cannot be heard for a moment is
//! not taken for one that has ended: what waits for it waits on, and its clients are asked to try again.

use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Key, StoreError, Unavailable};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use super::Shared;
use super::name::NodeName;

/// How often a node says that it is there.
const SAID_EVERY: Duration = Duration::from_secs(2);
/// How long that is believed. A node that was killed is taken for one that cannot be heard for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(8);

impl Shared {
    /// Says that this node is there, until dropped or until it [leaves](Self::leave).
    pub(super) async fn stay(&self) {
        let mut every = interval(SAID_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if self.serving.is_closed() {
                continue;
            }
            if let Err(error) = self.say_present().await {
                debug!(%error, "other nodes could not be told that this one is there");
            }
        }
    }

    async fn say_present(&self) -> Result<(), StoreError> {
        self.store.put(&row(self.name)?, Bytes::from_static(b"here"), Some(BELIEVED_FOR)).await
    }

    /// From now on this node is known to have ended.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        self.store.delete(&row(self.name)?).await
    }

    /// Whether a node is there, as far as the store knows.
    pub(super) async fn is_present(&self, node: NodeName) -> Result<bool, StoreError> {
        Ok(self.store.get(&row(node)?).await?.is_some())
    }
}

fn row(node: NodeName) -> Result<Key, StoreError> {
    Key::new("node", &node.to_string()).map_err(|error| Unavailable { reason: error.to_string() }.into())
}
