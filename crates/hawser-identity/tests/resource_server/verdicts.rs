//! Remembered verdicts: cheap, short-lived, and never more than was verified.

use hawser_identity::{ExternalIssuer, InvalidReason};

use crate::issuers::IssuerServer;
use crate::signing::{SigningKey, with};
use crate::world::{NOW, World, claims};

async fn stage() -> (IssuerServer, SigningKey, World) {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
    (issuer, key, world)
}

#[tokio::test]
async fn rs14_a_remembered_token_expires_on_time() {
    let (issuer, key, world) = stage().await;
    let token = key.sign(&with(claims(&issuer.issuer, "alice"), "exp", NOW + 10));
    world.accepts(&token).await;
    world.clock.advance(39);
    world.accepts(&token).await; // within the skew
    world.clock.advance(1);
    assert_eq!(world.refuses(&token).await, InvalidReason::Expired);
}

#[tokio::test]
async fn the_same_proof_is_handed_out_until_the_verdict_ends() {
    let (issuer, key, world) = stage().await;
    let token = key.sign(&claims(&issuer.issuer, "alice"));
    let first = world.accepts(&token).await;
    let second = world.accepts(&token).await;
    assert!(std::ptr::eq(first.principal(), second.principal()), "remembered, not parsed again");
    assert_eq!(first.token_digest(), second.token_digest());
    world.clock.advance(60);
    assert!(!std::ptr::eq(first.principal(), world.accepts(&token).await.principal()));
}

#[tokio::test]
async fn a_token_that_differs_in_its_signature_alone_is_another_token() {
    let (issuer, key, world) = stage().await;
    let claims = claims(&issuer.issuer, "alice");
    let (one, two) = (key.sign(&claims), key.sign(&claims)); // ECDSA signatures are random
    assert_ne!(one, two);
    let (one, two) = (world.accepts(&one).await, world.accepts(&two).await);
    assert_ne!(one.token_digest(), two.token_digest());
    assert_eq!(one.principal(), two.principal());
}
