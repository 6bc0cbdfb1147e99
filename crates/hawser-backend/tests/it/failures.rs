//! What an exchange says when there is no answer: timeouts, broken connections, cancellation.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hawser_backend::{Backend, BackendConfig, BackendError, BackendName, ChildLimit, ExchangeItem, Transport};
use hawser_mcp::{Message, Response, Revision};
use http::{HeaderMap, Method};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::scripted::{Scripted, broken_off, event, failure, hello, open, raw, result, sse_open, streamed};

#[tokio::test]
async fn silence_times_out_and_the_server_is_told() {
    let server = Scripted::start(|call| (call.rpc() == "tools/call").then(|| sse_open(String::new()))).await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(500);
    let (session, _unsolicited) = open(config).await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::TimedOut { after, .. } if after == Duration::from_millis(500)), "{error:?}");
    assert!(!error.was_not_processed());
    let told = server.wait_for(|call| call.rpc() == "notifications/cancelled").await;
    let asked = server.wait_for(|call| call.rpc() == "tools/call").await;
    assert_eq!(told.body["params"]["requestId"], asked.body["id"]);
}

#[tokio::test]
async fn messages_keep_an_exchange_alive_but_not_beyond_the_hard_limit() {
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call").then(|| {
            let note = event(&json!({"jsonrpc": "2.0", "method": "notifications/message"}));
            let chunks = stream::unfold((), move |()| {
                let note = note.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Some((Ok(note), ()))
                }
            });
            streamed("text/event-stream", chunks)
        })
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(400);
    config.request_timeout_max = Duration::from_millis(900);
    let (session, _unsolicited) = open(config).await;
    let started = Instant::now();
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::TimedOut { after, .. } if after == Duration::from_millis(900)), "{error:?}");
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn a_server_that_waits_for_the_users_answer_is_not_silent() {
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call")
            .then(|| sse_open(event(&json!({"jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": {}}))))
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(400);
    let (session, _unsolicited) = open(config).await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    let ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    let waiting = tokio::time::timeout(Duration::from_millis(1_200), exchange.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    session.respond(&Response::result(question.id, raw("{}"))).await.unwrap();
    assert!(
        matches!(failure(&mut exchange).await, BackendError::TimedOut { .. }),
        "once answered, silence counts again"
    );
}

#[tokio::test]
async fn a_question_on_the_listening_stream_lets_a_running_call_wait_too() {
    let (ask, asked) = oneshot::channel::<()>();
    let asked = std::sync::Mutex::new(Some(asked));
    let server = Scripted::start(move |call| match (&call.method, call.rpc()) {
        (&Method::GET, _) => {
            let question = event(&json!({"jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": {}}));
            let asked = asked.lock().unwrap().take()?;
            let chunks = stream::once(async move {
                asked.await.unwrap();
                Ok(question)
            });
            Some(streamed("text/event-stream", chunks.chain(stream::pending())))
        }
        (_, "tools/call") => Some(sse_open(String::new())),
        _ => None,
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(400);
    let (session, mut unsolicited) = open(config).await;
    session.listen();
    let mut exchange = session.request("tools/call", None).await.unwrap();
    ask.send(()).unwrap();
    let Some(Message::Request(question)) = unsolicited.next().await else { panic!("no question") };
    let waiting = tokio::time::timeout(Duration::from_millis(1_200), exchange.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    session.respond(&Response::result(question.id, raw("{}"))).await.unwrap();
    assert!(matches!(failure(&mut exchange).await, BackendError::TimedOut { .. }));
}

#[tokio::test]
async fn a_broken_connection_is_lost_never_an_empty_success_and_never_repeatable() {
    for (what, content_type, text) in [
        ("json", "application/json", r#"{"jsonrpc":"2.0","id":"#),
        ("stream", "text/event-stream", "data: {}"),
        ("empty stream", "text/event-stream", ""),
    ] {
        let server =
            Scripted::start(move |call| (call.rpc() == "tools/call").then(|| broken_off(content_type, text))).await;
        let (session, _unsolicited) = server.open().await;
        let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Lost { .. }), "{what}: {error:?}");
        assert!(!error.was_not_processed());
        assert!(session.is_open(), "one broken answer is not the end of the session");
    }
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call").then(|| streamed("text/event-stream", stream::iter([Ok(": bye\n\n".to_owned())])))
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }), "an orderly end without an answer: {error:?}");
}

#[tokio::test]
async fn a_connection_that_closes_before_the_answers_head_is_lost() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 16];
        connection.read_exact(&mut request).await.unwrap();
    });
    let transport = Transport::Http { url, headers: HeaderMap::new() };
    let config = BackendConfig::new(BackendName::new("closing").unwrap(), transport);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(error, BackendError::Lost { .. }), "{error:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable_and_soon_left_alone() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/?key=url-secret", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let config =
        BackendConfig::new(BackendName::new("absent").unwrap(), Transport::Http { url, headers: HeaderMap::new() });
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    for _ in 0..3 {
        let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
        assert!(matches!(error, BackendError::Unreachable { .. }) && error.was_not_processed(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("`absent`") && text.contains("refused") && !text.contains("secret"), "{text}");
    }
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    let BackendError::Resting { retry_in, last, .. } = error else { panic!("{error:?}") };
    assert!(retry_in <= Duration::from_secs(1) && last.contains("refused"), "{retry_in:?} {last}");
}

#[tokio::test]
async fn a_peer_that_accepts_but_never_speaks_tls_is_unreachable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut config =
        BackendConfig::new(BackendName::new("mute").unwrap(), Transport::Http { url, headers: HeaderMap::new() });
    config.connect_timeout = Duration::from_millis(100);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(&error, BackendError::Unreachable { reason, .. } if reason.contains("0.1 s")), "{error:?}");
}

#[tokio::test]
async fn a_dropped_exchange_drops_its_stream() {
    struct Tell(Option<oneshot::Sender<()>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.take().map(|tell| tell.send(()));
        }
    }
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(Tell(Some(tell))));
    let server = Scripted::start(move |call| {
        (call.rpc() == "tools/call").then(|| {
            let tell = tell.lock().unwrap().take();
            let note = event(&json!({"jsonrpc": "2.0", "method": "notifications/message"}));
            let chunks = stream::unfold((tell, note), |(tell, note)| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok(note.clone()), (tell, note)))
            });
            streamed("text/event-stream", chunks)
        })
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    assert!(matches!(exchange.next().await, ExchangeItem::Notification(_)));
    drop(exchange);
    tokio::time::timeout(Duration::from_secs(5), told).await.expect("the stream is closed").unwrap();
    assert!(server.calls().iter().all(|call| call.rpc() != "notifications/cancelled"), "dropping is not cancelling");
}

#[tokio::test]
async fn cancelling_tells_the_server_which_request_and_why() {
    let server = Scripted::start(|call| (call.rpc() == "tools/call").then(|| sse_open(String::new()))).await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    let started = tokio::time::timeout(Duration::from_millis(200), exchange.next()).await;
    assert!(started.is_err());
    exchange.cancel(Some("the user said so")).await;
    let asked = server.wait_for(|call| call.rpc() == "tools/call").await;
    let told = server.wait_for(|call| call.rpc() == "notifications/cancelled").await;
    assert_eq!(told.body["params"], json!({"requestId": asked.body["id"], "reason": "the user said so"}));
}

#[tokio::test]
async fn next_may_be_dropped_at_any_time_without_losing_an_item() {
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call").then(|| {
            let parts: Vec<String> = (0..20)
                .map(|n| {
                    event(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": n}}))
                })
                .chain([event(&result(call))])
                .flat_map(|event| {
                    let (one, two) = event.split_at(event.len() / 2);
                    [one.to_owned(), two.to_owned()]
                })
                .collect();
            let chunks = stream::unfold(parts.into_iter(), |mut parts| async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                parts.next().map(|part| (Ok(part), parts))
            });
            streamed("text/event-stream", chunks)
        })
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    let mut items = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(1), exchange.next()).await {
            Err(_) => {}
            Ok(ExchangeItem::Notification(_)) => items += 1,
            Ok(ExchangeItem::Response(_)) => break,
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(items, 20);
}
