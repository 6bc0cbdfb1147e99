//! What becomes of an answer when messages are lost, and when nodes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::world::{Fate, World, read, request};
use crate::relay::NotReached;
use crate::relay::flow::SILENCE;
use crate::reply::{self, Body};

/// A body of what is sent, which ends when the sender is dropped.
fn fed() -> (mpsc::UnboundedSender<&'static str>, Response<Body>) {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
        let data = receiver.recv().await?;
        Some((Ok(http_body::Frame::data(Bytes::from(data))), receiver))
    });
    (sender, Response::new(Body::stream(StreamBody::new(Box::pin(frames)))))
}

/// A node with one answer, which is fed by the test.
async fn feeding(world: &World, kind: &'static str) -> (super::world::Node, mpsc::UnboundedSender<&'static str>) {
    let (feed, mut response) = fed();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let response = std::sync::Mutex::new(Some(response));
    let node = world.node(move |_| std::future::ready(response.lock().unwrap().take().unwrap())).await;
    (node, feed)
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_whole_although_messages_are_lost_and_doubled() {
    let world = World::new();
    let body: Bytes = (0..5_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let there = world
        .node({
            let body = body.clone();
            move |_| std::future::ready(reply::json(StatusCode::OK, body.clone()))
        })
        .await;
    let here = world.asker().await;
    let response = here.relay.forward(there.name(), request("")).await.unwrap();
    world.store.misbehave(|number, _| match number % 7 {
        2 => Fate::IsLost,
        3 => Fate::ComesTwice,
        5 => Fate::Fails,
        _ => Fate::Comes,
    });
    assert_eq!(read(response).await.unwrap(), body);
}

#[tokio::test(start_paused = true)]
async fn an_answer_outlives_a_store_that_is_away_for_a_while() {
    let world = World::new();
    let (there, feed) = feeding(&world, "application/json").await;
    let here = world.asker().await;
    let mut response = here.relay.forward(there.name(), request("")).await.unwrap();
    world.store.misbehave(|_, _| Fate::Fails);
    feed.send("lost at first").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.store.misbehave(|_, _| Fate::Comes);
    let came = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(came, "lost at first");
    drop(feed);
    assert_eq!(read(response).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_node_that_is_killed_breaks_and_never_looks_complete() {
    let world = World::new();
    let (there, feed) = feeding(&world, "application/json").await;
    let here = world.asker().await;
    let mut response = here.relay.forward(there.name(), request("")).await.unwrap();
    feed.send("begin").unwrap();
    assert!(response.body_mut().frame().await.is_some());
    there.kill();
    let killed = Instant::now();
    assert!(response.body_mut().frame().await.unwrap().is_err());
    assert!(killed.elapsed() <= SILENCE + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_of_a_node_that_is_killed_ends_so_that_its_client_comes_back() {
    let world = World::new();
    let (there, feed) = feeding(&world, "text/event-stream").await;
    let here = world.asker().await;
    let response = here.relay.forward(there.name(), request("")).await.unwrap();
    feed.send("data: 1\n\n").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    there.kill();
    assert_eq!(read(response).await.unwrap(), "data: 1\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_killed_before_its_answer_begins_is_lost_and_not_just_not_reached() {
    let world = World::new();
    let there = world.node(|_| async { std::future::pending().await }).await;
    let here = world.asker().await;
    let name = there.name();
    let forward = tokio::spawn({
        let relay = Arc::clone(&here.relay);
        async move { relay.forward(name, request("")).await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    there.kill();
    assert_eq!(forward.await.unwrap().unwrap_err(), NotReached::Lost(name));
}

#[tokio::test(start_paused = true)]
async fn what_is_done_for_a_node_that_is_killed_is_dropped() {
    let world = World::new();
    let (there, feed) = feeding(&world, "application/json").await;
    let here = world.asker().await;
    let response = here.relay.forward(there.name(), request("")).await.unwrap();
    here.kill();
    let gone = tokio::time::timeout(SILENCE + Duration::from_secs(1), feed.closed()).await;
    assert!(gone.is_ok(), "the body was dropped");
    drop((response, there));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_is_known_at_once() {
    let world = World::new();
    let there = world.asker().await;
    let here = world.asker().await;
    world.store.misbehave(|_, _| Fate::Fails);
    let asked = Instant::now();
    let refused = here.relay.forward(there.name(), request("")).await;
    assert_eq!(refused.unwrap_err(), NotReached::Store(there.name()));
    assert!(asked.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_given_up_is_not_begun_with_however_it_comes() {
    let world = World::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let there = world
        .node({
            let begun = Arc::clone(&begun);
            move |_| {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::ready(reply::empty(StatusCode::ACCEPTED))
            }
        })
        .await;
    let here = world.asker().await;
    let (to_asker, to_answerer) = (format!("node/{}", here.name()), format!("node/{}", there.name()));
    // Its acknowledgement is lost; its acknowledgement comes late; it comes late itself.
    for (troubled, fate) in [(&to_asker, Fate::IsLost), (&to_asker, Fate::IsLate), (&to_answerer, Fate::IsLate)] {
        let troubled = troubled.clone();
        world.store.misbehave(move |_, channel| if channel == troubled { fate } else { Fate::Comes });
        let refused = here.relay.forward(there.name(), request("")).await;
        assert_eq!(refused.unwrap_err(), NotReached::Silent(there.name()));
        world.store.recover().await;
        tokio::time::sleep(2 * SILENCE).await;
        assert_eq!(begun.load(Ordering::Relaxed), 0);
    }
    let answered = here.relay.forward(there.name(), request("")).await.unwrap();
    assert_eq!((answered.status(), begun.load(Ordering::Relaxed)), (StatusCode::ACCEPTED, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_heard_is_not_taken_for_one_that_has_ended() {
    let world = World::new();
    let (there, here) = (world.asker().await, world.asker().await);
    let name = there.name();
    world.store.misbehave(|_, _| Fate::IsLost);
    let silent = here.relay.forward(name, request("")).await;
    assert_eq!(silent.unwrap_err(), NotReached::Silent(name));
    // One that leaves in order is known to have ended at once.
    there.relay.close().await;
    let ended = here.relay.forward(name, request("")).await;
    assert_eq!(ended.unwrap_err(), NotReached::NoAnswer(name));
    // It does not come back by itself.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ended = here.relay.forward(name, request("")).await;
    assert_eq!(ended.unwrap_err(), NotReached::NoAnswer(name));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_and_nothing_more_is_said_when_an_exchange_is_over() {
    let world = World::new();
    let there = world.node(|_| std::future::ready(reply::json(StatusCode::OK, "{}".into()))).await;
    let here = world.asker().await;
    read(here.relay.forward(there.name(), request("")).await.unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(here.relay.shared.asked().is_empty());
    assert!(there.relay.shared.serving.is_empty());
    let said = world.store.published();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.store.published(), said);
}
