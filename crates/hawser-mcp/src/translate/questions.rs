//! Questions of a server: `elicitation/create`, `sampling/createMessage`, `roots/list`.

use crate::raw::RawJson;
use crate::revision::Revision;

/// The parameters of a question towards a client of this revision; `None` if it cannot be put to it. An `elicitationId`
/// (2025-11-25, URL mode) is for the caller to mint.
#[expect(clippy::option_option, reason = "the parameters themselves are optional")]
pub fn server_request(_method: &str, params: Option<&RawJson>, _to: Revision) -> Option<Option<RawJson>> {
    Some(params.cloned())
}
