//! Nodes, people, and an issuer that both trust.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hawser_gateway::{EndpointConfig, Gateway, GatewayConfig, GatewayDependencies, Hosts, SessionPolicy};
use hawser_identity::{Authenticator, ExternalIssuer, Fetch, FetchError, IdentityConfig, Resource};
use hawser_owner::{Clock, Issuer, KeyRing, KeyRingDocument, Principal, Subject, SystemEntropy, Timestamp};
use hawser_store::faulty::FaultyStore;
use hawser_store::{Key, Store as _};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

pub(crate) const PATH: &str = "/mcp";
const ISSUER: &str = "https://issuer.example";
const URL: &str = "http://localhost/mcp";
/// What holds everywhere holds within this.
pub(crate) const STALE_MAX: Duration = Duration::from_secs(1);
pub(crate) const IDLE: Duration = Duration::from_hours(2);
const BEGIN: u64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) store: Arc<FaultyStore>,
    ring: KeyRingDocument,
    now: Arc<AtomicU64>,
    issuer: Arc<Signer>,
}

/// A node that runs. It stops as a killed process does.
pub(crate) struct Node {
    pub(crate) gateway: Gateway,
    running: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Signer(Ed25519KeyPair);

#[async_trait]
impl Fetch for Signer {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "use": "sig", "x": x });
        Ok(json!({ "keys": [key] }).to_string().into())
    }
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(FaultyStore::shared())
    }

    pub(crate) fn over(store: Arc<FaultyStore>) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let ring = KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
        Self { store, ring, now: Arc::new(AtomicU64::new(BEGIN)), issuer: Arc::new(Signer(pair)) }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// A clock that is ahead of the true time by so many seconds, or behind.
    fn clock(&self, ahead: i64) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp::from_seconds(now.load(Ordering::SeqCst).saturating_add_signed(ahead)))
    }

    /// One more node, which knows nothing but the key ring and the store.
    pub(crate) async fn node(&self) -> Node {
        self.node_of(10_000).await
    }

    /// The same with room for so many sessions.
    pub(crate) async fn node_of(&self, total: usize) -> Node {
        self.node_with(total, 0).await
    }

    /// One more node, whose clock is ahead of the others' by so many seconds, or behind.
    pub(crate) async fn node_ahead(&self, ahead: i64) -> Node {
        self.node_with(10_000, ahead).await
    }

    async fn node_with(&self, total: usize, ahead: i64) -> Node {
        let jwks_uri = Some(Url::parse("https://issuer.example/keys").unwrap());
        let issuer = ExternalIssuer { jwks_uri, ..ExternalIssuer::new(ISSUER) };
        let identity = IdentityConfig { issuers: vec![issuer], ..IdentityConfig::default() };
        let fetch = Arc::clone(&self.issuer) as Arc<dyn Fetch>;
        let resource = Resource::new(URL, "test", Vec::new(), false).unwrap();
        let endpoint = EndpointConfig {
            name: "test".to_owned(),
            path: PATH.to_owned(),
            resource,
            local_scopes: Vec::new(),
            backends: Vec::new(),
        };
        let config = GatewayConfig {
            endpoints: vec![endpoint],
            hosts: Hosts { hosts: vec!["localhost".to_owned()], origins: Vec::new(), loopback: true },
            sessions: SessionPolicy { idle: IDLE, total, ..SessionPolicy::default() },
            ..GatewayConfig::default()
        };
        let dependencies = GatewayDependencies {
            authenticator: Arc::new(Authenticator::new(identity, None, self.clock(ahead), fetch).unwrap()),
            grants: None,
            ring: Arc::new(KeyRing::try_from(&self.ring).unwrap()),
            store: Arc::clone(&self.store) as _,
            clock: self.clock(ahead),
            entropy: Arc::new(SystemEntropy::new()),
        };
        let gateway = Gateway::new(config, dependencies).unwrap();
        let running = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.run().await }
        });
        // So that it follows the journal.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Node { gateway, running }
    }

    pub(crate) fn principal(name: &str) -> Principal {
        Principal::user(Issuer::new(ISSUER).unwrap(), None, Subject::new(name).unwrap())
    }

    /// A token of this person.
    pub(crate) fn token(&self, name: &str) -> String {
        let exp = self.now.load(Ordering::SeqCst) + 3600;
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "k" });
        let claims = json!({
            "iss": ISSUER, "aud": URL, "sub": name, "exp": exp, "iat": BEGIN, "client_id": "c", "jti": "j",
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.issuer.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Any request of this person.
    pub(crate) async fn send(
        &self,
        node: &Node,
        name: &str,
        method: Method,
        session: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(PATH)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token(name)))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        let body = Full::new(Bytes::from(body.map(|body| body.to_string()).unwrap_or_default()));
        let response = node.gateway.handle(request.body(body).unwrap()).await;
        let (parts, body) = response.into_parts();
        let read = tokio::time::timeout(Duration::from_mins(5), body.collect()).await;
        assert!(read.is_ok(), "the answer does not end");
        Answer { status: parts.status, headers: parts.headers }
    }

    pub(crate) async fn initialize(&self, node: &Node, name: &str) -> Answer {
        let info = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        self.send(node, name, Method::POST, None, Some(body)).await
    }

    /// Opens a session; its id.
    pub(crate) async fn open(&self, node: &Node, name: &str) -> String {
        let answer = self.initialize(node, name).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.headers["mcp-session-id"].to_str().unwrap().to_owned()
    }

    pub(crate) async fn ping(&self, node: &Node, name: &str, session: &str) -> StatusCode {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        self.send(node, name, Method::POST, Some(session), Some(body)).await.status
    }

    pub(crate) async fn delete(&self, node: &Node, name: &str, session: &str) -> Answer {
        self.send(node, name, Method::DELETE, Some(session), None).await
    }

    /// Waits until the session is refused here; the time that this took is what a client could see.
    pub(crate) async fn until_refused(&self, node: &Node, name: &str, session: &str) -> Duration {
        let begun = Instant::now();
        while self.ping(node, name, session).await != StatusCode::NOT_FOUND {
            assert!(begun.elapsed() < Duration::from_mins(1), "it is still served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    /// Lets what runs beside requests do its work.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    /// The rows of all sessions.
    pub(crate) async fn rows(&self) -> Vec<(Key, Value)> {
        let page = self.store.scan("session", None, 1000).await.unwrap();
        page.rows.into_iter().map(|(key, row)| (key, serde_json::from_slice(&row).unwrap())).collect()
    }

    /// The row of the only session.
    pub(crate) async fn row(&self) -> (Key, Value) {
        let mut rows = self.rows().await;
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }
}
