//! A store that can be switched off, and that gives way before every step, so that races interleave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_store::{Follower, Key, ScanCursor, ScanPage, Store, StoreError, Subscription, Told, Unavailable};

pub(crate) struct TestStore {
    inner: Arc<dyn Store>,
    down: AtomicBool,
    shared: AtomicBool,
}

impl TestStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, down: AtomicBool::new(false), shared: AtomicBool::new(false) }
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// As if other nodes used it.
    pub(crate) fn set_shared(&self) {
        self.shared.store(true, Ordering::SeqCst);
    }

    async fn step(&self) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        if self.down.load(Ordering::SeqCst) {
            return Err(Unavailable { reason: "switched off by a test".to_owned() }.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Store for TestStore {
    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.step().await?;
        self.inner.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.step().await?;
        self.inner.put(key, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.step().await?;
        self.inner.compare_and_set(key, expected, new, ttl).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.step().await?;
        self.inner.delete(key).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.step().await?;
        self.inner.take(key).await
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        self.step().await?;
        self.inner.increment(key, ttl).await
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        self.step().await?;
        self.inner.scan(family, after, limit).await
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        self.step().await?;
        self.inner.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.step().await?;
        self.inner.subscribe(channel).await
    }
}

/// The revocation that was told.
pub(crate) async fn told(revocations: &mut Follower) -> serde_json::Value {
    match at_once(revocations).await {
        Some(Told::Message(message)) => serde_json::from_slice(&message).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What has been announced already; `None` if nothing has.
pub(crate) async fn at_once(revocations: &mut Follower) -> Option<Told> {
    tokio::time::timeout(Duration::ZERO, revocations.next()).await.ok().flatten()
}
