//! The streamable HTTP transport, client side (MCP 2025-03-26 to 2025-11-25, Transports).

mod background;
mod client;
mod connections;
mod flow;
mod large;
mod link;
mod listen;
mod per_runtime;
mod verdict;
mod whole;

pub(crate) use background::{Background, in_background};
pub(crate) use client::{HttpClient, NotAccepted, PROTOCOL_VERSION, accept, causes, send_failure};
#[cfg(feature = "in-process")]
pub(crate) use connections::Connect;
pub(crate) use connections::ResponseBody;
pub(crate) use flow::{HttpFlow, carries_message};
pub(crate) use link::HttpLink;
pub(crate) use verdict::{Media, media};
