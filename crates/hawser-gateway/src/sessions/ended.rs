//! What this node knows to be over: sessions it ended or heard of, and owners and endpoints whose earlier sessions were revoked.
//!
//! The store holds the same as rows. This memory is asked first: it holds while the store cannot be reached, and when the store
//! comes back without its rows, they are written again from here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hawser_owner::Timestamp;

use crate::claims::SessionKey;

/// Most sessions that are remembered; the oldest make way. Their tombstones are in the store all the same.
const SESSIONS_MAX: usize = 65_536;
/// Most owners and endpoints that are remembered.
const REVOKED_MAX: usize = 16_384;

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndedSession {
    /// Digest in hexadecimal.
    pub(super) owner: String,
    pub(super) endpoint: String,
    /// When its id stops being good by itself.
    pub(super) expires: Timestamp,
}

/// Whose earlier sessions are over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// Digest in hexadecimal.
    Owner(String),
    /// Path.
    Endpoint(String),
}

/// Sessions that were opened up to a moment are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) before: Timestamp,
    /// When no such session's id is good any more.
    pub(super) until: Timestamp,
}

/// Something that is over, to be written to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Session(SessionKey, EndedSession),
    Whose(Whose, Before),
}

/// Everything of that.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionKey, EndedSession>,
    /// In the order in which they became known.
    order: VecDeque<SessionKey>,
    revoked: HashMap<Whose, Before>,
    revoked_order: VecDeque<Whose>,
}

impl Ended {
    /// Remembers that a session is over. Tells whether that is news.
    pub(super) fn note(&self, key: SessionKey, ended: EndedSession, now: Timestamp) -> bool {
        let mut known = self.lock();
        if known.sessions.contains_key(&key) {
            return false;
        }
        while let Some(oldest) = known.order.front().copied() {
            let over = known.sessions.get(&oldest).is_none_or(|oldest| oldest.expires <= now);
            if !over && known.order.len() < SESSIONS_MAX {
                break;
            }
            known.order.pop_front();
            known.sessions.remove(&oldest);
        }
        known.order.push_back(key);
        known.sessions.insert(key, ended);
        true
    }

    /// Remembers that somebody's earlier sessions are over. Tells whether that is news.
    pub(super) fn note_revoked(&self, whose: Whose, before: Before, now: Timestamp) -> bool {
        let mut known = self.lock();
        if let Some(held) = known.revoked.get_mut(&whose) {
            let news = before.before > held.before;
            held.before = held.before.max(before.before);
            held.until = held.until.max(before.until);
            return news;
        }
        while let Some(oldest) = known.revoked_order.front().cloned() {
            let over = known.revoked.get(&oldest).is_none_or(|oldest| oldest.until <= now);
            if !over && known.revoked_order.len() < REVOKED_MAX {
                break;
            }
            known.revoked_order.pop_front();
            known.revoked.remove(&oldest);
        }
        known.revoked_order.push_back(whose.clone());
        known.revoked.insert(whose, before);
        true
    }

    /// Whether a session is known to be over: by itself, or with all of its owner or endpoint.
    pub(super) fn holds(&self, key: SessionKey, owner: &str, endpoint: &str, opened: Timestamp) -> bool {
        let known = self.lock();
        // Most of the time nothing of the kind is known.
        if known.sessions.contains_key(&key) {
            return true;
        }
        let hit = |whose: &Whose| known.revoked.get(whose).is_some_and(|revoked| opened <= revoked.before);
        !known.revoked.is_empty()
            && (hit(&Whose::Owner(owner.to_owned())) || hit(&Whose::Endpoint(endpoint.to_owned())))
    }

    /// Whether any owner's or endpoint's sessions were revoked as a whole.
    pub(super) fn holds_revocations(&self) -> bool {
        !self.lock().revoked.is_empty()
    }

    /// Up to when somebody's sessions are over.
    pub(super) fn revoked_before(&self, whose: &Whose) -> Option<Timestamp> {
        self.lock().revoked.get(whose).map(|revoked| revoked.before)
    }

    /// All of it that is not over by time, the latest first.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Over> {
        let known = self.lock();
        let revoked = known.revoked.iter().filter(|(_, before)| before.until > now);
        let revoked = revoked.map(|(whose, before)| Over::Whose(whose.clone(), *before));
        let sessions = known.order.iter().rev().filter_map(|key| Some((*key, known.sessions.get(key)?)));
        let sessions = sessions.filter(|(_, ended)| ended.expires > now);
        revoked.chain(sessions.map(|(key, ended)| Over::Session(key, ended.clone()))).collect()
    }

    /// Every change is complete before the lock is given back.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn key(number: u64) -> SessionKey {
        let mut key = [0; 16];
        key.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        SessionKey(key)
    }

    fn ended(expires: u64) -> EndedSession {
        EndedSession { owner: "o".to_owned(), endpoint: "/mcp".to_owned(), expires: at(expires) }
    }

    #[test]
    fn it_is_bounded_and_the_oldest_make_way() {
        let memory = Ended::default();
        let max = u64::try_from(SESSIONS_MAX).unwrap_or(u64::MAX);
        for number in 0..=max {
            assert!(memory.note(key(number), ended(100), at(1)));
        }
        assert!(!memory.note(key(max), ended(100), at(1)), "known already");
        assert!(!memory.holds(key(0), "o", "/mcp", at(1)) && memory.holds(key(1), "o", "/mcp", at(1)));
        assert_eq!(memory.all(at(1)).len(), SESSIONS_MAX);
        // What is over by time makes way for nothing.
        memory.note(key(max + 1), ended(300), at(200));
        assert_eq!(memory.lock().sessions.len(), 1);
        assert_eq!(memory.all(at(200)), [Over::Session(key(max + 1), ended(300))]);
        for number in 0..=REVOKED_MAX {
            memory.note_revoked(Whose::Owner(number.to_string()), Before { before: at(1), until: at(400) }, at(2));
        }
        assert_eq!(memory.lock().revoked.len(), REVOKED_MAX);
    }

    #[test]
    fn what_was_opened_before_a_revocation_is_over_and_what_came_later_is_not() {
        let memory = Ended::default();
        let before = |seconds| Before { before: at(seconds), until: at(1000) };
        assert!(memory.note_revoked(Whose::Owner("o".to_owned()), before(10), at(10)));
        assert!(memory.holds(key(1), "o", "/mcp", at(10)) && !memory.holds(key(1), "o", "/mcp", at(11)));
        assert!(!memory.holds(key(1), "p", "/mcp", at(5)));
        // An older word takes nothing back.
        assert!(!memory.note_revoked(Whose::Owner("o".to_owned()), before(5), at(10)));
        assert!(memory.holds(key(1), "o", "/mcp", at(10)));
        memory.note_revoked(Whose::Endpoint("/mcp".to_owned()), before(20), at(20));
        assert!(memory.holds(key(1), "p", "/mcp", at(20)) && !memory.holds(key(1), "p", "/x", at(20)));
    }
}
