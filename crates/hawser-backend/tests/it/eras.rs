//! Which era is spoken to whom: found out once, kept, and found out again when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::response::Response;
use hawser_backend::{Backend, BackendError};
use hawser_mcp::{Era, Revision};
use http::Method;
use serde_json::json;

use crate::modern_server::{backend, discovered, error, modern, modern_hello, plain};
use crate::scripted::{Call, Scripted, answer, failure, hello, initialized, json_answer, outcome, status};

fn methods(server: &Scripted) -> Vec<String> {
    server.calls().iter().filter(|call| call.method == Method::POST).map(|call| call.rpc().to_owned()).collect()
}

async fn era(backend: &Backend, revision: Revision) -> Era {
    let (session, _unsolicited) = backend.open(&hello(revision)).await.unwrap();
    assert_eq!(session.server().revision.era(), session.era());
    session.era()
}

/// A server of both eras.
fn dual(call: &Call) -> Option<Response> {
    (call.rpc() == "server/discover").then(|| json_answer(&discovered(call, 60_000)))
}

/// A legacy server that wants a session for everything else.
fn strict(call: &Call) -> Option<Response> {
    let wants_session =
        call.method == Method::POST && call.rpc() != "initialize" && call.header("mcp-session-id").is_none();
    wants_session.then(|| answer(400, "text/plain", "Bad Request: No valid session ID provided"))
}

#[tokio::test]
async fn a_server_of_both_eras_is_spoken_to_in_the_clients() {
    let server = Scripted::start(dual).await;
    let backend = backend(&server);
    for _ in 0..2 {
        assert_eq!(era(&backend, Revision::LATEST).await, Era::Legacy);
        assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Modern);
    }
    let probes = methods(&server).iter().filter(|method| *method == "server/discover").count();
    assert_eq!(probes, 1, "what is known is not asked again");
}

#[tokio::test]
async fn a_legacy_client_of_a_modern_server_is_refused_once_and_then_no_more() {
    for refusal in [
        |call: &Call| error(call, 400, -32020, "a header is missing"),
        |call: &Call| error(call, 400, -32022, "not that version"),
        |call: &Call| error(call, 404, -32601, "no such method"),
        |call: &Call| error(call, 200, -32601, "no such method"),
        |_: &Call| status(400),
        |_: &Call| status(404),
        |_: &Call| status(405),
    ] {
        let server = modern(move |call| (call.rpc() == "initialize").then(|| refusal(call))).await;
        let backend = backend(&server);
        for _ in 0..2 {
            let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
            assert_eq!(session.era(), Era::Modern);
            assert_eq!(session.server().instructions.as_deref(), Some("Use it."));
            assert_eq!(session.server().supported, [Revision::V2026_07_28]);
        }
        assert_eq!(methods(&server), ["initialize", "server/discover"], "a fresh discovery is used again");
        assert!(server.calls().iter().all(|call| call.method == Method::POST), "there is no session to delete");
    }
}

#[tokio::test]
async fn a_modern_client_of_a_legacy_server_probes_it_once() {
    let server = Scripted::start(strict).await;
    let backend = backend(&server);
    for _ in 0..2 {
        assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Legacy);
    }
    let sent: Vec<String> = methods(&server);
    assert_eq!(sent.iter().filter(|method| *method == "server/discover").count(), 1);
    let asked = server.wait_for(|call| call.rpc() == "initialize").await;
    assert_eq!(asked.body["params"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn the_probe_says_who_asks_in_body_and_headers() {
    let server = modern(|_| None).await;
    era(&backend(&server), Revision::LATEST_MODERN).await;
    let asked = server.wait_for(|call| call.rpc() == "server/discover").await;
    assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(asked.header("mcp-method"), Some("server/discover"));
    assert_eq!(asked.header("mcp-session-id"), None);
    let meta = &asked.body["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "test");
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({"elicitation": {}}));
}

#[tokio::test]
async fn refused_credentials_are_never_taken_for_an_era() {
    for code in [401, 403] {
        let server = Scripted::start(move |_| Some(status(code))).await;
        let backend = backend(&server);
        for revision in [Revision::LATEST, Revision::LATEST_MODERN] {
            let refused = backend.open(&hello(revision)).await.unwrap_err();
            assert!(matches!(refused, BackendError::Refused { status, .. } if status == code), "{refused:?}");
        }
        assert_eq!(methods(&server), ["initialize", "server/discover"], "neither goes on to the other era");
    }
}

#[tokio::test]
async fn a_modern_server_that_refuses_the_client_is_not_spoken_to_as_of_old() {
    let server = modern(|call| (call.rpc() == "server/discover").then(|| error(call, 400, -32021, "sampling"))).await;
    let refused = backend(&server).open(&modern_hello()).await.unwrap_err();
    assert!(matches!(refused, BackendError::Initialize { code: -32021, .. }), "{refused:?}");
    assert_eq!(methods(&server), ["server/discover"]);
}

#[tokio::test]
async fn a_server_that_speaks_neither_era_is_refused_in_its_own_words() {
    let server = Scripted::start(|call| Some(error(call, 200, -32601, "only ping"))).await;
    let backend = backend(&server);
    for revision in [Revision::LATEST, Revision::LATEST_MODERN] {
        let refused = backend.open(&hello(revision)).await.unwrap_err();
        assert!(matches!(&refused, BackendError::Initialize { message, .. } if message == "only ping"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_was_exchanged_for_one_of_the_other_era_is_found_out_again() {
    let is_modern = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&is_modern);
    let server =
        Scripted::start(move |call| if now.load(Ordering::Relaxed) { Some(plain(call)) } else { strict(call) }).await;
    let backend = backend(&server);
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    assert_eq!(session.era(), Era::Modern);
    is_modern.store(false, Ordering::Relaxed);
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::SessionGone { .. }) && error.was_not_processed(), "{error:?}");
    assert!(!session.is_open());
    assert_eq!(era(&backend, Revision::LATEST).await, Era::Legacy);

    is_modern.store(true, Ordering::Relaxed);
    assert_eq!(era(&backend, Revision::LATEST).await, Era::Modern, "`initialize` used to work and is refused");
    assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Modern);
}

#[tokio::test]
async fn a_version_that_is_no_longer_supported_ends_the_session_and_nothing_was_processed() {
    let server = modern(|call| (call.rpc() == "tools/call").then(|| error(call, 400, -32022, "not that one"))).await;
    let backend = backend(&server);
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::SessionGone { .. }), "{error:?}");
    era(&backend, Revision::LATEST_MODERN).await;
    assert_eq!(methods(&server).iter().filter(|method| *method == "server/discover").count(), 2);
}

#[tokio::test]
async fn what_a_server_says_of_itself_is_asked_for_again_when_it_is_stale() {
    let server = modern(|call| (call.rpc() == "server/discover").then(|| json_answer(&discovered(call, 0)))).await;
    let backend = backend(&server);
    for _ in 0..3 {
        era(&backend, Revision::LATEST_MODERN).await;
    }
    assert_eq!(methods(&server), ["server/discover"; 3]);
}

#[tokio::test]
async fn many_who_open_at_once_find_out_once() {
    let server = modern(|call| (call.rpc() == "server/discover").then(|| json_answer(&discovered(call, 0)))).await;
    let backend = backend(&server);
    let all = (0..20).map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move { era(&backend, Revision::LATEST_MODERN).await })
    });
    for opened in futures_util::future::join_all(all).await {
        assert_eq!(opened.unwrap(), Era::Modern);
    }
    let probes = methods(&server).len();
    assert!(probes < 20, "{probes} probes: those who wait use what the first one found");
}

#[tokio::test]
async fn a_failure_of_the_probe_that_tells_nothing_is_not_remembered() {
    let probes = AtomicU32::new(0);
    let server = Scripted::start(move |call| match call.rpc() {
        "server/discover" if probes.fetch_add(1, Ordering::Relaxed) == 0 => Some(status(503)),
        _ => dual(call),
    })
    .await;
    let backend = backend(&server);
    assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Legacy);
    assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Modern);
}

#[tokio::test]
async fn a_legacy_server_that_is_restarted_may_have_learnt_the_other_era() {
    let learnt = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&learnt);
    let server = Scripted::start(move |call| match call.rpc() {
        _ if now.load(Ordering::Relaxed) => dual(call).or_else(|| (call.rpc() == "x").then(|| status(404))),
        "initialize" => Some(initialized(&call.body["id"], "2025-06-18")),
        _ => strict(call),
    })
    .await;
    let backend = backend(&server);
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    assert_eq!(session.era(), Era::Legacy);
    learnt.store(true, Ordering::Relaxed);
    failure(&mut session.request("x", None).await.unwrap()).await;
    assert_eq!(era(&backend, Revision::LATEST_MODERN).await, Era::Modern);
}

#[tokio::test]
async fn a_modern_server_that_is_down_is_noticed_when_a_session_is_opened() {
    let server = modern(|_| None).await;
    let config = server.config();
    let backend = Backend::new(config, hawser_backend::ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    outcome(&mut session.request("x", None).await.unwrap()).await;
    drop(server);
    // A connection that was kept may still be there; the one after it is refused.
    for _ in 0..2 {
        let _ = failure(&mut session.request("x", None).await.unwrap()).await;
    }
    let refused = backend.open(&modern_hello()).await.unwrap_err();
    assert!(matches!(refused, BackendError::Unreachable { .. }), "{refused:?}");
}
