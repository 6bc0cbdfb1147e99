//! Rows in one embedded file: the default. What was acknowledged survives `kill -9` and a power cut.

mod database;
mod limits;
mod open;
mod overlay;
mod reader;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::channels::Channels;
use crate::decision::{CompareAndSet, Delete, Increment, Put, Take};
use crate::key::Key;
use crate::port::{Store, StoreError, VALUE_BYTES_MAX, check_message, check_value};
use crate::row::{Moment, WallClock, system_clock};
use crate::scan::{ScanCursor, ScanPage, Span, page_limit};
use crate::subscription::Subscription;
use database::OpenFile;
use limits::Limits;
pub use open::OpenError;
use open::{Disk, Location, PlainDisk};
use reader::Reader;
use writer::Writer;

/// How a store file is used.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedbOptions {
    /// Where it reads the time.
    pub clock: WallClock,
    /// Largest value that it accepts.
    pub value_bytes_max: usize,
    /// Memory that it may use for pages of the file.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { clock: system_clock(), value_bytes_max: VALUE_BYTES_MAX, cache_bytes: 64 * 1024 * 1024 }
    }
}

impl fmt::Debug for RedbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbOptions")
            .field("value_bytes_max", &self.value_bytes_max)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

/// A store in a file of its own, open in one process at a time.
///
/// Reads run in threads for blocking work, a bounded number at a time: while the file grows on a disk that stalls, they
/// wait with it, and the threads of the runtime must not. Writes wait for a thread that makes them durable together. Both
/// give up after 30 seconds. Channels reach this process alone, which is everyone: another one cannot open the file.
///
/// Dropping it waits until the writes under way are done and the file is closed.
pub struct RedbStore {
    file: Arc<OpenFile>,
    reader: Reader,
    writer: Writer,
    clock: WallClock,
    value_bytes_max: usize,
    channels: Channels,
}

impl RedbStore {
    /// Opens the file, which is created (for its owner alone) if there is none. Blocks for the time of some disk accesses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(path, RedbOptions::default())
    }

    /// Opens the file with options.
    pub fn open_with(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, OpenError> {
        Self::open_on(Box::new(PlainDisk), path.as_ref(), options, Limits::default())
    }

    fn open_on(disk: Box<dyn Disk>, path: &Path, options: RedbOptions, limits: Limits) -> Result<Self, OpenError> {
        let RedbOptions { clock, value_bytes_max, cache_bytes } = options;
        let location = Location { path: path.to_path_buf(), cache_bytes, disk };
        let file = Arc::new(OpenFile::open(location)?);
        let reader = Reader::new(Arc::clone(&file), limits);
        let writer = Writer::start(Arc::clone(&file), Arc::clone(&clock), limits)
            .map_err(|source| OpenError::Io { path: path.to_path_buf(), source })?;
        Ok(Self { file, reader, writer, clock, value_bytes_max, channels: Channels::default() })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.file.location().path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.reader.get(key, Moment::now(&self.clock)).await?)
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        check_value(key, &value, self.value_bytes_max)?;
        Ok(self.writer.write(key, Put { value, ttl }).await?)
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        if let Some(new) = &new {
            check_value(key, new, self.value_bytes_max)?;
        }
        let expected = expected.map(Bytes::copy_from_slice);
        Ok(self.writer.write(key, CompareAndSet { expected, new, ttl }).await?)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        Ok(self.writer.write(key, Delete).await?)
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.writer.write(key, Take).await?)
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        let sum = self.writer.write(key, Increment { ttl }).await?;
        sum.map_err(|_| StoreError::NotACounter { key: key.clone() })
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        let span = Span::new(family, after)?;
        Ok(self.reader.page(span, page_limit(limit), Moment::now(&self.clock)).await?)
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        check_message(channel, &message)?;
        self.channels.publish(channel, message);
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.channels.subscribe(channel)
    }
}
