//! One configured MCP server.

use std::sync::Arc;

use crate::config::{BackendConfig, ChildLimit, ConfigError};
use crate::error::BackendError;
use crate::hello::ClientHello;
use crate::name::BackendName;
use crate::session::BackendSession;
use crate::unsolicited::Unsolicited;

/// One configured MCP server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: BackendConfig,
    #[expect(dead_code, reason = "read once children are started")]
    children: ChildLimit,
}

impl Backend {
    /// Checks the configuration and makes the client; connects to nothing yet.
    pub fn new(config: BackendConfig, children: ChildLimit) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self(Arc::new(Inner { config, children })))
    }

    /// What it is called.
    pub fn name(&self) -> &BackendName {
        &self.0.config.name
    }

    /// Opens a session: connects or starts the child, then `initialize` and `notifications/initialized`.
    pub async fn open(&self, client: &ClientHello) -> Result<(BackendSession, Unsolicited), BackendError> {
        let _ = client;
        std::future::ready(Err(BackendError::Closed { backend: self.name().clone() })).await
    }
}
