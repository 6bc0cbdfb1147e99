//! The store at real servers: the contract at each kind of deployment, outages, fail-overs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod contract;
mod failover;
mod outage;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Delivery, Key, RedisOptions, RedisStore, Store, StoreError, Subscription};
use tokio::time::{Instant, sleep, timeout};

/// How long a server may take to be there.
const OPEN_MAX: Duration = Duration::from_secs(20);
/// Every operation ends within this, with some room for a busy machine.
const OPERATION_MAX: Duration = Duration::from_millis(2500);

async fn open(url: &str) -> Arc<RedisStore> {
    Arc::new(RedisStore::open(RedisOptions::new(url, None, None).unwrap(), OPEN_MAX).await.unwrap())
}

fn key(id: impl std::fmt::Display) -> Key {
    Key::new("row", &id.to_string()).unwrap()
}

/// Tries until it holds, for a bounded time, and tells how long that took.
async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

/// Reads and writes work again.
async fn recovers(store: &dyn Store, limit: Duration) -> Duration {
    until("the store recovers", limit, async || {
        store.put(&key("probe"), "x".into(), None).await.is_ok() && store.get(&key("probe")).await.is_ok()
    })
    .await
}

/// The operation fails, within its time.
async fn fails<T: std::fmt::Debug>(operation: impl Future<Output = Result<T, StoreError>>) -> Duration {
    let started = Instant::now();
    let answer = operation.await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let took = started.elapsed();
    assert!(took < OPERATION_MAX, "it took {took:?}");
    took
}

/// What comes next.
async fn next(subscription: &mut Subscription) -> Delivery {
    timeout(Duration::from_secs(20), subscription.next()).await.expect("something comes").unwrap()
}

/// Reads until something is told to be missing, for a bounded number of messages.
async fn missed(subscription: &mut Subscription) {
    for _ in 0..1000 {
        if next(subscription).await == Delivery::Missed {
            return;
        }
    }
    panic!("nothing was missed");
}

/// A message that is published now arrives.
async fn hears(store: &dyn Store, channel: &str, subscription: &mut Subscription) {
    let token = Bytes::from(format!("{:?}", Instant::now()));
    store.publish(channel, token.clone()).await.unwrap();
    for _ in 0..1000 {
        if next(subscription).await == Delivery::Message(token.clone()) {
            return;
        }
    }
    panic!("the message did not arrive");
}
