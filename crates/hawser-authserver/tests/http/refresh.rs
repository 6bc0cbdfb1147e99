//! Refreshing over HTTP: the family's rules with real tokens, real races and two nodes.

use std::sync::Arc;
use std::time::Duration;

use hawser_authserver::{AuthServerConfig, GrantStanding, Resource};
use hawser_store::Store as _;
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::claims;
use crate::test_store::told;
use crate::world::{ISSUER, RESOURCE, World, config};

fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().expect("every answer has a refresh token")
}

/// What the resource server does with a newly seen access token.
async fn used(world: &World, tokens: &Value) -> GrantStanding {
    let claims = claims(&tokens["access_token"]);
    let (grant, jti) = (claims["grant"].as_str().unwrap(), claims["jti"].as_str().unwrap());
    world.server.token_accepted(grant, claims["gen"].as_u64().unwrap(), jti).await.unwrap()
}

#[tokio::test]
async fn tk11_jw2_jw3_a_refresh_rotates_and_changes_nothing_but_times() {
    let world = World::new().await;
    let client = world.public_client().await;
    let first = world.tokens(&client, "alice").await;
    world.wait(500);
    let second = world.refresh(&client, refresh_token(&first)).await.json();
    assert_ne!(refresh_token(&first), refresh_token(&second));
    let (before, after) = (claims(&first["access_token"]), claims(&second["access_token"]));
    for same in ["iss", "sub", "aud", "client_id", "scope", "auth_time", "grant"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!((before["gen"].as_u64(), after["gen"].as_u64()), (Some(1), Some(2)));
    assert_eq!(after["iat"], world.now());
}

#[tokio::test]
async fn tk11_a_refresh_of_another_client_or_beyond_the_grant_is_refused_and_costs_nothing() {
    let two = AuthServerConfig {
        resources: vec![
            Resource { identifier: RESOURCE.to_owned(), name: String::new() },
            Resource { identifier: format!("{ISSUER}/other"), name: String::new() },
        ],
        scopes: vec!["mcp".to_owned(), "admin".to_owned()],
        ..config()
    };
    let world = World::with(two).await;
    let (client, other) = (world.public_client().await, world.public_client().await);
    let code = world.code(&client, "alice", &[("scope", "admin mcp")]).await;
    let tokens = world.redeem(&client, &code).await.json();
    world.refresh(&other, refresh_token(&tokens)).await.is_error(400, "invalid_grant");
    let refresh = async |extra: (&str, &str)| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token(&tokens)), extra];
        world.token(&client, &form).await
    };
    refresh(("scope", "mcp openid")).await.is_error(400, "invalid_scope");
    refresh(("resource", "http://127.0.0.1:8420/other")).await.is_error(400, "invalid_target");
    refresh(("resource", "https://evil.example")).await.is_error(400, "invalid_target");
    let narrow = refresh(("scope", "mcp")).await.json();
    assert_eq!(narrow["scope"], "mcp");
    assert_eq!(claims(&narrow["access_token"])["scope"], "mcp");
    // The access token was narrowed, the grant was not.
    let wide = world.refresh(&client, refresh_token(&narrow)).await.json();
    assert_eq!(wide["scope"], "admin mcp");
}

#[tokio::test]
async fn tk11_garbage_and_forged_tokens_are_refused_and_cost_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let good = refresh_token(&tokens);
    let mut flipped = good.to_owned();
    flipped.replace_range(40..41, if &good[40..41] == "A" { "B" } else { "A" });
    // The same family, a generation that was never reached: the generation lies in bytes 17 to 25.
    let mut ahead = good.to_owned();
    ahead.replace_range(30..32, "Zz");
    for wrong in ["x", &good[1..], &flipped, &ahead, &format!("{good}A"), &format!("{good}=")] {
        world.refresh(&client, wrong).await.is_error(400, "invalid_grant");
    }
    world.token(&client, &[("grant_type", "refresh_token")]).await.is_error(400, "invalid_request");
    assert_eq!(world.refresh(&client, good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn tk11_idle_and_absolute_lifetimes_end_a_grant() {
    let world = World::new().await;
    let client = world.public_client().await;
    let idle = world.tokens(&client, "alice").await;
    let mut used = world.tokens(&client, "alice").await;
    for _ in 0..6 {
        world.wait(13 * 24 * 3600);
        used = world.refresh(&client, refresh_token(&used)).await.json();
    }
    world.refresh(&client, refresh_token(&idle)).await.is_error(400, "invalid_grant");
    world.wait(12 * 24 * 3600 - 60);
    let last = world.refresh(&client, refresh_token(&used)).await.json();
    // An access token never outlives the grant.
    assert_eq!(last["expires_in"], 60);
    world.wait(60);
    world.refresh(&client, refresh_token(&last)).await.is_error(400, "invalid_grant");
}

#[tokio::test]
async fn tk12_a_second_process_8_seconds_late_gets_the_very_same_refresh_token() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let first = world.refresh(&client, refresh_token(&tokens)).await.json();
    assert_eq!(used(&world, &first).await, GrantStanding::Active);
    world.wait(8);
    let second = world.refresh(&client, refresh_token(&tokens)).await.json();
    assert_eq!(refresh_token(&first), refresh_token(&second));
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(used(&world, &second).await, GrantStanding::Active);
}

#[tokio::test]
async fn tk12_fa2_a_lost_response_is_recovered_after_1_s_31_s_and_1_h() {
    for late in [1, 31, 3600] {
        let world = World::new().await;
        let client = world.public_client().await;
        let tokens = world.tokens(&client, "alice").await;
        assert_eq!(used(&world, &tokens).await, GrantStanding::Active);
        let lost = world.refresh(&client, refresh_token(&tokens)).await.json();
        world.wait(late);
        let again = world.refresh(&client, refresh_token(&tokens)).await.json();
        assert_eq!(refresh_token(&lost), refresh_token(&again), "{late} s");
        assert_eq!(world.refresh(&client, refresh_token(&again)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn tk12_tk13_reuse_ends_the_grant_on_every_node_and_says_no_more_than_any_refusal() {
    let world = World::new().await;
    let second = world.node(config()).await;
    let client = world.public_client().await;
    let mut revocations = world.server.revocations().follow().await;
    let stolen = world.tokens(&client, "alice").await;
    let current = world.refresh(&client, refresh_token(&stolen)).await.json();
    assert_eq!(used(&world, &current).await, GrantStanding::Active);
    world.wait(31);
    let reuse = second.refresh(&client, refresh_token(&stolen)).await;
    reuse.is_error(400, "invalid_grant");
    assert_eq!(reuse.body, second.refresh(&client, "garbage").await.body);
    let grant = claims(&current["access_token"])["grant"].clone();
    let message: Value = told(&mut revocations).await;
    assert_eq!(message, json!({ "grant": grant, "reason": "refresh_token_reused", "sessions": true }));
    world.refresh(&client, refresh_token(&current)).await.is_error(400, "invalid_grant");
    assert_eq!(used(&world, &current).await, GrantStanding::Revoked);
    assert_eq!(world.server.grant_standing(grant.as_str().unwrap()).await.unwrap(), GrantStanding::Revoked);
}

#[tokio::test]
async fn tk12_reuse_is_found_even_if_the_request_is_wrong_in_other_ways() {
    let world = World::new().await;
    let client = world.public_client().await;
    let stolen = world.tokens(&client, "alice").await;
    let current = world.refresh(&client, refresh_token(&stolen)).await.json();
    used(&world, &current).await;
    world.wait(31);
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token(&stolen)), ("scope", "openid")];
    world.token(&client, &form).await.is_error(400, "invalid_grant");
    assert_eq!(used(&world, &current).await, GrantStanding::Revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tk12_fifty_parallel_refreshes_on_two_nodes_all_get_one_head() {
    let world = Arc::new(World::new().await);
    let second = Arc::new(world.node(config()).await);
    let client = Arc::new(world.public_client().await);
    let mut tokens = world.tokens(&client, "alice").await;
    for generation in 2..5 {
        let presented = refresh_token(&tokens).to_owned();
        let refreshes: Vec<_> = (0..50)
            .map(|n| {
                let node = Arc::clone(if n % 2 == 0 { &world } else { &second });
                let (client, presented) = (Arc::clone(&client), presented.clone());
                tokio::spawn(async move { node.refresh(&client, &presented).await })
            })
            .collect();
        let mut heads = std::collections::BTreeSet::new();
        for refresh in refreshes {
            let answer = refresh.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            tokens = answer.json();
            assert_eq!(claims(&tokens["access_token"])["gen"], generation);
            heads.insert(refresh_token(&tokens).to_owned());
        }
        assert_eq!(heads.len(), 1);
        used(&world, &tokens).await;
        world.wait(600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rv5_a_revocation_that_races_refreshes_leaves_nothing_alive() {
    let world = Arc::new(World::new().await);
    let client = Arc::new(world.public_client().await);
    for _ in 0..40 {
        let tokens = world.tokens(&client, "alice").await;
        let mut races = Vec::new();
        for turn in 0..4 {
            let (world, client) = (Arc::clone(&world), Arc::clone(&client));
            let presented = refresh_token(&tokens).to_owned();
            races.push(tokio::spawn(async move {
                if turn == 2 {
                    world.as_client("/oauth/revoke", &client, &[("token", &presented)]).await
                } else {
                    world.refresh(&client, &presented).await
                }
            }));
        }
        let mut alive = vec![tokens.clone()];
        for race in races {
            let answer = race.await.unwrap();
            if answer.status == StatusCode::OK && answer.json().get("refresh_token").is_some() {
                alive.push(answer.json());
            }
        }
        for tokens in alive {
            world.refresh(&client, refresh_token(&tokens)).await.is_error(400, "invalid_grant");
            assert_eq!(used(&world, &tokens).await, GrantStanding::Revoked);
        }
    }
}

#[tokio::test]
async fn a_confidential_client_keeps_its_refresh_token_until_late_in_its_life() {
    let world = World::new().await;
    let client = world.confidential_client("client_secret_basic").await;
    let tokens = world.tokens(&client, "alice").await;
    world.wait(9 * 24 * 3600);
    let kept = world.refresh(&client, refresh_token(&tokens)).await.json();
    assert_eq!(refresh_token(&tokens), refresh_token(&kept));
    world.wait(24 * 3600);
    let rotated = world.refresh(&client, refresh_token(&kept)).await.json();
    assert_ne!(refresh_token(&kept), refresh_token(&rotated));
}

#[tokio::test]
async fn a_restart_keeps_grants_and_a_store_without_them_refuses() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let restarted = world.node(config()).await;
    assert_eq!(restarted.refresh(&client, refresh_token(&tokens)).await.status, StatusCode::OK);
    let unknown = world.server.token_accepted("AAAAAAAAAAAAAAAAAAAAAA", 1, "x").await.unwrap();
    assert_eq!(unknown, GrantStanding::Revoked);
    for odd in ["", "../x", "a b", "ä"] {
        assert_eq!(world.server.grant_standing(odd).await.unwrap(), GrantStanding::Revoked);
    }
}

#[tokio::test]
async fn rows_of_another_version_are_absent_and_deleted() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let grant = claims(&tokens["access_token"])["grant"].as_str().unwrap().to_owned();
    let key = hawser_store::Key::new("as-grant", &grant).unwrap();
    let row = world.store.get(&key).await.unwrap().unwrap();
    let mut other: Value = serde_json::from_slice(&row).unwrap();
    assert_eq!(other["v"], 1);
    other["v"] = 2.into();
    world.store.put(&key, other.to_string().into(), Some(Duration::from_hours(1))).await.unwrap();
    world.refresh(&client, refresh_token(&tokens)).await.is_error(400, "invalid_grant");
    assert!(world.store.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_generation_ahead_of_the_head_is_not_accepted() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let grant = claims(&tokens["access_token"])["grant"].as_str().unwrap().to_owned();
    assert_eq!(world.server.token_accepted(&grant, 2, "x").await.unwrap(), GrantStanding::Revoked);
    assert_eq!(world.server.token_accepted(&grant, 1, "x").await.unwrap(), GrantStanding::Active);
}
