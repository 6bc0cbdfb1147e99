//! The store fails, or the process ends.

use std::sync::Arc;

use hawser_authserver::GrantStanding;
use hawser_owner::{KeyRingDocument, KeyState, RingKeyDocument, SystemEntropy};
use hawser_store::{MemoryStore, RedbStore};
use http::StatusCode;
use serde_json::json;

use crate::answer::claims;
use crate::browser::Browser;
use crate::world::{World, config};

#[tokio::test]
async fn an_outage_of_the_store_is_a_503_that_loses_and_revokes_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    let code = world.code(&client, "alice", &[]).await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let access = claims(&tokens["access_token"]);
    let grant = access["grant"].as_str().unwrap();
    let mut browser = Browser::new(&world);
    let consent = browser.log_in(&client, "alice", &[]).await;

    world.store.set_down(true);
    let refused = world.refresh(&client, refresh_token).await;
    refused.is_error(503, "temporarily_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    world.redeem(&client, &code).await.is_error(503, "temporarily_unavailable");
    world
        .as_client("/oauth/revoke", &client, &[("token", refresh_token)])
        .await
        .is_error(503, "temporarily_unavailable");
    let metadata = json!({ "redirect_uris": ["https://app.example/cb"] });
    world.register(&metadata).await.is_error(503, "temporarily_unavailable");
    browser.get(&client.request(&[])).await.is_error_page(503);
    browser.submit("/oauth/consent", &consent, &[("decision", "approve")]).await.is_error_page(503);
    assert!(world.server.token_accepted(grant, 1, "x").await.is_err());
    assert!(world.server.grant_standing(grant).await.is_err());
    // What needs no store goes on.
    assert_eq!(world.get("/oauth/jwks").await.status, StatusCode::OK);

    world.store.set_down(false);
    assert_eq!(world.redeem(&client, &code).await.status, StatusCode::OK);
    assert_eq!(world.refresh(&client, refresh_token).await.status, StatusCode::OK);
    assert_eq!(world.server.grant_standing(grant).await.unwrap(), GrantStanding::Active);
    let answer = browser.submit("/oauth/consent", &consent, &[("decision", "approve")]).await;
    assert!(answer.location_parameters().contains_key("code"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_clients_logins_and_grants_survive_a_restart_on_the_embedded_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let world = World::on(config(), Arc::new(RedbStore::open(&path).unwrap())).await;
    let client = world.public_client().await;
    let mut browser = Browser::new(&world);
    browser.log_in(&client, "alice", &[]).await;
    let tokens = world.tokens(&client, "alice").await;
    let keys = world.get("/oauth/jwks").await.body;
    let cookies = browser.cookies.clone();
    let pieces = world.close();

    let world = pieces.reopen(config(), Arc::new(RedbStore::open(&path).unwrap())).await;
    assert_eq!(world.get("/oauth/jwks").await.body, keys);
    let mut browser = Browser::new(&world);
    browser.cookies = cookies;
    assert!(browser.get(&client.request(&[])).await.text().contains("decision"));
    let refreshes = (0..20).map(|_| world.refresh(&client, tokens["refresh_token"].as_str().unwrap()));
    for answer in futures_util::future::join_all(refreshes).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(claims(&answer.json()["access_token"])["gen"], 2);
    }
}

#[tokio::test]
async fn another_key_ring_does_not_open_the_stored_keys_and_the_server_says_so() {
    let world = World::new().await;
    let other = KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
    let refused = world.open_with(&other).await.unwrap_err().to_string();
    assert!(refused.contains("key ring"), "{refused}");
}

#[tokio::test]
async fn signing_keys_outlive_the_ring_keys_that_they_were_sealed_under() {
    let world = World::new().await;
    let first = KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
    let second = KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
    let store = Arc::new(MemoryStore::new());
    let open = async |ring: &KeyRingDocument| world.open_on(store.clone(), ring).await.unwrap().jwks().await;
    let jwks = open(&first).await;
    let mut both = second.clone();
    both.keys.extend(first.keys.iter().map(retired));
    assert_eq!(open(&both).await, jwks);
    assert_eq!(open(&second).await, jwks);
}

fn retired(key: &RingKeyDocument) -> RingKeyDocument {
    let mut retired = key.clone();
    retired.state = KeyState::Retired;
    retired
}
