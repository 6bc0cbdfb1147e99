//! Verified tokens, remembered for a short while so that the next request with one costs a hash and a look-up.
//!
//! A verdict is found by the SHA-256 of the whole token and lives until the token or the lifetime ends. Forgetting a
//! grant or a token id must be immediate, also for a verification that is under way: ids are hashed onto a fixed table of
//! counters, a verdict notes the counters of its ids *before* the standing of its grant is asked, and counts only while they
//! are unchanged. Two ids may share a counter; then one is verified once more than needed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use hawser_owner::Timestamp;
use moka::sync::Cache;

use crate::authenticated::VerifiedToken;
use crate::config::VerdictPolicy;

/// Counters in the table. Memory is fixed; more of them mean fewer needless verifications after a revocation.
const COUNTERS: usize = 4096;

/// SHA-256 of a token.
pub(crate) fn token_digest(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}

pub(crate) struct Verdicts {
    cache: Cache<[u8; 32], Arc<Verdict>>,
    policy: VerdictPolicy,
    counters: Box<[AtomicU64]>,
    /// How often everything was forgotten.
    epoch: AtomicU64,
    hasher: RandomState,
}

struct Verdict {
    token: Arc<VerifiedToken>,
    until: Timestamp,
    marks: Option<Marks>,
}

/// The counters of a token's grant and id, as they were.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    epoch: u64,
    grant: (usize, u64),
    jti: (usize, u64),
}

/// What an id names. A grant and a token of the same id have different counters, chance aside.
#[derive(Clone, Copy, Hash)]
pub(crate) enum Named<'a> {
    Grant(&'a str),
    Token(&'a str),
}

impl Verdicts {
    pub(crate) fn new(policy: VerdictPolicy) -> Self {
        // Expiry is decided by the injected clock; this one only frees memory.
        let cache = Cache::builder().max_capacity(policy.capacity).time_to_live(policy.lifetime).build();
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { cache, policy, counters, epoch: AtomicU64::new(0), hasher: RandomState::new() }
    }

    pub(crate) fn find(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<VerifiedToken>> {
        let verdict = self.cache.get(digest)?;
        let stands = now < verdict.until && verdict.marks.is_none_or(|marks| self.holds(marks));
        stands.then(|| Arc::clone(&verdict.token))
    }

    /// How often everything was forgotten. Read it before verifying anything.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The present counters of a token of the embedded authorization server that was verified since `epoch`. Take them before
    /// asking for its standing.
    pub(crate) fn mark(&self, epoch: u64, grant: &str, jti: &str) -> Marks {
        let read = |named| {
            let index = self.index(named);
            (index, self.count(index))
        };
        Marks { epoch, grant: read(Named::Grant(grant)), jti: read(Named::Token(jti)) }
    }

    /// Remembers a verified token, at most until `good_until`.
    pub(crate) fn keep(&self, token: &Arc<VerifiedToken>, marks: Option<Marks>, good_until: Timestamp, now: Timestamp) {
        let until = token.expires.min(good_until).min(now.plus(self.policy.lifetime));
        if now < until {
            let verdict = Verdict { token: Arc::clone(token), until, marks };
            self.cache.insert(token.digest, Arc::new(verdict));
        }
    }

    pub(crate) fn forget(&self, named: Named<'_>) {
        if let Some(counter) = self.counters.get(self.index(named)) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn holds(&self, marks: Marks) -> bool {
        self.epoch() == marks.epoch
            && self.count(marks.grant.0) == marks.grant.1
            && self.count(marks.jti.0) == marks.jti.1
    }

    fn count(&self, index: usize) -> u64 {
        self.counters.get(index).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    fn index(&self, named: Named<'_>) -> usize {
        // The remainder is below COUNTERS, so it always fits.
        usize::try_from(self.hasher.hash_one(named) % COUNTERS as u64).unwrap_or(0)
    }
}
