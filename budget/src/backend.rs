//! The MCP servers behind the gateway: one of each era, in this process, as cheap as can be, since what they cost is counted with
//! the calls.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use anyhow::Result;
use hawser_backend::{Backend, BackendConfig, BackendName, Dial, Dialing, Transport};
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use url::Url;

/// Bytes that may be on their way in one direction of a connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Headers that a request may have.
const HEADERS_MAX: usize = 32;

/// What a called tool answers.
pub(crate) const CALLED: &str =
    r#"{"content":[{"type":"text","text":"Sunny, 23 degrees, a light wind from the west."}],"isError":false}"#;
const CALLED_MODERN: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"Sunny, 23 degrees, a light wind from the west."}],"isError":false}"#;
const INITIALIZED: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"old","version":"1"}}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"ttlMs":60000,"cacheScope":"public","capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"new","version":"1"}}}"#;
const TOOLS: &str = r#"{"tools":[{"name":"weather","inputSchema":{"type":"object"}}]}"#;
const TOOLS_MODERN: &str = r#"{"resultType":"complete","tools":[{"name":"weather","inputSchema":{"type":"object"}}],"ttlMs":60000,"cacheScope":"public"}"#;

/// Which server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// 2025-11-25, with sessions.
    Old,
    /// 2026-07-28, without.
    New,
}

/// The part of a message that is looked at.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Cow<'a, str>,
}

impl Which {
    /// The server, as the gateway is told of it.
    pub(crate) fn backend(self) -> Result<Backend> {
        let name = match self {
            Self::Old => "old",
            Self::New => "new",
        };
        let transport =
            Transport::Http { url: Url::parse(&format!("http://{name}.example/mcp"))?, headers: HeaderMap::new() };
        let way: Arc<dyn Dial> = Arc::new(self);
        Ok(Backend::in_process(BackendConfig::new(BackendName::new(name)?, transport), &way)?)
    }

    fn answer(self, verb: &str, body: &[u8]) -> String {
        if verb != "POST" {
            return "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned();
        }
        let Ok(asked) = serde_json::from_slice::<Asked<'_>>(body) else { return status("400 Bad Request") };
        let Some(id) = asked.id.map(RawValue::get) else { return status("202 Accepted") };
        match (self, &*asked.method) {
            (Self::Old, "tools/call") => json("", &result(id, CALLED)),
            (Self::New, "tools/call") => json("", &result(id, CALLED_MODERN)),
            (Self::Old, "initialize") => json("mcp-session-id: one\r\n", &result(id, INITIALIZED)),
            (Self::New, "server/discover") => json("", &result(id, DISCOVERED)),
            (Self::Old, "tools/list") => json("", &result(id, TOOLS)),
            (Self::New, "tools/list") => json("", &result(id, TOOLS_MODERN)),
            (Self::Old, _) => status("400 Bad Request"),
            (Self::New, _) => status("404 Not Found"),
        }
    }
}

impl Dial for Which {
    fn dial(&self, _: &Uri) -> Dialing {
        let which = *self;
        Box::pin(async move {
            let (here, there) = tokio::io::duplex(PIPE_BYTES);
            // The connection lives as long as the gateway keeps it.
            tokio::spawn(serve(which, there));
            Ok(here)
        })
    }
}

/// A response with a result.
pub(crate) fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn status(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}

fn json(headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

/// Answers request after request on one connection.
async fn serve(which: Which, mut pipe: DuplexStream) -> io::Result<()> {
    let mut held = Vec::with_capacity(PIPE_BYTES);
    loop {
        while let Some((answer, used)) = next(which, &held)? {
            pipe.write_all(answer.as_bytes()).await?;
            held.drain(..used);
        }
        if pipe.read_buf(&mut held).await? == 0 {
            return Ok(());
        }
    }
}

/// The answer to the first request of these bytes, and its length; `None` if it has not come in whole.
fn next(which: Which, held: &[u8]) -> io::Result<Option<(String, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(body_at) = request.parse(held).map_err(io::Error::other)? else { return Ok(None) };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
    let Some(body) = held.get(body_at..body_at + length) else { return Ok(None) };
    Ok(Some((which.answer(request.method.unwrap_or_default(), body), body_at + length)))
}
