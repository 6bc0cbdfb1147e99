//! A client of the stateless era (2026-07-28), small and exact: every request carries what it must, and a test can take
//! any of it away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use url::Url;

use crate::answer::{Answer, Kept};
use crate::capture::Capture;

/// The revision it speaks.
pub const MODERN: &str = "2026-07-28";
const KEY: &str = "io.modelcontextprotocol";
const MAX_ROUNDS: usize = 8;

/// How a client answers what a server asks it: method and parameters in, result out.
pub type Answers<'a> = &'a (dyn Fn(&str, &Value) -> Value + Sync);

/// The client; clones share the numbering of requests.
#[derive(Clone)]
pub struct Modern {
    http: reqwest::Client,
    url: Url,
    token: Option<String>,
    capture: Capture,
    capabilities: Value,
    next_id: Arc<AtomicU64>,
}

impl Modern {
    /// A client that declares no capabilities. It keeps every message in `capture`.
    pub fn new(url: &Url, token: Option<&str>, capture: &Capture) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self {
            http,
            url: url.clone(),
            token: token.map(str::to_owned),
            capture: capture.clone(),
            capabilities: json!({}),
            next_id: Arc::new(AtomicU64::new(1)),
        })
    }

    /// The same, declaring these capabilities.
    #[must_use]
    pub fn declaring(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same, at another address of the server.
    #[must_use]
    pub fn at(&self, url: &Url) -> Self {
        Self { url: url.clone(), ..self.clone() }
    }

    /// The same, presenting another token.
    #[must_use]
    pub fn presenting(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// A request that is as it must be.
    pub fn request(&self, method: &str, params: Value) -> Outgoing {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut params = params;
        if let Value::Object(members) = &mut params {
            let meta = members.entry("_meta").or_insert_with(|| json!({}));
            meta[format!("{KEY}/protocolVersion")] = json!(MODERN);
            meta[format!("{KEY}/clientInfo")] = json!({ "name": "modern test client", "version": "1" });
            meta[format!("{KEY}/clientCapabilities")] = self.capabilities.clone();
        }
        let mut outgoing = Outgoing {
            client: self.clone(),
            headers: Vec::new(),
            body: json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }),
        };
        for (name, value) in [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", MODERN),
            ("mcp-method", method),
        ] {
            outgoing = outgoing.header(name, Some(value));
        }
        match name_of(method, &params).map(encode_header) {
            Some(name) => outgoing.header("mcp-name", Some(&name)),
            None => outgoing,
        }
    }

    /// The result of a request.
    pub async fn result(&self, method: &str, params: Value) -> Result<Value> {
        self.request(method, params).send().await?.result().await.with_context(|| method.to_owned())
    }

    /// The HTTP status and the error of a request.
    pub async fn error(&self, method: &str, params: Value) -> Result<(u16, Value)> {
        self.request(method, params).send().await?.refused().await.with_context(|| method.to_owned())
    }

    /// A request that is asked for input as often as the server likes: the complete result, and how many rounds it took.
    pub async fn answering(&self, method: &str, params: Value, answers: Answers<'_>) -> Result<(Value, usize)> {
        let mut retry = params.clone();
        for round in 0..MAX_ROUNDS {
            let result = self.result(method, retry).await?;
            if result["resultType"] != "input_required" {
                return Ok((result, round));
            }
            retry = retry_of(&params, &result, answers)?;
        }
        bail!("{method}: asked for input without an end")
    }

    /// A listen stream for this filter, acknowledged.
    pub async fn listen(&self, filter: Value) -> Result<(Answer, Value)> {
        let mut answer = self.request("subscriptions/listen", json!({ "notifications": filter })).send().await?;
        if answer.status != 200 || !answer.is_stream() {
            let body = answer.next().await?;
            bail!("listen: {} {body:?}", answer.status);
        }
        let acknowledged = answer.expect("notifications/subscriptions/acknowledged").await?;
        let honoured = acknowledged.pointer("/params/notifications").context("no filter in the acknowledgment")?;
        Ok((answer, honoured.clone()))
    }
}

impl Answer {
    /// The status and error of a request that is refused.
    pub async fn refused(&mut self) -> Result<(u16, Value)> {
        let status = self.status.as_u16();
        Ok((status, self.error().await?))
    }
}

/// The parameters of a request's retry: its own, with the answers to what was asked and the state as it came.
pub fn retry_of(params: &Value, result: &Value, answers: Answers<'_>) -> Result<Value> {
    let mut retry = params.clone();
    let mut responses = Map::new();
    if let Some(asked) = result.get("inputRequests") {
        for (key, request) in asked.as_object().context("inputRequests is no object")? {
            let method = request["method"].as_str().context("an input request without a method")?;
            let params = request.get("params").unwrap_or(&Value::Null);
            responses.insert(key.clone(), answers(method, params));
        }
        retry["inputResponses"] = responses.into();
    }
    if let Some(state) = result.get("requestState") {
        retry["requestState"] = state.clone();
    }
    Ok(retry)
}

/// A request on its way.
#[derive(Clone)]
pub struct Outgoing {
    client: Modern,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Outgoing {
    /// Sets a header, or takes it away.
    #[must_use]
    pub fn header(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds a header beside one of the same name.
    #[must_use]
    pub fn another(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a member of `_meta`, or takes it away. A name without a slash is one of the protocol's own.
    #[must_use]
    pub fn meta(self, name: &str, value: Option<Value>) -> Self {
        let key = if name.contains('/') { name.to_owned() } else { format!("{KEY}/{name}") };
        self.bare_meta(&key, value)
    }

    /// The same for a key that is taken as it is.
    #[must_use]
    pub fn bare_meta(mut self, key: &str, value: Option<Value>) -> Self {
        match (self.body["params"]["_meta"].as_object_mut(), value) {
            (Some(meta), Some(value)) => drop(meta.insert(key.to_owned(), value)),
            (Some(meta), None) => drop(meta.remove(key)),
            (None, _) => {}
        }
        self
    }

    /// Sets a member of the message, or takes it away.
    #[must_use]
    pub fn member(mut self, name: &str, value: Option<Value>) -> Self {
        match (self.body.as_object_mut(), value) {
            (Some(body), Some(value)) => drop(body.insert(name.to_owned(), value)),
            (Some(body), None) => drop(body.remove(name)),
            (None, _) => {}
        }
        self
    }

    /// The id of the request.
    pub fn id(&self) -> &Value {
        &self.body["id"]
    }

    /// Sends it.
    pub async fn send(&self) -> Result<Answer> {
        let Modern { http, url, token, capture, .. } = &self.client;
        let mut request = http.post(url.clone()).body(self.body.to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(HeaderName::try_from(name)?, HeaderValue::from_bytes(value.as_bytes())?);
        }
        // Requests are numbered over all of a client; each has its own stream.
        let connection = format!("modern {:p} {}", Arc::as_ptr(&self.client.next_id), self.body["id"]);
        let kept = Kept { capture: capture.clone(), connection, revision: MODERN.to_owned() };
        kept.sent(&self.body);
        Ok(Answer::new(request.send().await?, kept))
    }
}

/// What `Mcp-Name` repeats of the parameters.
fn name_of<'a>(method: &str, params: &'a Value) -> Option<&'a str> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    params[member].as_str()
}

/// Value Encoding of 2026-07-28: plain where a header value can be, in the Base64 sentinel otherwise.
pub fn encode_header(value: &str) -> String {
    let plain = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) }
}

#[cfg(test)]
mod tests {
    use super::encode_header;

    #[test]
    fn header_values_are_encoded_as_in_the_table_of_the_specification() {
        for (value, encoded) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode_header(value), encoded);
        }
    }
}
