//! Room for one more session, or one more child process: who is quiet makes way.

use std::collections::HashMap;
use std::sync::Arc;

use hawser_backend::BackendSession;
use hawser_identity::Authenticated;
use hawser_owner::{LocalOwner, Principal, PrincipalKind};

use super::Sessions;
use crate::places::{Full, Place};
use crate::session::Session;

/// How many sessions are set aside for one that needs a place, should others be quicker to take what gets free.
const MAKING_ROOM_MAX: usize = 8;

impl Sessions {
    /// A place for one more session. Where none is free a quiet session makes way: it can be restored from its id, so nobody is
    /// logged out; only where all are busy is the new one refused.
    pub(super) async fn place(&self, authenticated: &Authenticated) -> Result<Place, Full> {
        let owner = self.ring().local_owner(authenticated.principal());
        let counted = authenticated.principal().kind() != PrincipalKind::Anonymous;
        for _ in 0..MAKING_ROOM_MAX {
            let full = match self.places.take(owner, counted) {
                Ok(place) => return Ok(place),
                Err(full) => full,
            };
            let quiet = match full {
                Full::Owner => self.quietest(|session| session.local_owner() == owner),
                Full::Total => self.quietest(|_| true),
            };
            self.set_aside(&quiet.ok_or(full)?).await;
        }
        self.places.take(owner, counted)
    }

    /// A place for one more `subscriptions/listen` stream.
    pub(crate) fn listener_place(&self, principal: &Principal) -> Result<Place, Full> {
        self.listening.take(self.ring().local_owner(principal), principal.kind() != PrincipalKind::Anonymous)
    }

    /// Gives up an idle child process of another session: of the same owner first, else of the one who has the most.
    pub(crate) fn take_an_idle_child(&self, except: &Session) -> Option<BackendSession> {
        let holders: Vec<_> = self.live.pin().values().filter(|session| session.children() > 0).cloned().collect();
        let mut of_owner: HashMap<LocalOwner, usize> = HashMap::new();
        for session in &holders {
            *of_owner.entry(session.local_owner()).or_default() += session.children();
        }
        let mut others: Vec<_> = holders.iter().filter(|session| session.key() != except.key()).collect();
        others.sort_by_key(|session| {
            let count = of_owner.get(&session.local_owner()).copied().unwrap_or(0);
            (session.local_owner() != except.local_owner(), std::cmp::Reverse(count), session.last_used())
        });
        others.into_iter().find_map(|session| session.take_an_idle_child())
    }

    async fn set_aside(&self, session: &Arc<Session>) {
        let _ordered = self.shard(session.key()).lock().await;
        self.note_use(session).await;
        // It may have become busy while its record was written.
        if session.is_quiet() {
            self.release(session);
        }
    }

    fn quietest(&self, of: impl Fn(&Session) -> bool) -> Option<Arc<Session>> {
        let live = self.live.pin();
        let quiet = live.values().filter(|session| of(session) && session.is_quiet());
        quiet.min_by_key(|session| session.last_used()).cloned()
    }
}
