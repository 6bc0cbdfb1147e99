//! What a session holds beyond itself while there is anything to hold: calls, streams, questions, backend sessions.
//!
//! Most sessions are idle most of the time, so this is made when it is first needed and given back when it is empty again. How
//! many sessions are at work at a time is bounded; what each may hold is bounded by its parts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hawser_mcp::ListKind;
use hawser_owner::LocalOwner;
use tokio::time::Instant;

use super::Session;
use crate::allowance::Allowance;
use crate::claims::SessionKey;
use crate::config::Limits;
use crate::credential::Revocation;
use crate::event_log::EventLog;
use crate::in_flight::InFlight;
use crate::listeners::Listeners;
use crate::lists::SessionLists;
use crate::modern::ParkedCalls;
use crate::nodes::Nodes;
use crate::outbox::Outbox;
use crate::pending::PendingRequests;
use crate::places::Place;
use crate::sessions::Sessions;
use crate::upstream::Upstream;

/// What all sessions of a node work with.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) limits: Limits,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) sessions: Weak<Sessions>,
    pub(crate) nodes: Nodes,
    at_work: papaya::HashMap<SessionKey, Weak<Session>>,
    /// Those of them for which a child process was started; who has none any more is taken out by who looks.
    with_children: papaya::HashMap<SessionKey, Weak<Session>>,
}

/// What one session holds.
#[derive(Debug)]
pub(crate) struct Work {
    /// Among the sessions at work.
    place: Mutex<Option<Place>>,
    /// Whether it was asked for since somebody last looked whether it is needed.
    used: AtomicBool,
    upstreams: Mutex<BTreeMap<usize, Arc<Upstream>>>,
    pub(crate) lists: SessionLists,
    pub(crate) events: Arc<EventLog>,
    pub(crate) outbox: Outbox,
    pub(crate) pending: PendingRequests,
    pub(crate) in_flight: InFlight,
    pub(crate) parked: ParkedCalls,
    pub(crate) listeners: Listeners,
}

impl Session {
    /// What it holds, made if nothing was held before.
    pub(crate) fn work(&self) -> Arc<Work> {
        let mut slot = self.work_slot();
        let work = slot.get_or_insert_with(|| {
            let work = Arc::new(Work::new(self, self.counted_owner()));
            // Seen by whoever looks for what is at work before anything begins in it.
            self.workshop.enter(self);
            if self.is_ended() {
                work.close();
            }
            work
        });
        work.note_use();
        Arc::clone(work)
    }

    /// What it holds, if there is anything.
    pub(crate) fn present_work(&self) -> Option<Arc<Work>> {
        self.work_slot().clone()
    }

    /// What it holds, if it counts among the sessions at work. It does for as long as somebody has this.
    pub(crate) fn counted_work(&self) -> Option<Arc<Work>> {
        self.present_work().filter(|work| work.has_place()).inspect(|work| work.note_use())
    }

    /// It counts among the sessions at work from now on, as long as somebody has this or there is something in it.
    pub(crate) fn begin_work(&self, place: Place) -> Arc<Work> {
        let work = self.work();
        work.take_place(place, self);
        work
    }

    /// Ends what a credential began that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        if let Some(work) = self.present_work() {
            work.revoke(revocation);
        }
    }

    /// Gives up what has waited for too long, and gives back what it holds if that is nothing any more.
    pub(crate) fn tidy(&self) {
        if let Some(work) = self.present_work() {
            work.expire();
        }
        self.pass_kept_on();
        self.give_back(Work::is_over);
    }

    /// Gives back what it holds if that is nothing any more, even if it may hold something again soon. Tells whether it did.
    pub(crate) fn rest(&self) -> bool {
        self.give_back(Work::is_empty)
    }

    fn give_back(&self, may_go: impl FnOnce(&mut Work) -> bool) -> bool {
        let mut slot = self.work_slot();
        // Nobody else has it, and nobody gets it meanwhile.
        let Some(work) = slot.as_mut().and_then(Arc::get_mut) else { return false };
        if !may_go(work) {
            return false;
        }
        self.last_number.fetch_max(work.last_number(), Ordering::Relaxed);
        let given_back = slot.take();
        self.workshop.leave(self);
        drop(slot);
        drop(given_back);
        true
    }

    fn work_slot(&self) -> MutexGuard<'_, Option<Arc<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workshop {
    pub(crate) fn new(limits: &Limits, allowance: Arc<Allowance>, nodes: Nodes, sessions: Weak<Sessions>) -> Arc<Self> {
        let limits = *limits;
        Arc::new(Self {
            limits,
            allowance,
            sessions,
            nodes,
            at_work: papaya::HashMap::new(),
            with_children: papaya::HashMap::new(),
        })
    }

    /// The sessions at work.
    pub(crate) fn at_work(&self) -> Vec<Arc<Session>> {
        let mut at_work: Vec<_> = self.at_work.pin().values().filter_map(Weak::upgrade).collect();
        // Always in the same order: what ends together ends in it.
        at_work.sort_unstable_by_key(|session| session.key());
        at_work
    }

    /// Forgets the sessions that are not in memory any more.
    pub(crate) fn forget_the_gone(&self) {
        for noted in [&self.at_work, &self.with_children] {
            noted.pin().retain(|_, session| session.strong_count() > 0);
        }
    }

    /// Notes that a child process was started for a session.
    pub(crate) fn note_child(&self, session: &Session) {
        self.with_children.pin().insert(session.key(), Weak::clone(session.weak()));
    }

    /// The sessions for which child processes run.
    pub(crate) fn with_children(&self) -> Vec<Arc<Session>> {
        let noted = self.with_children.pin();
        noted.retain(|_, session| session.upgrade().is_some_and(|session| session.children() > 0));
        noted.values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn enter(&self, session: &Session) {
        self.at_work.pin().insert(session.key(), Weak::clone(session.weak()));
    }

    pub(super) fn leave(&self, session: &Session) {
        for noted in [&self.at_work, &self.with_children] {
            let _ = noted.pin().remove_if(&session.key(), |_, noted| Weak::ptr_eq(noted, session.weak()));
        }
    }
}

impl Work {
    /// For a session of which nothing was at work: numbers go on after the last that it gave.
    pub(super) fn new(session: &Session, owner: Option<LocalOwner>) -> Self {
        let (limits, after) = (&session.workshop.limits, session.last_number.load(Ordering::Relaxed));
        let events = EventLog::after(after, session.workshop.allowance.share(owner));
        Self {
            place: Mutex::default(),
            used: AtomicBool::new(true),
            upstreams: Mutex::default(),
            lists: SessionLists::new(session),
            outbox: Outbox::new(Arc::clone(&events), limits.streams, limits.stream_queue),
            events,
            pending: PendingRequests::new(after, limits.pending, limits.client_answer),
            in_flight: InFlight::new(limits.in_flight),
            parked: ParkedCalls::new(after, limits.parked.session, limits.client_answer),
            listeners: Listeners::new(limits.listeners.session),
        }
    }

    /// It counts among the sessions at work from now on, as long as it is there.
    pub(super) fn take_place(&self, place: Place, session: &Session) {
        place.seat(session.weak());
        self.place.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(place);
    }

    pub(super) fn has_place(&self) -> bool {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn note_use(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// The way to a backend, made if it was not needed before.
    pub(super) fn upstream(&self, backend: usize, make: impl FnOnce() -> Upstream) -> Arc<Upstream> {
        Arc::clone(self.upstreams().entry(backend).or_insert_with(|| Arc::new(make())))
    }

    /// The ways to backends that were needed.
    pub(super) fn all_upstreams(&self) -> Vec<Arc<Upstream>> {
        self.upstreams().values().cloned().collect()
    }

    /// Whether what a backend announces comes here by itself, now or as soon as that backend is back.
    pub(crate) fn hears(&self, backend: usize) -> bool {
        self.upstreams().get(&backend).is_some_and(|upstream| upstream.is_coming_back() || upstream.opened().is_some())
    }

    /// Whether there is an open session with a backend.
    pub(crate) fn has_open(&self, backend: usize) -> bool {
        self.upstreams().get(&backend).is_some_and(|upstream| upstream.opened().is_some())
    }

    /// The lists of which a backend announced the changes here.
    pub(crate) fn announced_by(&self, backend: usize) -> Vec<ListKind> {
        self.upstreams().get(&backend).map(|upstream| upstream.announced()).unwrap_or_default()
    }

    fn upstreams(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<Upstream>>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no call runs, no question waits and nobody listens.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.pending.is_empty() && self.parked.is_empty() && self.listeners.is_empty()
    }

    /// How many calls run, or wait for their client.
    pub(super) fn calls(&self) -> usize {
        self.in_flight.len() + self.parked.len()
    }

    /// Gives up what has waited, or is kept, for too long.
    pub(super) fn expire(&self) {
        self.pending.expire();
        self.events.expire();
        self.parked.expire();
    }

    /// Ends what a credential began that was revoked.
    pub(super) fn revoke(&self, revocation: &Revocation<'_>) {
        self.outbox.revoke(revocation);
        self.listeners.revoke(revocation);
        self.in_flight.revoke(revocation);
        self.parked.revoke(revocation);
    }

    /// Whether nothing would be lost without it.
    pub(super) fn is_empty(&mut self) -> bool {
        let unused = |upstream: &mut Arc<Upstream>| Arc::get_mut(upstream).is_some_and(|upstream| upstream.is_unused());
        let upstreams = self.upstreams.get_mut().unwrap_or_else(PoisonError::into_inner);
        upstreams.values_mut().all(unused)
            && self.in_flight.is_empty()
            && self.pending.is_empty()
            && self.parked.is_empty()
            && self.listeners.is_unused()
            && self.outbox.is_empty()
            && self.events.is_empty()
            && self.lists.is_empty(Instant::now())
    }

    /// The same, if it was not used since the last look: what was is used again soon.
    pub(super) fn is_over(&mut self) -> bool {
        !std::mem::take(self.used.get_mut()) && self.is_empty()
    }

    /// The highest number that any part of it has given.
    pub(super) fn last_number(&self) -> u64 {
        self.pending.last_number().max(self.parked.last_number()).max(self.events.last_stream())
    }

    /// Ends what would never end by itself.
    pub(crate) fn leave(&self) {
        self.outbox.leave();
        self.listeners.close();
    }

    /// Lets nothing begin any more.
    pub(crate) fn close(&self) {
        self.outbox.close();
        self.listeners.close();
        self.in_flight.end();
    }
}
