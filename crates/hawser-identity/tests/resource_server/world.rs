//! A resource, a clock that the test moves, and an authenticator in front of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hawser_identity::{
    AuthenticateError, Authenticated, Authenticator, ExternalIssuer, HttpFetcher, IdentityConfig, InvalidReason,
    LocalIssuer, Resource,
};
use hawser_owner::{Clock, Timestamp};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const RESOURCE: &str = "https://mcp.example/mcp";

/// Time that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NOW)))
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_seconds(time.load(Ordering::SeqCst)))
    }
}

pub(crate) struct World {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) clock: TestClock,
    pub(crate) resource: Resource,
}

pub(crate) fn resource() -> Resource {
    Resource::new(RESOURCE, "Example", vec!["mcp".to_owned()], false).unwrap()
}

impl World {
    pub(crate) fn new(config: IdentityConfig, local: Option<Arc<dyn LocalIssuer>>) -> Self {
        let clock = TestClock::new();
        let fetcher = Arc::new(HttpFetcher::new().unwrap());
        let authenticator = Arc::new(Authenticator::new(config, local, clock.clock(), fetcher).unwrap());
        Self { authenticator, clock, resource: resource() }
    }

    pub(crate) fn trusting(issuers: impl IntoIterator<Item = ExternalIssuer>) -> Self {
        Self::new(IdentityConfig { issuers: issuers.into_iter().collect(), ..IdentityConfig::default() }, None)
    }

    pub(crate) async fn present(&self, token: &str) -> Result<Authenticated, AuthenticateError> {
        self.authenticator.authenticate(&self.resource, &bearer(token)).await
    }

    pub(crate) async fn accepts(&self, token: &str) -> Authenticated {
        self.present(token).await.expect("the token is accepted")
    }

    pub(crate) async fn refuses(&self, token: &str) -> InvalidReason {
        match self.present(token).await {
            Err(AuthenticateError::Invalid(reason)) => reason,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    pub(crate) fn answer(&self, error: &AuthenticateError) -> (StatusCode, HeaderMap, Bytes) {
        error.to_response(&self.resource)
    }
}

pub(crate) fn bearer(token: &str) -> HeaderMap {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    value.set_sensitive(true);
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// The claims of a good access token.
pub(crate) fn claims(issuer: &str, subject: &str) -> Value {
    json!({
        "iss": issuer, "sub": subject, "aud": RESOURCE, "exp": NOW + 600, "iat": NOW, "jti": "j1",
        "client_id": "client-1", "scope": "mcp files:read",
    })
}
