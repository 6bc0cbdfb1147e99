//! The Model Context Protocol as bytes: JSON-RPC frames kept raw, methods, revisions, stream framing, what requests of the
//! modern era (2026-07-28) carry in `_meta` and headers, and translation between the eras ([`translate`]).
//!
//! A gateway reads the envelope and the one or two members it routes by; everything else is copied. So no message is parsed
//! into a typed model here: [`Message`] holds slices of the body it came from ([`RawJson`]), and rewriting one member
//! ([`Members::replace`]) leaves every other byte as it was. Unknown members, 22-digit numbers and vendor extensions survive
//! by construction.
//!
//! No I/O, no async: bytes in, bytes out. Time, randomness and ids come in as arguments.

mod answerable;
mod error;
mod frame;
mod freshness;
pub mod header;
mod input_required;
mod line;
mod list;
mod listen;
mod members;
mod meta;
mod names;
mod raw;
mod response_reader;
mod revision;
mod sse;
pub mod task;
pub mod translate;
mod utf8_walk;
mod value_walk;

pub use answerable::can_be_asked;
pub use error::{ErrorObject, code};
pub use frame::{
    Body, FrameError, Limits, Message, Notification, Outcome, Request, RequestId, Response, parse_body, parse_message,
};
pub use freshness::{CacheScope, Freshness, freshness};
pub use input_required::{
    INPUT_REQUESTS_MAX, InputRequest, InputRequired, InputRequiredError, ResultType, result_type, with_input_responses,
};
pub use line::{LineDecoder, LineError};
pub use list::{ListPage, write_list};
pub use listen::{FILTER_ENTRIES_MAX, ListenError, ListenFilter, with_subscription_id, without_subscription_id};
pub use members::{Members, MembersError};
pub use meta::{
    LOG_LEVELS, MetaError, RequestMeta, Stamp, child_traceparent, meta_key, stamp_request, strip_request,
    with_traceparent,
};
pub use names::{ListKind, client_notification, is_cacheable, method, notification};
pub use raw::{RawJson, RawJsonError};
pub use response_reader::{ResponseError, ResponseReader};
pub use revision::{Era, Revision};
pub use sse::{PassedOn, SseDecoder, SseError, SseEvent, encode_sse, encode_sse_comment, encode_sse_priming};
