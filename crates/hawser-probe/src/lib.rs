//! The examination of MCP servers: does a session outlive its token, and does it answer only to its owner?
//!
//! [`examine()`] takes any MCP server or gateway and two principals. The owner opens a session, refreshes their token and goes
//! on; then everybody who must be refused tries every operation. The crate shares no code with the gateway beside it: what it
//! says, it learned over HTTP, as any client could.

pub mod examine;
pub mod finding;
mod judge;
pub mod mcp;
mod menu;
pub mod oauth;
pub mod observer;
mod operation;
pub mod report;
pub mod rpc;
mod secret;
pub mod session;
mod sse;
pub mod story;
pub mod text;
pub mod wire;

pub use examine::{Entry, ExamineError, Given, Principals, Target, examine};
pub use finding::{Fault, Finding, Severity};
pub use judge::State;
pub use menu::{ArgumentsError, ToolCall};
pub use observer::{Event, Observer};
pub use operation::Operation;
pub use report::{Attacker, Attempt, Report};
pub use secret::Secret;
pub use wire::{Limits, web_address};
