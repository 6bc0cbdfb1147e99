//! Values of `Mcp-Name` and `Mcp-Param-*` (2026-07-28, Value Encoding).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Why a header's value cannot be read.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum HeaderValueError {
    /// A byte that no header value may hold.
    #[error("holds a character that a header must not")]
    Character,
    /// Between the markers is no base64.
    #[error("is marked as base64 and is not")]
    Base64,
    /// What is encoded is not UTF-8.
    #[error("is not UTF-8 when decoded")]
    Utf8,
}

/// The value as a header carries it: as it is where that is safe, in base64 otherwise.
pub fn encode_value(value: &str) -> String {
    let bytes = value.as_bytes();
    let padded = [bytes.first(), bytes.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'));
    if padded || !bytes.iter().all(|byte| plain(*byte)) || marked(value).is_some() {
        return format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(value));
    }
    value.to_owned()
}

/// What a header's value stands for.
pub fn decode_value(value: &str) -> Result<Cow<'_, str>, HeaderValueError> {
    if !value.bytes().all(plain) {
        return Err(HeaderValueError::Character);
    }
    let Some(encoded) = marked(value) else {
        return Ok(Cow::Borrowed(value));
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| HeaderValueError::Base64)?;
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| HeaderValueError::Utf8)
}

/// What is between the markers. The shortest marked value holds an empty text; `=?base64?=` has one `?` for both.
fn marked(value: &str) -> Option<&str> {
    value.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

/// Visible ASCII, space and tab (RFC 9110 section 5.5, without obs-text).
const fn plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}
