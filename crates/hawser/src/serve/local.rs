//! A gateway that no network caller reaches, for the one person who started the process.
//!
//! Whoever may start this process may do all that it can do, so nobody is asked to log in: its one endpoint is anonymous. That
//! is safe only because nothing listens, and the type sees to it: what [`super::http`] serves is made by [`super::build`] alone,
//! and a [`LocalGateway`] gives its [`Gateway`] to nobody.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hawser_gateway::{Body, Gateway, GatewayConfig, GatewayDependencies, Hosts, SessionPolicy};
use hawser_identity::{Authenticator, Fetch, FetchError, IdentityConfig, Resource};
use hawser_owner::{Clock, Entropy, KeyRing, KeyRingDocument, SystemEntropy, Timestamp};
use hawser_store::MemoryStore;
use http::{Request, Response};
use http_body_util::Full;
use url::Url;

use super::build::{endpoints, limits};
use crate::config::{EndpointSettings, Settings};
use crate::failure::Failure;

/// The name by which the gateway is addressed. It is resolved nowhere.
pub(crate) const HOST: &str = "localhost";
/// The one session lives as long as the process: it cannot be opened again behind its client's back.
const SESSION_LIFETIME: Duration = Duration::from_hours(24 * 365 * 10);

/// A gateway with one endpoint, reached by function calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LocalGateway {
    gateway: Gateway,
    path: Arc<str>,
}

impl LocalGateway {
    /// Builds it. Nothing is kept on disk, and nothing is connected to yet.
    pub(crate) fn build(settings: &Settings, endpoint: &EndpointSettings) -> Result<Self, Failure> {
        // Both libraries that speak TLS use the process's default provider; the first call wins, later ones are no error.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock: Clock = Arc::new(|| Timestamp::from(SystemTime::now()));
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
        let ring = KeyRingDocument::generate(entropy.as_ref())
            .map_err(|error| Failure::run(format!("cannot make a key ring: {error}")))
            .and_then(|document| KeyRing::try_from(&document).map_err(|error| Failure::run(error.to_string())))?;
        let identifier = format!("http://{HOST}{}", endpoint.path);
        let anonymous = true;
        let resource = Resource::new(identifier, format!("Hawser: {}", endpoint.name), Vec::new(), anonymous)
            .map_err(|error| Failure::run(format!("endpoint `{}`: {error}", endpoint.name)))?;
        let authenticator =
            Authenticator::new(IdentityConfig::default(), None, Arc::clone(&clock), Arc::new(NoIssuers))
                .map_err(|error| Failure::run(error.to_string()))?;
        let config = GatewayConfig {
            // Each message is one line, which is written when all of it is known to be one.
            endpoints: endpoints(settings, std::iter::once((endpoint, resource)), 0)?,
            hosts: Hosts { hosts: vec![HOST.to_owned()], origins: Vec::new(), loopback: false },
            sessions: SessionPolicy {
                idle: SESSION_LIFETIME,
                lifetime: SESSION_LIFETIME,
                per_owner: settings.sessions.per_owner,
                total: settings.sessions.total,
                at_work: settings.sessions.at_work,
                one_person: true,
            },
            limits: limits(settings),
        };
        let dependencies = GatewayDependencies {
            authenticator: Arc::new(authenticator),
            grants: None,
            ring: Arc::new(ring),
            store: Arc::new(MemoryStore::new()),
            clock,
            entropy,
        };
        let gateway = Gateway::new(config, dependencies).map_err(|error| Failure::run(error.to_string()))?;
        Ok(Self { gateway, path: endpoint.path.as_str().into() })
    }

    /// Where its endpoint is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Answers a request of the local user.
    pub(crate) async fn handle(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        self.gateway.handle(request).await
    }

    /// What runs beside requests.
    pub(crate) async fn run(&self) {
        self.gateway.run().await;
    }

    /// Ends everything that is left: calls, backend sessions, child processes.
    pub(crate) async fn shut_down(&self) {
        self.gateway.drain(Duration::ZERO).await;
        self.gateway.close().await;
    }
}

/// No token is accepted here, so there are no issuers to ask for keys.
struct NoIssuers;

#[async_trait]
impl Fetch for NoIssuers {
    async fn get(&self, _url: &Url, _bytes_max: usize) -> Result<Bytes, FetchError> {
        Err(FetchError::NoAnswer("tokens are not accepted here".to_owned()))
    }
}
