//! A live session: what is between one owner's client and the backends.
//!
//! Everything here may only be touched through `Owned<Arc<Session>>`, which [`crate::sessions::Sessions::admit`] alone makes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hawser_backend::BackendSession;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{LocalOwner, OwnerDigest, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::allowance::Share;
use crate::claims::{SessionClaims, SessionKey};
use crate::config::Limits;
use crate::endpoint::Endpoint;
use crate::event_log::EventLog;
use crate::in_flight::InFlight;
use crate::listeners::Listeners;
use crate::lists::{SessionLists, View};
use crate::modern::ParkedCalls;
use crate::outbox::Outbox;
use crate::pending::PendingRequests;
use crate::places::Place;
use crate::record::SessionRecord;
use crate::sessions::{PoolKey, Sessions};
use crate::upstream::Upstream;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    claims: SessionClaims,
    endpoint: Arc<Endpoint>,
    owner: OwnerDigest,
    local_owner: LocalOwner,
    grant: Option<String>,
    capabilities: RawJson,
    client_info: RawJson,
    expires: Timestamp,
    last_used: AtomicU64,
    last_stored: AtomicU64,
    upstreams: Vec<Upstream>,
    weak: Weak<Session>,
    sessions: Weak<Sessions>,
    ended: CancellationToken,
    terminated: AtomicBool,
    place: Mutex<Option<Place>>,
    pooled: Option<PoolKey>,
    /// The last number that the gateway gave to something in this session that has no name of its own.
    last_number: AtomicU64,
    pub(crate) lists: SessionLists,
    pub(crate) events: Arc<EventLog>,
    pub(crate) outbox: Outbox,
    pub(crate) pending: PendingRequests,
    pub(crate) in_flight: InFlight,
    pub(crate) parked: ParkedCalls,
    pub(crate) listeners: Listeners,
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct SessionParts {
    pub(crate) claims: SessionClaims,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) record: SessionRecord,
    pub(crate) expires: Timestamp,
    pub(crate) place: Place,
    /// What its streams may take of what all share.
    pub(crate) share: Arc<Share>,
    /// Random, for the ids of its events.
    pub(crate) epoch: u64,
    /// What it is found by, if it has no id.
    pub(crate) pooled: Option<PoolKey>,
}

impl Session {
    pub(crate) fn new(parts: SessionParts, limits: &Limits, sessions: Weak<Sessions>) -> Arc<Self> {
        let SessionParts { claims, endpoint, mut record, expires, place, share, epoch, pooled } = parts;
        let events = EventLog::new(epoch, share);
        let upstreams = endpoint.backends().enumerate().map(|(at, backend)| {
            let upstream = Upstream::new(backend.clone(), at);
            let subscriptions = record.subscriptions.remove(backend.name().as_str()).unwrap_or_default();
            upstream.restore_wishes(record.log_level.clone(), subscriptions);
            upstream
        });
        let upstreams: Vec<_> = upstreams.collect();
        let view = View::of(claims.revision, &record.capabilities, &record.client_info);
        let lists = SessionLists::new(Arc::clone(endpoint.lists()), endpoint.id(), place.owner(), claims.key, view);
        Arc::new_cyclic(|weak| Self {
            claims,
            owner: record.owner,
            local_owner: place.owner(),
            grant: record.grant,
            capabilities: record.capabilities,
            client_info: record.client_info,
            expires,
            last_used: AtomicU64::new(record.last_used.seconds()),
            last_stored: AtomicU64::new(record.last_used.seconds()),
            listeners: Listeners::new(limits.listeners.session, upstreams.len()),
            upstreams,
            endpoint,
            weak: weak.clone(),
            sessions,
            ended: CancellationToken::new(),
            terminated: AtomicBool::new(false),
            place: Mutex::new(Some(place)),
            lists,
            pooled,
            last_number: AtomicU64::new(0),
            outbox: Outbox::new(Arc::clone(&events), limits.streams, limits.stream_queue),
            events,
            pending: PendingRequests::new(limits.pending, limits.client_answer),
            in_flight: InFlight::new(limits.in_flight),
            parked: ParkedCalls::new(limits.parked, limits.client_answer),
        })
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
        self.pooled.as_ref().is_some_and(PoolKey::is_shared)
    }

    pub(crate) const fn pool_key(&self) -> Option<&PoolKey> {
        self.pooled.as_ref()
    }

    /// A number that nothing else in this session has.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn grant(&self) -> Option<&str> {
        self.grant.as_deref()
    }

    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) const fn client_capabilities(&self) -> &RawJson {
        &self.capabilities
    }

    pub(crate) const fn client_info(&self) -> &RawJson {
        &self.client_info
    }

    pub(crate) const fn weak(&self) -> &Weak<Self> {
        &self.weak
    }

    pub(crate) const fn expires(&self) -> Timestamp {
        self.expires
    }

    pub(crate) const fn idle_seconds(&self) -> u64 {
        self.claims.idle_seconds as u64
    }

    pub(crate) fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    pub(crate) fn upstream(&self, backend: usize) -> Option<&Upstream> {
        self.upstreams.get(backend)
    }

    /// Becomes cancelled when the session ends on this node: for good, set aside, or because the node stops.
    pub(crate) const fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Marks the session as ended for good, and ends it.
    pub(crate) fn mark_terminated(&self) {
        self.terminated.store(true, Ordering::Release);
        self.ended.cancel();
    }

    /// Whether it was ended for good.
    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Acquire)
    }

    /// Gives its place in memory back, once.
    pub(crate) fn free_place(&self) {
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether nothing would be interrupted if the session were set aside.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_idle() && !self.outbox.has_stream()
    }

    /// Whether no call runs, no question waits and nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.pending.is_empty() && self.parked.is_empty() && self.listeners.is_empty()
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

    pub(crate) fn to_record(&self) -> SessionRecord {
        let mut log_level = None;
        let mut subscriptions = BTreeMap::new();
        for upstream in &self.upstreams {
            let (level, uris) = upstream.wishes();
            log_level = log_level.or(level);
            if !uris.is_empty() {
                subscriptions.insert(upstream.backend().name().to_string(), uris);
            }
        }
        SessionRecord {
            log_level,
            subscriptions,
            owner: self.owner,
            endpoint: self.endpoint.path().to_owned(),
            last_used: self.last_used(),
            grant: self.grant.clone(),
            capabilities: self.capabilities.clone(),
            client_info: self.client_info.clone(),
        }
    }

    /// Stops a child process of some session that does nothing, to make room for one of this session. Tells whether it did.
    pub(crate) async fn free_a_child(&self) -> bool {
        let idle = self.sessions.upgrade().and_then(|sessions| sessions.take_an_idle_child(self));
        match idle {
            // Its place is free when the child is gone.
            Some(idle) => idle.close().await,
            None => return false,
        }
        true
    }

    /// How many child processes run for this session.
    pub(crate) fn children(&self) -> usize {
        self.upstreams.iter().filter(|upstream| upstream.holds_a_child()).count()
    }

    /// Gives up one child process of this session that does nothing; it is started again when it is needed.
    pub(crate) fn take_an_idle_child(&self) -> Option<BackendSession> {
        let mut children = self.upstreams.iter().filter(|upstream| upstream.holds_a_child());
        children.find_map(|upstream| upstream.give_up_if_idle(self))
    }

    /// Ends everything that hangs on the session; its backend sessions are closed before this returns.
    pub(crate) async fn end(&self) {
        self.ended.cancel();
        self.outbox.close();
        self.listeners.close();
        self.pending.clear();
        self.parked.clear();
        futures_util::future::join_all(self.upstreams.iter().map(Upstream::close)).await;
    }
}
