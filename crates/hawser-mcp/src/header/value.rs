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

/// The value as a header carries it: as it is where that is safe, in base64 otherwise. An empty value and one with a tab are
/// encoded as well: an empty header may get lost on the way, and not every reader takes a tab.
pub fn encode_value(value: &str) -> String {
    let bytes = value.as_bytes();
    let outer = [bytes.first(), bytes.last()];
    let safe = !bytes.is_empty()
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !outer.into_iter().flatten().any(|byte| *byte == b' ')
        && !marked(value);
    if safe { value.to_owned() } else { format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(value)) }
}

/// What a header's value stands for.
pub fn decode_value(value: &str) -> Result<Cow<'_, str>, HeaderValueError> {
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(HeaderValueError::Character);
    }
    if !marked(value) {
        return Ok(Cow::Borrowed(value));
    }
    // `=?base64?=` has one question mark for both marks: no text stands for it.
    let encoded = value.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let decoded = STANDARD.decode(encoded.ok_or(HeaderValueError::Base64)?).map_err(|_| HeaderValueError::Base64)?;
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| HeaderValueError::Utf8)
}

/// Whether a value looks encoded.
fn marked(value: &str) -> bool {
    value.starts_with(PREFIX) && value.ends_with(SUFFIX)
}
