//! Errors of the token, revocation and registration endpoints, and how they look on the wire (RFC 6749 section 5.2).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hawser_owner::EntropyError;
use hawser_store::StoreError;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::access_token::SignError;
use crate::form::FormError;
use crate::keys::SigningKeysError;
use crate::resource::TargetError;
use crate::scope::ScopeError;

/// Why a request by a client is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// One answer for an unknown client, a wrong secret and a wrong method.
    #[error("client authentication failed")]
    InvalidClient,
    /// One answer for everything that can be wrong with a code or refresh token.
    #[error("the grant is invalid, expired or revoked, or was issued to another client")]
    InvalidGrant,
    #[error("{0}")]
    InvalidScope(ScopeError),
    #[error("{0}")]
    InvalidTarget(TargetError),
    #[error("the client is not registered for this grant type")]
    UnauthorizedClient,
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    #[error("{0}")]
    InvalidRedirectUri(crate::redirect_uri::RedirectUriError),
    #[error("{0}")]
    InvalidClientMetadata(&'static str),
    #[error("too many requests, try again later")]
    TooMany,
    #[error("the method is not allowed here")]
    Method(&'static str),
    #[error("the server cannot answer now, try again later")]
    Unavailable,
    #[error("the server failed")]
    Internal,
}

impl TokenError {
    fn code_and_status(&self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidRequest(_) => ("invalid_request", StatusCode::BAD_REQUEST),
            Self::InvalidClient => ("invalid_client", StatusCode::UNAUTHORIZED),
            Self::InvalidGrant => ("invalid_grant", StatusCode::BAD_REQUEST),
            Self::InvalidScope(_) => ("invalid_scope", StatusCode::BAD_REQUEST),
            Self::InvalidTarget(_) => ("invalid_target", StatusCode::BAD_REQUEST),
            Self::UnauthorizedClient => ("unauthorized_client", StatusCode::BAD_REQUEST),
            Self::UnsupportedGrantType => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
            Self::InvalidRedirectUri(_) => ("invalid_redirect_uri", StatusCode::BAD_REQUEST),
            Self::InvalidClientMetadata(_) => ("invalid_client_metadata", StatusCode::BAD_REQUEST),
            Self::TooMany => ("temporarily_unavailable", StatusCode::TOO_MANY_REQUESTS),
            Self::Method(_) => ("invalid_request", StatusCode::METHOD_NOT_ALLOWED),
            Self::Unavailable => ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let (code, status) = self.code_and_status();
        let mut response = json_response(status, &json!({ "error": code, "error_description": self.to_string() }));
        let headers = response.headers_mut();
        match self {
            Self::InvalidClient => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static(r#"Basic realm="token", charset="UTF-8""#),
                );
            }
            Self::TooMany => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
            }
            Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Method(allowed) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            _ => {}
        }
        response
    }
}

/// A JSON answer that nobody may keep.
pub(crate) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<FormError> for TokenError {
    fn from(error: FormError) -> Self {
        Self::InvalidRequest(match error {
            FormError::TooMany => "too many parameters",
            FormError::Encoding => "the parameters are not form-encoded UTF-8",
            FormError::Duplicate => "a parameter occurs twice",
        })
    }
}

impl From<ScopeError> for TokenError {
    fn from(error: ScopeError) -> Self {
        Self::InvalidScope(error)
    }
}

impl From<TargetError> for TokenError {
    fn from(error: TargetError) -> Self {
        Self::InvalidTarget(error)
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the authorization server's store failed");
        Self::Unavailable
    }
}

impl From<EntropyError> for TokenError {
    fn from(error: EntropyError) -> Self {
        tracing::error!(%error, "no randomness");
        Self::Internal
    }
}

impl From<SigningKeysError> for TokenError {
    fn from(error: SigningKeysError) -> Self {
        tracing::error!(%error, "the signing keys cannot be read");
        Self::Unavailable
    }
}

impl From<SignError> for TokenError {
    fn from(error: SignError) -> Self {
        tracing::error!(%error, "signing failed");
        Self::Internal
    }
}
