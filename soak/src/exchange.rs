//! One request and what came of it, told apart exactly: what the account is made of.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use hawser_tests::{EventReader, StreamEvent};
use http::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use url::Url;

use crate::front::NODE;

/// Longer than any pause between two bytes of a stream: keep-alives come every 15 s.
const PATIENCE: Duration = Duration::from_secs(50);
const BODY_LIMIT: usize = 16 << 20;
/// How much of an answer is told when something is wrong with it.
const SHOWN: usize = 240;
/// How many steps of one attempt are told.
const TRAIL: usize = 24;

/// How an exchange ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// With a JSON-RPC response.
    Response(Value),
    /// With a status that is not the one of an answer.
    Status {
        /// The status.
        status: u16,
        /// Whether it says when to come back.
        retry_after: bool,
        /// The start of the body.
        body: String,
    },
    /// No node could be connected to: nothing was sent.
    NotReached,
    /// The connection to this node, if it is known, broke before there was a response.
    Cut(Option<usize>),
    /// The answer ended as if it were complete, without a response.
    Truncated,
    /// Nothing came for too long.
    Silence,
}

/// An exchange, or several that belong together, with all nodes that answered.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) nodes: Vec<usize>,
    pub(crate) end: End,
    /// What happened on the way, to be told if it is lost.
    pub(crate) trail: Vec<String>,
}

impl Attempt {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { started: now, ended: now, nodes: Vec::new(), end: End::NotReached, trail: Vec::new() }
    }

    /// Notes what happened just now.
    pub(crate) fn note(&mut self, what: &str) {
        if self.trail.len() < TRAIL {
            self.trail.push(format!("{:.2} s {what}", self.started.elapsed().as_secs_f64()));
        }
    }

    /// This node answered, or failed to.
    pub(crate) fn answered(&mut self, what: &str, reply: &Result<Reply, End>) {
        match reply {
            Ok(reply) => {
                self.touch(reply.node);
                self.note(&format!("{what}: {} of node {:?}", reply.status, reply.node));
            }
            Err(end) => {
                if let End::Cut(node) = end {
                    self.touch(*node);
                }
                self.note(&format!("{what}: {end:?}"));
            }
        }
    }

    /// This node had to do with it.
    pub(crate) fn touch(&mut self, node: Option<usize>) {
        if let Some(node) = node.filter(|node| !self.nodes.contains(node)) {
            self.nodes.push(node);
        }
    }

    pub(crate) fn end(mut self, end: End) -> Self {
        if let End::Cut(node) = end {
            self.touch(node);
        }
        (self.ended, self.end) = (Instant::now(), end);
        self
    }

    /// The result, if it ended with one.
    pub(crate) fn result(&self) -> Option<&Value> {
        match &self.end {
            End::Response(response) => response.get("result"),
            _ => None,
        }
    }
}

/// What comes next of an answer.
#[derive(Debug)]
pub(crate) enum Next {
    /// A message.
    Message(Value),
    /// The answer is complete.
    Ended,
    /// The connection broke.
    Broken,
    /// Nothing came for too long.
    Silence,
}

/// What a request shows of who sends it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) revision: Option<&'a str>,
    pub(crate) last_event_id: Option<&'a str>,
}

/// The way to the gateway.
#[derive(Clone)]
pub(crate) struct Wire {
    http: reqwest::Client,
    url: Url,
}

impl Wire {
    pub(crate) fn to(url: Url) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, url })
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The MCP endpoint.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// A request to the endpoint.
    pub(crate) fn request(&self, method: Method, shown: Shown<'_>) -> RequestBuilder {
        let mut request = self.http.request(method, self.url.clone());
        if let Some(token) = shown.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in [
            ("mcp-session-id", shown.session),
            ("mcp-protocol-version", shown.revision),
            ("last-event-id", shown.last_event_id),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }

    /// A message.
    pub(crate) fn post(&self, shown: Shown<'_>, message: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, shown).header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream").body(message.to_string())
    }

    /// Waits for the head of the answer.
    pub(crate) async fn send(&self, request: RequestBuilder, until: Instant) -> Result<Reply, End> {
        let sent = tokio::time::timeout_at(until.into(), request.send()).await;
        let response = sent.map_err(|_| End::Silence)?.map_err(|_| End::Cut(None))?;
        let reply = Reply::new(response);
        if reply.status == 502 {
            return Err(if reply.node.is_some() { End::Cut(reply.node) } else { End::NotReached });
        }
        Ok(reply)
    }
}

/// An answer that is being read. Dropping it closes the connection.
pub(crate) struct Reply {
    /// The node that it is from.
    pub(crate) node: Option<usize>,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The id of the last event that had one.
    pub(crate) last_event_id: Option<String>,
    response: reqwest::Response,
    stream: Option<EventReader>,
    events: VecDeque<StreamEvent>,
    done: bool,
}

impl Reply {
    fn new(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let stream = text("content-type").starts_with("text/event-stream").then(EventReader::default);
        let node = text(NODE).parse().ok();
        Self { node, status, headers, last_event_id: None, response, stream, events: VecDeque::new(), done: false }
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// The next message, passing over events without one.
    pub(crate) async fn next(&mut self, until: Instant) -> Next {
        if self.stream.is_none() {
            return self.whole(until).await;
        }
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(id) = event.id {
                    self.last_event_id = Some(id);
                }
                if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                    return serde_json::from_str(&data).map_or(Next::Broken, Next::Message);
                }
            }
            let patient = until.min(Instant::now() + PATIENCE);
            match tokio::time::timeout_at(patient.into(), self.response.chunk()).await {
                Err(_) => return Next::Silence,
                Ok(Err(_)) => return Next::Broken,
                Ok(Ok(None)) => return Next::Ended,
                Ok(Ok(Some(chunk))) => {
                    let reader = self.stream.get_or_insert_default();
                    self.events.extend(reader.push(&chunk));
                }
            }
        }
    }

    /// The body of an answer that is no stream.
    async fn whole(&mut self, until: Instant) -> Next {
        if std::mem::replace(&mut self.done, true) {
            return Next::Ended;
        }
        match self.bytes(until).await {
            Ok(body) => serde_json::from_slice(&body).map_or(Next::Ended, Next::Message),
            Err(next) => next,
        }
    }

    async fn bytes(&mut self, until: Instant) -> Result<Vec<u8>, Next> {
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout_at(until.into(), self.response.chunk()).await {
                Err(_) => return Err(Next::Silence),
                Ok(Ok(None)) => return Ok(body),
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= BODY_LIMIT => body.extend_from_slice(&chunk),
                Ok(Ok(Some(_)) | Err(_)) => return Err(Next::Broken),
            }
        }
    }

    /// Reads an answer that is a refusal. A JSON-RPC error keeps its status beside it.
    pub(crate) async fn refusal(mut self, until: Instant) -> End {
        let retry_after = self.headers.contains_key("retry-after");
        let body = if self.is_stream() { Ok(Vec::new()) } else { self.bytes(until).await };
        match body {
            Ok(body) => {
                let body = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
                End::Status { status: self.status, retry_after, body }
            }
            Err(Next::Silence) => End::Silence,
            Err(_) => End::Cut(self.node),
        }
    }
}

/// A message, cut to what a report can show.
pub(crate) fn shown(message: &impl ToString) -> String {
    message.to_string().chars().take(SHOWN).collect()
}
