//! A session of the session era, as its owner knows it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::world::BACKENDS;

/// A little after its end was asked for, a session may still be served: what other nodes are told takes this long at most.
pub(crate) const STALENESS: Duration = Duration::from_secs(1);

/// The session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    ending: Mutex<Ending>,
    listed: Mutex<Option<Instant>>,
    used: Mutex<[Option<Instant>; BACKENDS.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ending {
    asked: Option<Instant>,
    done: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: String) -> Self {
        Self { id, ending: Mutex::default(), listed: Mutex::default(), used: Mutex::default() }
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its tools were listed: from now on its client has to be told of their changes.
    pub(crate) fn list(&self) {
        self.listed().get_or_insert_with(Instant::now);
    }

    /// A tool of this backend was called.
    pub(crate) fn call(&self, backend: usize) {
        if let Some(used) = self.used().get_mut(backend) {
            used.get_or_insert_with(Instant::now);
        }
    }

    /// Whether, before this, its tools were listed and one of this backend was called: a gateway hears of a session's changes from
    /// the backends that the session has used.
    pub(crate) fn is_to_hear(&self, backend: usize, before: Instant) -> bool {
        let used = self.used().get(backend).copied().flatten();
        [*self.listed(), used].into_iter().all(|time| time.is_some_and(|time| time < before))
    }

    fn used(&self) -> MutexGuard<'_, [Option<Instant>; BACKENDS.len()]> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
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
