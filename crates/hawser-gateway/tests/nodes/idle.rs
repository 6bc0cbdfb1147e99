//! Idle time counts from the last use on any node.

use std::time::Duration;

use hawser_store::Store as _;
use http::StatusCode;

use crate::world::{IDLE, World};

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_session_that_is_used_on_one_node_does_not_idle_out_on_another() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    // Used there for longer than it may idle, until just now.
    for _ in 0..30 {
        world.advance(IDLE / 20);
        assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
        tokio::time::sleep(MINUTE / 60).await;
    }
    world.settle().await;
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK);
    world.advance(IDLE + IDLE / 8);
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::NOT_FOUND);
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::NOT_FOUND);
}

/// A node that holds a session which it has not seen used for long serves it no worse than one that does not hold it.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_used_elsewhere_goes_on_where_that_cannot_be_looked_up() {
    let world = World::new();
    let (here, there, third) = (world.node().await, world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    for node in [&there, &third] {
        assert_eq!(world.ping(node, "alice", &session).await, StatusCode::OK);
    }
    for _ in 0..30 {
        world.advance(IDLE / 20);
        assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    }
    tokio::time::sleep(MINUTE / 600).await;
    world.store.delete(&world.row().await.0).await.unwrap();
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK, "the row is lost");
    world.store.cut(true);
    assert_eq!(world.ping(&third, "alice", &session).await, StatusCode::OK, "the store is away");
    assert_eq!(world.ping(&third, "eve", &session).await, StatusCode::NOT_FOUND);
}

/// The store is told of a use at most once in a sixteenth of the idle time; what it was not told is nobody's loss.
#[tokio::test(start_paused = true)]
async fn a_use_that_the_store_was_not_told_of_does_not_cost_the_session() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    world.advance(IDLE / 20);
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK);
    world.settle().await;
    let there = world.node().await;
    world.advance(IDLE.saturating_sub(MINUTE));
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_known_session_costs_no_store_access() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    tokio::task::yield_now().await;
    let before = world.store.operations();
    for _ in 0..100 {
        assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::OK);
        assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    }
    assert_eq!(world.store.operations(), before);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_causes_no_store_access_either() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    let before = world.store.operations();
    for node in [&here, &there] {
        assert_eq!(world.ping(node, "eve", &session).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.store.operations(), before);
}
