//! One session with a backend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hawser_mcp::{Message, Notification, RawJson, Request, RequestId, Response};

use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::exchange::Exchange;
use crate::hello::ServerHello;
use crate::link::Link;
use crate::state::{Ending, SessionState};

/// One session. Clones share it; dropping the last clone and the last exchange closes it in the background.
#[derive(Clone, Debug)]
pub struct BackendSession {
    core: Arc<SessionCore>,
    server: Arc<ServerHello>,
}

/// What clones and exchanges share.
#[derive(Debug)]
pub(crate) struct SessionCore {
    pub(crate) config: Arc<BackendConfig>,
    pub(crate) link: Link,
    pub(crate) state: Arc<SessionState>,
    next_id: AtomicU64,
}

impl SessionCore {
    pub(crate) const fn new(config: Arc<BackendConfig>, link: Link, state: Arc<SessionState>) -> Self {
        Self { config, link, state, next_id: AtomicU64::new(1) }
    }

    /// Sends a request under a fresh id.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<Exchange, BackendError> {
        self.state.check_open()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = Request { id: RequestId::number(id), method: method.to_owned(), params };
        let flow = self.link.begin(id, &request).await?;
        Ok(Exchange::new(id, method, flow, Arc::clone(self)))
    }
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        // DELETE is for a session that the server still knows.
        if self.state.ending().is_none() {
            self.link.close_in_background();
        }
        self.state.end(Ending::Closed);
    }
}

impl BackendSession {
    pub(crate) fn new(core: Arc<SessionCore>, server: ServerHello) -> Self {
        Self { core, server: Arc::new(server) }
    }

    /// What the server said about itself.
    pub fn server(&self) -> &ServerHello {
        &self.server
    }

    /// Whether the session is, as far as is known, alive.
    pub fn is_open(&self) -> bool {
        self.core.state.check_open().is_ok()
    }

    /// Sends a request under an id of its own. The id that the end client used never leaves the gateway.
    pub async fn request(&self, method: &str, params: Option<RawJson>) -> Result<Exchange, BackendError> {
        self.core.begin(method, params).await
    }

    /// Sends a notification.
    pub async fn notify(&self, notification: &Notification) -> Result<(), BackendError> {
        self.core.state.check_open()?;
        self.core.link.send(&Message::Notification(notification.clone())).await
    }

    /// Answers a request of the server, under the id that it used.
    pub async fn respond(&self, response: &Response) -> Result<(), BackendError> {
        self.core.state.check_open()?;
        if let Some(id) = &response.id {
            self.core.state.answered(id);
        }
        self.core.link.send(&Message::Response(response.clone())).await
    }

    /// Listens to what the server says outside of any exchange: starts the standalone GET stream of HTTP, once. Nothing to
    /// do for stdio.
    pub fn listen(&self) {
        self.core.link.listen();
    }

    /// Ends the session: HTTP DELETE, or an orderly stop of the child, and waits for it. Safe to call twice.
    pub async fn close(&self) {
        let was_open = self.is_open();
        self.core.state.end(Ending::Closed);
        if was_open || matches!(self.core.link, Link::Stdio(_)) {
            self.core.link.close().await;
        }
    }
}
