//! An issuer of access tokens for as many owners as one likes: a key, its JWKS, and nothing else.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than any crowd takes.
const TOKEN_LIFETIME: Duration = Duration::from_hours(6);

/// A running issuer.
pub(super) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    url: String,
    served: JoinHandle<()>,
}

impl Issuer {
    /// One on a free loopback port.
    pub(super) async fn start() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("no key"))?;
        // An uncompressed point: 4, then x and y (SEC 1, 2.3.3).
        let (x, y) = key.public_key().as_ref().get(1..).context("no point")?.split_at(32);
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "crowd",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }] });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = axum::Router::new().route("/keys", get(async move || keys.to_string()));
        let served = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(Self { key, random: SystemRandom::new(), url, served })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn keys_url(&self) -> String {
        format!("{}/keys", self.url)
    }

    /// An access token of this subject (RFC 9068).
    pub(super) fn token(&self, subject: &str, audience: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "crowd" });
        let claims = json!({ "iss": self.url, "sub": subject, "aud": audience, "iat": now,
            "exp": now + TOKEN_LIFETIME.as_secs(), "client_id": "crowd", "jti": subject });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.served.abort();
    }
}
