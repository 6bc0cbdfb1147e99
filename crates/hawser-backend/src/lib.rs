//! Connections to MCP servers of both eras: stateless (2026-07-28, "modern") and with sessions (2025-03-26 to 2025-11-25,
//! "legacy"), over streamable HTTP and with child processes that speak over stdio; and over HTTP+SSE, the transport of
//! 2024-11-05. Which era a server speaks is found out; one that speaks both is spoken to in its client's.
//!
//! - [`Backend`]: one configured server. [`Backend::open`] gives a session;
//! - [`BackendSession`]: one session, with the capabilities of the *end* client, so that the server asks only for what
//!   somebody can answer. With a modern server it is an adapter for a legacy client, and passes everything for a modern one;
//! - [`WeakBackendSession`]: the same session for who must not keep it open;
//! - [`Exchange`]: one request in flight, as the ordered stream of what belongs to it, the response last;
//! - [`Unsolicited`]: what the server says outside of any exchange.
//!
//! Payloads stay raw bytes. Every read, queue and wait is bounded, and every failure says which backend it was and whether
//! the request can have been processed ([`BackendError::was_not_processed`]).

mod backend;
mod capabilities;
mod circuit;
mod config;
mod discover;
mod era;
mod error;
mod exchange;
mod hello;
#[cfg(feature = "in-process")]
mod in_process;
mod jitter;
mod known;
mod link;
mod modern;
mod multiplex;
mod name;
mod open;
mod questions;
mod queue;
mod session;
mod sse;
mod state;
mod stdio;
mod streamable;
mod unsolicited;

pub use backend::Backend;
pub use config::{BackendConfig, ChildLimit, ConfigError, HEADERS_RESERVED, Transport};
pub use error::BackendError;
pub use exchange::{Exchange, ExchangeItem};
pub use hello::{ClientHello, ServerHello};
#[cfg(feature = "in-process")]
pub use in_process::{Dial, Dialing};
pub use name::{BackendName, BackendNameError};
pub use session::{BackendSession, WeakBackendSession};
pub use unsolicited::Unsolicited;
