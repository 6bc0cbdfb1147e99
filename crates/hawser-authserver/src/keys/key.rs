//! One signing key: made, sealed, opened, and its public part.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{Entropy, KeyId, KeyRing};
use serde_json::json;
use zeroize::Zeroizing;

use super::schedule::{KeySet, StoredKey};
use super::{ROW_ID, SigningKeysError};
use crate::rows::Row as _;
use crate::secret::digest_text;

/// A key pair in the memory of this node, with its id.
#[derive(Clone)]
pub(super) struct Material {
    pub(super) kid: String,
    /// PKCS#8.
    der: Zeroizing<Vec<u8>>,
}

impl Material {
    pub(super) fn generate() -> Result<Self, SigningKeysError> {
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| SigningKeysError::Key)?;
        let kid = Point::of(der.as_ref())?.kid();
        Ok(Self { kid, der: Zeroizing::new(der.as_ref().to_vec()) })
    }

    /// Opens a stored key. The id of another's is not its own.
    pub(super) fn open(key: &StoredKey, ring: &KeyRing) -> Result<Self, SigningKeysError> {
        let sealed = URL_SAFE_NO_PAD.decode(&key.sealed).map_err(|_| SigningKeysError::Sealed)?;
        let der = ring.open_row(&seal_label(&key.kid), &sealed).map_err(|_| SigningKeysError::Sealed)?;
        if Point::of(&der)?.kid() != key.kid {
            return Err(SigningKeysError::Key);
        }
        Ok(Self { kid: key.kid.clone(), der })
    }

    pub(super) fn seal(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<String, SigningKeysError> {
        Ok(URL_SAFE_NO_PAD.encode(ring.seal_row(&seal_label(&self.kid), &self.der, entropy)?.0))
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// The ring key that a stored key is sealed under.
pub(super) fn sealed_under(key: &StoredKey) -> Option<KeyId> {
    KeyRing::row_key(&URL_SAFE_NO_PAD.decode(&key.sealed).ok()?)
}

fn seal_label(kid: &str) -> String {
    format!("{}/{ROW_ID}/{kid}", KeySet::FAMILY)
}

/// A public key on P-256 as JWK members.
pub(super) struct Point {
    pub(super) x: String,
    pub(super) y: String,
}

impl Point {
    pub(super) fn of(pkcs8: &[u8]) -> Result<Self, SigningKeysError> {
        let wrong = || SigningKeysError::Key;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| wrong())?;
        // SEC 1 section 2.3.3: 0x04, then the coordinates.
        let (form, coordinates) = pair.public_key().as_ref().split_first().ok_or_else(wrong)?;
        let (x, y) = coordinates.split_at_checked(32).ok_or_else(wrong)?;
        if *form != 4 || y.len() != 32 {
            return Err(wrong());
        }
        Ok(Self { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    }

    /// RFC 7638 section 3: the required members in lexicographic order, without white space.
    fn kid(&self) -> String {
        digest_text(format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y).as_bytes())
    }

    pub(super) fn jwk(&self) -> serde_json::Value {
        json!({ "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "use": "sig", "alg": "ES256", "kid": self.kid() })
    }
}
