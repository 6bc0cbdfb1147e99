//! All sessions of this node: opened by `initialize`, admitted at every request, ended by their owner, by time or by
//! revocation.
//!
//! [`Sessions::admit`] is the only way to a session. It decides ownership from the sealed id before it looks anything up, so a
//! stranger's request causes neither a store read nor a backend connection, and leaves the owner's session and timers alone.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use hawser_identity::Authenticated;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{
    Binding, Clock, Entropy, KeyRing, Owned, OwnerDigest, Proven, Refusal, Refused, SealError, Standing, Timestamp,
};
use hawser_store::{Key, Store, StoreError};
use thiserror::Error;
use tracing::warn;

use crate::audit;
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::config::{Limits, SessionPolicy};
use crate::endpoint::Endpoint;
use crate::record::{self, SessionRecord, StoredSession};
use crate::session::{Session, SessionParts};

/// A tombstone outlives the handle by this much, for clocks that differ.
const TOMBSTONE_MARGIN: Duration = Duration::from_mins(5);
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
    per_owner: Mutex<HashMap<[u8; OwnerDigest::BYTES], usize>>,
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
}

/// Why no session can be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("you have as many busy sessions as you may; end one first")]
    TooManyOfOwner,
    #[error("the gateway has as many busy sessions as it may; try again later")]
    TooMany,
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
            config,
            live: papaya::HashMap::new(),
            per_owner: Mutex::default(),
            shards: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.config.clock)()
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
        self.make_room(owned.owner()).await?;
        let record = SessionRecord {
            owner: owned.owner(),
            endpoint: endpoint.path().to_owned(),
            last_used: now,
            grant: authenticated.grant().map(str::to_owned),
            capabilities: opening.capabilities,
            client_info: opening.client_info,
        };
        self.config.store.put(&row(key)?, record.to_bytes(), Some(policy.lifetime + TOMBSTONE_MARGIN)).await?;
        let parts = SessionParts { claims, endpoint: Arc::clone(endpoint), record, expires };
        let session = self.insert(&Session::new(parts, &self.config.limits, Weak::clone(&self.weak)));
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
        let live = self.live.pin().get(&proven.claims().key).cloned();
        let session = match live {
            Some(session) => session,
            None => match self.restore(&proven, endpoint).await? {
                Ok(session) => session,
                Err(standing) => return refuse(proven, standing, now),
            },
        };
        let standing = if session.ended().is_cancelled() {
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
    ) -> Result<Result<Arc<Session>, Standing>, StoreError> {
        let claims = *proven.claims();
        let _ordered = self.shard(claims.key).lock().await;
        if let Some(session) = self.live.pin().get(&claims.key).cloned() {
            return Ok(Ok(session));
        }
        let key = row(claims.key)?;
        let stored = match self.config.store.get(&key).await? {
            // A sealed id without a record: the record is lost, the seal still proves whose it is.
            None => {
                StoredSession::Live { last_used: proven.issued(), grant: None, capabilities: None, client_info: None }
            }
            Some(bytes) => record::read(&bytes, proven.owner(), endpoint.path()),
        };
        match stored {
            StoredSession::Terminated => Ok(Err(Standing::Terminated)),
            StoredSession::Foreign => {
                // Removed by being replaced: a deleted row would let the next request claim the id by its seal alone.
                self.bury(claims.key, proven.owner(), endpoint.path()).await?;
                audit::foreign_record(endpoint.name(), proven.owner());
                Ok(Err(Standing::ForeignRecord))
            }
            StoredSession::Live { last_used, grant, capabilities, client_info } => {
                if let (Some(grant), Some(grants)) = (&grant, &self.config.grants)
                    && grants.is_revoked(grant).await?
                {
                    self.bury(claims.key, proven.owner(), endpoint.path()).await?;
                    return Ok(Err(Standing::Terminated));
                }
                let standing = Standing::Live { last_used, idle_seconds: u64::from(claims.idle_seconds) };
                if self.now().since(last_used).as_secs() > u64::from(claims.idle_seconds) {
                    return Ok(Err(standing));
                }
                let record = SessionRecord {
                    owner: proven.owner(),
                    endpoint: endpoint.path().to_owned(),
                    last_used,
                    grant,
                    capabilities: capabilities.unwrap_or_else(|| claims.capabilities.to_capabilities()),
                    client_info: client_info.unwrap_or_else(unknown_client),
                };
                let parts = SessionParts { claims, endpoint: Arc::clone(endpoint), record, expires: proven.expires() };
                Ok(Ok(self.insert(&Session::new(parts, &self.config.limits, Weak::clone(&self.weak)))))
            }
        }
    }

    /// Ends a session for good: the tombstone is durable before anything else happens.
    pub(crate) async fn terminate(&self, session: &Arc<Session>, reason: &'static str) -> Result<(), StoreError> {
        let _ordered = self.shard(session.key()).lock().await;
        self.bury(session.key(), session.owner(), session.endpoint().path()).await?;
        audit::terminated(session.endpoint().name(), session.owner(), reason);
        self.release(session);
        Ok(())
    }

    /// Ends every session that was opened under a revoked grant.
    pub(crate) async fn terminate_grant(&self, grant: &str) {
        let opened: Vec<_> =
            self.live.pin().values().filter(|session| session.grant() == Some(grant)).cloned().collect();
        for session in opened {
            // Cut off at once; the tombstone follows. Should the store fail now, the revoked grant itself still keeps the
            // session from being restored.
            session.ended().cancel();
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
    }

    /// Ends all streams and backend sessions of this node; the sessions themselves stay valid.
    pub(crate) async fn shut_down(&self) {
        let sessions: Vec<_> = self.live.pin().values().cloned().collect();
        let ends = sessions.into_iter().map(|session| async move {
            self.note_use(&session).await;
            session.end().await;
        });
        futures_util::future::join_all(ends).await;
    }

    /// Writes when a session was last used, so that its idle time survives a restart.
    async fn note_use(&self, session: &Arc<Session>) {
        let written: Result<bool, StoreError> = async {
            let key = row(session.key())?;
            let found = self.config.store.get(&key).await?;
            if let Some(bytes) = &found
                && !matches!(
                    record::read(bytes, session.owner(), session.endpoint().path()),
                    StoredSession::Live { .. }
                )
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

    fn insert(&self, session: &Arc<Session>) -> Arc<Session> {
        let live = self.live.pin();
        let held = live.get_or_insert(session.key(), Arc::clone(session));
        if Arc::ptr_eq(held, session) {
            *self.counts().entry(*session.owner().as_bytes()).or_default() += 1;
        }
        Arc::clone(held)
    }

    /// Takes a session out of memory and ends what hangs on it, without holding up the caller.
    fn release(&self, session: &Arc<Session>) {
        if self.live.pin().remove(&session.key()).is_some() {
            let mut counts = self.counts();
            let owner = session.owner();
            if let Some(count) = counts.get_mut(owner.as_bytes()) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(owner.as_bytes());
                }
            }
        }
        session.ended().cancel();
        let session = Arc::clone(session);
        tokio::spawn(async move { session.end().await });
    }

    /// Makes room for one more session of this owner. A quiet one makes way first: it can be restored from its id, so nobody
    /// is logged out; only where all are busy is the new one refused.
    async fn make_room(&self, owner: OwnerDigest) -> Result<(), OpenError> {
        let of_owner = self.counts().get(owner.as_bytes()).copied().unwrap_or(0);
        if of_owner >= self.config.policy.per_owner {
            let quiet = self.quietest(|session| session.owner() == owner).ok_or(OpenError::TooManyOfOwner)?;
            self.set_aside(&quiet).await;
        } else if self.live.len() >= self.config.policy.total {
            let quiet = self.quietest(|_| true).ok_or(OpenError::TooMany)?;
            self.set_aside(&quiet).await;
        }
        Ok(())
    }

    /// Stops the child processes of the quietest other session that has any.
    pub(crate) async fn free_a_child(&self, except: SessionKey) -> bool {
        match self.quietest(|session| session.key() != except && session.holds_a_child()) {
            Some(quiet) => {
                quiet.stop_children().await;
                true
            }
            None => false,
        }
    }

    async fn set_aside(&self, session: &Arc<Session>) {
        let _ordered = self.shard(session.key()).lock().await;
        self.note_use(session).await;
        self.release(session);
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

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; OwnerDigest::BYTES], usize>> {
        self.per_owner.lock().unwrap_or_else(PoisonError::into_inner)
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

fn is_over(session: &Session, now: Timestamp) -> bool {
    now >= session.expires() || now.since(session.last_used()).as_secs() > session.idle_seconds()
}

fn unknown_client() -> RawJson {
    RawJson::from_serialize(&serde_json::json!({ "name": "unknown", "version": "0" }))
        .unwrap_or_else(|_| RawJson::empty_object())
}

fn row(key: SessionKey) -> Result<Key, StoreError> {
    Key::new("session", &key.to_hex()).map_err(|error| hawser_store::Unavailable { reason: error.to_string() }.into())
}
