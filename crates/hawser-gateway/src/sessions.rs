//! All sessions of this node: opened by `initialize`, admitted at every request, ended by their owner, by time or by
//! revocation.
//!
//! [`Sessions::admit`] is the only way to a session. It decides ownership from the sealed id before it looks anything up, so a
//! stranger's request causes neither a store read nor a backend connection, and leaves the owner's session and timers alone.

mod announced;
mod draining;
mod ended;
mod ending;
mod grants;
mod listing;
#[cfg(test)]
mod model;
mod pool;
mod recent;
mod restoring;
mod revoking;
mod room;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use hawser_identity::Authenticated;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{
    Binding, Clock, Entropy, EntropyError, KeyId, KeyRing, LocalOwner, Owned, Principal, Proven, Refusal, Refused,
    SealError, Standing, Timestamp,
};
use hawser_store::{Journal, Key, Store, StoreError};
use thiserror::Error;
use tracing::warn;

use crate::allowance::Allowance;
use crate::audit;
use crate::checked::Checked;
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::client_kind::{ClientKind, ClientKinds, DECLARED_BYTES_MAX, Declared};
use crate::config::{Limits, SessionPolicy};
use crate::endpoint::Endpoint;
use crate::gate::Entered;
use crate::hearsay::Hearsay;
use crate::nodes::Nodes;
use crate::places::{Full, Place, Places};
use crate::record::{self, Anew, SessionRecord, StoredSession};
use crate::relay::EXCHANGES_MAX;
use crate::session::{Session, SessionParts, Workshop};

pub(crate) use pool::{PoolKey, Presence};

pub use listing::{SessionInfo, SessionPage};
pub use revoking::{Revoked, Selection};

use ended::Ended;
use ending::{TOMBSTONE_MARGIN, is_over};
use grants::OpenedUnder;
use recent::RecentRevocations;
use upkeep::Upkeep;

/// Locks that order restoring and ending of sessions; a session always uses the same one.
const SHARDS: usize = 64;
/// How often a request tries to enter a session that is being set aside, should it be restored and set aside again.
const ENTER_ATTEMPTS: usize = 4;
/// Requests of one owner that may be on their way to other nodes.
const BROUGHT_PER_OWNER: usize = 128;

/// Whether a grant of the embedded authorization server still stands.
#[async_trait]
pub trait Grants: Send + Sync {
    /// Has the grant been revoked?
    async fn is_revoked(&self, grant: &str) -> Result<bool, StoreError>;
}

/// What sessions are made with.
pub(crate) struct SessionsConfig {
    /// This node and the others.
    pub(crate) nodes: Nodes,
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
    /// Of calls that wait for their client's input.
    parked: Arc<Places>,
    /// Of requests that are on their way to another node.
    bringing: Arc<Places>,
    workshop: Arc<Workshop>,
    clients: Arc<ClientKinds>,
    grants: OpenedUnder,
    /// Where the next round through all sessions goes on.
    swept: AtomicUsize,
    draining: AtomicBool,
    closing: AtomicBool,
    revoked: RecentRevocations,
    ended: Ended,
    upkeep: Upkeep,
    hearsay: Hearsay,
    /// How nodes tell one another; there are no others unless the store is shared.
    journal: Option<Journal>,
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
        let journal = config.store.is_shared().then(|| Journal::new(Arc::clone(&config.store), announced::JOURNAL));
        Arc::new_cyclic(|weak| Self {
            places: Places::new(config.policy.per_owner, config.policy.total),
            at_work: Places::new(config.policy.per_owner, config.policy.at_work),
            listening: Places::new(config.limits.listeners.owner, config.limits.listeners.total),
            parked: Places::new(config.limits.parked.owner, config.limits.parked.total),
            bringing: Places::new(BROUGHT_PER_OWNER, EXCHANGES_MAX),
            workshop: Workshop::new(
                &config.limits,
                Allowance::new(config.limits.replay),
                config.nodes.clone(),
                weak.clone(),
            ),
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
            ended: Ended::default(),
            upkeep: Upkeep::default(),
            hearsay: Hearsay::default(),
            journal,
            shards: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.clock)()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.config.store
    }

    pub(crate) const fn nodes(&self) -> &Nodes {
        &self.config.nodes
    }

    /// What is to be told to sessions that cannot hear it themselves.
    pub(crate) const fn hearsay(&self) -> &Hearsay {
        &self.hearsay
    }

    /// The sessions of an owner that this node holds.
    pub(crate) fn sessions_of(&self, owner: LocalOwner) -> Vec<Arc<Session>> {
        self.places.of(owner)
    }

    /// The sessions that hold more than themselves: whoever listens here is among them.
    pub(crate) fn sessions_at_work(&self) -> Vec<Arc<Session>> {
        self.workshop.at_work()
    }

    /// By what anonymous callers are known.
    pub(crate) fn anonymous(&self) -> LocalOwner {
        self.ring().local_owner(&Principal::anonymous())
    }

    /// A session that is live on this node, for what other nodes tell of it: who asks on behalf of a client has to be admitted.
    pub(crate) fn live_session(&self, key: SessionKey) -> Option<Arc<Session>> {
        self.live.pin().get(&key).filter(|session| !session.is_ended()).cloned()
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
        let opened = self.opened_now(endpoint, authenticated.principal());
        let expires = now.plus(policy.lifetime);
        let binding =
            Binding { endpoint: endpoint.id(), principal: authenticated.principal(), issued: opened, expires };
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
            opened,
            expires,
            last_used: now,
            grant: authenticated.grant().map(str::to_owned),
            capabilities: opening.capabilities,
            client_info: opening.client_info,
            log_level: None,
            subscriptions: BTreeMap::new(),
        };
        self.config.store.put(&row(key)?, record.to_bytes(), Some(policy.lifetime + TOMBSTONE_MARGIN)).await?;
        let checked = Checked::now(self.upkeep.round());
        let session = self.insert(&self.session(
            (claims, owned.owner_key()),
            endpoint,
            record,
            (client, checked),
            place,
            None,
        )?);
        // A revocation that came while the session was being opened found nothing to end.
        if self.is_revoked(session.grant()).await? || self.is_known_to_be_over(&session) {
            self.terminate(&session, "revoked").await?;
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
    ) -> Result<Owned<Entered>, AdmitError> {
        let now = self.now();
        let proven = self
            .ring()
            .open::<SessionClaims>(presented, endpoint.id(), authenticated.principal(), now)
            .map_err(AdmitError::Refused)?;
        if self.is_closing() {
            return Err(AdmitError::NotNow);
        }
        for _ in 0..ENTER_ATTEMPTS {
            let live = self.live.pin().get(&proven.claims().key).cloned();
            let live = live.filter(|session| session.is_terminated() || !session.is_ended());
            let entered = match live {
                Some(session) if session.is_terminated() => return refuse(proven, Standing::Terminated, now),
                Some(session) => Entered::into(&session),
                // A session that was set aside a moment ago is restored like any that this node does not hold.
                None => match self.restore(&proven, endpoint, authenticated).await? {
                    Ok(entered) => Some(entered),
                    Err(standing) => return refuse(proven, standing, now),
                },
            };
            if let Some(entered) = entered {
                return self.weigh(proven, entered, now).await;
            }
            // It is being set aside. Wait until it is.
            drop(self.shard(proven.claims().key).lock().await);
        }
        Err(AdmitError::NotNow)
    }

    /// The last step of admission: whether the session still stands.
    async fn weigh(
        &self,
        proven: Proven<SessionClaims>,
        session: Entered,
        now: Timestamp,
    ) -> Result<Owned<Entered>, AdmitError> {
        let idle_seconds = session.idle_seconds();
        // Unused here for too long. It may have been in use on another node.
        if now.since(session.last_used()).as_secs() > idle_seconds && self.config.store.is_shared() {
            match self.look_for_use(&session).await {
                Ok(true) => {}
                // As if this node did not hold it: the seal is enough, and it is looked up later.
                Ok(false) | Err(StoreError::Unavailable(_)) => {
                    session.used_elsewhere(now);
                    session.checked.doubt();
                }
                Err(error) => return Err(error.into()),
            }
        }
        let standing = if session.is_terminated() {
            Standing::Terminated
        } else {
            Standing::Live { last_used: session.last_used(), idle_seconds }
        };
        let owned = proven.admit(standing, now).map_err(AdmitError::Refused)?;
        // Neither is waited for: a known session costs no store access.
        if session.touch(now) {
            self.note_soon(&session);
        }
        self.check_soon(&session);
        Ok(owned.map(|_| session))
    }

    /// A session of this node.
    fn session(
        &self,
        (claims, sealed_under): (SessionClaims, KeyId),
        endpoint: &Arc<Endpoint>,
        record: SessionRecord,
        (client, checked): (Arc<ClientKind>, Checked),
        place: Place,
        pooled: Option<PoolKey>,
    ) -> Result<Arc<Session>, StoreError> {
        let mut epoch = [0; 8];
        let unavailable = |error: EntropyError| hawser_store::Unavailable { reason: error.to_string() };
        self.entropy().fill(&mut epoch).map_err(unavailable)?;
        let (endpoint, epoch) = (Arc::clone(endpoint), u64::from_be_bytes(epoch));
        let parts = SessionParts { claims, sealed_under, endpoint, record, client, checked, place, epoch, pooled };
        Ok(Session::new(parts, Arc::clone(&self.workshop)))
    }

    async fn is_revoked(&self, grant: Option<&Arc<str>>) -> Result<bool, StoreError> {
        match (grant, &self.config.grants) {
            (Some(grant), Some(grants)) => grants.is_revoked(grant).await,
            _ => Ok(false),
        }
    }

    /// Writes when a session was last used and what its client asked for, so that both survive a restart.
    pub(crate) async fn note_wishes(&self, session: &Arc<Session>) {
        self.note(session, Anew::Wishes).await;
    }

    /// Writes when a session was last used.
    pub(super) async fn note_use(&self, session: &Arc<Session>) {
        self.note(session, Anew::Use).await;
    }

    async fn note(&self, session: &Arc<Session>, anew: Anew) {
        if session.is_pooled() {
            return;
        }
        if let Err(error) = self.write(session, anew).await {
            warn!(%error, "the time of a session's last use could not be stored");
        }
    }

    /// Writes a session's row, in place of the one that is there. Never over a tombstone, nor over what is not understood.
    async fn write(&self, session: &Arc<Session>, anew: Anew) -> Result<bool, StoreError> {
        let key = row(session.key())?;
        let found = self.config.store.get(&key).await?;
        let record = session.to_record();
        let new = match &found {
            None if session.is_terminated() || self.is_known_to_be_over(session) => return Ok(false),
            None => record.to_bytes(),
            Some(found) => match record::read(found, session.owner(), session.endpoint().path()) {
                StoredSession::Live(_) if session.checked.is_little() && anew == Anew::Use => {
                    record.over(found, Anew::Little)
                }
                StoredSession::Live(_) => record.over(found, anew),
                StoredSession::Terminated => {
                    self.cut_off(session, "ended_elsewhere");
                    return Ok(false);
                }
                StoredSession::Newer | StoredSession::Foreign => return Ok(false),
            },
        };
        let ttl = session.expires().since(self.now()) + TOMBSTONE_MARGIN;
        // Compare-and-set: a tombstone written meanwhile must not be undone.
        self.config.store.compare_and_set(&key, found.as_deref(), Some(new), Some(ttl)).await
    }

    /// Whether a session is over by what this node remembers.
    fn is_known_to_be_over(&self, session: &Session) -> bool {
        self.ended.holds(session.key(), &session.owner().to_hex(), session.endpoint().path(), session.opened())
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
        for upstream in session.upstreams() {
            session.falls_silent(upstream.position());
        }
        session.mark_ended();
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

fn row(key: SessionKey) -> Result<Key, StoreError> {
    Key::new("session", &key.to_hex()).map_err(|error| hawser_store::Unavailable { reason: error.to_string() }.into())
}
