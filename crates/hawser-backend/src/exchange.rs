//! One request in flight.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{Message, Notification, Outcome, RawJson, Request, method, notification};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::BackendError;
use crate::link::Flow;
use crate::name::BackendName;
use crate::session::SessionCore;

/// One request in flight: the ordered stream of what belongs to it, the response last. Dropping it forgets the request
/// without telling the server; [`Exchange::cancel`] tells it.
#[derive(Debug)]
pub struct Exchange {
    id: u64,
    cancellable: bool,
    flow: Option<Flow>,
    core: Arc<SessionCore>,
    quiet_until: Instant,
    began: Instant,
    ends_at: Instant,
}

/// What belongs to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeItem {
    /// Progress, log messages and the like.
    Notification(Notification),
    /// The server asks the client something; answer with [`crate::BackendSession::respond`].
    Request(Request),
    /// The answer. Ends the exchange.
    Response(Outcome),
    /// There will be no answer. Ends the exchange.
    Failed(BackendError),
}

impl Exchange {
    /// `began` is from before the request was sent: whatever the server asks because of it comes later.
    pub(crate) fn new(id: u64, method: &str, began: Instant, flow: Flow, core: Arc<SessionCore>) -> Self {
        Self {
            id,
            // "The `initialize` request MUST NOT be cancelled" (MCP, Utilities, Cancellation).
            cancellable: method != method::INITIALIZE,
            flow: Some(flow),
            quiet_until: Instant::now() + core.config.request_timeout,
            began,
            ends_at: began + core.config.request_timeout_max,
            core,
        }
    }

    /// Which server it is with.
    pub fn backend(&self) -> &BackendName {
        &self.core.config.name
    }

    /// The next item. Cancel safe: no item is lost when the future is dropped. A failure to send the request also arrives
    /// here, so ask [`BackendError::was_not_processed`] of a first item that is [`ExchangeItem::Failed`]. After the end
    /// every further item is a failure.
    pub async fn next(&mut self) -> ExchangeItem {
        loop {
            let Some(flow) = &mut self.flow else {
                return ExchangeItem::Failed(BackendError::Closed { backend: self.core.config.name.clone() });
            };
            let deadline = self.quiet_until.min(self.ends_at);
            match timeout_at(deadline, flow.next()).await {
                Ok(item) => return self.note(item),
                Err(_) if self.may_wait_on() => {}
                Err(_) => return self.time_out(),
            }
        }
    }

    /// Tells when the server has closed a connection whose stream goes on (2025-11-25, Transports, Sending Messages 6): it wants
    /// to be polled. The exchange does that by itself; whoever forwards it may do likewise.
    pub fn pauses(&self) -> Option<Arc<Notify>> {
        match &self.flow {
            Some(Flow::Http(flow)) => Some(flow.pauses()),
            _ => None,
        }
    }

    /// Tells the server that the answer is no longer wanted (`notifications/cancelled`) and forgets it.
    pub async fn cancel(self, reason: Option<&str>) {
        if self.flow.is_none() || !self.cancellable {
            return;
        }
        let told = timeout(self.core.config.connect_timeout, self.core.link.send(&self.cancelled(reason))).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(backend = %self.core.config.name, "the server could not be told of a cancellation");
        }
    }

    fn note(&mut self, item: ExchangeItem) -> ExchangeItem {
        if matches!(item, ExchangeItem::Response(_) | ExchangeItem::Failed(_)) {
            self.flow = None;
        }
        self.quiet_until = Instant::now() + self.core.config.request_timeout;
        item
    }

    /// After a silence: whether somebody on this side let the server wait meanwhile.
    fn may_wait_on(&mut self) -> bool {
        let now = Instant::now();
        let Some(excused) = self.core.state.excuse(self.id, self.began, now) else { return false };
        self.quiet_until = excused + self.core.config.request_timeout;
        now < self.quiet_until.min(self.ends_at)
    }

    /// "The sender SHOULD issue a cancellation notification for that request and stop waiting" (MCP, Lifecycle, Timeouts).
    fn time_out(&mut self) -> ExchangeItem {
        self.flow = None;
        if self.cancellable {
            self.core.link.send_in_background(self.cancelled(Some("timeout")));
        }
        let after: Duration = if Instant::now() >= self.ends_at {
            self.core.config.request_timeout_max
        } else {
            self.core.config.request_timeout
        };
        ExchangeItem::Failed(BackendError::TimedOut { backend: self.core.config.name.clone(), after })
    }

    fn cancelled(&self, reason: Option<&str>) -> Message {
        let mut params = serde_json::Map::new();
        params.insert("requestId".to_owned(), self.id.into());
        if let Some(reason) = reason {
            params.insert("reason".to_owned(), reason.into());
        }
        Message::Notification(Notification::new(notification::CANCELLED, RawJson::from_serialize(&params).ok()))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // First the way by which further questions would come.
        self.flow = None;
        self.core.state.exchange_ended(self.id);
    }
}
