//! The keys that sign tokens (ES256), kept sealed in the store so that all nodes and all restarts share them.
//!
//! One key is made at the first start, with a compare-and-set so that nodes that start together agree. The published set
//! has every key that is kept; the active one signs. Keys are not yet replaced on a schedule.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hawser_owner::{Entropy, EntropyError, KeyRing, Timestamp};
use hawser_store::StoreError;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::rows::{Row, Rows};
use crate::secret::digest_text;

const ROW_ID: &str = "signing";

#[derive(Serialize, Deserialize)]
struct KeySet {
    keys: Vec<StoredKey>,
}

impl Row for KeySet {
    const FAMILY: &'static str = "as-keys";
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    state: KeyState,
    created: Timestamp,
    /// PKCS#8, sealed under the key ring for this row and key id.
    sealed: String,
}

impl KeySet {
    fn sealed_anew(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<Self, KeysError> {
        let sealed_anew = |stored: &StoredKey| {
            let der = stored.open(ring)?;
            StoredKey::seal(stored.kid.clone(), stored.state, stored.created, &der, ring, entropy)
        };
        Ok(Self { keys: self.keys.iter().map(sealed_anew).collect::<Result<_, _>>()? })
    }
}

/// Where a signing key is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    /// In the published set, does not sign yet.
    Published,
    /// Signs.
    Active,
    /// Does not sign any more, what it signed is still valid.
    Retired,
}

/// Why the signing keys cannot be had.
#[derive(Debug, Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    #[error("a stored signing key does not open under this key ring")]
    Sealed,
    #[error("there is no active signing key in the store")]
    NoneActive,
    #[error("a signing key cannot be made or read")]
    Key,
}

/// The keys in use.
pub(crate) struct SigningKeys {
    active: SigningKey,
    verifying: Vec<(String, DecodingKey)>,
    jwks: Bytes,
}

struct SigningKey {
    kid: String,
    key: EncodingKey,
}

impl SigningKeys {
    /// Reads the keys, or makes the first one.
    pub(crate) async fn open(
        rows: &Rows,
        ring: &KeyRing,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        if let Some(stored) = rows.get::<KeySet>(ROW_ID).await? {
            let keys = Self::read(&stored.row, ring)?;
            // Sealed anew at every start, so that the ring key they were sealed under before can be dropped one day. Losing
            // the race means that another node just did the same.
            rows.replace(ROW_ID, &stored, &stored.row.sealed_anew(ring, entropy)?, None).await?;
            return Ok(keys);
        }
        let first = KeySet { keys: vec![StoredKey::generate(ring, entropy, now)?] };
        if rows.create(ROW_ID, &first, None).await? {
            return Self::read(&first, ring);
        }
        let theirs = rows.get::<KeySet>(ROW_ID).await?.ok_or(KeysError::NoneActive)?;
        Self::read(&theirs.row, ring)
    }

    fn read(set: &KeySet, ring: &KeyRing) -> Result<Self, KeysError> {
        let mut active = None;
        let mut verifying = Vec::new();
        let mut published = Vec::new();
        for stored in &set.keys {
            let der = stored.open(ring)?;
            let point = Point::of(&der)?;
            if point.kid() != stored.kid {
                return Err(KeysError::Key);
            }
            verifying.push((
                stored.kid.clone(),
                DecodingKey::from_ec_components(&point.x, &point.y).map_err(|_| KeysError::Key)?,
            ));
            published.push(point.jwk());
            if stored.state == KeyState::Active && active.is_none() {
                active = Some(SigningKey { kid: stored.kid.clone(), key: EncodingKey::from_ec_der(&der) });
            }
        }
        let jwks = json!({ "keys": published }).to_string().into();
        Ok(Self { active: active.ok_or(KeysError::NoneActive)?, verifying, jwks })
    }

    /// The key that signs, with its id.
    pub(crate) fn active(&self) -> (&str, &EncodingKey) {
        (&self.active.kid, &self.active.key)
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

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("active", &self.active.kid).finish_non_exhaustive()
    }
}

impl StoredKey {
    fn generate(ring: &KeyRing, entropy: &dyn Entropy, now: Timestamp) -> Result<Self, KeysError> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeysError::Key)?;
        let kid = Point::of(der.as_ref())?.kid();
        Self::seal(kid, KeyState::Active, now, der.as_ref(), ring, entropy)
    }

    fn seal(
        kid: String,
        state: KeyState,
        created: Timestamp,
        der: &[u8],
        ring: &KeyRing,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeysError> {
        let sealed = ring.seal_row(&seal_label(&kid), der, entropy)?;
        Ok(Self { kid, state, created, sealed: URL_SAFE_NO_PAD.encode(sealed.0) })
    }

    fn open(&self, ring: &KeyRing) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let sealed = URL_SAFE_NO_PAD.decode(&self.sealed).map_err(|_| KeysError::Sealed)?;
        ring.open_row(&seal_label(&self.kid), &sealed).map_err(|_| KeysError::Sealed)
    }
}

fn seal_label(kid: &str) -> String {
    format!("{}/{ROW_ID}/{kid}", KeySet::FAMILY)
}

/// A public key on P-256 as JWK members.
struct Point {
    x: String,
    y: String,
}

impl Point {
    fn of(pkcs8: &[u8]) -> Result<Self, KeysError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeysError::Key)?;
        // SEC 1 section 2.3.3: 0x04, then the coordinates.
        let (form, coordinates) = pair.public_key().as_ref().split_first().ok_or(KeysError::Key)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or(KeysError::Key)?;
        if *form != 4 || y.len() != 32 {
            return Err(KeysError::Key);
        }
        Ok(Self { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    }

    /// RFC 7638 section 3: the required members in lexicographic order, without white space.
    fn kid(&self) -> String {
        digest_text(format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y).as_bytes())
    }

    fn jwk(&self) -> serde_json::Value {
        json!({ "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "use": "sig", "alg": "ES256", "kid": self.kid() })
    }
}
