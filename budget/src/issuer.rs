//! Who signs the token of the caller, and randomness that is the same each time.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, anyhow};
use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hawser_identity::{Fetch, FetchError};
use hawser_owner::{Entropy, EntropyError};
use serde_json::json;
use url::Url;

/// The issuer's identifier.
pub(crate) const ISSUER: &str = "https://issuer.example";
/// Where its keys are.
pub(crate) const KEYS: &str = "https://issuer.example/keys";
/// What the token is for.
pub(crate) const RESOURCE: &str = "https://gateway.example/mcp";
/// The time at which everything happens, in seconds since the Unix epoch.
pub(crate) const NOW: u64 = 1_800_000_000;

/// A token, and the key set that it can be verified with.
pub(crate) fn token() -> Result<(String, Keys)> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| anyhow!("32 bytes are no seed"))?;
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "1"});
    let claims = json!({
        "iss": ISSUER, "sub": "caller", "aud": RESOURCE, "client_id": "client", "jti": "1", "iat": NOW, "exp": NOW + 3600,
    });
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
    let public = URL_SAFE_NO_PAD.encode(key.public_key());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "1", "alg": "EdDSA", "use": "sig"});
    Ok((format!("{text}.{signature}"), Keys(Bytes::from(json!({"keys": [key]}).to_string()))))
}

/// Answers every fetch with the issuer's keys.
pub(crate) struct Keys(Bytes);

#[async_trait]
impl Fetch for Keys {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        Ok(self.0.clone())
    }
}

/// Counts instead of drawing.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chunk.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}
