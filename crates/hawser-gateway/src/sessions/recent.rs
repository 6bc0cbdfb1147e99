//! Credentials that were revoked a moment ago. A request is authenticated before its body is read, and starts when that has
//! arrived; a revocation in between finds nothing of it that it could end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::credential::{Credential, Revocation};

/// Longer than a request may be on its way.
const KEPT_FOR: Duration = Duration::from_mins(5);
/// Most that are kept; the oldest make way.
const KEPT_MAX: usize = 4096;

/// What was revoked lately.
#[derive(Debug, Default)]
pub(super) struct RecentRevocations {
    any: AtomicBool,
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    grant: String,
    token_id: Option<String>,
}

impl RecentRevocations {
    /// Takes note. Before what runs is looked through: whatever starts later asks here.
    pub(super) fn note(&self, revocation: &Revocation<'_>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while entries.front().is_some_and(|oldest| entries.len() >= KEPT_MAX || now - oldest.at > KEPT_FOR) {
            entries.pop_front();
        }
        let (grant, token_id) = (revocation.grant.to_owned(), revocation.token_id.map(str::to_owned));
        entries.push_back(Entry { at: now, grant, token_id });
        self.any.store(true, Ordering::Release);
    }

    /// Whether a credential is among them.
    pub(super) fn hit(&self, credential: &Credential) -> bool {
        // Most of the time nothing was revoked, and nobody waits for anybody here.
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while entries.front().is_some_and(|oldest| now - oldest.at > KEPT_FOR) {
            entries.pop_front();
        }
        self.any.store(!entries.is_empty(), Ordering::Release);
        entries
            .iter()
            .any(|entry| credential.is_hit_by(&Revocation { grant: &entry.grant, token_id: entry.token_id.as_deref() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(grant: &str, token: &str) -> Credential {
        Credential::for_tests(grant, token)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_revoked_is_known_for_as_long_as_a_request_may_be_on_its_way() {
        let recent = RecentRevocations::default();
        assert!(!recent.hit(&credential("g", "t")));
        recent.note(&Revocation { grant: "g", token_id: Some("t") });
        recent.note(&Revocation { grant: "h", token_id: None });
        assert!(recent.hit(&credential("g", "t")) && recent.hit(&credential("h", "any")));
        assert!(!recent.hit(&credential("g", "u")) && !recent.hit(&credential("i", "t")));
        assert!(!recent.hit(&Credential::default()), "of another issuer, or of nobody");
        tokio::time::advance(KEPT_FOR + Duration::from_secs(1)).await;
        assert!(!recent.hit(&credential("g", "t")));
        assert!(!recent.any.load(Ordering::Acquire));
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let recent = RecentRevocations::default();
        for n in 0..=KEPT_MAX {
            recent.note(&Revocation { grant: &n.to_string(), token_id: None });
        }
        assert!(!recent.hit(&credential("0", "t")) && recent.hit(&credential("1", "t")));
        assert_eq!(recent.entries.lock().map(|entries| entries.len()).ok(), Some(KEPT_MAX));
    }
}
