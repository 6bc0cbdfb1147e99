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
    tools: Mutex<Tools>,
}

/// What its client knows of its tools.
#[derive(Clone, Copy, Debug, Default)]
struct Tools {
    /// When they were last listed: when that list was asked for.
    listed: Option<Instant>,
    /// When it was last told that they changed.
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ending {
    asked: Option<Instant>,
    done: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: String) -> Self {
        Self { id, ending: Mutex::default(), tools: Mutex::default() }
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its tools were listed, asked for at this time: from now on its client has to be told of their changes.
    pub(crate) fn list(&self, asked: Instant) {
        let mut tools = self.tools();
        tools.listed = tools.listed.max(Some(asked));
    }

    /// Its client was told that its tools have changed.
    pub(crate) fn tell(&self) {
        self.tools().told = Some(Instant::now());
    }

    /// Whether its client was told of a change and has not listed them since.
    pub(crate) fn is_stale(&self) -> bool {
        let tools = self.tools();
        tools.told.is_some() && tools.listed <= tools.told
    }

    /// Whether its client has listed them before this time, and believes that they are so still.
    pub(crate) fn is_to_hear(&self, before: Instant) -> bool {
        self.tools().listed.is_some_and(|listed| listed < before) && !self.is_stale()
    }

    fn tools(&self) -> MutexGuard<'_, Tools> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
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
