//! What went wrong, when, and what it touched: the log of faults, asked whenever a call did not simply succeed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::plan::Kind;

/// After a fault is over, what still may be felt of it: connections are made anew, and what was behind catches up.
const AFTERMATH: Duration = Duration::from_secs(6);
/// A backend that failed several times is left alone for a while.
const BACKEND_AFTERMATH: Duration = Duration::from_secs(20);
/// What happens next to each other is seen in either order.
const BLUR: Duration = Duration::from_millis(300);

/// What a fault touches.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Touches {
    /// The process of a node ended without a word.
    Killed(usize),
    /// A node was asked to stop.
    Drained(usize),
    /// The store, for one node or for all.
    Store(Option<usize>),
    /// A backend, by its place.
    Backend(usize),
    /// Nothing that anybody may notice.
    Nothing,
}

/// A fault that was.
#[derive(Clone, Debug)]
struct Fault {
    kind: Kind,
    what: String,
    touches: Touches,
    from: Instant,
    until: Option<Instant>,
}

/// The log.
pub(crate) struct Timeline {
    start: Instant,
    faults: Mutex<Vec<Fault>>,
}

/// One that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun(usize);

/// What may have caused that a call did not succeed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// A node that had to do with it was killed.
    NodeKilled,
    /// A node that had to do with it was stopped.
    NodeDrained,
    /// The backend was restarted.
    BackendRestarted,
    /// The store could not be reached, or was emptied.
    Store,
    /// It was begun by a client that the store has forgotten since, and with it the login: its owner came back as another client.
    LoginForgotten,
}

/// A fault as the report has it, in seconds from the start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Logged {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    pub(crate) from: f64,
    pub(crate) until: Option<f64>,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), faults: Mutex::default() }
    }

    /// Seconds from the start of the run.
    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.start).as_secs_f64()
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is so.
    pub(crate) fn begin(&self, kind: Kind, touches: Touches, what: impl Into<String>) -> Begun {
        let (what, from) = (what.into(), Instant::now());
        println!("[{:6.1}] {kind}: {what}", self.seconds(from));
        let mut faults = self.faults();
        faults.push(Fault { kind, what, touches, from, until: None });
        Begun(faults.len() - 1)
    }

    /// It is over.
    pub(crate) fn end(&self, Begun(index): Begun) {
        if let Some(fault) = self.faults().get_mut(index) {
            fault.until = Some(Instant::now());
        }
    }

    /// What may have caused trouble between these times for something that these nodes and this backend had to do with.
    pub(crate) fn cause(&self, from: Instant, to: Instant, nodes: &[usize], backend: Option<usize>) -> Option<Cause> {
        let faults = self.faults();
        let felt = |fault: &&Fault, after: Duration| fault.from <= to + BLUR && fault.end() + after >= from;
        let any = |after: Duration, fits: &dyn Fn(Touches) -> bool| {
            faults.iter().filter(|fault| felt(fault, after)).any(|fault| fits(fault.touches))
        };
        if any(AFTERMATH, &|touches| matches!(touches, Touches::Killed(node) if nodes.contains(&node))) {
            return Some(Cause::NodeKilled);
        }
        if any(AFTERMATH, &|touches| matches!(touches, Touches::Drained(node) if nodes.contains(&node))) {
            return Some(Cause::NodeDrained);
        }
        if any(BACKEND_AFTERMATH, &|touches| matches!(touches, Touches::Backend(it) if Some(it) == backend)) {
            return Some(Cause::BackendRestarted);
        }
        any(AFTERMATH, &|touches| matches!(touches, Touches::Store(_))).then_some(Cause::Store)
    }

    /// When the store last forgot everything.
    pub(crate) fn emptied(&self) -> Option<Instant> {
        self.faults().iter().rev().find(|fault| fault.kind == Kind::StoreFlush).map(|fault| fault.from)
    }

    /// Whether nothing can be felt of any fault between these times.
    pub(crate) fn quiet(&self, from: Instant, to: Instant) -> bool {
        let faults = self.faults();
        !faults.iter().any(|fault| {
            let after = if matches!(fault.touches, Touches::Backend(_)) { BACKEND_AFTERMATH } else { AFTERMATH };
            fault.from <= to + BLUR && fault.end() + after >= from
        })
    }

    /// The last fault before this time, to tell where to look.
    pub(crate) fn before(&self, at: Instant) -> String {
        let faults = self.faults();
        let last = faults.iter().rev().find(|fault| fault.from <= at);
        last.map_or_else(String::new, |fault| {
            format!("{} ({}) at {:.1}", fault.kind, fault.what, self.seconds(fault.from))
        })
    }

    /// All of them.
    pub(crate) fn logged(&self) -> Vec<Logged> {
        let logged = |fault: &Fault| Logged {
            kind: fault.kind,
            what: fault.what.clone(),
            from: self.seconds(fault.from),
            until: fault.until.map(|until| self.seconds(until)),
        };
        self.faults().iter().map(logged).collect()
    }
}

impl Fault {
    fn end(&self) -> Instant {
        self.until.unwrap_or_else(Instant::now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Cause, Timeline, Touches};
    use crate::plan::Kind;

    #[test]
    fn a_fault_explains_only_what_it_touches() {
        let timeline = Timeline::new();
        let before = Instant::now();
        assert!(timeline.quiet(before, before));
        timeline.end(timeline.begin(Kind::KillNode, Touches::Killed(1), "node 1"));
        timeline.end(timeline.begin(Kind::BackendRestart, Touches::Backend(2), "backend 2"));
        let now = Instant::now();
        assert_eq!(timeline.cause(before, now, &[0, 1], None), Some(Cause::NodeKilled));
        assert_eq!(timeline.cause(before, now, &[0, 2], None), None);
        assert_eq!(timeline.cause(before, now, &[0], Some(2)), Some(Cause::BackendRestarted));
        assert_eq!(timeline.cause(before, now, &[0], Some(1)), None);
        assert!(!timeline.quiet(before, now));
        assert_eq!(timeline.logged().len(), 2);
    }
}
