//! Clients of both eras, as far as the simulation needs them: build requests, read answers.

use std::time::Duration;

use bytes::Bytes;
use hawser_gateway::{Body, Gateway};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::calls::Ended;
use crate::node::PATIENCE;

/// The revision of clients without sessions.
const MODERN: &str = "2026-07-28";

/// Nothing may take longer than this.
pub const DEADLOCK: Duration = Duration::from_mins(1);

/// A call may wait for an answer that was lost, until that is given up.
const LONGEST: Duration = PATIENCE.saturating_add(DEADLOCK);

/// What is asked of a node.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The verb.
    pub method: Method,
    /// Whose token comes along.
    pub token: String,
    /// The session id that comes along.
    pub session: Option<String>,
    /// The body.
    pub body: Option<String>,
    /// Headers that come along.
    pub headers: Vec<(&'static str, String)>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Came {
    /// An answer.
    Answer {
        /// Its status.
        status: StatusCode,
        /// The session id in it.
        session: Option<String>,
        /// Its whole body.
        body: Bytes,
    },
    /// The node died first, or the one whose answer it handed on.
    Lost,
    /// Nothing, for a minute.
    Stuck,
}

impl Asked {
    /// Opens a session.
    pub fn initialize(token: String, name: &str) -> Self {
        let client = json!({"name": name, "version": "1"});
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": client});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string();
        Self { method: Method::POST, token, session: None, body: Some(body), headers: Vec::new() }
    }

    /// A request, a notification or a response within a session.
    pub fn post(token: String, session: &str, body: String) -> Self {
        Self { method: Method::POST, token, session: Some(session.to_owned()), body: Some(body), headers: Vec::new() }
    }

    /// The simplest call.
    pub fn ping(token: String, session: &str, id: u64) -> Self {
        Self::post(token, session, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#))
    }

    /// The end of a session.
    pub fn delete(token: String, session: &str) -> Self {
        Self { method: Method::DELETE, token, session: Some(session.to_owned()), body: None, headers: Vec::new() }
    }

    /// Listens.
    pub fn listen(token: String, session: &str) -> Self {
        Self { method: Method::GET, token, session: Some(session.to_owned()), body: None, headers: Vec::new() }
    }

    /// A call of a tool within a session.
    pub fn call(token: String, session: &str, tool: &str, call: u64) -> Self {
        let params = json!({"name": tool, "arguments": {"call": call}});
        let body = json!({"jsonrpc": "2.0", "id": call, "method": "tools/call", "params": params});
        Self::post(token, session, body.to_string())
    }

    /// The answer to what was asked in the middle of a call.
    pub fn answer(token: String, session: &str, id: &Value, by: &str) -> Self {
        Self::post(token, session, json!({"jsonrpc": "2.0", "id": id, "result": agreement(by)}).to_string())
    }

    /// Takes up a stream after an event.
    pub fn resume(token: String, session: &str, after: String) -> Self {
        Self { headers: vec![("last-event-id", after)], ..Self::listen(token, session) }
    }

    /// A call of a tool without a session; `retry` is a state that comes back, and who answers what was asked.
    pub fn stateless(token: String, tool: &str, call: u64, retry: Option<(&str, &Value, &str)>) -> Self {
        let key = |name: &str| format!("io.modelcontextprotocol/{name}");
        let meta = json!({
            key("protocolVersion"): MODERN, key("clientInfo"): {"name": "simulated", "version": "1"},
            key("clientCapabilities"): {"elicitation": {"form": {}}},
        });
        let mut params = json!({"name": tool, "arguments": {"call": call}, "_meta": meta});
        if let Some((state, asked, by)) = retry {
            let keys = asked.as_object().into_iter().flatten().map(|(key, _)| (key.clone(), agreement(by)));
            params["requestState"] = json!(state);
            params["inputResponses"] = Value::Object(keys.collect());
        }
        let body = json!({"jsonrpc": "2.0", "id": call, "method": "tools/call", "params": params});
        let headers = vec![
            ("mcp-protocol-version", MODERN.to_owned()),
            ("mcp-method", "tools/call".to_owned()),
            ("mcp-name", tool.to_owned()),
        ];
        Self { method: Method::POST, token, session: None, body: Some(body.to_string()), headers }
    }

    fn request(self) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri("/mcp")
            .header(HOST, "gateway.example")
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        if let Some(session) = self.session {
            request = request.header("mcp-session-id", session);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = Full::new(self.body.map(Bytes::from).unwrap_or_default());
        request.body(body).expect("the parts of a request are well formed")
    }

    /// Asks a node, and reads the answer to its end.
    pub async fn whole(self, gateway: &Gateway, died: &CancellationToken) -> Came {
        let exchange = async {
            let response = gateway.handle(self.request()).await;
            let (status, session) = head(&response);
            match response.into_body().collect().await {
                Ok(body) => Came::Answer { status, session, body: body.to_bytes() },
                // The node that the answer came from by way of this one has died.
                Err(_broken) => Came::Lost,
            }
        };
        tokio::select! {
            biased;
            () = died.cancelled() => Came::Lost,
            came = timeout(DEADLOCK, exchange) => came.unwrap_or(Came::Stuck),
        }
    }

    /// Asks a node, and gives the body of a good answer to who reads it.
    pub async fn stream(self, gateway: &Gateway, died: &CancellationToken) -> Result<Body, Came> {
        tokio::select! {
            biased;
            () = died.cancelled() => Err(Came::Lost),
            response = timeout(DEADLOCK, gateway.handle(self.request())) => match response {
                Err(_) => Err(Came::Stuck),
                Ok(response) if response.status() == StatusCode::OK => Ok(response.into_body()),
                Ok(response) => {
                    let (status, session) = head(&response);
                    Err(Came::Answer { status, session, body: Bytes::new() })
                }
            },
        }
    }
}

impl Asked {
    /// Asks a node for something about a call, and reads the answer up to where the call ends, or asks.
    pub async fn begin(self, gateway: &Gateway, died: &CancellationToken) -> Result<Answer, Ended> {
        tokio::select! {
            biased;
            () = died.cancelled() => Err(Ended::Lost),
            response = timeout(DEADLOCK, gateway.handle(self.request())) => {
                response.map(Answer::new).map_err(|_| Ended::Stuck)
            }
        }
    }
}

/// Reads an answer up to where its call ends (an error), or asks.
pub async fn read(answer: &mut Answer, died: &CancellationToken) -> Result<Value, Ended> {
    tokio::select! {
        biased;
        () = died.cancelled() => Err(Ended::Lost),
        end = timeout(LONGEST, answer.end()) => end.unwrap_or(Err(Ended::Stuck)),
    }
}

fn agreement(by: &str) -> Value {
    json!({"action": "accept", "content": {"by": by}})
}

fn head(response: &Response<Body>) -> (StatusCode, Option<String>) {
    let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    (response.status(), session)
}
