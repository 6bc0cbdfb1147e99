//! Streams that are taken up again, and the one that is listened to outside of exchanges.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hawser_backend::{BackendError, ExchangeItem};
use hawser_mcp::{Message, Notification};
use http::Method;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::scripted::{Scripted, all, answer, event, failure, result, sse_open, status};

fn note(n: u32) -> String {
    event(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": n}}))
}

/// A server that closes the stream after an event id and delivers on a GET.
async fn polling(second: impl Fn(&str) -> axum::response::Response + Send + Sync + 'static) -> Scripted {
    let asked = std::sync::Mutex::new(json!(null));
    Scripted::start(move |call| match (&call.method, call.rpc()) {
        (&Method::POST, "tools/call") => {
            *asked.lock().unwrap() = result(call);
            Some(answer(200, "text/event-stream", format!("id: e-1\nretry: 120\ndata: \n\nid: e-2\n{}", note(1))))
        }
        (&Method::GET, _) => Some(second(&event(&asked.lock().unwrap()))),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_stream_that_closes_after_an_event_id_is_polled_after_the_time_it_named() {
    let gets = AtomicU32::new(0);
    let server = polling(move |response| match gets.fetch_add(1, Ordering::Relaxed) {
        0 => answer(200, "text/event-stream", "id: e-3\ndata:\n\n"),
        1 => answer(503, "text/plain", "busy"),
        _ => answer(200, "text/event-stream", format!("{}id: e-4\n{response}", note(2))),
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let started = Instant::now();
    let items = all(&mut session.request("tools/call", None).await.unwrap()).await;
    let [ExchangeItem::Notification(_), ExchangeItem::Notification(_), ExchangeItem::Response(_)] = items.as_slice()
    else {
        panic!("{items:?}")
    };
    assert!(started.elapsed() >= Duration::from_millis(360), "retry is honoured each time");
    let calls = server.calls();
    let ids: Vec<_> =
        calls.iter().filter(|call| call.method == "GET").map(|call| call.header("last-event-id")).collect();
    assert_eq!(ids, [Some("e-2"), Some("e-3"), Some("e-3")]);
    assert!(
        calls.iter().filter(|call| call.method == "GET").all(|call| call.header("accept") == Some("text/event-stream"))
    );
}

#[tokio::test]
async fn a_stream_that_cannot_be_taken_up_is_lost_not_repeatable() {
    for code in [400, 404, 405] {
        let server = polling(move |_| status(code)).await;
        let (session, _unsolicited) = server.open().await;
        let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{code}: {error:?}");
        assert_eq!(session.is_open(), code != 404, "a 404 tells about the session, too");
    }
}

#[tokio::test]
async fn taking_up_a_stream_ends_after_some_attempts_without_any_event() {
    let server = polling(|_| answer(200, "text/event-stream", "")).await;
    let (session, _unsolicited) = server.open().await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }), "{error:?}");
    assert_eq!(server.calls().iter().filter(|call| call.method == "GET").count(), 5);
}

#[tokio::test]
async fn the_listening_stream_brings_what_belongs_to_no_exchange_and_is_taken_up_where_it_ended() {
    let gets = AtomicU32::new(0);
    let server = Scripted::start(move |call| {
        (call.method == Method::GET).then(|| match gets.fetch_add(1, Ordering::Relaxed) {
            0 => answer(200, "text/event-stream", format!("retry: 60\nid: a\n{}data: garbage\n\n", note(1))),
            1 => {
                let ping = event(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
                let stray = event(&json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
                let ask = event(&json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"}));
                sse_open(format!("{ping}{stray}event: other\n{}{ask}", note(7)))
            }
            _ => status(500),
        })
    })
    .await;
    let opened = Instant::now();
    let (session, mut unsolicited) = server.open().await;
    session.listen();
    session.listen();
    let first = unsolicited.next().await.unwrap();
    assert!(matches!(first, Message::Notification(Notification { method, .. }) if method == "notifications/message"));
    let second = unsolicited.next().await.unwrap();
    assert!(matches!(second, Message::Request(request) if request.method == "roots/list"));
    assert!(session.has_heard_since(Instant::now()), "the stream is open");
    assert!(!session.has_heard_since(opened), "there was a break since");
    server.wait_for(|call| call.body == json!({"jsonrpc": "2.0", "id": "p", "result": {}})).await;
    let calls = server.calls();
    let gets: Vec<_> = calls.iter().filter(|call| call.method == "GET").collect();
    assert_eq!(gets.iter().map(|call| call.header("last-event-id")).collect::<Vec<_>>(), [None, Some("a")]);
    assert!(gets.iter().all(|call| call.header("mcp-session-id") == Some("s-1")));
    session.close().await;
    assert_eq!(timeout(Duration::from_secs(5), unsolicited.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_without_a_listening_stream_is_asked_once() {
    let server = Scripted::start(|_| None).await;
    let (session, mut unsolicited) = server.open().await;
    session.listen();
    server.wait_for(|call| call.method == "GET").await;
    let more = timeout(Duration::from_millis(300), unsolicited.next()).await;
    assert!(more.is_err() && session.is_open(), "405 is no failure");
    assert!(!session.has_heard_since(Instant::now()), "who cannot listen hears nothing");
    assert_eq!(server.calls().iter().filter(|call| call.method == "GET").count(), 1);
}

#[tokio::test]
async fn a_listening_stream_that_is_404_tells_that_the_session_is_gone() {
    let server = Scripted::start(|call| (call.method == Method::GET).then(|| status(404))).await;
    let (session, mut unsolicited) = server.open().await;
    session.listen();
    assert_eq!(timeout(Duration::from_secs(5), unsolicited.next()).await.unwrap(), None);
    assert!(matches!(session.request("x", None).await, Err(BackendError::SessionGone { .. })));
}
