//! `_meta`: the keys of the protocol, read from a request once, stamped on requests and taken off them again.

mod read;
mod stamp;
mod trace_context;

pub use read::{LOG_LEVELS, MetaError, RequestMeta};
pub use stamp::{Stamp, stamp_request, strip_request};
pub use trace_context::{child_traceparent, with_traceparent};

use crate::members::{Members, MembersError};
use crate::raw::RawJson;

/// Keys of `_meta` (2026-07-28, General Fields, `_meta`).
pub mod meta_key {
    /// Of a request: its revision.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Of a request: who sends it.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// Of a request: what its sender can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Of a request: the least severe log message that is wanted with its answer.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Of whatever arrives on the stream of a `subscriptions/listen`: that request's id.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// Of a result: who answers.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// Of messages about a task (2025-11-25, experimental).
    pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    /// W3C Trace Context.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C Trace Context.
    pub const TRACESTATE: &str = "tracestate";
    /// W3C Baggage.
    pub const BAGGAGE: &str = "baggage";
    /// Of a request: progress is wanted, under this token.
    pub const PROGRESS_TOKEN: &str = "progressToken";
}

/// The member that holds the keys.
pub(crate) const META: &str = "_meta";

/// The object with some keys of its `_meta` replaced and others removed; `_meta` is made where it is absent and needed, and
/// goes where nothing is left of it. `None` if there is nothing to change.
pub(crate) fn edit_meta(
    members: &Members<'_>,
    routed: &[&'static str],
    with: &[(&str, &RawJson)],
    without: &[&str],
) -> Result<Option<RawJson>, MembersError> {
    let Some(meta) = members.get(META) else {
        return Ok((!with.is_empty()).then(|| RawJson::object(with)));
    };
    if !meta.is_object() {
        return Err(MembersError::MemberNotAnObject(META));
    }
    let meta = Members::read(&meta, routed)?;
    let changes = !with.is_empty() || meta.iter().any(|(name, _)| without.contains(&name));
    Ok(changes.then(|| meta.edit(with, without)))
}
