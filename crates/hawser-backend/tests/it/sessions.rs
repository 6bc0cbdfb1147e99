//! Sessions: opened, forgotten, opened again, closed.

use hawser_backend::{
    Backend, BackendError, BackendSession, ChildLimit, Exchange, ExchangeItem, Unsolicited, WeakBackendSession,
};
use hawser_mcp::{Notification, RawJson, Response, Revision};
use serde_json::json;

use crate::scripted::{Call, Scripted, answer, event, failure, hello, initialized, outcome, sse_open, status};

#[tokio::test]
async fn a_forgotten_session_is_gone_and_a_fresh_one_works() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Scripted::start(move |call| {
        (call.rpc() == "tools/call" && first.swap(false, std::sync::atomic::Ordering::Relaxed)).then(|| status(404))
    })
    .await;
    let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
    let (session, mut unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::SessionGone { .. }) && error.was_not_processed(), "{error:?}");
    assert!(!session.is_open());
    assert_eq!(unsolicited.next().await, None);
    assert!(matches!(session.request("x", None).await, Err(BackendError::SessionGone { .. })));
    drop(session);

    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    outcome(&mut session.request("tools/call", None).await.unwrap()).await;
    let calls = server.calls();
    let openings: Vec<_> = calls.iter().filter(|call| call.rpc() == "initialize").collect();
    assert!(openings.iter().all(|call| call.header("mcp-session-id").is_none()) && openings.len() == 2);
    assert!(calls.iter().all(|call| call.method != "DELETE"), "there is nothing left to delete");
}

#[tokio::test]
async fn a_400_that_names_the_session_means_the_same() {
    let server = Scripted::start(|call| match call.rpc() {
        "tools/call" | "notifications/roots/list_changed" => {
            let error = json!({"code": -32000, "message": "Bad Request: No valid session ID provided"});
            Some(answer(400, "application/json", json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string()))
        }
        _ => None,
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::SessionGone { .. }), "{error:?}");
    let (session, _unsolicited) = server.open().await;
    let told = session.notify(&Notification::new("notifications/roots/list_changed", None)).await;
    assert!(matches!(told, Err(BackendError::SessionGone { .. })), "{told:?}");
}

#[tokio::test]
async fn without_a_session_id_a_404_is_just_a_404() {
    let server = Scripted::start(|call| match call.rpc() {
        "initialize" => {
            let mut response = initialized(&call.body["id"], "2025-06-18");
            response.headers_mut().remove("mcp-session-id");
            Some(response)
        }
        "tools/call" => Some(status(404)),
        _ => None,
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Refused { status: 404, .. }) && !error.was_not_processed(), "{error:?}");
    session.close().await;
    assert!(server.calls().iter().all(|call| call.method != "DELETE" && call.header("mcp-session-id").is_none()));
}

#[tokio::test]
async fn closing_deletes_the_session_once_and_ends_it_here() {
    let server = Scripted::start(|_| None).await;
    let (session, mut unsolicited) = server.open().await;
    session.close().await;
    session.close().await;
    assert!(!session.is_open());
    assert!(matches!(session.request("x", None).await, Err(BackendError::Closed { .. })));
    assert_eq!(unsolicited.next().await, None);
    drop(session);
    let (session, _unsolicited) = server.open().await;
    outcome(&mut session.request("x", None).await.unwrap()).await;
    assert_eq!(server.calls().iter().filter(|call| call.method == "DELETE").count(), 1);
}

#[tokio::test]
async fn dropping_the_last_clone_deletes_the_session() {
    let server = Scripted::start(|_| None).await;
    let (session, _unsolicited) = server.open().await;
    let clone = session.clone();
    drop(session);
    outcome(&mut clone.request("x", None).await.unwrap()).await;
    assert!(server.calls().iter().all(|call| call.method != "DELETE"));
    drop(clone);
    let deleted = server.wait_for(|call| call.method == "DELETE").await;
    assert_eq!(deleted.header("mcp-session-id"), Some("s-1"));
}

#[tokio::test]
async fn a_weak_handle_finds_the_session_but_does_not_keep_it_open() {
    let server = Scripted::start(|_| None).await;
    let (session, _unsolicited) = server.open().await;
    let weak = session.downgrade();
    let found = weak.upgrade().unwrap();
    assert!(found.same_as(&session) && found.server() == session.server());
    drop(found);
    let mut exchange = session.request("x", None).await.unwrap();
    drop(session);
    outcome(&mut exchange).await;
    assert!(weak.upgrade().is_some_and(|session| session.is_open()), "a running exchange keeps it");
    drop(exchange);
    assert!(weak.upgrade().is_none());
    server.wait_for(|call| call.method == "DELETE").await;
}

#[tokio::test]
async fn two_sessions_with_one_backend_are_not_the_same() {
    let server = Scripted::start(|_| None).await;
    let ((one, _one_unsolicited), (other, _other_unsolicited)) = (server.open().await, server.open().await);
    assert!(one.same_as(&one.clone()) && !one.same_as(&other));
}

#[tokio::test]
async fn an_answer_in_the_background_arrives() {
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call")
            .then(|| sse_open(event(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create"}))))
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    let ExchangeItem::Request(asked) = exchange.next().await else { panic!("nothing is asked") };
    session.respond_in_background(Response::result(asked.id, RawJson::empty_object()));
    server.wait_for(|call| call.body == json!({"jsonrpc": "2.0", "id": "q", "result": {}})).await;
}

#[tokio::test]
async fn messages_in_the_background_do_not_pile_up() {
    // The answer to a notification never ends, so none leaves its place.
    let stuck = "notifications/roots/list_changed";
    let server = Scripted::start(move |call| (call.rpc() == stuck).then(|| sse_open(String::new()))).await;
    let (session, _unsolicited) = server.open().await;
    for _ in 0..100 {
        session.notify_in_background(Notification::new(stuck, None));
    }
    let sent = || server.calls().iter().filter(|call| call.rpc() == stuck).count();
    server.wait_for(|_| sent() == 16).await;
    outcome(&mut session.request("x", None).await.unwrap()).await;
    assert_eq!(sent(), 16);
}

#[tokio::test]
async fn nothing_is_sent_in_the_background_once_the_session_is_closed() {
    let server = Scripted::start(|_| None).await;
    let (session, _unsolicited) = server.open().await;
    session.close().await;
    session.notify_in_background(Notification::new("notifications/roots/list_changed", None));
    let (session, _unsolicited) = server.open().await;
    outcome(&mut session.request("x", None).await.unwrap()).await;
    assert!(server.calls().iter().all(|call| call.rpc() != "notifications/roots/list_changed"));
}

#[tokio::test]
async fn a_handshake_that_fails_half_way_leaves_no_session_behind() {
    // 2024-11-05 had another HTTP transport, so it cannot be what is spoken here.
    for unspoken in ["2099-01-01", "2024-11-05"] {
        let script = move |call: &Call| (call.rpc() == "initialize").then(|| initialized(&call.body["id"], unspoken));
        let server = Scripted::start(script).await;
        let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
        let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
        assert!(matches!(&error, BackendError::Protocol { reason, .. } if reason.contains(unspoken)), "{error:?}");
        server.wait_for(|call| call.method == "DELETE").await;
    }
}

#[tokio::test]
async fn an_older_revision_is_accepted_and_spoken_from_then_on() {
    let server =
        Scripted::start(|call| (call.rpc() == "initialize").then(|| initialized(&call.body["id"], "2025-06-18"))).await;
    let (session, _unsolicited) = server.open().await;
    assert_eq!(session.server().revision, Revision::V2025_06_18);
    outcome(&mut session.request("x", None).await.unwrap()).await;
    let asked = server.wait_for(|call| call.rpc() == "x").await;
    assert_eq!(asked.header("mcp-protocol-version"), Some("2025-06-18"));
}

#[tokio::test]
async fn an_error_to_initialize_is_told() {
    let server = Scripted::start(|call| {
        (call.rpc() == "initialize").then(|| {
            let error = json!({"code": -32602, "message": "Unsupported protocol version"});
            answer(
                400,
                "application/json",
                json!({"jsonrpc": "2.0", "id": call.body["id"], "error": error}).to_string(),
            )
        })
    })
    .await;
    let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
    for _ in 0..5 {
        let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
        let refused = matches!(&error, BackendError::Initialize { code: -32602, .. });
        assert!(refused, "one client's refusal must not make the backend rest for all: {error:?}");
    }
}

#[test]
fn sessions_and_exchanges_can_move_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Backend>();
    shared::<BackendSession>();
    shared::<WeakBackendSession>();
    moved::<Exchange>();
    moved::<Unsolicited>();
}
