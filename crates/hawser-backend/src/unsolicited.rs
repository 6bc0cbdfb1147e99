//! What a server says outside of any exchange.

use std::sync::Arc;

use hawser_mcp::Message;

use crate::queue;
use crate::state::SessionState;

/// Notifications and server requests that belong to no running exchange, in order. Server `ping`s are answered before
/// they get here. Dropping it discards what would have come.
#[derive(Debug)]
pub struct Unsolicited {
    messages: queue::Receiver,
    state: Arc<SessionState>,
}

impl Unsolicited {
    pub(crate) const fn new(messages: queue::Receiver, state: Arc<SessionState>) -> Self {
        Self { messages, state }
    }

    /// The next message; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            message = self.messages.recv() => message,
            // What was said before the end is still told.
            () = self.state.over().cancelled() => self.messages.try_recv(),
        }
    }
}

impl Drop for Unsolicited {
    fn drop(&mut self) {
        // Nobody will answer what was not even read.
        for message in self.messages.close() {
            if let Message::Request(request) = message {
                self.state.answered(&request.id);
            }
        }
    }
}
