//! The streamable HTTP transport, client side (MCP 2025-03-26 to 2025-11-25, Transports).

mod client;
mod flow;
mod link;
mod listen;
mod verdict;

pub(crate) use client::HttpClient;
pub(crate) use flow::HttpFlow;
pub(crate) use link::HttpLink;
