//! The streamable HTTP transport, client side (MCP 2025-03-26 to 2025-11-25, Transports).

mod client;
mod flow;
mod link;
mod listen;
mod verdict;

pub(crate) use client::{HttpClient, NotAccepted, PROTOCOL_VERSION, SendFailure, accept, causes};
pub(crate) use flow::{HttpFlow, carries_message};
pub(crate) use link::{HttpLink, in_background};
pub(crate) use verdict::{Media, media};
