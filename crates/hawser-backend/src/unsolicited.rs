//! What a server says outside of any exchange.

use hawser_mcp::Message;
use tokio::sync::mpsc;

/// Notifications and server requests that belong to no running exchange, in order. Server `ping`s are answered before
/// they get here. Dropping it discards what would have come.
#[derive(Debug)]
pub struct Unsolicited(pub(crate) mpsc::Receiver<Message>);

impl Unsolicited {
    /// The next message; `None` when the session is over. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}
