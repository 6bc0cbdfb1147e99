//! What a request's `_meta` says.

use thiserror::Error;

use super::{META, meta_key};
use crate::members::{Members, MembersError};
use crate::raw::RawJson;

/// The keys that the gateway acts on: none of them may occur twice or have a twin in another case.
pub(super) const ROUTED: [&str; 5] = [
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_INFO,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
    meta_key::PROGRESS_TOKEN,
];

/// Levels of log messages, least severe first (2026-07-28, Logging, Log Levels).
pub const LOG_LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// What the `_meta` of a request says, as far as a gateway acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMeta {
    /// The revision by name: any text.
    pub protocol_version: Option<String>,
    /// An object.
    pub client_capabilities: Option<RawJson>,
    /// An object.
    pub client_info: Option<RawJson>,
    /// One of [`LOG_LEVELS`].
    pub log_level: Option<String>,
    /// A string or a number.
    pub progress_token: Option<RawJson>,
    /// As it came, not yet parsed: a malformed one is no error (W3C Trace Context section 3.2.4), it is not carried on.
    pub traceparent: Option<String>,
}

/// Why a request's `_meta` is refused. The text names the part and goes to the sender.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MetaError {
    /// The parameters are ambiguous.
    #[error("the params are ambiguous: {0}")]
    Params(MembersError),
    /// `_meta` is not an object.
    #[error("`_meta` must be an object")]
    NotAnObject,
    /// `_meta` is ambiguous.
    #[error("`_meta` is ambiguous: {0}")]
    Ambiguous(MembersError),
    /// A key's value is of the wrong type.
    #[error("`_meta` key {key:?} must be {expected}")]
    Type {
        /// Which.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl RequestMeta {
    /// Reads the `_meta` of a request's parameters. Without one, everything is absent.
    pub fn read(params: Option<&RawJson>) -> Result<Self, MetaError> {
        let Some(params) = params else {
            return Ok(Self::default());
        };
        let params = Members::read(params, &[META]).map_err(MetaError::Params)?;
        let Some(meta) = params.get(META) else {
            return Ok(Self::default());
        };
        if !meta.is_object() {
            return Err(MetaError::NotAnObject);
        }
        let meta = Members::read(&meta, &ROUTED).map_err(MetaError::Ambiguous)?;
        Ok(Self {
            protocol_version: text(&meta, meta_key::PROTOCOL_VERSION)?,
            client_capabilities: object(&meta, meta_key::CLIENT_CAPABILITIES)?,
            client_info: object(&meta, meta_key::CLIENT_INFO)?,
            log_level: log_level(&meta)?,
            progress_token: progress_token(&meta)?,
            traceparent: meta.string(meta_key::TRACEPARENT),
        })
    }

    /// Whether any key is there that only a request of the modern era carries.
    pub const fn names_modern(&self) -> bool {
        self.protocol_version.is_some()
            || self.client_capabilities.is_some()
            || self.client_info.is_some()
            || self.log_level.is_some()
    }
}

fn text(meta: &Members<'_>, key: &'static str) -> Result<Option<String>, MetaError> {
    let read = |value: RawJson| value.as_string().ok_or(MetaError::Type { key, expected: "a string" });
    meta.get(key).map(read).transpose()
}

fn object(meta: &Members<'_>, key: &'static str) -> Result<Option<RawJson>, MetaError> {
    let read =
        |value: RawJson| value.is_object().then_some(value).ok_or(MetaError::Type { key, expected: "an object" });
    meta.get(key).map(read).transpose()
}

/// 2026-07-28, Logging: an invalid level is refused.
fn log_level(meta: &Members<'_>) -> Result<Option<String>, MetaError> {
    let key = meta_key::LOG_LEVEL;
    match meta.get(key).map(|value| value.as_string()) {
        None => Ok(None),
        Some(Some(level)) if LOG_LEVELS.contains(&level.as_str()) => Ok(Some(level)),
        Some(_) => Err(MetaError::Type { key, expected: "one of the levels from \"debug\" to \"emergency\"" }),
    }
}

fn progress_token(meta: &Members<'_>) -> Result<Option<RawJson>, MetaError> {
    let key = meta_key::PROGRESS_TOKEN;
    let read = |value: RawJson| {
        let first = value.as_str().bytes().next().unwrap_or_default();
        let fits = first == b'"' || first == b'-' || first.is_ascii_digit();
        fits.then_some(value).ok_or(MetaError::Type { key, expected: "a string or a number" })
    };
    meta.get(key).map(read).transpose()
}
