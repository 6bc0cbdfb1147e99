//! The account: every call of every owner once, in one class.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::exchange::Attempt;
use crate::histogram::{Histogram, Summary};
use crate::judge::{Retry, Verdict};
use crate::timeline::{Cause, Timeline};

/// How many things that went wrong are told in full.
const TOLD: usize = 400;

/// What an owner did.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Op {
    /// `initialize`.
    Open,
    /// A call that does something that must not be done twice.
    Call,
    /// A list, to its last page.
    List,
    /// A call that asks, answered on another connection.
    Question,
    /// A call that is answered with `input_required`, and its retry.
    Parked,
    /// A call whose stream is left and taken up again.
    Resumed,
    /// DELETE.
    Delete,
    /// New tokens.
    Refresh,
}

/// The classes of one kind of call.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Classes {
    pub(crate) sent: u64,
    pub(crate) succeeded: u64,
    pub(crate) retried: BTreeMap<Retry, u64>,
    pub(crate) lost_cleanly: BTreeMap<Cause, u64>,
    pub(crate) lost: u64,
}

impl Classes {
    pub(crate) fn retried(&self) -> u64 {
        self.retried.values().sum()
    }

    pub(crate) fn lost_cleanly(&self) -> u64 {
        self.lost_cleanly.values().sum()
    }

    /// What was lost although every process that had to do with it went on or ended in order, and the store forgot no login.
    pub(crate) fn lost_without_a_kill(&self) -> u64 {
        let excused = [Cause::NodeKilled, Cause::BackendRestarted, Cause::LoginForgotten];
        self.lost_cleanly.iter().filter(|(cause, _)| !excused.contains(cause)).map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.succeeded += other.succeeded;
        self.lost += other.lost;
        for (retry, count) in &other.retried {
            *self.retried.entry(*retry).or_default() += count;
        }
        for (cause, count) in &other.lost_cleanly {
            *self.lost_cleanly.entry(*cause).or_default() += count;
        }
    }
}

/// Something that went wrong, with when and where.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) at: f64,
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) nodes: Vec<usize>,
    pub(crate) seconds: f64,
    pub(crate) fault_before: String,
    pub(crate) trail: Vec<String>,
}

impl Told {
    fn of(who: &str, what: &str, attempt: &Attempt, timeline: &Timeline) -> Self {
        Self {
            at: timeline.seconds(attempt.ended),
            who: who.to_owned(),
            what: what.to_owned(),
            nodes: attempt.nodes.clone(),
            seconds: attempt.ended.saturating_duration_since(attempt.started).as_secs_f64(),
            fault_before: timeline.before(attempt.ended),
            trail: attempt.trail.clone(),
        }
    }
}

/// Counts besides the calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions_opened: AtomicU64,
    pub(crate) sessions_lost: AtomicU64,
    pub(crate) sessions_ended: AtomicU64,
    pub(crate) served_after_end: AtomicU64,
    pub(crate) logins_lost: AtomicU64,
    pub(crate) logins_renewed: AtomicU64,
    pub(crate) streams_opened: AtomicU64,
    pub(crate) streams_resumed: AtomicU64,
    pub(crate) streams_lost: AtomicU64,
    pub(crate) parked_completed: AtomicU64,
    pub(crate) parked_lost_cleanly: AtomicU64,
    pub(crate) stranger_calls: AtomicU64,
    pub(crate) strangers_accepted: AtomicU64,
    pub(crate) stranger_odd: AtomicU64,
    pub(crate) drained: AtomicU64,
    pub(crate) drained_with_calls: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) notices_delivered: AtomicU64,
    pub(crate) notices_missed: AtomicU64,
    pub(crate) notices_missed_around_faults: AtomicU64,
}

/// One more.
pub(crate) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Default)]
struct Books {
    classes: BTreeMap<Op, Classes>,
    wrong: Vec<Told>,
    cleanly: Vec<Told>,
    overall: Histogram,
    quiet: Histogram,
}

/// The account.
#[derive(Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    pub(crate) tally: Tally,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call.
    pub(crate) fn settle(&self, op: Op, who: &str, attempt: &Attempt, verdict: &Verdict, timeline: &Timeline) {
        let mut books = self.books();
        let classes = books.classes.entry(op).or_default();
        classes.sent += 1;
        match verdict {
            Verdict::Succeeded => classes.succeeded += 1,
            Verdict::Retried(retry) => *classes.retried.entry(*retry).or_default() += 1,
            Verdict::LostCleanly(cause, _) => *classes.lost_cleanly.entry(*cause).or_default() += 1,
            Verdict::Lost(_) => classes.lost += 1,
        }
        // Only what waits for nobody tells how quick the gateway is.
        if *verdict == Verdict::Succeeded && matches!(op, Op::Call | Op::List) {
            let took = attempt.ended.saturating_duration_since(attempt.started);
            books.overall.add(took);
            if timeline.quiet(attempt.started, attempt.ended) {
                books.quiet.add(took);
            }
        }
        if let Verdict::LostCleanly(cause, reason) = verdict
            && books.cleanly.len() < TOLD
        {
            let what = format!("{op:?}, {cause:?}: {reason}");
            books.cleanly.push(Told::of(who, &what, attempt, timeline));
        }
        drop(books);
        if let Verdict::Lost(reason) = verdict {
            self.wrong(who, &format!("{op:?} lost: {reason}"), attempt, timeline);
        }
    }

    /// Notes something that must not be.
    pub(crate) fn wrong(&self, who: &str, what: &str, attempt: &Attempt, timeline: &Timeline) {
        let wrong = Told::of(who, what, attempt, timeline);
        let mut books = self.books();
        if books.wrong.len() < TOLD {
            println!(
                "[{:6.1}] WRONG {}: {} (nodes {:?}, {:.1} s; after {})",
                wrong.at, wrong.who, wrong.what, wrong.nodes, wrong.seconds, wrong.fault_before
            );
            for step in &wrong.trail {
                println!("             {step}");
            }
            books.wrong.push(wrong);
        }
    }

    /// The same where there is no exchange to show.
    pub(crate) fn wrong_now(&self, who: &str, what: &str, timeline: &Timeline) {
        let mut attempt = Attempt::begin();
        attempt.ended = Instant::now();
        self.wrong(who, what, &attempt, timeline);
    }

    /// The classes by kind of call.
    pub(crate) fn classes(&self) -> BTreeMap<Op, Classes> {
        self.books().classes.clone()
    }

    /// The classes of all calls.
    pub(crate) fn all(&self) -> Classes {
        let mut all = Classes::default();
        self.books().classes.values().for_each(|classes| all.add(classes));
        all
    }

    /// What must not have been.
    pub(crate) fn wrongs(&self) -> Vec<Told> {
        self.books().wrong.clone()
    }

    /// What was lost with a clean word.
    pub(crate) fn lost_cleanly(&self) -> Vec<Told> {
        self.books().cleanly.clone()
    }

    /// How long calls took: overall, and in quiet times.
    pub(crate) fn latency(&self) -> (Summary, Summary) {
        let books = self.books();
        (books.overall.summary(), books.quiet.summary())
    }
}
