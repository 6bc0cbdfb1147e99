//! A server of the stateless era that does what a test tells it.

use std::time::Duration;

use axum::response::Response;
use hawser_backend::{Backend, BackendSession, ChildLimit, ClientHello, Unsolicited};
use hawser_mcp::Revision;
use http::Method;
use serde_json::{Value, json};

use crate::scripted::{Call, Scripted, answer, event, hello, json_answer, raw, status, streamed};

/// Answers with the script, and where that says nothing like a plain modern server: it can be discovered, answers anything
/// else with what was asked, and knows neither `initialize` nor GET.
pub(crate) async fn modern(script: impl Fn(&Call) -> Option<Response> + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |call| Some(script(call).unwrap_or_else(|| plain(call)))).await
}

pub(crate) fn plain(call: &Call) -> Response {
    match (call.method.clone(), call.rpc()) {
        (Method::POST, "server/discover") => json_answer(&discovered(call, 60_000)),
        // A server that was made for nothing else misses the headers.
        (Method::POST, "initialize") => error(call, 400, -32020, "the header MCP-Protocol-Version is missing"),
        (Method::POST, "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe") => {
            error(call, 404, -32601, "no such method")
        }
        (Method::POST, of) => complete(call, json!({"of": of})),
        _ => status(405),
    }
}

pub(crate) fn discovered(call: &Call, ttl_ms: u64) -> Value {
    let meta = json!({"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": call.body["id"], "result": {
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": ttl_ms, "cacheScope": "public",
        "capabilities": {
            "tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true, "listChanged": true},
            "logging": {},
        },
        "instructions": "Use it.", "_meta": meta,
    }})
}

pub(crate) fn complete(call: &Call, mut result: Value) -> Response {
    result["resultType"] = json!("complete");
    json_answer(&response(call, &result))
}

pub(crate) fn response(call: &Call, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": call.body["id"], "result": result})
}

pub(crate) fn error(call: &Call, status: u16, code: i64, message: &str) -> Response {
    let error = json!({"code": code, "message": message});
    let body = json!({"jsonrpc": "2.0", "id": call.body["id"], "error": error});
    answer(status, "application/json", body.to_string())
}

/// A client of the same era.
pub(crate) fn modern_hello() -> ClientHello {
    ClientHello { capabilities: raw(r#"{"elicitation":{}}"#), ..hello(Revision::LATEST_MODERN) }
}

pub(crate) fn backend(server: &Scripted) -> Backend {
    Backend::new(server.config(), ChildLimit::new(8)).unwrap()
}

pub(crate) async fn open_modern(server: &Scripted) -> (BackendSession, Unsolicited) {
    backend(server).open(&modern_hello()).await.unwrap()
}

/// What a request said of its sender.
pub(crate) fn meta<'a>(call: &'a Call, name: &str) -> &'a Value {
    &call.body["params"]["_meta"][format!("io.modelcontextprotocol/{name}")]
}

/// The server's end of a `subscriptions/listen` stream.
pub(crate) struct Listening {
    /// What was asked for.
    pub(crate) filter: Value,
    id: Value,
    events: tokio::sync::mpsc::UnboundedSender<String>,
}

impl Listening {
    /// Acknowledges this much.
    pub(crate) fn acknowledge(&self, filter: &Value) {
        self.send("notifications/subscriptions/acknowledged", json!({"notifications": filter}), &self.id);
    }

    /// Tells something that belongs to this stream.
    pub(crate) fn tell(&self, method: &str, params: Value) {
        self.send(method, params, &self.id);
    }

    /// Tells something under any id.
    pub(crate) fn send(&self, method: &str, mut params: Value, id: &Value) {
        params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id, "x": 1});
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        let _ = self.events.send(event(&message));
    }

    /// Ends the stream in the orderly way.
    pub(crate) fn finish(self) {
        let meta = json!({"io.modelcontextprotocol/subscriptionId": self.id});
        let result = json!({"resultType": "complete", "_meta": meta});
        let _ = self.events.send(event(&json!({"jsonrpc": "2.0", "id": self.id, "result": result})));
    }

    /// Waits until the client has closed the stream.
    pub(crate) async fn closed(&self) {
        tokio::time::timeout(Duration::from_secs(10), self.events.closed()).await.expect("the stream is closed");
    }
}

/// A modern server whose listening streams are handed to the test.
pub(crate) async fn listened() -> (Scripted, tokio::sync::mpsc::UnboundedReceiver<Listening>) {
    let (opened, streams) = tokio::sync::mpsc::unbounded_channel();
    let server = modern(move |call| {
        if call.rpc() != "subscriptions/listen" {
            return None;
        }
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        let (filter, id) = (call.body["params"]["notifications"].clone(), call.body["id"].clone());
        let _ = opened.send(Listening { filter, id, events });
        let body = futures_util::stream::unfold(receiver, async |mut receiver| {
            let chunk: String = receiver.recv().await?;
            Some((Ok(chunk), receiver))
        });
        Some(streamed("text/event-stream", body))
    })
    .await;
    (server, streams)
}
