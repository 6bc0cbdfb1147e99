//! An MCP server whose answers to calls are written by the test, piece by piece: what was not written has not been sent.

use std::io;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A running server.
pub struct WrittenBackend {
    url: String,
    server: JoinHandle<()>,
    calls: mpsc::Receiver<WrittenCall>,
}

/// A call that waits for its answer.
pub struct WrittenCall {
    /// Its JSON-RPC id.
    pub id: Value,
    /// What the tool was called with.
    pub arguments: Value,
    answer: oneshot::Sender<Response>,
}

/// An answer that is being written; it ends when this is dropped.
pub struct Writing(mpsc::Sender<io::Result<Bytes>>);

impl WrittenBackend {
    /// Starts it on a free port. Its tool is `write`.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let (sender, calls) = mpsc::channel(16);
        let router = Router::new().fallback(handle).with_state(sender);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, server, calls })
    }

    /// Its MCP address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next call.
    pub async fn call(&mut self) -> Result<WrittenCall> {
        self.calls.recv().await.context("the backend has ended")
    }
}

impl Drop for WrittenBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl WrittenCall {
    /// Begins the answer: its head is sent.
    pub fn begin(self, media_type: &'static str) -> Writing {
        let (sender, pieces) = mpsc::channel(1);
        let pieces = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
        let body = Body::from_stream(pieces);
        let _ = self.answer.send(([(header::CONTENT_TYPE, media_type)], body).into_response());
        Writing(sender)
    }
}

impl Writing {
    /// Writes more; waits while the reader is behind. `false` if nobody reads any more.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(bytes.into())).await.is_ok()
    }

    /// Breaks the connection off, after all that was written.
    pub async fn break_off(self) {
        let _ = self.0.send(Err(io::Error::other("the backend breaks off here"))).await;
    }
}

async fn handle(State(calls): State<mpsc::Sender<WrittenCall>>, method: Method, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id").filter(|_| method == Method::POST) else {
        let status = if method == Method::POST { StatusCode::ACCEPTED } else { StatusCode::METHOD_NOT_ALLOWED };
        return status.into_response();
    };
    let result = match message["method"].as_str() {
        Some("initialize") => {
            let revision = &message["params"]["protocolVersion"];
            let info = json!({ "name": "written-backend", "version": "1" });
            json!({ "protocolVersion": revision, "capabilities": { "tools": {} }, "serverInfo": info })
        }
        Some("tools/list") => json!({ "tools": [{ "name": "write", "inputSchema": { "type": "object" } }] }),
        Some("tools/call") => {
            let (answer, answered) = oneshot::channel();
            let call = WrittenCall { id: id.clone(), arguments: message["params"]["arguments"].clone(), answer };
            let _ = calls.send(call).await;
            return answered.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            return json_body(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
    };
    json_body(&json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn json_body(message: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], message.to_string()).into_response()
}
