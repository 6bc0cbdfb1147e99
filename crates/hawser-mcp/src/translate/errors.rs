//! Error objects.

use crate::raw::RawJson;
use crate::revision::Revision;

/// An error object.
#[must_use]
pub fn error(error: RawJson, _from: Revision, _to: Revision) -> RawJson {
    error
}
