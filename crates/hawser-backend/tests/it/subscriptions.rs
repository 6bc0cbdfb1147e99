//! What a modern server tells unasked: one stream at a time holds what a session wants, and nothing else gets through.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use hawser_backend::{BackendSession, Unsolicited};
use hawser_mcp::{Message, Outcome, Revision};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use crate::modern_server::{Listening, backend, error, listened, modern, open_modern};
use crate::scripted::{Scripted, event, hello, outcome, raw, status, streamed};

const LISTS: &str = r#"{"toolsListChanged":true,"resourcesListChanged":true}"#;

async fn adapted(server: &Scripted) -> (BackendSession, Unsolicited) {
    backend(server).open(&hello(Revision::LATEST)).await.unwrap()
}

async fn next(streams: &mut UnboundedReceiver<Listening>) -> Listening {
    timeout(Duration::from_secs(10), streams.recv()).await.expect("a stream is opened").unwrap()
}

async fn told(unsolicited: &mut Unsolicited) -> (String, Value) {
    match timeout(Duration::from_secs(10), unsolicited.next()).await.expect("something is told") {
        Some(Message::Notification(told)) => {
            (told.method, told.params.map_or(Value::Null, |params| params.read().unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

/// Subscribes while the server's side runs.
async fn subscribe(session: &BackendSession, method: &str, uri: &str) -> Outcome {
    let params = raw(&json!({"uri": uri}).to_string());
    outcome(&mut session.request(method, Some(params)).await.unwrap()).await
}

fn lists() -> Value {
    serde_json::from_str(LISTS).unwrap()
}

fn uris(filter: &Value) -> Vec<&str> {
    filter["resourceSubscriptions"]
        .as_array()
        .map(|uris| uris.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_changes_that_a_server_announces_are_asked_for_and_told_as_of_old() {
    let (server, mut streams) = listened().await;
    for session in [adapted(&server).await, open_modern(&server).await] {
        let (session, mut unsolicited) = session;
        assert!(!session.has_heard_since(Instant::now()));
        session.listen();
        session.listen();
        let stream = next(&mut streams).await;
        assert_eq!(stream.filter, lists(), "prompts do not change, the server says");
        stream.acknowledge(&lists());
        stream.tell("notifications/tools/list_changed", json!({}));
        assert_eq!(
            told(&mut unsolicited).await,
            ("notifications/tools/list_changed".to_owned(), json!({"_meta": {"x": 1}}))
        );
        assert!(session.has_heard_since(Instant::now()));
        drop(session);
        stream.closed().await;
        assert!(streams.try_recv().is_err(), "one stream is enough");
    }
}

#[tokio::test]
async fn what_was_not_asked_for_does_not_get_through() {
    let (server, mut streams) = listened().await;
    let (session, mut unsolicited) = open_modern(&server).await;
    session.listen();
    let stream = next(&mut streams).await;
    // It agrees to more than was asked for.
    stream.acknowledge(&json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": false,
        "resourceSubscriptions": ["x:y"],
    }));
    stream.tell("notifications/prompts/list_changed", json!({}));
    stream.tell("notifications/resources/list_changed", json!({}));
    stream.tell("notifications/resources/updated", json!({"uri": "x:y"}));
    stream.tell("notifications/message", json!({"data": 1}));
    stream.tell("notifications/progress", json!({"progress": 1, "progressToken": 1}));
    for wrong in [json!(999), json!("1"), Value::Null] {
        stream.send("notifications/tools/list_changed", json!({}), &wrong);
    }
    stream.tell("notifications/tools/list_changed", json!({"last": true}));
    let (method, params) = told(&mut unsolicited).await;
    assert_eq!((method.as_str(), &params["last"]), ("notifications/tools/list_changed", &json!(true)));
    assert!(!session.has_heard_since(Instant::now()), "it does not tell of all its lists");
}

#[tokio::test]
async fn another_resource_opens_another_stream_and_the_old_one_is_closed_when_the_new_one_is_acknowledged() {
    let (server, mut streams) = listened().await;
    let (session, mut unsolicited) = adapted(&server).await;
    session.listen();
    let first = next(&mut streams).await;
    first.acknowledge(&lists());

    let serving = async {
        let second = next(&mut streams).await;
        assert_eq!(uris(&second.filter), ["x:a"]);
        assert_eq!(second.filter["toolsListChanged"], true);
        first.tell("notifications/tools/list_changed", json!({"from": "first"}));
        second.acknowledge(&second.filter.clone());
        first.closed().await;
        second
    };
    let (answer, second) = tokio::join!(subscribe(&session, "resources/subscribe", "x:a"), serving);
    assert!(matches!(&answer, Outcome::Result(result) if result.as_str() == "{}"), "{answer:?}");
    assert_eq!(told(&mut unsolicited).await.1["from"], "first", "nothing that was told is lost");
    second.tell("notifications/resources/updated", json!({"uri": "x:other"}));
    second.tell("notifications/resources/updated", json!({"uri": "x:a"}));
    assert_eq!(told(&mut unsolicited).await.1["uri"], "x:a");

    let serving = async {
        let third = next(&mut streams).await;
        assert_eq!(uris(&third.filter), ["x:a", "x:b"]);
        third.acknowledge(&third.filter.clone());
        third
    };
    let (answer, third) = tokio::join!(subscribe(&session, "resources/subscribe", "x:b"), serving);
    assert!(matches!(answer, Outcome::Result(_)));
    second.closed().await;
    assert!(matches!(subscribe(&session, "resources/unsubscribe", "x:a").await, Outcome::Result(_)));
    let fourth = next(&mut streams).await;
    assert_eq!(uris(&fourth.filter), ["x:b"]);
    fourth.acknowledge(&fourth.filter.clone());
    third.closed().await;
}

#[tokio::test]
async fn a_subscription_is_confirmed_only_if_the_server_agreed_to_it() {
    let (server, mut streams) = listened().await;
    let (session, _unsolicited) = adapted(&server).await;
    let serving = async {
        let stream = next(&mut streams).await;
        stream.acknowledge(&json!({"resourceSubscriptions": ["x:other"]}));
        stream.closed().await;
    };
    let (answer, ()) = tokio::join!(subscribe(&session, "resources/subscribe", "x:a"), serving);
    assert!(matches!(answer, Outcome::Error(_)), "{answer:?}");
    for wrong in ["{}", r#"{"uri":7}"#] {
        let answer = outcome(&mut session.request("resources/subscribe", Some(raw(wrong))).await.unwrap()).await;
        assert!(matches!(answer, Outcome::Error(_)), "{wrong}");
    }
    assert!(streams.try_recv().is_err(), "nothing is wanted any more");
}

#[tokio::test]
async fn a_subscription_that_nobody_waits_for_any_more_is_wanted_no_more() {
    let (server, mut streams) = listened().await;
    let (session, _unsolicited) = adapted(&server).await;
    session.listen();
    let first = next(&mut streams).await;
    first.acknowledge(&lists());
    let subscribing = |uri: &str| session.request("resources/subscribe", Some(raw(&json!({"uri": uri}).to_string())));
    let serving = async |streams: &mut UnboundedReceiver<Listening>, expected: &[&str]| {
        let stream = next(streams).await;
        assert_eq!(uris(&stream.filter), expected);
        stream
    };
    // Given up before the server has said anything.
    let mut exchange = subscribing("x:slow").await.unwrap();
    let slow = tokio::select! {
        slow = serving(&mut streams, &["x:slow"]) => slow,
        item = exchange.next() => panic!("{item:?}"),
    };
    drop(exchange);
    slow.acknowledge(&slow.filter.clone());
    let without = serving(&mut streams, &[]).await;
    without.acknowledge(&without.filter.clone());
    slow.closed().await;

    // One of two who wished for the same is enough to keep it, and what was confirmed stays.
    let (mut one, mut other) = (subscribing("x:a").await.unwrap(), subscribing("x:a").await.unwrap());
    let both = async { tokio::join!(one.next(), other.next()) };
    let held = tokio::select! {
        held = serving(&mut streams, &["x:a"]) => held,
        items = both => panic!("{items:?}"),
    };
    drop(one);
    held.acknowledge(&held.filter.clone());
    assert!(matches!(outcome(&mut other).await, Outcome::Result(_)));
    let mut again = subscribing("x:a").await.unwrap();
    assert!(again.next().now_or_never().is_none());
    drop(again);
    assert!(matches!(subscribe(&session, "resources/subscribe", "x:a").await, Outcome::Result(_)));
    assert!(timeout(Duration::from_millis(200), streams.recv()).await.is_err(), "nothing else is wanted");
}

#[tokio::test]
async fn a_stream_that_broke_before_another_took_its_place_may_have_missed_something() {
    let (server, mut streams) = listened().await;
    let (session, mut unsolicited) = adapted(&server).await;
    session.listen();
    let first = next(&mut streams).await;
    first.acknowledge(&lists());
    first.tell("notifications/tools/list_changed", json!({"from": "first"}));
    assert_eq!(told(&mut unsolicited).await.1["from"], "first");
    let began = Instant::now();
    let serving = async {
        let second = next(&mut streams).await;
        first.finish();
        // What changes here is told to nobody.
        tokio::time::sleep(Duration::from_millis(100)).await;
        second.acknowledge(&second.filter.clone());
        second
    };
    let (answer, _second) = tokio::join!(subscribe(&session, "resources/subscribe", "x:a"), serving);
    assert!(matches!(answer, Outcome::Result(_)));
    assert!(!session.has_heard_since(began));
    assert_eq!(told(&mut unsolicited).await.0, "notifications/tools/list_changed", "it may have changed");
}

#[tokio::test]
async fn a_server_that_cannot_be_listened_to_is_asked_once() {
    let server =
        modern(|call| (call.rpc() == "subscriptions/listen").then(|| error(call, 404, -32601, "no such method"))).await;
    let (session, mut unsolicited) = adapted(&server).await;
    session.listen();
    server.wait_for(|call| call.rpc() == "subscriptions/listen").await;
    assert!(timeout(Duration::from_millis(1_500), unsolicited.next()).await.is_err() && session.is_open());
    assert_eq!(server.calls().iter().filter(|call| call.rpc() == "subscriptions/listen").count(), 1);
    assert!(matches!(subscribe(&session, "resources/subscribe", "x:a").await, Outcome::Error(_)));
}

#[tokio::test]
async fn a_refusal_to_listen_says_nothing_of_all_else() {
    for code in [400, 404, 405] {
        let server = modern(move |call| (call.rpc() == "subscriptions/listen").then(|| status(code))).await;
        let (session, _unsolicited) = adapted(&server).await;
        assert!(matches!(subscribe(&session, "resources/subscribe", "x:a").await, Outcome::Error(_)));
        assert!(session.is_open(), "{code}");
        assert!(matches!(subscribe(&session, "resources/subscribe", "x:a").await, Outcome::Error(_)));
    }
}

#[tokio::test]
async fn a_resource_that_is_refused_does_not_cost_the_stream_that_is_there() {
    let (opened, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let server = modern(move |call| {
        if call.rpc() != "subscriptions/listen" {
            return None;
        }
        let filter = call.body["params"]["notifications"].clone();
        if filter.get("resourceSubscriptions").is_some() {
            return Some(error(call, 400, -32602, "no such resource"));
        }
        let meta = json!({"io.modelcontextprotocol/subscriptionId": call.body["id"]});
        let tell = |method: &str, params: Value| event(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        let first = tell("notifications/subscriptions/acknowledged", json!({"notifications": filter, "_meta": meta}));
        let body = futures_util::stream::iter([Ok(first)]).chain(futures_util::stream::pending());
        let alive = Alive(opened.clone());
        let body = body.map(move |chunk| {
            let _alive = &alive;
            chunk
        });
        Some(streamed("text/event-stream", body))
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    session.listen();
    server.wait_for(|call| call.rpc() == "subscriptions/listen").await;
    assert!(matches!(subscribe(&session, "resources/subscribe", "x:a").await, Outcome::Error(_)));
    assert!(session.has_heard_since(Instant::now()));
    assert!(acknowledged.try_recv().is_err(), "the first stream is still open");
}

/// Tells when it is dropped.
struct Alive(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_after_a_pause_and_what_may_have_been_missed_is_told() {
    let (server, mut streams) = listened().await;
    let (session, mut unsolicited) = adapted(&server).await;
    session.listen();
    for orderly in [true, false] {
        let stream = next(&mut streams).await;
        stream.acknowledge(&lists());
        if !orderly {
            for expected in ["notifications/tools/list_changed", "notifications/resources/list_changed"] {
                assert_eq!(told(&mut unsolicited).await.0, expected);
            }
        }
        let ended = Instant::now();
        if orderly {
            stream.finish();
        } else {
            drop(stream);
        }
        let again = next(&mut streams).await;
        assert!(ended.elapsed() >= Duration::from_millis(900), "not at once");
        assert!(!session.has_heard_since(Instant::now()));
        assert_eq!(again.filter, lists());
        if orderly {
            // Not acknowledged: it is not a stream yet, and is given up.
            again.tell("notifications/tools/list_changed", json!({}));
            again.closed().await;
        }
    }
}

#[tokio::test]
async fn closing_the_session_closes_its_stream_and_opens_no_other() {
    let (server, mut streams) = listened().await;
    let (session, mut unsolicited) = adapted(&server).await;
    session.listen();
    let stream = next(&mut streams).await;
    stream.acknowledge(&lists());
    session.close().await;
    stream.closed().await;
    assert_eq!(timeout(Duration::from_secs(5), unsolicited.next()).await.unwrap(), None);
    assert!(timeout(Duration::from_millis(1_500), streams.recv()).await.is_err());
}
