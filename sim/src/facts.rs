//! What is true of every session, and which answers may follow from it.
//!
//! The rules:
//!
//! 1. A request of a non-owner gets the one refusal, always: same status, same body, whatever the state of the world.
//! 2. A request of the owner gets its answer. It may get a 404 only if the session is over or may be over: ended, or its time
//!    is up. It may get a 503 only if the node has not reached the store all the time of late.
//! 3. A session that is known to be over is never served: at once by the node that ended it, and by every node that starts
//!    later and reaches the store; by any other node from [`BOUND`] on after the end was announced and the node has reached the
//!    store without fail. A node that could not reach the store, or has just started, has [`RECOVERY`] from when it can: what it
//!    asked before is given up after half a second. It was announced at once if the ending node reached the store throughout,
//!    otherwise when that has reached it again for [`OWED`]; if it dies before, nodes that hold the session are not judged. A node that does not reach
//!    the store may go on serving what the seal proves: the price of serving in an outage.
//! 4. A store that was flushed has forgotten who ended. Of those whose end was asked for before, only the node that ended them is judged.
//! 5. Nothing takes longer than a minute.
//! 6. Revoking ends what was opened before it like ending each; what was opened about that time may be over or not.
//! 7. A key that only opens loses nobody a session. When it is removed, every node refuses what was sealed under it.
//!
//! An end counts as known when the gateway has confirmed it. From the moment that somebody asks for it until then, and for
//! ever if the answer was lost or was a 503, the session may be over or not, and both answers are right.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawser_owner::KeyId;
use http::StatusCode;
use tokio::time::Instant;

use crate::client::Came;
use crate::counts::Counts;
use crate::network::Network;
use crate::node::{IDLE, LIFETIME};
use crate::trace::Trace;

/// How late the end of a session may be known to a node that reaches the store.
pub const BOUND: Duration = Duration::from_secs(1);
/// How late a node may announce what it could not announce at once, counted from when it reaches the store again.
const OWED: Duration = Duration::from_secs(10);
/// How late the rest may be: clocks differ, time is counted in seconds, memory is swept now and then.
const SLACK: Duration = Duration::from_secs(15);
/// How long a node may take to find out what it has missed, from when it reaches the store again.
const RECOVERY: Duration = Duration::from_secs(2);

/// How much the clocks of nodes differ, and time that is counted in seconds.
const SKEW: Duration = Duration::from_secs(5);
/// Who opens a session within this time after a revocation, at a node that has not heard of it, may have to again: the gateway allows
/// clocks five seconds.
const REVOKED_AHEAD: Duration = Duration::from_secs(5);
/// After this time every node has looked at the file of keys.
const LOOKED_AT: Duration = Duration::from_secs(3);

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nobody has ended it.
    Alive,
    /// Somebody tried to end it, and nobody knows what came of it.
    Unclear,
    /// It was ended, by this start of this node.
    Over {
        /// When that was asked for: what the ending node wrote, it wrote from then on.
        asked: Instant,
        /// When that was confirmed.
        since: Instant,
        /// The node, and its start.
        by: (usize, u64),
        /// When it was certainly announced.
        told: Option<Instant>,
    },
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The handle.
    pub id: Arc<str>,
    /// Whose it is.
    pub owner: usize,
    opened: Instant,
    /// When its owner last used it in a way that every node can know.
    noted: Instant,
    /// The same, without the last moment: what was just used may not be known to all yet.
    noted_before: Instant,
    known: Known,
    /// The keys that it may be sealed under.
    keys: Vec<KeyId>,
    /// When none of them was there any more.
    unsealed: Option<Instant>,
}

/// Where and when something was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The node.
    pub node: usize,
    /// Its start.
    pub start: u64,
    /// When that was.
    pub started: Instant,
    /// When the request was sent.
    pub at: Instant,
}

/// All that is known.
pub struct Facts {
    network: Arc<Network>,
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: Vec<SessionFacts>,
    refusal: Option<Bytes>,
    counts: Counts,
    revocations: Vec<Revocation>,
    /// The starts of nodes that take nothing new.
    draining: BTreeSet<(usize, u64)>,
    /// The keys that sealed, and since when.
    sealing: Vec<(KeyId, Instant)>,
    /// The keys that are removed.
    removed: BTreeSet<KeyId>,
}

/// All sessions of an owner, or of all, are over that were opened before a moment.
#[derive(Clone, Copy)]
struct Revocation {
    owner: Option<usize>,
    asked: Instant,
    finished: Option<Instant>,
}

impl Revocation {
    fn is_about(&self, owner: usize) -> bool {
        self.owner.is_none_or(|of| of == owner)
    }
}

impl Facts {
    /// Nobody has opened anything.
    pub fn new(network: Arc<Network>, trace: Arc<Trace>) -> Self {
        Self { network, trace, state: Mutex::default() }
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionFacts> {
        self.lock().sessions.clone()
    }

    /// An answer to `initialize`.
    pub fn opened(&self, owner: usize, asking: &Asking, came: &Came) {
        let Some((status, session)) = self.answered("initialize", asking, came) else { return };
        match (status, session) {
            (StatusCode::OK, Some(id)) => {
                let mut state = self.lock();
                state.counts.sessions += 1;
                // Which of the two came first is not known, and clocks differ.
                let unclear = state.revocations.iter().any(|revocation| {
                    revocation.is_about(owner)
                        && revocation.finished.is_none_or(|finished| finished + REVOKED_AHEAD + SKEW >= asking.at)
                });
                let keys: Vec<_> = state
                    .sealing
                    .windows(2)
                    .filter(|pair| matches!(pair, [_, (_, next)] if *next + LOOKED_AT >= asking.at))
                    .filter_map(|pair| pair.first())
                    .chain(state.sealing.last())
                    .map(|(key, _)| *key)
                    .collect();
                // A node that has not looked at the keys yet may have used one that is gone.
                let unclear = unclear || keys.iter().any(|key| state.removed.contains(key));
                state.sessions.push(SessionFacts {
                    id: id.into(),
                    owner,
                    opened: asking.at,
                    noted: asking.at,
                    noted_before: asking.at,
                    known: if unclear { Known::Unclear } else { Known::Alive },
                    keys,
                    unsealed: None,
                });
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => self.unavailable("initialize", asking),
            _ => self.trace.broken(&format!("initialize was answered with {status}")),
        }
    }

    /// Somebody is about to end a session.
    pub fn ending(&self, session: usize) {
        self.change(session, |facts| {
            if facts.known == Known::Alive {
                facts.known = Known::Unclear;
            }
        });
    }

    /// The gateway has confirmed that a session is over.
    pub fn ended(&self, session: usize, asking: &Asking) {
        let (since, by) = (Instant::now(), (asking.node, asking.start));
        let told = self.network.calm_since(asking.node).filter(|calm| *calm <= asking.at).map(|_| since);
        self.change(session, |facts| {
            if !matches!(facts.known, Known::Over { .. }) {
                facts.known = Known::Over { asked: asking.at, since, by, told };
            }
        });
    }

    /// All sessions of an owner, or of all, are about to be ended.
    pub fn revoking(&self, owner: Option<usize>) -> usize {
        let mut state = self.lock();
        let revocation = Revocation { owner, asked: Instant::now(), finished: None };
        for facts in state.sessions.iter_mut().filter(|facts| revocation.is_about(facts.owner)) {
            if facts.known == Known::Alive {
                facts.known = Known::Unclear;
            }
        }
        state.revocations.push(revocation);
        state.revocations.len() - 1
    }

    /// What became of that.
    pub fn revoked(&self, revocation: usize, asking: &Asking, done: bool) {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(revocation) = state.revocations.get_mut(revocation) else { return };
        revocation.finished = Some(now);
        let revocation = *revocation;
        let hit = |facts: &SessionFacts| revocation.is_about(facts.owner) && facts.opened + SKEW < revocation.asked;
        let over: Vec<_> =
            state.sessions.iter().enumerate().filter(|(_, facts)| hit(facts)).map(|(at, _)| at).collect();
        drop(state);
        if done {
            for session in over {
                self.ended(session, asking);
            }
        }
    }

    /// This key seals from now on.
    pub fn sealing(&self, key: Option<KeyId>) {
        let mut state = self.lock();
        if let Some(key) = key.filter(|key| state.sealing.last().is_none_or(|(last, _)| last != key)) {
            state.sealing.push((key, Instant::now()));
        }
    }

    /// This key is removed.
    pub fn unsealed(&self, key: KeyId) {
        let mut state = self.lock();
        state.removed.insert(key);
        for facts in &mut state.sessions {
            if facts.keys.contains(&key) {
                facts.keys.retain(|of| *of != key);
                facts.known = if facts.known == Known::Alive { Known::Unclear } else { facts.known };
                facts.unsealed = facts.keys.is_empty().then(Instant::now);
            }
        }
    }

    /// This start of a node takes nothing new any more.
    pub fn drains(&self, node: usize, start: u64) {
        self.lock().draining.insert((node, start));
    }

    /// These starts of nodes run: what they owe, they announce as soon as they can.
    pub fn running(&self, nodes: &BTreeSet<(usize, u64)>) {
        let now = Instant::now();
        for facts in &mut self.lock().sessions {
            if let Known::Over { since, by, told: told @ None, .. } = &mut facts.known
                && nodes.contains(by)
                && self.network.calm_since(by.0).is_some_and(|calm| calm.max(*since) + OWED <= now)
            {
                *told = Some(now);
            }
        }
    }

    /// An answer to its owner.
    pub fn owner(&self, session: usize, what: &str, asking: &Asking, came: &Came) {
        let Some((status, _)) = self.answered(what, asking, came) else { return };
        let Some(facts) = self.lock().sessions.get(session).cloned() else { return };
        match status {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                self.served(session, &facts, what, asking);
            }
            StatusCode::NOT_FOUND => {
                self.lock().counts.over += 1;
                if !may_be_over(&facts, asking.at, self.network.flushed()) {
                    self.trace.broken(&format!("{what}: the owner of session {session} was refused, and it is alive"));
                }
                // That node may have ended it, and another may have another clock.
                self.ending(session);
            }
            StatusCode::SERVICE_UNAVAILABLE => self.unavailable(what, asking),
            _ => self.trace.broken(&format!("{what}: the owner of session {session} was answered with {status}")),
        }
    }

    /// An answer to somebody else.
    pub fn stranger(&self, session: usize, what: &str, asking: &Asking, came: &Came) {
        let Some((status, _)) = self.answered(what, asking, came) else { return };
        let Came::Answer { body, .. } = came else { return };
        let mut state = self.lock();
        state.counts.strangers += 1;
        let same = state.refusal.get_or_insert_with(|| body.clone()) == body;
        drop(state);
        if status != StatusCode::NOT_FOUND {
            self.trace.broken(&format!("{what}: a stranger at session {session} was answered with {status}"));
        } else if !same {
            self.trace.broken(&format!("{what}: a stranger at session {session} was told more than others"));
        }
    }

    /// Whether a node must know by now that a session is over.
    pub fn must_be_over(&self, session: usize, asking: &Asking) -> bool {
        self.lock().sessions.get(session).is_some_and(|facts| self.must_know(facts, asking))
    }

    /// Whether a session is certainly not over.
    pub fn is_alive(&self, session: usize) -> bool {
        let now = Instant::now();
        self.lock().sessions.get(session).is_some_and(|facts| !may_be_over(facts, now, self.network.flushed()))
    }

    fn served(&self, session: usize, facts: &SessionFacts, what: &str, asking: &Asking) {
        self.lock().counts.served += 1;
        // A stream that is open needs no key any more.
        let sealed = facts.unsealed.is_none_or(|removed| removed + LOOKED_AT > asking.at);
        if !sealed || self.must_know(facts, asking) {
            self.trace.broken(&format!("{what}: session {session} is over and was served by node {}", asking.node));
        }
        if asking.at.duration_since(facts.opened) > LIFETIME + SLACK {
            self.trace.broken(&format!("{what}: session {session} was served after its lifetime"));
        }
        // The store is told of a use once in a sixteenth of the idle time; where that fails, not again before the next is over.
        let all_know = self.network.calm_since(asking.node).is_some_and(|since| since + IDLE / 16 <= asking.at);
        if all_know {
            self.change(session, |facts| {
                if facts.noted + BOUND < asking.at {
                    facts.noted_before = std::mem::replace(&mut facts.noted, asking.at);
                }
            });
        }
    }

    /// Rules 3 and 4.
    fn must_know(&self, facts: &SessionFacts, asking: &Asking) -> bool {
        let Known::Over { asked, since, by, told } = facts.known else { return false };
        if by == (asking.node, asking.start) {
            return asking.at >= since;
        }
        if self.network.flushed().is_some_and(|flushed| flushed >= asked) {
            return false;
        }
        let Some(calm) = self.network.calm_since(asking.node) else { return false };
        if asking.started >= since && calm <= asking.started {
            return asking.at >= since;
        }
        told.is_some_and(|told| asking.at >= (told + BOUND).max(calm.max(asking.started) + RECOVERY))
    }

    fn unavailable(&self, what: &str, asking: &Asking) {
        self.lock().counts.unavailable += 1;
        if self.lock().draining.contains(&(asking.node, asking.start)) {
            return;
        }
        if self.network.calm_since(asking.node).is_some_and(|since| since + RECOVERY <= asking.at) {
            self.trace.broken(&format!("{what}: node {} reaches the store and says that it cannot", asking.node));
        }
    }

    fn answered(&self, what: &str, asking: &Asking, came: &Came) -> Option<(StatusCode, Option<String>)> {
        match came {
            Came::Answer { status, session, .. } => Some((*status, session.clone())),
            Came::Lost => {
                self.lock().counts.lost += 1;
                None
            }
            Came::Stuck => {
                self.trace.broken(&format!("{what}: node {} did not answer within a minute", asking.node));
                None
            }
        }
    }

    /// A stream was opened.
    pub fn stream(&self) {
        self.lock().counts.streams += 1;
    }

    fn change(&self, session: usize, change: impl FnOnce(&mut SessionFacts)) {
        if let Some(facts) = self.lock().sessions.get_mut(session) {
            change(facts);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rule 2: whether a refusal is explained.
fn may_be_over(facts: &SessionFacts, now: Instant, flushed: Option<Instant>) -> bool {
    let aged = now.duration_since(facts.opened) + SLACK >= LIFETIME;
    // The store is told of a use at most once in a sixteenth of the idle time, and of two at the same time one may be lost.
    // A row that was lost says nothing until the next use that is due to be told: then the date of the seal counts.
    let used = if facts.noted + BOUND < now { facts.noted } else { facts.noted_before };
    let lost = flushed.is_some_and(|flushed| flushed + IDLE / 8 >= used);
    let noted = if lost { facts.opened } else { used };
    let idle = now.duration_since(noted) + IDLE / 8 + SLACK >= IDLE;
    facts.known != Known::Alive || aged || idle
}
