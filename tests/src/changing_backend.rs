//! A small MCP server whose lists change: it tells who listens, counts every request, and shows each session what is its.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// What a server of the stateless era states of its lists (2026-07-28, Caching).
#[derive(Clone, Copy, Debug)]
pub struct Stated {
    /// `ttlMs`.
    pub ttl_ms: u64,
    /// `cacheScope`.
    pub scope: &'static str,
}

/// Somebody who is told of changes.
struct Listener {
    stream: mpsc::UnboundedSender<Value>,
    /// The `_meta` of what it is told.
    meta: Option<Value>,
}

impl Listener {
    fn tell(&self) {
        let params = self.meta.as_ref().map_or_else(|| json!({}), |meta| json!({ "_meta": meta }));
        let _ = self.stream.send(json!({
            "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": params,
        }));
    }
}

#[derive(Default)]
struct Inner {
    /// If it is of the stateless era.
    stated: Option<Stated>,
    version: usize,
    tools: Vec<String>,
    /// Tools that one session alone has.
    own_tools: HashMap<String, Vec<String>>,
    /// Each list begins with another tool than the last.
    rotates: bool,
    fails: bool,
    hangs: bool,
    sessions: usize,
    open: HashSet<String>,
    listed: usize,
    counts: BTreeMap<String, usize>,
    streams: HashMap<String, Listener>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server, of the session era unless it is said to be of the other one.
pub struct ChangingBackend {
    shared: Shared,
    url: String,
    server: JoinHandle<()>,
}

impl ChangingBackend {
    /// Starts it on a free port, with these tools.
    pub async fn start(tools: &[&str]) -> Result<Self> {
        let shared = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let backend = Self { shared, url, server };
        backend.set_tools(tools);
        Ok(backend)
    }

    /// The same of the stateless era.
    pub async fn start_modern(tools: &[&str], stated: Stated) -> Result<Self> {
        let backend = Self::start(tools).await?;
        backend.shared.lock().stated = Some(stated);
        Ok(backend)
    }

    /// Its MCP address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what it offers, without telling anybody.
    pub fn set_tools(&self, tools: &[&str]) {
        self.shared.lock().tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
    }

    /// Gives one session a tool of its own, and tells that session.
    pub fn give(&self, session: &str, tool: &str) {
        let mut inner = self.shared.lock();
        inner.own_tools.entry(session.to_owned()).or_default().push(tool.to_owned());
        if let Some(stream) = inner.streams.get(session) {
            stream.tell();
        }
    }

    /// Is another server from now on, which offers prompts, too, and knows none of the sessions.
    pub fn become_another(&self) {
        let mut inner = self.shared.lock();
        inner.version += 1;
        inner.open.clear();
        inner.streams.clear();
    }

    /// Tells everybody who listens that the tools changed.
    pub fn announce(&self) {
        for stream in self.shared.lock().streams.values() {
            stream.tell();
        }
    }

    /// From now on each list is in another order than the last.
    pub fn rotate(&self) {
        self.shared.lock().rotates = true;
    }

    /// Whether it fails to list from now on.
    pub fn fail(&self, fails: bool) {
        self.shared.lock().fails = fails;
    }

    /// Whether it lets who wants a list wait for ever from now on.
    pub fn hang(&self, hangs: bool) {
        self.shared.lock().hangs = hangs;
    }

    /// The sessions that listen, in the order they were opened; of the stateless era just those who listen.
    pub fn listening(&self) -> Vec<String> {
        let inner = self.shared.lock();
        let mut sessions: Vec<_> = inner
            .streams
            .iter()
            .filter(|(_, listener)| !listener.stream.is_closed())
            .map(|(session, _)| session.clone())
            .collect();
        sessions.sort();
        sessions
    }

    /// How many requests of this method arrived; GET and DELETE count by these names.
    pub fn count(&self, method: &str) -> usize {
        self.shared.lock().counts.get(method).copied().unwrap_or(0)
    }

    /// How many requests and notifications arrived altogether.
    pub fn total(&self) -> usize {
        self.shared.lock().counts.values().sum()
    }
}

impl Drop for ChangingBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(shared): State<Shared>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = message.get("method").and_then(Value::as_str).unwrap_or(method.as_str()).to_owned();
    if count(&shared, &name) {
        return std::future::pending().await;
    }
    let mut inner = shared.lock();
    if let Some(stated) = inner.stated {
        return modern(&mut inner, stated, &name, &message);
    }
    let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let result = match name.as_str() {
        "initialize" => {
            inner.sessions += 1;
            let session = format!("session-{:04}", inner.sessions);
            inner.open.insert(session.clone());
            let revision = message.pointer("/params/protocolVersion").cloned().unwrap_or_default();
            let info = json!({ "name": "changing", "version": inner.version.to_string() });
            let result =
                json!({ "protocolVersion": revision, "capabilities": capabilities(&inner), "serverInfo": info });
            return ([("mcp-session-id", session)], respond(&message, &result)).into_response();
        }
        _ if session.is_empty() => return StatusCode::BAD_REQUEST.into_response(),
        _ if !inner.open.contains(&session) => return StatusCode::NOT_FOUND.into_response(),
        "GET" => return listen(&mut inner, session, None, None),
        "DELETE" => {
            inner.open.remove(&session);
            inner.streams.remove(&session);
            return StatusCode::NO_CONTENT.into_response();
        }
        "tools/list" if inner.fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "tools/list" => json!({ "tools": list(&mut inner, &session) }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": session }] }),
        "prompts/list" => json!({ "prompts": [] }),
        "ping" => json!({}),
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    respond(&message, &result)
}

/// Counts a request, and tells whether it is left waiting.
fn count(shared: &Shared, name: &str) -> bool {
    let mut inner = shared.lock();
    *inner.counts.entry(name.to_owned()).or_default() += 1;
    inner.hangs && name == "tools/list"
}

fn capabilities(inner: &Inner) -> Value {
    let mut capabilities = json!({ "tools": { "listChanged": true } });
    if inner.version > 0 {
        capabilities["prompts"] = json!({});
    }
    capabilities
}

fn modern(inner: &mut Inner, stated: Stated, name: &str, message: &Value) -> Response {
    let mut result = match name {
        "server/discover" => json!({ "supportedVersions": ["2026-07-28"], "capabilities": capabilities(inner) }),
        "tools/list" if inner.fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "tools/list" => json!({ "tools": list(inner, "") }),
        "tools/call" => json!({ "content": [{ "type": "text", "text": "called" }] }),
        "subscriptions/listen" => {
            let meta = json!({ SUBSCRIPTION_ID: message["id"] });
            let params = json!({ "_meta": meta, "notifications": { "toolsListChanged": true } });
            let acknowledged =
                json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params });
            inner.sessions += 1;
            let number = inner.sessions;
            return listen(inner, format!("listener-{number:04}"), Some(meta), Some(acknowledged));
        }
        _ => {
            let error = json!({ "code": -32601, "message": "Method not found" });
            let body = json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }).to_string();
            return (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        }
    };
    result["resultType"] = json!("complete");
    result["ttlMs"] = json!(stated.ttl_ms);
    result["cacheScope"] = json!(stated.scope);
    respond(message, &result)
}

fn list(inner: &mut Inner, session: &str) -> Value {
    let own = inner.own_tools.get(session).cloned().unwrap_or_default();
    let mut tools: Vec<_> = inner.tools.iter().cloned().chain(own).collect();
    if inner.rotates && !tools.is_empty() {
        inner.listed += 1;
        let by = inner.listed % tools.len();
        tools.rotate_left(by);
    }
    let tools: Vec<_> = tools.iter().map(|name| json!({ "name": name, "inputSchema": { "type": "object" } })).collect();
    tools.into()
}

fn listen(inner: &mut Inner, listener: String, meta: Option<Value>, first: Option<Value>) -> Response {
    let (stream, receiver) = mpsc::unbounded_channel();
    if let Some(first) = first {
        let _ = stream.send(first);
    }
    inner.streams.insert(listener, Listener { stream, meta });
    let events = stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<Value>| async {
        let message = receiver.recv().await?;
        Some((format!("data: {message}\n\n"), receiver))
    });
    // The head is sent with the first bytes.
    let events = stream::once(async { ": open\n\n".to_owned() }).chain(events).map(Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn respond(message: &Value, result: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
