//! The stdio transport: a child process that speaks lines of JSON (MCP, Transports, stdio).
//!
//! Per child one task reads, one writes, one listens to its standard error, and one supervises: it stops the child when
//! the session is over, and tells every open exchange when the child is.

mod child;
mod link;
mod reader;
mod stderr;
mod supervisor;
#[cfg(test)]
mod waiting;
mod writer;

pub(crate) use child::ChildCommand;
pub(crate) use link::StdioLink;
