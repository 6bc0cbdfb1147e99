//! Over a real server, which loses what it likes when it is restarted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_fixture_valkey::RedisServer;
use hawser_owner::KeyRing;
use hawser_store::{RedisOptions, RedisStore, Store};
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::world::{Node, read, request, ring};
use crate::relay::NotReached;
use crate::reply;

/// Two nodes, each with connections of its own; the second answers with this body.
struct Pair {
    server: RedisServer,
    here: Node,
    there: Node,
}

async fn store(server: &RedisServer) -> Arc<dyn Store> {
    let options = RedisOptions::new(&server.url(), None, None).unwrap();
    Arc::new(RedisStore::open(options, Duration::from_secs(10)).await.unwrap())
}

impl Pair {
    async fn new(body: Bytes) -> Self {
        let server = RedisServer::start().await.unwrap();
        let ring: Arc<KeyRing> = ring();
        let there = Node::start(store(&server).await, &ring, move |_| {
            std::future::ready(reply::json(StatusCode::OK, body.clone()))
        });
        let here = Node::start(store(&server).await, &ring, |_| async { unreachable!("nobody asks this node") });
        let pair = Self { server, here: here.await, there: there.await };
        pair.reached().await;
        pair
    }

    /// Waits until the other node is reached.
    async fn reached(&self) {
        let reached = async {
            while let Err(error) = self.here.relay.forward(self.there.name(), request("")).await {
                assert!(!matches!(error, NotReached::Lost(_) | NotReached::Busy(_)), "{error}");
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), reached).await.unwrap();
    }
}

fn numbers(count: u32) -> Bytes {
    (0..count).flat_map(u32::to_be_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_come_whole_side_by_side() {
    let body = numbers(2_000_000);
    let pair = Pair::new(body.clone()).await;
    let begun = Instant::now();
    let mut responses = Vec::new();
    for _ in 0..8 {
        responses.push(pair.here.relay.forward(pair.there.name(), request("")).await.unwrap());
    }
    let answers = responses.into_iter().map(|response| async {
        assert!(read(response).await.unwrap() == body);
    });
    futures_util::future::join_all(answers).await;
    // 64 MB. It takes far less unless windows stall.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_outlives_a_restart_and_a_stall_of_the_server() {
    let body = numbers(5_000_000);
    let mut pair = Pair::new(body.clone()).await;
    let response = pair.here.relay.forward(pair.there.name(), request("")).await.unwrap();
    let mut rest = response.into_body();
    let mut come = Vec::new();
    let mut pieces = 0;
    while let Some(frame) = rest.frame().await {
        come.extend_from_slice(&frame.unwrap().into_data().unwrap());
        pieces += 1;
        match pieces {
            100 => {
                pair.server.kill().await.unwrap();
                pair.server.start_empty().await.unwrap();
            }
            500 => {
                pair.server.stall().unwrap();
                sleep(Duration::from_secs(2)).await;
                pair.server.resume().unwrap();
            }
            _ => {}
        }
    }
    assert!(come == body, "{} of {} bytes", come.len(), body.len());
    pair.reached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_while_the_server_is_away_is_refused_soon() {
    let mut pair = Pair::new(Bytes::new()).await;
    pair.server.kill().await.unwrap();
    let asked = Instant::now();
    let refused = pair.here.relay.forward(pair.there.name(), request("")).await;
    assert!(matches!(refused, Err(NotReached::Store(_))));
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    pair.server.start_again().await.unwrap();
    pair.reached().await;
}
