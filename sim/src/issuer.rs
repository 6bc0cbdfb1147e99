//! The external authorization server of the simulation: it signs tokens, and its keys are fetched without a network.

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hawser_identity::{Fetch, FetchError};
use serde_json::json;
use url::Url;

use crate::random::Choices;
use crate::time::Beginning;

/// Its identifier.
pub const ISSUER: &str = "https://issuer.example";
/// Where its keys are.
pub const KEYS: &str = "https://issuer.example/keys";
/// What tokens are for.
pub const RESOURCE: &str = "https://gateway.example/mcp";
/// How long an access token is good for, in seconds.
pub const LIFETIME: u64 = 600;

/// The authorization server.
pub struct Issuer {
    key: Ed25519KeyPair,
    beginning: Beginning,
}

impl Issuer {
    /// One with a key of the seed's.
    pub fn new(seed: u64, beginning: Beginning) -> Self {
        let mut choices = Choices::new(seed, "signing key");
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&choices.number().to_be_bytes()));
        let key = Ed25519KeyPair::from_seed_unchecked(&secret).expect("32 bytes are a seed");
        Self { key, beginning }
    }

    /// An access token. No two have the same bytes; Ed25519 signs without randomness.
    pub fn token(&self, subject: &str, serial: u64) -> String {
        let now = self.beginning.calendar().seconds();
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "1"});
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": RESOURCE, "client_id": "client", "jti": serial.to_string(), "iat": now,
            "exp": now + LIFETIME,
        });
        let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    /// How nodes get its keys.
    pub fn keys(&self) -> Keys {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "alg": "EdDSA", "use": "sig"});
        Keys(Bytes::from(json!({"keys": [key]}).to_string()))
    }
}

/// Answers every fetch with the keys of the issuer.
pub struct Keys(Bytes);

#[async_trait]
impl Fetch for Keys {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        Ok(self.0.clone())
    }
}
