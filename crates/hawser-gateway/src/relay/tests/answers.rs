//! What a node is asked, and what comes back.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::world::{Fate, SLOW, World, body_of, read, request, stream_request};
use crate::relay::flow::{WIDER, WINDOW};
use crate::relay::frame::{PART_BYTES_MAX, PIECE_BYTES_MAX};
use crate::relay::letter::Channel;
use crate::relay::{EXCHANGES_MAX, NodeName, NotReached, Relayed};
use crate::reply::{self, Body, BrokenAnswer};

fn text(bytes: impl Into<Bytes>) -> Response<Body> {
    reply::json(StatusCode::OK, bytes.into())
}

/// A body of equal frames that notes how many were taken, and its end.
struct Long {
    frame: Bytes,
    left: usize,
    taken: Arc<AtomicUsize>,
    _dropped: Option<oneshot::Sender<()>>,
    /// Where it ends: with nothing more to come, or never.
    ends: bool,
}

impl http_body::Body for Long {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        if self.left == 0 {
            return if self.ends { Poll::Ready(None) } else { Poll::Pending };
        }
        self.left -= 1;
        self.taken.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

fn long(frame: usize, frames: usize, taken: &Arc<AtomicUsize>) -> Response<Body> {
    let (taken, frame) = (Arc::clone(taken), Bytes::from(vec![b'x'; frame]));
    Response::new(Body::stream(Long { frame, left: frames, taken, _dropped: None, ends: true }))
}

#[tokio::test(start_paused = true)]
async fn a_request_comes_as_it_was_and_its_answer_goes_back_as_it_was() {
    let world = World::new();
    let there = world
        .node(|relayed| async {
            let request = relayed.into_request().unwrap();
            let (parts, body) = request.into_parts();
            assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/mcp"));
            let names: Vec<_> = parts.headers.keys().map(http::HeaderName::as_str).collect();
            assert_eq!(names, ["authorization", "mcp-session-id", "mcp-param-x"]);
            assert!(Relayed::of(&parts, Bytes::new()).is_none(), "it would be relayed once more");
            let mut response = text(body.collect().await.unwrap().to_bytes());
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response.headers_mut().append("www-authenticate", "one".parse().unwrap());
            response.headers_mut().append("www-authenticate", "two".parse().unwrap());
            response.headers_mut().append("connection", "close".parse().unwrap());
            response
        })
        .await;
    let here = world.asker().await;
    let head = Request::post("/mcp?query")
        .header("authorization", "Bearer t")
        .header("cookie", "is not read by a gateway")
        .header("x-forwarded-for", "nor is this")
        .header("mcp-session-id", "s")
        .header("mcp-param-x", "1");
    let (parts, ()) = head.body(()).unwrap().into_parts();
    let request = Relayed::of(&parts, Bytes::from_static(b"{\"a\":1}")).unwrap();
    let response = here.relay.forward(there.name(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    let mut expected = HeaderMap::new();
    for (name, value) in [("content-type", "application/json"), ("cache-control", "no-store")] {
        expected.append(name, value.parse().unwrap());
    }
    for value in ["one", "two"] {
        expected.append("www-authenticate", value.parse().unwrap());
    }
    assert_eq!(response.headers(), &expected);
    assert_eq!(read(response).await.unwrap(), "{\"a\":1}");
}

#[tokio::test(start_paused = true)]
async fn a_large_request_travels_in_parts() {
    let world = World::new();
    let there = world.node(|request| async move { text(body_of(request).await.len().to_string()) }).await;
    let here = world.asker().await;
    let body = vec![b'x'; 9 * PART_BYTES_MAX];
    let length = body.len().to_string();
    let response = here.relay.forward(there.name(), request(body)).await.unwrap();
    assert_eq!(read(response).await.unwrap(), length);
}

/// It is taken as soon as its first letter has come: that more of it takes longer than the node may take to say so is no reason to
/// give it up.
#[tokio::test(start_paused = true)]
async fn a_large_request_travels_over_a_slow_store() {
    let world = World::new();
    let there = world.node(|request| async move { text(body_of(request).await.len().to_string()) }).await;
    let here = world.asker().await;
    let channel = Channel::Node(there.name()).name();
    world.store.misbehave(move |_, to| if to == channel { Fate::IsSlow } else { Fate::Comes });
    let body = vec![b'x'; 4 << 20];
    let (length, begun) = (body.len().to_string(), Instant::now());
    let response = here.relay.forward(there.name(), request(body)).await.unwrap();
    assert_eq!(read(response).await.unwrap(), length);
    assert!(begun.elapsed() > 4 * SLOW, "it was not slow: {:?}", begun.elapsed());
}

/// A part that is lost, or a sender that stops in the middle, leaves nothing behind and is not waited for long.
#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_whole_is_given_up() {
    for lost in 1..4 {
        let world = World::new();
        let there = world.asker().await;
        let here = world.asker().await;
        let channel = Channel::Node(there.name()).name();
        let letters = AtomicUsize::new(0);
        world.store.misbehave(move |_, to| {
            let is_lost = to == channel && letters.fetch_add(1, Ordering::Relaxed) == lost;
            if is_lost { Fate::IsLost } else { Fate::Comes }
        });
        let begun = Instant::now();
        let broken = here.relay.forward(there.name(), request(vec![b'x'; 4 << 20])).await;
        assert!(matches!(broken.unwrap_err(), NotReached::Lost(_) | NotReached::Busy(_)), "so it is brought again");
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_larger_than_the_other_node_takes_is_not_served() {
    let world = World::new();
    let there = world.asker().await;
    let here = world.asker().await;
    let refused = here.relay.forward(there.name(), request(vec![b'x'; 5 << 20])).await;
    assert_eq!(refused.unwrap_err(), NotReached::Busy(there.name()));
}

#[tokio::test(start_paused = true)]
async fn many_bytes_come_whole_in_large_frames_and_in_small_ones() {
    let world = World::new();
    for (frame, frames) in [(20 << 20, 1), (1000, 20_000), (PIECE_BYTES_MAX, 100), (PIECE_BYTES_MAX + 1, 100)] {
        let taken = Arc::new(AtomicUsize::new(0));
        let there = world.node(move |_| std::future::ready(long(frame, frames, &taken))).await;
        let here = world.asker().await;
        let response = here.relay.forward(there.name(), request("")).await.unwrap();
        let read = read(response).await.unwrap();
        assert_eq!(read.len(), frame * frames);
        assert!(read.iter().all(|byte| *byte == b'x'));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_no_more_than_the_window() {
    let world = World::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let there = world
        .node({
            let taken = Arc::clone(&taken);
            move |_| std::future::ready(long(PIECE_BYTES_MAX, 4000, &taken))
        })
        .await;
    let here = world.asker().await;
    let mut body = here.relay.forward(there.name(), request("")).await.unwrap().into_body();
    let mut pieces = 0;
    while let Some(frame) = body.frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap().len(), PIECE_BYTES_MAX);
        pieces += 1;
        if pieces % 1000 == 1 {
            // Longer than silence is borne: both sides stay in touch while nothing is read.
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let ahead = taken.load(Ordering::SeqCst) - pieces;
        // One more is in the hands of whoever waits to send it.
        assert!(ahead <= (WINDOW + WIDER) as usize + 1, "{ahead} pieces ahead");
    }
    assert_eq!(pieces, 4000);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_has_left_over_there_as_well() {
    let world = World::new();
    let (dropped, gone) = oneshot::channel();
    let dropped = std::sync::Mutex::new(Some(dropped));
    let there = world
        .node(move |_| {
            let taken = Arc::default();
            let dropped = dropped.lock().unwrap().take();
            let body = Long { frame: "x".into(), left: 1, taken, _dropped: dropped, ends: false };
            std::future::ready(Response::new(Body::stream(body)))
        })
        .await;
    let here = world.asker().await;
    let mut response = here.relay.forward(there.name(), request("")).await.unwrap();
    assert!(response.body_mut().frame().await.is_some());
    let left = Instant::now();
    drop(response);
    assert!(gone.await.is_err(), "the body was dropped");
    assert!(left.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_before_the_answer_begins_has_left_over_there_as_well() {
    let world = World::new();
    let (dropped, gone) = oneshot::channel::<()>();
    let dropped = std::sync::Mutex::new(Some(dropped));
    let there = world
        .node(move |_| {
            let dropped = dropped.lock().unwrap().take();
            async move {
                let _held = dropped;
                std::future::pending().await
            }
        })
        .await;
    let here = world.asker().await;
    let forward = here.relay.forward(there.name(), request(""));
    let patience = Duration::from_mins(1);
    assert!(tokio::time::timeout(patience, forward).await.is_err(), "a call may take long");
    assert!(gone.await.is_err(), "what was being done was dropped");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_there_is_known_after_a_second() {
    let world = World::new();
    let here = world.asker().await;
    let nobody = NodeName::from_bytes([7; 8]);
    let asked = Instant::now();
    let refused = here.relay.forward(nobody, request("")).await;
    assert_eq!(refused.unwrap_err(), NotReached::NoAnswer(nobody));
    assert_eq!(asked.elapsed().as_millis() / 10, 100);
    let refused = here.relay.forward(here.name(), request("")).await;
    assert_eq!(refused.unwrap_err(), NotReached::NoAnswer(here.name()), "nobody asks themselves");
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_are_bounded_and_a_place_is_free_again_when_one_ends() {
    let world = World::new();
    let there = world.node(|_| async { std::future::pending().await }).await;
    let here = world.asker().await;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..EXCHANGES_MAX {
        let (relay, there) = (Arc::clone(&here.relay), there.name());
        under_way.spawn(async move { relay.forward(there, request("")).await });
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let refused = here.relay.forward(there.name(), request("")).await;
    assert_eq!(refused.unwrap_err(), NotReached::Busy(there.name()));
    under_way.shutdown().await;
    let forward = here.relay.forward(there.name(), request(""));
    assert!(tokio::time::timeout(Duration::from_secs(2), forward).await.is_err(), "it waits for its answer");
    assert!(here.relay.shared.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_told_reaches_everybody_else() {
    let world = World::new();
    let mut one = world.asker().await;
    let mut two = world.asker().await;
    let mut three = world.asker().await;
    one.relay.tell_all("first".into());
    one.relay.tell_all("second".into());
    for node in [&mut two, &mut three] {
        for told in ["first", "second"] {
            assert_eq!(node.heard.recv().await.unwrap(), (one.relay.name(), Bytes::from(told)));
        }
    }
    two.relay.tell_all("third".into());
    assert_eq!(one.heard.recv().await.unwrap(), (two.name(), Bytes::from("third")), "nobody hears themselves");
    assert!(!one.relay.tell_all(vec![0; 1 << 20].into()), "too long for anybody");
    one.relay.tell_all("fourth".into());
    assert_eq!(three.heard.recv().await.unwrap().1, "third");
    assert_eq!(three.heard.recv().await.unwrap().1, "fourth", "what is too long is not told");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_ends_its_streams_and_waits_for_its_calls() {
    let world = World::new();
    let there = world
        .node(|request| async move {
            if !request.is_call() {
                return std::future::pending().await;
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
            text("done")
        })
        .await;
    let here = world.asker().await;
    let ask = |request| {
        let (relay, there) = (Arc::clone(&here.relay), there.name());
        tokio::spawn(async move { relay.forward(there, request).await })
    };
    let stream = ask(stream_request());
    let call = ask(request(""));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(here.relay.calls_under_way(), 1);
    assert_eq!(here.relay.drain(Duration::from_secs(10)).await, 1, "it takes longer");
    assert!(stream.await.unwrap().is_err());
    assert!(!call.is_finished());
    let drain = tokio::spawn({
        let relay = Arc::clone(&here.relay);
        async move { relay.drain(Duration::from_mins(1)).await }
    });
    assert_eq!(read(call.await.unwrap().unwrap()).await.unwrap(), "done");
    assert_eq!(drain.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_says_what_it_will_not_answer_and_takes_nothing_more() {
    let world = World::new();
    let there = world.node(|_| async { std::future::pending().await }).await;
    let here = world.asker().await;
    let (relay, name) = (Arc::clone(&here.relay), there.name());
    let call = tokio::spawn(async move { relay.forward(name, request("")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let closed = Instant::now();
    there.relay.close().await;
    there.kill();
    assert_eq!(call.await.unwrap().unwrap_err(), NotReached::Lost(name));
    assert!(closed.elapsed() < Duration::from_secs(2), "{:?}", closed.elapsed());

    let there = world.asker().await;
    there.relay.close().await;
    let refused = here.relay.forward(there.name(), request("")).await;
    assert_eq!(refused.unwrap_err(), NotReached::Busy(there.name()));
}
