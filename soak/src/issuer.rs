//! An authorization server besides the gateway's own: as much of one as a resource server sees, its keys and its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The issuer.
pub(crate) struct Issuer {
    url: String,
    pair: EcdsaKeyPair,
    minted: AtomicU64,
}

impl Issuer {
    /// Serves its keys on a free port.
    pub(crate) async fn start() -> Result<Arc<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the issuer")?;
        let url = format!("http://{}", listener.local_addr()?);
        let issuer = Self { url, pair: key()?, minted: AtomicU64::new(1) };
        let keys = json!({ "keys": [issuer.jwk()?] }).to_string();
        let answer = move || async move { ([("content-type", "application/json")], keys) };
        let router = Router::new().route("/jwks", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Arc::new(issuer))
    }

    /// The issuer identifier.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its entry in the configuration of a gateway.
    pub(crate) fn configuration(&self) -> Value {
        json!({ "issuer": self.url, "jwks_uri": format!("{}/jwks", self.url), "algorithms": ["ES256"] })
    }

    fn jwk(&self) -> Result<Value> {
        // An uncompressed point: 4, x, y.
        let point = self.pair.public_key().as_ref();
        let part = |range| point.get(range).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).context("a key without a point");
        Ok(
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "soak", "x": part(1..33)?, "y": part(33..65)? }),
        )
    }

    /// A token that is good for this long; for no time at all, one that has been over for minutes.
    pub(crate) fn mint(&self, subject: &str, audience: &str, lasts: Duration) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let ends = if lasts.is_zero() { now - 600 } else { now + lasts.as_secs() };
        let claims = json!({
            "iss": self.url, "sub": subject, "aud": audience, "iat": ends.min(now) - 1, "exp": ends,
            "jti": self.minted.fetch_add(1, Ordering::Relaxed).to_string(), "client_id": "soak", "scope": "mcp",
        });
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "soak" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature =
            self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| anyhow!("signing failed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

fn key() -> Result<EcdsaKeyPair> {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("no key could be made"))
}
