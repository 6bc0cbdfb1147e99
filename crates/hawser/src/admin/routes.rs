//! The routes of administration.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;

use super::wire::{NodeInfo, Refused, json};
use super::{Administered, sessions, signing_keys};
use crate::serve::{HEALTH_PATH, READINESS_PATH};

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// All routes.
pub(super) fn router(administered: Administered) -> Router {
    Router::new()
        .route(HEALTH_PATH, get(probe))
        .route(READINESS_PATH, get(probe))
        .route("/v1/node", get(node))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/revoke", post(sessions::revoke))
        .route("/v1/sessions/{session}", get(sessions::show))
        .route("/v1/signing-keys", get(signing_keys::list))
        .route("/v1/signing-keys/rotate", post(signing_keys::rotate))
        .route("/v1/signing-keys/remove", post(signing_keys::remove))
        .fallback(async || Refused::new("there is no such path").with_status(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || {
            Refused::new("this path has other methods").with_status(StatusCode::METHOD_NOT_ALLOWED)
        })
        .with_state(administered)
}

async fn probe(State(administered): State<Administered>, method: Method, uri: Uri) -> Response {
    administered.health.answer(&method, uri.path()).await
}

async fn node(State(administered): State<Administered>) -> Response {
    let info = NodeInfo {
        node: administered.gateway.node().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        status: administered.health.phase().as_str().to_owned(),
        uptime_seconds: administered.started.elapsed().as_secs(),
        sessions_live: administered.gateway.sessions_held(),
        calls: administered.gateway.calls_under_way(),
        store: administered.store.to_string(),
        store_reachable: administered.health.store_answers().await,
    };
    json(StatusCode::OK, &info)
}

/// A JSON body of bounded size. The connection itself is bounded in time.
pub(super) async fn body_of(request: Request) -> Result<Bytes, Refused> {
    let is_json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return Err(
            Refused::new("the content type must be application/json").with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
    }
    let too_large = |_| Refused::new("the body is too large").with_status(StatusCode::PAYLOAD_TOO_LARGE);
    to_bytes(request.into_body(), BODY_BYTES_MAX).await.map_err(too_large)
}
