//! Requests over real HTTP to an endpoint that does nothing but authenticate.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hawser_identity::{AuthenticateError, Authenticated, ExternalIssuer, Resource};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::issuers::IssuerServer;
use crate::signing::{SigningKey, with};
use crate::world::{RESOURCE, World, claims};

struct Endpoint {
    url: String,
    token: String,
    server: JoinHandle<()>,
    _issuer: IssuerServer,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Endpoint {
    async fn start(anonymous: bool) -> Self {
        let key = SigningKey::es256("k1");
        let issuer = IssuerServer::start(&[&key]).await;
        let mut world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
        world.resource = Resource::new(RESOURCE, "Example", vec!["mcp".to_owned()], anonymous).unwrap();
        let token = key.sign(&claims(&issuer.issuer, "alice"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let router = Router::new().fallback(whoami).with_state(Arc::new(world));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, token, server, _issuer: issuer }
    }

    async fn ask(&self, authorizations: &[&str], query: &str) -> (StatusCode, HeaderMap, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.post(format!("{}{query}", self.url));
        for authorization in authorizations {
            request = request.header("authorization", *authorization);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.headers().clone(), response.text().await.unwrap())
    }
}

async fn whoami(State(world): State<Arc<World>>, request: Request) -> Response {
    match world.authenticator.authenticate(&world.resource, request.headers()).await {
        Ok(who) => who.principal().subject().map_or("anonymous", |subject| subject.as_str()).to_owned().into_response(),
        Err(error) => world.answer(&error).into_response(),
    }
}

#[tokio::test]
async fn rs1_no_credentials_get_a_challenge_without_an_error() {
    let endpoint = Endpoint::start(false).await;
    let (status, headers, _) = endpoint.ask(&[], "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        headers["www-authenticate"],
        r#"Bearer resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="mcp""#
    );
    assert_eq!(headers["cache-control"], "no-store");
}

#[tokio::test]
async fn rs3_a_token_in_the_query_is_none() {
    let endpoint = Endpoint::start(false).await;
    let without = endpoint.ask(&[], "").await;
    let (status, headers, body) = endpoint.ask(&[], &format!("?access_token={}", endpoint.token)).await;
    assert_eq!((status, &body), (without.0, &without.2));
    assert_eq!(headers["www-authenticate"], without.1["www-authenticate"]);
}

#[tokio::test]
async fn rs4_the_scheme_has_no_case_on_the_wire() {
    let endpoint = Endpoint::start(false).await;
    for scheme in ["Bearer", "bearer", "bEaReR"] {
        let (status, _, body) = endpoint.ask(&[&format!("{scheme} {}", endpoint.token)], "").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "alice"), "{scheme}");
    }
}

#[tokio::test]
async fn rs5_two_authorization_fields_are_refused_in_any_order() {
    let endpoint = Endpoint::start(true).await;
    let good = format!("Bearer {}", endpoint.token);
    for fields in [[good.as_str(), good.as_str()], [&good, "Bearer x"], ["Bearer x", &good], ["", &good]] {
        let (status, headers, body) = endpoint.ask(&fields, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(headers["www-authenticate"].to_str().unwrap().starts_with(r#"Bearer error="invalid_request", "#));
    }
}

#[tokio::test]
async fn rs6_missing_scopes_are_named_all_at_once() {
    let key = SigningKey::es256("k1");
    let issuer = IssuerServer::start(&[&key]).await;
    let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
    let who = world.accepts(&key.sign(&claims(&issuer.issuer, "alice"))).await;
    let scopes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(who.require_scopes(&scopes(&["mcp", "files:read"])), Ok(()));
    assert_eq!(who.require_scopes(&[]), Ok(()));
    let error = who.require_scopes(&scopes(&["mcp", "files:write", "files:delete"])).unwrap_err();
    let (status, headers, _) = world.answer(&error);
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        headers["www-authenticate"],
        r#"Bearer error="insufficient_scope", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp", scope="mcp files:write files:delete""#
    );
    let bare = world.accepts(&key.sign(&with(claims(&issuer.issuer, "alice"), "scope", ""))).await;
    assert!(bare.require_scopes(&scopes(&["mcp"])).is_err());
}

#[tokio::test]
async fn anonymous_endpoints_serve_nobody_in_particular_but_no_bad_tokens() {
    let endpoint = Endpoint::start(true).await;
    let (status, _, body) = endpoint.ask(&[], "").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "anonymous"));
    let (status, _, body) = endpoint.ask(&[&format!("Bearer {}", endpoint.token)], "").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "alice"));
    for field in ["Bearer", "Bearer x", "Basic YTpi", "", &format!("Bearer {}x", endpoint.token)] {
        let (status, ..) = endpoint.ask(&[field], "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{field}");
    }
}

#[tokio::test]
async fn an_anonymous_request_that_needs_a_scope_is_asked_to_authenticate() {
    let mut world = World::trusting([]);
    world.resource.anonymous = true;
    let nobody: Authenticated = world.authenticator.authenticate(&world.resource, &HeaderMap::new()).await.unwrap();
    assert_eq!(nobody.require_scopes(&["mcp".to_owned()]), Err(AuthenticateError::Missing));
    assert_eq!(nobody.require_scopes(&[]), Ok(()));
    assert_eq!((nobody.expires(), nobody.grant(), nobody.client_id(), nobody.token_digest()), (None, None, None, None));
}
