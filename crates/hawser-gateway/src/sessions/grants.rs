//! Which sessions were opened under which grant, so that a revocation finds them without looking at all sessions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claims::SessionKey;

/// The sessions of this node by the grant that they were opened under.
#[derive(Debug, Default)]
pub(super) struct OpenedUnder(Mutex<BTreeSet<(Arc<str>, SessionKey)>>);

impl OpenedUnder {
    pub(super) fn add(&self, grant: &Arc<str>, session: SessionKey) {
        self.lock().insert((Arc::clone(grant), session));
    }

    pub(super) fn remove(&self, grant: &Arc<str>, session: SessionKey) {
        self.lock().remove(&(Arc::clone(grant), session));
    }

    /// The sessions that were opened under a grant.
    pub(super) fn of(&self, grant: &str) -> Vec<SessionKey> {
        let first = (Arc::from(grant), SessionKey::FIRST);
        let opened = self.lock();
        opened.range(first..).take_while(|(of, _)| &**of == grant).map(|(_, session)| *session).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(Arc<str>, SessionKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_leads_to_its_own_sessions() {
        let opened = OpenedUnder::default();
        let key = |n| SessionKey([n; 16]);
        let grants: Vec<Arc<str>> = ["a", "ab", "b"].map(Arc::from).into();
        for (grant, session) in [(0, 1), (0, 255), (1, 2), (2, 0)] {
            opened.add(&grants[grant], key(session));
        }
        assert_eq!(opened.of("a"), [key(1), key(255)]);
        assert_eq!(opened.of("b"), [key(0)]);
        assert!(opened.of("c").is_empty() && opened.of("").is_empty());
        opened.remove(&grants[0], key(1));
        opened.remove(&grants[2], key(0));
        assert_eq!(opened.of("a"), [key(255)]);
    }
}
