//! A client of the session era (2025-03-26 to 2025-11-25), small and exact, that answers what servers ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use url::Url;

use crate::answer::{Answer, Kept};
use crate::capture::Capture;
use crate::modern::Answers;

/// The last revision with sessions.
pub const LEGACY: &str = "2025-11-25";

/// The client, with an open session.
#[derive(Clone)]
pub struct Legacy {
    http: reqwest::Client,
    url: Url,
    token: Option<String>,
    capture: Capture,
    revision: String,
    session: Option<String>,
    initialized: Value,
    next_id: Arc<AtomicU64>,
}

impl Legacy {
    /// Opens a session at the last legacy revision. Every message is kept in `capture`.
    pub async fn open(url: &Url, token: Option<&str>, capabilities: Value, capture: &Capture) -> Result<Self> {
        Self::open_at(LEGACY, url, token, capabilities, capture).await
    }

    /// The same, asking for another revision.
    pub async fn open_at(
        revision: &str,
        url: &Url,
        token: Option<&str>,
        capabilities: Value,
        capture: &Capture,
    ) -> Result<Self> {
        let mut client = Self {
            http: reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            url: url.clone(),
            token: token.map(str::to_owned),
            capture: capture.clone(),
            revision: revision.to_owned(),
            session: None,
            initialized: Value::Null,
            next_id: Arc::new(AtomicU64::new(1)),
        };
        let info = json!({ "name": "legacy test client", "version": "1" });
        let params = json!({ "protocolVersion": revision, "capabilities": capabilities, "clientInfo": info });
        let mut answer = client.request("initialize", params).await?;
        client.session = answer.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        client.initialized = answer.result().await.context("initialize")?;
        client.revision = client.initialized["protocolVersion"].as_str().context("no revision")?.to_owned();
        let status = client.notify("notifications/initialized", None).await?;
        ensure!(status == 202, "notifications/initialized: {status}");
        Ok(client)
    }

    /// The result of `initialize`.
    pub fn initialized(&self) -> &Value {
        &self.initialized
    }

    /// The session id.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The same client on another session, presenting another token: how a session would be stolen.
    #[must_use]
    pub fn stealing(&self, session: &str) -> Self {
        Self { session: Some(session.to_owned()), ..self.clone() }
    }

    /// The same client on the same session, at another address of the server.
    #[must_use]
    pub fn at(&self, url: &Url) -> Self {
        Self { url: url.clone(), ..self.clone() }
    }

    /// The same client, presenting another token from now on.
    #[must_use]
    pub fn presenting(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    fn kept(&self) -> Kept {
        let connection = match &self.session {
            Some(session) => format!("session {session}"),
            None => format!("legacy {:p}", Arc::as_ptr(&self.next_id)),
        };
        Kept { capture: self.capture.clone(), connection, revision: self.revision.clone() }
    }

    fn dressed(&self, request: RequestBuilder) -> RequestBuilder {
        let mut request = request;
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if !self.initialized.is_null() && self.revision != "2025-03-26" {
            request = request.header("mcp-protocol-version", &self.revision);
        }
        request
    }

    /// Posts any message.
    pub async fn post(&self, message: &Value) -> Result<Answer> {
        let request = self.http.post(self.url.clone()).body(message.to_string());
        let request = request.header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream");
        let kept = self.kept();
        kept.sent(message);
        Ok(Answer::new(self.dressed(request).send().await?, kept))
    }

    /// Posts a request.
    pub async fn request(&self, method: &str, params: Value) -> Result<Answer> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.request_as(&json!(id), method, params).await
    }

    /// The same with an id that the test chooses.
    pub async fn request_as(&self, id: &Value, method: &str, params: Value) -> Result<Answer> {
        self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await
    }

    /// The result of a request.
    pub async fn result(&self, method: &str, params: Value) -> Result<Value> {
        self.request(method, params).await?.result().await.with_context(|| method.to_owned())
    }

    /// The error of a request.
    pub async fn error(&self, method: &str, params: Value) -> Result<Value> {
        self.request(method, params).await?.error().await.with_context(|| method.to_owned())
    }

    /// Posts a notification.
    pub async fn notify(&self, method: &str, params: Option<Value>) -> Result<StatusCode> {
        let mut message = json!({ "jsonrpc": "2.0", "method": method });
        if let Some(params) = params {
            message["params"] = params;
        }
        Ok(self.post(&message).await?.status)
    }

    /// Answers a request of the server.
    pub async fn respond(&self, id: &Value, result: Value) -> Result<StatusCode> {
        Ok(self.post(&json!({ "jsonrpc": "2.0", "id": id, "result": result })).await?.status)
    }

    /// A request during which the server asks as often as it likes: the result, and the methods that it asked.
    pub async fn answering(&self, method: &str, params: Value, answers: Answers<'_>) -> Result<(Value, Vec<String>)> {
        let mut answer = self.request(method, params).await?;
        let mut asked = Vec::new();
        loop {
            let message = answer.next().await?.with_context(|| format!("{method}: the stream ended"))?;
            if let (Some(id), Some(question)) = (message.get("id"), message["method"].as_str()) {
                let result = answers(question, message.get("params").unwrap_or(&Value::Null));
                let status = self.respond(id, result).await?;
                ensure!(status == 202, "the answer to {question}: {status}");
                asked.push(question.to_owned());
            } else if let Some(result) = message.get("result") {
                return Ok((result.clone(), asked));
            } else {
                ensure!(message.get("error").is_none(), "{method}: {message}");
            }
        }
    }

    /// Opens the standalone stream, or resumes one after an event.
    pub async fn stream(&self, last_event_id: Option<&str>) -> Result<Answer> {
        let mut request = self.http.get(self.url.clone()).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        Ok(Answer::new(self.dressed(request).send().await?, self.kept()))
    }

    /// Ends the session.
    pub async fn delete(&self) -> Result<StatusCode> {
        Ok(self.dressed(self.http.delete(self.url.clone())).send().await?.status())
    }
}
