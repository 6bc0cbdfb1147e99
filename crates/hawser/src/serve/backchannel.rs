//! `/backchannel-logout`: external issuers say whom they logged out (OpenID Connect Back-Channel Logout 1.0 section 2.5).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use hawser_gateway::{Gateway, Selection};
use hawser_identity::{Authenticator, Logout, LogoutError};
use hawser_store::{Key, Store, StoreError, Unavailable};
use serde_json::json;
use tracing::{debug, error, info, warn};
use url::form_urlencoded;

/// Where the issuers are told to send their logout tokens.
pub(crate) const PATH: &str = "/backchannel-logout";
/// Largest body: one token.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// The rows of tokens that were used.
const FAMILY: &str = "logout-token";

/// What acts on logout tokens.
#[derive(Clone)]
pub(super) struct BackChannel {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) gateway: Gateway,
    pub(super) store: Arc<dyn Store>,
}

/// Why a logout did not come about.
enum Failed {
    /// The request is no logout request.
    Request(&'static str),
    Token(LogoutError),
    /// The token was used before.
    Replayed,
    Store(StoreError),
}

impl BackChannel {
    /// The route, if any issuer is configured to send logout tokens.
    pub(super) fn router(self) -> Router {
        if !self.authenticator.takes_logout_tokens() {
            return Router::new();
        }
        Router::new().route(PATH, post(log_out)).with_state(self)
    }

    /// Acts on a token, whether or not its issuer waits for the answer: a token that is used up and not acted on would be a logout
    /// that nobody can send again.
    async fn act(self, request: Request) -> Result<(), Failed> {
        let body = form(request).await?;
        let acted = tokio::spawn(async move { self.carry_out(&body).await }).await;
        acted.unwrap_or_else(|error| Err(Failed::Store(Unavailable { reason: error.to_string() }.into())))
    }

    async fn carry_out(&self, body: &[u8]) -> Result<(), Failed> {
        let logout = self.authenticator.logout_token(token(body)?.as_ref()).await.map_err(Failed::Token)?;
        let used = Key::new(FAMILY, &logout.id).map_err(|_| Failed::Request("the token has no usable id"))?;
        self.use_up(&used, &logout).await?;
        let selection = Selection::Owner(logout.principal);
        match self.gateway.revoke_sessions(&selection, "backchannel_logout").await {
            Ok(revoked) => {
                info!(target: "hawser::audit", event = "backchannel_logout", sessions = revoked.sessions);
                Ok(())
            }
            Err(error) => {
                // It may be sent again.
                if let Err(error) = self.store.delete(&used).await {
                    warn!(%error, "a logout token that could not be acted on stays used");
                }
                Err(Failed::Store(error))
            }
        }
    }

    /// Section 2.6, step 8: a token that was received before is not taken again.
    async fn use_up(&self, used: &Key, logout: &Logout) -> Result<(), Failed> {
        let value = Some(Bytes::from_static(b"used"));
        match self.store.compare_and_set(used, None, value, Some(logout.remember)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failed::Replayed),
            Err(error) => Err(Failed::Store(error)),
        }
    }
}

async fn log_out(State(channel): State<BackChannel>, request: Request) -> Response<Body> {
    match channel.act(request).await {
        Ok(()) => answer(StatusCode::OK, Body::empty()),
        Err(failed) => refusal(failed),
    }
}

/// The body of a form post, bounded in size and time.
async fn form(request: Request) -> Result<Bytes, Failed> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Failed::Request("the content type must be application/x-www-form-urlencoded"));
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        _ => Err(Failed::Request("the body is too large, took too long or was cut off")),
    }
}

/// The one `logout_token`. Other parameters have no meaning, and none of them may change that of this one.
fn token(body: &[u8]) -> Result<std::borrow::Cow<'_, str>, Failed> {
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token").map(|(_, value)| value);
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err(Failed::Request("logout_token is missing")),
        (Some(_), Some(_)) => Err(Failed::Request("logout_token is given twice")),
    }
}

/// "If the logout request is invalid or the logout failed, the RP MUST respond with HTTP 400 Bad Request" (section 2.8).
fn refusal(failed: Failed) -> Response<Body> {
    let (code, description) = match failed {
        Failed::Request(what) => ("invalid_request", what.to_owned()),
        Failed::Token(LogoutError::Unavailable { .. }) => {
            ("temporarily_unavailable", LogoutError::Unavailable { retry_after: Duration::ZERO }.to_string())
        }
        Failed::Token(why) => ("invalid_request", why.to_string()),
        Failed::Replayed => ("invalid_request", "the logout token was used before".to_owned()),
        Failed::Store(error) => {
            error!(%error, "a logout could not be carried out");
            ("temporarily_unavailable", "the logout could not be carried out; send it again".to_owned())
        }
    };
    // What anybody can send must not fill the log.
    debug!(reason = description, "a logout was refused");
    let body = json!({ "error": code, "error_description": description });
    let mut response = answer(StatusCode::BAD_REQUEST, Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// "The RP's response SHOULD include the Cache-Control HTTP response header field with a no-store value" (section 2.8).
fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
