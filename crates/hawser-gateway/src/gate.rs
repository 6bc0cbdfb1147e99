//! Who is at work in a session, counted, so that nobody sets it aside under a request that was admitted a moment ago.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::session::Session;

/// Set when nobody may enter any more.
const CLOSED: u32 = 1 << 31;

/// A session's gate.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    fn enter(&self) -> bool {
        let entered = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| {
            (inside & CLOSED == 0 && inside < CLOSED - 1).then_some(inside + 1)
        });
        entered.is_ok()
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Closes it, if nobody is inside.
    pub(crate) fn close(&self) -> bool {
        self.0.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Opens it again, after it was closed in vain.
    pub(crate) fn open(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Whether nobody is inside.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) & !CLOSED == 0
    }
}

/// A session that is not set aside as long as this is held.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Session>);

impl Entered {
    /// Enters a session; `None` if it is being set aside.
    pub(crate) fn into(session: &Arc<Session>) -> Option<Self> {
        session.gate.enter().then(|| Self(Arc::clone(session)))
    }
}

impl Deref for Entered {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_inside_keeps_it_open_and_who_closes_it_keeps_others_out() {
        let gate = Gate::default();
        assert!(gate.enter() && gate.enter() && !gate.is_empty());
        assert!(!gate.close());
        gate.leave();
        assert!(!gate.close());
        gate.leave();
        assert!(gate.is_empty() && gate.close());
        assert!(!gate.enter() && !gate.close());
        gate.open();
        assert!(gate.enter());
    }

    #[test]
    fn of_one_who_enters_and_one_who_closes_exactly_one_succeeds() {
        for _ in 0..2000 {
            let gate = Gate::default();
            let (entered, closed) = std::thread::scope(|scope| {
                let entering = scope.spawn(|| gate.enter());
                let closing = scope.spawn(|| gate.close());
                (entering.join().unwrap_or(false), closing.join().unwrap_or(false))
            });
            assert!(entered != closed);
        }
    }
}
