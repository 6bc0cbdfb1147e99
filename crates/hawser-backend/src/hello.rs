//! The two sides of `initialize`.

use hawser_mcp::{RawJson, Revision};

/// What the *end* client said about itself. The gateway passes it on, so that a server asks only for what can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The revision to ask for.
    pub revision: Revision,
    /// `ClientCapabilities`, an object.
    pub capabilities: RawJson,
    /// `Implementation`, an object.
    pub client_info: RawJson,
}

/// What the server said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The revision that the session speaks.
    pub revision: Revision,
    /// `ServerCapabilities`, an object.
    pub capabilities: RawJson,
    /// `Implementation`, an object.
    pub server_info: RawJson,
    /// How to use the server, for a model to read.
    pub instructions: Option<String>,
}
