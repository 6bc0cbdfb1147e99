//! The keys that sign tokens (ES256), kept sealed in the store so that all nodes and all restarts share them.
//!
//! One row holds all keys. When they come and go is decided in `schedule`; each change is one compare-and-set, so that nodes
//! agree. Each node reads the row again all the time, and what it remembers outlives the row: a store that was flushed gets the
//! keys back, so that no token dies of it. Keys are sealed anew when their ring key is retired.

mod key;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hawser_owner::{Clock, Entropy, EntropyError, KeyRing, KeyState, Timestamp};
use hawser_store::StoreError;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::key::{Material, Point};
pub(crate) use self::schedule::PUBLISHED_MAX_AGE;
pub use self::schedule::SigningKeyState;
use self::schedule::{KEYS_MAX, KeySet, Policy, STALE, StoredKey};
use crate::config::AuthServerConfig;
use crate::rows::{Found, Row, Rows};

const ROW_ID: &str = "signing";
/// How often the row is read where other nodes may change it; where none does, only time brings anything new.
const LOOK_SHARED: Duration = Duration::from_secs(1);
const LOOK_ALONE: Duration = Duration::from_secs(10);
/// How often a change is tried while others change the row too.
const ATTEMPTS: usize = 16;

impl Row for KeySet {
    const FAMILY: &'static str = "as-keys";
}

/// Why the signing keys cannot be had or changed.
#[derive(Debug, Error)]
pub enum SigningKeysError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// They were sealed under a key that the ring does not have.
    #[error("a stored signing key does not open under this key ring")]
    Sealed,
    /// Not of a form that is known here.
    #[error("the stored signing keys are of an unknown form")]
    Form,
    /// The cryptographic library refused.
    #[error("a signing key cannot be made or read")]
    Key,
    /// Other nodes were quicker each time.
    #[error("the signing keys are being changed by other nodes")]
    Busy,
    /// There is no such key.
    #[error("there is no signing key {0:?}")]
    Unknown(String),
}

/// A signing key, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyInfo {
    /// Its id, as in the header of tokens.
    pub kid: String,
    /// Where it is in its life.
    pub state: SigningKeyState,
    /// When it was made.
    pub created: Timestamp,
    /// Since when it is in this state.
    pub since: Timestamp,
}

/// What is to be done to the keys, besides what is due.
#[derive(Clone, Copy)]
enum Order<'a> {
    Nothing,
    Rotate,
    Remove(&'a str),
}

/// The keys, as all nodes agree on them.
pub(crate) struct SigningKeys {
    shelf: Shelf,
    current: ArcSwap<KeysNow>,
    /// When the row was last read, in seconds.
    read: AtomicU64,
    gate: tokio::sync::Mutex<()>,
    removals: watch::Sender<u64>,
}

/// What the keys are kept with.
struct Shelf {
    rows: Rows,
    ring: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
    clock: Clock,
    policy: Policy,
}

/// The keys of one moment.
pub(crate) struct KeysNow {
    set: KeySet,
    materials: Vec<Material>,
    active: (String, EncodingKey),
    verifying: Vec<(String, DecodingKey)>,
    jwks: Bytes,
}

impl SigningKeys {
    /// Reads the keys, or makes the first one.
    pub(crate) async fn open(
        config: &AuthServerConfig,
        rows: Rows,
        ring: Arc<KeyRing>,
        entropy: Arc<dyn Entropy>,
        clock: Clock,
    ) -> Result<Self, SigningKeysError> {
        let policy = Policy { lifetime: config.signing_key_lifetime, tokens: config.access_token_lifetime };
        let shelf = Shelf { rows, ring, entropy, clock, policy };
        let read = AtomicU64::new((shelf.clock)().seconds());
        let current = shelf.agree(None, Order::Nothing).await?;
        Ok(Self {
            shelf,
            current: ArcSwap::from_pointee(current),
            read,
            gate: tokio::sync::Mutex::default(),
            removals: watch::Sender::default(),
        })
    }

    /// The keys as this node knows them.
    pub(crate) fn now(&self) -> Arc<KeysNow> {
        self.current.load_full()
    }

    /// The keys to sign with. Who could not read the row for a while must not sign: others may have retired or removed the key.
    pub(crate) async fn to_sign(&self) -> Result<Arc<KeysNow>, SigningKeysError> {
        if self.shelf.rows.are_shared() && self.age() > STALE {
            self.agree(Order::Nothing).await?;
        }
        Ok(self.now())
    }

    /// The published set, with what other nodes did to it a moment ago. An outage of the store is no reason not to tell it.
    pub(crate) async fn jwks(&self) -> Bytes {
        if self.shelf.rows.are_shared() && self.age() >= LOOK_SHARED {
            let _ = self.agree(Order::Nothing).await;
        }
        self.now().jwks()
    }

    /// Does what is due, and learns what others did, until dropped.
    pub(crate) async fn follow(&self) {
        let mut every = tokio::time::interval(if self.shelf.rows.are_shared() { LOOK_SHARED } else { LOOK_ALONE });
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            every.tick().await;
            let agreed = self.agree(Order::Nothing).await;
            if let (Err(error), false) = (&agreed, failing) {
                error!(%error, "the signing keys cannot be read; those of before stay in use for a while");
            }
            failing = agreed.is_err();
        }
    }

    pub(crate) fn list(&self) -> Vec<SigningKeyInfo> {
        let keys = &self.now().set.keys;
        let info = |key: &StoredKey| SigningKeyInfo {
            kid: key.kid.clone(),
            state: key.state,
            created: key.created,
            since: key.since,
        };
        keys.iter().map(info).collect()
    }

    pub(crate) async fn rotate(&self) -> Result<(), SigningKeysError> {
        self.agree(Order::Rotate).await
    }

    pub(crate) async fn remove(&self, kid: &str) -> Result<(), SigningKeysError> {
        self.agree(Order::Remove(kid)).await
    }

    pub(crate) fn removals(&self) -> watch::Receiver<u64> {
        self.removals.subscribe()
    }

    fn age(&self) -> Duration {
        (self.shelf.clock)().since(Timestamp::from_seconds(self.read.load(Ordering::Acquire)))
    }

    async fn agree(&self, order: Order<'_>) -> Result<(), SigningKeysError> {
        let _one_at_a_time = self.gate.lock().await;
        let before = self.now();
        // From before the row is read, so that it is never believed for too long.
        let begun = (self.shelf.clock)().seconds();
        let now = self.shelf.agree(Some(&before), order).await?;
        self.read.store(begun, Ordering::Release);
        if now.set == before.set {
            return Ok(());
        }
        tell(&before.set, &now.set);
        let removed = before.set.keys.iter().any(|key| now.set.removed.contains(&key.kid));
        self.current.store(Arc::new(now));
        if removed {
            self.removals.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys").field("keys", &self.list()).finish_non_exhaustive()
    }
}

fn tell(before: &KeySet, now: &KeySet) {
    for key in &now.keys {
        let known = before.keys.iter().find(|known| known.kid == key.kid);
        if known.is_none_or(|known| known.state != key.state) {
            info!(kid = key.kid, state = key.state.as_str(), "a signing key");
        }
    }
    for key in before.keys.iter().filter(|key| !now.has(&key.kid)) {
        if now.removed.contains(&key.kid) {
            warn!(kid = key.kid, "a signing key was removed: what it signed is refused");
        } else {
            info!(kid = key.kid, "a signing key is gone: all that it signed has expired");
        }
    }
}

impl Shelf {
    /// What all nodes agree on now: the row, with what this node remembers, what is ordered and what is due.
    async fn agree(&self, held: Option<&KeysNow>, order: Order<'_>) -> Result<KeysNow, SigningKeysError> {
        for _ in 0..ATTEMPTS {
            let stored = match self.rows.find::<KeySet>(ROW_ID).await? {
                Found::Absent => None,
                Found::Row(loaded) => Some(loaded),
                Found::Foreign => return Err(SigningKeysError::Form),
            };
            let row = stored.as_ref().map(|loaded| &loaded.row);
            if row.is_some_and(|row| row.keys.len() > KEYS_MAX) {
                return Err(SigningKeysError::Form);
            }
            let mut materials = held.map(|held| held.materials.clone()).unwrap_or_default();
            let set = self.next(row, held.map(|held| &held.set), order, &mut materials)?;
            let written = match (&stored, row == Some(&set)) {
                (_, true) => true,
                (None, _) => self.rows.create(ROW_ID, &set, None).await?,
                (Some(loaded), _) => self.rows.replace(ROW_ID, loaded, &set, None).await?,
            };
            if written {
                materials.retain(|material| set.has(&material.kid));
                return KeysNow::new(set, materials);
            }
        }
        Err(SigningKeysError::Busy)
    }

    /// The set that is to be; `materials` gets what is needed of it.
    fn next(
        &self,
        row: Option<&KeySet>,
        remembered: Option<&KeySet>,
        order: Order<'_>,
        materials: &mut Vec<Material>,
    ) -> Result<KeySet, SigningKeysError> {
        let now = (self.clock)();
        let mut set = row.or(remembered).cloned().unwrap_or_default();
        if let Some(remembered) = remembered {
            set = set.completed(remembered, now).unwrap_or(set);
        }
        set = match order {
            Order::Nothing => set,
            Order::Rotate => set.rotated(|state| self.make(state, now, materials))?.unwrap_or(set),
            Order::Remove(kid) if !set.has(kid) => return Err(SigningKeysError::Unknown(kid.to_owned())),
            Order::Remove(kid) => set.without(kid).unwrap_or(set),
        };
        // What is due at once is a few steps; the rest can wait for the next look.
        for _ in 0..4 {
            match set.step(now, &self.policy, |state| self.make(state, now, materials))? {
                Some(next) => set = next,
                None => break,
            }
        }
        for key in &mut set.keys {
            let material = match materials.iter().find(|material| material.kid == key.kid).cloned() {
                Some(material) => material,
                None => Material::open(key, &self.ring)?,
            };
            if self.is_to_be_sealed_anew(key) {
                key.sealed = material.seal(&self.ring, self.entropy.as_ref())?;
            }
            if !materials.iter().any(|known| known.kid == material.kid) {
                materials.push(material);
            }
        }
        Ok(set)
    }

    fn make(
        &self,
        state: SigningKeyState,
        now: Timestamp,
        materials: &mut Vec<Material>,
    ) -> Result<StoredKey, SigningKeysError> {
        let material = Material::generate()?;
        let sealed = material.seal(&self.ring, self.entropy.as_ref())?;
        let (kid, tokens) = (material.kid.clone(), self.policy.tokens.as_secs());
        materials.push(material);
        Ok(StoredKey { kid, state, created: now, since: now, tokens, sealed })
    }

    /// Only what is sealed under a ring key that is retired or gone: one that this node does not seal with yet may be active
    /// elsewhere already.
    fn is_to_be_sealed_anew(&self, key: &StoredKey) -> bool {
        let states = self.ring.states();
        let state = key::sealed_under(key).and_then(|id| states.iter().find(|(known, _)| *known == id));
        state.is_none_or(|(_, state)| *state == KeyState::Retired)
    }
}

impl KeysNow {
    fn new(set: KeySet, materials: Vec<Material>) -> Result<Self, SigningKeysError> {
        let active = set.active().map(|key| key.kid.clone()).ok_or(SigningKeysError::Form)?;
        let mut signing = None;
        let mut verifying = Vec::with_capacity(materials.len());
        let mut published = Vec::with_capacity(materials.len());
        for key in &set.keys {
            let material = materials.iter().find(|material| material.kid == key.kid).ok_or(SigningKeysError::Key)?;
            let point = Point::of(material.der())?;
            let decoding = DecodingKey::from_ec_components(&point.x, &point.y).map_err(|_| SigningKeysError::Key)?;
            verifying.push((key.kid.clone(), decoding));
            published.push(point.jwk());
            if key.kid == active {
                signing = Some(EncodingKey::from_ec_der(material.der()));
            }
        }
        let active = (active, signing.ok_or(SigningKeysError::Key)?);
        let jwks = json!({ "keys": published }).to_string().into();
        Ok(Self { set, materials, active, verifying, jwks })
    }

    /// The key that signs, with its id.
    pub(crate) const fn active(&self) -> (&str, &EncodingKey) {
        (self.active.0.as_str(), &self.active.1)
    }

    /// The key of an id.
    pub(crate) fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.iter().find(|(known, _)| known == kid).map(|(_, key)| key)
    }

    /// The JWK set (RFC 7517 section 5), public parts only.
    pub(crate) fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }
}
