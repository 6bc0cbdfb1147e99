//! A small MCP server over streamable HTTP that behaves as a test tells it: well, or badly in one of many ways.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::places;

const FLOOD_EVENTS: usize = 5_000_000;
const HUGE_BYTES: usize = 64 << 20;

/// How one kind of request is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mood {
    /// As it should be.
    #[default]
    Well,
    /// 200 and a JSON body that is not JSON.
    Garbage,
    /// 200 and an event stream whose data are not JSON.
    GarbageEvents,
    /// Never.
    Never,
    /// An event stream of notifications without an end in sight.
    Floods,
    /// An event stream that breaks off before the response.
    ClosesMidStream,
    /// A JSON body that breaks off.
    ClosesMidBody,
    /// A well-formed result of 64 MiB.
    Huge,
    /// A result nested 10,000 deep.
    Deep,
    /// The right answer, said to be HTML.
    WrongType,
    /// A response to a request that was not made.
    WrongId,
    /// A response with neither result nor error.
    NoResult,
    /// 200 with nothing in it.
    Empty,
    /// A redirect to another place.
    Redirects,
    /// An HTTP status, with a page of HTML.
    Status(u16),
}

/// The mood for each kind of request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    /// `initialize`.
    pub initialize: Mood,
    /// `tools/list`.
    pub list: Mood,
    /// `tools/call`.
    pub call: Mood,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method, or the JSON-RPC method of a POST.
    pub method: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

#[derive(Default)]
struct Inner {
    script: Script,
    sessions: HashSet<String>,
    opened: usize,
    seen: Vec<Seen>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server.
pub struct OddBackend {
    shared: Shared,
    address: std::net::SocketAddr,
    server: JoinHandle<()>,
}

impl OddBackend {
    /// Starts it on a free port.
    pub async fn start(script: Script) -> Result<Self> {
        let shared = Shared::default();
        shared.lock().script = script;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let address = listener.local_addr()?;
        Ok(Self { server: serve(listener, shared.clone()), shared, address })
    }

    /// Its MCP address.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Changes its behaviour.
    pub fn play(&self, script: Script) {
        self.shared.lock().script = script;
    }

    /// Forgets its sessions: their ids get 404 from now on.
    pub fn forget_sessions(&self) {
        self.shared.lock().sessions.clear();
    }

    /// How many sessions were opened.
    pub fn opened(&self) -> usize {
        self.shared.lock().opened
    }

    /// How many sessions are open.
    pub fn open_now(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// The requests that arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests of this method arrived.
    pub fn count(&self, method: &str) -> usize {
        self.shared.lock().seen.iter().filter(|seen| seen.method == method).count()
    }

    /// Stops listening and drops every connection.
    pub async fn crash(&mut self) {
        self.server.abort();
        // The port is free when the task is gone.
        let _ = (&mut self.server).await;
        self.shared.lock().sessions.clear();
    }

    /// Listens again on the same port, after [`OddBackend::crash`].
    pub async fn revive(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await.context("binding again")?;
        self.server = serve(listener, self.shared.clone());
        Ok(())
    }
}

impl Drop for OddBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The configuration of a backend that runs `odd-stdio` in this mood.
pub fn odd_stdio(mood: &str) -> Result<Value> {
    Ok(json!({ "command": [places::sibling("odd-stdio")?, mood] }))
}

fn serve(listener: TcpListener, shared: Shared) -> JoinHandle<()> {
    let router = Router::new().fallback(handle).with_state(shared);
    tokio::spawn(async move {
        // Connections are tasks of their own and outlive the listener, unless they end with this one.
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            connections.spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
            while connections.try_join_next().is_some() {}
        }
    })
}

async fn handle(State(shared): State<Shared>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = message.get("method").and_then(Value::as_str).unwrap_or(method.as_str()).to_owned();
    let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let (script, known) = {
        let mut inner = shared.lock();
        let body = String::from_utf8_lossy(&body).into_owned();
        inner.seen.push(Seen { method: name.clone(), headers, body });
        (inner.script, session.as_ref().is_some_and(|id| inner.sessions.contains(id)))
    };
    if name != "initialize" && !known {
        return (StatusCode::NOT_FOUND, "no such session").into_response();
    }
    if method == Method::DELETE {
        shared.lock().sessions.retain(|id| Some(id) != session.as_ref());
        return StatusCode::NO_CONTENT.into_response();
    }
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else {
        return StatusCode::ACCEPTED.into_response();
    };
    match name.as_str() {
        "initialize" => {
            let opened = {
                let mut inner = shared.lock();
                inner.opened += 1;
                let opened = format!("odd-{}", inner.opened);
                inner.sessions.insert(opened.clone());
                opened
            };
            let mut response = answer(script.initialize, id, &initialized(&message)).await;
            if let Ok(value) = opened.parse() {
                response.headers_mut().insert("mcp-session-id", value);
            }
            response
        }
        "tools/list" => {
            let tools = json!({ "tools": [{ "name": "act", "inputSchema": { "type": "object" } }] });
            answer(script.list, id, &tools).await
        }
        "tools/call" => answer(script.call, id, &json!({ "content": [{ "type": "text", "text": "acted" }] })).await,
        "ping" => answer(Mood::Well, id, &json!({})).await,
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            json_body(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
        }
    }
}

fn initialized(message: &Value) -> Value {
    let revision = message.pointer("/params/protocolVersion").cloned().unwrap_or_else(|| "2025-11-25".into());
    let info = json!({ "name": "odd-backend", "version": "1" });
    json!({ "protocolVersion": revision, "capabilities": { "tools": {} }, "serverInfo": info })
}

async fn answer(mood: Mood, id: &Value, result: &Value) -> Response {
    let good = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    match mood {
        Mood::Well => json_body(good),
        Mood::Garbage => json_body("<<<this is not JSON>>>".to_owned()),
        Mood::GarbageEvents => {
            events(stream::iter(["data: {\"jsonrpc\":\n\n", "data: nonsense\n\n"].map(|text| Ok(text.to_owned()))))
        }
        Mood::Never => std::future::pending().await,
        Mood::Floods => {
            let params = json!({ "level": "info", "data": "x".repeat(200) });
            let event = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params });
            let event = format!("data: {event}\n\n");
            events(stream::iter(0..FLOOD_EVENTS).map(move |_| Ok(event.clone())))
        }
        Mood::ClosesMidStream => {
            let half = Ok(format!("data: {}", good.get(..good.len() / 2).unwrap_or_default()));
            events(stream::iter([half, Err(broken())]))
        }
        Mood::ClosesMidBody => {
            let half = good.get(..good.len() / 2).unwrap_or_default().to_owned();
            // Time for the first half to be sent: a body that fails at once may take the header with it.
            let end = stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(broken())
            });
            let body = Body::from_stream(stream::iter([Ok(half)]).chain(end));
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Mood::Huge => {
            // Put together by hand: serialising this much takes seconds in which the whole test stands still.
            let text = "x".repeat(HUGE_BYTES);
            let result = format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
            json_body(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
        }
        Mood::Deep => {
            let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
            json_body(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"deep":{deep}}}}}"#))
        }
        Mood::WrongType => ([(header::CONTENT_TYPE, "text/html")], good).into_response(),
        Mood::WrongId => json_body(json!({ "jsonrpc": "2.0", "id": "nobody asked", "result": result }).to_string()),
        Mood::NoResult => json_body(json!({ "jsonrpc": "2.0", "id": id }).to_string()),
        Mood::Empty => json_body(String::new()),
        Mood::Redirects => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:9/elsewhere")]).into_response()
        }
        Mood::Status(code) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, [(header::CONTENT_TYPE, "text/html")], "<html>something broke</html>").into_response()
        }
    }
}

fn json_body(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn events(chunks: impl futures_util::Stream<Item = std::io::Result<String>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response()
}

fn broken() -> std::io::Error {
    std::io::Error::other("the backend breaks off here")
}
