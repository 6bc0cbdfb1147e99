//! A reverse proxy in front of a backend that changes nothing and keeps everything: each exchange with its headers and its
//! end, and each message in the capture of the test.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::answer::EventReader;
use crate::capture::{Capture, Sender, Side};

/// What HTTP says of one connection, and is not passed on.
const HOP_BY_HOP: [header::HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING];

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ended {
    /// Not yet.
    #[default]
    Open,
    /// The backend's answer went through to its end.
    Whole,
    /// The gateway closed the answer before its end.
    Dropped,
    /// The backend broke its answer off.
    Broken,
}

/// One HTTP exchange between the gateway and the backend.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The HTTP method.
    pub verb: Method,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The message in its body; null if there is none.
    pub message: Value,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// How it ended.
    pub ended: Ended,
}

impl Exchange {
    /// The JSON-RPC method of the request, empty if it is a response.
    pub fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    /// The value of a request header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Clone)]
struct Shared {
    http: reqwest::Client,
    upstream: Url,
    capture: Capture,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.lock().get_mut(index) {
            change(exchange);
        }
    }
}

/// The proxy, running.
pub struct Recorder {
    shared: Shared,
    url: Url,
    server: JoinHandle<()>,
}

impl Recorder {
    /// Starts one in front of `upstream` on a free port.
    pub async fn start(upstream: &Url, capture: &Capture) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let mut url = upstream.clone();
        url.set_port(Some(listener.local_addr()?.port())).ok().context("an address without a port")?;
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        let (upstream, capture) = (upstream.clone(), capture.clone());
        let shared = Shared { http, upstream, capture, exchanges: Arc::default() };
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let server = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, url, server })
    }

    /// Where the gateway is to find the backend.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// All exchanges so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.lock().clone()
    }

    /// The exchanges whose request has this JSON-RPC method.
    pub fn of_method(&self, method: &str) -> Vec<Exchange> {
        self.shared.lock().iter().filter(|exchange| exchange.method() == method).cloned().collect()
    }

    /// How often a method was sent.
    pub fn count(&self, method: &str) -> usize {
        self.shared.lock().iter().filter(|exchange| exchange.method() == method).count()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// How the messages of one exchange are kept.
struct Recording {
    shared: Shared,
    index: usize,
    connection: String,
    revision: String,
    reader: Option<EventReader>,
    ended: Ended,
}

impl Recording {
    fn received(&self, text: &str) {
        if let Ok(message) = serde_json::from_str::<Value>(text)
            && (message.is_object() || message.is_array())
        {
            self.shared.capture.take(Side::Backend, Sender::Server, &self.connection, &self.revision, &message);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(reader) = &mut self.reader {
            for data in reader.push(bytes).into_iter().filter_map(|event| event.data) {
                self.received(&data);
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let ended = if self.ended == Ended::Open { Ended::Dropped } else { self.ended };
        self.shared.change(self.index, |exchange| exchange.ended = ended);
    }
}

/// The revision that a message is of: by its header, or as `initialize` asks for it.
fn revision_of(headers: &HeaderMap, message: &Value) -> String {
    let named = headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
    named.or_else(|| message.pointer("/params/protocolVersion")?.as_str()).unwrap_or("2025-03-26").to_owned()
}

async fn pass(
    State(shared): State<Shared>,
    verb: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, (StatusCode, String)> {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let revision = revision_of(&headers, &message);
    let index = {
        let mut exchanges = shared.lock();
        let (verb, headers, message) = (verb.clone(), headers.clone(), message.clone());
        exchanges.push(Exchange { verb, headers, message, status: None, ended: Ended::Open });
        exchanges.len() - 1
    };
    // Ids are unique in a session, and in the stateless era in one exchange.
    let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok());
    let connection = session.map_or_else(|| format!("exchange {index}"), str::to_owned);
    if !message.is_null() {
        shared.capture.take(Side::Backend, Sender::Client, &connection, &revision, &message);
    }
    let recording = Recording { shared: shared.clone(), index, connection, revision, reader: None, ended: Ended::Open };

    let mut target = shared.upstream.clone();
    target.set_path(uri.path());
    target.set_query(uri.query());
    let mut request = shared.http.request(verb, target).body(body);
    for (name, value) in headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)) {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(answered(answer, recording).await.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error).into_response()))
}

/// The backend's answer, passed on.
async fn answered(answer: reqwest::Response, mut recording: Recording) -> Result<Response, String> {
    let status = answer.status();
    recording.shared.change(recording.index, |exchange| exchange.status = Some(status));
    let headers = answer.headers().clone();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = if kind.starts_with("text/event-stream") {
        recording.reader = Some(EventReader::default());
        Body::from_stream(recorded(Box::pin(answer.bytes_stream()), recording))
    } else {
        let whole = answer.bytes().await;
        recording.ended = if whole.is_ok() { Ended::Whole } else { Ended::Broken };
        let whole = whole.map_err(|error| error.to_string())?;
        recording.received(&String::from_utf8_lossy(&whole));
        Body::from(whole)
    };
    let mut response = (status, body).into_response();
    for (name, value) in headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)) {
        response.headers_mut().insert(name, value.clone());
    }
    Ok(response)
}

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// The chunks of a stream as they come, each read on its way.
fn recorded(chunks: Chunks, recording: Recording) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures_util::stream::unfold((chunks, recording), async |(mut chunks, mut recording)| match chunks.next().await {
        Some(Ok(chunk)) => {
            recording.bytes(&chunk);
            Some((Ok(chunk), (chunks, recording)))
        }
        Some(Err(error)) => {
            recording.ended = Ended::Broken;
            Some((Err(std::io::Error::other(error)), (chunks, recording)))
        }
        None => {
            recording.ended = Ended::Whole;
            None
        }
    })
}
