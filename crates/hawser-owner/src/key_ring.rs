//! The keys behind handles, owner digests and secrets at rest.
//!
//! A ring holds several keys so that one can be replaced while handles made under the old one still open: publish, then
//! activate, then retire, then drop. Every purpose has its own key, derived with HKDF (RFC 5869), so a handle can never be
//! taken for a stored row.

mod document;

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::document::{KeyId, KeyRingDocument, KeyRingError, KeyState, RingKeyDocument, StepError};
use crate::entropy::{Entropy, EntropyError};
use crate::principal::{LocalOwner, OwnerDigest, Principal};

/// Length of a ring key's secret in bytes.
const SECRET_BYTES: usize = 32;
/// Most keys a ring may hold: every one is a key that opens handles.
const KEYS_MAX: usize = 16;
const ROW_VERSION: u8 = 1;

pub(crate) struct RingKey {
    pub(crate) id: KeyId,
    state: KeyState,
    pub(crate) seal: LessSafeKey,
    row: LessSafeKey,
    owner: hmac::Key,
    derive: hkdf::Prk,
}

/// What is done when something comes that was made under a key that the ring does not have: perhaps another node was given a
/// newer ring first. It may [`replace`](KeyRing::replace) the ring it is given, and must be quick.
pub type Renewal = Box<dyn Fn(&KeyRing, KeyId) + Send + Sync>;

/// The keys that this gateway seals and opens with. Make one from a [`KeyRingDocument`].
///
/// They can be replaced while all who hold the ring use it; each operation works with the keys of one moment.
pub struct KeyRing {
    keys: ArcSwap<Keys>,
    /// Names owners in memory. It outlives the key that it comes from, so that nobody becomes another person when keys change.
    local: hmac::Key,
    renewal: OnceLock<Renewal>,
}

/// The keys of one moment.
pub(crate) struct Keys {
    keys: Vec<RingKey>,
    active: usize,
}

/// What replacing a ring changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingChange {
    /// The key that seals now, if another one did before.
    pub activated: Option<KeyId>,
    /// It was not in the ring before: nodes that do not have it yet refuse what is made under it.
    pub unpublished: bool,
    /// Keys that are new.
    pub added: Vec<KeyId>,
    /// Keys that are gone; what was made under them opens no more.
    pub removed: Vec<KeyId>,
    /// The one of them that sealed until now: what was made under it a moment ago is lost.
    pub lost: Option<KeyId>,
}

/// Ciphertext of a stored secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow(pub Vec<u8>);

/// A stored secret did not open: changed, moved to another row, or sealed under a key that is gone.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("a stored secret does not open under this key ring and row")]
pub struct SealedRowError;

impl TryFrom<&KeyRingDocument> for Keys {
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

impl TryFrom<&KeyRingDocument> for KeyRing {
    type Error = KeyRingError;

    fn try_from(document: &KeyRingDocument) -> Result<Self, KeyRingError> {
        let keys = Keys::try_from(document)?;
        let local = hmac::Key::new(hmac::HMAC_SHA256, expand(&keys.active().derive, "", "local owner").as_slice());
        Ok(Self { keys: ArcSwap::from_pointee(keys), local, renewal: OnceLock::new() })
    }
}

impl Keys {
    pub(crate) fn active(&self) -> &RingKey {
        // `active` was the position of a key when this was made, and it never changes.
        &self.keys[self.active]
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl KeyRing {
    /// The keys of this moment: what is begun with them is finished with them.
    pub(crate) fn keys(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// The keys of this moment, among them the one of this id if it can be had at all.
    pub(crate) fn keys_with(&self, id: KeyId) -> Option<Guard<Arc<Keys>>> {
        let keys = self.keys();
        if keys.find(id).is_some() {
            return Some(keys);
        }
        (self.renewal.get()?)(self, id);
        Some(self.keys()).filter(|keys| keys.find(id).is_some())
    }

    /// Says what is done when a key is missing; only the first such word counts.
    pub fn on_unknown_key(&self, renewal: Renewal) {
        let _ = self.renewal.set(renewal);
    }

    /// Puts other keys in place of those the ring has; on an error they stay. What was made under a key opens as long as the
    /// key is in the ring.
    pub fn replace(&self, document: &KeyRingDocument) -> Result<RingChange, KeyRingError> {
        let new = Keys::try_from(document)?;
        let old = self.keys();
        let changed = new.keys.iter().find(|key| old.find(key.id).is_some_and(|known| !known.is_same_as(key)));
        if let Some(key) = changed {
            return Err(KeyRingError::OtherSecret(key.id));
        }
        let not_in = |keys: &Keys, of: &Keys| -> Vec<KeyId> {
            of.keys.iter().map(|key| key.id).filter(|id| keys.find(*id).is_none()).collect()
        };
        let (was, is) = (old.active().id, new.active().id);
        let change = RingChange {
            activated: (was != is).then_some(is),
            unpublished: old.find(is).is_none(),
            added: not_in(&old, &new),
            removed: not_in(&new, &old),
            lost: new.find(was).is_none().then_some(was),
        };
        self.keys.store(Arc::new(new));
        Ok(change)
    }

    /// The key that seals now.
    pub fn active_key(&self) -> KeyId {
        self.keys().active().id
    }

    /// Whether this key is in the ring. It is not looked for elsewhere.
    pub fn has(&self, id: KeyId) -> bool {
        self.keys().find(id).is_some()
    }

    /// The ids of all keys, with their states.
    pub fn states(&self) -> Vec<(KeyId, KeyState)> {
        self.keys().keys.iter().map(|key| (key.id, key.state)).collect()
    }

    /// The principal's name under the active key, with that key's id: what an audit event or a new record carries.
    pub fn owner_digest(&self, principal: &Principal) -> (KeyId, OwnerDigest) {
        let keys = self.keys();
        let key = keys.active();
        (key.id, key.owner_of(principal))
    }

    /// The principal's name under one key, to compare with what was made under it; `None` if that key is gone.
    pub fn owner_digest_under(&self, id: KeyId, principal: &Principal) -> Option<OwnerDigest> {
        self.keys().find(id).map(|key| key.owner_of(principal))
    }

    /// The principal's names under all keys: a record that was made under any of them names its owner by one of these.
    pub fn owner_digests(&self, principal: &Principal) -> Vec<OwnerDigest> {
        self.keys().keys.iter().map(|key| key.owner_of(principal)).collect()
    }

    /// The principal's name in the memory of this process: what belongs to the same person is counted and found by it, under
    /// whatever key it was made.
    pub fn local_owner(&self, principal: &Principal) -> LocalOwner {
        principal.local(&self.local)
    }

    /// A key of its own for one purpose, for instance to sign a browser cookie. The same label gives the same key as long as
    /// the named ring key exists; `None` names the active one.
    pub fn derive(&self, id: Option<KeyId>, label: &str) -> Option<(KeyId, Zeroizing<[u8; SECRET_BYTES]>)> {
        let keys = match id {
            None => self.keys(),
            Some(id) => self.keys_with(id)?,
        };
        let key = match id {
            None => keys.active(),
            Some(id) => keys.find(id)?,
        };
        Some((key.id, expand(&key.derive, "derived/", label)))
    }

    /// Encrypts a secret for the store. `row` names where it lives (and whose it is): the ciphertext opens nowhere else.
    pub fn seal_row(&self, row: &str, secret: &[u8], entropy: &dyn Entropy) -> Result<SealedRow, EntropyError> {
        let keys = self.keys();
        let key = keys.active();
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

    /// The key that something was sealed under by [`KeyRing::seal_row`], by its own word.
    pub fn row_key(sealed: &[u8]) -> Option<KeyId> {
        let (version, rest) = sealed.split_first()?;
        let (id, _) = rest.split_first_chunk::<4>()?;
        (*version == ROW_VERSION).then_some(KeyId(u32::from_be_bytes(*id)))
    }

    /// Decrypts what [`KeyRing::seal_row`] made for the same `row`.
    pub fn open_row(&self, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealedRowError> {
        let (version, rest) = sealed.split_first().ok_or(SealedRowError)?;
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(SealedRowError)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealedRowError)?;
        if *version != ROW_VERSION {
            return Err(SealedRowError);
        }
        let id = KeyId(u32::from_be_bytes(*id));
        let keys = self.keys_with(id).ok_or(SealedRowError)?;
        let key = keys.find(id).ok_or(SealedRowError)?;
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
        f.debug_struct("KeyRing").field("keys", &self.states()).finish_non_exhaustive()
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

    /// Whether it is the same secret, told by what is made with it.
    fn is_same_as(&self, other: &Self) -> bool {
        let anybody = Principal::anonymous();
        self.owner_of(&anybody) == other.owner_of(&anybody)
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
