//! Signing keys that are replaced and removed while two nodes serve, and a store that loses them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_authserver::{AuthServer, SigningKeyState, SigningKeysError};
use hawser_owner::{KeyRing, KeyRingDocument, SystemEntropy, Timestamp};
use hawser_store::{Key, MemoryStore, Store as _};
use http::StatusCode;
use serde_json::Value;

use crate::answer::{claims, jose_header};
use crate::test_store::TestStore;
use crate::world::{World, config};

const HOUR: u64 = 3_600;

/// Two nodes on one store.
async fn two_nodes() -> (World, World) {
    let one = World::new().await;
    one.store.set_shared();
    let other = one.node(config()).await;
    other.store.set_shared();
    (one, other)
}

/// The ids in the published set, after the node has looked at the row.
async fn published(node: &World) -> Vec<String> {
    node.server.jwks().await;
    let set = node.get("/oauth/jwks").await.json();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(tokens: &Value) -> String {
    jose_header(&tokens["access_token"])["kid"].as_str().unwrap().to_owned()
}

fn states(node: &World) -> Vec<SigningKeyState> {
    node.server.signing_keys().iter().map(|key| key.state).collect()
}

fn row() -> Key {
    Key::new("as-keys", "signing").unwrap()
}

#[tokio::test]
async fn a_key_is_replaced_on_schedule_published_before_it_signs_and_until_its_tokens_have_expired() {
    let (one, other) = two_nodes().await;
    let first = published(&one).await;
    one.wait(30 * 24 * HOUR - HOUR);
    let both = published(&one).await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(published(&other).await, both);
    // Whoever cached the set just before has to have the new one before it is needed.
    let age = one.get("/oauth/jwks").await.header("cache-control").to_owned();
    assert_eq!(age, "public, max-age=300");
    one.wait(HOUR - 1);
    published(&one).await;
    let client = one.public_client().await;
    let old = one.tokens(&client, "alice").await;
    assert_eq!(kid(&old), first[0]);
    one.wait(1);
    assert_eq!(published(&one).await, both);
    let new = one.tokens(&client, "alice").await;
    assert_eq!(kid(&new), both[1]);
    assert_eq!(states(&one), [SigningKeyState::Retired, SigningKeyState::Active]);

    let lifetime = claims(&old["access_token"])["exp"].as_u64().unwrap() - one.now();
    one.wait(lifetime);
    assert_eq!(published(&one).await, both, "clocks differ, and nodes learn of it later");
    assert_eq!(published(&other).await, both);
    one.wait(600);
    assert_eq!(published(&one).await, [both[1].clone()]);
    assert_eq!(published(&other).await, [both[1].clone()]);
}

#[tokio::test]
async fn a_node_that_learns_of_a_new_key_later_signs_with_the_old_one_and_both_are_published_everywhere() {
    let (one, other) = two_nodes().await;
    let client = one.public_client().await;
    one.server.rotate_signing_key().await.unwrap();
    one.wait(HOUR - 1);
    published(&other).await;
    one.wait(1);
    published(&one).await;
    // The other one did not look at the row since.
    let (by_one, by_other) = (one.tokens(&client, "alice").await, other.tokens(&client, "bob").await);
    assert_ne!(kid(&by_one), kid(&by_other));
    for node in [&one, &other] {
        let published = published(node).await;
        assert!(published.contains(&kid(&by_one)) && published.contains(&kid(&by_other)));
    }
}

#[tokio::test]
async fn rs16_a_removed_key_is_gone_on_every_node_and_another_one_signs() {
    let (one, other) = two_nodes().await;
    let client = one.public_client().await;
    let removals = other.server.removed_signing_keys();
    let stolen = kid(&one.tokens(&client, "alice").await);
    let unknown = one.server.remove_signing_key("nobody's").await.unwrap_err();
    assert!(matches!(unknown, SigningKeysError::Unknown(_)), "{unknown}");
    one.server.remove_signing_key(&stolen).await.unwrap();
    assert!(!published(&one).await.contains(&stolen));
    one.wait(1);
    assert!(!removals.has_changed().unwrap());
    assert!(!published(&other).await.contains(&stolen));
    assert!(removals.has_changed().unwrap(), "who remembers what it signed is told");
    for node in [&one, &other] {
        assert_ne!(kid(&node.tokens(&client, "alice").await), stolen);
        assert_eq!(states(node), [SigningKeyState::Active]);
    }
}

#[tokio::test]
async fn a_revocation_request_with_a_token_of_a_removed_key_revokes_nothing() {
    let world = World::new().await;
    let client = world.public_client().await;
    let tokens = world.tokens(&client, "alice").await;
    world.server.remove_signing_key(&kid(&tokens)).await.unwrap();
    let access_token = tokens["access_token"].as_str().unwrap();
    let answer = world.as_client("/oauth/revoke", &client, &[("token", access_token)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let refreshed = world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.status, StatusCode::OK, "the login is not the key's");
}

#[tokio::test]
async fn a_store_that_was_flushed_gets_the_keys_back_and_no_removed_one() {
    let (one, other) = two_nodes().await;
    let client = one.public_client().await;
    one.server.rotate_signing_key().await.unwrap();
    let removed = published(&one).await[0].clone();
    one.server.remove_signing_key(&removed).await.unwrap();
    one.server.rotate_signing_key().await.unwrap();
    let before = published(&one).await;
    one.wait(1);
    assert_eq!(published(&other).await, before);

    one.store.delete(&row()).await.unwrap();
    one.wait(1);
    assert_eq!(published(&other).await, before);
    assert_eq!(published(&one).await, before);

    // A node that knows nothing was first, and has signed already.
    one.store.delete(&row()).await.unwrap();
    let new = one.node(config()).await;
    let by_new = kid(&new.tokens(&new.public_client().await, "bob").await);
    let by_old = kid(&one.tokens(&client, "alice").await);
    assert_ne!(by_new, by_old);
    one.wait(1);
    for node in [&one, &other, &new] {
        node.store.set_shared();
        let published = published(node).await;
        assert!(published.contains(&by_new) && published.contains(&by_old), "{published:?}");
        assert!(!published.contains(&removed));
    }
}

#[tokio::test]
async fn a_node_that_cannot_read_the_keys_signs_nothing_after_a_minute_and_spends_nothing() {
    let (one, _other) = two_nodes().await;
    let client = one.public_client().await;
    let tokens = one.tokens(&client, "alice").await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    one.store.set_down(true);
    one.wait(61);
    one.refresh(&client, refresh_token).await.is_error(503, "temporarily_unavailable");
    assert_eq!(one.get("/oauth/jwks").await.status, StatusCode::OK);
    one.store.set_down(false);
    assert_eq!(one.refresh(&client, refresh_token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_are_sealed_anew_when_their_ring_key_is_retired_and_not_before() {
    let world = World::new().await;
    let store = Arc::new(TestStore::new(Arc::new(MemoryStore::new())));
    store.set_shared();
    let open = async |ring: &Arc<KeyRing>| {
        let (clock, entropy) = (world.clock.clone(), Arc::new(SystemEntropy::new()));
        AuthServer::open(config(), store.clone(), ring.clone(), clock, entropy).await
    };
    let sealed_under = async || {
        let row: Value = serde_json::from_slice(&store.get(&row()).await.unwrap().unwrap()).unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(row["keys"][0]["sealed"].as_str().unwrap()).unwrap();
        KeyRing::row_key(&sealed).unwrap()
    };
    let now = Timestamp::from_seconds(world.now());
    let entropy = SystemEntropy::new();
    let mut document = KeyRingDocument::generate(&entropy).unwrap();
    let first = document.keys[0].id;
    let second = document.add(&entropy, now).unwrap();
    let rings = [(); 2].map(|()| Arc::new(KeyRing::try_from(&document).unwrap()));
    let nodes = [open(&rings[0]).await.unwrap(), open(&rings[1]).await.unwrap()];
    let look = async || {
        world.wait(1);
        [nodes[0].jwks().await, nodes[1].jwks().await]
    };
    let [keys, _] = look().await;
    assert_eq!(sealed_under().await, first);

    // One node learns of it earlier. The other one, which seals with the first key yet, does not undo it.
    document.activate(second, now).unwrap();
    rings[0].replace(&document).unwrap();
    for _ in 0..3 {
        assert_eq!(look().await, [keys.clone(), keys.clone()]);
        assert_eq!(sealed_under().await, second);
    }
    rings[1].replace(&document).unwrap();
    document.remove(first).unwrap();
    for ring in &rings {
        ring.replace(&document).unwrap();
    }
    let only_second = Arc::new(KeyRing::try_from(&document).unwrap());
    assert_eq!(open(&only_second).await.unwrap().jwks().await, keys);

    // Against all advice: the key is dropped at once. Who has the signing keys in memory seals them under the new one.
    let third = KeyRingDocument::generate(&entropy).unwrap();
    rings[0].replace(&third).unwrap();
    world.wait(1);
    assert_eq!(nodes[0].jwks().await, keys);
    assert_eq!(sealed_under().await, third.keys[0].id);
}

#[tokio::test]
async fn rows_of_an_unknown_form_are_neither_used_nor_deleted() {
    let world = World::new().await;
    world.store.set_shared();
    let before = published(&world).await;
    for strange in [&b"{\"v\":2,\"keys\":[]}"[..], b"", b"{\"v\":1,\"keys\":[{}]}", b"\xff"] {
        world.store.put(&row(), strange.to_vec().into(), None).await.unwrap();
        world.wait(1);
        assert_eq!(published(&world).await, before);
        assert!(matches!(world.server.rotate_signing_key().await, Err(SigningKeysError::Form)));
        assert_eq!(world.store.get(&row()).await.unwrap().unwrap(), strange);
    }
}
