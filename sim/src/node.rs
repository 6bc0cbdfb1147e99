//! A node: a real gateway, with a clock, randomness, keys and a store of the simulation's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_backend::Backend;
use hawser_catalog::Naming;
use hawser_gateway::{
    EndpointConfig, Gateway, GatewayConfig, GatewayDependencies, Hosts, Limits, SessionPolicy, SharedLimits,
};
use hawser_identity::{Authenticator, ExternalIssuer, IdentityConfig, KeyCachePolicy, Resource};
use hawser_owner::{KeyRing, KeyRingDocument};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::backends::Backends;
use crate::issuer::{ISSUER, Issuer, KEYS, RESOURCE};
use crate::network::Network;
use crate::random::SeededEntropy;
use crate::store::SharedStore;
use crate::time::Beginning;

/// Longest pause between two requests of an owner.
pub const IDLE: Duration = Duration::from_mins(10);
/// Longest life of a session.
pub const LIFETIME: Duration = Duration::from_hours(1);

/// How long a call waits for its client.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// How many calls may wait for their clients.
const PARKED: SharedLimits = SharedLimits { session: 4, owner: 8, total: 12 };

/// What all nodes are made with.
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// When all began.
    pub beginning: Beginning,
    /// The way to the store.
    pub network: Arc<Network>,
    /// Who signs tokens.
    pub issuer: Issuer,
    /// The servers behind all nodes.
    pub backends: Arc<Backends>,
    /// The keys that all nodes share.
    pub ring: Arc<Mutex<KeyRingDocument>>,
}

/// One process.
pub struct Node {
    /// Its place among the nodes.
    pub number: usize,
    /// How many times it has been started.
    pub start: u64,
    /// When it was started.
    pub started: Instant,
    /// The gateway.
    pub gateway: Gateway,
    /// Its keys.
    pub ring: Arc<KeyRing>,
    /// Cancelled when the process dies: what is under way then is lost.
    pub died: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    /// Starts a process.
    pub async fn start(plan: &Plan, number: usize, fast: Duration) -> Self {
        let start = plan.network.restart(number);
        let clock = plan.beginning.clock(fast);
        // Who waits for the same fetch is woken in no certain order, so keys are fetched once, before there is anybody.
        let keys = KeyCachePolicy { ttl: Duration::from_hours(24), ..KeyCachePolicy::default() };
        let identity = IdentityConfig { issuers: vec![external_issuer()], keys, ..IdentityConfig::default() };
        let authenticator = Authenticator::new(identity, None, Arc::clone(&clock), Arc::new(plan.issuer.keys()))
            .expect("the issuer is well formed");
        let mut headers = HeaderMap::new();
        let token = HeaderValue::try_from(format!("Bearer {}", plan.issuer.token("nobody", start)));
        headers.insert(AUTHORIZATION, token.expect("a token is plain text"));
        authenticator.authenticate(&resource(), &headers).await.expect("the issuer's tokens are good");
        let ring = KeyRing::try_from(&*plan.ring.lock().expect("no code panics with it"));
        let ring = Arc::new(ring.expect("the keys are well formed"));
        let keys = Arc::clone(&plan.ring);
        ring.on_unknown_key(Box::new(move |ring, _| renew(ring, &keys)));
        let dependencies = GatewayDependencies {
            authenticator: Arc::new(authenticator),
            grants: None,
            ring: Arc::clone(&ring),
            store: Arc::new(SharedStore::new(Arc::clone(&plan.network), number, start)),
            clock,
            entropy: Arc::new(SeededEntropy::new(plan.seed, number, start)),
        };
        let died = CancellationToken::new();
        let gateway =
            Gateway::new(config(plan.backends.of_node(&died)), dependencies).expect("one endpoint is not ambiguous");
        let running = gateway.clone();
        let running = tokio::spawn(async move { running.run().await });
        Self { number, start, started: Instant::now(), gateway, ring, died, running }
    }
}

impl Node {
    /// The process is gone from one moment to the next.
    pub fn die(&self) {
        self.died.cancel();
        self.running.abort();
    }
}

/// Looks at the keys that all nodes share.
pub fn renew(ring: &KeyRing, keys: &Mutex<KeyRingDocument>) {
    ring.replace(&keys.lock().expect("no code panics with it")).expect("the keys are well formed");
}

fn external_issuer() -> ExternalIssuer {
    ExternalIssuer { jwks_uri: Url::parse(KEYS).ok(), ..ExternalIssuer::new(ISSUER) }
}

fn resource() -> Resource {
    Resource::new(RESOURCE, "simulated", Vec::new(), false).expect("the resource is well formed")
}

fn config(backends: [Backend; 2]) -> GatewayConfig {
    let endpoint = EndpointConfig {
        name: "default".to_owned(),
        path: "/mcp".to_owned(),
        resource: resource(),
        local_scopes: Vec::new(),
        backends: backends.into_iter().map(|backend| (backend, Naming::Prefix)).collect(),
    };
    GatewayConfig {
        endpoints: vec![endpoint],
        hosts: Hosts { hosts: vec!["gateway.example".to_owned()], ..Hosts::default() },
        limits: Limits { parked: PARKED, client_answer: PATIENCE, ..Limits::default() },
        sessions: SessionPolicy { idle: IDLE, lifetime: LIFETIME, ..SessionPolicy::default() },
    }
}
