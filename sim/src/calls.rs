//! What is true of every call of a tool.
//!
//! The rules:
//!
//! 1. A call is done once at most, whoever repeats whatever, and only one of its requests is told that it is done. One that the
//!    store alone knows to have gone on, since its backend keeps nothing, is not judged after the store was flushed.
//! 2. A call that only a stranger asked for is never done, and no stranger answers what an owner was asked.
//! 3. One session with a backend serves one owner.
//! 4. An owner who is told that a call is done is told of that call, and it is.
//! 5. While all is well, calls are done: an error, or a call that is lost, needs a reason. That a node is restarted in order is one
//!    for calls that wait for their clients, and for new ones that it refuses; others are finished first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::counts::Counts;
use crate::trace::Trace;

/// How long after a fault what came of it may last.
const SETTLED: Duration = Duration::from_secs(6);

/// All calls.
#[derive(Debug)]
pub struct Calls {
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    calls: Vec<Call>,
    /// Whose calls a session with a backend has seen.
    owners: BTreeMap<String, usize>,
    disturbed: Instant,
    /// When a node was last restarted in order.
    drained: Option<Instant>,
    counts: Counts,
    /// What strangers with a stolen state are told.
    refusals: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Call {
    /// `None` if nobody may do it.
    owner: Option<usize>,
    began: Instant,
    done: u32,
    told: u32,
    /// It wants to know something first.
    asks: bool,
    /// Only the store knows whether it has gone on after it asked.
    in_store: bool,
    /// The store has forgotten that.
    forgotten: bool,
}

/// What came of a request about a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A result.
    Done(Value),
    /// A question, to be answered with another request.
    Asked {
        /// What comes back with the answer.
        state: String,
        /// What is asked.
        questions: Value,
    },
    /// An error of the protocol.
    Failed(String),
    /// A status without such an error.
    Refused(u16),
    /// The node that was asked died, or the answer broke off.
    Lost,
    /// Nothing for a minute.
    Stuck,
}

impl Calls {
    /// No calls.
    pub fn new(trace: Arc<Trace>) -> Self {
        let state = State {
            calls: Vec::new(),
            owners: BTreeMap::new(),
            disturbed: Instant::now(),
            drained: None,
            counts: Counts::default(),
            refusals: BTreeSet::new(),
        };
        Self { trace, state: Mutex::new(state) }
    }

    /// Tells the story.
    pub(crate) fn tell(&self, line: &str) {
        self.trace.tell(line);
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// A call that this owner may make; `None` for one that must never be done. `in_store`: only the store will know whether it has
    /// gone on after it asked.
    pub fn begin(&self, owner: Option<usize>, tool: &str, in_store: bool) -> u64 {
        let mut state = self.lock();
        let (began, asks) = (Instant::now(), tool.ends_with("ask"));
        state.calls.push(Call { owner, began, done: 0, told: 0, asks, in_store, forgotten: false });
        state.calls.len() as u64 - 1
    }

    /// The store has lost all that it knew.
    pub fn flushed(&self) {
        self.disturb();
        self.lock().calls.iter_mut().for_each(|call| call.forgotten = call.in_store);
    }

    /// Something is wrong in the world, or just was.
    pub fn disturb(&self) {
        self.lock().disturbed = Instant::now();
    }

    /// A node stops, or has stopped, in order: it takes nothing new, and calls that wait for their clients end with it.
    pub fn drains(&self) {
        self.lock().drained = Some(Instant::now());
    }

    /// Whether what came of a call is the doing of a node that was restarted in order.
    fn is_drained(&self, call: u64, ended: &Ended) -> bool {
        let asks = self.change(call, |call| call.asks).unwrap_or(true);
        let began = self.began(call);
        let drained = self.lock().drained;
        let drained = drained.is_some_and(|drained| began < drained + SETTLED);
        drained && (asks || *ended == Ended::Refused(503))
    }

    /// Whether all has been well since then.
    pub fn undisturbed_since(&self, at: Instant) -> bool {
        self.lock().disturbed + SETTLED <= at
    }

    /// A backend does what the call is for.
    pub(crate) fn runs(&self, call: u64) {
        let done = self.change(call, |call| {
            call.done += 1;
            (call.owner, if call.forgotten { 1 } else { call.done })
        });
        self.trace.tell(&format!("call {call} is done"));
        match done {
            Some((Some(_), 1)) => {}
            Some((Some(_), times)) => self.trace.broken(&format!("call {call} was done {times} times")),
            _ => self.trace.broken(&format!("call {call} was done, and nobody may make it")),
        }
    }

    /// A backend takes an answer.
    pub(crate) fn answered(&self, call: u64, by: &str) {
        let owner = self.change(call, |call| call.owner).flatten();
        if owner.is_none_or(|owner| name(owner) != by) {
            self.trace.broken(&format!("what call {call} asked was answered by {by}"));
        }
    }

    /// A call has come to a backend in this session of its.
    pub(crate) fn seen_in(&self, session: &str, call: u64) {
        let Some(owner) = self.change(call, |call| call.owner).flatten() else { return };
        let of = *self.lock().owners.entry(session.to_owned()).or_insert(owner);
        if of != owner {
            self.trace.broken(&format!("{session} of a backend serves owner {of} and owner {owner}"));
        }
    }

    /// Something came of an owner's request about a call. `owed`: it had to be done if all was well since `since`, and nothing else
    /// explains why it was not.
    pub fn owner(&self, call: u64, what: &str, ended: &Ended, owed: Option<Instant>) {
        self.trace.tell(&format!("{what} of call {call}: {}", shown(ended)));
        if let Ended::Done(result) = ended {
            return self.told(call, what, result);
        }
        if *ended == Ended::Stuck {
            return self.trace.broken(&format!("{what} of call {call} was not answered within a minute"));
        }
        let counts = |count: fn(&mut Counts)| count(&mut self.lock().counts);
        match ended {
            Ended::Asked { .. } => return counts(|counts| counts.asked += 1),
            Ended::Lost => counts(|counts| counts.calls_lost += 1),
            _ => counts(|counts| counts.calls_failed += 1),
        }
        if owed.is_some_and(|since| self.undisturbed_since(since)) && !self.is_drained(call, ended) {
            self.trace.broken(&format!("{what} of call {call} came to nothing while all was well: {}", shown(ended)));
        }
    }

    /// Something came of a stranger's request with an owner's call in it.
    pub fn stranger(&self, call: u64, ended: &Ended) {
        self.trace.tell(&format!("a stranger's retry of call {call}: {}", shown(ended)));
        self.lock().counts.strangers += 1;
        match ended {
            Ended::Done(_) | Ended::Asked { .. } => {
                self.trace.broken(&format!("a stranger's retry of call {call} was served"));
            }
            Ended::Failed(told) => {
                let mut state = self.lock();
                state.refusals.insert(told.clone());
                let told = state.refusals.len();
                drop(state);
                if told > 1 {
                    self.trace.broken(&format!("a stranger's retry of call {call} was told more than others"));
                }
            }
            Ended::Refused(503) | Ended::Lost => {}
            Ended::Refused(status) => {
                self.trace.broken(&format!("a stranger's retry of call {call} was answered with {status}"));
            }
            Ended::Stuck => self.trace.broken(&format!("a stranger's retry of call {call} got no answer")),
        }
    }

    fn told(&self, call: u64, what: &str, result: &Value) {
        let known = self.change(call, |call| {
            call.told += 1;
            (call.done, if call.forgotten { 1 } else { call.told })
        });
        self.lock().counts.calls_done += 1;
        if result["content"][0]["text"] != format!("call {call}") {
            self.trace.broken(&format!("{what} of call {call} got another's answer: {result}"));
        } else if let Some((0, _)) = known {
            self.trace.broken(&format!("{what} of call {call} was told that it is done, and it is not"));
        } else if known.is_some_and(|(_, told)| told > 1) {
            self.trace.broken(&format!("{what} of call {call} was told once more that it is done"));
        }
    }

    /// When a call was begun.
    pub fn began(&self, call: u64) -> Instant {
        self.change(call, |call| call.began).unwrap_or_else(Instant::now)
    }

    fn change<T>(&self, call: u64, change: impl FnOnce(&mut Call) -> T) -> Option<T> {
        let mut state = self.lock();
        state.calls.get_mut(usize::try_from(call).ok()?).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an owner is called in tokens and answers.
pub fn name(owner: usize) -> String {
    format!("owner-{owner}")
}

/// What came of a request, for the story.
pub(crate) fn shown(ended: &Ended) -> String {
    match ended {
        Ended::Done(_) => "done".to_owned(),
        Ended::Asked { .. } => "asked".to_owned(),
        Ended::Failed(error) => format!("failed, {error}"),
        Ended::Refused(status) => format!("refused with {status}"),
        Ended::Lost => "lost".to_owned(),
        Ended::Stuck => "stuck".to_owned(),
    }
}
