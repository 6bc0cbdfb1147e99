//! An issuer of the test's own: it signs whatever it is told to, well-formed or not, and publishes its keys.

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
use tokio::task::JoinHandle;

/// What makes a token a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A running issuer.
pub struct TokenIssuer {
    url: String,
    key: EcdsaKeyPair,
    server: JoinHandle<()>,
}

impl TokenIssuer {
    /// Starts one on a free port, with a new key.
    pub async fn start() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("no key"))?;
        let (x, y) = key.public_key().as_ref().get(1..65).context("an odd point")?.split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "alg": "ES256", "use": "sig" });
        let keys = json!({ "keys": [jwk] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/keys", get(move || async move { keys }));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, key, server })
    }

    /// Its entry in `auth.issuers`, with a client id for logout tokens.
    pub fn configuration(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/keys", self.url),
            "backchannel_logout_audience": ["hawser"],
        })
    }

    /// Its identifier.
    pub fn issuer(&self) -> &str {
        &self.url
    }

    /// Signs these claims under a header with this `typ`.
    pub fn sign(&self, typ: &str, claims: &Value) -> Result<String> {
        let header = json!({ "alg": "ES256", "kid": "1", "typ": typ });
        let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| anyhow!("not signed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// An access token for a resource.
    pub fn access_token(&self, subject: &str, resource: &str) -> Result<String> {
        let exp = now() + 600;
        let claims = json!({ "iss": self.url, "sub": subject, "aud": resource, "exp": exp, "client_id": "a-client" });
        self.sign("at+jwt", &claims)
    }

    /// The claims of a good logout token; `id` is its `jti`.
    pub fn logout_claims(&self, subject: &str, id: &str) -> Value {
        let now = now();
        json!({
            "iss": self.url, "sub": subject, "aud": "hawser", "iat": now, "exp": now + 120, "jti": id,
            "events": { LOGOUT_EVENT: {} },
        })
    }
}

impl Drop for TokenIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
