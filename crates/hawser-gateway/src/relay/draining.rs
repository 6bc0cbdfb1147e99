//! How a node leaves the others: nobody should have to find out by its silence.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Relay;
use super::flow::Break;

/// Longest wait for other nodes to read the answers that are made.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for the last words to be sent.
const SENT_LIMIT: Duration = Duration::from_millis(500);
/// How often it is looked whether there is nothing more to wait for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Relay {
    /// How many calls of this node's clients are answered by other nodes.
    pub fn calls_under_way(&self) -> usize {
        self.shared.asked().values().filter(|asked| asked.is_call).count()
    }

    /// Ends the streams of other nodes that are read here, so that their clients open them elsewhere, and gives the calls `grace`.
    /// Tells how many were not done by then.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.shared.each_asked(|asked, flow| if asked.is_call { None } else { flow.give_up(Break::Unwanted) });
        let none = async {
            while self.calls_under_way() > 0 {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(grace, none).await;
        self.calls_under_way()
    }

    /// Takes no more requests of other nodes, lets them read what is answered, and tells them what will not be.
    pub async fn close(&self) {
        let answered = async {
            while !self.shared.serving.close() {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(READ_LIMIT, answered).await;
        self.shared.serving.give_up();
        self.shared.each_asked(|_, flow| flow.give_up(Break::Unwanted));
        let sent = async {
            while !self.shared.outbox.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(SENT_LIMIT, sent).await;
        // Without it the others wait until what this node said last is not believed any more.
        if let Ok(Err(error)) = timeout(SENT_LIMIT, self.shared.leave()).await {
            debug!(%error, "other nodes could not be told that this one has ended");
        }
    }
}
