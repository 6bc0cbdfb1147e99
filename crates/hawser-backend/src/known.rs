//! What is known of one backend's server, for all its sessions: its eras, and what it last said to `server/discover`.
//!
//! "Clients SHOULD cache the result for the lifetime of the server process (stdio) or origin (HTTP) […] re-probing if the
//! cached assumption later fails" (MCP 2026-07-28, Versioning).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::era::Eras;
use crate::error::BackendError;
use crate::hello::ServerHello;

/// However long a server says that its answer stays fresh, it is asked again after this time.
const FRESH_MAX: Duration = Duration::from_hours(24);

/// What is known of one backend's server.
#[derive(Debug)]
pub(crate) struct Known {
    facts: Mutex<Facts>,
    /// The last opening that failed, and when.
    failed: Mutex<Option<(Instant, BackendError)>>,
    probing: tokio::sync::Mutex<()>,
    /// The transport leaves nothing to find out.
    fixed: bool,
}

#[derive(Debug, Default)]
struct Facts {
    eras: Eras,
    discovery: Option<Discovery>,
}

/// A discover result, and for how long it may be used.
#[derive(Clone, Debug)]
pub(crate) struct Discovery {
    pub(crate) server: ServerHello,
    pub(crate) fresh_for: Duration,
    pub(crate) at: Instant,
}

impl Known {
    /// Nothing is known yet.
    pub(crate) fn nothing() -> Self {
        Self { facts: Mutex::default(), failed: Mutex::default(), probing: tokio::sync::Mutex::default(), fixed: false }
    }

    /// All that matters is known for good.
    pub(crate) fn for_good(eras: Eras) -> Self {
        let facts = Mutex::new(Facts { eras, discovery: None });
        Self { facts, failed: Mutex::default(), probing: tokio::sync::Mutex::default(), fixed: true }
    }

    pub(crate) fn eras(&self) -> Eras {
        self.facts(|facts| facts.eras)
    }

    /// What the server said of itself, while it is fresh.
    pub(crate) fn discovery(&self, now: Instant) -> Option<Discovery> {
        self.discovered(now, now)
    }

    /// The same, or if it was said since then: who waited for another's probe need not send one.
    pub(crate) fn discovered(&self, since: Instant, now: Instant) -> Option<Discovery> {
        self.facts(|facts| {
            let discovery = facts.discovery.as_ref()?;
            let age = now.saturating_duration_since(discovery.at);
            let fresh = age < discovery.fresh_for.min(FRESH_MAX) || (discovery.at >= since && since < now);
            fresh.then(|| discovery.clone())
        })
    }

    /// One at a time finds out; the others wait and then know.
    pub(crate) async fn probing(&self) -> MutexGuard<'_, ()> {
        self.probing.lock().await
    }

    /// The same, if nobody else is at it.
    pub(crate) fn probing_now(&self) -> Option<MutexGuard<'_, ()>> {
        self.probing.try_lock().ok()
    }

    /// An opening failed, and so would another one now.
    pub(crate) fn note_failed_opening(&self, error: &BackendError, now: Instant) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, error.clone()));
    }

    /// Why an opening has failed since then.
    pub(crate) fn failed_opening(&self, since: Instant) -> Option<BackendError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|(at, _)| *at >= since).map(|(_, error)| error.clone())
    }

    /// Takes in what an opening has shown.
    pub(crate) fn learn(&self, eras: Eras, discovery: Option<Discovery>) {
        if !self.fixed {
            self.facts(|facts| {
                facts.eras = eras;
                facts.discovery = discovery.or_else(|| facts.discovery.take());
            });
        }
    }

    /// What the failure of a request means for sessions that are opened later.
    pub(crate) fn note_failure(&self, error: &BackendError, modern: bool) {
        match error {
            // Such a server has no sessions that it could forget: it has changed.
            BackendError::SessionGone { .. } if modern => self.forget(),
            BackendError::SessionGone { .. } | BackendError::Unreachable { .. } => self.doubt(),
            _ => {}
        }
    }

    /// Something has changed on the other side: what the server is must be found out anew.
    pub(crate) fn forget(&self) {
        if !self.fixed {
            self.facts(|facts| *facts = Facts::default());
        }
    }

    /// The server may have been exchanged: what it said of itself is asked for again, and so is what it refused.
    pub(crate) fn doubt(&self) {
        if !self.fixed {
            self.facts(|facts| *facts = Facts { eras: facts.eras.in_doubt(), discovery: None });
        }
    }

    fn facts<T>(&self, act: impl FnOnce(&mut Facts) -> T) -> T {
        act(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use hawser_mcp::{RawJson, Revision};

    use super::*;
    use crate::era::Spoken;

    const BOTH: Eras = Eras { legacy: Spoken::Yes, modern: Spoken::Yes };

    fn discovery(fresh_for: Duration) -> Discovery {
        let server = ServerHello {
            revision: Revision::LATEST_MODERN,
            capabilities: RawJson::empty_object(),
            server_info: RawJson::empty_object(),
            instructions: None,
            supported: vec![Revision::LATEST_MODERN],
        };
        Discovery { server, fresh_for, at: Instant::now() }
    }

    #[test]
    fn a_discovery_is_used_while_it_is_fresh_and_never_for_more_than_a_day() {
        let known = Known::nothing();
        known.learn(BOTH, Some(discovery(Duration::from_secs(5))));
        let now = Instant::now();
        assert!(known.discovery(now).is_some() && known.discovery(now + Duration::from_secs(6)).is_none());
        known.learn(BOTH, Some(discovery(Duration::MAX)));
        assert!(known.discovery(now + Duration::from_hours(23)).is_some());
        assert!(known.discovery(now + Duration::from_hours(25)).is_none());
        let since = Instant::now();
        known.learn(BOTH, Some(discovery(Duration::ZERO)));
        let now = Instant::now() + Duration::from_millis(1);
        assert!(known.discovery(now).is_none(), "`ttlMs: 0` is for one use");
        assert!(known.discovered(since, now).is_some(), "or for those who waited for it");
    }

    #[test]
    fn forgetting_and_doubting_leave_no_discovery_and_do_not_touch_what_is_for_good() {
        let known = Known::nothing();
        known.learn(Eras { legacy: Spoken::No, modern: Spoken::Yes }, Some(discovery(Duration::from_secs(5))));
        known.doubt();
        assert_eq!(known.eras(), Eras { legacy: Spoken::Unknown, modern: Spoken::Yes });
        assert!(known.discovery(Instant::now()).is_none());
        known.forget();
        assert_eq!(known.eras(), Eras::default());
        let fixed = Known::for_good(Eras::LEGACY_ONLY);
        fixed.forget();
        fixed.doubt();
        fixed.learn(BOTH, None);
        assert_eq!(fixed.eras(), Eras::LEGACY_ONLY);
    }
}
