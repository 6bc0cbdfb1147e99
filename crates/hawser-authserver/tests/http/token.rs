//! The token endpoint with authorization codes.

use std::sync::Arc;

use axum::body::Body;
use hawser_authserver::GrantStanding;
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::answer::{claims, jose_header};
use crate::world::{ISSUER, RESOURCE, VERIFIER, World, basic, config};

#[tokio::test]
async fn jw1_jw2_tk10_the_access_token_is_an_rfc_9068_token() {
    let world = World::new().await;
    let client = world.public_client().await;
    let code = world.code(&client, "alice", &[]).await;
    let answer = world.redeem(&client, &code).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 600);
    assert_eq!(tokens["scope"], "mcp");
    let (header, body) = (jose_header(&tokens["access_token"]), claims(&tokens["access_token"]));
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
    let keys = world.get("/oauth/jwks").await.json();
    assert_eq!(header["kid"], keys["keys"][0]["kid"]);
    assert_eq!(body["iss"], ISSUER);
    assert_eq!(body["aud"], RESOURCE);
    assert_eq!(body["sub"], "dev:alice");
    assert_eq!(body["client_id"], client.id);
    assert_eq!(body["iat"], world.now());
    assert_eq!(body["exp"], world.now() + 600);
    assert_eq!(body["auth_time"], world.now());
    assert_eq!(body["scope"], "mcp");
    assert_eq!(body["gen"], 1);
    assert!(body["jti"].as_str().unwrap().len() >= 22);

    // The published key verifies it.
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys["keys"][0].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_audience(&[RESOURCE]);
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).unwrap();
}

#[tokio::test]
async fn tk1_tk2_tk3_what_is_no_proper_request_is_refused_in_json() {
    let world = World::new().await;
    let client = world.public_client().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let request = Request::builder().method(method.clone()).uri("/oauth/token").body(Body::empty()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!((answer.header("cache-control"), answer.header("allow")), ("no-store", "POST"));
    }
    let code = world.code(&client, "alice", &[]).await;
    for twice in [("code", code.as_str()), ("grant_type", "authorization_code"), ("unknown", "1")] {
        let form = [("code_verifier", VERIFIER), twice, twice];
        world.redeem_with(&client, &code, &form).await.is_error(400, "invalid_request");
    }
    world.token(&client, &[("code", &code)]).await.is_error(400, "invalid_request");
    world.token(&client, &[("grant_type", "authorization_code")]).await.is_error(400, "invalid_request");
    world.token(&client, &[("grant_type", "password")]).await.is_error(400, "unsupported_grant_type");
    world.token(&client, &[("grant_type", "client_credentials")]).await.is_error(400, "unsupported_grant_type");
    let json = Request::post("/oauth/token").header("content-type", "application/json").body(Body::from("{}")).unwrap();
    world.send(json).await.is_error(400, "invalid_request");
    let huge = "x".repeat(70_000);
    world.token(&client, &[("grant_type", &huge)]).await.is_error(400, "invalid_request");
    // The code survived all of it.
    assert_eq!(world.redeem(&client, &code).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tk4_tk5_clients_authenticate_as_they_registered() {
    let world = World::new().await;
    let by_basic = world.confidential_client("client_secret_basic").await;
    let by_post = world.confidential_client("client_secret_post").await;
    let public = world.public_client().await;
    for client in [&by_basic, &by_post] {
        let tokens = world.tokens(client, "alice").await;
        assert!(tokens["refresh_token"].is_string());
    }
    let (id, secret) = (by_basic.id.as_str(), by_basic.secret.as_deref().unwrap());
    let grant = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let post = async |extra: &[(&str, &str)], headers: &[(&str, &str)]| {
        world.post_with("/oauth/token", &[&grant, extra].concat(), headers).await
    };
    let wrong = post(&[], &[("authorization", &basic(id, "wrong"))]).await;
    wrong.is_error(401, "invalid_client");
    assert!(wrong.header("www-authenticate").starts_with("Basic"));
    post(&[("client_id", id)], &[]).await.is_error(401, "invalid_client");
    post(&[("client_id", id), ("client_secret", secret)], &[]).await.is_error(401, "invalid_client");
    post(&[("client_id", &public.id), ("client_secret", "x")], &[]).await.is_error(401, "invalid_client");
    post(&[], &[]).await.is_error(401, "invalid_client");
    post(&[("client_id", "client-unknown")], &[]).await.is_error(401, "invalid_client");
    post(&[("client_secret", secret)], &[("authorization", &basic(id, secret))]).await.is_error(400, "invalid_request");
    let twice = [("authorization", basic(id, secret)), ("authorization", basic(id, secret))];
    let twice: Vec<(&str, &str)> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    post(&[], &twice).await.is_error(400, "invalid_request");
    post(&[], &[("authorization", "Bearer x")]).await.is_error(401, "invalid_client");
    let in_url = format!("/oauth/token?client_id={id}&client_secret={secret}");
    world.post(&in_url, &grant).await.is_error(400, "invalid_request");
}

/// Clients that register without a method get the default, and some send the secret in the body all the same.
#[tokio::test]
async fn tk4_tk5_a_client_that_stated_no_method_may_send_its_secret_either_way_but_must_send_it() {
    let world = World::new().await;
    let client = world.client(&json!({ "redirect_uris": ["https://app.example/cb"] })).await;
    assert_eq!(client.method, "client_secret_basic");
    let (id, secret) = (client.id.as_str(), client.secret.as_deref().unwrap());
    let grant = [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", id)];
    let post = async |extra: &[(&str, &str)], headers: &[(&str, &str)]| {
        world.post_with("/oauth/token", &[&grant, extra].concat(), headers).await
    };
    post(&[], &[("authorization", &basic(id, secret))]).await.is_error(400, "invalid_grant");
    post(&[("client_secret", secret)], &[]).await.is_error(400, "invalid_grant");
    post(&[("client_secret", "wrong")], &[]).await.is_error(401, "invalid_client");
    post(&[], &[]).await.is_error(401, "invalid_client");
}

#[tokio::test]
async fn tk5_repeated_failures_are_slowed_down() {
    let world = World::new().await;
    let client = world.confidential_client("client_secret_basic").await;
    let wrong = basic(&client.id, "wrong");
    let grant = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    for _ in 0..20 {
        world.post_with("/oauth/token", &grant, &[("authorization", &wrong)]).await.is_error(401, "invalid_client");
    }
    world
        .post_with("/oauth/token", &grant, &[("authorization", &wrong)])
        .await
        .is_error(429, "temporarily_unavailable");
    // Whoever guesses from the client's own address does not lock it out.
    let right = basic(&client.id, client.secret.as_deref().unwrap());
    world.post_with("/oauth/token", &grant, &[("authorization", &right)]).await.is_error(400, "invalid_grant");
    world.wait(60);
    world.post_with("/oauth/token", &grant, &[("authorization", &wrong)]).await.is_error(401, "invalid_client");
}

#[tokio::test]
async fn tk6_tk7_an_invalid_presentation_is_refused_and_consumes_nothing() {
    let world = World::new().await;
    let (client, other) = (world.public_client().await, world.public_client().await);
    let code = world.code(&client, "alice", &[]).await;
    world.redeem(&other, &code).await.is_error(400, "invalid_grant");
    let wrong_verifier = format!("{VERIFIER}x");
    for extra in [
        vec![],
        vec![("code_verifier", "short")],
        vec![("code_verifier", wrong_verifier.as_str())],
        vec![("code_verifier", VERIFIER), ("redirect_uri", "http://localhost:1/callback")],
        vec![("code_verifier", VERIFIER), ("redirect_uri", "http://localhost/callback")],
    ] {
        world.redeem_with(&client, &code, &extra).await.is_error(400, "invalid_grant");
    }
    let cut = &code[..code.len() - 1];
    for wrong in [cut, "x", ".", "", &format!("{code}x")] {
        let error = if wrong.is_empty() { "invalid_request" } else { "invalid_grant" };
        world.redeem(&client, wrong).await.is_error(400, error);
    }
    let form = [("code_verifier", VERIFIER), ("redirect_uri", client.redirect_uri.as_str())];
    assert_eq!(world.redeem_with(&client, &code, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tk6_a_code_is_good_for_60_seconds() {
    let world = World::new().await;
    let client = world.public_client().await;
    let (in_time, late) = (world.code(&client, "alice", &[]).await, world.code(&client, "alice", &[]).await);
    world.wait(59);
    assert_eq!(world.redeem(&client, &in_time).await.status, StatusCode::OK);
    world.wait(1);
    world.redeem(&client, &late).await.is_error(400, "invalid_grant");
}

#[tokio::test]
async fn tk7_a_second_valid_presentation_revokes_everything_and_an_invalid_one_does_not() {
    let world = World::new().await;
    let client = world.public_client().await;
    let code = world.code(&client, "alice", &[]).await;
    let tokens = world.redeem(&client, &code).await.json();
    let access = claims(&tokens["access_token"]);
    let (grant, jti) = (access["grant"].as_str().unwrap(), access["jti"].as_str().unwrap());
    world
        .redeem_with(&client, &code, &[("code_verifier", &format!("{VERIFIER}x"))])
        .await
        .is_error(400, "invalid_grant");
    assert_eq!(world.server.token_accepted(grant, 1, jti).await.unwrap(), GrantStanding::Active);
    // Long after the code is over, while its tokens live.
    world.wait(300);
    world.redeem(&client, &code).await.is_error(400, "invalid_grant");
    assert_eq!(world.server.token_accepted(grant, 1, jti).await.unwrap(), GrantStanding::Revoked);
    world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.is_error(400, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tk8_parallel_redemptions_give_exactly_one_200() {
    let world = Arc::new(World::new().await);
    let second = Arc::new(world.node(config()).await);
    let client = Arc::new(world.public_client().await);
    for _ in 0..5 {
        let code = world.code(&client, "alice", &[]).await;
        let redemptions: Vec<_> = (0..50)
            .map(|n| {
                let node = Arc::clone(if n % 2 == 0 { &world } else { &second });
                let (client, code) = (Arc::clone(&client), code.clone());
                tokio::spawn(async move { node.redeem(&client, &code).await })
            })
            .collect();
        let mut served = Vec::new();
        for redemption in redemptions {
            let answer = redemption.await.unwrap();
            match answer.status {
                StatusCode::OK => served.push(answer.json()),
                _ => answer.is_error(400, "invalid_grant"),
            }
        }
        assert_eq!(served.len(), 1);
        // The other 49 were valid presentations too: whoever got the tokens has lost them.
        let grant = claims(&served[0]["access_token"])["grant"].as_str().unwrap().to_owned();
        assert_eq!(world.server.grant_standing(&grant).await.unwrap(), GrantStanding::Revoked);
    }
}

#[tokio::test]
async fn tk9_another_resource_is_an_invalid_target_and_consumes_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let code = world.code(&client, "alice", &[]).await;
    let form = [("code_verifier", VERIFIER), ("resource", "https://other.example/mcp")];
    world.redeem_with(&client, &code, &form).await.is_error(400, "invalid_target");
    let form = [("code_verifier", VERIFIER), ("resource", "http://127.0.0.1:8420/mcp/")];
    assert_eq!(world.redeem_with(&client, &code, &form).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tk15_a_client_that_did_not_register_for_refreshing_gets_no_refresh_token() {
    let world = World::new().await;
    let metadata = json!({
        "redirect_uris": ["http://localhost/callback"],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
    });
    let client = world.client(&metadata).await;
    let tokens = world.tokens(&client, "alice").await;
    assert!(tokens.get("refresh_token").is_none());
    world.refresh(&client, "x").await.is_error(400, "unauthorized_client");
}

#[tokio::test]
async fn two_users_of_one_client_hold_grants_of_their_own() {
    let world = World::new().await;
    let client = world.public_client().await;
    let (alice, bob) = (world.tokens(&client, "alice").await, world.tokens(&client, "bob").await);
    let (alice_claims, bob_claims) = (claims(&alice["access_token"]), claims(&bob["access_token"]));
    assert_ne!(alice_claims["sub"], bob_claims["sub"]);
    assert_ne!(alice_claims["grant"], bob_claims["grant"]);
    world.server.revoke_grant(bob_claims["grant"].as_str().unwrap(), "administrator").await.unwrap();
    world.refresh(&client, bob["refresh_token"].as_str().unwrap()).await.is_error(400, "invalid_grant");
    assert_eq!(world.refresh(&client, alice["refresh_token"].as_str().unwrap()).await.status, StatusCode::OK);
}

/// A body that never ends holds a connection for a bounded time.
#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let world = World::new().await;
    let form = "application/x-www-form-urlencoded";
    for (path, content_type, error) in [
        ("/oauth/token", form, "invalid_request"),
        ("/oauth/revoke", form, "invalid_request"),
        ("/oauth/register", "application/json", "invalid_client_metadata"),
    ] {
        let endless = Body::from_stream(futures_util::stream::pending::<Result<&'static str, std::io::Error>>());
        let request = Request::post(path).header("content-type", content_type).body(endless).unwrap();
        world.send(request).await.is_error(400, error);
    }
}
