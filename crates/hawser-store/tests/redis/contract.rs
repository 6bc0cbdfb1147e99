//! The contract, at each kind of deployment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use hawser_fixture_valkey::{Cluster, Options, RedisServer, Watched};
use hawser_store::contract::{CHECKS, Subject};
use hawser_store::{RedisOptions, RedisStore, Store};

use crate::{OPEN_MAX, open};

/// Checks that run at the same time: most of them wait for time to pass.
const AT_ONCE: usize = 8;

struct OnServer(Arc<RedisStore>);

#[async_trait]
impl Subject for OnServer {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(600)
    }

    fn random_runs(&self) -> u32 {
        6
    }
}

async fn keeps_the_contract(store: Arc<RedisStore>) {
    let subject = OnServer(store);
    futures_util::stream::iter(CHECKS)
        .for_each_concurrent(AT_ONCE, async |check| {
            println!("contract: {}", check.name);
            check.run(&subject).await;
        })
        .await;
}

#[tokio::test]
async fn valkey_keeps_the_contract() {
    let server = RedisServer::start().await.unwrap();
    keeps_the_contract(open(&server.url()).await).await;
}

/// The gateway's user as docs/store.md has it: `user gateway on >PASSWORD …`.
fn documented_user() -> Vec<&'static str> {
    let document = include_str!("../../../../docs/store.md");
    let line = document.lines().find_map(|line| line.strip_prefix("user gateway ")).expect("the user is documented");
    line.split(' ').map(|word| if word == ">PASSWORD" { ">p@ss" } else { word }).collect()
}

/// Makes that user at a running server, with further rights.
async fn make_user(server: &RedisServer, further: &[&str]) {
    let words = [&["ACL", "SETUSER", "gateway"], documented_user().as_slice(), further].concat();
    server.ask(&words).await.unwrap();
}

#[tokio::test]
async fn redis_over_tls_for_a_user_with_few_rights_keeps_the_contract() {
    let user = [&["--user", "gateway"], documented_user().as_slice()].concat();
    let server = RedisServer::start_with(Options::default().tls().with(&user)).await.unwrap();
    let (url, tls) = server.tls().unwrap();
    let url = url.replace("rediss://", "rediss://gateway:p%40ss@");
    let ca = std::fs::read(&tls.ca).unwrap();
    let options = RedisOptions::new(&url, None, Some(&ca)).unwrap();
    keeps_the_contract(Arc::new(RedisStore::open(options, OPEN_MAX).await.unwrap())).await;
}

#[tokio::test]
async fn a_primary_that_sentinels_watch_keeps_the_contract() {
    let watched = Watched::start().await.unwrap();
    make_user(&watched.servers[0], &[]).await;
    keeps_the_contract(open(&format!("redis+sentinel://gateway:p%40ss@{}/hawser", watched.sentinels())).await).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start().await.unwrap();
    for server in &cluster.servers {
        make_user(server, &["+cluster|slots", "+asking"]).await;
    }
    keeps_the_contract(open(&format!("redis+cluster://gateway:p%40ss@{}", cluster.addresses())).await).await;
}
