//! Sessions over HTTP+SSE, the transport of the first revision.

use std::time::Duration;

use hawser_backend::{Backend, BackendConfig, BackendError, BackendName, ChildLimit, ExchangeItem, Transport};
use hawser_mcp::{Message, Outcome, Response, Revision};
use http::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::scripted::{Scripted, all, event, failure, hello, open, outcome, raw, result, sse_open, status};
use crate::sse_server::{Reply, SseServer, credential, initialized};

async fn fails_to_open(config: BackendConfig) -> BackendError {
    Backend::new(config, ChildLimit::new(1)).unwrap().open(&hello(Revision::LATEST)).await.unwrap_err()
}

#[tokio::test]
async fn messages_go_where_the_stream_says_and_answers_come_on_it() {
    let server = SseServer::ordinary(|_| None).await;
    let (session, _unsolicited) = open(server.config()).await;
    assert_eq!(session.server().revision, Revision::V2025_03_26, "the first revision counts as the oldest spoken");
    let answer = outcome(&mut session.request("tools/list", Some(raw(r#"{"n": 1.0}"#))).await.unwrap()).await;
    assert_eq!(answer, Outcome::Result(raw(r#"{"of":"tools/list"}"#)));
    let calls = server.http.calls();
    assert_eq!(calls.iter().filter(|call| call.method == Method::GET).count(), 1);
    let posts: Vec<_> = calls.iter().filter(|call| call.method == Method::POST).collect();
    assert_eq!(
        posts.iter().map(|call| call.rpc()).collect::<Vec<_>>(),
        ["initialize", "notifications/initialized", "tools/list"]
    );
    for call in &calls {
        assert_eq!(credential(&call.headers), Some("Bearer header-secret"));
        assert_eq!(call.header("mcp-protocol-version"), None, "the first revisions have no such header");
        assert_eq!(call.header("mcp-session-id"), None);
    }
    assert!(posts.iter().all(|call| call.query.as_deref() == Some("session=s-1")));
    session.close().await;
    server.hung_up().await;
    assert!(server.http.calls().iter().all(|call| call.method != Method::DELETE));
}

#[tokio::test]
async fn a_newer_revision_is_named_in_its_header_on_this_transport_too() {
    let server = SseServer::ordinary(|call| {
        (call.rpc() == "initialize").then(|| Reply::Say(event(&initialized(&call.body["id"], "2025-06-18"))))
    })
    .await;
    let (session, _unsolicited) = open(server.config()).await;
    assert_eq!(session.server().revision, Revision::V2025_06_18);
    let told = server.http.wait_for(|call| call.rpc() == "notifications/initialized").await;
    assert_eq!(told.header("mcp-protocol-version"), Some("2025-06-18"));
}

#[tokio::test]
async fn an_address_at_another_origin_is_refused_and_gets_nothing() {
    let thief = Scripted::start(|_| None).await;
    let begin = format!("event: endpoint\ndata: {}\n\n", thief.url);
    let server = SseServer::start(begin.leak(), |_| None).await;
    let mut detecting = server.config();
    if let Transport::Sse { url, headers } = detecting.transport {
        detecting.transport = Transport::Http { url, headers };
    }
    for config in [server.config(), detecting] {
        let error = fails_to_open(config).await;
        assert!(
            matches!(&error, BackendError::Protocol { reason, .. } if reason.contains("another origin")),
            "{error}"
        );
        assert!(!error.to_string().contains("url-secret"), "{error}");
    }
    assert!(thief.calls().is_empty() && thief.connections() == 0, "not even a connection");
}

#[tokio::test]
async fn what_does_not_begin_with_an_endpoint_is_no_such_server() {
    for begin in ["event: message\ndata: {}\n\n", "data: /messages\n\n", "event: endpoint\ndata: \n\n"] {
        let server = SseServer::start(begin, |_| None).await;
        let error = fails_to_open(server.config()).await;
        assert!(matches!(&error, BackendError::Protocol { reason, .. } if reason.contains("endpoint")), "{error}");
    }
    let server = SseServer::start(": only a comment\n\nretry: 5\n\n", |_| None).await;
    let mut config = server.config();
    config.connect_timeout = Duration::from_millis(300);
    assert!(matches!(fails_to_open(config).await, BackendError::TimedOut { .. }));
    let page =
        Scripted::start(|call| (call.method == Method::GET).then(|| crate::scripted::answer(200, "text/html", "hi")))
            .await;
    let Transport::Http { url, headers } = page.config().transport else { panic!("not HTTP") };
    let config = BackendConfig::new(BackendName::new("page").unwrap(), Transport::Sse { url, headers });
    assert!(matches!(fails_to_open(config).await, BackendError::Protocol { .. }));
}

#[tokio::test]
async fn the_streams_end_is_the_sessions_end() {
    let server = SseServer::ordinary(|call| (call.rpc() == "tools/call").then_some(Reply::End)).await;
    let (session, mut unsolicited) = open(server.config()).await;
    server.tell(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{error:?}");
    assert!(!session.is_open());
    let error = session.request("tools/list", None).await.unwrap_err();
    assert!(matches!(error, BackendError::Gone { .. }) && error.was_not_processed(), "{error:?}");
    assert!(unsolicited.next().await.is_some(), "what was said before the end is still told");
    assert_eq!(unsolicited.next().await, None);
    session.close().await;
}

#[tokio::test]
async fn a_session_that_nobody_holds_lets_go_of_its_stream() {
    let server = SseServer::ordinary(|_| None).await;
    let (session, unsolicited) = open(server.config()).await;
    drop((session, unsolicited));
    server.hung_up().await;
}

#[tokio::test]
async fn what_comes_on_the_stream_finds_whose_it_is() {
    let server = SseServer::ordinary(|call| call.rpc().starts_with("wait/").then(|| Reply::Say(String::new()))).await;
    let (session, mut unsolicited) = open(server.config()).await;
    let meta = |token: u64| Some(raw(&format!(r#"{{"_meta":{{"progressToken":{token}}}}}"#)));
    let mut first = session.request("wait/1", meta(1)).await.unwrap();
    let mut second = session.request("wait/2", meta(2)).await.unwrap();
    // Nothing is sent before somebody waits.
    for exchange in [&mut first, &mut second] {
        assert!(timeout(Duration::from_millis(50), exchange.next()).await.is_err());
    }
    let asked = [
        server.http.wait_for(|call| call.rpc() == "wait/1").await,
        server.http.wait_for(|call| call.rpc() == "wait/2").await,
    ];
    server.tell(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 2}}));
    server.tell(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}));
    server.tell(&result(&asked[1]));
    server.tell(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"for": 1}}));
    server.tell(&result(&asked[0]));
    let items = all(&mut second).await;
    assert!(matches!(items.as_slice(), [ExchangeItem::Notification(_), ExchangeItem::Response(_)]), "{items:?}");
    let items = all(&mut first).await;
    assert!(matches!(items.as_slice(), [ExchangeItem::Notification(_), ExchangeItem::Response(_)]), "{items:?}");
    let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
    assert_eq!(told.params.unwrap().as_str(), "{}", "with two in flight nothing says whose it is");
}

#[tokio::test]
async fn the_server_asks_and_is_answered_and_its_pings_too() {
    let server = SseServer::ordinary(|call| match (call.rpc(), &call.body["id"]) {
        ("tools/call", _) => {
            Some(Reply::Say(event(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}))))
        }
        ("", id) if id == "q" => Some(Reply::Say(event(&json!({"jsonrpc": "2.0", "id": 2, "result": {"done": true}})))),
        _ => None,
    })
    .await;
    let (session, _unsolicited) = open(server.config()).await;
    server.tell(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
    server.http.wait_for(|call| call.body == json!({"jsonrpc": "2.0", "id": "p", "result": {}})).await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    let ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    session.respond(&Response::result(question.id, raw(r#"{"action":"accept"}"#))).await.unwrap();
    assert_eq!(outcome(&mut exchange).await, Outcome::Result(raw(r#"{"done":true}"#)));
    let answered = server.http.wait_for(|call| call.body["id"] == "q").await;
    assert_eq!(answered.body["result"], json!({"action": "accept"}));
}

#[tokio::test]
async fn an_answer_may_come_before_the_post_is_done() {
    let server =
        SseServer::ordinary(|call| (call.rpc() == "tools/call").then(|| Reply::OnlySay(event(&result(call))))).await;
    let (session, _unsolicited) = open(server.config()).await;
    let answer = outcome(&mut session.request("tools/call", None).await.unwrap()).await;
    assert_eq!(answer, Outcome::Result(raw(r#"{"of":"tools/call"}"#)));
}

#[tokio::test]
async fn cancelling_and_timeouts_tell_the_server_which_request() {
    let server = SseServer::ordinary(|call| (call.rpc() == "tools/call").then(|| Reply::Say(String::new()))).await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(300);
    let (session, _unsolicited) = open(config).await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::TimedOut { .. }), "{error:?}");
    let told = server.http.wait_for(|call| call.rpc() == "notifications/cancelled").await;
    assert_eq!(told.body["params"], json!({"requestId": 2, "reason": "timeout"}));
    let mut exchange = session.request("tools/call", None).await.unwrap();
    assert!(timeout(Duration::from_millis(50), exchange.next()).await.is_err());
    exchange.cancel(Some("enough")).await;
    let told = server.http.wait_for(|call| call.body["params"]["reason"] == "enough").await;
    assert_eq!(told.body["params"]["requestId"], 3);
    assert!(session.is_open());
}

#[tokio::test]
async fn an_event_over_the_limit_ends_the_session_with_that_reason() {
    let server = SseServer::ordinary(|call| {
        (call.rpc() == "tools/call").then(|| {
            let note = event(&json!({"jsonrpc": "2.0", "method": "notifications/message"}));
            Reply::Say(format!("{note}data: {}\n\n", "x".repeat(5_000)))
        })
    })
    .await;
    let mut config = server.config();
    config.message_bytes_max = 4_000;
    let (session, _unsolicited) = open(config).await;
    let items = all(&mut session.request("tools/call", None).await.unwrap()).await;
    let [ExchangeItem::Notification(_), ExchangeItem::Failed(error)] = items.as_slice() else { panic!("{items:?}") };
    assert!(matches!(error, BackendError::TooLarge { bytes_max: 4_000, .. }), "{error:?}");
    assert!(!session.is_open());
    server.hung_up().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_call_and_no_other() {
    let server = SseServer::ordinary(|call| {
        (call.rpc() == "tools/call").then(|| {
            let id = &call.body["id"];
            Reply::Say(format!(
                "data: garbage\n\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":1,\"result\":2}}\n\n"
            ))
        })
    })
    .await;
    let (session, _unsolicited) = open(server.config()).await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Protocol { .. }), "{error:?}");
    outcome(&mut session.request("tools/list", None).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_only_babbles_is_no_server() {
    let server = SseServer::ordinary(|_| Some(Reply::Say("data: babble\n\n".repeat(200)))).await;
    let error = fails_to_open(server.config()).await;
    assert!(matches!(&error, BackendError::Protocol { reason, .. } if reason.contains("no messages")), "{error:?}");
}

#[tokio::test]
async fn a_refused_post_fails_its_call_and_404_ends_the_session() {
    let server = SseServer::ordinary(|call| match call.rpc() {
        "tools/call" => Some(Reply::Refuse(500)),
        "tools/list" => Some(Reply::Refuse(404)),
        _ => None,
    })
    .await;
    let (session, mut unsolicited) = open(server.config()).await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Refused { status: 500, .. }), "{error:?}");
    assert!(session.is_open());
    let error = failure(&mut session.request("tools/list", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::SessionGone { .. }) && error.was_not_processed(), "{error:?}");
    assert_eq!(unsolicited.next().await, None);
    server.hung_up().await;
}

#[tokio::test]
async fn a_url_of_the_first_revision_is_recognised_and_remembered() {
    let server = SseServer::ordinary(|_| None).await;
    let Transport::Sse { url, headers } = server.config().transport else { panic!("not SSE") };
    let config = BackendConfig::new(BackendName::new("old").unwrap(), Transport::Http { url, headers });
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    for attempt in 1..=2 {
        let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
        outcome(&mut session.request("tools/list", None).await.unwrap()).await;
        session.close().await;
        let refused =
            server.http.calls().iter().filter(|call| call.method == Method::POST && call.path == "/mcp").count();
        assert_eq!(refused, 2, "attempt {attempt}: streamable HTTP is tried once, in each era");
    }
}

#[tokio::test]
async fn a_server_that_learns_streamable_http_is_recognised_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let modernised = Arc::new(AtomicBool::new(false));
    let is_modern = Arc::clone(&modernised);
    let server = Scripted::start(move |call| {
        let modern = is_modern.load(Ordering::Relaxed);
        match (&call.method, call.path.as_str()) {
            (&Method::POST, "/mcp") if !modern => Some(status(405)),
            (&Method::GET, "/mcp") if !modern => Some(sse_open(format!(
                "event: endpoint\ndata: /messages\n\n{}",
                event(&initialized(&json!(1), "2024-11-05"))
            ))),
            _ if !modern => Some(status(202)),
            _ => None,
        }
    })
    .await;
    let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    assert_eq!(session.server().revision, Revision::V2025_03_26);
    session.close().await;
    modernised.store(true, Ordering::Relaxed);
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    assert_eq!(session.server().revision, Revision::LATEST);
}

#[tokio::test]
async fn a_wrong_path_is_still_told_as_what_it_is() {
    for code in [400, 404, 405] {
        let server = Scripted::start(move |_| Some(status(code))).await;
        let error = fails_to_open(server.config()).await;
        assert!(matches!(error, BackendError::Refused { status, .. } if status == code), "{error:?}");
    }
    let server = Scripted::start(|_| Some(status(500))).await;
    assert!(matches!(fails_to_open(server.config()).await, BackendError::Refused { status: 500, .. }));
    assert!(server.calls().iter().all(|call| call.method != Method::GET), "a failing server is not asked for more");
}
