//! The answer to one HTTP request, read message by message as it comes: a JSON body, or an event stream.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::capture::{Capture, Sender, Side};

/// Longer than anything takes that a test waits for.
const LIMIT: Duration = Duration::from_secs(30);
const MAX_BODY: usize = 32 << 20;

/// Takes events out of the bytes of an event stream.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    event: StreamEvent,
}

/// One event of an event stream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StreamEvent {
    /// Its id.
    pub id: Option<String>,
    /// The reconnection time that came with it.
    pub retry: Option<String>,
    /// Its data.
    pub data: Option<String>,
}

impl EventReader {
    /// The events that are complete with these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches('\r'), &mut events);
        }
        events
    }

    fn line(&mut self, line: &str, events: &mut Vec<StreamEvent>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if event != StreamEvent::default() {
                events.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "retry" => self.event.retry = Some(value.to_owned()),
            "data" => match &mut self.event.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.event.data = Some(value.to_owned()),
            },
            // Comments, and the name of the event, which MCP does not use.
            _ => {}
        }
    }
}

/// Where the messages of an answer are kept, and as what.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) capture: Capture,
    pub(crate) connection: String,
    pub(crate) revision: String,
}

impl Kept {
    pub(crate) fn sent(&self, message: &Value) {
        self.capture.take(Side::Client, Sender::Client, &self.connection, &self.revision, message);
    }

    pub(crate) fn received(&self, message: &Value) {
        self.capture.take(Side::Client, Sender::Server, &self.connection, &self.revision, message);
    }
}

/// An answer whose body is read on demand. Dropping it closes the connection.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP headers.
    pub headers: HeaderMap,
    response: reqwest::Response,
    reader: Option<EventReader>,
    events: VecDeque<StreamEvent>,
    kept: Kept,
    last_event_id: Option<String>,
}

impl Answer {
    pub(crate) fn new(response: reqwest::Response, kept: Kept) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer =
            Self { status, headers, response, reader: None, events: VecDeque::new(), kept, last_event_id: None };
        answer.reader = answer.is_stream().then(EventReader::default);
        answer
    }

    /// The value of a header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the body is an event stream.
    pub fn is_stream(&self) -> bool {
        self.header("content-type").starts_with("text/event-stream")
    }

    /// The id of the last event that had one.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The next event, or nothing at the end of the stream.
    pub async fn event(&mut self) -> Result<Option<StreamEvent>> {
        let reader = self.reader.as_mut().context("not an event stream")?;
        loop {
            if let Some(event) = self.events.pop_front() {
                if let Some(id) = &event.id {
                    self.last_event_id = Some(id.clone());
                }
                if let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) {
                    let message = serde_json::from_str(data).with_context(|| format!("an event of {data:?}"))?;
                    self.kept.received(&message);
                }
                return Ok(Some(event));
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk()).await;
            match chunk.context("nothing came on the stream")? {
                Ok(Some(chunk)) => self.events.extend(reader.push(&chunk)),
                // However it ends: what is missing is for the test to say.
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// The next message, or nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        if self.reader.is_some() {
            while let Some(event) = self.event().await? {
                if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                    return Ok(Some(serde_json::from_str(&data)?));
                }
            }
            return Ok(None);
        }
        let mut body = Vec::new();
        while let Some(chunk) = tokio::time::timeout(LIMIT, self.response.chunk()).await.context("no body came")?? {
            body.extend_from_slice(&chunk);
            ensure!(body.len() <= MAX_BODY, "an answer without an end");
        }
        let message = serde_json::from_slice::<Value>(&body).ok();
        if let Some(message) = message.as_ref().filter(|message| message.is_object() || message.is_array()) {
            self.kept.received(message);
        }
        Ok(message)
    }

    /// All messages to the end.
    pub async fn all(&mut self) -> Result<Vec<Value>> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await? {
            messages.push(message);
            if self.reader.is_none() {
                break;
            }
        }
        Ok(messages)
    }

    /// The next message that is a request or notification of this method; others before it are an error.
    pub async fn expect(&mut self, method: &str) -> Result<Value> {
        let message = self.next().await?.with_context(|| format!("the stream ended before {method}"))?;
        ensure!(message["method"] == method, "{method} was to come, and not {message}");
        Ok(message)
    }

    /// The next message of this method; others before it are passed over.
    pub async fn find(&mut self, method: &str) -> Result<Value> {
        while let Some(message) = self.next().await? {
            if message["method"] == method {
                return Ok(message);
            }
        }
        bail!("the stream ended before {method}")
    }

    /// The response, after anything that came before it.
    pub async fn response(&mut self) -> Result<Value> {
        while let Some(message) = self.next().await? {
            if message.get("result").is_some() || message.get("error").is_some() {
                return Ok(message);
            }
            ensure!(self.reader.is_some(), "{}: no response: {message}", self.status);
        }
        bail!("{}: no response came", self.status)
    }

    /// The result, after anything that came before it.
    pub async fn result(&mut self) -> Result<Value> {
        let mut response = self.response().await?;
        match response.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => bail!("{}: an error instead of a result: {response}", self.status),
        }
    }

    /// The error, after anything that came before it.
    pub async fn error(&mut self) -> Result<Value> {
        let mut response = self.response().await?;
        match response.get_mut("error") {
            Some(error) => Ok(error.take()),
            None => bail!("{}: a result instead of an error: {response}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_over_any_cut() {
        let text = b"retry: 5\r\nid: a\r\ndata: \r\n\r\n: comment\n\ndata: {\ndata: }\nid: b\n\n";
        for cut in 0..text.len() {
            let mut reader = EventReader::default();
            let mut events = reader.push(&text[..cut]);
            events.extend(reader.push(&text[cut..]));
            let some = |text: &str| Some(text.to_owned());
            let first = StreamEvent { id: some("a"), retry: some("5"), data: some("") };
            let second = StreamEvent { id: some("b"), retry: None, data: some("{\n}") };
            assert_eq!(events, [first, second], "cut at {cut}");
        }
    }
}
