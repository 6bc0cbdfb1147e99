//! JSON-RPC error objects that the gateway itself sends.

use serde::Serialize;

use crate::raw::RawJson;

/// Error codes (JSON-RPC 2.0 section 5.1; MCP 2025-11-25, Resources, Error Handling; 2026-07-28, Error Codes).
pub mod code {
    /// The bytes are not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The JSON is not a request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Unknown tool, prompt or cursor, or arguments of the wrong form.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something failed on this side or behind it.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// No such resource (revisions up to 2025-11-25).
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// The session does not exist (any more): a server-defined code of the legacy era, as the official SDKs send it.
    pub const SESSION_NOT_FOUND: i32 = -32001;
    /// A request's headers do not say what its body says (2026-07-28, Request Metadata).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The request needs a client capability that it does not declare (2026-07-28).
    pub const MISSING_REQUIRED_CLIENT_CAPABILITY: i32 = -32021;
    /// The revision that the request names is not spoken (2026-07-28).
    pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;
    /// URLs are to be opened first (2025-11-25 only; later revisions ask with `input_required`).
    pub const URL_ELICITATION_REQUIRED: i32 = -32042;
}

/// An error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorObject {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

impl ErrorObject {
    /// An error without data. The message goes to the peer: no secrets, no causes.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Adds the `data` member.
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The code.
    pub const fn code(&self) -> i32 {
        self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The error as JSON.
    pub fn to_raw(&self) -> RawJson {
        RawJson::from_serialize(self).unwrap_or_else(|_| RawJson::empty_object())
    }
}
