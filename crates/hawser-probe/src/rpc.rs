//! JSON-RPC 2.0 messages as they come over MCP, their payloads kept raw.

use serde::Deserialize;
use serde_json::value::RawValue;

/// One message: a request (id and method), a notification (method), or a response (id and result or error).
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// The id as written, so that `1` and `"1"` stay different.
    #[serde(default)]
    pub id: Option<Box<RawValue>>,
    /// Method of a request or notification.
    #[serde(default)]
    pub method: Option<String>,
    /// Parameters, raw.
    #[serde(default)]
    pub params: Option<Box<RawValue>>,
    /// Result, raw.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Error.
    #[serde(default)]
    pub error: Option<RpcError>,
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, Deserialize)]
pub struct RpcError {
    /// The code.
    pub code: i64,
    /// The message.
    #[serde(default)]
    pub message: String,
    /// Data, raw.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
}

impl Message {
    /// The id as it was written.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref().map(RawValue::get)
    }

    /// Whether the other side asks something and waits.
    pub fn is_request(&self) -> bool {
        self.method.is_some() && self.id().is_some_and(|id| id != "null")
    }

    /// Whether this answers the request with the id `id`.
    pub fn answers(&self, id: &str) -> bool {
        self.method.is_none() && self.id() == Some(id)
    }

    /// Whether the result is a tool's own failure: a success for JSON-RPC, read by the model, not by the client.
    pub fn is_tool_error(&self) -> bool {
        #[derive(Deserialize)]
        struct Flag {
            #[serde(default, rename = "isError")]
            is_error: bool,
        }
        let flag = |raw: &RawValue| serde_json::from_str::<Flag>(raw.get()).is_ok_and(|flag| flag.is_error);
        self.result.as_deref().is_some_and(flag)
    }
}

/// The messages in a JSON body: one, or a batch (2025-03-26). What is not JSON-RPC yields none.
pub fn messages(body: &[u8]) -> Vec<Message> {
    match serde_json::from_slice::<Vec<Message>>(body) {
        Ok(batch) => batch,
        Err(_) => serde_json::from_slice::<Message>(body).into_iter().collect(),
    }
}

/// What this client answers when a server asks it something during a call: the harmless minimum.
pub fn default_answer(request: &Message) -> Option<String> {
    let id = request.id().filter(|_| request.is_request())?;
    Some(match request.method.as_deref() {
        Some("ping") => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
        Some("roots/list") => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#),
        Some("elicitation/create") => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#),
        _ => {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"not offered by this client"}}}}"#)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_keep_their_type() {
        let read = messages(br#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"1","result":{}}]"#);
        assert!(read[0].answers("1") && !read[0].answers("\"1\""));
        assert!(read[1].answers("\"1\"") && !read[1].answers("1"));
    }

    #[test]
    fn a_tool_error_is_told_from_a_result() {
        let read = |body: &str| messages(body.as_bytes()).remove(0).is_tool_error();
        assert!(read(r#"{"id":1,"result":{"content":[],"isError":true}}"#));
        assert!(!read(r#"{"id":1,"result":{"content":[]}}"#));
        assert!(!read(r#"{"id":1,"result":[]}"#));
    }

    #[test]
    fn only_requests_are_answered() {
        let answer = |body: &str| default_answer(&messages(body.as_bytes()).remove(0));
        assert_eq!(answer(r#"{"id":"a","method":"ping"}"#).unwrap(), r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
        assert!(answer(r#"{"id":9,"method":"sampling/createMessage"}"#).unwrap().contains("-32601"));
        assert!(answer(r#"{"method":"notifications/progress"}"#).is_none());
        assert!(answer(r#"{"id":1,"result":{}}"#).is_none());
    }

    proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&body) {
                let _ = (default_answer(&message), message.is_tool_error());
            }
        }
    }
}
