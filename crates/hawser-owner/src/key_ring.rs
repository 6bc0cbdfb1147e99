//! The keys behind handles, owner digests and secrets at rest.
//!
//! A ring holds several keys so that one can be replaced while handles made under the old one still open: publish, then
//! activate, then retire, then drop. Every purpose has its own key, derived with HKDF (RFC 5869), so a handle can never be
//! taken for a stored row.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::entropy::{Entropy, EntropyError};
use crate::principal::{OwnerDigest, Principal};

/// Length of a ring key's secret in bytes.
const SECRET_BYTES: usize = 32;
/// Most keys a ring may hold: every one is a key that opens handles.
const KEYS_MAX: usize = 16;
const ROW_VERSION: u8 = 1;

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
    /// No randomness to make a key.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

pub(crate) struct RingKey {
    pub(crate) id: KeyId,
    state: KeyState,
    pub(crate) seal: LessSafeKey,
    row: LessSafeKey,
    owner: hmac::Key,
    derive: hkdf::Prk,
}

/// The keys that this gateway seals and opens with. Make one from a [`KeyRingDocument`].
pub struct KeyRing {
    keys: Vec<RingKey>,
    active: usize,
}

/// Ciphertext of a stored secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow(pub Vec<u8>);

/// A stored secret did not open: changed, moved to another row, or sealed under a key that is gone.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("a stored secret does not open under this key ring and row")]
pub struct SealedRowError;

impl KeyRingDocument {
    /// A new ring with one active key.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, KeyRingError> {
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        entropy.fill(secret.as_mut_slice())?;
        let mut id = [0_u8; 4];
        entropy.fill(&mut id)?;
        let key = RingKeyDocument {
            id: KeyId(u32::from_be_bytes(id)),
            state: KeyState::Active,
            secret: URL_SAFE_NO_PAD.encode(secret.as_slice()),
        };
        Ok(Self { keys: vec![key] })
    }
}

impl TryFrom<&KeyRingDocument> for KeyRing {
    type Error = KeyRingError;

    fn try_from(document: &KeyRingDocument) -> Result<Self, KeyRingError> {
        if document.keys.len() > KEYS_MAX {
            return Err(KeyRingError::TooManyKeys);
        }
        let mut keys: Vec<RingKey> = Vec::with_capacity(document.keys.len());
        for key in &document.keys {
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyRingError::DuplicateId(key.id));
            }
            keys.push(RingKey::derive_from(key)?);
        }
        let active: Vec<usize> =
            keys.iter().enumerate().filter(|(_, key)| key.state == KeyState::Active).map(|(index, _)| index).collect();
        match active.as_slice() {
            [active] => Ok(Self { keys, active: *active }),
            others => Err(KeyRingError::ActiveKeys(others.len())),
        }
    }
}

impl KeyRing {
    pub(crate) fn active(&self) -> &RingKey {
        // `active` was the position of a key when the ring was made, and the ring never changes.
        &self.keys[self.active]
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// The principal's name under the active key, with that key's id: what an audit event or a new record carries.
    pub fn owner_digest(&self, principal: &Principal) -> (KeyId, OwnerDigest) {
        let key = self.active();
        (key.id, principal.digest(&key.owner))
    }

    /// The principal's name under one key, to compare with what was made under it; `None` if that key is gone.
    pub fn owner_digest_under(&self, id: KeyId, principal: &Principal) -> Option<OwnerDigest> {
        self.find(id).map(|key| principal.digest(&key.owner))
    }

    /// A key of its own for one purpose, for instance to sign a browser cookie. The same label gives the same key as long as
    /// the named ring key exists; `None` names the active one.
    pub fn derive(&self, id: Option<KeyId>, label: &str) -> Option<(KeyId, Zeroizing<[u8; SECRET_BYTES]>)> {
        let key = match id {
            None => self.active(),
            Some(id) => self.find(id)?,
        };
        Some((key.id, expand(&key.derive, "derived/", label)))
    }

    /// Encrypts a secret for the store. `row` names where it lives (and whose it is): the ciphertext opens nowhere else.
    pub fn seal_row(&self, row: &str, secret: &[u8], entropy: &dyn Entropy) -> Result<SealedRow, EntropyError> {
        let key = self.active();
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        let mut text = Zeroizing::new(secret.to_vec());
        let tag = key
            .row
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(row.as_bytes()), &mut text)
            .map_err(|_| EntropyError)?;
        let mut out = Vec::with_capacity(1 + 4 + NONCE_LEN + text.len() + tag.as_ref().len());
        out.push(ROW_VERSION);
        out.extend_from_slice(&key.id.0.to_be_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&text);
        out.extend_from_slice(tag.as_ref());
        Ok(SealedRow(out))
    }

    /// Decrypts what [`KeyRing::seal_row`] made for the same `row`.
    pub fn open_row(&self, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedRowError> {
        let (version, rest) = sealed.split_first().ok_or(SealedRowError)?;
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(SealedRowError)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealedRowError)?;
        if *version != ROW_VERSION {
            return Err(SealedRowError);
        }
        let key = self.find(KeyId(u32::from_be_bytes(*id))).ok_or(SealedRowError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain = key
            .row
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(row.as_bytes()), &mut text)
            .map_err(|_| SealedRowError)?
            .len();
        text.truncate(plain);
        Ok(text)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| (key.id, key.state)).collect();
        f.debug_struct("KeyRing").field("keys", &ids).finish_non_exhaustive()
    }
}

impl RingKey {
    fn derive_from(document: &RingKeyDocument) -> Result<Self, KeyRingError> {
        let wrong = || KeyRingError::Secret(document.id);
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(&document.secret).map_err(|_| wrong())?);
        if secret.len() != SECRET_BYTES {
            return Err(wrong());
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hawser key ring v1").extract(&secret);
        let aead = |label| {
            UnboundKey::new(&AES_256_GCM, expand(&prk, "", label).as_slice()).map(LessSafeKey::new).map_err(|_| wrong())
        };
        Ok(Self {
            id: document.id,
            state: document.state,
            seal: aead("handle")?,
            row: aead("row")?,
            owner: hmac::Key::new(hmac::HMAC_SHA256, expand(&prk, "", "owner").as_slice()),
            derive: prk.clone(),
        })
    }

    pub(crate) fn owner_of(&self, principal: &Principal) -> OwnerDigest {
        principal.digest(&self.owner)
    }
}

/// HKDF-Expand (RFC 5869 section 2.3) to 32 bytes. The lengths are constants within the limits of the function. Labels that
/// come from outside have a space of their own: none of them may name one of the ring's keys.
#[expect(clippy::expect_used, reason = "32 bytes is within HKDF-SHA-256's limit of 8160 whatever the label")]
fn expand(prk: &hkdf::Prk, space: &str, label: &str) -> Zeroizing<[u8; SECRET_BYTES]> {
    let mut out = Zeroizing::new([0; SECRET_BYTES]);
    prk.expand(&[b"hawser/v1/", space.as_bytes(), label.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .expect("32 bytes is a length that HKDF-SHA-256 can give");
    out
}
