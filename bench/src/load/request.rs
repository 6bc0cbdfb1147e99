//! Requests whose bytes are made before the clock starts: only the digits of the id change from one call to the next.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

/// The revision of the stateless era.
pub(crate) const MODERN: &str = "2026-07-28";
/// The last revision with sessions.
pub(crate) const LEGACY: &str = "2025-11-25";
/// The first id of a call. Ids have ten digits, so that every request of a session is equally long.
pub(crate) const FIRST_ID: u64 = 1_000_000_000;
const KEY: &str = "io.modelcontextprotocol";

/// Which era of the protocol is spoken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Era {
    /// `initialize`, and a session that every request names.
    Legacy,
    /// Stateless requests of 2026-07-28.
    Modern,
}

impl Era {
    /// In the words of tables.
    pub(crate) const fn said(self) -> &'static str {
        match self {
            Self::Legacy => "sessions",
            Self::Modern => "stateless",
        }
    }
}

/// Where to, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What the connection is made to.
    pub(crate) address: String,
    /// What `Host` says.
    pub(crate) host: String,
    /// The path, with its query.
    pub(crate) path: String,
    /// The bearer token.
    pub(crate) token: Option<String>,
}

/// What is asked for, in whatever era.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The method.
    pub(crate) method: String,
    /// Its parameters, an object.
    pub(crate) params: Value,
}

impl Asked {
    pub(crate) fn call(tool: &str, arguments: &Value) -> Self {
        Self { method: "tools/call".to_owned(), params: json!({ "name": tool, "arguments": arguments }) }
    }

    pub(crate) fn list() -> Self {
        Self { method: "tools/list".to_owned(), params: json!({}) }
    }
}

/// A request that can be sent again and again.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the digits of its id are.
    id: std::ops::Range<usize>,
}

impl Request {
    /// The bytes, with this id.
    pub(crate) fn numbered(&mut self, id: u64) -> &[u8] {
        let mut rest = id;
        for digit in self.bytes.get_mut(self.id.clone()).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        &self.bytes
    }
}

/// What the head of a request says besides what all heads say.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spoken<'a> {
    /// `MCP-Protocol-Version`.
    pub(crate) revision: Option<&'a str>,
    /// `Mcp-Session-Id`.
    pub(crate) session: Option<&'a str>,
}

impl Target {
    /// What is at this address. Plain HTTP alone: the cost of TLS is the same for all.
    pub(crate) fn new(url: &Url, token: Option<&str>) -> Result<Self> {
        ensure!(url.scheme() == "http", "{url}: only http is spoken here");
        let host = url.host_str().with_context(|| format!("{url}: no host"))?;
        let host = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let plain = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(token.is_none_or(plain), "a token of other than visible characters");
        Ok(Self { address: host.clone(), host, path, token: token.map(str::to_owned) })
    }

    /// A POST with this message, whose `id` is [`FIRST_ID`] if it has one.
    pub(crate) fn post(&self, spoken: Spoken<'_>, headers: &[(&str, &str)], message: &Value) -> Request {
        let body = message.to_string();
        let framed = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut text = self.head("POST", spoken, headers) + &framed;
        let before = text.len();
        text += &body;
        let digits = format!("\"id\":{FIRST_ID}");
        let id = body.find(&digits).map_or(0..0, |at| {
            let end = before + at + digits.len();
            end - FIRST_ID.to_string().len()..end
        });
        Request { bytes: text.into_bytes(), id }
    }

    /// A GET for the session's stream.
    pub(crate) fn get(&self, spoken: Spoken<'_>) -> Vec<u8> {
        (self.head("GET", spoken, &[]) + "\r\n").into_bytes()
    }

    fn head(&self, method: &str, spoken: Spoken<'_>, headers: &[(&str, &str)]) -> String {
        let accept = if method == "GET" { "text/event-stream" } else { "application/json, text/event-stream" };
        let first = format!("{method} {} HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\n", self.path, self.host);
        let named = [("mcp-protocol-version", spoken.revision), ("mcp-session-id", spoken.session)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let named = named.chain(headers.iter().copied()).map(|(name, value)| format!("{name}: {value}\r\n"));
        let token = self.token.iter().map(|token| format!("authorization: Bearer {token}\r\n"));
        std::iter::once(first).chain(named).chain(token).collect()
    }

    /// A request of an era; `spoken` is of the session, if there is one.
    pub(crate) fn request(&self, era: Era, spoken: Spoken<'_>, asked: &Asked) -> Request {
        let method = asked.method.as_str();
        match era {
            Era::Legacy => self.post(spoken, &[], &message(method, &asked.params)),
            Era::Modern => {
                let mut params = asked.params.clone();
                params["_meta"] = json!({
                    format!("{KEY}/protocolVersion"): MODERN,
                    format!("{KEY}/clientInfo"): { "name": "hawser-bench", "version": env!("CARGO_PKG_VERSION") },
                    format!("{KEY}/clientCapabilities"): {},
                });
                // What `Mcp-Name` repeats.
                let name = asked.params.get("name").and_then(Value::as_str);
                let headers = [("mcp-method", Some(method)), ("mcp-name", name)];
                let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                self.post(Spoken { revision: Some(MODERN), session: None }, &headers, &message(method, &params))
            }
        }
    }

    /// The request that opens a session.
    pub(crate) fn initialize(&self, revision: &str) -> Request {
        let params = json!({ "protocolVersion": revision, "capabilities": {},
            "clientInfo": { "name": "hawser-bench", "version": env!("CARGO_PKG_VERSION") } });
        self.post(Spoken::default(), &[], &message("initialize", &params))
    }

    /// What a client says when its session is open.
    pub(crate) fn initialized(&self, spoken: Spoken<'_>) -> Request {
        self.post(spoken, &[], &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
    }
}

fn message(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": FIRST_ID, "method": method, "params": params })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { address: "127.0.0.1:1".into(), host: "h".into(), path: "/mcp".into(), token: Some("t".into()) }
    }

    #[test]
    fn only_the_id_changes_and_the_length_stays_true() {
        let mut request = target().request(Era::Modern, Spoken::default(), &Asked::call("echo", &json!({ "id": 7 })));
        let first = request.numbered(FIRST_ID).to_vec();
        let second = request.numbered(FIRST_ID + 12_345).to_vec();
        assert_eq!(first.len(), second.len());
        for (bytes, id) in [(first, FIRST_ID), (second, FIRST_ID + 12_345)] {
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            assert!(head.contains("mcp-name: echo") && head.contains("authorization: Bearer t"), "{head}");
            let message: Value = serde_json::from_str(body).unwrap();
            assert_eq!(message["id"], json!(id));
            assert_eq!(message["params"]["arguments"], json!({ "id": 7 }));
        }
    }

    #[test]
    fn a_notification_has_no_id_to_change() {
        let mut request = target().initialized(Spoken { revision: Some(LEGACY), session: Some("s") });
        let before = request.bytes.clone();
        assert_eq!(request.numbered(FIRST_ID + 1), before);
    }
}
