//! A small client of MCP's streamable HTTP transport, revisions 2025-03-26 to 2025-11-25.
//!
//! It sends exactly what it is told, under exactly the credential and session it is told, and returns everything that came
//! back. It decides nothing: an examination needs a client that can also misbehave.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::RequestBuilder;
use tokio::time::Instant;
use url::Url;

use crate::rpc::{self, Message};
use crate::secret::Secret;
use crate::sse;
use crate::wire::{Answer, Chunk, Ending, Incoming, Wire, WireError};

/// The newest revision this client speaks.
pub const NEWEST_REVISION: &str = "2025-11-25";

/// The first revision without `initialize`.
const FIRST_MODERN_REVISION: &str = "2026-07-28";

/// The revisions this client speaks.
pub const REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// What a request presents beside its body.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Bearer token.
    pub token: Option<&'a Secret>,
    /// `Mcp-Session-Id`.
    pub session: Option<&'a str>,
    /// `MCP-Protocol-Version`.
    pub revision: Option<&'a str>,
}

impl Presented<'_> {
    fn headers(&self) -> Result<HeaderMap, WireError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| WireError::Header("Authorization"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(session) = self.session {
            let value = HeaderValue::from_str(session).map_err(|_| WireError::Header("Mcp-Session-Id"))?;
            headers.insert("mcp-session-id", value);
        }
        if let Some(revision) = self.revision {
            let value = HeaderValue::from_str(revision).map_err(|_| WireError::Header("MCP-Protocol-Version"))?;
            headers.insert("mcp-protocol-version", value);
        }
        Ok(headers)
    }
}

/// An MCP endpoint.
#[derive(Debug, Clone)]
pub struct Mcp {
    wire: Wire,
    url: Url,
}

/// The answer to a POST: as it came, and as messages.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status, headers, body.
    pub answer: Answer,
    /// The messages in the body, JSON or event stream.
    pub messages: Vec<Message>,
    /// Event ids seen on the stream.
    pub event_ids: Vec<String>,
}

impl Reply {
    /// The response to the request with the id `id`.
    pub fn response(&self, id: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.answers(id))
    }

    /// The session id the server assigned. Only visible ASCII is an id (MCP, Session Management).
    pub fn session_id(&self) -> Option<&str> {
        let value = self.answer.headers.get("mcp-session-id")?.to_str().ok()?;
        (!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())).then_some(value)
    }
}

impl Mcp {
    /// The endpoint at `url`.
    pub fn new(wire: Wire, url: Url) -> Self {
        Self { wire, url }
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The HTTP client underneath.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    fn request(&self, method: Method, presented: Presented<'_>) -> Result<RequestBuilder, WireError> {
        Ok(self.wire.request(method, &self.url).headers(presented.headers()?))
    }

    /// POSTs `body` and reads the answer; on an event stream, until the response to `awaited` has come. Requests of the
    /// server that arrive meanwhile get the harmless default answer under the same credential.
    pub async fn post(
        &self,
        presented: Presented<'_>,
        body: String,
        awaited: Option<&str>,
    ) -> Result<Reply, WireError> {
        let incoming = self.start_post(presented, body).await?;
        self.read_reply(presented, incoming, awaited).await
    }

    async fn read_reply(
        &self,
        presented: Presented<'_>,
        mut incoming: Incoming,
        awaited: Option<&str>,
    ) -> Result<Reply, WireError> {
        if !incoming.is_event_stream() {
            let answer = incoming.read().await;
            let messages = rpc::messages(&answer.body);
            return Ok(Reply { answer, messages, event_ids: Vec::new() });
        }
        let mut reader = EventReader::new(self.wire.limits().body);
        let mut messages: Vec<Message> = Vec::new();
        let ending = loop {
            if awaited.is_some_and(|id| messages.iter().any(|message| message.answers(id))) {
                break Ending::Open;
            }
            match incoming.chunk(incoming.deadline()).await {
                Chunk::Quiet => break Ending::Open,
                Chunk::Over(ending) => break ending,
                Chunk::Data(bytes) => {
                    let Some(new) = reader.take(&bytes) else { break Ending::TooLarge };
                    for message in &new {
                        if let Some(answer) = rpc::default_answer(message) {
                            self.submit(presented, answer).await?;
                        }
                    }
                    messages.extend(new);
                }
            }
        };
        Ok(Reply { answer: incoming.stop(ending), messages, event_ids: reader.ids })
    }

    /// Asks what a server of the revisions from 2026-07-28 on is asked first. This client speaks none of them; it asks to
    /// tell such a server from a broken one.
    pub async fn discover(&self, token: Option<&Secret>) -> Result<Reply, WireError> {
        let presented = Presented { token, session: None, revision: Some(FIRST_MODERN_REVISION) };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"{FIRST_MODERN_REVISION}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        );
        let request = self
            .request(Method::POST, presented)?
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .header("mcp-method", "server/discover")
            .body(body);
        let incoming = self.wire.start(request).await?;
        self.read_reply(presented, incoming, Some("1")).await
    }

    /// POSTs a message that expects no response (a notification, a response) and reads the answer whole.
    pub async fn submit(&self, presented: Presented<'_>, body: String) -> Result<Answer, WireError> {
        Ok(self.start_post(presented, body).await?.read().await)
    }

    async fn start_post(&self, presented: Presented<'_>, body: String) -> Result<Incoming, WireError> {
        let request = self
            .request(Method::POST, presented)?
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        self.wire.start(request).await
    }

    /// Opens the GET stream, resuming after `last_event_id` if given.
    pub async fn listen(&self, presented: Presented<'_>, last_event_id: Option<&str>) -> Result<Listening, WireError> {
        let mut request = self.request(Method::GET, presented)?.header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event_id {
            let value = HeaderValue::from_str(id).map_err(|_| WireError::Header("Last-Event-ID"))?;
            request = request.header("last-event-id", value);
        }
        let incoming = self.wire.start(request).await?;
        let reader = EventReader::new(self.wire.limits().body);
        Ok(Listening { incoming, reader, messages: Vec::new() })
    }

    /// DELETEs the session.
    pub async fn delete(&self, presented: Presented<'_>) -> Result<Answer, WireError> {
        self.wire.fetch(self.request(Method::DELETE, presented)?).await
    }
}

/// An answer to GET: a stream if [`Listening::is_open`], else a refusal.
#[derive(Debug)]
pub struct Listening {
    incoming: Incoming,
    reader: EventReader,
    messages: Vec<Message>,
}

impl Listening {
    /// Whether the server opened an event stream.
    pub fn is_open(&self) -> bool {
        self.incoming.status.is_success() && self.incoming.is_event_stream()
    }

    /// Waits `within` at most for something `wanted`; gives it, or `None` when the time is over or the stream has ended.
    pub async fn wait(&mut self, within: Duration, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let until = Instant::now() + within;
        loop {
            if let Some(at) = self.messages.iter().position(&wanted) {
                return Some(self.messages.remove(at));
            }
            if !self.read_once(until).await {
                return None;
            }
        }
    }

    /// Whether the stream ended, looking for `within` at most.
    pub async fn ended(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.incoming.chunk(until).await {
                Chunk::Data(bytes) => self.messages.extend(self.reader.take(&bytes).unwrap_or_default()),
                Chunk::Quiet => return false,
                Chunk::Over(_) => return true,
            }
        }
    }

    async fn read_once(&mut self, until: Instant) -> bool {
        match self.incoming.chunk(until).await {
            Chunk::Data(bytes) => self.reader.take(&bytes).map(|new| self.messages.extend(new)).is_some(),
            Chunk::Quiet | Chunk::Over(_) => false,
        }
    }

    /// Waits `within` at most for an event id; gives the last one seen.
    pub async fn event_id(&mut self, within: Duration) -> Option<&str> {
        let until = Instant::now() + within;
        while self.reader.ids.is_empty() && self.read_once(until).await {}
        self.last_event_id()
    }

    /// The last event id seen.
    pub fn last_event_id(&self) -> Option<&str> {
        self.reader.ids.last().map(String::as_str)
    }

    /// The answer so far; of an open stream, what `within` brings, of a refusal, the whole.
    pub async fn answer(mut self, within: Duration) -> Answer {
        if !self.is_open() {
            return self.incoming.read().await;
        }
        let ended = self.ended(within).await;
        self.incoming.stop(if ended { Ending::Complete } else { Ending::Open })
    }
}

/// Event stream bytes to messages, keeping the event ids.
#[derive(Debug)]
struct EventReader {
    parser: sse::Parser,
    ids: Vec<String>,
}

impl EventReader {
    fn new(max: usize) -> Self {
        Self { parser: sse::Parser::new(max), ids: Vec::new() }
    }

    /// `None` when an event is too large.
    fn take(&mut self, bytes: &[u8]) -> Option<Vec<Message>> {
        let mut events = Vec::new();
        self.parser.push(bytes, &mut events).ok()?;
        let messages = events.iter().flat_map(|event| rpc::messages(event.data.as_bytes())).collect();
        self.ids.extend(events.into_iter().filter_map(|event| event.id).filter(|id| !id.is_empty()));
        Some(messages)
    }
}
