//! What is good for once, spent in the store although that may not say whether it was.
//!
//! A store that is cut off in the middle may have done what it was asked and could not say so. Whoever spends leaves a mark of their
//! own: so they can tell later that it was they, and take it back if nothing came of it. Otherwise a client that is told to come back
//! would find its state spent by nobody.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Key, Store, StoreError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::debug;

/// Who asks a store that does not answer goes on for so long: most outages are shorter.
const INSIST: Duration = Duration::from_secs(6);
/// A store that is known to be away says so at once, and who asked it is told to come back.
const AT_ONCE: Duration = Duration::from_millis(500);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(250);
/// A mark is looked for after each of these, until it is found and taken back.
const TAKEN_BACK_AFTER: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// How many marks may wait to be taken back.
static TAKING_BACK: Semaphore = Semaphore::const_new(1024);

/// Spends what the row is of; false if somebody else did.
pub(super) async fn spend(store: &Arc<dyn Store>, row: &Key, mark: &Bytes, ttl: Duration) -> Result<bool, StoreError> {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let error = match once(store.as_ref(), row, mark, ttl).await {
            Ok(spent) => return Ok(spent),
            Err(error) => error,
        };
        let known_to_be_away = asked.elapsed() < AT_ONCE && begun == asked;
        if known_to_be_away || begun.elapsed() + AGAIN >= INSIST {
            if let Ok(place) = TAKING_BACK.try_acquire() {
                let taken_back = take_back(Arc::clone(store), row.clone(), mark.clone());
                tokio::spawn(async move {
                    taken_back.await;
                    drop(place);
                });
            }
            return Err(error);
        }
        sleep(AGAIN).await;
    }
}

async fn once(store: &dyn Store, row: &Key, mark: &Bytes, ttl: Duration) -> Result<bool, StoreError> {
    if store.compare_and_set(row, None, Some(mark.clone()), Some(ttl)).await? {
        return Ok(true);
    }
    // An earlier try may have done it.
    Ok(store.get(row).await?.as_ref() == Some(mark))
}

/// Nothing came of it: if the mark is there all the same, it is taken back.
async fn take_back(store: Arc<dyn Store>, row: Key, mark: Bytes) {
    for after in TAKEN_BACK_AFTER {
        sleep(after).await;
        match store.compare_and_set(&row, Some(&mark), None, None).await {
            Ok(true) => return,
            // Not there, or not there yet: what was sent to a store that is cut off may come late.
            Ok(false) => {}
            Err(error) => debug!(%error, "what was perhaps spent could not be taken back"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use async_trait::async_trait;
    use hawser_store::{MemoryStore, ScanCursor, ScanPage, Subscription, Unavailable};

    use super::*;

    const TTL: Duration = Duration::from_mins(5);

    /// Does what it is asked, and at first cannot say so.
    struct Cut {
        memory: MemoryStore,
        unsaid: AtomicU8,
        takes: Duration,
    }

    impl Cut {
        fn store(unsaid: u8, takes: Duration) -> Arc<dyn Store> {
            Arc::new(Self { memory: MemoryStore::new(), unsaid: AtomicU8::new(unsaid), takes })
        }
    }

    #[async_trait]
    impl Store for Cut {
        async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
            self.memory.get(key).await
        }
        async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
            self.memory.put(key, value, ttl).await
        }
        async fn compare_and_set(
            &self,
            key: &Key,
            expected: Option<&[u8]>,
            new: Option<Bytes>,
            ttl: Option<Duration>,
        ) -> Result<bool, StoreError> {
            let done = self.memory.compare_and_set(key, expected, new, ttl).await?;
            if self.unsaid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                sleep(self.takes).await;
                return Err(Unavailable { reason: "cut".to_owned() }.into());
            }
            Ok(done)
        }
        async fn delete(&self, key: &Key) -> Result<(), StoreError> {
            self.memory.delete(key).await
        }
        async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
            self.memory.take(key).await
        }
        async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
            self.memory.increment(key, ttl).await
        }
        async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
            self.memory.scan(family, after, limit).await
        }
        async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
            self.memory.publish(channel, message).await
        }
        async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
            self.memory.subscribe(channel).await
        }
    }

    fn row() -> Key {
        Key::new("request-state", "00").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_spends_and_no_other() {
        let store = Cut::store(0, Duration::ZERO);
        assert!(spend(&store, &row(), &"one".into(), TTL).await.unwrap());
        assert!(!spend(&store, &row(), &"other".into(), TTL).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_spent_and_was_not_told_finds_out() {
        let store = Cut::store(2, Duration::from_secs(2));
        assert!(spend(&store, &row(), &"one".into(), TTL).await.unwrap());
        assert!(!spend(&store, &row(), &"other".into(), TTL).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_spent_for_nothing_is_taken_back() {
        let store = Cut::store(9, Duration::from_secs(2));
        spend(&store, &row(), &"one".into(), TTL).await.unwrap_err();
        assert!(store.get(&row()).await.unwrap().is_some());
        sleep(Duration::from_mins(1)).await;
        assert!(spend(&store, &row(), &"other".into(), TTL).await.unwrap());
        // Another's is not.
        sleep(Duration::from_mins(2)).await;
        assert_eq!(store.get(&row()).await.unwrap().as_deref(), Some(&b"other"[..]));
    }
}
