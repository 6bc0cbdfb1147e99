//! One HTTP connection that is kept alive, read no further than it has to be: a client library would cost more than what is
//! measured.

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Largest answer that is read.
const ANSWER_MAX: usize = 1 << 20;

/// A client's connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

struct Answer {
    status: u16,
    session: Option<String>,
    body: Vec<u8>,
}

impl Connection {
    /// One to this address, for whoever has the token.
    pub(super) async fn open(address: &str, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n"
        );
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// The whole handshake; gives the session's id.
    pub(super) async fn open_session(&mut self) -> Result<String> {
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": { "roots": { "listChanged": true }, "sampling": {} },
            "clientInfo": { "name": "crowd", "title": "One of many", "version": "1.0.0" } } });
        let answer = self.post(None, &hello.to_string()).await?;
        ensure!(answer.status == 200, "initialize: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        let session = answer.session.context("no session id")?;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let answer = self.post(Some(&session), &initialized.to_string()).await?;
        ensure!(answer.status == 202, "initialized: {}", answer.status);
        Ok(session)
    }

    /// Calls a tool of the backend.
    pub(super) async fn call(&mut self, session: &str, number: usize) -> Result<()> {
        let call = json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call",
            "params": { "name": "test_simple_text", "arguments": {} } });
        let answer = self.post(Some(session), &call.to_string()).await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200 && text.contains("\"content\""), "call: {} {text}", answer.status);
        Ok(())
    }

    async fn post(&mut self, session: Option<&str>, body: &str) -> Result<Answer> {
        use std::fmt::Write as _;
        let mut request = self.head.clone();
        if let Some(session) = session {
            write!(request, "mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n")?;
        }
        write!(request, "content-length: {}\r\n\r\n{body}", body.len())?;
        self.stream.write_all(request.as_bytes()).await?;
        self.read().await
    }

    async fn read(&mut self) -> Result<Answer> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).context("no status")?.parse()?;
        let mut answer = Answer { status, session: None, body: Vec::new() };
        let mut length = 0;
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "mcp-session-id" => answer.session = Some(value.trim().to_owned()),
                "transfer-encoding" => bail!("the answer is a stream"),
                _ => {}
            }
        }
        ensure!(length <= ANSWER_MAX, "an answer of {length} bytes");
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = (&mut self.stream).take(64 * 1024).read_line(&mut line).await?;
        ensure!(read > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}
