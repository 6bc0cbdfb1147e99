//! How the node stops: no new work, time for what is under way, then the end of everything that it holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::Sessions;
use super::ending::AT_A_STEP;
use crate::session::Session;

/// Longest wait for backends to let go when the node stops.
const END_LIMIT: Duration = Duration::from_secs(6);
/// Longest wait for listeners to be told that their streams end.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// So long a client that was away has to come back for what its call came to.
const FETCHED_WITHIN: Duration = Duration::from_secs(5);
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
        let at_work: Vec<_> = self.workshop.at_work().iter().filter_map(|session| session.present_work()).collect();
        for work in &at_work {
            work.leave();
        }
        let left = futures_util::future::join_all(at_work.iter().map(|work| work.listeners.left()));
        let _ = tokio::time::timeout(GOODBYE_LIMIT, left).await;
        drop(at_work);
        let _ = tokio::time::timeout(grace, self.nothing_under_way()).await;
        self.under_way()
    }

    /// Waits until no call is under way. A call that waits for its client's input is: the client may come back with it. So is one
    /// that came to its end while its client was away.
    async fn nothing_under_way(&self) {
        loop {
            let mut busy = self.busy();
            if busy.is_empty() {
                return;
            }
            while !busy.is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
                busy.retain(is_busy);
            }
            // A session may have been restored meanwhile, to take an answer.
        }
    }

    fn busy(&self) -> Vec<Arc<Session>> {
        let mut busy = self.workshop.at_work();
        busy.retain(is_busy);
        busy
    }

    /// How many sessions this node holds.
    pub(crate) fn held(&self) -> usize {
        self.live.len()
    }

    /// How many calls are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.workshop.at_work().iter().map(|session| session.calls()).sum()
    }

    /// Ends everything that this node holds. The sessions themselves stay valid.
    pub(crate) async fn close(&self) {
        self.draining.store(true, Ordering::Release);
        self.closing.store(true, Ordering::Release);
        let at_work = self.workshop.at_work();
        let ended = async {
            let ends = futures_util::future::join_all(at_work.iter().map(|session| session.end()));
            tokio::join!(ends, self.note_uses());
        };
        if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
            warn!("some backends did not let go in time, or some uses of sessions could not be noted");
        }
    }

    /// Notes the last use of every session that has been used since the last note.
    async fn note_uses(&self) {
        let mut at = Some(0);
        while let Some(start) = at {
            let (some, next) = self.places.from(start, AT_A_STEP);
            let used = some.into_iter().filter(|session| session.was_used_since_noted());
            let noted = used.map(|session| async move { self.note_use(&session).await });
            futures_util::future::join_all(noted).await;
            at = next;
        }
    }
}

/// Whether a session is waited for.
fn is_busy(session: &Arc<Session>) -> bool {
    let lately = Instant::now().checked_sub(FETCHED_WITHIN);
    session.calls() > 0 || lately.is_some_and(|lately| session.is_unfetched(lately))
}
