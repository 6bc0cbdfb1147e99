//! What a server says outside of any exchange.

use hawser_mcp::Message;
use tokio_util::sync::CancellationToken;

use crate::queue;

/// Notifications and server requests that belong to no running exchange, in order. Server `ping`s are answered before
/// they get here. Dropping it discards what would have come.
#[derive(Debug)]
pub struct Unsolicited {
    messages: queue::Receiver,
    over: CancellationToken,
}

impl Unsolicited {
    pub(crate) const fn new(messages: queue::Receiver, over: CancellationToken) -> Self {
        Self { messages, over }
    }

    /// The next message; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            message = self.messages.recv() => message,
            // What was said before the end is still told.
            () = self.over.cancelled() => self.messages.try_recv(),
        }
    }
}
