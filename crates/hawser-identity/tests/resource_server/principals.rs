//! Whom a token proves: issuer, tenant, subject and kind, never folded together.

use hawser_identity::{ExternalIssuer, InvalidReason};
use hawser_owner::PrincipalKind;
use serde_json::json;

use crate::issuers::IssuerServer;
use crate::signing::{SigningKey, with, without};
use crate::traps::Stage;
use crate::world::{World, claims};

#[tokio::test]
async fn the_same_subject_at_two_issuers_is_two_principals() {
    let (first_key, second_key) = (SigningKey::es256("k1"), SigningKey::es256("k1"));
    let first = IssuerServer::start(&[&first_key]).await;
    let second = IssuerServer::start(&[&second_key]).await;
    let world = World::trusting([ExternalIssuer::new(&first.issuer), ExternalIssuer::new(&second.issuer)]);
    let alice = world.accepts(&first_key.sign(&claims(&first.issuer, "alice"))).await;
    let other = world.accepts(&second_key.sign(&claims(&second.issuer, "alice"))).await;
    assert_ne!(alice.principal(), other.principal());
    let refreshed = with(claims(&first.issuer, "alice"), "jti", "j2");
    assert_eq!(world.accepts(&first_key.sign(&refreshed)).await.principal(), alice.principal());
    let crossed = second_key.sign(&claims(&first.issuer, "alice"));
    assert_eq!(world.refuses(&crossed).await, InvalidReason::Signature, "one issuer's key signs for it alone");
}

#[tokio::test]
async fn a_client_that_acts_for_itself_is_not_the_user_of_that_name() {
    let stage = Stage::new().await;
    let user = stage.world.accepts(&stage.key.sign(&stage.claims())).await;
    let client = stage.world.accepts(&stage.key.sign(&with(stage.claims(), "client_id", "alice"))).await;
    assert_eq!(client.principal().kind(), PrincipalKind::Client);
    assert_ne!(client.principal(), user.principal());
    let azp = with(without(stage.claims(), "client_id"), "azp", "alice");
    assert_eq!(stage.world.accepts(&stage.key.sign(&azp)).await.principal(), client.principal());
}

#[tokio::test]
async fn tenants_are_demanded_and_kept_apart() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let tenant = |id: &str| with(claims(&issuer.issuer, "alice"), "tid", id);
    let mut config = ExternalIssuer::new(&issuer.issuer);
    config.tenant_claim = Some("tid".to_owned());
    let open = World::trusting([config.clone()]);
    let (a, b) = (open.accepts(&key.sign(&tenant("a"))).await, open.accepts(&key.sign(&tenant("b"))).await);
    assert_ne!(a.principal(), b.principal());
    config.tenant = Some("a".to_owned());
    let closed = World::trusting([config]);
    closed.accepts(&key.sign(&tenant("a"))).await;
    assert_eq!(closed.refuses(&key.sign(&tenant("b"))).await, InvalidReason::Tenant);
    assert_eq!(closed.refuses(&key.sign(&claims(&issuer.issuer, "alice"))).await, InvalidReason::Tenant);
    assert_eq!(closed.refuses(&key.sign(&with(tenant("a"), "tid", json!(["a"])))).await, InvalidReason::Tenant);
}

#[tokio::test]
async fn another_claim_may_name_the_subject() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let mut config = ExternalIssuer::new(&issuer.issuer);
    config.subject_claim = "oid".to_owned();
    let world = World::trusting([config]);
    let who = world.accepts(&key.sign(&with(claims(&issuer.issuer, "pairwise"), "oid", "stable"))).await;
    assert_eq!(who.principal().subject().unwrap().as_str(), "stable");
    assert_eq!(world.refuses(&key.sign(&claims(&issuer.issuer, "x"))).await, InvalidReason::SubjectMissing);
}
