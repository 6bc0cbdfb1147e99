//! Room for one more session, or one more child process: who is quiet makes way.

use std::collections::HashMap;
use std::sync::Arc;

use hawser_backend::BackendSession;
use hawser_identity::Authenticated;
use hawser_owner::{LocalOwner, Principal, PrincipalKind};

use super::Sessions;
use crate::places::{Full, Place, Places};
use crate::session::{Session, Work};

/// How many sessions are set aside for one that needs a place, should others be quicker to take what gets free.
const MAKING_ROOM_MAX: usize = 8;

impl Sessions {
    /// A place for one more session. Where none is free a quiet session makes way: it can be restored from its id, so nobody is
    /// logged out; only where all are busy is the new one refused.
    pub(super) async fn place(&self, authenticated: &Authenticated) -> Result<Place, Full> {
        for _ in 0..MAKING_ROOM_MAX {
            if self.clients.has_room() {
                break;
            }
            let alone = self.places.some().into_iter().filter(|session| session.has_a_client_of_its_own());
            self.set_aside(&quietest(alone).ok_or(Full::Total)?).await;
        }
        let owner = self.ring().local_owner(authenticated.principal());
        let counted = authenticated.principal().kind() != PrincipalKind::Anonymous;
        self.place_among(&self.places, owner, counted).await
    }

    /// Lets a session hold more than itself. Sessions at work are fewer than those that are idle: where there are too many, a quiet
    /// one makes way.
    pub(crate) async fn set_to_work(&self, session: &Arc<Session>) -> Result<Arc<Work>, Full> {
        if let Some(work) = session.counted_work() {
            return Ok(work);
        }
        let place = self.place_among(&self.at_work, session.local_owner(), session.is_counted()).await?;
        Ok(session.begin_work(place))
    }

    async fn place_among(&self, places: &Arc<Places>, owner: LocalOwner, counted: bool) -> Result<Place, Full> {
        for _ in 0..MAKING_ROOM_MAX {
            let full = match places.take(owner, counted) {
                Ok(place) => return Ok(place),
                Err(full) => full,
            };
            let mut candidates = match full {
                Full::Owner => places.some_of(owner),
                Full::Total => places.some(),
            };
            if Arc::ptr_eq(places, &self.at_work) {
                // Who holds nothing any more gives its place back and stays.
                let before = candidates.len();
                candidates.retain(|session| !session.rest());
                if candidates.len() < before {
                    continue;
                }
            }
            self.set_aside(&quietest(candidates).ok_or(full)?).await;
        }
        places.take(owner, counted)
    }

    /// A place for one more `subscriptions/listen` stream.
    pub(crate) fn listener_place(&self, principal: &Principal) -> Result<Place, Full> {
        self.listening.take(self.ring().local_owner(principal), principal.kind() != PrincipalKind::Anonymous)
    }

    /// A place for one more call that waits for its client's input.
    pub(crate) fn parked_place(&self, principal: &Principal) -> Result<Place, Full> {
        self.parked.take(self.ring().local_owner(principal), principal.kind() != PrincipalKind::Anonymous)
    }

    /// A place for one more request that is brought to another node. Until that answers, which a node that never was never does,
    /// nobody takes the room of all others.
    pub(crate) fn bringing_place(&self, principal: &Principal) -> Result<Place, Full> {
        self.bringing.take(self.ring().local_owner(principal), principal.kind() != PrincipalKind::Anonymous)
    }

    /// Gives up an idle child process of another session: of the same owner first, else of the one who has the most.
    pub(crate) fn take_an_idle_child(&self, except: &Session) -> Option<BackendSession> {
        let holders = self.workshop.with_children();
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
        // It may have become busy while its record was written. Whoever was admitted to it keeps it; whoever comes now restores it.
        if session.close_if_quiet() {
            self.release(session);
        }
    }
}

/// Of some sessions the one that may be set aside and has not been used for the longest.
fn quietest(sessions: impl IntoIterator<Item = Arc<Session>>) -> Option<Arc<Session>> {
    sessions.into_iter().filter(|session| session.is_quiet()).min_by_key(|session| session.last_used())
}
