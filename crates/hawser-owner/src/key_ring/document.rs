//! A key ring as it is kept in a file or environment variable, and the steps of a key's life in it.
//!
//! Each step is one that nodes may learn at different times without losing anybody, as long as a key is published on all of
//! them before it is activated: a node that knows a key opens what was made under it, whatever state the key has there.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::{KEYS_MAX, KeyRing, SECRET_BYTES};
use crate::entropy::{Entropy, EntropyError};
use crate::time::Timestamp;

/// Names a key of the ring; travels in clear in every handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Known to every node, opens, does not seal yet.
    Published,
    /// Seals and opens; exactly one key is active.
    Active,
    /// Opens what it once sealed.
    Retired,
}

/// One key as it is kept in a file or environment variable.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingKeyDocument {
    /// The key's id, unique in the ring.
    pub id: KeyId,
    /// Where the key is in its life.
    pub state: KeyState,
    /// 32 random bytes, base64url without padding.
    pub secret: String,
    /// When it was made, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Since when it is in this state, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl fmt::Debug for RingKeyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingKeyDocument").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Drop for RingKeyDocument {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// A key ring as it is kept in a file or environment variable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRingDocument {
    /// The keys, one of them active.
    pub keys: Vec<RingKeyDocument>,
}

/// What is wrong with a key ring.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KeyRingError {
    /// There is no active key, or more than one.
    #[error("a key ring needs exactly one active key, this one has {0}")]
    ActiveKeys(usize),
    /// Two keys share an id.
    #[error("key id {0} occurs twice in the key ring")]
    DuplicateId(KeyId),
    /// A secret is not 32 bytes of base64url.
    #[error("the secret of key {0} is not 32 bytes in base64url")]
    Secret(KeyId),
    /// Too many keys.
    #[error("a key ring holds at most {KEYS_MAX} keys")]
    TooManyKeys,
    /// A running ring is given another secret for a key that it has: what was made under that key would be lost.
    #[error("key {0} has another secret than before; a new key needs a new id")]
    OtherSecret(KeyId),
    /// No randomness to make a key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// A step that a key cannot take.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum StepError {
    /// No such key.
    #[error("the key ring has no key {0}")]
    Unknown(KeyId),
    /// It is the key that seals.
    #[error("key {0} is the active one")]
    Active(KeyId),
    /// It is where it was to go.
    #[error("key {0} is {name} already", name = .1.as_str())]
    Already(KeyId, KeyState),
}

impl KeyState {
    /// Its name, as it is written in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl RingKeyDocument {
    fn generate(state: KeyState, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        entropy.fill(secret.as_mut_slice())?;
        let mut id = [0_u8; 4];
        entropy.fill(&mut id)?;
        Ok(Self {
            id: KeyId(u32::from_be_bytes(id)),
            state,
            secret: URL_SAFE_NO_PAD.encode(secret.as_slice()),
            created: None,
            since: None,
        })
    }

    fn enter(&mut self, state: KeyState, now: Timestamp) {
        self.state = state;
        self.since = Some(now);
    }
}

impl KeyRingDocument {
    /// A new ring with one active key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, KeyRingError> {
        Ok(Self { keys: vec![RingKeyDocument::generate(KeyState::Active, entropy)?] })
    }

    /// The same, with keys that do not say when they were made being made now.
    #[must_use]
    pub fn dated(mut self, now: Timestamp) -> Self {
        for key in &mut self.keys {
            key.created = key.created.or(Some(now));
            key.since = key.since.or(Some(now));
        }
        self
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), KeyRingError> {
        KeyRing::try_from(self).map(drop)
    }

    /// The key of this id.
    pub fn key(&self, id: KeyId) -> Result<&RingKeyDocument, StepError> {
        self.keys.iter().find(|key| key.id == id).ok_or(StepError::Unknown(id))
    }

    /// Adds a new key that opens and does not seal yet.
    pub fn add(&mut self, entropy: &dyn Entropy, now: Timestamp) -> Result<KeyId, KeyRingError> {
        if self.keys.len() >= KEYS_MAX {
            return Err(KeyRingError::TooManyKeys);
        }
        let mut key = RingKeyDocument::generate(KeyState::Published, entropy)?;
        (key.created, key.since) = (Some(now), Some(now));
        let id = key.id;
        if self.key(id).is_ok() {
            return Err(KeyRingError::DuplicateId(id));
        }
        self.keys.push(key);
        Ok(id)
    }

    /// Lets a key seal from now on. The one that did is retired; also a retired key may be called back.
    pub fn activate(&mut self, id: KeyId, now: Timestamp) -> Result<(), StepError> {
        if self.key(id)?.state == KeyState::Active {
            return Err(StepError::Already(id, KeyState::Active));
        }
        for key in &mut self.keys {
            if key.id == id {
                key.enter(KeyState::Active, now);
            } else if key.state == KeyState::Active {
                key.enter(KeyState::Retired, now);
            }
        }
        Ok(())
    }

    /// Retires a published key that is not to be activated after all.
    pub fn retire(&mut self, id: KeyId, now: Timestamp) -> Result<(), StepError> {
        let key = self.keys.iter_mut().find(|key| key.id == id).ok_or(StepError::Unknown(id))?;
        match key.state {
            KeyState::Active => Err(StepError::Active(id)),
            KeyState::Retired => Err(StepError::Already(id, KeyState::Retired)),
            KeyState::Published => {
                key.enter(KeyState::Retired, now);
                Ok(())
            }
        }
    }

    /// Drops a key that does not seal: what was made under it opens no more.
    pub fn remove(&mut self, id: KeyId) -> Result<(), StepError> {
        if self.key(id)?.state == KeyState::Active {
            return Err(StepError::Active(id));
        }
        self.keys.retain(|key| key.id != id);
        Ok(())
    }

    /// How long a key has been in its state; `None` if the document does not say.
    pub fn age(&self, id: KeyId, now: Timestamp) -> Option<Duration> {
        self.key(id).ok()?.since.map(|since| now.since(since))
    }
}
