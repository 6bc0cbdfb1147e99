//! Versioned rows over the store: every value is JSON with `"v":1`, and a row of any other shape is treated as absent
//! and deleted, never reinterpreted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Journal, Key, Store, StoreError, Unavailable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// A kind of row.
pub(crate) trait Row: Serialize + DeserializeOwned + Send + Sync {
    /// The family in the store; ids within it are digests or ids of a fixed format.
    const FAMILY: &'static str;
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    #[serde(flatten)]
    row: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// A row as it was read, with the bytes that a compare-and-set expects.
pub(crate) struct Loaded<T> {
    raw: Bytes,
    pub(crate) row: T,
}

/// What is where a row was looked for.
pub(crate) enum Found<T> {
    /// Nothing.
    Absent,
    /// A row.
    Row(Loaded<T>),
    /// A row of a version or shape that is not known here.
    Foreign,
}

/// Reads and writes rows.
#[derive(Clone)]
pub(crate) struct Rows {
    store: Arc<dyn Store>,
}

impl Rows {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Whether other nodes may change the rows.
    pub(crate) fn are_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Reads a row that is too precious to be deleted where it is not understood.
    pub(crate) async fn find<T: Row>(&self, id: &str) -> Result<Found<T>, StoreError> {
        let Some(raw) = self.store.get(&key_of::<T>(id)?).await? else {
            return Ok(Found::Absent);
        };
        Ok(decode(&raw).map_or(Found::Foreign, |row| Found::Row(Loaded { raw, row })))
    }

    pub(crate) async fn get<T: Row>(&self, id: &str) -> Result<Option<Loaded<T>>, StoreError> {
        let key = key_of::<T>(id)?;
        let Some(raw) = self.store.get(&key).await? else {
            return Ok(None);
        };
        if let Some(row) = decode(&raw) {
            return Ok(Some(Loaded { raw, row }));
        }
        // Only if it still is what was read: another node may have just written a good one.
        self.store.compare_and_set(&key, Some(&raw), None, None).await?;
        tracing::warn!(row = %key, "a stored row of an unknown version was deleted");
        Ok(None)
    }

    pub(crate) async fn put<T: Row>(&self, id: &str, row: &T, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.store.put(&key_of::<T>(id)?, encode(row)?, ttl).await
    }

    /// Writes the row if there is none; tells whether it did.
    pub(crate) async fn create<T: Row>(&self, id: &str, row: &T, ttl: Option<Duration>) -> Result<bool, StoreError> {
        self.store.compare_and_set(&key_of::<T>(id)?, None, Some(encode(row)?), ttl).await
    }

    /// Writes the row if it is still what was loaded; tells whether it did.
    pub(crate) async fn replace<T: Row>(
        &self,
        id: &str,
        loaded: &Loaded<T>,
        new: &T,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.store.compare_and_set(&key_of::<T>(id)?, Some(&loaded.raw), Some(encode(new)?), ttl).await
    }

    /// Removes the row if it is still what was loaded; tells whether it did.
    pub(crate) async fn remove<T: Row>(&self, id: &str, loaded: &Loaded<T>) -> Result<bool, StoreError> {
        self.store.compare_and_set(&key_of::<T>(id)?, Some(&loaded.raw), None, None).await
    }

    pub(crate) async fn delete<T: Row>(&self, id: &str) -> Result<(), StoreError> {
        self.store.delete(&key_of::<T>(id)?).await
    }

    /// Counts within a window: the counter's name changes with the window, so no clock but the caller's matters.
    pub(crate) async fn count(&self, family: &str, window: u64, ttl: Duration) -> Result<u64, StoreError> {
        self.store.increment(&key(family, &window.to_string())?, ttl).await
    }

    /// The journal of this name, in the same store.
    pub(crate) fn journal(&self, name: &'static str) -> Journal {
        Journal::new(Arc::clone(&self.store), name)
    }
}

fn key_of<T: Row>(id: &str) -> Result<Key, StoreError> {
    key(T::FAMILY, id)
}

/// Ids are digests or of a fixed format; should one ever not be, the row cannot be reached, which is an outage and not
/// an absence.
fn key(family: &str, id: &str) -> Result<Key, StoreError> {
    Key::new(family, id).map_err(|error| Unavailable { reason: error.to_string() }.into())
}

fn decode<T: Row>(raw: &[u8]) -> Option<T> {
    let VersionOnly { v } = serde_json::from_slice(raw).ok()?;
    if v != VERSION {
        return None;
    }
    serde_json::from_slice(raw).ok()
}

fn encode<T: Row>(row: &T) -> Result<Bytes, StoreError> {
    serde_json::to_vec(&Written { v: VERSION, row })
        .map(Bytes::from)
        .map_err(|error| Unavailable { reason: error.to_string() }.into())
}
