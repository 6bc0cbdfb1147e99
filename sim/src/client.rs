//! A client of the session era, as far as the simulation needs one: builds requests, reads answers.

use std::time::Duration;

use bytes::Bytes;
use hawser_gateway::{Body, Gateway};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing may take longer than this.
pub const DEADLOCK: Duration = Duration::from_mins(1);

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
    pub fn initialize(token: String) -> Self {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
            "capabilities":{},"clientInfo":{"name":"simulated","version":"1"}}}"#;
        Self { method: Method::POST, token, session: None, body: Some(body.to_owned()) }
    }

    /// A request, a notification or a response within a session.
    pub fn post(token: String, session: &str, body: String) -> Self {
        Self { method: Method::POST, token, session: Some(session.to_owned()), body: Some(body) }
    }

    /// The simplest call.
    pub fn ping(token: String, session: &str, id: u64) -> Self {
        Self::post(token, session, format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#))
    }

    /// The end of a session.
    pub fn delete(token: String, session: &str) -> Self {
        Self { method: Method::DELETE, token, session: Some(session.to_owned()), body: None }
    }

    /// Listens.
    pub fn listen(token: String, session: &str) -> Self {
        Self { method: Method::GET, token, session: Some(session.to_owned()), body: None }
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

fn head(response: &Response<Body>) -> (StatusCode, Option<String>) {
    let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    (response.status(), session)
}
