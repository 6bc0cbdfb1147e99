//! Access tokens: nobody gets in with text of their own, and who gets in with a signed token is whom it names.
//!
//! Input: `R` and the value of the `Authorization` field, or `S`, a line with a JOSE header, and claims: those are signed
//! with the issuer's key.

#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hawser_identity::{
    AuthenticateError, Authenticated, Authenticator, ExternalIssuer, Fetch, FetchError, IdentityConfig, Resource,
    VerdictPolicy,
};
use hawser_owner::Timestamp;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use url::Url;

const ISSUER: &str = "https://issuer.example";
const RESOURCE: &str = "https://gateway.example/mcp";
const NOW: u64 = 1_800_000_000;
const SKEW: u64 = 30;

struct World {
    runtime: Runtime,
    authenticator: Authenticator,
    resource: Resource,
    key: Ed25519KeyPair,
}

/// An issuer's key set without a network.
struct Keys(Bytes);

#[async_trait]
impl Fetch for Keys {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        Ok(self.0.clone())
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] }).to_string();
    let mut issuer = ExternalIssuer::new(ISSUER);
    issuer.jwks_uri = Some(Url::parse("https://issuer.example/keys").expect("a URL"));
    let config = IdentityConfig {
        issuers: vec![issuer],
        skew: Duration::from_secs(SKEW),
        verdicts: VerdictPolicy { lifetime: Duration::ZERO, capacity: 1 },
        ..IdentityConfig::default()
    };
    let clock = Arc::new(|| Timestamp::from_seconds(NOW));
    World {
        runtime: Builder::new_current_thread().enable_time().build().expect("a runtime"),
        authenticator: Authenticator::new(config, None, clock, Arc::new(Keys(keys.into()))).expect("a configuration"),
        resource: Resource::new(RESOURCE, "fuzzed", Vec::new(), false).expect("a resource"),
        key,
    }
});

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&USABLE);
    match data.split_first() {
        Some((b'R', field)) => {
            assert!(authenticate(field).is_none_or(|answer| answer.is_err()), "a token that the issuer did not sign");
        }
        Some((b'S', parts)) => signed(parts),
        _ => {}
    }
});

/// A good token gets in: without that, this target would find nothing.
static USABLE: LazyLock<()> = LazyLock::new(|| {
    let header = br#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#;
    let claims = json!({ "iss": ISSUER, "aud": RESOURCE, "sub": "alice", "client_id": "c", "exp": NOW + 300 });
    let answer = authenticate(sign(header, claims.to_string().as_bytes()).as_bytes());
    assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
});

/// `None` if the bytes cannot be the value of a field at all.
fn authenticate(field: &[u8]) -> Option<Result<Authenticated, AuthenticateError>> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(field).ok()?)]);
    let answer = WORLD.runtime.block_on(WORLD.authenticator.authenticate(&WORLD.resource, &headers));
    if let Err(error) = &answer {
        assert!(error.to_string().chars().count() < 512, "a refusal quotes no token");
    }
    Some(answer)
}

fn signed(parts: &[u8]) {
    let Some(end) = parts.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = parts.split_at(end);
    let claims = claims.get(1..).unwrap_or_default();
    if let Some(Ok(authenticated)) = authenticate(sign(header, claims).as_bytes()) {
        accepted(&authenticated, &object(header), &object(claims));
    }
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(WORLD.key.sign(signed.as_bytes()));
    format!("Bearer {signed}.{signature}")
}

/// What every accepted token says, to a reader of its own.
fn accepted(authenticated: &Authenticated, header: &HashMap<String, Value>, claims: &HashMap<String, Value>) {
    assert!(matches!(header["alg"].as_str(), Some("EdDSA" | "Ed25519")), "{header:?}");
    assert!(!header.contains_key("crit") && !header.contains_key("b64"), "{header:?}");
    assert_eq!(claims["iss"], ISSUER);
    let audience = match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().any(|audience| audience == RESOURCE),
        audience => audience == RESOURCE,
    };
    assert!(audience, "{claims:?}");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (latest, earliest) = ((NOW - SKEW) as f64, (NOW + SKEW) as f64);
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp > latest - 1.0), "{claims:?}");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= earliest + 1.0)), "{claims:?}");
    assert!(!claims.contains_key("cnf"), "{claims:?}");
    let principal = authenticated.principal();
    assert_eq!(principal.issuer().map(ToString::to_string).as_deref(), Some(ISSUER));
    assert_eq!(principal.subject().map(ToString::to_string).as_deref(), claims["sub"].as_str());
}

fn object(json: &[u8]) -> HashMap<String, Value> {
    serde_json::from_slice(json).expect("what was accepted is an object")
}
