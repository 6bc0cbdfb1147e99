//! A relayed request has no way of its own: what would be refused over HTTP is refused, and what would be answered is answered.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_identity::{Authenticator, Fetch, FetchError, IdentityConfig, Resource};
use hawser_owner::{Clock, KeyRing, KeyRingDocument, SystemEntropy, Timestamp};
use hawser_store::Store;
use hawser_store::faulty::FaultyStore;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::task::JoinHandle;
use url::Url;

use crate::config::{EndpointConfig, GatewayConfig, Hosts};
use crate::gateway::{Gateway, GatewayDependencies};
use crate::relay::Relayed;
use crate::reply::Body;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",
    "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;

struct NoIssuers;

#[async_trait]
impl Fetch for NoIssuers {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        Err(FetchError::NoAnswer("there are none".to_owned()))
    }
}

struct Node {
    gateway: Gateway,
    running: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn endpoint(name: &str, anonymous: bool) -> EndpointConfig {
    let path = format!("/{name}");
    let resource = Resource::new(format!("http://localhost{path}"), name.to_owned(), Vec::new(), anonymous).unwrap();
    EndpointConfig { name: name.to_owned(), path, resource, local_scopes: Vec::new(), backends: Vec::new() }
}

impl Node {
    async fn start(store: &Arc<FaultyStore>, ring: &Arc<KeyRing>) -> Self {
        let clock: Clock = Arc::new(|| Timestamp::from(SystemTime::now()));
        let authenticator =
            Authenticator::new(IdentityConfig::default(), None, Arc::clone(&clock), Arc::new(NoIssuers)).unwrap();
        let config = GatewayConfig {
            endpoints: vec![endpoint("open", true), endpoint("closed", false)],
            hosts: Hosts { hosts: vec!["localhost".to_owned()], origins: Vec::new(), loopback: false },
            ..GatewayConfig::default()
        };
        let dependencies = GatewayDependencies {
            authenticator: Arc::new(authenticator),
            grants: None,
            ring: Arc::clone(ring),
            store: Arc::clone(store) as Arc<dyn Store>,
            clock,
            entropy: Arc::new(SystemEntropy::new()),
        };
        let gateway = Gateway::new(config, dependencies).unwrap();
        let running = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.run().await }
        });
        // Listening is a task that this one starts.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Self { gateway, running }
    }

    /// Has the other node answer.
    async fn ask(&self, other: &Self, request: Request<&'static str>) -> Response<Body> {
        let name = other.gateway.0.relay.as_ref().unwrap().name();
        let (parts, body) = request.into_parts();
        let relayed = Relayed::of(&parts, body.into()).unwrap();
        self.gateway.0.relay.as_ref().unwrap().forward(name, relayed).await.unwrap()
    }
}

fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::try_from(&KeyRingDocument::generate(&SystemEntropy::new()).unwrap()).unwrap())
}

fn post(path: &str, host: &str, body: &'static str) -> Request<&'static str> {
    let request = Request::post(path).header("host", host).header("content-type", "application/json");
    request.header("accept", "application/json, text/event-stream").body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_relayed_request_is_answered_like_any_other() {
    let (store, ring) = (FaultyStore::shared(), ring());
    let (here, there) = (Node::start(&store, &ring).await, Node::start(&store, &ring).await);
    let opened = here.ask(&there, post("/open", "localhost", INITIALIZE)).await;
    assert_eq!(opened.status(), 200);
    let session = opened.headers().get("mcp-session-id").unwrap().clone();
    let body = opened.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":1,"result":"#), "{body:?}");

    let mut ping = post("/open", "localhost", PING);
    ping.headers_mut().insert("mcp-session-id", session.clone());
    assert_eq!(here.ask(&there, ping).await.status(), 200);
    let mut ping = post("/open", "localhost", PING);
    ping.headers_mut().insert("mcp-session-id", session);
    assert_eq!(there.gateway.handle(ping.map(Full::<Bytes>::from)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_relayed_request_is_refused_like_any_other() {
    let (store, ring) = (FaultyStore::shared(), ring());
    let (here, there) = (Node::start(&store, &ring).await, Node::start(&store, &ring).await);
    let mut with_token = post("/closed", "localhost", INITIALIZE);
    with_token.headers_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
    let mut foreign_page = post("/open", "localhost", INITIALIZE);
    foreign_page.headers_mut().insert("origin", "http://evil.example".parse().unwrap());
    let mut stolen = post("/open", "localhost", PING);
    stolen.headers_mut().insert("mcp-session-id", "forged".parse().unwrap());
    for (request, status) in [
        (post("/closed", "localhost", INITIALIZE), 401),
        (with_token, 401),
        (post("/open", "rebound.example", INITIALIZE), 403),
        (foreign_page, 403),
        (stolen, 404),
        (post("/elsewhere", "localhost", INITIALIZE), 404),
        (post("/open", "localhost", "no json"), 400),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(here.ask(&there, request).await.status(), status, "{shown}");
    }
}
