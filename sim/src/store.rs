//! The shared store, as one start of one node sees it through the simulated network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_store::{Key, ScanCursor, ScanPage, Store, StoreError, Subscription};

use crate::network::Network;

/// A node's connection to the store.
#[derive(Debug)]
pub struct SharedStore {
    network: Arc<Network>,
    node: usize,
    start: u64,
}

impl SharedStore {
    /// That of one start of a node.
    pub fn new(network: Arc<Network>, node: usize, start: u64) -> Self {
        Self { network, node, start }
    }
}

/// The way there, what happens at the store, and the way back: an answer that is lost leaves the effect.
macro_rules! over_the_network {
    ($store:expr, $what:literal, $name:expr, |$rows:ident| $effect:expr) => {{
        let Self { network, node, start } = $store;
        let arrived = network.reach(*node, *start, $what, $name).await?;
        let $rows = &arrived.rows;
        let answer = $effect;
        network.come_back(*node, *start, &arrived).await?;
        answer
    }};
}

#[async_trait]
impl Store for SharedStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        over_the_network!(self, "get", key.as_str(), |rows| rows.get(key).await)
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        over_the_network!(self, "put", key.as_str(), |rows| rows.put(key, value, ttl).await)
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        over_the_network!(self, "compare_and_set", key.as_str(), |rows| {
            rows.compare_and_set(key, expected, new, ttl).await
        })
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        over_the_network!(self, "delete", key.as_str(), |rows| rows.delete(key).await)
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        over_the_network!(self, "take", key.as_str(), |rows| rows.take(key).await)
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        over_the_network!(self, "increment", key.as_str(), |rows| rows.increment(key, ttl).await)
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        over_the_network!(self, "scan", family, |rows| rows.scan(family, after, limit).await)
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        over_the_network!(self, "publish", channel, |_rows| {
            self.network.publish(self.node, channel, &message);
            Ok(())
        })
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        over_the_network!(self, "subscribe", channel, |_rows| Ok(self
            .network
            .subscribe(self.node, self.start, channel)))
    }

    fn is_shared(&self) -> bool {
        true
    }
}
