//! A client's connection: a request out, its answer in, and whether that is what was asked for.

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::request::{Era, FIRST_ID, LEGACY, Request, Spoken, Target};
use crate::wire::{Framing, Head, Reader, Side};

/// How far into an answer is looked from either end: its envelope is there, and a large result in between.
const ENVELOPE: usize = 512;

/// One kept connection.
pub(crate) struct Connection {
    reader: Reader<TcpStream>,
}

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Its id, if the server has sessions.
    pub(crate) id: Option<String>,
    /// What was agreed upon.
    pub(crate) revision: String,
}

impl Session {
    pub(crate) fn spoken(&self) -> Spoken<'_> {
        Spoken { revision: Some(&self.revision), session: self.id.as_deref() }
    }
}

/// A right answer.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// Of its body.
    pub(crate) length: usize,
    /// Whether it is the last one on its connection.
    pub(crate) closes: bool,
}

/// Why an answer is not what was asked for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Wrong {
    /// The connection could not be made, or broke.
    Connection,
    /// A status other than 200.
    Status(u16),
    /// A JSON-RPC error.
    Error,
    /// A result that says that the tool failed.
    ToolError,
    /// The answer to another request, or none at all.
    NoResult,
    /// Shorter than it can be.
    Short,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection => out.write_str("connection"),
            Self::Status(status) => write!(out, "status {status}"),
            Self::Error => out.write_str("JSON-RPC error"),
            Self::ToolError => out.write_str("tool error"),
            Self::NoResult => out.write_str("no result"),
            Self::Short => out.write_str("too short"),
        }
    }
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self> {
        let stream =
            TcpStream::connect(&target.address).await.with_context(|| format!("connecting to {}", target.address))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: Reader::new(stream, Side::Client) })
    }

    /// Sends and reads the whole answer.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> Result<(Head, &[u8])> {
        let head = self.send(bytes).await?;
        let body = self.reader.body(head.framing).await?;
        Ok((head, body))
    }

    /// Sends and reads the head of the answer.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<Head> {
        self.reader.stream().write_all(bytes).await?;
        self.reader.head().await?.context("the connection ended instead of an answer")
    }

    /// The next piece of an answer that is read as it comes.
    pub(crate) async fn next_piece(&mut self, framing: Framing) -> Result<Option<&[u8]>> {
        self.reader.next_piece(framing).await
    }

    /// Reads an answer as it comes, and keeps nothing of it.
    pub(crate) async fn pass(&mut self, framing: Framing, mut seen: impl FnMut(&[u8])) -> Result<()> {
        if let Framing::Length(length) = framing {
            return self.reader.pass(length, seen).await;
        }
        while let Some(piece) = self.reader.next_piece(framing).await? {
            seen(piece);
        }
        Ok(())
    }

    /// One call, judged.
    pub(crate) async fn call(&mut self, request: &mut Request, id: u64, least: usize) -> Result<Answer, Wrong> {
        let (head, body) = self.exchange(request.numbered(id)).await.map_err(|_| Wrong::Connection)?;
        if head.status != 200 {
            return Err(Wrong::Status(head.status));
        }
        judge(body, id, least)?;
        Ok(Answer { length: body.len(), closes: head.closes })
    }

    /// Opens a session (revisions up to 2025-11-25).
    pub(crate) async fn open_session(&mut self, target: &Target) -> Result<Session> {
        let (head, body) = self.exchange(target.initialize(LEGACY).numbered(FIRST_ID)).await?;
        let shown = || String::from_utf8_lossy(body.get(..body.len().min(400)).unwrap_or_default()).into_owned();
        ensure!(head.status == 200, "initialize: status {} {}", head.status, shown());
        let answer = message(body, head.events).with_context(|| format!("initialize: {}", shown()))?;
        let revision = answer.pointer("/result/protocolVersion").and_then(Value::as_str);
        let revision = revision.with_context(|| format!("initialize: {}", shown()))?.to_owned();
        let session = Session { id: head.session, revision };
        let (head, _) = self.exchange(target.initialized(session.spoken()).numbered(0)).await?;
        ensure!((200..300).contains(&head.status), "notifications/initialized: status {}", head.status);
        Ok(session)
    }

    /// The result of one request, read as JSON: for what is done before and after the clock runs.
    pub(crate) async fn result(&mut self, mut request: Request) -> Result<Value> {
        let (head, body) = self.exchange(request.numbered(FIRST_ID)).await?;
        let shown = || String::from_utf8_lossy(body.get(..body.len().min(400)).unwrap_or_default()).into_owned();
        ensure!(head.status == 200, "status {} {}", head.status, shown());
        let mut answer = message(body, head.events).with_context(shown)?;
        answer.get_mut("result").map(Value::take).with_context(shown)
    }
}

/// Whether an answer is the result of the request with this id, as far as can be seen without reading it all.
pub(crate) fn judge(body: &[u8], id: u64, least: usize) -> Result<(), Wrong> {
    let front = body.get(..body.len().min(ENVELOPE)).unwrap_or_default();
    let back = body.get(body.len().saturating_sub(ENVELOPE)..).unwrap_or_default();
    let has = |needle: &[u8]| memmem::find(front, needle).is_some() || memmem::find(back, needle).is_some();
    if !has(b"\"result\"") {
        return Err(if has(b"\"error\"") { Wrong::Error } else { Wrong::NoResult });
    }
    if has(b"\"isError\":true") {
        return Err(Wrong::ToolError);
    }
    let mut digits = [0; 10];
    let mut rest = id;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    if !has(&digits) {
        return Err(Wrong::NoResult);
    }
    if body.len() < least { Err(Wrong::Short) } else { Ok(()) }
}

/// The response in a body: the body itself, or the last event of a stream that is one.
fn message(body: &[u8], events: bool) -> Result<Value> {
    if !events {
        return serde_json::from_slice(body).context("no JSON");
    }
    let text = std::str::from_utf8(body).context("a stream that is no text")?;
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut messages = data.filter_map(|data| serde_json::from_str::<Value>(data.trim()).ok());
    messages.rfind(|message| message.get("id").is_some()).context("no response in the stream")
}

/// A session for whoever speaks the era of sessions.
pub(crate) async fn session_of(era: Era, connection: &mut Connection, target: &Target) -> Result<Option<Session>> {
    match era {
        Era::Legacy => connection.open_session(target).await.map(Some),
        Era::Modern => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_result_of_the_same_request_is_one() {
        let id = 1_000_000_007;
        let judged = |text: &str| judge(text.as_bytes(), id, 10);
        assert_eq!(judged(r#"{"jsonrpc":"2.0","id":1000000007,"result":{}}"#), Ok(()));
        assert_eq!(
            judged("event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1000000007,\"result\":{}}\r\n\r\n"),
            Ok(())
        );
        assert_eq!(judged(r#"{"jsonrpc":"2.0","id":1000000008,"result":{}}"#), Err(Wrong::NoResult));
        assert_eq!(judged(r#"{"jsonrpc":"2.0","id":1000000007,"error":{"code":-1}}"#), Err(Wrong::Error));
        assert_eq!(judged(r#"{"id":1000000007,"result":{"content":[],"isError":true}}"#), Err(Wrong::ToolError));
        assert_eq!(judged("<html>"), Err(Wrong::NoResult));
        assert_eq!(judge(br#"{"id":1000000007,"result":{}}"#, id, 100), Err(Wrong::Short));
        let large = format!(r#"{{"result":{{"text":"{}"}},"id":1000000007}}"#, "x".repeat(10_000));
        assert_eq!(judge(large.as_bytes(), id, 10_000), Ok(()));
    }
}
