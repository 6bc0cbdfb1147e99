//! The port itself.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::key::Key;
use crate::scan::{ScanCursor, ScanPage, UnknownCursor};
use crate::subscription::Subscription;

/// Largest value or message that a store accepts unless it is told otherwise.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// What went wrong in the store. Never "not found": that is an `Ok(None)`.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store cannot answer now; nothing may be concluded about the row.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The value is larger than the store accepts.
    #[error("a value of {bytes} bytes for {key} is over the store's limit of {max} bytes")]
    TooLarge {
        /// The row.
        key: Key,
        /// The size of the value.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// [`Store::increment`] met a row that does not hold a counter, or one at the end of its range. The row is as it was.
    #[error("{key} does not hold a counter that can be incremented")]
    NotACounter {
        /// The row.
        key: Key,
    },
    /// [`Store::scan`] was given a cursor that is not of this store and family.
    #[error(transparent)]
    UnknownCursor(#[from] UnknownCursor),
    /// The message is larger than the store accepts.
    #[error("a message of {bytes} bytes for the channel {channel:?} is over the store's limit of {max} bytes")]
    MessageTooLarge {
        /// The channel.
        channel: Box<str>,
        /// The size of the message.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// The store cannot be reached or cannot write (a full disk, a lost connection).
#[derive(Debug, Error)]
#[error("the store is unavailable: {reason}")]
pub struct Unavailable {
    /// For the operator: what failed.
    pub reason: String,
}

/// Rows of bytes with an optional expiry, and channels.
///
/// Every method is atomic on its own. A row whose time is up does not exist any more for any method, whether or not its
/// bytes have been swept yet.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The row's value.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Writes the row, whatever was there. `ttl` of `None` keeps it until it is deleted. Durable when it returns.
    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError>;

    /// Writes `new` (or deletes the row, if `None`) only if the row's value is exactly `expected` (`None`: the row does not
    /// exist). Tells whether it did. `ttl` is that of the new value.
    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError>;

    /// Deletes the row; no error if there is none.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Reads and deletes the row in one step: of many concurrent callers exactly one gets the value.
    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Adds one to a counter row and returns the sum. A counter that does not exist starts at zero and lives for `ttl` from
    /// then on; later increments do not extend it. [`get`](Self::get) shows a counter as decimal digits, and a row of
    /// decimal digits is a counter; anything else is a [`StoreError::NotACounter`].
    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError>;

    /// A part of the rows whose names begin with `family/`, and where to go on. In no order, and a row may come twice; but a
    /// row that is there for as long as the whole walk takes comes at least once. Looks at about `limit` rows (1 to
    /// [`SCAN_ROWS_MAX`](crate::SCAN_ROWS_MAX)), all of which it holds in memory.
    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError>;

    /// Sends a message to everyone who is subscribed to the channel now, on every node.
    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError>;

    /// Receives what is published to the channel from now on. A receiver that lags loses the oldest messages and is told so.
    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError>;

    /// Whether other nodes may have the same rows and channels: then what one of them does is to be told to the others.
    fn is_shared(&self) -> bool {
        false
    }
}

/// Refuses a value that is over the limit.
pub(crate) fn check_value(key: &Key, value: &Bytes, max: usize) -> Result<(), StoreError> {
    let bytes = value.len();
    if bytes > max { Err(StoreError::TooLarge { key: key.clone(), bytes, max }) } else { Ok(()) }
}

/// Refuses a message that is over the limit.
pub(crate) fn check_message(channel: &str, message: &Bytes) -> Result<(), StoreError> {
    let (bytes, max) = (message.len(), VALUE_BYTES_MAX);
    if bytes > max { Err(StoreError::MessageTooLarge { channel: channel.into(), bytes, max }) } else { Ok(()) }
}
