//! The file as its users know it: opened, killed, damaged, full.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::clock::SetClock;
use crate::contract;

#[tokio::test(flavor = "multi_thread")]
async fn redb_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let clock = SetClock::new();
    let options = RedbOptions { clock: clock.wall_clock(), ..RedbOptions::default() };
    let store = RedbStore::open_with(folder.path().join("store"), options).unwrap();
    contract::check_all(&clock.subject(Arc::new(store))).await;
}
