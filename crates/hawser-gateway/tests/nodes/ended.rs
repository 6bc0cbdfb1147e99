//! What is ended on one node is over on all of them within a second.

use http::StatusCode;
use tokio::time::Instant;

use crate::world::{STALE_MAX, World};

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_on_one_node_is_over_on_the_others() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    assert_eq!(world.delete(&here, "alice", &session).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.ping(&here, "alice", &session).await, StatusCode::NOT_FOUND);
    assert!(world.until_refused(&there, "alice", &session).await < STALE_MAX / 10);
    // And for a node that never heard of it.
    assert_eq!(world.ping(&world.node().await, "alice", &session).await, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_within_a_second_if_the_message_is_lost() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    world.store.lose_messages(true);
    world.delete(&here, "alice", &session).await;
    assert!(world.until_refused(&there, "alice", &session).await <= STALE_MAX);
}

#[tokio::test(start_paused = true)]
async fn it_is_over_soon_if_even_what_was_kept_of_the_message_is_lost() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    world.store.lose_messages(true);
    world.delete(&here, "alice", &session).await;
    for (key, _) in hawser_store::Store::scan(&*world.store, "journal-sessions", None, 100).await.unwrap().rows {
        if !key.as_str().ends_with("number") {
            hawser_store::Store::delete(&*world.store, &key).await.unwrap();
        }
    }
    assert!(world.until_refused(&there, "alice", &session).await <= STALE_MAX * 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_session_on_another_node() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    let listening = world.send(&there, "alice", http::Method::GET, Some(&session), None);
    let begun = Instant::now();
    let deleting = async {
        tokio::time::sleep(STALE_MAX / 2).await;
        world.delete(&here, "alice", &session).await;
    };
    let (stream, ()) = tokio::join!(listening, deleting);
    assert_eq!(stream.status, StatusCode::OK);
    assert!(begun.elapsed() < STALE_MAX * 3 / 2, "{:?}", begun.elapsed());
}

/// Messages and rows of a store are as hostile as any input: they can end sessions, not begin or break anything.
#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_read_end_nothing_and_everything_is_looked_up() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    assert_eq!(world.ping(&there, "alice", &session).await, StatusCode::OK);
    let journal = hawser_store::Journal::new(std::sync::Arc::clone(&world.store) as _, "sessions");
    for message in ["", "{}", r#"{"v":2,"ended":{}}"#, "[[[["] {
        journal.announce(message.into()).await.unwrap();
    }
    world.settle().await;
    for node in [&here, &there] {
        assert_eq!(world.ping(node, "alice", &session).await, StatusCode::OK);
    }
    // A node of a later release ended it, in words that nobody here knows.
    let (key, mut row) = world.row().await;
    row["terminated"] = true.into();
    row["v"] = 2.into();
    hawser_store::Store::put(&*world.store, &key, row.to_string().into(), None).await.unwrap();
    journal.announce(r#"{"v":2,"over":"x"}"#.into()).await.unwrap();
    assert!(world.until_refused(&there, "alice", &session).await <= STALE_MAX);
}

/// Two releases side by side: an older node neither serves nor touches what only a newer one understands.
#[tokio::test(start_paused = true)]
async fn a_row_of_a_later_version_is_left_alone_and_is_not_said_to_be_gone() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    let (key, mut row) = world.row().await;
    row["v"] = 2.into();
    let newer = bytes::Bytes::from(row.to_string());
    hawser_store::Store::put(&*world.store, &key, newer.clone(), None).await.unwrap();
    let there = world.node().await;
    let body = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let answer = world.send(&there, "alice", http::Method::POST, Some(&session), Some(body)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(hawser_store::Store::get(&*world.store, &key).await.unwrap(), Some(newer));
}

/// A quiet session makes way for another, and nothing that was admitted to it suffers from that.
#[tokio::test(start_paused = true)]
async fn no_request_loses_its_session_to_another_that_needs_its_place() {
    let world = World::new();
    let node = world.node_of(2).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(world.open(&node, "alice").await);
    }
    for _ in 0..20 {
        let pings = sessions.iter().map(|session| world.ping(&node, "alice", session));
        for status in futures_util::future::join_all(pings).await {
            // All places may be taken by others at work; but it is never gone.
            assert!(matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{status}");
        }
        for session in &sessions {
            assert_eq!(world.ping(&node, "alice", session).await, StatusCode::OK);
        }
    }
}
