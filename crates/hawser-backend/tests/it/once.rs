//! What a server has begun is never begun again: no failure on the way to its answer may look as if nothing had been processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::Response as HttpResponse;
use hawser_backend::{Backend, BackendError, BackendSession};
use hawser_mcp::{Response, Revision};
use serde_json::{Value, json};

use crate::modern_server::{backend, error, modern, response};
use crate::scripted::{Call, Scripted, failure, hello, json_answer, outcome, raw, status};

async fn adapted(backend: &Backend) -> BackendSession {
    backend.open(&hello(Revision::LATEST)).await.unwrap().0
}

fn task(call: &Call, kind: &str, more: &Value) -> HttpResponse {
    let mut state = json!({
        "resultType": kind, "taskId": "t-1", "status": "working", "createdAt": "2026-11-23T00:00:00Z",
        "lastUpdatedAt": "2026-11-23T00:00:00Z", "ttlMs": null, "pollIntervalMs": 50,
    });
    for (name, value) in more.as_object().unwrap() {
        state[name] = value.clone();
    }
    json_answer(&response(call, &state))
}

fn input_required(call: &Call, more: &Value) -> HttpResponse {
    let mut result = json!({"resultType": "input_required", "requestState": "s"});
    for (name, value) in more.as_object().unwrap() {
        result[name] = value.clone();
    }
    json_answer(&response(call, &result))
}

/// What a server says that seems not to know what it is asked about: each makes a first request be sent again.
fn refusals() -> [fn(&Call) -> HttpResponse; 3] {
    [
        |_: &Call| status(404),
        |call: &Call| error(call, 400, -32022, "not that version"),
        |call: &Call| error(call, 400, -32000, "no session"),
    ]
}

async fn call(session: &BackendSession) -> BackendError {
    let mut exchange = session.request("tools/call", Some(raw(r#"{"name":"pay"}"#))).await.unwrap();
    failure(&mut exchange).await
}

fn begun(server: &Scripted) -> usize {
    server.calls().iter().filter(|call| call.rpc() == "tools/call").count()
}

#[tokio::test]
async fn a_call_that_became_a_task_was_begun_whatever_becomes_of_the_task() {
    for refusal in refusals() {
        let server = modern(move |call| match call.rpc() {
            "tools/call" => Some(task(call, "task", &json!({}))),
            "tasks/get" => Some(refusal(call)),
            _ => None,
        })
        .await;
        let error = call(&adapted(&backend(&server)).await).await;
        assert!(!error.was_not_processed(), "{error:?}");
        assert_eq!(begun(&server), 1);
    }
}

#[tokio::test]
async fn a_call_whose_task_cannot_be_answered_was_begun() {
    let server = modern(|call| match call.rpc() {
        "tools/call" => Some(task(call, "task", &json!({}))),
        "tasks/get" => Some(task(
            call,
            "complete",
            &json!({"status": "input_required", "inputRequests": {"k": {"method": "elicitation/create", "params": {}}}}),
        )),
        "tasks/update" => Some(status(404)),
        _ => None,
    })
    .await;
    let session = adapted(&backend(&server)).await;
    let mut exchange = session.request("tools/call", Some(raw(r#"{"name":"pay"}"#))).await.unwrap();
    let hawser_backend::ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    session.respond(&Response::result(question.id, raw(r#"{"action":"accept"}"#))).await.unwrap();
    let error = failure(&mut exchange).await;
    assert!(!error.was_not_processed(), "{error:?}");
}

#[tokio::test]
async fn a_call_that_goes_on_with_the_servers_own_state_was_begun() {
    for refusal in refusals() {
        let server = modern(move |call| match (call.rpc(), call.body["params"].get("requestState")) {
            ("tools/call", None) => Some(input_required(call, &json!({}))),
            ("tools/call", Some(_)) => Some(refusal(call)),
            _ => None,
        })
        .await;
        let error = call(&adapted(&backend(&server)).await).await;
        assert!(!error.was_not_processed(), "{error:?}");
        assert_eq!(begun(&server), 2);
    }
}

#[tokio::test]
async fn a_server_that_changed_under_a_call_that_was_begun_is_found_out_anew_all_the_same() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let server = modern(move |call| match call.rpc() {
        "server/discover" => {
            counted.fetch_add(1, Ordering::Relaxed);
            None
        }
        "tools/call" => Some(task(call, "task", &json!({}))),
        "tasks/get" => Some(status(404)),
        _ => None,
    })
    .await;
    let backend = backend(&server);
    call(&adapted(&backend).await).await;
    let session = adapted(&backend).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2, "it is asked again what it is");
    outcome(&mut session.request("tools/list", None).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_is_gone_while_its_task_is_waited_for_has_begun_the_call() {
    let server = modern(|call| {
        let mut answer = match call.rpc() {
            "tools/call" => task(call, "task", &json!({})),
            "tasks/get" => task(call, "complete", &json!({})),
            _ => return None,
        };
        // Every look at the task needs a connection of its own.
        answer.headers_mut().insert("connection", "close".parse().unwrap());
        Some(answer)
    })
    .await;
    let session = adapted(&backend(&server)).await;
    let mut exchange = session.request("tools/call", Some(raw(r#"{"name":"pay"}"#))).await.unwrap();
    let polled = server.wait_for(|call| call.rpc() == "tasks/get");
    tokio::select! {
        _ = polled => {}
        item = exchange.next() => panic!("{item:?}"),
    }
    drop(server);
    let error = failure(&mut exchange).await;
    assert!(!error.was_not_processed(), "{error:?}");
}
