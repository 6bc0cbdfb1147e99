//! From settings to parts that work together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use hawser_authserver::{AuthServer, AuthServerConfig, DevelopmentLogin, LocalUser, LoginMethods};
use hawser_backend::{Backend, BackendConfig, BackendName, ChildLimit};
use hawser_catalog::Naming;
use hawser_gateway::{EndpointConfig, Gateway, GatewayConfig, GatewayDependencies, Grants, Hosts, SessionPolicy};
use hawser_identity::{Authenticator, ExternalIssuer, HttpFetcher, IdentityConfig, LocalIssuer, Resource};
use hawser_owner::{Clock, Entropy, KeyRing, SystemEntropy, Timestamp};
use hawser_store::Store;
use secrecy::{ExposeSecret as _, SecretString};

use super::backchannel::BackChannel;
use super::health::Health;
use super::http::Service;
use super::issuer::Embedded;
use super::key_ring::{LoadedRing, RingFile};
use super::lifecycle::Lifecycle;
use super::revocations::Revocations;
use super::signing_keys::SigningKeys;
use super::{key_ring, storage};
use crate::admin::Administered;
use crate::config::{self, AuthorizationServerSettings, BackendSettings, EndpointSettings, IssuerSettings, Settings};
use crate::failure::Failure;

/// What an access token must be good for to use an endpoint.
const SCOPE: &str = "mcp";
/// A revocation is remembered this much longer than any session that it ends.
const REVOCATION_MARGIN: Duration = Duration::from_hours(1);
/// Who can log in with one click on a gateway for development: two, so that one can see that they are kept apart.
const DEVELOPMENT_USERS: [&str; 2] = ["alice", "bob"];

/// A gateway ready to serve.
pub(super) struct Parts {
    pub(super) gateway: Gateway,
    pub(super) service: Service,
    pub(super) revocations: Option<Revocations>,
    /// Whether other nodes share the store.
    pub(super) others: bool,
    pub(super) signing_keys: Option<SigningKeys>,
    pub(super) administered: Administered,
    pub(super) ring: Arc<KeyRing>,
    pub(super) ring_file: Option<Arc<RingFile>>,
}

/// Builds everything. Nothing is connected to yet.
pub(super) async fn build(settings: &Settings, bound: SocketAddr, life: &Lifecycle) -> Result<Parts, Failure> {
    // Both libraries that speak TLS use the process's default provider; the first call wins, later ones are no error.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock: Clock = Arc::new(|| Timestamp::from(SystemTime::now()));
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::new());
    let store = storage::open(settings).await?;
    let LoadedRing { ring, file: ring_file } = key_ring::load(settings, entropy.as_ref())?;
    let url = settings.public_url_when_bound(bound);
    let resources = resources(settings, &url)?;

    let server = match &settings.authorization_server {
        None => None,
        Some(server) => {
            let config = AuthServerConfig {
                revocation_memory: settings.sessions.lifetime + REVOCATION_MARGIN,
                ..authorization_server(server, &url, &resources)
            };
            Some(open_authorization_server(config, &store, &ring, &clock, &entropy).await?)
        }
    };
    let embedded = server.as_ref().map(|server| Arc::new(Embedded::new(Arc::clone(server), url.clone())));
    let local = embedded.clone().map(|embedded| embedded as Arc<dyn LocalIssuer>);
    let authenticator = Arc::new(authenticator(settings, local, &clock)?);

    let dependencies = GatewayDependencies {
        authenticator: Arc::clone(&authenticator),
        grants: embedded.map(|embedded| embedded as Arc<dyn Grants>),
        ring: Arc::clone(&ring),
        store: Arc::clone(&store),
        clock,
        entropy,
    };
    let gateway = Gateway::new(gateway_config(settings, bound, &url, &resources)?, dependencies)
        .map_err(|error| Failure::run(error.to_string()))?;
    let revocations = server.as_ref().map(|server| Revocations {
        journal: server.revocations(),
        authenticator: Arc::clone(&authenticator),
        gateway: gateway.clone(),
    });
    let back_channel =
        BackChannel { authenticator: Arc::clone(&authenticator), gateway: gateway.clone(), store: Arc::clone(&store) };
    let router = router(server.as_ref(), &authenticator, &resources).merge(back_channel.router());
    let service = Service {
        gateway: gateway.clone(),
        router,
        trusted_proxies: settings.trusted_proxies.as_slice().into(),
        health: Health::new(life.clone(), Arc::clone(&store)),
        life: life.clone(),
    };
    let administered = Administered {
        gateway: gateway.clone(),
        health: service.health.clone(),
        authorization_server: server.clone().map(|server| (server, url.clone())),
        endpoints: settings
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.name.to_string(), endpoint.path.clone()))
            .collect(),
        store: settings.store.to_string().into(),
        started: std::time::Instant::now(),
    };
    let signing_keys = server.map(|server| SigningKeys { server, authenticator });
    let others = store.is_shared();
    Ok(Parts { gateway, service, revocations, others, signing_keys, administered, ring, ring_file })
}

fn resources(settings: &Settings, url: &str) -> Result<Vec<Resource>, Failure> {
    // Only the embedded authorization server is sure to know the scope; tokens of others are told apart by their audience.
    let scopes = if settings.issuers.is_empty() { vec![SCOPE.to_owned()] } else { Vec::new() };
    let resource = |endpoint: &EndpointSettings| {
        let identifier = format!("{url}{}", endpoint.path);
        Resource::new(identifier, format!("Hawser: {}", endpoint.name), scopes.clone(), endpoint.anonymous)
            .map_err(|error| Failure::run(format!("endpoint `{}`: {error}", endpoint.name)))
    };
    settings.endpoints.iter().map(resource).collect()
}

fn authorization_server(
    settings: &AuthorizationServerSettings,
    issuer: &str,
    resources: &[Resource],
) -> AuthServerConfig {
    let resource = |resource: &Resource| hawser_authserver::Resource {
        identifier: resource.identifier.clone(),
        name: resource.name.clone(),
    };
    let users = settings.users.iter().map(|user| LocalUser {
        name: user.name.clone(),
        password_hash: user.password_hash.expose_secret().to_owned(),
    });
    let development =
        settings.development_login.then(|| DevelopmentLogin { users: DEVELOPMENT_USERS.map(str::to_owned).to_vec() });
    AuthServerConfig {
        issuer: issuer.to_owned(),
        resources: resources.iter().map(resource).collect(),
        scopes: vec![SCOPE.to_owned()],
        login: LoginMethods { users: users.collect(), development },
        access_token_lifetime: settings.access_token_lifetime,
        refresh_grace: settings.refresh_grace,
        refresh_idle: settings.refresh_idle,
        refresh_lifetime: settings.refresh_lifetime,
        signing_key_lifetime: settings.signing_key_lifetime,
        ..AuthServerConfig::default()
    }
}

async fn open_authorization_server(
    config: AuthServerConfig,
    store: &Arc<dyn Store>,
    ring: &Arc<KeyRing>,
    clock: &Clock,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<AuthServer>, Failure> {
    AuthServer::open(config, Arc::clone(store), Arc::clone(ring), Arc::clone(clock), Arc::clone(entropy))
        .await
        .map_err(|error| Failure::run(format!("the authorization server cannot start: {error}")))
}

fn authenticator(
    settings: &Settings,
    local: Option<Arc<dyn LocalIssuer>>,
    clock: &Clock,
) -> Result<Authenticator, Failure> {
    let issuers: Result<Vec<_>, Failure> = settings.issuers.iter().map(external_issuer).collect();
    let config = IdentityConfig { issuers: issuers?, ..IdentityConfig::default() };
    let fetcher = HttpFetcher::new().map_err(|error| Failure::run(format!("cannot set up HTTPS: {error}")))?;
    Authenticator::new(config, local, Arc::clone(clock), Arc::new(fetcher))
        .map_err(|error| Failure::run(format!("the issuers cannot be used: {error}")))
}

fn external_issuer(settings: &IssuerSettings) -> Result<ExternalIssuer, Failure> {
    let algorithms: Result<Vec<_>, _> = settings.algorithms.iter().map(|name| name.parse()).collect();
    let algorithms = algorithms.map_err(|error| Failure::run(format!("issuer {:?}: {error}", settings.issuer)))?;
    Ok(ExternalIssuer {
        jwks_uri: settings.jwks_uri.clone(),
        algorithms,
        token_types: settings.token_types.clone(),
        subject_claim: settings.subject_claim.clone(),
        tenant_claim: settings.tenant_claim.clone(),
        tenant: settings.tenant.clone(),
        logout_audience: settings.logout_audience.clone(),
        ..ExternalIssuer::new(settings.issuer.clone())
    })
}

fn gateway_config(
    settings: &Settings,
    bound: SocketAddr,
    url: &str,
    resources: &[Resource],
) -> Result<GatewayConfig, Failure> {
    Ok(GatewayConfig {
        endpoints: endpoints(
            settings,
            settings.endpoints.iter().zip(resources.iter().cloned()),
            settings.limits.streamed_result,
        )?,
        hosts: hosts(settings, bound, url),
        sessions: SessionPolicy {
            idle: settings.sessions.idle,
            lifetime: settings.sessions.lifetime,
            per_owner: settings.sessions.per_owner,
            total: settings.sessions.total,
            at_work: settings.sessions.at_work,
            one_person: false,
        },
        limits: limits(settings),
    })
}

/// These endpoints, and all backends, which endpoints share.
pub(super) fn endpoints<'s>(
    settings: &Settings,
    endpoints: impl Iterator<Item = (&'s EndpointSettings, Resource)>,
    streamed_result: usize,
) -> Result<Vec<EndpointConfig>, Failure> {
    let children = ChildLimit::new(settings.limits.children);
    let mut backends = HashMap::new();
    for backend in &settings.backends {
        backends.insert(backend.name.to_string(), open_backend(settings, backend, &children, streamed_result)?);
    }
    let endpoint = |(endpoint, resource): (&EndpointSettings, Resource)| EndpointConfig {
        name: endpoint.name.to_string(),
        path: endpoint.path.clone(),
        resource,
        local_scopes: vec![SCOPE.to_owned()],
        backends: settings
            .backends_of(endpoint)
            .filter_map(|backend| Some((backends.get(&*backend.name.to_string())?.clone(), naming(backend.naming))))
            .collect(),
    };
    Ok(endpoints.map(endpoint).collect())
}

pub(super) fn limits(settings: &Settings) -> hawser_gateway::Limits {
    let mut limits = hawser_gateway::Limits {
        request_body: settings.limits.request_body,
        client_answer: settings.limits.client_answer,
        ..Default::default()
    };
    limits.frames.depth = settings.limits.depth;
    limits
}

const fn naming(naming: config::Naming) -> Naming {
    match naming {
        config::Naming::Prefix => Naming::Prefix,
        config::Naming::None => Naming::None,
    }
}

fn hosts(settings: &Settings, bound: SocketAddr, url: &str) -> Hosts {
    let public_host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    // A configured name may carry a port for the reader; the port says nothing about who was meant.
    let names = settings.allowed_hosts.iter().map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name.to_owned(),
        _ => host.clone(),
    });
    Hosts {
        hosts: public_host.into_iter().chain(names).collect(),
        origins: std::iter::once(url.to_owned()).chain(settings.allowed_origins.iter().cloned()).collect(),
        loopback: bound.ip().is_loopback(),
    }
}

fn open_backend(
    settings: &Settings,
    backend: &BackendSettings,
    children: &ChildLimit,
    streamed_result: usize,
) -> Result<Backend, Failure> {
    let name = BackendName::new(&backend.name.to_string())
        .map_err(|error| Failure::run(format!("backend `{}`: {error}", backend.name)))?;
    let mut config = BackendConfig::new(name, transport(&backend.transport));
    config.request_timeout = backend.timeout;
    config.message_bytes_max = settings.limits.response_body;
    config.streamed_bytes_max = u64::try_from(streamed_result).unwrap_or(u64::MAX);
    config.limits.depth = settings.limits.depth;
    Backend::new(config, children.clone()).map_err(|error| Failure::run(error.to_string()))
}

fn transport(transport: &config::Transport) -> hawser_backend::Transport {
    match transport {
        config::Transport::Http { url, headers } => {
            hawser_backend::Transport::Http { url: url.clone(), headers: header_map(headers) }
        }
        config::Transport::Sse { url, headers } => {
            hawser_backend::Transport::Sse { url: url.clone(), headers: header_map(headers) }
        }
        config::Transport::Stdio { program, arguments, env, cwd } => hawser_backend::Transport::Stdio {
            command: std::iter::once(program.clone()).chain(arguments.iter().cloned()).collect(),
            env: env.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
            cwd: cwd.clone(),
        },
    }
}

fn header_map(headers: &[(HeaderName, SecretString)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
            value.set_sensitive(true);
            map.append(name.clone(), value);
        }
    }
    map
}

/// Everything that is not an MCP endpoint: the authorization server, and the metadata of the protected resources.
fn router(server: Option<&Arc<AuthServer>>, authenticator: &Authenticator, resources: &[Resource]) -> Router {
    let mut router = server.map(AuthServer::router).unwrap_or_default();
    // RFC 9728 section 3.1, and at the root for clients that look there only; the first endpoint has the root.
    let at_root = resources.first().map(|resource| ("/.well-known/oauth-protected-resource", resource));
    let inserted = resources.iter().map(|resource| (resource.metadata_path(), resource));
    let mut taken = Vec::new();
    for (path, resource) in inserted.chain(at_root) {
        if taken.contains(&path) {
            continue;
        }
        taken.push(path);
        let document: Bytes = authenticator.protected_resource_metadata(resource);
        let headers = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
        // Browser clients ask first whether they may send their protocol version along (Fetch standard, CORS).
        let preflight = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "MCP-Protocol-Version"),
        ];
        let answer = get(move || async move { (headers, document) })
            .options(move || async move { (StatusCode::NO_CONTENT, preflight) });
        router = router.route(path, answer);
    }
    // Who opens the address in a browser should learn what it is for.
    let endpoints: Vec<_> = resources.iter().map(|resource| format!("  {}", resource.identifier)).collect();
    let welcome = format!("This is a Hawser MCP gateway. Connect an MCP client to\n{}\n", endpoints.join("\n"));
    router.route("/", get(move || async move { welcome }))
}
