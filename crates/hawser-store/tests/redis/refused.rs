//! What cannot be used is refused, with a reason and without the password.

use std::time::Duration;

use hawser_fixture_valkey::{Cluster, Options, RedisServer};
use hawser_store::{OpenRedisError, RedisOptions, RedisStore, Store as _};
use tokio::time::Instant;

use crate::{OPEN_MAX, key, open};

/// Why it is refused at once.
async fn refusal(url: &str, ca: Option<&[u8]>) -> String {
    let started = Instant::now();
    let opened = RedisStore::open(RedisOptions::new(url, None, ca).unwrap(), OPEN_MAX).await;
    let Err(OpenRedisError::Refused { at, reason }) = opened else { panic!("{opened:?}") };
    assert!(started.elapsed() < Duration::from_secs(8), "waiting does not help, and it waited");
    assert!(!format!("{at} {reason}").contains("s3cret"));
    reason
}

#[tokio::test]
async fn wrong_passwords_and_missing_rights_are_refused() {
    let server = RedisServer::start_with(Options::default().with(&["--requirepass", "s3cret-right"])).await.unwrap();
    let with = |user: &str| server.url().replace("://", &format!("://{user}@"));
    assert!(refusal(&with(":s3cret-wrong"), None).await.contains("refuses the user or the password"));
    refusal(&server.url(), None).await;
    open(&with(":s3cret-right")).await.put(&key(1), "x".into(), None).await.unwrap();
    let server = RedisServer::start_with(Options::default().with(&["--user", "u", "on", ">s3cret", "~*", "+get"]))
        .await
        .unwrap();
    assert!(refusal(&server.url().replace("://", "://u:s3cret@"), None).await.contains("NOPERM"));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused() {
    let server = RedisServer::start_with(Options::default().tls()).await.unwrap();
    let other = RedisServer::start_with(Options::default().tls()).await.unwrap();
    let (url, tls) = server.tls().unwrap();
    let (_, foreign) = other.tls().unwrap();
    let (own, foreign) = (std::fs::read(&tls.ca).unwrap(), std::fs::read(&foreign.ca).unwrap());
    assert!(refusal(&url, Some(&foreign)).await.contains("certificate"));
    assert!(refusal(&url, None).await.contains("certificate"), "the machine does not know this authority");
    RedisStore::open(RedisOptions::new(&url, None, Some(&own)).unwrap(), OPEN_MAX).await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_not_taken_for_one_server_nor_one_server_for_a_cluster() {
    let cluster = Cluster::start().await.unwrap();
    assert!(refusal(&cluster.servers[0].url(), None).await.contains("redis+cluster://"));
    let server = RedisServer::start().await.unwrap();
    let url = server.url().replace("redis://", "redis+cluster://");
    let opened = RedisStore::open(RedisOptions::new(&url, None, None).unwrap(), Duration::from_secs(1)).await;
    let Err(error) = opened else { panic!("{opened:?}") };
    println!("{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let mut server = RedisServer::start().await.unwrap();
    server.stop().await.unwrap();
    let options = || RedisOptions::new(&server.url(), None, None).unwrap();
    let started = Instant::now();
    let opened = RedisStore::open(options(), Duration::from_secs(1)).await;
    assert!(matches!(opened, Err(OpenRedisError::Unreachable { .. })), "{opened:?}");
    assert!(started.elapsed() < Duration::from_secs(4));
    let opening = tokio::spawn(RedisStore::open(options(), OPEN_MAX));
    server.start_again().await.unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn gateways_with_different_prefixes_do_not_see_one_another() {
    let server = RedisServer::start().await.unwrap();
    let open = async |prefix| {
        RedisStore::open(RedisOptions::new(&server.url(), Some(prefix), None).unwrap(), OPEN_MAX).await.unwrap()
    };
    let (left, right) = (open("left:").await, open("right*").await);
    left.put(&key(1), "x".into(), None).await.unwrap();
    let mut heard = left.subscribe("channel").await.unwrap();
    right.publish("channel", "from the right".into()).await.unwrap();
    assert_eq!(right.get(&key(1)).await.unwrap(), None);
    assert!(right.scan("row", None, 100).await.unwrap().rows.is_empty());
    left.publish("channel", "from the left".into()).await.unwrap();
    assert_eq!(crate::next(&mut heard).await, hawser_store::Delivery::Message("from the left".into()));
}
