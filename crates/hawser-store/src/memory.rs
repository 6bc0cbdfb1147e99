//! Rows in memory: for tests and for gateways that may forget.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::channels::Channels;
use crate::decision::{Change, CompareAndSet, Decision, Delete, Increment, Put, Take};
use crate::key::Key;
use crate::port::{Store, StoreError, Unavailable, VALUE_BYTES_MAX, check_message, check_value};
use crate::row::{Current, Expiry, Moment, WallClock, system_clock};
use crate::scan::{ScanCursor, ScanPage, Span, page_limit};
use crate::subscription::Subscription;

/// Bytes of names and values that are kept.
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a row costs beside its name and value, roughly.
const ROW_BYTES: usize = 128;
/// Rows past their time that one write removes.
const SWEEP_ROWS: usize = 16;

/// A store that ends with the process.
pub struct MemoryStore {
    clock: WallClock,
    rows: Mutex<Rows>,
    channels: Channels,
}

impl MemoryStore {
    /// An empty store on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(system_clock())
    }

    /// An empty store on a clock of the caller's, which tests can set.
    pub fn with_clock(clock: WallClock) -> Self {
        Self { clock, rows: Mutex::new(Rows::default()), channels: Channels::default() }
    }

    fn apply<D: Decision>(&self, key: &Key, decision: &D) -> Result<D::Answer, StoreError> {
        let now = Moment::now(&self.clock);
        let mut rows = self.lock();
        rows.sweep(now);
        let (change, answer) = decision.decide(rows.current(key, now), now);
        rows.change(key, change)?;
        Ok(answer)
    }

    /// No code that can panic runs between two changes that belong together.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("rows", &self.lock().by_key.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Rows {
    by_key: BTreeMap<Key, (Bytes, Expiry)>,
    by_expiry: BTreeSet<(Expiry, Key)>,
    bytes: usize,
}

impl Rows {
    fn current(&self, key: &Key, now: Moment) -> Option<Current<'_>> {
        let (value, expiry) = self.by_key.get(key)?;
        (!expiry.is_past(now)).then_some(Current { value, expiry: *expiry })
    }

    fn change(&mut self, key: &Key, change: Change) -> Result<(), Unavailable> {
        match change {
            Change::Keep => {}
            Change::Delete => self.remove(key),
            Change::Write(value, expiry) => {
                let replaced = self.by_key.get(key).map_or(0, |(value, _)| weight(key, value));
                if self.bytes - replaced + weight(key, &value) > BYTES_MAX {
                    return Err(Unavailable { reason: format!("the memory store is full ({BYTES_MAX} bytes)") });
                }
                self.remove(key);
                self.insert(key, value, expiry);
            }
        }
        Ok(())
    }

    fn insert(&mut self, key: &Key, value: Bytes, expiry: Expiry) {
        self.bytes += weight(key, &value);
        if expiry != Expiry::NEVER {
            self.by_expiry.insert((expiry, key.clone()));
        }
        self.by_key.insert(key.clone(), (value, expiry));
    }

    fn remove(&mut self, key: &Key) {
        if let Some((key, (value, expiry))) = self.by_key.remove_entry(key) {
            self.bytes -= weight(&key, &value);
            self.by_expiry.remove(&(expiry, key));
        }
    }

    fn page(&self, span: &Span, limit: usize, now: Moment) -> ScanPage {
        let mut page = ScanPage { rows: Vec::new(), next: None };
        let within = self.by_key.range::<str, _>((span.start(), Bound::Unbounded));
        for (seen, (key, (value, expiry))) in within.take_while(|(key, _)| span.holds(key.as_str())).enumerate() {
            if !expiry.is_past(now) {
                page.rows.push((key.clone(), value.clone()));
            }
            if seen + 1 == limit {
                page.next = Some(ScanCursor::after(key.as_str()));
                break;
            }
        }
        page
    }

    fn sweep(&mut self, now: Moment) {
        for _ in 0..SWEEP_ROWS {
            let due = self.by_expiry.first().filter(|(expiry, _)| expiry.is_past(now));
            let Some((_, key)) = due.cloned() else { return };
            self.remove(&key);
        }
    }
}

fn weight(key: &Key, value: &Bytes) -> usize {
    ROW_BYTES + key.as_str().len() + value.len()
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let now = Moment::now(&self.clock);
        let rows = self.lock();
        let row = rows.by_key.get(key).filter(|(_, expiry)| !expiry.is_past(now));
        Ok(row.map(|(value, _)| value.clone()))
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        check_value(key, &value, VALUE_BYTES_MAX)?;
        self.apply(key, &Put { value, ttl })
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        if let Some(new) = &new {
            check_value(key, new, VALUE_BYTES_MAX)?;
        }
        self.apply(key, &CompareAndSet { expected: expected.map(Bytes::copy_from_slice), new, ttl })
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.apply(key, &Delete)
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.apply(key, &Take)
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        self.apply(key, &Increment { ttl })?.map_err(|_| StoreError::NotACounter { key: key.clone() })
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        let span = Span::new(family, after)?;
        Ok(self.lock().page(&span, page_limit(limit), Moment::now(&self.clock)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::clock::SetClock;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_store_keeps_the_contract() {
        let clock = SetClock::new();
        let store = std::sync::Arc::new(MemoryStore::with_clock(clock.wall_clock()));
        contract::check_all(&clock.subject(store)).await;
    }

    #[tokio::test]
    async fn rows_past_their_time_are_swept_by_later_writes() {
        let clock = SetClock::new();
        let store = MemoryStore::with_clock(clock.wall_clock());
        let key = |number: usize| Key::new("row", &number.to_string()).unwrap();
        for number in 0..100 {
            store.put(&key(number), "x".into(), Some(Duration::from_secs(1))).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        let writes = 100_usize.div_ceil(SWEEP_ROWS);
        for _ in 0..writes {
            store.put(&key(1000), "x".into(), None).await.unwrap();
        }
        let rows = store.lock();
        assert_eq!((rows.by_key.len(), rows.by_expiry.len()), (1, 0));
        assert_eq!(rows.bytes, weight(&key(1000), &"x".into()));
    }

    #[tokio::test]
    async fn a_full_store_refuses_and_recovers() {
        let store = MemoryStore::new();
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
        let key = |number: usize| Key::new("row", &number.to_string()).unwrap();
        let mut number = 0;
        let refused = loop {
            if let Err(error) = store.put(&key(number), value.clone(), None).await {
                break error;
            }
            number += 1;
            assert!(number <= BYTES_MAX / VALUE_BYTES_MAX);
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
        store.put(&key(0), value.clone(), None).await.unwrap();
        store.delete(&key(1)).await.unwrap();
        store.put(&key(number), value, None).await.unwrap();
    }
}
