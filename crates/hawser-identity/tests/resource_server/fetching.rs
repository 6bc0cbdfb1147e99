//! Getting at an issuer's keys: discovery, and what the fetcher refuses to do.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_identity::{
    AuthenticateError, Authenticator, ExternalIssuer, Fetch, FetchError, HttpFetcher, IdentityConfig,
};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use crate::issuers::{IssuerServer, KEYS};
use crate::keys::{TTL, retry_after, world_of};
use crate::signing::{SigningKey, key_set, with};
use crate::world::{NOW, TestClock, World, bearer, claims, resource};

#[tokio::test]
async fn keys_are_discovered_at_every_form_of_well_known_url() {
    let key = SigningKey::es256("k1");
    for form in [
        "/.well-known/oauth-authorization-server/realms/a",
        "/.well-known/openid-configuration/realms/a",
        "/realms/a/.well-known/openid-configuration",
    ] {
        let issuer = IssuerServer::start_at("/realms/a").await;
        issuer.publish(form, &issuer.metadata());
        issuer.publish(KEYS, &key_set(&[&key]));
        world_of(&issuer).accepts(&key.sign(&claims(&issuer.issuer, "alice"))).await;
    }
}

#[tokio::test]
async fn an_issuer_with_a_trailing_slash_is_another_issuer() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start_at("/").await;
    issuer.publish(KEYS, &key_set(&[&key]));
    let token = key.sign(&claims(&issuer.issuer, "alice"));
    let trimmed = with(issuer.metadata(), "issuer", issuer.origin.clone());
    issuer.publish("/.well-known/oauth-authorization-server", &trimmed);
    retry_after(&world_of(&issuer).present(&token).await);
    assert_eq!(issuer.asked(KEYS), 0);
    issuer.publish("/.well-known/oauth-authorization-server", &issuer.metadata());
    world_of(&issuer).accepts(&token).await;
}

#[tokio::test]
async fn a_configured_jwks_uri_needs_no_discovery() {
    let key = SigningKey::es256("k1");
    let server = IssuerServer::start(&[&key]).await;
    let mut config = ExternalIssuer::new("https://idp.example");
    config.jwks_uri = Some(Url::parse(&format!("{}{KEYS}", server.origin)).unwrap());
    let world = World::trusting([config]);
    world.accepts(&key.sign(&claims("https://idp.example", "alice"))).await;
    assert_eq!(server.all_asked(), [KEYS]);
}

#[tokio::test]
async fn an_issuer_may_move_its_keys() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let world = world_of(&issuer);
    let token = |jti: &str| {
        let lasting = with(claims(&issuer.issuer, "alice"), "exp", NOW + 100_000);
        key.sign(&with(lasting, "jti", jti))
    };
    world.accepts(&token("1")).await;
    let moved = with(issuer.metadata(), "jwks_uri", format!("{}/moved", issuer.origin));
    issuer.publish("/.well-known/oauth-authorization-server", &moved);
    issuer.publish("/moved", &key_set(&[&key]));
    world.clock.advance(TTL);
    world.accepts(&token("2")).await;
    assert_eq!(issuer.asked("/moved"), 0, "the old place still answers and is believed for a while");
    issuer.answer(KEYS, StatusCode::GONE, String::new());
    world.clock.advance(TTL);
    world.accepts(&token("3")).await; // fails, old keys serve
    world.clock.advance(60);
    world.accepts(&token("4")).await;
    issuer.until_asked("/moved", 1).await;
}

#[tokio::test]
async fn an_issuer_that_keeps_its_old_place_is_looked_up_again_after_an_hour() {
    let (key, new_key) = (SigningKey::es256("k1"), SigningKey::es256("k2"));
    let issuer = IssuerServer::start(&[&key]).await;
    let world = world_of(&issuer);
    let lasting = with(claims(&issuer.issuer, "alice"), "exp", NOW + 100_000);
    world.accepts(&key.sign(&lasting)).await;
    let moved = with(issuer.metadata(), "jwks_uri", format!("{}/moved", issuer.origin));
    issuer.publish("/.well-known/oauth-authorization-server", &moved);
    issuer.publish("/moved", &key_set(&[&new_key]));
    for _ in 0..=3600 / TTL {
        world.clock.advance(TTL);
        let _ = world.present(&key.sign(&lasting)).await;
    }
    world.accepts(&new_key.sign(&lasting)).await;
}

#[tokio::test]
async fn a_document_of_another_issuer_does_not_end_the_search() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let foreign = json!({ "issuer": "https://evil.example", "jwks_uri": format!("{}/evil", issuer.origin) });
    issuer.publish("/.well-known/oauth-authorization-server", &foreign);
    issuer.publish("/.well-known/openid-configuration", &issuer.metadata());
    world_of(&issuer).accepts(&key.sign(&claims(&issuer.issuer, "alice"))).await;
    assert_eq!(issuer.asked("/evil"), 0);
}

/// A fetcher whose peer never answers and that has no limit of its own.
struct Hanging;

#[async_trait]
impl Fetch for Hanging {
    async fn get(&self, _: &Url, _: usize) -> Result<Bytes, FetchError> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up() {
    let issuers = vec![ExternalIssuer::new("https://idp.example")];
    let config = IdentityConfig { issuers, ..IdentityConfig::default() };
    let authenticator = Authenticator::new(config, None, TestClock::new().clock(), Arc::new(Hanging)).unwrap();
    let token = SigningKey::es256("k1").sign(&claims("https://idp.example", "alice"));
    let refused = authenticator.authenticate(&resource(), &bearer(&token)).await.unwrap_err();
    assert!(matches!(refused, AuthenticateError::Unavailable { .. }));
}

#[tokio::test]
async fn the_fetcher_follows_nothing_and_stops_at_its_bounds() {
    let server = IssuerServer::start_at("").await;
    let fetcher = HttpFetcher::new().unwrap();
    let get = async |url: &str, bytes_max| fetcher.get(&Url::parse(url).unwrap(), bytes_max).await;
    server.answer("/ten", StatusCode::OK, "0123456789".to_owned());
    let ten = format!("{}/ten", server.origin);
    assert_eq!(get(&ten, 10).await.unwrap(), "0123456789");
    assert_eq!(get(&ten, 9).await, Err(FetchError::TooLong(9)));
    server.redirect("/moved", &ten);
    assert_eq!(get(&format!("{}/moved", server.origin), 10).await, Err(FetchError::Status(StatusCode::FOUND)));
    for url in ["http://idp.example/keys", "http://192.0.2.1/", "ftp://127.0.0.1/", "http://localhost.example/"] {
        assert_eq!(get(url, 10).await, Err(FetchError::Insecure), "{url}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = get(&format!("http://{closed}/"), 10).await.unwrap_err().to_string();
    assert!(gone.starts_with("no answer: cannot connect: "), "{gone}");
}

/// Without a Content-Length only counting helps.
#[tokio::test]
async fn the_fetcher_stops_an_endless_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        // Until the fetcher hangs up.
        while stream.write_all(b"4\r\nabcd\r\n").await.is_ok() {}
    });
    assert_eq!(HttpFetcher::new().unwrap().get(&url, 100_000).await, Err(FetchError::TooLong(100_000)));
    server.await.unwrap();
}
