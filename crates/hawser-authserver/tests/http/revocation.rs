//! Token revocation.

use hawser_authserver::GrantStanding;
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::claims;
use crate::test_store::{at_once, told};
use crate::world::World;

async fn standing(world: &World, tokens: &Value) -> GrantStanding {
    let claims = claims(&tokens["access_token"]);
    let (grant, jti) = (claims["grant"].as_str().unwrap(), claims["jti"].as_str().unwrap());
    world.server.token_accepted(grant, claims["gen"].as_u64().unwrap(), jti).await.unwrap()
}

#[tokio::test]
async fn rv2_rv4_a_refresh_token_takes_its_grant_along_whatever_the_hint() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let mut revocations = world.server.revocations().follow().await;
    let form = [("token", tokens["refresh_token"].as_str().unwrap()), ("token_type_hint", "access_token")];
    assert_eq!(world.as_client("/oauth/revoke", &client, &form).await.status, StatusCode::OK);
    assert_eq!(standing(&world, &tokens).await, GrantStanding::Revoked);
    world.refresh(&client, form[0].1).await.is_error(400, "invalid_grant");
    let message: Value = told(&mut revocations).await;
    let grant = claims(&tokens["access_token"])["grant"].clone();
    assert_eq!(message, json!({ "grant": grant, "reason": "revoked_by_client", "sessions": true }));
}

#[tokio::test]
async fn rv2_an_access_token_goes_alone_and_its_grant_lives() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let mut revocations = world.server.revocations().follow().await;
    let form = [("token", tokens["access_token"].as_str().unwrap()), ("token_type_hint", "refresh_token")];
    assert_eq!(world.as_client("/oauth/revoke", &client, &form).await.status, StatusCode::OK);
    let message: Value = told(&mut revocations).await;
    let body = claims(&tokens["access_token"]);
    let expected = json!({ "grant": body["grant"], "jti": body["jti"], "reason": "token_revoked", "sessions": false });
    assert_eq!(message, expected);
    assert_eq!(standing(&world, &tokens).await, GrantStanding::Revoked);
    assert_eq!(world.server.grant_standing(body["grant"].as_str().unwrap()).await.unwrap(), GrantStanding::Active);
    let next = world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(standing(&world, &next).await, GrantStanding::Active);
}

#[tokio::test]
async fn rv1_rv3_foreign_and_meaningless_tokens_get_200_and_nothing_happens() {
    let world = World::new().await;
    let (client, other) = (world.public_client().await, world.public_client().await);
    let confidential = world.confidential_client("client_secret_post").await;
    let tokens = world.tokens(&client, "alice").await;
    let mut revocations = world.server.revocations().follow().await;
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let forged = format!("{}{}", &access[..access.len() - 4], "AAAA");
    for token in [access, refresh] {
        for foreign in [&other, &confidential] {
            assert_eq!(world.as_client("/oauth/revoke", foreign, &[("token", token)]).await.status, StatusCode::OK);
        }
    }
    for token in ["garbage", &forged, "a.b.c", &refresh[1..]] {
        assert_eq!(world.as_client("/oauth/revoke", &client, &[("token", token)]).await.status, StatusCode::OK);
    }
    assert_eq!(at_once(&mut revocations).await, None);
    assert_eq!(standing(&world, &tokens).await, GrantStanding::Active);
    // Who the caller is still matters, and so does the form of the request.
    world
        .post("/oauth/revoke", &[("token", refresh), ("client_id", &confidential.id)])
        .await
        .is_error(401, "invalid_client");
    world.post("/oauth/revoke", &[("token", refresh)]).await.is_error(401, "invalid_client");
    world.as_client("/oauth/revoke", &client, &[]).await.is_error(400, "invalid_request");
    world.get("/oauth/revoke").await.is_error(405, "invalid_request");
}

/// What was opened under a grant may live longer than the grant, and asks about it only when it is next looked at.
#[tokio::test]
async fn tk13_a_revocation_is_remembered_long_after_the_grant_would_have_ended() {
    let world = World::new().await;
    // Without refresh tokens a grant ends with its access token.
    let short = json!({
        "redirect_uris": ["http://localhost/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    });
    let client = world.client(&short).await;
    let (revoked, ended) = (world.tokens(&client, "alice").await, world.tokens(&client, "alice").await);
    let grant_of = |tokens: &Value| claims(&tokens["access_token"])["grant"].as_str().unwrap().to_owned();
    world.server.revoke_grant(&grant_of(&revoked), "test").await.unwrap();
    for seconds in [0, 11 * 60, 3600, 7 * 24 * 3600] {
        world.wait(seconds);
        assert!(world.server.is_revoked(&grant_of(&revoked)).await.unwrap(), "{seconds} s later");
        assert!(!world.server.is_revoked(&grant_of(&ended)).await.unwrap(), "{seconds} s later");
        // The tokens of both are over all the same.
        if seconds > 0 {
            assert_eq!(standing(&world, &ended).await, GrantStanding::Revoked);
        }
    }
    assert!(!world.server.is_revoked("no grant id").await.unwrap());
}
