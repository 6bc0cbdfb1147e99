//! The server of the stateless era (2026-07-28). It keeps nothing: what it asked comes back with a state, and whoever brings that
//! twice is served twice. That this does not happen is the gateway's doing.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Backends, Body, agreed, called, done, error, json_answer, question, result, status, tools};

pub(super) async fn answer(backends: &Arc<Backends>, head: &Parts, body: &Value) -> Response<Body> {
    if head.method != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    match body["method"].as_str() {
        Some("server/discover") => {
            let meta = json!({"io.modelcontextprotocol/serverInfo": {"name": "new", "version": "1"}});
            json_answer(&complete(
                body,
                json!({
                    "supportedVersions": ["2026-07-28"], "ttlMs": 60_000, "cacheScope": "public",
                    "capabilities": {"tools": {}}, "_meta": meta,
                }),
            ))
        }
        Some("tools/list") => {
            json_answer(&complete(body, json!({"tools": tools(), "ttlMs": 60_000, "cacheScope": "public"})))
        }
        Some("tools/call") => call(backends, body).await,
        _ => {
            let mut response = json_answer(&error(body, -32601, "no such method"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn call(backends: &Arc<Backends>, body: &Value) -> Response<Body> {
    let Some((tool, call)) = called(body) else { return json_answer(&error(body, -32602, "no such call")) };
    if tool == "ask" {
        let state = format!("state of {call}");
        if body["params"]["requestState"] != state.as_str() {
            let asked = json!({
                "resultType": "input_required", "requestState": state,
                "inputRequests": {"q": {"method": "elicitation/create", "params": question()}},
            });
            return json_answer(&result(body, &asked));
        }
        let Some(by) = agreed(&body["params"]["inputResponses"]["q"]) else {
            return json_answer(&complete(body, json!({"content": [], "isError": true})));
        };
        backends.calls.answered(call, by);
    }
    let answer = complete(body, done(call));
    let (finished, answered) = oneshot::channel();
    let (running, owned) = (backends.running(), Arc::clone(backends));
    // Once begun it is done, whoever waits for it.
    tokio::spawn(running.run_until_cancelled_owned(async move {
        owned.act(call).await;
        let _ = finished.send(answer);
    }));
    answered.await.map_or_else(|_| status(StatusCode::SERVICE_UNAVAILABLE), |answer| json_answer(&answer))
}

fn complete(request: &Value, mut answer: Value) -> Value {
    answer["resultType"] = json!("complete");
    result(request, &answer)
}
