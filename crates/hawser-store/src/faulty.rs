//! A store for tests that several nodes in one process share, and that fails as a server over a network does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Key, MemoryStore, ScanCursor, ScanPage, Store, StoreError, Subscription, Unavailable};

/// Rows in memory, and switches for what goes wrong.
#[derive(Debug)]
pub struct FaultyStore {
    rows: RwLock<Arc<MemoryStore>>,
    channels: MemoryStore,
    shared: bool,
    cut: AtomicBool,
    deaf: AtomicBool,
    operations: AtomicUsize,
}

impl FaultyStore {
    /// An empty store that works, and that nodes share.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::new(true))
    }

    /// An empty store that works, of one node alone.
    pub fn alone() -> Arc<Self> {
        Arc::new(Self::new(false))
    }

    fn new(shared: bool) -> Self {
        Self {
            rows: RwLock::default(),
            channels: MemoryStore::new(),
            shared,
            cut: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            operations: AtomicUsize::new(0),
        }
    }

    /// From now on nothing is answered, or all is well again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// From now on what is published reaches nobody, or everybody again.
    pub fn lose_messages(&self, lose: bool) {
        self.deaf.store(lose, Ordering::SeqCst);
    }

    /// Loses every row.
    pub fn flush(&self) {
        *self.rows.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// How often rows were read or written, and messages sent.
    pub fn operations(&self) -> usize {
        self.operations.load(Ordering::SeqCst)
    }

    fn rows(&self) -> Result<Arc<MemoryStore>, StoreError> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        if self.cut.load(Ordering::SeqCst) {
            return Err(Unavailable { reason: "cut off by a test".to_owned() }.into());
        }
        Ok(Arc::clone(&self.rows.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.rows()?.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.rows()?.put(key, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.rows()?.compare_and_set(key, expected, new, ttl).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.rows()?.delete(key).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.rows()?.take(key).await
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        self.rows()?.increment(key, ttl).await
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        self.rows()?.scan(family, after, limit).await
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        let _answers = self.rows()?;
        if self.deaf.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.channels.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        let _answers = self.rows()?;
        self.channels.subscribe(channel).await
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}
