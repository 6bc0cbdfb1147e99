//! The gateway as an HTTP service: the one way that every request takes.

mod arriving;
mod elsewhere;
mod post;
mod remainder;
mod served;
#[cfg(feature = "stages")]
mod stages;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_catalog::NamingError;
use hawser_identity::{Authenticated, Authenticator};
use hawser_mcp::{ErrorObject, code};
use hawser_owner::{Clock, Entropy, EntropyError, KeyRing, Owned, PrincipalKind};
use hawser_store::{Store, StoreError};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::error;

use crate::audit;
use crate::config::{GatewayConfig, Hosts, Limits};
use crate::credential::Revocation;
use crate::edge::{self, EdgeError, LAST_EVENT_ID, SESSION_ID};
use crate::endpoint::Endpoint;
use crate::gate::Entered;
use crate::get::{Get, RESUMING};
use crate::lists::ListCache;
use crate::nodes::{Nodes, Tells};
use crate::profile::BackendReport;
use crate::refusal::{self, Rejection};
use crate::relay::{NodeName, Relay, RelayDependencies, Serves};
use crate::reply::{self, Body};
use crate::sessions::{AdmitError, Grants, Revoked, Selection, SessionInfo, SessionPage, Sessions, SessionsConfig};
use crate::survey;

#[cfg(feature = "stages")]
pub use stages::Stages;

/// How often memory is cleared of sessions whose time is up.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// What the gateway works with.
pub struct GatewayDependencies {
    /// Turns credentials into principals.
    pub authenticator: Arc<Authenticator>,
    /// Whether grants of the embedded authorization server stand; `None` without one.
    pub grants: Option<Arc<dyn Grants>>,
    /// Seals handles.
    pub ring: Arc<KeyRing>,
    /// Keeps what must survive a restart.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Clock,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// A configuration that cannot work.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// An endpoint's backends cannot be told apart.
    #[error("endpoint `{endpoint}`: {reason}")]
    Naming {
        /// Which endpoint.
        endpoint: String,
        /// What is ambiguous.
        #[source]
        reason: NamingError,
    },
    /// This node could not be given a name among others.
    #[error("this node has no name: {0}")]
    Name(#[from] EntropyError),
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

/// One endpoint, found by its path.
#[derive(Clone, Copy)]
pub struct ServedEndpoint<'a> {
    gateway: &'a Inner,
    endpoint: &'a Arc<Endpoint>,
}

struct Inner {
    endpoints: Vec<Arc<Endpoint>>,
    /// Where each endpoint is among them, by its path.
    paths: HashMap<Box<str>, usize>,
    authenticator: Arc<Authenticator>,
    sessions: Arc<Sessions>,
    /// The way to other nodes; there are none unless the store is shared.
    relay: Option<Arc<Relay>>,
    hosts: Hosts,
    limits: Limits,
}

impl Gateway {
    /// This node's name: another each time that it starts.
    pub fn node(&self) -> NodeName {
        self.0.sessions.nodes().here()
    }

    /// Builds the gateway. Nothing is connected before [`Gateway::start`].
    pub fn new(config: GatewayConfig, dependencies: GatewayDependencies) -> Result<Self, GatewayError> {
        let mut endpoints = Vec::with_capacity(config.endpoints.len());
        let lists = Arc::<ListCache>::default();
        for endpoint in config.endpoints {
            let name = endpoint.name.clone();
            let built = Endpoint::new(endpoint, Arc::clone(&lists))
                .map_err(|reason| GatewayError::Naming { endpoint: name, reason })?;
            endpoints.push(Arc::new(built));
        }
        let relay = dependencies.store.is_shared().then(|| {
            Relay::new(RelayDependencies {
                ring: Arc::clone(&dependencies.ring),
                store: Arc::clone(&dependencies.store),
                clock: Arc::clone(&dependencies.clock),
                entropy: Arc::clone(&dependencies.entropy),
                request_body: config.limits.request_body,
            })
        });
        let relay = relay.transpose()?.map(Arc::new);
        let here = match &relay {
            Some(relay) => relay.name(),
            None => NodeName::random(dependencies.entropy.as_ref())?,
        };
        let sessions = Sessions::new(SessionsConfig {
            nodes: Nodes::new(here, relay.clone().map(|relay| relay as Arc<dyn Tells>)),
            ring: dependencies.ring,
            store: dependencies.store,
            grants: dependencies.grants,
            clock: dependencies.clock,
            entropy: dependencies.entropy,
            policy: config.sessions,
            limits: config.limits,
        });
        // Of two at one path the first would always have been found.
        let paths = endpoints.iter().enumerate().rev().map(|(at, endpoint)| (endpoint.path().into(), at)).collect();
        Ok(Self(Arc::new(Inner {
            endpoints,
            paths,
            authenticator: dependencies.authenticator,
            sessions,
            relay,
            hosts: config.hosts,
            limits: config.limits,
        })))
    }

    /// Starts what runs beside requests: asking the backends what they offer, clearing memory, and answering other nodes. Runs
    /// until dropped.
    pub async fn run(&self) {
        let surveys = self.0.endpoints.iter().flat_map(|endpoint| {
            let backends: Vec<_> = endpoint.backends().cloned().enumerate().collect();
            backends.into_iter().map(|(at, backend)| survey::survey(Arc::clone(endpoint), at, backend))
        });
        let surveys = futures_util::future::join_all(surveys);
        let sweeps = async {
            let mut every = tokio::time::interval(SWEEP_EVERY);
            loop {
                every.tick().await;
                self.0.sessions.sweep().await;
            }
        };
        // Tasks of their own, which end when this is dropped: they must not wait for the others.
        let mut beside = JoinSet::new();
        if let Some(relay) = self.0.relay.clone() {
            let gateway = Arc::new(self.clone());
            beside.spawn(async move { relay.run(Arc::clone(&gateway) as Arc<dyn Serves>, gateway).await });
        }
        let (upkeep, follow) = (Arc::clone(&self.0.sessions), Arc::clone(&self.0.sessions));
        beside.spawn(async move { upkeep.upkeep().await });
        beside.spawn(async move { follow.follow().await });
        tokio::join!(surveys, sweeps);
    }

    /// Waits until every backend has answered or failed once, at most `patience`, and says what is known of them: endpoint by
    /// endpoint.
    pub async fn report(&self, patience: Duration) -> Vec<(String, Vec<BackendReport>)> {
        let reports = self.0.endpoints.iter().map(|endpoint| async move {
            endpoint.profiles().settled(patience).await;
            (endpoint.name().to_owned(), endpoint.profiles().report(endpoint))
        });
        futures_util::future::join_all(reports).await
    }

    /// A credential was revoked: ends its streams and calls, and with `sessions` every session that was opened under its grant.
    /// Told at every node, each of which writes what it ends.
    pub fn revoked(&self, revocation: &Revocation<'_>, sessions: bool) {
        self.0.sessions.revoke(revocation, sessions);
    }

    /// Revocations may have been missed: every session is looked up anew, in the background, and ended if it or its grant is
    /// found to be over.
    pub fn revocations_missed(&self) {
        self.0.sessions.missed();
    }

    /// The sessions that are not over, by the rows of the store; `after` is where another page ended. At most `limit`, and at most
    /// 1,000.
    pub async fn list_sessions(
        &self,
        selection: Option<&Selection>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SessionPage, StoreError> {
        self.0.sessions.list(selection, after, limit).await
    }

    /// What the store has of the session of this name, also if it is over.
    pub async fn show_session(&self, name: &str) -> Result<Option<SessionInfo>, StoreError> {
        self.0.sessions.show(name).await
    }

    /// Ends all these sessions, on every node; what is opened afterwards is not hit. `reason` is for the audit log. Where the store
    /// fails in the middle, what was done stays done, and it can be said again.
    pub async fn revoke_sessions(&self, selection: &Selection, reason: &'static str) -> Result<Revoked, StoreError> {
        self.0.sessions.revoke_selected(selection, reason).await
    }

    /// Takes no new work, ends the streams that would never end by themselves, and gives the calls under way `grace`. What
    /// finishes them is served meanwhile: answers to questions, retries of calls that wait for input, their streams. Tells how
    /// many calls were not done by then.
    pub async fn drain(&self, grace: Duration) -> usize {
        let relayed = async {
            match &self.0.relay {
                Some(relay) => relay.drain(grace).await,
                None => 0,
            }
        };
        let (own, relayed) = tokio::join!(self.0.sessions.drain(grace), relayed);
        own + relayed
    }

    /// How many sessions this node holds in memory, those of modern clients among them.
    pub fn sessions_held(&self) -> usize {
        self.0.sessions.held()
    }

    /// How many calls run here or at other nodes, or wait for their client's input.
    pub fn calls_under_way(&self) -> usize {
        self.0.sessions.under_way() + self.0.relay.as_ref().map_or(0, |relay| relay.calls_under_way())
    }

    /// Ends everything that this node holds: what is left of the calls, then the backend sessions. The sessions stay valid for
    /// other nodes and for the next start. Call [`Gateway::drain`] first.
    pub async fn close(&self) {
        self.0.sessions.close().await;
        if let Some(relay) = &self.0.relay {
            relay.close().await;
        }
    }

    /// The endpoint at a request's path, if there is one.
    pub fn endpoint(&self, path: &str) -> Option<ServedEndpoint<'_>> {
        let endpoint = self.0.endpoints.get(*self.0.paths.get(path)?)?;
        Some(ServedEndpoint { gateway: &self.0, endpoint })
    }

    /// The refusal of a request that a browser was tricked into sending (DNS rebinding), for whatever else listens on this
    /// address; `None` if the request may pass.
    pub fn refuse_host<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let mut headers = http::HeaderMap::new();
        for host in request.headers().get_all(http::header::HOST) {
            headers.append(http::header::HOST, host.clone());
        }
        self.0.hosts.check(request.uri(), &headers).err().map(refusal::edge)
    }

    /// Answers one HTTP request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.endpoint(request.uri().path()) {
            Some(endpoint) => endpoint.handle(request).await,
            None => reply::empty(StatusCode::NOT_FOUND),
        }
    }
}

impl ServedEndpoint<'_> {
    /// Answers one HTTP request that is for this endpoint.
    pub async fn handle<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { gateway, endpoint } = self;
        let (parts, body) = request.into_parts();
        let mut body = pin!(body);
        let mut response = match gateway.answer(endpoint, &parts, body.as_mut()).await {
            Ok(response) => response,
            Err(rejection) => {
                let mut response = rejection.into_response(endpoint.resource());
                remainder::discard(body, &mut response).await;
                response
            }
        };
        gateway.allow_origin(&parts, &mut response);
        response
    }
}

impl Inner {
    async fn answer<B>(&self, endpoint: &Arc<Endpoint>, parts: &Parts, body: B) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.hosts.check(&parts.uri, &parts.headers)?;
        match parts.method {
            Method::POST => edge::check_post(&parts.headers)?,
            Method::GET => edge::check_get(&parts.headers)?,
            Method::DELETE => {}
            // A browser's question before it sends the request (Fetch standard, CORS preflight); `allow_origin` answers it.
            Method::OPTIONS if parts.headers.contains_key(ORIGIN) => return Ok(reply::empty(StatusCode::NO_CONTENT)),
            _ => return Err(EdgeError::Method.into()),
        }
        if parts.method != Method::POST {
            edge::legacy_version(&parts.headers)?;
        }
        let presented = edge::single(&parts.headers, &SESSION_ID, "Mcp-Session-Id")?;
        let authenticated = self.authenticate(endpoint, parts).await?;
        match parts.method {
            Method::POST => self.post(endpoint, authenticated, presented, parts, body).await,
            Method::GET => self.get(endpoint, &authenticated, presented, parts).await,
            _ => self.delete(endpoint, &authenticated, presented).await,
        }
    }

    async fn authenticate(&self, endpoint: &Endpoint, parts: &Parts) -> Result<Authenticated, Rejection> {
        let authenticated = self.authenticator.authenticate(endpoint.resource(), &parts.headers).await;
        authenticated.map_err(|error| {
            audit::unauthenticated(endpoint.name(), &error.to_string());
            Rejection::Authenticate(error)
        })
    }

    /// The session behind the presented id: the one door for every verb and every kind of message.
    async fn admit(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        presented: Option<&str>,
        operation: &str,
    ) -> Result<Owned<Entered>, Rejection> {
        let presented = presented.ok_or_else(|| {
            let text = "the header `Mcp-Session-Id` is missing; send `initialize` first";
            Rejection::Invalid(ErrorObject::new(code::INVALID_REQUEST, text))
        })?;
        let admitted = self.sessions.admit(endpoint, presented, authenticated).await.map_err(|error| {
            match &error {
                AdmitError::Refused(refused) => audit::refused(endpoint.name(), operation, refused, authenticated),
                AdmitError::NotNow => {}
                AdmitError::Store(error) => {
                    error!(endpoint = endpoint.name(), %error, "a session could not be looked up");
                }
            }
            Rejection::from(error)
        })?;
        // After the handle, so that the answer tells nothing about sessions of others.
        require_scopes(endpoint, authenticated)?;
        Ok(admitted)
    }

    async fn get(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        presented: Option<&str>,
        parts: &Parts,
    ) -> Result<Response<Body>, Rejection> {
        // "If the header is not specified or empty, there is nothing to resume" (WHATWG HTML, 9.2.4).
        let last = edge::single(&parts.headers, &LAST_EVENT_ID, "Last-Event-ID")?.filter(|id| !id.is_empty());
        let operation = if last.is_some() { RESUMING } else { "GET" };
        let session = self.admit(endpoint, authenticated, presented, operation).await?;
        let _at_work = self.sessions.set_to_work(&session).await.map_err(AdmitError::from)?;
        let get = Get { sessions: &self.sessions, authenticated, keep_alive: self.limits.keep_alive };
        let Some(last) = last else { return get.begin(&session) };
        let position = get.position(&session, last)?;
        if position.node != session.node()
            && let Some(response) = self.resume_elsewhere(&position, authenticated.principal(), parts).await?
        {
            return Ok(response);
        }
        get.resume(&session, &position)
    }

    async fn delete(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        presented: Option<&str>,
    ) -> Result<Response<Body>, Rejection> {
        let session = self.admit(endpoint, authenticated, presented, "DELETE").await?;
        self.sessions.terminate(&session, "deleted").await.map_err(|error| {
            error!(endpoint = endpoint.name(), %error, "a session could not be ended");
            Rejection::Unavailable
        })?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// Lets a browser read the answer, if its origin was let in (Fetch standard, CORS). No cookies are involved.
    fn allow_origin(&self, parts: &Parts, response: &mut Response<Body>) {
        let Some(origin) = parts.headers.get(ORIGIN) else { return };
        if self.hosts.check(&parts.uri, &parts.headers).is_err() {
            return;
        }
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate"));
        if parts.method == Method::OPTIONS {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, edge::allowed_headers(&parts.headers));
        }
    }
}

/// The scopes that the endpoint demands (RFC 6750 section 3.1, `insufficient_scope`), from the present credential at every
/// request. Who is let in without a credential has none to narrow.
fn require_scopes(endpoint: &Endpoint, authenticated: &Authenticated) -> Result<(), Rejection> {
    if authenticated.principal().kind() == PrincipalKind::Anonymous {
        return Ok(());
    }
    let required = if authenticated.grant().is_some() { endpoint.local_scopes() } else { &endpoint.resource().scopes };
    authenticated.require_scopes(required).map_err(|error| {
        audit::unauthenticated(endpoint.name(), &error.to_string());
        Rejection::Authenticate(error)
    })
}
