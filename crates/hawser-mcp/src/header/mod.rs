//! Headers that mirror a request's body (2026-07-28, Streamable HTTP, Request Metadata).

mod annotations;
mod param;
mod value;

pub use annotations::BadAnnotation;
pub use param::{ArgumentError, HeaderMismatch, PARAM_PREFIX, ParamHeaders};
pub use value::{HeaderValueError, decode_value, encode_value};

use crate::names::method;

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// `Mcp-Method`.
pub const METHOD: &str = "mcp-method";
/// `Mcp-Name`.
pub const NAME: &str = "mcp-name";

/// The member of the parameters that `Mcp-Name` mirrors, for the methods that demand the header (Standard Request Headers;
/// tasks extension, Routing Headers).
pub fn name_member(method: &str) -> Option<&'static str> {
    match method {
        method::TOOLS_CALL | method::PROMPTS_GET => Some("name"),
        method::RESOURCES_READ => Some("uri"),
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => Some("taskId"),
        _ => None,
    }
}
