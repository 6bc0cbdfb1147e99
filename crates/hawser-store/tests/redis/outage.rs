//! One server that is cut off, started again, stalled, emptied.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hawser_fixture_valkey::RedisServer;
use hawser_store::{Delivery, Store as _};
use tokio::time::Instant;

use crate::{OPERATION_MAX, fails, hears, key, missed, open, recovers};

const RECOVERY_MAX: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again_and_what_was_missed_is_told() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut heard = store.subscribe("channel").await.unwrap();
    store.put(&key(1), "x".into(), None).await.unwrap();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
    recovers(&*store, RECOVERY_MAX).await;
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap(), "x");
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    missed(&mut heard).await;
    hears(&*store, "channel", &mut heard).await;
}

#[tokio::test]
async fn while_the_server_is_away_operations_fail_at_once_and_everything_comes_back_with_it() {
    let mut server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut heard = [store.subscribe("a").await.unwrap(), store.subscribe("b").await.unwrap()];
    store.put(&key(1), "x".into(), None).await.unwrap();
    server.kill().await.unwrap();
    fails(store.get(&key(1))).await;
    // Known by now.
    crate::until("the loss is known", Duration::from_secs(5), async || {
        let started = Instant::now();
        store.get(&key(1)).await.is_err() && started.elapsed() < Duration::from_millis(50)
    })
    .await;
    let started = Instant::now();
    for number in 0..1000 {
        fails(store.put(&key(number), "x".into(), None)).await;
    }
    assert!(started.elapsed() < Duration::from_secs(1), "a thousand took {:?}", started.elapsed());
    fails(store.take(&key(1))).await;
    fails(store.increment(&key(1), Duration::from_secs(9))).await;
    fails(store.scan("row", None, 10)).await;
    fails(store.publish("a", "x".into())).await;
    fails(store.subscribe("c")).await;
    server.start_again().await.unwrap();
    recovers(&*store, RECOVERY_MAX).await;
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap(), "x", "what was acknowledged is there");
    for (channel, heard) in ["a", "b"].into_iter().zip(&mut heard) {
        missed(heard).await;
        hears(&*store, channel, heard).await;
    }
    server.stop().await.unwrap();
    server.start_empty().await.unwrap();
    recovers(&*store, RECOVERY_MAX).await;
    assert_eq!(store.get(&key(1)).await.unwrap(), None);
    // A server that starts anew knows no scripts.
    assert!(store.compare_and_set(&key(2), None, Some("a".into()), None).await.unwrap());
    assert!(store.compare_and_set(&key(2), Some(b"a"), Some("b".into()), None).await.unwrap());
    assert_eq!(store.increment(&key(3), Duration::from_secs(9)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_up_for_long() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut heard = store.subscribe("channel").await.unwrap();
    server.stall().unwrap();
    let started = Instant::now();
    let many: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { fails(store.put(&key(number), "x".into(), None)).await })
        })
        .collect();
    for one in many {
        one.await.unwrap();
    }
    assert!(started.elapsed() < OPERATION_MAX + Duration::from_secs(1), "{:?}", started.elapsed());
    crate::until("it is known to stand still", Duration::from_secs(6), async || {
        fails(store.get(&key(1))).await < Duration::from_millis(50)
    })
    .await;
    server.resume().unwrap();
    recovers(&*store, RECOVERY_MAX).await;
    missed(&mut heard).await;
    hears(&*store, "channel", &mut heard).await;
}

#[tokio::test]
async fn a_server_that_is_emptied_goes_on() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    store.put(&key(1), "x".into(), None).await.unwrap();
    server.flush().await.unwrap();
    server.ask(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap(), None);
    assert_eq!(store.increment(&key(1), Duration::from_secs(9)).await.unwrap(), 1);
    assert!(store.compare_and_set(&key(1), Some(b"1"), None, None).await.unwrap());
}

#[tokio::test]
async fn a_walk_during_which_the_server_starts_anew_misses_no_row() {
    const ROWS: usize = 1500;
    let mut server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for number in 0..ROWS {
        store.put(&key(number), "x".into(), None).await.unwrap();
    }
    let (mut seen, mut after) = (HashSet::new(), None);
    for page in 0..1000 {
        let found = store.scan("row", after.as_ref(), 100).await.unwrap();
        seen.extend(found.rows.into_iter().map(|(key, _)| key));
        after = found.next;
        if after.is_none() {
            break;
        }
        if page == 4 {
            // Its cursors mean something else from then on.
            server.kill().await.unwrap();
            server.start_again().await.unwrap();
            recovers(&*store, RECOVERY_MAX).await;
        }
    }
    assert!(after.is_none(), "the walk does not end");
    let missed = (0..ROWS).filter(|number| !seen.contains(&key(number))).count();
    assert_eq!(missed, 0);
}

#[tokio::test]
async fn channels_that_nobody_listens_to_are_left() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let mut kept = store.subscribe("kept").await.unwrap();
    drop(store.subscribe("left").await.unwrap());
    let channels = async || server.ask(&["PUBSUB", "CHANNELS"]).await.unwrap().parts().len();
    crate::until("the channel is left", Duration::from_secs(10), async || channels().await == 1).await;
    let mut again = store.subscribe("left").await.unwrap();
    hears(&*store, "left", &mut again).await;
    hears(&*store, "kept", &mut kept).await;
}

#[tokio::test]
async fn a_counter_below_zero_that_somebody_else_wrote_is_none() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    for (id, foreign) in ["-5", "9223372036854775807", "07"].into_iter().enumerate() {
        server.ask(&["SET", &format!("hawser:row/{id}"), foreign]).await.unwrap();
        let counted = store.increment(&key(id), Duration::from_secs(9)).await;
        assert!(matches!(counted, Err(hawser_store::StoreError::NotACounter { .. })), "{foreign}: {counted:?}");
    }
    server.ask(&["SET", "hawser:row/9007199254740993", "9007199254740993"]).await.unwrap();
    let sum = store.increment(&key("9007199254740993"), Duration::from_secs(9)).await.unwrap();
    assert_eq!(sum, 9_007_199_254_740_994, "sums are exact beyond 53 bits");
}

#[tokio::test]
async fn rows_and_messages_that_cannot_be_ours_harm_nobody() {
    let server = RedisServer::start().await.unwrap();
    let store = open(&server.url()).await;
    let huge = "x".repeat(1024 * 1024 + 1);
    server.ask(&["SET", "hawser:row/huge", &huge]).await.unwrap();
    server.ask(&["RPUSH", "hawser:row/list", "x"]).await.unwrap();
    server.ask(&["SET", "hawser:row/with a space", "x"]).await.unwrap();
    store.put(&key("own"), "x".into(), None).await.unwrap();
    assert!(store.get(&key("huge")).await.is_err());
    assert!(store.get(&key("list")).await.is_err());
    let mut rows = Vec::new();
    let mut after = None;
    for _ in 0..100 {
        let page = store.scan("row", after.as_ref(), 100).await.unwrap();
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(rows, [(key("own"), "x".into())]);
    let mut heard = store.subscribe("channel").await.unwrap();
    server.ask(&["PUBLISH", "hawser:channel", &huge]).await.unwrap();
    store.publish("channel", "x".into()).await.unwrap();
    assert_eq!(crate::next(&mut heard).await, Delivery::Message("x".into()));
}
