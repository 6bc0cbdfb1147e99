//! A session of the session era, as its owner knows it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A little after its end was asked for, a session may still be served: what other nodes are told takes this long at most.
pub(crate) const STALENESS: Duration = Duration::from_secs(1);

/// The session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    ending: Mutex<Ending>,
    listed: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ending {
    asked: Option<Instant>,
    done: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: String) -> Self {
        Self { id, ending: Mutex::default(), listed: Mutex::default() }
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its tools were listed: from now on its client has to be told of their changes.
    pub(crate) fn list(&self) {
        self.listed().get_or_insert_with(Instant::now);
    }

    /// Whether its tools were listed before this.
    pub(crate) fn was_listed(&self, before: Instant) -> bool {
        self.listed().is_some_and(|listed| listed < before)
    }

    fn listed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its end is being asked for: from now on it may be gone.
    pub(crate) fn ask_end(&self) {
        self.ending().asked.get_or_insert_with(Instant::now);
    }

    /// Its end was confirmed: from now on it must be gone, but for the staleness that is allowed.
    pub(crate) fn confirm_end(&self) {
        self.ending().done.get_or_insert_with(Instant::now);
    }

    /// Whether it may be gone.
    pub(crate) fn may_be_over(&self) -> bool {
        self.ending().asked.is_some()
    }

    /// Whether a request that starts now must be refused.
    pub(crate) fn must_be_over(&self) -> bool {
        self.ending().done.is_some_and(|done| done.elapsed() > STALENESS)
    }
}
