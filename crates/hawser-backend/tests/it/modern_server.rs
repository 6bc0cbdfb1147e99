//! A server of the stateless era that does what a test tells it.

use axum::response::Response;
use hawser_backend::{Backend, BackendSession, ChildLimit, ClientHello, Unsolicited};
use hawser_mcp::Revision;
use http::Method;
use serde_json::{Value, json};

use crate::scripted::{Call, Scripted, answer, hello, json_answer, raw, status};

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
