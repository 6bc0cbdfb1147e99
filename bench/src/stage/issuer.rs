//! An issuer of access tokens (RFC 9068): a key, its JWKS on loopback, and nothing else.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::wire::{Reader, Side};

/// Longer than any run takes.
const TOKEN_LIFETIME: Duration = Duration::from_hours(12);

/// A running issuer; it is served until the process ends.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    url: String,
}

impl Issuer {
    pub(crate) fn start() -> Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| anyhow!("no key"))?;
        // An uncompressed point: 4, then x and y (SEC 1, 2.3.3).
        let (x, y) = key.public_key().as_ref().get(1..).context("no point")?.split_at(32);
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }] });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}", listener.local_addr()?);
        thread::Builder::new().name("issuer".to_owned()).spawn(move || {
            runtime.block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    // Whoever asks for keys and leaves has its own reasons.
                    drop(answer(stream, &keys.to_string()).await);
                }
            });
        })?;
        Ok(Self { key, random: SystemRandom::new(), url })
    }

    /// Its entry in `auth.issuers`.
    pub(crate) fn configuration(&self) -> Value {
        json!({ "issuer": self.url, "jwks_uri": format!("{}/keys", self.url), "algorithms": ["ES256"] })
    }

    /// An access token of this subject.
    pub(crate) fn token(&self, subject: &str, audience: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": "bench" });
        let claims = json!({ "iss": self.url, "sub": subject, "aud": audience, "iat": now,
            "exp": now + TOKEN_LIFETIME.as_secs(), "client_id": "hawser-bench", "jti": subject });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).map_err(|_| anyhow!("cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Answers one request, whatever it is, with the keys.
async fn answer(stream: TcpStream, keys: &str) -> Result<()> {
    let mut reader = Reader::new(stream, Side::Server);
    reader.head().await?;
    let length = keys.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let answer = format!("{head}content-length: {length}\r\n\r\n{keys}");
    Ok(reader.stream().write_all(answer.as_bytes()).await?)
}
