//! The store is away, comes back, or comes back empty: owners' sessions go on, strangers stay refused, what is over stays over.

use std::time::Duration;

use hawser_store::Store as _;
use http::StatusCode;

use crate::world::{IDLE, STALE_MAX, World};

#[tokio::test(start_paused = true)]
async fn owners_go_on_on_a_node_that_holds_the_session_and_on_one_that_does_not() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    let before = world.row().await;
    world.store.cut(true);
    let there = world.node().await;
    for node in [&here, &there] {
        assert_eq!(world.ping(node, "alice", &session).await, StatusCode::OK);
        assert_eq!(world.ping(node, "eve", &session).await, StatusCode::NOT_FOUND);
        assert_eq!(world.delete(node, "eve", &session).await.status, StatusCode::NOT_FOUND);
    }
    // Also after more time than it may idle since it was opened: it may have been used.
    world.advance(IDLE / 2);
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    world.advance(IDLE * 2 / 3);
    assert_eq!(world.ping(&world.node().await, "alice", &session).await, StatusCode::OK);
    world.store.cut(false);
    world.settle().await;
    for node in [&here, &there] {
        assert_eq!(world.ping(node, "alice", &session).await, StatusCode::OK);
    }
    let (key, row) = world.row().await;
    assert_eq!((key, &row["client_info"], &row["opened"]), (before.0, &before.1["client_info"], &before.1["opened"]));
}

#[tokio::test(start_paused = true)]
async fn what_needs_the_store_is_told_when_to_come_again() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    world.store.cut(true);
    for answer in [world.initialize(&here, "alice").await, world.delete(&here, "alice", &session).await] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    }
    // What could not be ended has not ended.
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK);
    world.store.cut(false);
    assert_eq!(world.delete(&here, "alice", &session).await.status, StatusCode::NO_CONTENT);
}

/// A node that starts in an outage cannot know what is over. It finds out.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_and_served_by_its_seal_ends_when_the_store_is_back() {
    let world = World::new();
    let here = world.node().await;
    let (deleted, kept) = (world.open(&here, "alice").await, world.open(&here, "alice").await);
    world.delete(&here, "alice", &deleted).await;
    drop(here);
    world.store.cut(true);
    let there = world.node().await;
    assert_eq!(world.ping(&there, "alice", &deleted).await, StatusCode::OK, "nobody can know");
    assert_eq!(world.ping(&there, "alice", &kept).await, StatusCode::OK);
    world.store.cut(false);
    assert!(world.until_refused(&there, "alice", &deleted).await <= STALE_MAX * 2);
    assert_eq!(world.ping(&there, "alice", &kept).await, StatusCode::OK);
}

/// A node that ended it, or heard of it, knows without the store.
#[tokio::test(start_paused = true)]
async fn what_a_node_knows_to_be_over_is_refused_in_an_outage_too() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    world.delete(&here, "alice", &session).await;
    world.settle().await;
    world.store.cut(true);
    for node in [&here, &there] {
        assert_eq!(world.ping(node, "alice", &session).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_empty_costs_nobody_a_session_and_gives_nobody_one_back() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let (alice, over) = (world.open(&here, "alice").await, world.open(&here, "alice").await);
    world.delete(&here, "alice", &over).await;
    world.advance(IDLE / 2);
    world.store.flush();
    assert_eq!(world.ping(&there, "alice", &alice).await, StatusCode::OK, "on a node that did not hold it");
    world.settle().await;
    // The nodes have written again what they know.
    let mut rows = world.rows().await;
    rows.sort_by_key(|(_, row)| row["terminated"] == true);
    assert_eq!(rows.len(), 2);
    assert!(rows[0].1.get("terminated").is_none() && rows[1].1["terminated"] == true);
    drop((here, there));
    let new = world.node().await;
    assert_eq!(world.ping(&new, "alice", &over).await, StatusCode::NOT_FOUND);
    assert_eq!(world.ping(&new, "alice", &alice).await, StatusCode::OK);
    assert_eq!(world.ping(&new, "eve", &alice).await, StatusCode::NOT_FOUND);
}

/// A node was cut off while a session was ended; then the store lost its rows; the node writes the session's row again before it
/// hears. Who knows better has the last word.
#[tokio::test(start_paused = true)]
async fn a_row_that_was_written_again_by_mistake_is_ended_again() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    let (key, live) = world.row().await;
    world.delete(&here, "alice", &session).await;
    world.store.flush();
    world.store.put(&key, live.to_string().into(), None).await.unwrap();
    let there = world.node().await;
    world.ping(&there, "alice", &session).await;
    world.settle().await;
    assert_eq!(world.row().await.1["terminated"], true);
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::NOT_FOUND);
}

/// The last use is written when the store is back, without a request having waited for it.
#[tokio::test(start_paused = true)]
async fn a_use_that_could_not_be_stored_is_stored_later() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    let before = world.row().await.1["last_used"].as_u64().unwrap();
    world.store.cut(true);
    world.advance(IDLE / 2);
    let begun = tokio::time::Instant::now();
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    world.settle().await;
    world.store.cut(false);
    world.settle().await;
    assert_eq!(world.row().await.1["last_used"].as_u64().unwrap(), before + IDLE.as_secs() / 2);
}

/// A busy node has something to note all the time. What waited for the store is done all the same.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_never_quiet_makes_up_for_an_outage() {
    let world = World::new();
    let here = world.node().await;
    let (deleted, kept) = (world.open(&here, "alice").await, world.open(&here, "alice").await);
    let busy = world.open(&here, "bob").await;
    world.delete(&here, "alice", &deleted).await;
    drop(here);
    world.store.cut(true);
    let there = world.node().await;
    for session in [&deleted, &kept] {
        assert_eq!(world.ping(&there, "alice", session).await, StatusCode::OK, "nobody can know");
    }
    for turn in 0..14 {
        world.store.cut(turn < 4);
        // Every use is to be noted, and one comes before the store would be tried again.
        world.advance(IDLE / 15);
        assert_eq!(world.ping(&there, "bob", &busy).await, StatusCode::OK);
        tokio::time::sleep(STALE_MAX / 4).await;
    }
    assert_eq!(world.ping(&there, "alice", &deleted).await, StatusCode::NOT_FOUND);
    assert_eq!(world.ping(&there, "alice", &kept).await, StatusCode::OK);
}
