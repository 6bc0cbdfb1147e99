//! An MCP server on loopback that does what a test tells it, and remembers what it was sent.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::serve::ListenerExt as _;
use futures_util::{Stream, stream};
use hawser_backend::{
    Backend, BackendConfig, BackendName, BackendSession, ChildLimit, ClientHello, Exchange, ExchangeItem, Transport,
    Unsolicited,
};
use hawser_mcp::{Outcome, RawJson, Revision};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the server was sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct Scripted {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    count: watch::Receiver<usize>,
    connections: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    /// Answers with the script, and where that says nothing like a plain server: a session `s-1`, 202 for notifications
    /// and responses, 405 for GET.
    pub(crate) async fn start(script: impl Fn(&Call) -> Option<Response> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/mcp?key=url-secret", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let script = Arc::new(script);
        let seen = Arc::clone(&calls);
        let router = axum::Router::new().fallback(move |request: Request| {
            let (script, seen, counted) = (Arc::clone(&script), Arc::clone(&seen), counted.clone());
            async move {
                let (head, body) = request.into_parts();
                let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
                let call = Call { method: head.method, path, query, headers: head.headers, body };
                seen.lock().unwrap().push(call.clone());
                counted.send_modify(|count| *count += 1);
                script(&call).unwrap_or_else(|| plain(&call))
            }
        });
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let listener = listener.tap_io(move |_| {
            accepted.fetch_add(1, Ordering::Relaxed);
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, calls, count, connections, server }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until a call like this was received.
    pub(crate) async fn wait_for(&self, like: impl Fn(&Call) -> bool) -> Call {
        let mut count = self.count.clone();
        let waiting = async {
            loop {
                if let Some(call) = self.calls().into_iter().find(|call| like(call)) {
                    return call;
                }
                count.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the server is called")
    }

    pub(crate) fn config(&self) -> BackendConfig {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer header-secret".parse().unwrap());
        BackendConfig::new(
            BackendName::new("scripted").unwrap(),
            Transport::Http { url: self.url.parse().unwrap(), headers },
        )
    }

    pub(crate) async fn open(&self) -> (BackendSession, Unsolicited) {
        open(self.config()).await
    }
}

pub(crate) async fn open(config: BackendConfig) -> (BackendSession, Unsolicited) {
    Backend::new(config, ChildLimit::new(8)).unwrap().open(&hello(Revision::LATEST)).await.unwrap()
}

pub(crate) fn hello(revision: Revision) -> ClientHello {
    ClientHello {
        revision,
        capabilities: raw(r#"{"elicitation":{}}"#),
        client_info: raw(r#"{"name":"test","version":"1"}"#),
    }
}

pub(crate) fn raw(text: &str) -> RawJson {
    RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

/// What a server does that is asked nothing special.
fn plain(call: &Call) -> Response {
    match (call.method.clone(), call.rpc()) {
        (Method::POST, "initialize") => initialized(&call.body["id"], Revision::LATEST.as_str()),
        (Method::POST, _) if call.body.get("id").is_none() || call.body.get("method").is_none() => status(202),
        (Method::POST, _) => json_answer(&result(call)),
        (Method::DELETE, _) => status(200),
        _ => status(405),
    }
}

pub(crate) fn initialized(id: &Value, revision: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": id, "result": {
        "protocolVersion": revision, "capabilities": {"tools": {}}, "serverInfo": {"name": "scripted", "version": "1"},
        "instructions": "Use it.",
    }});
    let mut response = json_answer(&body);
    response.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
    response
}

pub(crate) fn result(call: &Call) -> Value {
    json!({"jsonrpc": "2.0", "id": call.body["id"], "result": {"of": call.rpc()}})
}

pub(crate) fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

pub(crate) fn answer(code: u16, content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

pub(crate) fn json_answer(body: &Value) -> Response {
    answer(200, "application/json", body.to_string())
}

pub(crate) fn event(body: &Value) -> String {
    format!("data: {body}\n\n")
}

/// A complete stream.
pub(crate) fn sse(events: &[Value]) -> Response {
    answer(200, "text/event-stream", events.iter().map(event).collect::<String>())
}

/// A stream that says this and then stays open.
pub(crate) fn sse_open(text: String) -> Response {
    use futures_util::StreamExt as _;
    let body = stream::iter([Ok::<_, Infallible>(text)]).chain(stream::pending());
    answer(200, "text/event-stream", Body::from_stream(body))
}

/// A body that is sent chunk by chunk, without its length.
pub(crate) fn streamed(
    content_type: &str,
    chunks: impl Stream<Item = Result<String, std::io::Error>> + Send + 'static,
) -> Response {
    answer(200, content_type, Body::from_stream(chunks))
}

/// The first connection error a test's server can cause: the body breaks off.
pub(crate) fn broken_off(content_type: &str, text: &str) -> Response {
    let chunks = [Ok(text.to_owned()), Err(std::io::Error::other("broken off on purpose"))];
    streamed(content_type, stream::iter(chunks))
}

/// Everything up to the end of an exchange.
pub(crate) async fn all(exchange: &mut Exchange) -> Vec<ExchangeItem> {
    let mut items = Vec::new();
    loop {
        let item = tokio::time::timeout(Duration::from_secs(10), exchange.next()).await.expect("the exchange goes on");
        let ends = matches!(item, ExchangeItem::Response(_) | ExchangeItem::Failed(_));
        items.push(item);
        if ends {
            return items;
        }
    }
}

/// The end of an exchange that must be an answer.
pub(crate) async fn outcome(exchange: &mut Exchange) -> Outcome {
    match all(exchange).await.pop() {
        Some(ExchangeItem::Response(outcome)) => outcome,
        other => panic!("no answer but {other:?}"),
    }
}

/// The end of an exchange that must be a failure.
pub(crate) async fn failure(exchange: &mut Exchange) -> hawser_backend::BackendError {
    match all(exchange).await.pop() {
        Some(ExchangeItem::Failed(error)) => error,
        other => panic!("no failure but {other:?}"),
    }
}
