//! The `subscriptions/listen` streams of a session without an id (MCP 2026-07-28, Subscriptions): who listens, and for what.
//!
//! What backends say is put into each listener's own [mailbox](mailbox), which keeps the last of each kind: nobody waits for a
//! slow reader. The resources of session-era backends are [held](held) for as long as anybody listens for them.

mod held;
mod mailbox;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_mcp::Notification;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::held::{HeldResources, Hold, hold};
pub(crate) use self::mailbox::{Mailbox, Told};

use crate::credential::{Credential, Revocation};
use crate::places::Place;

/// The listeners of one session.
#[derive(Debug)]
pub(crate) struct Listeners {
    room: Arc<Room>,
    max: usize,
    /// What is subscribed to at session-era backends on their behalf.
    pub(crate) held: HeldResources,
}

#[derive(Debug, Default)]
struct Room {
    state: Mutex<State>,
    emptied: Notify,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    present: HashMap<u64, Present>,
}

#[derive(Debug)]
struct Present {
    mailbox: Arc<Mailbox>,
    credential: Credential,
    revoked: CancellationToken,
}

/// One listener; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    number: u64,
    room: Arc<Room>,
    mailbox: Arc<Mailbox>,
    revoked: CancellationToken,
    _place: Place,
}

/// A session has as many listeners as it may, or takes none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Listeners {
    pub(crate) fn new(max: usize) -> Self {
        Self { room: Arc::default(), max, held: HeldResources::default() }
    }

    /// Whether nobody listens, and nothing is subscribed to for who did.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_empty() && self.held.is_empty()
    }

    /// Lets a listener in.
    pub(crate) fn enter(&self, credential: &Credential, place: Place) -> Result<Listener, NoRoom> {
        let mut state = self.room.lock();
        if state.present.len() >= self.max || self.room.closed.is_cancelled() {
            return Err(NoRoom);
        }
        state.last += 1;
        let number = state.last;
        let (mailbox, revoked) = (Arc::<Mailbox>::default(), CancellationToken::new());
        let present =
            Present { mailbox: Arc::clone(&mailbox), credential: credential.clone(), revoked: revoked.clone() };
        state.present.insert(number, present);
        Ok(Listener { number, room: Arc::clone(&self.room), mailbox, revoked, _place: place })
    }

    /// Tells whoever wants to know what a backend said.
    pub(crate) fn tell(&self, backend: usize, notification: &Notification) {
        for present in self.room.lock().present.values() {
            present.mailbox.tell(backend, notification);
        }
    }

    /// For a while a backend was not heard: all that it tells of may have changed.
    pub(crate) fn tell_all_of(&self, backend: usize) {
        for present in self.room.lock().present.values() {
            present.mailbox.tell_all_of(backend);
        }
    }

    /// Whether somebody listens for a resource or a task of this backend.
    pub(crate) fn wait_for(&self, backend: usize) -> bool {
        self.room.lock().present.values().any(|present| present.mailbox.waits_for(backend))
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.room.lock().present.is_empty()
    }

    /// Ends the streams of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        for present in self.room.lock().present.values().filter(|present| present.credential.is_hit_by(revocation)) {
            present.revoked.cancel();
        }
    }

    /// Asks all to leave, and lets nobody in any more.
    pub(crate) fn close(&self) {
        // Under the lock, so that nobody enters unasked.
        let _state = self.room.lock();
        self.room.closed.cancel();
    }

    /// Waits until all have left.
    pub(crate) async fn left(&self) {
        loop {
            let emptied = self.room.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    pub(crate) const fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Becomes cancelled when its credential is revoked.
    pub(crate) const fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// Becomes cancelled when it is asked to leave.
    pub(crate) fn dismissed(&self) -> &CancellationToken {
        &self.room.closed
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        state.present.remove(&self.number);
        if state.present.is_empty() {
            self.room.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_mcp::notification;

    use super::*;
    use crate::places::Places;

    fn place() -> Place {
        Places::new(1, 1).take(crate::places::tests::owner("alice"), false).unwrap()
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_and_again_when_one_has_left() {
        let listeners = Listeners::new(2);
        let first = listeners.enter(&Credential::default(), place()).unwrap();
        let second = listeners.enter(&Credential::default(), place()).unwrap();
        assert_eq!(listeners.enter(&Credential::default(), place()).unwrap_err(), NoRoom);
        drop(first);
        let third = listeners.enter(&Credential::default(), place()).unwrap();
        listeners.close();
        assert!(second.dismissed().is_cancelled() && third.dismissed().is_cancelled());
        drop(second);
        assert_eq!(listeners.enter(&Credential::default(), place()).unwrap_err(), NoRoom, "it is closed");
        assert!(!listeners.is_empty());
        drop(third);
        listeners.left().await;
    }

    #[test]
    fn each_is_told_what_it_wants_and_nothing_else() {
        let listeners = Listeners::new(2);
        let (one, two) = (
            listeners.enter(&Credential::default(), place()).unwrap(),
            listeners.enter(&Credential::default(), place()).unwrap(),
        );
        one.mailbox().want_list(notification::TOOLS_LIST_CHANGED);
        two.mailbox().want_list(notification::PROMPTS_LIST_CHANGED);
        listeners.tell(0, &Notification::new(notification::TOOLS_LIST_CHANGED, None));
        assert!(one.mailbox().has_mail() && !two.mailbox().has_mail());
        listeners.tell_all_of(0);
        assert!(two.mailbox().has_mail());
    }
}
