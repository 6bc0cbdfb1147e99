//! Refusals and their answer on the wire (RFC 6750 section 3, RFC 9728 section 5.1). This is the only place that turns
//! one into the other, so nothing a prober could learn from depends on the cause.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use thiserror::Error;

use crate::local::Unavailable;
use crate::reason::{InvalidReason, MalformedReason};
use crate::resource::Resource;

/// A request without an accepted credential.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum AuthenticateError {
    /// No credential, and the resource demands one.
    #[error("no credential was presented")]
    Missing,
    /// A credential that does not hold. The reason is for the audit log only.
    #[error("the credential was refused: {0}")]
    Invalid(InvalidReason),
    /// The credentials cannot be read.
    #[error("the credentials are malformed: {0}")]
    MalformedRequest(MalformedReason),
    /// Whether the credential holds cannot be told now.
    #[error("the credential cannot be verified now")]
    Unavailable {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The credential holds, but not for this.
    #[error("the credential lacks a scope")]
    InsufficientScope {
        /// All the scopes that the operation needs.
        required: Vec<String>,
    },
}

impl From<InvalidReason> for AuthenticateError {
    fn from(reason: InvalidReason) -> Self {
        Self::Invalid(reason)
    }
}

impl From<Unavailable> for AuthenticateError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable { retry_after: unavailable.retry_after }
    }
}

impl AuthenticateError {
    /// The name used in audit events and metrics; a [`Self::Invalid`] also has its reason.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid(_) => "invalid",
            Self::MalformedRequest(_) => "malformed_request",
            Self::Unavailable { .. } => "unavailable",
            Self::InsufficientScope { .. } => "insufficient_scope",
        }
    }

    /// The whole answer: status, header fields and body.
    pub fn to_response(&self, resource: &Resource) -> (StatusCode, HeaderMap, Bytes) {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let (status, error, body) = match self {
            // RFC 6750 section 3.1: no error code for a request that brought no credential.
            Self::Missing => (StatusCode::UNAUTHORIZED, None, r#"{"message":"An access token is required."}"#),
            Self::Invalid(_) => (StatusCode::UNAUTHORIZED, Some("invalid_token"), r#"{"error":"invalid_token"}"#),
            Self::MalformedRequest(_) => {
                (StatusCode::BAD_REQUEST, Some("invalid_request"), r#"{"error":"invalid_request"}"#)
            }
            Self::InsufficientScope { .. } => {
                (StatusCode::FORBIDDEN, Some("insufficient_scope"), r#"{"error":"insufficient_scope"}"#)
            }
            Self::Unavailable { retry_after } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
                let body = r#"{"error":"temporarily_unavailable"}"#;
                return (StatusCode::SERVICE_UNAVAILABLE, headers, Bytes::from_static(body.as_bytes()));
            }
        };
        let scopes = match self {
            Self::InsufficientScope { required } => required,
            _ => &resource.scopes,
        };
        if let Some(challenge) = challenge(resource, error, scopes) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        (status, headers, Bytes::from_static(body.as_bytes()))
    }
}

/// `Bearer` with `resource_metadata` and `scope` (MCP, Authorization: clients take `scope` as authoritative).
fn challenge(resource: &Resource, error: Option<&str>, scopes: &[String]) -> Option<HeaderValue> {
    let mut text = String::from("Bearer ");
    if let Some(error) = error {
        push_parameter(&mut text, "error", error);
        text.push_str(", ");
    }
    push_parameter(&mut text, "resource_metadata", resource.metadata_url());
    if !scopes.is_empty() {
        text.push_str(", ");
        push_parameter(&mut text, "scope", &scopes.join(" "));
    }
    HeaderValue::try_from(text).ok()
}

/// A quoted-string (RFC 9110 section 5.6.4). URLs and scopes need no escapes; whatever else comes is escaped.
fn push_parameter(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}
