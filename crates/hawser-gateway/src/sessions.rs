//! All sessions of this node: opened by `initialize`, admitted at every request, ended by their owner, by time or by
//! revocation.
//!
//! [`Sessions::admit`] is the only way to a session. It decides ownership from the sealed id before it looks anything up, so a
//! stranger's request causes neither a store read nor a backend connection, and leaves the owner's session and timers alone.

mod draining;
mod ending;
mod grants;
mod pool;
mod recent;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use hawser_identity::Authenticated;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{
    Binding, Clock, Entropy, EntropyError, KeyRing, Owned, Proven, Refusal, Refused, SealError, Standing, Timestamp,
};
use hawser_store::{Key, Store, StoreError};
use thiserror::Error;
use tracing::warn;

use crate::allowance::Allowance;
use crate::audit;
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::client_kind::{ClientKind, ClientKinds, DECLARED_BYTES_MAX, Declared};
use crate::config::{Limits, SessionPolicy};
use crate::endpoint::Endpoint;
use crate::places::{Full, Place, Places};
use crate::record::{self, SessionRecord, StoredParts, StoredSession};
use crate::session::{Session, SessionParts, Workshop};

pub(crate) use pool::{PoolKey, Presence};

use ending::{TOMBSTONE_MARGIN, is_over};
use grants::OpenedUnder;
use recent::RecentRevocations;

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
    config: SessionsConfig,
    live: papaya::HashMap<SessionKey, Arc<Session>>,
    /// Sessions without an id, which are in `live` as well.
    pool: papaya::HashMap<PoolKey, Arc<Session>>,
    /// Passed by who adds to the pool.
    pool_gate: tokio::sync::Mutex<()>,
    places: Arc<Places>,
    /// Of sessions that hold more than themselves.
    at_work: Arc<Places>,
    listening: Arc<Places>,
    workshop: Arc<Workshop>,
    clients: Arc<ClientKinds>,
    grants: OpenedUnder,
    /// Where the next round through all sessions goes on.
    swept: AtomicUsize,
    draining: AtomicBool,
    closing: AtomicBool,
    revoked: RecentRevocations,
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

impl From<Full> for AdmitError {
    fn from(_: Full) -> Self {
        Self::NotNow
    }
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

impl From<Full> for OpenError {
    fn from(full: Full) -> Self {
        match full {
            Full::Owner => Self::TooManyOfOwner,
            Full::Total => Self::TooMany,
        }
    }
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
            places: Places::new(config.policy.per_owner, config.policy.total),
            at_work: Places::new(config.policy.per_owner, config.policy.at_work),
            listening: Places::new(config.limits.listeners.owner, config.limits.listeners.total),
            workshop: Workshop::new(config.limits, Allowance::new(config.limits.replay), weak.clone()),
            clients: ClientKinds::new(DECLARED_BYTES_MAX),
            grants: OpenedUnder::default(),
            swept: AtomicUsize::new(0),
            config,
            live: papaya::HashMap::new(),
            pool: papaya::HashMap::new(),
            pool_gate: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            revoked: RecentRevocations::default(),
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
        if self.is_draining() {
            return Err(OpenError::Stopping);
        }
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
        let place = self.place(authenticated).await?;
        let declared = Declared {
            revision: opening.revision,
            capabilities: opening.capabilities.clone(),
            client_info: opening.client_info.clone(),
        };
        let client = self.clients.of(&declared);
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
        let session = self.insert(&self.session(claims, endpoint, record, (client, expires), place, None)?);
        // A revocation that came while the session was being opened found nothing to end.
        if self.is_revoked(session.grant().map(AsRef::as_ref)).await? {
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
        let session = match live.filter(|session| session.is_terminated() || !session.is_ended()) {
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
        let place = self.place(authenticated).await?;
        let _ordered = self.shard(claims.key).lock().await;
        let held = self.live.pin().get(&claims.key).cloned();
        if let Some(session) = held.filter(|session| session.is_terminated() || !session.is_ended()) {
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
        let declared = Declared {
            revision: claims.revision,
            capabilities: record.capabilities.clone(),
            client_info: record.client_info.clone(),
        };
        let client = self.clients.of(&declared);
        let session = self.insert(&self.session(claims, endpoint, record, (client, proven.expires()), place, None)?);
        // Asked when the session can already be found: a revocation that comes from now on ends it by itself.
        match self.is_revoked(session.grant().map(AsRef::as_ref)).await {
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
        (client, expires): (Arc<ClientKind>, Timestamp),
        place: Place,
        pooled: Option<PoolKey>,
    ) -> Result<Arc<Session>, StoreError> {
        let mut epoch = [0; 8];
        let unavailable = |error: EntropyError| hawser_store::Unavailable { reason: error.to_string() };
        self.entropy().fill(&mut epoch).map_err(unavailable)?;
        let (endpoint, epoch) = (Arc::clone(endpoint), u64::from_be_bytes(epoch));
        let parts = SessionParts { claims, endpoint, record, client, expires, place, epoch, pooled };
        Ok(Session::new(parts, Arc::clone(&self.workshop)))
    }

    async fn is_revoked(&self, grant: Option<&str>) -> Result<bool, StoreError> {
        match (grant, &self.config.grants) {
            (Some(grant), Some(grants)) => grants.is_revoked(grant).await,
            _ => Ok(false),
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

    /// Puts a session into memory, in place of one of the same id that was set aside.
    fn insert(&self, session: &Arc<Session>) -> Arc<Session> {
        if let Some(grant) = session.grant() {
            self.grants.add(grant, session.key());
        }
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
        if let Some(grant) = session.grant()
            && !self.live.pin().contains_key(&session.key())
        {
            self.grants.remove(grant, session.key());
        }
        session.ended().cancel();
        session.free_place();
        let session = Arc::clone(session);
        tokio::spawn(async move { session.end().await });
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

fn unknown_client() -> RawJson {
    RawJson::from_serialize(&serde_json::json!({ "name": "unknown", "version": "0" }))
        .unwrap_or_else(|_| RawJson::empty_object())
}

fn row(key: SessionKey) -> Result<Key, StoreError> {
    Key::new("session", &key.to_hex()).map_err(|error| hawser_store::Unavailable { reason: error.to_string() }.into())
}
