//! The two sides of `initialize`.

use std::sync::Arc;

use bytes::Bytes;
use hawser_mcp::{
    ErrorObject, Members, Message, Notification, Outcome, RawJson, RawJsonError, Response, Revision,
    client_notification, code, method,
};
use tokio::time::timeout;

use crate::capabilities;
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::link::Link;
use crate::name::BackendName;
use crate::session::SessionCore;

/// The first revision, which had another HTTP transport. On stdio and over that transport its framing is that of the next
/// one, so there it is spoken; many published servers know nothing newer.
const REVISION_FIRST: &str = "2024-11-05";
/// Longest quotation of a server's error message.
const QUOTE_CHARS_MAX: usize = 200;

/// What the *end* client said about itself. The gateway passes it on, so that a server asks only for what can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The revision that the client speaks. Its era is the one that is spoken to the server, if the server speaks it.
    pub revision: Revision,
    /// `ClientCapabilities`, an object.
    pub capabilities: RawJson,
    /// `Implementation`, an object.
    pub client_info: RawJson,
}

/// What the server said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The revision that the session speaks. A child process, or a server over HTTP+SSE, may also have chosen
    /// 2024-11-05; that counts as the oldest revision here, with which it shares the framing. Over streamable HTTP it is
    /// refused: the transport of 2024-11-05 is another one.
    pub revision: Revision,
    /// `ServerCapabilities`, an object.
    pub capabilities: RawJson,
    /// `Implementation`, an object.
    pub server_info: RawJson,
    /// How to use the server, for a model to read.
    pub instructions: Option<String>,
    /// What it says it speaks, as far as that is spoken here: never empty. A legacy server names one revision only.
    pub supported: Vec<Revision>,
}

/// Most messages that a server may send before it answers `initialize`.
const MESSAGES_MAX: usize = 1000;

/// Performs the handshake (MCP, Lifecycle, Initialization). Each message of the server makes an exchange wait for longer;
/// here somebody waits for the session, so the whole takes no longer than a connection and one silent request may.
pub(crate) async fn initialize(core: &Arc<SessionCore>, client: &ClientHello) -> Result<ServerHello, BackendError> {
    let after = core.config.connect_timeout.saturating_add(core.config.request_timeout);
    timeout(after, shake_hands(core, client))
        .await
        .unwrap_or_else(|_| Err(BackendError::TimedOut { backend: core.config.name.clone(), after }))
}

async fn shake_hands(core: &Arc<SessionCore>, client: &ClientHello) -> Result<ServerHello, BackendError> {
    let mut exchange = core.begin(method::INITIALIZE, Some(client.to_params())).await?;
    let mut messages = 0;
    let outcome = loop {
        messages += 1;
        if messages > MESSAGES_MAX {
            let reason = format!("it sent more than {MESSAGES_MAX} messages before it answered initialize");
            return Err(BackendError::Protocol { backend: core.config.name.clone(), reason });
        }
        match exchange.next().await {
            ExchangeItem::Notification(notification) => core.state.offer(Message::Notification(notification)),
            ExchangeItem::Request(request) => {
                // "The server SHOULD NOT send requests other than pings and logging before `initialized`".
                let error = ErrorObject::new(code::INVALID_REQUEST, "the session is not initialized yet");
                core.state.answered(&request.id);
                core.link.send_in_background(Message::Response(Response::error(Some(request.id), &error)));
            }
            ExchangeItem::Response(outcome) => break outcome,
            ExchangeItem::Failed(error) => return Err(error),
            ExchangeItem::LargeResult => return Err(exchange.closed()),
        }
    };
    let server = ServerHello::read(&core.config.name, &outcome, !matches!(*core.link, Link::Http(_)))?;
    core.link.settle(server.revision);
    core.link.send(&Message::Notification(Notification::new(client_notification::INITIALIZED, None))).await?;
    Ok(server)
}

impl ClientHello {
    fn to_params(&self) -> RawJson {
        // A client of the other era cannot be spoken for in its own revision.
        let revision = if self.revision.is_legacy() { self.revision } else { Revision::LATEST };
        let revision = RawJson::string(revision.as_str());
        let capabilities = capabilities::for_legacy(&self.capabilities);
        RawJson::object(&[
            ("protocolVersion", &revision),
            ("capabilities", &capabilities),
            ("clientInfo", &self.client_info),
        ])
    }
}

impl ServerHello {
    fn read(backend: &BackendName, outcome: &Outcome, first_too: bool) -> Result<Self, BackendError> {
        let broken = |reason: String| BackendError::Protocol { backend: backend.clone(), reason };
        let result = match outcome {
            Outcome::Result(result) => result,
            Outcome::Error(error) => {
                let (code, message) = quote_error(error);
                return Err(BackendError::Initialize { backend: backend.clone(), code, message });
            }
        };
        let members = Members::read(result, &["protocolVersion", "capabilities", "serverInfo", "instructions"])
            .map_err(|error| broken(format!("the answer to initialize: {error}")))?;
        let named = members.string("protocolVersion").unwrap_or_default();
        let revision = revision(&named, first_too).ok_or_else(|| broken(unspoken(&named, first_too)))?;
        let object = |name: &str| match members.get(name) {
            None => Ok(RawJson::empty_object()),
            Some(value) if value.is_object() => detached(&value).map_err(|error| broken(error.to_string())),
            Some(_) => Err(broken(format!("`{name}` in the answer to initialize is not an object"))),
        };
        let instructions = match members.get("instructions") {
            None => None,
            Some(text) => Some(text.as_string().ok_or_else(|| broken("`instructions` is not a string".to_owned()))?),
        };
        Ok(Self {
            revision,
            capabilities: object("capabilities")?,
            server_info: object("serverInfo")?,
            instructions,
            supported: vec![revision],
        })
    }
}

/// The revision to speak with a server that named this one.
fn revision(named: &str, first_too: bool) -> Option<Revision> {
    let oldest = (first_too && named == REVISION_FIRST).then_some(Revision::V2025_03_26);
    oldest.or_else(|| Revision::from_name(named).filter(|revision| revision.is_legacy()))
}

fn unspoken(named: &str, first_too: bool) -> String {
    let spoken: Vec<&str> =
        first_too.then_some(REVISION_FIRST).into_iter().chain(Revision::LEGACY.map(Revision::as_str)).collect();
    let over = if first_too { "stdio and HTTP+SSE" } else { "streamable HTTP" };
    format!("it wants protocol version {:?}, but only {} are spoken over {over}", clip(named), spoken.join(", "))
}

/// A copy of its own: a slice would keep the whole answer in memory for as long as the session lives.
pub(crate) fn detached(value: &RawJson) -> Result<RawJson, RawJsonError> {
    RawJson::parse(&Bytes::copy_from_slice(value.bytes()))
}

/// An error object's code and the start of its message, for a text of our own.
pub(crate) fn quote_error(error: &RawJson) -> (i64, String) {
    let members = Members::read(error, &[]).ok();
    let code = members.as_ref().and_then(|members| members.get("code")?.read().ok()).unwrap_or_default();
    let message = members.and_then(|members| members.string("message")).unwrap_or_default();
    (code, clip(&message))
}

/// The start of a text from outside.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(QUOTE_CHARS_MAX).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn raw(text: &'static str) -> RawJson {
        RawJson::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    fn read(text: &'static str) -> Result<ServerHello, BackendError> {
        ServerHello::read(&BackendName::new("x").unwrap(), &Outcome::Result(raw(text)), false)
    }

    #[test]
    fn the_clients_own_words_are_passed_on_verbatim() {
        let hello = ClientHello {
            revision: Revision::V2025_06_18,
            capabilities: raw(r#"{ "elicitation": {"x":1.0} }"#),
            client_info: raw(r#"{"name":"c"}"#),
        };
        assert_eq!(
            hello.to_params().as_str(),
            r#"{"protocolVersion":"2025-06-18","capabilities":{ "elicitation": {"x":1.0} },"clientInfo":{"name":"c"}}"#
        );
    }

    #[test]
    fn each_of_the_three_revisions_is_accepted_and_no_other() {
        for revision in Revision::LEGACY {
            let text = format!(r#"{{"protocolVersion":"{revision}","capabilities":{{}},"serverInfo":{{}}}}"#);
            let result = Outcome::Result(RawJson::parse(&text.into()).unwrap());
            for stdio in [false, true] {
                let hello = ServerHello::read(&BackendName::new("x").unwrap(), &result, stdio).unwrap();
                assert_eq!(hello.revision, revision);
            }
        }
        for unknown in [r#"{"protocolVersion":"2024-11-05"}"#, r#"{"protocolVersion":1}"#, "{}"] {
            let error = read(unknown).unwrap_err().to_string();
            assert!(error.contains("protocol version") && error.contains("only 2025-03-26"), "{error}");
        }
    }

    #[test]
    fn the_first_revision_is_not_accepted_over_streamable_http_and_counts_as_the_oldest_spoken() {
        assert_eq!(revision("2024-11-05", true), Some(Revision::V2025_03_26));
        assert_eq!(revision("2024-11-05", false), None);
        for other in ["2024-10-07", "2024-11-05 ", "2026-07-28", ""] {
            assert_eq!(revision(other, true), None, "{other:?}");
        }
        assert!(unspoken("x", true).contains("only 2024-11-05, 2025-03-26"));
    }

    #[test]
    fn what_is_kept_does_not_keep_the_answer_it_came_in() {
        let text =
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s"},"x":"much"}"#;
        let answer = Bytes::copy_from_slice(text.as_bytes());
        let result = Outcome::Result(RawJson::parse(&answer).unwrap());
        let hello = ServerHello::read(&BackendName::new("x").unwrap(), &result, false).unwrap();
        drop(result);
        assert_eq!((hello.capabilities.as_str(), hello.server_info.as_str()), (r#"{"tools":{}}"#, r#"{"name":"s"}"#));
        assert!(answer.is_unique());
    }

    #[test]
    fn wrong_types_and_twins_are_refused() {
        for wrong in [
            r#"{"protocolVersion":"2025-06-18","capabilities":[]}"#,
            r#"{"protocolVersion":"2025-06-18","serverInfo":"x"}"#,
            r#"{"protocolVersion":"2025-06-18","instructions":7}"#,
            r#"{"protocolVersion":"2025-06-18","ProtocolVersion":"2025-11-25"}"#,
            r#"{"protocolVersion":"2025-06-18","protocolVersion":"2025-11-25"}"#,
            "[]",
        ] {
            assert!(matches!(read(wrong), Err(BackendError::Protocol { .. })), "{wrong}");
        }
    }

    #[test]
    fn an_error_is_quoted_in_part() {
        let error = raw(r#"{"code":-32602,"message":"no"}"#);
        let error = ServerHello::read(&BackendName::new("x").unwrap(), &Outcome::Error(error), false).unwrap_err();
        assert_eq!(error.to_string(), r#"backend `x` refused to initialize: "no" (-32602)"#);
    }
}
