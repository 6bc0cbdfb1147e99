//! Dynamic client registration.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;

use crate::world::{World, config};

#[tokio::test]
async fn dc1_registration_echoes_what_is_effective_and_keeps_no_secret() {
    let world = World::new().await;
    let answer = world
        .register(&json!({ "redirect_uris": ["https://app.example/cb"], "client_name": "App", "unknown": { "x": 1 } }))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(body["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(body["response_types"], json!(["code"]));
    assert_eq!(body["application_type"], "web");
    assert_eq!(body["client_secret_expires_at"], 0);
    assert_eq!(body["client_id_issued_at"], world.now());
    assert_eq!(body["client_name"], "App");
    assert!(body.get("unknown").is_none());
    // 256 bits in base64url.
    assert_eq!(body["client_secret"].as_str().unwrap().len(), 43);

    let metadata = json!({ "redirect_uris": ["http://localhost/cb"], "token_endpoint_auth_method": "none" });
    let public = world.register(&metadata).await.json();
    assert!(public.get("client_secret").is_none() && public.get("client_secret_expires_at").is_none());
    assert_eq!(public["application_type"], "native");
}

#[tokio::test]
async fn dc4_the_client_id_is_random_and_never_the_callers() {
    let world = World::new().await;
    let wanted = json!({ "redirect_uris": ["https://app.example/cb"], "client_id": "user:alice" });
    let first = world.register(&wanted).await.json()["client_id"].as_str().unwrap().to_owned();
    let second = world.register(&wanted).await.json()["client_id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert!(first.starts_with("client-") && first.len() == "client-".len() + 22, "{first}");
}

#[tokio::test]
async fn dc2_az16_refusals_have_their_names() {
    let world = World::new().await;
    for uri in ["javascript:alert(1)", "custom://cb", "http://app.example/cb", "https://app.example/cb#f"] {
        world.register(&json!({ "redirect_uris": [uri] })).await.is_error(400, "invalid_redirect_uri");
    }
    let many: Vec<String> = (0..17).map(|n| format!("https://app.example/{n}")).collect();
    world.register(&json!({ "redirect_uris": many })).await.is_error(400, "invalid_redirect_uri");
    for body in ["", "[]", "{", "{\"redirect_uris\": \"https://app.example\"}", "null"] {
        let request = Request::post("/oauth/register").body(Body::from(body)).unwrap();
        world.send(request).await.is_error(400, "invalid_client_metadata");
    }
    let huge = json!({ "redirect_uris": ["https://app.example/cb"], "x": "y".repeat(70_000) });
    world.register(&huge).await.is_error(400, "invalid_client_metadata");
    world.get("/oauth/register").await.is_error(405, "invalid_request");
}

#[tokio::test]
async fn dc6_one_address_is_limited_and_leaves_room_for_others() {
    let mut limited = config();
    limited.registration.per_address = 3;
    let world = World::with(limited).await;
    let metadata = json!({ "redirect_uris": ["https://app.example/cb"] });
    let (greedy, other) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
    for _ in 0..3 {
        assert_eq!(world.register_from(&metadata, greedy).await.status, StatusCode::CREATED);
    }
    let refused = world.register_from(&metadata, greedy).await;
    refused.is_error(429, "temporarily_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(world.register_from(&metadata, other).await.status, StatusCode::CREATED);
    // Addresses of one IPv6 network are one party.
    for host in 1..=3 {
        let address: IpAddr = format!("2001:db8::{host}").parse().unwrap();
        assert_eq!(world.register_from(&metadata, address).await.status, StatusCode::CREATED);
    }
    let neighbour: IpAddr = "2001:db8::ffff:1".parse().unwrap();
    world.register_from(&metadata, neighbour).await.is_error(429, "temporarily_unavailable");
}

#[tokio::test]
async fn dc6_the_number_of_unused_clients_is_capped_over_all_nodes() {
    let mut capped = config();
    capped.registration.unused_max = 4;
    let world = World::with(capped.clone()).await;
    let second = world.node(capped).await;
    let metadata = json!({ "redirect_uris": ["https://app.example/cb"] });
    for node in [&world, &second, &world, &second] {
        assert_eq!(node.register(&metadata).await.status, StatusCode::CREATED);
    }
    world.register(&metadata).await.is_error(429, "temporarily_unavailable");
    world.wait(24 * 3600);
    assert_eq!(world.register(&metadata).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn dc6_an_unused_client_is_forgotten_and_a_used_one_lives_on() {
    let world = World::new().await;
    let (unused, used) = (world.public_client().await, world.public_client().await);
    let mut tokens = world.tokens(&used, "alice").await;
    world.wait(24 * 3600);
    world.get(&unused.request(&[])).await.is_error_page(400);
    world.refresh(&unused, "x").await.is_error(401, "invalid_client");
    for _ in 0..8 {
        world.wait(10 * 24 * 3600);
        let answer = world.refresh(&used, tokens["refresh_token"].as_str().unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        tokens = answer.json();
    }
}

/// What Cursor, VS Code and Claude Code send when they connect for the first time.
#[tokio::test]
async fn registrations_as_real_clients_send_them_are_accepted_whole() {
    let world = World::new().await;
    for metadata in [
        json!({
            "client_name": "Cursor",
            "redirect_uris": [
                "cursor://anysphere.cursor-mcp/oauth/callback",
                "https://www.cursor.com/agents/mcp/oauth/callback",
                "http://localhost:8787/callback",
            ],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        }),
        json!({
            "client_name": "Visual Studio Code",
            "client_uri": "https://code.visualstudio.com",
            "grant_types": [
                "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "response_types": ["code"],
            "redirect_uris": [
                "https://insiders.vscode.dev/redirect",
                "https://vscode.dev/redirect",
                "http://127.0.0.1/",
                "http://127.0.0.1:33418/",
            ],
            "token_endpoint_auth_method": "none",
        }),
        json!({
            "client_name": "Claude Code (gateway)",
            "redirect_uris": ["http://localhost:54545/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": "mcp offline_access",
        }),
    ] {
        let answer = world.register(&metadata).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        assert_eq!(answer.json()["redirect_uris"], metadata["redirect_uris"]);
        assert_eq!(answer.json()["token_endpoint_auth_method"], "none");
        assert!(answer.json().get("client_secret").is_none());
    }
}
