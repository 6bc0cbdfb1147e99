//! The HTTP+SSE transport of the first revision, client side (MCP 2024-11-05, Transports, HTTP with SSE).
//!
//! One GET opens a stream whose first event names the address that messages are posted to; everything the server says
//! arrives on that stream, answers too. So the stream is the session: when it ends, the session is over.

mod address;
mod link;
mod stream;

pub(crate) use link::{NoSse, SseFlow, SseLink};
