//! Issuers' keys: found, cached, rotated, removed, flooded and out of reach.

use std::time::Duration;

use hawser_identity::{
    AuthenticateError, Authenticated, ExternalIssuer, IdentityConfig, InvalidReason, KeyCachePolicy, VerdictPolicy,
};
use http::StatusCode;
use serde_json::json;

use crate::issuers::{IssuerServer, KEYS};
use crate::signing::{SigningKey, key_set, with};
use crate::world::{NOW, World, claims};

pub(crate) const TTL: u64 = 600;
const COOLDOWN: u64 = 30;
const STALE: u64 = 3600;

struct Stage {
    issuer: IssuerServer,
    key: SigningKey,
    world: World,
}

impl Stage {
    async fn new() -> Self {
        let key = SigningKey::es256("k1");
        let issuer = IssuerServer::start(&[&key]).await;
        let world = world_of(&issuer);
        Self { issuer, key, world }
    }

    /// A token that no verdict is remembered for.
    fn token(&self, key: &SigningKey, jti: impl std::fmt::Display) -> String {
        let lasting = with(claims(&self.issuer.issuer, "alice"), "exp", NOW + 100_000);
        key.sign(&with(lasting, "jti", jti.to_string()))
    }

    fn fetches(&self) -> usize {
        self.issuer.asked(KEYS)
    }
}

pub(crate) fn world_of(issuer: &IssuerServer) -> World {
    let keys = KeyCachePolicy {
        ttl: Duration::from_secs(TTL),
        cooldown: Duration::from_secs(COOLDOWN),
        stale: Duration::from_secs(STALE),
    };
    let issuers = vec![ExternalIssuer::new(&issuer.issuer)];
    World::new(IdentityConfig { issuers, keys, ..IdentityConfig::default() }, None)
}

pub(crate) fn retry_after(refused: &Result<Authenticated, AuthenticateError>) -> Duration {
    match refused {
        Err(AuthenticateError::Unavailable { retry_after }) => *retry_after,
        other => panic!("expected unavailable, got {other:?}"),
    }
}

#[tokio::test]
async fn rs15_ten_thousand_random_kids_cause_one_refetch() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 1)).await;
    assert_eq!(stage.fetches(), 1);
    let thief = SigningKey::es256("k1");
    let mut header = thief.header();
    for n in 0..10_000 {
        header = with(header, "kid", format!("kid-{n}"));
        let token = thief.sign_with_header(&header, &claims(&stage.issuer.issuer, "alice"));
        assert_eq!(stage.world.refuses(&token).await, InvalidReason::UnknownKey);
    }
    assert_eq!(stage.fetches(), 2);
    stage.world.clock.advance(COOLDOWN);
    stage.world.refuses(&thief.sign_with_header(&header, &claims(&stage.issuer.issuer, "alice"))).await;
    assert_eq!(stage.fetches(), 3, "after the cooldown the next one is looked up");
}

#[tokio::test]
async fn rs15_a_set_that_was_fetched_for_a_token_is_not_fetched_again_for_it() {
    let stage = Stage::new().await;
    assert_eq!(stage.world.refuses(&stage.token(&SigningKey::es256("k2"), 1)).await, InvalidReason::UnknownKey);
    assert_eq!(stage.fetches(), 1);
}

#[tokio::test]
async fn rs15_all_who_wait_share_one_fetch() {
    let stage = Stage::new().await;
    stage.issuer.hold();
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..50 {
        let token = stage.token(&stage.key, n);
        let authenticator = stage.world.authenticator.clone();
        let resource = stage.world.resource.clone();
        waiting.spawn(async move { authenticator.authenticate(&resource, &crate::world::bearer(&token)).await });
    }
    stage.issuer.until_asked("/.well-known/oauth-authorization-server", 1).await;
    stage.issuer.release();
    while let Some(outcome) = waiting.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(stage.fetches(), 1);
    assert_eq!(stage.issuer.all_asked().len(), 2, "one discovery, one key set");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_break_the_fetch_off() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    let new_key = SigningKey::es256("k2");
    stage.issuer.publish(KEYS, &key_set(&[&stage.key, &new_key]));
    stage.issuer.hold();
    let token = stage.token(&new_key, 1);
    let mut request = Box::pin(stage.world.present(&token));
    tokio::select! {
        biased;
        () = stage.issuer.until_asked(KEYS, 2) => {}
        _ = &mut request => panic!("the issuer has not answered yet"),
    }
    drop(request);
    stage.issuer.release();
    stage.world.accepts(&token).await;
    assert_eq!(stage.fetches(), 2);
}

#[tokio::test]
async fn rs15_a_new_key_is_found_at_once() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    let new_key = SigningKey::es256("k2");
    stage.issuer.publish(KEYS, &key_set(&[&stage.key, &new_key]));
    stage.world.accepts(&stage.token(&new_key, 1)).await;
    assert_eq!(stage.fetches(), 2);
}

#[tokio::test]
async fn a_key_replaced_under_the_same_kid_is_found_at_once() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    let replacement = SigningKey::es256("k1");
    stage.issuer.publish(KEYS, &key_set(&[&replacement]));
    stage.world.accepts(&stage.token(&replacement, 1)).await;
    assert_eq!(stage.world.refuses(&stage.token(&stage.key, 2)).await, InvalidReason::Signature);
    assert_eq!(stage.fetches(), 2, "the second miss is within the cooldown");
}

#[tokio::test]
async fn rs16_a_removed_key_stops_working_within_the_lifetime_of_the_set() {
    let stage = Stage::new().await;
    let token = stage.token(&stage.key, 0);
    stage.world.accepts(&token).await;
    stage.issuer.publish(KEYS, &key_set(&[&SigningKey::es256("k2")]));
    stage.world.clock.advance(TTL - 1);
    // Verified anew, with the set as it was: this verdict, too, must not outlive the set.
    stage.world.accepts(&token).await;
    stage.world.clock.advance(1);
    assert_eq!(stage.world.refuses(&token).await, InvalidReason::UnknownKey);
}

#[tokio::test]
async fn rs16_an_emptied_set_refuses_everything() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    stage.issuer.publish(KEYS, &json!({ "keys": [] }));
    stage.world.clock.advance(TTL);
    assert_eq!(stage.world.refuses(&stage.token(&stage.key, 1)).await, InvalidReason::UnknownKey);
}

#[tokio::test]
async fn a_set_in_use_is_renewed_before_it_expires_and_nobody_waits() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    stage.issuer.hold();
    stage.world.clock.advance(TTL / 4 * 3);
    let token = stage.token(&stage.key, 1);
    tokio::select! {
        biased;
        outcome = stage.world.present(&token) => { outcome.unwrap(); }
        () = stage.issuer.until_asked(KEYS, 2) => panic!("it was waited for"),
    }
    stage.issuer.until_asked(KEYS, 2).await;
    stage.issuer.release();
    stage.world.clock.advance(TTL / 4 + 1);
    stage.world.accepts(&stage.token(&stage.key, 3)).await;
    assert_eq!(stage.fetches(), 2, "past the first lifetime, on the renewed set");
}

#[tokio::test]
async fn rs17_an_unreachable_issuer_leaves_old_keys_working_up_to_a_bound() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    stage.issuer.break_keys();
    stage.world.clock.advance(TTL);
    stage.world.accepts(&stage.token(&stage.key, 1)).await;
    stage.world.clock.advance(STALE - 1);
    stage.world.accepts(&stage.token(&stage.key, 2)).await;
    stage.world.clock.advance(1);
    let refused = stage.world.present(&stage.token(&stage.key, 3)).await;
    let (status, headers, _) = stage.world.answer(&refused.clone().unwrap_err());
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "5");
    assert!(!headers.contains_key("www-authenticate"), "a client must not throw its token away");
    assert_eq!(retry_after(&refused), Duration::from_secs(5));
    stage.issuer.publish(KEYS, &key_set(&[&stage.key]));
    stage.world.clock.advance(5);
    stage.world.accepts(&stage.token(&stage.key, 4)).await;
}

#[tokio::test]
async fn rs17_an_unknown_key_while_the_issuer_is_out_of_reach_is_not_called_forged() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    stage.issuer.break_keys();
    retry_after(&stage.world.present(&stage.token(&SigningKey::es256("k2"), 1)).await);
    stage.world.accepts(&stage.token(&stage.key, 2)).await;
}

#[tokio::test]
async fn rs17_an_issuer_that_never_answered_is_asked_once_in_a_while() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    issuer.break_keys();
    let world = world_of(&issuer);
    let token = key.sign(&claims(&issuer.issuer, "alice"));
    for _ in 0..20 {
        retry_after(&world.present(&token).await);
    }
    assert_eq!(issuer.asked(KEYS), 1);
    issuer.publish(KEYS, &key_set(&[&key]));
    world.clock.advance(5);
    world.accepts(&token).await;
}

#[tokio::test]
async fn while_an_issuer_fails_nobody_waits_for_it_again() {
    let stage = Stage::new().await;
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    stage.issuer.break_keys();
    stage.world.clock.advance(TTL);
    stage.world.accepts(&stage.token(&stage.key, 1)).await; // found out that it fails
    stage.issuer.hold();
    stage.world.clock.advance(COOLDOWN);
    let token = stage.token(&stage.key, 2);
    tokio::select! {
        biased;
        outcome = stage.world.present(&token) => { outcome.unwrap(); }
        // The next try goes on behind the scenes; it has not been answered when the request is.
        () = stage.issuer.until_asked("/.well-known/oauth-authorization-server", 2) => panic!("it was waited for"),
    }
    stage.issuer.release();
}

#[tokio::test]
async fn bad_members_are_skipped_and_bad_sets_keep_the_old_one() {
    let stage = Stage::new().await;
    let oddities = json!({ "keys": [{ "kty": "oct", "k": "AA" }, 7, null, { "kty": "AKP" }, stage.key.jwk] });
    stage.issuer.publish(KEYS, &oddities);
    stage.world.accepts(&stage.token(&stage.key, 0)).await;
    let flood = json!({ "keys": [stage.key.jwk], "padding": "x".repeat(10_000_000) });
    let crowd = json!({ "keys": vec![stage.key.jwk.clone(); 1_000] });
    for (n, document) in [flood, crowd, json!([]), json!({ "keys": {} })].into_iter().enumerate() {
        stage.issuer.publish(KEYS, &document);
        stage.world.clock.advance(TTL);
        stage.world.accepts(&stage.token(&stage.key, format!("{n}"))).await;
        let miss = stage.token(&SigningKey::es256("k9"), format!("miss {n}"));
        retry_after(&stage.world.present(&miss).await);
    }
}

#[tokio::test]
async fn without_verdicts_every_request_is_verified_with_the_cached_keys() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let verdicts = VerdictPolicy { lifetime: Duration::ZERO, capacity: 0 };
    let issuers = vec![ExternalIssuer::new(&issuer.issuer)];
    let world = World::new(IdentityConfig { issuers, verdicts, ..IdentityConfig::default() }, None);
    let token = key.sign(&claims(&issuer.issuer, "alice"));
    for _ in 0..3 {
        world.accepts(&token).await;
    }
    assert_eq!(issuer.asked(KEYS), 1);
}
