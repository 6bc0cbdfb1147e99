//! A backend with more prompts than fit on a page, so that there are cursors to turn and to steal.

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How many there are.
pub(crate) const PROMPTS: usize = 1_050;

/// Serves it on a free port; the answer is its address.
pub(crate) async fn serve() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the catalogue")?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Ok(url)
}

async fn answer(method: Method, body: Bytes) -> Response {
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let answer = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "prompts": {} },
            "serverInfo": { "name": "catalogue", "version": "1" },
        }),
        "ping" => json!({}),
        "prompts/list" => {
            let prompts: Vec<_> = (0..PROMPTS).map(|number| json!({ "name": format!("prompt-{number}") })).collect();
            json!({ "prompts": prompts })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return rpc(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
    };
    rpc(&json!({ "jsonrpc": "2.0", "id": id, "result": answer }))
}

fn rpc(message: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], message.to_string()).into_response()
}
