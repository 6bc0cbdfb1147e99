//! What becomes of rows, on a disk that works.

use std::time::Instant;

use redb::{ReadableTableMetadata as _, TableDefinition};

use super::super::database::ReadFailed;
use super::*;
use crate::clock::SetClock;
use crate::contract;

const ROWS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("hawser_rows");
const EXPIRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("hawser_expiries");

fn on(clock: &SetClock) -> RedbOptions {
    RedbOptions { clock: clock.wall_clock(), ..RedbOptions::default() }
}

/// Rows that are in the file, whether or not their time is up, and those of them that are listed to expire.
fn stored(store: &RedbStore) -> (u64, u64) {
    let count = store
        .file
        .try_read(|transaction| Ok((transaction.open_table(ROWS)?.len()?, transaction.open_table(EXPIRIES)?.len()?)));
    count.map_err(ReadFailed::into_reason).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redb_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store = RedbStore::open_with(folder.path().join("store"), on(&clock)).unwrap();
    contract::check_all(&clock.subject(Arc::new(store))).await;
}

#[tokio::test]
async fn rows_and_their_lifetimes_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let clock = SetClock::new();
    let store = RedbStore::open_with(&path, on(&clock)).unwrap();
    store.put(&key("stays"), "x".into(), None).await.unwrap();
    store.put(&key("ends"), "x".into(), Some(Duration::from_secs(10))).await.unwrap();
    store.increment(&key("counts"), Duration::from_secs(30)).await.unwrap();
    drop(store);
    clock.advance(Duration::from_secs(9));
    let store = RedbStore::open_with(&path, on(&clock)).unwrap();
    assert_eq!(store.get(&key("stays")).await.unwrap().unwrap(), "x");
    assert_eq!(store.get(&key("ends")).await.unwrap().unwrap(), "x");
    assert_eq!(store.increment(&key("counts"), Duration::from_secs(30)).await.unwrap(), 2);
    drop(store);
    clock.advance(Duration::from_secs(1));
    let store = RedbStore::open_with(&path, on(&clock)).unwrap();
    assert_eq!(store.get(&key("stays")).await.unwrap().unwrap(), "x");
    assert_eq!(store.get(&key("ends")).await.unwrap(), None);
}

#[tokio::test]
async fn rows_past_their_time_leave_the_file_with_later_writes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store = RedbStore::open_with(folder.path().join("store"), on(&clock)).unwrap();
    for number in 0..40 {
        store.put(&key(number), "x".into(), Some(Duration::from_secs(1))).await.unwrap();
    }
    store.put(&key("stays"), "x".into(), None).await.unwrap();
    assert_eq!(stored(&store), (41, 40));
    clock.advance(Duration::from_secs(1));
    // Each write removes 34 of them.
    store.put(&key("stays"), "y".into(), None).await.unwrap();
    store.put(&key("stays"), "z".into(), None).await.unwrap();
    assert_eq!(stored(&store), (1, 0));
}

#[tokio::test]
async fn rows_past_their_time_leave_the_file_without_later_writes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store = RedbStore::open_with(folder.path().join("store"), on(&clock)).unwrap();
    for number in 0..20 {
        store.put(&key(number), "x".into(), Some(Duration::from_secs(1))).await.unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let started = Instant::now();
    while stored(&store) != (0, 0) {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", stored(&store));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn changing_a_lifetime_leaves_no_trace_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let store = RedbStore::open_with(folder.path().join("store"), on(&clock)).unwrap();
    for ttl in [Some(1), None, Some(2), Some(2), Some(3)] {
        store.put(&key("a"), "x".into(), ttl.map(Duration::from_secs)).await.unwrap();
        assert_eq!(stored(&store), (1, u64::from(ttl.is_some())));
    }
    clock.advance(Duration::from_secs(2));
    store.put(&key("b"), "x".into(), None).await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap(), "x");
    store.delete(&key("a")).await.unwrap();
    assert_eq!(stored(&store), (1, 0));
}

#[tokio::test]
async fn the_limit_of_values_can_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let options = RedbOptions { value_bytes_max: 3, ..RedbOptions::default() };
    let store = RedbStore::open_with(folder.path().join("store"), options).unwrap();
    store.put(&key("a"), "abc".into(), None).await.unwrap();
    let refused = store.put(&key("a"), "abcd".into(), None).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { bytes: 4, max: 3, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_done_before_the_store_closes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    for number in 0..50 {
        // Polled once, which puts it into the queue, and then dropped.
        let _ = tokio::time::timeout(Duration::ZERO, store.put(&key(number), "x".into(), None)).await;
    }
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    for number in 0..50 {
        assert_eq!(store.get(&key(number)).await.unwrap().unwrap(), "x");
    }
}
