//! What administration and its command line say to each other, as JSON. Times are seconds since 1970.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// `GET /v1/node`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NodeInfo {
    /// Its name in the logs of other nodes: another each time that it starts.
    pub(crate) node: String,
    pub(crate) version: String,
    /// `starting`, `ready` or `draining`.
    pub(crate) status: String,
    pub(crate) uptime_seconds: u64,
    /// Sessions that the node holds in memory.
    pub(crate) sessions_live: usize,
    /// Calls that run, or wait for their client's input.
    pub(crate) calls: usize,
    /// What kind of store it is.
    pub(crate) store: String,
    pub(crate) store_reachable: bool,
}

/// One session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShownSession {
    pub(crate) session: String,
    /// The owner's digest: the store has no names.
    pub(crate) owner: String,
    pub(crate) endpoint: String,
    pub(crate) opened: Option<u64>,
    pub(crate) last_used: u64,
    pub(crate) expires: Option<u64>,
    /// What the client says that it is called, and its version.
    pub(crate) client: Option<String>,
    pub(crate) grant: Option<String>,
    /// Whether this node holds it in memory.
    pub(crate) live: bool,
}

/// `GET /v1/sessions`
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionList {
    pub(crate) sessions: Vec<ShownSession>,
    /// `after` for the next page, if there may be more.
    pub(crate) next: Option<String>,
}

/// One of the ways to say which sessions are meant; also the parameters of `GET /v1/sessions`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Selecting {
    /// A session, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// A principal, by its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    /// The principal's issuer; by default the embedded authorization server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// The principal's tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// `user` (default) or `client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// A grant of the embedded authorization server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<String>,
    /// An endpoint, by its name or path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
}

/// `POST /v1/sessions/revoke`: one selection, and why, for the audit log. Beside [`Selecting`], which takes no unknown members and
/// so cannot be flattened into this.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revocation {
    pub(crate) select: Selecting,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// One signing key of the embedded authorization server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShownSigningKey {
    pub(crate) kid: String,
    /// `published`, `active` or `retired`.
    pub(crate) state: String,
    pub(crate) created: u64,
    /// Since when it is in this state.
    pub(crate) since: u64,
}

/// `GET /v1/signing-keys`, and what the keys are after a change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SigningKeyList {
    pub(crate) keys: Vec<ShownSigningKey>,
}

/// `POST /v1/signing-keys/remove`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningKeyRemoval {
    pub(crate) kid: String,
}

/// What was ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RevokedSessions {
    /// Sessions of the store that were ended.
    pub(crate) sessions: u64,
}

/// A refusal, with the parameter that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    #[serde(skip)]
    status: u16,
    pub(crate) error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
}

impl Refused {
    /// A bad request.
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { status: 400, error: error.into(), parameter: None }
    }

    /// A parameter that is wrong.
    pub(crate) fn of(parameter: &str, error: impl Into<String>) -> Self {
        Self { parameter: Some(parameter.to_owned()), ..Self::new(error) }
    }

    /// With another status than 400.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }
}

impl From<hawser_store::StoreError> for Refused {
    fn from(error: hawser_store::StoreError) -> Self {
        tracing::error!(%error, "administration could not reach the store");
        Self::new("the store cannot be reached; try again").with_status(StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        json(StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST), &self)
    }
}

/// An answer as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // What is said here are structs of texts and numbers, which always serialise.
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
