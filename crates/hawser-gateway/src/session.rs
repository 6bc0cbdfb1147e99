//! A live session: what is between one owner's client and the backends.
//!
//! Everything here may only be touched through `Owned<Arc<Session>>`, which [`crate::sessions::Sessions::admit`] alone makes.

mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use hawser_backend::BackendSession;
use hawser_mcp::{LOG_LEVELS, RawJson, Revision};
use hawser_owner::{KeyId, LocalOwner, OwnerDigest, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checked::Checked;
use crate::claims::{SessionClaims, SessionKey};
use crate::client_kind::ClientKind;
use crate::endpoint::Endpoint;
use crate::gate::Gate;
use crate::lists::View;
use crate::nodes::{ListensAt, Nodes};
use crate::places::Place;
use crate::record::{SessionRecord, StoredParts};
use crate::relay::NodeName;
use crate::sessions::{PoolKey, Sessions};
use crate::upstream::Upstream;

pub(crate) use self::work::{Work, Workshop};

/// One session. A node holds a million of them: what most do not need is in their [`Work`].
#[derive(Debug)]
pub(crate) struct Session {
    claims: SessionClaims,
    key: KeyId,
    endpoint: Arc<Endpoint>,
    owner: OwnerDigest,
    local_owner: LocalOwner,
    /// Found out later where the session was made from its seal alone.
    grant: OnceLock<Arc<str>>,
    client: Arc<ClientKind>,
    opened: Timestamp,
    expires: Timestamp,
    last_used: AtomicU64,
    last_stored: AtomicU64,
    weak: Weak<Session>,
    workshop: Arc<Workshop>,
    /// Made when somebody waits for it.
    ended: OnceLock<CancellationToken>,
    terminated: AtomicBool,
    /// Whether what backends say unasked is wanted.
    listening: AtomicBool,
    /// The log level that the client set: one more than its place among [`LOG_LEVELS`].
    log_level: AtomicU8,
    place: Mutex<Option<Place>>,
    /// Where the client listens, if at another node.
    listens_at: Mutex<Option<Box<ListensAt>>>,
    pooled: Option<Box<PoolKey>>,
    pub(crate) gate: Gate,
    pub(crate) checked: Checked,
    /// The last number that the gateway gave to something in this session that has no name of its own.
    last_number: AtomicU64,
    /// Random, for the ids of its events.
    epoch: u64,
    work: Mutex<Option<Arc<Work>>>,
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct SessionParts {
    pub(crate) claims: SessionClaims,
    /// The key of the ring that its owner's name is made with.
    pub(crate) sealed_under: KeyId,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) record: SessionRecord,
    pub(crate) client: Arc<ClientKind>,
    pub(crate) checked: Checked,
    pub(crate) place: Place,
    /// Random, for the ids of its events.
    pub(crate) epoch: u64,
    /// What it is found by, if it has no id.
    pub(crate) pooled: Option<PoolKey>,
}

impl Session {
    pub(crate) fn new(parts: SessionParts, workshop: Arc<Workshop>) -> Arc<Self> {
        let SessionParts { claims, sealed_under, endpoint, record, client, checked, place, epoch, pooled } = parts;
        let session = Arc::new_cyclic(|weak| {
            place.seat(weak);
            Self {
                claims,
                key: sealed_under,
                owner: record.owner,
                local_owner: place.owner(),
                grant: record.grant.map_or_else(OnceLock::new, |grant| OnceLock::from(Arc::from(grant))),
                client,
                opened: record.opened,
                expires: record.expires,
                last_used: AtomicU64::new(record.last_used.seconds()),
                last_stored: AtomicU64::new(record.last_used.seconds()),
                endpoint,
                weak: weak.clone(),
                workshop,
                ended: OnceLock::new(),
                terminated: AtomicBool::new(false),
                listening: AtomicBool::new(false),
                log_level: AtomicU8::new(0),
                place: Mutex::new(Some(place)),
                listens_at: Mutex::default(),
                pooled: pooled.map(Box::new),
                gate: Gate::default(),
                checked,
                // At random, since an earlier object of the same session may have given out the low ones.
                last_number: AtomicU64::new(epoch >> 33),
                epoch,
                work: Mutex::default(),
            }
        });
        session.restore_wishes(record.log_level.as_deref(), record.subscriptions);
        session
    }

    fn restore_wishes(&self, log_level: Option<&str>, mut subscriptions: BTreeMap<String, Vec<String>>) {
        if let Some(level) = log_level {
            self.set_log_level(level);
        }
        for (at, backend) in self.endpoint.backends().enumerate() {
            if let Some(uris) = subscriptions.remove(backend.name().as_str())
                && let Some(upstream) = self.upstream(at)
            {
                upstream.restore_subscriptions(uris);
            }
        }
    }

    /// Takes over what the store has of a session that was made from its seal alone.
    pub(crate) fn fill_in(&self, stored: StoredParts) {
        if let Some(grant) = stored.grant {
            let _ = self.grant.set(Arc::from(grant));
        }
        let asked_for_nothing = self.upstreams().iter().all(|upstream| upstream.subscriptions().is_empty());
        if self.log_level().is_none() && asked_for_nothing {
            self.restore_wishes(stored.log_level.as_deref(), stored.subscriptions);
        }
    }

    pub(crate) const fn key(&self) -> SessionKey {
        self.claims.key
    }

    pub(crate) const fn revision(&self) -> Revision {
        self.claims.revision
    }

    /// Its owner's name under the key that its id was made with.
    pub(crate) const fn owner(&self) -> OwnerDigest {
        self.owner
    }

    /// The key of the ring that [`Self::owner`] is made with, and that its id is sealed under if it has one.
    pub(crate) const fn sealed_under(&self) -> KeyId {
        self.key
    }

    /// Its owner's name on this node, whatever key its id was made with.
    pub(crate) const fn local_owner(&self) -> LocalOwner {
        self.local_owner
    }

    /// Whether it is one without an id, held for a modern client.
    pub(crate) const fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }

    /// Whether several callers use it who are not the same person.
    pub(crate) fn is_shared(&self) -> bool {
        self.pool_key().is_some_and(PoolKey::is_shared)
    }

    pub(crate) fn pool_key(&self) -> Option<&PoolKey> {
        self.pooled.as_deref()
    }

    /// A number that nothing else in this session has.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Names the positions of its streams: those of a log that is lost are none of its successor's.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn grant(&self) -> Option<&Arc<str>> {
        self.grant.get()
    }

    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn client_capabilities(&self) -> &RawJson {
        &self.client.declared().capabilities
    }

    pub(crate) fn client_info(&self) -> &RawJson {
        &self.client.declared().client_info
    }

    /// What lists depend on of its client.
    pub(crate) fn view(&self) -> View {
        self.client.view()
    }

    /// Whether no other session has a client that says the same of itself.
    pub(crate) fn has_a_client_of_its_own(&self) -> bool {
        self.client.is_alone()
    }

    pub(crate) const fn weak(&self) -> &Weak<Self> {
        &self.weak
    }

    pub(crate) const fn opened(&self) -> Timestamp {
        self.opened
    }

    pub(crate) const fn expires(&self) -> Timestamp {
        self.expires
    }

    pub(crate) const fn idle_seconds(&self) -> u64 {
        self.claims.idle_seconds as u64
    }

    /// The way to a backend, made if it was not needed before.
    pub(crate) fn upstream(&self, backend: usize) -> Option<Arc<Upstream>> {
        let at = self.endpoint.backend(backend)?;
        let make = || Upstream::new(at.clone(), backend, self.log_level(), self.listening.load(Ordering::Acquire));
        Some(self.work().upstream(backend, make))
    }

    /// The ways to backends that were needed.
    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.present_work().map(|work| work.all_upstreams()).unwrap_or_default()
    }

    /// From now on what backends say unasked is wanted.
    pub(crate) fn listen(&self) {
        self.listening.store(true, Ordering::Release);
        for upstream in self.upstreams() {
            upstream.listen();
        }
    }

    /// The log level that backends are told, now or when they are opened.
    pub(crate) fn set_log_level(&self, level: &str) {
        let at = LOG_LEVELS.iter().position(|known| *known == level).and_then(|at| u8::try_from(at + 1).ok());
        self.log_level.store(at.unwrap_or(0), Ordering::Release);
        for upstream in self.upstreams() {
            upstream.set_log_level(level);
        }
    }

    /// The log level that the client set last.
    pub(crate) fn log_level(&self) -> Option<&'static str> {
        LOG_LEVELS.get(usize::from(self.log_level.load(Ordering::Acquire)).checked_sub(1)?).copied()
    }

    /// Becomes cancelled when the session ends on this node: for good, set aside, or because the node stops.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.ended.get_or_init(CancellationToken::new)
    }

    /// Whether it has ended on this node.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// Ends it on this node: whoever waits in it hears of it, and whatever begins in it later is over at once.
    pub(crate) fn mark_ended(&self) {
        self.ended().cancel();
        // What is made later sees that it has ended.
        if let Some(work) = self.present_work() {
            work.in_flight.end();
        }
    }

    /// Marks the session as ended for good, and ends it. Tells whether it was not before.
    pub(crate) fn mark_terminated(&self) -> bool {
        let news = !self.terminated.swap(true, Ordering::AcqRel);
        self.mark_ended();
        news
    }

    /// Whether it was ended for good.
    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Acquire)
    }

    /// Gives its place in memory back, once.
    pub(crate) fn free_place(&self) {
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The node that it is live on.
    pub(crate) fn node(&self) -> NodeName {
        self.workshop.nodes.here()
    }

    /// All sessions of this node.
    pub(crate) fn sessions(&self) -> Option<Arc<Sessions>> {
        self.workshop.sessions.upgrade()
    }

    /// The other nodes.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.workshop.nodes
    }

    /// Notes at which other node the client listens now; `None`: here.
    pub(crate) fn set_listener_elsewhere(&self, at: Option<ListensAt>) {
        *self.listens_at.lock().unwrap_or_else(PoisonError::into_inner) = at.map(Box::new);
    }

    /// The other node at which the client listens, if it does.
    pub(crate) fn listener_elsewhere(&self) -> Option<ListensAt> {
        self.listens_at.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }

    /// Whether nothing would be interrupted if the session were set aside.
    pub(crate) fn is_quiet(&self) -> bool {
        self.gate.is_empty() && self.present_work().is_none_or(|work| work.is_idle() && !work.outbox.has_stream())
    }

    /// Lets nobody in any more if nothing is interrupted by that. Tells whether it is so.
    pub(crate) fn close_if_quiet(&self) -> bool {
        self.close_if(Self::is_quiet)
    }

    /// The same if nothing but streams without a call are interrupted.
    pub(crate) fn close_if_idle(&self) -> bool {
        self.close_if(Self::is_idle)
    }

    fn close_if(&self, nothing_goes_on: impl Fn(&Self) -> bool) -> bool {
        if !self.gate.close() {
            return false;
        }
        let closed = nothing_goes_on(self);
        if !closed {
            self.gate.open();
        }
        closed
    }

    /// Whether no call runs, no question waits and nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.present_work().is_none_or(|work| work.is_idle())
    }

    /// How many calls run, or wait for their client.
    pub(crate) fn calls(&self) -> usize {
        self.present_work().map_or(0, |work| work.calls())
    }

    /// Whether a call came to its end after this time and its client has yet to come back for that.
    pub(crate) fn is_unfetched(&self, after: Instant) -> bool {
        self.present_work().is_some_and(|work| work.events.is_unfetched(after))
    }

    pub(crate) fn last_used(&self) -> Timestamp {
        Timestamp::from_seconds(self.last_used.load(Ordering::Relaxed))
    }

    /// The owner used the session. Tells whether the store should be told, which is at most once in a sixteenth of the idle
    /// time, so that the steady state needs no store.
    pub(crate) fn touch(&self, now: Timestamp) -> bool {
        self.last_used.fetch_max(now.seconds(), Ordering::Relaxed);
        let stored = self.last_stored.load(Ordering::Relaxed);
        let due = now.seconds().saturating_sub(stored) > self.idle_seconds() / 16;
        due && self.last_stored.compare_exchange(stored, now.seconds(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Whether it was used since the store was told.
    pub(crate) fn was_used_since_noted(&self) -> bool {
        self.last_used.load(Ordering::Relaxed) > self.last_stored.load(Ordering::Relaxed)
    }

    /// The use could not be stored: it is due again.
    pub(crate) fn not_stored(&self) {
        self.last_stored.store(0, Ordering::Relaxed);
    }

    /// The owner used the session on another node, at the latest then.
    pub(crate) fn used_elsewhere(&self, last_used: Timestamp) {
        self.last_used.fetch_max(last_used.seconds(), Ordering::Relaxed);
    }

    /// A time of last use that was stored may be behind by as much as is not told to the store; never later than now.
    pub(crate) fn at_the_latest(stored: Timestamp, idle_seconds: u64, now: Timestamp) -> Timestamp {
        let behind = Duration::from_secs(idle_seconds / 16);
        stored.max(stored.plus(behind).min(now))
    }

    pub(crate) fn to_record(&self) -> SessionRecord {
        let mut subscriptions = BTreeMap::new();
        for upstream in self.upstreams() {
            let uris = upstream.subscriptions();
            if !uris.is_empty() {
                subscriptions.insert(upstream.backend().name().to_string(), uris);
            }
        }
        SessionRecord {
            log_level: self.log_level().map(str::to_owned),
            subscriptions,
            owner: self.owner,
            endpoint: self.endpoint.path().to_owned(),
            opened: self.opened,
            expires: self.expires,
            last_used: self.last_used(),
            grant: self.grant().map(ToString::to_string),
            capabilities: self.client_capabilities().clone(),
            client_info: self.client_info().clone(),
        }
    }

    /// Whether it counts for an owner: anonymous callers are many.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted_owner().is_some()
    }

    /// By whom it is counted; `None` for anonymous callers.
    fn counted_owner(&self) -> Option<LocalOwner> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Place::counted_owner)
    }

    /// Notes that a child process runs for it.
    pub(crate) fn note_child(&self) {
        self.workshop.note_child(self);
    }

    /// Stops a child process of some session that does nothing, to make room for one of this session. Tells whether it did.
    pub(crate) async fn free_a_child(&self) -> bool {
        let idle = self.workshop.sessions.upgrade().and_then(|sessions| sessions.take_an_idle_child(self));
        match idle {
            // Its place is free when the child is gone.
            Some(idle) => idle.close().await,
            None => return false,
        }
        true
    }

    /// How many child processes run for this session.
    pub(crate) fn children(&self) -> usize {
        self.upstreams().iter().filter(|upstream| upstream.holds_a_child()).count()
    }

    /// Gives up one child process of this session that does nothing; it is started again when it is needed.
    pub(crate) fn take_an_idle_child(&self) -> Option<BackendSession> {
        let upstreams = self.upstreams();
        let mut children = upstreams.iter().filter(|upstream| upstream.holds_a_child());
        children.find_map(|upstream| upstream.give_up_if_idle(self))
    }

    /// Ends everything that hangs on the session; its backend sessions are closed before this returns.
    pub(crate) async fn end(&self) {
        self.mark_ended();
        let Some(work) = self.present_work() else { return };
        work.close();
        work.pending.clear();
        work.parked.clear();
        let upstreams = work.all_upstreams();
        futures_util::future::join_all(upstreams.iter().map(|upstream| upstream.close())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every idle session costs, before its place in tables. `cargo xtask crowd` weighs all of it.
    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 320, "{} bytes", size_of::<Session>());
        assert!(size_of::<Work>() > size_of::<Session>(), "what is heavy is not in every session");
    }
}
