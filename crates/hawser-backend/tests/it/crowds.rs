//! Many who want the same server at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use futures_util::future::join_all;
use futures_util::stream;
use hawser_backend::{Backend, BackendConfig, BackendError, BackendName, ChildLimit, Transport};
use hawser_mcp::{Era, Revision};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::time::timeout;

use crate::modern_server::{backend, discovered};
use crate::scripted::{Call, Scripted, hello, status, streamed};

const CROWD: usize = 6;

fn initialized(call: &Call) -> Value {
    json!({"jsonrpc": "2.0", "id": call.body["id"], "result": {
        "protocolVersion": Revision::LATEST.as_str(), "capabilities": {}, "serverInfo": {"name": "slow", "version": "1"},
    }})
}

/// An answer that is given only when `there` are there who wait for one.
fn together(there: &Arc<Barrier>, answer: &Value) -> Response {
    let (there, answer) = (Arc::clone(there), answer.to_string());
    streamed(
        "application/json",
        stream::once(async move {
            there.wait().await;
            Ok(answer)
        }),
    )
}

#[tokio::test]
async fn who_waited_until_a_server_was_known_goes_on_at_once_and_not_one_after_the_other() {
    for (revision, refusal) in [(Revision::LATEST, 400), (Revision::LATEST_MODERN, 400), (Revision::LATEST_MODERN, 503)]
    {
        // The first finds out what the server is; all others then shake hands at the same time.
        let (first, rest) = (AtomicBool::new(true), Arc::new(Barrier::new(CROWD - 1)));
        let server = Scripted::start(move |call| match (call.method.clone(), call.rpc()) {
            (Method::POST, "server/discover") => Some(status(refusal)),
            (Method::POST, "initialize") if !first.swap(false, Ordering::Relaxed) => {
                Some(together(&rest, &initialized(call)))
            }
            _ => None,
        })
        .await;
        let backend = backend(&server);
        let client = hello(revision);
        let all = join_all((0..CROWD).map(|_| backend.open(&client)));
        let opened = timeout(Duration::from_secs(10), all).await.expect("nobody waits for another's handshake");
        assert!(opened.iter().all(|opened| opened.as_ref().is_ok_and(|(session, _)| session.era() == Era::Legacy)));
    }
}

#[tokio::test]
async fn who_waited_for_an_opening_that_failed_need_not_fail_again() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let server = tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(connection);
        }
    });
    let transport = Transport::Http { url, headers: http::HeaderMap::new() };
    let config = BackendConfig::new(BackendName::new("dead").unwrap(), transport);
    let (backend, client) = (Backend::new(config, ChildLimit::new(1)).unwrap(), hello(Revision::LATEST));
    let opened = join_all((0..CROWD).map(|_| backend.open(&client))).await;
    assert!(opened.iter().all(|opened| matches!(opened, Err(BackendError::Lost { .. }))), "{opened:?}");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    server.abort();
}

#[tokio::test]
async fn a_server_that_is_only_slow_to_wake_is_known_for_what_it_is_the_next_time() {
    let after = |wait: u64, answer: Value| {
        let answering = async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Ok(answer.to_string())
        };
        streamed("application/json", stream::once(answering))
    };
    let server = Scripted::start(move |call| match call.rpc() {
        "server/discover" => Some(after(300, discovered(call, 60_000))),
        "initialize" => Some(after(600, initialized(call))),
        _ => None,
    })
    .await;
    let mut config = server.config();
    config.probe_timeout = Duration::from_millis(100);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    for expected in [Era::Legacy, Era::Modern] {
        let (session, _unsolicited) = backend.open(&hello(Revision::LATEST_MODERN)).await.unwrap();
        assert_eq!(session.era(), expected);
    }
}
