//! All sessions of this node: opened by `initialize`, admitted at every request, ended by their owner, by time or by
//! revocation.
//!
//! [`Sessions::admit`] is the only way to a session. It decides ownership from the sealed id before it looks anything up, so a
//! stranger's request causes neither a store read nor a backend connection, and leaves the owner's session and timers alone.

mod pool;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use hawser_backend::BackendSession;
use hawser_identity::Authenticated;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{
    Binding, Clock, Entropy, EntropyError, KeyRing, Owned, OwnerDigest, PrincipalKind, Proven, Refusal, Refused,
    SealError, Standing, Timestamp,
};
use hawser_store::{Key, Store, StoreError};
use thiserror::Error;
use tracing::warn;

use crate::allowance::Allowance;
use crate::audit;
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::config::{Limits, SessionPolicy};
use crate::credential::Revocation;
use crate::endpoint::Endpoint;
use crate::places::{Full, Place, Places};
use crate::record::{self, SessionRecord, StoredParts, StoredSession};
use crate::session::{Session, SessionParts};

pub(crate) use pool::{PoolKey, Presence};

/// A tombstone outlives the handle by this much, for clocks that differ.
const TOMBSTONE_MARGIN: Duration = Duration::from_mins(5);
/// Longest wait for backends to let go when the node stops.
const END_LIMIT: Duration = Duration::from_secs(6);
/// How many sessions are set aside for one that needs a place, should others be quicker to take what gets free.
const MAKING_ROOM_MAX: usize = 8;
/// Locks that order restoring and ending of sessions; a session always uses the same one.
const SHARDS: usize = 64;

/// Whether a grant of the embedded authorization server still stands.
#[async_trait]
pub trait Grants: Send + Sync {
    /// Has the grant been revoked?
    async fn is_revoked(&self, grant: &str) -> Result<bool, StoreError>;
}

/// What sessions are made with.
pub(crate) struct SessionsConfig {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) grants: Option<Arc<dyn Grants>>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) policy: SessionPolicy,
    pub(crate) limits: Limits,
}

/// The sessions of this node.
pub(crate) struct Sessions {
    weak: Weak<Sessions>,
    config: SessionsConfig,
    live: papaya::HashMap<SessionKey, Arc<Session>>,
    /// Sessions without an id, which are in `live` as well.
    pool: papaya::HashMap<PoolKey, Arc<Session>>,
    /// Passed by who adds to the pool.
    pool_gate: tokio::sync::Mutex<()>,
    places: Arc<Places>,
    allowance: Arc<Allowance>,
    closing: AtomicBool,
    shards: Vec<tokio::sync::Mutex<()>>,
}

/// Why a request does not get its session.
#[derive(Debug, Error)]
pub(crate) enum AdmitError {
    /// Refused; the client gets the one answer for all such cases.
    #[error("the session does not exist")]
    Refused(Refused),
    /// The store has to be asked and cannot be. Not a refusal: the client keeps its session.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session cannot be served now: the node is full of busy sessions, or stops. The client keeps it.
    #[error("the session cannot be served now")]
    NotNow,
}

/// Why no session can be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("you have as many busy sessions as you may; end one first")]
    TooManyOfOwner,
    #[error("the gateway has as many busy sessions as it may; try again later")]
    TooMany,
    #[error("the gateway is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A client's `initialize`, as far as a session keeps it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) revision: Revision,
    pub(crate) capabilities: RawJson,
    pub(crate) client_info: RawJson,
}

impl Sessions {
    pub(crate) fn new(config: SessionsConfig) -> Arc<Self> {
        Arc::new_cyclic(|weak| Self {
            weak: weak.clone(),
            places: Places::new(config.policy.per_owner, config.policy.total),
            allowance: Allowance::new(config.limits.replay),
            config,
            live: papaya::HashMap::new(),
            pool: papaya::HashMap::new(),
            pool_gate: tokio::sync::Mutex::default(),
            closing: AtomicBool::new(false),
            shards: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.config.store.as_ref()
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.config.ring
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.config.entropy.as_ref()
    }

    /// Opens a session for whoever authenticated, and seals its id.
    pub(crate) async fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        opening: Opening,
    ) -> Result<(String, Owned<Arc<Session>>), OpenError> {
        let now = self.now();
        let mut key = SessionKey([0; 16]);
        self.entropy().fill(&mut key.0).map_err(SealError::from)?;
        let policy = &self.config.policy;
        let claims = SessionClaims {
            key,
            revision: opening.revision,
            capabilities: CapabilityBits::of(&opening.capabilities),
            idle_seconds: u32::try_from(policy.idle.as_secs()).unwrap_or(u32::MAX),
        };
        let expires = now.plus(policy.lifetime);
        let binding = Binding { endpoint: endpoint.id(), principal: authenticated.principal(), issued: now, expires };
        let (id, owned) = self.ring().mint(&binding, claims, self.entropy())?;
        let place = self.place(owned.owner(), authenticated).await.map_err(|full| match full {
            Full::Owner => OpenError::TooManyOfOwner,
            Full::Total => OpenError::TooMany,
        })?;
        let record = SessionRecord {
            owner: owned.owner(),
            endpoint: endpoint.path().to_owned(),
            last_used: now,
            grant: authenticated.grant().map(str::to_owned),
            capabilities: opening.capabilities,
            client_info: opening.client_info,
            log_level: None,
            subscriptions: BTreeMap::new(),
        };
        self.config.store.put(&row(key)?, record.to_bytes(), Some(policy.lifetime + TOMBSTONE_MARGIN)).await?;
        let session = self.insert(&self.session(claims, endpoint, record, expires, place, None)?);
        // A revocation that came while the session was being opened found nothing to end.
        if self.is_revoked(session.grant()).await? {
            self.terminate(&session, "grant_revoked").await?;
        }
        audit::opened(endpoint.name(), owned.owner(), authenticated.client_id());
        Ok((id, owned.map(|_| session)))
    }

    /// The session that the presented id names, if it belongs to whoever authenticated.
    pub(crate) async fn admit(
        &self,
        endpoint: &Arc<Endpoint>,
        presented: &str,
        authenticated: &Authenticated,
    ) -> Result<Owned<Arc<Session>>, AdmitError> {
        let now = self.now();
        let proven = self
            .ring()
            .open::<SessionClaims>(presented, endpoint.id(), authenticated.principal(), now)
            .map_err(AdmitError::Refused)?;
        if self.is_closing() {
            return Err(AdmitError::NotNow);
        }
        let live = self.live.pin().get(&proven.claims().key).cloned();
        // A session that was set aside a moment ago is restored like any that this node does not hold.
        let session = match live.filter(|session| session.is_terminated() || !session.ended().is_cancelled()) {
            Some(session) => session,
            None => match self.restore(&proven, endpoint, authenticated).await? {
                Ok(session) => session,
                Err(standing) => return refuse(proven, standing, now),
            },
        };
        let standing = if session.is_terminated() {
            Standing::Terminated
        } else {
            Standing::Live { last_used: session.last_used(), idle_seconds: session.idle_seconds() }
        };
        let owned = proven.admit(standing, now).map_err(AdmitError::Refused)?;
        if session.touch(now) {
            self.note_use(&session).await;
        }
        Ok(owned.map(|_| session))
    }

    /// Brings a session back that this node does not hold: after a restart, or because another node opened it.
    async fn restore(
        &self,
        proven: &Proven<SessionClaims>,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
    ) -> Result<Result<Arc<Session>, Standing>, AdmitError> {
        let claims = *proven.claims();
        // Before the lock: making room takes the lock of another session.
        let place = self.place(proven.owner(), authenticated).await.map_err(|_| AdmitError::NotNow)?;
        let _ordered = self.shard(claims.key).lock().await;
        let held = self.live.pin().get(&claims.key).cloned();
        if let Some(session) = held.filter(|session| session.is_terminated() || !session.ended().is_cancelled()) {
            return Ok(Ok(session));
        }
        match self.stored(proven, endpoint).await? {
            StoredSession::Terminated => Ok(Err(Standing::Terminated)),
            StoredSession::Foreign => {
                // Removed by being replaced: a deleted row would let the next request claim the id by its seal alone.
                self.bury(claims.key, proven.owner(), endpoint.path()).await?;
                audit::foreign_record(endpoint.name(), proven.owner());
                Ok(Err(Standing::ForeignRecord))
            }
            StoredSession::Live(stored) => Ok(self.revive(proven, endpoint, *stored, place).await?),
        }
    }

    /// What the store has of a session. A sealed id without a row has lost it; the seal still proves whose it is.
    async fn stored(&self, proven: &Proven<SessionClaims>, endpoint: &Endpoint) -> Result<StoredSession, StoreError> {
        let found = self.config.store.get(&row(proven.claims().key)?).await?;
        Ok(found.map_or_else(
            || StoredSession::Live(Box::new(StoredParts::unknown(proven.issued()))),
            |bytes| record::read(&bytes, proven.owner(), endpoint.path()),
        ))
    }

    /// Makes a session of its row, unless its time is up or its grant was revoked.
    async fn revive(
        &self,
        proven: &Proven<SessionClaims>,
        endpoint: &Arc<Endpoint>,
        stored: StoredParts,
        place: Place,
    ) -> Result<Result<Arc<Session>, Standing>, StoreError> {
        let claims = *proven.claims();
        let idle_seconds = u64::from(claims.idle_seconds);
        if self.now().since(stored.last_used).as_secs() > idle_seconds {
            return Ok(Err(Standing::Live { last_used: stored.last_used, idle_seconds }));
        }
        let record = SessionRecord {
            owner: proven.owner(),
            endpoint: endpoint.path().to_owned(),
            last_used: stored.last_used,
            grant: stored.grant,
            capabilities: stored.capabilities.unwrap_or_else(|| claims.capabilities.to_capabilities()),
            client_info: stored.client_info.unwrap_or_else(unknown_client),
            log_level: stored.log_level,
            subscriptions: stored.subscriptions,
        };
        let expires = proven.expires();
        let session = self.insert(&self.session(claims, endpoint, record, expires, place, None)?);
        // Asked when the session can already be found: a revocation that comes from now on ends it by itself.
        match self.is_revoked(session.grant()).await {
            Ok(false) => Ok(Ok(session)),
            Ok(true) => {
                self.bury(claims.key, proven.owner(), endpoint.path()).await?;
                session.mark_terminated();
                self.release(&session);
                Ok(Err(Standing::Terminated))
            }
            Err(error) => {
                self.release(&session);
                Err(error)
            }
        }
    }

    /// A session of this node.
    fn session(
        &self,
        claims: SessionClaims,
        endpoint: &Arc<Endpoint>,
        record: SessionRecord,
        expires: Timestamp,
        place: Place,
        pooled: Option<PoolKey>,
    ) -> Result<Arc<Session>, StoreError> {
        let mut epoch = [0; 8];
        let unavailable = |error: EntropyError| hawser_store::Unavailable { reason: error.to_string() };
        self.entropy().fill(&mut epoch).map_err(unavailable)?;
        let (share, epoch) = (self.allowance.share(place.owner()), u64::from_be_bytes(epoch));
        let parts =
            SessionParts { claims, endpoint: Arc::clone(endpoint), record, expires, place, share, epoch, pooled };
        Ok(Session::new(parts, &self.config.limits, Weak::clone(&self.weak)))
    }

    async fn is_revoked(&self, grant: Option<&str>) -> Result<bool, StoreError> {
        match (grant, &self.config.grants) {
            (Some(grant), Some(grants)) => grants.is_revoked(grant).await,
            _ => Ok(false),
        }
    }

    /// Ends a session for good: the tombstone is durable before anything else happens.
    pub(crate) async fn terminate(&self, session: &Arc<Session>, reason: &'static str) -> Result<(), StoreError> {
        let _ordered = self.shard(session.key()).lock().await;
        self.bury(session.key(), session.owner(), session.endpoint().path()).await?;
        audit::terminated(session.endpoint().name(), session.owner(), reason);
        session.mark_terminated();
        // Another object may have taken its place meanwhile: restored, before the tombstone was there.
        let held = self.live.pin().get(&session.key()).cloned().filter(|held| !Arc::ptr_eq(held, session));
        for ended in held.iter().chain([session]) {
            ended.mark_terminated();
            self.release(ended);
        }
        Ok(())
    }

    /// A credential was revoked: its streams and calls end, wherever they are, and with `sessions` also every session that was
    /// opened under the grant.
    pub(crate) async fn revoke(&self, revocation: &Revocation<'_>, sessions: bool) {
        for session in self.live.pin().values() {
            session.outbox.revoke(revocation);
            session.in_flight.revoke(revocation);
            session.parked.revoke(revocation);
        }
        if sessions {
            self.terminate_grant(revocation.grant).await;
        }
    }

    async fn terminate_grant(&self, grant: &str) {
        let opened: Vec<_> =
            self.live.pin().values().filter(|session| session.grant() == Some(grant)).cloned().collect();
        for session in opened {
            // Cut off at once; the tombstone follows. Should the store fail now, the revoked grant itself still keeps the
            // session from being restored.
            session.mark_terminated();
            if let Err(error) = self.terminate(&session, "grant_revoked").await {
                warn!(%error, "a session under a revoked grant could not be buried; it stays closed on this node");
            }
        }
    }

    /// Ends every session whose grant is found revoked.
    pub(crate) async fn recheck_grants(&self) {
        let Some(grants) = &self.config.grants else { return };
        let opened_under: HashSet<String> =
            self.live.pin().values().filter_map(|session| session.grant().map(str::to_owned)).collect();
        for grant in opened_under {
            match grants.is_revoked(&grant).await {
                Ok(true) => self.terminate_grant(&grant).await,
                Ok(false) => {}
                Err(error) => warn!(%error, "the grant of a session could not be looked up"),
            }
        }
    }

    /// Drops sessions whose time is up from memory. Their ids are refused by time alone.
    pub(crate) async fn sweep(&self) {
        let now = self.now();
        let over: Vec<_> = self.live.pin().values().filter(|session| is_over(session, now)).cloned().collect();
        for session in over {
            let _ordered = self.shard(session.key()).lock().await;
            if is_over(&session, now) {
                self.release(&session);
            }
        }
        for session in self.live.pin().values() {
            session.pending.expire();
            session.events.expire();
            session.parked.expire();
        }
    }

    /// Stops serving: streams end at once, calls get `grace` to finish, then everything of this node ends. The sessions
    /// themselves stay valid.
    pub(crate) async fn shut_down(&self, grace: Duration) {
        self.closing.store(true, Ordering::Release);
        let sessions: Vec<_> = self.live.pin().values().cloned().collect();
        for session in &sessions {
            session.outbox.close();
        }
        let finished = futures_util::future::join_all(sessions.iter().map(|session| session.in_flight.drained()));
        let _ = tokio::time::timeout(grace, finished).await;
        let ends = sessions.into_iter().map(|session| async move {
            self.note_use(&session).await;
            session.end().await;
        });
        if tokio::time::timeout(END_LIMIT, futures_util::future::join_all(ends)).await.is_err() {
            warn!("some backends did not let go in time");
        }
    }

    /// Writes when a session was last used and what its client asked for, so that both survive a restart.
    pub(crate) async fn note_use(&self, session: &Arc<Session>) {
        if session.is_pooled() {
            return;
        }
        let written: Result<bool, StoreError> = async {
            let key = row(session.key())?;
            let found = self.config.store.get(&key).await?;
            if let Some(bytes) = &found
                && !matches!(record::read(bytes, session.owner(), session.endpoint().path()), StoredSession::Live(_))
            {
                return Ok(false);
            }
            let ttl = session.expires().since(self.now()) + TOMBSTONE_MARGIN;
            let new = Some(session.to_record().to_bytes());
            // Compare-and-set: a tombstone written meanwhile must not be undone.
            self.config.store.compare_and_set(&key, found.as_deref(), new, Some(ttl)).await
        }
        .await;
        if let Err(error) = written {
            warn!(%error, "the time of a session's last use could not be stored");
        }
    }

    async fn bury(&self, key: SessionKey, owner: OwnerDigest, endpoint: &str) -> Result<(), StoreError> {
        let ttl = self.config.policy.lifetime + TOMBSTONE_MARGIN;
        self.config.store.put(&row(key)?, record::tombstone(owner, endpoint, self.now()), Some(ttl)).await
    }

    /// Puts a session into memory, in place of one of the same id that was set aside.
    fn insert(&self, session: &Arc<Session>) -> Arc<Session> {
        let replaced = self.live.pin().insert(session.key(), Arc::clone(session)).cloned();
        if let Some(replaced) = replaced {
            self.release(&replaced);
        }
        Arc::clone(session)
    }

    /// Takes a session out of memory and ends what hangs on it, without holding up the caller.
    fn release(&self, session: &Arc<Session>) {
        // Only this very object: its successor under the same id is another's to end.
        let _ = self.live.pin().remove_if(&session.key(), |_, held| Arc::ptr_eq(held, session));
        self.forget_pooled(session);
        session.ended().cancel();
        session.free_place();
        let session = Arc::clone(session);
        tokio::spawn(async move { session.end().await });
    }

    /// A place for one more session. Where none is free a quiet session makes way: it can be restored from its id, so nobody is
    /// logged out; only where all are busy is the new one refused.
    async fn place(&self, owner: OwnerDigest, authenticated: &Authenticated) -> Result<Place, Full> {
        let counted = (authenticated.principal().kind() != PrincipalKind::Anonymous).then_some(owner);
        for _ in 0..MAKING_ROOM_MAX {
            let full = match self.places.take(counted) {
                Ok(place) => return Ok(place),
                Err(full) => full,
            };
            let quiet = match full {
                Full::Owner => self.quietest(|session| session.owner() == owner),
                Full::Total => self.quietest(|_| true),
            };
            self.set_aside(&quiet.ok_or(full)?).await;
        }
        self.places.take(counted)
    }

    /// Gives up an idle child process of another session: of the same owner first, else of the one who has the most.
    pub(crate) fn take_an_idle_child(&self, except: &Session) -> Option<BackendSession> {
        let holders: Vec<_> = self.live.pin().values().filter(|session| session.children() > 0).cloned().collect();
        let mut of_owner: HashMap<[u8; OwnerDigest::BYTES], usize> = HashMap::new();
        for session in &holders {
            *of_owner.entry(*session.owner().as_bytes()).or_default() += session.children();
        }
        let mut others: Vec<_> = holders.iter().filter(|session| session.key() != except.key()).collect();
        others.sort_by_key(|session| {
            let count = of_owner.get(session.owner().as_bytes()).copied().unwrap_or(0);
            (session.owner() != except.owner(), std::cmp::Reverse(count), session.last_used())
        });
        others.into_iter().find_map(|session| session.take_an_idle_child())
    }

    async fn set_aside(&self, session: &Arc<Session>) {
        let _ordered = self.shard(session.key()).lock().await;
        self.note_use(session).await;
        // It may have become busy while its record was written.
        if session.is_quiet() {
            self.release(session);
        }
    }

    fn quietest(&self, of: impl Fn(&Session) -> bool) -> Option<Arc<Session>> {
        let live = self.live.pin();
        let quiet = live.values().filter(|session| of(session) && session.is_quiet());
        quiet.min_by_key(|session| session.last_used()).cloned()
    }

    fn shard(&self, key: SessionKey) -> &tokio::sync::Mutex<()> {
        // The key is random, so any byte spreads it evenly; the index stays below the number of shards.
        &self.shards[usize::from(key.0[0]) % SHARDS]
    }
}

fn refuse<T>(proven: Proven<SessionClaims>, standing: Standing, now: Timestamp) -> Result<T, AdmitError> {
    let owner = proven.owner();
    let refused = match proven.admit(standing, now) {
        Err(refused) => refused,
        // Only standings that refuse come here; should one not, nothing is handed out all the same.
        Ok(_) => Refused { reason: Refusal::Unknown, owner: Some(owner), presented_by: owner },
    };
    Err(AdmitError::Refused(refused))
}

/// A session that works is not idle, however long ago its owner last sent something.
fn is_over(session: &Session, now: Timestamp) -> bool {
    let idle = now.since(session.last_used()).as_secs() > session.idle_seconds() && session.is_idle();
    now >= session.expires() || idle
}

fn unknown_client() -> RawJson {
    RawJson::from_serialize(&serde_json::json!({ "name": "unknown", "version": "0" }))
        .unwrap_or_else(|_| RawJson::empty_object())
}

fn row(key: SessionKey) -> Result<Key, StoreError> {
    Key::new("session", &key.to_hex()).map_err(|error| hawser_store::Unavailable { reason: error.to_string() }.into())
}
