//! The cached keys of one issuer.
//!
//! - A set is good for its lifetime; a removed key stops working within it. From three quarters on it is renewed behind
//!   the scenes, so nobody waits.
//! - A token that no key verifies has the set fetched again, at most once per cooldown, however many such tokens come.
//! - All who wait share one fetch. It runs in its own task: a client that hangs up does not break it off for the others.
//! - While the issuer cannot be reached an expired set goes on working, up to a bound; then the answer is "not now".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hawser_owner::{Clock, Timestamp};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::config::KeyCachePolicy;
use crate::key_set::KeySet;
use crate::key_source::KeySource;
use crate::local::Unavailable;

/// Longest pause before an unreachable issuer is asked again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The keys of one issuer, fetched when needed.
#[derive(Clone)]
pub(crate) struct IssuerKeys(Arc<Shared>);

struct Shared {
    /// For the log.
    issuer: String,
    source: KeySource,
    policy: KeyCachePolicy,
    clock: Clock,
    current: ArcSwapOption<Fetched>,
    attempts: Mutex<Attempts>,
}

struct Fetched {
    keys: KeySet,
    at: Timestamp,
}

#[derive(Default)]
struct Attempts {
    /// Closed when the fetch under way has ended.
    flight: Option<watch::Receiver<()>>,
    /// The last fetch failed, then.
    failed: Option<Timestamp>,
    /// The last fetch on behalf of a token that no key verified.
    for_miss: Option<Timestamp>,
    /// How often the keys were forgotten: what was asked for before that does not count any more.
    forgotten: u64,
}

/// A key set to verify with.
pub(crate) struct Held {
    fetched: Arc<Fetched>,
    /// Until when a verdict may be built on it.
    pub(crate) good_until: Timestamp,
    /// It was fetched for this very caller, so fetching it again would tell nothing.
    just_fetched: bool,
}

impl Held {
    pub(crate) fn keys(&self) -> &KeySet {
        &self.fetched.keys
    }
}

/// Why a fetch is wanted.
#[derive(Clone, Copy)]
enum Want {
    /// The set is missing, expired or about to.
    Renewal,
    /// No key of the set verified a token.
    Miss,
}

impl IssuerKeys {
    pub(crate) fn new(issuer: String, source: KeySource, policy: KeyCachePolicy, clock: Clock) -> Self {
        let (current, attempts) = (ArcSwapOption::empty(), Mutex::default());
        Self(Arc::new(Shared { issuer, source, policy, clock, current, attempts }))
    }

    /// The keys to verify with now.
    pub(crate) async fn current(&self) -> Result<Held, Unavailable> {
        let now = self.now();
        let before = self.0.current.load_full();
        if let Some(fetched) = before.as_ref().filter(|fetched| self.is_fresh(fetched, now)) {
            if now.since(fetched.at) >= self.0.policy.ttl / 4 * 3 {
                drop(self.fetch(Want::Renewal, before.as_ref()));
            }
            return Ok(self.hold(Arc::clone(fetched), now, false));
        }
        let usable = before.as_ref().filter(|fetched| now < self.expiry(fetched).plus(self.0.policy.stale));
        let flight = self.fetch(Want::Renewal, before.as_ref());
        // An issuer that failed last time is not waited for again while old keys will do.
        if usable.is_none() || !self.is_failing() {
            landed(flight).await;
        }
        let now = self.now();
        match (self.0.current.load_full(), usable) {
            (Some(fetched), _) if self.is_fresh(&fetched, now) => Ok(self.hold(fetched, now, true)),
            (_, Some(old)) => Ok(self.hold(Arc::clone(old), now, false)),
            _ => Err(Unavailable { retry_after: self.retry() }),
        }
    }

    /// What to try after no key of `held` verified a token: newer keys, if there are any.
    pub(crate) async fn newer_than(&self, held: &Held) -> Option<Held> {
        if held.just_fetched {
            return None;
        }
        landed(self.fetch(Want::Miss, Some(&held.fetched))).await;
        let newer = self.0.current.load_full().filter(|current| !Arc::ptr_eq(current, &held.fetched))?;
        Some(self.hold(newer, self.now(), true))
    }

    /// Forgets the set: what verifies from now on is fetched after this.
    pub(crate) fn forget(&self) {
        let mut attempts = self.0.attempts();
        attempts.forgotten += 1;
        attempts.flight = None;
        self.0.current.store(None);
    }

    /// Could the issuer not be reached last time? Then an unknown key is no proof of forgery.
    pub(crate) fn is_failing(&self) -> bool {
        self.0.attempts().failed.is_some()
    }

    pub(crate) fn retry(&self) -> Duration {
        self.0.policy.cooldown.min(RETRY_MAX)
    }

    /// Starts a fetch or joins the one under way; `None` if it is not time for one. `known` is the set that the caller
    /// finds wanting: if there is another by now, nothing needs fetching.
    fn fetch(&self, want: Want, known: Option<&Arc<Fetched>>) -> Option<watch::Receiver<()>> {
        let now = self.now();
        let mut attempts = self.0.attempts();
        let current = self.0.current.load();
        if current.as_ref().map(Arc::as_ptr) != known.map(Arc::as_ptr) {
            return None;
        }
        // A closed channel is a fetch that ended, were it by a panic.
        if let Some(flight) = attempts.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(flight.clone());
        }
        match want {
            Want::Renewal if attempts.failed.is_some_and(|failed| now < failed.plus(self.retry())) => return None,
            Want::Miss if attempts.for_miss.is_some_and(|last| now < last.plus(self.0.policy.cooldown)) => return None,
            Want::Renewal => {}
            Want::Miss => attempts.for_miss = Some(now),
        }
        let (landing, flight) = watch::channel(());
        attempts.flight = Some(flight.clone());
        let (shared, forgotten) = (Arc::clone(&self.0), attempts.forgotten);
        tokio::spawn(async move {
            shared.renew(now, forgotten).await;
            drop(landing);
        });
        Some(flight)
    }

    fn hold(&self, fetched: Arc<Fetched>, now: Timestamp, just_fetched: bool) -> Held {
        let good_until = if self.is_fresh(&fetched, now) { self.expiry(&fetched) } else { now.plus(self.retry()) };
        Held { fetched, good_until, just_fetched }
    }

    fn expiry(&self, fetched: &Fetched) -> Timestamp {
        fetched.at.plus(self.0.policy.ttl)
    }

    fn is_fresh(&self, fetched: &Fetched, now: Timestamp) -> bool {
        now < self.expiry(fetched)
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }
}

impl Shared {
    /// Fetches the set. Its age counts from before the fetch, so that it is never believed for too long.
    async fn renew(&self, now: Timestamp, forgotten: u64) {
        let loaded = self.source.load(now).await;
        let mut attempts = self.attempts();
        if attempts.forgotten != forgotten {
            return;
        }
        match loaded {
            Ok(keys) => {
                debug!(issuer = self.issuer, keys = keys.len(), skipped = keys.skipped, "fetched the issuer's keys");
                attempts.failed = None;
                self.current.store(Some(Arc::new(Fetched { keys, at: now })));
            }
            Err(error) => {
                warn!(issuer = self.issuer, %error, "the issuer's keys cannot be fetched");
                attempts.failed = Some((self.clock)());
            }
        }
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a fetch has ended, well or not.
async fn landed(flight: Option<watch::Receiver<()>>) {
    if let Some(mut flight) = flight {
        // Nothing is ever sent: the only news is that the channel closes.
        let _ = flight.changed().await;
    }
}
