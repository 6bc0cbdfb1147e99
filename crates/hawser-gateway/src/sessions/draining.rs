//! How the node stops: no new work, time for what is under way, then the end of everything that it holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;

use super::Sessions;
use crate::session::Session;

/// Longest wait for backends to let go when the node stops.
const END_LIMIT: Duration = Duration::from_secs(6);
/// Longest wait for listeners to be told that their streams end.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// How often it is looked whether the work that was under way is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Sessions {
    /// Whether only work that is under way is still served: answers to questions, retries of parked calls, streams of calls.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Takes no new work, ends the streams that would never end by themselves, so that their clients open them elsewhere, and
    /// gives the calls under way `grace`. Tells how many calls were not done by then.
    pub(crate) async fn drain(&self, grace: Duration) -> usize {
        self.draining.store(true, Ordering::Release);
        let sessions: Vec<_> = self.live.pin().values().cloned().collect();
        for session in &sessions {
            session.outbox.close();
            session.listeners.close();
        }
        let left = futures_util::future::join_all(sessions.iter().map(|session| session.listeners.left()));
        let _ = tokio::time::timeout(GOODBYE_LIMIT, left).await;
        drop(sessions);
        let _ = tokio::time::timeout(grace, self.nothing_under_way()).await;
        self.under_way()
    }

    /// Waits until no call is under way. A call that waits for its client's input is: the client may come back with it.
    async fn nothing_under_way(&self) {
        loop {
            let mut busy = self.busy();
            if busy.is_empty() {
                return;
            }
            while !busy.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                busy.retain(|session| calls(session) > 0);
            }
            // A session may have been restored meanwhile, to take an answer.
        }
    }

    fn busy(&self) -> Vec<Arc<Session>> {
        self.live.pin().values().filter(|session| calls(session) > 0).cloned().collect()
    }

    /// How many calls are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.live.pin().values().map(|session| calls(session)).sum()
    }

    /// Ends everything that this node holds. The sessions themselves stay valid.
    pub(crate) async fn close(&self) {
        self.draining.store(true, Ordering::Release);
        self.closing.store(true, Ordering::Release);
        let sessions: Vec<_> = self.live.pin().values().cloned().collect();
        let ends = sessions.into_iter().map(|session| async move {
            self.note_use(&session).await;
            session.end().await;
        });
        if tokio::time::timeout(END_LIMIT, futures_util::future::join_all(ends)).await.is_err() {
            warn!("some backends did not let go in time");
        }
    }
}

/// The calls of a session that run, or wait for their client.
fn calls(session: &Session) -> usize {
    session.in_flight.len() + session.parked.len()
}
