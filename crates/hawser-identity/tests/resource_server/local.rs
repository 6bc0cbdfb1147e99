//! The embedded authorization server's tokens: private claims demanded, the grant's standing asked, revocation immediate.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_identity::{
    AcceptedToken, AuthenticateError, ConfigError, ExternalIssuer, IdentityConfig, InvalidReason, LocalIssuer,
    TokenStanding, Unavailable,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::signing::{SigningKey, key_set, with, without};
use crate::world::{World, claims};

const ISSUER: &str = "https://mcp.example";

struct Embedded {
    keys: Mutex<Value>,
    revoked: Mutex<Vec<String>>,
    asked: Mutex<Vec<AcceptedToken>>,
    down: AtomicBool,
    /// Standings are decided, then held back until there is a permit.
    gate: Semaphore,
}

#[async_trait]
impl LocalIssuer for Embedded {
    fn issuer(&self) -> &str {
        ISSUER
    }

    async fn jwks(&self) -> Result<Bytes, Unavailable> {
        self.up()?;
        Ok(self.keys.lock().unwrap().to_string().into())
    }

    async fn token_accepted(&self, accepted: &AcceptedToken) -> Result<TokenStanding, Unavailable> {
        self.up()?;
        self.asked.lock().unwrap().push(accepted.clone());
        let revoked = self.revoked.lock().unwrap().contains(&accepted.grant);
        let _permit = self.gate.acquire().await.unwrap();
        Ok(if revoked { TokenStanding::Revoked } else { TokenStanding::Active })
    }
}

impl Embedded {
    fn up(&self) -> Result<(), Unavailable> {
        let down = self.down.load(Ordering::SeqCst);
        if down { Err(Unavailable { retry_after: Duration::from_secs(7) }) } else { Ok(()) }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn revoke(&self, grant: &str) {
        self.revoked.lock().unwrap().push(grant.to_owned());
    }
}

fn stage() -> (Arc<Embedded>, SigningKey, World) {
    let key = SigningKey::es256("k1");
    let embedded = Arc::new(Embedded {
        keys: Mutex::new(key_set(&[&key])),
        revoked: Mutex::default(),
        asked: Mutex::default(),
        down: AtomicBool::new(false),
        gate: Semaphore::new(1_000),
    });
    let local: Arc<dyn LocalIssuer> = embedded.clone();
    (embedded, key, World::new(IdentityConfig::default(), Some(local)))
}

fn local_claims() -> Value {
    with(with(claims(ISSUER, "alice"), "grant", "g1"), "gen", 3)
}

#[tokio::test]
async fn private_claims_are_demanded_and_told() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    let who = world.accepts(&token).await;
    assert_eq!((who.grant(), who.client_id()), (Some("g1"), Some("client-1")));
    let told = AcceptedToken { grant: "g1".to_owned(), generation: 3, jti: "j1".to_owned() };
    assert_eq!(*embedded.asked.lock().unwrap(), [told]);
    for name in ["grant", "gen", "jti", "client_id"] {
        assert_eq!(
            world.refuses(&key.sign(&without(local_claims(), name))).await,
            InvalidReason::LocalClaims,
            "{name}"
        );
    }
    for (name, value) in [("grant", json!("")), ("grant", json!(1)), ("gen", json!("3")), ("jti", json!(7))] {
        let token = key.sign(&with(local_claims(), name, value));
        assert_eq!(world.refuses(&token).await, InvalidReason::LocalClaims, "{name}");
    }
    let azp = with(without(local_claims(), "client_id"), "azp", "client-1");
    assert_eq!(world.refuses(&key.sign(&azp)).await, InvalidReason::LocalClaims);
}

#[tokio::test]
async fn rs13_only_at_jwt_is_an_access_token_of_the_embedded_server() {
    let (_, key, world) = stage();
    for header in [with(key.header(), "typ", "JWT"), without(key.header(), "typ")] {
        let token = key.sign_with_header(&header, &local_claims());
        assert_eq!(world.refuses(&token).await, InvalidReason::TokenType);
    }
}

#[tokio::test]
async fn the_standing_is_asked_once_per_token_and_lifetime() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    for _ in 0..100 {
        world.accepts(&token).await;
    }
    assert_eq!(embedded.asked(), 1);
    world.clock.advance(60);
    world.accepts(&token).await;
    assert_eq!(embedded.asked(), 2);
}

#[tokio::test]
async fn a_revoked_grant_is_refused_at_once_and_others_stay() {
    let (embedded, key, world) = stage();
    let (first, second) = (key.sign(&local_claims()), key.sign(&with(local_claims(), "jti", "j2")));
    let other = key.sign(&with(with(local_claims(), "grant", "g2"), "jti", "j3"));
    for token in [&first, &second, &other] {
        world.accepts(token).await;
    }
    embedded.revoke("g1");
    world.accepts(&first).await; // nobody has told us yet
    world.authenticator.forget_grant("g1");
    for token in [&first, &second] {
        assert_eq!(world.refuses(token).await, InvalidReason::Revoked);
    }
    world.accepts(&other).await;
}

#[tokio::test]
async fn a_forgotten_token_is_verified_anew() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    world.accepts(&token).await;
    world.authenticator.forget_token("j1");
    world.accepts(&token).await;
    assert_eq!(embedded.asked(), 2);
    embedded.revoke("g1");
    world.authenticator.forget_token("j1");
    assert_eq!(world.refuses(&token).await, InvalidReason::Revoked);
}

/// Revocations were missed: no token is believed without asking again, those of external issuers are not touched.
#[tokio::test]
async fn tk13_after_a_gap_in_the_revocations_every_standing_is_asked_again() {
    let (embedded, key, world) = stage();
    let tokens = ["j1", "j2", "j3"].map(|jti| key.sign(&with(with(local_claims(), "jti", jti), "grant", jti)));
    for token in &tokens {
        world.accepts(token).await;
    }
    embedded.revoke("j2");
    world.authenticator.forget_all();
    world.accepts(&tokens[0]).await;
    assert_eq!(world.refuses(&tokens[1]).await, InvalidReason::Revoked);
    world.accepts(&tokens[2]).await;
    assert_eq!(embedded.asked(), 6);
}

/// The standing was read, then the grant is revoked and forgotten, then the answer arrives: it must not be remembered.
#[tokio::test]
async fn a_revocation_during_a_verification_is_not_lost() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    embedded.gate.forget_permits(1_000);
    let mut request = Box::pin(world.present(&token));
    let asked = async {
        while embedded.asked() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut request => panic!("the standing is held back"),
        in_time = tokio::time::timeout(Duration::from_secs(20), asked) => in_time.unwrap(),
    }
    embedded.revoke("g1");
    world.authenticator.forget_grant("g1");
    embedded.gate.add_permits(1_000);
    request.await.unwrap(); // began before the revocation
    assert_eq!(world.refuses(&token).await, InvalidReason::Revoked);
}

#[tokio::test]
async fn an_embedded_server_that_cannot_answer_is_503_and_remembered_verdicts_go_on() {
    let (embedded, key, world) = stage();
    let known = key.sign(&local_claims());
    world.accepts(&known).await;
    embedded.down.store(true, Ordering::SeqCst);
    world.accepts(&known).await;
    let refused = world.present(&key.sign(&with(local_claims(), "jti", "j9"))).await.unwrap_err();
    assert_eq!(refused, AuthenticateError::Unavailable { retry_after: Duration::from_secs(7) });
    embedded.down.store(false, Ordering::SeqCst);
    world.accepts(&key.sign(&with(local_claims(), "jti", "j9"))).await;
}

#[tokio::test]
async fn a_wrong_audience_does_not_count_as_use_of_a_generation() {
    let (embedded, key, world) = stage();
    let token = key.sign(&with(local_claims(), "aud", "https://other.example"));
    assert_eq!(world.refuses(&token).await, InvalidReason::Audience);
    assert_eq!(embedded.asked(), 0);
}

#[tokio::test]
async fn rs16_a_key_dropped_by_the_embedded_server_is_gone_within_a_minute() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    world.accepts(&token).await;
    let successor = SigningKey::es256("k2");
    *embedded.keys.lock().unwrap() = key_set(&[&successor]);
    world.accepts(&successor.sign(&with(local_claims(), "jti", "j2"))).await;
    world.clock.advance(60);
    assert_eq!(world.refuses(&token).await, InvalidReason::UnknownKey);
}

#[tokio::test]
async fn rs16_a_key_that_the_embedded_server_removed_is_forgotten_at_once() {
    let (embedded, key, world) = stage();
    let token = key.sign(&local_claims());
    world.accepts(&token).await;
    let successor = SigningKey::es256("k2");
    *embedded.keys.lock().unwrap() = key_set(&[&successor]);
    world.accepts(&token).await;
    world.authenticator.forget_local_keys();
    assert_eq!(world.refuses(&token).await, InvalidReason::UnknownKey);
    world.accepts(&successor.sign(&with(local_claims(), "jti", "j2"))).await;
}

#[tokio::test]
async fn an_external_issuer_cannot_be_configured_under_the_embedded_ones_name() {
    let (embedded, ..) = stage();
    let fetcher = Arc::new(hawser_identity::HttpFetcher::new().unwrap());
    let config = IdentityConfig { issuers: vec![ExternalIssuer::new(ISSUER)], ..IdentityConfig::default() };
    let clock = crate::world::TestClock::new().clock();
    let refused = hawser_identity::Authenticator::new(config, Some(embedded), clock, fetcher).err();
    assert_eq!(refused, Some(ConfigError::DuplicateIssuer(ISSUER.to_owned())));
}

#[tokio::test]
async fn an_external_issuers_grant_claim_means_nothing() {
    let key = SigningKey::es256("k1");
    let issuer = crate::issuers::IssuerServer::start(&[&key]).await;
    let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
    let who = world.accepts(&key.sign(&with(claims(&issuer.issuer, "alice"), "grant", "g1"))).await;
    assert_eq!(who.grant(), None);
}
