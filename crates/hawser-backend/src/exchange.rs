//! One request in flight.

use hawser_mcp::{Notification, Outcome, Request};

use crate::error::BackendError;

/// One request in flight: the ordered stream of what belongs to it, the response last. Dropping it forgets the request
/// without telling the server; [`Exchange::cancel`] tells it.
#[derive(Debug)]
pub struct Exchange {
    _private: (),
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
    /// The next item. Cancel safe: no item is lost when the future is dropped. A failure to send the request also arrives
    /// here, so ask [`BackendError::was_not_processed`] of a first item that is [`ExchangeItem::Failed`].
    pub async fn next(&mut self) -> ExchangeItem {
        std::future::pending().await
    }

    /// Tells the server that the answer is no longer wanted (`notifications/cancelled`) and forgets it.
    pub async fn cancel(self, reason: Option<&str>) {
        let _ = reason;
        std::future::ready(()).await;
    }
}
